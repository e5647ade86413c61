/* SPDX-License-Identifier: Apache-2.0
 * internal - the broker's own struct, for the files of this folder.
 */
#ifndef NJ_BROKER_INTERNAL_H
#define NJ_BROKER_INTERNAL_H

#include "broker/broker.h"
#include "broker/shard.h"

/* Blocks that could not be given a fence for want of memory; they are freed
 * with the broker. */
#define LATE_MAX 1024

struct late {
	void (*free_fn)(void *);
	void *p;
};

struct grace;
struct throttle;
struct rights_watch;

/* Set at start, swapped by a reload; each shard reads its own copy. */
struct broker {
	struct broker_opts opts;
	const struct clock *clock;
	unsigned n;
	struct shard *shards;
	struct index *index;
	struct retain *retain;
	struct port_set *set;	 /* while it is being made */
	atomic_uint *port_conns; /* connections now, one a port */
	atomic_uint conns;	 /* connections now */
	atomic_uint most_conns;	 /* since memory last went back; about */
	atomic_uint pending;	 /* of them, before CONNECT is done */
	_Atomic int64_t ends[3]; /* broker_dates */
	atomic_uint sessions;	 /* sessions now */
	atomic_bool memory_full; /* memory.h */
	atomic_bool reloading;	 /* reload.h */
	atomic_uint reloads;	 /* how many have ended */
	int status;		 /* what memory_heap() reads; -1: cannot be */
	/* what malloc said last, what was resident then, and when it may be
	 * asked again */
	struct {
		uint64_t heap, resident, not_before_ms;
	} asked;
	uint64_t started_ms;
	struct store *store;	     /* NULL: nothing is kept */
	_Atomic int64_t store_since; /* wall clock: its state; 0: the start */
	int store_was;		     /* that state; its thread's */
	_Atomic(uint64_t) next_kept; /* session's number in it */
	uint64_t next_msg;	     /* its thread's */
	struct throttle *throttle;   /* guard.h; NULL: none */
	struct throttle *names;	     /* the same for user names */
	struct homes *homes;	     /* where those came from; with names */
	struct failures *failures;
	struct systree *systree;      /* shard 0 only */
	struct rights_watch *watches; /* rights.c; the main thread's */
	struct grace *grace;	      /* a seat for each shard; fence.h */
	atomic_uint retiring;	      /* blocks without their fences yet */
	struct late late[LATE_MAX];
	atomic_uint n_late;
	atomic_uint inited; /* shards; the store asks, too */
};

void port_set_unref(struct port_set *s);

#endif
