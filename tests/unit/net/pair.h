/* SPDX-License-Identifier: Apache-2.0
 * pair - a broker's and a client's stream joined by a socket pair, driven in
 *        turn in one thread.
 *
 * Owns:    struct pair: both streams and the scratch.
 * Threads: one test.
 */
#ifndef NJ_TEST_NET_PAIR_H
#define NJ_TEST_NET_PAIR_H

#include <openssl/ssl.h>

#include "net/tls.h"

struct pair {
	struct stream_scratch *scratch;
	struct stream *server, *client; /* client NULL: raw is used */
	int raw;	    /* the client's end, when a test plays the client */
	SSL *ssl;	    /* raw client with OpenSSL on raw */
	enum nj_err se, ce; /* how the handshakes ended */
};

/* Which shard's context the calling thread uses. */
extern _Thread_local unsigned pair_shard;
/* Sockets and a server stream; the test writes to p->raw. */
void pair_raw(struct pair *p, struct tls_server *t);
/* The same with an OpenSSL client of this context on raw. */
void pair_openssl(
    struct pair *p, struct tls_server *t, SSL_CTX *ctx, const char *sni);
/* The same with our own client. */
void pair_ours(struct pair *p, struct tls_server *t, struct tls_client *c,
    const char *host, bool resume);
/* Runs both handshakes to their ends. */
void pair_handshake(struct pair *p);
void pair_fini(struct pair *p);
/* Sends text and expects it at the other end. */
void pair_say(struct stream *from, struct stream *to, const char *text);

#endif
