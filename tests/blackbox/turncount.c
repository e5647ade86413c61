/* SPDX-License-Identifier: Apache-2.0
 * turncount - preloaded, it writes a byte to the file NJ_TURNS each time that the
 *             program asks what has come: so often its loops have turned.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
turns(void)
{
	const char *path = getenv("NJ_TURNS");

	return path ? open(path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
}

int
epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
	static int fd = -2;

	if (fd == -2)
		fd = turns();
	if (fd >= 0 && write(fd, ".", 1) != 1)
		_exit(3);
	return (int)syscall(SYS_epoll_pwait, ep, events, max, timeout, NULL, 8);
}
