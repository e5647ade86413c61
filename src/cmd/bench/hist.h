/* SPDX-License-Identifier: Apache-2.0
 * hist - latencies in buckets that widen with the value, 1/64 of it each.
 *
 * Owns:    nothing outside itself.
 * Threads: one owner.
 * Bounds:  HIST_BUCKETS counters; values from 2^HIST_BITS ns on are counted as
 *          the largest, but max is exact.
 */
#ifndef NJ_CMD_BENCH_HIST_H
#define NJ_CMD_BENCH_HIST_H

#include <stdint.h>

#define HIST_SUB     6	/* 64 buckets an octave */
#define HIST_BITS    42 /* 73 minutes */
#define HIST_BUCKETS ((HIST_BITS - HIST_SUB + 1) << HIST_SUB)

struct hist {
	uint64_t n, max, min;
	double sum;
	uint64_t count[HIST_BUCKETS];
};

void hist_reset(struct hist *h);

static inline uint32_t
hist_bucket(uint64_t v)
{
	unsigned top;

	if (v < (UINT64_C(1) << HIST_SUB))
		return (uint32_t)v;
	if (v >= (UINT64_C(1) << HIST_BITS))
		return HIST_BUCKETS - 1;
	top = 63u - (unsigned)__builtin_clzll(v);
	/* The six bits below the highest one choose within the octave. */
	return ((top - HIST_SUB + 1) << HIST_SUB) +
	    (uint32_t)((v >> (top - HIST_SUB)) & ((1u << HIST_SUB) - 1));
}

static inline void
hist_add(struct hist *h, uint64_t v)
{
	h->count[hist_bucket(v)]++;
	h->n++;
	h->sum += (double)v;
	if (v > h->max)
		h->max = v;
	if (v < h->min)
		h->min = v;
}

/* The largest value of the bucket that holds the q-th part (0.99); 0 when
 * nothing was added. */
uint64_t hist_quantile(const struct hist *h, double q);
double hist_mean(const struct hist *h);

#endif
