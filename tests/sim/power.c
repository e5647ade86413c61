/* SPDX-License-Identifier: Apache-2.0
 * power - the broker's store on a disk in memory, and what becomes of both when
 *         the power fails, or the process is killed.
 *
 * The disk (tests/unit/store/disk.c) is off from some write on; then the broker
 * is taken apart.  That it is taken apart at all is for the leak checker's sake:
 * nothing that it does then reaches the disk or the network.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "broker/broker.h"
#include "disk.h"
#include "edge.h"
#include "sim.h"
#include "store/impl.h"

/* A test's disk writes little: the log goes to the database so often that it
 * happens. */
#define LOG_PAGES 300

static bool
P(unsigned of_1000)
{
	return chance(&sim->power, of_1000);
}

static uint64_t
draw(uint64_t n)
{
	return pick(&sim->power, n);
}

static void
disk_back(bool killed)
{
	if (killed)
		disk_killed();
	else
		disk_power_on();
}

/* False: the power failed again meanwhile. */
static bool
boot(void)
{
	struct nj_why why = { .what = "" };
	enum nj_err e;

	sim->booted = sim->now - draw(20000);
	hash_seed(draw(UINT64_MAX), draw(UINT64_MAX));
	trace("the broker starts, %u shards", sim->is.shards);
	if ((e = world_boot(&why))) {
		trace("it does not: %s", why.what);
		if (!disk_is_off() && (!sim->well_at || e == NJ_MALFORMED))
			sim_fail("the broker cannot start: %s", why.what);
		return false;
	}
	sqlite3_wal_autocheckpoint(
	    sim->broker->store->db, 1 + (int)draw(LOG_PAGES));
	return true;
}

/* A disk that is full, or fails: all that is written, or some calls of a kind. */

static void
fall_ill(void)
{
	static const int says[] = { SQLITE_FULL, SQLITE_IOERR_WRITE };

	sim->ills++;
	sim->well_at = sim->now + 1 + draw(P(600) ? 400 : 8000);
	if (P(600)) {
		int rc = says[draw(2)];

		trace("the disk is %s", rc == SQLITE_FULL ? "full" : "broken");
		disk_fail(rc);
	} else {
		enum disk_call call = (enum disk_call)draw(DISK_CALLS);

		trace("calls of the disk fail, kind %u", (unsigned)call);
		disk_fault(
		    call, 1 + draw(20), P(500) ? 1 + draw(3) : UINT32_MAX);
	}
}

bool
power_ill(void)
{
	return sim->well_at ||
	    (sim->is.store && sim->broker && sim->broker->store &&
		store_state(sim->broker->store) != STORE_OK);
}

static void
get_well(void)
{
	if (!sim->well_at)
		return;
	trace("the disk is well");
	sim->well_at = 0;
	disk_fail(0);
	disk_fault(DISK_CALLS, 0, 0);
}

/*
 * What must be on disk although nobody was told.  In a round each shard has a
 * turn, and after them the store.  What a shard does may have to go to another
 * and come back, and then wait for the batch before its own: some rounds later it
 * is on disk.
 */

void
power_turned(unsigned shard)
{
	sim->turned |= 1u << shard;
}

static void
next_round(void)
{
	if (sim->turned != (1u << sim->is.shards) - 1)
		return;
	sim->turned = 0;
	memmove(
	    sim->rounds + 1, sim->rounds, SIM_ROUNDS * sizeof sim->rounds[0]);
	sim->rounds[0] = sim->now;
}

uint64_t
power_sure(void)
{
	return sim->rounds[SIM_ROUNDS];
}

static void
first_round(void)
{
	sim->turned = 0;
	for (unsigned i = 0; i <= SIM_ROUNDS; i++)
		sim->rounds[i] = sim->now;
}

static void
up(void)
{
	bool killed = P(200);

	if (!sim->calm && P(250))
		disk_cut_at(1 + draw(P(500) ? 30 : 200));
	if (!boot()) {
		model_power_tried();
		disk_back(killed);
		get_well();
		return;
	}
	sim->started_ill = power_ill();
	first_round();
	model_power_back();
	verify_store(false);
	broker_turn(sim->broker, 0);
	edge_turn();
}

