/* SPDX-License-Identifier: Apache-2.0
 * decode_fuzz - the body of a packet.  The first byte is its fixed header's,
 *               the second chooses the version.  What can be read is written,
 *               read again, and must be the same.
 *
 * It is built several times: for all packets, and for some alone, FUZZ_COUNT
 * types from FUZZ_FIRST on.
 */
#include "props_same.h"

#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/frame.h"

#define ENTRIES_MAX 64
#ifndef FUZZ_FIRST
#define FUZZ_FIRST 0
#define FUZZ_COUNT 16
#endif

static enum mqtt_ver version;

static enum nj_err
refused(enum nj_err e)
{
	HOLDS(e == NJ_TRUNCATED || e == NJ_MALFORMED || e == NJ_PROTOCOL ||
	    e == NJ_TOOBIG || e == NJ_UNSUPPORTED);
	return e;
}

/* The body of what was written. */
static struct slice
written(const struct buf *b, enum mqtt_type type, uint8_t *flags)
{
	struct slice s = buf_slice(b);
	struct frame f;

	HOLDS(frame_take(&s, 0, &f) == NJ_OK);
	HOLDS(s.n == 0 && f.type == type);
	*flags = f.flags;
	return f.body;
}

static void
fuzz_connect(struct slice body)
{
	struct connect c, w, d = { 0 };
	struct buf out = { 0 }, extra = { 0 }, will = { 0 };
	uint8_t flags;

	if (decode_connect(body, &c)) {
		(void)refused(decode_connect(body, &d));
		return;
	}
	w = c;
	if (c.version == MQTT5)
		props_to_write(&w.props, &extra, IN_CONNECT);
	if (c.version == MQTT5 && c.has_will)
		props_to_write(&w.will.props, &will, IN_WILL);
	HOLDS(encode_connect(&out, &w) == NJ_OK);
	HOLDS(decode_connect(written(&out, MQTT_CONNECT, &flags), &d) == NJ_OK);
	HOLDS(c.version == d.version && c.bridge == d.bridge &&
	    c.clean_start == d.clean_start && c.has_will == d.has_will &&
	    c.has_username == d.has_username &&
	    c.has_password == d.has_password && c.keep_alive == d.keep_alive);
	HOLDS(slice_eq(c.client_id, d.client_id));
	HOLDS(slice_eq(c.username, d.username));
	HOLDS(slice_eq(c.password, d.password));
	HOLDS(slice_eq(c.will.topic, d.will.topic));
	HOLDS(slice_eq(c.will.payload, d.will.payload));
	HOLDS(c.will.qos == d.will.qos && c.will.retain == d.will.retain);
	props_check_same(&c.props, &d.props);
	props_check_same(&c.will.props, &d.will.props);
	buf_fini(&out);
	buf_fini(&extra);
	buf_fini(&will);
}

static void
fuzz_connack(struct slice body)
{
	struct connack c, w, d;
	struct buf out = { 0 }, extra = { 0 };
	uint8_t flags;
	enum nj_err e = decode_connack(body, version, &c);

	if (e) {
		(void)refused(e);
		return;
	}
	w = c;
	props_to_write(&w.props, &extra, IN_CONNACK);
	HOLDS(encode_connack(&out, version, &w) == NJ_OK);
	HOLDS(decode_connack(
		  written(&out, MQTT_CONNACK, &flags), version, &d) == NJ_OK);
	HOLDS(c.session_present == d.session_present && c.code == d.code);
	props_check_same(&c.props, &d.props);
	buf_fini(&out);
	buf_fini(&extra);
}

static void
fuzz_publish(uint8_t flags, struct slice body)
{
	struct publish p, w, d;
	struct buf out = { 0 }, extra = { 0 };
	uint8_t back = 0;
	enum nj_err e = decode_publish(flags, body, version, &p);

	if (e) {
		(void)refused(e);
		return;
	}
	w = p;
	props_to_write(&w.props, &extra, IN_PUBLISH);
	HOLDS(encode_publish(&out, version, &w) == NJ_OK);
	body = written(&out, MQTT_PUBLISH, &back);
	HOLDS(back == flags);
	HOLDS(decode_publish(back, body, version, &d) == NJ_OK);
	HOLDS(p.dup == d.dup && p.qos == d.qos && p.retain == d.retain &&
	    p.id == d.id);
	HOLDS(slice_eq(p.topic, d.topic) && slice_eq(p.payload, d.payload));
	props_check_same(&p.props, &d.props);
	buf_fini(&out);
	buf_fini(&extra);
}

static void
fuzz_ack(enum mqtt_type type, struct slice body)
{
	struct ack a, w, d;
	struct buf out = { 0 }, extra = { 0 };
	uint8_t flags;
	enum nj_err e = decode_ack(type, body, version, &a);

	if (e) {
		(void)refused(e);
		return;
	}
	w = a;
	props_to_write(&w.props, &extra, (enum props_in)type);
	HOLDS(encode_ack(&out, type, version, &w) == NJ_OK);
	HOLDS(buf_len(&out) <= 5 + body.n);
	HOLDS(decode_ack(type, written(&out, type, &flags), version, &d) ==
	    NJ_OK);
	HOLDS(a.id == d.id && a.code == d.code);
	props_check_same(&a.props, &d.props);
	buf_fini(&out);
	buf_fini(&extra);
}

