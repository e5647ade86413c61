/* SPDX-License-Identifier: Apache-2.0
 * tls_foreign - lists of revoked certificates that others made (crlfile, capath), and
 *               what the library is told of them in a handshake.
 *
 * It would hash the whole of a list for its signature each time.  So who has signed it is
 * found out once, when the list is read or the first time that its CA is shown.
 *
 * Owns:    struct tls_list its CAs; it is a part of struct tls_revoked.
 * Threads: read-only once made, but for met, which any may set.
 * Bounds:  one CA a list.
 * Spec:    RFC 5280 5, 6.3.
 */
#ifndef NJ_NET_TLS_FOREIGN_H
#define NJ_NET_TLS_FOREIGN_H

#include <openssl/x509_vfy.h>

#include "net/tls_revoked.h"

/* A foreign list, and a CA that was found to have signed it.  Whoever has that name and
 * that key is that CA, whatever certificates there are of it: one list knows one. */
struct tls_list {
	X509_CRL *crl;	     /* borrowed */
	X509 *ca;	     /* found when it was read; NULL: none */
	_Atomic(X509 *) met; /* or by a handshake */
	uint32_t part; /* a hash of which certificates it is about; 0: all */
	bool plain;    /* there is no more to it than its signature */
	bool strange;  /* the library lets nobody pass by it */
};

NJ_MUST enum nj_err tls_list_init(
    struct tls_list *l, X509_CRL *crl, X509 *signer, STACK_OF(X509) * cas);
void tls_list_fini(struct tls_list *l);
bool tls_list_is_timely(const struct tls_list *l);
/* That the library lets certificates of a CA with that key (tls_key_hash) pass by it. */
bool tls_list_accepts(const struct tls_list *l, uint32_t key);
bool tls_list_is_named(const X509_CRL *crl, const X509 *ca);
/* Of the name and the key: there may be several certificates of one CA. */
bool tls_same_ca(const X509 *a, const X509 *b);
uint32_t tls_key_hash(const X509 *ca);

/* The lists of one check, and what it saw of them. */
struct tls_lent {
	struct tls_revoked *r; /* borrowed */
	X509_CRL *seen;
	X509 *issuer;
	uint32_t part; /* of the list that it has passed; 0: about all */
};

/* Checks with that store do not look at the signature of a list again that one of
 * cas was found to have signed. */
void tls_revoked_use(X509_STORE *store);
/* Gives the check the lists of l->r, if it has any; false: it could not be told. */
NJ_MUST bool tls_revoked_lend(struct tls_lent *l, X509_STORE_CTX *ctx);
/* Takes them back.  good: the certificate was found good, so that whatever list
 * the library asked is known from now on. */
void tls_revoked_back(struct tls_lent *l, X509_STORE_CTX *ctx, bool good);

#endif
