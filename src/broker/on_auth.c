/* SPDX-License-Identifier: Apache-2.0
 * on_auth - AUTH: an exchange of enhanced authentication, before CONNACK or,
 *           as re-authentication, while the connection goes on working.
 *
 * Spec: MQTT 5.0 3.15, 4.12.
 */
#include "auth/chain.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/conn.h"
#include "broker/guard.h"
#include "broker/login.h"
#include "broker/sessions.h"
#include "core/rc.h"
#include "wire/decode.h"
#include "wire/encode.h"

/* Re-authentications of one connection: so many at once, then one in so many
 * milliseconds. */
#define REAUTH_BURST 20
#define REAUTH_MS    1000

/* The method that the CONNECT named goes into each AUTH [MQTT-4.12.0-5]. */
static enum nj_err
send_auth(struct conn *c, enum mqtt_rc code, struct slice data)
{
	struct disconnect a = {
		.code = (uint8_t)code,
		.props = {
			.seen = PROP_BIT(PROP_AUTH_METHOD),
			.auth_method = slice_str(c->auth_method),
			.auth_data = data,
		},
	};
	char name[TEXT_ESC];
	size_t had;
	enum nj_err e;

	if (data.n > 0)
		a.props.seen |= PROP_BIT(PROP_AUTH_DATA);
	nj_log(LOG_T_DEBUG, "Sending AUTH to %s (%u)",
	    conn_name(c, name, sizeof name), (unsigned)code);
	link_kick(&c->link);
	had = buf_len(&c->link.out);
	if ((e = encode_auth(&c->link.out, &a)))
		return e;
	if (c->link.max_packet &&
	    buf_len(&c->link.out) - had > c->link.max_packet) {
		buf_truncate(&c->link.out, had); /* [MQTT-3.1.2-24] */
		return NJ_TOOBIG;
	}
	c->link.packets++;
	return NJ_OK;
}

/* It stays what it was: a session's name does not change [4.12.1]. */
static void
reauth_allowed(struct conn *c, struct login *l)
{
	struct auth_request *r = l->req;
	char name[TEXT_ESC], user[TEXT_ESC];
	enum nj_err e;

	if (!slice_eq(r->principal->name, c->session->who->name)) {
		conn_end(c, RC_NOT_AUTHORIZED,
		    "its re-authentication was for another user, '%s'",
		    text_esc(user, sizeof user, r->principal->name));
		return;
	}
	if ((e = send_auth(c, RC_SUCCESS, buf_slice(&r->out)))) {
		conn_end(c, rc_of(e),
		    "the answer to its re-authentication cannot be sent: %s",
		    nj_strerror(e));
		return;
	}
	login_holds(c, r->principal);
	conn_deadline(c);
	principal_unref(c->session->who);
	c->session->who = r->principal;
	r->principal = NULL;
	sessions_recheck_reads(c->session);
	sessions_keep_who(c->shard, c->session);
	if (c->shard->limits.log_connections &&
	    guard_may_log(c->shard, &c->shard->comings, GUARD_LINES))
		nj_log(LOG_T_NOTICE, "Client %s re-authenticated by %s.",
		    conn_name(c, name, sizeof name), c->auth_method);
}

/* [MQTT-4.12.1-2] */
static void
reauth_refused(struct conn *c, const struct auth_request *r)
{
	count_add(&c->shard->counts.logins_failed, 1);
	if (auth_reason_is_guess(r->reason))
		guard_login_failed(c);
	if (r->reason == AUTH_R_BAD_DATA)
		conn_end_openly(c, RC_NOT_AUTHORIZED, r->why);
	else
		conn_end(c,
		    r->reason == AUTH_R_BUSY ? RC_SERVER_BUSY
					     : RC_NOT_AUTHORIZED,
		    "its re-authentication failed: %s", r->why);
}

static void
reauth_decided(struct conn *c, struct login *l)
{
	c->login = NULL;
	if (l->req->result == AUTH_ALLOW)
		reauth_allowed(c, l);
	else
		reauth_refused(c, l->req);
	login_free(l);
}

/* The client is asked for more [MQTT-4.12.0-2], [MQTT-4.12.0-3]. */
static void
ask_client(struct conn *c, struct login *l)
{
	enum nj_err e = send_auth(c, RC_CONTINUE_AUTH, buf_slice(&l->req->out));

	if (!l->again)
		conn_set_state_within(c, CONN_AUTH);
	if (e)
		conn_end(c, rc_of(e),
		    "the next step of its authentication cannot be sent: %s",
		    nj_strerror(e));
	else
		conn_update_wants(c);
}

void
login_answered(struct conn *c, struct login *l, enum auth_result result)
{
	switch (result) {
	case AUTH_LATER:
		conn_update_wants(c);
		break;
	case AUTH_CONTINUE:
		ask_client(c, l);
		break;
	default:
		if (l->again)
			reauth_decided(c, l);
		else
			login_decided(c, l);
		break;
	}
}

