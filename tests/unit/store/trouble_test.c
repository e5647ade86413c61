/* SPDX-License-Identifier: Apache-2.0
 *
 * A store that cannot commit: what it still does, what it says, and what is found
 * if the power goes then.  It has no thread here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk.h"
#include "memory.h"
#include "store/impl.h"

#define BATCH	   100u
#define FILE_BYTES 400000u /* twelve batches */
#define A_FILE	   12u

static char path[64];
static struct store *store;
static uint64_t ticket, acked;
static enum store_state state;
static unsigned told;
static struct store_read *page;

static void
on_done(void *arg, struct store_batch *b)
{
	(void)arg;
	assert_int_equal(b->ticket, acked + 1);
	acked = b->ticket;
	batch_free(b);
}

static void
on_paged(void *arg, struct store_read *r)
{
	(void)arg;
	page = r;
}

static void
on_state(void *arg, enum store_state s, const char *why)
{
	(void)arg;
	(void)why;
	state = s;
	told++;
}

static void
open_it(void)
{
	const struct store_opts o = {
		.path = path,
		.vfs = DISK_VFS,
		.msgs = &note_ops,
		.done = on_done,
		.paged = on_paged,
		.state = on_state,
		.no_thread = true,
		.data_min = 8192,
		.data_file = FILE_BYTES,
	};
	struct nj_why why = { .what = "" };

	if (store_open(&o, &store, &why))
		fail_msg("%s", why.what);
	assert_int_equal(store_start(store, &why), NJ_OK);
	ticket = acked = 0;
	state = STORE_OK;
	told = 0;
}

static void
close_it(void)
{
	store_close(store);
	store = NULL;
}

static void
submit(struct store_batch *x)
{
	x->ticket = ++ticket;
	store_submit(store, x);
}

/* 30 KB, in a file beside the database. */
static void
put(struct store_batch *x, uint64_t from)
{
	bench_put(x, from, BATCH);
}

static void
write_now(struct store_batch *x)
{
	submit(x);
	store_turn(store);
	assert_int_equal(acked, ticket);
}

static void
begin(uint64_t seed)
{
	struct store_batch *x;

	disk_reset(seed);
	open_it();
	x = bench_batch();
	assert_int_equal(batch_session(x,
			     &(struct store_session){ .id = 1,
				 .client = slice_str("c"),
				 .expiry_s = 100,
				 .version = 5,
				 .offline_ms = 1 }),
	    NJ_OK);
	put(x, 1);
	write_now(x);
}

/* How many there are of session 1's from a key to before another; *last: the
 * highest, *more: there may be others.  UINT64_MAX: no answer. */
static uint64_t
read_some(uint64_t from, uint64_t until, uint64_t *last, bool *more)
{
	struct store_read r = {
		.session = 1, .from = from, .until = until, .max = 5000
	};
	uint64_t n;

	page = NULL;
	store_read(store, &r);
	store_turn(store);
	if (!page)
		return UINT64_MAX;
	assert_int_equal(r.result, NJ_OK);
	for (uint32_t i = 0; i < r.n; i++) {
		const struct note *note = r.v[i].msg;

		*last = r.v[i].seq;
		/* topic's length, topic, payload */
		assert_int_equal(
		    strtoull((const char *)note->bytes + 3, NULL, 10),
		    r.v[i].seq);
	}
	*more = r.more;
	n = r.n;
	store_read_fini(&r, &note_ops);
	return n;
}

static uint64_t
read_all(void)
{
	uint64_t n = 0, last = 0;
	bool more = true;

	for (uint64_t from = 1; more; from = last + 1)
		n += read_some(from, UINT64_MAX, &last, &more);
	return n;
}

/* Whom a page was asked for behind a batch that cannot be written gets what is on
 * disk, and no more. */
