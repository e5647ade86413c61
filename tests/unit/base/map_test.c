/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/rand.h"

struct item {
	char key[16];
};

static struct slice
key_of(const void *value)
{
	return slice_str(((const struct item *)value)->key);
}

static void
map_empty(void **state)
{
	struct map m;
	size_t at = 0;

	(void)state;
	map_init(&m, key_of);
	assert_null(map_get(&m, LIT("a")));
	assert_null(map_del(&m, LIT("a")));
	assert_null(map_next(&m, &at));
	map_fini(&m);
	map_fini(&m);
}

static void
map_puts(void **state)
{
	struct item a = { "a" }, other = { "a" }, none = { "" };
	struct map m;

	(void)state;
	map_init(&m, key_of);
	assert_int_equal(map_put(&m, &a), NJ_OK);
	assert_int_equal(map_put(&m, &other), NJ_EXISTS);
	assert_int_equal(map_put(&m, &none), NJ_OK);
	assert_ptr_equal(map_get(&m, LIT("a")), &a);
	assert_ptr_equal(map_get(&m, LIT("")), &none);
	assert_null(map_get(&m, LIT("b")));
	assert_ptr_equal(map_del(&m, LIT("a")), &a);
	assert_null(map_del(&m, LIT("a")));
	assert_int_equal(m.n, 1);
	map_fini(&m);
}

/* So many that tables are moved little by little. */
#define ITEMS 20000

/* Against an array: grows, shrinks, and forgets nothing in between. */
static void
map_agrees_with_array(void **state)
{
	static struct item items[ITEMS];
	static bool in[ITEMS];
	struct map m;
	struct rng r;
	size_t n = 0;

	(void)state;
	map_init(&m, key_of);
	rng_seed(&r, 5);
	for (size_t i = 0; i < ITEMS; i++)
		(void)snprintf(items[i].key, sizeof items[i].key, "k%zu", i);
	for (unsigned step = 0; step < 800000; step++) {
		size_t i = rng_next(&r) % ITEMS, at = 0, seen = 0;
		struct slice key = key_of(&items[i]);
		bool put = rng_next(&r) % 10 < (step < 400000 ? 8u : 2u);

		assert_ptr_equal(map_get(&m, key), in[i] ? &items[i] : NULL);
		if (put) {
			assert_int_equal(
			    map_put(&m, &items[i]), in[i] ? NJ_EXISTS : NJ_OK);
			n += !in[i];
		} else {
			assert_ptr_equal(
			    map_del(&m, key), in[i] ? &items[i] : NULL);
			n -= in[i];
		}
		in[i] = put;
		assert_int_equal(m.n, n);
		assert_true(m.n * 4 <= m.cap * 3);
		if (step % 20000)
			continue;
		for (struct item *it; (it = map_next(&m, &at)); seen++)
			assert_true(in[it - items]);
		assert_int_equal(seen, n);
	}
	for (size_t i = 0; i < ITEMS; i++)
		assert_ptr_equal(
		    map_del(&m, key_of(&items[i])), in[i] ? &items[i] : NULL);
	assert_int_equal(m.n, 0);
	assert_true(m.cap <= 16);
	map_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_empty),
		cmocka_unit_test(map_puts),
		cmocka_unit_test(map_agrees_with_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
