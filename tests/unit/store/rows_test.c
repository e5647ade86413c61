/* SPDX-License-Identifier: Apache-2.0
 *
 * What several queues need is a row in each: those of a transaction are gathered
 * until its end.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <sys/stat.h>

#include "memory.h"
#include "place.h"

static struct bench b;
static struct nj_why why;

static int
fresh(void **state)
{
	(void)state;
	place_clear();
	assert_int_equal(bench_open(&b, place_path, NULL, &why), NJ_OK);
	assert_int_equal(store_start(b.store, &why), NJ_OK);
	return 0;
}

static void
write_now(struct store_batch *x)
{
	assert_true(bench_write(&b, x));
}

/* An entry in any state. */
static void
put_row(struct store_batch *x, uint64_t session, uint64_t seq, uint16_t pid,
    uint8_t share, struct note *n)
{
	assert_int_equal(batch_queue(x,
			     &(struct store_entry){ .session = session,
				 .seq = seq,
				 .pid = pid,
				 .qos = 1,
				 .share = share,
				 .msg = note_ref(n) },
			     &(uint32_t){ 0 }),
	    NJ_OK);
}

static long long
log_bytes(void)
{
	char name[160];
	struct stat st;

	snprintf(name, sizeof name, "%s-wal", place_path);
	assert_int_equal(stat(name, &st), 0);
	return st.st_size;
}

