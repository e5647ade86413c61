/* SPDX-License-Identifier: Apache-2.0
 * One run: trouble, then calm until everything has arrived, then the end.
 */
#include "sim.h"

#include <string.h>

#include "broker/fence.h"
#include "edge.h"

#define CALM_TICKS 20000

static void
draw_profile(struct profile *is)
{
	static const uint32_t lats[] = { 0, 5, 40, 300 };
	struct rng *r = &sim->sched;

	is->shards = 1 + (unsigned)pick(r, SIM_SHARDS);
	is->clients = 6 + (unsigned)pick(r, SIM_CLIENTS - 7);
	is->ticks = 600 + (unsigned)pick(r, 1000);
	is->tick_ms = chance(r, 500) ? 10 : 60;
	is->lat_lo = lats[pick(r, 4)];
	is->lat_hi = lats[pick(r, 4)];
	is->cut = chance(r, 600) ? (unsigned)pick(r, 40) : 0;
	is->hole = chance(r, 600) ? (unsigned)pick(r, 20) : 0;
	is->stall = chance(r, 400) ? (unsigned)pick(r, 20) : 0;
	is->starve = chance(r, 500) ? (unsigned)pick(r, 30) : 0;
	is->short_io = chance(r, 500) ? (unsigned)pick(r, 600) : 0;
	is->lossy = chance(r, 150);
	is->memory = chance(r, 250);
	is->files = chance(r, 200);
	is->reloads = chance(r, 300);
	is->later = chance(r, 300);
	is->sys = chance(r, 200);
	is->queue_qos0 = chance(r, 300);
	is->stops = chance(r, 150);
}

static void
draw_power(struct profile *is, const struct sim_how *how)
{
	struct rng *r = &sim->power;

	is->store = true;
	is->memory &= how->memory;
	is->cuts = 1 + (unsigned)pick(r, 8);
	is->slow_disk = chance(r, 400) ? (unsigned)pick(r, 30) : 0;
	is->store_turns = 50 + (unsigned)pick(r, 800);
	is->ticks = 400 + (unsigned)pick(r, 600);
	is->halts = (unsigned)pick(r, 700);
	is->slow_stop = (unsigned)pick(r, 1000);
	if (how->full)
		is->ill = 1 + (unsigned)pick(r, 20);
}

static struct client *
auditor(void)
{
	return &sim->clients[sim->is.clients];
}

static void
begin(uint64_t seed, const struct sim_how *how)
{
	memset(sim, 0, sizeof *sim);
	sim->seed = seed;
	sim->tracing = how->tracing;
	sim->now = 1000000;
	sim->digest = UINT64_C(0xcbf29ce484222325);
	rng_seed(&sim->plan, seed * 4);
	rng_seed(&sim->wire, seed * 4 + 1);
	rng_seed(&sim->sched, seed * 4 + 2);
	rng_seed(&sim->fault, seed * 4 + 3);
	draw_profile(&sim->is);
	if (how->store) {
		rng_seed(&sim->power, ~seed);
		draw_power(&sim->is, how);
	}
	world_start();
	for (unsigned i = 0; i <= sim->is.clients; i++)
		client_init(&sim->clients[i], i);
	auditor()->role = ROLE_AUDITOR;
	auditor()->version = MQTT5;
	auditor()->max_packet = 0;
	auditor()->login = false;
	auditor()->keep_alive = 0;
	auditor()->filter = NULL;
}

static bool
settle(const char *(*left)(void), const char *what)
{
	for (unsigned i = 0; i < CALM_TICKS; i++) {
		if (!left())
			return true;
		world_tick();
	}
	sim_fail("%s does not come to an end: %s", what, left());
	return false;
}

/* The network heals; everyone comes back for what he was promised. */
static void
calm(void)
{
	trace("calm");
	sim->calm = sim->draining = true;
	power_calm();
	sim->is.tick_ms = 20;
	sim->is.lat_lo = sim->is.lat_hi = 2;
	memset(sim->starved, 0, sizeof sim->starved);
	for (unsigned i = 0; i < sim->net.n; i++) {
		sim->net.v[i]->lat_lo = sim->net.v[i]->lat_hi = 5;
		sim->net.v[i]->window = 1 << 20;
	}
	for (unsigned i = 0; i < sim->is.clients; i++) {
		struct client *c = &sim->clients[i];
		struct nconn *conn = c->conn;

		c->stalled_until = 0;
		c->ack_ms = 0;
		if (conn && (conn->hole || c->state == CALLING)) {
			client_lose(c);
			net_abandon(conn, true);
		}
		c->next_call = sim->now + pick(&sim->plan, 200);
	}
	/* who was given up is given up by the network, too */
	for (unsigned i = 0; i < sim->net.n; i++)
		if (!sim->net.v[i]->client) {
			sim->net.v[i]->hole = false;
			net_cut(sim->net.v[i]);
		}
}

