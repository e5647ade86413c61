/* SPDX-License-Identifier: Apache-2.0
 * expiry - what a listener serves with and believes, and when it ends: a line in
 *          the log each day where that is soon, and the dates for $SYS and who
 *          asks.
 *
 * Owns:    nothing.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_EXPIRY_H
#define NJ_CMD_EXPIRY_H

#include <stddef.h>
#include <stdint.h>

#include "broker/broker.h"

#define EXPIRY_WARN_DAYS      30
#define EXPIRY_WARN_CA_DAYS   90
#define EXPIRY_WARN_LIST_DAYS 2

/* Zeroed: the first lines come a day after the first call, since the start has
 * told already. */
struct expiry {
	int64_t next; /* Unix seconds */
};

void expiry_tick(struct expiry *x, const struct port_opts *ports, size_t n,
    int64_t now, struct broker_dates *out);

#endif
