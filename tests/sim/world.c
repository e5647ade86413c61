/* SPDX-License-Identifier: Apache-2.0
 * world - the broker of a simulation: how it is set up, whose turn it is, and
 *         what goes wrong with the machine below it.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/chain.h"
#include "base/hash.h"
#include "broker/broker.h"
#include "edge.h"
#include "sim.h"

static uint64_t
mono(void *arg)
{
	struct sim *s = arg;

	if (s->runs)
		s->now += 100;
	return s->now - s->booted;
}

static int64_t
wall(void *arg)
{
	const struct sim *s = arg;

	return (int64_t)s->now + INT64_C(1700000000000);
}

/* Logins that are decided later. */

static enum auth_result
slow_start(struct authenticator *a, struct auth_request *r)
{
	if (!r->has_username || sim->n_logins == SIM_LOGINS)
		return AUTH_NOT_MINE;
	sim->logins[sim->n_logins++] = r;
	return AUTH_LATER;
}

static void
slow_free(struct authenticator *a)
{
	free(a);
}

static void
answer_one(void)
{
	size_t i = pick(&sim->sched, sim->n_logins);
	struct auth_request *r = sim->logins[i];

	memmove(&sim->logins[i], &sim->logins[i + 1],
	    (--sim->n_logins - i) * sizeof(r));
	seam_inside(true);
	auth_answer(r, auth_allow(r, r->username));
	seam_inside(false);
}

static struct auth_chain *
make_chain(void)
{
	struct auth_chain *c = NULL;
	struct authenticator *a = calloc(1, sizeof *a);

	if (!a)
		abort();
	*a = (struct authenticator){
		.name = "slow", .start = slow_start, .free = slow_free
	};
	if (auth_chain_new(&c) || auth_chain_add(c, &a) ||
	    auth_add_anonymous(c, false))
		abort();
	return c;
}

/* Settings. */

static void
draw_limits(struct broker_limits *l)
{
	struct rng *r = &sim->sched;

	*l = (struct broker_limits){
		.session = { .max_inflight = (uint16_t)between(r, 1, 30),
		    .max_queued = sim->is.lossy ? 5 : 0,
		    .drop_policy = sim->is.lossy && chance(r, 500)
			? DROP_OLDEST
			: DROP_NEWEST,
		    .queue_qos0 = sim->is.queue_qos0 },
		.receive_max = (uint16_t)between(r, 10, 40),
		.retain_available = true,
		.client_expiration_s = MQTT_EXPIRY_NEVER,
		.connect_timeout_ms = 10000,
		.handshake_timeout_ms = 10000,
		.write_timeout_ms = chance(r, 500) ? 4000 : 20000,
		.handshake_budget = 8,
		.out_soft = chance(r, 500) ? 2000 : 256 * 1024,
		.sys_interval_s = sim->is.sys ? 3 : 0,
	};
}

static void
draw_opts(void)
{
	struct rng *r = &sim->sched;

	sim->clock =
	    (struct clock){ .mono_ms = mono, .wall_ms = wall, .arg = sim };
	sim->listener = (struct listener){ .fds = sim->fds,
		.n = 1,
		.shards = sim->is.shards,
		.port = 1883,
		.where = "sim" };
	for (unsigned i = 0; i < SIM_SHARDS; i++)
		sim->fds[i] = NET_PORT + (int)i;
	sim->port = (struct port_opts){ .listener = &sim->listener,
		.allow_zero_length_clientid = true,
		.auto_id_prefix = "auto-",
		.max_qos = 2,
		.versions = 1u << 3 | 1u << 4 | 1u << 5,
		.max_topic_alias = (uint16_t)pick(r, 11),
		.max_topic_alias_broker = (uint16_t)pick(r, 11) };
	sim->opts = (struct broker_opts){ .shards = sim->is.shards,
		.ports = &sim->port,
		.n_ports = 1,
		.clock = &sim->clock };
	draw_limits(&sim->opts.limits);
}

