/* SPDX-License-Identifier: Apache-2.0
 * tls_impl - what the files of the TLS layer share among themselves.
 *
 * Owns:    see each struct.
 * Threads: struct tls_server is read-only once made, but for its count, its
 *          tickets and its revocation lists (locks of their own); the rest
 *          belongs to the stream's owner.
 */
#ifndef NJ_NET_TLS_IMPL_H
#define NJ_NET_TLS_IMPL_H

#include <openssl/core_dispatch.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "net/stream_impl.h"
#include "net/tls.h"
#include "net/tls_revoked.h"

#define TLS_PLAIN_MAX	  16384 /* RFC 8446 5.1 */
#define TLS_RECORD_MAX	  (TLS_PLAIN_MAX + 2048 + 5)
#define TLS_RECORD_OUT	  (TLS_PLAIN_MAX + 256) /* what ours can take */
#define TLS_CHAIN_MAX	  (32 * 1024) /* certificates either side sends */
#define TLS_MORE_MAX	  16	      /* certificates beside the first */
#define TLS_DEPTH_MAX	  6
#define TLS_LIBS_MAX	  64   /* library contexts; shards beyond share */
#define TLS_IPS_MAX	  1024 /* bytes of a peer's SAN addresses */
#define TLS_TICKET_LIFE_S (24 * 3600)
/* KeyUpdates a peer may be ahead of the reads that brought data. */
#define TLS_KEY_UPDATES_MAX 32

/* Of TLS 1.2. */
#define TLS_CIPHERS_12                                               \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define TLS_CIPHERS_PSK                                      \
	"ECDHE-PSK-CHACHA20-POLY1305:PSK-AES128-GCM-SHA256:" \
	"PSK-AES256-GCM-SHA384:PSK-CHACHA20-POLY1305"

struct tls_more;
struct tls_staple;
struct tls_tickets;
struct tls_ident;

struct tls_shard {
	OSSL_LIB_CTX *lib; /* NULL: the process's own */
	SSL_CTX *ctx;
	EVP_MD *sha256;
	EVP_CIPHER *aes256; /* of tickets */
	SSL_CTX *park[2];   /* see tls_ident.c: TLS 1.2, 1.3 */
	SSL_SESSION *blank;
	struct tls_more *more; /* NULL: one certificate */
};

/* How our own certificate is called when a client refuses it. */
struct tls_face {
	char subject[160], issuer[160], names[256], until[32];
};

struct tls_note {
	struct tls_note *next;
	struct nj_why why;
};

struct tls_server {
	atomic_uint refs;
	unsigned n;
	bool require, want, spare_browsers, want_issuers;
	struct tls_psk psk; /* key_of NULL: none */
	uint32_t grace_s;
	struct tls_tickets *tickets; /* NULL: no resumption */
	/* Where its revocation lists are, to read them again. */
	struct tls_server_opts lists;
	STACK_OF(X509) * cas;
	pthread_mutex_t revoked_lock;
	struct tls_revoked *revoked; /* under it; tls_server_revoked */
	/* Digest of everything that decides whether a client's certificate is
	 * believed; a ticket made under another one is not used. */
	uint8_t trust[32];
	/* For a reload by who may no longer read them. */
	STACK_OF(X509) * own;
	EVP_PKEY *key;
	struct tls_face face;
	int64_t expires; /* see tls_server_expires */
	struct tls_note *notes;
	struct tls_staple **staples; /* of its certificates that have one */
	unsigned n_staples;
	struct tls_server *former; /* a reference; see tls_server_bury */
	struct tls_shard shard[];
};

struct tls_client {
	SSL_CTX *ctx;
	EVP_MD *sha256;
	SSL_SESSION *session; /* the newest */
	char *session_host;
	char *cafile; /* for explanations; NULL: the system's */
	bool insecure;
	char *psk_identity;
	struct secret *psk;
	int keylog_fd; /* -1: none */
};

enum tls_phase { TLS_HELLO, TLS_HANDSHAKE, TLS_OPEN, TLS_FAILED };

struct tls_stream {
	struct stream base;
	struct stream_scratch *scratch;
	struct tls_server *server; /* own reference, or NULL */
	struct tls_client *client; /* borrowed, or NULL */
	SSL *ssl;
	struct tls_peer *peer;
	char *name; /* server: SNI the client sent; client: host */
	/* of the certificate that was shown; of a ticket nothing is kept here */
	struct buf ident;	    /* for the ticket being written */
	struct buf issuers, listed; /* as struct tls_peer has them */
	char *psk;		    /* server: the identity offered last */
	const struct tls_psk_watch *psk_watch; /* server; NULL: nobody */
	void *psk_watch_arg;
	uint8_t *kept;	       /* received, not yet taken by OpenSSL */
	uint8_t *unsent;       /* records the socket did not take */
	int64_t trusted_until; /* first end in the client's chain; 0: none */
	uint32_t kept_len, unsent_at, unsent_len;
	uint32_t part; /* struct tls_lent, for the ticket */
	uint16_t shard, hello_version;
	uint8_t phase; /* enum tls_phase */
	uint8_t key_updates;
	bool kept_whole : 1; /* kept holds a whole record */
	bool more : 1;	     /* the last receive left something, perhaps */
	bool lazy : 1;	     /* unsent may wait for the next write */
	bool ended : 1;	     /* the peer sent its end */
	bool explained : 1;  /* base.why says why the handshake fails */
	bool flooded : 1;    /* TLS_KEY_UPDATES_MAX was passed */
	bool psk_known : 1;  /* somebody has that identity */
	bool psk_held : 1;   /* its key was not looked at */
	bool eof : 1;
	bool ticket_due : 1; /* the handshake left it for tls_shed */
};