static void
fuzz_subscribe(struct slice body)
{
	struct subscription subs[ENTRIES_MAX], one;
	struct subscribe s, d;
	struct buf out = { 0 }, extra = { 0 };
	struct slice list;
	struct props w;
	size_t n = 0;
	uint8_t flags;
	enum nj_err e = decode_subscribe(body, version, &s);

	if (e) {
		(void)refused(e);
		return;
	}
	for (list = s.list;
	     n < ENTRIES_MAX && next_subscription(&list, version, &subs[n]);)
		n++;
	HOLDS(n > 0 && (n == ENTRIES_MAX || list.n == 0));
	w = s.props;
	props_to_write(&w, &extra, IN_SUBSCRIBE);
	HOLDS(encode_subscribe(&out, version, s.id, &w, subs, n) == NJ_OK);
	HOLDS(decode_subscribe(
		  written(&out, MQTT_SUBSCRIBE, &flags), version, &d) == NJ_OK);
	HOLDS(s.id == d.id);
	props_check_same(&s.props, &d.props);
	list = d.list;
	for (size_t i = 0; i < n; i++) {
		HOLDS(next_subscription(&list, version, &one));
		HOLDS(slice_eq(one.filter, subs[i].filter) &&
		    one.qos == subs[i].qos &&
		    one.no_local == subs[i].no_local &&
		    one.retain_as_published == subs[i].retain_as_published &&
		    one.retain_handling == subs[i].retain_handling);
	}
	HOLDS(list.n == 0);
	buf_fini(&out);
	buf_fini(&extra);
}

static void
fuzz_unsubscribe(struct slice body)
{
	struct slice filters[ENTRIES_MAX], list;
	struct subscribe s, d;
	struct buf out = { 0 }, extra = { 0 };
	struct props w;
	size_t n = 0;
	uint8_t flags;
	enum nj_err e = decode_unsubscribe(body, version, &s);

	if (e) {
		(void)refused(e);
		return;
	}
	for (list = s.list;
	     n < ENTRIES_MAX && next_unsubscription(&list, &filters[n]);)
		n++;
	HOLDS(n > 0 && (n == ENTRIES_MAX || list.n == 0));
	w = s.props;
	props_to_write(&w, &extra, IN_UNSUBSCRIBE);
	HOLDS(encode_unsubscribe(&out, version, s.id, &w, filters, n) == NJ_OK);
	HOLDS(decode_unsubscribe(written(&out, MQTT_UNSUBSCRIBE, &flags),
		  version, &d) == NJ_OK);
	HOLDS(s.id == d.id);
	HOLDS(n == ENTRIES_MAX || slice_eq(s.list, d.list));
	props_check_same(&s.props, &d.props);
	buf_fini(&out);
	buf_fini(&extra);
}

static void
fuzz_suback(enum mqtt_type type, struct slice body)
{
	bool sub = type == MQTT_SUBACK;
	struct suback s, w, d;
	struct buf out = { 0 }, extra = { 0 };
	uint8_t flags;
	enum nj_err e =
	    (sub ? decode_suback : decode_unsuback)(body, version, &s);

	if (e) {
		(void)refused(e);
		return;
	}
	w = s;
	props_to_write(&w.props, &extra, (enum props_in)type);
	e = (sub ? encode_suback : encode_unsuback)(&out, version, &w);
	HOLDS(e == NJ_OK);
	e = (sub ? decode_suback : decode_unsuback)(
	    written(&out, type, &flags), version, &d);
	HOLDS(e == NJ_OK);
	HOLDS(s.id == d.id && slice_eq(s.codes, d.codes));
	props_check_same(&s.props, &d.props);
	buf_fini(&out);
	buf_fini(&extra);
}

static void
fuzz_disconnect(enum mqtt_type type, struct slice body)
{
	bool auth = type == MQTT_AUTH;
	struct disconnect s, w, d;
	struct buf out = { 0 }, extra = { 0 };
	uint8_t flags;
	enum nj_err e =
	    auth ? decode_auth(body, &s) : decode_disconnect(body, version, &s);

	if (e) {
		(void)refused(e);
		return;
	}
	w = s;
	props_to_write(&w.props, &extra, (enum props_in)type);
	e = auth ? encode_auth(&out, &w) : encode_disconnect(&out, version, &w);
	HOLDS(e == NJ_OK);
	body = written(&out, type, &flags);
	e = auth ? decode_auth(body, &d) : decode_disconnect(body, version, &d);
	HOLDS(e == NJ_OK);
	HOLDS(s.code == d.code);
	props_check_same(&s.props, &d.props);
	buf_fini(&out);
	buf_fini(&extra);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum mqtt_ver versions[] = { MQTT5, MQTT311, MQTT31 };
	struct slice body;
	enum mqtt_type type;

	if (size < 2)
		return 0;
	type = (enum mqtt_type)(FUZZ_FIRST + (data[0] >> 4) % FUZZ_COUNT);
	version = versions[data[1] % 3];
	body = slice_of(data + 2, size - 2);
	switch (type) {
	case MQTT_CONNECT:
		fuzz_connect(body);
		break;
	case MQTT_CONNACK:
		fuzz_connack(body);
		break;
	case MQTT_PUBLISH:
		fuzz_publish(data[0] & 0x0f, body);
		break;
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBREL:
	case MQTT_PUBCOMP:
		fuzz_ack(type, body);
		break;
	case MQTT_SUBSCRIBE:
		fuzz_subscribe(body);
		break;
	case MQTT_UNSUBSCRIBE:
		fuzz_unsubscribe(body);
		break;
	case MQTT_SUBACK:
	case MQTT_UNSUBACK:
		fuzz_suback(type, body);
		break;
	case MQTT_DISCONNECT:
	case MQTT_AUTH:
		fuzz_disconnect(type, body);
		break;
	case MQTT_PINGREQ:
	case MQTT_PINGRESP:
		HOLDS(decode_empty(body) == (body.n ? NJ_MALFORMED : NJ_OK));
		break;
	}
	return 0;
}
