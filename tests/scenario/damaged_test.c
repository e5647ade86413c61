/* SPDX-License-Identifier: Apache-2.0
 * Clients of MQTT 3.1.1, who cannot be told that a message is not taken: on a full
 * disk they wait for room, and when it comes to light that the store is damaged, so
 * that there never will be any, they are sent away, as are those that come then.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"
#include "disk.h"
#include "illdisk.h"
#include "store/impl.h"

#define PAYLOAD ((size_t)1000 * 1000)
#define MORE	(KEEP_BYTES / PAYLOAD + 4) /* than there is room for */

static struct world world;

static struct durable *
durable(void)
{
	return &world.broker->shards[0].durable;
}

static void
settle(void)
{
	for (int i = 0; i < 10; i++)
		world_turn(&world);
}

/* Without the store: each of its turns would try all that waits. */
static void
listen_to_them(void)
{
	for (unsigned i = 0; i < 10; i++)
		for (unsigned n = 0; n < world.broker->n; n++)
			shard_turn(&world.broker->shards[n], 0);
}

static int
client(const char *id)
{
	int fd = client_come(&world);

	client_connect(fd, id);
	settle();
	check("it is in", client_is_answered(fd));
	check("it stays", !client_is_closed(fd));
	return fd;
}

/* A retained message, "tN" of so many bytes. */
static void
retain(int fd, size_t n, size_t size, uint8_t qos)
{
	size_t rest = 5 + (qos ? 2 : 0) + size, len = 1, at = 0;
	uint8_t *p = calloc(1, rest + 8);
	ssize_t sent;

	if (!p)
		abort();
	p[0] = (uint8_t)(0x31 | qos << 1);
	for (size_t r = rest; len == 1 || r > 0; r >>= 7)
		p[len++] = (uint8_t)((r & 127) | (r > 127 ? 128 : 0));
	memcpy(p + len, "\0\3t", 3);
	p[len + 3] = (uint8_t)('0' + n / 10);
	p[len + 4] = (uint8_t)('0' + n % 10);
	if (qos)
		p[len + 6] = (uint8_t)(1 + n);
	while (at < len + rest) {
		sent = send(
		    fd, p + at, len + rest - at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0)
			listen_to_them();
		else
			at += (size_t)sent;
	}
	free(p);
	listen_to_them();
}

/* As the checkpoints' thread says when it finds it. */
static void
damage(bool is)
{
	atomic_store(&world.broker->store->damaged, is);
	settle();
}

static void
publishers(void)
{
	int a, b, c;

	illdisk_begin(&world, 1);
	a = client("a");
	retain(a, 0, 1, 1);
	settle();
	check("it is answered", client_is_answered(a));
	(void)client_is_closed(a);
	c = client("c");
	disk_fail(SQLITE_FULL);
	retain(a, 0, 1, 1);
	settle();
	retain(c, 50, 1, 1);
	settle();
	check("what there is room for waits", !client_is_answered(c));
	check("and is not refused", !client_is_closed(c));
	for (size_t i = 1; i <= MORE; i++)
		retain(a, i, PAYLOAD, 1);
	check("not all was taken", !list_empty(&durable()->untaken));
	check("it has no answer", !client_is_answered(a));
	check("and waits for room", !client_is_closed(a));
	damage(true);
	check("the store is damaged",
	    store_state(world.broker->store) == STORE_DAMAGED);
	check("it is sent away", client_is_closed(a));
	check("and whose message there was room for", client_is_closed(c));
	check("nobody waits", list_empty(&durable()->untaken));
	b = client("b");
	retain(b, 1, 1, 0);
	settle();
	check("QoS 0 goes on", !client_is_closed(b));
	retain(b, 2, 1, 1);
	settle();
	check("who comes then is sent away, too", client_is_closed(b));
	(void)close(a);
	(void)close(b);
	(void)close(c);
	settle();
	illdisk_end(&world);
}

/* Clients of both versions whose sessions are kept. */

#define SUBSCRIBE   0x82
#define UNSUBSCRIBE 0xa2
#define QOS2	    0x34
#define QOS2_AGAIN  0x3c
#define RELEASE	    0x62

