/* SPDX-License-Identifier: Apache-2.0
 * on_ack - PUBACK, PUBREC, PUBREL, PUBCOMP.
 *
 * Spec: MQTT 5.0 3.4 to 3.7, 4.3.
 */
#include "base/log.h"
#include "broker/conn.h"
#include "wire/decode.h"

/* PUBACKs that are handled in one go. */
#define ROW_MAX 64

/* [MQTT-4.3.3-11]: the identifier is free again. */
static enum nj_err
on_pubrel(struct conn *c, const struct ack *a)
{
	struct session *s = c->session;
	struct keep *k = &c->shard->durable.keep;
	bool known = idset_del(&s->in, a->id);

	if (s->kept && known)
		keep_note(k, batch_released(k->into, s->kept->id, a->id));
	else if (s->kept && k->busy)
		k->dirty = true; /* it may have been released just now */
	/* 4.9: also for one of an earlier connection, and for one that is not
	 * known, as the client counts: its PUBCOMP may have been lost */
	if (c->open_qos2 > -UINT16_MAX)
		c->open_qos2--;
	/* 3.1.1 knows no codes; a PUBREL sent again is answered alike */
	return durable_ack(c, MQTT_PUBCOMP, a->id,
	    known ? RC_SUCCESS : RC_PACKET_ID_NOT_FOUND);
}

static enum nj_err
on_pubrec(struct conn *c, const struct ack *a)
{
	enum mqtt_rc rc = session_pubrec(c->session, a->id, a->code);

	if (a->code >= RC_UNSPECIFIED)
		return NJ_OK; /* [MQTT-4.3.3-4]: ended by the receiver */
	/* 4.3.3: what it was sent must not be sent again after a crash */
	if (c->session->kept && c->shard->durable.keep.busy)
		c->shard->durable.keep.dirty = true;
	return durable_ack(c, MQTT_PUBREL, a->id, rc);
}

bool
on_puback_row(struct conn *c, struct slice *in)
{
	struct shard *sh = c->shard;
	uint32_t max = sh->limits.max_packet_size;
	uint16_t ids[ROW_MAX];
	size_t n;

	if (c->state != CONN_LIVE || c->session->kept || c->link.held > 0 ||
	    log_on(LOG_T_DEBUG) || (max != 0 && max < PUBACK_SHORT))
		return false;
	if (!(n = take_puback_row(in, ids, ROW_MAX)))
		return false;
	c->last_rx = sh->home.now_ms;
	count_add(&sh->counts.packets_in, n);
	sh->work += (uint32_t)n;
	c->ack_now = c->publishes;
	session_puback_row(c->session, ids, n);
	return true;
}

enum nj_err
on_ack(struct conn *c, const struct frame *f)
{
	struct ack a;
	enum nj_err e = decode_ack(f->type, f->body, c->version, &a);

	if (e)
		return e;
	switch ((enum mqtt_type)f->type) {
	case MQTT_PUBACK:
		c->ack_now = c->publishes;
		session_puback(c->session, a.id);
		break;
	case MQTT_PUBREC:
		e = on_pubrec(c, &a);
		break;
	case MQTT_PUBREL:
		e = on_pubrel(c, &a);
		break;
	case MQTT_PUBCOMP:
		c->ack_now = c->publishes;
		session_pubcomp(c->session, a.id);
		break;
	default:
		return NJ_PROTOCOL;
	}
	return e == NJ_EOF ? NJ_OK : e;
}
