/* SPDX-License-Identifier: Apache-2.0
 * Each packet is measured first; then it has room, and writing cannot fail.
 */
#include "wire/encode.h"

#include <assert.h>

#include "wire/frame.h"

#define BRIDGE_BIT 0x80

/* Sums the parts of a packet; bad once one of them cannot be written. */
struct measure {
	uint64_t n;
	bool bad;
};

static void
add(struct measure *m, uint64_t n)
{
	m->n += n;
}

static void
add_bin(struct measure *m, struct slice s)
{
	m->bad |= s.n > MQTT_STRING_MAX;
	m->n += 2 + s.n;
}

/* Returns the size of the properties themselves, for props_write. */
static uint32_t
add_props(struct measure *m, enum mqtt_ver v, const struct props *p)
{
	uint32_t size;

	if (v != MQTT5)
		return 0;
	size = p ? props_size(p) : 0;
	if (size == PROPS_UNWRITABLE) {
		m->bad = true;
		return 0;
	}
	m->n += varint_size(size) + (uint64_t)size;
	return size;
}

static uint8_t *
write_u16(uint8_t *at, uint16_t v)
{
	*at++ = (uint8_t)(v >> 8);
	*at++ = (uint8_t)v;
	return at;
}

static uint8_t *
write_raw(uint8_t *at, struct slice s)
{
	if (s.n > 0)
		memcpy(at, s.p, s.n);
	return at + s.n;
}

static uint8_t *
write_bin(uint8_t *at, struct slice s)
{
	return write_raw(write_u16(at, (uint16_t)s.n), s);
}

static uint8_t *
write_props(uint8_t *at, enum mqtt_ver v, const struct props *p, uint32_t size)
{
	return v == MQTT5 ? props_write(at, p, size) : at;
}

/* Room for the packet and its fixed header written; *at is the body. */
static enum nj_err
open_packet(struct buf *b, enum mqtt_type type, uint8_t flags,
    const struct measure *m, uint8_t **at)
{
	enum nj_err e;
	uint8_t *p;

	if (m->bad || m->n > MQTT_VARINT_MAX)
		return NJ_TOOBIG;
	if ((e = buf_reserve(b, 1 + varint_size((uint32_t)m->n) + m->n, &p)))
		return e;
	*p++ = (uint8_t)(type << 4 | flags);
	*at = varint_write(p, (uint32_t)m->n);
	return NJ_OK;
}

/* end is the byte behind the body. */
static void
close_packet(struct buf *b, const struct measure *m, const uint8_t *end)
{
	size_t n = 1 + varint_size((uint32_t)m->n) + m->n;

	assert((size_t)(end - (b->p + b->len)) == n);
	buf_commit(b, n);
}

static uint8_t
connect_flags(const struct connect *c)
{
	uint8_t f = 0;

	if (c->clean_start)
		f |= 0x02;
	if (c->has_will)
		f |= (uint8_t)(0x04 | c->will.qos << 3 |
		    (c->will.retain ? 0x20 : 0));
	if (c->has_password)
		f |= 0x40;
	if (c->has_username)
		f |= 0x80;
	return f;
}

static uint8_t *
write_connect_head(uint8_t *at, const struct connect *c, struct slice name)
{
	at = write_bin(at, name);
	*at++ = (uint8_t)(c->version | (c->bridge ? BRIDGE_BIT : 0));
	*at++ = connect_flags(c);
	return write_u16(at, c->keep_alive);
}

