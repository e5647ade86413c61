/* SPDX-License-Identifier: Apache-2.0
 * delivery - one message on its way to one session, and the subscription
 *            identifiers that go with it.
 *
 * Owns:    a reference on the message and its identifier list.
 * Threads: the session's home shard.
 * Bounds:  as many identifiers as the session has subscriptions that match
 *          (max_subscriptions); they count in the queue's bytes.
 * Spec:    MQTT 5.0 3.3.2.3.8, 3.3.4.
 */
#ifndef NJ_CORE_DELIVERY_H
#define NJ_CORE_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/msg.h"

/*
 * 0: none; odd: one identifier, shifted left by one; else a pointer to a
 * struct id_list.  Most deliveries have none or one, and cost no allocation.
 */
typedef uintptr_t ids_t;

/* A function that only prefetches: the compiler would leave out its calls. */
#define NJ_PREFETCHES static inline __attribute__((always_inline))

struct id_list {
	uint32_t n, cap;
	uint32_t v[];
};

/* Where an outbound QoS 1 or 2 message stands (4.3.2, 4.3.3). */
enum delivery_state {
	DELIVERY_QUEUED = 0,
	DELIVERY_WAIT_PUBACK,
	DELIVERY_WAIT_PUBREC,
	DELIVERY_WAIT_PUBCOMP /* msg was released */
};

enum {
	HELD_FIRST = 1, /* not sent yet */
	HELD_AGAIN,
	HELD_NEVER /* nor before the connection ended: the client knows nothing */
};

struct delivery {
	struct msg *msg;
	ids_t ids;
	uint64_t key; /* of the entry on disk; 0: there is none; keep.h */
	uint32_t rec; /* where its last record is in the shard's batch */
	uint32_t seq; /* order of first sending within the session */
	uint16_t pid; /* packet identifier; 0 at QoS 0 and in queues */
	uint8_t qos : 2;
	uint8_t retain : 1;
	uint8_t unsent : 1; /* to be sent again on this connection */
	uint8_t moved : 1;  /* from another session's queue, or promised to a
			     * group: has room beyond the limits */
	uint8_t state : 2;  /* enum delivery_state */
	uint8_t unkept : 1; /* there was no memory to record state and pid */
	uint8_t held;	    /* HELD_*: is sent when it is on disk */
	uint8_t share;	    /* the shared subscription it came by, as the
			     * session numbers them; 0: none */
};

/* Adds id (0: nothing) to *ids [MQTT-3.3.4-3], [-4]; forgets it without
 * memory. */
void ids_add(ids_t *ids, uint32_t id);
void ids_free_list(ids_t ids);
static inline void
ids_free(ids_t ids)
{
	if (ids != 0 && !(ids & 1))
		ids_free_list(ids);
}
unsigned ids_count(ids_t ids);
uint32_t ids_at(ids_t ids, unsigned i);
/* Bytes of message and identifiers, for quotas. */
size_t delivery_size(const struct delivery *d);
/* Drops message and identifiers. */
void delivery_fini(struct delivery *d);

#endif
