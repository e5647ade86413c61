/* SPDX-License-Identifier: Apache-2.0
 * tls_recheck - the second look at who a client is: after every handshake,
 *               resumed ones too, and when lists of revoked certificates
 *               change.
 */
#include <string.h>
#include <time.h>

#include "net/tls_impl.h"
#include "pki/explain.h"

static bool
no_lists(const struct tls_server *t)
{
	struct tls_revoked *r = tls_server_revoked(t);
	bool none = !r || (r->n == 0 && !r->crls);

	tls_revoked_unref(r);
	return none;
}

/* X509_V_OK, or what the lists say of this certificate. */
static int
look_up(const struct tls_server *t, const X509_NAME *issuer,
    const ASN1_INTEGER *serial)
{
	struct tls_revoked *r = tls_server_revoked(t);
	int verdict = tls_revoked_verdict(r, issuer, serial);

	tls_revoked_unref(r);
	return verdict;
}

/* X509_V_OK, or what is wrong with a certificate that was good before. */
static int
still_good(const struct tls_server *t, X509 *leaf)
{
	time_t now = time(NULL), late = now - t->grace_s;

	if (X509_cmp_time(X509_get0_notAfter(leaf), &late) < 0)
		return X509_V_ERR_CERT_HAS_EXPIRED;
	if (X509_cmp_time(X509_get0_notBefore(leaf), &now) > 0)
		return X509_V_ERR_CERT_NOT_YET_VALID;
	return look_up(
	    t, X509_get_issuer_name(leaf), X509_get0_serialNumber(leaf));
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
tls_server_recheck_ident(const struct tls_server *t, const struct tls_ident *id)
{
	const unsigned char *p = id->issuer.p, *q = id->serial_der.p;
	X509_NAME *issuer;
	ASN1_INTEGER *serial;
	bool good;

	if (id->not_after <= (int64_t)time(NULL))
		return false;
	if (no_lists(t))
		return true;
	issuer = d2i_X509_NAME(NULL, &p, (long)id->issuer.n);
	serial = d2i_ASN1_INTEGER(NULL, &q, (long)id->serial_der.n);
	good = issuer && serial && look_up(t, issuer, serial) == X509_V_OK;
	X509_NAME_free(issuer);
	ASN1_INTEGER_free(serial);
	return good;
}

bool
tls_server_above_good(const struct tls_server *t, struct slice above)
{
	struct tls_revoked *r = tls_server_revoked(t);
	bool good = !tls_revoked_has_any(r, above);

	tls_revoked_unref(r);
	return good;
}

enum nj_err
tls_server_recheck(struct tls_stream *s, X509 *leaf)
{
	const struct tls_server *t = s->server;
	struct tls_told told = { .above = buf_slice(&s->above) };
	struct tls_ident id;
	int err;

	/* A full handshake was checked by on_verify a moment ago, but for what
	 * was revoked since. */
	if (!SSL_session_reused(s->ssl) && !leaf && !t->require)
		return NJ_OK;
	(void)tls_told(s->ssl, &told);
	if (!tls_server_above_good(t, told.above)) {
		why_set(stream_why_new(&s->base),
		    "a CA above the client's certificate is revoked");
		return NJ_TLS;
	}
	if (!leaf && told.ident.n > 0) {
		if (!tls_ident_take(told.ident, &id) &&
		    tls_server_recheck_ident(t, &id))
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

static unsigned
hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0')
			: (unsigned)((c | 0x20) - 'a' + 10);
}

/* Of its hexadecimal form. */
static bool
own_is_revoked(const struct tls_revoked *r, const struct tls_peer *p)
{
	const char *hex = p->serial + strspn(p->serial, "0-");
	uint8_t serial[REVOKED_SERIAL_MAX];
	size_t digits = strlen(hex), n;

	if (digits > 2 * sizeof serial) { /* its end, as on the lists */
		hex += digits - 2 * sizeof serial;
		digits = 2 * sizeof serial;
	}
	n = (digits + 1) / 2;
	memset(serial, 0, sizeof serial);
	for (size_t i = 0; i < digits; i++) {
		size_t from_end = digits - 1 - i;

		serial[n - 1 - from_end / 2] |=
		    (uint8_t)(hex_digit(hex[i]) << (from_end % 2 * 4));
	}
	return tls_revoked_has(r, p->issuer_hash, slice_of(serial, n));
}

enum tls_revoked_who
tls_server_peer_is_revoked(const struct tls_server *t, const struct tls_peer *p)
{
	struct tls_revoked *r = tls_server_revoked(t);
	enum tls_revoked_who who = TLS_REVOKED_NONE;

	if (p->has_cert && own_is_revoked(r, p))
		who = TLS_REVOKED_ITSELF;
	else if (tls_revoked_has_any(r, p->above))
		who = TLS_REVOKED_ABOVE;
	tls_revoked_unref(r);
	return who;
}