static const char *
auditor_away(void)
{
	return auditor()->state == HERE ? NULL : "it is away";
}

static const char *
auditor_busy(void)
{
	return client_idle(auditor()) ? verify_unsettled() : "it is busy";
}

static void
audit(void)
{
	struct subscription s = { .filter = LIT("#"), .qos = 2 };

	client_call(auditor(), true, 0);
	if (!settle(auditor_away, "the auditor's CONNECT"))
		return;
	client_subscribe(auditor(), &s, 1, 0);
	if (!settle(auditor_busy, "the audit"))
		return;
	verify_retained(auditor());
	client_unsubscribe(auditor(), "#");
	(void)settle(auditor_busy, "the end of the audit");
}

static const char *
somebody_away(void)
{
	for (unsigned i = 0; i < sim->is.clients; i++)
		if (sim->clients[i].state != HERE)
			return sim->clients[i].id;
	return NULL;
}

static const char *
somebody_here(void)
{
	return sim->net.n == 0 ? NULL : "connections";
}

static const char *
letters_left(void)
{
	seam_grace(true);
	for (unsigned i = 0; i < sim->broker->n; i++)
		if (mailbox_depth(&sim->broker->shards[i].mail) > 0 ||
		    fence_waits(&sim->broker->shards[i]) > 0)
			return "letters";
	if (power_unsettled())
		return power_unsettled();
	return atomic_load(&sim->broker->retiring) ? "fences" : NULL;
}

/* Sessions are ended by a clean start that leaves none behind. */
static void
part(void)
{
	for (unsigned i = 0; i < sim->is.clients; i++) {
		struct client *c = &sim->clients[i];

		client_leave(c, true);
		client_call(c, true, 0);
	}
	if (!settle(somebody_away, "the last CONNECT"))
		return;
	/* the last wills, too */
	for (unsigned i = 0; i < TOPICS; i++)
		client_clear(auditor(), topics[i]);
	if (!settle(auditor_busy, "clearing what is retained"))
		return;
	for (unsigned i = 0; i <= sim->is.clients; i++) {
		client_disconnect(&sim->clients[i], 0, false);
		client_leave(&sim->clients[i], true);
		sim->clients[i].next_call = NEVER;
	}
	if (!settle(somebody_here, "the last DISCONNECT"))
		return;
	for (unsigned i = 0; i < 100; i++) {
		seam_grace(true);
		world_tick();
	}
	if (!settle(letters_left, "the mail"))
		return;
	verify_empty();
	verify_store(true);
}

bool
sim_run(struct sim *s, uint64_t seed, const struct sim_how *how)
{
	sim = s;
	begin(seed, how);
	trace("seed %llu: %u shards, %u clients%s%s%s%s%s%s%s",
	    (unsigned long long)seed, s->is.shards, s->is.clients,
	    s->is.lossy ? ", small limits" : "",
	    s->is.memory ? ", memory runs out" : "",
	    s->is.files ? ", descriptors run out" : "",
	    s->is.later ? ", slow logins" : "",
	    s->is.stops ? ", stopped at the end" : "",
	    s->is.store ? ", power cuts" : "",
	    s->is.ill ? ", a disk that fails" : "");
	for (unsigned i = 0; i < s->is.ticks && !s->failed; i++)
		world_tick();
	if (s->is.stops) {
		world_stop();
	} else if (!s->failed) {
		calm();
		if (settle(verify_unsettled, "delivery")) {
			verify_deliveries();
			audit();
			part();
		}
	}
	seam_memory(0);
	if (!s->is.stops)
		world_stop();
	world_fini();
	power_fini();
	net_fini();
	for (unsigned i = 0; i <= s->is.clients; i++)
		client_fini(&s->clients[i]);
	model_fini();
	return !s->failed;
}
