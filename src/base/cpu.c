/* SPDX-License-Identifier: Apache-2.0
 */
#include "base/cpu.h"

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As linux/sched/types.h has it in its first version; glibc has no name for it
 * before 2.41. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

void
cpu_stretch(unsigned us)
{
	struct attributes a = { .size = sizeof a };

	/* policy and nice value stay */
	if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) != 0)
		return;
	a.size = sizeof a;
	a.runtime = (uint64_t)us * 1000;
	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}
