/* SPDX-License-Identifier: Apache-2.0
 * store - what must survive the process: sessions, subscriptions, queued and
 *         inflight messages, retained messages, wills.
 *
 * One SQLite database and one thread that writes it.  A shard gathers its
 * changes in a batch (batch.h) and submits it; the store applies all batches
 * that are there in one transaction, and says of each that it is on disk
 * (group commit: what arrives during one commit goes into the next).
 *
 * Owns:    the database and its thread; a batch from store_submit until it is
 *          handed to opts.done.
 * Threads: store_open, store_load_*, store_start and store_close: one, not
 *          concurrently; store_submit and store_read: any.  opts.done, paged
 *          and state: the store's thread.
 * Order:   batches of one caller are applied in the order submitted; a read is
 *          answered as if everything was that was submitted before.  While that
 *          cannot be written it is told of what is on disk and stays as it is, or
 *          NJ_AGAIN: to be asked again when store_state is STORE_OK.
 * Errors:  a commit that fails is tried again, once in retry_ms, until it
 *          succeeds (opts.state says so meanwhile, and again each STORE_REMIND_MS);
 *          batches wait in memory, so callers look at store_state before they
 *          take on more.  What can be read meanwhile is.
 */
#ifndef NJ_STORE_STORE_H
#define NJ_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "base/slice.h"

struct store;
struct store_batch;
struct store_read;

#define STORE_NEVER	 INT64_MAX /* a time that does not come */
#define STORE_SCHEMA	 7
#define STORE_PAGE_BYTES (256 * 1024) /* of one answer to store_read */

/* As often is it told how far a start has come. */
#define STORE_PROGRESS 100000u

/* As often is it said that the store still cannot be written. */
#define STORE_REMIND_MS 60000u

/* For data_min: all bytes are in the database. */
#define STORE_ONE_FILE UINT32_MAX

enum store_state {
	STORE_OK,
	STORE_FULL,    /* no room on the disk */
	STORE_FAILING, /* the disk or file system refuses to write */
	STORE_DAMAGED /* rows are not as they should be, and it can't be written */
};

/* A message as it is stored.  Slices are borrowed. */
struct store_body {
	uint64_t id;	    /* of its row, the same for every copy; 0: none */
	struct slice bytes; /* topic, payload, properties; core/msg.h */
	uint16_t topic_len;
	uint32_t payload_len;
	uint8_t qos;
	bool retain;
	bool source;	    /* its last property says who published it */
	int64_t expires_ms; /* wall clock; STORE_NEVER */
	int64_t stored_s;   /* wall clock; 0: who writes it knows */
};

/* A session's version: it is from another broker's file, which does not say.
 * Nor does it say who proved to be `user`, which may be empty. */
#define STORE_IMPORTED 0

/* offline_ms of one that has ended, and has a queue still; its expiry is 0. */
#define STORE_ENDED 0

struct store_session {
	uint64_t id;
	struct slice client, user;
	struct slice mount; /* prefix of its topics; empty: none */
	struct slice who;   /* all that is known of the user; the broker's */
	uint8_t version;
	uint32_t expiry_s;
	int64_t offline_ms; /* wall clock; STORE_NEVER: connected */
	uint64_t sent;	    /* loaded only: batch_sent */
};

struct store_will {
	uint64_t session;
	uint32_t delay_s, expiry_s;
	struct store_body body;
};

struct store_sub {
	uint64_t session;
	struct slice filter; /* as the client wrote it, $share too */
	uint32_t options;    /* identifier and flags; core/index.h */
	uint8_t share;	     /* its number in the session; 0 */
};

/* One message in one session's queue or in flight to its client. */
struct store_entry {
	uint64_t session, seq;
	uint16_t pid; /* 0: not in flight */
	uint8_t qos, state;
	bool retain;
	uint8_t share;
	struct slice ids; /* subscription identifiers, 4 bytes each */
	void *msg;
};

/* How messages are written and made again; core/ has them. */
struct store_msg_ops {
	/* Fills out. */
	void (*describe)(void *arg, void *msg, struct store_body *out);
	/* Its id, which it is given when it has none; not for one that only
	 * one queue needs. */
	uint64_t (*name)(void *arg, void *msg);
	/* A new message, one reference; NJ_NOMEM. */
	enum nj_err (*make)(
	    void *arg, const struct store_body *body, void **msg);
	void (*unref)(void *msg);
};

