/* SPDX-License-Identifier: Apache-2.0
 *
 * A store seen from another process: while it is written, when its rows do not
 * agree, and copied.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "place.h"
#include "store/repair.h"
#include "store/view.h"

static const char *const path = place_path, *const copy = place_copy;
static struct bench b;
static struct nj_why why;

static int
fresh(void **state)
{
	(void)state;
	place_clear();
	why = (struct nj_why){ .what = "" };
	assert_int_equal(bench_open(&b, path, NULL, &why), NJ_OK);
	bench_close(&b);
	return 0;
}

static struct view *
look(const char *at)
{
	struct view *v = NULL;

	if (view_open(at, &v, &why))
		fail_msg("%s", why.what);
	return v;
}

static char faults[1024];

static void
on_fault(void *arg, const struct view_fault *f)
{
	size_t n = strlen(faults);

	(void)arg;
	assert_true(f->text[0] && f->mend[0]);
	snprintf(faults + n, sizeof faults - n, "%s %llu;", f->code,
	    (unsigned long long)f->count);
}

static void
finds(const char *at, const char *want)
{
	struct view *v = look(at);

	faults[0] = '\0';
	assert_int_equal(view_check(v, false, on_fault, NULL, &why), NJ_OK);
	assert_string_equal(faults, want);
	view_close(v);
}

/* Session 1 and session 2 get every message in one batch, so that whoever sees
 * one entry without the other has seen half a transaction. */
static void
write_pair(uint64_t seq)
{
	struct store_batch *x;
	struct note *n = note_new("a", "payload");
	uint32_t at;

	if (batch_new(&note_ops, &x))
		abort();
	for (uint64_t s = 1; s <= 2; s++)
		if (batch_queue(x,
			&(struct store_entry){ .session = s,
			    .seq = seq,
			    .qos = 1,
			    .msg = note_ref(n) },
			&at))
			abort();
	if (seq > 100 &&
	    (batch_queue_end(x, 1, seq - 100) ||
		batch_queue_end(x, 2, seq - 100)))
		abort();
	note_unref(n);
	x->ticket = seq;
	store_submit(b.store, x);
	if (!bench_wait(&b, seq))
		abort();
}

