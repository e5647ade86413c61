/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/refuse.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "broker/connack.h"
#include "broker/guard.h"
#include "broker/shard.h"
#include "core/rc.h"

static bool
is_malformed(enum mqtt_rc rc)
{
	return rc == RC_MALFORMED_PACKET || rc == RC_PROTOCOL_ERROR ||
	    rc == RC_TOPIC_NAME_INVALID;
}

/* The identifier stands behind why, which filters of the log look at; without
 * an id nothing does. */
static void
refuse(struct conn *c, struct slice id, enum mqtt_rc rc, const char *why,
    bool openly)
{
	const char *mend = failure_advice(why) ? "" : failure_mend(why);
	char name[TEXT_ESC];

	conn_failed(c, FAILURE_LOGIN, false, why, mend);
	if (guard_may_log(c->shard, &c->shard->rejections, GUARD_LINES))
		nj_log(LOG_T_NOTICE,
		    "Client %s not accepted (%s): %s%s%s%s%s%s", c->peer,
		    rc_name((uint8_t)rc), why,
		    id.n ? " (its client identifier: '" : "",
		    id.n ? text_esc(name, sizeof name, id) : "",
		    id.n ? "')" : "", mend[0] ? ".  To mend it: " : "", mend);
	/* 3.1.1 3.1.4: who cannot even CONNECT properly is told nothing */
	if (c->version == MQTT5 || !is_malformed(rc))
		connack_refuse(c, rc, why, openly);
	conn_end_code(c, rc);
	conn_close_gently(c);
}

void
connect_refuse_as(struct conn *c, enum mqtt_rc rc, const char *why, bool openly)
{
	refuse(c, SLICE_NONE, rc, why, openly);
}

enum nj_err
connect_refuse(struct conn *c, enum mqtt_rc rc, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	connect_refuse_as(c, rc, why, false);
	return NJ_OK;
}

enum nj_err
connect_refuse_known(
    struct conn *c, struct slice id, enum mqtt_rc rc, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	refuse(c, id, rc, why, false);
	return NJ_OK;
}

/* One code for every cause that could teach a guesser, the one that Mosquitto's
 * clients know. */
enum mqtt_rc
connect_refusal_of(enum auth_reason reason)
{
	switch (reason) {
	case AUTH_R_BUSY:
		return RC_SERVER_BUSY;
	case AUTH_R_PRESSED:
		return RC_CONNECTION_RATE_EXCEEDED;
	case AUTH_R_SIGNER:
		return RC_SERVER_UNAVAILABLE;
	case AUTH_R_NO_CERTIFICATE:
		return RC_BAD_USER_NAME_OR_PASSWORD;
	default:
		return RC_NOT_AUTHORIZED;
	}
}
