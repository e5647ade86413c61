/* SPDX-License-Identifier: Apache-2.0
 * items - everything that files hold: certificates, keys, requests, revocation
 *         lists; from PEM, DER, PKCS#7 and PKCS#12, however spoiled.
 *
 * Owns:    the items and the names of their sources.
 * Threads: one owner.
 * Bounds:  PKI_SOURCES_MAX sources, PKI_ITEMS_MAX items, PKI_SOURCE_MAX bytes
 *          a file; NJ_FULL and NJ_TOOBIG past them.
 */
#ifndef NJ_PKI_ITEMS_H
#define NJ_PKI_ITEMS_H

#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/text.h"
#include "pki/form.h"

#define PKI_SOURCES_MAX 32
#define PKI_ITEMS_MAX	512
#define PKI_SOURCE_MAX	(4 * 1024 * 1024)

enum pki_item_kind {
	PKI_ITEM_CERT,
	PKI_ITEM_KEY,
	PKI_ITEM_CSR,
	PKI_ITEM_CRL,
	PKI_ITEM_PUBLIC /* a public key alone */
};

struct pki_item {
	enum pki_item_kind kind;
	unsigned source; /* index into items.sources */
	unsigned number; /* place among its kind in the source, from 1 */
	X509 *cert;
	EVP_PKEY *key; /* of a key; NULL while it is shut */
	X509_REQ *csr;
	X509_CRL *crl;
	bool encrypted;
	char label[TEXT_ESC]; /* friendlyName of a PKCS#12; escaped */
	bool java_trusted;    /* has the attribute Java asks of trust entries */
};

enum pki_container { PKI_IN_FILE, PKI_IN_PKCS7, PKI_IN_PKCS12, PKI_IN_TLS };

struct pki_source {
	char name[TEXT_ESC]; /* escaped */
	char *path;	     /* NULL: no file */
	enum pki_container container;
	struct pki_form form;
	bool has_form;	       /* came as bytes */
	bool trust;	       /* its CAs are those that are trusted */
	bool exposed;	       /* a file that others may read */
	unsigned unread;       /* PEM blocks that could not be understood */
	char unread_label[48]; /* the first of them */
	unsigned plainly;      /* items that programs find in it as it is */
	struct nj_why why;     /* what.[0]: nothing could be read, and why */
	/* of a PKCS#12 */
	bool p12_wrong_password, p12_unreadable, p12_no_mac;
	char p12_ciphers[96], p12_mac[32];
};

struct pki_items {
	struct pki_source sources[PKI_SOURCES_MAX];
	unsigned nsources;
	struct pki_item v[PKI_ITEMS_MAX];
	unsigned n;
};

/* Asks for the passphrase of what ("key 'x.key'"); another each time attempt
 * grows; NJ_NOTFOUND: there is none (any more).  The caller frees it. */
typedef enum nj_err
pki_pass_fn(void *arg, const char *what, unsigned attempt, struct secret **out);

struct pki_items_opts {
	bool trust;	   /* a file of trusted CAs */
	pki_pass_fn *pass; /* NULL: none are known */
	void *arg;
};

NJ_MUST enum nj_err pki_items_new(struct pki_items **out);
void pki_items_free(struct pki_items *s);
/* A file that cannot be read or holds nothing is a source with a why; errors
 * are only those of memory and bounds. */
NJ_MUST enum nj_err pki_items_file(
    struct pki_items *s, const char *path, const struct pki_items_opts *o);
NJ_MUST enum nj_err pki_items_bytes(struct pki_items *s, const char *name,
    struct slice bytes, const struct pki_items_opts *o);
/* What a server sent. */
NJ_MUST enum nj_err pki_items_chain(
    struct pki_items *s, const char *name, const STACK_OF(X509) * chain);

/* The public key of any item; NULL: none.  The caller frees it. */
EVP_PKEY *pki_item_public(const struct pki_item *it) NJ_MUST;

/* items_p12.c: the certificates and keys of a PKCS#12, and how it is made. */
struct pki_reader {
	struct pki_items *s;
	struct pki_source *src;
	const struct pki_items_opts *o;
};
NJ_MUST enum nj_err pki_items_p12(struct pki_reader *r, PKCS12 *p12);
/* Takes what item holds. */
NJ_MUST enum nj_err
pki_items_add(struct pki_reader *r, const struct pki_item *item);

#endif
