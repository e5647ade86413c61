/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/connack.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "core/rc.h"
#include "wire/encode.h"
#include "wire/frame.h"

/*
 * The properties are written in the order in which Mosquitto writes them, so
 * that what compares bytes sees the same.  A buffer that cannot grow is found
 * by encode_connack's caller: the packet is then not sent at all.
 */
struct writer {
	struct buf raw;
	enum nj_err e;
};

static void
put(struct writer *w, enum mqtt_prop id, uint32_t v, unsigned bytes)
{
	if (!w->e)
		w->e = buf_put_u8(&w->raw, (uint8_t)id);
	while (bytes-- > 0 && !w->e)
		w->e = buf_put_u8(&w->raw, (uint8_t)(v >> 8 * bytes));
}

static void
put_str(struct writer *w, enum mqtt_prop id, struct slice s)
{
	put(w, id, (uint32_t)s.n, 2);
	if (!w->e)
		w->e = buf_put_slice(&w->raw, s);
}

/*
 * The topic under which this client may take answers [MQTT-3.1.2-28].  What
 * would make other levels or a wildcard of its identifier is written %XX.
 */
static void
put_response_information(struct writer *w, const char *prefix, struct slice id)
{
	struct slice head = slice_str(prefix);
	struct buf v = { 0 };

	if (!w->e && !(w->e = buf_put_slice(&v, head)))
		w->e = buf_put_u8(&v, '/');
	for (size_t i = 0; i < id.n && !w->e; i++) {
		char esc[4];

		if (!strchr("/+#%", id.p[i])) {
			w->e = buf_put_u8(&v, id.p[i]);
			continue;
		}
		snprintf(esc, sizeof esc, "%%%02X", id.p[i]);
		w->e = buf_put_slice(&v, slice_str(esc));
	}
	/* a string holds no more; such a client does without */
	if (buf_len(&v) <= UINT16_MAX)
		put_str(w, PROP_RESPONSE_INFO, buf_slice(&v));
	buf_fini(&v);
}

/* Whether the client takes a CONNACK with these properties [MQTT-3.1.2-24]. */
static bool
fits(const struct conn *c, const struct writer *w)
{
	uint32_t n = (uint32_t)buf_len(&w->raw);

	return link_fits(&c->link, 2 + varint_size(n) + n);
}

static enum nj_err
send(struct conn *c, struct connack *a, struct writer *w)
{
	char name[TEXT_ESC];
	enum nj_err e = w->e;

	nj_log(LOG_T_DEBUG, "Sending CONNACK to %s (%d, %u)",
	    conn_name(c, name, sizeof name), a->session_present,
	    (unsigned)a->code);
	a->props.extra = buf_slice(&w->raw);
	link_kick(&c->link);
	c->link.packets++;
	if (!e)
		e = encode_connack(&c->link.out, c->version, a);
	buf_fini(&w->raw);
	return e;
}

/* No packet is larger: a maximum of so much is none. */
#define PACKET_MAX (1 + 4 + MQTT_VARINT_MAX)

/* What differs from the defaults of 3.2.2.3 is said. */
static void
say_accepted(const struct conn *c, const struct connect *k,
    const struct connack_in *in, struct writer *w)
{
	const struct broker_limits *lim = &c->shard->limits;
	const struct port_opts *po = conn_port(c);

	if (in->server_keep_alive) /* [MQTT-3.2.2-21] */
		put(w, PROP_SERVER_KEEP_ALIVE, in->server_keep_alive, 2);
	if (c->alias_max)
		put(w, PROP_TOPIC_ALIAS_MAX, c->alias_max, 2);
	if (in->expiry_given < in->expiry_asked)
		put(w, PROP_SESSION_EXPIRY, in->expiry_given, 4);
	else if (in->expiry_asked > lim->client_expiration_s)
		put(w, PROP_SESSION_EXPIRY, lim->client_expiration_s, 4);
	if (in->assigned_id.n) /* [MQTT-3.2.2-16] */
		put_str(w, PROP_ASSIGNED_CLIENT_ID, in->assigned_id);
	if (!lim->retain_available)
		put(w, PROP_RETAIN_AVAILABLE, 0, 1);
	if (lim->max_packet_size && lim->max_packet_size < PACKET_MAX)
		put(w, PROP_MAX_PACKET_SIZE, lim->max_packet_size, 4);
	if (lim->receive_max && lim->receive_max < UINT16_MAX)
		put(w, PROP_RECEIVE_MAX, lim->receive_max, 2);
	if (po->max_qos < 2)
		put(w, PROP_MAX_QOS, po->max_qos, 1);
	if (po->response_information &&
	    props_has(&k->props, PROP_REQUEST_RESPONSE) &&
	    k->props.request_response)
		put_response_information(w, po->response_information, in->id);
	/* [MQTT-4.12.0-5], [MQTT-4.12.0-6] */
	if (c->auth_method)
		put_str(w, PROP_AUTH_METHOD, slice_str(c->auth_method));
	if (c->auth_method && in->auth_data.n)
		put_str(w, PROP_AUTH_DATA, in->auth_data);
}

bool
connack_fits(
    const struct conn *c, const struct connect *k, const struct connack_in *in)
{
	struct writer w = { .e = NJ_OK };
	bool does;

	if (k->version != MQTT5)
		return true;
	say_accepted(c, k, in, &w);
	does = fits(c, &w);
	buf_fini(&w.raw);
	return does;
}

enum nj_err
connack_accept(
    struct conn *c, const struct connect *k, const struct connack_in *in)
{
	struct writer w = { .e = NJ_OK };
	/* MQTT 3.1 has no session present flag */
	struct connack a = {
		.session_present = in->present && k->version != MQTT31,
	};

	if (k->version == MQTT5)
		say_accepted(c, k, in, &w);
	if (!fits(c, &w)) {
		buf_fini(&w.raw);
		return NJ_TOOBIG;
	}
	return send(c, &a, &w);
}

void
connack_refuse(struct conn *c, enum mqtt_rc rc, const char *why, bool openly)
{
	struct writer w = { .e = NJ_OK };
	struct connack a = { .code = (uint8_t)rc };

	if (c->version != MQTT5)
		a.code = (uint8_t)rc_connack3(rc);
	else if (c->problem_info &&
	    (openly ||
		(rc != RC_NOT_AUTHORIZED &&
		    rc != RC_BAD_USER_NAME_OR_PASSWORD && rc != RC_BANNED)))
		put_str(&w, PROP_REASON_STRING, slice_str(why));
	if (!fits(c, &w))
		buf_fini(&w.raw); /* [MQTT-3.2.2-19] */
	if (fits(c, &w) && send(c, &a, &w))
		conn_doom(c, "out of memory");
}
