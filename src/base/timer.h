/* SPDX-License-Identifier: Apache-2.0
 * timer - a binary heap of deadlines.
 *
 * Owns:    the heap's array; timers are embedded in what they time.
 * Threads: one owner (a shard).
 * Units:   milliseconds on the owner's monotonic clock.
 * Bounds:  as many as are set; arming cannot fail for a timer that was armed
 *          before and not stopped.
 */
#ifndef NJ_BASE_TIMER_H
#define NJ_BASE_TIMER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct timer;
typedef void timer_fn(struct timer *t, uint64_t now_ms);

/* Zeroed but for fn is a valid stopped timer. */
struct timer {
	uint64_t due;
	timer_fn *fn;
	size_t at; /* 1 + index in the heap; 0: stopped */
};

struct timers {
	struct timer **heap;
	size_t n, cap;
};

void timers_fini(struct timers *ts);
/* Arms or re-arms. */
NJ_MUST enum nj_err timer_set(struct timers *ts, struct timer *t, uint64_t due);
void timer_stop(struct timers *ts, struct timer *t);
/* Runs what is due, at most budget of them; a timer is stopped before its fn
 * is called, which may arm it again.  Returns how many ran. */
size_t timers_run(struct timers *ts, uint64_t now_ms, size_t budget);
/* The one that is due first, or NULL. */
struct timer *timers_first(const struct timers *ts);
/* Milliseconds until the next is due; -1 when there is none. */
int timers_wait_ms(const struct timers *ts, uint64_t now_ms);

#endif
