/* SPDX-License-Identifier: Apache-2.0
 * latesignal - preloaded, who has taken a SIGHUP off the process goes on with it
 *              a tenth of a second later, as on a machine that is busy.
 */
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KERNEL_SET 8 /* bytes of the kernel's sigset_t */

int
sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *wait)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };
	int sig =
	    (int)syscall(SYS_rt_sigtimedwait, set, info, wait, KERNEL_SET);

	if (sig == SIGHUP)
		(void)nanosleep(&tenth, NULL);
	return sig;
}
