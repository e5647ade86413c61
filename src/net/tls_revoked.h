/* SPDX-License-Identifier: Apache-2.0
 * tls_revoked - the certificates a listener must not believe any more: those
 *               of its crlfile (and capath), and those of our own CA's list.
 *
 * The two differ when they are old.  Without a list that holds now a foreign
 * CA says nothing, so its clients are refused, as everywhere.  Our own list is
 * complete whatever its date, as whoever revokes a certificate writes it: it
 * is used on, and told of.
 *
 * Owns:    struct tls_revoked its lists.  Reference counted: a handshake keeps
 *          the one it began with.
 * Threads: read-only once made.
 * Bounds:  REVOKED_FILE_MAX bytes a file.
 * Spec:    RFC 5280 5, 6.3.
 */
#ifndef NJ_NET_TLS_REVOKED_H
#define NJ_NET_TLS_REVOKED_H

#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define REVOKED_FILE_MAX (64 * 1024 * 1024)
#define REVOKED_WAITS	 2000 /* ms */
/* RFC 5280 4.1.2.2; of a longer one the end counts. */
#define REVOKED_SERIAL_MAX 20

struct revoked_one {
	uint32_t issuer; /* tls_issuer_hash */
	uint8_t len;
	uint8_t serial[REVOKED_SERIAL_MAX];
};

struct signed_list;

struct tls_revoked {
	atomic_uint refs;
	STACK_OF(X509_CRL) * crls; /* foreign ones, for the library's check */
	struct signed_list *good;  /* those whose signature was found good */
	size_t n_good;
	struct revoked_one *v; /* sorted */
	size_t n;
	bool own_stale;
	int64_t until; /* when the first of the lists ends; 0: there is none */
};

/* Of the name as the library compares names; 0 when it cannot be. */
uint32_t tls_issuer_hash(const X509_NAME *name);

/* crls: foreign ones, moved on success (may be empty).  own: the path of our
 * own list, PEM, or NULL; a file that is not there is an empty list.  What is
 * in it and has the name of one of cas must be signed by it. */
NJ_MUST enum nj_err tls_revoked_new(STACK_OF(X509_CRL) * *crls, const char *own,
    STACK_OF(X509) * cas, struct tls_revoked **out, struct nj_why *why);
/* Checks with that store do not look at the signature of a list again that one of
 * cas was found to have signed. */
void tls_revoked_use(X509_STORE *store);
/* Gives the check its lists, and takes them back with NULL; r stays the
 * caller's. */
void tls_revoked_lend(struct tls_revoked *r, X509_STORE_CTX *ctx);
struct tls_revoked *tls_revoked_ref(struct tls_revoked *r);
void tls_revoked_unref(struct tls_revoked *r);
/* The last but for who looks something up just now.  It waits for those, some
 * seconds at the most, since to free a hundred thousand is not their work. */
void tls_revoked_end(struct tls_revoked *r);
/* serial: big endian; without zeros in front, but for what is left of a longer
 * one. */
bool tls_revoked_has(
    const struct tls_revoked *r, uint32_t issuer, struct slice serial);
/* The same of a certificate. */
bool tls_revoked_has_cert(const struct tls_revoked *r, X509 *x);
/* Appends how lists call it: issuer and serial. */
NJ_MUST enum nj_err tls_revoked_put(X509 *x, struct buf *out);
/* Whether one of those is on a list, or cannot be read. */
bool tls_revoked_has_any(const struct tls_revoked *r, struct slice put);
/* X509_V_OK, or what the lists say: revoked, or, where there are foreign ones,
 * that there is none of this issuer that holds now. */
int tls_revoked_verdict(const struct tls_revoked *r, const X509_NAME *issuer,
    const ASN1_INTEGER *serial);

#endif
