/* SPDX-License-Identifier: Apache-2.0
 * Members of a group that leave it, or go, while a message is on its way to them:
 * each shard has its turn when the test says so, so that what was sent to a member
 * comes to its shard behind its UNSUBSCRIBE or its DISCONNECT [MQTT-3.10.4-1].
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "clients.h"

#define SHARDS	8u
#define HOME	0u /* of the group */
#define MEMBERS 6u /* on the shards behind it */
#define LAST	7u /* the publisher's shard */

static struct world world;
static char filter[32]; /* $share/gN/t, of a group that lives on HOME */
static int fds[SHARDS];

static void
turn(unsigned shard)
{
	shard_turn(&world.broker->shards[shard], 0);
}

static void
settle(void)
{
	for (int i = 0; i < 30; i++)
		world_turn(&world);
}

static void
client_on(unsigned shard)
{
	char id[16];

	for (unsigned i = 0;; i++) {
		(void)snprintf(id, sizeof id, "c%u", i);
		if (shard_of_id(world.broker, slice_str(id)) == shard)
			break;
	}
	fds[shard] = client_come(&world);
	client_connect(fds[shard], id);
	settle();
	check("it is in", client_is_answered(fds[shard]));
	(void)client_is_closed(fds[shard]);
}

static void
say_filter(int fd, uint8_t type, bool qos)
{
	char p[64] = { (char)type, 0, 0, 1, 0, (char)strlen(filter) };
	size_t n = strlen(filter);

	memcpy(p + 6, filter, n);
	p[6 + n] = 1;
	n += 6 + qos;
	p[1] = (char)(n - 2);
	client_say(fd, p, n);
}

static void
publish(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char p[] = { 0x32, 6, 0, 1, 't', 0, (char)(1 + i),
			(char)('0' + i) };

		client_say(fds[LAST], p, sizeof p);
	}
}

/* PUBLISH packets that have come, of one topic and size. */
static unsigned
got(unsigned shard)
{
	char all[4096];
	ssize_t n = recv(fds[shard], all, sizeof all, MSG_DONTWAIT);
	unsigned found = 0;

	for (ssize_t at = 0; at + 1 < n; at += 2 + all[at + 1])
		found += (all[at] & 0xf0) == 0x30;
	return found;
}

static unsigned
got_by_all(void)
{
	unsigned n = 0;

	for (unsigned i = 1; i <= MEMBERS; i++)
		n += got(i);
	return n;
}

static struct group *
the_group(void)
{
	size_t at = 0;

	return map_next(&world.broker->shards[HOME].groups.by_number, &at);
}

/* Whom the group's home would ask, so many places on. */
static unsigned
place(unsigned after)
{
	const struct group *g = the_group();

	return (unsigned)(g->v[(g->turn + after) % g->n_online]->session >> 48);
}

static void
begin(void)
{
	world_init(&world, SHARDS);
	check("a broker", world_start(&world) == NJ_OK);
	for (unsigned i = 0;; i++) {
		(void)snprintf(filter, sizeof filter, "$share/g%u/t", i);
		if (hash_bytes(slice_str(filter)) % SHARDS == HOME)
			break;
	}
	for (unsigned i = 1; i <= LAST; i++)
		client_on(i);
	for (unsigned i = 1; i <= MEMBERS; i++) {
		say_filter(fds[i], 0x82, true);
		settle();
		(void)client_is_closed(fds[i]);
	}
	check("they are members", the_group() && the_group()->n == MEMBERS);
}

static void
end(void)
{
	for (unsigned i = 1; i <= LAST; i++)
		(void)close(fds[i]);
	settle();
	check("nobody is left", !the_group());
	world_stop(&world);
	world_fini(&world);
}

/* One of two messages is on its way to each half of the group when that half
 * leaves it. */
static void
those_that_unsubscribe(void)
{
	unsigned rest = 0;

	begin();
	publish(MEMBERS);
	turn(LAST); /* to the group's home */
	for (unsigned i = 1; i <= MEMBERS / 2; i++) {
		say_filter(fds[i], 0xa2, false);
		turn(i); /* behind that */
	}
	turn(HOME);
	settle();
	for (unsigned i = 1; i <= MEMBERS / 2; i++)
		check("nothing comes to who has left", got(i) == 0);
	for (unsigned i = MEMBERS / 2 + 1; i <= MEMBERS; i++)
		rest += got(i);
	check("all of it comes to who stays", rest == MEMBERS);
	end();
}

/* Whom the group's home would ask next goes before it does, and its leaving is
 * known there only behind that: one after the other, until one is left. */
static void
those_that_go_at_once(void)
{
	begin();
	publish(1);
	turn(LAST);
	while (the_group()->n_online > 1) {
		unsigned next = place(0);

		client_say(fds[next], "\xe0\0", 2);
		turn(next); /* it leaves */
		turn(HOME); /* it is sent the message, and then out of it */
		check("it is gone", client_is_closed(fds[next]));
		turn(next); /* who says so */
	}
	settle();
	check("the last one has it", got_by_all() == 1);
	end();
}

static unsigned reader; /* whose member may read what comes, alone */

static bool
may_read(const struct session *s, const struct msg *m)
{
	(void)m;
	return s->number >> 48 == reader;
}

static void
ask_all(void)
{
	for (unsigned i = 1; i <= MEMBERS; i++) {
		struct home *h = &world.broker->shards[i].home;
		size_t at = 0;
		struct session *s = map_next(&h->sessions, &at);

		h->may_read = may_read;
		s->check_reads = true;
	}
}

/* All but one may not read it: each is asked, whoever comes first. */
static void
those_that_may_not_read(void)
{
	begin();
	reader = MEMBERS;
	ask_all();
	publish(MEMBERS);
	settle();
	check("who may has all", got(MEMBERS) == MEMBERS);
	check("and nobody else any", got_by_all() == 0);
	say_filter(fds[MEMBERS], 0xa2, false);
	settle();
	(void)client_is_closed(fds[MEMBERS]);
	publish(1);
	settle();
	check("nobody may", got_by_all() == 0);
	end();
}

/* Half of them may not read it, and who is asked next has left meanwhile: places
 * have moved, so all that are left are asked, those who said no once more. */
static void
who_leaves_among_those_that_may_not_read(void)
{
	unsigned asked[MEMBERS / 2 + 1];

	begin();
	reader = 0;
	ask_all();
	for (unsigned i = 0; i <= MEMBERS / 2; i++)
		asked[i] = place(i);
	publish(1);
	turn(LAST);
	for (unsigned i = 0; i < MEMBERS / 2; i++) {
		turn(HOME);
		turn(asked[i]); /* it says no */
	}
	say_filter(fds[asked[MEMBERS / 2]], 0xa2, false);
	turn(asked[MEMBERS / 2]); /* it leaves */
	turn(HOME);		  /* it is sent the message, and then out */
	check("it has left", the_group()->n == MEMBERS - 1);
	reader = place(MEMBERS - 2); /* the last in the row that begins now */
	settle();
	check("the last one is asked, too", got(reader) == 1);
	check("and nobody else has it", got_by_all() == 0);
	end();
}

int
main(void)
{
	those_that_unsubscribe();
	those_that_go_at_once();
	those_that_may_not_read();
	who_leaves_among_those_that_may_not_read();
	return check_failures() > 0;
}
