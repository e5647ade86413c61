/* SPDX-License-Identifier: Apache-2.0 */
#include "core/msg.h"

#include <assert.h>
#include <string.h>

#include "base/pool.h"
#include "wire/frame.h"

/* What a subscriber gets too (3.3.2.3); the rest concerned one hop only. */
#define PASSED_ON                                                             \
	(PROP_BIT(PROP_PAYLOAD_FORMAT) | PROP_BIT(PROP_CONTENT_TYPE) |        \
	    PROP_BIT(PROP_RESPONSE_TOPIC) | PROP_BIT(PROP_CORRELATION_DATA) | \
	    PROP_BIT(PROP_USER))

/* Skips the value of one property that may stand in a PUBLISH or a will. */
static enum nj_err
skip_value(struct slice *s, uint8_t id)
{
	struct slice part;
	uint32_t v;
	enum nj_err e;

	switch (id) {
	case PROP_PAYLOAD_FORMAT:
		return take_bytes(s, 1, &part);
	case PROP_TOPIC_ALIAS:
		return take_bytes(s, 2, &part);
	case PROP_MESSAGE_EXPIRY:
	case PROP_WILL_DELAY:
		return take_bytes(s, 4, &part);
	case PROP_CONTENT_TYPE:
	case PROP_RESPONSE_TOPIC:
	case PROP_CORRELATION_DATA:
		return take_bin(s, &part);
	case PROP_SUBSCRIPTION_ID:
		return take_varint(s, &v);
	case PROP_USER:
		if ((e = take_bin(s, &part)))
			return e;
		return take_bin(s, &part);
	default:
		return NJ_MALFORMED;
	}
}

enum nj_err
msg_next_prop(struct slice *raw, uint8_t *id, struct slice *whole)
{
	struct slice at = *raw;
	enum nj_err e;

	if ((e = take_u8(&at, id)) || (e = skip_value(&at, *id)))
		return e;
	*whole = slice_of(raw->p, raw->n - at.n);
	*raw = at;
	return NJ_OK;
}

/* Walks raw; copies what is passed on to dst unless that is NULL.  *len is
 * its length.  Few messages need it; the others go without its stack. */
NJ_MUST __attribute__((noinline)) static enum nj_err
pass_on(struct slice raw, uint8_t *dst, size_t *len)
{
	size_t n = 0;

	while (raw.n > 0) {
		struct slice at;
		enum nj_err e;
		uint8_t id;

		if ((e = msg_next_prop(&raw, &id, &at)))
			return e;
		if (!(PASSED_ON & PROP_BIT(id)))
			continue;
		if (dst)
			memcpy(dst + n, at.p, at.n);
		n += at.n;
	}
	*len = n;
	return NJ_OK;
}

static uint64_t
expiry(const struct props *p, uint64_t now_ms)
{
	if (!props_has(p, PROP_MESSAGE_EXPIRY))
		return MSG_NEVER;
	return now_ms + (uint64_t)p->message_expiry * 1000;
}

enum nj_err
msg_new(const struct publish *p, struct slice topic, uint64_t now_ms,
    struct msg **out)
{
	return msg_new_from(p, topic, now_ms, SLICE_NONE, out);
}

enum nj_err
msg_new_from(const struct publish *p, struct slice topic, uint64_t now_ms,
    struct slice source, struct msg **out)
{
	struct slice raw = p->props.raw;
	bool whole = (p->props.seen & ~PASSED_ON) == 0;
	size_t props = raw.n, size;
	struct msg *m;
	enum nj_err e = NJ_OK;
	uint8_t *at;

	if (topic.n > MQTT_STRING_MAX || p->payload.n > UINT32_MAX ||
	    raw.n > UINT32_MAX || source.n > UINT32_MAX)
		return NJ_TOOBIG;
	if (!whole && (e = pass_on(raw, NULL, &props)))
		return e;
	size = sizeof *m + 2 + topic.n + p->payload.n + props + source.n;
	if (!(m = pool_get(size)))
		return NJ_NOMEM;
	atomic_init(&m->refs, 1);
	m->props_len = (uint32_t)props;
	m->payload_len = (uint32_t)p->payload.n;
	m->source_len = (uint32_t)source.n;
	m->topic_len = (uint16_t)topic.n;
	m->qos = p->qos;
	m->retain = p->retain;
	m->promised = false;
	m->expires_at = expiry(&p->props, now_ms);
	m->keep_id = m->from = 0;
	at = m->data;
	*at++ = (uint8_t)(topic.n >> 8);
	*at++ = (uint8_t)topic.n;
	if (topic.n > 0)
		memcpy(at, topic.p, topic.n);
	at += topic.n;
	if (p->payload.n > 0)
		memcpy(at, p->payload.p, p->payload.n);
	at += p->payload.n;
	if (whole && raw.n > 0)
		memcpy(at, raw.p, raw.n);
	else if (!whole)
		e = pass_on(raw, at, &props);
	assert(e == NJ_OK); /* it went well the first time */
	if (source.n > 0)
		memcpy(at + props, source.p, source.n);
	*out = m;
	return NJ_OK;
}

