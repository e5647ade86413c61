/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/filewatch.h"

static sigset_t set;

static bool
told(void)
{
	const struct timespec patience = { .tv_sec = 5 };

	return sigtimedwait(&set, NULL, &patience) == SIGRTMIN + 1;
}

static void
put(const char *path, const char *text)
{
	assert_int_equal(file_write(path, slice_str(text), 0644, NULL), NJ_OK);
}

static void
waits_for_files(void **state)
{
	char dir[] = "/tmp/filewatch-XXXXXX", sub[64], path[96], other[96];
	struct filewatch *w = NULL;
	struct nj_why why;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(sub, sizeof sub, "%s/crl", dir);
	(void)snprintf(path, sizeof path, "%s/ca.crl", sub);
	(void)snprintf(other, sizeof other, "%s/other", dir);
	assert_int_equal(filewatch_new(SIGRTMIN + 1, &w, &why), NJ_OK);
	/* not even its folder is there */
	assert_int_equal(filewatch_add(w, path), NJ_OK);
	assert_int_equal(filewatch_add(w, path), NJ_OK);
	assert_false(filewatch_changed(w));

	put(other, "x");
	assert_true(told());
	assert_false(filewatch_changed(w));

	assert_int_equal(mkdir(sub, 0755), 0);
	assert_true(told());
	(void)filewatch_changed(w);
	put(path, "one");
	assert_true(told());
	assert_true(filewatch_changed(w));
	assert_false(filewatch_changed(w));
	put(path, "two");
	assert_true(told());
	assert_true(filewatch_changed(w));
	assert_int_equal(unlink(path), 0);
	assert_true(told());
	assert_true(filewatch_changed(w));

	filewatch_free(w);
	(void)unlink(other);
	(void)rmdir(sub);
	(void)rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_for_files),
	};

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
