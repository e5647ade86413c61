/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static uint64_t
system_mono_us(void *arg)
{
	struct timespec ts = { 0 };

	(void)arg;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static uint64_t
system_mono(void *arg)
{
	return system_mono_us(arg) / 1000;
}

static int64_t
system_wall(void *arg)
{
	struct timespec ts = { 0 };

	(void)arg;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const struct clock clock_system = { system_mono, system_wall, system_mono_us,
	NULL };
