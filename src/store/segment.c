/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/segment.h"

/* head: the entry's QoS in 2 bits and RETAIN, the message's QoS in 2 bits,
 * RETAIN and source, and whether identifiers follow */
enum {
	HEAD_RETAIN = 0x04,
	HEAD_MSG_QOS = 3, /* shift */
	HEAD_MSG_RETAIN = 0x20,
	HEAD_SOURCE = 0x40,
	HEAD_IDS = 0x80
};

bool
segment_fits(const struct store_rec *r, const struct store_body *body)
{
	return r->pid == 0 && r->state == 0 && r->share == 0 && r->qos < 2 &&
	    r->text_len <= 4 * SEGMENT_IDS && r->text_len % 4 == 0 &&
	    body->expires_ms == STORE_NEVER && body->bytes.n <= SEGMENT_BODY;
}

enum nj_err
segment_put(
    struct buf *to, const struct store_rec *r, const struct store_body *body)
{
	uint8_t head = (uint8_t)(r->qos | (r->retain ? HEAD_RETAIN : 0) |
	    body->qos << HEAD_MSG_QOS | (body->retain ? HEAD_MSG_RETAIN : 0) |
	    (body->source ? HEAD_SOURCE : 0) | (r->text_len ? HEAD_IDS : 0));
	enum nj_err e;

	if ((e = buf_put_u8(to, head)))
		return e;
	if (r->text_len > 0 &&
	    ((e = buf_put_u8(to, (uint8_t)(r->text_len / 4))) ||
		(e = buf_put(to, r->text, r->text_len))))
		return e;
	if ((e = buf_put_u32(to, body->payload_len)) ||
	    (e = buf_put_u32(to, (uint32_t)body->bytes.n)))
		return e;
	return buf_put_slice(to, body->bytes);
}

enum nj_err
segment_take(struct slice *data, struct segment_entry *out)
{
	struct segment_entry en = { .body.expires_ms = STORE_NEVER };
	struct slice rest = *data, whole, topic;
	uint32_t bytes = 0;
	uint8_t head = 0, ids = 0;

	if (take_u8(&rest, &head) ||
	    (head & HEAD_IDS &&
		(take_u8(&rest, &ids) ||
		    take_bytes(&rest, 4 * (size_t)ids, &en.ids))) ||
	    take_u32(&rest, &en.body.payload_len) || take_u32(&rest, &bytes) ||
	    take_bytes(&rest, bytes, &en.body.bytes))
		return NJ_MALFORMED;
	en.qos = head & 3;
	en.retain = (head & HEAD_RETAIN) != 0;
	en.body.qos = head >> HEAD_MSG_QOS & 3;
	en.body.retain = (head & HEAD_MSG_RETAIN) != 0;
	en.body.source = (head & HEAD_SOURCE) != 0;
	whole = en.body.bytes;
	if (en.qos > 2 || en.body.qos > 2 || take_bin(&whole, &topic) ||
	    topic.n == 0 || whole.n < en.body.payload_len)
		return NJ_MALFORMED;
	en.body.topic_len = (uint16_t)topic.n;
	*out = en;
	*data = rest;
	return NJ_OK;
}
