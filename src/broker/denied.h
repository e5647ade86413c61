/* SPDX-License-Identifier: Apache-2.0
 * denied - a line in the log for what rules did not allow, with the rule: once
 *          a minute for each client, topic and action.
 *
 * Owns:    a table in the shard; whom it has no room for is told of again.
 * Threads: the shard's.
 * Bounds:  DENIED_KNOWN, and GUARD_REFUSALS lines a second.
 */
#ifndef NJ_BROKER_DENIED_H
#define NJ_BROKER_DENIED_H

#include "auth/decide.h"
#include "base/slice.h"

#define DENIED_WAYS  4
#define DENIED_KNOWN 1024 /* a power of two */

struct conn;

struct denied {
	struct {
		uint64_t key;	/* of client, topic and action */
		uint64_t until; /* mono ms; then it is told of again */
	} known[DENIED_KNOWN];
};

/* rule: what decided. */
void denied_log(
    struct conn *c, enum action what, struct slice topic, const char *rule);

#endif
