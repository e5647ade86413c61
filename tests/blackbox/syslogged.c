/* SPDX-License-Identifier: Apache-2.0
 * syslogged - preloaded, it appends what the program tells syslog to the file
 *             NJ_SYSLOG instead: a line each of "FACILITY LEVEL text", in numbers.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syslog.h>
#include <unistd.h>

static int to = -1;

/* Before the program confines itself. */
__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("NJ_SYSLOG");

	if (path)
		to = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static void
tell(int priority, const char *fmt, va_list ap)
{
	char line[4096];
	int n = snprintf(line, sizeof line, "%d %d ",
	    (priority & LOG_FACMASK) >> 3, LOG_PRI(priority));
	size_t len;

	(void)vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
	len = strlen(line);
	line[len++] = '\n';
	if (to >= 0 && write(to, line, len) != (ssize_t)len)
		_exit(3);
}

#undef syslog /* clang's, with _FORTIFY_SOURCE */
void
syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(priority, fmt, ap);
	va_end(ap);
}

/* What a program built with _FORTIFY_SOURCE calls. */
void __syslog_chk(int priority, int flag, const char *fmt, ...);

void
__syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, fmt);
	tell(priority, fmt, ap);
	va_end(ap);
}
