/* SPDX-License-Identifier: Apache-2.0
 * batch - the changes one shard wants on disk together.
 *
 * A message that all its receivers have acknowledged before the batch is
 * submitted need never be written: batch_cancel takes its entry out again.
 *
 * Owns:    copies of names and filters, one reference on each message.
 * Threads: whoever holds it.
 * Bounds:  the caller's, by batch_bytes.
 * Errors:  NJ_NOMEM: nothing was added.
 */
#ifndef NJ_STORE_BATCH_H
#define NJ_STORE_BATCH_H

#include "store/store.h"

enum store_kind {
	REC_NONE, /* cancelled */
	REC_SESSION,
	REC_SENT,
	REC_SESSION_END, /* and everything of it */
	REC_WILL,
	REC_WILL_END,
	REC_SUB,
	REC_SUB_END,
	REC_RECEIVED, /* QoS 2 taken from the client, not released */
	REC_RELEASED,
	REC_QUEUE,
	REC_QUEUE_STATE,
	REC_QUEUE_END,
	REC_QUEUE_SHIFT, /* the oldest from seq on that is not in flight */
	REC_SHARE_END,	 /* entries are the session's own now */
	REC_RETAIN,
	REC_RETAIN_END,
	REC_KINDS
};

struct store_rec {
	enum store_kind kind;
	uint32_t option; /* subscription options; seconds of a delay */
	uint32_t expiry_s;
	uint16_t pid;
	uint8_t qos, state, share, version;
	bool retain;
	uint16_t name_len;	      /* of text: client, filter, topic */
	uint16_t user_len, mount_len; /* behind it; the rest: who */
	uint32_t text_len;
	uint64_t session, seq;
	int64_t at_ms;
	void *msg;
	uint8_t *text; /* or identifiers of an entry */
};

struct store_batch {
	struct letter letter; /* of whoever has it */
	struct store_rec *v;
	uint32_t n, cap;
	uint32_t live; /* without the cancelled */
	uint32_t idle; /* of those: nobody waits for them; batch_urgent */
	size_t bytes;
	uint64_t ticket;	  /* the submitter's own */
	unsigned owner;		  /* the submitter's own */
	uint64_t weight;	  /* the submitter's own */
	void *companions;	  /* the submitter's own */
	struct store_batch *next; /* the submitter's own */
	void (*unref)(void *msg);
};

/* Whether it has more than what may come to the disk at any later time, such as
 * that a client has acknowledged something. */
static inline bool
batch_urgent(const struct store_batch *b)
{
	return b->live > b->idle;
}

NJ_MUST enum nj_err
batch_new(const struct store_msg_ops *ops, struct store_batch **out);
/* One that is part of something else, and its end. */
void batch_init(const struct store_msg_ops *ops, struct store_batch *b);
void batch_fini(struct store_batch *b);
/* Drops its records; it can be filled again. */
void batch_clear(struct store_batch *b);
/* At most *left of them, the last first; whether none is left. */
bool batch_clear_some(struct store_batch *b, uint32_t *left);
void batch_free(struct store_batch *b);

NJ_MUST enum nj_err
batch_session(struct store_batch *b, const struct store_session *s);
/*
 * *at says where the session's last record of that kind is, which is changed in
 * place if it is in this batch still: however often that is so while nothing can be
 * written, there is one.  Nothing between them depends on it.
 */
NJ_MUST enum nj_err batch_session_at(
    struct store_batch *b, const struct store_session *s, uint32_t *at);
/* The client may be sent entries up to seq: if they come again in another life
 * of the broker, they are no news to it [MQTT-3.3.1-1]. */
NJ_MUST enum nj_err
batch_sent(struct store_batch *b, uint64_t session, uint64_t seq);
/* *at: as above. */
NJ_MUST enum nj_err batch_sent_at(
    struct store_batch *b, uint64_t session, uint64_t seq, uint32_t *at);
