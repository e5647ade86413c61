/* SPDX-License-Identifier: Apache-2.0
 * One table says all about a property: how it is written, where it may stand,
 * which values it may have, and which field of struct props holds it.
 */
#include "wire/props.h"

#include <stddef.h>

#include "wire/frame.h"
#include "wire/topic.h"

enum prop_type {
	P_UNKNOWN,
	P_BOOL, /* one byte, 0 or 1: all one-byte properties are such */
	P_U16,
	P_U32,
	P_VARINT,
	P_STR,
	P_BIN,
	P_PAIR
};

enum {
	R_NONZERO = 1, /* 0 is a protocol error */
	R_TOPIC = 2    /* a topic name without wildcards */
};

struct prop_row {
	uint8_t type;  /* enum prop_type */
	uint8_t rules; /* R_* */
	uint16_t field;
	uint32_t in; /* 1 << enum props_in */
};

#define F(name)	  offsetof(struct props, name)
#define CONNECT	  (1u << IN_CONNECT)
#define CONNACK	  (1u << IN_CONNACK)
#define PUBLISH	  (1u << IN_PUBLISH)
#define SUBSCRIBE (1u << IN_SUBSCRIBE)
#define DISCON	  (1u << IN_DISCONNECT)
#define AUTH	  (1u << IN_AUTH)
#define WILL	  (1u << IN_WILL)
#define ACKS                                                   \
	(1u << IN_PUBACK | 1u << IN_PUBREC | 1u << IN_PUBREL | \
	    1u << IN_PUBCOMP | 1u << IN_SUBACK | 1u << IN_UNSUBACK)
#define EVERYWHERE                                                        \
	(CONNECT | CONNACK | PUBLISH | SUBSCRIBE | 1u << IN_UNSUBSCRIBE | \
	    DISCON | AUTH | WILL | ACKS)

#define PROP_ROWS (PROP_SHARED_AVAILABLE + 1)

/* MQTT 5.0 table 2-4. */
/* clang-format off */
static const struct prop_row rows[PROP_ROWS] = {
	[PROP_PAYLOAD_FORMAT]    = { P_BOOL, 0, F(payload_format),
	    PUBLISH | WILL },
	[PROP_MESSAGE_EXPIRY]    = { P_U32, 0, F(message_expiry),
	    PUBLISH | WILL },
	[PROP_CONTENT_TYPE]      = { P_STR, 0, F(content_type),
	    PUBLISH | WILL },
	[PROP_RESPONSE_TOPIC]    = { P_STR, R_TOPIC, F(response_topic),
	    PUBLISH | WILL },
	[PROP_CORRELATION_DATA]  = { P_BIN, 0, F(correlation_data),
	    PUBLISH | WILL },
	[PROP_SUBSCRIPTION_ID]   = { P_VARINT, R_NONZERO, F(subscription_id),
	    PUBLISH | SUBSCRIBE },
	[PROP_SESSION_EXPIRY]    = { P_U32, 0, F(session_expiry),
	    CONNECT | CONNACK | DISCON },
	[PROP_ASSIGNED_CLIENT_ID] = { P_STR, 0, F(assigned_client_id),
	    CONNACK },
	[PROP_SERVER_KEEP_ALIVE] = { P_U16, 0, F(server_keep_alive),
	    CONNACK },
	[PROP_AUTH_METHOD]       = { P_STR, 0, F(auth_method),
	    CONNECT | CONNACK | AUTH },
	[PROP_AUTH_DATA]         = { P_BIN, 0, F(auth_data),
	    CONNECT | CONNACK | AUTH },
	[PROP_REQUEST_PROBLEM]   = { P_BOOL, 0, F(request_problem),
	    CONNECT },
	[PROP_WILL_DELAY]        = { P_U32, 0, F(will_delay),
	    WILL },
	[PROP_REQUEST_RESPONSE]  = { P_BOOL, 0, F(request_response),
	    CONNECT },
	[PROP_RESPONSE_INFO]     = { P_STR, 0, F(response_info),
	    CONNACK },
	[PROP_SERVER_REFERENCE]  = { P_STR, 0, F(server_reference),
	    CONNACK | DISCON },
	[PROP_REASON_STRING]     = { P_STR, 0, F(reason_string),
	    CONNACK | ACKS | DISCON | AUTH },
	[PROP_RECEIVE_MAX]       = { P_U16, R_NONZERO, F(receive_max),
	    CONNECT | CONNACK },
	[PROP_TOPIC_ALIAS_MAX]   = { P_U16, 0, F(topic_alias_max),
	    CONNECT | CONNACK },
	[PROP_TOPIC_ALIAS]       = { P_U16, 0, F(topic_alias), PUBLISH },
	[PROP_MAX_QOS]           = { P_BOOL, 0, F(max_qos),
	    CONNACK },
	[PROP_RETAIN_AVAILABLE]  = { P_BOOL, 0, F(retain_available),
	    CONNACK },
	[PROP_USER]              = { P_PAIR, 0, 0,
	    EVERYWHERE },
	[PROP_MAX_PACKET_SIZE]   = { P_U32, R_NONZERO, F(max_packet_size),
	    CONNECT | CONNACK },
	[PROP_WILDCARD_AVAILABLE] = { P_BOOL, 0, F(wildcard_available),
	    CONNACK },
	[PROP_SUB_ID_AVAILABLE]  = { P_BOOL, 0, F(sub_id_available),
	    CONNACK },
	[PROP_SHARED_AVAILABLE]  = { P_BOOL, 0, F(shared_available),
	    CONNACK },
};
/* clang-format on */

