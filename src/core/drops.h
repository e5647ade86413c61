/* SPDX-License-Identifier: Apache-2.0
 * drops - messages that do not reach a client: counted, and told in the log at a
 *         bounded rate.
 *
 * The first of a client and a cause is told at once, what follows as a number
 * every DROPS_EVERY_MS until there is none.
 *
 * Threads: the home shard.
 * Bounds:  DROPS_TOLD clients and causes at a time; of others the number is told.
 *          So no more than 2 * DROPS_TOLD + 1 lines in DROPS_EVERY_MS a shard.
 */
#ifndef NJ_CORE_DROPS_H
#define NJ_CORE_DROPS_H

#include <stdint.h>

#include "base/slice.h"
#include "base/text.h"
#include "base/timer.h"

#define DROPS_TOLD     8
#define DROPS_EVERY_MS 10000

struct home;
struct session;

enum drop_cause {
	DROP_NONE,
	DROP_MESSAGES, /* max_queued_messages */
	DROP_BYTES,    /* max_queued_bytes */
	DROP_OUTPUT,   /* max_output_bytes; QoS 0 */
	DROP_SIZE,     /* what the client takes [MQTT-3.1.2-24] */
	DROP_RIGHT,    /* it was allowed to read it when it came */
	DROP_ONCE,     /* QoS 0 that may have been sent before a crash */
	DROP_WORK,     /* max_match_work */
	DROP_MEMORY,
	DROP_CAUSES
};

/* Zeroed: nothing was dropped. */
struct drops {
	struct timer timer; /* armed while something is in here */
	unsigned n;
	uint64_t others;	   /* that found no place here */
	uint64_t keys[DROPS_TOLD]; /* whose and why */
	struct {
		enum drop_cause cause;
		uint64_t limit;	 /* its value; 0: it has none */
		uint64_t untold; /* since the last line */
		char who[TEXT_ESC];
	} v[DROPS_TOLD];
};

/* One for s is lost: counted, and told. */
void session_dropped(struct session *s, enum drop_cause cause);
/* One of that topic, for whom it may concern. */
void home_dropped(struct home *h, enum drop_cause cause, struct slice topic);
/* Tells what is left and stops the timer. */
void drops_end(struct home *h);

#endif
