/* SPDX-License-Identifier: Apache-2.0
 * durable - what waits until it is on disk: acknowledgements, and messages
 *           whose packet identifier must be.
 *
 * Records of a turn go to the shard's open batch (keep.into), which is given to
 * the store at its end.  A promise is something to be sent
 * when all that was recorded before it is on disk, here and on the shards that
 * were handed something.  The promises of a turn stand at one gate; gates open
 * in order, so what is sent on a connection keeps its order.
 *
 * A pledge is what a shard owes another: it travels with messages that need
 * a place on disk, and its last holder sends it home.  Plain: every holder's
 * records are on disk.  Together: every holder has put its records in its part,
 * and home writes all parts in one transaction, those of earlier turns first;
 * until then nothing of it is sent.  QoS 2 needs that: its identifier is written when every receiver's entry
 * is, neither before nor after [MQTT-4.3.3-2].
 *
 * Threads: the shard; a pledge is counted by all that hold it.
 * Bounds:  KEEP_BYTES of records and their messages not on disk yet in a shard, and of
 *          places of records that were cancelled meanwhile,
 *          then who publishes or subscribes waits, and with them a struct fresh for each
 *          QoS 2 identifier among them; PROMISES_MAX promises, then all who wait for
 *          one are not heard.  Rings of more than RING_KEPT go when they are empty.
 *          A connection that ended stays until its last promise: at most one for each
 *          record that waits, so KEEP_BYTES bounds those of clients that come and go.
 */
#ifndef NJ_BROKER_DURABLE_H
#define NJ_BROKER_DURABLE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/map.h"
#include "base/timer.h"
#include "core/keep.h"
#include "core/link.h"
#include "store/batch.h"

#define KEEP_BYTES   (32 * 1024 * 1024)
#define PROMISES_MAX (256u * 1024)

/* Promises that are kept in a turn, and records on disk that are forgotten: two
 * milliseconds or so.  What is left of them is the next turn's, in order.  Fewer
 * make many short turns, each with its system calls. */
#define KEPT_TURN 16384u

/* Batches with the store at once: it takes all that came during one commit into
 * the next, and does not wait for this shard's turn to end. */
#define BATCHES_OUT 8u

/* Records that nobody waits for go to the store with others, or after this time,
 * or when there are so many. */
#define IDLE_MS	 5
#define IDLE_MAX 4096u

/* A batch of so few entries of QoS 1 is kept back for so long, as their clients
 * may acknowledge them first, and then they need not be written.  That was
 * in vain: so many batches, at most, are not kept back, twice and twice again. */
#define HOPE_MS	  2
#define HOPE_RECS 16u
#define HOPE_LOST 10u /* its power of two */

/* Ends of sessions that are remembered until they are on their way to the disk;
 * above that the oldest is not. */
#define ENDS_MAX 256u

/* Ends of sessions and wills, and that clients have left, for which a record found no
 * memory.  Nobody waits to be told of them, so they are recorded when there is some;
 * above that the session or will is back after a crash, as before its end, and the
 * client was there until then. */
#define OWED_MAX 256u

struct broker;
struct chunk;
struct conn;
struct msg;
struct session;
struct shard;

struct pledge;

/* To be sent when its gate opens. */
struct promise {
	struct conn *conn; /* NULL: nobody waits for it any more */
	uint8_t *bytes;	   /* a packet; or NULL */
	uint32_t len;
	uint16_t id;
	uint8_t type; /* enum mqtt_type; 0: the connection goes on */
	uint8_t code;
};

struct gate {
	uint64_t ticket; /* of the last batch it waits for */
	uint32_t n;	 /* promises */
	uint32_t pledges;
	bool failed;		 /* for want of memory */
	struct pledge *together; /* one of its pledges; NULL: none or written */
};

/* An end that is not recorded yet. */
struct owed {
	uint64_t who;	  /* hash of the client */
	uint64_t session; /* in the store; 0: it stays, as it stands now */
	uint64_t number;  /* of one that stays */
	struct msg *will; /* a reference; NULL: the session ends */
	uint64_t gate;	  /* not before this one is open */
};

/* A QoS 2 identifier that a client gave, recorded in the turn of that gate. */
struct fresh {
	uint64_t session; /* number */
	uint64_t gate;
	uint16_t pid;
};

