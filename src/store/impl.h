/* SPDX-License-Identifier: Apache-2.0
 * impl - the store's own structs, for the files of this folder.
 */
#ifndef NJ_STORE_IMPL_H
#define NJ_STORE_IMPL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "store/batch.h"
#include "store/data.h"
#include "store/pagefile.h"
#include "store/segment.h"
#include "store/store.h"

/* The last that changed the tables.  The one after it has the same, and
 * checksums of its pages; that before is used where there is no room to write
 * it anew. */
#define TABLES_SCHEMA (PAGESUM_SCHEMA - 1)

enum statement {
	ST_BEGIN,
	ST_COMMIT,
	ST_ROLLBACK,
	ST_SESSION,
	ST_SENT,
	ST_AWAY,
	ST_SESSION_END,
	ST_WILL,
	ST_WILL_GET,
	ST_WILL_END,
	ST_SUB,
	ST_SUB_END,
	ST_SUBS_END,
	ST_RECEIVED,
	ST_RELEASED,
	ST_RECEIVED_END,
	ST_QUEUE,
	ST_QUEUE_STATE,
	ST_QUEUE_MSGS,
	ST_QUEUE_END,
	ST_QUEUE_OLDEST,
	ST_SHARE_END,
	ST_QUEUES_END,
	ST_QUEUE_READ,
	ST_SEG,
	ST_SEG_AT,
	ST_SEG_NEXT,
	ST_SEG_DATA,
	ST_SEG_END,
	ST_SEG_FROM,
	ST_SEG_READ,
	ST_SEG_OF_FILE,
	ST_SEG_MOVE,
	ST_FILE,
	ST_FILE_END,
	ST_GONE,
	ST_GONE_END,
	ST_SEGS_END,
	ST_GONES_END,
	ST_MSG,
	ST_MSG_LEFT,
	ST_MSG_REFS,
	ST_MSG_GC,
	ST_MSG_GET,
	ST_RETAIN_GET,
	ST_RETAIN,
	ST_TOMBS_END,
	ST_EXPIRED,
	ST_QUEUE_EXPIRED,
	ST_RETAINED_EXPIRED,
	ST_FACT,
	ST_FACT_END,
	ST_FACTS_END,
	ST_FACTS_READ,
	ST_PAGES,
	ST_FREE_PAGES,
	STATEMENTS
};

/* How many more, or fewer, rows name a message after this transaction. */
struct ref {
	uint64_t id;
	int64_t delta;
	void *msg; /* borrowed from a record; NULL: only rows went */
};

/* In the order in which they came: new messages are numbered as they come, and
 * rows in the order of their numbers are written fastest. */
struct refs {
	struct ref *v;
	uint32_t *at; /* 2 * cap slots by hash: 1 + place in v; 0: free */
	uint32_t n, cap;
};

/* What the transaction does to sessions' queues; lane_impl.h. */
struct lane;
struct lanes {
	struct lane *v;
	uint32_t *at; /* 2 * cap slots by hash: 1 + place in v; 0: free */
	uint32_t n, cap, last;
};

/* A deleted retained message leaves its order behind for as long as an older
 * change of the same topic may still be on its way: what goes together waits for
 * every shard's turn, while others commit.  So many commits, and seconds. */
#define TOMB_AGES 8
#define TOMB_US	  1000000u

/* checkpoint.c; db NULL: there is none. */
struct checkpointer {
	sqlite3 *db; /* its own */
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool wanted, tail_due, stop;
};

/* datafile.c */
struct data_handle;
struct data_file {
	uint64_t no;
	uint64_t end, kept; /* now, and after the last transaction */
	uint64_t live;	    /* bytes of rows; */
	int64_t delta;	    /* and what the transaction changes of it */
	bool noted;	    /* it has a row of file; */
	bool told;	    /* or not, by the transaction */
	bool gone;	    /* deleted; its row is not yet */
	bool stuck;	    /* damaged: it stays as it is */
};
struct data_files {
	sqlite3_vfs *vfs;
	struct data_file *v; /* by number */
	size_t n, cap;
	uint64_t next;		 /* number */
	struct data_handle *out; /* the last one, if it is written to */
	struct buf gather;	 /* for out, from at on */
	uint64_t at;
	bool unsynced;
	bool touched;		/* by the transaction */
	bool committing;	/* COMMIT was tried */
	bool avoid;		/* until a transaction succeeds */
	bool synced;		/* what the start read of them */
	struct data_handle *in; /* read last */
	struct buf page;	/* the bytes of */
	struct place paged;
	uint64_t moved_us;
	char why[160]; /* an error that SQLite does not know of */
};

#define STORE_PLACES 2

