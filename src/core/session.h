/* SPDX-License-Identifier: Apache-2.0
 * session - what a client and the broker remember of each other.
 *
 * A session lives on one shard, its home, found by its client identifier.
 * While the client is connected it has a link; it delivers through the link
 * or queues, and never touches a socket.
 *
 * Owns:    subscriptions, both inflight tables, the queue, the will.
 * Threads: the home shard only.
 * Bounds:  struct session_limits; what is dropped is counted.
 * Spec:    MQTT 5.0 4.1, 3.1.2.4, 3.1.2.11.2, 4.3 to 4.9.
 */
#ifndef NJ_CORE_SESSION_H
#define NJ_CORE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/timer.h"
#include "core/drops.h"
#include "core/index.h"
#include "core/inflight.h"
#include "core/keep.h"
#include "core/link.h"
#include "core/overdue.h"
#include "core/queue.h"

struct acl;
struct rolebase;
struct principal;
struct letter;

/* 0 means no limit where Mosquitto says so. */
enum drop_policy {
	DROP_NEWEST, /* what finds no place */
	DROP_OLDEST, /* what waits longest */
	DROP_REFUSE  /* newest, and the publisher is told */
};

struct session_limits {
	uint16_t max_inflight;	     /* messages; 0: 65,535 */
	uint64_t max_inflight_bytes; /* 0 */
	uint32_t max_queued;	     /* 0 */
	uint64_t max_queued_bytes;   /* 0 */
	enum drop_policy drop_policy;
	bool queue_qos0;
	bool upgrade_qos;	    /* deliver at the subscription's QoS */
	uint32_t max_subscriptions; /* a client; 0 */
};

/* Written by the shard, read by any: plain relaxed 64-bit cells. */
struct session_counts {
	uint64_t sent, sent_bytes;     /* PUBLISH out */
	uint64_t dropped;	       /* drops.h */
	uint64_t queued, queued_bytes; /* now waiting */
	uint64_t expired;	       /* before they were sent */
};

/* A shard, as far as core/ knows it. */
struct home {
	unsigned shard;
	uint64_t now_ms; /* of this turn */
	uint32_t epoch;	 /* of the last fan-out; fanout.c */
	struct index *index;
	struct timers timers;
	struct map sessions; /* by client identifier */
	struct map numbers;  /* by session number */
	uint64_t next_number;
	/* References on one message that a fan-out has taken in one go, for
	 * those of its receivers that keep it. */
	struct msg *in_hand;
	uint32_t n_in_hand;
	struct session_limits limits;
	struct session_counts counts;
	struct tables tables;
	struct session *ending; /* the first; home_end_some() */
	uint32_t may_forget;	/* subscriptions of ended sessions, this turn */
	uint32_t may_skip;	/* SKIP_TURN, less what this turn has */
	struct overdue overdue;
	struct drops drops;
	struct keep *keep; /* NULL: nothing is kept */
	/* Whether the session may still be given this message; asked for
	 * sessions that say check_reads. */
	bool (*may_read)(const struct session *s, const struct msg *m);
	struct list all; /* sessions; walk.h has an order in it */
	bool mark;	 /* of walk.h: new ones have it */
};

struct session_will {
	struct msg *msg; /* expires_at is set when it is sent */
	uint32_t delay_s;
	uint32_t expiry_s; /* MQTT_EXPIRY_NEVER */
	/* Among those that are not on their way to the disk, and whose it is then: the
	 * broker's. */
	struct list unkept;
	struct session *session;
};

/* One shared subscription; share.h has the group's side. */
struct shared_sub {
	struct shared_sub *next, *prev;
	struct targets *targets; /* held on the group's home shard */
	struct letter *leave;	 /* to be sent when it ends */
	uint32_t id_opts;
	uint8_t number; /* delivery.share; 0: none was free */
	uint16_t len;	/* of the whole filter */
	uint16_t group_at, group_len;
	uint8_t filter[]; /* as the client wrote it */
};

/* Where a session finds one of its shared subscriptions. */
struct shared_set {
	struct map by_filter;
	uint64_t taken[4]; /* numbers in use, a bit each */
};

struct session {
	/* what a fan-out reads: in as few cache lines as they fit */
	struct link *link; /* NULL: not connected */
	struct home *home;
	uint32_t mark;	   /* epoch of the last fan-out that met it */
	uint32_t hit;	   /* its place in that fan-out */
	uint64_t number;   /* unique; shard in the top 16 bits */
	struct kept *kept; /* NULL: it does not outlive the process */
	uint32_t overdue;  /* deliveries in home->overdue */
	bool check_reads;  /* not all it subscribed to may it read */
	bool ended;	   /* nothing comes to it any more */
	bool full : 1;	   /* full.h */
	bool asked : 1;	   /* to be looked at again; overdue.h */
	uint8_t version;
	uint8_t share_last; /* the number of a shared subscription given last */
	struct queue queue;
	struct inflight out;
	uint64_t inflight_bytes;
	struct idset in; /* QoS 2 received and not released */
	struct subs subs;
	struct shared_sub *shared;
	struct shared_set *shared_set; /* to find one; NULL: there is none */
	uint32_t n_shared;
	uint32_t forget_at;	/* of subs; home_end_some() */
	struct session *after;	/* in home->ending */
	const struct acl *acl;	/* rules of its listener; NULL: none */
	struct rolebase *roles; /* the same; borrowed from its port */
	uint16_t port;		/* the listener it came by last */
	bool anywhere;	   /* which listener is not known: all rules hold */
	bool walked;	   /* walk.h */
	uint32_t expiry_s; /* 0: ends with the connection */
	struct session_will *will;
	uint64_t will_id;    /* of the will alone in the store; 0: not there */
	uint64_t gate;	     /* nothing of it is on disk before; durable.h */
	struct mount *mount; /* before all its topics; NULL: none */
	struct principal *who;	 /* whose session it is; one reference */
	struct decided *decided; /* what it was told; NULL: not remembered */
	struct timer timer;	 /* will delay and expiry while offline */
	uint64_t offline_since;	 /* mono ms */
	struct list all;	 /* in home->all */
	struct list waiting, waiting_own; /* the broker's, while offline */
	void *user;			  /* the broker's, too */
	void *coming; /* its client's connection, while it is being saved */
	uint16_t id_len;
	uint8_t id[];
};

