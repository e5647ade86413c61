/* SPDX-License-Identifier: Apache-2.0
 * turns - how long a broker's event loops do not look at their sockets; to be
 * preloaded (LD_PRELOAD), see tests/bench/pauses.
 *
 * Between two calls of epoll_wait on the set that a thread waits for first lies a
 * turn.  Its processor time is counted, not the clock's: what else runs on the
 * machine does not show.  What is neither that time nor waiting for a processor
 * (/proc/thread-self/schedstat) is waiting for something: a lock, a disk.  A turn
 * above TURNS_US microseconds of either is written to the file TURNS_FILE: both,
 * and when it ended.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

typedef int wait_fn(int, struct epoll_event *, int, int);

struct clocks {
	double cpu, wall, queued;
};

static _Thread_local struct clocks woke;
static _Thread_local int own = -1, sched = -1;

static double
now_us(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* For how long the thread could have run and had no processor. */
static double
queued_us(void)
{
	char text[128], *second;
	ssize_t n;

	if (sched < 0)
		sched =
		    open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if (sched < 0 || (n = pread(sched, text, sizeof text - 1, 0)) <= 0)
		return 0;
	text[n] = '\0';
	second = strchr(text, ' ');
	return second ? strtod(second, NULL) / 1e3 : 0;
}

static struct clocks
look(void)
{
	return (struct clocks){ now_us(CLOCK_THREAD_CPUTIME_ID),
		now_us(CLOCK_MONOTONIC), queued_us() };
}

static void
turn_ended(void)
{
	const char *file = getenv("TURNS_FILE"), *least = getenv("TURNS_US");
	struct clocks now = look();
	double cpu = now.cpu - woke.cpu, us = least ? strtod(least, NULL) : 0;
	double waited = now.wall - woke.wall - cpu - (now.queued - woke.queued);
	FILE *f;

	if (!file || (cpu < us && waited < us) || !(f = fopen(file, "ae")))
		return;
	(void)fprintf(f, "%.0f %.0f %.0f\n", cpu, waited, now.wall);
	(void)fclose(f);
}

int
epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
	static wait_fn *real;
	int n;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "epoll_wait");
	if (own < 0)
		own = ep;
	if (ep != own)
		return real(ep, events, max, timeout);
	if (woke.wall > 0)
		turn_ended();
	n = real(ep, events, max, timeout);
	woke = look();
	return n;
}