bool
msg_room(
    struct slice in, const struct frame *f, enum mqtt_ver v, struct buf *out)
{
	struct slice at = in, topic, part;
	uint32_t rest, props = 0;
	size_t head, others, size;
	uint8_t *p;

	if (take_bytes(&at, 1, &part) || take_varint(&at, &rest) ||
	    take_bin(&at, &topic) ||
	    ((f->flags & 6) && take_bytes(&at, 2, &part)) ||
	    (v == MQTT5 &&
		(take_varint(&at, &props) || take_bytes(&at, props, &part))))
		return false;
	head = in.n - at.n;
	others = head - 2 - topic.n; /* of the head, which go */
	if (others > sizeof(struct msg) || head > f->size)
		return false;
	size = sizeof(struct msg) + 2 + topic.n + (f->size - head) + props;
	if (size > BUF_MAX || !(p = pool_get(size)))
		return false;
	*out = (struct buf){
		.p = p,
		.off = (uint32_t)(sizeof(struct msg) - others),
		.len = (uint32_t)(sizeof(struct msg) - others),
		.cap = (uint32_t)size,
	};
	return true;
}

bool
msg_adopt(struct buf *in, const struct publish *p, struct slice topic,
    uint64_t now_ms, struct msg **out)
{
	struct slice raw = p->props.raw, payload = p->payload;
	struct msg *m = (struct msg *)(void *)in->p;
	uint64_t expires_at = expiry(&p->props, now_ms);
	uint8_t qos = p->qos;
	bool retain = p->retain;

	if (!m || payload.p != m->data + 2 + topic.n ||
	    topic.n > MQTT_STRING_MAX || (p->props.seen & ~PASSED_ON) ||
	    sizeof *m + 2 + topic.n + payload.n + raw.n != in->cap)
		return false;
	/* in the order in which nothing is written over that is wanted yet */
	if (raw.n > 0)
		memcpy(m->data + 2 + topic.n + payload.n, raw.p, raw.n);
	if (topic.n > 0)
		memmove(m->data + 2, topic.p, topic.n);
	m->data[0] = (uint8_t)(topic.n >> 8);
	m->data[1] = (uint8_t)topic.n;
	atomic_init(&m->refs, 1);
	m->props_len = (uint32_t)raw.n;
	m->payload_len = (uint32_t)payload.n;
	m->source_len = 0;
	m->topic_len = (uint16_t)topic.n;
	m->qos = qos;
	m->retain = retain;
	m->promised = false;
	m->expires_at = expires_at;
	m->keep_id = m->from = 0;
	*in = (struct buf){ 0 };
	*out = m;
	return true;
}

/* Bytes of the last property. */
static enum nj_err
last_prop(struct slice raw, uint32_t *len)
{
	struct slice whole = SLICE_NONE;
	enum nj_err e;
	uint8_t id;

	while (raw.n > 0)
		if ((e = msg_next_prop(&raw, &id, &whole)))
			return e;
	*len = (uint32_t)whole.n;
	return NJ_OK;
}

enum nj_err
msg_restore(struct slice data, uint16_t topic_len, uint32_t payload_len,
    bool has_source, struct msg **out)
{
	uint32_t source_len = 0;
	struct msg *m;
	size_t head;
	enum nj_err e;

	if (data.n < 2u + topic_len || data.n > UINT32_MAX ||
	    data.n - 2 - topic_len < payload_len ||
	    (data.p[0] << 8 | data.p[1]) != topic_len)
		return NJ_MALFORMED;
	head = 2u + topic_len + payload_len;
	if (has_source &&
	    (e = last_prop(
		 slice_of(data.p + head, data.n - head), &source_len)))
		return e;
	if (!(m = pool_get(sizeof *m + data.n)))
		return NJ_NOMEM;
	memset(m, 0, sizeof *m);
	atomic_init(&m->refs, 1);
	m->topic_len = topic_len;
	m->payload_len = payload_len;
	m->source_len = source_len;
	m->props_len = (uint32_t)(data.n - head) - source_len;
	m->expires_at = MSG_NEVER;
	memcpy(m->data, data.p, data.n);
	*out = m;
	return NJ_OK;
}

void
msg_unref(struct msg *m)
{
	if (m &&
	    atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
		pool_put(m, msg_size(m));
}

size_t
msg_size(const struct msg *m)
{
	return sizeof *m + 2 + m->topic_len + m->payload_len + m->props_len +
	    m->source_len;
}
