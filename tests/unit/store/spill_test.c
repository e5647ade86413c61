/* SPDX-License-Identifier: Apache-2.0
 *
 * A transaction that is larger than SQLite's cache: pages of it go to the log, and
 * are written over there, which makes SQLite begin with their sums again.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "place.h"
#include "store/pagefile.h"
#include "store/walcheck.h"
#include "store/walfile.h"

static const char *const path = place_path;
static struct nj_why why;

static sqlite3 *
open_small(const char *first)
{
	const char *vfs;
	sqlite3 *db = NULL;

	assert_int_equal(walfile_vfs(NULL, &vfs), NJ_OK);
	assert_int_equal(sqlite3_open_v2(path, &db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs),
	    SQLITE_OK);
	assert_int_equal(pages_want_sums(db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, first, NULL, NULL, NULL), SQLITE_OK);
	return db;
}

static void
run(sqlite3 *db, const char *text)
{
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
}

static void
test_spilled(void **state)
{
	static const char *const last[] = { "COMMIT",
		"ROLLBACK TO half; COMMIT", "ROLLBACK" };
	uint64_t before = pages_damaged();

	(void)state;
	for (unsigned i = 0; i < sizeof last / sizeof *last; i++) {
		sqlite3_stmt *st = NULL;
		sqlite3 *db;

		unlink(path);
		db = open_small(
		    "PRAGMA journal_mode = WAL;"
		    "PRAGMA user_version = 7;"
		    "CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)");
		assert_int_equal(sqlite3_close(db), SQLITE_OK);
		db = open_small("PRAGMA cache_size = 10; BEGIN");
		assert_true(pages_have_sums(db));
		run(db,
		    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
		    "FROM n WHERE i < 3000) INSERT INTO t "
		    "SELECT i * 7919 % 3001, zeroblob(400) FROM n");
		run(db, "SAVEPOINT half");
		run(db, "UPDATE t SET v = zeroblob(300) WHERE k % 3 = 0");
		run(db,
		    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
		    "FROM n WHERE i < 3000) INSERT INTO t "
		    "SELECT 4000 + i * 7919 % 3001, zeroblob(500) FROM n");
		run(db, "UPDATE t SET v = zeroblob(350) WHERE k % 5 = 0");
		run(db, last[i]);
		/* and what comes behind it in the log */
		run(db, "INSERT INTO t VALUES (-1, 'x')");
		assert_int_equal(walcheck(NULL, path, &why), NJ_OK);
		run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
		assert_int_equal(sqlite3_prepare_v2(db,
				     "PRAGMA integrity_check", -1, &st, NULL),
		    SQLITE_OK);
		assert_int_equal(sqlite3_step(st), SQLITE_ROW);
		assert_string_equal(
		    (const char *)sqlite3_column_text(st, 0), "ok");
		sqlite3_finalize(st);
		assert_int_equal(sqlite3_close(db), SQLITE_OK);
	}
	assert_int_equal(pages_damaged(), before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spilled),
	};

	return cmocka_run_group_tests_name(
	    "store spill", tests, place_make, place_remove);
}
