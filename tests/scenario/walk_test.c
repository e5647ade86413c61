/* SPDX-License-Identifier: Apache-2.0
 * What else happens while a reload goes from client to client, one a turn: a
 * login, a takeover, an end, another reload, a revocation, a SUBSCRIBE that takes
 * longer than a turn.  Each at every moment of it, with one shard and with four.
 *
 * The reload lets only client identifiers in that begin with 'a'; there are as
 * many of those as of others, whom it throws out.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "broker/conn.h"
#include "clients.h"

#define PAIRS	      5
#define MOMENTS	      14  /* turns after its beginning; a walk takes fewer */
#define TURNS	      120 /* more than all of it takes */
#define ACTORS	      8
#define RETAINED      1500
#define FREED_MS      10000 /* at the most */
#define LAST_WORDS_MS 5000  /* whoever was sent away is gone by then */
#define FILTERS	      100 /* each looks at all RETAINED: more than TURN_WORK */

/* One whose end, or whose life, is to be seen in the end. */
struct actor {
	int fd;
	bool lives;
};

static struct world world;
static struct actor good[PAIRS], bad[PAIRS];
static struct actor others[ACTORS];
static unsigned n_others;

static void
turns(int n)
{
	for (int i = 0; i < n; i++)
		world_turn(&world);
}

static void
reload(const char *prefixes)
{
	if (prefixes)
		check("a setting",
		    world_set(&world, "clientid_prefixes", prefixes));
	else
		world.port.clientid_prefixes = NULL;
	check("a reload", world_reload(&world) == NJ_OK);
}

static int
other(int fd, bool lives)
{
	check("room for one more", n_others < ACTORS);
	others[n_others++] = (struct actor){ fd, lives };
	return fd;
}

static void
comes(const char *id, bool lives)
{
	client_connect(other(client_come(&world), lives), id);
}

/* With a user name, whose login waits to be answered. */
static void
logs_in(const char *id, bool lives)
{
	char packet[32];
	size_t n = strlen(id);

	memcpy(packet, "\x10\0\0\4MQTT\4\x82\0\0\0", 13);
	packet[1] = (char)(12 + n + 3);
	packet[13] = (char)n;
	memcpy(packet + 14, id, n);
	memcpy(packet + 14 + n, "\0\1u", 3);
	client_say(other(client_come(&world), lives), packet, 14 + n + 3);
}

/* What happens; before the reload, or at some moment of it. */

static void
nothing(void)
{
}

static void
logins_begin(void)
{
	logs_in("ax", true);
	logs_in("bx", false);
	turns(4);
	check("both wait", world.n_waiting == 2);
}

static void
logins_are_decided(void)
{
	while (world_answer(&world, AUTH_ALLOW))
		;
}

static void
they_come(void)
{
	comes("an", true);
	comes("bn", false);
}

static void
they_are_taken_over(void)
{
	comes("a1", true);
	comes("b1", false);
	good[1].lives = false;
}

static void
they_leave(void)
{
	client_say(good[1].fd, "\xe0\0", 2);
	client_say(bad[1].fd, "\xe0\0", 2);
	good[1].lives = false;
	(void)close(good[3].fd);
	(void)close(bad[3].fd);
	good[3].fd = bad[3].fd = -1;
}

static void
another_reload(void)
{
	reload("a0 a1 b");
	for (int i = 2; i < PAIRS; i++)
		good[i].lives = false;
}

static void
more_reloads(void)
{
	reload("b");
	reload("a");
	for (int i = 0; i < PAIRS; i++)
		good[i].lives = false;
}

static void
a_revocation(void)
{
	broker_recheck(world.broker);
}

static void
subscribe(int fd)
{
	char packet[FILTERS * 16];
	size_t n = 0;

	for (int i = 0; i < FILTERS; i++)
		n += (size_t)snprintf(packet + n, sizeof packet - n,
		    "%c%cr/+/x%03d%c", 0, 8, i, 0);
	n += 2;
	client_say(fd,
	    (char[]){ '\x82', (char)((n & 0x7f) | 0x80), (char)(n >> 7), 0, 1 },
	    5);
	client_say(fd, packet, n - 2);
}

static int
subscribing(void)
{
	int n = 0;

	for (unsigned i = 0; i < world.broker->n; i++) {
		const struct list *all = &world.broker->shards[i].conns;

		for (struct list *at = all->next; at != all; at = at->next)
			n += LIST_OWNER(at, struct conn, all)->subscribing !=
			    NULL;
	}
	return n;
}

