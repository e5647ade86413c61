/* SPDX-License-Identifier: Apache-2.0
 *
 * Real files: the main one, include_dir, and what cannot be read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"

static char dir[] = "/tmp/nightjar-conf-XXXXXX";

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	return memory_remove(dir);
}

/* A path in the test's folder; overwritten by the next call but one. */
static const char *
in(const char *name)
{
	static char paths[2][128];
	static int i;

	i = !i;
	(void)snprintf(paths[i], sizeof paths[i], "%s/%s", dir, name);
	return paths[i];
}

static void
put(const char *name, const char *text)
{
	FILE *f = fopen(in(name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
test_files(void **state)
{
	struct conf_report report = { 0 };
	struct conf c;
	char main_text[256];

	(void)state;
	assert_int_equal(mkdir(in("conf.d"), 0700), 0);
	put("conf.d/b.conf",
	    "max_queued_messages 2\nlistener 2\n"
	    "allow_anonymous true\n");
	put("conf.d/a.conf", "max_queued_messages 1\nlistener 1\n");
	put("conf.d/c.conf.bak", "nonsense\n");
	put("conf.d/.hidden.conf", "nonsense\n");
	(void)snprintf(main_text, sizeof main_text,
	    "listener 3\ninclude_dir %s/conf.d\nmax_qos 1\n", dir);
	put("main.conf", main_text);
	if (conf_load(in("main.conf"), NULL, &c, &report)) {
		memory_tell(&report);
		fail();
	}
	/* In order of names; the last wins, and is told. */
	assert_int_equal(c.max_queued_messages, 2);
	assert_int_equal(report.warnings, 1);
	assert_int_equal(c.files.n, 3);
	assert_int_equal(c.nlisteners, 3);
	/* What stands below include_dir is about what stood above it. */
	assert_int_equal(c.listeners[0].port, 3);
	assert_int_equal(c.listeners[0].max_qos, 1);
	assert_int_equal(c.listeners[1].port, 1);
	assert_int_equal(c.listeners[2].port, 2);
	assert_int_equal(c.listeners[2].max_qos, 2);
	assert_string_equal(
	    conf_file_name(&c, c.listeners[2].where), in("conf.d/b.conf"));
	conf_report_free(&report);
	conf_free(&c);
}

static void
test_unreadable(void **state)
{
	static const struct {
		const char *text; /* NULL: there is no such file */
	} rows[] = {
		{ NULL },
		{ "include_dir /nonexistent/conf.d\n" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct conf_report report = { 0 };
		struct conf c;

		(void)unlink(in("x.conf"));
		if (rows[i].text)
			put("x.conf", rows[i].text);
		assert_int_equal(
		    conf_load(in("x.conf"), NULL, &c, &report), NJ_INVALID);
		assert_int_equal(report.faults, 1);
		assert_non_null(report.v[0].mend);
		conf_report_free(&report);
		conf_free(&c);
	}
}

/* A folder in place of the file, and an include_dir below an include_dir. */
static void
test_misplaced(void **state)
{
	struct conf_report report = { 0 };
	struct conf c;
	char text[256];

	(void)state;
	assert_int_equal(conf_load(dir, NULL, &c, &report), NJ_INVALID);
	conf_report_free(&report);
	conf_free(&c);

	assert_int_equal(mkdir(in("sub"), 0700), 0);
	put("sub/a.conf", "include_dir /etc\n");
	(void)snprintf(text, sizeof text, "include_dir %s/sub/\n", dir);
	put("y.conf", text);
	assert_int_equal(
	    conf_load(in("y.conf"), NULL, &c, &report), NJ_INVALID);
	assert_int_equal(report.faults, 1);
	assert_string_equal(report.v[0].file, in("sub/a.conf"));
	assert_int_equal(report.v[0].line, 1);
	conf_report_free(&report);
	conf_free(&c);
}

/* A listener of one file is none for the lines of the next. */
static void
test_files_do_not_leak_into_each_other(void **state)
{
	static const struct memory_file files[] = {
		{ "d/a.conf", "listener 8883\npassword_file p\n" },
		{ "d/b.conf", "cafile c\ncertfile a\nkeyfile b\n" },
		{ "d/c.conf", "connection x\n" },
		{ "d/d.conf", "threshold 3\n" },
		{ NULL, NULL },
	};
	const struct memory m = { files, NULL };
	struct conf_source src = memory_source(&m);
	struct conf_report report = { 0 };
	struct conf c;

	(void)state;
	assert_int_equal(conf_parse("t.conf", LIT("include_dir d\n"), &src,
			     NULL, &c, &report),
	    NJ_INVALID);
	if (report.faults != 5)
		memory_tell(&report);
	assert_int_equal(report.faults, 5); /* cafile, certfile, keyfile,
					     * connection, threshold */
	assert_false(c.listeners[0].tls);
	conf_report_free(&report);
	conf_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_misplaced),
		cmocka_unit_test(test_files_do_not_leak_into_each_other),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
