/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

/* Blocks do not overlap, whatever their sizes. */
static void
pool_gives_room(void **state)
{
	static const size_t sizes[] = { 1, 8, 63, 64, 65, 128, 500, 512, 513,
		528, 529, 1023, 1024, 1025, 4096, 16384, 16385, 16500, 65536,
		65537, 131072, 131073, 300000 };
	uint8_t *p[LEN(sizes)];

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < LEN(sizes); i++) {
			p[i] = pool_get(sizes[i]);
			assert_non_null(p[i]);
			memset(p[i], (int)i, sizes[i]);
		}
		for (size_t i = 0; i < LEN(sizes); i++) {
			for (size_t k = 0; k < sizes[i]; k++)
				assert_int_equal(p[i][k], i);
			pool_put(p[i], sizes[i]);
		}
	}
}

/* More large blocks than are kept, of many sizes. */
static void
pool_keeps_few_large(void **state)
{
	static void *p[64];

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		size_t size = 513 + round * 3331u;

		for (size_t i = 0; i < LEN(p); i++) {
			p[i] = pool_get(size);
			assert_non_null(p[i]);
			memset(p[i], 1, size);
		}
		for (size_t i = 0; i < LEN(p); i++)
			pool_put(p[i], size);
	}
}

#define BLOCKS 5000

static void *blocks[BLOCKS];

static void *
give_back(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < BLOCKS; i++)
		pool_put(blocks[i], 200);
	return NULL;
}

/* More than is kept, taken by one thread and given back by another, which
 * ends: nothing leaks. */
static void
pool_is_bounded(void **state)
{
	pthread_t t;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < BLOCKS; i++) {
			blocks[i] = pool_get(200);
			assert_non_null(blocks[i]);
		}
		if (round == 0) {
			(void)give_back(NULL);
			continue;
		}
		assert_int_equal(pthread_create(&t, NULL, give_back, NULL), 0);
		assert_int_equal(pthread_join(t, NULL), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pool_gives_room),
		cmocka_unit_test(pool_keeps_few_large),
		cmocka_unit_test(pool_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
