/* SPDX-License-Identifier: Apache-2.0
 * crl - certificates that the CA has issued and takes back.
 *
 *	DIR/crl/ca.crl	the CA's signed list, PEM, for everybody to read: a
 *			running broker watches it
 *
 * The registry has the word: a revocation is a line of it, and on disk before
 * the list is made from it.  A list that a crash left behind the registry is
 * made anew by whatever revokes or renews next.
 *
 * Owns:    struct pki_revoked its serials.
 * Threads: any; processes take turns by the registry's lock.
 * Bounds:  PKI_CRL_MAX bytes of list.
 * Spec:    RFC 5280 5.
 */
#ifndef NJ_PKI_CRL_H
#define NJ_PKI_CRL_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "pki/ca.h"

#define PKI_CRL_DAYS 7
/* Certificates that ended longer ago are not listed any more. */
#define PKI_CRL_KEEP_S (7 * 86400)
#define PKI_CRL_MAX    (64 * 1024 * 1024)

/* The reasons of RFC 5280 5.3.1 that end a certificate for good, as words:
 * "key-compromise", or as openssl has them.  -1: not one of them. */
int pki_reason_of(const char *word);
/* "keyCompromise" */
const char *pki_reason_name(int reason);
/* All of them, for a help text. */
#define PKI_REASONS                                                      \
	"unspecified, key-compromise, affiliation-changed, superseded, " \
	"cessation-of-operation, privilege-withdrawn"

/* What the registry knows as revoked. */
struct pki_revoked;
NJ_MUST enum nj_err pki_revoked_load(
    const char *registry, struct pki_revoked **out, struct nj_why *why);
void pki_revoked_free(struct pki_revoked *r);
/* serial: as the registry has it.  *when may be NULL. */
bool
pki_revoked_has(const struct pki_revoked *r, const char *serial, int64_t *when);

struct pki_revoke {
	const char *what; /* a device's or server's name, or a serial */
	X509 *cert;	  /* or this certificate */
	int reason;
	/* Told of each certificate that is taken back. */
	void (*fn)(void *arg, const char *id, const char *serial);
	void *arg;
};

/*
 * Takes back all certificates of that name that have not ended, or the one;
 * the CA must be unlocked.  The list is written anew in any case; where that
 * fails, *why says whether they are revoked all the same, and fn has heard of
 * each.  NJ_EXISTS: they were revoked before; NJ_NOTFOUND: the CA has not
 * issued such.
 */
NJ_MUST enum nj_err
pki_revoke(struct pki_ca *ca, const struct pki_revoke *o, struct nj_why *why);
/* Makes the list anew from the registry.  days 0: PKI_CRL_DAYS. */
NJ_MUST enum nj_err
pki_crl_renew(struct pki_ca *ca, unsigned days, struct nj_why *why);
/*
 * The address that certificates name for it, from then on: http://..., or NULL
 * for none.  Kept as DIR/pki/crl-url.
 */
#define PKI_CRL_URL_MAX 255
NJ_MUST enum nj_err
pki_crl_set_url(const char *dir, const char *url, struct nj_why *why);
/* NULL: none; the caller frees it. */
char *pki_crl_url(const char *dir) NJ_MUST;
/* Where it is; the caller frees it. */
char *pki_crl_path(const char *dir) NJ_MUST;
/* Unix seconds until which the list holds; 0: there is none. */
int64_t pki_crl_until(const char *dir);
/* The list that is there lacks one that the registry has: there was no room
 * when it was to be written. */
bool pki_crl_is_behind(const struct pki_ca *ca);

#endif