/* A property as it stands in the packet. */
struct prop {
	const struct prop_row *row;
	uint8_t id;
	uint32_t number;
	struct slice text, value; /* value: of a pair */
};

static enum nj_err
take_text(struct slice *s, struct slice *out)
{
	enum nj_err e = take_bin(s, out);

	return e ? e : utf8_ok(*out) ? NJ_OK : NJ_MALFORMED;
}

static enum nj_err
take_value(struct slice *s, struct prop *p)
{
	uint16_t u16 = 0;
	uint8_t u8 = 0;
	enum nj_err e;

	switch ((enum prop_type)p->row->type) {
	case P_BOOL:
		e = take_u8(s, &u8);
		p->number = u8;
		return e;
	case P_U16:
		e = take_u16(s, &u16);
		p->number = u16;
		return e;
	case P_U32:
		return take_u32(s, &p->number);
	case P_VARINT:
		return take_varint(s, &p->number);
	case P_STR:
		return take_text(s, &p->text);
	case P_BIN:
		return take_bin(s, &p->text);
	case P_PAIR: /* [MQTT-1.5.7-1] */
		if ((e = take_text(s, &p->text)))
			return e;
		return take_text(s, &p->value);
	case P_UNKNOWN:
		break;
	}
	return NJ_MALFORMED;
}

/* One property off the front.  The list is whole, so whatever reaches past
 * its end is malformed. */
static enum nj_err
take_prop(struct slice *s, struct prop *p)
{
	uint32_t id = 0;

	*p = (struct prop){ 0 };
	if (take_varint(s, &id) || id >= PROP_ROWS)
		return NJ_MALFORMED;
	p->id = (uint8_t)id;
	p->row = &rows[id];
	return take_value(s, p) ? NJ_MALFORMED : NJ_OK;
}

static void
store_number(struct props *out, const struct prop *p)
{
	char *field = (char *)out + p->row->field;
	uint16_t u16 = (uint16_t)p->number;

	if (p->row->type == P_BOOL)
		*field = (char)p->number;
	else if (p->row->type == P_U16)
		memcpy(field, &u16, sizeof u16);
	else
		memcpy(field, &p->number, sizeof p->number);
}

static uint32_t
load_number(const struct props *in, const struct prop_row *row)
{
	const char *field = (const char *)in + row->field;
	uint32_t u32 = 0;
	uint16_t u16 = 0;

	if (row->type == P_BOOL)
		return (uint8_t)*field;
	if (row->type == P_U16) {
		memcpy(&u16, field, sizeof u16);
		return u16;
	}
	memcpy(&u32, field, sizeof u32);
	return u32;
}

static void
store_text(struct props *out, const struct prop *p)
{
	memcpy((char *)out + p->row->field, &p->text, sizeof p->text);
}

