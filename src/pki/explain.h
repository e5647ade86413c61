/* SPDX-License-Identifier: Apache-2.0
 * explain - what is wrong with a certificate or key, in plain words, with the
 *           command that mends it.
 *
 * Owns:    nothing.
 * Threads: any.
 * Spec:    RFC 5280, RFC 6125/9525.
 */
#ifndef NJ_PKI_EXPLAIN_H
#define NJ_PKI_EXPLAIN_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "base/err.h"

enum pki_use { PKI_USE_SERVER, PKI_USE_CLIENT, PKI_USE_CA };

/*
 * Judges one certificate for a use, apart from its chain: NJ_INVALID with
 * *why when it must be refused (RSA below 2048 bits, EC below 224, SHA-1 or
 * MD5 signature where it is not self-signed... , expired, not yet valid, wrong
 * key usage, no CA flag, version 1).  name is how to call it in the text,
 * usually its path.
 */
NJ_MUST enum nj_err pki_judge(X509 *x, enum pki_use use, const char *name,
    struct nj_why *why);
/* Doubts that do not refuse (ends within 30 days, no SAN on a server...):
 * told one by one. */
void pki_doubts(X509 *x, enum pki_use use, const char *name,
    void (*fn)(void *arg, const struct nj_why *why), void *arg);
/* An X509_V_ERR_* of a failed chain check, for the certificate it concerns
 * (may be NULL): "certificate 'dev1' (serial 5A..) expired on ...". */
void pki_explain_verify(int verify_error, X509 *x, int depth,
    struct nj_why *why);
/* Subject as RFC 2253 text, escaped; how people name a certificate. */
void pki_subject(X509 *x, char *dst, size_t size);
/* SHA-256 of the certificate, "AB:CD:...". */
void pki_fingerprint(X509 *x, char dst[96]);

#endif
