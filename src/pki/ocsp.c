/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define FEATURE_STATUS_REQUEST 5 /* RFC 6066 8 */

bool
pki_ocsp_url(X509 *x, char url[PKI_OCSP_URL_MAX + 1])
{
	STACK_OF(OPENSSL_STRING) *all = X509_get1_ocsp(x);
	bool found = false;

	for (int i = 0; i < sk_OPENSSL_STRING_num(all) && !found; i++) {
		const char *one = sk_OPENSSL_STRING_value(all, i);
		size_t n = strlen(one);

		found = strncasecmp(one, "http://", 7) == 0 &&
		    n <= PKI_OCSP_URL_MAX;
		if (found)
			memcpy(url, one, n + 1);
	}
	X509_email_free(all);
	return found;
}

bool
pki_ocsp_must_staple(X509 *x)
{
	TLS_FEATURE *f = X509_get_ext_d2i(x, NID_tlsfeature, NULL, NULL);
	bool must = false;

	for (int i = 0; i < sk_ASN1_INTEGER_num(f); i++)
		must |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(f, i)) ==
		    FEATURE_STATUS_REQUEST;
	TLS_FEATURE_free(f);
	ERR_clear_error();
	return must;
}

X509 *
pki_ocsp_issuer(X509 *x, const STACK_OF(X509) * among)
{
	X509 *found = NULL;

	for (int i = 0; i < sk_X509_num(among) && !found; i++) {
		X509 *y = sk_X509_value(among, i);

		if (X509_check_issued(y, x) == X509_V_OK &&
		    X509_verify(x, X509_get0_pubkey(y)) == 1)
			found = y;
	}
	ERR_clear_error();
	return found;
}

enum nj_err
pki_ocsp_request(X509 *x, X509 *issuer, struct buf *out)
{
	OCSP_REQUEST *q = OCSP_REQUEST_new();
	/* SHA-1 names the issuer, as every responder knows it (RFC 5019
	 * 2.1.1); nothing rests on it */
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), x, issuer);
	unsigned char *der = NULL;
	enum nj_err e = NJ_CRYPTO;
	int n;

	if (q && id && OCSP_request_add0_id(q, id)) {
		id = NULL; /* moved */
		if ((n = i2d_OCSP_REQUEST(q, &der)) > 0)
			e = buf_put(out, der, (size_t)n);
	}
	OPENSSL_free(der);
	OCSP_CERTID_free(id);
	OCSP_REQUEST_free(q);
	ERR_clear_error();
	return e;
}

/* -- answers ---------------------------------------------------------------- */

static bool
unix_of(const ASN1_GENERALIZEDTIME *t, int64_t *out)
{
	struct tm tm = { 0 };

	if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*out = (int64_t)timegm(&tm);
	return true;
}

/* A signature by SHA-1 or worse can be somebody else's. */
static bool
is_signed_well(const OCSP_BASICRESP *b)
{
	int md = NID_undef;

	return OBJ_find_sigid_algs(
		   OBJ_obj2nid(OCSP_resp_get0_tbs_sigalg(b)->algorithm), &md,
		   NULL) == 1 &&
	    md != NID_sha1 && md != NID_md5 && md != NID_md4;
}

/* The issuer is all there is to believe: it signed, or who signed has a
 * certificate by it that says so (RFC 6960 4.2.2.2). */
static bool
is_authorised(OCSP_BASICRESP *b, X509 *issuer)
{
	X509_STORE *store = X509_STORE_new();
	STACK_OF(X509) *more = sk_X509_new_null();
	bool ok = store && more && X509_STORE_add_cert(store, issuer) == 1 &&
	    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
	    sk_X509_push(more, issuer) > 0 &&
	    OCSP_basic_verify(b, more, store, 0) == 1;

	sk_X509_free(more);
	X509_STORE_free(store);
	return ok;
}

static enum nj_err
not_signed(struct nj_why *why)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	why_set(why,
	    "the answer of the CA's responder is not signed by the CA, or by "
	    "whom it let answer: %s",
	    reason ? reason : "the library gives no reason");
	ERR_clear_error();
	return NJ_DENIED;
}

