/* SPDX-License-Identifier: Apache-2.0
 * enroll - devices that ask for their certificate over MQTT: who may come in for
 *          that, and what they publish below $nightjar/enroll/.
 *
 * The same questions as by EST, to the same signer (question.h).  A request is
 * acknowledged when it is taken; the answer is a message of its own, to the
 * client that asked (whether it has subscribed or not) and to others that are
 * the same device and have: one that publishes with one program and listens
 * with another.  An answer to a topic of the client's choice (MQTT 5's response
 * topic) goes to that client alone.
 *
 * Owns:    struct enroll: a question under way, which outlives its connection.
 * Threads: the connection's shard; a worker while it asks.
 * Bounds:  one question a connection at a time, ENROLL_PER_MINUTE; a request of
 *          ENROLL_REQUEST_MAX bytes; the workers' queue.
 */
#ifndef NJ_BROKER_ENROLL_H
#define NJ_BROKER_ENROLL_H

#include "auth/enrolling.h"
#include "broker/conn.h"

#define ENROLL_PER_MINUTE  20
#define ENROLL_REQUEST_MAX 32768

/* What a client comes for, by its CONNECT and its certificate.  *why is set
 * when it must be refused. */
enum enrolling
enroll_purpose(const struct conn *c, const struct connect *k, const char **why);

/* A PUBLISH below $nightjar/; the code to acknowledge it with. */
enum mqtt_rc
enroll_publish(struct conn *c, const struct publish *p, struct slice topic);
/* LETTER_ENROLL */
void enroll_answered(struct shard *sh, struct letter *l);
/* The connection is going away. */
void enroll_abandon(struct conn *c);

#endif