/* A file, whatever it is called. */
struct store_place {
	dev_t dev;
	ino_t ino;
};

struct store {
	struct store_opts opts;
	char *path;
	sqlite3 *db;
	sqlite3_stmt *st[STATEMENTS];
	int lock_fd;
	int db_fd; /* closed after SQLite's own, whose locks end with it */
	/* a page of the log is damaged: what comes behind it would be lost by
	 * a crash */
	atomic_bool damaged;
	/* a sync of the database failed: see checkpoint.c */
	atomic_bool unsynced;
	atomic_ullong log_told_us; /* that the log only grows */
	bool plain;		   /* its pages have no checksums */
	bool logless;		   /* it had no log when it was opened */
	/* place.c: the database and its log, if that is known */
	bool placed;
	struct store_place places[STORE_PLACES];
	struct refs refs;
	struct lanes lanes;
	struct data_files data;
	struct buf scratch; /* a segment on its way to a row */
	size_t page_bytes, row_bytes;
	int64_t now_s;			    /* wall clock */
	const struct store_batch *applying; /* whose records */
	uint64_t next_session, next_msg;
	uint64_t tomb_order[TOMB_AGES]; /* highest order, by age */
	unsigned tomb_at;		/* the oldest, and the next */
	uint64_t tomb_us;		/* when the last one began */
	uint64_t order, tombs;
	/* the thread */
	struct checkpointer checkpointer;
	/* pages in the write-ahead log: now, a turn ago, and at the next
	 * checkpoint */
	atomic_int log_pages;
	int log_before, log_next;
	bool changed; /* since it was looked at for free pages */
	bool untidy;  /* there were some to give back */
	uint64_t tidied_us;
	struct mailbox mail;
	struct letter wake;
	pthread_t thread;
	bool running;
	atomic_bool stop;
	atomic_int state;		 /* enum store_state */
	uint64_t told_us, tried_us;	 /* while that is not STORE_OK */
	struct letter *held, *held_last; /* taken, not yet done, in order */
	atomic_ullong commits, records, last_commit_us;
	char why[256];
};

/* Kinds of letters. */
enum { STORE_BATCH, STORE_READ, STORE_FACTS };

/* mend.c: what mends that errno, of a file of the store or its folder. */
void store_mend(struct nj_why *why, int err);

/* replace.c */
/* Of the folder that path is in. */
bool store_folder_stat(const char *path, struct stat *st);
/* Whether there are data files of that name, whatever is in them. */
bool store_has_data(const char *path);
/* A copy is complete that is to be the store at path, and is not yet. */
bool restore_pending(const char *path);
/* It becomes that, if there is one; *old: what the one before is called now, or
 * would be where only its log or its data files were there, to be freed, or NULL.
 * The caller has the lock.  NJ_DENIED: what is there was not left by a restore. */
NJ_MUST enum nj_err
restore_finish(const char *path, char **old, struct nj_why *why);

/* sql.c */
enum nj_err sql_err(int rc);
void sql_why(struct store *s, struct nj_why *why, const char *doing);
NJ_MUST enum nj_err sql_exec(struct store *s, const char *text);
NJ_MUST enum nj_err sql_prepare_all(struct store *s);
void sql_finalize_all(struct store *s);
/* Runs a bound statement that gives no rows, and resets it. */
NJ_MUST enum nj_err sql_run(struct store *s, enum statement which);
/* A transaction; one that could not be rolled back is, first: else none ever began. */
NJ_MUST enum nj_err sql_begin(struct store *s);
sqlite3_stmt *sql_get(struct store *s, enum statement which);
void sql_bind_slice(sqlite3_stmt *st, int at, struct slice v);
struct slice sql_column(sqlite3_stmt *st, int at);

/* apply.c: one batch inside the open transaction. */
NJ_MUST enum nj_err apply_batch(struct store *s, const struct store_batch *b);
/* Writes an entry that is a row of its own.  Its message is written at the end of
 * the transaction, or now, if it does not live so long. */
NJ_MUST enum nj_err
apply_entry(struct store *s, const struct store_rec *r, bool now);
/* Deletes those of a session's rows that have a key from first to last. */
NJ_MUST enum nj_err apply_entries_end(
    struct store *s, uint64_t session, uint64_t first, uint64_t last);
/* The messages that the transaction's rows name; before COMMIT. */
NJ_MUST enum nj_err apply_refs(struct store *s);
void refs_clear(struct refs *r);
void refs_fini(struct refs *r);
/* Steps a bound statement that gives message numbers of rows that went. */
NJ_MUST enum nj_err apply_dropping(struct store *s, enum statement which);
/* Deletes a session and everything of it, or what is left of one. */
NJ_MUST enum nj_err apply_session_end(struct store *s, uint64_t session);