/* id: 0 where it has none. */
static void
say(int fd, uint8_t version, uint8_t what, uint16_t id, const char *name)
{
	char p[64] = { (char)what };
	size_t n = 2, len = strlen(name);
	bool publishes = (what & 0xf0) == 0x30;

	if (!publishes) {
		p[n++] = (char)(id >> 8);
		p[n++] = (char)id;
		if (version == 5 && what != RELEASE)
			p[n++] = 0; /* no properties */
	}
	if (what != RELEASE) {
		p[n++] = 0;
		p[n++] = (char)len;
		memcpy(p + n, name, len);
		n += len;
	}
	if (what == SUBSCRIBE)
		p[n++] = 1;
	if (publishes) {
		p[n++] = (char)(id >> 8);
		p[n++] = (char)id;
		if (version == 5)
			p[n++] = 0;
		p[n++] = 'x';
	}
	p[1] = (char)(n - 2);
	client_say(fd, p, n);
}

/* The packet that waits for it, and no more: its length. */
static size_t
heard(int fd, uint8_t p[64])
{
	ssize_t n;

	memset(p, 0, 64);
	if (recv(fd, p, 2, MSG_DONTWAIT) != 2 || p[1] > 62)
		return 0;
	if ((n = recv(fd, p + 2, p[1], MSG_DONTWAIT)) < 0)
		n = 0;
	return 2 + (size_t)n;
}

static bool
answers(int fd, uint8_t what, uint16_t id, uint8_t code)
{
	uint8_t p[64];
	size_t n = heard(fd, p);

	return n >= 4 && p[0] == what && p[2] == id >> 8 &&
	    p[3] == (id & 255) && (n > 4 ? p[4] : 0) == code;
}

static int
keeper(uint8_t version, const char *id)
{
	static const char head[] = "\x10\0\0\4MQTT\0\0\0\0\5\x11\0\0\3\xe7";
	size_t n = version == 5 ? 18 : 12, len = strlen(id);
	char p[64];
	uint8_t back[64];
	int fd = client_come(&world);

	memcpy(p, head, n);
	p[8] = (char)version;
	p[n++] = 0;
	p[n++] = (char)len;
	memcpy(p + n, id, len);
	n += len;
	p[1] = (char)(n - 2);
	client_say(fd, p, n);
	settle();
	check("it is in", heard(fd, back) >= 4 && back[0] == 0x20 && !back[3]);
	return fd;
}

/* Its connection ended, and MQTT 5 has a word for it. */
static bool
is_sent_away(int fd, uint8_t version)
{
	uint8_t p[64];

	if (version == 5 && (heard(fd, p) < 3 || p[0] != 0xe0 || p[2] != 0x97))
		return false;
	return !client_is_answered(fd) && client_is_closed(fd);
}

static const struct session *
session_of(const char *id)
{
	unsigned home = shard_of_id(world.broker, slice_str(id));

	return session_find(&world.broker->shards[home].home, slice_str(id));
}

/* One that is away, and where there are several shards lives on another than that
 * client, so what the two have of a message goes to the disk together. */
static void
leave_one_far_from(const char *id)
{
	char name[] = "far0";
	int fd;

	while (world.broker->n > 1 &&
	    shard_of_id(world.broker, slice_str(name)) ==
		shard_of_id(world.broker, slice_str(id)))
		name[3]++;
	fd = keeper(5, name);
	say(fd, 5, SUBSCRIBE, 1, "far");
	settle();
	check("it is there", answers(fd, 0x90, 1, 0));
	(void)close(fd);
	settle();
}

/*
 * Its client has identifier 8, which is on disk, and 9, which never was.  After the
 * damage it says both again: that the first was received it is told, and MQTT 5 that
 * the second was not, so that it may use it anew [MQTT-4.3.3-4].
 */
