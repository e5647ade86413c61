/* SPDX-License-Identifier: Apache-2.0
 *
 * A log whose first bytes are not as they should be: a power cut has torn them as
 * the next log was begun, when all of it was in the database and the salts are the
 * last log's still; or they were damaged.  Nothing is lost, and what the next starts
 * write in front of its frames is no damage.
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
#include "store/walcheck.h"

#define SESSIONS 6u /* a commit each */

/* Of the header: the number of the log, and its checksum. */
static const unsigned torn_at[] = { 0, 15, 28 };

static char path[64], wal[72];
static struct store *store;
static uint64_t done;

static void
on_done(void *arg, struct store_batch *b)
{
	(void)arg;
	done++;
	batch_free(b);
}

static void
open_it(void)
{
	const struct store_opts o = {
		.path = path,
		.vfs = DISK_VFS,
		.msgs = &note_ops,
		.done = on_done,
		.no_thread = true,
	};
	struct nj_why why = { .what = "" };

	if (store_open(&o, &store, &why))
		fail_msg("%s", why.what);
	assert_int_equal(store_start(store, &why), NJ_OK);
}

static void
kill_it(void)
{
	disk_cut_now();
	store_close(store);
	store = NULL;
	disk_killed();
}

static void
commit_session(uint64_t id)
{
	const uint64_t before = done;
	struct store_batch *x;

	assert_int_equal(batch_new(&note_ops, &x), NJ_OK);
	assert_int_equal(batch_session(x,
			     &(struct store_session){ .id = id,
				 .client = slice_of(&id, sizeof id),
				 .version = 5,
				 .expiry_s = 100,
				 .offline_ms = STORE_NEVER }),
	    NJ_OK);
	store_submit(store, x);
	store_turn(store);
	assert_int_equal(done, before + 1);
}

