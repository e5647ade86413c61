/* SPDX-License-Identifier: Apache-2.0
 * A ring in twice the room: the same things in the same order, from 0 on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/ring.h"

struct three {
	uint8_t v[3];
};

static void
fill(struct three *v, uint32_t head, uint32_t n, uint32_t cap)
{
	for (uint32_t i = 0; i < n; i++)
		v[(head + i) & (cap - 1)] =
		    (struct three){ { (uint8_t)i, (uint8_t)~i, 7 } };
}

static void
all_heads(void **state)
{
	(void)state;
	for (uint32_t head = 0; head < 64; head++)
		for (uint32_t n = 0; n <= 64; n += n < 62 ? 31 : 1) {
			uint32_t cap = 0;
			struct three *v =
			    ring_double(NULL, sizeof *v, 0, 0, &cap);

			assert_non_null(v);
			assert_int_equal(cap, 64);
			fill(v, head, n, cap);
			v = ring_double(v, sizeof *v, head, n, &cap);
			assert_non_null(v);
			assert_int_equal(cap, 128);
			for (uint32_t i = 0; i < cap; i++) {
				assert_int_equal(v[i].v[0], i < n ? i : 0);
				assert_int_equal(
				    v[i].v[1], i < n ? (uint8_t)~i : 0);
				assert_int_equal(v[i].v[2], i < n ? 7 : 0);
			}
			free(v);
		}
}

static void
large(void **state)
{
	(void)state;
	assert_false(ring_is_large(24, 0));
	assert_false(ring_is_large(16, (uint32_t)(RING_KEPT / 16)));
	assert_true(ring_is_large(16, (uint32_t)(RING_KEPT / 16) * 2));
	assert_true(ring_is_large(16, 0x80000000)); /* beyond 32 bits */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_heads),
		cmocka_unit_test(large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