static void
again(uint8_t version, const char *id)
{
	int fd = keeper(version, id);

	say(fd, version, QOS2_AGAIN, 8, "none");
	settle();
	check("what is on disk is", answers(fd, 0x50, 8, 0));
	say(fd, version, QOS2_AGAIN, 9, "none");
	settle();
	if (version != 5) {
		check("it cannot be told", is_sent_away(fd, version));
		(void)close(fd);
		return;
	}
	check("what is not is refused", answers(fd, 0x50, 9, 0x97));
	say(fd, version, QOS2, 9, "none");
	settle();
	check("and so is another", answers(fd, 0x50, 9, 0x97));
	check("it stays", !client_is_closed(fd));
	disk_fail(0);
	damage(false);
	check("it was none", store_state(world.broker->store) == STORE_OK);
	say(fd, version, QOS2, 9, "none");
	settle();
	check("it is taken", answers(fd, 0x50, 9, 0));
	say(fd, version, RELEASE, 8, "");
	settle();
	check("it is released", answers(fd, 0x70, 8, 0));
	(void)close(fd);
	settle();
	world_stop(&world);
	check("another life", world_start(&world) == NJ_OK);
	check("has what was taken", idset_has(&session_of(id)->in, 9));
	check("and nothing else", session_of(id)->in.n == 1);
	fd = keeper(version, id);
	say(fd, version, RELEASE, 9, "");
	settle();
	check("it is released", answers(fd, 0x70, 9, 0));
	(void)close(fd);
	settle();
}

/* The same, and what was refused is not said again: its identifier is not taken
 * when it turns out that nothing was damaged. */
static void
undone(const char *id)
{
	int fd = keeper(5, id);

	say(fd, 5, QOS2_AGAIN, 9, "none");
	settle();
	check("it is refused", answers(fd, 0x50, 9, 0x97));
	(void)close(fd);
	disk_fail(0);
	damage(false);
	check("it was none", store_state(world.broker->store) == STORE_OK);
	world_stop(&world);
	check("another life", world_start(&world) == NJ_OK);
	check("what is open", idset_has(&session_of(id)->in, 8));
	check("and what is not", session_of(id)->in.n == 1);
}

/* Each waits for another answer when the damage comes to light. */
static void
others(uint8_t version, unsigned shards, bool returns)
{
	static const struct {
		const char *client, *name;
		uint16_t id;
		uint8_t what;
	} rows[] = {
		{ "SUBACK", "none", 5, SUBSCRIBE },
		{ "SUBACK, and a retained message behind it", "t00", 5,
		    SUBSCRIBE },
		{ "UNSUBACK", "had", 6, UNSUBSCRIBE },
		{ "PUBCOMP", "", 8, RELEASE },
		{ "PUBREC", "far", 9, QOS2 },
	};
	int fd[5], a;

	illdisk_begin(&world, shards);
	a = client("a");
	retain(a, 0, 1, 1);
	leave_one_far_from(rows[4].client);
	for (unsigned i = 0; i < 5; i++) {
		fd[i] = keeper(version, rows[i].client);
		say(fd[i], version, SUBSCRIBE, 4, "had");
		settle();
		check(
		    "it has it", answers(fd[i], 0x90, 4, version == 5 ? 0 : 1));
		say(fd[i], version, QOS2, 8, "none");
		settle();
		check("it is received", answers(fd[i], 0x50, 8, 0));
	}
	disk_fail(SQLITE_FULL);
	for (unsigned i = 0; i < 5; i++)
		say(fd[i], version, rows[i].what, rows[i].id, rows[i].name);
	listen_to_them();
	settle();
	for (unsigned i = 0; i < 5; i++)
		check(rows[i].client,
		    !client_is_answered(fd[i]) && !client_is_closed(fd[i]));
	damage(true);
	for (unsigned i = 0; i < 5; i++) {
		check(rows[i].client, is_sent_away(fd[i], version));
		(void)close(fd[i]);
	}
	if (returns)
		again(version, rows[4].client);
	else
		undone(rows[4].client);
	(void)close(a);
	settle();
	illdisk_end(&world);
}

int
main(void)
{
	publishers();
	for (unsigned shards = 1; shards <= 2; shards++) {
		others(4, shards, true);
		others(5, shards, true);
		others(5, shards, false);
	}
	return check_failures() > 0;
}