static void
subscribes_begin(void)
{
	subscribe(good[0].fd);
	subscribe(bad[0].fd);
	turns(1);
	check("they take more than a turn", subscribing() == 2);
}

static const struct event {
	const char *what;
	void (*before)(void), (*then)(void);
} events[] = {
	{ "nothing", nothing, nothing },
	{ "logins", logins_begin, logins_are_decided },
	{ "others who come", nothing, they_come },
	{ "takeovers", nothing, they_are_taken_over },
	{ "ends", nothing, they_leave },
	{ "another reload", nothing, another_reload },
	{ "more reloads", nothing, more_reloads },
	{ "a revocation", nothing, a_revocation },
	{ "a SUBSCRIBE", subscribes_begin, nothing },
};

/* And what is seen in the end. */

static int
judge(const struct actor *v, int n, char what, const char *when)
{
	char text[80];
	int in = 0;

	for (int i = 0; i < n; i++) {
		if (v[i].fd < 0)
			continue;
		(void)snprintf(text, sizeof text, "%c%d %s, with %s", what, i,
		    v[i].lives ? "is served" : "is sent away", when);
		check(text, client_is_closed(v[i].fd) != v[i].lives);
		if (!v[i].lives)
			continue;
		in++;
		client_say(v[i].fd, "\xc0\0", 2);
		turns(4);
		check(text, client_is_answered(v[i].fd));
	}
	return in;
}

static uint64_t
connected(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < world.broker->n; i++)
		n += world.broker->shards[i].counts.connected;
	return n;
}

static void
leave(struct actor *v, int n)
{
	for (int i = 0; i < n; i++)
		if (v[i].fd >= 0)
			(void)close(v[i].fd);
}

static void
all_come(struct actor *v, char first, bool lives)
{
	char id[8];

	for (int i = 0; i < PAIRS; i++) {
		(void)snprintf(id, sizeof id, "%c%d", first, i);
		v[i] = (struct actor){ client_come(&world), lives };
		client_connect(v[i].fd, id);
	}
}

static void
play(const struct event *e, int moment)
{
	char when[40];
	int in;

	(void)snprintf(when, sizeof when, "%s after %d", e->what, moment);
	n_others = 0;
	reload(NULL);
	turns(TURNS);
	all_come(good, 'a', true);
	all_come(bad, 'b', false);
	turns(TURNS);
	check("all are in", connected() == 2 * PAIRS);
	e->before();
	reload("a");
	turns(moment);
	e->then();
	turns(TURNS);
	world.now += LAST_WORDS_MS;
	turns(1);
	in = judge(good, PAIRS, 'a', when) + judge(bad, PAIRS, 'b', when) +
	    judge(others, (int)n_others, 'o', when);
	check(when, connected() == (uint64_t)in);
	check(when, (int)atomic_load(&world.broker->conns) == in);
	leave(good, PAIRS);
	leave(bad, PAIRS);
	leave(others, (int)n_others);
	turns(TURNS);
	check("nobody is left", atomic_load(&world.broker->conns) == 0);
}

static void
retain_much(void)
{
	char packet[32];
	int fd = client_come(&world);

	client_connect(fd, "retains");
	for (int i = 0; i < RETAINED; i++) {
		int n = snprintf(packet + 4, sizeof packet - 4, "r/%04dx", i);

		memcpy(packet, "\x31\0\0\6", 4);
		packet[1] = (char)(2 + n);
		client_say(fd, packet, 4 + (size_t)n);
		if (i % 50 == 0)
			turns(2);
	}
	turns(TURNS);
	(void)close(fd);
	turns(TURNS);
}

/* The first configuration's among them; liburcu's thread does it. */
static void
replaced_is_freed(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < FREED_MS && atomic_load(&world.tables) > 1; i++) {
		turns(1);
		(void)nanosleep(&ms, NULL);
	}
	check(
	    "what a reload replaced is freed", atomic_load(&world.tables) == 1);
}

static void
play_all(unsigned shards)
{
	world_init(&world, shards);
	world.later = true; /* logins by user name wait */
	if (world_start(&world)) {
		check("the broker starts", false);
		return;
	}
	retain_much();
	for (size_t i = 0; i < sizeof events / sizeof *events; i++)
		for (int moment = 0; moment < MOMENTS; moment++)
			play(&events[i], moment);
	replaced_is_freed();
	world_stop(&world);
	world_fini(&world);
}

int
main(void)
{
	log_types_on = 0;
	play_all(1);
	play_all(4);
	return check_failures() > 0;
}