static struct slice
load_text(const struct props *in, const struct prop_row *row)
{
	struct slice s;

	memcpy(&s, (const char *)in + row->field, sizeof s);
	return s;
}

static bool
is_text(const struct prop_row *row)
{
	return row->type == P_STR || row->type == P_BIN;
}

static bool
may_repeat(uint8_t id, enum props_in where)
{
	return id == PROP_USER ||
	    (id == PROP_SUBSCRIPTION_ID && where == IN_PUBLISH);
}

static enum nj_err
check_prop(
    const struct props *so_far, const struct prop *p, enum props_in where)
{
	const struct prop_row *row = p->row;

	if (!(row->in & 1u << where))
		return NJ_MALFORMED; /* 2.2.2.2 */
	if ((so_far->seen & PROP_BIT(p->id)) && !may_repeat(p->id, where))
		return NJ_PROTOCOL;
	if (row->type == P_BOOL && p->number > 1)
		return NJ_PROTOCOL;
	if ((row->rules & R_NONZERO) && p->number == 0)
		return NJ_PROTOCOL;
	if ((row->rules & R_TOPIC) && !topic_name_ok(p->text))
		return NJ_PROTOCOL; /* [MQTT-3.3.2-14] */
	return NJ_OK;
}

static enum nj_err
take_list(struct slice list, enum props_in where, struct props *out)
{
	unsigned users = 0;

	while (list.n > 0) {
		struct prop p;
		enum nj_err e;

		if ((e = take_prop(&list, &p)) ||
		    (e = check_prop(out, &p, where)))
			return e;
		if (p.id == PROP_USER && ++users > PROPS_USER_MAX)
			return NJ_TOOBIG;
		if (is_text(p.row))
			store_text(out, &p);
		else if (p.id != PROP_USER && !(out->seen & PROP_BIT(p.id)))
			store_number(out, &p);
		out->seen |= PROP_BIT(p.id);
	}
	/* 3.1.2.11.10: data of no method is a protocol error. */
	if (props_has(out, PROP_AUTH_DATA) && !props_has(out, PROP_AUTH_METHOD))
		return NJ_PROTOCOL;
	return NJ_OK;
}

/* With at least one property.  Apart from take_props, so that the common case
 * does not clear a struct it will not use. */
static __attribute__((noinline)) enum nj_err
take_some(struct slice *s, enum props_in where, struct props *out)
{
	struct slice in = *s, list;
	struct props p = { 0 };
	uint32_t n = 0;
	enum nj_err e;

	if ((e = take_varint(&in, &n)) || (e = take_bytes(&in, n, &list)) ||
	    (e = take_list(list, where, &p)))
		return e;
	p.raw = list;
	*out = p;
	*s = in;
	return NJ_OK;
}

enum nj_err
take_props(struct slice *s, enum props_in where, struct props *out)
{
	if (s->n == 0 || s->p[0] != 0)
		return take_some(s, where, out);
	s->p++;
	s->n--;
	out->seen = 0;
	out->raw = out->extra = SLICE_NONE;
	return NJ_OK;
}

/* The next property with this id. */
static enum nj_err
next_prop(struct slice *at, enum mqtt_prop id, struct prop *p)
{
	while (at->n > 0) {
		enum nj_err e = take_prop(at, p);

		if (e)
			return e;
		if (p->id == id)
			return NJ_OK;
	}
	return NJ_NOTFOUND;
}

enum nj_err
props_next_user(struct slice *at, struct slice *name, struct slice *value)
{
	struct prop p;
	enum nj_err e = next_prop(at, PROP_USER, &p);

	if (e)
		return e;
	*name = p.text;
	*value = p.value;
	return NJ_OK;
}

enum nj_err
props_next_id(struct slice *at, uint32_t *id)
{
	struct prop p;
	enum nj_err e = next_prop(at, PROP_SUBSCRIPTION_ID, &p);

	if (e)
		return e;
	*id = p.number;
	return NJ_OK;
}

/* The fields that are written: user properties come from extra only. */
static uint64_t
to_write(const struct props *p)
{
	return p->seen & ~PROP_BIT(PROP_USER);
}