/* Valid inside OpenSSL's callbacks: the stream whose call is on. */
struct tls_stream *tls_stream_of(const SSL *ssl);

/* tls_stream.c */
NJ_MUST enum nj_err
tls_stream_new(int fd, struct stream_scratch *scratch, struct tls_stream **out);
/* Gives the stream an SSL of this context. */
NJ_MUST enum nj_err tls_stream_start(struct tls_stream *s, SSL_CTX *ctx);
/* Counts KeyUpdates; set on every context. */
void tls_on_message(int write_p, int version, int type, const void *buf,
    size_t len, SSL *ssl, void *arg);

/* tls_server.c: the lists as they are now, a reference. */
struct tls_revoked *tls_server_revoked(const struct tls_server *t);
/* Others in their place; both references change hands. */
struct tls_revoked *
tls_server_put_lists(struct tls_server *t, struct tls_revoked *r);
/* tls_recheck.c: again after every handshake, resumed ones too. */
NJ_MUST enum nj_err tls_server_recheck(struct tls_stream *s, X509 *leaf);
/* The same for what a ticket holds, a certificate or a record of one, without
 * words. */
bool tls_server_recheck_quiet(const struct tls_server *t, X509 *leaf);
bool tls_server_recheck_ident(const struct tls_ident *id);
/* That none of it is revoked (struct tls_peer.listed), and there is a list where one
 * has to be; part, known: as tls_revoked_holds. */
bool tls_server_listed_good(
    const struct tls_server *t, struct slice listed, uint32_t part, bool known);
/* Those of TLS 1.2 do not tell of the issuers; and a session by a shared key
 * gets none. */
bool tls_server_12_has_no_tickets(const struct tls_server *t);

/* tls_former.c: gives its lists to the former ones, and ends old, a reference
 * (NULL: none). */
void tls_former_lists(struct tls_server *t, struct tls_revoked *old);
/* At its end. */
void tls_former_fini(struct tls_server *t);

/* tls_client.c */
void tls_client_established(struct tls_stream *s);

/* tls_ident.c */
struct tls_ident {
	int64_t not_after;
	struct slice spki_sha256, cert_sha256; /* 32 bytes */
	struct slice cn, subject, uri, dns, email, serial;
	struct slice issuers, ips;
};
NJ_MUST enum nj_err tls_ident_put(const struct tls_peer *p, struct buf *out);
/* Borrows from s. */
NJ_MUST enum nj_err tls_ident_take(struct slice s, struct tls_ident *out);
bool tls_shed_works(void);
/* Drops the session, and with it the client's certificate, from an established
 * connection, writing the ticket that is due.  leaf NULL: there is none. */
NJ_MUST enum nj_err tls_shed(struct tls_stream *s, X509 *leaf);

/* tls_peer.c */
/* What is known beside the certificate. */
struct tls_beside {
	struct slice sni, psk;
	struct slice issuers, listed; /* see struct tls_peer */
};
NJ_MUST enum nj_err
tls_peer_of_ident(const SSL *ssl, const struct tls_ident *id,
    const struct tls_beside *b, struct tls_peer **out);
NJ_MUST enum nj_err tls_peer_new(const SSL *ssl, X509 *leaf,
    const EVP_MD *sha256, const struct tls_beside *b, struct tls_peer **out);
/* NJ_DENIED when a name in it could be taken for something else. */
NJ_MUST enum nj_err tls_peer_names_ok(X509 *leaf, struct nj_why *why);
/* Of its SubjectPublicKeyInfo. */
NJ_MUST enum nj_err tls_spki_sha256(X509 *x, const EVP_MD *md, uint8_t out[32]);
int64_t tls_time(const ASN1_TIME *t);
void tls_face_of(X509 *x, struct tls_face *out);

/* tls_psk.c */
NJ_MUST enum nj_err tls_psk_use(SSL_CTX *ctx, const struct tls_psk *psk);
/* The identity by whose key the handshake was made; empty: none. */
struct slice tls_psk_name(const struct tls_stream *s);
/* Says why it failed, if it did because of a key; binder: at the one that TLS 1.3 has
 * for it. */
