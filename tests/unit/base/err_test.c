/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"

static void
every_error_has_a_phrase(void **state)
{
	(void)state;
	for (int i = 0; i < NJ_ERR_MAX; i++) {
		assert_non_null(nj_strerror((enum nj_err)i));
		assert_string_not_equal(
		    nj_strerror((enum nj_err)i), "unknown error");
	}
	assert_string_equal(nj_strerror(NJ_ERR_MAX), "unknown error");
	assert_string_equal(nj_strerror((enum nj_err) - 1), "unknown error");
}

static void
why_says(void **state)
{
	struct nj_why w = { 0 };

	(void)state;
	why_set(&w, "no %s", "luck");
	why_mend(&w, "try %d", 2);
	assert_string_equal(w.what, "no luck");
	assert_string_equal(w.mend, "try 2");
	why_prefix(&w, "line %d", 3);
	assert_string_equal(w.what, "line 3: no luck");
	assert_string_equal(w.mend, "try 2");
	why_set(&w, "else"); /* old advice does not stay */
	assert_string_equal(w.mend, "");
	why_set(NULL, "nobody reads");
	why_mend(NULL, "nobody reads");
	why_prefix(NULL, "nobody reads");
}

static void
why_cuts(void **state)
{
	struct nj_why w = { 0 };
	char wide[2000];

	(void)state;
	memset(wide, 'w', sizeof wide);
	wide[sizeof wide - 1] = '\0';
	why_set(&w, "%s", wide);
	assert_int_equal(strlen(w.what), sizeof w.what - 1);
	why_mend(&w, "%s", wide);
	assert_int_equal(strlen(w.mend), sizeof w.mend - 1);
	why_prefix(&w, "p");
	assert_int_equal(strlen(w.what), sizeof w.what - 1);
	assert_memory_equal(w.what, "p: www", 6);
	why_prefix(&w, "%s", wide);
	assert_int_equal(strlen(w.what), sizeof w.what - 1);
	assert_non_null(strstr(w.what, "w: p: w"));
	w.what[0] = '\0';
	why_prefix(&w, "alone");
	assert_string_equal(w.what, "alone");
}

static uint64_t
fake_mono(void *arg)
{
	return *(uint64_t *)arg;
}

static void
clocks_tell(void **state)
{
	uint64_t now = 42, before = clock_mono(&clock_system);
	const struct clock fake = { .mono_ms = fake_mono, .arg = &now };

	(void)state;
	assert_int_equal(clock_mono(&fake), CLOCK_START + 42);
	assert_true(clock_mono(&clock_system) >= before);
	assert_true(clock_wall(&clock_system) > INT64_C(1600000000000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_error_has_a_phrase),
		cmocka_unit_test(why_says),
		cmocka_unit_test(why_cuts),
		cmocka_unit_test(clocks_tell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
