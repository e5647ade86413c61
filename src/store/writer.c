/* SPDX-License-Identifier: Apache-2.0
 *
 * The store's thread: all batches that are there, one transaction, and again.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/daemon.h"
#include "base/log.h"
#include "store/impl.h"
#include "store/place.h"

#define RETRY_MS 500
#define SELDOM	 20 /* as often where it is damaged */

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static void
set_state(struct store *s, enum store_state to, const char *why)
{
	if (atomic_load(&s->state) == (int)to &&
	    (to == STORE_OK ||
		now_us() - s->told_us < STORE_REMIND_MS * UINT64_C(1000)))
		return;
	s->told_us = now_us();
	atomic_store(&s->state, to);
	if (s->opts.state)
		s->opts.state(s->opts.arg, to, why);
}

static enum store_state
state_of(enum nj_err e)
{
	switch (e) {
	case NJ_FULL:
		return STORE_FULL;
	case NJ_MALFORMED:
		return STORE_DAMAGED;
	default:
		return STORE_FAILING;
	}
}

/* Sleeps until there is mail, or ms have gone by (-1: however long). */
static void
wait_mail(struct store *s, int ms)
{
	struct pollfd p = { .fd = s->mail.fd, .events = POLLIN };

	if (!mailbox_sleep(&s->mail))
		return;
	(void)poll(&p, 1, ms);
	mailbox_awake(&s->mail);
}

/* Behind what is held already. */
static void
hold(struct store *s, struct letter *l)
{
	atomic_store_explicit(&l->next, NULL, memory_order_relaxed);
	if (s->held)
		atomic_store_explicit(
		    &s->held_last->next, l, memory_order_relaxed);
	else
		s->held = l;
	s->held_last = l;
}

/* Takes what has come. */
static void
collect(struct store *s)
{
	struct letter *l;

	while ((l = mailbox_take(&s->mail)))
		if (l != &s->wake)
			hold(s, l);
}

static struct letter *
next_of(const struct letter *l)
{
	return atomic_load_explicit(&l->next, memory_order_relaxed);
}

/* ages: so do orders of deleted retained messages. */
static enum nj_err
apply_all(struct store *s, uint64_t *records, bool ages)
{
	enum nj_err e;

	for (struct letter *l = s->held; l; l = next_of(l)) {
		const struct store_batch *b = (struct store_batch *)l;

		if (l->kind == STORE_FACTS && (e = facts_apply(s, l)))
			return e;
		if (l->kind != STORE_BATCH)
			continue;
		if ((e = apply_batch(s, b)))
			return e;
		*records += b->live;
	}
	if ((e = lanes_write(s)) || (e = apply_refs(s)))
		return e;
	if (s->tombs > 0 && ages) {
		/* what could still come before these has come */
		sqlite3_bind_int64(sql_get(s, ST_TOMBS_END), 1,
		    (sqlite3_int64)s->tomb_order[s->tomb_at]);
		return sql_run(s, ST_TOMBS_END);
	}
	return NJ_OK;
}

/* What the operator is told of it. */
static void
tell_failure(struct store *s, enum nj_err e)
{
	int err = errno;

	if (s->data.why[0])
		snprintf(s->why, sizeof s->why, "%s", s->data.why);
	else if (e == NJ_IO && (err == EIO || err == ENXIO))
		snprintf(s->why, sizeof s->why,
		    "%s: the disk fails, or its file system was shut down, "
		    "see: dmesg",
		    strerror(err));
	else
		snprintf(s->why, sizeof s->why, "%s", sqlite3_errmsg(s->db));
}

