/* SPDX-License-Identifier: Apache-2.0
 *
 * What is given at the start: expired messages and what sessions that are gone
 * left behind are dropped, from an older schema too.
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
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "place.h"

#define NOW	1000
#define FOREVER "9223372036854775807"

static const char *const path = place_path;
static struct bench b;
static struct nj_why why;
static struct buf seen;

static int
teardown_all(void **state)
{
	buf_fini(&seen);
	return place_remove(state);
}

static int
fresh(void **state)
{
	(void)state;
	place_clear();
	buf_fini(&seen);
	why = (struct nj_why){ .what = "" };
	assert_int_equal(bench_open(&b, path, NULL, &why), NJ_OK);
	bench_close(&b);
	return 0;
}

static void NJ_PRINTF(1, 2) say(const char *fmt, ...)
{
	char line[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	assert_int_equal(buf_put_slice(&seen, slice_str(line)), NJ_OK);
}

static enum nj_err
l_session(void *arg, const struct store_session *s)
{
	(void)arg;
	say("session %d;", (int)s->id);
	return NJ_OK;
}

static enum nj_err
l_will(void *arg, const struct store_will *w, void *msg)
{
	(void)arg;
	say("will %d %d;", (int)w->session, (int)((struct note *)msg)->id);
	note_unref(msg);
	return NJ_OK;
}

static enum nj_err
l_sub(void *arg, const struct store_sub *s)
{
	(void)arg;
	say("sub %d;", (int)s->session);
	return NJ_OK;
}

static enum nj_err
l_received(void *arg, uint64_t session, uint16_t pid)
{
	(void)arg;
	say("received %d %d;", (int)session, pid);
	return NJ_OK;
}

static enum nj_err
l_inflight(void *arg, const struct store_entry *e)
{
	(void)arg;
	say("inflight %d %d;", (int)e->session, (int)e->seq);
	note_unref(e->msg);
	return NJ_OK;
}

static enum nj_err
l_waiting(void *arg, const struct store_waiting *w)
{
	(void)arg;
	say("waiting %d %d %d-%d %d;", (int)w->session, (int)w->n,
	    (int)w->first, (int)w->last, (int)w->bytes);
	if (w->sent > 0)
		say("sent %d;", (int)w->sent);
	return NJ_OK;
}

static enum nj_err
l_retained(void *arg, void *msg)
{
	(void)arg;
	say("retained %d;", (int)((struct note *)msg)->id);
	note_unref(msg);
	return NJ_OK;
}

static const struct store_loader loader = {
	.session = l_session,
	.will = l_will,
	.sub = l_sub,
	.received = l_received,
	.inflight = l_inflight,
	.waiting = l_waiting,
	.retained = l_retained,
	.now_ms = NOW,
};

static enum nj_err
load_it(void)
{
	enum nj_err e;

	assert_int_equal(bench_open(&b, path, NULL, &why), NJ_OK);
	e = store_load(b.store, &loader, &why);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
	return e;
}

static void
loads(const char *want)
{
	enum nj_err e = load_it();

	if (e)
		fail_msg("%s", why.what);
	assert_int_equal(buf_put_u8(&seen, 0), NJ_OK);
	assert_string_equal((const char *)buf_slice(&seen).p, want);
	assert_int_equal(bench_ask(path,
			     "SELECT count(*) FROM msg WHERE refs <> "
			     "(SELECT count(*) FROM queue WHERE msg = id) + "
			     "(SELECT count(*) FROM session WHERE will = "
			     "msg.id) + (SELECT count(*) FROM retained WHERE "
			     "msg = id)"),
	    0);
}

#define SESSION(id, will)                                                \
	"INSERT INTO session(id, client, user, mount, version, expiry, " \
	"offline, will, will_delay, will_expiry) VALUES(" id             \
	", x'61', x'', x'', 5, 1, 1, " will ", 0, 0);"
#define OLD_MSG(id, refs, expires)                                   \
	"INSERT INTO msg VALUES(" id ", " refs ", 1, 1, 1, " expires \
	", x'00016162');"
#define MSG(id, refs, expires)                                       \
	"INSERT INTO msg VALUES(" id ", " refs ", 1, 1, 1, " expires \
	", x'00016162', 0);"
#define ENTRY(session, seq, pid, msg)                         \
	"INSERT INTO queue VALUES(" session ", " seq ", " pid \
	", 1, NULL, " msg ", 10);"

static void
test_all_kinds(void **state)
{
	(void)state;
	bench_edit(path,
	    SESSION("1", "NULL") SESSION("3", "7") MSG("7", "4", FOREVER) MSG(
		"2", "1", FOREVER) MSG("900", "1", FOREVER) ENTRY("1", "4", "0",
		"7") ENTRY("1", "5", "9", "7") ENTRY("1", "6", "0",
		"7") "INSERT INTO sub VALUES(1, x'61', 1, 0), (3, x'61', 1, 0);"
		     "INSERT INTO received VALUES(3, 8);"
		     "INSERT INTO retained VALUES(x'62', 1, 2), (x'61', 2, "
		     "900), "
		     "(x'63', 3, NULL);");
	loads("session 1;session 3;will 3 7;sub 1;sub 3;received 3 8;"
	      "inflight 1 5;waiting 1 2 4-6 20;retained 2;retained 900;");
	assert_int_equal(
	    bench_ask(path, "SELECT count(*) FROM retained WHERE msg IS NULL"),
	    0);
}

/* Which of those that wait may have been sent; one in between is gone. */
static void
test_sent(void **state)
{
	(void)state;
	bench_edit(path,
	    SESSION("1", "NULL") SESSION("2", "NULL") SESSION("3", "NULL")
		MSG("7", "5", FOREVER) ENTRY("1", "2", "0", "7")
		    ENTRY("1", "9", "0", "7") ENTRY("1", "10", "0", "7")
			ENTRY("2", "4", "0", "7") ENTRY("3", "5", "0",
			    "7") "UPDATE session SET sent = 9 WHERE id = 1;"
				 "UPDATE session SET sent = 3 WHERE id = 2;"
				 "UPDATE session SET sent = 8 WHERE id = 3;");
	loads("session 1;session 2;session 3;waiting 1 3 2-10 30;sent 2;"
	      "waiting 2 1 4-4 10;waiting 3 1 5-5 10;sent 1;");
}

