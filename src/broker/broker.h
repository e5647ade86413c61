/* SPDX-License-Identifier: Apache-2.0
 * broker - all shards and what they share.
 *
 * Owns:    shards, index, retained messages, the references in its ports.
 * Threads: broker_new and broker_free on the main thread.  broker_start makes
 *          a thread a shard; a test instead calls broker_turn, which runs one
 *          turn of every shard on the calling thread.
 */
#ifndef NJ_BROKER_BROKER_H
#define NJ_BROKER_BROKER_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/log.h"
#include "broker/opts.h"
#include "core/msg.h"

struct broker;
struct failures;

/* Takes the references in opts->ports over on success. */
NJ_MUST enum nj_err broker_new(
    const struct broker_opts *opts, struct broker **out, struct nj_why *why);
NJ_MUST enum nj_err broker_start(struct broker *b, struct nj_why *why);
/* One turn of each shard on this thread; for tests and simulations. */
void broker_turn(struct broker *b, int timeout_ms);
/* Tells clients (0x8B), sends wills, ends the threads.  Any thread but a
 * shard's; broker_free may follow. */
void broker_stop(struct broker *b);
void broker_free(struct broker *b);

/* New limits, certificates and authenticators for ports that stay; taken by
 * the shards between two turns, connections live on.  n must be the number of
 * ports the broker has; references are taken over. */
NJ_MUST enum nj_err broker_reload(struct broker *b,
    const struct broker_limits *limits, struct port_opts *ports, size_t n);

/*
 * The main thread's, around a reload.  Connections that come meanwhile wait in
 * the kernel, a second at the most: who connects after the signal is to find
 * what he was promised by it.
 */
void broker_reload_begins(struct broker *b);
void broker_reload_ends(struct broker *b);

/* Looks at the certificates of all who are connected again, after the lists of
 * revoked ones have changed.  Any thread. */
void broker_recheck(struct broker *b);

/* Who did not get in; failures.h.  Lives as long as the broker. */
struct failures *broker_failures(const struct broker *b);

/* When the first of what we serve with ends, Unix seconds, 0: there is none; for
 * $SYS and who asks.  The main thread tells, any thread asks. */
struct broker_dates {
	int64_t server, cas, lists;
};
void broker_tell_dates(struct broker *b, const struct broker_dates *d);
void broker_dates(const struct broker *b, struct broker_dates *out);

/* A line for log_dest topic, below $SYS/broker/log/; any thread. */
void broker_log_line(struct broker *b, enum log_type type, const char *line);

/* How many shards 0 means. */
unsigned broker_usable_cpus(void);
unsigned broker_shards(const struct broker *b);

#endif