/* lane.c, lane_memory.c, lane_write.c: queues, until the end of the transaction in
 * memory. */
/* r stays until then; row: it is none of a segment. */
NJ_MUST enum nj_err
lane_add(struct store *s, const struct store_rec *r, bool row);
NJ_MUST enum nj_err lane_end(struct store *s, uint64_t session, uint64_t seq);
/* If it is part of a segment, it becomes a row of its own, in r's state; *row: it
 * is one on disk. */
NJ_MUST enum nj_err
lane_state(struct store *s, const struct store_rec *r, bool *row);
/* The oldest that waits is taken out; what is before from is in flight. */
NJ_MUST enum nj_err
lane_shift(struct store *s, uint64_t session, uint64_t from);
/* Writes what was gathered of a session's rows of queue, for who looks at all of
 * them. */
NJ_MUST enum nj_err lane_rows(struct store *s, uint64_t session);
NJ_MUST enum nj_err lane_session_end(struct store *s, uint64_t session);
NJ_MUST enum nj_err lanes_write(struct store *s);
void lanes_clear(struct lanes *l);
void lanes_fini(struct lanes *l);

/* datafile.c: where large segments have their bytes */
NJ_MUST enum nj_err data_open(struct store *s, struct nj_why *why);
void data_close(struct store *s);
/* Whether a row of n bytes has them there, and how many it may have. */
bool data_wants(const struct store *s, size_t n);
size_t data_row_bytes(const struct store *s);
/* Within a transaction: bytes for a row, which is to be written with *out. */
NJ_MUST enum nj_err
data_put(struct store *s, struct slice bytes, struct place *out);
/* A row that had bytes there goes; a statement that gives file and len of such
 * rows. */
void data_drop(struct store *s, uint64_t no, uint64_t len);
NJ_MUST enum nj_err data_dropping(struct store *s, enum statement which);
/* Before COMMIT; then one of the two. */
NJ_MUST enum nj_err data_sync(struct store *s);
void data_committed(struct store *s);
void data_rolled_back(struct store *s);
/* Lent until the next call; data_source in data.h. */
NJ_MUST enum nj_err
data_get(struct store *s, const struct place *p, struct slice *out);
/* The bytes of a row, from its columns data, file, at, len and sum. */
NJ_MUST enum nj_err
data_column(struct store *s, sqlite3_stmt *st, int at, struct slice *out);
/* Between transactions: deletes what is empty, and copies a part of what nearly
 * is.  In how many ms it should be called again; -1: after the next commit. */
int data_turn(struct store *s, bool idle);

/* clean.c: at the start, in transactions of its own. */
/* Messages dropped at one start for being out of date; the rest go when their
 * session is served, or at the next. */
#define CLEAN_EXPIRED_MAX 100000
/* now_ms: wall clock; 0: nothing has expired. */
NJ_MUST enum nj_err clean_expired(struct store *s, int64_t now_ms);
NJ_MUST enum nj_err
clean_orphans(struct store *s, const uint64_t *sessions, size_t n);

/* convert.c: the file is written anew, with checksums, if it can be; what is
 * wrong is told, and the file is as it was.  Nothing has it open then, and a
 * connection is to be opened again. */
void convert_pages(struct store *s);

/* schema.c: from 0, an empty file, too. */
NJ_MUST enum nj_err schema_upgrade(struct store *s, unsigned from);

/* facts.c: letters of kind STORE_FACTS. */
/* Inside the open transaction. */
NJ_MUST enum nj_err facts_apply(struct store *s, struct letter *l);
/* It changes something. */
bool facts_write(const struct letter *l);
/* Whoever waits goes on; the letter is its again. */
void facts_answer(struct store *s, struct letter *l, enum nj_err e);

/* load.c: an entry's row from column `at` on, session apart, without its
 * message; that message. */
struct store_entry load_entry(sqlite3_stmt *st, int at);
NJ_MUST enum nj_err load_msg(struct store *s, uint64_t id, void **msg);

/* page.c */
void read_answer(struct store *s, struct store_read *r);

/* checkpoint.c: all but start and end on the store's thread. */
void checkpointer_start(struct store *s);
void checkpointer_end(struct store *s);
/* Its log stays where the database could not be synced. */
void close_database(struct store *s, sqlite3 *db);
/* After a commit. */
void checkpointer_turn(struct store *s);
/* Gives some free pages back, now and then: after a commit, or when there is
 * nothing to do.  In how many ms it should be called again; -1: after the
 * next commit. */
int tidy_turn(struct store *s, bool idle);

/* writer.c */
/* Ends the thread, if it runs, when everything is written or cannot be. */
void writer_end(struct store *s);

#endif
