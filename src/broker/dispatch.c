/* SPDX-License-Identifier: Apache-2.0
 * dispatch - which packet a client may send when, and who handles it.
 */
#include "base/log.h"
#include "base/text.h"
#include "broker/conn.h"
#include "core/rc.h"

typedef enum nj_err handler(struct conn *c, const struct frame *f);

/* Packets that only a server sends have no handler [MQTT-4.13.1-1]. */
static const struct {
	const char *name;
	handler *fn;
} table[16] = {
	[MQTT_CONNECT] = { "CONNECT", on_connect },
	[MQTT_CONNACK] = { "CONNACK", NULL },
	[MQTT_PUBLISH] = { "PUBLISH", on_publish },
	[MQTT_PUBACK] = { "PUBACK", on_ack },
	[MQTT_PUBREC] = { "PUBREC", on_ack },
	[MQTT_PUBREL] = { "PUBREL", on_ack },
	[MQTT_PUBCOMP] = { "PUBCOMP", on_ack },
	[MQTT_SUBSCRIBE] = { "SUBSCRIBE", on_subscribe },
	[MQTT_SUBACK] = { "SUBACK", NULL },
	[MQTT_UNSUBSCRIBE] = { "UNSUBSCRIBE", on_unsubscribe },
	[MQTT_UNSUBACK] = { "UNSUBACK", NULL },
	[MQTT_PINGREQ] = { "PINGREQ", on_pingreq },
	[MQTT_PINGRESP] = { "PINGRESP", NULL },
	[MQTT_DISCONNECT] = { "DISCONNECT", on_disconnect },
	[MQTT_AUTH] = { "AUTH", on_auth },
};

static void
refuse(struct conn *c, const struct frame *f, enum nj_err e)
{
	conn_end(c, rc_of(e), "%s in its %s packet", nj_strerror(e),
	    table[f->type].name);
}

static void
trace(const struct conn *c, const struct frame *f)
{
	char name[TEXT_ESC];

	nj_log_write(LOG_T_DEBUG, "Received %s from %s (%u bytes)",
	    table[f->type].name, conn_name(c, name, sizeof name), f->size);
}

/* Whether the client may send it now; else the connection was ended. */
static bool
is_due(struct conn *c, const struct frame *f)
{
	/* [MQTT-3.1.0-1]: CONNECT first; [MQTT-3.1.0-2]: and only once */
	if ((f->type == MQTT_CONNECT) != (c->state == CONN_GREETING)) {
		conn_end(c, RC_PROTOCOL_ERROR,
		    c->state == CONN_GREETING ? "%s before CONNECT"
					      : "a second %s",
		    table[f->type].name);
		return false;
	}
	/* [MQTT-3.1.2-30] */
	if (c->state == CONN_AUTH && f->type != MQTT_AUTH &&
	    f->type != MQTT_DISCONNECT) {
		conn_end(c, RC_PROTOCOL_ERROR,
		    "%s before its authentication was finished",
		    table[f->type].name);
		return false;
	}
	if (!table[f->type].fn ||
	    (f->type == MQTT_AUTH && c->version != MQTT5)) {
		conn_end(c, RC_PROTOCOL_ERROR, "%s is not a client's to send",
		    table[f->type].name);
		return false;
	}
	return true;
}

void
dispatch(struct conn *c, const struct frame *f)
{
	struct keep *keep = &c->shard->durable.keep;
	bool publish = c->state == CONN_LIVE && f->type == MQTT_PUBLISH;
	enum nj_err e;

	if (!publish && !is_due(c, f))
		return;
	if (!publish && c->state == CONN_LIVE && log_on(LOG_T_DEBUG))
		trace(c, f);
	keep->dirty = keep->failed = false;
	if ((e = publish ? on_publish(c, f) : table[f->type].fn(c, f)))
		refuse(c, f, e);
	/* what it promised could not be recorded */
	if (keep->failed)
		conn_doom(c, "out of memory");
}
