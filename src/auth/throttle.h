/* SPDX-License-Identifier: Apache-2.0
 * throttle - how often one address may connect, and how soon it may try the
 *            next password.
 *
 * Connections: a bucket of tokens for each address.  Failed logins: a count
 * that melts with time; past what is free, each failure doubles the time for
 * which the address is not listened to.  A login that succeeds changes
 * nothing, so that one account of one's own does not help to guess others.
 * IPv6 counts by /64, for that is what one customer gets.
 *
 * Owns:    its table.
 * Threads: any; one lock inside, held for a table look-up.
 * Bounds:  max_addresses, then the longest unseen is forgotten; counted.
 */
#ifndef NJ_AUTH_THROTTLE_H
#define NJ_AUTH_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct throttle_opts {
	size_t max_addresses;
	uint32_t connects_per_s; /* 0: no limit */
	uint32_t connects_burst;
	uint32_t failures_free;	   /* before the first wait */
	uint32_t failure_melts_ms; /* one failure is forgotten in that */
	uint32_t wait_first_ms, wait_max_ms; /* 0: never waits */
};

struct throttle;

struct throttle_stats {
	size_t addresses;
	uint64_t evicted, connects_refused, logins_refused;
};

/* 65,536 addresses; 20 connections a second, 200 at once; 5 failures free,
 * one forgotten each 30 s; 1 s to 60 s. */
struct throttle_opts throttle_defaults(void);
NJ_MUST enum nj_err
throttle_new(const struct throttle_opts *o, struct throttle **out);
void throttle_free(struct throttle *t);

/* addr: the 4 or 16 bytes of the address.  Anything else (a local socket) is
 * never throttled. */

/* Takes one token; false when there is none. */
bool throttle_connect(struct throttle *t, struct slice addr, uint64_t now_ms);
/* Milliseconds until the address may try a login; 0: now. */
uint64_t
throttle_login_wait(struct throttle *t, struct slice addr, uint64_t now_ms);
void
throttle_login_failed(struct throttle *t, struct slice addr, uint64_t now_ms);
void throttle_stats(struct throttle *t, struct throttle_stats *out);

#endif
