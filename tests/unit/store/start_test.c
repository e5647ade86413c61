/* SPDX-License-Identifier: Apache-2.0
 *
 * What a start does to a store that is as it should be: nothing.  So it begins on a full
 * disk, too, any number of times, whether or not its log stays.  And what one that was
 * killed had not synced it takes for no more than that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "disk.h"
#include "memory.h"
#include "store/impl.h"

static char path[64];
static unsigned done;

static void
on_done(void *arg, struct store_batch *b)
{
	(void)arg;
	done++;
	batch_free(b);
}

static struct store *
open_it(void)
{
	const struct store_opts o = {
		.path = path,
		.vfs = DISK_VFS,
		.msgs = &note_ops,
		.done = on_done,
		.no_thread = true,
		.data_min = 8192,
	};
	struct nj_why why = { .what = "" };
	struct store *s = NULL;

	if (store_open(&o, &s, &why))
		fail_msg("%s", why.what);
	assert_int_equal(store_start(s, &why), NJ_OK);
	return s;
}

/* Each has a session more. */
static void
add_one(struct store *s, uint64_t id)
{
	struct store_batch *b;

	assert_int_equal(batch_new(&note_ops, &b), NJ_OK);
	assert_int_equal(batch_session(b,
			     &(struct store_session){ .id = id,
				 .client = slice_str(id == 1 ? "a" : "b"),
				 .expiry_s = 100,
				 .version = 5,
				 .offline_ms = 1 }),
	    NJ_OK);
	store_submit(s, b);
	store_turn(s);
	assert_int_equal(done, id);
}

static void
test_writes_nothing(void **st)
{
	struct store *s;

	(void)st;
	for (unsigned killed = 0; killed < 2; killed++) {
		done = 0;
		disk_reset(1);
		s = open_it();
		add_one(s, 1);
		if (killed)
			disk_cut_now();
		store_close(s);
		if (killed)
			disk_killed();
		for (unsigned i = 0; i < 3; i++) {
			disk_fail(SQLITE_FULL);
			disk_fault(DISK_CALLS, 0, 0);
			s = open_it();
			assert_int_equal(disk_called(DISK_WRITE), 0);
			assert_int_equal(store_next_session(s), 2);
			store_close(s);
		}
		disk_fail(0);
		s = open_it();
		add_one(s, 2);
		store_close(s);
	}
	disk_fini();
}

/* 30 KB of session 1's, in a file beside the database, or their end. */
static void
queue(struct store *s, bool ends)
{
	struct store_batch *b = bench_batch();

	if (!ends)
		bench_put(b, 1, 100);
	for (uint64_t seq = 1; ends && seq <= 100; seq++)
		assert_int_equal(batch_queue_end(b, 1, seq), NJ_OK);
	store_submit(s, b);
	store_turn(s);
}

/* Killed as it recorded that a data file is empty; the next start deletes that, for good,
 * and the power fails.  Where the record then is not on disk the file is a part of it. */
static void
test_killed_before_the_power_fails(void **st)
{
	(void)st;
	for (uint64_t seed = 1; seed <= 8; seed++)
		for (uint64_t at = 1; at <= 8; at++) {
			struct store *s;

			done = 0;
			disk_reset(seed);
			s = open_it();
			add_one(s, 1);
			queue(s, false);
			assert_int_equal(done, 2);
			disk_cut_at(at);
			queue(s, true);
			disk_cut_now();
			store_close(s);
			disk_killed();
			s = open_it();
			disk_cut_now();
			store_close(s);
			disk_power_on();
			s = open_it();
			assert_int_equal(store_next_session(s), 2);
			store_close(s);
		}
	assert_int_equal(notes_alive, 0);
	disk_fini();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes_nothing),
		cmocka_unit_test(test_killed_before_the_power_fails),
	};
	char lock[80];
	int failed;

	(void)snprintf(
	    path, sizeof path, "/tmp/nightjar-start-%d", (int)getpid());
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)snprintf(lock, sizeof lock, "%s.lock", path);
	(void)unlink(lock);
	return failed;
}
