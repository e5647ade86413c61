/* SPDX-License-Identifier: Apache-2.0
 * A CONNECT that is refused for want of memory, wherever that is: the session is as it
 * was, and so is the will of its last connection, which is delayed still
 * (MQTT 5.0 3.1.3.2.2); that of the refused one is none [MQTT-3.1.2-8].
 *
 * Linked with --wrap for the allocator, as nomem_test is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "clients.h"

static struct world world;
static char file[64];
static int watcher;
static bool in_broker, refused_one;
static long left, failing; /* as in nomem_test */

static bool
refuse(void)
{
	if (!in_broker || failing <= 0 || left-- > 0)
		return false;
	failing--;
	refused_one = true;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *
__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refuse() ? NULL : __real_realloc(p, n);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return refuse() ? NULL : __real_reallocarray(p, n, size);
}

static void
inside(bool on)
{
	in_broker = on;
}

/* MQTT 5; a will of one letter for "w": delayed for 2 s, and not. */
#define FIRST                                                           \
	"\x10\x1f\0\4MQTT\5\4\0\0\5\x11\0\0\3\xe7\0\1x\5\x18\0\0\0\2\0" \
	"\1w\0\1"                                                       \
	"1"
#define AGAIN                                               \
	"\x10\x1a\0\4MQTT\5\4\0\0\5\x11\0\0\3\xe6\0\1x\0\0" \
	"\1w\0\1"                                           \
	"2"
#define CLEAN                                               \
	"\x10\x1a\0\4MQTT\5\6\0\0\5\x11\0\0\3\xe6\0\1x\0\0" \
	"\1w\0\1"                                           \
	"2"
/* whose session would end with it */
#define FLEETING                              \
	"\x10\x15\0\4MQTT\5\4\0\0\0\0\1x\0\0" \
	"\1w\0\1"                             \
	"2"
#define BACK "\x10\x13\0\4MQTT\5\0\0\0\5\x11\0\0\3\xe7\0\1x"

static const struct {
	const char *what, *packet;
	size_t n;
	bool resumes;
} comings[] = {
	{ "resumes it", AGAIN, sizeof AGAIN - 1, true },
	{ "begins anew", CLEAN, sizeof CLEAN - 1, false },
	{ "lets it end", FLEETING, sizeof FLEETING - 1, true },
};

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

	/* it may have been refused before */
	(void)!send(fd, packet, n, MSG_NOSIGNAL);
	settle();
	return fd;
}

/* CONNACK's code; -1: none came. */
static int
connack(int fd, bool *present)
{
	uint8_t p[64];

	if (recv(fd, p, 2, MSG_DONTWAIT) != 2 || p[0] != 0x20 ||
	    recv(fd, p, p[1], MSG_DONTWAIT) < 2)
		return -1;
	*present = p[0];
	return p[1];
}

/* Wills that have come, a letter each. */
static unsigned
seen(char letters[8])
{
	char p[6];
	unsigned n = 0;

	while (n < 8 && recv(watcher, p, sizeof p, MSG_DONTWAIT) == 6 &&
	    memcmp(p, "\x30\4\0\1w", 5) == 0)
		letters[n++] = p[5];
	return n;
}

/* Its client has left, and its will is delayed; a message waits for it. */
static void
begin(bool stored)
{
	bool present;
	int x;

	world_init(&world, 1);
	if (stored) {
		world.opts.store_path = file;
		world.opts.store_no_thread = true;
	}
	if (world_start(&world))
		abort();
	watcher = client_come(&world);
	client_connect(watcher, "b");
	settle();
	client_say(watcher, "\x82\6\0\1\0\1w\0", 8);
	settle();
	check("it watches", !client_is_closed(watcher));
	x = says(FIRST, sizeof FIRST - 1);
	check("it is in", connack(x, &present) == 0);
	client_say(x, "\x82\7\0\1\0\0\1q\1", 9);
	settle();
	(void)close(x);
	settle();
	client_say(watcher, "\x32\6\0\1q\0\1!", 8);
	settle();
	for (int i = 0; i < 200 && !client_is_answered(watcher); i++) {
		world.now += 1;
		settle();
	}
	check("a message is taken", client_is_answered(watcher));
	check("it stays", !client_is_closed(watcher));
}

static void
end(bool stored)
{
	static const char *const tails[] = { "", "-wal", "-shm", ".lock" };
	char name[96];

	(void)close(watcher);
	world_stop(&world);
	world_fini(&world);
	for (unsigned i = 0; stored && i < sizeof tails / sizeof *tails; i++) {
		(void)snprintf(name, sizeof name, "%s%s", file, tails[i]);
		(void)unlink(name);
	}
}

/* It is there, with the message that waits. */
static bool
is_as_it_was(void)
{
	bool present = false;
	uint8_t p[8];
	int x = says(BACK, sizeof BACK - 1);
	bool is = connack(x, &present) == 0 && present &&
	    recv(x, p, sizeof p, MSG_DONTWAIT) >= 5 && p[0] == 0x32;

	(void)close(x);
	return is;
}

/* False: it needs no allocation more. */
static bool
nth_fails(unsigned how, bool stored, long nth, long many, unsigned *refusals)
{
	bool present = false, is_in;
	char letters[8], what[96];
	unsigned n;
	int x;

	begin(stored);
	left = nth;
	failing = many;
	refused_one = false;
	x = says(comings[how].packet, comings[how].n);
	failing = 0;
	settle();
	is_in = connack(x, &present) == 0;
	(void)close(x);
	if (!is_in) {
		++*refusals;
		world.now += 3000;
		settle();
		n = seen(letters);
		(void)snprintf(what, sizeof what,
		    "it %s, allocation %ld of %ld%s: the will of its last "
		    "connection",
		    comings[how].what, nth, many, stored ? ", stored" : "");
		/* for what is sent before it is refused there is none, too */
		check(what,
		    (n == 1 && letters[0] == '1') ||
			(n == 0 && many > 1 && !comings[how].resumes));
		/* who begins anew wanted none of it, and sent its will */
		if (comings[how].resumes)
			check(what, is_as_it_was());
	}
	end(stored);
	return refused_one;
}

int
main(void)
{
	(void)snprintf(
	    file, sizeof file, "/tmp/nightjar-refused-%d", (int)getpid());
	world_inside = inside;
	log_types_on = 0;
	for (unsigned how = 0; how < 3; how++)
		for (unsigned k = 0; k < 4; k++) {
			unsigned refusals = 0;

			for (long nth = 0; nth_fails(
				 how, k & 1, nth, k & 2 ? 20 : 1, &refusals);
			     nth++)
				;
			check("some are refused", refusals > 3);
		}
	return check_failures() > 0;
}
