/* SPDX-License-Identifier: Apache-2.0
 * keep - what a session that outlives its connection puts on disk of its
 *        messages, and which of them are on disk only.
 *
 * An entry of such a session (a message that is queued or in flight) has a
 * key, which grows with each.  Entries stand in three places: in flight, in
 * the queue in memory, and behind these in the tail, which is on disk only
 * and is read in pages while the client is there.
 *
 * Owns:    struct kept is its session's.
 * Threads: the home shard.
 * Bounds:  memory of queued messages: KEEP_QUEUE a session, more while the
 *          shard has less than KEEP_QUEUES.  unsure entries: as many as are
 *          between two shards.
 * Errors:  without memory for a record keep.failed is set: what caused it may
 *          not be acknowledged.
 * Spec:    MQTT 5.0 4.1.
 */
#ifndef NJ_CORE_KEEP_H
#define NJ_CORE_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/delivery.h"
#include "store/batch.h"

#define KEEP_QUEUE  (64 * 1024)
#define KEEP_QUEUES (64 * 1024 * 1024)
/* Entries a page; it is asked for when fewer than PAGE_LOW wait in memory. */
#define PAGE_MAX 512
#define PAGE_LOW 64
/* That a client may have been sent entries is recorded so far ahead, and as many
 * times its window, so that none of those waits for the disk; at QoS 2 by a shared
 * subscription SENT_GROUP, and two windows. */
#define SENT_AHEAD   512
#define SENT_WINDOWS 4
#define SENT_GROUP   8

struct handover;
struct session;

struct kept_entry {
	uint64_t session; /* its number */
	uint64_t id;	  /* in the store */
	uint64_t key;	  /* 0: a QoS 2 identifier received */
	uint16_t pid;
};

/* Records that go to disk together with another shard's. */
struct keep_part {
	struct store_batch *batch;
	struct kept_entry *v; /* what is unsure until then */
	uint32_t n, cap;
	uint64_t bytes; /* as keep.bytes; they count where it is written */
};

/* A shard's. */
struct keep {
	struct store_batch *into; /* where records go now */
	struct store_batch *own;  /* the shard's, where into is another */
	struct keep_part *part; /* into is this one's; NULL: the shard's own */
	bool dirty;		/* one was added, or will be elsewhere */
	bool failed;
	bool busy;	   /* something is not on disk yet */
	uint64_t ticket;   /* of the shard's own records from now on */
	uint64_t done;	   /* those up to this one are on disk */
	bool stuck;	   /* the disk takes nothing now */
	bool full;	   /* so much that nothing more is sent from queues */
	uint64_t bytes;	   /* of messages in records since this was set to 0 */
	uint64_t queued;   /* bytes of kept messages in queues in memory */
	uint64_t messages; /* records of messages there were */
	struct list pages; /* sessions whose tail is to be read */
	struct list
	    parked; /* and those that wait until the disk is not stuck */
};

/* A session's; NULL where nothing of it is kept. */
struct kept {
	struct session *session;
	uint64_t id; /* in the store */
	uint64_t next_key;
	/* Recorded: up to here the client may know them.  Its latest value is
	 * on disk when its ticket is, the one before already. */
	uint64_t sent, sent_before, sent_ticket;
	uint64_t last;	     /* it was sent up to here */
	uint64_t known;	     /* the same when the broker was started */
	uint64_t known_n;    /* so many at most waited up to there then */
	uint64_t sub_ticket; /* the last record of a subscription; durable.h */
	/* Where the shard's own batch of that ticket has the last record of the
	 * session itself, and of sent in sent_ticket's.  The gate, plus 1, with
	 * which the former went beside that one; 0: with none.  The broker's. */
	uint64_t facts_ticket, facts_gate;
	uint64_t will_ticket; /* the same of its will's, or where it was */
	uint32_t facts_at, sent_at, will_at;
	uint32_t expiry_s; /* as it is in the store */
	bool there;	   /* it was on disk when its client came in */
	uint64_t tail_n, tail_bytes;
	uint64_t tail_from; /* no key in the tail is below */
	bool reading;
	bool waits0;		   /* the queue, for keep_may_send0() */
	struct list page;	   /* in keep.pages */
	struct handover *handover; /* the broker's; NULL: none is under way */
	uint64_t handed;	   /* when one took something last; durable.h */
	/* What the shard's own records of the batch of that ticket change: the
	 * lowest key in the tail, and the highest before it, plus 1. */
	uint64_t low, high, low_ticket;
	bool parted; /* one that went with another shard's did, of any batch */
	/* entries that are not on disk until another shard's are, by key */
	uint64_t *unsure;
	uint32_t at_unsure, n_unsure, cap_unsure;
};