static void
test_reads_go_on(void **st)
{
	struct store_read wait = {
		.session = 1, .from = 101, .until = 1000, .max = 500
	};
	struct store_batch *x;
	uint64_t last = 0;
	bool more = false;

	(void)st;
	begin(1);
	disk_fail(SQLITE_FULL);
	x = bench_batch();
	put(x, 101);
	/* what was sent before */
	assert_int_equal(batch_queue_end(x, 1, 3), NJ_OK);
	submit(x);
	store_turn(store);
	assert_int_equal(state, STORE_FULL);
	assert_int_equal(read_some(11, 1000, &last, &more), 90);
	assert_int_equal(last, 100);
	assert_true(more);
	assert_int_equal(read_some(11, 51, &last, &more), 40);
	assert_false(more);
	/* these are on disk only when that is; who asks is told so, and holds up
	 * nobody */
	page = NULL;
	store_read(store, &wait);
	store_turn(store);
	assert_ptr_equal(page, &wait);
	assert_int_equal(wait.result, NJ_AGAIN);
	disk_fail(0);
	store_turn(store);
	assert_int_equal(state, STORE_OK);
	assert_int_equal(acked, ticket);
	page = NULL;
	store_read(store, &wait);
	store_turn(store);
	assert_ptr_equal(page, &wait);
	assert_int_equal(wait.result, NJ_OK);
	assert_int_equal(wait.n, BATCH);
	store_read_fini(&wait, &note_ops);
	assert_int_equal(read_all(), 2 * BATCH - 1);
	close_it();
	assert_int_equal(notes_alive, 0);
}

static void
test_leaves(void **st)
{
	static const struct {
		uint64_t session, from, until, want;
	} rows[] = {
		{ 1, 1, 100, 20 },
		{ 1, 21, 100, 100 },
		{ 1, 1, 20, 20 },
		{ 1, 30, 20, 20 },
		{ 2, 1, 100, 7 },
		{ 3, 5, 100, 5 },
		{ 4, 5, 100, 5 },
		{ 5, 5, 100, 100 },
	};
	struct store_batch *x = bench_batch();
	uint32_t at = UINT32_MAX;

	(void)st;
	assert_int_equal(batch_queue(x,
			     &(struct store_entry){ .session = 1,
				 .seq = 20,
				 .qos = 1,
				 .msg = note_new("a", "b") },
			     &at),
	    NJ_OK);
	assert_int_equal(batch_queue_end(x, 2, 9), NJ_OK);
	at = UINT32_MAX;
	assert_int_equal(batch_queue_state(x, 2, 7, 7, 1, &at), NJ_OK);
	assert_int_equal(batch_queue_shift(x, 3, 0), NJ_OK);
	assert_int_equal(batch_session_end(x, 4), NJ_OK);
	assert_int_equal(batch_sent(x, 5, 7), NJ_OK);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(batch_leaves(x, rows[i].session, rows[i].from,
				     rows[i].until),
		    rows[i].want);
	batch_free(x);
	assert_int_equal(notes_alive, 0);
}

static void
change(const char *sql)
{
	assert_int_equal(
	    sqlite3_exec(store->db, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* What can never be applied is no fault of the disk's: the operator is told to
 * look at the file, and told again.  Nothing is lost meanwhile. */
static void
test_never(void **st)
{
	struct store_batch *x;

	(void)st;
	begin(1);
	change("INSERT INTO seg(session, first, n, size, stored, data) "
	       "VALUES(1, 101, 1, 1, 1, x'00')");
	x = bench_batch();
	put(x, 101);
	submit(x);
	store_turn(store);
	assert_int_equal(state, STORE_DAMAGED);
	assert_int_equal(told, 1);
	store_turn(store);
	assert_int_equal(told, 1);
	store->told_us -= STORE_REMIND_MS * UINT64_C(1000);
	store_turn(store);
	assert_int_equal(told, 2);
	assert_int_equal(acked, ticket - 1);
	change("DELETE FROM seg WHERE session = 1 AND first = 101");
	store_turn(store);
	assert_int_equal(state, STORE_OK);
	assert_int_equal(acked, ticket);
	assert_int_equal(read_all(), 2 * BATCH);
	close_it();
	assert_int_equal(notes_alive, 0);
}

/* An entry whose bytes are damaged is one client's trouble. */
static void
test_unreadable(void **st)
{
	uint32_t at = UINT32_MAX;
	struct store_batch *x;
	char name[96];

	(void)st;
	begin(1);
	snprintf(name, sizeof name, "%s" DATA_TAIL "0000001", path);
	assert_true(disk_damage(name, 5000));
	x = bench_batch();
	assert_int_equal(batch_queue_state(x, 1, 5, 77, 1, &at), NJ_OK);
	put(x, 101);
	write_now(x);
	assert_int_equal(state, STORE_OK);
	assert_int_equal(told, 0);
	close_it();
	assert_int_equal(notes_alive, 0);
}

/* A COMMIT that failed may be found after a crash: what it wrote beside the
 * database is there then, although another came after it. */
static void
test_found_after_all(void **st)
{
	unsigned first = 0, both = 0;

	(void)st;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct store_batch *x;
		uint64_t n;

		begin(seed);
		x = bench_batch();
		put(x, 101);
		submit(x);
		/* its own bytes are on disk, the log is not */
		disk_fault(DISK_SYNC, 1, 1);
		disk_fault_in("-wal");
		store_turn(store);
		assert_int_equal(state, STORE_FAILING);
		/* what is written the next time is other bytes */
		x = bench_batch();
		for (uint64_t seq = 101; seq < 151; seq++)
			assert_int_equal(batch_queue_end(x, 1, seq), NJ_OK);
		put(x, 201);
		submit(x);
		disk_cut_at(1 + seed % 5);
		store_turn(store);
		disk_cut_now();
		close_it();
		disk_power_on();
		disk_fault(DISK_CALLS, 0, 0);
		open_it();
		n = read_all();
		assert_true(n == 100 || n == 200 || n == 250);
		first += n == 200;
		both += n == 250;
		close_it();
	}
	/* else nothing was tried */
	assert_true(first > 0);
	assert_true(both > 0);
	assert_int_equal(notes_alive, 0);
}

static uint64_t
beside(void)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < disk_files(); i++)
		if (strstr(disk_name(i), DATA_TAIL))
			all += disk_size(disk_name(i));
	return all;
}