struct store_opts {
	const char *path;
	const char *vfs; /* NULL: SQLite's default */
	const struct store_msg_ops *msgs;
	void *arg; /* for all callbacks */
	/* The batch is on disk; the callee owns it again. */
	void (*done)(void *arg, struct store_batch *b);
	/* The store is closed, and it could not be written: the same, but it is
	 * not on disk.  NULL: it is freed. */
	void (*dropped)(void *arg, struct store_batch *b);
	void (*paged)(void *arg, struct store_read *r);
	void (*state)(void *arg, enum store_state s, const char *why);
	/* As store_open checks all pages: so many were read, again each
	 * checking_each (0: STORE_PROGRESS).  NULL: nobody asks. */
	void (*checking)(void *arg, uint64_t pages);
	uint32_t checking_each;
	uint32_t retry_ms; /* after a commit that failed */
	bool no_thread;	   /* store_turn does the work; for simulations */
	uint32_t data_min; /* data.h; 0: as it says there */
	uint64_t data_file;
	bool mend; /* opened although parts of data files are missing */
};

/*
 * Opens or makes the database, mode 0600, and locks it.  NJ_BUSY: another
 * process has it.  NJ_MALFORMED: the file is damaged.  NJ_UNSUPPORTED: it is
 * not Nightjar's, or of a newer schema.
 */
NJ_MUST enum nj_err
store_open(const struct store_opts *o, struct store **out, struct nj_why *why);

/* Gives a file that is not to be used any more, and what belongs to it, another
 * name, with word and the time at its end; it is the caller's to free. */
NJ_MUST enum nj_err store_set_aside(
    const char *path, const char *word, char **to, struct nj_why *why);

/* What waits of a session: n from seq first to last, of which at most sent may have
 * been sent (batch_sent). */
struct store_waiting {
	uint64_t session, n, sent, first, last, bytes;
};

/* Everything that is stored, before store_start; slices are borrowed for the
 * call.  A callback's error ends the load and is returned. */
struct store_loader {
	enum nj_err (*session)(void *arg, const struct store_session *s);
	enum nj_err (*will)(void *arg, const struct store_will *w, void *msg);
	enum nj_err (*sub)(void *arg, const struct store_sub *s);
	enum nj_err (*received)(void *arg, uint64_t session, uint16_t pid);
	/* By session: those in flight, by seq, e->msg taken over; then, if
	 * any wait, how many. */
	enum nj_err (*inflight)(void *arg, const struct store_entry *e);
	enum nj_err (*waiting)(void *arg, const struct store_waiting *w);
	enum nj_err (*retained)(void *arg, void *msg); /* takes msg over */
	/* every STORE_PROGRESS rows, and at the end of each kind */
	void (*progress)(void *arg, const char *what, uint64_t n);
	void *arg;
	/* Wall clock: what waited past its expiry is dropped, and who was
	 * connected is away from now on.  0: neither. */
	int64_t now_ms;
};
NJ_MUST enum nj_err
store_load(struct store *s, const struct store_loader *l, struct nj_why *why);
/* The next numbers to give out; loaded ones are below. */
uint64_t store_next_session(struct store *s);
uint64_t store_next_msg(struct store *s);
/* The highest order of a change to retained messages. */
uint64_t store_order(struct store *s);

NJ_MUST enum nj_err store_start(struct store *s, struct nj_why *why);
/* Without a thread: all that has come, in one transaction. */
void store_turn(struct store *s);
void store_submit(struct store *s, struct store_batch *b);
enum store_state store_state(const struct store *s);
/* In a word. */
const char *store_state_name(enum store_state s);

/* Entries of one session's queue that are not in flight, from one seq to before
 * another. */
struct store_read {
	struct letter letter;
	uint64_t session, from, until;
	uint32_t max; /* entries */
	/* the answer; whoever takes it frees v and owns the messages */
	enum nj_err result;
	struct store_entry *v;
	uint32_t n;
	bool more;
};
void store_read(struct store *s, struct store_read *r);
void store_read_fini(struct store_read *r, const struct store_msg_ops *ops);

/* Writes what was submitted and ends the thread; then frees. */
void store_close(struct store *s);

/* Transactions committed, records written, milliseconds of the last commit. */
struct store_stats {
	uint64_t commits, records, last_commit_us;
};
void store_stats(const struct store *s, struct store_stats *out);

#endif