enum nj_err
world_boot(struct nj_why *why)
{
	struct auth_chain *chain = make_chain();
	enum nj_err e;

	sim->opts.shards = sim->listener.shards = sim->is.shards;
	sim->port.chain = chain;
	if ((e = broker_new(&sim->opts, &sim->broker, why))) {
		sim->broker = NULL;
		auth_chain_unref(chain);
	}
	sim->port.chain = NULL;
	for (unsigned i = 0; sim->broker && i < sim->broker->n; i++) {
		sim->broker->shards[i].walk_turn = 1 + sim->is.clients % 3;
		sim->broker->shards[i].flush_turn = 1 + sim->is.clients % 3;
		/* batches that wait to be forgotten have others made in their
		 * place, which is more that may find no memory */
		if (!sim->is.memory || sim->seed % 2)
			sim->broker->shards[i].durable.kept_turn =
			    1 + sim->is.clients % 3;
	}
	return e;
}

void
world_start(void)
{
	struct nj_why why = { .what = "" };

	seam_start();
	hash_seed(rng_next(&sim->sched), rng_next(&sim->sched));
	draw_opts();
	if (sim->is.store)
		power_start();
	else if (world_boot(&why))
		abort();
	else
		broker_turn(sim->broker, 0);
}

void
world_reload(void)
{
	struct broker_limits l;

	trace("reload");
	draw_limits(&l);
	sim->port.chain = make_chain();
	seam_inside(true);
	if (broker_reload(sim->broker, &l, &sim->port, 1))
		auth_chain_unref(sim->port.chain);
	seam_inside(false);
	sim->port.chain = NULL;
}

/* Turns. */

static void
turn(unsigned shard)
{
	sim->turns++;
	trace("turn of shard %u", shard);
	seam_inside(true);
	shard_turn(&sim->broker->shards[shard], 0);
	seam_inside(false);
	edge_turn();
	power_turned(shard);
}

static void
turns(void)
{
	unsigned n = sim->is.shards, first = (unsigned)pick(&sim->sched, n);

	for (unsigned i = 0; i < n; i++) {
		unsigned k = (first + i) % n;

		if (sim->now < sim->starved[k] || chance(&sim->sched, 300))
			continue;
		turn(k);
		if (chance(&sim->sched, 200))
			turn(k);
		power_turn();
		if (!sim->broker)
			return;
	}
}

static void
starve(void)
{
	uint64_t ms = 1 + pick(&sim->sched, 1500);
	unsigned k = (unsigned)pick(&sim->sched, sim->is.shards);

	sim->starved[k] = sim->now + ms;
	if (ms > sim->starve_max)
		sim->starve_max = ms;
}

static void
faults(void)
{
	static const unsigned rates[] = { 1000, 300, 50 };
	struct rng *r = &sim->fault;

	if (chance(r, sim->is.starve))
		starve();
	if (sim->is.memory)
		seam_memory(chance(r, 40) ? rates[pick(r, 3)] : 0);
	if (sim->is.files)
		seam_files(chance(r, 100));
	if (sim->is.reloads && chance(r, 5) && sim->broker)
		world_reload();
}

void
world_tick(void)
{
	uint64_t ms = between(&sim->sched, 1, sim->is.tick_ms);
	unsigned first = (unsigned)pick(&sim->sched, sim->is.clients + 1);

	if (!sim->calm && chance(&sim->sched, 5))
		ms += pick(&sim->sched, 3000);
	sim->now += ms;
	if (sim->calm) {
		seam_memory(0);
		seam_files(false);
	} else {
		faults();
	}
	while (sim->n_logins > 0 && chance(&sim->sched, 300))
		answer_one();
	for (unsigned i = 0; i <= sim->is.clients; i++)
		client_step(&sim->clients[(first + i) % (sim->is.clients + 1)]);
	power_tick();
	if (sim->broker) {
		turns();
		model_tick();
	}
	if (chance(&sim->sched, 300))
		seam_grace(false);
}

void
world_stop(void)
{
	seam_memory(0);
	while (sim->n_logins > 0)
		answer_one();
	sim->runs = true;
	if (sim->broker)
		broker_stop(sim->broker);
}

void
world_fini(void)
{
	struct broker *b = sim->broker;

	while (sim->n_logins > 0)
		answer_one();
	sim->runs = true;
	broker_free(b);
	sim->broker = NULL;
}