/* A process of its own, as a broker is. */
static pid_t
start_writer(void)
{
	int ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (bench_open(&b, path, NULL, &why) ||
		    store_start(b.store, &why))
			_exit(1);
		for (uint64_t seq = 1;; seq++) {
			write_pair(seq);
			if (seq == 10 && write(ready[1], "", 1) != 1)
				_exit(1);
		}
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static const char two[] =
    "INSERT INTO session(id, client, user, mount, version, expiry, offline, "
    "will, will_delay, will_expiry) VALUES(1, x'61', x'', x'', 5, 100, 1, "
    "NULL, 0, 0),"
    "(2, x'62', x'', x'', 5, 100, 1, NULL, 0, 0)";

static void
test_while_it_is_written(void **state)
{
	struct view_stats st;
	uint64_t last = 0;
	pid_t pid;

	(void)state;
	bench_edit(path, two);
	pid = start_writer();
	for (int i = 0; i < 20; i++) {
		struct view *v = look(path);

		assert_true(view_live(v));
		assert_int_equal(view_stats(v, 5, &st, &why), NJ_OK);
		assert_int_equal(st.waiting % 2, 0);
		assert_int_equal(st.messages * 2, st.waiting);
		assert_int_equal(st.n_top, 2);
		assert_int_equal(st.top[0].waiting, st.top[1].waiting);
		assert_true(st.oldest_s > 0);
		view_stats_fini(&st);
		view_close(v);
		finds(path, "");
		v = look(path);
		if (view_backup(v, copy, i > 0, NULL, NULL, &why))
			fail_msg("%s", why.what);
		view_close(v);
		finds(copy, "");
		v = look(copy);
		assert_false(view_live(v));
		assert_int_equal(view_stats(v, 1, &st, &why), NJ_OK);
		assert_int_equal(st.messages * 2, st.waiting);
		assert_true(st.messages >= 10 || last == 0);
		last = st.messages;
		view_stats_fini(&st);
		view_close(v);
	}
	/* what is open keeps others from mending */
	assert_int_equal(store_repair(path, &last, &why), NJ_BUSY);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* its log is still there */
	finds(path, "");
	assert_int_equal(bench_open(&b, copy, NULL, &why), NJ_OK);
	bench_close(&b);
}

static void
test_copy_is_private_and_kept(void **state)
{
	struct view *v = look(path);
	struct stat st;
	char wal[160];
	FILE *f;

	(void)state;
	assert_int_equal(view_backup(v, copy, false, NULL, NULL, &why), NJ_OK);
	assert_int_equal(stat(copy, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(
	    view_backup(v, copy, false, NULL, NULL, &why), NJ_EXISTS);
	assert_int_equal(view_backup(v, copy, true, NULL, NULL, &why), NJ_OK);
	assert_int_equal(
	    view_backup(v, path, true, NULL, NULL, &why), NJ_INVALID);
	/* another database's log would be replayed into the copy */
	snprintf(wal, sizeof wal, "%s-wal", copy);
	assert_non_null(f = fopen(wal, "w"));
	fclose(f);
	assert_int_equal(
	    view_backup(v, copy, true, NULL, NULL, &why), NJ_EXISTS);
	unlink(wal);
	assert_int_equal(
	    view_backup(v, "/nowhere/at/all", false, NULL, NULL, &why), NJ_IO);
	view_close(v);
}

/* No copy has a name that is not complete. */
static void
test_damaged_is_not_copied(void **state)
{
	struct view *v;
	FILE *f;

	(void)state;
	bench_edit(path,
	    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
	    "WHERE i < 2000) INSERT INTO sub SELECT i, x'61', 1, 0 FROM n");
	assert_non_null(f = fopen(path, "r+"));
	for (long at = 3 * 4096 + 3; at < 100000; at += 4096) {
		fseek(f, at, SEEK_SET);
		fwrite("\377\377\377\377", 4, 1, f);
	}
	fclose(f);
	v = look(path);
	faults[0] = '\0';
	assert_int_equal(view_check(v, false, on_fault, NULL, &why), NJ_OK);
	assert_non_null(strstr(faults, "damaged"));
	assert_int_equal(
	    view_backup(v, copy, false, NULL, NULL, &why), NJ_MALFORMED);
	assert_int_not_equal(access(copy, F_OK), 0);
	view_close(v);
}

#define GOOD_MSG(id, refs)                     \
	"INSERT INTO msg VALUES(" id ", " refs \
	", 1, 1, 1, 9223372036854775807, x'00016162', 0);"
#define SEGMENT(session, first, n, data)                          \
	"INSERT INTO seg(session, first, n, size, stored, data) " \
	"VALUES(" session ", " first ", " n ", 4, 0, x'" data "');"
#define GOOD "09000000010000000400016162"
#define ENTRY(session, seq, pid, msg)                                 \
	"INSERT INTO queue VALUES(" session ", " seq ", " pid ", 1, " \
	"NULL, " msg ", 4);"

static void
test_faults(void **state)
{
	static const struct {
		const char *sql, *want;
	} rows[] = {
		{ "SELECT 1", "" },
		{ "INSERT INTO sub VALUES(7, x'61', 1, 0)",
		    "orphan-subscription 1;" },
		{ "INSERT INTO sub VALUES(1, x'612362', 1, 0)",
		    "bad-filter 1;" },
		{ "INSERT INTO sub VALUES(1, x'2473686172652f672f61', 1, 1)",
		    "" },
		{ "INSERT INTO received VALUES(7, 1), (1, 0)",
		    "orphan-received 1;received-range 1;" },
		{ GOOD_MSG("1", "1") ENTRY("7", "1", "0", "1"),
		    "orphan-queue 1;" },
		{ ENTRY("1", "1", "0", "9"), "missing-message 1;" },
		{ GOOD_MSG("5", "1"), "unnamed-message 1;" },
		{ GOOD_MSG("5", "3") ENTRY("1", "1", "0", "5"),
		    "reference-count 1;" },
		{ GOOD_MSG("5", "2") ENTRY("1", "1", "4", "5")
			ENTRY("1", "2", "4", "5"),
		    "pid-twice 1;" },
		{ GOOD_MSG("5", "1") ENTRY("1", "1", "70000", "5"),
		    "queue-range 1;" },
		{ "INSERT INTO msg VALUES(5, 1, 1, 9, 1, 1, x'00016162', "
		  "0);" ENTRY("1", "1", "0", "5"),
		    "bad-message 1;" },
		{ GOOD_MSG("5", "1") "INSERT INTO retained VALUES(x'7a', 1, 5)",
		    "retained-topic 1;" },
		{ "INSERT INTO session(id, client, user, mount, version, "
		  "expiry, offline, will, will_delay, will_expiry) VALUES(3, "
		  "x'61', x'', x'', 5, 1, 1, "
		  "NULL, 0, 0)",
		    "session-twice 1;" },
		/* under another mount_point it is the same client */
		{ "INSERT INTO session(id, client, user, mount, version, "
		  "expiry, offline, will, will_delay, will_expiry) VALUES(3, "
		  "x'61', x'', x'6d2f', 5, 1, 1, "
		  "NULL, 0, 0)",
		    "session-twice 1;" },
		{ "INSERT INTO session(id, client, user, mount, version, "
		  "expiry, offline, will, will_delay, will_expiry) VALUES(3, "
		  "x'63', x'', x'', 9, 1, 1, "
		  "NULL, 0, 0)",
		    "session-range 1;" },
		{ "UPDATE session SET will = 3 WHERE id = 1",
		    "missing-message 1;" },
		{ SEGMENT("1", "1", "2", GOOD GOOD) "INSERT INTO gone "
						    "VALUES(1, 1, 1, x'02')",
		    "" },
		{ SEGMENT("7", "1", "1", GOOD), "orphan-segment 1;" },
		{ SEGMENT("1", "1", "2", GOOD), "bad-segment 1;" },
		{ SEGMENT("1", "1", "1", GOOD "00"), "bad-segment 1;" },
		{ SEGMENT("1", "1", "1", "09000000020000000400016162"),
		    "bad-segment 1;" },
		{ SEGMENT("1", "1", "1", "09000000010000000400012362"),
		    "bad-segment 1;" },
		{ SEGMENT("1", "1", "2", GOOD GOOD)
			SEGMENT("1", "2", "1", GOOD),
		    "segment-overlap 1;" },
		{ SEGMENT("1", "1", "1", GOOD) "INSERT INTO gone "
					       "VALUES(1, 1, 1, x'01')",
		    "segment-gone 1;" },
		{ "INSERT INTO gone VALUES(1, 1, 1, x'01')",
		    "segment-gone 1;" },
	};
	uint64_t n;

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		fresh(state);
		bench_edit(path, two);
		bench_edit(path, rows[i].sql);
		finds(path, rows[i].want);
		n = 0;
		if (store_repair(path, &n, &why))
			fail_msg("%s", why.what);
		finds(path, "");
		assert_true((n > 0) == (rows[i].want[0] != '\0'));
	}
}

static void
test_exposed(void **state)
{
	(void)state;
	chmod(path, 0644);
	finds(path, "exposed 1;");
	chmod(path, 0600);
}

static void
test_not_a_store(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		enum nj_err want;
		const char *says;
	} rows[] = {
		{ "", 0, NJ_UNSUPPORTED, "empty" },
		{ "rubbish", 7, NJ_MALFORMED, "not a database" },
		{ "\0\265\0mosquitto db\0\0\0\0\0\0\0\6", 23, NJ_UNSUPPORTED,
		    "Mosquitto" },
	};
	struct view *v;

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		FILE *f;

		place_clear();
		assert_non_null(f = fopen(path, "w"));
		assert_int_equal(
		    fwrite(rows[i].text, 1, rows[i].n, f), rows[i].n);
		fclose(f);
		assert_int_equal(view_open(path, &v, &why), rows[i].want);
		assert_non_null(strstr(why.what, rows[i].says));
	}
	place_clear();
	assert_int_equal(view_open(path, &v, &why), NJ_NOTFOUND);
	assert_int_equal(view_open(place_folder, &v, &why), NJ_UNSUPPORTED);
	fresh(state);
	bench_edit(path, "PRAGMA user_version = 99");
	assert_int_equal(view_open(path, &v, &why), NJ_UNSUPPORTED);
	assert_non_null(strstr(why.what, "newer"));
	fresh(state);
	bench_edit(path, "PRAGMA application_id = 5");
	assert_int_equal(view_open(path, &v, &why), NJ_UNSUPPORTED);
	assert_non_null(strstr(why.what, "another program"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_while_it_is_written, fresh),
		cmocka_unit_test_setup(test_copy_is_private_and_kept, fresh),
		cmocka_unit_test_setup(test_damaged_is_not_copied, fresh),
		cmocka_unit_test_setup(test_faults, fresh),
		cmocka_unit_test_setup(test_exposed, fresh),
		cmocka_unit_test_setup(test_not_a_store, fresh),
	};

	return cmocka_run_group_tests_name(
	    "store view", tests, place_make, place_remove);
}
