/* SPDX-License-Identifier: Apache-2.0
 * world - a whole broker with a clock of its own, driven by the test's thread.
 *
 * Clients are handed to it as socket pairs, so that nothing depends on the
 * network, on timing or on a free port.
 *
 * With users, or with later, there is a method of enhanced authentication,
 * "steps": data "NAME:PASSWORD" comes in, all else is answered with "more?".
 *
 * Owns:    the broker, its port and its authenticators.
 * Threads: one.
 */
#ifndef NJ_TESTS_SCENARIO_WORLD_H
#define NJ_TESTS_SCENARIO_WORLD_H

#include "auth/chain.h"
#include "base/clock.h"
#include "broker/internal.h"
#include "net/listener.h"

#define WORLD_SHARDS 8
#define WORLD_LOGINS 8
#define WORLD_USERS  8

struct world {
	struct clock clock;
	uint64_t now;
	bool runs; /* each look at the clock moves it on */
	struct broker_opts opts;
	struct port_opts port;
	struct listener listener;
	int fds[WORLD_SHARDS];
	struct broker *broker;	     /* NULL: not started */
	char users[WORLD_USERS][64]; /* name:password */
	unsigned n_users;
	bool anonymous, later, no_method;
	struct auth_request *waiting[WORLD_LOGINS]; /* answer LATER */
	unsigned n_waiting;
	atomic_uint tables; /* of users that are in use, or not freed yet */
	char prefixes[64];
	char mount[64];
	unsigned accepted; /* connections go to the shards in turn */
};

void world_init(struct world *w, unsigned shards);
void world_fini(struct world *w);
/* A setting of the broker or its port by name; false: there is none. */
bool world_set(struct world *w, const char *name, const char *value);
/* Without memory, or when the settings cannot be used: an error. */
NJ_MUST enum nj_err world_start(struct world *w);
NJ_MUST enum nj_err world_reload(struct world *w);
/* Ends it in order. */
void world_stop(struct world *w);
/* One turn of every shard. */
void world_turn(struct world *w);
/* The broker gets one end; the other's descriptor, or -1.  bytes: of each
 * socket's send buffer, 0 the kernel's own. */
int world_connect(struct world *w, int bytes);
/* Answers the login that waits longest: AUTH_ALLOW, AUTH_DENY, or
 * AUTH_CONTINUE to one by method; false: none does. */
bool world_answer(struct world *w, enum auth_result result);

/* Told before and after the broker's own code runs. */
extern void (*world_inside)(bool inside);

#endif
