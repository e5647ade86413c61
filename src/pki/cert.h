/* SPDX-License-Identifier: Apache-2.0
 * cert - certificates as Nightjar makes them: one profile a purpose.
 *
 * Owns:    what it returns is the caller's (X509_free, sk_X509_pop_free).
 * Threads: any.
 * Spec:    RFC 5280; CA/Browser Forum Baseline Requirements 7.1 for serials.
 *
 * Every certificate: version 3, SHA-256, a serial of 127 random bits, valid
 * from an hour ago (clocks of small devices run behind), never past the end
 * of its issuer.
 */
#ifndef NJ_PKI_CERT_H
#define NJ_PKI_CERT_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "pki/names.h"

#define PKI_ROOT_DAYS 7305 /* 20 years */
/* Made by hand, where it may be that nobody renews it: what every client still
 * accepts.  Renewed while a broker runs (upkeep.h): at two thirds of these. */
#define PKI_SERVER_DAYS	     397
#define PKI_SERVER_KEPT_DAYS 90
#define PKI_ISSUING_DAYS     1826 /* 5 years */
#define PKI_DEVICE_DAYS	     365
#define PKI_DAYS_MAX	     36525 /* a century */

#define PKI_ID_MAX 64
#define PKI_CA_ID  16 /* hexadecimal digits that tell one CA from another */

enum pki_profile {
	PKI_ROOT,    /* CA:TRUE, pathlen 1: a level of issuing CAs may follow */
	PKI_ISSUING, /* CA:TRUE, pathlen 0 */
	PKI_SERVER,  /* serverAuth; names in the SAN */
	PKI_DEVICE /* clientAuth; CN = id, SAN urn:nightjar:<ca>:device:<id> */
};

struct pki_cert_spec {
	enum pki_profile profile;
	EVP_PKEY *key;	 /* the subject's; only its public half is used */
	const char *cn;	 /* at most PKI_ID_MAX bytes; cut if longer */
	const char *uri; /* SAN URI, or NULL */
	const struct pki_names *names; /* SAN names and addresses, or NULL */
	unsigned days;
	int64_t now;		  /* Unix seconds; 0: the system's */
	const X509_NAME *subject; /* in place of cn; NULL: cn */
	/* Of a CA: "permitted;DNS:example.org,permitted;IP:10.0.0.0/255.0.0.0",
	 * which must come from no peer; NULL: none. */
	const char *constraints;
	X509 *constraints_of; /* the same as this one's; NULL: constraints */
	const char *crl_url;  /* where revoked ones are listed, or NULL */
	const char *groups;   /* for the registry, "a,b"; NULL: as they are */
};

/* Unsigned, for looking at; false without memory. */
bool pki_cert_draft(const struct pki_cert_spec *spec, X509 **out);
/* issuer NULL: signed by itself, with issuer_key. */
NJ_MUST enum nj_err pki_cert_make(const struct pki_cert_spec *spec,
    X509 *issuer, EVP_PKEY *issuer_key, X509 **out, struct nj_why *why);

/* 1-64 of [A-Za-z0-9._-], a letter or digit at both ends. */
NJ_MUST enum nj_err pki_check_id(const char *id, struct nj_why *why);
/* SHA-256 of the SubjectPublicKeyInfo. */
NJ_MUST enum nj_err pki_spki_sha256(X509 *x, uint8_t out[32]);
/* The first PKI_CA_ID hexadecimal digits of that: what a CA is called in the
 * names of devices. */
NJ_MUST enum nj_err pki_ca_id(X509 *ca, char dst[PKI_CA_ID + 1]);

/* PEM, the leaf first.  leaf and chain may be NULL. */
NJ_MUST enum nj_err
pki_chain_pem(X509 *leaf, const STACK_OF(X509) * chain, struct buf *out);
/* The same as a file. */
NJ_MUST enum nj_err pki_chain_store(const char *path, X509 *leaf,
    const STACK_OF(X509) * chain, mode_t mode, struct nj_why *why);
/* All certificates of a file, in its order; at least one. */
NJ_MUST enum nj_err
pki_chain_load(const char *path, STACK_OF(X509) * *out, struct nj_why *why);

/* Unix seconds of notBefore and notAfter; false when unreadable. */
bool pki_cert_dates(X509 *x, int64_t *from, int64_t *to);

#endif
