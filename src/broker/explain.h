/* SPDX-License-Identifier: Apache-2.0
 * explain - what a running broker would decide, and by which rule: about a
 *           client that is here, or somebody who is not.
 *
 * Owns:    what is returned belongs to the caller.
 * Threads: any but a shard's; a shard answers by call.h.
 */
#ifndef NJ_BROKER_EXPLAIN_H
#define NJ_BROKER_EXPLAIN_H

#include "auth/suppose.h"

struct broker;

struct explained {
	bool may, each;
	bool here;	    /* a session of that client answered for itself */
	bool sure;	    /* one listener's rules, named or the only ones */
	bool granted;	    /* all the same: acl_deny_subscribe is off */
	char rule[512];	    /* that decided */
	char user[256];	    /* whose rights they were; escaped */
	char listener[128]; /* whose rules */
	char text[640];	    /* a sentence */
};

/*
 * With a client_id of which there is a session and without a user, the session
 * answers, with its groups and address.  listener: "8883", "0.0.0.0:8883" or a
 * path; empty: the client's, else the first.  NJ_NOTFOUND: there is none such.
 */
NJ_MUST enum nj_err explain(struct broker *b, const struct supposed *s,
    unsigned timeout_ms, struct explained *out, struct nj_why *why);

#endif
