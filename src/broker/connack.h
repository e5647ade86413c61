/* SPDX-License-Identifier: Apache-2.0
 * connack - the answer to CONNECT.
 *
 * Threads: the connection's shard.
 * Spec:    MQTT 5.0 3.2; MQTT 3.1.1 3.2.
 */
#ifndef NJ_BROKER_CONNACK_H
#define NJ_BROKER_CONNACK_H

#include "broker/conn.h"

/* What only on_connect.c knows. */
struct connack_in {
	bool present;
	struct slice id;	    /* its session's */
	struct slice assigned_id;   /* empty: the client's own */
	uint16_t server_keep_alive; /* 0: the client's own */
	uint32_t expiry_asked;	    /* seconds */
	uint32_t expiry_given;
	struct slice auth_data; /* empty: none */
};

/* Whether the client takes what connack_accept would write. */
bool connack_fits(
    const struct conn *c, const struct connect *k, const struct connack_in *in);
/* NJ_TOOBIG: the client does not take so large a packet.  After an error nothing was
 * written. */
NJ_MUST enum nj_err connack_accept(
    struct conn *c, const struct connect *k, const struct connack_in *in);
/* why becomes the reason string of a 5.0 CONNACK unless it tells an attacker
 * something; openly: it never does. */
void
connack_refuse(struct conn *c, enum mqtt_rc rc, const char *why, bool openly);

#endif
