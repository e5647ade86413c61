/* SPDX-License-Identifier: Apache-2.0
 *
 * --test-config opens every file that is named, and tells all that is wrong.
 */
#include "conf/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"

static char dir[] = "/tmp/nightjar-check-XXXXXX";

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	return chdir("/") || memory_remove(dir);
}

static void
put(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(name, mode), 0);
}

struct seen {
	int tls, passwords;
};

static void
look_tls(void *arg, const struct conf_listener *l, conf_tell_fn *tell,
    void *tell_arg)
{
	struct seen *s = arg;
	struct nj_why why = { 0 };

	s->tls++;
	assert_true(l->tls);
	why_set(&why, "%s is weak", l->cafile);
	tell(tell_arg, true, &why);
	why_set(&why, "cannot open %s: no such file", l->keyfile);
	tell(tell_arg, true, &why);
	why_set(&why, "the certificate ends soon");
	tell(tell_arg, false, &why);
}

static void
look_passwords(void *arg, const char *path, conf_tell_fn *tell, void *tell_arg)
{
	struct seen *s = arg;

	(void)tell;
	(void)tell_arg;
	s->passwords++;
	assert_string_equal(path, "passwords");
}

static void
run(const char *text, struct seen *seen, struct conf_report *report)
{
	const struct conf_checkers with = {
		.tls = look_tls, .password_file = look_passwords, .arg = seen
	};
	struct conf c;

	*seen = (struct seen){ 0 };
	if (memory_parse(text, NULL, &c, report)) {
		memory_tell(report);
		fail();
	}
	conf_report_free(report); /* only what the check adds */
	conf_check(&c, &with, report);
	conf_free(&c);
}

static void
test_all_missing(void **state)
{
	static const char *const want[] = {
		"1:1 e 'no/pid' -",
		"2:1 e 'no/log' -",
		"3:1 e 'pw' -",
		"6:1 e 'crt' -",
		"7:1 e 'key' -",
		"5:1 e 'ca' -",
		"8:1 e 'crl' -",
		"9:1 e 'cas' -",
		"10:1 e './pass' -",
		/* the checker's, less what was told */
		"6:1 w 'crt' -",
		"11:1 e 'no/sock' -",
	};
	struct conf_report report = { 0 };
	struct seen seen;
	char got[256];

	(void)state;
	run("pid_file no/pid\n"
	    "log_dest file no/log\n"
	    "password_file pw\n"
	    "listener 8883\n"
	    "cafile ca\n"
	    "certfile crt\n"
	    "keyfile key\n"
	    "crlfile crl\n"
	    "capath cas\n"
	    "keyfile_password_file ./pass\n"
	    "listener 0 no/sock\n",
	    &seen, &report);
	if (report.n != ROWS(want))
		memory_tell(&report);
	assert_int_equal(report.n, ROWS(want));
	for (size_t i = 0; i < ROWS(want); i++)
		assert_string_equal(
		    memory_finding(&report.v[i], got, sizeof got), want[i]);
	assert_int_equal(seen.tls, 1);
	assert_int_equal(seen.passwords, 0);
	conf_report_free(&report);
}

static void
test_all_there(void **state)
{
	struct conf_report report = { 0 };
	struct seen seen;

	(void)state;
	put("ca", "x", 0644);
	put("crt", "x", 0644);
	put("key", "x", 0600);
	put("passwords", "x", 0600);
	put("pass", "secret\n", 0600);
	assert_int_equal(mkdir("cas", 0755), 0);
	run("pid_file pid\n"
	    "log_dest file ./log\n"
	    "password_file passwords\n"
	    "listener 8883\n"
	    "cafile ca\n"
	    "certfile crt\n"
	    "keyfile key\n"
	    "capath cas\n"
	    "keyfile_password_file ./pass\n",
	    &seen, &report);
	if (report.n != 3)
		memory_tell(&report);
	/* What the checker said, at the line of the file it named. */
	assert_int_equal(report.n, 3);
	assert_true(report.v[0].fault);
	assert_int_equal(report.v[0].line, 5);
	assert_string_equal(report.v[0].what, "ca is weak");
	assert_int_equal(report.v[1].line, 7);
	assert_false(report.v[2].fault);
	assert_int_equal(report.v[2].line, 6);
	assert_int_equal(seen.tls, 1);
	assert_int_equal(seen.passwords, 1);
	conf_report_free(&report);
}

static void
test_wrong_kinds(void **state)
{
	struct conf_report report = { 0 };
	struct seen seen;

	(void)state;
	put("open", "secret\n", 0644);
	(void)mkdir("folder", 0755);
	run("password_file folder\n"
	    "listener 8883\n"
	    "certfile crt\n"
	    "keyfile folder\n"
	    "cafile ca\n"
	    "capath crt\n"
	    "keyfile_password_file ./open\n",
	    &seen, &report);
	if (report.faults != 5)
		memory_tell(&report);
	assert_int_equal(report.faults, 5);
	assert_int_equal(report.v[0].line, 1);
	assert_int_equal(report.v[1].line, 4);
	assert_int_equal(report.v[2].line, 6);
	assert_int_equal(report.v[3].line, 7);
	assert_int_equal(report.v[4].line, 5); /* "ca is weak" */
	conf_report_free(&report);
}

static void
test_per_listener(void **state)
{
	struct conf_report report = { 0 };
	struct seen seen;

	(void)state;
	run("per_listener_settings true\n"
	    "listener 1\npassword_file passwords\n"
	    "listener 2\npassword_file passwords\n"
	    "listener 3\npassword_file gone\n",
	    &seen, &report);
	assert_int_equal(report.faults, 1);
	assert_int_equal(report.v[0].line, 7);
	assert_int_equal(seen.passwords, 2);
	conf_report_free(&report);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_missing),
		cmocka_unit_test(test_all_there),
		cmocka_unit_test(test_wrong_kinds),
		cmocka_unit_test(test_per_listener),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
