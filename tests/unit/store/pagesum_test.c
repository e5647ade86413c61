/* SPDX-License-Identifier: Apache-2.0 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <string.h>

#include "store/pagesum.h"

#define PAGE 4096

/* The sum of a frame, whatever SQLite had made it go on from. */
static void
test_frames(void **state)
{
	uint8_t head[24] = { 0, 0, 0, 7 }, page[PAGE], again[PAGE];
	struct sum was = { 5, 77 }, before = { 0xdeadbeef, 3 };

	(void)state;
	for (unsigned n = 512; n <= PAGE; n *= 2) {
		struct framesum f;
		struct sum sum, ours;

		framesum_init(&f, n);
		for (unsigned i = 0; i < n; i++)
			page[i] = (uint8_t)(i * i * 31 + n);
		memcpy(again, page, n);
		sum = sum_add(sum_add(was, head, 8, false), page, n, false);
		ours = framesum_set(&f, head, page, was, sum, before);
		pagesum_set(again, n);
		assert_memory_equal(page, again, n);
		assert_true(pagesum_ok(page, n));
		sum = sum_add(sum_add(before, head, 8, false), page, n, false);
		assert_true(sum.a == ours.a && sum.b == ours.b);
		was = sum;
	}
	memset(page, 0, sizeof page);
	assert_false(pagesum_ok(page, sizeof page));
}

/* Of page 1 what others change does not count, and nothing else. */
static void
test_first_page(void **state)
{
	uint8_t page[PAGE] = "SQLite format 3";
	unsigned loose = 0;

	(void)state;
	pagesum_set(page, PAGE);
	for (unsigned i = 0; i < PAGE; i++) {
		page[i] ^= 0x10;
		loose += pagesum_ok(page, PAGE);
		page[i] ^= 0x10;
	}
	assert_int_equal(loose, 2 + 4 + 4 + 8);
	assert_true(pagesum_ok(page, PAGE));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_first_page),
	};

	return cmocka_run_group_tests_name("pagesum", tests, NULL, NULL);
}
