/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS(a) (sizeof(a) / sizeof *(a))

static char dir[] = "/tmp/nightjar-log-XXXXXX";
static char path[64], moved[64], fifo[64];

static int
setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof path, "%s/log", dir);
	(void)snprintf(moved, sizeof moved, "%s/log.1", dir);
	(void)snprintf(fifo, sizeof fifo, "%s/fifo", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)unlink(moved);
	(void)unlink(fifo);
	return rmdir(dir);
}

static char *
contents(const char *name)
{
	static char text[1 << 20];
	int fd = open(name, O_RDONLY);
	ssize_t n = 0, k;

	assert_true(fd >= 0);
	while ((k = read(fd, text + n, sizeof text - 1 - (size_t)n)) > 0)
		n += k;
	(void)close(fd);
	text[n] = '\0';
	return text;
}

static void
start(struct log_opts o)
{
	struct nj_why why = { 0 };

	o.dests |= LOG_D_FILE;
	o.file = path;
	if (log_start(&o, &why))
		fail_msg("%s", why.what);
}

static void
test_forms(void **state)
{
	static const struct {
		const char *why, *text, *want;
	} rows[] = {
		{ "plain", "hello", "hello\n" },
		{ "control bytes", "a\nb\x1b[2J\x7f\tc",
		    "a\\x0ab\\x1b[2J\\x7f\\x09c\n" },
		{ "UTF-8", "Z\xc3\xbcrich", "Z\xc3\xbcrich\n" },
		{ "C1 controls in UTF-8",
		    "a\xc2\x9b"
		    "2J",
		    "a\\xc2\\x9b2J\n" },
		{ "backslash", "a\\b", "a\\b\n" },
		{ "empty", "", "\n" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		(void)unlink(path);
		start((struct log_opts){ .types = LOG_T_ALL });
		nj_log(LOG_T_NOTICE, "%s", rows[i].text);
		log_stop();
		if (strcmp(contents(path), rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].why, contents(path));
	}
}

static void
test_timestamps(void **state)
{
	time_t before = time(NULL), after;
	long long at = 0;
	int used = 0, year = 0;

	(void)state;
	(void)unlink(path);
	start((struct log_opts){ .types = LOG_T_ALL, .timestamp = true });
	nj_log(LOG_T_NOTICE, "now");
	log_stop();
	after = time(NULL);
	assert_int_equal(sscanf(contents(path), "%lld: now%n", &at, &used), 1);
	assert_true(used > 0 && at >= before && at <= after);

	(void)unlink(path);
	start((struct log_opts){ .types = LOG_T_ALL,
	    .timestamp = true,
	    .timestamp_format = "%Y-x\n%%" });
	nj_log(LOG_T_NOTICE, "now");
	log_stop();
	assert_int_equal(
	    sscanf(contents(path), "%4d-x\\x0a%%: now%n", &year, &used), 1);
	assert_true(year >= 2024);
}

static int evaluated;

static int
evaluate(void)
{
	return ++evaluated;
}

static void
test_types(void **state)
{
	(void)state;
	(void)unlink(path);
	start((struct log_opts){ .types = LOG_T_ERROR | LOG_T_SUBSCRIBE });
	nj_log(LOG_T_ERROR, "error");
	nj_log(LOG_T_DEBUG, "debug %d", evaluate());
	nj_log(LOG_T_SUBSCRIBE, "subscribe");
	log_stop();
	assert_string_equal(contents(path), "error\nsubscribe\n");
	assert_int_equal(evaluated, 0);
}

static void
test_long_line(void **state)
{
	char text[2 * LOG_LINE];
	const char *got;

	(void)state;
	memset(text, '\n', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	(void)unlink(path);
	start((struct log_opts){ .types = LOG_T_ALL,
	    .timestamp = true,
	    .timestamp_format = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n" });
	errno = 42;
	nj_log(LOG_T_ERROR, "%s", text);
	assert_int_equal(errno, 42);
	log_stop();
	got = contents(path);
	assert_string_equal(got + strlen(got) - 8, "\\x0a...\n");
	assert_int_equal(strlen(got), 20 * 4 + 2 + (LOG_LINE - 4) * 4 + 3 + 1);
}

#define THREADS 4
#define EACH	500

static void *
write_many(void *arg)
{
	int who = *(int *)arg;

	for (int i = 0; i < EACH; i++)
		nj_log(LOG_T_NOTICE, "%d %d", who, i);
	return NULL;
}

/* Whole lines, each thread's in order, none lost. */
static void
test_many_threads(void **state)
{
	pthread_t t[THREADS];
	int who[THREADS], next[THREADS] = { 0 }, lines = 0;

	(void)state;
	(void)unlink(path);
	start((struct log_opts){ .types = LOG_T_ALL });
	for (int i = 0; i < THREADS; i++) {
		who[i] = i;
		assert_int_equal(
		    pthread_create(&t[i], NULL, write_many, &who[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	log_stop();
	for (const char *l = contents(path); *l; lines++) {
		int w = -1, n = -1;

		assert_int_equal(sscanf(l, "%d %d", &w, &n), 2);
		assert_true(w >= 0 && w < THREADS);
		assert_int_equal(n, next[w]);
		next[w]++;
		l += strcspn(l, "\n") + 1;
	}
	assert_int_equal(lines, THREADS * EACH);
}

/* Nobody reads the pipe: writers go on, lines are dropped and counted, and
 * once it is read again the log says how many. */
static void
test_slow_destination(void **state)
{
	static char drained[1 << 16];
	char text[513];
	struct nj_why why = { 0 };
	struct log_opts o = {
		.types = LOG_T_ALL, .dests = LOG_D_FILE, .file = fifo
	};
	bool told = false;
	int rd;

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	assert_int_equal(mkfifo(fifo, 0600), 0);
	rd = open(fifo, O_RDONLY | O_NONBLOCK);
	assert_true(rd >= 0);
	assert_int_equal(log_start(&o, &why), NJ_OK);
	for (int i = 0; i < 4 * LOG_RING; i++)
		nj_log(LOG_T_NOTICE, "%s", text);
	for (int i = 0; i < 60000 && !told; i++) {
		ssize_t n = read(rd, drained, sizeof drained - 1);

		if (n > 0) {
			drained[n] = '\0';
			told = strstr(drained, "lines were dropped") != NULL;
		} else {
			(void)usleep(1000);
		}
	}
	assert_true(told);
	/* A reader that goes away ends nothing either. */
	(void)close(rd);
	nj_log(LOG_T_NOTICE, "into nothing");
	log_stop();
}

static void
test_reopen_and_reload(void **state)
{
	struct nj_why why = { 0 };
	struct log_opts o = {
		.types = LOG_T_ERROR, .dests = LOG_D_FILE, .file = moved
	};

	(void)state;
	(void)unlink(path);
	start((struct log_opts){ .types = LOG_T_ALL });
	nj_log(LOG_T_NOTICE, "one");
	/* The letter is written before the thread looks at reopen again. */
	for (int i = 0; i < 60000 && !*contents(path); i++)
		(void)usleep(1000);
	assert_int_equal(rename(path, moved), 0);
	log_reopen();
	for (int i = 0; i < 60000 && access(path, F_OK) != 0; i++)
		(void)usleep(1000);
	nj_log(LOG_T_NOTICE, "two");
	for (int i = 0; i < 60000 && !*contents(path); i++)
		(void)usleep(1000);
	assert_int_equal(log_reload(&o, &why), NJ_OK);
	nj_log(LOG_T_NOTICE, "not any more");
	nj_log(LOG_T_ERROR, "three");
	log_stop();
	assert_string_equal(contents(path), "two\n");
	assert_string_equal(contents(moved), "one\nthree\n");
}

static void
test_reload_that_fails_changes_nothing(void **state)
{
	struct nj_why why = { 0 };
	struct log_opts o = { .types = LOG_T_ERROR,
		.dests = LOG_D_FILE,
		.file = "/nonexistent/log" };

	(void)state;
	(void)unlink(path);
	assert_int_equal(log_start(&o, &why), NJ_IO);
	assert_non_null(strstr(why.what, "/nonexistent/log"));
	start((struct log_opts){ .types = LOG_T_ALL });
	assert_int_equal(log_reload(&o, &why), NJ_IO);
	nj_log(LOG_T_NOTICE, "still");
	log_stop();
	assert_string_equal(contents(path), "still\n");
}

static char topic_lines[256];

static void
on_line(void *arg, enum log_type type, const char *line)
{
	size_t n = strlen(topic_lines);

	(void)snprintf(topic_lines + n, sizeof topic_lines - n, "%s%u %s;",
	    (const char *)arg, (unsigned)type, line);
}

static void
test_topic(void **state)
{
	char mark[] = "!";

	(void)state;
	start((struct log_opts){ .types = LOG_T_ALL,
	    .dests = LOG_D_TOPIC,
	    .on_line = on_line,
	    .arg = mark });
	nj_log(LOG_T_ERROR, "a");
	nj_log(LOG_T_DEBUG, "would come back for ever");
	nj_log(LOG_T_SUBSCRIBE, "b");
	log_stop();
	assert_string_equal(topic_lines, "!1 a;!32 b;");
}

static void
test_gate(void **state)
{
	static const struct {
		uint64_t at;
		bool open;
		uint32_t suppressed;
	} rows[] = {
		{ 5000, true, 0 },
		{ 5001, true, 0 },
		{ 5002, false, 0 },
		{ 5500, false, 0 },
		{ 5999, false, 0 },
		{ 6000, true, 3 },
		{ 6001, true, 0 },
		{ 6002, false, 0 },
		{ 9000, true, 1 },
	};
	struct log_gate g = { 0 };

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		uint32_t held = 99;

		assert_int_equal(log_gate_open(&g, rows[i].at, 1000, 2, &held),
		    rows[i].open);
		assert_int_equal(held, rows[i].suppressed);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_timestamps),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_many_threads),
		cmocka_unit_test(test_slow_destination),
		cmocka_unit_test(test_reopen_and_reload),
		cmocka_unit_test(test_reload_that_fails_changes_nothing),
		cmocka_unit_test(test_topic),
		cmocka_unit_test(test_gate),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
