/* SPDX-License-Identifier: Apache-2.0
 * Who is served when many shake hands at once, with one step of a handshake a
 * turn: those who are connected in each turn, whoever was begun before the
 * crowd came soon, and the new ones also while others send byte by byte.
 *
 * The handshakes are WebSocket's: TLS waits in the same queues.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"

#define CROWD 20
#define TURNS 8 /* more than anything of one client takes */

static const char half[] = "GET /mqtt HTTP/1.1\r\nHost: here\r\n"
			   "Upgrade: websocket\r\nConnection: Upgrade\r\n";
static const char rest[] = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			   "Sec-WebSocket-Version: 13\r\n"
			   "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
static const char connect_live[] = "\x10\x10\0\4MQTT\4\2\0\0\0\4live";
static const char subscribe[] = "\x82\6\0\1\0\1t\0";
static const char publish[] = "\x30\4\0\1tx";

static struct world world;

static void
forget_answers(int fd)
{
	char all[256];

	while (recv(fd, all, sizeof all, MSG_DONTWAIT) > 0)
		;
}

static int
count_answered(const int *fds, int n)
{
	int answered = 0;

	for (int i = 0; i < n; i++)
		answered += client_is_answered(fds[i]);
	return answered;
}

static void
turns(int n)
{
	for (int i = 0; i < n; i++)
		world_turn(&world);
}

static int
come_live(void)
{
	int fd = client_come(&world);

	client_say(fd, connect_live, sizeof connect_live - 1);
	turns(TURNS);
	client_say(fd, subscribe, sizeof subscribe - 1);
	turns(TURNS);
	check("CONNACK and SUBACK", client_is_answered(fd));
	forget_answers(fd);
	return fd;
}

/* One more handshake each turn, and the message in the same. */
static void
crowd_comes(int live, int early, const int *crowd)
{
	for (int turn = 1; turn <= CROWD + 1; turn++) {
		client_say(live, publish, sizeof publish - 1);
		turns(1);
		check("a connected client is served in each turn",
		    client_is_answered(live));
		forget_answers(live);
		check("a turn takes one step of a handshake",
		    count_answered(crowd, CROWD) + client_is_answered(early) ==
			turn);
		check("what was begun does not wait for the crowd",
		    turn < 2 || client_is_answered(early));
	}
}

static void
test_order(void)
{
	int live = come_live(), early = client_come(&world), crowd[CROWD];

	client_say(early, half, sizeof half - 1);
	turns(TURNS);
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = client_come(&world);
		client_say(crowd[i], half, sizeof half - 1);
		client_say(crowd[i], rest, sizeof rest - 1);
	}
	client_say(early, rest, sizeof rest - 1);
	crowd_comes(live, early, crowd);
	for (int i = 0; i < CROWD; i++)
		(void)close(crowd[i]);
	(void)close(early);
	(void)close(live);
	turns(TURNS);
}

/* Who sends a byte at a time is always begun, and always ready. */
static void
test_dribble(void)
{
	int slow[CROWD], fresh;

	for (int i = 0; i < CROWD; i++) {
		slow[i] = client_come(&world);
		client_say(slow[i], half, 1);
	}
	turns(CROWD + TURNS);
	for (int i = 0; i < CROWD; i++)
		client_say(slow[i], half + 1, 1);
	fresh = client_come(&world);
	client_say(fresh, half, sizeof half - 1);
	client_say(fresh, rest, sizeof rest - 1);
	turns(2);
	check("who comes new is not kept out", client_is_answered(fresh));
	for (int i = 0; i < CROWD; i++)
		(void)close(slow[i]);
	(void)close(fresh);
	turns(CROWD + TURNS);
}

/* Who has gone while waiting is not served, and is in nobody's way. */
static void
test_gone(void)
{
	int crowd[CROWD], last;

	for (int i = 0; i < CROWD; i++) {
		crowd[i] = client_come(&world);
		client_say(crowd[i], half, sizeof half - 1);
		client_say(crowd[i], rest, sizeof rest - 1);
	}
	turns(1);
	check("one was served", count_answered(crowd, CROWD) == 1);
	last = client_come(&world);
	client_say(last, half, sizeof half - 1);
	client_say(last, rest, sizeof rest - 1);
	turns(1);
	check("two were served", count_answered(crowd, CROWD) == 2);
	for (int i = 2; i < CROWD; i++)
		(void)shutdown(crowd[i], SHUT_WR);
	turns(2);
	check("those who have gone are not", client_is_answered(last));
	for (int i = 0; i < CROWD; i++)
		(void)close(crowd[i]);
	(void)close(last);
	turns(TURNS);
}

int
main(void)
{
	world_init(&world, 1);
	world.port.websockets = true;
	world.port.mqtt_too = true;
	world.opts.limits.handshake_budget = 1;
	if (world_start(&world)) {
		(void)fprintf(stderr, "the broker does not start\n");
		return 1;
	}
	test_order();
	test_dribble();
	test_gone();
	world_stop(&world);
	world_fini(&world);
	return check_failures() > 0;
}
