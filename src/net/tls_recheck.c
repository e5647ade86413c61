/* SPDX-License-Identifier: Apache-2.0
 * tls_recheck - the second look at who a client is: after every handshake,
 *               resumed ones too, and when lists of revoked certificates
 *               change.
 */
#include <time.h>

#include "net/tls_impl.h"
#include "pki/explain.h"

/* X509_V_OK, or what is wrong with the dates of a certificate that was good before. */
static int
still_good(const struct tls_server *t, X509 *leaf)
{
	time_t now = time(NULL), late = now - t->grace_s;

	if (X509_cmp_time(X509_get0_notAfter(leaf), &late) < 0)
		return X509_V_ERR_CERT_HAS_EXPIRED;
	if (X509_cmp_time(X509_get0_notBefore(leaf), &now) > 0)
		return X509_V_ERR_CERT_NOT_YET_VALID;
	return X509_V_OK;
}

bool
tls_server_12_has_no_tickets(const struct tls_server *t)
{
	return t->want_issuers || t->psk.key_of;
}

bool
tls_server_recheck_quiet(const struct tls_server *t, X509 *leaf)
{
	return leaf ? still_good(t, leaf) == X509_V_OK : !t->require;
}

bool
tls_server_recheck_ident(const struct tls_ident *id)
{
	return id->not_after > (int64_t)time(NULL);
}

bool
tls_server_listed_good(
    const struct tls_server *t, struct slice listed, uint32_t part, bool known)
{
	struct tls_revoked *r = tls_server_revoked(t);
	bool good = !tls_revoked_has_any(r, listed) &&
	    (listed.n == 0 || tls_revoked_holds(r, listed, part, known));

	tls_revoked_unref(r);
	return good;
}

/* What has changed while they shook hands: a full handshake was checked by
 * on_verify a moment ago, a resumed one by what its ticket says. */
static bool
lists_agree(struct tls_stream *s, struct slice listed, uint32_t part)
{
	struct tls_revoked *r = tls_server_revoked(s->server);
	struct slice rest = listed, first = SLICE_NONE;
	const char *what = NULL;

	(void)tls_revoked_take(&rest, &first);
	if (tls_revoked_has_any(r, first))
		what = "the client's certificate is revoked";
	else if (tls_revoked_has_any(r, rest))
		what = "a CA above the client's certificate is revoked";
	else if (SSL_session_reused(s->ssl) && listed.n > 0 &&
	    !tls_revoked_holds(r, listed, part, false))
		what = "the list of the CA of the session to resume does not "
		       "hold any more";
	tls_revoked_unref(r);
	if (what)
		why_set(stream_why_new(&s->base), "%s", what);
	return !what;
}

enum nj_err
tls_server_recheck(struct tls_stream *s, X509 *leaf)
{
	const struct tls_server *t = s->server;
	struct tls_told told = { .listed = buf_slice(&s->listed) };
	struct tls_ident id;
	int err;

	if (!SSL_session_reused(s->ssl) && !leaf && !t->require)
		return NJ_OK;
	(void)tls_told(s->ssl, &told);
	if (!lists_agree(s, told.listed, told.part))
		return NJ_TLS;
	if (!leaf && told.ident.n > 0) {
		if (!tls_ident_take(told.ident, &id) &&
		    tls_server_recheck_ident(&id))
			return NJ_OK;
		why_set(stream_why_new(&s->base),
		    "the client certificate of the session to resume is not "
		    "good any more");
		return NJ_TLS;
	}
	if (!leaf) {
		if (!t->require)
			return NJ_OK;
		why_set(stream_why_new(&s->base),
		    "the session to resume has no client certificate, and "
		    "this listener requires one");
		return NJ_TLS;
	}
	if ((err = still_good(t, leaf)) == X509_V_OK)
		return NJ_OK;
	pki_explain_verify(err, leaf, 0, stream_why_new(&s->base));
	return NJ_TLS;
}

/* -- who is connected ----------------------------------------------------- */

enum tls_revoked_who
tls_server_peer_is_revoked(const struct tls_server *t, const struct tls_peer *p)
{
	struct tls_revoked *r = tls_server_revoked(t);
	enum tls_revoked_who who = TLS_REVOKED_NONE;
	struct slice rest = p->listed, first = SLICE_NONE;

	(void)tls_revoked_take(&rest, &first);
	if (tls_revoked_has_any(r, first))
		who = TLS_REVOKED_ITSELF;
	else if (tls_revoked_has_any(r, rest))
		who = TLS_REVOKED_ABOVE;
	tls_revoked_unref(r);
	return who;
}
