/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/broker.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <urcu-qsbr.h>

#include "auth/homes.h"
#include "auth/throttle.h"
#include "base/daemon.h"
#include "base/grace.h"
#include "base/log.h"
#include "broker/failures.h"
#include "broker/fence.h"
#include "broker/guard.h"
#include "broker/internal.h"
#include "broker/memory.h"
#include "broker/reload.h"
#include "broker/rights.h"
#include "broker/rolekeep.h"
#include "broker/storing.h"
#include "broker/systree.h"

/* Of who has no threads, and waits for his clients. */
#define STOP_TURN_MS 1

/* broker_turn makes its caller an RCU thread, once. */
static _Thread_local bool rcu_registered;

unsigned
broker_usable_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
		return (unsigned)CPU_COUNT(&set);
	return 1;
}

struct failures *
broker_failures(const struct broker *b)
{
	return b->failures;
}

unsigned
broker_shards(const struct broker *b)
{
	return b->n;
}

static enum nj_err
make_shared(struct broker *b)
{
	struct index_opts io = {
		.shards = b->n,
		/* letters between shards name targets */
		.retire = b->n > 1 ? fence_retire : fence_retire_seen,
		.retire_seen = fence_retire_seen,
		.arg = b,
	};
	struct retain_opts ro = {
		.max_count = b->opts.max_retained,
		.max_bytes = b->opts.max_retained_bytes,
		.max_owned = b->opts.max_retained_per_user,
		.retire = fence_retire_seen,
		.arg = b,
	};
	enum nj_err e;

	if ((e = grace_new(b->n, &b->grace)) ||
	    (e = index_new(&io, &b->index)) ||
	    (e = retain_new(&ro, &b->retain)))
		return e;
	b->port_conns = calloc(
	    b->opts.n_ports ? b->opts.n_ports : 1, sizeof *b->port_conns);
	/* counters of different shards must not share a cache line */
	b->shards =
	    aligned_alloc(64, (b->n * sizeof *b->shards + 63) / 64 * 64);
	if (!b->port_conns || !b->shards)
		return NJ_NOMEM;
	memset(b->shards, 0, b->n * sizeof *b->shards);
	return NJ_OK;
}

static enum nj_err
init_shards(struct broker *b, struct nj_why *why)
{
	enum nj_err e;

	for (; b->inited < b->n; b->inited++) {
		errno = 0;
		if (!(e = shard_init(&b->shards[b->inited], b, b->inited)))
			continue;
		if (errno == EMFILE || errno == ENFILE) {
			why_set(why, "shard %u cannot be set up: %s", b->inited,
			    strerror(errno));
			why_mend(why, DAEMON_MEND_FILES);
		}
		shard_fini(&b->shards[b->inited]);
		return e;
	}
	return NJ_OK;
}

enum nj_err
broker_new(
    const struct broker_opts *opts, struct broker **out, struct nj_why *why)
{
	struct broker *b = calloc(1, sizeof *b);
	enum nj_err e = NJ_NOMEM;

	if (!b)
		goto fail;
	b->opts = *opts;
	b->opts.ports = NULL; /* theirs; the set has a copy */
	b->clock = opts->clock ? opts->clock : &clock_system;
	b->n = opts->shards ? opts->shards : broker_usable_cpus();
	b->started_ms = clock_mono(b->clock);
	memory_init(b);
	/* liburcu starts its thread here rather than with the first block that
	 * is retired: without memory it would end the process. */
	(void)get_default_call_rcu_data();
	if ((e = make_shared(b)) ||
	    (e = guard_new(&opts->guard, &b->throttle)) ||
	    (e = guard_names_new(&opts->guard, &b->names)) ||
	    (b->names && (e = homes_new(&b->homes))) ||
	    (e = failures_new(&b->failures)) ||
	    (e = port_set_new(opts->ports, opts->n_ports, &b->set)) ||
	    (e = storing_open(b, why)) ||
	    (e = rolekeep_all(b, b->set->v, b->set->n, why)) ||
	    (e = rights_watch(b, b->set->v, b->set->n)) ||
	    (e = init_shards(b, why)) || (e = systree_new(b)) ||
	    (e = storing_load(b, why)))
		goto fail;
	/* the shards have it, until a reload */
	port_set_unref(b->set);
	b->set = NULL;
	*out = b;
	return NJ_OK;
fail:
	if (!why->what[0])
		why_set(why, "the broker cannot be set up: %s", nj_strerror(e));
	if (b && b->set) /* theirs stays theirs when this fails */
		port_set_disown(b->set);
	/* what was recorded is the next start's to record: nobody writes it */
	if (b)
		storing_close(b);
	broker_free(b);
	return e;
}

