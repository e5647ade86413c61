/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timer.h"

#include <limits.h>
#include <stdlib.h>

#define TIMERS_MIN 16

void
timers_fini(struct timers *ts)
{
	free(ts->heap);
	*ts = (struct timers){ 0 };
}

static void
place(struct timers *ts, size_t i, struct timer *t)
{
	ts->heap[i] = t;
	t->at = i + 1;
}

static void
sift_up(struct timers *ts, size_t i, struct timer *t)
{
	while (i > 0) {
		size_t up = (i - 1) / 2;

		if (ts->heap[up]->due <= t->due)
			break;
		place(ts, i, ts->heap[up]);
		i = up;
	}
	place(ts, i, t);
}

static void
sift_down(struct timers *ts, size_t i, struct timer *t)
{
	for (;;) {
		size_t kid = 2 * i + 1;

		if (kid >= ts->n)
			break;
		if (kid + 1 < ts->n &&
		    ts->heap[kid + 1]->due < ts->heap[kid]->due)
			kid++;
		if (t->due <= ts->heap[kid]->due)
			break;
		place(ts, i, ts->heap[kid]);
		i = kid;
	}
	place(ts, i, t);
}

enum nj_err
timer_set(struct timers *ts, struct timer *t, uint64_t due)
{
	if (t->at) {
		uint64_t old = t->due;

		t->due = due;
		if (due < old)
			sift_up(ts, t->at - 1, t);
		else
			sift_down(ts, t->at - 1, t);
		return NJ_OK;
	}
	if (ts->n == ts->cap) {
		size_t cap = ts->cap ? ts->cap * 2 : TIMERS_MIN;
		struct timer **heap =
		    reallocarray(ts->heap, cap, sizeof(struct timer *));

		if (!heap)
			return NJ_NOMEM;
		ts->heap = heap;
		ts->cap = cap;
	}
	t->due = due;
	sift_up(ts, ts->n++, t);
	return NJ_OK;
}

void
timer_stop(struct timers *ts, struct timer *t)
{
	size_t i = t->at;
	struct timer *last;

	if (!i)
		return;
	i--;
	t->at = 0;
	last = ts->heap[--ts->n];
	if (last == t)
		return;
	if (last->due < t->due)
		sift_up(ts, i, last);
	else
		sift_down(ts, i, last);
}

size_t
timers_run(struct timers *ts, uint64_t now_ms, size_t budget)
{
	size_t ran = 0;

	while (ran < budget && ts->n > 0 && ts->heap[0]->due <= now_ms) {
		struct timer *t = ts->heap[0];

		timer_stop(ts, t);
		ran++;
		t->fn(t, now_ms);
	}
	return ran;
}

struct timer *
timers_first(const struct timers *ts)
{
	return ts->n > 0 ? ts->heap[0] : NULL;
}

int
timers_wait_ms(const struct timers *ts, uint64_t now_ms)
{
	uint64_t due;

	if (ts->n == 0)
		return -1;
	due = ts->heap[0]->due;
	if (due <= now_ms)
		return 0;
	return due - now_ms > INT_MAX ? INT_MAX : (int)(due - now_ms);
}
