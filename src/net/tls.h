/* SPDX-License-Identifier: Apache-2.0
 * tls - TLS for listeners and for clients, over OpenSSL 3; nothing of it is
 *       seen above this header, so that another library can be linked.
 *
 * Owns:    struct tls_server: one SSL_CTX a shard, ticket keys, CAs, CRLs.
 *          Reference counted: streams keep theirs alive across a reload.
 * Threads: tls_server_new/ref/unref any; tls_accept on shard i uses only
 *          context i.
 * Spec:    RFC 8446, RFC 5246, RFC 9325; only TLS 1.3 and 1.2.
 */
#ifndef NJ_NET_TLS_H
#define NJ_NET_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/slice.h"
#include "net/stream.h"

enum tls_min { TLS_MIN_12 = 12, TLS_MIN_13 = 13 };

#define TLS_PSK_MAX	     256 /* bytes of a key */
#define TLS_PSK_IDENTITY_MAX 255

/* Keys that clients share with us. */
struct tls_psk {
	/* Copies an identity's key and returns its length, never 0: for an
	 * identity that is nobody's a key that nobody has (*known, which is for
	 * the log).  Any thread; always the same work. */
	size_t (*key_of)(const void *arg, struct slice identity,
	    uint8_t key[TLS_PSK_MAX], bool *known);
	const void *arg;
	void (*unref)(const void *arg); /* drops the reference that arg is */
	const char *hint;		/* told to clients of TLS 1.2 */
};

struct tls_staples;

struct tls_server_opts {
	/* PEM, chain in certfile; both required, unless there is psk */
	const char *certfile, *keyfile;
	/* "CERTFILE KEYFILE" a line, without blanks in them: for other names,
	 * or with another kind of key.  NULL: none. */
	const char *further;
	const struct secret *passphrase; /* of keyfile; NULL: none */
	/* a key that every user can read is refused, not only told of */
	bool refuse_exposed_key;
	const char *cafile, *capath; /* client CAs */
	const char *crlfile;
	const char *own_list; /* our CA's revoked ones; tls_revoked.h; NULL */
	bool require_certificate; /* else asked for only if there are CAs
					 * and want_certificate */
	bool want_certificate;
	/* A client that agrees on http/1.1 by ALPN is not asked for one: it is
	 * a browser, and Chromium gives up a WebSocket that asks. */
	bool spare_browsers;
	/* Which CAs stand behind a client's certificate is kept (struct
	 * tls_peer): a session that cannot tell is not resumed. */
	bool want_issuers;
	/* NULL: none.  What arg refers to is taken over when it succeeds. */
	const struct tls_psk *psk;
	/* A client's certificate is believed for so long after its end, which
	 * tls_peer.not_after tells; its CA's are not. */
	uint32_t grace_s;
	/* Answers of CAs about its certificates (tls_staple.h); NULL: none are
	 * shown. */
	struct tls_staples *staples;
	enum tls_min min;
	const char *ciphers;	  /* TLS 1.2; NULL: ours */
	const char *ciphersuites; /* TLS 1.3; NULL: ours */
	unsigned tickets;	  /* 1; 0: no resumption */
	uint32_t ticket_rotate_s; /* 12 h; three generations are kept */
	/* On a reload of the same listener: its ticket keys are taken over, and
	 * it is held for tls_server_bury.
	 * Tickets are used only as long as the CAs and what is required are
	 * the same, and the certificate is not revoked. */
	const struct tls_server *previous;
};

struct tls_server;

/* Loads everything; NJ_INVALID with what is wrong and the mend (unreadable
 * key, key of another certificate, weak or expired certificate, empty CA). */
NJ_MUST enum nj_err tls_server_new(const struct tls_server_opts *o,
    unsigned shards, struct tls_server **out, struct nj_why *why);
struct tls_server *tls_server_ref(struct tls_server *t);
void tls_server_unref(struct tls_server *t);
/* Frees what it came in the place of (previous), if nobody else has that any
 * more, and gives it the lists of revoked certificates if not: one thread at a time, and none that has clients to serve. */
void tls_server_bury(struct tls_server *t);
/* Only checks: every fault found is told to fn (for --test-config). */
void tls_server_check(const struct tls_server_opts *o,
    void (*fn)(void *arg, bool fatal, const struct nj_why *why), void *arg);
