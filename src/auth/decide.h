/* SPDX-License-Identifier: Apache-2.0
 * decide - the one choke point of authorization.
 *
 * Threads: any; pure.
 * Spec:    MQTT 5.0 4.7.2.  For now the built-in rules; ACL files, groups and
 *          roles are compiled into the same call.
 */
#ifndef NJ_AUTH_DECIDE_H
#define NJ_AUTH_DECIDE_H

#include <stdbool.h>

#include "auth/principal.h"
#include "base/slice.h"

enum action { ACTION_PUBLISH, ACTION_SUBSCRIBE, ACTION_RECEIVE };

struct decision {
	const char *text; /* the rule that decided; static */
};

/* topic: a name, for ACTION_SUBSCRIBE a filter (without $share/group/).
 * who may be NULL (the broker itself), which may do everything. */
bool decide(const struct principal *who, enum action what, struct slice topic,
    struct decision *why);

#endif
