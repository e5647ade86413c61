/* SPDX-License-Identifier: Apache-2.0
 * clock - time as it is handed to the code that may not ask for it.
 *
 * Threads: clock_system is read-only; a fake clock belongs to its test.
 * Units:   milliseconds; mono never goes back, wall is Unix time.  Microseconds
 *          are for parts of a turn.
 */
#ifndef NJ_BASE_CLOCK_H
#define NJ_BASE_CLOCK_H

#include <stdint.h>

struct clock {
	uint64_t (*mono_ms)(void *arg);
	int64_t (*wall_ms)(void *arg);
	uint64_t (*mono_us)(void *arg); /* NULL: mono_ms has to do */
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

/* The same time in finer steps. */
static inline uint64_t
clock_mono_us(const struct clock *c)
{
	return CLOCK_START * 1000 +
	    (c->mono_us ? c->mono_us(c->arg) : c->mono_ms(c->arg) * 1000);
}

static inline int64_t
clock_wall(const struct clock *c)
{
	return c->wall_ms(c->arg);
}

#endif
