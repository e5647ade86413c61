/* SPDX-License-Identifier: Apache-2.0
 * failures - the broker's record of who did not get in, and why: what
 *            `nightjar doctor --last` reads.
 *
 * Strangers write into it, so it is a ring of fixed size, and what one address
 * does again is counted and not kept again.
 *
 * Owns:    its entries.
 * Threads: any; one lock, held for one entry's copying.
 * Bounds:  FAILURES_MAX entries; the one that was quiet longest goes first.
 */
#ifndef NJ_BROKER_FAILURES_H
#define NJ_BROKER_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define FAILURES_MAX 128

enum failure_stage {
	FAILURE_CONNECTING, /* limits, before a byte was read */
	FAILURE_PROXY,	    /* the PROXY header */
	FAILURE_TLS,
	FAILURE_WEBSOCKET,
	FAILURE_CONNECT, /* what came instead of one, or nothing */
	FAILURE_LOGIN,
	FAILURE_ENROLMENT
};

struct failure {
	int64_t first_ms, last_ms; /* Unix time */
	uint32_t count;
	enum failure_stage stage;
	bool by_client;	   /* the client refused us, or went away */
	char peer[64];	   /* address and port; the latest */
	char listener[64]; /* "port 8883" */
	char what[512];
	char mend[384]; /* "" */
};

struct failures;

NJ_MUST enum nj_err failures_new(struct failures **out);
void failures_free(struct failures *f);
/* first_ms, last_ms and count are not looked at; an empty mend is filled in
 * where one is known. */
void failures_add(struct failures *f, const struct failure *one, int64_t now);
/* The newest first; how many. */
unsigned
failures_copy(const struct failures *f, struct failure *dst, unsigned max);
/* "TLS handshake" */
const char *failure_stage_name(enum failure_stage s);
/* Where in a refusal what mends it begins ("...; nightjar passwd F U"); NULL:
 * it does not say. */
const char *failure_advice(const char *what);
/* What mends one that does not say; "" when nothing is known. */
const char *failure_mend(const char *what);

#endif
