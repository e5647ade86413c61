/* SPDX-License-Identifier: Apache-2.0
 * crowd - those who come to a shard and those who go, in a part of each turn.
 *
 * When thousands come at once, whoever is connected already would wait behind
 * them: the system gives out what is ready in the order in which it became so.
 * That is why they have an event set of their own, of which a turn takes as much
 * as CROWD_US has room for, after those who are connected.  In it are the
 * listeners, and a connection until its client, let in, says its first words.  Arrivals from other
 * shards, those whose login was decided or whose session is on disk, and those
 * whose clients have gone, with more others than a turn ends at once, wait in a
 * queue beside it.
 *
 * Who comes is never kept out: at least one is served in each turn, and where
 * those who are connected make turns long, as much as CROWD_SHARE says.
 *
 * Owns:    its event set; connections are the shard's.
 * Threads: its shard.
 * Bounds:  CROWD_US, CROWD_MOST_US, CROWD_DEATHS.
 */
#ifndef NJ_BROKER_CROWD_H
#define NJ_BROKER_CROWD_H

#include <stdbool.h>

#include "base/err.h"
#include "base/list.h"
#include "net/loop.h"

/* Of a turn.  What they cause at its end, writing and closing, is not in it. */
#define CROWD_US 125
/* One part in so many of a turn in which others had more than that, ... */
#define CROWD_SHARE 4
/* ... but after a stall not of all that time. */
#define CROWD_MOST_US 10000
/* Who is in a crowd has so much longer for CONNECT. */
#define CROWD_GRACE_MS 1000
/* Connections of clients that went, ended in a turn without queueing here. */
#define CROWD_GONE 16
/* Connections of a turn after whose end no more of the crowd is served: what
 * they leave behind is freed when the turn ends, TLS with them. */
#define CROWD_DEATHS 32

struct conn;
struct shard;

struct crowd {
	struct loop *loop;
	struct watch watch; /* of that, in the shard's own */
	struct list queue;  /* struct conn.work */
	bool ready;	    /* there may be more in loop */
	bool looked;	    /* this turn */
	bool queue_next;
};

/* After the shard's own loop was made. */
NJ_MUST enum nj_err crowd_init(struct shard *sh);
void crowd_fini(struct shard *sh);
/* Whether somebody is left for the next turn. */
bool crowd_waits(const struct shard *sh);
/* Their part of a turn. */
void crowd_serve(struct shard *sh);
/* c has come from another shard, or what it waited for is there. */
void crowd_push(struct conn *c);
/* c's client is in, and no newcomer any more: from now on it is one of those
 * who are connected, and wants that. */
void crowd_part(struct conn *c, unsigned want);
/* c's client has gone; whether that waits until it is its turn. */
bool crowd_takes(struct conn *c);
/* c, which was taken, is there all the same, and wants that. */
void crowd_again(struct conn *c, unsigned want);

#endif
