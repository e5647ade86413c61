/* SPDX-License-Identifier: Apache-2.0
 * decide - the one choke point of authorization.
 *
 * Threads: any; pure.
 * Rules:   the built-in ones first, then the listener's users, groups and
 *          roles; what these do not decide is the acl_file's.
 * Spec:    MQTT 5.0 4.7.2.
 */
#ifndef NJ_AUTH_DECIDE_H
#define NJ_AUTH_DECIDE_H

#include <stdbool.h>

#include "auth/acl.h"
#include "auth/principal.h"
#include "auth/roles.h"
#include "base/slice.h"

enum action {
	ACTION_PUBLISH,
	ACTION_SUBSCRIBE,
	ACTION_RECEIVE,
	ACTION_UNSUBSCRIBE /* only roles can forbid it */
};

/* Who asks, and the rules where he came in. */
struct asker {
	const struct principal *who; /* NULL: the broker itself, which may do
				      * everything */
	struct slice client_id;
	const struct acl *acl;	   /* NULL: only the built-in rules */
	const struct roles *roles; /* NULL: none */
};

struct decision {
	const char *text; /* the rule that decided; as long as acl and roles */
	/* ACTION_SUBSCRIBE: */
	bool each; /* not all that matches may be read */
	bool firm; /* with a no: whatever acl_deny_subscribe says */
};

/* topic: a name, for a subscription its filter, whole: in an acl_file one is
 * denied when nothing that matches it, without $share/group/, may be read.  In an acl_file a user
 * name counts that nobody proved, where nobody has to (Mosquitto's way). */
bool decide(const struct asker *a, enum action what, struct slice topic,
    struct decision *why);

#endif
