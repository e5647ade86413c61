/* SPDX-License-Identifier: Apache-2.0
 * edge - every packet that the broker reads from or writes to a connection, as
 *        the model sees it: counted, checked, remembered.
 *
 * Owns:    unfinished packets of both directions.
 */
#ifndef NJ_TESTS_SIM_EDGE_H
#define NJ_TESTS_SIM_EDGE_H

#include "base/buf.h"
#include "model.h"

#define EDGE_WAIT 512

enum goodbye { STAYS, GOES, MAYBE_GOES };

/* A packet that awaits its answer. */
struct wait {
	uint8_t type; /* of the answer */
	uint16_t pid;
	uint32_t uid;
};

struct edge {
	struct nconn *conn;
	struct client *client;
	struct msession *session;
	struct buf in, out;
	/* its CONNECT */
	enum mqtt_ver version;
	bool called, clean;
	uint32_t expiry_s;
	uint16_t receive_max;
	uint32_t max_packet;
	uint16_t alias_max;
	uint32_t will_uid, will_delay;
	uint64_t called_ms, called_seq;
	bool replays; /* what came before CONNACK */
	char alias[CLIENT_ALIASES + 1][64];
	/* where it stands */
	bool live;	/* CONNACK said yes */
	bool unwritten; /* it came while nothing could be */
	bool over, refused;
	bool paused;	       /* its last packets may not have been handled */
	bool will_seen;	       /* ahead of its end */
	uint64_t publish_turn; /* when it read a PUBLISH, and may pause */
	bool shut;	       /* the broker ended it */
	enum goodbye goodbye;
	uint64_t live_ms, live_seq;
	long refusals; /* of memory, when this turn began */
	struct wait wait[EDGE_WAIT];
	unsigned n_wait;
	uint32_t early[64]; /* QoS 0, not surely handled */
	unsigned n_early;
	unsigned window; /* QoS 1 and 2 sent and not answered, on it */
};

struct edge *edge_new(struct nconn *c);
void edge_free(struct edge *e);
/* The broker has read or written this. */
void edge_in(struct edge *e, const uint8_t *p, size_t n);
void edge_out(struct edge *e, const uint8_t *p, size_t n);
/* The broker has ended it, or another has taken its session over. */
void edge_over(struct edge *e);
/* A turn of a shard has ended. */
void edge_turn(void);

/* deliver.c */
void edge_publish(struct edge *e, const struct frame *f, size_t size);
void edge_answer(struct edge *e, uint8_t type, uint16_t pid, uint8_t code);
void edge_pubrel(struct edge *e, uint16_t pid);

/* The broker's own idea of the connection; NULL: it is on its way. */
struct conn;
struct conn *edge_peek(const struct edge *e);
/* What it reads now it handles now. */
bool edge_surely(const struct edge *e);
/* What it has read waits: for another shard, or for the disk. */
bool edge_waits(const struct edge *e);

#endif
