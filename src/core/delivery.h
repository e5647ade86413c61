/* SPDX-License-Identifier: Apache-2.0
 * delivery - one message on its way to one session, and the subscription
 *            identifiers that go with it.
 *
 * Owns:    a reference on the message and its identifier list.
 * Threads: the session's home shard.
 * Bounds:  IDS_MAX identifiers; more overlapping ones are left out.
 * Spec:    MQTT 5.0 3.3.2.3.8, 3.3.4.
 */
#ifndef NJ_CORE_DELIVERY_H
#define NJ_CORE_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/msg.h"

#define IDS_MAX 64

/*
 * 0: none; odd: one identifier, shifted left by one; else a pointer to a
 * struct id_list.  Most deliveries have none or one, and cost no allocation.
 */
typedef uintptr_t ids_t;

struct id_list {
	uint32_t n;
	uint32_t v[IDS_MAX];
};

/* Where an outbound QoS 1 or 2 message stands (4.3.2, 4.3.3). */
enum delivery_state {
	DELIVERY_QUEUED = 0,
	DELIVERY_WAIT_PUBACK,
	DELIVERY_WAIT_PUBREC,
	DELIVERY_WAIT_PUBCOMP /* msg was released */
};

struct delivery {
	struct msg *msg;
	ids_t ids;
	uint32_t seq; /* order of first sending within the session */
	uint16_t pid; /* packet identifier; 0 at QoS 0 and in queues */
	uint8_t qos : 2;
	uint8_t retain : 1;
	uint8_t unsent : 1; /* to be sent again on this connection */
	uint8_t state : 4;  /* enum delivery_state */
};

/* Adds id (0: nothing) to *ids; forgets it without memory or room. */
void ids_add(ids_t *ids, uint32_t id);
void ids_free(ids_t ids);
unsigned ids_count(ids_t ids);
uint32_t ids_at(ids_t ids, unsigned i);
/* Drops message and identifiers. */
void delivery_fini(struct delivery *d);

#endif
