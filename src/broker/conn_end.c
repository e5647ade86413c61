/* SPDX-License-Identifier: Apache-2.0
 * conn_end - how connections end: told why, or not; in the log in any case.
 */
#include "broker/conn.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/connack.h"
#include "broker/control.h"
#include "broker/enroll.h"
#include "broker/est.h"
#include "broker/guard.h"
#include "broker/sessions.h"
#include "wire/encode.h"
#include "wire/frame.h"
#include "wire/ws.h"

void
conn_failed(const struct conn *c, enum failure_stage stage, bool by_client,
    const char *what, const char *mend)
{
	struct failure f = { .stage = stage, .by_client = by_client };

	(void)snprintf(f.peer, sizeof f.peer, "%s", c->peer);
	(void)port_name(conn_port(c), f.listener, sizeof f.listener);
	(void)snprintf(f.what, sizeof f.what, "%s", what);
	(void)snprintf(f.mend, sizeof f.mend, "%s", mend);
	failures_add(c->shard->broker->failures, &f,
	    clock_wall(c->shard->broker->clock));
}

/* Who ends before it is anybody.  A failed handshake has been told already. */
static void
record_end(const struct conn *c, const char *why)
{
	if (!why || c->session || (c->via && c->via->local))
		return;
	if (c->state == CONN_PROXY)
		conn_failed(c, FAILURE_PROXY, false, why, "");
	else if (c->state == CONN_GREETING)
		conn_failed(c, FAILURE_CONNECT,
		    strcmp(why, "closed its connection") == 0, why, "");
}

/* connection_messages is about those who come and go.  Who is sent away before
 * he is anybody has been refused. */
static bool
is_told(const struct conn *c)
{
	return c->shard->limits.log_connections ||
	    (!c->session && !c->said_all && !(c->via && c->via->local));
}

static void
log_end(struct conn *c, const char *why)
{
	char name[TEXT_ESC];
	const char *stop;

	record_end(c, why);
	if (!why || !is_told(c))
		return;
	stop = *why && why[strlen(why) - 1] == '.' ? "" : ".";
	if (c->session) {
		if (guard_may_log(c->shard, &c->shard->known, GUARD_KNOWN))
			nj_log(LOG_T_NOTICE, "Client %s disconnected: %s%s",
			    conn_name(c, name, sizeof name), why, stop);
	} else if (guard_may_log(c->shard, &c->shard->goings, GUARD_LINES))
		/* a proxy looks every few seconds whether we are there */
		nj_log(c->via && c->via->local ? LOG_T_DEBUG : LOG_T_NOTICE,
		    "Connection from %s closed: %s%s", c->peer, why, stop);
}

/* What was under way for it, and its session. */
static void
leave_all(struct conn *c)
{
	login_abandon(c);
	admission_free(c);
	subscribe_abandon(c);
	est_abandon(c);
	enroll_abandon(c);
	control_abandon(c);
	sessions_leave(c);
}

/* What it was is left, which is most of the work of an end. */
static void
count_end(struct shard *sh)
{
	if (++sh->deaths >= DEATHS_A_TURN)
		loop_break(sh->loop);
}

/* Nothing of it stays but its memory, until the turn ends. */
static void
die(struct conn *c)
{
	struct shard *sh = c->shard;

	if (c->state == CONN_DEAD)
		return;
	leave_all(c);
	conn_set_state(c, CONN_DEAD);
	conn_unhook(c);
	c->link.closing = true;
	atomic_fetch_sub(&sh->broker->conns, 1);
	atomic_fetch_sub(&sh->broker->port_conns[c->port], 1);
	count_add(&sh->counts.sockets, (uint64_t)-1);
	list_push(&sh->grave, &c->work);
	count_end(sh);
}

void
conn_drop(struct conn *c, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	if (c->state == CONN_DEAD)
		return;
	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(why, sizeof why, fmt, ap);
		va_end(ap);
		if (c->state != CONN_CLOSING)
			log_end(c, why);
	}
	die(c);
}

/*
 * Who says all at once, DISCONNECT or the end of the stream too, is still
 * answered what came before it: CONNACK [MQTT-3.1.4-5], acknowledgements, also
 * those that wait for the disk.  His session and his will do not wait for that,
 * and nor does anybody for longer than a closing connection's deadline.
 */
void
conn_part(struct conn *c, const char *why)
{
	if (c->state == CONN_LIVE && link_unsent(&c->link) > 0)
		conn_flush_now(c);
	if (c->state != CONN_LIVE || c->link.closing || c->leaves || c->gone ||
	    (c->link.held == 0 && link_unsent(&c->link) == 0)) {
		conn_drop(c, "%s", why);
		return;
	}
	log_end(c, why);
	leave_all(c);
	count_end(c->shard); /* its closing is another, in a later turn */
	list_remove(&c->work);
	c->parting = true;
	conn_set_state(c, CONN_CLOSING);
	if (c->link.held == 0)
		conn_parted(c);
	conn_update_wants(c);
}