enum nj_err
encode_connect(struct buf *b, const struct connect *c)
{
	enum mqtt_ver v = c->version;
	struct slice name = v == MQTT31 ? LIT("MQIsdp") : LIT("MQTT");
	struct measure m = { 0 };
	uint32_t size, will_size = 0;
	enum nj_err e;
	uint8_t *at;

	add_bin(&m, name);
	add(&m, 1 + 1 + 2);
	size = add_props(&m, v, &c->props);
	add_bin(&m, c->client_id);
	if (c->has_will) {
		will_size = add_props(&m, v, &c->will.props);
		add_bin(&m, c->will.topic);
		add_bin(&m, c->will.payload);
	}
	if (c->has_username)
		add_bin(&m, c->username);
	if (c->has_password)
		add_bin(&m, c->password);
	if ((e = open_packet(b, MQTT_CONNECT, 0, &m, &at)))
		return e;
	at = write_connect_head(at, c, name);
	at = write_props(at, v, &c->props, size);
	at = write_bin(at, c->client_id);
	if (c->has_will) {
		at = write_props(at, v, &c->will.props, will_size);
		at = write_bin(at, c->will.topic);
		at = write_bin(at, c->will.payload);
	}
	if (c->has_username)
		at = write_bin(at, c->username);
	if (c->has_password)
		at = write_bin(at, c->password);
	close_packet(b, &m, at);
	return NJ_OK;
}

enum nj_err
encode_connack(struct buf *b, enum mqtt_ver v, const struct connack *c)
{
	struct measure m = { 1 + 1, false };
	uint32_t size = add_props(&m, v, &c->props);
	enum nj_err e;
	uint8_t *at;

	if ((e = open_packet(b, MQTT_CONNACK, 0, &m, &at)))
		return e;
	/* 3.1 keeps the byte reserved. */
	*at++ = c->session_present && v != MQTT31;
	*at++ = c->code;
	close_packet(b, &m, write_props(at, v, &c->props, size));
	return NJ_OK;
}

enum nj_err
encode_publish(struct buf *b, enum mqtt_ver v, const struct publish *p)
{
	uint8_t flags = (uint8_t)((p->dup ? 0x08 : 0) | p->qos << 1 |
	    (p->retain ? 0x01 : 0));
	struct measure m = { 0 };
	uint32_t size;
	enum nj_err e;
	uint8_t *at;

	add_bin(&m, p->topic);
	add(&m, p->qos > 0 ? 2 : 0); /* [MQTT-2.2.1-2] */
	size = add_props(&m, v, &p->props);
	add(&m, p->payload.n);
	if ((e = open_packet(b, MQTT_PUBLISH, flags, &m, &at)))
		return e;
	at = write_bin(at, p->topic);
	if (p->qos > 0)
		at = write_u16(at, p->id);
	at = write_props(at, v, &p->props, size);
	close_packet(b, &m, write_raw(at, p->payload));
	return NJ_OK;
}

enum nj_err
encode_ack(
    struct buf *b, enum mqtt_type type, enum mqtt_ver v, const struct ack *a)
{
	uint8_t flags = type == MQTT_PUBREL ? 0x02 : 0; /* [MQTT-3.6.1-1] */
	struct measure m = { 2, false };
	uint32_t size = v == MQTT5 ? props_size(&a->props) : 0;
	bool with_code = v == MQTT5 && (a->code != 0 || size > 0);
	enum nj_err e;
	uint8_t *at;

	add(&m, with_code ? 1 : 0);
	if (size > 0)
		(void)add_props(&m, v, &a->props);
	if ((e = open_packet(b, type, flags, &m, &at)))
		return e;
	at = write_u16(at, a->id);
	if (with_code)
		*at++ = a->code;
	if (size > 0)
		at = props_write(at, &a->props, size);
	close_packet(b, &m, at);
	return NJ_OK;
}

static uint8_t
options_of(enum mqtt_ver v, const struct subscription *s)
{
	if (v != MQTT5)
		return s->qos;
	return (uint8_t)(s->qos | (s->no_local ? 0x04 : 0) |
	    (s->retain_as_published ? 0x08 : 0) | s->retain_handling << 4);
}

enum nj_err
encode_subscribe(struct buf *b, enum mqtt_ver v, uint16_t id,
    const struct props *props, const struct subscription *subs, size_t n)
{
	struct measure m = { 2, false };
	uint32_t size = add_props(&m, v, props);
	enum nj_err e;
	uint8_t *at;

	if (n == 0)
		return NJ_PROTOCOL; /* [MQTT-3.8.3-2] */
	for (size_t i = 0; i < n; i++) {
		add_bin(&m, subs[i].filter);
		add(&m, 1);
	}
	if ((e = open_packet(b, MQTT_SUBSCRIBE, 0x02, &m, &at)))
		return e; /* [MQTT-3.8.1-1] */
	at = write_u16(at, id);
	at = write_props(at, v, props, size);
	for (size_t i = 0; i < n; i++) {
		at = write_bin(at, subs[i].filter);
		*at++ = options_of(v, &subs[i]);
	}
	close_packet(b, &m, at);
	return NJ_OK;
}

