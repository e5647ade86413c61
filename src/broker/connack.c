/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/connack.h"

#include "base/log.h"
#include "core/rc.h"
#include "wire/encode.h"

static void
set(struct props *p, enum mqtt_prop id)
{
	p->seen |= PROP_BIT(id);
}

/* What differs from the defaults of 3.2.2.3 is said. */
static void
say_limits(struct conn *c, struct props *p)
{
	const struct broker_limits *lim = &c->shard->limits;
	const struct port_opts *po = conn_port(c);

	if (lim->receive_max) {
		set(p, PROP_RECEIVE_MAX);
		p->receive_max = lim->receive_max;
	}
	if (po->max_qos < 2) {
		set(p, PROP_MAX_QOS);
		p->max_qos = po->max_qos;
	}
	if (!lim->retain_available) {
		set(p, PROP_RETAIN_AVAILABLE);
		p->retain_available = 0;
	}
	if (lim->max_packet_size) {
		set(p, PROP_MAX_PACKET_SIZE);
		p->max_packet_size = lim->max_packet_size;
	}
	if (c->alias_max) {
		set(p, PROP_TOPIC_ALIAS_MAX);
		p->topic_alias_max = c->alias_max;
	}
}

static void
say_session(struct conn *c, const struct connack_in *in, struct props *p)
{
	uint32_t cap = c->shard->limits.client_expiration_s;

	if (in->expiry_asked > cap) {
		set(p, PROP_SESSION_EXPIRY);
		p->session_expiry = cap;
	}
	if (in->assigned_id.n) { /* [MQTT-3.2.2-16] */
		set(p, PROP_ASSIGNED_CLIENT_ID);
		p->assigned_client_id = in->assigned_id;
	}
	if (in->server_keep_alive) {
		set(p, PROP_SERVER_KEEP_ALIVE);
		p->server_keep_alive = in->server_keep_alive;
	}
}

static void
send(struct conn *c, const struct connack *a)
{
	link_kick(&c->link);
	if (encode_connack(&c->link.out, c->version, a))
		conn_drop(c, "out of memory");
}

void
connack_accept(
    struct conn *c, const struct connect *k, const struct connack_in *in)
{
	/* MQTT 3.1 has no session present flag */
	struct connack a = {
		.session_present = in->present && k->version != MQTT31,
	};

	if (k->version == MQTT5) {
		say_limits(c, &a.props);
		say_session(c, in, &a.props);
	}
	send(c, &a);
}

void
connack_refuse(struct conn *c, enum mqtt_rc rc, const char *why)
{
	struct connack a = { .code = (uint8_t)rc };

	if (c->version != MQTT5) {
		a.code = (uint8_t)rc_connack3(rc);
	} else if (c->problem_info && rc != RC_NOT_AUTHORIZED &&
	    rc != RC_BAD_USER_NAME_OR_PASSWORD && rc != RC_BANNED) {
		set(&a.props, PROP_REASON_STRING);
		a.props.reason_string = slice_str(why);
	}
	send(c, &a);
}
