/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/certname.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "auth/cert_rules.h"
#include "auth/peer_check.h"
#include "auth/principal.h"
#include "net/tls.h"

/* TLS that ends here counts, whatever a proxy says of its own. */
static bool
by_proxy(const struct conn *c)
{
	return !stream_tls(c->stream) && c->via && c->via->cert;
}

static struct slice
name_by_rules(const struct conn *c, const struct tls_peer *t)
{
	struct cert_facts f = { .cn = SLICE_NONE };

	if (t) {
		f.cn = slice_str(t->cn);
		f.subject = slice_str(t->subject);
		f.uri = slice_str(t->san_uri);
		f.dns = slice_str(t->san_dns);
		f.email = slice_str(t->san_email);
		f.spki_sha256 = slice_of(t->spki_sha256, sizeof t->spki_sha256);
		f.issuers = t->issuers;
	} else {
		f.cn = slice_of(c->via->cn, c->via->cn_len);
	}
	return cert_rules_name(conn_port(c)->cert_rules, &f);
}

bool
certname_has(const struct conn *c)
{
	const struct tls_peer *t = stream_tls(c->stream);

	if (conn_port(c)->cert_not_of_pages && stream_from_page(c->stream))
		return false;
	return by_proxy(c) || (t && t->has_cert);
}

struct slice
certname_of(const struct conn *c)
{
	const struct tls_peer *t = stream_tls(c->stream);
	const struct port_opts *po = conn_port(c);

	/* the identity of a shared key is a name like one of a certificate */
	if (t && t->psk[0])
		return po->cert_rules || po->identity != CERT_IDENTITY_NONE
		    ? slice_str(t->psk)
		    : SLICE_NONE;
	if (!certname_has(c))
		return SLICE_NONE;
	if (po->cert_rules)
		return name_by_rules(c, t);
	switch (po->identity) {
	case CERT_IDENTITY_CN:
		return t ? slice_str(t->cn)
			 : slice_of(c->via->cn, c->via->cn_len);
	case CERT_IDENTITY_SUBJECT:
		return t ? slice_str(t->subject) : SLICE_NONE;
	case CERT_IDENTITY_NONE:
		break;
	}
	return SLICE_NONE;
}

/* What our CA issued before it was ours has no ID but its common name. */
struct slice
certname_device(const struct conn *c)
{
	const struct tls_peer *t = stream_tls(c->stream);
	struct slice id;

	if (!conn_port(c)->groups || !t || !certname_has(c))
		return SLICE_NONE;
	if (conn_port(c)->other_cas)
		return cert_device_by(slice_str(t->san_uri), t->issuers);
	id = cert_device_id(slice_str(t->san_uri), NULL);
	return id.n > 0 ? id : slice_str(t->cn);
}

/* -- peer_check ---------------------------------------------------------- */

/* The client's address: 4 or 16 bytes, none for who has none. */
static struct slice
address_of(const struct conn *c, struct sockaddr_storage *ss)
{
	const struct proxied *v = c->via;
	socklen_t n = sizeof *ss;

	if (v && !v->own)
		return slice_of(v->addr, v->addr_n);
	if (getpeername(stream_fd(c->stream), (struct sockaddr *)ss, &n) != 0)
		return SLICE_NONE;
	if (ss->ss_family == AF_INET)
		return slice_of(
		    &((struct sockaddr_in *)(void *)ss)->sin_addr, 4);
	if (ss->ss_family == AF_INET6)
		return slice_of(
		    &((struct sockaddr_in6 *)(void *)ss)->sin6_addr, 16);
	return SLICE_NONE;
}

const char *
certname_objection(const struct conn *c)
{
	const struct tls_peer *t = stream_tls(c->stream);
	enum peer_check how = conn_port(c)->peer_check;
	struct sockaddr_storage ss = { 0 };
	struct slice addr, cn;

	if (how == PEER_CHECK_NONE)
		return NULL;
	if (!by_proxy(c) && (!t || !t->has_cert))
		return "it gave no certificate, which would have to be for its "
		       "address (peer_check)";
	addr = address_of(c, &ss);
	cn = t ? slice_str(t->cn) : slice_of(c->via->cn, c->via->cn_len);
	if (how == PEER_CHECK_CN_IP)
		return peer_check_cn(cn, addr)
		    ? NULL
		    : "the common name of its certificate is not the address "
		      "it comes from (peer_check cn_ip)";
	return t && peer_check_san(t->ips, addr)
	    ? NULL
	    : "its certificate has no alternative name that is the address it "
	      "comes from (peer_check san_ip)";
}

/* -- certificate_clientid ------------------------------------------------ */

enum cert_id
certname_binds(const struct conn *c, const struct principal *who)
{
	const struct tls_peer *t = stream_tls(c->stream);
	const struct port_opts *po = conn_port(c);

	if (!who->certified || who->name.n == 0)
		return CERT_ID_ANY;
	if (po->cert_id != CERT_ID_AUTO)
		return po->cert_id;
	if (po->cert_rules)
		return CERT_ID_OWN;
	return t &&
		slice_eq(who->name, cert_device_id(slice_str(t->san_uri), NULL))
	    ? CERT_ID_OWN
	    : CERT_ID_ANY;
}

bool
certname_is_own(enum cert_id how, struct slice name, struct slice id)
{
	if (how == CERT_ID_ANY || slice_eq(name, id))
		return true;
	/* neither is in the ID of a device, so that none is called like an
	 * identifier of another */
	return how == CERT_ID_OWN && slice_has_prefix(id, name) &&
	    (id.p[name.n] == ':' || id.p[name.n] == '/');
}