/* What it says of this certificate, and whether that holds. */
static enum nj_err
read_status(OCSP_BASICRESP *b, X509 *x, X509 *issuer, int64_t now,
    struct pki_ocsp *out, struct nj_why *why)
{
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), x, issuer);
	ASN1_GENERALIZEDTIME *gone = NULL, *from = NULL, *until = NULL;
	struct pki_ocsp o = { .reason = "" };
	int status = V_OCSP_CERTSTATUS_UNKNOWN, reason = -1;
	bool found = id &&
	    OCSP_resp_find_status(
		b, id, &status, &reason, &gone, &from, &until) == 1;

	OCSP_CERTID_free(id);
	if (!found) {
		why_set(why,
		    "the answer of the CA's responder is about another "
		    "certificate");
		return NJ_INVALID;
	}
	if (!unix_of(from, &o.from) || (until && !unix_of(until, &o.until))) {
		why_set(why, "the answer of the CA's responder has no time");
		return NJ_INVALID;
	}
	if (!until)
		o.until = o.from + PKI_OCSP_UNDATED_S;
	if (o.from > now + PKI_OCSP_SKEW_S) {
		why_set(
		    why, "the answer of the CA's responder is from the future");
		why_mend(why, "set the clock (timedatectl)");
		return NJ_INVALID;
	}
	if (o.until <= now || o.until < o.from) {
		why_set(
		    why, "the answer of the CA's responder has ended already");
		return NJ_INVALID;
	}
	o.status = status == V_OCSP_CERTSTATUS_GOOD ? PKI_OCSP_GOOD
	    : status == V_OCSP_CERTSTATUS_REVOKED   ? PKI_OCSP_REVOKED
						    : PKI_OCSP_UNKNOWN;
	if (gone && !unix_of(gone, &o.revoked_at))
		o.revoked_at = 0;
	if (reason >= 0)
		o.reason = OCSP_crl_reason_str(reason);
	*out = o;
	return NJ_OK;
}

enum nj_err
pki_ocsp_check(struct slice der, X509 *x, X509 *issuer, int64_t now,
    struct pki_ocsp *out, struct nj_why *why)
{
	const unsigned char *p = der.p;
	OCSP_RESPONSE *r = NULL;
	OCSP_BASICRESP *b = NULL;
	enum nj_err e = NJ_INVALID;
	int status;

	ERR_clear_error();
	if (!p || der.n > PKI_OCSP_MAX ||
	    !(r = d2i_OCSP_RESPONSE(NULL, &p, (long)der.n)) ||
	    p != der.p + der.n) {
		why_set(why, "what the CA's responder sent is no OCSP answer");
		goto out;
	}
	if ((status = OCSP_response_status(r)) !=
	    OCSP_RESPONSE_STATUS_SUCCESSFUL) {
		why_set(why, "the CA's responder says: %s",
		    OCSP_response_status_str(status));
		goto out;
	}
	if (!(b = OCSP_response_get1_basic(r)))
		why_set(why,
		    "the answer of the CA's responder is of a kind "
		    "that nobody knows");
	else if (!is_signed_well(b) || !is_authorised(b, issuer))
		e = not_signed(why);
	else
		e = read_status(b, x, issuer, now, out, why);
out:
	OCSP_BASICRESP_free(b);
	OCSP_RESPONSE_free(r);
	ERR_clear_error();
	return e;
}

int64_t
pki_ocsp_next(const struct pki_ocsp *have, unsigned failures, int64_t now)
{
	int64_t wait = PKI_OCSP_BACK_S, middle;

	if (failures > 0) {
		for (unsigned i = 1; i < failures && wait < PKI_OCSP_LATE_S;
		     i++)
			wait *= 2;
		if (wait > PKI_OCSP_LATE_S)
			wait = PKI_OCSP_LATE_S;
		/* not past the end of what there is, while there is time */
		if (have && have->until > now && (have->until - now) / 2 < wait)
			wait = (have->until - now) / 2;
		return now + (wait < PKI_OCSP_SOON_S ? PKI_OCSP_SOON_S : wait);
	}
	if (!have)
		return now;
	middle = have->from + (have->until - have->from) / 2;
	if (middle <= now)
		middle = now + (have->until - now) / 2;
	return middle < now + PKI_OCSP_SOON_S ? now + PKI_OCSP_SOON_S : middle;
}
