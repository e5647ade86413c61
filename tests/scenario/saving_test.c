/* SPDX-License-Identifier: Apache-2.0
 * Clients that wait for their CONNACK when the disk fills up: who takes up a session
 * that is on disk, or needs none there, comes in, and is served as those who come
 * later; who needs a new one is told.  The will of the connection before is neither
 * sent nor lost (MQTT 5.0 3.1.3.2.2).
 */
#include <sqlite3.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/shard.h"
#include "clients.h"
#include "disk.h"
#include "illdisk.h"
#include "store/impl.h"

static struct world world;
static int watcher;

/* MQTT 5: without Clean Start, expiry 999 or 998 s; a will of one letter for "w", which
 * is delayed for 2 s. */
#define FIRST                                                           \
	"\x10\x1f\0\4MQTT\5\4\0\0\5\x11\0\0\3\xe7\0\1x\5\x18\0\0\0\2\0" \
	"\1w\0\1"                                                       \
	"1"
#define AGAIN                                                           \
	"\x10\x1f\0\4MQTT\5\4\0\0\5\x11\0\0\3\xe6\0\1x\5\x18\0\0\0\2\0" \
	"\1w\0\1"                                                       \
	"2"
#define AGAIN_NO_WILL "\x10\x13\0\4MQTT\5\0\0\0\5\x11\0\0\3\xe6\0\1x"
#define NEW	      "\x10\x13\0\4MQTT\5\0\0\0\5\x11\0\0\3\xe7\0\1y"
#define NEW_3	      "\x10\x0d\0\4MQTT\4\0\0\0\0\1v"
#define NONE_3	      "\x10\x13\0\4MQTT\4\6\0\0\0\1z\0\1w\0\1z"

static void
settle(void)
{
	for (int i = 0; i < 10; i++)
		world_turn(&world);
}

static void
later(unsigned ms)
{
	world.now += ms;
	settle();
}

static void
begin(unsigned shards)
{
	illdisk_begin(&world, shards);
	watcher = client_come(&world);
	client_connect(watcher, "b");
	settle();
	client_say(watcher, "\x82\6\0\1\0\1w\0", 8);
	settle();
	check("it watches", !client_is_closed(watcher));
}

static void
end(void)
{
	(void)close(watcher);
	illdisk_end(&world);
}

/* The will that has come, and no other; 0: none. */
static char
seen(void)
{
	char p[12];
	ssize_t n = recv(watcher, p, sizeof p, MSG_DONTWAIT);

	if (n <= 0)
		return 0;
	check("one will", n == 6 && memcmp(p, "\x30\4\0\1w", 5) == 0);
	return p[5];
}

static int
says(const char *packet, size_t n)
{
	int fd = client_come(&world);

	client_say(fd, packet, n);
	return fd;
}

#define SAYS(packet) says(packet, sizeof(packet) - 1)

/* What has come first: CONNACK's flags and code, or PUBACK's identifier and code. */
static void
hears(const char *what, int fd, uint8_t type, uint8_t flags, uint8_t code)
{
	uint8_t p[64];
	size_t at = type == 0x40 ? 1 : 0;

	check(what,
	    recv(fd, p, 2, MSG_DONTWAIT) == 2 && p[0] == type &&
		recv(fd, p, p[1], MSG_DONTWAIT) >= 2 && p[at] == flags &&
		p[at + 1] == code);
}

static int
first(void)
{
	int x = SAYS(FIRST);

	settle();
	hears("it is in", x, 0x20, 0, 0);
	return x;
}

/* Who has come before this turn waits for the disk then. */
static void
fill_up(void)
{
	disk_fail(SQLITE_FULL);
	settle();
	check("it is full", store_state(world.broker->store) == STORE_FULL);
}

static void
there_is_room(void)
{
	disk_fail(0);
	later(1000);
	check("there is room", store_state(world.broker->store) == STORE_OK);
}

