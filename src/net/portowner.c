/* SPDX-License-Identifier: Apache-2.0
 * portowner - see portowner.h.
 */
#include "net/portowner.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TCP_LISTEN_STATE 0x0a /* as /proc/net/tcp writes it */
#define INODES_MAX	 16

void
nj_addr_print(const struct sockaddr *sa, char *dst, size_t size)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		(void)inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
		(void)snprintf(dst, size, "%s:%u", text, ntohs(in->sin_port));
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			(void)inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12],
			    text, sizeof text);
			(void)snprintf(
			    dst, size, "%s:%u", text, ntohs(in6->sin6_port));
			return;
		}
		(void)inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
		(void)snprintf(
		    dst, size, "[%s]:%u", text, ntohs(in6->sin6_port));
	} else
		(void)snprintf(dst, size, "unix");
}

/* Socket inodes that listen on port. */
static unsigned
find_inodes(const char *table, uint16_t port, unsigned long *inodes, unsigned n)
{
	FILE *f = fopen(table, "re");
	char line[512];

	while (f && n < INODES_MAX && fgets(line, sizeof line, f)) {
		unsigned local_port = 0, state = 0;
		unsigned long inode = 0;

		if (sscanf(line,
			" %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s "
			"%*s %*u %*u %lu",
			&local_port, &state, &inode) == 3 &&
		    local_port == port && state == TCP_LISTEN_STATE && inode)
			inodes[n++] = inode;
	}
	if (f)
		(void)fclose(f);
	return n;
}

static bool
holds(const char *pid, const unsigned long *inodes, unsigned n)
{
	char path[320], link[64];
	bool found = false;
	struct dirent *en;
	DIR *d;

	(void)snprintf(path, sizeof path, "/proc/%s/fd", pid);
	if (!(d = opendir(path)))
		return false;
	while (!found && (en = readdir(d))) {
		unsigned long inode = 0;
		ssize_t len =
		    readlinkat(dirfd(d), en->d_name, link, sizeof link - 1);

		if (len <= 0)
			continue;
		link[len] = '\0';
		if (sscanf(link, "socket:[%lu]", &inode) != 1)
			continue;
		for (unsigned i = 0; i < n; i++)
			found |= inodes[i] == inode;
	}
	(void)closedir(d);
	return found;
}

static void
name_process(const char *pid, char *dst, size_t size)
{
	char path[320], name[64] = "";
	FILE *f;

	(void)snprintf(path, sizeof path, "/proc/%s/comm", pid);
	if ((f = fopen(path, "re"))) {
		if (fgets(name, sizeof name, f))
			name[strcspn(name, "\n")] = '\0';
		(void)fclose(f);
	}
	for (char *p = name; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	(void)snprintf(
	    dst, size, "%s (process %.20s)", name[0] ? name : "a program", pid);
}

bool
port_owner(uint16_t port, char *dst, size_t size)
{
	unsigned long inodes[INODES_MAX];
	unsigned n = find_inodes("/proc/net/tcp", port, inodes, 0);
	bool found = false;
	struct dirent *en;
	DIR *d;

	n = find_inodes("/proc/net/tcp6", port, inodes, n);
	if (n == 0 || !(d = opendir("/proc")))
		return false;
	while (!found && (en = readdir(d)))
		if (isdigit((unsigned char)en->d_name[0]) &&
		    holds(en->d_name, inodes, n)) {
			name_process(en->d_name, dst, size);
			found = true;
		}
	(void)closedir(d);
	return found;
}
