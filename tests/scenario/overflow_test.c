/* SPDX-License-Identifier: Apache-2.0
 * A full queue after a start: what its client had been sent before is in flight still.
 * It does not count in the queue, and is not what is dropped as the oldest.
 */
#include <sqlite3.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"
#include "disk.h"
#include "illdisk.h"

#define FLIGHT 5u
#define QUEUE  30u

/* MQTT 5, Receive Maximum 60 or 3, expiry never. */
#define SUBSCRIBER                                                    \
	"\x10\x16\0\4MQTT\5\0\0\0\x8\x11\xff\xff\xff\xff\x21\0\x3c\0" \
	"\1s"
#define SLOW                                                        \
	"\x10\x16\0\4MQTT\5\0\0\0\x8\x11\xff\xff\xff\xff\x21\0\3\0" \
	"\1s"

static struct world world;
static int publisher;
static uint8_t number;

static void
settle(void)
{
	for (int i = 0; i < 10; i++)
		world_turn(&world);
}

static int
comes(const char *packet, size_t n)
{
	int fd = client_come(&world);

	client_say(fd, packet, n);
	settle();
	return fd;
}

static void
start(enum drop_policy policy)
{
	world.runs = false;
	world.opts.limits.session.max_queued = QUEUE;
	world.opts.limits.session.drop_policy = policy;
	check("a broker", world_start(&world) == NJ_OK);
	publisher = client_come(&world);
	client_connect(publisher, "p");
	settle();
}

static void
publish(unsigned n)
{
	for (; n > 0; n--) {
		char p[] = "\x32\6\0\1w\0\1!";

		p[6] = p[7] = (char)++number;
		client_say(publisher, p, 8);
		settle();
	}
	check("it is taken", !client_is_closed(publisher));
}

/* Behind CONNACK: these numbers, in order, the first so many for the second time. */
static void
takes(int fd, unsigned again, unsigned from, unsigned n)
{
	char ack[] = "\x40\2\0!";
	uint8_t p[64];
	ssize_t got;
	bool right = true;

	check("CONNACK",
	    recv(fd, p, 2, MSG_DONTWAIT) == 2 && p[0] == 0x20 &&
		recv(fd, p, p[1], MSG_DONTWAIT) > 0);
	for (unsigned i = 0; i < again + n && right; i++) {
		unsigned want = i < again ? i + 1 : from + i - again;

		if ((got = recv(fd, p, 9, MSG_DONTWAIT)) < 0) {
			settle(); /* a page is read, or the window is free */
			got = recv(fd, p, 9, MSG_DONTWAIT);
		}
		right = got == 9 && p[0] == (i < again ? 0x3a : 0x32) &&
		    p[8] == want;
		check("the next", right);
		ack[2] = (char)p[5];
		ack[3] = (char)p[6];
		client_say(fd, ack, 4);
	}
	check("no other", recv(fd, p, sizeof p, MSG_DONTWAIT) < 0);
}

/* Some are in flight, and the queue is full, when the broker dies or stops. */
static void
again(unsigned shards, enum drop_policy policy, bool dies)
{
	int fd;

	illdisk_begin(&world, shards);
	world_stop(&world);
	number = 0;
	start(policy);
	fd = comes(SUBSCRIBER, sizeof SUBSCRIBER - 1);
	client_say(fd, "\x82\7\0\1\0\0\1w\1", 9);
	settle();
	publish(FLIGHT);
	(void)close(fd);
	settle();
	publish(QUEUE);
	(void)close(publisher);
	if (dies)
		disk_cut_now();
	world_stop(&world);
	disk_power_on();
	start(policy);
}

static void
done(int fd)
{
	(void)close(fd);
	(void)close(publisher);
	illdisk_end(&world);
}

static void
while_it_is_away(unsigned shards, bool dies)
{
	int fd;

	again(shards, DROP_OLDEST, dies);
	publish(3);
	fd = comes(SUBSCRIBER, sizeof SUBSCRIBER - 1);
	takes(fd, FLIGHT, FLIGHT + 1 + 3, QUEUE);
	done(fd);
	again(shards, DROP_NEWEST, dies);
	publish(3);
	fd = comes(SUBSCRIBER, sizeof SUBSCRIBER - 1);
	takes(fd, FLIGHT, FLIGHT + 1, QUEUE);
	done(fd);
}

/* It takes fewer at once than it did, so some of them are in the queue in memory. */
static void
while_it_is_slow(unsigned shards)
{
	char ack[] = "\x40\2\0!";
	uint8_t p[64];
	int fd;

	again(shards, DROP_OLDEST, true);
	fd = comes(SLOW, sizeof SLOW - 1);
	publish(3);
	check("three",
	    recv(fd, p, 2, MSG_DONTWAIT) == 2 &&
		recv(fd, p, p[1], MSG_DONTWAIT) > 0 &&
		recv(fd, p, sizeof p, MSG_DONTWAIT) == 27);
	for (unsigned i = 1; i <= FLIGHT; i++) {
		check("in flight before",
		    i <= 3 || recv(fd, p, 9, MSG_DONTWAIT) == 9);
		check("again", i <= 3 || (p[0] == 0x3a && p[8] == i));
		ack[3] = (char)i;
		client_say(fd, ack, 4);
		settle();
	}
	done(fd);
}

int
main(void)
{
	for (unsigned shards = 1; shards <= 2; shards++) {
		while_it_is_away(shards, true);
		while_it_is_away(shards, false);
		while_it_is_slow(shards);
	}
	return check_failures() > 0;
}
