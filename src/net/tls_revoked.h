/* SPDX-License-Identifier: Apache-2.0
 * tls_revoked - the certificates a listener must not believe any more: those
 *               of its crlfile (and capath), and those of our own CA's list.
 *
 * The two differ when they are old.  Without a list that holds now a foreign
 * CA says nothing, so its clients are refused, as everywhere.  Our own list is
 * complete whatever its date, as whoever revokes a certificate writes it: it
 * is used on, and told of.
 *
 * Several CAs may have one name: an old key and a new one, or two that know
 * nothing of each other.  A list speaks of the certificates of that one which
 * has signed it, and of those of its namesakes below it in a client's chain.
 *
 * Owns:    struct tls_revoked its lists.  Reference counted: a handshake keeps
 *          the one it began with.
 * Threads: read-only once made, but for what handshakes have found out of
 *          lists (struct tls_list), which any may add to.
 * Bounds:  REVOKED_FILE_MAX bytes a file, REVOKED_LISTS_MAX lists; of CAs that clients send one for each list,
 *          and REVOKED_SENT_MAX that have none.
 * Spec:    RFC 5280 5, 6.3.
 */
#ifndef NJ_NET_TLS_REVOKED_H
#define NJ_NET_TLS_REVOKED_H

#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define REVOKED_FILE_MAX  (64 * 1024 * 1024)
#define REVOKED_LISTS_MAX (UINT16_MAX + 1u) /* struct revoked_one */
#define REVOKED_WAITS	  2000		    /* ms */
#define REVOKED_SENT_MAX  256
/* RFC 5280 4.1.2.2; of a longer one the end counts. */
#define REVOKED_SERIAL_MAX 20

/* A CA, as lists tell it from others. */
struct revoked_by {
	uint32_t name; /* tls_issuer_hash */
	uint32_t key;  /* a hash of the public key; 0: it is not known */
	uint32_t id;   /* a hash of the key's identifier; 0: it has none */
};

struct revoked_one {
	uint32_t issuer; /* tls_issuer_hash */
	uint16_t list;	 /* which of them it stands on */
	uint8_t len;
	uint8_t serial[REVOKED_SERIAL_MAX];
};

struct tls_list; /* tls_foreign.h */

struct tls_revoked {
	atomic_uint refs;
	STACK_OF(X509_CRL) * crls; /* foreign ones, for the library's check */
	struct tls_list *lists;	   /* of the same order */
	size_t n_lists;
	struct revoked_by *by; /* of each list; foreign ones first */
	/* The CAs that were there when they were read: ours, and those that
	 * clients had sent by then, the last ones first. */
	struct revoked_by *cas;
	STACK_OF(X509) * sent;
	size_t n_by, cap_by, n_cas, n_ours;
	struct revoked_one *v; /* sorted */
	size_t n, cap;
	bool has_own; /* our CA has one */
	bool own_stale;
	int64_t until; /* when the first of the lists ends; 0: there is none */
};

uint32_t tls_hash_never_0(struct slice s);
/* Of the name as the library compares names; 0 when it cannot be. */
uint32_t tls_issuer_hash(const X509_NAME *name);

/* crls: foreign ones, moved on success (may be empty).  own: the path of our
 * own list, PEM, or NULL; a file that is not there is an empty list.  What is
 * in it and has the name of one of cas must be signed by it.  had: the lists of
 * before, or NULL: what CAs clients sent with them is known.  Whatever fails but for
 * want of memory is told. */
NJ_MUST enum nj_err tls_revoked_new(STACK_OF(X509_CRL) * *crls, const char *own,
    STACK_OF(X509) * cas, const struct tls_revoked *had,
    struct tls_revoked **out, struct nj_why *why);
struct tls_revoked *tls_revoked_ref(struct tls_revoked *r);
void tls_revoked_unref(struct tls_revoked *r);
/* The last but for who looks something up just now.  It waits for those, some
 * seconds at the most, since to free a hundred thousand is not their work. */
void tls_revoked_end(struct tls_revoked *r);
/* Whether this certificate of that issuer is on a list. */
bool tls_revoked_has_cert(const struct tls_revoked *r, X509 *x, X509 *issuer);
/* Appends how lists call it: issuer and serial.  One whose issuer has a namesake
 * above it is put once with each, in a row. */
NJ_MUST enum nj_err tls_revoked_put(X509 *x, X509 *issuer, struct buf *out);
/* All of the first certificate of those, and the rest; false: there is none. */
bool tls_revoked_take(struct slice *put, struct slice *first);
/* Whether one of those is on a list, or cannot be read. */
bool tls_revoked_has_any(const struct tls_revoked *r, struct slice put);
/* Whether the first certificate of those is of a CA with a foreign list that holds now; true
 * where no foreign lists are asked.  part: of the list that let it pass (struct tls_lent);
 * that of another part says nothing of it.  known: and whose signature was found good. */
bool tls_revoked_holds(
    const struct tls_revoked *r, struct slice put, uint32_t part, bool known);

#endif