enum nj_err
broker_start(struct broker *b, struct nj_why *why)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct shard *sh = &b->shards[i];

		if (pthread_create(&sh->thread, NULL, shard_main, sh)) {
			why_set(why, "a thread for shard %u cannot be made", i);
			return NJ_IO;
		}
		sh->has_thread = true;
		pthread_setname_np(sh->thread, sh->tag);
	}
	return NJ_OK;
}

void
broker_turn(struct broker *b, int timeout_ms)
{
	if (!rcu_registered) {
		rcu_register_thread();
		rcu_registered = true;
	}
	for (unsigned i = 0; i < b->n; i++)
		shard_turn(&b->shards[i], timeout_ms);
	if (b->store && b->opts.store_no_thread)
		store_turn(b->store);
}

static bool
all_stopped(const struct broker *b)
{
	for (unsigned i = 0; i < b->n; i++)
		if (!b->shards[i].stopped)
			return false;
	return true;
}

void
broker_stop(struct broker *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct shard *sh = &b->shards[i];

		sh->stop_letter.kind = LETTER_STOP;
		shard_post(sh, &sh->stop_letter);
	}
	for (unsigned i = 0; i < b->n; i++)
		if (b->shards[i].has_thread) {
			pthread_join(b->shards[i].thread, NULL);
			b->shards[i].has_thread = false;
		}
	if (rcu_registered)
		while (!all_stopped(b))
			broker_turn(b, STOP_TURN_MS);
}

/* Letters make letters (a member who is gone is bounced, what is retired
 * posts fences), so it takes some rounds until none is left. */
static void
drain_round(struct broker *b, bool last)
{
	size_t n;

	do {
		n = 0;
		fence_barrier(b);
		for (unsigned i = 0; i < b->inited; i++)
			n += shard_drain(&b->shards[i], last);
	} while (n > 0);
}

/* No session ends before all that is under way has come to it: a will, or a
 * message that its publisher is told of. */
static void
drain(struct broker *b)
{
	if (!rcu_registered)
		rcu_register_thread();
	drain_round(b, false);
	/* they may be very many: what was recorded goes first */
	for (unsigned i = 0; i < b->inited; i++)
		if (b->shards[i].durable.n_spare > 0)
			durable_flush(&b->shards[i]);
	drain_round(b, true);
	rcu_unregister_thread();
	rcu_registered = false;
}

void
broker_free(struct broker *b)
{
	if (!b)
		return;
	if (b->inited == b->n && b->store) {
		drain(b);
		for (unsigned i = 0; i < b->n; i++)
			durable_flush(&b->shards[i]);
	}
	storing_close(b);
	for (unsigned i = 0; i < b->inited; i++)
		durable_closed(&b->shards[i]);
	if (b->inited == b->n)
		drain(b);
	for (unsigned i = 0; i < b->inited; i++)
		shard_fini(&b->shards[i]);
	fence_free_late(b);
	grace_free(b->grace);
	rights_fini(b);
	systree_free(b->systree);
	throttle_free(b->throttle);
	throttle_free(b->names);
	homes_free(b->homes);
	failures_free(b->failures);
	retain_free(b->retain);
	index_free(b->index);
	port_set_unref(b->set);
	memory_fini(b);
	free(b->port_conns);
	free(b->shards);
	free(b);
}