static inline struct slice
session_id(const struct session *s)
{
	return slice_of(s->id, s->id_len);
}

void home_init(struct home *h, unsigned shard, struct index *ix);
/* Every session must be gone; what some have left goes now. */
void home_fini(struct home *h);

struct session *session_find(const struct home *h, struct slice id);
struct session *session_by_number(const struct home *h, uint64_t number);
/* NJ_EXISTS when there is one of that name. */
NJ_MUST enum nj_err
session_new(struct home *h, struct slice id, struct session **out);
/* Drops everything: subscriptions, queues, will unsent.  Shared
 * subscriptions must have been left before.  Of many subscriptions, and of a long
 * queue, some stay for home_end_some(), and nothing is delivered by them. */
void session_free(struct session *s);
/* It has ended, and stays for what it leaves behind: its name is free for
 * another, nothing comes to it any more, and it is found by its number only.  Its
 * subscriptions go with it, which may be many. */
void session_end_name(struct session *s);

/* Subscriptions of ended sessions that are forgotten in a turn, a millisecond
 * of work. */
#define FORGET_TURN 500
/* Of what waited for them, as many count as one. */
#define FORGET_QUEUED 8

/* Messages of queues that a turn takes out without sending them, such as expired
 * ones: a millisecond of work. */
#define SKIP_TURN 8000

/* Once a turn, and with all set at the end. */
void home_end_some(struct home *h, bool all);

/* The client is here: what is in flight and queued goes to it as the window
 * allows.  The link is borrowed until session_detach. */
NJ_MUST enum nj_err session_attach(struct session *s, struct link *l);
void session_detach(struct session *s);

/*
 * One message for this session: sent, queued or dropped by the limits.  Of *d
 * only what describes it is read (msg, ids, qos, retain, moved, share); ids
 * are taken over, and it takes its own reference on the message.
 */
void session_deliver(struct session *s, const struct delivery *d);
/* A message is about to be delivered to it: first this, somewhat later that. */
NJ_PREFETCHES void
session_prefetch(const struct session *s)
{
	__builtin_prefetch(s);
	__builtin_prefetch(&s->out);
}

NJ_PREFETCHES void
session_prefetch_place(const struct session *s)
{
	if (s->link)
		link_prefetch(s->link);
	inflight_prefetch(&s->out, 0);
}

/* The same of what QoS 0 needs. */
NJ_PREFETCHES void
session_prefetch_link(const struct session *s)
{
	if (s->link)
		link_prefetch(s->link);
}

/*
 * Takes what came by a shared subscription (share 0: by any) out of the queue,
 * oldest first, and with `sent` those in flight before it that another member
 * may get [MQTT-4.8.2-4], [-5].  fn owns what it is given.
 */
void session_take_shared(struct session *s, uint8_t share, bool sent,
    void (*fn)(void *arg, struct delivery *d), void *arg);
/* The subscription is gone: what came by it is the session's own now. */
void session_keep_shared(struct session *s, uint8_t share);
/* One that was late gets its place in the queue; moved on NJ_OK. */
NJ_MUST enum nj_err
session_requeue(struct session *s, const struct delivery *d);
/* What can wait to be queued for it should: it is half full. */
bool session_is_behind(const struct session *s);
/* The oldest of the queue in memory, moved out; false: it is empty. */
bool session_dequeue(struct session *s, struct delivery *d);
/* queue_sift() of that. */
void session_sift(
    struct session *s, bool (*takes)(void *arg, struct delivery *d), void *arg);
/* What waits for it, on disk and in memory. */
uint64_t session_queued(const struct session *s);
/* Of these, so many at most an earlier life of the broker may have sent. */
uint64_t session_known(const struct session *s);
uint64_t session_queued_bytes(const struct session *s);
/* What link_ops.later was asked for: it may be sent now. */
void session_send_held(struct session *s, uint16_t pid);
/* Sends what the window has room for. */
void session_pump(struct session *s);

/* False: a rule keeps m from it. */
static inline bool
session_may_read(const struct session *s, const struct msg *m)
{
	return !s->check_reads || s->home->may_read(s, m);
}

/* The client's answers; the return value is the reason code of the next step
 * (4.3), RC_PACKET_ID_NOT_FOUND for an identifier that is not in flight. */
void session_puback(struct session *s, uint16_t pid);
/* Several in order; what they make room for is sent behind the last. */
void session_puback_row(struct session *s, const uint16_t *pids, size_t n);
enum mqtt_rc session_pubrec(struct session *s, uint16_t pid, uint8_t code);
void session_pubcomp(struct session *s, uint16_t pid);

static inline void
count_add(uint64_t *cell, uint64_t n)
{
	__atomic_store_n(cell, *cell + n, __ATOMIC_RELAXED);
}

static inline uint64_t
count_get(const uint64_t *cell)
{
	return __atomic_load_n(cell, __ATOMIC_RELAXED);
}

#endif
