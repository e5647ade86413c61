/* SPDX-License-Identifier: Apache-2.0
 * A shard's turn that takes long, while a client of another retains one large
 * message after the other: what they replace may be looked at in that turn, so
 * it waits, and the client does when there is much of it.  Once the turn is over
 * all of it is freed, and the client goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/fence.h"
#include "clients.h"

#define PAYLOAD	 ((size_t)60000)
#define MESSAGES ((size_t)300)
/* Read in one turn, and retained by it before it looks. */
#define TURN_BYTES ((size_t)2 * 1024 * 1024)

static struct world world;
static uint8_t packets[MESSAGES * (PAYLOAD + 16)];
static size_t len, at;

static void
write_packets(void)
{
	for (size_t i = 0; i < MESSAGES; i++) {
		size_t rest = 3 + PAYLOAD;
		uint8_t *p = packets + len;

		*p++ = 0x31;
		for (; rest > 127; rest >>= 7)
			*p++ = (uint8_t)(rest | 128);
		*p++ = (uint8_t)rest;
		memcpy(p, "\0\1t", 3);
		memset(p + 3, (int)('0' + i % 10), PAYLOAD);
		len = (size_t)(p + 3 + PAYLOAD - packets);
	}
}

static void
say_more(int fd)
{
	ssize_t n;

	while (at < len &&
	    (n = send(
		 fd, packets + at, len - at, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
		at += (size_t)n;
}

/* Its session lives on the first shard. */
static int
retainer(void)
{
	char id[16];
	int fd = client_come(&world);

	for (unsigned i = 0;; i++) {
		snprintf(id, sizeof id, "r%u", i);
		if (shard_of_id(world.broker, slice_str(id)) == 0)
			break;
	}
	client_connect(fd, id);
	for (int i = 0; i < 10; i++)
		world_turn(&world);
	check("it is in", client_is_answered(fd));
	return fd;
}

int
main(void)
{
	struct shard *busy;
	size_t most = 0;
	int fd;

	world_init(&world, 2);
	check("a broker", world_start(&world) == NJ_OK);
	write_packets();
	fd = retainer();
	busy = &world.broker->shards[0];
	for (int i = 0; i < 500; i++) {
		say_more(fd);
		shard_turn(busy, 0); /* and the other one has none */
		if (fence_waits(busy) > most)
			most = fence_waits(busy);
	}
	check("it waits", at < len);
	check("there is much", most > SEEN_HIGH);
	check("but not more", most < SEEN_HIGH + TURN_BYTES);
	check("not even later", fence_waits(busy) == most);
	for (int i = 0; i < 500; i++) {
		say_more(fd);
		world_turn(&world);
	}
	check("it has gone on", at == len);
	check("nothing waits", fence_waits(busy) == 0);
	check("one is left", retain_count(world.broker->retain) == 1);
	(void)close(fd);
	world_stop(&world);
	world_fini(&world);
	return check_failures() > 0;
}
