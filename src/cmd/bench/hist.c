/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/bench/hist.h"

#include <string.h>

void
hist_reset(struct hist *h)
{
	memset(h, 0, sizeof *h);
	h->min = UINT64_MAX;
}

static uint64_t
bucket_top(uint32_t b)
{
	unsigned octave = b >> HIST_SUB;
	uint64_t low = b & ((1u << HIST_SUB) - 1);

	if (octave == 0)
		return b;
	return ((low + (1u << HIST_SUB) + 1) << (octave - 1)) - 1;
}

uint64_t
hist_quantile(const struct hist *h, double q)
{
	uint64_t want = (uint64_t)(q * (double)h->n + 0.5), seen = 0;

	if (h->n == 0)
		return 0;
	if (want < 1)
		want = 1;
	for (uint32_t b = 0; b < HIST_BUCKETS; b++) {
		seen += h->count[b];
		if (seen >= want) {
			uint64_t top = bucket_top(b);

			return top < h->max ? top : h->max;
		}
	}
	return h->max;
}

double
hist_mean(const struct hist *h)
{
	return h->n ? h->sum / (double)h->n : 0.0;
}
