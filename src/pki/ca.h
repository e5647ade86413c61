/* SPDX-License-Identifier: Apache-2.0
 * ca - a certificate authority in a folder.
 *
 *	DIR/pki/ (0700)    ca.crt      the CA's certificate
 *	                   ca.key      its key: PKCS#8, scrypt, AES-256
 *	                   registry    all it issued (registry.h)
 *	DIR/ca.passphrase  (0600) what opens ca.key, outside of pki/, so that
 *	                   a copy of pki/ alone opens nothing; may be kept
 *	                   elsewhere, or only in a head
 *	DIR/server/        server.key server.crt, names: see issue.h
 *	DIR/devices/ID/    client.key client.crt ca.crt
 *
 * The root issues by itself, or an issuing CA below it does (pki/issuing.crt
 * and .key), so that the root's key can be kept elsewhere.  What is handed out
 * is always a chain (leaf, then pki_ca_chain).
 *
 * ca.crt holds whom to trust: the root, and around a roll-over both roots; see
 * authority.h.
 *
 * Owns:    its certificates and, once unlocked, its key.
 * Threads: one owner; processes take turns by the registry's lock.
 */
#ifndef NJ_PKI_CA_H
#define NJ_PKI_CA_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/secret.h"
#include "pki/cert.h"

struct pki_ca;

struct pki_ca_opts {
	const char *name; /* common name; NULL: from the host name */
	unsigned days;	  /* 0: PKI_ROOT_DAYS */
	bool issuing;	  /* a CA below the root issues */
	/* The same, and the root's key goes into this folder, to be taken
	 * away. */
	const char *offline_root;
	const char *constraints; /* pki_cert_spec */
	/* The key of who issues is there already, in a hardware module
	 * (pkcs11.h), and the passphrase is its PIN. */
	const char *key_uri;
};

bool pki_ca_exists(const char *dir);
/* Makes one, unlocked.  NJ_EXISTS: there is one, which is left alone.  One
 * that a crash left half made is made anew. */
NJ_MUST enum nj_err pki_ca_init(const char *dir, const struct pki_ca_opts *o,
    const struct secret *pass, struct pki_ca **out, struct nj_why *why);
/* NJ_NOTFOUND: there is none. */
NJ_MUST enum nj_err
pki_ca_open(const char *dir, struct pki_ca **out, struct nj_why *why);
void pki_ca_free(struct pki_ca *ca);
/* Before the first certificate is issued.  NJ_DENIED: not this passphrase. */
NJ_MUST enum nj_err
pki_ca_unlock(struct pki_ca *ca, const struct secret *pass, struct nj_why *why);
bool pki_ca_is_unlocked(const struct pki_ca *ca);
/* Forgets the key again. */
void pki_ca_lock(struct pki_ca *ca);

/* Makes a certificate and writes it into the registry; it may be handed out
 * when this returns NJ_OK. */
NJ_MUST enum nj_err
pki_ca_issue(struct pki_ca *ca, const struct pki_cert_spec *spec,
    const char *id, X509 **out, struct nj_why *why);

/* Whether its name constraints let it vouch for that. */
bool pki_ca_permits(const struct pki_ca *ca, const struct pki_name *name);
/* Leaves away what they do not permit. */
void pki_ca_filter(const struct pki_ca *ca, struct pki_names *names);

/* Signs a revocation list, as its issuer. */
NJ_MUST enum nj_err
pki_ca_sign_crl(struct pki_ca *ca, X509_CRL *crl, struct nj_why *why);
/* The same as who issued before a roll-over; NJ_NOTFOUND: there was none. */
NJ_MUST enum nj_err
pki_ca_sign_old_crl(struct pki_ca *ca, X509_CRL *crl, struct nj_why *why);
/* Whether this is who issues now, and not one before it. */
bool pki_ca_issues_now(const struct pki_ca *ca, X509 *x);
/* Whether it signed this certificate. */
bool pki_ca_issued(const struct pki_ca *ca, X509 *x);

struct registry_entry;
/* Makes a certificate that must not be handed out before *entry is in the
 * registry. */
NJ_MUST enum nj_err
pki_ca_sign(struct pki_ca *ca, const struct pki_cert_spec *spec, const char *id,
    X509 **out, struct registry_entry *entry, struct nj_why *why);

/* After pki_crl_set_url. */
void pki_ca_reread_url(struct pki_ca *ca);

/* Borrowed. */
const char *pki_ca_dir(const struct pki_ca *ca);
X509 *pki_ca_root(const struct pki_ca *ca);
X509 *pki_ca_issuer(const struct pki_ca *ca);
const STACK_OF(X509) * pki_ca_chain(const struct pki_ca *ca);
/* The same for servers: around a roll-over, one that who knows only the old
 * root believes too. */
const STACK_OF(X509) * pki_ca_server_chain(const struct pki_ca *ca);
/* Around a roll-over the roots' certificates by each other, NewWithOld and
 * OldWithNew of RFC 4210 4.4; may be NULL. */
const STACK_OF(X509) * pki_ca_rollover(const struct pki_ca *ca);
/* Whom clients and devices are to trust: all of ca.crt. */
const STACK_OF(X509) * pki_ca_roots(const struct pki_ca *ca);
const char *pki_ca_short_id(const struct pki_ca *ca); /* pki_ca_id */
const char *pki_ca_registry(const struct pki_ca *ca);

/* "DIR/a/b"; the caller frees it. */
char *pki_path(const char *dir, const char *rest) NJ_MUST;

#endif
