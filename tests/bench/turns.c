/* SPDX-License-Identifier: Apache-2.0
 * turns - how long a broker's event loops do not look at their sockets; to be
 * preloaded (LD_PRELOAD), see tests/bench/pauses.
 *
 * Between two calls of epoll_wait lies a turn.  Its processor time is counted,
 * not the clock's: what else runs on the machine does not show.  A turn above
 * TURNS_US microseconds is written to the file TURNS_FILE: its length, and when
 * it ended.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

typedef int wait_fn(int, struct epoll_event *, int, int);

static _Thread_local double woke;

static double
now_us(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void
turn_ended(double us)
{
	const char *file = getenv("TURNS_FILE"), *least = getenv("TURNS_US");
	FILE *f;

	if (!file || !least || us < strtod(least, NULL) ||
	    !(f = fopen(file, "ae")))
		return;
	(void)fprintf(f, "%.0f %.0f\n", us, now_us(CLOCK_MONOTONIC));
	(void)fclose(f);
}

int
epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
	static wait_fn *real;
	int n;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "epoll_wait");
	if (woke > 0)
		turn_ended(now_us(CLOCK_THREAD_CPUTIME_ID) - woke);
	n = real(ep, events, max, timeout);
	woke = now_us(CLOCK_THREAD_CPUTIME_ID);
	return n;
}
