/* SPDX-License-Identifier: Apache-2.0
 *
 * Each allocation fails in turn: reading ends with NJ_NOMEM, or a finding is
 * lost, but nothing leaks, crashes or is half there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "memory.h"

static long left = -1; /* allocations until the one that fails; -1: none */

static bool
fails(void)
{
	if (left < 0)
		return false;
	if (left-- > 0)
		return false;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_asprintf(char **to, const char *fmt, ...) NJ_PRINTF(2, 3);

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return fails() ? NULL : __real_strndup(s, n);
}

int
__wrap_asprintf(char **to, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (fails())
		return -1;
	va_start(ap, fmt);
	n = vasprintf(to, fmt, ap);
	va_end(ap);
	return n;
}

static const struct memory_file files[] = {
	{ "d/a.conf",
	    "listener 8883\ncertfile a\nkeyfile b\ncafile c\n"
	    "keyfile_password_file p\nciphers x\n" },
	{ "d/b.conf", "listner 1\nuser b\n" },
	{ NULL, NULL },
};
static const struct memory_file env[] = {
	{ "MOSQUITTO_PERSISTENCE_LOCATION", "/data" },
	{ "CREDENTIALS_DIRECTORY", "/run" },
	{ NULL, NULL },
};

/* How many allocations there are when none fails. */
static void
each_in_turn(const char *text)
{
	const struct memory m = { files, env };
	struct conf_source src = memory_source(&m);
	long tries = 0;

	for (;; tries++) {
		struct conf_report report = { 0 };
		struct conf c;
		enum nj_err e;

		left = tries;
		e = conf_parse(
		    "t.conf", slice_str(text), &src, NULL, &c, &report);
		if (e != NJ_NOMEM)
			assert_true(c.nlisteners > 0);
		conf_free(&c);
		conf_report_free(&report);
		if (left >= 0)
			break; /* none failed this time */
	}
	left = -1;
	assert_true(tries > 10);
}

static void
test_each_allocation(void **state)
{
	(void)state;
	each_in_turn("port 1884\nbind_address ::1\nuser a\nlog_dest file /l\n"
		     "password_file p\nnonsense\ninclude_dir d\n"
		     "listener 0 /run/x\nlistener_auto_id_prefix y\n");
	each_in_turn("password_file p\nmax_connections 3\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
