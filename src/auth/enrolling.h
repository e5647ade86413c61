/* SPDX-License-Identifier: Apache-2.0
 * enrolling - the topics by which a device gets and renews its certificate, and
 *             who may use which.
 *
 *	$nightjar/enroll/OP[/FORM]		asked by the device
 *	$nightjar/enroll/reply/ID/OP/WHAT	the answer, to that device alone
 *
 * OP is cacerts, csrattrs, simpleenroll or simplereenroll, as EST calls them;
 * FORM pem, der or p7; WHAT ok, wait or error.  ID is the device's name, or "-"
 * for who has not said one.  All below $nightjar/ is decided here, whatever
 * else rules say.
 *
 * Threads: pure.
 */
#ifndef NJ_AUTH_ENROLLING_H
#define NJ_AUTH_ENROLLING_H

#include <stdbool.h>

#include "base/slice.h"

#define ENROLLING_LEVEL "$nightjar"
#define ENROLLING_TOPIC "$nightjar/enroll/"
#define ENROLLING_REPLY "$nightjar/enroll/reply/"
/* The user name, without a password, that may only look at what is public. */
#define ENROLLING_NOBODY "$enroll"
#define ENROLLING_NO_ID	 "-"
/* So long may a connection last that can do nothing else, in seconds. */
#define ENROLLING_STAY_S 900
#define ENROLLING_LOOK_S 60

/* What a client may do of it. */
enum enrolling {
	ENROLLING_NOT,
	ENROLLING_BESIDES, /* it has its certificate, and renews it */
	/* these may do nothing else: */
	ENROLLING_NEW,	/* it has a token */
	ENROLLING_LATE, /* its certificate has ended */
	ENROLLING_LOOK
};

enum enrolling_op {
	ENROLLING_CACERTS,
	ENROLLING_ATTRIBUTES,
	ENROLLING_ENROLL,
	ENROLLING_REENROLL
};
enum enrolling_form { ENROLLING_PEM, ENROLLING_DER, ENROLLING_P7 };

/* Below $nightjar, a filter too. */
bool enrolling_is_topic(struct slice topic);
/* Taken apart; false: there is no such request. */
bool enrolling_request(
    struct slice topic, enum enrolling_op *op, enum enrolling_form *form);
const char *enrolling_op_name(enum enrolling_op op);

/* *why: the rule that decided; static. */
bool
enrolling_may_ask(enum enrolling right, struct slice topic, const char **why);
/* topic: or a filter. */
bool enrolling_may_read(enum enrolling right, struct slice id,
    struct slice topic, const char **why);

#endif