enum nj_err
encode_unsubscribe(struct buf *b, enum mqtt_ver v, uint16_t id,
    const struct props *props, const struct slice *filters, size_t n)
{
	struct measure m = { 2, false };
	uint32_t size = add_props(&m, v, props);
	enum nj_err e;
	uint8_t *at;

	if (n == 0)
		return NJ_PROTOCOL; /* [MQTT-3.10.3-2] */
	for (size_t i = 0; i < n; i++)
		add_bin(&m, filters[i]);
	if ((e = open_packet(b, MQTT_UNSUBSCRIBE, 0x02, &m, &at)))
		return e; /* [MQTT-3.10.1-1] */
	at = write_u16(at, id);
	at = write_props(at, v, props, size);
	for (size_t i = 0; i < n; i++)
		at = write_bin(at, filters[i]);
	close_packet(b, &m, at);
	return NJ_OK;
}

static enum nj_err
encode_codes(struct buf *b, enum mqtt_type type, enum mqtt_ver v,
    const struct suback *s, struct slice codes)
{
	struct measure m = { 2, false };
	uint32_t size = add_props(&m, v, &s->props);
	enum nj_err e;
	uint8_t *at;

	add(&m, codes.n);
	if ((e = open_packet(b, type, 0, &m, &at)))
		return e;
	at = write_u16(at, s->id);
	at = write_props(at, v, &s->props, size);
	close_packet(b, &m, write_raw(at, codes));
	return NJ_OK;
}

enum nj_err
encode_suback(struct buf *b, enum mqtt_ver v, const struct suback *s)
{
	return encode_codes(b, MQTT_SUBACK, v, s, s->codes);
}

enum nj_err
encode_unsuback(struct buf *b, enum mqtt_ver v, const struct suback *s)
{
	return encode_codes(
	    b, MQTT_UNSUBACK, v, s, v == MQTT5 ? s->codes : SLICE_NONE);
}

enum nj_err
encode_disconnect(struct buf *b, enum mqtt_ver v, const struct disconnect *d)
{
	struct measure m = { 0 };
	uint32_t size = v == MQTT5 ? props_size(&d->props) : 0;
	bool with_code = v == MQTT5 && (d->code != 0 || size > 0);
	enum nj_err e;
	uint8_t *at;

	add(&m, with_code ? 1 : 0);
	if (size > 0)
		(void)add_props(&m, v, &d->props);
	if ((e = open_packet(b, MQTT_DISCONNECT, 0, &m, &at)))
		return e;
	if (with_code)
		*at++ = d->code;
	if (size > 0)
		at = props_write(at, &d->props, size);
	close_packet(b, &m, at);
	return NJ_OK;
}

enum nj_err
encode_auth(struct buf *b, const struct disconnect *d)
{
	struct measure m = { 0 };
	uint32_t size = props_size(&d->props);
	bool whole = d->code != 0 || size > 0;
	enum nj_err e;
	uint8_t *at;

	if (whole) {
		add(&m, 1);
		(void)add_props(&m, MQTT5, &d->props);
	}
	if ((e = open_packet(b, MQTT_AUTH, 0, &m, &at)))
		return e;
	if (whole) {
		*at++ = d->code;
		at = props_write(at, &d->props, size);
	}
	close_packet(b, &m, at);
	return NJ_OK;
}

enum nj_err
encode_ping(struct buf *b, enum mqtt_type type)
{
	struct measure m = { 0 };
	enum nj_err e;
	uint8_t *at;

	if ((e = open_packet(b, type, 0, &m, &at)))
		return e;
	close_packet(b, &m, at);
	return NJ_OK;
}