/* A shard's.  Without a store all of it is zero. */
struct durable {
	struct keep keep;
	struct store *store;
	struct store_batch *open, *spare[BATCHES_OUT];
	unsigned n_spare, n_out; /* n_out: with the store */
	/* on disk, and their records are still to be forgotten, oldest first;
	 * others are in their place meanwhile, so the store does not wait */
	struct store_batch *written, *written_last;
	uint32_t kept_turn;	       /* KEPT_TURN */
	uint32_t may_keep, may_forget; /* of those, in this turn */
	uint64_t submitted;	       /* ticket; open's is keep.ticket */
	uint64_t under_way;	       /* bytes submitted, not forgotten */
	struct promise *v;	       /* ring */
	uint32_t head, n, cap;
	uint64_t promise_first; /* number of v[head], from 1 on */
	uint32_t given_up;  /* of n, as the store is damaged; on_publish.c */
	uint32_t refused;   /* of n, as it takes nothing; */
	uint64_t refuse_at; /* the first then; 0: it is well */
	struct gate *gates; /* ring of those that are closed */
	uint32_t gate_head, gate_n, gate_cap;
	uint64_t gate_first; /* number of gates[gate_head] */
	/* For other shards: the number behind the last gate that has given out
	 * a pledge, and of the first that is not open. */
	atomic_ullong gate_end, gate_open;
	uint64_t
	    together_from;     /* no earlier gate has one that is not written */
	bool together_stuck;   /* for want of memory */
	struct gate gate;      /* this turn's */
	struct pledge *own[2]; /* this turn's: plain, together */
	uint64_t part_gate;    /* keep.part's, plus 1; UINT64_MAX: another's */
	struct {
		uint64_t who, number;
	} ends[ENDS_MAX]; /* ring; together_ends() */
	unsigned ends_at;
	struct owed owed[OWED_MAX];
	unsigned n_owed;
	struct map retained;	  /* retaining.c: where open has their last, */
	uint64_t retained_ticket; /* while it has this one */
	struct chunk *places;	  /* what those are, and how many bytes */
	size_t places_used, places_bytes; /* used: of the first */
	struct fresh *fresh; /* ring of those that are not on disk */
	uint32_t fresh_head, fresh_n, fresh_cap;
	/* connections of which something was not taken, and not answered, as
	 * there was no memory for more; on_publish.c */
	struct list untaken;
	struct list saving;	/* those that wait for CONNACK; on_connect.c */
	struct list wills;	/* sessions_keep_wills() */
	struct pledge *foreign; /* whose entry is being handled */
	unsigned pages;		/* under way; paging.c */
	struct timer reread;	/* until which none is that failed */
	uint64_t reread_told;	/* when that was in the log */
	struct timer look;	/* whether those that wait can go on */
	struct timer idle;	/* until which records may wait */
	bool idle_over;
	struct timer hope; /* until which open is kept back */
	bool hope_over;
	unsigned lost;	/* times that it was in vain, less those it was not */
	unsigned skips; /* batches that are not kept back */
	atomic_bool behind; /* publishers to this shard wait */
};

NJ_MUST enum nj_err durable_init(struct shard *sh, struct store *store);
/* Everything that waits is dropped. */
void durable_fini(struct shard *sh);
/* What is recorded and not submitted yet goes to the store; at the end. */
void durable_flush(struct shard *sh);
/* The store is closed: nothing goes there any more. */
void durable_closed(struct shard *sh);
/* That one of the promises (at of n), a PUBACK, is sent now, with that code. */
void durable_puback_now(struct durable *d, uint32_t at, uint8_t code);
/* A turn begins. */
void durable_turn_begins(struct shard *sh);
/* It left something that need not wait. */
bool durable_goes_on(const struct durable *d);
/* A turn's end: submits, and sends what need not wait (any more). */
void durable_turn(struct shard *sh);
/* The number behind the last gate that anything waits for. */
uint64_t durable_gate_end(const struct durable *d);
/* A batch is on disk (LETTER_STORED). */
void durable_stored(struct shard *sh, struct letter *l);
/* Some shard has more to write than the disk takes; */
bool durable_congested(const struct shard *sh);
/* the same while it takes nothing. */
bool durable_behind(const struct shard *sh);
/* This one has promised so much that who waits for it is not heard meanwhile,
 * whatever he says: each word of his may need a promise more. */
static inline bool
durable_crowded(const struct durable *d, const struct link *l)
{
	return d->n >= PROMISES_MAX && l->held > 0;
}

/* Whether what was handled just now has to be on disk before it is answered.  What
 * found no memory never will be: what waits for it goes with the connection. */
