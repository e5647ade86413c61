/* SPDX-License-Identifier: Apache-2.0
 * Clients of MQTT 3.1.1, who cannot be told that a message is not taken: on a full
 * disk they wait for room, and when it comes to light that the store is damaged, so
 * that there never will be any, they are sent away, as are those that come then.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"
#include "disk.h"
#include "store/impl.h"

#define PAYLOAD ((size_t)1000 * 1000)
#define MORE	(KEEP_BYTES / PAYLOAD + 4) /* than there is room for */

static struct world world;
static char file[64];

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
	for (int i = 0; i < 10; i++)
		shard_turn(&world.broker->shards[0], 0);
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

static void
begin(void)
{
	disk_reset(1);
	world_init(&world, 1);
	(void)snprintf(
	    file, sizeof file, "/tmp/nightjar-damaged-%d", (int)getpid());
	world.opts.store_path = file;
	world.opts.store_vfs = DISK_VFS;
	world.opts.store_no_thread = true;
	check("a broker", world_start(&world) == NJ_OK);
}

static void
end(void)
{
	char lock[80];

	disk_fail(0);
	world_stop(&world);
	world_fini(&world);
	disk_fini();
	(void)unlink(file);
	(void)snprintf(lock, sizeof lock, "%s.lock", file);
	(void)unlink(lock);
}

int
main(void)
{
	int a, b, c;

	begin();
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
	/* as the checkpoints' thread says when it finds it */
	atomic_store(&world.broker->store->damaged, true);
	settle();
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
	end();
	return check_failures() > 0;
}
