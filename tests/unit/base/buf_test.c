/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static void
buf_puts(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(buf_slice(&b).n, 0);
	assert_int_equal(buf_put_u8(&b, 0x01), NJ_OK);
	assert_int_equal(buf_put_u16(&b, 0x0203), NJ_OK);
	assert_int_equal(buf_put_u32(&b, 0x04050607), NJ_OK);
	assert_int_equal(buf_put(&b, NULL, 0), NJ_OK);
	assert_int_equal(buf_put_slice(&b, LIT("x")), NJ_OK);
	assert_true(slice_eq(buf_slice(&b), LIT("\1\2\3\4\5\6\7x")));
	buf_drain(&b, 3);
	assert_true(slice_eq(buf_slice(&b), LIT("\4\5\6\7x")));
	buf_truncate(&b, 2);
	assert_true(slice_eq(buf_slice(&b), LIT("\4\5")));
	buf_drain(&b, 2);
	assert_int_equal(b.off, 0);
	buf_wipe(&b);
	assert_null(b.p);
	buf_fini(&b);
}

static void
buf_prints(void **state)
{
	struct buf b = { 0 };
	char longer[1000];

	(void)state;
	memset(longer, 'y', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	assert_int_equal(buf_printf(&b, "%s-%d", "a", 7), NJ_OK);
	assert_true(slice_is(buf_slice(&b), "a-7"));
	assert_int_equal(buf_printf(&b, "%s", ""), NJ_OK);
	assert_int_equal(buf_printf(&b, "%s", longer), NJ_OK);
	assert_int_equal(buf_len(&b), 3 + 999);
	assert_memory_equal(buf_slice(&b).p + 3, longer, 999);
	buf_fini(&b);
}

/* A queue of bytes in and out keeps its order, and its memory bounded. */
static void
buf_streams(void **state)
{
	const struct {
		uint32_t in, out;
	} rows[] = { { 7, 7 }, { 100, 99 }, { 1000, 990 }, { 1, 1 } };

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct buf b = { 0 };
		uint8_t put = 0, got = 0;
		size_t most = 0;

		for (unsigned round = 0; round < 3000; round++) {
			for (uint32_t k = 0; k < rows[i].in; k++)
				assert_int_equal(buf_put_u8(&b, put++), NJ_OK);
			if (buf_len(&b) > most)
				most = buf_len(&b);
			for (uint32_t k = 0; k < rows[i].out; k++) {
				assert_int_equal(buf_slice(&b).p[0], got++);
				buf_drain(&b, 1);
			}
		}
		assert_true(b.cap <= 4 * most + 64);
		buf_fini(&b);
	}
}

static void
buf_bounds(void **state)
{
	struct buf b = { 0 };
	uint8_t *at;

	(void)state;
	assert_int_equal(buf_reserve(&b, (size_t)BUF_MAX + 1, &at), NJ_TOOBIG);
	assert_int_equal(buf_put_u8(&b, 1), NJ_OK);
	assert_int_equal(buf_reserve(&b, BUF_MAX, &at), NJ_TOOBIG);
	assert_int_equal(buf_grow(&b, SIZE_MAX), NJ_TOOBIG);
	assert_int_equal(buf_len(&b), 1);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_puts),
		cmocka_unit_test(buf_prints),
		cmocka_unit_test(buf_streams),
		cmocka_unit_test(buf_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
