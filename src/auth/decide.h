/* SPDX-License-Identifier: Apache-2.0
 * decide - may this principal do this with this topic?  The one place that
 *          is asked, for every publish, subscription, will and delivery.
 *
 * Threads: any; pure.
 */
#ifndef NJ_AUTH_DECIDE_H
#define NJ_AUTH_DECIDE_H

#include <stdbool.h>

#include "auth/principal.h"
#include "base/slice.h"

struct acl;	/* the operator's rules; none are served yet */

enum action {
	ACT_PUBLISH,	/* wills too, when they are set and when they are sent */
	ACT_SUBSCRIBE,	/* topic is the filter, of $share the inner one */
	ACT_RECEIVE
};

struct verdict {
	bool allow;
	const char *rule;	/* which one decided, for the log */
};

/* acl is NULL when the operator has set no rules: then all is allowed that
 * no built-in rule forbids. */
struct verdict decide(const struct acl *acl, const struct principal *who,
    enum action what, struct slice topic);

#endif