/* While the authenticator is at work, the request is its own; it may have
 * answered before it returns. */
static void
answered_now(struct conn *c, struct login *l, enum auth_result result)
{
	if (result != AUTH_LATER)
		l->asked = false;
	login_answered(c, l, result);
}

void
login_start_method(struct conn *c, struct login *l)
{
	struct auth_chain *chain = conn_port(c)->chain;

	l->asked = true;
	answered_now(c, l,
	    auth_start_method(chain,
		auth_chain_method(chain, slice_str(c->auth_method)), l->req));
}

void
login_late(struct conn *c)
{
	conn_end(c, RC_NOT_AUTHORIZED,
	    "its %sauthentication was not finished within %u ms",
	    c->state == CONN_LIVE ? "re-" : "",
	    c->shard->limits.connect_timeout_ms);
}

/* The client's next word. */
static enum nj_err
go_on(struct conn *c, const struct disconnect *a)
{
	struct login *l = c->login;

	if (!l || l->asked) {
		conn_end(c, RC_PROTOCOL_ERROR,
		    "AUTH with Continue authentication, which nothing asked "
		    "for");
		return NJ_OK;
	}
	if (!l->again)
		conn_set_state_within(c, CONN_LOGIN);
	l->asked = true;
	answered_now(c, l,
	    auth_continue(l->req, props_has(&a->props, PROP_AUTH_DATA),
		a->props.auth_data));
	return NJ_OK;
}

/* Whether it has waited long enough since the last ones. */
static bool
reauth_due(struct conn *c)
{
	uint64_t now = c->shard->home.now_ms;

	if (c->reauth_at < now)
		c->reauth_at = now;
	if (c->reauth_at - now > (REAUTH_BURST - 1) * (uint64_t)REAUTH_MS)
		return false;
	c->reauth_at += REAUTH_MS;
	return true;
}

static enum nj_err
reauth(struct conn *c, const struct disconnect *a)
{
	const struct principal *who = c->session->who;
	struct auth_request_in ask = {
		.has_username = who->claimed.n > 0,
		.bridge = who->bridge,
		.watch = &guard_watch,
		.watch_arg = c,
		.username = who->claimed,
		.client_id = session_id(c->session),
		.has_data = props_has(&a->props, PROP_AUTH_DATA),
		.data = a->props.auth_data,
	};
	struct login *l;
	enum nj_err e;

	if (!reauth_due(c)) {
		conn_end(c, RC_QUOTA_EXCEEDED,
		    "it re-authenticates more often than %d times at once and "
		    "then each %d ms",
		    REAUTH_BURST, REAUTH_MS);
		return NJ_OK;
	}
	if (guard_login_wait(c) > 0) {
		conn_end(c, RC_CONNECTION_RATE_EXCEEDED,
		    "too many logins from its address have failed "
		    "(failed_logins_per_minute)");
		return NJ_OK;
	}
	/* a reload may have taken it away */
	if (!auth_chain_method(
		conn_port(c)->chain, slice_str(c->auth_method))) {
		conn_end(c, RC_NOT_AUTHORIZED,
		    "its listener does not offer %s any more", c->auth_method);
		return NJ_OK;
	}
	if ((e = login_new(c, &ask, &l)))
		return e;
	l->again = true;
	c->login = l;
	conn_deadline(c);
	login_start_method(c, l);
	return NJ_OK;
}

/* Whether an AUTH may come now at all. */
static const char *
fault_of(const struct conn *c, const struct disconnect *a)
{
	if (!c->auth_method) /* [MQTT-4.12.0-7] */
		return "AUTH without an authentication method in its CONNECT";
	/* [MQTT-4.12.0-5], [MQTT-4.12.1-1] */
	if (!props_has(&a->props, PROP_AUTH_METHOD) ||
	    !slice_is(a->props.auth_method, c->auth_method))
		return "AUTH with another authentication method than its "
		       "CONNECT";
	if (a->code == RC_SUCCESS)
		return "AUTH with Success, which is the server's to say";
	if (a->code == RC_REAUTHENTICATE && c->state == CONN_AUTH)
		return "AUTH with Re-authenticate before CONNACK";
	if (a->code == RC_REAUTHENTICATE && c->login)
		return "a re-authentication while another one is under way";
	return NULL;
}

enum nj_err
on_auth(struct conn *c, const struct frame *f)
{
	struct disconnect a;
	enum nj_err e = decode_auth(f->body, &a);
	const char *fault;

	if (e)
		return e;
	if ((fault = fault_of(c, &a))) {
		conn_end(c, RC_PROTOCOL_ERROR, "%s", fault);
		return NJ_OK;
	}
	return a.code == RC_REAUTHENTICATE ? reauth(c, &a) : go_on(c, &a);
}
