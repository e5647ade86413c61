/* SPDX-License-Identifier: Apache-2.0
 * What the broker's processes have used.  The CPU clock of a process counts
 * nanoseconds, ended threads included; the ticks of /proc/PID/stat would be
 * too coarse for short runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cmd/bench/impl.h"

static bool
cpu_of(pid_t pid, uint64_t *ns)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 ||
	    clock_gettime(clock, &t) != 0)
		return false;
	*ns += (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
	return true;
}

static bool
rss_of(pid_t pid, uint64_t *bytes)
{
	char path[64], line[256], *at = NULL;
	unsigned long long pages = 0;
	FILE *f;

	(void)snprintf(path, sizeof path, "/proc/%ld/statm", (long)pid);
	if (!(f = fopen(path, "re")))
		return false;
	/* The second number. */
	if (fgets(line, sizeof line, f) && (at = strchr(line, ' ')))
		pages = strtoull(at, NULL, 10);
	(void)fclose(f);
	*bytes += pages * (uint64_t)sysconf(_SC_PAGESIZE);
	return pages > 0;
}

struct meter
meter_read(const struct flag_list *pids)
{
	struct meter m = { .ok = pids->n > 0 };

	for (unsigned i = 0; i < pids->n; i++) {
		pid_t pid = (pid_t)strtol(pids->v[i], NULL, 10);

		if (!cpu_of(pid, &m.cpu_ns) || !rss_of(pid, &m.rss))
			m.ok = false;
	}
	return m;
}

unsigned long
meter_files(unsigned long need)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return 0;
	if (r.rlim_max < need) {
		struct rlimit more = { need, need };

		/* Root may. */
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return need;
	}
	if (r.rlim_cur < need && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = need < r.rlim_max ? need : r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	return r.rlim_cur;
}
