/* SPDX-License-Identifier: Apache-2.0
 * clock - time as it is handed to the code that may not ask for it.
 *
 * Threads: clock_system is read-only; a fake clock belongs to its test.
 * Units:   milliseconds; mono never goes back, wall is Unix time.
 */
#ifndef NJ_BASE_CLOCK_H
#define NJ_BASE_CLOCK_H

#include <stdint.h>

struct clock {
	uint64_t (*mono_ms)(void *arg);
	int64_t (*wall_ms)(void *arg);
	void *arg;
};

extern const struct clock clock_system;

/* The clock of a machine that has just started is near 0.  What a store knows of
 * happened before, and has its time too: that is why clock_mono begins later. */
#define CLOCK_START (UINT64_C(1) << 40)

static inline uint64_t
clock_mono(const struct clock *c)
{
	return CLOCK_START + c->mono_ms(c->arg);
}

static inline int64_t
clock_wall(const struct clock *c)
{
	return c->wall_ms(c->arg);
}

#endif
