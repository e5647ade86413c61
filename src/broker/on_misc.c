/* SPDX-License-Identifier: Apache-2.0
 * on_misc - PINGREQ, DISCONNECT.
 *
 * Spec: MQTT 5.0 3.12 to 3.14.
 */
#include "base/log.h"
#include "broker/conn.h"
#include "wire/decode.h"
#include "wire/encode.h"

static enum nj_err
pong_later(struct conn *c)
{
	struct buf own = { 0 };
	enum nj_err e = encode_ping(&own, MQTT_PINGRESP);

	if (e)
		buf_fini(&own);
	else
		durable_promise_bytes(c, own.p, (uint32_t)buf_len(&own));
	return e;
}

enum nj_err
on_pingreq(struct conn *c, const struct frame *f)
{
	enum nj_err e = decode_empty(f->body);

	if (e)
		return e;
	/* Many take it for the sign that what they said before was done.  While
	 * the store cannot be written it says no more than that we are here. */
	if (c->link.held > 0 &&
	    (c->leaves || store_state(c->shard->durable.store) == STORE_OK))
		return pong_later(c);
	link_kick(&c->link); /* [MQTT-3.12.4-1] */
	c->link.packets++;
	return encode_ping(&c->link.out, MQTT_PINGRESP);
}

enum nj_err
on_disconnect(struct conn *c, const struct frame *f)
{
	struct disconnect d;
	enum nj_err e = decode_disconnect(f->body, c->version, &d);

	if (e)
		return e;
	if (c->state == CONN_AUTH) {
		conn_drop(c,
		    "it said goodbye before its authentication was finished");
		return NJ_OK;
	}
	if (props_has(&d.props, PROP_SESSION_EXPIRY)) {
		/* [MQTT-3.1.2-23]: it may not come to life again here */
		if (c->session->expiry_s == 0 && d.props.session_expiry > 0) {
			conn_end(c, RC_PROTOCOL_ERROR,
			    "set a session expiry with DISCONNECT after "
			    "connecting with none");
			return NJ_OK;
		}
		c->session->expiry_s = d.props.session_expiry;
	}
	/* [MQTT-3.14.4-3]; 0x04 asks for the will */
	c->clean_disconnect = d.code == RC_SUCCESS;
	conn_part(c, "it said goodbye");
	return NJ_OK;
}
