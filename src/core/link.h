/* SPDX-License-Identifier: Apache-2.0
 * link - what a session knows of its connection: bytes to send, and the
 *        limits the client set.
 *
 * Owns:    the output buffer, what is lent to it, and the outbound topic aliases.
 * Threads: the home shard.
 * Bounds:  soft bytes of unsent output, then QoS 0 is dropped and QoS 1 and 2
 *          wait in the session's queue.
 * Spec:    MQTT 5.0 3.1.2.11, 3.3.2.3.4.
 */
#ifndef NJ_CORE_LINK_H
#define NJ_CORE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/alias.h"
#include "core/delivery.h"
#include "core/loans.h"
#include "core/mount.h"
#include "wire/mqtt.h"

struct link;

struct link_ops {
	/* The first bytes of a turn are about to be appended: remember the
	 * link for the flush at the turn's end. */
	void (*kick)(struct link *l);
	/* Much has gathered within one turn: write now what can be. */
	void (*flush)(struct link *l);
	/* No memory for what must be said: the connection ends when the turn
	 * does, and the session says it on the next. */
	void (*fail)(struct link *l);
	/* PUBLISH (of what is in flight), or an acknowledgement, that is to
	 * be sent when all that was recorded before is on disk. */
	void (*later)(struct link *l, enum mqtt_type type, uint16_t id,
	    enum mqtt_rc code);
	/* Whether the client may see a topic that begins with $ for it; only
	 * asked where there is a mount. */
	bool (*sees)(struct link *l, struct slice topic);
};

struct link {
	struct aliases aliases; /* outbound; max 0: the client takes none */
	uint32_t soft;		/* bytes */
	uint32_t max_packet;	/* the client's; 0: none [MQTT-3.1.2-24] */
	uint32_t held;		/* waits for the disk; link_ops.later */
	/* what each PUBLISH needs: with what stands behind the link for
	 * link_ops.kick two cache lines, link_prefetch() */
	uint32_t packets; /* appended and not yet counted as sent */
	struct buf out;
	struct loans *loans; /* payloads between its bytes; NULL: none */
	const struct link_ops *ops;
	const struct mount *mount; /* the session's; NULL: none */
	uint16_t window;	   /* QoS 1 and 2 in flight at most */
	uint8_t version;	   /* enum mqtt_ver */
	bool kicked;
	bool blocked;  /* the socket took less than there was */
	bool closing;  /* nothing more is appended */
	bool explains; /* the client takes reason strings */
	bool gathers;  /* its stream writes pieces as they are */
};

/* A message is about to go to it. */
NJ_PREFETCHES void
link_prefetch(const struct link *l)
{
	__builtin_prefetch(&l->out);
	__builtin_prefetch((const char *)&l->out + 64);
}

void link_fini(struct link *l);

/* Bytes that have not left. */
static inline size_t
link_unsent(const struct link *l)
{
	return buf_len(&l->out) + (l->loans ? l->loans->bytes : 0);
}

/* Unsent bytes are above the soft bound and a flush did not help. */
bool link_congested(struct link *l);

/* Whether nothing of it may be seen by the client, because of its mount. */
bool link_hides(struct link *l, const struct msg *m);

/* Whether the client takes a packet with so many bytes behind its fixed
 * header [MQTT-3.1.2-24]. */
bool link_fits(const struct link *l, uint32_t remaining);

static inline void
link_kick(struct link *l)
{
	if (!l->kicked)
		l->ops->kick(l);
}

/*
 * Appends a PUBLISH.  NJ_TOOBIG: larger than the client takes, or nothing for
 * it because of its mount (nothing was
 * appended; the message counts as delivered).  NJ_EOF: closing.
 */
NJ_MUST enum nj_err link_publish(
    struct link *l, const struct delivery *d, bool dup, uint64_t now_ms);
/* Appends PUBACK, PUBREC, PUBREL or PUBCOMP. */
NJ_MUST enum nj_err
link_ack(struct link *l, enum mqtt_type type, uint16_t id, uint8_t code);

#endif
