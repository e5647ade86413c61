/* SPDX-License-Identifier: Apache-2.0
 * Who is served when many come, or go, at once: those who are connected in each
 * turn, and of the others as much as their part of it has room for, at least
 * one.  And who is served beside one that says much.
 *
 * Each look at the fine clock takes STEP microseconds, so that one of the crowd
 * seems to cost that much.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/crowd.h"
#include "clients.h"

#define CROWD	    100
#define TURNS	    8 /* more than anything of one client takes */
#define PATIENCE_MS 10000
#define PACKET	    (64 * 1024)
#define MUCH	    (24 * PACKET) /* a turn reads 1 MiB of one */
#define ROW	    2000	  /* small packets, 120,000 bytes */
#define A_WHILE	    200 /* ms; longer than who says little is remembered */

static const char subscribe[] = "\x82\6\0\1\0\1t\0";
static const char publish[] = "\x30\4\0\1tx";

static struct world world;
static uint64_t step, busy, spent;

static uint64_t
fine(void *arg)
{
	const struct world *w = arg;

	spent += step;
	return w->now * 1000 + busy + spent;
}

static void
turns(int n)
{
	for (int i = 0; i < n; i++) {
		spent = 0;
		world_turn(&world);
	}
}

static void
say_connect(int fd, int number)
{
	char id[8];

	(void)snprintf(id, sizeof id, "c%03d", number);
	client_connect(fd, id);
}

/* A turn, in which a message of one who is connected comes back to him. */
static bool
is_served(int live)
{
	char all[256];
	ssize_t n;

	client_say(live, publish, sizeof publish - 1);
	turns(1);
	n = recv(live, all, sizeof all, MSG_DONTWAIT);
	return n == sizeof publish - 1;
}

static int
come_live(void)
{
	char all[64];
	int fd = client_come(&world);

	say_connect(fd, 999);
	turns(TURNS);
	client_say(fd, subscribe, sizeof subscribe - 1);
	turns(TURNS);
	check("CONNACK and SUBACK",
	    recv(fd, all, sizeof all, MSG_DONTWAIT) == 4 + 5);
	return fd;
}

static int
count_in(const int *fds)
{
	int in = 0;

	for (int i = 0; i < CROWD; i++)
		in += client_is_answered(fds[i]);
	return in;
}

static void
crowd_comes(int *fds)
{
	for (int i = 0; i < CROWD; i++) {
		fds[i] = client_come(&world);
		say_connect(fds[i], i);
	}
}

static void
crowd_goes(int *fds)
{
	for (int i = 0; i < CROWD; i++)
		(void)close(fds[i]);
}

static unsigned
connections(void)
{
	return atomic_load(&world.broker->conns);
}

/* each: how many of the crowd a turn serves. */
static void
come_in(int live, const char *what, uint64_t cost, uint64_t others, int each)
{
	int fds[CROWD], before = 0, in = 0, i;

	step = busy = 0;
	crowd_comes(fds);
	step = cost;
	busy = others;
	for (i = 0; i < CROWD && in < CROWD; i++) {
		before = in;
		check(
		    "who is connected is served in each turn", is_served(live));
		in = count_in(fds);
		check(what, in - before == each || in == CROWD);
	}
	check("all are in", in == CROWD);
	step = busy = 0;
	crowd_goes(fds);
	turns(CROWD);
	check("all have gone", connections() == 1);
}

/* Their clients are in, and go in one moment. */
static void
go(int live)
{
	unsigned had, most = CROWD_GONE + 3;
	int fds[CROWD];

	step = busy = 0;
	crowd_comes(fds);
	turns(CROWD);
	check("all came", count_in(fds) == CROWD);
	crowd_goes(fds);
	step = 50;
	for (int i = 0; i < CROWD && connections() > 1; i++) {
		had = connections();
		check("who is connected is served while others go",
		    is_served(live));
		check("some of those who go do in each turn",
		    connections() < had && had - connections() <= most);
	}
	check("all have gone, and he is there", connections() == 1);
	step = 0;
}

/* To a topic that nobody wants, and then to the one that is. */
static bool
say_much(int fd)
{
	static char packet[4 + PACKET];
	int bytes = 2 * MUCH;

	/* more than who is not root may have */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) !=
	    0)
		return false;
	memcpy(packet, "\x30\x80\x80\4\0\1u", 7);
	for (int i = 0; i < MUCH / PACKET; i++)
		client_say(fd, packet, sizeof packet);
	client_say(fd, publish, sizeof publish - 1);
	return true;
}

