/* SPDX-License-Identifier: Apache-2.0
 * reentry - who is connected, and would not come in again as he is by what the
 *           listener asks for since a reload.
 *
 * Threads: the connection's shard, which has taken the new set of ports.
 */
#ifndef NJ_BROKER_REENTRY_H
#define NJ_BROKER_REENTRY_H

#include "broker/conn.h"

struct principal;

/* Of its certificate and address; NULL, or what is against it. */
const char *
reentry_objection(const struct conn *c, const struct principal *who);
/* Disconnects him then, without his will, as Mosquitto does. */
void reentry_check(struct conn *c);

#endif