/* In flight it was begun, and is finished. */
static void
test_expired(void **state)
{
	(void)state;
	bench_edit(path,
	    SESSION("1", "NULL") MSG("1", "2", "999") MSG("2", "1", "1001") MSG(
		"3", "1", "1000") MSG("4", "1", FOREVER)
		ENTRY("1", "1", "0", "1") ENTRY("1", "2", "5", "1") ENTRY(
		    "1", "3", "0", "2") "INSERT INTO retained VALUES(x'61', 1, "
					"3), (x'62', 2, 4);");
	loads("session 1;inflight 1 2;waiting 1 1 3-3 10;retained 4;");
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM msg"), 3);
}

static void
test_orphans(void **state)
{
	(void)state;
	bench_edit(path,
	    SESSION("2", "NULL") MSG("1", "4", FOREVER)
		ENTRY("1", "1", "0", "1") ENTRY("1", "2", "7", "1") ENTRY(
		    "2", "1", "0", "1") ENTRY("3", "1", "0",
		    "1") "INSERT INTO sub VALUES(1, x'61', 1, 0), (1, x'62', "
			 "1, 0), "
			 "(2, x'61', 1, 0), (9, x'61', 1, 0);"
			 "INSERT INTO received VALUES(1, 1), (2, 1), (9, 1);");
	loads("session 2;sub 2;received 2 1;waiting 2 1 1-1 10;");
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM sub"), 1);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM received"), 1);
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM queue"), 1);
}

/* Nothing is half read: it says what is wrong. */
static void
test_message_missing(void **state)
{
	static const char *const rows[] = {
		SESSION("1", "5"),
		SESSION("1", "NULL") ENTRY("1", "1", "1", "5"),
		"INSERT INTO retained VALUES(x'61', 1, 5);",
		"INSERT INTO retained VALUES(x'61', 1, 5);" MSG("6", "1", "1"),
		("INSERT INTO retained VALUES(x'61', 1, 5);"
		 "INSERT INTO msg VALUES(5, 1, 9, 1, 1, 2000, x'0001', 0);"),
	};

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		fresh(state);
		bench_edit(path, rows[i]);
		assert_int_equal(load_it(), NJ_MALFORMED);
		assert_non_null(strstr(why.what, "message"));
		assert_non_null(strstr(why.mend, "nightjar store check"));
	}
}

/* qos 1, its message qos 1; payload "b", topic "a" */
#define SEGMENT_ENTRY      \
	"0900000001000000" \
	"0400016162"
#define SEGMENT(session, first, n, entries)                       \
	"INSERT INTO seg(session, first, n, size, stored, data) " \
	"VALUES(" session ", " first ", " n ", 4 * " n ", 0, x'" entries "');"