/* This life of the broker is over. */
static void
end(bool stopped, bool killed)
{
	uint64_t now = sim->now;

	sim->cuts++;
	model_power_lost(stopped);
	net_unplug();
	sim->dropped += verify_dropped();
	sim->stops = true;
	world_stop();
	world_fini();
	sim->stops = sim->runs = false;
	if (!stopped)
		sim->now = now; /* to give its memory back takes no time */
	memset(sim->starved, 0, sizeof sim->starved);
	if (disk_is_off())
		disk_back(killed);
	sim->up_at = sim->now + (P(700) ? draw(300) : draw(8000));
	if (P(300))
		sim->is.shards = 1 + (unsigned)draw(SIM_SHARDS);
}

static void
cut(void)
{
	bool killed = P(250);

	trace("%s", killed ? "the broker is killed" : "the power fails");
	disk_cut_now();
	end(false, killed);
}

/* It is stopped in good order; its network goes with it, or a moment before, and
 * the power may fail meanwhile. */
static void
halt(void)
{
	trace("the broker is stopped");
	sim->halted = true;
	if (P(200))
		disk_cut_at(1 + draw(P(500) ? 12 : 80));
	end(true, P(250));
}

bool
power_store_rests(void)
{
	return sim->stops && P(sim->is.slow_stop);
}

void
power_meanwhile(struct store *store)
{
	if (sim->stops && store && !P(sim->is.slow_stop))
		store_turn(store);
}

void
power_start(void)
{
	(void)snprintf(
	    sim->file, sizeof sim->file, "/tmp/nightjar-sim-%d", (int)getpid());
	disk_reset(sim->seed);
	/* what SQLite draws by itself */
	(void)sqlite3_test_control(
	    SQLITE_TESTCTRL_PRNG_SEED, (int)sim->seed + 1, NULL);
	sim->opts.store_path = sim->file;
	sim->opts.store_vfs = DISK_VFS;
	sim->opts.store_no_thread = true;
	/* two in three have files beside it */
	if (sim->seed % 3 > 0) {
		sim->opts.store_data_min = 60u << sim->seed % 5;
		sim->opts.store_data_file = 400u << sim->seed % 7;
	}
	if (P(300))
		disk_cut_at(1 + draw(60));
	while (!boot() && !sim->failed)
		disk_back(P(200));
	if (sim->broker)
		broker_turn(sim->broker, 0);
	first_round();
}

void
power_tick(void)
{
	if (!sim->is.store || sim->failed)
		return;
	if (sim->well_at && sim->now >= sim->well_at)
		get_well();
	else if (!sim->calm && !sim->well_at && P(sim->is.ill))
		fall_ill();
	if (!sim->broker) {
		if (sim->calm || sim->now >= sim->up_at)
			up();
		return;
	}
	if (disk_is_off()) { /* while it started */
		cut();
		return;
	}
	if (sim->calm)
		return;
	if (P(sim->is.slow_disk))
		sim->disk_at = sim->now + draw(2000);
	if (!P(sim->is.cuts))
		return;
	if (P(sim->is.halts))
		halt();
	else if (P(400))
		cut();
	else
		disk_cut_at(1 + draw(P(500) ? 12 : 80));
}

void
power_turn(void)
{
	if (!sim->is.store || !sim->broker)
		return;
	if (!sim->calm && (sim->now < sim->disk_at || !P(sim->is.store_turns)))
		return;
	trace("turn of the store");
	store_turn(sim->broker->store);
	if (disk_is_off()) {
		cut();
		return;
	}
	if (store_state(sim->broker->store) == STORE_OK)
		next_round();
}

void
power_calm(void)
{
	if (!sim->is.store)
		return;
	disk_cut_at(0);
	get_well();
}

const char *
power_unsettled(void)
{
	if (!sim->is.store)
		return NULL;
	if (!sim->broker)
		return "the power";
	for (unsigned i = 0; i < sim->broker->n; i++)
		if (sim->broker->shards[i].durable.keep.busy)
			return "the store";
	return NULL;
}

void
power_fini(void)
{
	char lock[80];

	if (!sim->is.store)
		return;
	disk_fini();
	(void)unlink(sim->file);
	(void)snprintf(lock, sizeof lock, "%s.lock", sim->file);
	(void)unlink(lock);
}
