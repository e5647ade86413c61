/* SPDX-License-Identifier: Apache-2.0
 *
 * The write-ahead log back into the database, and pages that are free back to
 * the file system, so that neither file grows for ever and no commit waits
 * for long.
 *
 * A checkpoint writes thousands of pages and syncs the file.  A second thread
 * with its own connection does that while the store's goes on committing,
 * until little is left; that little the store's thread does between two
 * commits, after which the log starts again from its beginning.
 */
#include <signal.h>
#include <time.h>

#include "base/log.h"
#include "store/impl.h"
#include "store/place.h"
#include "store/walfile.h"

/* Pages in the log: a checkpoint begins; less than this is left of it to the
 * writer; the writer waits, as the disk does not keep up. */
#define BEGIN_PAGES 4000
#define TAIL_PAGES  200
#define HARD_PAGES  32000
/* Rounds, each as long as the log grew during the one before. */
#define ROUNDS_MAX 8

/* Free pages are given back above this many and this share of the file, 256
 * (1 MiB) at once: once a second, or one after the other while nothing comes. */
#define FREE_MIN   1024
#define FREE_SHARE 4
#define PAUSE_MS   1000
#define STEP_MS	   20

static int
on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct store *s = arg;

	(void)db;
	(void)name;
	atomic_store(&s->log_pages, pages);
	return SQLITE_OK;
}

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

/* Once in STORE_REMIND_MS. */
static void
tell(struct store *s, const char *why)
{
	unsigned long long now = now_us(), told = atomic_load(&s->log_told_us);

	if ((told && now - told < STORE_REMIND_MS * UINT64_C(1000)) ||
	    !atomic_compare_exchange_strong(&s->log_told_us, &told, now))
		return;
	if (atomic_load(&s->unsynced))
		nj_log(LOG_T_ERROR,
		    "%s could not be synced.  Its log has all of it, and "
		    "stays: "
		    "look after the disk, and start the broker again",
		    s->path);
	else
		nj_log(LOG_T_ERROR,
		    "%s cannot be brought up to date: %s.  Its log keeps all, "
		    "and grows; it is tried again.",
		    s->path, why);
}

/*
 * What the system could not write it may have forgotten, and it says so once: after
 * another sync the log, which has it, would start again.  So from then on it does
 * not; the next start brings all of it into the database.
 */
static void
look_at(struct store *s, sqlite3 *db, int rc)
{
	if ((rc & 0xff) == SQLITE_CORRUPT)
		atomic_store(&s->damaged, true);
	/* or it was the log's, which is tried again */
	if (rc == SQLITE_IOERR_FSYNC && pages_unsynced(db))
		atomic_store(&s->unsynced, true);
	if ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_FULL)
		tell(s, sqlite3_errmsg(db));
}

/* How many pages of the log are in the database now, and how many of those that
 * were in the log when it began are not. */
static int
checkpoint(struct store *s, sqlite3 *db, int *done, int *left)
{
	int in_log = 0;
	int rc = sqlite3_wal_checkpoint_v2(
	    db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, done);

	look_at(s, db, rc);
	*left = rc == SQLITE_OK && in_log >= 0 ? in_log - *done : 0;
	return rc;
}

/* SQLite syncs the database only when all of the log is in it, which is the
 * tail: it would wait for what the rounds wrote. */
static int
sync_database(struct store *s, sqlite3 *db)
{
	sqlite3_file *f = NULL;
	int rc =
	    sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f);

	if (rc != SQLITE_OK || !f || !f->pMethods)
		return rc;
	rc = f->pMethods->xSync(f, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
	look_at(s, db, rc);
	return rc;
}

static void
rounds(struct store *s)
{
	sqlite3 *db = s->checkpointer.db;
	int done = 0, left = 0, synced = 0, new = HARD_PAGES, before;

	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		if (checkpoint(s, db, &done, &left) != SQLITE_OK)
			break;
		if (done - synced > TAIL_PAGES) {
			if (sync_database(s, db) != SQLITE_OK)
				break;
			synced = done;
		}
		before = new;
		new = atomic_load(&s->log_pages) - done;
		/* little has come meanwhile, or as much as ever; or somebody
		 * reads what is old, and it goes on when they end */
		if (new < TAIL_PAGES || new >= before || left > 0)
			break;
	}
}

