/* SPDX-License-Identifier: Apache-2.0
 * ca_impl - what the files of the CA share among themselves.
 *
 * Owns:    struct pki_ca everything it points to.
 * Threads: as ca.h.
 */
#ifndef NJ_PKI_CA_IMPL_H
#define NJ_PKI_CA_IMPL_H

#include <openssl/x509.h>

#include "pki/ca.h"
#include "pki/registry.h"

struct pki_ca {
	char *dir;
	char *registry;
	char id[PKI_CA_ID + 1];
	X509 *root;		/* the first of roots */
	X509 *issuer;		/* root, or the issuing CA below it */
	STACK_OF(X509) * chain; /* sent behind what it issues, without root */
	STACK_OF(X509) * roots; /* all of ca.crt */
	EVP_PKEY *key;		/* of issuer; NULL while locked */
	X509 *old;		/* who issued before a roll-over, or NULL */
	EVP_PKEY *old_key;	/* NULL while locked */
	char *crl_url;		/* crl.h; NULL: none */
	/* Around a roll-over: what servers send in place of chain, so that who
	 * knows the old root only believes them (NULL: chain), and the roots'
	 * certificates by each other (RFC 4210 4.4). */
	STACK_OF(X509) * bridge;
	STACK_OF(X509) * rollover;
};

/* Names of files below DIR. */
#define CA_CRT	    "pki/ca.crt"
#define CA_KEY	    "pki/ca.key"
#define CA_REGISTRY "pki/registry"
#define ISSUING_CRT "pki/issuing.crt" /* then what is above it, but the root */
#define ISSUING_KEY "pki/issuing.key"
#define ISSUING_CSR "pki/issuing.csr"
#define NEXT_CRT    "pki/next.crt" /* the successor, announced */
#define NEXT_KEY    "pki/next.key"
#define CROSS_CRT   "pki/cross.crt" /* the successor, signed by its forerunner */
#define BACK_CRT    "pki/back.crt" /* the forerunner, signed by its successor */
/* Of a root above an issuing CA; next.crt and next.key are of the issuing CA
 * below it then. */
#define NEXT_ROOT_CRT "pki/next-root.crt"
#define NEXT_ROOT_KEY "pki/next-root.key"
#define BRIDGE_CRT    "pki/bridge.crt" /* who issues, signed by the old root */
#define OLD_CRT	      "pki/old.crt"    /* the forerunner */
#define OLD_KEY	      "pki/old.key"

/* Both are told apart from I/O errors by lstat. */
bool ca_has(const char *dir, const char *name);
NJ_MUST enum nj_err ca_load_chain(const char *dir, const char *name,
    STACK_OF(X509) * *out, struct nj_why *why);
NJ_MUST enum nj_err ca_load_key(const char *dir, const char *name,
    const struct secret *pass, EVP_PKEY **out, struct nj_why *why);
NJ_MUST enum nj_err ca_store_key(const char *dir, const char *name,
    EVP_PKEY *key, const struct secret *pass, struct nj_why *why);
NJ_MUST enum nj_err ca_store_chain(const char *dir, const char *name, X509 *x,
    const STACK_OF(X509) * chain, struct nj_why *why);
/* The folder pki, 0700, without a CA in it; clears what a crash left.
 * NJ_EXISTS: there is one. */
NJ_MUST enum nj_err ca_prepare_folder(const char *dir, struct nj_why *why);
/* A line of the registry for a CA's certificate. */
NJ_MUST enum nj_err ca_record(const char *dir, bool create, X509 *x,
    const char *kind, struct nj_why *why);
NJ_MUST enum nj_err ca_append(const char *registry, bool create,
    const struct registry_entry *entry, struct nj_why *why);
/* "Nightjar CA box 1f2e3d4c" */
NJ_MUST enum nj_err
ca_default_name(EVP_PKEY *key, const char *what, char dst[PKI_ID_MAX + 1]);
NJ_MUST enum nj_err ca_check_name(const char *name, struct nj_why *why);
/* The certificate of an issuing CA with that key, below root. */
NJ_MUST enum nj_err ca_make_issuing(EVP_PKEY *key, X509 *root,
    EVP_PKEY *root_key, X509 **out, struct nj_why *why);
/* Its kind in the registry and what it is called there. */
NJ_MUST enum nj_err ca_fill_entry(X509 *x, const char *kind, const char *id,
    const char *groups, struct registry_entry *out);

#endif
