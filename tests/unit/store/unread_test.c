/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that fails in reading (EIO) is no damage of what it cannot read, which is there
 * when it goes again.  The store has no thread here.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <unistd.h>

#include "disk.h"
#include "memory.h"
#include "store/impl.h"

static char path[64];
static struct store *store;
static uint64_t ticket, acked;
static enum store_state state;

static void
on_done(void *arg, struct store_batch *b)
{
	(void)arg;
	acked = b->ticket;
	batch_free(b);
}

static void
on_paged(void *arg, struct store_read *r)
{
	(void)arg;
	(void)r;
}

static void
on_state(void *arg, enum store_state s, const char *why)
{
	(void)arg;
	(void)why;
	state = s;
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
	};
	struct nj_why why = { .what = "" };

	if (store_open(&o, &store, &why))
		fail_msg("%s", why.what);
	assert_int_equal(store_start(store, &why), NJ_OK);
	ticket = acked = 0;
	state = STORE_OK;
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
	store_turn(store);
}

/* The fault-th call to read, and the next, fail; whether there are so many. */
static bool
read_fails(uint64_t fault)
{
	struct store_read r = { .session = 1, .until = 1000, .max = 1000 };
	uint64_t reads;

	sqlite3_db_release_memory(store->db);
	disk_fault(DISK_READ, fault, 2);
	store_read(store, &r);
	store_turn(store);
	reads = disk_called(DISK_READ);
	disk_fault(DISK_CALLS, 0, 0);
	assert_int_equal(r.result, reads < fault ? NJ_OK : NJ_IO);
	if (r.result == NJ_OK)
		assert_int_equal(r.n, 100 * ticket);
	store_read_fini(&r, &note_ops);
	return reads >= fault;
}

/* That of pages from the log, or from the database. */
static void
test_unread(void **st)
{
	uint64_t before = pages_damaged();
	struct store_batch *x;

	(void)st;
	for (unsigned folded = 0; folded < 2; folded++) {
		uint64_t faults = 0;

		disk_reset(1);
		open_it();
		x = bench_batch();
		assert_int_equal(batch_session(x,
				     &(struct store_session){ .id = 1,
					 .client = slice_str("c"),
					 .expiry_s = 100,
					 .version = 5,
					 .offline_ms = 1 }),
		    NJ_OK);
		bench_put(x, 1, 100);
		submit(x);
		assert_int_equal(acked, 1);
		if (folded) {
			close_it();
			open_it();
			ticket = 1;
		}
		while (read_fails(faults + 1))
			faults++;
		assert_true(faults > 1);
		/* nor is it for who writes */
		sqlite3_db_release_memory(store->db);
		disk_fault(DISK_READ, 1, 1);
		x = bench_batch();
		bench_put(x, 101, 100);
		submit(x);
		assert_int_equal(state, STORE_FAILING);
		store_turn(store);
		assert_int_equal(state, STORE_OK);
		assert_int_equal(acked, 2);
		assert_false(read_fails(UINT64_MAX));
		close_it();
	}
	assert_int_equal(pages_damaged(), before);
	assert_int_equal(notes_alive, 0);
}

static int
setup_all(void **st)
{
	(void)st;
	snprintf(path, sizeof path, "/tmp/nightjar-unread-%d", (int)getpid());
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
		cmocka_unit_test(test_unread),
	};

	return cmocka_run_group_tests_name(
	    "store unread", tests, setup_all, teardown_all);
}