/* What ended in the transaction it came in was never there. */
static void
test_come_and_go(void **state)
{
	struct note *n = note_new("a", "b");
	struct store_batch *x = bench_batch();
	long long before;

	(void)state;
	for (uint64_t s = 1; s <= 3; s++)
		put_row(x, s, 2, 0, 0, n);
	assert_int_equal(
	    batch_queue_state(x, 2, 2, 9, 2, &(uint32_t){ UINT32_MAX }), NJ_OK);
	assert_int_equal(batch_queue_end(x, 1, 2), NJ_OK);
	assert_int_equal(batch_queue_end(x, 1, 2), NJ_OK);
	write_now(x);
	assert_int_equal(
	    bench_ask(place_path, "SELECT count(*) FROM queue"), 2);
	assert_int_equal(bench_ask(place_path, "SELECT refs FROM msg"), 2);
	assert_int_equal(
	    bench_ask(place_path, "SELECT session FROM queue WHERE pid = 9"),
	    2);
	note_unref(n);
	n = note_new("a", "gone");
	before = log_bytes();
	x = bench_batch();
	for (uint64_t s = 1; s <= 3; s++)
		put_row(x, s, 3, 0, 0, n);
	assert_int_equal(
	    batch_queue_state(x, 1, 3, 9, 2, &(uint32_t){ UINT32_MAX }), NJ_OK);
	for (uint64_t s = 3; s >= 1; s--)
		assert_int_equal(batch_queue_end(x, s, 3), NJ_OK);
	write_now(x);
	assert_int_equal(log_bytes(), before);
	x = bench_batch();
	assert_int_equal(batch_queue_end(x, 2, 2), NJ_OK);
	assert_int_equal(batch_session_end(x, 3), NJ_OK);
	write_now(x);
	assert_true(log_bytes() > before);
	assert_int_equal(
	    bench_ask(place_path, "SELECT count(*) FROM queue"), 0);
	assert_int_equal(bench_ask(place_path, "SELECT count(*) FROM msg"), 0);
	note_unref(n);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* Rows end a run at once, whatever the order, and no others with them: not one between
 * two that ended, either. */
static void
test_end_in_runs(void **state)
{
	static const uint64_t ends[] = { 4, 3, 5, 9, 8, 11, 9, 20, 25 };
	struct store_batch *x = bench_batch();

	(void)state;
	for (uint64_t seq = 1; seq <= 20; seq++) {
		struct note *n = note_new("a", "b");

		put_row(x, 1, seq, 0, 0, n);
		put_row(x, 2, seq, 0, 0, n);
		note_unref(n);
	}
	write_now(x);
	x = bench_batch();
	for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++)
		assert_int_equal(batch_queue_end(x, 1, ends[i]), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(place_path,
			     "SELECT count(*) FROM queue WHERE session = 1"),
	    13);
	assert_int_equal(bench_ask(place_path,
			     "SELECT sum(seq) FROM queue WHERE session = 1"),
	    20 * 21 / 2 - 3 - 4 - 5 - 8 - 9 - 11 - 20);
	assert_int_equal(bench_ask(place_path,
			     "SELECT count(*) FROM queue WHERE session = 2"),
	    20);
	assert_int_equal(
	    bench_ask(place_path, "SELECT count(*) FROM msg WHERE refs = 1"),
	    7);
	assert_int_equal(
	    bench_ask(place_path, "SELECT sum(refs) FROM msg"), 33);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* Who looks at all rows of a queue finds it as the records before say. */
static void
test_looked_at(void **state)
{
	struct note *n = note_new("a", "b");
	struct store_batch *x = bench_batch();

	(void)state;
	for (uint64_t seq = 1; seq <= 3; seq++)
		for (uint64_t s = 1; s <= 2; s++)
			put_row(x, s, seq, 0, 0, n);
	write_now(x);
	x = bench_batch();
	assert_int_equal(batch_queue_end(x, 1, 1), NJ_OK);
	assert_int_equal(batch_queue_shift(x, 1, 0), NJ_OK);
	for (uint64_t s = 3; s <= 4; s++)
		for (uint64_t seq = 1; seq <= 3; seq++)
			put_row(x, s, seq, seq == 1 ? 7 : 0, 5, n);
	assert_int_equal(batch_queue_shift(x, 3, 0), NJ_OK);
	assert_int_equal(batch_share_end(x, 4, 5), NJ_OK);
	assert_int_equal(batch_queue_end(x, 4, 3), NJ_OK);
	write_now(x);
	/* 1 had ended, so it was 2 that went */
	assert_int_equal(bench_ask(place_path,
			     "SELECT sum(seq) FROM queue WHERE session = 1"),
	    3);
	/* 1 is in flight */
	assert_int_equal(bench_ask(place_path,
			     "SELECT sum(seq) FROM queue WHERE session = 3"),
	    4);
	assert_int_equal(
	    bench_ask(place_path,
		"SELECT sum(flags >> 8) FROM queue WHERE session = 3"),
	    10);
	assert_int_equal(bench_ask(place_path,
			     "SELECT sum(seq) FROM queue WHERE session = 4"),
	    3);
	assert_int_equal(
	    bench_ask(place_path,
		"SELECT sum(flags >> 8) FROM queue WHERE session = 4"),
	    0);
	assert_int_equal(bench_ask(place_path, "SELECT refs FROM msg"), 8);
	note_unref(n);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* The oldest goes first, also where it came behind one that is gone: another shard's
 * part is behind what was recorded meanwhile. */
static void
test_late_and_older(void **state)
{
	static const uint64_t late[] = { 9, 11 };
	struct note *n = note_new("a", "b");
	struct store_batch *x = bench_batch();

	(void)state;
	put_row(x, 1, 10, 0, 0, n);
	put_row(x, 2, 10, 0, 0, n);
	note_unref(n);
	assert_int_equal(batch_queue_shift(x, 1, 0), NJ_OK);
	for (unsigned i = 0; i < 2; i++) {
		n = note_new("a", "late");
		put_row(x, 1, late[i], 0, 0, n);
		note_unref(n);
	}
	assert_int_equal(batch_queue_shift(x, 1, 0), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(place_path,
			     "SELECT count(*) FROM queue WHERE session = 1"),
	    0);
	assert_int_equal(
	    bench_ask(place_path, "SELECT sum(first) FROM seg"), 11);
	assert_int_equal(bench_ask(place_path, "SELECT sum(n) FROM seg"), 1);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* What stands before the first that waits is in flight, whether it says so or not:
 * in a segment, in another, in a row, and in what this transaction brings. */
static void
test_not_in_flight(void **state)
{
	struct note *n = note_new("a", "b");
	struct store_batch *x = bench_batch();

	(void)state;
	for (uint64_t seq = 1; seq <= 6; seq++)
		for (uint64_t s = 1; s <= 2; s++)
			put_row(x, s, seq, 0, 0, n);
	note_unref(n);
	for (uint64_t seq = 1; seq <= 6; seq++) {
		n = note_new("a", "alone");
		put_row(x, 3, seq, 0, 0, n);
		note_unref(n);
		/* from any key on, in any order */
		if (seq == 5) {
			assert_int_equal(batch_queue_shift(x, 3, 4), NJ_OK);
			assert_int_equal(batch_queue_shift(x, 3, 2), NJ_OK);
		}
	}
	assert_int_equal(batch_queue_shift(x, 1, 3), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(place_path,
			     "SELECT sum(seq) FROM queue WHERE session = 1"),
	    18);
	assert_int_equal(bench_ask(place_path, "SELECT sum(n) FROM seg"), 4);
	x = bench_batch();
	assert_int_equal(batch_queue_shift(x, 2, 3), NJ_OK);
	assert_int_equal(batch_queue_shift(x, 2, 3), NJ_OK);
	assert_int_equal(batch_queue_shift(x, 2, 2), NJ_OK);
	assert_int_equal(batch_queue_shift(x, 2, 7), NJ_OK);
	/* 1, 3, 5 and 6 are left of it */
	assert_int_equal(batch_queue_shift(x, 3, 5), NJ_OK);
	assert_int_equal(batch_queue_shift(x, 3, 2), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(place_path,
			     "SELECT sum(seq) FROM queue WHERE session = 2"),
	    12);
	x = bench_batch();
	assert_int_equal(batch_queue_end(x, 3, 1), NJ_OK);
	assert_int_equal(batch_queue_end(x, 3, 6), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(place_path, "SELECT count(*) FROM seg"), 0);
	/* from within a segment on disk */
	x = bench_batch();
	for (uint64_t seq = 1; seq <= 6; seq++) {
		n = note_new("a", "alone");
		put_row(x, 4, seq, 0, 0, n);
		note_unref(n);
	}
	write_now(x);
	x = bench_batch();
	assert_int_equal(batch_queue_shift(x, 4, 3), NJ_OK);
	write_now(x);
	x = bench_batch();
	for (uint64_t seq = 1; seq <= 6; seq++)
		if (seq != 3)
			assert_int_equal(batch_queue_end(x, 4, seq), NJ_OK);
	write_now(x);
	assert_int_equal(bench_ask(place_path, "SELECT count(*) FROM seg"), 0);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_come_and_go, fresh),
		cmocka_unit_test_setup(test_end_in_runs, fresh),
		cmocka_unit_test_setup(test_looked_at, fresh),
		cmocka_unit_test_setup(test_late_and_older, fresh),
		cmocka_unit_test_setup(test_not_in_flight, fresh),
	};

	return cmocka_run_group_tests_name(
	    "store rows", tests, place_make, place_remove);
}
