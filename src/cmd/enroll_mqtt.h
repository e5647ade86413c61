/* SPDX-License-Identifier: Apache-2.0
 * enroll_mqtt - one question of enrolment over MQTT, waited for: what net/https.h
 *               is for EST.
 *
 * Owns:    nothing that stays.
 * Threads: any; blocks.
 * Bounds:  timeout_ms for all of it; HTTPS_BODY_MAX bytes of answer.
 */
#ifndef NJ_CMD_ENROLL_MQTT_H
#define NJ_CMD_ENROLL_MQTT_H

#include "net/https.h"

struct enroll_mqtt {
	const char *host;
	uint16_t port;
	/* Of whom the broker's certificate must be; NULL: it is not looked at,
	 * and nothing that is secret may be said. */
	const char *cafile;
	const char *certfile, *keyfile; /* what is shown; NULL: none */
	const char *user;		/* NULL: none */
	const char *token;		/* NULL: none */
	int timeout_ms;
};

/* op: as EST calls it.  The answer is as EST's: certificates as PKCS#7 in
 * base64, or words. */
NJ_MUST enum nj_err enroll_mqtt_ask(const struct enroll_mqtt *o, const char *op,
    struct slice request, struct https_result *out, struct nj_why *why);

#endif
