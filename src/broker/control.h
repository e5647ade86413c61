/* SPDX-License-Identifier: Apache-2.0
 * control - commands that clients publish to $CONTROL/dynamic-security/v1, and
 *           to $CONTROL/broker/v1 (listing.h).
 *
 * A worker runs them, because they hash passwords and sync files; meanwhile
 * nothing more is heard from the client.  When it is done, and so durable, the
 * PUBLISH is acknowledged and the answer published, to the client that asked
 * and to nobody else.  Other topics below $CONTROL/ lead nowhere.
 *
 * Owns:    the command while it is under way; it outlives its connection.
 * Threads: the connection's shard; run on a worker.
 * Bounds:  one a connection; the workers' queue.
 */
#ifndef NJ_BROKER_CONTROL_H
#define NJ_BROKER_CONTROL_H

#include "broker/conn.h"

bool control_is_topic(struct slice topic);
/*
 * A PUBLISH that is allowed.  NJ_AGAIN: it is under way, and acknowledged by
 * `ack` (with the reason code) later.  NJ_OK: nothing serves that topic, and
 * it counts as taken.
 */
NJ_MUST enum nj_err
control_take(struct conn *c, const struct publish *p, struct slice topic,
    void (*ack)(struct conn *c, uint8_t qos, uint16_t id, enum mqtt_rc rc));
/* LETTER_CONTROL */
void control_answered(struct shard *sh, struct letter *l);
/* The connection is going away. */
void control_abandon(struct conn *c);

/* Its user may not go on; no will is sent.  Now, or when its command has been
 * answered. */
void control_end(struct conn *c);
void control_end_after(struct conn *c);

#endif
