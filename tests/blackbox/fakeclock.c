/* SPDX-License-Identifier: Apache-2.0
 * fakeclock - preloaded, it sets a program's calendar ahead (or back) by
 *             NJ_CLOCK_OFFSET seconds; clocks that only count stay as they are.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int
clock_gettime(clockid_t id, struct timespec *t)
{
	const char *offset = getenv("NJ_CLOCK_OFFSET");
	long r = syscall(SYS_clock_gettime, id, t);

	if (r == 0 && offset &&
	    (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		t->tv_sec += strtol(offset, NULL, 10);
	return (int)r;
}

time_t
time(time_t *out)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
	struct timespec t = { 0 };
	int r = clock_gettime(CLOCK_REALTIME, &t);

	(void)tz;
	tv->tv_sec = t.tv_sec;
	tv->tv_usec = t.tv_nsec / 1000;
	return r;
}