static enum nj_err
commit(struct store *s)
{
	uint64_t began = now_us(), records = 0;
	bool ages = began - s->tomb_us >= TOMB_US;
	enum nj_err e;

	if (atomic_load(&s->damaged)) {
		snprintf(s->why, sizeof s->why,
		    "a page of its log is not as it was written");
		return NJ_MALFORMED;
	}
	if (atomic_load(&s->unsynced)) {
		/* what the system forgot may be read as it was before */
		snprintf(s->why, sizeof s->why,
		    "the database could not be synced: look after the disk, "
		    "and "
		    "start the broker again");
		return NJ_IO;
	}
	if (!place_holds(s, s->why, sizeof s->why))
		return NJ_IO;
	s->data.why[0] = '\0';
	errno = 0;
	if ((e = sql_begin(s))) {
		tell_failure(s, e);
		return e;
	}
	if ((e = apply_all(s, &records, ages)) || (e = data_sync(s)) ||
	    (e = sql_run(s, ST_COMMIT))) {
		tell_failure(s, e);
		/* the disk has no part in it: what is there is not as it
		 * should be */
		if ((sqlite3_errcode(s->db) & 0xff) == SQLITE_CONSTRAINT)
			e = NJ_MALFORMED;
		/* it may have been rolled back already */
		if (!sqlite3_get_autocommit(s->db) && sql_run(s, ST_ROLLBACK))
			nj_log(LOG_T_ERROR, "%s: cannot be rolled back: %s",
			    s->path, sqlite3_errmsg(s->db));
		refs_clear(&s->refs);
		lanes_clear(&s->lanes);
		data_rolled_back(s);
		return e;
	}
	data_committed(s);
	refs_clear(&s->refs);
	lanes_clear(&s->lanes);
	if (ages) {
		s->tomb_order[s->tomb_at] = s->order;
		s->tomb_at = (s->tomb_at + 1) % TOMB_AGES;
		s->tomb_us = began;
	}
	atomic_fetch_add(&s->commits, 1);
	atomic_fetch_add(&s->records, records);
	atomic_store(&s->last_commit_us, now_us() - began);
	/* by SQLite's own checkpoint, which says nothing */
	if (!s->checkpointer.running && !s->opts.no_thread && !s->opts.vfs &&
	    pages_unsynced(s->db))
		atomic_store(&s->unsynced, true);
	return NJ_OK;
}

static bool
has_records(const struct store *s)
{
	for (struct letter *l = s->held; l; l = next_of(l))
		if ((l->kind == STORE_BATCH &&
			((struct store_batch *)l)->live) ||
		    (l->kind == STORE_FACTS && facts_write(l)))
			return true;
	return false;
}

/* Hands everything back, in order. */
static void
answer_all(struct store *s)
{
	struct letter *l = s->held, *next;

	s->held = NULL;
	for (; l; l = next) {
		next = next_of(l);
		if (l->kind == STORE_BATCH) {
			s->opts.done(s->opts.arg, (struct store_batch *)l);
		} else if (l->kind == STORE_FACTS) {
			facts_answer(s, l, NJ_OK);
		} else {
			struct store_read *r = (struct store_read *)l;

			read_answer(s, r);
			s->opts.paged(s->opts.arg, r);
		}
	}
}

/* Facts are not tried again: whoever waits for them is told. */
static void
refuse_facts(struct store *s, enum nj_err e)
{
	struct letter *l = s->held, *next;

	s->held = s->held_last = NULL;
	for (; l; l = next) {
		next = next_of(l);
		if (l->kind == STORE_FACTS)
			facts_answer(s, l, e);
		else
			hold(s, l);
	}
}

/* What a read may be told of what is on disk, though batches before it are not:
 * a page that ends before what they change, or NJ_AGAIN. */
static void
read_around(struct store *s, struct store_read *r)
{
	uint64_t until = r->until, sure = until;

	for (struct letter *l = s->held; l != &r->letter; l = next_of(l))
		if (l->kind == STORE_BATCH)
			sure = batch_leaves(
			    (struct store_batch *)l, r->session, r->from, sure);
	r->result = NJ_AGAIN;
	if (sure < until && sure <= r->from)
		return;
	r->until = sure;
	read_answer(s, r);
	r->until = until;
	r->more |= sure < until;
	if (r->result == NJ_MALFORMED ||
	    (!r->result && (sure == until || r->n > 0)))
		return;
	store_read_fini(r, s->opts.msgs);
	r->result = NJ_AGAIN;
}

/* The disk takes nothing; what is on it is read all the same.  No read waits
 * here: each is looked at once, and whoever gets nothing asks again. */
static void
read_meanwhile(struct store *s)
{
	struct letter *all = NULL, *last = NULL, *next;

	for (struct letter *l = s->held; l; l = next) {
		next = next_of(l);
		if (l->kind == STORE_READ) {
			read_around(s, (struct store_read *)l);
			if (last)
				atomic_store_explicit(
				    &last->next, next, memory_order_relaxed);
			else
				s->held = next;
			s->opts.paged(s->opts.arg, (struct store_read *)l);
			continue;
		}
		if (!all)
			all = l;
		last = l;
	}
	s->held = all;
	s->held_last = last;
}

/* What failed is not tried again with each letter: a read would take as long as
 * all that waits.  Milliseconds. */
static unsigned
rest(const struct store *s)
{
	uint64_t ms = s->opts.retry_ms ? s->opts.retry_ms : RETRY_MS;
	uint64_t gone = (now_us() - s->tried_us) / 1000;

	/* no waiting mends that; a read from the disk that went wrong is over */
	if (atomic_load(&s->state) == STORE_DAMAGED)
		ms *= SELDOM;
	if (atomic_load(&s->state) == STORE_OK || atomic_load(&s->stop) ||
	    s->opts.no_thread || gone >= ms)
		return 0;
	return (unsigned)(ms - gone);
}

