/* SPDX-License-Identifier: Apache-2.0
 * Tables and buffers without memory: NJ_NOMEM, and what was there stays.
 * Linked with --wrap for the allocator.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/grace.h"
#include "base/map.h"
#include "base/ring.h"
#include "base/timer.h"
#include "base/workers.h"

static bool refused;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *
__wrap_malloc(size_t n)
{
	return refused ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return refused ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refused ? NULL : __real_realloc(p, n);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return refused ? NULL : __real_reallocarray(p, n, size);
}

static void
buf_keeps_its_bytes(void **state)
{
	static const uint8_t more[100];
	struct buf b = { 0 };
	uint32_t len;

	(void)state;
	refused = true;
	assert_int_equal(buf_put_u8(&b, 1), NJ_NOMEM);
	assert_int_equal(buf_printf(&b, "%d", 1), NJ_NOMEM);
	refused = false;
	assert_int_equal(buf_put(&b, "abcdef", 6), NJ_OK);
	buf_drain(&b, 2);
	len = b.cap - b.len;
	refused = true;
	assert_int_equal(buf_put(&b, more, len + 1), NJ_NOMEM);
	assert_true(slice_is(buf_slice(&b), "cdef"));
	assert_int_equal(buf_put(&b, more, len), NJ_OK);
	refused = false;
	assert_int_equal(buf_len(&b), 4 + len);
	buf_fini(&b);
}

static struct slice
key_of(const void *value)
{
	return slice_str(value);
}

static void
map_keeps_its_values(void **state)
{
	static char keys[100][8];
	unsigned failures = 0;
	struct map m;

	(void)state;
	map_init(&m, key_of);
	for (unsigned i = 0; i < 100; i++) {
		enum nj_err e;

		(void)snprintf(keys[i], sizeof keys[i], "%u", i);
		refused = true;
		e = map_put(&m, keys[i]);
		refused = false;
		if (e == NJ_NOMEM) {
			failures++;
			assert_null(map_get(&m, slice_str(keys[i])));
			assert_int_equal(map_put(&m, keys[i]), NJ_OK);
		}
		for (unsigned k = 0; k <= i; k++)
			assert_ptr_equal(
			    map_get(&m, slice_str(keys[k])), keys[k]);
	}
	assert_true(failures > 3);
	refused = true; /* shrinking may fail, deleting may not */
	for (unsigned i = 0; i < 100; i++)
		assert_ptr_equal(map_del(&m, slice_str(keys[i])), keys[i]);
	refused = false;
	map_fini(&m);
}

static void
timers_keep_their_order(void **state)
{
	static struct timer t[100];
	struct timers ts = { 0 };
	unsigned failures = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		enum nj_err e;

		refused = true;
		e = timer_set(&ts, &t[i], 200 - i);
		refused = false;
		if (e == NJ_NOMEM) {
			failures++;
			assert_int_equal(t[i].at, 0);
			assert_int_equal(timer_set(&ts, &t[i], 200 - i), NJ_OK);
		}
		assert_ptr_equal(timers_first(&ts), &t[i]);
	}
	assert_true(failures > 2);
	refused = true; /* what is armed can always be armed again */
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(timer_set(&ts, &t[i], i), NJ_OK);
	refused = false;
	assert_ptr_equal(timers_first(&ts), &t[0]);
	timers_fini(&ts);
}

static void
workers_need_memory(void **state)
{
	struct workers *w = NULL;

	(void)state;
	refused = true;
	assert_int_equal(workers_new(1, 1, &w), NJ_NOMEM);
	refused = false;
	assert_null(w);
}

static void
ignore(void *p)
{
	(void)p;
}

static void
grace_says_what_it_cannot_note(void **state)
{
	struct grace *g = NULL;

	(void)state;
	assert_int_equal(grace_new(2, &g), NJ_OK);
	grace_enter(g, 0);
	grace_enter(g, 1);
	refused = true;
	assert_false(grace_retire(g, 0, ignore, NULL, 1));
	refused = false;
	assert_true(grace_retire(g, 0, ignore, NULL, 1));
	refused = true; /* there is room beside it */
	assert_true(grace_retire(g, 0, ignore, NULL, 1));
	grace_turn(g, 0);
	assert_int_equal(grace_waits(g, 0), 2);
	refused = false;
	grace_free(g);
}

static void
ring_stays_as_it_was(void **state)
{
	uint32_t cap = 0;
	uint8_t *v = ring_double(NULL, 1, 0, 0, &cap);

	(void)state;
	assert_non_null(v);
	v[cap - 1] = 7;
	refused = true;
	assert_null(ring_double(v, 1, cap - 1, 1, &cap));
	refused = false;
	assert_int_equal(cap, 64);
	assert_int_equal(v[63], 7);
	free(v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_keeps_its_bytes),
		cmocka_unit_test(map_keeps_its_values),
		cmocka_unit_test(timers_keep_their_order),
		cmocka_unit_test(workers_need_memory),
		cmocka_unit_test(ring_stays_as_it_was),
		cmocka_unit_test(grace_says_what_it_cannot_note),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
