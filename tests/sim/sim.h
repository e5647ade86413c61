/* SPDX-License-Identifier: Apache-2.0
 * sim - one seeded simulation: a whole broker, many clients, the network
 *       between them, a clock, and what goes wrong.
 *
 * Everything random comes from the seed, and time moves only when told, so a
 * seed gives the same run each time.  There is one simulation at a time: what
 * the linker puts in place of the broker's own calls (seam.c) has no argument
 * to find it by, hence the global.
 *
 * With a store, the power fails now and then (power.c): the broker is gone as it
 * stood, and another begins with what is left on the disk.
 *
 * Threads: one.
 */
#ifndef NJ_TESTS_SIM_SIM_H
#define NJ_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/rand.h"
#include "broker/internal.h"
#include "client.h"
#include "model.h"
#include "net.h"
#include "net/listener.h"

#define SIM_SHARDS 4
#define SIM_LOGINS 64
#define SIM_ROUNDS 5
#define NEVER	   UINT64_MAX

/* What kind of run the seed has drawn. */
struct profile {
	unsigned shards, clients;
	unsigned ticks;	  /* of trouble */
	uint32_t tick_ms; /* the longest */
	uint32_t lat_lo, lat_hi;
	unsigned cut, hole, stall; /* of 1000, an act of a client */
	unsigned starve;	   /* of 1000, a tick */
	unsigned short_io;	   /* of 1000, a read or write */
	bool lossy;		   /* limits are small: messages are dropped */
	bool memory;		   /* allocations fail */
	bool files;		   /* descriptors run out */
	bool reloads;
	bool later; /* logins are decided later */
	bool sys;   /* $SYS is published */
	bool queue_qos0;
	bool stops; /* the broker is stopped with everything alive */
	bool store; /* there is one, and the power fails */
	unsigned cuts, slow_disk; /* of 1000, a tick */
	unsigned store_turns;	  /* of 1000, a turn of a shard */
	unsigned ill;	    /* of 1000, a tick: the disk is full, or fails */
	unsigned halts;	    /* of 1000, of the cuts: the broker is stopped */
	unsigned slow_stop; /* of 1000, a turn of the store then: it has none */
};

struct sim {
	uint64_t seed;
	struct rng plan, wire, sched, fault, power;
	struct profile is;
	uint64_t now;	 /* ms */
	uint64_t booted; /* when the clock of the broker's machine was 0 */
	uint64_t seq;	 /* counts events: the order of things */
	uint64_t digest;
	uint64_t turns;
	bool tracing, failed, runs, draining, calm;
	char why[512];
	struct clock clock;
	struct broker_opts opts;
	struct port_opts port;
	struct listener listener;
	int fds[SIM_SHARDS];
	struct broker *broker; /* NULL: the power is off */
	unsigned cuts;	       /* there were so many */
	bool halted;	       /* one of them was a stop in good order */
	bool stops;	       /* it ends, and its store works on beside it */
	uint64_t up_at;	       /* it comes back */
	uint64_t disk_at;      /* the disk stands still until then */
	uint64_t well_at; /* it is full, or fails, until then; 0: it is well */
	bool started_ill; /* it was when the broker started last */
	unsigned ills;	  /* that was so often */
	uint64_t rounds[SIM_ROUNDS + 1]; /* when the last ones began; power.c */
	unsigned turned;  /* shards that had a turn in this one */
	uint64_t dropped; /* messages, by earlier lives */
	char file[64];
	uint64_t starved[SIM_SHARDS]; /* until then no turn */
	uint64_t starve_max;
	struct auth_request *logins[SIM_LOGINS];
	unsigned n_logins;
	struct net net;
	struct model model;
	struct client clients[SIM_CLIENTS];
};

extern struct sim *sim;

/* Runs a seed from birth to death; true: all held. */
struct sim_how {
	bool store;  /* there is one, and power cuts */
	bool memory; /* that runs out besides */
	bool full;   /* the disk is full now and then, or fails */
	bool tracing;
};
bool sim_run(struct sim *s, uint64_t seed, const struct sim_how *how);

/* trace.c */
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The first one is kept; the run goes on to its end. */
void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t pick(struct rng *r, uint64_t n); /* 0 to n - 1 */
uint64_t between(struct rng *r, uint64_t lo, uint64_t hi);
bool chance(struct rng *r, unsigned of_1000);

/* world.c: the broker and its turns. */
void world_start(void);
void world_tick(void);
void world_reload(void);
/* Everything that waits for a grace period. */
void world_stop(void);
void world_fini(void);
/* A broker begins. */
NJ_MUST enum nj_err world_boot(struct nj_why *why);

/* power.c: the store, and the power. */
void power_start(void);
/* What happens to it in a tick. */
void power_tick(void);
/* The store's turn, if it is. */
void power_turn(void);
/* It stays on. */
void power_calm(void);
void power_fini(void);
const char *power_unsettled(void);
/* The store cannot be written now, or does not know yet that it can. */
bool power_ill(void);
/* A shard had its turn. */
void power_turned(unsigned shard);
/* While the broker stops, the store's thread may be slow, or quick. */
bool power_store_rests(void);
void power_meanwhile(struct store *store);
/* What was done before that is on disk, ms. */
uint64_t power_sure(void);

/* verify.c: what must be true when all is over. */
const char *verify_unsettled(void);
void verify_deliveries(void);
void verify_retained(struct client *auditor);
void verify_empty(void);
/* What tools say of the store; empty: nothing may be left in it. */
void verify_store(bool empty);
/* Messages that this life of the broker has dropped. */
uint64_t verify_dropped(void);

/* seam.c: what stands in for the machine. */
void seam_start(void);
void seam_memory(unsigned of_1000); /* allocations of the broker that fail */
void seam_files(bool out);	    /* no descriptors left */
void seam_grace(bool all);	    /* grace periods end */
unsigned seam_retiring(void);
long seam_refused(void);
bool seam_inside(bool inside); /* the broker's own code runs; what was */

#endif