/* Bytes of one property with its identifier; 0 when it cannot be written. */
static uint32_t
field_size(const struct props *p, const struct prop_row *row)
{
	struct slice text;

	switch ((enum prop_type)row->type) {
	case P_BOOL:
		return 1 + 1;
	case P_U16:
		return 1 + 2;
	case P_U32:
		return 1 + 4;
	case P_VARINT:
		return load_number(p, row) > MQTT_VARINT_MAX
		    ? 0
		    : 1 + varint_size(load_number(p, row));
	case P_STR:
	case P_BIN:
		text = load_text(p, row);
		return text.n > MQTT_STRING_MAX ? 0 : 1 + 2 + (uint32_t)text.n;
	case P_PAIR:
	case P_UNKNOWN:
		break;
	}
	return 0;
}

uint32_t
props_size(const struct props *p)
{
	uint64_t left = to_write(p);
	uint64_t sum = p->extra.n;

	for (; left != 0; left &= left - 1) {
		unsigned id = (unsigned)__builtin_ctzll(left);
		uint32_t n = id < PROP_ROWS ? field_size(p, &rows[id]) : 0;

		if (n == 0)
			return PROPS_UNWRITABLE;
		sum += n;
	}
	return sum > MQTT_VARINT_MAX ? PROPS_UNWRITABLE : (uint32_t)sum;
}

static uint8_t *
write_slice(uint8_t *at, struct slice s)
{
	if (s.n > 0)
		memcpy(at, s.p, s.n);
	return at + s.n;
}

static uint8_t *
write_text(uint8_t *at, struct slice s)
{
	*at++ = (uint8_t)(s.n >> 8);
	*at++ = (uint8_t)s.n;
	return write_slice(at, s);
}

static uint8_t *
write_number(uint8_t *at, uint32_t v, unsigned bytes)
{
	while (bytes-- > 0)
		*at++ = (uint8_t)(v >> (8 * bytes));
	return at;
}

static uint8_t *
write_field(uint8_t *at, const struct props *p, unsigned id)
{
	const struct prop_row *row = &rows[id];

	*at++ = (uint8_t)id;
	if (is_text(row))
		return write_text(at, load_text(p, row));
	if (row->type == P_VARINT)
		return varint_write(at, load_number(p, row));
	return write_number(at, load_number(p, row),
	    row->type == P_BOOL	     ? 1
		: row->type == P_U16 ? 2
				     : 4);
}

uint8_t *
props_write(uint8_t *at, const struct props *p, uint32_t size)
{
	at = varint_write(at, size);
	if (size == 0)
		return at; /* [MQTT-2.2.2-1] */
	for (uint64_t left = to_write(p); left != 0; left &= left - 1)
		at = write_field(at, p, (unsigned)__builtin_ctzll(left));
	return write_slice(at, p->extra);
}

enum nj_err
props_put(struct buf *b, const struct props *p)
{
	uint32_t size = p ? props_size(p) : 0;
	uint8_t *at = NULL;
	enum nj_err e;

	if (size == PROPS_UNWRITABLE)
		return NJ_TOOBIG;
	if ((e = buf_reserve(b, varint_size(size) + (size_t)size, &at)))
		return e;
	(void)props_write(at, p, size);
	buf_commit(b, varint_size(size) + (size_t)size);
	return NJ_OK;
}

enum nj_err
props_put_user(struct buf *b, struct slice name, struct slice value)
{
	size_t n = 1 + 2 + name.n + 2 + value.n;
	uint8_t *at = NULL;
	enum nj_err e;

	if (name.n > MQTT_STRING_MAX || value.n > MQTT_STRING_MAX)
		return NJ_TOOBIG;
	if ((e = buf_reserve(b, n, &at)))
		return e;
	*at++ = PROP_USER;
	(void)write_text(write_text(at, name), value);
	buf_commit(b, n);
	return NJ_OK;
}

enum nj_err
props_put_id(struct buf *b, uint32_t id)
{
	uint8_t *at = NULL;
	enum nj_err e;

	if (id > MQTT_VARINT_MAX)
		return NJ_TOOBIG;
	if ((e = buf_reserve(b, 1 + 4, &at)))
		return e;
	*at = PROP_SUBSCRIPTION_ID;
	(void)varint_write(at + 1, id);
	buf_commit(b, 1 + varint_size(id));
	return NJ_OK;
}