void
conn_parted(struct conn *c)
{
	c->parting = false;
	c->link.closing = true;
	conn_set_state(c, CONN_CLOSING); /* its time begins anew */
	link_kick(&c->link);
}

void
conn_close_gently(struct conn *c)
{
	if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
		return;
	leave_all(c);
	c->link.closing = true;
	list_remove(&c->work);
	conn_set_state(c, CONN_CLOSING);
	conn_flush_now(c);
}

/* Codes that do not say by themselves what was wrong with the client's packet.
 * For the others a reason would add nothing, or tell of other clients. */
static bool
explains(enum mqtt_rc rc)
{
	return rc == RC_MALFORMED_PACKET || rc == RC_PROTOCOL_ERROR ||
	    rc == RC_IMPLEMENTATION_SPECIFIC || rc == RC_TOPIC_NAME_INVALID ||
	    rc == RC_PACKET_TOO_LARGE || rc == RC_QUOTA_EXCEEDED;
}

/* [MQTT-3.14.0-1]: a server sends DISCONNECT only after CONNACK. */
static void
say_disconnect(struct conn *c, enum mqtt_rc rc, const char *why, bool openly)
{
	struct disconnect d = { .code = (uint8_t)rc };
	uint32_t n;

	if (c->state == CONN_AUTH) /* [MQTT-4.12.0-4] */
		connack_refuse(c, rc, why, openly);
	if (c->state != CONN_LIVE || c->version != MQTT5)
		return;
	if (c->problem_info && (openly || explains(rc))) {
		d.props.seen = PROP_BIT(PROP_REASON_STRING);
		d.props.reason_string = slice_str(why);
	}
	n = props_size(&d.props);
	if (!link_fits(&c->link, 1 + varint_size(n) + n)) /* [MQTT-3.14.2-3] */
		d.props.seen = 0;
	link_kick(&c->link);
	c->link.packets++;
	if (encode_disconnect(&c->link.out, MQTT5, &d))
		nj_log(LOG_T_DEBUG, "No memory to say goodbye to %s", c->peer);
}

/* RFC 6455 7.4.1, and IANA's list for the last: the same for a client whose
 * MQTT version has no DISCONNECT for it. */
static uint16_t
ws_code_of(enum mqtt_rc rc)
{
	switch (rc) {
	case RC_SUCCESS:
	case RC_SESSION_TAKEN_OVER:
		return WS_CODE_NORMAL;
	case RC_SERVER_SHUTTING_DOWN:
	case RC_USE_ANOTHER_SERVER:
	case RC_SERVER_MOVED:
		return WS_CODE_GOING;
	case RC_MALFORMED_PACKET:
	case RC_PROTOCOL_ERROR:
		return WS_CODE_PROTOCOL;
	case RC_PACKET_TOO_LARGE:
		return WS_CODE_TOO_BIG;
	case RC_UNSPECIFIED:
	case RC_IMPLEMENTATION_SPECIFIC:
		return WS_CODE_INTERNAL;
	case RC_SERVER_UNAVAILABLE:
	case RC_SERVER_BUSY:
		return WS_CODE_BUSY;
	default:
		return WS_CODE_POLICY;
	}
}

void
conn_end_code(struct conn *c, enum mqtt_rc rc)
{
	stream_end_code(c->stream, ws_code_of(rc));
}

void
conn_end(struct conn *c, enum mqtt_rc rc, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	log_end(c, why);
	say_disconnect(c, rc, why, false);
	conn_end_code(c, rc);
	conn_close_gently(c);
}

void
conn_end_openly(struct conn *c, enum mqtt_rc rc, const char *why)
{
	if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
		return;
	log_end(c, why);
	say_disconnect(c, rc, why, true);
	conn_end_code(c, rc);
	conn_close_gently(c);
}

void
conn_bury(struct conn *c)
{
	assert(c->state == CONN_DEAD);
	stream_shutdown(c->stream);
	stream_free(c->stream);
	c->stream = NULL;
	shard_give_back(c->shard, &c->link.out);
	link_fini(&c->link);
	buf_fini(&c->in);
	if (c->aliases)
		for (unsigned i = 0; i < c->alias_max; i++)
			free((void *)(uintptr_t)c->aliases[i].p);
	free(c->aliases);
	free(c->via);
	c->buried = true;
	if (c->link.held == 0)
		free(c);
}