/* One of many that go at once, and who waits for that, has said more than is
 * read in a turn. */
static void
go_with_much(int live)
{
	bool may = true;
	int fds[CROWD];

	step = busy = 0;
	crowd_comes(fds);
	turns(CROWD);
	(void)client_is_closed(live);
	for (int i = 0; i < CROWD; i++) {
		if (i == CROWD_GONE + 3)
			may = say_much(fds[i]);
		(void)close(fds[i]);
	}
	turns(CROWD);
	if (may)
		check("what was said before the end is heard to the last",
		    client_is_answered(live));
	else
		printf("skipped: who says much before the end, as a buffer for "
		       "it takes more rights\n");
	check("all have gone, and he is there", connections() == 1);
	(void)client_is_closed(live);
}

/* A message for all of them is written to some in each turn, and what others get
 * meanwhile does not wait for that. */
static void
tell_all(int live)
{
	static const char to_all[] = "\x30\4\0\1mx",
			  of_all[] = "\x82\6\0\1\0\1m\0";
	const int each = 7;
	int fds[CROWD], told = 0;
	char all[16];

	step = busy = 0;
	crowd_comes(fds);
	turns(CROWD);
	for (int i = 0; i < CROWD; i++)
		client_say(fds[i], of_all, sizeof of_all - 1);
	turns(TURNS);
	for (int i = 0; i < CROWD; i++)
		check("CONNACK and SUBACK",
		    recv(fds[i], all, sizeof all, MSG_DONTWAIT) == 4 + 5);
	world.broker->shards[0].flush_turn = (unsigned)each;
	client_say(live, to_all, sizeof to_all - 1);
	turns(1);
	for (int i = 0; i < CROWD && told < CROWD; i++) {
		int now = count_in(fds);

		check("some are told in each turn",
		    now - told == each || now == CROWD);
		told = now;
		check("who is not one of many does not wait", is_served(live));
	}
	check("all are told", told == CROWD);
	world.broker->shards[0].flush_turn = FLUSHES_A_TURN;
	crowd_goes(fds);
	turns(CROWD);
	check("all have gone", connections() == 1);
}

static void
say_row(int fd)
{
	static char row[ROW][60];

	for (int i = 0; i < ROW; i++)
		memcpy(row[i], "\x30\x3a\0\1u", 5);
	client_say(fd, row[0], sizeof row);
}

static uint64_t
heard(unsigned shard)
{
	return world.broker->shards[shard].counts.packets_in;
}

/* Who says much is read in parts while another says little, so that the other
 * waits for less; and else at once. */
static void
say_little(int live)
{
	int much = client_come(&world);
	uint64_t had;

	step = busy = 0;
	say_connect(much, 998);
	turns(TURNS);
	for (int i = 0; i < 2; i++) {
		world.now += A_WHILE;
		had = heard(0);
		say_row(much);
		turns(1);
		check("who says much is heard at once where nobody else speaks",
		    heard(0) - had == ROW);
		check("who says little is served", is_served(live));
		check("and again", is_served(live));
		had = heard(0);
		say_row(much);
		check("he is beside who says much", is_served(live));
		check("of whom a part is heard",
		    heard(0) - had > 1 && heard(0) - had < 1 + ROW);
		check("he is beside the rest", is_served(live));
		check("and that is all", heard(0) - had == 2 + ROW);
	}
	(void)close(much);
	turns(TURNS);
}

/* A client whose session lives there; numbers from this one on are tried. */
static int
come_to(unsigned shard, int number)
{
	int fd = client_come(&world);
	char id[8];

	do
		(void)snprintf(id, sizeof id, "c%03d", number++);
	while (shard_of_id(world.broker, slice_str(id)) != shard);
	client_connect(fd, id);
	turns(TURNS);
	return fd;
}

