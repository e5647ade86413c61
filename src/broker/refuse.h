/* SPDX-License-Identifier: Apache-2.0
 * refuse - no to a client that wants to come in: CONNACK, the log, the record of
 *          failures, and the end of the connection.
 *
 * Threads: the connection's shard.
 * Spec:    MQTT 5.0 3.2.2.2 and 4.13; MQTT 3.1.1 3.1.4 and 3.2.2.3.
 */
#ifndef NJ_BROKER_REFUSE_H
#define NJ_BROKER_REFUSE_H

#include "auth/chain.h"
#include "broker/conn.h"

/* why is for the log and, openly or if it helps an honest client, for CONNACK's
 * reason string. */
void connect_refuse_as(
    struct conn *c, enum mqtt_rc rc, const char *why, bool openly);
/* The same, not openly; always NJ_OK: the client has its answer. */
enum nj_err connect_refuse(struct conn *c, enum mqtt_rc rc, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));
/* The same for one that has shown who it is: the log has its client identifier. */
enum nj_err
connect_refuse_known(struct conn *c, struct slice id, enum mqtt_rc rc,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* What a login that ended so is told. */
enum mqtt_rc connect_refusal_of(enum auth_reason reason);

#endif