/* Nothing that it says waits for what its CONNECT did. */
static void
is_served(int x)
{
	client_say(x, "\x32\7\0\1q\0\1\0!", 9);
	settle();
	hears("a message is refused", x, 0x40, 1, 0x97);
	client_say(x, "\xc0\0", 2);
	settle();
	check("it is answered", client_is_answered(x));
	check("and stays", !client_is_closed(x));
}

static void
who_comes_in(unsigned shards)
{
	int old, x, y, v, z;

	begin(shards);
	old = first();
	x = SAYS(AGAIN_NO_WILL);
	y = SAYS(NEW);
	v = SAYS(NEW_3);
	z = SAYS(NONE_3);
	fill_up();
	hears("its session is there", x, 0x20, 1, 0);
	hears("a new one would have to be", y, 0x20, 0, 0x97);
	hears("in MQTT 3.1.1, too", v, 0x20, 0, 3);
	hears("it needs none", z, 0x20, 0, 0);
	check("the one before has ended", client_is_closed(old));
	is_served(x);
	later(3000);
	check("its will was forgotten", seen() == 0);
	there_is_room();
	later(3000);
	client_say(x, "\xc0\0", 2);
	settle();
	check("it is heard", client_is_answered(x));
	(void)close(x);
	later(3000);
	check("and has no will now", seen() == 0);
	(void)close(z);
	settle();
	check("this one has", seen() == 'z');
	(void)close(old);
	(void)close(y);
	(void)close(v);
	end();
}

/* Its will is its new one, whether or not there is room when it goes. */
static void
whose_will(unsigned shards, bool room)
{
	int old, x;

	begin(shards);
	old = first();
	x = SAYS(AGAIN);
	fill_up();
	hears("its session is there", x, 0x20, 1, 0);
	(void)close(old);
	if (room)
		there_is_room();
	(void)close(x);
	settle();
	check("it is delayed", seen() == 0);
	later(3000);
	check("it is sent", seen() == '2');
	if (!room)
		there_is_room();
	later(3000);
	check("and the other is not", seen() == 0);
	end();
}

/* It waits for nothing, so it is not sent away. */
static void
it_stays_when_the_store_is_damaged(unsigned shards)
{
	int old, x;

	begin(shards);
	old = first();
	x = SAYS(AGAIN);
	fill_up();
	hears("its session is there", x, 0x20, 1, 0);
	atomic_store(&world.broker->store->damaged, true);
	later(1000);
	check(
	    "it is damaged", store_state(world.broker->store) == STORE_DAMAGED);
	is_served(x);
	atomic_store(&world.broker->store->damaged, false);
	(void)close(x);
	(void)close(old);
	end();
}

/* What it waits for found no memory on another shard: it ends with that, and nothing
 * of it is looked for when the disk fills up in the same turn. */
static void
it_goes_without_memory(unsigned shards)
{
	struct durable *d = NULL;
	int old, x;

	begin(shards);
	old = first();
	x = SAYS(AGAIN);
	for (unsigned t = 0; t < 20 && !d; t++) {
		world_turn(&world);
		for (unsigned i = 0; i < shards; i++)
			if (!list_empty(
				&world.broker->shards[i].durable.saving))
				d = &world.broker->shards[i].durable;
	}
	check("it waits", d != NULL);
	for (unsigned i = 0; d && i < d->gate_n; i++)
		d->gates[(d->gate_head + i) & (d->gate_cap - 1)].failed = true;
	atomic_store(&world.broker->store->state, STORE_FULL);
	settle();
	atomic_store(&world.broker->store->state, STORE_OK);
	settle();
	check("it has gone", client_is_closed(x));
	(void)close(x);
	(void)close(old);
	end();
}

int
main(void)
{
	for (unsigned shards = 1; shards <= 2; shards++) {
		who_comes_in(shards);
		whose_will(shards, true);
		whose_will(shards, false);
		it_stays_when_the_store_is_damaged(shards);
		it_goes_without_memory(shards);
	}
	return check_failures() > 0;
}