/* Certificates that are near their end and the like, for the log at start. */
void tls_server_warnings(struct tls_server *t,
    void (*fn)(void *arg, const struct nj_why *why), void *arg);

/* When the first certificate of what we send ends, in Unix seconds; 0: we send
 * none. */
int64_t tls_server_expires(const struct tls_server *t);

/* Unix seconds; 0: there is none. */
struct tls_dates {
	int64_t server; /* as tls_server_expires */
	int64_t cas;	/* the first of the clients' CAs to end, unless they are
			 * a whole bundle; one that has ended beside others is
			 * passed over */
	int64_t lists;	/* of revoked certificates, likewise */
};
void tls_server_dates(
    const struct tls_server *t, int64_t now, struct tls_dates *out);

/* A new ticket key now; the third oldest is forgotten. */
void tls_server_rotate(struct tls_server *t);

/* Reads its revocation lists again; on an error those it has stay.  *changed
 * when other certificates are revoked now than before. */
NJ_MUST enum nj_err
tls_server_renew_lists(struct tls_server *t, bool *changed, struct nj_why *why);
/* Our own CA's list has passed its date: it holds on. */
bool tls_server_list_is_stale(const struct tls_server *t);
/* Whether the certificate that a peer showed is revoked now, or that of a CA
 * above it. */
enum tls_revoked_who {
	TLS_REVOKED_NONE,
	TLS_REVOKED_ITSELF,
	TLS_REVOKED_ABOVE
};
enum tls_revoked_who tls_server_peer_is_revoked(
    const struct tls_server *t, const struct tls_peer *p);

/* A server stream on fd (taken over on success). */
NJ_MUST enum nj_err tls_accept(struct tls_server *t, unsigned shard, int fd,
    struct stream_scratch *scratch, struct stream **out);

struct tls_client_opts {
	const char *cafile, *capath;
	bool os_certs;
	const char *certfile, *keyfile;
	const struct secret *passphrase;
	bool insecure; /* do not check the name */
	/* Without a CA: whoever answers is listened to, and must be told
	 * nothing.  For finding out who it is by what it says. */
	bool unverified;
	const char *ciphers, *ciphersuites, *alpn;
	enum tls_min min, max; /* 0: no bound of our own */
	const char *psk_identity, *psk_hex;
	const char *keylog;
};

struct tls_client;
NJ_MUST enum nj_err tls_client_new(const struct tls_client_opts *o,
    struct tls_client **out, struct nj_why *why);
void tls_client_free(struct tls_client *t);
/* host is checked against the certificate and sent as SNI when it is a name.
 * resume: the last session to this host is offered. */
NJ_MUST enum nj_err tls_connect(struct tls_client *t, int fd, const char *host,
    bool resume, struct stream_scratch *scratch, struct stream **out);

/* Who keeps count of shared keys that are guessed. */
struct tls_psk_watch {
	/* false: not now; it fails like a wrong key. */
	bool (*may)(void *arg, struct slice identity);
	void (*failed)(void *arg, struct slice identity);
};
/* Of a stream that tls_accept made, before its handshake; arg lives as long. */
void tls_psk_watch(struct stream *s, const struct tls_psk_watch *w, void *arg);

/* What a handshake established; one allocation, never NULL strings, "" where
 * there is nothing.  Strings are escaped for logs, except those of the
 * certificate, which are exact: a certificate whose names hold control bytes
 * or are only a wildcard is refused at the handshake. */
struct tls_peer {
	const char *version; /* "TLSv1.3" */
	const char *cipher;
	const char *alpn, *sni;
	const char *psk; /* the identity whose key was used */
	const char *cn;
	const char *subject; /* RFC 2253, as Mosquitto prints it */
	const char *san_uri, *san_dns, *san_email; /* the first of each */
	const char *serial;			   /* hexadecimal */
	int64_t not_after;			   /* Unix seconds */
	/* with want_issuers: SHA-256 of the public keys of the CAs that the
	 * certificate was found good by, 32 bytes each, the nearest first */
	struct slice issuers;
	/* how lists call the certificate, then the CAs above it
	 * (tls_revoked_put) */
	struct slice listed;
	struct slice ips; /* SAN iPAddress: each a length byte and bytes */
	bool has_cert, resumed;
	uint8_t spki_sha256[32], cert_sha256[32];
};

#endif
