/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening good and bad files, the life of a message's row, the order of
 * retained messages, a disk in trouble.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "memory.h"
#include "place.h"
#include "store/impl.h"
#include "store/view.h"

static const char *const path = place_path;
static struct bench b;
static struct nj_why why;

static int
teardown_all(void **state)
{
	disk_fini();
	return place_remove(state);
}

static int
fresh(void **state)
{
	(void)state;
	place_clear();
	why = (struct nj_why){ .what = "" };
	return 0;
}

static void
open_it(const char *vfs)
{
	assert_int_equal(bench_open(&b, path, vfs, &why), NJ_OK);
	assert_int_equal(store_start(b.store, &why), NJ_OK);
}

static void
write_now(struct store_batch *x)
{
	assert_true(bench_write(&b, x));
}

static void
put(struct store_batch *x, uint64_t session, uint64_t seq, struct note *n)
{
	uint32_t at;

	assert_int_equal(batch_queue(x,
			     &(struct store_entry){ .session = session,
				 .seq = seq,
				 .qos = 1,
				 .msg = note_ref(n) },
			     &at),
	    NJ_OK);
}

static void
test_file_is_private(void **state)
{
	struct stat st;

	(void)state;
	open_it(NULL);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	bench_close(&b);
}

static void
test_second_is_refused(void **state)
{
	struct bench other;

	(void)state;
	open_it(NULL);
	assert_int_equal(bench_open(&other, path, NULL, &why), NJ_BUSY);
	assert_non_null(strstr(why.what, "another broker"));
	other.store = NULL;
	bench_close(&b);
	open_it(NULL);
	bench_close(&b);
}

static void
refused(enum nj_err e, const char *says)
{
	assert_int_equal(bench_open(&b, path, NULL, &why), e);
	assert_non_null(strstr(why.what, says));
	b.store = NULL;
	bench_close(&b);
}

static void
test_foreign_and_newer(void **state)
{
	(void)state;
	bench_edit(path, "CREATE TABLE theirs(x)");
	refused(NJ_UNSUPPORTED, "another program");
	place_clear();
	open_it(NULL);
	bench_close(&b);
	bench_edit(path, "PRAGMA user_version = 99");
	refused(NJ_UNSUPPORTED, "newer nightjar");
}

static void
test_no_database(void **state)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	(void)state;
	assert_true(fd >= 0);
	for (int i = 0; i < 4096; i++)
		assert_int_equal(write(fd, "rubbish!", 8), 8);
	close(fd);
	refused(NJ_MALFORMED, "not a database");
}

static void
test_damaged(void **state)
{
	struct store_batch *x = bench_batch();
	int fd;

	(void)state;
	open_it(NULL);
	for (uint64_t i = 1; i <= 500; i++) {
		struct note *n = note_new("topic", "payload of some length");

		put(x, i, 1, n);
		note_unref(n);
	}
	write_now(x);
	bench_close(&b);
	fd = open(path, O_RDWR);
	for (off_t at = 8192 + 3; at < 60000; at += 4096)
		assert_int_equal(pwrite(fd, "\xff\xff\xff\xff", 4, at), 4);
	close(fd);
	refused(NJ_MALFORMED, "");
}

static void
test_symlink(void **state)
{
	char other[160];

	(void)state;
	snprintf(other, sizeof other, "%s/elsewhere", place_folder);
	assert_int_equal(symlink(other, path), 0);
	refused(NJ_IO, path);
	unlink(path);
}