static int64_t
sessions(void)
{
	sqlite3_stmt *st = NULL;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(store->db,
			     "SELECT count(*) FROM session", -1, &st, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

static void
test_torn_header(void **st)
{
	(void)st;
	for (unsigned i = 0; i < sizeof torn_at / sizeof *torn_at; i++) {
		uint64_t id = 0;

		disk_reset(1);
		open_it();
		while (id < SESSIONS)
			commit_session(++id);
		/* all of it is in the database */
		assert_int_equal(sqlite3_wal_checkpoint_v2(store->db, NULL,
				     SQLITE_CHECKPOINT_PASSIVE, NULL, NULL),
		    SQLITE_OK);
		kill_it();
		assert_true(disk_damage(wal, torn_at[i]));
		for (unsigned k = 0; k < 3; k++) {
			open_it();
			assert_int_equal(sessions(), id);
			commit_session(++id);
			kill_it();
		}
		open_it();
		assert_int_equal(sessions(), id);
		store_close(store);
	}
}

static void
one_commit(void)
{
	disk_reset(1);
	open_it();
	commit_session(1);
	kill_it();
}

static void
expect(uint64_t n)
{
	open_it();
	assert_int_equal(sessions(), n);
	store_close(store);
}

/* Of a log that is needed each byte of the header: nothing is lost, and who only
 * looks is told. */
static void
test_damaged_header(void **st)
{
	(void)st;
	for (unsigned at = 0; at < 32; at++) {
		struct nj_why why = { .what = "" };
		uint64_t size;

		one_commit();
		size = disk_size(wal);
		assert_int_equal(walcheck(DISK_VFS, path, &why), NJ_OK);
		assert_true(disk_damage(wal, at));
		assert_int_equal(walcheck(DISK_VFS, path, &why), NJ_MALFORMED);
		assert_non_null(strstr(why.what, "first 32 bytes"));
		assert_int_equal(
		    walcheck_mend_header(DISK_VFS, path, false, &why), NJ_OK);
		assert_int_equal(disk_size(wal), size);
		assert_int_equal(walcheck(DISK_VFS, path, &why), NJ_OK);
		assert_true(disk_damage(wal, at));
		expect(1);
	}
}

/* And the first frame, too: that is told, and nothing is written. */
static void
test_damaged_beginning(void **st)
{
	const struct store_opts o = {
		.path = path,
		.vfs = DISK_VFS,
		.msgs = &note_ops,
		.done = on_done,
		.no_thread = true,
	};
	struct nj_why why = { .what = "" };
	uint64_t size;

	(void)st;
	disk_reset(1);
	open_it();
	for (uint64_t id = 0; id < SESSIONS;)
		commit_session(++id);
	kill_it();
	size = disk_size(wal);
	for (unsigned at = 0; at < 100; at += 3)
		assert_true(disk_damage(wal, at));
	assert_int_equal(store_open(&o, &store, &why), NJ_MALFORMED);
	assert_non_null(strstr(why.what, "-wal is damaged at 32"));
	assert_int_equal(disk_size(wal), size);
	assert_int_equal(
	    walcheck_mend_header(DISK_VFS, path, true, &why), NJ_OK);
	assert_int_equal(disk_size(wal), 0);
	expect(0);
}

/* What has no frames is emptied; what cannot be written is told of. */
static void
test_emptied(void **st)
{
	struct nj_why why = { .what = "" };
	uint64_t size;

	(void)st;
	disk_reset(1);
	assert_int_equal(
	    walcheck_mend_header(DISK_VFS, path, false, &why), NJ_OK);
	one_commit();
	size = disk_size(wal);
	assert_true(disk_damage(wal, 15));
	disk_fault(DISK_WRITE, 1, 1);
	assert_int_equal(
	    walcheck_mend_header(DISK_VFS, path, false, &why), NJ_IO);
	assert_non_null(strstr(why.what, "cannot be written"));
	disk_fault(DISK_CALLS, 0, 0);
	/* of each frame the page: none follows another */
	for (uint64_t at = 32 + 24; at < size; at += 24 + 4096)
		assert_true(disk_damage(wal, at));
	assert_true(disk_damage(wal, 15));
	assert_true(disk_damage(wal, 14));
	disk_fault(DISK_TRUNCATE, 1, 1);
	assert_int_equal(
	    walcheck_mend_header(DISK_VFS, path, false, &why), NJ_IO);
	assert_non_null(strstr(why.what, "cannot be emptied"));
	disk_fault(DISK_CALLS, 0, 0);
	assert_int_equal(disk_size(wal), size);
	assert_int_equal(
	    walcheck_mend_header(DISK_VFS, path, false, &why), NJ_OK);
	assert_int_equal(disk_size(wal), 0);
}

/* Nothing of the header is left, or it tells of other pages. */
static void
test_no_header(void **st)
{
	static const unsigned parts[][2] = { { 0, 32 }, { 10, 11 }, { 12, 32 },
		{ 8, 28 } };
	struct nj_why why = { .what = "" };

	(void)st;
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
		one_commit();
		for (unsigned at = parts[i][0]; at < parts[i][1]; at++)
			assert_true(disk_damage(wal, at));
		assert_int_equal(walcheck(DISK_VFS, path, &why), NJ_MALFORMED);
		expect(1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_torn_header),
		cmocka_unit_test(test_damaged_header),
		cmocka_unit_test(test_damaged_beginning),
		cmocka_unit_test(test_emptied),
		cmocka_unit_test(test_no_header),
	};
	char lock[80];
	int rc;

	(void)snprintf(
	    path, sizeof path, "/tmp/nightjar-torn-%d", (int)getpid());
	(void)snprintf(wal, sizeof wal, "%s-wal", path);
	rc = cmocka_run_group_tests_name("torn log", tests, NULL, NULL);
	disk_fini();
	(void)unlink(path);
	(void)snprintf(lock, sizeof lock, "%s.lock", path);
	(void)unlink(lock);
	return rc;
}
