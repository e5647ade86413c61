/* SPDX-License-Identifier: Apache-2.0
 * fanout - one message to all of a shard's sessions that subscribed to it.
 *
 * A session whose subscriptions overlap gets one copy, at the highest of
 * their QoS and with all their identifiers.
 *
 * Owns:    the list of hits, reused from message to message.
 * Threads: the shard.
 * Spec:    MQTT 5.0 3.3.4, 3.3.5, 3.8.3.1.
 */
#ifndef NJ_CORE_FANOUT_H
#define NJ_CORE_FANOUT_H

#include "core/session.h"

struct hit {
	struct session *session;
	ids_t ids;
	uint8_t qos;
	bool retain;
};

/* Zeroed: empty. */
struct fanout {
	struct hit *v;
	uint32_t n, cap;
};

/* More room; once at the start, so that there is always some. */
NJ_MUST enum nj_err fanout_reserve(struct fanout *f);
void fanout_fini(struct fanout *f);
/* To the subscribers (not the groups) of t[0..n).  How many got it. */
size_t fanout_deliver(struct fanout *f, struct home *h, struct msg *m,
    struct targets *const *t, unsigned n);
/* The QoS of a delivery: the lower of both, or the subscription's. */
static inline uint8_t
fanout_qos(const struct home *h, const struct msg *m, uint32_t id_opts)
{
	uint8_t q = (uint8_t)(id_opts & SUB_QOS);

	return q < m->qos || h->limits.upgrade_qos ? q : m->qos;
}

#endif
