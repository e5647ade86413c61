/* SPDX-License-Identifier: Apache-2.0
 * ocsp - what a CA's responder says of a certificate: the question, and whether
 *        an answer may be believed.
 *
 * Owns:    nothing.
 * Threads: any.
 * Bounds:  PKI_OCSP_MAX bytes of answer.
 * Spec:    RFC 6960, RFC 5019; RFC 7633 (must-staple).
 */
#ifndef NJ_PKI_OCSP_H
#define NJ_PKI_OCSP_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define PKI_OCSP_MAX	 (64 * 1024)
#define PKI_OCSP_URL_MAX 1023
#define PKI_OCSP_SKEW_S	 300 /* clocks differ */
/* An answer that does not say until when it holds (RFC 6960 4.2.2.1). */
#define PKI_OCSP_UNDATED_S 3600
/* The next question: not before, and after failures not later than. */
#define PKI_OCSP_SOON_S 10
#define PKI_OCSP_BACK_S 60
#define PKI_OCSP_LATE_S 3600

enum pki_ocsp_status { PKI_OCSP_GOOD, PKI_OCSP_REVOKED, PKI_OCSP_UNKNOWN };

struct pki_ocsp {
	enum pki_ocsp_status status;
	int64_t from, until; /* Unix seconds */
	int64_t revoked_at;
	const char *reason; /* "keyCompromise"; "" */
};

/* The first responder that it names with http, the only scheme that is used
 * (RFC 5019 5); false: none. */
bool pki_ocsp_url(X509 *x, char url[PKI_OCSP_URL_MAX + 1]);
/* Clients that know this refuse it without an answer beside it. */
bool pki_ocsp_must_staple(X509 *x);
/* Who issued x, among them; borrowed, NULL: none did. */
X509 *pki_ocsp_issuer(X509 *x, const STACK_OF(X509) * among);

NJ_MUST enum nj_err pki_ocsp_request(X509 *x, X509 *issuer, struct buf *out);
/*
 * NJ_OK: the answer is about x, signed by its issuer or by whom that one let
 * answer, and holds at that time.  Otherwise *why says what is wrong with it.
 */
NJ_MUST enum nj_err pki_ocsp_check(struct slice der, X509 *x, X509 *issuer,
    int64_t now, struct pki_ocsp *out, struct nj_why *why);

/* When to ask again, with the answer that there is (NULL: none that holds)
 * and after so many failures: at half of its time, or later and later. */
int64_t
pki_ocsp_next(const struct pki_ocsp *have, unsigned failures, int64_t now);

#endif
