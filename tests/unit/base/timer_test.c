/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <limits.h>

#include "base/rand.h"
#include "base/timer.h"

#define TIMERS 500

struct timed {
	struct timer timer;
	uint64_t want; /* 0: stopped */
	unsigned ran;
	struct timers *again; /* re-arms itself */
};

static uint64_t last_due;

static void
on_due(struct timer *t, uint64_t now_ms)
{
	struct timed *x = (struct timed *)(void *)t;

	assert_int_equal(t->at, 0);
	assert_true(t->due <= now_ms);
	assert_true(t->due >= last_due); /* earliest first */
	assert_int_equal(t->due, x->want);
	last_due = t->due;
	x->want = 0;
	x->ran++;
	if (x->again) {
		x->want = now_ms;
		assert_int_equal(timer_set(x->again, t, now_ms), NJ_OK);
	}
}

static void
timers_wait(void **state)
{
	const struct {
		uint64_t due, now;
		int want;
	} rows[] = {
		{ 10, 10, 0 },
		{ 10, 11, 0 },
		{ 10, 9, 1 },
		{ UINT64_MAX, 0, INT_MAX },
	};
	struct timers ts = { 0 };
	struct timer t = { .fn = on_due };

	(void)state;
	assert_int_equal(timers_wait_ms(&ts, 0), -1);
	assert_null(timers_first(&ts));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(timer_set(&ts, &t, rows[i].due), NJ_OK);
		assert_int_equal(
		    timers_wait_ms(&ts, rows[i].now), rows[i].want);
		assert_ptr_equal(timers_first(&ts), &t);
	}
	timer_stop(&ts, &t);
	timer_stop(&ts, &t);
	assert_int_equal(timers_wait_ms(&ts, 0), -1);
	timers_fini(&ts);
}

static void
timers_keep_to_the_budget(void **state)
{
	struct timers ts = { 0 };
	struct timed x = { .timer = { .fn = on_due }, .again = &ts };

	(void)state;
	last_due = 0;
	x.want = 5;
	assert_int_equal(timer_set(&ts, &x.timer, 5), NJ_OK);
	assert_int_equal(timers_run(&ts, 4, 10), 0);
	assert_int_equal(timers_run(&ts, 5, 10), 10);
	assert_int_equal(x.ran, 10);
	assert_int_equal(timers_run(&ts, 5, 0), 0);
	timers_fini(&ts);
}

/* Against a plain list of deadlines. */
static void
timers_agree_with_list(void **state)
{
	static struct timed x[TIMERS];
	struct timers ts = { 0 };
	uint64_t now = 1;
	struct rng r;

	(void)state;
	rng_seed(&r, 9);
	for (size_t i = 0; i < TIMERS; i++)
		x[i] = (struct timed){ .timer.fn = on_due };
	for (unsigned step = 0; step < 20000; step++) {
		struct timed *t = &x[rng_next(&r) % TIMERS];
		uint64_t first = 0;
		size_t due = 0;

		if (rng_next(&r) % 4 == 0) {
			timer_stop(&ts, &t->timer);
			t->want = 0;
		} else {
			t->want = now + rng_next(&r) % 1000;
			assert_int_equal(
			    timer_set(&ts, &t->timer, t->want), NJ_OK);
		}
		now += rng_next(&r) % 4;
		for (size_t i = 0; i < TIMERS; i++) {
			due += x[i].want && x[i].want <= now;
			if (x[i].want && (!first || x[i].want < first))
				first = x[i].want;
		}
		assert_int_equal(timers_wait_ms(&ts, now),
		    !first	       ? -1
			: first <= now ? 0
				       : (int)(first - now));
		last_due = 0;
		assert_int_equal(timers_run(&ts, now, SIZE_MAX), due);
		for (size_t i = 0; i < TIMERS; i++)
			assert_true(!x[i].want || x[i].want > now);
	}
	timers_fini(&ts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_wait),
		cmocka_unit_test(timers_keep_to_the_budget),
		cmocka_unit_test(timers_agree_with_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
