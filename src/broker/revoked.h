/* SPDX-License-Identifier: Apache-2.0
 * revoked - clients whose certificate was taken back while they are connected.
 *
 * Threads: the shard's.
 * Spec:    MQTT 5.0 3.14.2.1 (0x98, administrative action).
 */
#ifndef NJ_BROKER_REVOKED_H
#define NJ_BROKER_REVOKED_H

#include "broker/conn.h"

bool revoked_conn(const struct conn *c);
/* Ends it if its certificate was revoked, or that of a CA above; true then. */
bool revoked_end(struct conn *c);

#endif
