/* SPDX-License-Identifier: Apache-2.0
 * inflight - outbound QoS 1 and 2 messages that the client has not finished,
 *            and inbound QoS 2 identifiers it has not released.
 *
 * Owns:    the deliveries.  Zeroed: empty, and without spare tables.
 * Threads: the home shard.
 * Bounds:  65,535 by the protocol; the window is the caller's.  A place is
 *          found by its packet identifier in a step or two.
 * Spec:    MQTT 5.0 4.3, 4.4, 4.6, 4.9.
 */
#ifndef NJ_CORE_INFLIGHT_H
#define NJ_CORE_INFLIGHT_H

#include "core/delivery.h"

/* Large tables that were emptied: the next session that needs one has it, instead
 * of memory that the system has to make first.  A shard's.  Zeroed: none. */
#define TABLES_MAX   128u
#define TABLES_BYTES (4u * 1024 * 1024)

struct tables {
	struct {
		struct delivery *v;
		uint32_t cap;
	} spare[TABLES_MAX];
	uint32_t n;
	uint32_t bytes;
};
void tables_fini(struct tables *t);

struct inflight {
	struct delivery *v; /* open addressing by pid; 0: free slot */
	uint32_t cap, n;
	uint32_t seq;
	uint32_t astray; /* of n, not in their own slot */
	uint16_t last_pid;
	uint16_t waiting; /* sent on this connection and not finished */
	uint16_t *resend; /* identifiers to send again, oldest first */
	uint32_t resend_n, resend_at;
	struct tables *tables; /* NULL: none */
};

/* A packet identifier's own slot in a table of cap.  Those that follow one
 * another are neighbours, eight at a time, and no more: what is taken out of a
 * long row can leave all of it to be looked at. */
static inline uint32_t
inflight_slot(uint16_t pid, uint32_t cap)
{
	uint32_t eight = (pid >> 3) * 40503u >> 4;

	return (eight << 3 | (pid & 7)) & (cap - 1);
}

/* Chooses a free packet identifier [MQTT-2.2.1-3] (want, if it is one; 0: any),
 * moves *d in, and gives where it now is (until the next call that changes the
 * table). */
NJ_MUST enum nj_err inflight_add(struct inflight *f, const struct delivery *d,
    uint16_t want, struct delivery **at);
/* The same for one that the caller writes to where it is: all but pid and seq,
 * which stand there. */
NJ_MUST enum nj_err
inflight_place(struct inflight *f, uint16_t want, struct delivery **at);
/* One of an earlier life of the broker, at its identifier, behind those that
 * are there.  NJ_EXISTS: the identifier is taken. */
NJ_MUST enum nj_err
inflight_restore(struct inflight *f, const struct delivery *d);
/* Room for one more, so that the next inflight_add finds memory. */
NJ_MUST enum nj_err inflight_reserve(struct inflight *f);
/* NULL when it is not in flight. */
struct delivery *inflight_find(struct inflight *f, uint16_t pid);
/* pid is about to be looked for, or the next one to be added (0). */
NJ_PREFETCHES void
inflight_prefetch(const struct inflight *f, uint16_t pid)
{
	if (!pid)
		pid = (uint16_t)(f->last_pid + 1);
	if (f->cap > 0) {
		const struct delivery *d = &f->v[inflight_slot(pid, f->cap)];

		/* it may reach into a second line */
		__builtin_prefetch(d, 1);
		__builtin_prefetch(&d->pid, 1);
	}
}

/* Finishes it. */
void inflight_done(struct inflight *f, struct delivery *d);
/* A new connection: all are to be sent again [MQTT-4.4.0-1]. */
NJ_MUST enum nj_err inflight_restart(struct inflight *f);
/* The oldest still to be sent again, in the order of first sending
 * [MQTT-4.6.0-1]; NULL when none is left. */
struct delivery *inflight_next_unsent(struct inflight *f);
void inflight_clear(struct inflight *f);

/* A set of packet identifiers.  Zeroed: empty. */
struct idset {
	uint16_t *slots; /* open addressing; 0: free */
	uint32_t cap, n;
};
bool idset_has(const struct idset *s, uint16_t id);
NJ_MUST enum nj_err idset_add(struct idset *s, uint16_t id);
bool idset_del(struct idset *s, uint16_t id);
void idset_fini(struct idset *s);

#endif
