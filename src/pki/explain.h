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

enum pki_level {
	PKI_NOTE,  /* good to know */
	PKI_DOUBT, /* some programs will not take it */
	PKI_FAULT  /* does not work, or is not safe */
};

/*
 * Judges one certificate for a use, apart from its chain: NJ_INVALID with
 * *why, listing every fault, when it must be refused: RSA below 2048 bits, EC
 * below 224, signed with SHA-1 or MD5 (a CA's signature by itself apart, on
 * which nothing rests), expired, not yet valid, wrong key usage, a CA without
 * the CA flag, which version 1 cannot have.  name is how to call it in the
 * text, usually its path.
 */
NJ_MUST enum nj_err
pki_judge(X509 *x, enum pki_use use, const char *name, struct nj_why *why);
/* The same, fault by fault: "it expired on 2025-01-31" and a word for programs,
 * "expired". */
typedef void
pki_fault_fn(void *arg, const char *code, const struct nj_why *why);
void pki_faults(X509 *x, enum pki_use use, pki_fault_fn *fn, void *arg);
/* Remarks on what is not refused (ends within 30 days, version 1, no names or
 * only a common name on a server, a name that no client finds...): told one by
 * one, each with a word for programs. */
typedef void pki_remark_fn(void *arg, enum pki_level level, const char *code,
    const struct nj_why *why);
void pki_remarks(
    X509 *x, enum pki_use use, const char *name, pki_remark_fn *fn, void *arg);
/* The same, without saying how bad each is. */
void pki_doubts(X509 *x, enum pki_use use, const char *name,
    void (*fn)(void *arg, const struct nj_why *why), void *arg);
/* A server's name that a CA of its chain may not give; cas: where its CAs are
 * looked for, beside chain, whose first it is.  True: there is one. */
bool pki_unpermitted(
    STACK_OF(X509) * chain, STACK_OF(X509) * cas, struct nj_why *why);
/* An X509_V_ERR_* of a failed chain check, for the certificate it concerns
 * (may be NULL): "certificate 'dev1' (serial 5A..) expired on ...". */
/* What failed, for that: where a CA is trusted that has only the name of the one
 * that issued, it is the signature. */
int pki_verify_cause(X509_STORE_CTX *ctx);
void
pki_explain_verify(int verify_error, X509 *x, int depth, struct nj_why *why);
/* A server's certificate does not carry the name or address that the client
 * connected to. */
void pki_explain_host(X509 *x, const char *host, struct nj_why *why);
/* Whether a client that connects to host, a name or an address, finds it in
 * the certificate.  The common name counts where there is no DNS name. */
bool pki_matches_host(X509 *x, const char *host);
/* The names and addresses a certificate is valid for, "a, b, 10.0.0.1"; those
 * that do not fit are counted.  Escaped. */
void pki_names_text(X509 *x, char *dst, size_t size);
/* How people call a certificate: its common name, or else its first other
 * name, or else its subject.  Escaped. */
void pki_short_name(X509 *x, char *dst, size_t size);
/* Subject as RFC 2253 text, escaped; how programs name a certificate. */
void pki_subject(X509 *x, char *dst, size_t size);
/* Serial number in capital hexadecimal, as openssl prints it. */
void pki_serial(X509 *x, char *dst, size_t size);
/* The common name of who issued it.  Escaped; x may be NULL. */
void pki_issuer_name(X509 *x, char *dst, size_t size);
/* "2026-01-31 12:00 UTC" */
void pki_day_text(const ASN1_TIME *t, char *dst, size_t size);
/* SHA-256 of the certificate, "AB:CD:...". */
void pki_fingerprint(X509 *x, char dst[96]);

/* For the parts (doubts.c): the most specific common name, escaped; what
 * mends a certificate for that use, and one whose time is over; which broken
 * digest signed it, NULL: none. */
bool pki_common_name(const X509_NAME *name, char *dst, size_t size);
void pki_mend_for(enum pki_use use, struct nj_why *why);
void pki_mend_time_of(X509 *x, enum pki_use use, struct nj_why *why);
const char *pki_weak_digest(X509 *x);

#endif
