/* SPDX-License-Identifier: Apache-2.0 */
#include "clients.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int failures;

void
check(const char *what, bool ok)
{
	if (ok)
		return;
	(void)fprintf(stderr, "not so: %s\n", what);
	failures++;
}

int
check_failures(void)
{
	return failures;
}

int
client_come(struct world *w)
{
	int fd = world_connect(w, 0);

	check("a connection", fd >= 0);
	return fd;
}

void
client_say(int fd, const char *bytes, size_t n)
{
	check("sent", send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
}

void
client_connect(int fd, const char *id)
{
	char packet[64];
	size_t n = strlen(id);

	check("a short name", n < sizeof packet - 14);
	memcpy(packet, "\x10\0\0\4MQTT\4\2\0\0\0", 13);
	packet[1] = (char)(12 + n);
	packet[13] = (char)n;
	memcpy(packet + 14, id, n);
	client_say(fd, packet, 14 + n);
}

bool
client_is_answered(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

bool
client_is_closed(int fd)
{
	char all[4096];
	ssize_t n;

	while ((n = recv(fd, all, sizeof all, MSG_DONTWAIT)) > 0)
		;
	return n == 0;
}
