/* SPDX-License-Identifier: Apache-2.0
 * view - a store as tools see it: read only, whether or not a broker has it
 *        open.
 *
 * All that one view gives is of one moment: it holds a read transaction.  A
 * broker goes on writing meanwhile; its write-ahead log cannot be reused until
 * the view is closed, so a view is not kept for long.
 *
 * Owns:    a connection to the database, which writes nothing to it.
 * Threads: one at a time.
 * Errors:  *why says what and how to mend it.
 */
#ifndef NJ_STORE_VIEW_H
#define NJ_STORE_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct view;

/*
 * NJ_NOTFOUND: no such file.  NJ_MALFORMED: damaged so that it cannot be
 * opened.  NJ_UNSUPPORTED: not a store of Nightjar's, of a newer schema, or one
 * that was never written to.
 */
NJ_MUST enum nj_err
view_open(const char *path, struct view **out, struct nj_why *why);
void view_close(struct view *v);

/* A broker had it open when the view was made. */
bool view_live(const struct view *v);

/* The largest queues that are told of. */
#define VIEW_TOP_MAX 100

struct view_queue {
	uint64_t session, waiting, inflight, bytes;
	int64_t oldest_s;   /* when its oldest message was stored; 0: unknown */
	int64_t offline_ms; /* STORE_NEVER: connected, or it was at the end */
	struct slice client; /* of the array that view_stats fills */
};

struct view_stats {
	uint64_t file_bytes, wal_bytes, data_bytes, page_bytes, free_bytes;
	unsigned schema;
	bool live;
	uint64_t sessions, connected, subscriptions, received, wills;
	uint64_t waiting, inflight, queued_bytes;
	uint64_t retained, retained_bytes;
	uint64_t messages, message_bytes, expiring;
	int64_t oldest_s; /* of what waits; 0: nothing does, or unknown */
	struct view_queue top[VIEW_TOP_MAX];
	unsigned n_top;
	void *names; /* the clients' bytes */
};
/* top: how many of the largest queues. */
NJ_MUST enum nj_err view_stats(
    struct view *v, unsigned top, struct view_stats *out, struct nj_why *why);
void view_stats_fini(struct view_stats *st);

enum view_kind {
	VIEW_SESSION = 1,
	VIEW_SUB = 2,
	VIEW_RECEIVED = 4,
	VIEW_INFLIGHT = 8,
	VIEW_QUEUED = 16,
	VIEW_RETAINED = 32,
	VIEW_WILL = 64,
	VIEW_ALL = 127
};

/* One row; slices are borrowed for the call. */
struct view_row {
	enum view_kind kind;
	uint64_t session;
	struct slice client, user, mount; /* but of retained messages */
	/* session */
	uint8_t version;
	uint32_t expiry_s;
	int64_t offline_ms;
	/* subscription */
	struct slice filter;
	uint32_t options; /* core/index.h */
	/* queued, in flight, received */
	uint64_t seq;
	uint16_t pid;
	uint8_t state, share;
	struct slice ids;
	/* of a message, or for a client */
	struct slice topic, payload, props;
	uint64_t msg;
	uint8_t qos;
	bool retain;
	int64_t expires_ms, stored_s;
	/* will */
	uint32_t delay_s, will_expiry_s;
};

/* kinds: a set of enum view_kind.  client: only what is of that one; p NULL:
 * all.  A row's error ends it and is returned. */
NJ_MUST enum nj_err view_rows(struct view *v, unsigned kinds,
    struct slice client, enum nj_err (*row)(void *arg, const struct view_row *),
    void *arg, struct nj_why *why);

/* A space of facts (facts.h), by kind and name; NJ_NOTFOUND: there is none. */
NJ_MUST enum nj_err view_facts(struct view *v, struct slice space,
    enum nj_err (*fact)(
	void *arg, unsigned kind, struct slice name, struct slice value),
    void *arg, struct nj_why *why);

/* What view_check finds. */
struct view_fault {
	const char *code; /* a word for scripts */
	uint64_t count;
	char text[512];	  /* what is wrong and where */
	const char *mend; /* what to do about it */
};
/* quick: not that indexes agree with their tables, which takes long. */
NJ_MUST enum nj_err view_check(struct view *v, bool quick,
    void (*fault)(void *arg, const struct view_fault *), void *arg,
    struct nj_why *why);

/*
 * A copy of the view's moment at path: a file of its own (no write-ahead log),
 * mode 0600, complete and checked before it has that name.  NJ_EXISTS: there
 * is one already, and force is false.  progress may be NULL.
 */
NJ_MUST enum nj_err view_backup(struct view *v, const char *path, bool force,
    void (*progress)(void *arg, uint64_t done, uint64_t of), void *arg,
    struct nj_why *why);

/*
 * Puts a copy of the view in the place of the store at path, which no broker may
 * have: after a crash the old one is there, or the new one.  made: is told the
 * copy's name when it is complete.  *old: what the store that was there is called
 * now, to be freed; NULL: there was none.  NJ_EXISTS: there is one, and not force.
 */
NJ_MUST enum nj_err view_restore(struct view *v, const char *path, bool force,
    void (*made)(const char *copy), char **old, struct nj_why *why);
/* There is a file at path, or a copy that is to become one. */
bool store_is_there(const char *path);
/* Whose a new file beside a store is: of one that comes in its place, or of its lock,
 * the store's owner, unless there is none or that is root; else the folder's. */
struct stat;
bool store_owner_stat(const char *path, struct stat *st);
/* Where no store came to be: the file of its lock goes, unless somebody has it. */
void store_forget_lock(const char *path);

#endif
