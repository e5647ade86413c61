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

/* One line of /proc/net/tcp: "sl local:port remote:port state queues timer
 * retransmits uid timeout inode ..."; 0 unless it listens on port. */
static unsigned long
inode_of(char *line, uint16_t port)
{
	unsigned long inode = 0;
	char *word, *colon;

	for (int i = 0; i < 10 && (word = strsep(&line, " ")); i++) {
		if (!*word) { /* several spaces are one */
			i--;
			continue;
		}
		if (i == 1 &&
		    (!(colon = strchr(word, ':')) ||
			strtoul(colon + 1, NULL, 16) != port))
			return 0;
		if (i == 3 && strtoul(word, NULL, 16) != TCP_LISTEN_STATE)
			return 0;
		if (i == 9)
			inode = strtoul(word, NULL, 10);
	}
	return inode;
}

/* Socket inodes that listen on port. */
static unsigned
find_inodes(const char *table, uint16_t port, unsigned long *inodes, unsigned n)
{
	FILE *f = fopen(table, "re");
	char line[512];

	while (f && n < INODES_MAX && fgets(line, sizeof line, f))
		if ((inodes[n] = inode_of(line, port)))
			n++;
	if (f)
		(void)fclose(f);
	return n;
}

static bool
holds(const char *pid, const unsigned long *inodes, unsigned n)
{
	static const char prefix[] = "socket:[";
	char path[320], link[64];
	bool found = false;
	struct dirent *en;
	DIR *d;

	(void)snprintf(path, sizeof path, "/proc/%s/fd", pid);
	if (!(d = opendir(path)))
		return false;
	while (!found && (en = readdir(d))) {
		unsigned long inode;
		ssize_t len =
		    readlinkat(dirfd(d), en->d_name, link, sizeof link - 1);

		if (len <= 0)
			continue;
		link[len] = '\0';
		if (strncmp(link, prefix, sizeof prefix - 1) != 0)
			continue;
		inode = strtoul(link + sizeof prefix - 1, NULL, 10);
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
