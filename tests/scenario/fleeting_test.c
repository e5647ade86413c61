/* SPDX-License-Identifier: Apache-2.0
 * What waits for room on a full disk does not grow with those who come and go there, and
 * need nothing kept but a will, nor with how often the same topic is retained: else they
 * would use up what memory there is for that (KEEP_BYTES), and others be refused.  When
 * there is room again, what is on disk is as it was last.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"
#include "disk.h"
#include "illdisk.h"

#define ROUNDS 500
/* What each batch has at most that goes to the store before it is known to be full, and
 * what is behind them. */
#define FEW 40

/* MQTT 3.1.1, clean, with a will for "w"; the same for "r", retained; MQTT 5 without one. */
#define FLEETING "\x10\x13\0\4MQTT\4\6\0\0\0\1z\0\1w\0\1z"
#define RETAINED "\x10\x13\0\4MQTT\4\x26\0\0\0\1y\0\1r\0\1y"
#define STAYS	 "\x10\x13\0\4MQTT\4\6\0\0\0\1s\0\1w\0\1s"
#define MQTT5	 "\x10\x0e\0\4MQTT\5\2\0\0\0\0\1v"

static struct world world;

static void
settle(void)
{
	for (int i = 0; i < 10; i++)
		world_turn(&world);
}

static int
says(const char *packet, size_t n)
{
	int fd = client_come(&world);

	client_say(fd, packet, n);
	settle();
	check("it is in", client_is_answered(fd));
	check("it stays", !client_is_closed(fd));
	return fd;
}

#define SAYS(packet) says(packet, sizeof(packet) - 1)

static int
subscriber(const char *id, char topic)
{
	int fd = client_come(&world);
	char p[] = "\x82\6\0\1\0\1t\0";

	p[6] = topic;
	client_connect(fd, id);
	settle();
	client_say(fd, p, sizeof p - 1);
	settle();
	return fd;
}

/* Records behind those that the store has. */
static size_t
waiting(void)
{
	size_t n = 0;

	for (unsigned i = 0; i < world.broker->n; i++)
		n += world.broker->shards[i].durable.open->n;
	return n;
}

static void
few(const char *what)
{
	size_t n = waiting();

	(void)printf("%s: %zu\n", what, n);
	check(what, n <= FEW);
	check("nobody else waits", !durable_behind(&world.broker->shards[0]));
}

/* A retained message of QoS 0 for that topic: one letter, or none. */
static void
retain(int fd, char topic, char what)
{
	char p[] = "\x31\4\0\1t!";

	p[4] = topic;
	p[5] = what;
	p[1] = what ? 4 : 3;
	client_say(fd, p, what ? 6 : 5);
}

/* Of MQTT 5, which expires after a second. */
static void
retain_for_a_second(int fd, char topic)
{
	char p[] = "\x31\x0a\0\1t\5\2\0\0\0\1!";

	p[4] = topic;
	client_say(fd, p, sizeof p - 1);
}

/* The store knows that it is full; as many batches are with it as it takes. */
static void
fill_up(int fd)
{
	disk_fail(SQLITE_FULL);
	for (unsigned i = 0; i < 2 * BATCHES_OUT; i++) {
		retain(fd, 'a', 'a');
		settle();
	}
	check("it is full", store_state(world.broker->store) == STORE_FULL);
}

/* Killed, or when there is room again; and started. */
static void
start_again(bool room)
{
	disk_fail(0);
	if (room) {
		world.now += 1000;
		settle();
		check("there is room",
		    store_state(world.broker->store) == STORE_OK);
	}
	disk_cut_now();
	world_stop(&world);
	disk_power_on();
	check("another life", world_start(&world) == NJ_OK);
}

/* All that has come to fd of that topic, a letter each; at QoS 0. */
static size_t
letters(int fd, char topic, char *out, size_t size)
{
	char p[6];
	size_t n = 0;

	while (n + 1 < size && recv(fd, p, 6, MSG_DONTWAIT) == 6)
		if (p[4] == topic)
			out[n++] = p[5];
	out[n] = 0;
	return n;
}

static void
retained(unsigned shards)
{
	const char topics[] = "abcdfgh",
		   last[] = { 'a', '0', 0, '0', 'z', 'z', 'z' };
	char was[4];
	int p, p5, fd;

	illdisk_begin(&world, shards);
	p = client_come(&world);
	client_connect(p, "p");
	p5 = SAYS(MQTT5);
	disk_fail(SQLITE_FULL);
	for (unsigned i = 0; i < 2 * BATCHES_OUT; i++) {
		for (unsigned k = 0; k < 3; k++)
			retain(p, "fgh"[(i + k) % 3], (char)('A' + (int)i));
		settle();
	}
	for (unsigned k = 0; k < 3; k++)
		retain(p, "hgf"[k], 'z');
	settle();
	fill_up(p);
	for (unsigned i = 0; i <= ROUNDS; i++) {
		retain(p, 'b', (char)('0' + i % 10));
		retain(p, 'c', (char)('0' + i % 10));
		retain(p, 'c', 0);
		retain(p, 'd', 0);
		retain(p, 'd', (char)('0' + i % 10));
		retain_for_a_second(p5, 'e');
		world.now += 1500;
		settle();
	}
	few("retained");
	start_again(true);
	for (unsigned i = 0; topics[i]; i++) {
		fd = subscriber("q", topics[i]);
		(void)recv(fd, (char[9]){ 0 }, 9, MSG_DONTWAIT);
		(void)letters(fd, topics[i], was, sizeof was);
		check("it is the last", was[0] == last[i] && !was[last[i] > 0]);
		(void)close(fd);
		settle();
	}
	(void)close(p);
	(void)close(p5);
	illdisk_end(&world);
}

static bool
has_will(const char *id)
{
	struct slice name = slice_str(id);
	const struct session *s = session_find(
	    &world.broker->shards[shard_of_id(world.broker, name)].home, name);

	return s && s->will;
}

/* Every other one says that it goes. */
static size_t
come_and_go(const char *packet, size_t n)
{
	size_t sent = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		int fd = says(packet, n);

		if (i % 2)
			client_say(fd, "\xe0\0", 2);
		else
			sent++;
		(void)close(fd);
		world.now += 1500;
		settle();
	}
	return sent;
}

static void
wills(unsigned shards, bool room)
{
	char was[ROUNDS + 1];
	int a, w, fd;
	size_t sent;

	illdisk_begin(&world, shards);
	a = client_come(&world);
	client_connect(a, "a");
	w = subscriber("b", 'w');
	(void)client_is_closed(w);
	fill_up(a);
	sent = come_and_go(FLEETING, sizeof FLEETING - 1);
	check("each is sent", letters(w, 'w', was, sizeof was) == sent);
	(void)come_and_go(RETAINED, sizeof RETAINED - 1);
	few("wills");
	fd = SAYS(STAYS);
	(void)close(a);
	(void)close(w);
	/* who was there when it died has lost his connection then */
	start_again(room);
	check("its will was on disk", has_will("s") == room);
	check("and no other", !has_will("z") && !has_will("y"));
	settle();
	w = subscriber("b", 'r');
	(void)recv(w, (char[9]){ 0 }, 9, MSG_DONTWAIT);
	(void)letters(w, 'r', was, sizeof was);
	check("the last retained was", strcmp(was, room ? "y" : "") == 0);
	(void)close(w);
	(void)close(fd);
	illdisk_end(&world);
}

int
main(void)
{
	for (unsigned shards = 1; shards <= 2; shards++) {
		retained(shards);
		wills(shards, true);
		wills(shards, false);
	}
	return check_failures() > 0;
}