static void *
checkpointer_main(void *arg)
{
	struct store *s = arg;
	struct checkpointer *c = &s->checkpointer;

	(void)pthread_setname_np(pthread_self(), "checkpoints");
	pthread_mutex_lock(&c->lock);
	for (;;) {
		while (!c->wanted && !c->stop)
			pthread_cond_wait(&c->change, &c->lock);
		if (c->stop)
			break;
		pthread_mutex_unlock(&c->lock);
		rounds(s);
		pthread_mutex_lock(&c->lock);
		c->wanted = false;
		c->tail_due = true;
		pthread_cond_broadcast(&c->change);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* Without a second thread, as before: now and then a commit takes longer. */
static void
do_without(struct store *s)
{
	sqlite3_wal_autocheckpoint(s->db, BEGIN_PAGES);
}

void
checkpointer_start(struct store *s)
{
	struct checkpointer *c = &s->checkpointer;
	const char *vfs = NULL;
	sigset_t all, old;
	int rc;

	if (s->opts.no_thread || s->opts.vfs || walfile_vfs(NULL, &vfs) ||
	    sqlite3_open_v2(s->path, &c->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
		    SQLITE_OPEN_EXRESCODE,
		vfs) != SQLITE_OK ||
	    sqlite3_exec(c->db, "PRAGMA synchronous = FULL", NULL, NULL,
		NULL) != SQLITE_OK) {
		sqlite3_close(c->db);
		c->db = NULL;
		do_without(s);
		return;
	}
	pages_pace(c->db, s->db_fd);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->change, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = pthread_create(&c->thread, NULL, checkpointer_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	c->running = rc == 0;
	if (!c->running) {
		checkpointer_end(s);
		do_without(s);
		return;
	}
	s->log_next = BEGIN_PAGES;
	sqlite3_wal_hook(s->db, on_commit, s);
}

void
close_database(struct store *s, sqlite3 *db)
{
	char why[256];

	/* SQLite deletes the log by its name, which may be another's now */
	if (db &&
	    (atomic_load(&s->unsynced) || !place_holds(s, why, sizeof why)))
		(void)sqlite3_db_config(
		    db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close(db);
}

void
checkpointer_end(struct store *s)
{
	struct checkpointer *c = &s->checkpointer;

	if (!c->db)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_broadcast(&c->change);
	pthread_mutex_unlock(&c->lock);
	if (c->running)
		pthread_join(c->thread, NULL);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->change);
	close_database(s, c->db);
	*c = (struct checkpointer){ .db = NULL };
}

/* Whether the log has grown enough for another try.  Who reads what is old
 * keeps it from starting again, and each try sorts all of it. */
static bool
worth_it(struct store *s, int pages)
{
	struct checkpointer *c = &s->checkpointer;

	if (pages < s->log_before) {
		/* it started again, as all of it was in the database */
		s->log_next = BEGIN_PAGES;
		pthread_mutex_lock(&c->lock);
		c->tail_due = false;
		pthread_mutex_unlock(&c->lock);
	}
	s->log_before = pages;
	return pages >= s->log_next;
}

void
checkpointer_turn(struct store *s)
{
	struct checkpointer *c = &s->checkpointer;
	int pages = atomic_load(&s->log_pages), done = 0, left = 0;
	bool due;

	if (atomic_load(&s->unsynced)) {
		tell(s, "");
		return;
	}
	if (!c->running || !worth_it(s, pages))
		return;
	pthread_mutex_lock(&c->lock);
	if (!c->tail_due && !c->wanted) {
		c->wanted = true;
		pthread_cond_broadcast(&c->change);
	}
	while (pages >= HARD_PAGES && c->wanted)
		pthread_cond_wait(&c->change, &c->lock);
	due = c->tail_due;
	c->tail_due = false;
	pthread_mutex_unlock(&c->lock);
	if (due && !atomic_load(&s->unsynced))
		s->log_next =
		    checkpoint(s, s->db, &done, &left) == SQLITE_OK && left == 0
		    ? BEGIN_PAGES
		    : pages + BEGIN_PAGES;
}

static int64_t
ask(struct store *s, enum statement which)
{
	sqlite3_stmt *st = sql_get(s, which);
	int64_t n = 0;

	if (sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return n;
}

/* A step, when there is enough to give back; whether there is more. */
static bool
give_back(struct store *s)
{
	int64_t gone = ask(s, ST_FREE_PAGES);

	return gone >= FREE_MIN && gone >= ask(s, ST_PAGES) / FREE_SHARE &&
	    /* what fails now is no harm: the pages are used again */
	    sql_exec(s, "PRAGMA incremental_vacuum(256)") == NJ_OK;
}

int
tidy_turn(struct store *s, bool idle)
{
	uint64_t now = now_us();
	bool was = s->untidy;
	int done = 0, left = 0;

	s->changed |= !idle;
	if (atomic_load(&s->unsynced) || s->opts.vfs || s->opts.no_thread ||
	    (!s->changed && !was))
		return -1;
	if (!(idle && was) && now - s->tidied_us < PAUSE_MS * 1000u)
		return PAUSE_MS;
	s->tidied_us = now;
	s->changed = false;
	s->untidy = give_back(s);
	if (s->untidy)
		return STEP_MS;
	/* the file ends where it should when all of the log is in it */
	if (was &&
	    (checkpoint(s, s->db, &done, &left) != SQLITE_OK || left > 0))
		s->changed = s->untidy = true;
	return s->changed ? PAUSE_MS : -1;
}