/* It is tried for as long as it takes, and takes no more room by that. */
static void
test_room(void **st)
{
	struct store_batch *x;

	(void)st;
	begin(1);
	x = bench_batch();
	put(x, 101);
	submit(x);
	disk_fault(DISK_SYNC, 1, 1000);
	disk_fault_in("-wal");
	for (unsigned i = 0; i < 20; i++)
		store_turn(store);
	assert_int_equal(state, STORE_FAILING);
	assert_true(beside() < 3 * 32000);
	disk_fault(DISK_CALLS, 0, 0);
	store_turn(store);
	assert_int_equal(state, STORE_OK);
	assert_int_equal(read_all(), 2 * BATCH);
	close_it();
	assert_int_equal(notes_alive, 0);
}

/* Rows that were copied to another file, by a COMMIT that failed: neither file is
 * deleted, as it may be found that they are in either. */
static void
test_copied_after_all(void **st)
{
	unsigned there = 0;

	(void)st;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct store_batch *x;
		uint64_t last = 0;
		bool more;

		begin(seed);
		for (unsigned i = 1; i < 2 * A_FILE; i++) {
			x = bench_batch();
			put(x, 1 + i * BATCH);
			write_now(x);
		}
		/* two of the first file's are left */
		x = bench_batch();
		for (uint64_t seq = 1; seq <= (A_FILE - 2) * BATCH; seq++)
			assert_int_equal(batch_queue_end(x, 1, seq), NJ_OK);
		submit(x);
		disk_fault(DISK_SYNC, 2, 1000);
		disk_fault_in("-wal");
		store_turn(store);
		assert_int_equal(acked, ticket);
		assert_int_equal(disk_called(DISK_SYNC), 2);
		(void)read_some(1, 2, &last, &more);
		(void)read_some(1, 2, &last, &more);
		disk_cut_now();
		close_it();
		disk_power_on();
		disk_fault(DISK_CALLS, 0, 0);
		open_it();
		assert_int_equal(read_all(), (A_FILE + 2) * BATCH);
		there += store->data.n > 0 && store->data.v[0].live == 0;
		close_it();
	}
	assert_true(there > 0);
	assert_int_equal(notes_alive, 0);
}

/* Killed, and a byte of the log is another one then.  What is on disk behind a
 * COMMIT shows it; in the last transaction it looks as if the power had failed. */
static void
test_damaged_log(void **st)
{
	struct nj_why why = { .what = "" };
	char log[80];

	(void)st;
	snprintf(log, sizeof log, "%s-wal", path);
	for (unsigned i = 0; i < 8; i++) {
		/* header and page of the first frame, and the last page */
		static const uint64_t at[] = { 33, 37, 41, 48, 55, 100, 4000,
			0 };
		struct store *none = NULL;
		const struct store_opts o = { .path = path,
			.vfs = DISK_VFS,
			.msgs = &note_ops,
			.no_thread = true };

		begin(i + 1);
		for (unsigned k = 1; k < 5; k++) {
			struct store_batch *x = bench_batch();

			put(x, 1 + k * BATCH);
			write_now(x);
		}
		disk_cut_now();
		close_it();
		disk_killed();
		assert_true(
		    disk_damage(log, at[i] ? at[i] : disk_size(log) - 100));
		if (at[i]) {
			assert_int_equal(
			    store_open(&o, &none, &why), NJ_MALFORMED);
			assert_non_null(strstr(why.what, "would be lost"));
			assert_non_null(strstr(why.mend, "--repair"));
			continue;
		}
		open_it();
		assert_int_equal(read_all(), 4 * BATCH);
		close_it();
	}
	assert_int_equal(notes_alive, 0);
}