/* d, with its packet identifier and state, is an entry from now on: it gets
 * its key.  False: there was no memory. */
NJ_MUST bool keep_add(struct session *s, struct delivery *d);
/* Packet identifier and state are others. */
void keep_state(struct session *s, struct delivery *d);
/* d is about to be sent (again): what there was no memory to record of it is on its
 * way to the disk now.  False: there is none still, and it may not be sent. */
NJ_MUST bool keep_stands(struct session *s, struct delivery *d);
/*
 * d is about to be sent.  True: not before what was recorded is on disk.  An
 * entry's packet identifier follows from its key, so that it need not be written
 * and is the same after a crash [MQTT-4.4.0-1]; want is what it is then.
 */
bool keep_sends(struct session *s, struct delivery *d, uint16_t want);
#define KEPT_PIDS 65535u
static inline uint16_t
kept_pid(uint64_t key)
{
	return (uint16_t)((key - 1) % KEPT_PIDS + 1);
}
/* d, of QoS 0, is about to be sent, and after a crash would not be once more
 * (4.3.1).  False: not before what was recorded is on disk. */
NJ_MUST bool keep_may_send0(struct session *s, const struct delivery *d);
/* That the client may know d is not on disk yet. */
bool keep_is_early(struct session *s, const struct delivery *d);
/* Its client has gone: how far it knows its entries is exact now. */
void keep_left(struct session *s);
/* Its client may have been sent it by an earlier life. */
static inline bool
kept_is_known(const struct kept *k, const struct delivery *d)
{
	return d->key > 0 && d->key <= k->known;
}
/* It is done with; or another session's from now on. */
void keep_end(struct session *s, struct delivery *d);
void keep_moved(struct session *s, struct delivery *d);
/* An error of a batch_ call for this shard. */
void keep_note(struct keep *k, enum nj_err e);
/* A record has m, and so keeps it in memory until it is on disk. */
void keep_weigh(struct keep *k, const struct msg *m);

/* The first key that may not be sent yet. */
static inline uint64_t
kept_sure_below(const struct kept *k)
{
	return k->n_unsure ? k->unsure[k->at_unsure] : UINT64_MAX;
}
void kept_is_sure(struct kept *k, uint64_t key);
/* A record changes that entry; 0: any.  The second: one of the shard's own batch,
 * whatever goes with another shard's now. */
void kept_touch(struct kept *k, const struct keep *keep, uint64_t key);
void kept_touch_own(struct kept *k, const struct keep *keep, uint64_t key);
/* The first key of the tail that the batch changes which is gathered now; without
 * a look at its records, so it may be said to be an earlier one. */
static inline uint64_t
kept_still_below(const struct kept *k, const struct keep *keep)
{
	if (k->low_ticket != keep->ticket)
		return UINT64_MAX;
	/* what was before the tail then is in it again */
	return k->high > k->tail_from ? 0 : k->low;
}
void kept_free(struct kept *k);
/* Subscription identifiers as the store has them; forgets without memory. */
ids_t keep_ids(struct slice stored);
/* The client's QoS 2 identifier, until it is released. */
void keep_received(struct session *s, uint16_t pid);

#endif
