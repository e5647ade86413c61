/* SPDX-License-Identifier: Apache-2.0
 * peer - a client at one end of a socket pair, and the test as its broker at
 *        the other.
 */
#ifndef NJ_TESTS_CLIENT_PEER_H
#define NJ_TESTS_CLIENT_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "client/client.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

struct peer {
	struct client *c;
	int fd; /* the broker's end */
	/* what it sent while connecting, as peer_got gives it */
	char opening[1024];
	/* what the client's events said */
	char log[4096];
	struct nj_why why;
	/* done in on_message */
	bool hold, disconnect;
	const char *answer; /* topic to publish to */
};

/* A client with these options; events and arg are the peer's. */
void peer_new(struct peer *p, struct client_opts *o);
void peer_free(struct peer *p);
/* Connects, the CONNACK being there already. */
void peer_connect(struct peer *p, struct slice connack);
/* The same with an accepting CONNACK of the version. */
void peer_accept(struct peer *p, enum mqtt_ver v);
void peer_send(struct peer *p, struct slice bytes);
/* Steps until nothing more happens; the result of the last. */
enum nj_err peer_settle(struct peer *p);
/* Everything that the client has sent, in hexadecimal ("c0 00"). */
const char *peer_got(struct peer *p);
void peer_expect(const char *why, const char *got, const char *want);

#endif
