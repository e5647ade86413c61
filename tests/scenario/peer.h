/* SPDX-License-Identifier: Apache-2.0
 * peer - a client as a scenario plays it: it sends what it is told to, and
 *        keeps what it received until somebody asks.
 *
 * Owns:    its socket and what it received.
 * Threads: one.
 */
#ifndef NJ_TESTS_SCENARIO_PEER_H
#define NJ_TESTS_SCENARIO_PEER_H

#include "base/buf.h"
#include "wire/frame.h"
#include "wire/packet.h"
#include "world.h"

#define PEER_ALIASES 64

struct peer {
	char name[16];
	int fd; /* -1: not connected */
	enum mqtt_ver version;
	bool eof;     /* the broker has closed */
	bool stalled; /* reads nothing */
	bool dribble; /* sends byte by byte, with a turn after each */
	struct buf in;
	struct buf packet; /* the one last taken */
	uint16_t last_id;
	char alias[PEER_ALIASES + 1][128];
};

void peer_close(struct peer *p);
/* False: the broker does not take it. */
bool peer_send(struct peer *p, struct world *w, struct slice bytes);
/* Reads what is there; how many bytes. */
size_t peer_read(struct peer *p);
/* The next packet (type 0), or the next one of that type; the frame is valid
 * until the next call.  False: there is none. */
bool peer_take(struct peer *p, unsigned type, struct frame *out);
uint16_t peer_next_id(struct peer *p);

#endif
