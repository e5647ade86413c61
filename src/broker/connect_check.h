/* SPDX-License-Identifier: Apache-2.0
 * connect_check - what can be said of a CONNECT before it is known who sent it:
 *                 whether its listener, the limits and the specification let it
 *                 in as it is.
 *
 * Owns:    nothing; the packet is lent.
 * Threads: the connection's shard.
 * Spec:    MQTT 5.0 3.1, 4.12; MQTT 3.1.1 3.1; MQTT 3.1.
 */
#ifndef NJ_BROKER_CONNECT_CHECK_H
#define NJ_BROKER_CONNECT_CHECK_H

#include "broker/conn.h"

/* Of both: an error says that it was refused, with its CONNACK. */
/* Version, client identifier, will, keep alive. */
NJ_MUST enum nj_err connect_check(struct conn *c, const struct connect *k);
/* The method it asks for is c's from now on, or how to say no [MQTT-4.12.0-1]. */
NJ_MUST enum nj_err
connect_check_method(struct conn *c, const struct connect *k);

#endif