/* The same where each transaction is one page, and always that. */
static void
test_damaged_small(void **st)
{
	struct nj_why why = { .what = "" };
	struct store *none = NULL;
	const struct store_opts o = { .path = path,
		.vfs = DISK_VFS,
		.msgs = &note_ops,
		.no_thread = true };
	char log[80];
	uint64_t from;

	(void)st;
	snprintf(log, sizeof log, "%s-wal", path);
	begin(1);
	from = disk_size(log);
	for (uint64_t seq = 101; seq < 121; seq++) {
		struct store_batch *x = bench_batch();
		uint32_t at;

		assert_int_equal(batch_queue(x,
				     &(struct store_entry){ .session = 1,
					 .seq = seq,
					 .qos = 1,
					 .msg = note_new("a", "small") },
				     &at),
		    NJ_OK);
		write_now(x);
	}
	disk_cut_now();
	close_it();
	disk_killed();
	assert_true(disk_damage(log, from + 10 * (24 + 4096) + 100));
	assert_int_equal(store_open(&o, &none, &why), NJ_MALFORMED);
	assert_int_equal(notes_alive, 0);
}

static int64_t
ask(const char *sql)
{
	sqlite3_stmt *rows = NULL;
	int64_t n;

	assert_int_equal(
	    sqlite3_prepare_v2(store->db, sql, -1, &rows, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(rows), SQLITE_ROW);
	n = sqlite3_column_int64(rows, 0);
	sqlite3_finalize(rows);
	return n;
}

/* One that could not be rolled back when it was to be is, before the next. */
static void
test_left_open(void **st)
{
	struct store_batch *x;

	(void)st;
	begin(1);
	assert_int_equal(sqlite3_exec(store->db,
			     "BEGIN IMMEDIATE; UPDATE session SET expiry = 7",
			     NULL, NULL, NULL),
	    SQLITE_OK);
	x = bench_batch();
	put(x, BATCH + 1);
	write_now(x);
	assert_int_equal(told, 0);
	assert_int_equal(ask("SELECT expiry FROM session"), 100);
	close_it();
	assert_int_equal(notes_alive, 0);
}

/* A change of a retained message that is older than its deletion, and comes long
 * after it, as it waited for other shards. */
static void
test_late_retained(void **st)
{
	struct store_batch *x;

	(void)st;
	begin(1);
	for (uint64_t order = 2; order < 30; order++) {
		x = bench_batch();
		assert_int_equal(batch_retain_end(x, order,
				     slice_str(order == 2 ? "t" : "u")),
		    NJ_OK);
		write_now(x);
	}
	x = bench_batch();
	assert_int_equal(
	    batch_retain(x, 1, note_new("t", "was deleted")), NJ_OK);
	write_now(x);
	assert_int_equal(
	    ask("SELECT count(*) FROM retained WHERE msg IS NOT NULL"), 0);
	/* and it is forgotten when that is long ago */
	for (unsigned i = 0; i < 2 * TOMB_AGES; i++) {
		store->tomb_us -= TOMB_US;
		x = bench_batch();
		assert_int_equal(
		    batch_retain_end(x, 200, slice_str("u")), NJ_OK);
		write_now(x);
	}
	assert_int_equal(ask("SELECT count(*) FROM retained "
			     "WHERE topic = CAST('t' AS BLOB)"),
	    0);
	close_it();
	assert_int_equal(notes_alive, 0);
}

/* A byte of a message in its row that is another one is found when that is read. */
static void
test_damaged_row(void **st)
{
	struct store_read r = {
		.session = 1, .from = 201, .until = 202, .max = 5
	};
	struct store_batch *x;
	uint32_t at;

	(void)st;
	begin(1);
	x = bench_batch();
	assert_int_equal(batch_queue(x,
			     &(struct store_entry){ .session = 1,
				 .seq = 201,
				 .qos = 1,
				 .msg = note_new("a", "small") },
			     &at),
	    NJ_OK);
	write_now(x);
	change("UPDATE seg SET data = CAST(replace(data, 'small', 'smell') AS "
	       "BLOB) WHERE first = 201");
	store_read(store, &r);
	store_turn(store);
	assert_int_equal(r.result, NJ_MALFORMED);
	store_read_fini(&r, &note_ops);
	change("UPDATE seg SET sum = 0 WHERE first = 201");
	store_read(store, &r);
	store_turn(store);
	assert_int_equal(r.result, NJ_OK);
	assert_int_equal(r.n, 1);
	store_read_fini(&r, &note_ops);
	close_it();
	assert_int_equal(notes_alive, 0);
}

/* After a sync of the database that failed nothing is committed, whatever for: not
 * for clients, */
static void
test_unsynced_commits(void **st)
{
	struct store_batch *x;
	uint64_t last = 0;
	bool more = false;
	char log[80];

	(void)st;
	snprintf(log, sizeof log, "%s-wal", path);
	begin(1);
	atomic_store(&store->unsynced, true);
	x = bench_batch();
	put(x, 101);
	submit(x);
	for (unsigned i = 0; i < 3; i++)
		store_turn(store);
	assert_int_equal(state, STORE_FAILING);
	assert_int_equal(acked, ticket - 1);
	assert_int_equal(read_some(1, 101, &last, &more), BATCH);
	close_it();
	/* nor as it ends: all of it is in the log */
	assert_true(disk_size(log) > 0);
	open_it();
	assert_int_equal(read_all(), BATCH);
	close_it();
	assert_int_equal(disk_size(log), 0);
	assert_int_equal(notes_alive, 0);
}

/* nor to copy what is left of a data file, */
static void
test_unsynced_moves(void **st)
{
	struct store_batch *x;
	uint64_t live;

	(void)st;
	begin(1);
	for (unsigned i = 1; i < 2 * A_FILE; i++) {
		x = bench_batch();
		put(x, 1 + i * BATCH);
		write_now(x);
	}
	x = bench_batch();
	for (uint64_t seq = 1; seq <= (A_FILE - 2) * BATCH; seq++)
		assert_int_equal(batch_queue_end(x, 1, seq), NJ_OK);
	/* not yet */
	store->data.v[0].stuck = true;
	write_now(x);
	store->data.v[0].stuck = false;
	live = store->data.v[0].live;
	assert_true(live > 0);
	atomic_store(&store->unsynced, true);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(data_turn(store, true), -1);
	assert_int_equal(store->data.v[0].live, live);
	atomic_store(&store->unsynced, false);
	assert_true(data_turn(store, true) >= 0);
	assert_int_equal(store->data.v[0].live, 0);
	assert_int_equal(read_all(), (A_FILE + 2) * BATCH);
	close_it();
	assert_int_equal(notes_alive, 0);
}

/* nor to give free pages back. */
static void
test_unsynced_tidies(void **st)
{
	int64_t spare;

	(void)st;
	begin(1);
	change("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
	       "WHERE i < 2000) INSERT INTO msg SELECT i, 1, 1, 1, 1, 0, "
	       "zeroblob(4000), 0 FROM n");
	change("DELETE FROM msg");
	spare = ask("PRAGMA freelist_count");
	assert_true(spare > 1024);
	/* which is done with a thread only */
	store->opts.vfs = NULL;
	store->opts.no_thread = false;
	store->changed = true;
	atomic_store(&store->unsynced, true);
	assert_int_equal(tidy_turn(store, true), -1);
	assert_int_equal(ask("PRAGMA freelist_count"), spare);
	atomic_store(&store->unsynced, false);
	store->changed = true;
	assert_true(tidy_turn(store, true) >= 0);
	assert_true(ask("PRAGMA freelist_count") < spare);
	store->opts.vfs = DISK_VFS;
	store->opts.no_thread = true;
	close_it();
	assert_int_equal(notes_alive, 0);
}

static int
setup_all(void **st)
{
	(void)st;
	snprintf(path, sizeof path, "/tmp/nightjar-trouble-%d", (int)getpid());
	return 0;
}

static int
teardown_all(void **st)
{
	char lock[80];

	(void)st;
	disk_fini();
	unlink(path);
	snprintf(lock, sizeof lock, "%s.lock", path);
	unlink(lock);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_go_on),
		cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_found_after_all),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_copied_after_all),
		cmocka_unit_test(test_damaged_log),
		cmocka_unit_test(test_damaged_small),
		cmocka_unit_test(test_left_open),
		cmocka_unit_test(test_late_retained),
		cmocka_unit_test(test_damaged_row),
		cmocka_unit_test(test_unsynced_commits),
		cmocka_unit_test(test_unsynced_moves),
		cmocka_unit_test(test_unsynced_tidies),
	};

	return cmocka_run_group_tests_name(
	    "store trouble", tests, setup_all, teardown_all);
}