bool tls_psk_explain(struct tls_stream *s, bool binder);

/* tls_ticket.c */
enum tls_came { TLS_CAME_NOT, TLS_CAME_BY_KEY, TLS_CAME_BY_TICKET };
/* Marks a session that a callback gives to the library. */
bool tls_came_set(SSL_SESSION *sess, enum tls_came how);
/* By which the connection's session was resumed; NOT: it was made just now. */
enum tls_came tls_came(const SSL *ssl);
/* What the ticket says that it was resumed by; false: by none.  Borrows from
 * the session. */
struct tls_told {
	struct slice ident, issuers, listed; /* see struct tls_stream */
	uint32_t part;
};
bool tls_told(const SSL *ssl, struct tls_told *out);
NJ_MUST enum nj_err
tls_tickets_new(uint32_t rotate_s, struct tls_tickets **out);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *t);
void tls_tickets_unref(struct tls_tickets *t);
void tls_tickets_rotate(struct tls_tickets *t);
struct slice tls_tickets_context(const struct tls_tickets *t);
NJ_MUST enum nj_err tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx);

/* tls_explain.c: the error queue and the stream's state in words. */
void tls_explain(struct tls_stream *s);
void tls_explain_eof(struct tls_stream *s);
/* Client side: the failed check of the broker's certificate. */
void tls_explain_broker_cert(struct tls_stream *s, X509_STORE_CTX *ctx);
/* The library's own words for the oldest error; clears the queue. */
void tls_library_why(struct nj_why *why, const char *doing);

/* tls_load.c */
typedef void tls_fault_fn(void *arg, bool fatal, const struct nj_why *why);
struct tls_material {
	STACK_OF(X509) * chain; /* own certificate first */
	EVP_PKEY *key;
	STACK_OF(X509) * cas;
	STACK_OF(X509_CRL) * crls;
	struct tls_material *more; /* of TLS_MORE_MAX; chain and key alone */
	unsigned n_more;
};
/* Loads all, telling every fault; NJ_INVALID when one was fatal. */
NJ_MUST enum nj_err tls_material_load(const struct tls_server_opts *o,
    tls_fault_fn *fn, void *arg, struct tls_material *out);
void tls_material_fini(struct tls_material *m);
NJ_MUST enum nj_err
tls_load_certs(const char *path, STACK_OF(X509) * into, struct nj_why *why);
/* required: a file without any is a fault. */
NJ_MUST enum nj_err tls_load_crls(const char *path, STACK_OF(X509_CRL) * into,
    bool required, struct nj_why *why);
/* The lists of crlfile and capath alone; NULL without crlfile. */
NJ_MUST enum nj_err tls_reload_crls(const struct tls_server_opts *o,
    tls_fault_fn *fn, void *arg, STACK_OF(X509_CRL) * *out);
NJ_MUST enum nj_err tls_load_capath(const char *path, STACK_OF(X509) * into,
    STACK_OF(X509_CRL) * crls, struct nj_why *why);

/* tls_offer.c: what of a client's ciphers does not fit; false: it is not
 * known. */
bool tls_offer_explain(struct tls_stream *s, struct nj_why *w);

/* tls_more.c: certificates beside the first. */
NJ_MUST enum nj_err tls_more_load(const struct tls_server_opts *o,
    tls_fault_fn *fn, void *arg, struct tls_material *m);
NJ_MUST enum nj_err
tls_more_use(struct tls_shard *sh, const struct tls_material *m);
void tls_more_free(struct tls_more *more);

/* tls_kdf.c: functions for the provider of a shard's context; provctx is what
 * they are called with, lib where the digests come from.  One caller at a
 * time. */
extern const OSSL_DISPATCH tls_kdf_13[], tls_kdf_12[];
NJ_MUST enum nj_err tls_kdf_add(OSSL_LIB_CTX *lib, void *provctx);

/* tls_staple.c: those of the certificates, and that they are shown; s may be
 * NULL. */
NJ_MUST enum nj_err tls_staple_use(
    struct tls_server *t, struct tls_staples *s, const struct tls_material *m);
void tls_staple_drop(struct tls_staple **v, unsigned n);
/* A reference to who issued it, among those that the system trusts, or NULL. */
X509 *tls_issuer_of_system(X509 *leaf);

/* tls_lib.c: the library context of a shard; NULL: the process's own. */
OSSL_LIB_CTX *tls_lib(unsigned shard);
/* Copies that belong to a context; NULL with the library's error. */
X509 *tls_lib_cert(OSSL_LIB_CTX *lib, X509 *x);
EVP_PKEY *tls_lib_key(OSSL_LIB_CTX *lib, EVP_PKEY *key);

/* tls_context.c: versions, ciphers, groups; the same for both sides. */
NJ_MUST enum nj_err
tls_context_set(SSL_CTX *ctx, int min, int max, const char *ciphers,
    const char *ciphersuites, struct nj_why *why, struct nj_why *doubt);

#endif