static inline bool
durable_must_wait(const struct durable *d, const struct link *l)
{
	return d->keep.dirty || d->keep.failed || l->held > 0;
}
/* The gate of this number, which is not open. */
struct gate *durable_gate(struct durable *d, uint64_t number);
/* Promises.  Without memory the connection ends. */
void
durable_promise(struct conn *c, enum mqtt_type type, uint16_t id, uint8_t code);
/* A packet; bytes are taken over. */
void durable_promise_bytes(struct conn *c, uint8_t *bytes, uint32_t len);
/* conn_saved(c) is called.  Its number; 0: there is none, as c ends. */
uint64_t durable_promise_to_go_on(struct conn *c);
/* It is called now: c does not wait for that one, which is not kept yet. */
void durable_go_on_now(struct conn *c, uint64_t number);
/* Now, or when it may be. */
NJ_MUST enum nj_err durable_ack(
    struct conn *c, enum mqtt_type type, uint16_t id, enum mqtt_rc code);

/* Pledges. */

/* For an entry that goes to another shard: a reference, or NULL if m need not
 * be on disk there. */
struct pledge *pledge_for(struct shard *sh, const struct msg *m);
struct pledge *pledge_ref(struct pledge *p);
/* NULL is fine. */
void pledge_unref(struct shard *sh, struct pledge *p);
/* An entry that came with p (NULL: with none) is handled between these; p's
 * reference is consumed. */
void pledge_begin(struct shard *sh, struct pledge *p);
void pledge_end(struct shard *sh);
/* Records between these go to disk in one transaction with those of every
 * shard that is handed something meanwhile.  False: it need not be ended, being
 * needless (one shard, no store), begun already, or without memory for it
 * (keep.failed). */
bool together_begin(struct shard *sh);
void together_end(struct shard *sh);
/* The turn's number while between these; and goes on with those of an earlier
 * turn, unless they are on their way to the disk: then what is recorded from now
 * on comes after them anyway, and it begins one of this turn's. */
uint64_t together_number(const struct shard *sh);
bool together_again(struct shard *sh, uint64_t number);
/* What a turn began is not on its way to the disk yet. */
bool together_pending(struct shard *sh, uint64_t number);
/* The session of a client (its hash) ended in that turn's; and what of a new
 * one may not go to disk before: false if nothing is to be waited for. */
void together_ends(struct shard *sh, uint64_t who, uint64_t number);
bool together_after_end(struct shard *sh, uint64_t who, uint64_t *number);
/* The end of a session, or of its will (NULL: none), was not recorded. */
void
owe_end(struct shard *sh, uint64_t who, uint64_t session, struct msg *will);
/* That its client has left was not recorded, or that it has ended and stays for what
 * it hands over. */
void owe_facts(struct shard *sh, uint64_t who, uint64_t number);
/* A new session of this client is about to be: those of its ends come to the disk
 * no later. */
void owed_of_client(struct shard *sh, uint64_t who);
/* What is owed and need not wait any more. */
void owed_again(struct shard *sh);
void owed_fini(struct durable *d);
/* A QoS 2 identifier of its client goes to the disk, with what it stands for. */
void received_keep(struct shard *sh, struct session *s, uint16_t pid);
/* Whether one is not on disk yet; if so *gate opens when it is.  Looks at all that are
 * not: for a damaged store only. */
bool received_waits(
    struct shard *sh, const struct session *s, uint16_t pid, uint64_t *gate);
/* It is refused after all, and never was: behind what was recorded of it. */
void
received_undo(struct shard *sh, struct session *s, uint16_t pid, uint64_t gate);
/* What it took for many, when there are none any more. */
void received_give_back(struct durable *d);
void received_fini(struct durable *d);
/* It is home (LETTER_PLEDGE), or a part of it is on disk (LETTER_PART). */
void pledge_home(struct shard *sh, struct letter *l);
void pledge_part(struct shard *sh, struct letter *l);
/* For durable.c: the turn's own are given away; what a batch on disk frees. */
void pledge_close_own(struct shard *sh);
void pledge_join(struct shard *sh, struct pledge *p);
/* What came home when there was no memory to write it. */
void pledge_again(struct shard *sh);
void pledge_company(struct shard *sh, struct store_batch *b, bool on_disk);
/* For storing.c, in the store's thread, before a batch that is on disk goes back:
 * whom another shard waits for goes there without a turn of the batch's own. */
void pledge_company_home(struct broker *to, struct store_batch *b);

#endif
