/* SPDX-License-Identifier: Apache-2.0
 * Clients whose sessions are kept come and go while the disk is full: what waits to be
 * recorded of them is as much as of each once, and they keep nobody from publishing.
 * When there is room again it is on disk as it was last, and a start finds it so.
 *
 *   flapping_test [CLIENTS ROUNDS]
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"
#include "disk.h"
#include "illdisk.h"

#define MOST   1000
#define EXPIRY 999u

static struct world world;
static unsigned clients = 24, rounds = 12;
static int fds[MOST];
static unsigned others; /* that are there */
static bool wills;	/* each has one, */
static int watcher;	/* who gets it */
static size_t seen, sent;

static void
settle(void)
{
	for (int i = 0; i < 10; i++)
		world_turn(&world);
}

static struct shard *
home_of(const char *id)
{
	return &world.broker->shards[shard_of_id(world.broker, slice_str(id))];
}

static const char *
name_of(unsigned i)
{
	static char name[] = "c000";

	(void)snprintf(name, sizeof name, "c%03u", i % MOST);
	return name;
}

/* CONNECT of MQTT 5 that takes one message at a time. */
static void
come(unsigned i)
{
	char p[] = "\x10\x19\0\4MQTT\5\0\0\0\10\x11\0\0\3\xe7\x21\0\1\0\4cNNN"
		   "\0\0\1w\0\1!";
	size_t n = sizeof p - 1 - 7;

	memcpy(p + n - 4, name_of(i), 4);
	if (wills) {
		p[9] = 4;
		p[1] += 7;
		n += 7;
	}
	fds[i] = client_come(&world);
	client_say(fds[i], p, n);
}

/* With a word, or without. */
static void
go(unsigned i, bool said)
{
	if (said)
		client_say(fds[i], "\xe0\0", 2);
	else
		sent += wills;
	(void)client_is_closed(fds[i]);
	(void)close(fds[i]);
}

/* Of a crowd a turn takes as many as there is time for. */
static void
until(bool (*is)(void))
{
	for (int i = 0; i < 10000 && !is(); i++)
		world_turn(&world);
	check("in time", is());
	settle();
}

static bool
all_are_in(void)
{
	for (unsigned i = 0; i < clients; i++)
		if (fds[i] >= 0 && !client_is_answered(fds[i]))
			return false;
	return true;
}

static bool
all_are_gone(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < world.broker->n; i++)
		n += world.broker->shards[i].counts.connected;
	return n == others;
}

/* Every so many of them. */
static void
come_each(unsigned step)
{
	for (unsigned i = 0; i < clients; i++) {
		fds[i] = -1;
		if (i % step == 0)
			come(i);
	}
	until(all_are_in);
}

/* The wills that have come: of QoS 0. */
static void
watch(void)
{
	char p[6];

	while (recv(watcher, p, 6, MSG_DONTWAIT) == 6)
		seen += memcmp(p, "\x30\4\0\1w!", 6) == 0;
}

static void
all_go(unsigned round)
{
	world.now += 1000;
	settle();
	for (unsigned i = 0; i < clients; i++)
		go(i, (i + round) % 2);
	until(all_are_gone);
	watch();
}

/* QoS 1; MQTT 3.1.1. */
static void
publish(int fd, const char *topic, char id, bool retain)
{
	char p[] = "\x32\6\0\1t\0i!";

	p[0] |= (char)retain;
	p[4] = *topic;
	p[6] = id;
	client_say(fd, p, sizeof p - 1);
	settle();
}

static size_t
waiting(size_t *bytes)
{
	size_t n = 0;

	*bytes = 0;
	for (unsigned i = 0; i < world.broker->n; i++) {
		const struct durable *d = &world.broker->shards[i].durable;

		n += d->open->n;
		*bytes += d->open->bytes;
	}
	return n;
}

/* Each has two messages; the publisher, who waits for its answer. */
static int
prepare(unsigned shards)
{
	int a;

	illdisk_begin(&world, shards);
	others = 0;
	come_each(1);
	for (unsigned i = 0; i < clients; i++)
		client_say(fds[i], "\x82\7\0\1\0\0\1t\1", 9);
	all_go(0);
	a = client_come(&world);
	client_connect(a, "a");
	settle();
	others = 1;
	publish(a, "t", 1, false);
	publish(a, "t", 2, false);
	check("they are taken", client_is_answered(a));
	(void)client_is_closed(a);
	watcher = client_come(&world);
	client_connect(watcher, "b");
	settle();
	client_say(watcher, "\x82\6\0\1\0\1w\0", 8);
	settle();
	(void)client_is_closed(watcher);
	others++;
	seen = sent = 0;
	disk_fail(SQLITE_FULL);
	publish(a, "r", 3, true);
	check("it is full", store_state(world.broker->store) == STORE_FULL);
	return a;
}

