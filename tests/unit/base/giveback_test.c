/* SPDX-License-Identifier: Apache-2.0
 * Memory goes back although something lives at its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/giveback.h"

#define BLOCK  (10 * 1024)
#define BLOCKS 6000
#define STEPS  1000

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_MALLOC true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OWN_MALLOC true
#endif
#endif
#ifndef OWN_MALLOC
#define OWN_MALLOC false
#endif

static size_t
resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	char line[256] = "", *second;

	assert_non_null(f);
	assert_non_null(fgets(line, sizeof line, f));
	assert_int_equal(fclose(f), 0);
	second = strchr(line, ' ');
	return second
	    ? strtoul(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE)
	    : 0;
}

static void
test_goes_back(void **state)
{
	static void *blocks[BLOCKS];
	struct giveback g = { 0 };
	size_t before = resident(), with, after;
	int steps = 1;
	void *pin;

	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(BLOCK);
		assert_non_null(blocks[i]);
		memset(blocks[i], 1, BLOCK);
	}
	pin = malloc(64);
	assert_non_null(pin);
	with = resident();
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	while (giveback_step(&g)) {
		assert_true(giveback_held() > 0);
		assert_true(++steps < STEPS);
	}
	assert_int_equal(giveback_held(), 0);
	assert_null(g.held);
	after = resident();
	free(pin);
	/* a sanitizer's malloc keeps what was freed */
	if (!OWN_MALLOC)
		assert_true(after < before + (with - before) / 5);
}

static void
test_ends_early(void **state)
{
	struct giveback g = { 0 };

	(void)giveback_step(&g);
	giveback_end(&g);
	giveback_end(&g);
	assert_null(g.held);
	assert_int_equal(giveback_held(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_back),
		cmocka_unit_test(test_ends_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
