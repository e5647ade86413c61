/* SPDX-License-Identifier: Apache-2.0
 * systree - the broker's figures as retained messages below $SYS/broker/.
 *
 * Owns:    the last published values.
 * Threads: shard 0.
 * Spec:    MQTT 5.0 4.7.2; the names are Mosquitto's.
 */
#ifndef NJ_BROKER_SYSTREE_H
#define NJ_BROKER_SYSTREE_H

#include "base/err.h"
#include "base/mailbox.h"

struct broker;
struct shard;
struct systree;

/* Sets b->systree and arms shard 0's timer. */
NJ_MUST enum nj_err systree_new(struct broker *b);
void systree_free(struct systree *t);
/* Publishes a LETTER_LOG and frees it. */
void systree_log(struct shard *sh, struct letter *l);
/* The interval may have changed. */
void systree_reload(struct shard *sh);

#endif
