/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/mosquitto.h"

#include <stdarg.h>
#include <stdio.h>

#define MAGIC "\0\265\0mosquitto db"
/* Mosquitto's own bound of a payload, and MQTT's. */
#define PAYLOAD_MAX 268435455u

_Static_assert(sizeof MAGIC - 1 == MOSQ_MAGIC_SIZE, "as the header says");

bool
mosq_is(struct slice head)
{
	return slice_has_prefix(head, LIT(MAGIC));
}

static size_t
offset_of(const struct mosq_reader *r, const uint8_t *p)
{
	return (size_t)(p - r->all.p);
}

static enum nj_err broken(const struct mosq_reader *r, const uint8_t *at,
    struct nj_why *why, const char *fmt, ...) NJ_PRINTF(4, 5);

static enum nj_err
broken(const struct mosq_reader *r, const uint8_t *at, struct nj_why *why,
    const char *fmt, ...)
{
	char what[200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	why_set(why, "byte %zu: %s", offset_of(r, at), what);
	why_mend(why,
	    "let Mosquitto write the file again (SIGUSR1, or end it), or use "
	    "an older copy of it");
	return NJ_MALFORMED;
}

enum nj_err
mosq_begin(struct slice file, struct mosq_reader *r, struct nj_why *why)
{
	uint32_t crc;

	*r = (struct mosq_reader){ .all = file, .rest = file };
	if (!mosq_is(file)) {
		why_set(why, "it is not a persistence file of Mosquitto's");
		return NJ_UNSUPPORTED;
	}
	r->rest = slice_of(file.p + MOSQ_MAGIC_SIZE, file.n - MOSQ_MAGIC_SIZE);
	if (take_u32(&r->rest, &crc) || take_u32(&r->rest, &r->version))
		return broken(
		    r, r->rest.p, why, "the file ends inside its header");
	if (r->version != MOSQ_V5 && r->version != MOSQ_V6) {
		why_set(why,
		    "it is of version %u; versions 5 (Mosquitto 1.6) and 6 "
		    "(1.6.11 and later, 2.x) can be read",
		    r->version);
		why_mend(why,
		    "start a Mosquitto of version 2 with it and end it again: "
		    "that writes version 6");
		return NJ_UNSUPPORTED;
	}
	return NJ_OK;
}

static enum nj_err
take_u64_le(struct slice *s, uint64_t *out)
{
	struct slice b;
	uint64_t v = 0;
	enum nj_err e;

	if ((e = take_bytes(s, 8, &b)))
		return e;
	for (unsigned i = 8; i-- > 0;)
		v = v << 8 | b.p[i];
	*out = v;
	return NJ_OK;
}

static enum nj_err
take_time(struct slice *s, int64_t *out)
{
	uint64_t v = 0;
	enum nj_err e = take_u64_le(s, &v);

	*out = (int64_t)v;
	return e;
}

static enum nj_err
skip(struct slice *s, size_t n)
{
	struct slice gone;

	return take_bytes(s, n, &gone);
}

/* What is left of a chunk: nothing, or properties with their length. */
static enum nj_err
take_rest(const struct mosq_reader *r, struct slice rest, struct props *p,
    struct nj_why *why)
{
	const uint8_t *at = rest.p;

	*p = (struct props){ .seen = 0 };
	if (rest.n == 0)
		return NJ_OK;
	if (take_props(&rest, IN_PUBLISH, p) || rest.n > 0)
		return broken(r, at, why, "properties that cannot be read");
	return NJ_OK;
}

static enum nj_err
take_client(const struct mosq_reader *r, struct slice in, struct mosq_item *out,
    struct nj_why *why)
{
	uint16_t id_len = 0, user_len = 0;

	if (take_time(&in, &out->expiry_time) ||
	    take_u32(&in, &out->expiry_s) || skip(&in, 2) ||
	    take_u16(&in, &id_len))
		goto ends;
	/* listener's port, name's length, padding */
	if (r->version == MOSQ_V6 &&
	    (skip(&in, 2) || take_u16(&in, &user_len) || skip(&in, 4)))
		goto ends;
	if (take_bytes(&in, id_len, &out->client) ||
	    take_bytes(&in, user_len, &out->user))
		goto ends;
	return NJ_OK;
ends:
	return broken(r, in.p, why, "a client that its chunk is too short for");
}

static enum nj_err
take_message(const struct mosq_reader *r, struct slice in,
    struct mosq_item *out, struct nj_why *why)
{
	uint16_t source = 0, user = 0, topic = 0;
	uint32_t payload = 0;

	if (take_u64_le(&in, &out->msg) || take_time(&in, &out->expiry_time) ||
	    take_u32(&in, &payload) || skip(&in, 2) || take_u16(&in, &source) ||
	    take_u16(&in, &user) || take_u16(&in, &topic) || skip(&in, 2) ||
	    take_u8(&in, &out->qos) || take_u8(&in, &out->retain))
		goto ends;
	if (payload > PAYLOAD_MAX)
		return broken(r, in.p, why, "a payload of %u bytes", payload);
	if (take_bytes(&in, source, &out->client) ||
	    take_bytes(&in, user, &out->user) ||
	    take_bytes(&in, topic, &out->topic) ||
	    take_bytes(&in, payload, &out->payload))
		goto ends;
	if (out->qos > 2)
		return broken(r, in.p, why, "a message of QoS %u", out->qos);
	return take_rest(r, in, &out->props, why);
ends:
	return broken(
	    r, in.p, why, "a message that its chunk is too short for");
}

static enum nj_err
take_entry(const struct mosq_reader *r, struct slice in, struct mosq_item *out,
    struct nj_why *why)
{
	uint8_t retain_dup = 0, direction = 0;
	uint16_t id_len = 0;
	enum nj_err e;

	if (take_u64_le(&in, &out->msg) || take_u16(&in, &out->pid) ||
	    take_u16(&in, &id_len) || take_u8(&in, &out->qos) ||
	    take_u8(&in, &out->state) || take_u8(&in, &retain_dup) ||
	    take_u8(&in, &direction) || take_bytes(&in, id_len, &out->client))
		return broken(r, in.p, why,
		    "a queued message that its chunk is too short for");
	if (out->qos > 2 || direction > 1 || out->state > MOSQ_QUEUED)
		return broken(r, in.p, why,
		    "a queued message of QoS %u, direction %u, state %u",
		    out->qos, direction, out->state);
	out->retain = (retain_dup & 0xf0) != 0;
	out->dup = (retain_dup & 0x0f) != 0;
	out->out = direction == 1;
	if ((e = take_rest(r, in, &out->props, why)))
		return e;
	if (props_has(&out->props, PROP_SUBSCRIPTION_ID))
		out->sub_id = out->props.subscription_id;
	return NJ_OK;
}

static enum nj_err
take_sub(const struct mosq_reader *r, struct slice in, struct mosq_item *out,
    struct nj_why *why)
{
	uint16_t id_len = 0, topic_len = 0;
	uint8_t qos = 0, options = 0;

	if (take_u32(&in, &out->sub_id) || take_u16(&in, &id_len) ||
	    take_u16(&in, &topic_len) || take_u8(&in, &qos) ||
	    take_u8(&in, &options) || skip(&in, 2) ||
	    take_bytes(&in, id_len, &out->client) ||
	    take_bytes(&in, topic_len, &out->topic))
		return broken(r, in.p, why,
		    "a subscription that its chunk is too short for");
	if (qos > 2)
		return broken(r, in.p, why, "a subscription of QoS %u", qos);
	out->qos = qos;
	out->options = (uint8_t)((options & ~3) | qos);
	return NJ_OK;
}

static enum nj_err
take_config(const struct mosq_reader *r, struct slice in, struct mosq_item *out,
    struct nj_why *why)
{
	uint8_t ended = 0, size = 0;

	/* the number of the last message */
	if (skip(&in, 8) || take_u8(&in, &ended) || take_u8(&in, &size))
		return broken(
		    r, in.p, why, "settings that their chunk is too short for");
	if (size != 8)
		return broken(r, in.p, why,
		    "message numbers of %u bytes; they are of 8 on every "
		    "system that Mosquitto supports",
		    size);
	out->ended = ended != 0;
	return NJ_OK;
}

enum nj_err
mosq_next(struct mosq_reader *r, struct mosq_item *out, struct nj_why *why)
{
	const uint8_t *at = r->rest.p;
	uint32_t type = 0, length = 0;
	struct slice body;

	*out = (struct mosq_item){ .offset = offset_of(r, at) };
	if (r->rest.n == 0)
		return NJ_EOF;
	if (take_u32(&r->rest, &type) || take_u32(&r->rest, &length))
		return broken(
		    r, at, why, "the file ends inside a chunk's head");
	if (take_bytes(&r->rest, length, &body))
		return broken(r, at, why,
		    "a chunk of type %u says that it has %u bytes, and the "
		    "file ends after %zu",
		    type, length, r->rest.n);
	if (type > MOSQ_OTHER && type <= MOSQ_CLIENT)
		out->kind = (enum mosq_kind)type;
	switch (out->kind) {
	case MOSQ_CONFIG:
		return take_config(r, body, out, why);
	case MOSQ_MESSAGE:
		return take_message(r, body, out, why);
	case MOSQ_ENTRY:
		return take_entry(r, body, out, why);
	case MOSQ_RETAIN:
		if (take_u64_le(&body, &out->msg))
			return broken(r, at, why,
			    "a retained message that its chunk is too short "
			    "for");
		return NJ_OK;
	case MOSQ_SUB:
		return take_sub(r, body, out, why);
	case MOSQ_CLIENT:
		return take_client(r, body, out, why);
	default:
		return NJ_OK;
	}
}
