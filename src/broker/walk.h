/* SPDX-License-Identifier: Apache-2.0
 * walk - what is done to every connection and every session of a shard, some of
 *        them a turn, so that nobody waits until all have been looked at.
 *
 * First the connections, then the sessions, each once.  One that comes while a
 * walk is under way is not met by it: it comes in by what holds already.
 *
 * Owns:    nothing; a walk is part of what asks for it, until its end.
 * Threads: the shard's.
 * Bounds:  WALK_TURN of both a turn.  Walks take turns; one that is asked for
 *          again before its end begins anew behind the others.
 */
#ifndef NJ_BROKER_WALK_H
#define NJ_BROKER_WALK_H

#include "base/list.h"
#include "core/index.h"

struct conn;
struct session;
struct shard;
struct walk;

/* Some 0.5 ms, where nothing has to change. */
#define WALK_TURN 2000
/* A connection that ends is as much work as so many that stay. */
#define WALK_DEATH 16
/* A subscription that ends, besides being asked about. */
#define WALK_SUB_END 8

struct walk_ops {
	/* From here on whoever comes is not met; NULL: nothing to do. */
	void (*begin)(struct shard *sh, struct walk *w);
	void (*conn)(struct shard *sh, struct walk *w, struct conn *c);
	void (*session)(struct shard *sh, struct walk *w, struct session *s);
	/* Also of one that did not begin, when the shard ends.  It may free w;
	 * NULL: nothing to do. */
	void (*end)(struct shard *sh, struct walk *w);
};

struct walk {
	const struct walk_ops *ops;
	struct list link; /* in shard.walks */
	bool again;
	/* A session that takes more than one turn, and what is to be done with it
	 * instead of ops->session; NULL: there is none.  rights.h */
	const struct session *partly;
	void (*go_on)(struct shard *sh, struct walk *w, struct session *s);
	unsigned anew; /* how often it had to begin with that again */
	struct subs_look look;
};

/* Takes its first step at once if no other is under way. */
void walk_start(struct shard *sh, struct walk *w);
/* Once a turn. */
void walks_step(struct shard *sh);
/* Whether another waits for the end of the one under way: what that one is to
 * bring about does not hold yet, not even for who comes. */
bool walks_queue(const struct shard *sh);
/* Every session and connection is gone. */
void walks_fini(struct shard *sh);
/* A connection that is new in the shard's list. */
void walk_add(struct shard *sh, struct conn *c);
/* What was met last took so much more. */
void walk_cost(struct shard *sh, unsigned n);
/* It got its session by what holds now. */
void walk_pass(struct conn *c);

#endif