/* One row, however many queues hold it; none when the last is done. */
static void
test_message_is_stored_once(void **state)
{
	struct note *n = note_new("a", "once");
	struct store_batch *x = bench_batch();

	(void)state;
	open_it(NULL);
	for (uint64_t s = 1; s <= 1000; s++)
		put(x, s, 1, n);
	assert_int_equal(batch_retain(x, 1, note_ref(n)), NJ_OK);
	assert_int_equal(
	    batch_session(
		x, &(struct store_session){ .id = 1, .client = LIT("c") }),
	    NJ_OK);
	assert_int_equal(batch_will(x, 1, 0, 0, note_ref(n)), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM msg"), 1);
	assert_int_equal(bench_ask(path, "SELECT refs FROM msg"), 1002);
	x = bench_batch();
	for (uint64_t s = 1; s <= 999; s++)
		assert_int_equal(batch_queue_end(x, s, 1), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(path, "SELECT refs FROM msg"), 3);
	x = bench_batch();
	assert_int_equal(batch_session_end(x, 1000), NJ_OK);
	assert_int_equal(batch_retain_end(x, 2, LIT("a")), NJ_OK);
	write_now(x);
	/* and again, after it was gone */
	x = bench_batch();
	put(x, 5, 9, n);
	assert_int_equal(batch_will_end(x, 1, note_ref(n)), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM msg"), 1);
	x = bench_batch();
	assert_int_equal(batch_queue_end(x, 5, 9), NJ_OK);
	write_now(x);
	note_unref(n);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* Two shards' changes of one topic may come in another order than they were
 * made in. */
static void
test_retained_order(void **state)
{
	static const struct {
		int first, second; /* order; negative: deletes */
		const char *want;
	} rows[] = {
		{ 1, 2, "2" },
		{ 2, 1, "2" },
		{ 1, -2, NULL },
		{ -2, 1, NULL },
		{ -1, 2, "2" },
		{ 2, -1, "2" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		place_clear();
		open_it(NULL);
		for (unsigned k = 0; k < 2; k++) {
			int o = k ? rows[i].second : rows[i].first;
			struct store_batch *x = bench_batch();
			char text[8];

			snprintf(text, sizeof text, "%d", o);
			if (o < 0)
				assert_int_equal(
				    batch_retain_end(x, (uint64_t)-o, LIT("a")),
				    NJ_OK);
			else
				assert_int_equal(batch_retain(x, (uint64_t)o,
						     note_new("a", text)),
				    NJ_OK);
			write_now(x);
		}
		bench_close(&b);
		assert_int_equal(bench_ask(path,
				     "SELECT count(*) FROM retained "
				     "WHERE msg IS NOT NULL"),
		    rows[i].want ? 1 : 0);
		if (rows[i].want)
			assert_int_equal(
			    bench_ask(path,
				"SELECT CAST(CAST(substr(bytes, 4) AS TEXT) AS "
				"INTEGER) FROM msg"),
			    2);
		assert_int_equal(bench_ask(path, "SELECT count(*) FROM msg"),
		    rows[i].want ? 1 : 0);
	}
}

/* What could not be written is written when it can be, in order. */
static void
test_disk_in_trouble(void **state)
{
	static const struct {
		int rc;
		enum store_state want;
	} rows[] = {
		{ SQLITE_FULL, STORE_FULL },
		{ SQLITE_IOERR_WRITE, STORE_FAILING },
		{ SQLITE_IOERR_FSYNC, STORE_FAILING },
		{ SQLITE_READONLY, STORE_FAILING },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct note *n = note_new("a", "kept");

		disk_reset(i + 1);
		open_it(DISK_VFS);
		disk_fail(rows[i].rc);
		for (uint64_t k = 1; k <= 3; k++) {
			struct store_batch *x = bench_batch();

			put(x, 1, k, n);
			bench_submit(&b, x);
		}
		bench_wait_state(&b, rows[i].want);
		assert_int_equal(store_state(b.store), rows[i].want);
		assert_int_equal(b.acked, 0);
		disk_fail(0);
		bench_wait_state(&b, STORE_OK);
		assert_true(bench_wait(&b, 3));
		note_unref(n);
		bench_close(&b);
	}
	assert_int_equal(notes_alive, 0);
}

/* Closed in the middle of trouble: nothing hangs, nothing leaks. */
static void
test_close_in_trouble(void **state)
{
	struct store_batch *x = bench_batch();

	(void)state;
	disk_reset(1);
	open_it(DISK_VFS);
	disk_fail(SQLITE_FULL);
	assert_int_equal(batch_retain(x, 1, note_new("a", "b")), NJ_OK);
	bench_submit(&b, x);
	bench_wait_state(&b, STORE_FULL);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* A batch that is empty again costs no transaction. */
static void
test_cancelled(void **state)
{
	struct store_batch *x = bench_batch();
	struct store_stats st;
	uint32_t at;

	(void)state;
	open_it(NULL);
	assert_int_equal(batch_queue(x,
			     &(struct store_entry){ .session = 1,
				 .seq = 1,
				 .ids = slice_str("1234"),
				 .msg = note_new("a", "b") },
			     &at),
	    NJ_OK);
	assert_int_equal(batch_cancel(x, at, 1, 2), BATCH_HAD_NOTHING);
	assert_int_equal(batch_cancel(x, at + 1, 1, 1), BATCH_HAD_NOTHING);
	assert_int_equal(batch_cancel(x, at, 1, 1), BATCH_HAD_ENTRY);
	assert_int_equal(batch_cancel(x, at, 1, 1), BATCH_HAD_NOTHING);
	assert_int_equal(x->bytes, sizeof x->v[0]);
	write_now(x);
	store_stats(b.store, &st);
	assert_int_equal(st.commits, 0);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

static void
put_session_at(struct store_batch *x, uint64_t id, const char *client,
    const char *user, uint32_t *at)
{
	assert_int_equal(batch_session_at(x,
			     &(struct store_session){ .id = id,
				 .client = slice_str(client),
				 .user = slice_str(user),
				 .version = 5,
				 .offline_ms = (int64_t)x->n },
			     at),
	    NJ_OK);
}

/* Of what a session is the last counts: it takes the place of the one before. */
static void
test_in_its_place(void **state)
{
	struct store_batch *x = bench_batch(), *same = bench_batch();
	uint32_t at[2] = { UINT32_MAX, UINT32_MAX }, sent = UINT32_MAX;
	uint32_t none = UINT32_MAX;

	(void)state;
	open_it(NULL);
	for (unsigned i = 0; i < 3; i++) {
		put_session_at(x, 1, i < 2 ? "longer" : "one", "me", &at[0]);
		put_session_at(x, 2, "two", i < 2 ? "" : "you", &at[1]);
		assert_int_equal(batch_sent_at(x, 1, 9 - i, &sent), NJ_OK);
	}
	assert_int_equal(x->n, 3);
	assert_int_equal(x->live, 3);
	assert_int_equal(at[0], 0);
	assert_int_equal(at[1], 1);
	assert_int_equal(sent, 2);
	put_session_at(same, 1, "one", "me", &none);
	put_session_at(same, 2, "two", "you", &at[0]); /* another's is there */
	assert_int_equal(at[0], 1);
	none = 0; /* one of another kind */
	assert_int_equal(batch_sent_at(same, 1, 7, &none), NJ_OK);
	assert_int_equal(same->n, 3);
	assert_int_equal(x->bytes, same->bytes);
	batch_free(same);
	write_now(x);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM session"), 2);
	assert_int_equal(
	    bench_ask(path,
		"SELECT sent FROM session WHERE client = CAST('one' AS BLOB) "
		"AND user = CAST('me' AS BLOB) AND id = 1"),
	    7);
	assert_int_equal(bench_ask(path,
			     "SELECT offline FROM session WHERE "
			     "user = CAST('you' AS BLOB) AND id = 2"),
	    3);
	bench_close(&b);
}

/* A will that is taken out leaves its place to the next. */
static void
test_will_in_its_place(void **state)
{
	struct store_batch *x = bench_batch();
	struct note *n = note_new("a", "first");
	uint32_t at = UINT32_MAX, was;
	size_t bytes;

	(void)state;
	open_it(NULL);
	put_session_at(x, 1, "one", "me", &(uint32_t){ UINT32_MAX });
	bytes = x->bytes + sizeof x->v[0];
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(
		    batch_will_at(x, 1, 0, 0, note_ref(n), &at), NJ_OK);
		assert_int_equal(at, 1);
		assert_int_equal(x->bytes, bytes);
		put_session_at(
		    x, 2 + i, "other", "me", &(uint32_t){ UINT32_MAX });
		bytes += x->v[x->n - 1].text_len + sizeof x->v[0];
		assert_false(batch_will_cancel(x, 0, 1, n));
		assert_false(batch_will_cancel(x, at, 2, n));
		assert_false(batch_will_cancel(x, at, 1, x));
		assert_false(batch_will_cancel(x, x->n, 1, n));
		assert_true(batch_will_cancel(x, at, 1, n));
		assert_false(batch_will_cancel(x, at, 1, n));
		/* the place counts, whoever has it */
		assert_int_equal(x->bytes, bytes);
	}
	assert_int_equal(x->n, 11);
	assert_int_equal(x->live, 10);
	note_unref(n);
	assert_int_equal(
	    batch_will_at(x, 1, 0, 0, note_new("a", "last"), &at), NJ_OK);
	/* one that is there still is not replaced: its end is to come */
	was = at;
	assert_int_equal(
	    batch_will_at(x, 2, 0, 0, note_new("b", "other's"), &at), NJ_OK);
	assert_int_equal(was, 1);
	assert_int_equal(at, 11);
	write_now(x);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM msg"), 2);
	assert_int_equal(
	    bench_ask(path, "SELECT count(will) FROM session WHERE id < 3"), 2);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* The log's second thread gets its turn, which on a busy machine comes late. */
static void
let_checkpoint(void)
{
	struct checkpointer *c = &b.store->checkpointer;
	bool busy = c->running;

	for (int i = 0; i < 5000 && busy; i++) {
		pthread_mutex_lock(&c->lock);
		busy = c->wanted;
		pthread_mutex_unlock(&c->lock);
		if (busy)
			usleep(2000);
	}
}

static void
note_many(uint64_t from, uint64_t n, bool end)
{
	static char text[4000];
	struct store_batch *x = bench_batch();

	memset(text, 'x', sizeof text - 1);
	for (uint64_t seq = from; seq < from + n; seq++) {
		struct note *note = end ? NULL : note_new("a", text);

		if (end)
			assert_int_equal(batch_queue_end(x, 1, seq), NJ_OK);
		else
			put(x, 1, seq, note);
		note_unref(note);
	}
	write_now(x);
	let_checkpoint();
}

static off_t
size_of(const char *tail)
{
	char name[160];
	struct stat st;

	snprintf(name, sizeof name, "%s%s", path, tail);
	return stat(name, &st) == 0 ? st.st_size : 0;
}

/* The log starts again while it is written; what a flood made large gets
 * smaller when it is over. */
static void
test_files_do_not_grow(void **state)
{
	int waited = 0;

	(void)state;
	bench_data_min = STORE_ONE_FILE;
	open_it(NULL);
	bench_data_min = 0;
	for (uint64_t i = 0; i < 60; i++)
		note_many(i * 100 + 1, 100, false);
	assert_true(size_of("") + size_of("-wal") > 6000 * 4000);
	for (uint64_t i = 0; i < 60; i++)
		note_many(i * 100 + 1, 100, true);
	/* 48 MB and more were written */
	assert_true(size_of("-wal") < 32 * 1024 * 1024);
	while (size_of("") > 8 * 1024 * 1024 && waited++ < 3000)
		usleep(20000);
	assert_true(size_of("") <= 8 * 1024 * 1024);
	note_many(1, 1, false);
	bench_close(&b);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM seg"), 1);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM msg"), 0);
	assert_int_equal(size_of("-wal"), 0);
	assert_int_equal(notes_alive, 0);
}

/* Who looks at it keeps the log as it is, for so long and no longer. */
static void
test_log_while_somebody_looks(void **state)
{
	struct view *v = NULL;
	off_t was;

	(void)state;
	bench_data_min = STORE_ONE_FILE;
	open_it(NULL);
	bench_data_min = 0;
	note_many(1, 1, false);
	assert_int_equal(view_open(path, &v, &why), NJ_OK);
	for (uint64_t i = 0; i < 60; i++)
		note_many(i * 100 + 2, 100, false);
	was = size_of("-wal");
	assert_true(was > 24 * 1024 * 1024);
	view_close(v);
	for (uint64_t i = 60; i < 180; i++)
		note_many(i * 100 + 2, 100, false);
	assert_true(size_of("-wal") < was + 24 * 1024 * 1024);
	bench_close(&b);
	assert_int_equal(size_of("-wal"), 0);
	assert_int_equal(notes_alive, 0);
}

/* Its session was not recorded: nothing of it stays. */
static void
test_will_of_no_session(void **state)
{
	struct store_batch *x = bench_batch();

	(void)state;
	open_it(NULL);
	assert_int_equal(batch_will(x, 7, 0, 0, note_new("a", "gone")), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM msg"), 0);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* A page is bounded in bytes, whether its entries are rows or in segments. */
static void
test_pages_of_large_messages(void **state)
{
	static const unsigned sizes[] = { 10000, 60000 };

	(void)state;
	open_it(NULL);
	for (unsigned k = 0; k < 2; k++) {
		struct store_read r = {
			.session = k + 1, .until = UINT64_MAX, .max = 512
		};
		struct store_batch *x = bench_batch();
		char text[60001];

		memset(text, 'x', sizes[k]);
		text[sizes[k]] = '\0';
		for (uint64_t i = 1; i <= 100; i++) {
			struct note *n = note_new("a", text);

			put(x, k + 1, i, n);
			note_unref(n);
		}
		write_now(x);
		bench_read(&b, &r);
		assert_int_equal(r.result, NJ_OK);
		assert_int_equal(r.n, STORE_PAGE_BYTES / sizes[k] + 1);
		assert_true(r.more);
		store_read_fini(&r, &note_ops);
	}
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* Many messages of one queue are a few rows; who ends some of them, or one after
 * the other, leaves nothing behind. */
static void
test_segments(void **state)
{
	struct store_batch *x = bench_batch();
	struct note *n = note_new("a", "two queues need it");

	(void)state;
	open_it(NULL);
	put(x, 1, 1000, n);
	put(x, 2, 1000, n);
	note_many(1, 999, false);
	write_now(x);
	note_unref(n);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM msg"), 1);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM queue"), 2);
	assert_in_range(bench_ask(path, "SELECT count(*) FROM seg"), 2, 100);
	assert_int_equal(bench_ask(path, "SELECT sum(n) FROM seg"), 999);
	/* in the middle, in another order */
	x = bench_batch();
	for (uint64_t seq = 500; seq > 400; seq--)
		assert_int_equal(batch_queue_end(x, 1, seq), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(path,
			     "SELECT (SELECT sum(n) FROM seg) - "
			     "(SELECT sum(n) FROM gone)"),
	    899);
	note_many(1, 400, true);
	/* twice is once */
	note_many(1, 600, true);
	x = bench_batch();
	assert_int_equal(batch_queue_shift(x, 1, 0), NJ_OK);
	assert_int_equal(
	    batch_queue_state(x, 1, 700, 9, 2, &(uint32_t){ 0 }), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM msg"), 2);
	assert_int_equal(
	    bench_ask(path, "SELECT pid FROM queue WHERE seq = 700"), 9);
	note_many(601, 400, true);
	assert_int_equal(bench_ask(path,
			     "SELECT (SELECT count(*) FROM seg) + "
			     "(SELECT count(*) FROM gone)"),
	    0);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM queue"), 1);
	assert_int_equal(bench_ask(path, "SELECT refs FROM msg"), 1);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* What ended in the transaction it came in was never there; so did a session. */
static void
test_segments_that_come_and_go(void **state)
{
	struct store_batch *x = bench_batch();

	(void)state;
	open_it(NULL);
	for (uint64_t seq = 1; seq <= 20; seq++) {
		struct note *n = note_new("a", "b");

		put(x, 1 + seq % 2, seq, n);
		note_unref(n);
	}
	for (uint64_t seq = 2; seq <= 18; seq += 2)
		assert_int_equal(batch_queue_end(x, 1, seq), NJ_OK);
	assert_int_equal(batch_session_end(x, 2), NJ_OK);
	assert_int_equal(batch_queue_shift(x, 2, 0), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM seg"), 1);
	assert_int_equal(
	    bench_ask(path, "SELECT first FROM seg WHERE n = 1"), 20);
	x = bench_batch();
	assert_int_equal(batch_queue_shift(x, 1, 0), NJ_OK);
	assert_int_equal(batch_queue_shift(x, 1, 0), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM seg"), 0);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_file_is_private, fresh),
		cmocka_unit_test_setup(test_second_is_refused, fresh),
		cmocka_unit_test_setup(test_foreign_and_newer, fresh),
		cmocka_unit_test_setup(test_no_database, fresh),
		cmocka_unit_test_setup(test_damaged, fresh),
		cmocka_unit_test_setup(test_symlink, fresh),
		cmocka_unit_test_setup(test_message_is_stored_once, fresh),
		cmocka_unit_test_setup(test_segments, fresh),
		cmocka_unit_test_setup(test_segments_that_come_and_go, fresh),
		cmocka_unit_test_setup(test_retained_order, fresh),
		cmocka_unit_test_setup(test_disk_in_trouble, fresh),
		cmocka_unit_test_setup(test_close_in_trouble, fresh),
		cmocka_unit_test_setup(test_in_its_place, fresh),
		cmocka_unit_test_setup(test_will_in_its_place, fresh),
		cmocka_unit_test_setup(test_cancelled, fresh),
		cmocka_unit_test_setup(test_will_of_no_session, fresh),
		cmocka_unit_test_setup(test_pages_of_large_messages, fresh),
		cmocka_unit_test_setup(test_files_do_not_grow, fresh),
		cmocka_unit_test_setup(test_log_while_somebody_looks, fresh),
	};

	return cmocka_run_group_tests_name(
	    "store", tests, place_make, teardown_all);
}
