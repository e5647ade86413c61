/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/reentry.h"

#include "auth/principal.h"
#include "broker/certname.h"
#include "broker/rights.h"
#include "net/tls.h"

static bool
lacks_certificate(const struct conn *c)
{
	const struct tls_peer *t = stream_tls(c->stream);

	return conn_port(c)->require_cert && !(t && t->has_cert) &&
	    !(!t && c->via && c->via->cert);
}

const char *
reentry_objection(const struct conn *c, const struct principal *who)
{
	if (who->right > ENROLLING_BESIDES)
		return NULL;
	if (lacks_certificate(c))
		return "it gave no certificate, which is wanted there by now "
		       "(require_certificate)";
	if (who->certified && !slice_eq(certname_of(c), who->name))
		return "its certificate says another name by now, or none";
	return certname_objection(c);
}

static const char *
id_objection(const struct conn *c, const struct principal *who)
{
	struct slice id = session_id(c->session);

	if (who->right > ENROLLING_BESIDES)
		return NULL;
	/* else it is about what the client gave */
	if (!conn_port(c)->use_username_as_clientid &&
	    !port_takes_id(conn_port(c), id))
		return "its client identifier begins with none of "
		       "clientid_prefixes";
	if (!certname_is_own(certname_binds(c, who), who->name, id))
		return "its client identifier is not its own by now "
		       "(certificate_clientid)";
	return rights_user_objection(c, who->name, id);
}

void
reentry_check(struct conn *c)
{
	const char *why;

	if ((c->state != CONN_LIVE && c->state != CONN_SAVING) ||
	    c->link.closing || !c->session || !c->session->who)
		return;
	if (!(why = reentry_objection(c, c->session->who)))
		why = id_objection(c, c->session->who);
	if (!why)
		return;
	c->clean_disconnect = true;
	conn_end(c, RC_NOT_AUTHORIZED, "%s", why);
}