/* Beside rows, before them, behind them, and without any. */
static void
test_segments(void **state)
{
	(void)state;
	bench_edit(path,
	    SESSION("1", "NULL") SESSION("2", "NULL") SESSION("4", "NULL") MSG(
		"7", "2", FOREVER) ENTRY("2", "5", "0", "7") ENTRY("2", "6",
		"3", "7") SEGMENT("1", "1", "1", SEGMENT_ENTRY)
		SEGMENT("2", "3", "2", SEGMENT_ENTRY SEGMENT_ENTRY) SEGMENT(
		    "2", "8", "2", SEGMENT_ENTRY SEGMENT_ENTRY) SEGMENT("3",
		    "1", "1", SEGMENT_ENTRY) SEGMENT("4", "1", "1",
		    SEGMENT_ENTRY) "INSERT INTO gone VALUES(2, 8, 1, x'02');");
	loads("session 1;session 2;session 4;waiting 1 1 1-1 4;inflight 2 6;"
	      "waiting 2 4 3-9 22;waiting 4 1 1-1 4;");
	assert_int_equal(bench_ask(path, "SELECT count(*) FROM seg"), 4);
}

/* What older schemas lack is added, and nothing is lost. */
static void
test_older_schema(void **state)
{
	sqlite3_int64 made;

	(void)state;
	made = bench_ask(path, "SELECT count(*) FROM sqlite_schema");
	bench_edit(path,
	    "DROP TABLE seg; DROP TABLE gone; DROP TABLE file;"
	    "ALTER TABLE session DROP COLUMN who; PRAGMA user_version = "
	    "3;" SESSION("1", "NULL") MSG("1", "1", "5") MSG("2", "1", FOREVER)
		ENTRY("1", "1", "0", "1") ENTRY("1", "2", "0", "2"));
	loads("session 1;waiting 1 1 2-2 10;");
	assert_int_equal(bench_ask(path, "PRAGMA user_version"), STORE_SCHEMA);
	assert_int_equal(
	    bench_ask(path, "SELECT count(*) FROM sqlite_schema"), made);
	fresh(state);
	bench_edit(path,
	    "DROP TABLE seg; DROP TABLE gone; DROP TABLE file;"
	    "DROP TABLE fact;"
	    "DROP INDEX msg_expires; ALTER TABLE msg DROP COLUMN stored;"
	    "ALTER TABLE session DROP COLUMN who;"
	    "PRAGMA user_version = 1;" SESSION("1", "NULL")
		OLD_MSG("1", "1", "5") OLD_MSG("2", "1", FOREVER)
		    ENTRY("1", "1", "0", "1") ENTRY("1", "2", "0", "2"));
	loads("session 1;waiting 1 1 2-2 10;");
	assert_int_equal(bench_ask(path, "PRAGMA user_version"), STORE_SCHEMA);
	assert_int_equal(
	    bench_ask(path, "SELECT count(*) FROM sqlite_schema"), made);
}

struct told {
	uint64_t calls, last, each;
};

static void
on_checking(void *arg, uint64_t pages)
{
	struct told *t = arg;

	t->calls++;
	t->last = pages;
	assert_int_equal(pages, t->calls * t->each);
}

/* It is told of while they are checked, and not of what is read after that. */
static void
test_pages_are_told(void **state)
{
	struct told t = { 0 };
	struct store_opts o = { .path = path,
		.msgs = &note_ops,
		.arg = &t,
		.checking = on_checking };
	uint64_t pages, calls;
	struct store *s;

	(void)state;
	bench_edit(path,
	    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
	    "LIMIT 400) INSERT INTO msg SELECT i, 0, 1, 1, 1, " FOREVER
	    ", CAST(x'00016162' || zeroblob(3000) AS BLOB), 0 FROM n");
	pages = (uint64_t)bench_ask(path, "PRAGMA page_count");
	assert_true(pages > 400);
	for (uint32_t each = 1; each <= 1000; each *= 10) {
		t = (struct told){ .each = each };
		o.checking_each = each;
		assert_int_equal(store_open(&o, &s, &why), NJ_OK);
		calls = t.calls;
		assert_true(calls >= (pages - pages / 10) / each);
		assert_int_equal(store_load(s, &loader, &why), NJ_OK);
		store_close(s);
		assert_int_equal(t.calls, calls);
	}
	o.checking_each = 0; /* 100,000: as many are not there */
	t = (struct told){ .each = STORE_PROGRESS };
	assert_int_equal(store_open(&o, &s, &why), NJ_OK);
	store_close(s);
	assert_int_equal(t.calls, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_all_kinds, fresh),
		cmocka_unit_test_setup(test_sent, fresh),
		cmocka_unit_test_setup(test_expired, fresh),
		cmocka_unit_test_setup(test_orphans, fresh),
		cmocka_unit_test_setup(test_message_missing, fresh),
		cmocka_unit_test_setup(test_segments, fresh),
		cmocka_unit_test_setup(test_older_schema, fresh),
		cmocka_unit_test_setup(test_pages_are_told, fresh),
	};

	return cmocka_run_group_tests_name(
	    "store load", tests, place_make, teardown_all);
}