NJ_MUST enum nj_err batch_session_end(struct store_batch *b, uint64_t session);
/* msg: takes over one reference, also when it fails. */
NJ_MUST enum nj_err batch_will(struct store_batch *b, uint64_t session,
    uint32_t delay_s, uint32_t expiry_s, void *msg);
/* *at: one of the session that was taken out, whose place it takes if it is in this
 * batch still; or UINT32_MAX. */
NJ_MUST enum nj_err batch_will_at(struct store_batch *b, uint64_t session,
    uint32_t delay_s, uint32_t expiry_s, void *msg, uint32_t *at);
/* Takes it out again; false: it is not there. */
bool batch_will_cancel(
    struct store_batch *b, uint32_t at, uint64_t session, const void *msg);
/* If this is its will still; msg: as above. */
NJ_MUST enum nj_err
batch_will_end(struct store_batch *b, uint64_t session, void *msg);
NJ_MUST enum nj_err batch_sub(struct store_batch *b, const struct store_sub *s);
NJ_MUST enum nj_err
batch_sub_end(struct store_batch *b, uint64_t session, struct slice filter);
NJ_MUST enum nj_err
batch_received(struct store_batch *b, uint64_t session, uint16_t pid);
NJ_MUST enum nj_err
batch_released(struct store_batch *b, uint64_t session, uint16_t pid);
/* e->msg: as above.  *at finds it again for batch_cancel. */
NJ_MUST enum nj_err
batch_queue(struct store_batch *b, const struct store_entry *e, uint32_t *at);
/* What batch_cancel found at that place. */
enum batch_had {
	BATCH_HAD_NOTHING, /* it was submitted, or is another's */
	BATCH_HAD_ENTRY,   /* it need not be ended any more */
	BATCH_HAD_STATE,   /* it is on disk in another state */
};
/* The entry's record is in this batch still: it is taken out. */
enum batch_had batch_cancel(
    struct store_batch *b, uint32_t at, uint64_t session, uint64_t seq);
/* The entry's record is in this batch still. */
bool batch_has(
    const struct store_batch *b, uint32_t at, uint64_t session, uint64_t seq);
/* Up to where, of a session's entries from a key to before another, all are as
 * they would be without this batch. */
uint64_t batch_leaves(const struct store_batch *b, uint64_t session,
    uint64_t from, uint64_t until);
/* *at: as batch_queue; what it was before says where the entry's last record
 * is, which is changed in place if it is in this batch still. */
NJ_MUST enum nj_err batch_queue_state(struct store_batch *b, uint64_t session,
    uint64_t seq, uint16_t pid, uint8_t state, uint32_t *at);
NJ_MUST enum nj_err
batch_queue_end(struct store_batch *b, uint64_t session, uint64_t seq);
NJ_MUST enum nj_err
batch_queue_shift(struct store_batch *b, uint64_t session, uint64_t from);
NJ_MUST enum nj_err
batch_share_end(struct store_batch *b, uint64_t session, uint8_t share);
/* Room for so many records. */
NJ_MUST enum nj_err batch_reserve(struct store_batch *b, uint32_t more);
/* All of from's records, for which there is room, behind b's; from is empty
 * then. */
void batch_append(struct store_batch *b, struct store_batch *from);
/* order: of all changes to retained messages, so that two shards' changes of
 * one topic end as they did in memory. */
NJ_MUST enum nj_err
batch_retain(struct store_batch *b, uint64_t order, void *msg);
NJ_MUST enum nj_err
batch_retain_end(struct store_batch *b, uint64_t order, struct slice topic);
/* Either (msg NULL: its end), in the place of the one at *at, which is an earlier change
 * of the topic in this batch, or UINT32_MAX: there is none; the caller gets the reference
 * on that one's message, if it had any. */
NJ_MUST enum nj_err batch_retain_at(struct store_batch *b, uint64_t order,
    struct slice topic, void *msg, uint32_t *at, void **was);

#endif
