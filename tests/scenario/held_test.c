/* SPDX-License-Identifier: Apache-2.0
 * Who connects after a SIGHUP waits for its reload, on a listener that others accept from,
 * too, and whatever comes between two looks of this thread.
 *
 * Linked with --wrap for what says whether a signal waits, and for accepting.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clients.h"
#include "net/listener.h"

static struct world world;
static struct sockaddr_un where;
static bool taken_now; /* the signal, by the main thread, as it is looked for */
static int begins_with; /* a reload does with so many more that are accepted */

int __real_sigpending(sigset_t *set);
int __wrap_sigpending(sigset_t *set);
enum nj_err __real_listener_accept(
    int fd, bool nodelay, int *out, char *peer, size_t peer_size);
enum nj_err __wrap_listener_accept(
    int fd, bool nodelay, int *out, char *peer, size_t peer_size);

/* It says that it reloads before it takes the signal (next_signal()). */
int
__wrap_sigpending(sigset_t *set)
{
	if (!taken_now)
		return __real_sigpending(set);
	taken_now = false;
	broker_reload_begins(world.broker);
	return sigemptyset(set);
}

enum nj_err
__wrap_listener_accept(
    int fd, bool nodelay, int *out, char *peer, size_t peer_size)
{
	enum nj_err e =
	    __real_listener_accept(fd, nodelay, out, peer, peer_size);

	if (!e && begins_with > 0 && --begins_with == 0)
		broker_reload_begins(world.broker);
	return e;
}

static void
settle(void)
{
	for (int i = 0; i < 10; i++)
		world_turn(&world);
}

/* ms by ms, as its timers are. */
static void
later(unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		world.now++;
		world_turn(&world);
	}
	settle();
}

static void
begin(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	/* an abstract one, which goes with its last descriptor */
	where = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(where.sun_path + 1, sizeof where.sun_path - 1,
	    "nightjar-held-%d", (int)getpid());
	check("it listens",
	    fd >= 0 && bind(fd, (struct sockaddr *)&where, sizeof where) == 0 &&
		listen(fd, 64) == 0);
	world_init(&world, 1);
	world.fds[0] = fd;
	check("a broker", world_start(&world) == NJ_OK);
	settle();
}

static void
end(void)
{
	int fd = world.fds[0];

	world_stop(&world);
	world_fini(&world);
	(void)close(fd);
}

static int
come(const char *id)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	check("it connects",
	    fd >= 0 &&
		connect(fd, (struct sockaddr *)&where, sizeof where) == 0);
	client_connect(fd, id);
	return fd;
}

/* What one shard held, another took, and the reload failed. */
static void
held_anew(void)
{
	int a, b, taken;

	begin();
	broker_reload_begins(world.broker);
	a = come("a");
	settle();
	check("it is held", !client_is_answered(a));
	taken = accept(world.fds[0], NULL, NULL);
	check("another takes it", taken >= 0);
	later(5);
	broker_reload_ends(world.broker);
	later(2000);
	broker_reload_begins(world.broker);
	b = come("b");
	later(900);
	check("so is the next one", !client_is_answered(b));
	later(200);
	check("for a second", client_is_answered(b));
	broker_reload_ends(world.broker);
	(void)close(taken);
	(void)close(a);
	(void)close(b);
	end();
}

/* It is over when it has been for as long as it may be, although the reload is not. */
static void
held_once(void)
{
	int a, b;

	begin();
	broker_reload_begins(world.broker);
	a = come("a");
	later(1100);
	check("it is in", client_is_answered(a));
	later(3000);
	b = come("b");
	settle();
	check("and so is who comes later", client_is_answered(b));
	broker_reload_ends(world.broker);
	later(10);
	broker_reload_begins(world.broker);
	(void)close(b);
	b = come("b");
	settle();
	check("until the next one", !client_is_answered(b));
	broker_reload_ends(world.broker);
	later(10);
	check("which is done", client_is_answered(b));
	(void)close(a);
	(void)close(b);
	end();
}

static void
taken_between(void)
{
	int a;

	begin();
	taken_now = true;
	a = come("a");
	settle();
	check("it was looked for", !taken_now);
	check("it is held", !client_is_answered(a));
	broker_reload_ends(world.broker);
	later(10);
	check("until it is done", client_is_answered(a));
	(void)close(a);
	end();
}

/* In the turn that accepted those before it. */
static void
begun_between(void)
{
	int a, b, c;

	begin();
	a = come("a");
	b = come("b");
	c = come("c");
	begins_with = 2;
	settle();
	check("it has begun", begins_with == 0);
	check("who came before is in",
	    client_is_answered(a) && client_is_answered(b));
	check("who did not is held", !client_is_answered(c));
	broker_reload_ends(world.broker);
	later(10);
	check("until it is done", client_is_answered(c));
	(void)close(a);
	(void)close(b);
	(void)close(c);
	end();
}

int
main(void)
{
	held_anew();
	held_once();
	taken_between();
	begun_between();
	return check_failures() > 0;
}