/* One transaction, tried until it is done or the store is closed. */
static void
work(struct store *s)
{
	enum nj_err e = NJ_OK;

	if (rest(s) > 0) {
		read_meanwhile(s);
		wait_mail(s, (int)rest(s));
		return;
	}
	if (has_records(s))
		e = commit(s);
	if (e == NJ_OK) {
		set_state(s, STORE_OK, "");
		answer_all(s);
		checkpointer_turn(s);
		(void)tidy_turn(s, false);
		(void)data_turn(s, false);
		return;
	}
	refuse_facts(s, e);
	/* it is tried again as long as something waits for it */
	if (!has_records(s))
		return;
	set_state(s, state_of(e), s->why);
	s->tried_us = now_us();
	read_meanwhile(s);
	if (!atomic_load(&s->stop) && !s->opts.no_thread)
		wait_mail(s, (int)rest(s));
}

void
store_turn(struct store *s)
{
	collect(s);
	if (s->held)
		work(s);
}

/* -1: not at all. */
static int
sooner(int a_ms, int b_ms)
{
	return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static void *
writer_main(void *arg)
{
	struct store *s = arg;

	(void)pthread_setname_np(pthread_self(), "store");
	for (;;) {
		bool last = atomic_load(&s->stop);

		collect(s);
		if (s->held)
			work(s);
		else if (last)
			break;
		else if (!atomic_load(&s->stop))
			/* what wakes it for the end is still to come */
			wait_mail(
			    s, sooner(tidy_turn(s, true), data_turn(s, true)));
		if (last && s->held)
			break; /* it could not be written */
	}
	return NULL;
}

enum nj_err
store_start(struct store *s, struct nj_why *why)
{
	sigset_t all, old;
	enum nj_err e;
	int rc;

	if ((e = mailbox_init(&s->mail))) {
		why_set(why, "%s: its thread cannot be given anything: %s",
		    s->path, strerror(errno));
		if (errno == EMFILE || errno == ENFILE)
			why_mend(why, DAEMON_MEND_FILES);
		return e;
	}
	checkpointer_start(s);
	if (s->opts.no_thread) {
		s->running = true;
		return NJ_OK;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = pthread_create(&s->thread, NULL, writer_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		checkpointer_end(s);
		mailbox_fini(&s->mail);
		why_set(why, "the store's thread: %s", strerror(rc));
		return NJ_IO;
	}
	s->running = true;
	return NJ_OK;
}

void
store_submit(struct store *s, struct store_batch *b)
{
	b->letter.kind = STORE_BATCH;
	mailbox_post(&s->mail, &b->letter);
}

void
store_read(struct store *s, struct store_read *r)
{
	r->letter.kind = STORE_READ;
	mailbox_post(&s->mail, &r->letter);
}

/* What could not be written is dropped: it was promised to nobody. */
static void
drop_held(struct store *s)
{
	struct letter *l = s->held, *next;

	for (; l; l = next) {
		next = next_of(l);
		if (l->kind == STORE_BATCH) {
			struct store_batch *b = (struct store_batch *)l;

			if (s->opts.dropped)
				s->opts.dropped(s->opts.arg, b);
			else
				batch_free(b);
		} else if (l->kind == STORE_FACTS) {
			facts_answer(s, l, NJ_EOF);
		} else {
			((struct store_read *)l)->result = NJ_EOF;
			s->opts.paged(s->opts.arg, (struct store_read *)l);
		}
	}
	s->held = NULL;
}

void
writer_end(struct store *s)
{
	if (!s->running)
		return;
	atomic_store(&s->stop, true);
	if (s->opts.no_thread) {
		store_turn(s);
	} else {
		mailbox_post(&s->mail, &s->wake);
		pthread_join(s->thread, NULL);
	}
	checkpointer_end(s);
	collect(s);
	drop_held(s);
	mailbox_fini(&s->mail);
	s->running = false;
}

const char *
store_state_name(enum store_state s)
{
	static const char *const names[] = { [STORE_OK] = "ok",
		[STORE_FULL] = "full",
		[STORE_FAILING] = "failing",
		[STORE_DAMAGED] = "damaged" };

	return names[s];
}

enum store_state
store_state(const struct store *s)
{
	return (enum store_state)atomic_load(&s->state);
}

void
store_stats(const struct store *s, struct store_stats *out)
{
	*out = (struct store_stats){
		.commits = atomic_load(&s->commits),
		.records = atomic_load(&s->records),
		.last_commit_us = atomic_load(&s->last_commit_us),
	};
}