static void
flap(void)
{
	size_t n, bytes, most = 0, most_bytes = 0;

	for (unsigned r = 1; r <= rounds; r++) {
		come_each(1);
		n = waiting(&bytes);
		most = n > most ? n : most;
		most_bytes = bytes > most_bytes ? bytes : most_bytes;
		all_go(r);
	}
	n = waiting(&bytes);
	most = n > most ? n : most;
	(void)printf("%zu records, %zu bytes\n", most, most_bytes);
	/* what the session is, its will, how far its client knows its messages */
	check("what waits is bounded", most <= 3 * (size_t)clients + 8);
	check("wills are sent", seen == sent && (seen > 0) == wills);
	check("nobody else waits", !durable_behind(&world.broker->shards[0]));
}

/* Its first message, which it was sent before, and the other, which it was not. */
static void
reads(unsigned i, bool was_sent)
{
	uint8_t p[64];

	come(i);
	settle();
	memset(p, 0, sizeof p);
	check("CONNACK", recv(fds[i], p, 2, MSG_DONTWAIT) == 2 && p[0] == 0x20);
	check(
	    "of its session", recv(fds[i], p, p[1], MSG_DONTWAIT) > 2 && p[0]);
	check("a message", recv(fds[i], p, sizeof p, MSG_DONTWAIT) == 9);
	check("that it knows", p[0] == (was_sent ? 0x3a : 0x32));
	client_say(fds[i], (char[]){ 0x40, 2, (char)p[5], (char)p[6] }, 4);
	settle();
	check("the other", recv(fds[i], p, sizeof p, MSG_DONTWAIT) == 9);
	check("that it does not", p[0] == 0x32);
}

/* The broker is killed, and started 10 s later. */
static void
kill_and_start(void)
{
	disk_cut_now();
	world_stop(&world);
	disk_fail(0);
	disk_power_on();
	world.now += 10000;
	check("another life", world_start(&world) == NJ_OK);
}

static void
close_all(void)
{
	for (unsigned i = 0; i < clients; i++)
		(void)close(fds[i]);
	settle();
}

static void
until_there_is_room(unsigned shards)
{
	int a = prepare(shards);
	uint64_t last;

	flap();
	last = CLOCK_START + world.now;
	world.now += 5000;
	/* of them, some stay */
	come_each(3);
	(void)client_is_closed(a);
	disk_fail(0);
	settle();
	check("there is room", store_state(world.broker->store) == STORE_OK);
	check("it is answered", client_is_answered(a));
	kill_and_start();
	for (unsigned i = 0; i < clients; i++) {
		const struct session *s = session_find(
		    &home_of(name_of(i))->home, slice_str(name_of(i)));

		check("it is there", s != NULL);
		if (!s)
			continue;
		check("its expiry", s->expiry_s == EXPIRY);
		check("its will", (s->will != NULL) == (wills && i % 3 == 0));
		/* of those that were there the last word is the start's */
		check("since when it is away",
		    i % 3 ? s->offline_since <= last + 500 &&
			    s->offline_since + 500 >= last
			  : s->offline_since > last + 5000);
	}
	for (unsigned i = 0; i < clients; i += 3)
		(void)close(fds[i]);
	for (unsigned i = 0; i < clients; i++)
		reads(i, true);
	close_all();
	(void)close(a);
	(void)close(watcher);
	illdisk_end(&world);
}

/* As the disk has it: they have been away all the time. */
static void
until_it_is_killed(unsigned shards)
{
	int a = prepare(shards);

	flap();
	kill_and_start();
	for (unsigned i = 0; i < clients; i++)
		reads(i, false);
	close_all();
	(void)close(a);
	(void)close(watcher);
	illdisk_end(&world);
}

int
main(int argc, char **argv)
{
	if (argc == 3) {
		clients = (unsigned)strtoul(argv[1], NULL, 10);
		rounds = (unsigned)strtoul(argv[2], NULL, 10);
	}
	if (clients < 1 || clients > MOST)
		return 2;
	for (unsigned i = 0; i < 4; i++) {
		wills = i % 2;
		until_there_is_room(1 + i / 2);
		until_it_is_killed(1 + i / 2);
	}
	return check_failures() > 0;
}
