/* SPDX-License-Identifier: Apache-2.0
 * msg - one application message, one allocation, shared by all its receivers.
 *
 * Owns:    its bytes; freed with the last reference.
 * Threads: immutable once shared; references are counted atomically, so any
 *          thread may hold one.
 * Bounds:  the packet it came in (max_packet_size).
 * Spec:    MQTT 5.0 3.3.
 */
#ifndef NJ_CORE_MSG_H
#define NJ_CORE_MSG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "wire/frame.h"
#include "wire/packet.h"

#define MSG_NEVER UINT64_MAX

struct msg {
	atomic_uint refs;
	uint32_t props_len;
	uint32_t payload_len;
	uint32_t source_len;
	uint16_t topic_len;
	uint8_t qos;	     /* as published */
	bool retain;	     /* as published */
	bool promised;	     /* no queue was full when it was taken */
	uint64_t expires_at; /* mono ms; MSG_NEVER */
	uint64_t keep_id;    /* in the store; 0: none yet; the store's thread */
	uint64_t from; /* number of the publishing session, for No Local; 0 */
	/* u16 topic length, topic, payload, properties that are passed on
	 * (wire form, no length; expiry, alias and identifiers taken out),
	 * and who published it, as one more property that is not passed on */
	uint8_t data[];
};

static inline struct slice
msg_topic(const struct msg *m)
{
	return slice_of(m->data + 2, m->topic_len);
}

static inline struct slice
msg_payload(const struct msg *m)
{
	return slice_of(m->data + 2 + m->topic_len, m->payload_len);
}

static inline struct slice
msg_props(const struct msg *m)
{
	return slice_of(
	    m->data + 2 + m->topic_len + m->payload_len, m->props_len);
}

/* For whoever wrote it; empty: nobody is remembered. */
static inline struct slice
msg_source(const struct msg *m)
{
	return slice_of(
	    m->data + 2 + m->topic_len + m->payload_len + m->props_len,
	    m->source_len);
}

/* topic is given apart because p->topic is empty when an alias stood for it.
 * now_ms dates the expiry. */
NJ_MUST enum nj_err msg_new(const struct publish *p, struct slice topic,
    uint64_t now_ms, struct msg **out);
/* The same; source is a property in wire form. */
NJ_MUST enum nj_err msg_new_from(const struct publish *p, struct slice topic,
    uint64_t now_ms, struct slice source, struct msg **out);
/*
 * A large packet is received where its message will be, so that its payload is
 * not copied again.  msg_room() gives the buffer for the PUBLISH that in begins
 * with, f as of frame_take(), in which it is to be put; false: there is none for
 * it, its properties have not all come, or memory is short.  msg_adopt() then
 * makes the message of what in holds, whole, and empties in; p and topic may
 * have been in it.  False: nothing was done, since that is another packet, or
 * the message is not made of the same parts.
 */
bool msg_room(
    struct slice in, const struct frame *f, enum mqtt_ver v, struct buf *out);
bool msg_adopt(struct buf *in, const struct publish *p, struct slice topic,
    uint64_t now_ms, struct msg **out);
/* One that was stored: data is what struct msg has there.  NJ_MALFORMED. */
NJ_MUST enum nj_err msg_restore(struct slice data, uint16_t topic_len,
    uint32_t payload_len, bool has_source, struct msg **out);
/* The next property in wire form and all its bytes; for those that may stand
 * in a PUBLISH or a will. */
NJ_MUST enum nj_err
msg_next_prop(struct slice *raw, uint8_t *id, struct slice *whole);
static inline struct msg *
msg_ref(struct msg *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}
/* n references at once. */
static inline void
msg_ref_n(struct msg *m, unsigned n)
{
	atomic_fetch_add_explicit(&m->refs, n, memory_order_relaxed);
}
void msg_unref(struct msg *m); /* NULL is fine */
/* n references at once, which are not the last. */
static inline void
msg_unref_n(struct msg *m, unsigned n)
{
	atomic_fetch_sub_explicit(&m->refs, n, memory_order_release);
}
/* Bytes it occupies, for quotas. */
size_t msg_size(const struct msg *m);

#endif