/* The same where the message comes from another shard. */
static void
say_little_there(void)
{
	int teller = come_to(0, 200), much = come_to(1, 300),
	    hearer = come_to(1, 400);
	uint64_t had;

	client_say(hearer, subscribe, sizeof subscribe - 1);
	turns(TURNS);
	world.now += A_WHILE;
	had = heard(1);
	say_row(much);
	turns(1);
	check("who says much is heard at once", heard(1) - had == ROW);
	for (int i = 0; i < 2; i++) {
		client_say(teller, publish, sizeof publish - 1);
		turns(1);
	}
	had = heard(1);
	say_row(much);
	turns(1);
	check("in parts where another shard's client says little",
	    heard(1) - had > 0 && heard(1) - had < ROW);
	turns(1);
	check("and that is all", heard(1) - had == ROW);
	(void)close(teller);
	(void)close(much);
	(void)close(hearer);
	turns(TURNS);
}

/* After a stall, in which all deadlines have passed: who has spoken is heard,
 * who has not is thrown out, if somewhat later. */
static void
be_late(int live)
{
	int fds[CROWD], dumb;

	step = busy = 0;
	dumb = client_come(&world);
	turns(TURNS);
	crowd_comes(fds);
	step = 50;
	world.now += PATIENCE_MS;
	for (int i = 0; i < CROWD; i++)
		check("who is connected is served", is_served(live));
	check("who has spoken is in", count_in(fds) == CROWD);
	check("who has not has a little more time", connections() == CROWD + 2);
	world.now += CROWD_GRACE_MS;
	turns(1);
	check("and no more", connections() == CROWD + 1);
	(void)close(dumb);
	dumb = client_come(&world);
	turns(TURNS);
	world.now += PATIENCE_MS;
	turns(1);
	check("nor any where nobody else comes", connections() == CROWD + 1);
	(void)close(dumb);
	step = 0;
	crowd_goes(fds);
	turns(CROWD);
}

/* Those whose session lives on another shard come there in the same way. */
static void
move_in(void)
{
	int fds[CROWD], before = 0, in = 0;

	step = busy = 0;
	crowd_comes(fds);
	step = 50;
	for (int i = 0; i < CROWD && in < CROWD; i++) {
		before = in;
		turns(1);
		in = count_in(fds);
		check("no turn of two shards takes more", in - before <= 2 * 3);
	}
	check("all are in, on two shards", in == CROWD);
	step = 0;
	crowd_goes(fds);
	turns(CROWD);
}

/* Of a WebSocket upgrade: bytes that wait for their step of a handshake are no
 * sign that their client has gone, however late they are seen. */
static void
shake_hands(void)
{
	static const char upgrade[] =
	    "GET /mqtt HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n"
	    "Connection: Upgrade\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	    "Sec-WebSocket-Version: 13\r\n"
	    "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
	int fds[CROWD];

	/* for each part of the crowd that fits a turn in another way */
	for (int first = 1; first < CROWD; first += 3) {
		step = 15;
		for (int i = 0; i < CROWD; i++) {
			fds[i] = client_come(&world);
			client_say(fds[i], upgrade, sizeof upgrade - 1);
			if (i == first)
				turns(1);
		}
		turns(CROWD * 2);
		check("all are answered", count_in(fds) == CROWD);
		check("and all are there", connections() == CROWD);
		step = 0;
		crowd_goes(fds);
		turns(CROWD * 2);
	}
}

static bool
start(unsigned shards, bool websockets)
{
	world_init(&world, shards);
	world.port.websockets = websockets;
	world.opts.limits.handshake_budget = 1;
	world.clock.mono_us = fine;
	world.opts.limits.connect_timeout_ms = PATIENCE_MS;
	if (!world_start(&world)) {
		for (unsigned i = 0; i < shards; i++)
			world.broker->shards[i].flush_turn = FLUSHES_A_TURN;
		return true;
	}
	(void)fprintf(stderr, "the broker does not start\n");
	return false;
}

int
main(void)
{
	int live;

	if (!start(1, false))
		return 1;
	live = come_live();
	come_in(live, "a turn takes what its part has room for", 50, 0, 3);
	come_in(live, "one is served whatever it costs", CROWD_US * 2, 0, 1);
	come_in(live, "long turns have room for more", 50, 800, 5);
	go(live);
	go_with_much(live);
	tell_all(live);
	say_little(live);
	be_late(live);
	(void)close(live);
	world_stop(&world);
	world_fini(&world);
	if (!start(2, false))
		return 1;
	move_in();
	say_little_there();
	world_stop(&world);
	world_fini(&world);
	if (!start(1, true))
		return 1;
	shake_hands();
	world_stop(&world);
	world_fini(&world);
	return check_failures() > 0;
}
