/* SPDX-License-Identifier: Apache-2.0
 * certs - certificates, keys and revocation lists for the tests of TLS, made
 *         through the library in a folder of their own.
 *
 * Owns:    struct certs: the folder and its files, removed by certs_fini.
 * Threads: one test.
 */
#ifndef NJ_TEST_NET_CERTS_H
#define NJ_TEST_NET_CERTS_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>

#define CERTS_MAX 2048

struct cert_spec {
	const char *name;	/* file name without suffix */
	const char *cn;		/* NULL: name */
	int cn_len;		/* 0: strlen (names with NUL) */
	const char *san;	/* "DNS:a,IP:1.2.3.4"; NULL: none */
	const char *eku;	/* "serverAuth"; NULL: none */
	const char *crldp;	/* "URI:http://a/b"; NULL: none */
	const char *issuer;	/* name of an earlier one; NULL: itself */
	const char *key_of;	/* whose key it has; NULL: a new one */
	int from_days, to_days; /* both 0: from yesterday for 90 days */
	bool ca;
	bool no_lists; /* a CA that may not sign any */
	bool p384, ed25519;
	unsigned rsa; /* bits; 0: an EC key */
};

struct certs {
	char dir[64];
	int n;
	struct {
		char name[32];
		X509 *x;
		EVP_PKEY *key;
	} made[CERTS_MAX];
};

void certs_init(struct certs *c);
void certs_fini(struct certs *c);
/* Writes NAME.crt and NAME.key. */
void certs_make(struct certs *c, const struct cert_spec *s);
X509 *certs_get(struct certs *c, const char *name);
/* CA's list of revoked names, NULL terminated, in FILE.  days: its life, from
 * yesterday. */
void certs_crl(struct certs *c, const char *file, const char *ca, int days,
    const char *const *revoked);
/* The list of another maker, signed by that CA, alone in FILE; freed. */
void
certs_crl_put(struct certs *c, const char *file, const char *ca, X509_CRL *crl);
/* A path in the folder; a static array of a few. */
const char *certs_path(struct certs *c, const char *file);

#endif
