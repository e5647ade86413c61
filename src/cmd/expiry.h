/* SPDX-License-Identifier: Apache-2.0
 * expiry - a line in the log each day about a listener's certificate that ends
 *          within EXPIRY_WARN_DAYS, while the broker runs.
 *
 * Owns:    nothing.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_EXPIRY_H
#define NJ_CMD_EXPIRY_H

#include <stddef.h>
#include <stdint.h>

#include "broker/opts.h"

#define EXPIRY_WARN_DAYS 30

/* Zeroed: the first look is a day after the first call, since the start has
 * told already. */
struct expiry {
	int64_t next; /* Unix seconds */
};

void expiry_tick(
    struct expiry *x, const struct port_opts *ports, size_t n, int64_t now);

#endif
