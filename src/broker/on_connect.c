/* SPDX-License-Identifier: Apache-2.0
 * on_connect - CONNECT: is it well formed, may this client come in, which
 *              session is its own.
 *
 * Spec: MQTT 5.0 3.1, 3.2; MQTT 3.1.1 3.1, 3.2; MQTT 3.1.
 */
#include <stdio.h>
#include <stdlib.h>

#include "auth/chain.h"
#include "auth/decide.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/text.h"
#include "broker/certname.h"
#include "broker/conn.h"
#include "broker/connack.h"
#include "broker/connect_check.h"
#include "broker/enroll.h"
#include "broker/guard.h"
#include "broker/login.h"
#include "broker/mounted.h"
#include "broker/paging.h"
#include "broker/quota.h"
#include "broker/reentry.h"
#include "broker/refuse.h"
#include "broker/revoked.h"
#include "broker/rights.h"
#include "broker/sessions.h"
#include "broker/source.h"
#include "broker/walk.h"
#include "core/rc.h"
#include "wire/decode.h"

/* Longest client identifier the broker makes. */
#define AUTO_ID_MAX 512

/* Step 1, what can be said before knowing who it is, is connect_check.h.
 * Step 2: who is it. */

static enum nj_err
new_login(struct conn *c, const struct frame *f, const struct connect *k,
    enum enrolling right, struct login **out)
{
	struct auth_request_in ask = {
		.has_username = k->has_username,
		.has_password = k->has_password,
		.bridge = k->bridge,
		.username = k->username,
		.password = k->password,
		.client_id = login_client_id(c, k),
		.pressed =
		    k->has_username && guard_name_wait(c, k->username) > 0,
		.at_home =
		    k->has_username && guard_name_at_home(c, k->username),
		.watch = &guard_watch,
		.watch_arg = c,
		.has_data = props_has(&k->props, PROP_AUTH_DATA),
		.data = k->props.auth_data,
		.right = right,
	};
	enum nj_err e;

	if ((e = login_new(c, &ask, out)))
		return e;
	if ((e = buf_put_slice(&(*out)->packet, f->body))) {
		login_free(*out);
		*out = NULL;
	}
	return e;
}

/* Step 3: in. */

/* Prefix and a random UUID (RFC 9562), which is how Mosquitto makes them.  own
 * goes in front: the name that it has to begin with. */
static enum nj_err
make_id(struct conn *c, struct slice own, char *dst, size_t size)
{
	const char *prefix = conn_port(c)->auto_id_prefix;
	struct shard *sh = c->shard;
	uint8_t r[16];
	int n;

	/* one that lives here, so that the client finds its session again */
	do {
		rand_bytes(r, sizeof r);
		r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
		r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
		n = snprintf(dst, size,
		    "%.*s%s%s%02X%02X%02X%02X-%02X%02X-%02X%02X-%02X%02X-"
		    "%02X%02X%02X%02X%02X%02X",
		    (int)own.n, own.n ? (const char *)own.p : "",
		    own.n ? ":" : "", prefix, r[0], r[1], r[2], r[3], r[4],
		    r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13],
		    r[14], r[15]);
		if (n < 0 || (size_t)n >= size)
			return NJ_TOOBIG;
	} while (shard_of_id(sh->broker, slice_str(dst)) != sh->home.shard);
	return NJ_OK;
}

static enum nj_err
take_will(struct conn *c, const struct connect *k, struct session *s)
{
	struct publish p = {
		.qos = k->will.qos,
		.retain = k->will.retain,
		.payload = k->will.payload,
		.props = k->will.props,
	};
	struct session_will *w;
	enum nj_err e;

	if (!k->has_will)
		return NJ_OK;
	if (!(w = calloc(1, sizeof *w)))
		return NJ_NOMEM;
	if ((e = source_msg_new(
		 s, &p, k->will.topic, c->shard->home.now_ms, &w->msg))) {
		free(w);
		return e;
	}
	w->msg->from = s->number;
	w->msg->expires_at = MSG_NEVER;
	w->expiry_s = props_has(&p.props, PROP_MESSAGE_EXPIRY)
	    ? p.props.message_expiry
	    : MQTT_EXPIRY_NEVER;
	w->delay_s =
	    props_has(&p.props, PROP_WILL_DELAY) ? p.props.will_delay : 0;
	s->will = w;
	return NJ_OK;
}

static uint32_t
expiry_asked(const struct connect *k)
{
	if (k->version != MQTT5) /* 3.1.1 3.1.2.4 */
		return k->clean_start ? 0 : MQTT_EXPIRY_NEVER;
	return props_has(&k->props, PROP_SESSION_EXPIRY)
	    ? k->props.session_expiry
	    : 0;
}

/* Who only enrols leaves nothing behind. */
static bool
who_stays(const struct principal *who)
{
	return who->right <= ENROLLING_BESIDES;
}

static void
set_link(struct conn *c, const struct connect *k)
{
	const struct port_opts *po = conn_port(c);
	const struct props *p = &k->props;
	uint16_t window = c->shard->limits.session.max_inflight;
	uint16_t alias = 0;

	c->link.window = window ? window : UINT16_MAX;
	if (k->version == MQTT5) {
		/* [MQTT-3.3.4-9] */
		if (props_has(p, PROP_RECEIVE_MAX) &&
		    p->receive_max < c->link.window)
			c->link.window = p->receive_max;
		if (props_has(p, PROP_TOPIC_ALIAS_MAX))
			alias = p->topic_alias_max;
		c->alias_max = po->max_topic_alias;
	}
	c->link.aliases.max = alias < po->max_topic_alias_broker
	    ? alias
	    : po->max_topic_alias_broker;
}

static void
log_in(
    const struct conn *c, const struct connect *k, const struct principal *who)
{
	char id[TEXT_ESC], user[TEXT_ESC];

	if (!c->shard->limits.log_connections ||
	    !guard_may_log(c->shard, &c->shard->known, GUARD_KNOWN))
		return;
	nj_log(LOG_T_NOTICE,
	    "New client connected from %s as %s (p%d, c%d, k%u%s%s%s).",
	    c->peer, text_esc(id, sizeof id, session_id(c->session)),
	    (int)(k->version == MQTT5	    ? 5
		    : k->version == MQTT311 ? 2
					    : 1),
	    k->clean_start, k->keep_alive, who->name.n ? ", u'" : "",
	    text_esc(user, sizeof user, who->name), who->name.n ? "'" : "");
	if (k->has_will)
		nj_log(LOG_T_DEBUG,
		    "Will message specified (%zu bytes) "
		    "(r%d, q%d).",
		    k->will.payload.n, k->will.retain, k->will.qos);
}

/* A session belongs to who made it: nobody else resumes it or takes it over,
 * and its owner is not disturbed by the attempt. */
static bool
is_anothers(struct shard *sh, struct slice id, const struct principal *who)
{
	struct session *s = session_find(&sh->home, id);

	if (!s || !s->who || slice_eq(s->who->name, who->name))
		return false;
	/* What another broker kept goes to the first who comes, or who gives its
	 * user's name, if it has one; that broker asked for no more.  Whoever was
	 * proved to be another gives that name in vain. */
	if (strcmp(s->who->by, SESSION_IMPORTED) != 0)
		return true;
	return s->who->name.n > 0 &&
	    (who->name.n > 0 || !slice_eq(s->who->name, who->claimed));
}

/* A client that its own will lets fail again and again costs its subscribers a
 * message each time. */
static bool
may_leave_will(struct shard *sh, struct slice id, const struct principal *who)
{
	return quota_will_ok(sh, quota_will_key(id, guard_identity(who, id)));
}

static void
keep_alive_of(struct conn *c, const struct connect *k, struct connack_in *in)
{
	uint16_t max = c->shard->limits.max_keepalive;

	c->keep_alive = k->keep_alive;
	if (max && (k->keep_alive == 0 || k->keep_alive > max) &&
	    k->version == MQTT5) {
		c->keep_alive = max;
		in->server_keep_alive = max; /* [MQTT-3.1.2-21] */
	}
}

/* One that it did not give has to be an identifier like others; a reload may
 * have come since one that it gave was looked at. */
static enum nj_err
check_prefix(struct conn *c, const struct connect *k, struct slice id)
{
	bool gave = k->client_id.n > 0;

	if (port_takes_id(conn_port(c), gave ? k->client_id : id))
		return NJ_OK;
	(void)connect_refuse(c, RC_CLIENT_ID_NOT_VALID,
	    gave ? "its client identifier begins with none of "
		   "clientid_prefixes"
		 : "it gave no client identifier, and the one that it would "
		   "get begins with none of clientid_prefixes");
	return NJ_DENIED;
}

/* The identifier of its session, which the broker makes (into made) for who
 * gave none; NJ_DENIED when it is not one of the client's own. */
static enum nj_err
choose_id(struct conn *c, const struct connect *k, const struct principal *who,
    char made[AUTO_ID_MAX], struct slice *id)
{
	enum cert_id how = certname_binds(c, who);
	char name[TEXT_ESC];
	enum nj_err e;

	*id = login_client_id(c, k);
	/* who only enrols is nobody's session, nor in its way */
	if (id->n == 0 || !who_stays(who)) {
		if (!who_stays(who))
			how = CERT_ID_ANY;
		if ((e = make_id(c, how == CERT_ID_ANY ? SLICE_NONE : who->name,
			 made, AUTO_ID_MAX)))
			return e;
		*id = slice_str(made);
		return who_stays(who) ? check_prefix(c, k, *id) : NJ_OK;
	}
	if (certname_is_own(how, who->name, *id))
		return check_prefix(c, k, *id);
	(void)connect_refuse(c, RC_CLIENT_ID_NOT_VALID,
	    "its client identifier is not its own: its certificate says "
	    "that it is '%s' (certificate_clientid)",
	    text_esc(name, sizeof name, who->name));
	return NJ_DENIED;
}

static void
fill_answer(struct conn *c, const struct connect *k, struct slice id,
    uint32_t expiry_s, struct connack_in *in)
{
	keep_alive_of(c, k, in);
	in->id = id;
	in->expiry_asked = expiry_asked(k);
	in->expiry_given = expiry_s;
}

#define ANSWER_TOO_LARGE "the answer is larger than its maximum packet size"

/* Who does not is not let in: its session, the connection that has that, and its delayed
 * will stay as they are [MQTT-3.1.3-9]. */
static bool
takes_answer(
    struct conn *c, const struct connect *k, const struct connack_in *in)
{
	if (c->link.max_packet == 0 || connack_fits(c, k, in))
		return true;
	(void)connect_refuse_known(
	    c, in->id, RC_PACKET_TOO_LARGE, ANSWER_TOO_LARGE);
	return false;
}

/* Of who has its session, and is not let in yet: how that was before, and what
 * CONNACK needs when it is on disk. */
struct admission {
	struct session_before was;
	struct buf packet; /* CONNECT's body */
	struct buf auth_data;
	uint64_t promise; /* that it goes on */
	bool assigned;
	bool in; /* it is */
};

void
admission_free(struct conn *c)
{
	struct admission *a = c->admission;

	if (!a)
		return;
	c->admission = NULL;
	list_remove(&c->untaken);
	if (!a->in && c->session)
		sessions_refuse(c, &a->was);
	session_before_fini(&a->was);
	buf_wipe(&a->packet);
	buf_fini(&a->auth_data);
	free(a);
}

/* The session is there, and on disk if it is to be: CONNACK. */
static void
let_in(struct conn *c, const struct connect *k, struct connack_in *in)
{
	struct shard *sh = c->shard;
	struct session *s = c->session;
	enum nj_err e;

	s->coming = NULL;
	if ((e = session_attach(s, &c->link))) {
		(void)connect_refuse(c, rc_of(e), "%s", nj_strerror(e));
		return;
	}
	fill_answer(c, k, session_id(s), s->expiry_s, in);
	if ((e = connack_accept(c, k, in)) == NJ_TOOBIG) {
		/* it did fit, but for a reload */
		(void)connect_refuse(c, RC_PACKET_TOO_LARGE, ANSWER_TOO_LARGE);
		return;
	}
	if (e) {
		conn_drop(c, "%s", nj_strerror(e));
		return;
	}
	c->admission->in = true;
	c->last_rx = sh->home.now_ms;
	conn_set_state(c, CONN_LIVE);
	count_add(&sh->counts.connects, 1);
	log_in(c, k, s->who);
	session_pump(s);
}

static bool
store_is_written(const struct shard *sh)
{
	const struct store *store = sh->durable.store;

	return !store || store_state(store) == STORE_OK;
}

/* While the store cannot be written, those come in whose session is on disk, and
 * those who need none.  Their wills are kept in memory, if there is some. */
static bool
cannot_be_kept(const struct conn *c, const struct connect *k, struct slice id)
{
	const struct session *s;

	if (k->has_will && durable_behind(c->shard))
		return true;
	if (expiry_asked(k) == 0)
		return false;
	s = session_find(&c->shard->home, id);
	return !s || !s->kept || !s->kept->there || k->clean_start ||
	    !sessions_goes_on(c, s);
}

/* c waits for its session; l gives up the packet. */
static enum nj_err
wait_for_disk(struct conn *c, struct login *l, const struct connack_in *in)
{
	struct admission *a = c->admission;
	enum nj_err e;

	if ((e = buf_put_slice(&a->auth_data, in->auth_data)))
		return e;
	a->packet = l->packet;
	l->packet = (struct buf){ 0 };
	a->assigned = in->assigned_id.n > 0;
	c->session->coming = c;
	list_push(&c->shard->durable.saving, &c->untaken);
	conn_set_state_within(c, CONN_SAVING);
	conn_update_wants(c);
	a->promise = durable_promise_to_go_on(c);
	return NJ_OK;
}

/* Its session is on disk as it was before, or there is nothing of it to be kept but its
 * will, which is in memory: with that it would come in now (cannot_be_kept)
 * [MQTT-3.1.3-9]. */
static bool
comes_in(const struct conn *c)
{
	const struct session *s = c->session;

	return c->admission->promise > 0 && (!s->kept || s->kept->there);
}

/* What its CONNECT has begun is not on disk, and will not be soon: it is told, and
 * comes again.  Nobody has heard of a session that it began. */
static void
tell_stuck(struct conn *c)
{
	(void)connect_refuse(c, RC_QUOTA_EXCEEDED,
	    "the store cannot be written, and its session must be kept");
}

void
connect_turn(struct shard *sh)
{
	struct durable *d = &sh->durable;
	struct list *at;

	if (list_empty(&d->saving))
		return;
	if (store_is_written(sh)) {
		/* without memory some other turn finds them */
		if (!d->look.at)
			(void)!timer_set(&sh->home.timers, &d->look,
			    sh->home.now_ms + REREAD_MS);
		return;
	}
	while ((at = list_pop(&d->saving))) {
		struct conn *c = LIST_OWNER(at, struct conn, untaken);

		/* all is on disk, and its turn comes; or there was no memory for it,
		 * and what it waited for is not there any more */
		if (!c->saving || c->link.closing)
			continue;
		if (comes_in(c))
			durable_go_on_now(c, c->admission->promise);
		else
			tell_stuck(c);
	}
}

void
connect_go_on(struct conn *c)
{
	struct admission *a = c->admission;
	struct connack_in in = {
		.present = a->was.present,
		.assigned_id =
		    a->assigned ? session_id(c->session) : SLICE_NONE,
		.auth_data = buf_slice(&a->auth_data),
	};
	struct connect k;

	if (c->session->kept)
		c->session->kept->there = true;
	if (decode_connect(buf_slice(&a->packet), &k))
		conn_drop(c, "its CONNECT changed under our hands");
	else
		let_in(c, &k, &in);
	admission_free(c);
}

/* It has its session from now on, or is refused. */
static enum nj_err
take_session(struct conn *c, struct slice id, bool clean_start)
{
	enum nj_err e = NJ_NOMEM;

	if (!(c->admission = calloc(1, sizeof *c->admission)) ||
	    (e = sessions_take(
		 c, id, clean_start, &c->session, &c->admission->was))) {
		(void)connect_refuse_known(c, id,
		    e == NJ_FULL ? RC_QUOTA_EXCEEDED : rc_of(e), "%s",
		    e == NJ_FULL ? "global_max_clients is reached"
				 : nj_strerror(e));
		return e;
	}
	walk_pass(c);
	return NJ_OK;
}

/* Consumes the reference on who; l has the last word of an exchange. */
static enum nj_err
admit(struct conn *c, const struct connect *k, struct principal *who,
    struct login *l)
{
	struct shard *sh = c->shard;
	struct connack_in in = { .auth_data = buf_slice(&l->req->out) };
	bool writes = store_is_written(sh);
	struct asker asker;
	struct decision rule;
	char made[AUTO_ID_MAX];
	struct slice id;
	struct session *s;
	const char *why;
	uint32_t expiry_s;
	enum nj_err e;

	if ((e = choose_id(c, k, who, made, &id)))
		goto out;
	if (k->client_id.n == 0 && !conn_port(c)->use_username_as_clientid)
		in.assigned_id = id;
	sh->durable.keep.dirty = sh->durable.keep.failed = false;
	e = NJ_DENIED;
	if (is_anothers(sh, id, who)) {
		(void)connect_refuse_known(c, id, RC_CLIENT_ID_NOT_VALID,
		    "its client identifier "
		    "belongs to the session of another user; choose another");
		goto out;
	}
	if ((why = rights_refusal(c, who->name, id, l->req->proof))) {
		(void)connect_refuse_known(c, id, RC_NOT_AUTHORIZED, "%s", why);
		goto out;
	}
	asker = rights_asker(c, who, id);
	if (k->has_will &&
	    !decide(&asker, ACTION_PUBLISH, k->will.topic, &rule)) {
		(void)connect_refuse_known(c, id, RC_NOT_AUTHORIZED,
		    "it may not publish its "
		    "will: %s",
		    rule.text);
		goto out;
	}
	if (k->has_will && !may_leave_will(sh, id, who)) {
		(void)connect_refuse_known(c, id, RC_CONNECTION_RATE_EXCEEDED,
		    "too many wills of it were sent within a minute "
		    "(max_wills_per_minute)");
		goto out;
	}
	if (!writes && cannot_be_kept(c, k, id)) {
		(void)connect_refuse_known(c, id, RC_QUOTA_EXCEEDED,
		    "the store cannot be written, and its session%s must be "
		    "kept",
		    k->has_will ? " or its will" : "");
		goto out;
	}
	set_link(c, k);
	expiry_s = who_stays(who) ? expiry_asked(k) : 0;
	fill_answer(c, k, id, expiry_s, &in);
	if (!takes_answer(c, k, &in))
		goto out;
	if ((e = take_session(c, id, k->clean_start)))
		goto out;
	s = c->session;
	in.present = c->admission->was.present;
	/* the same name, but what else is known of it may be new */
	principal_unref(s->who);
	s->who = who;
	who = NULL;
	sessions_set_rules(s, c);
	s->expiry_s = expiry_s;
	s->version = (uint8_t)k->version;
	if ((e = take_will(c, k, s)))
		goto refused;
	if (!sessions_keep(sh, s, writes)) {
		e = NJ_NOMEM;
		goto refused;
	}
	/* what there is no room for now is recorded when there is */
	if (sh->durable.keep.dirty && writes) {
		if ((e = wait_for_disk(c, l, &in)))
			goto refused;
	} else {
		let_in(c, k, &in);
		admission_free(c);
	}
	e = NJ_OK;
out:
	principal_unref(who);
	return e;
refused:
	(void)connect_refuse(c, rc_of(e), "%s", nj_strerror(e));
	principal_unref(who);
	return e;
}

/* The same where all topics have a prefix, that of the will too. */
static enum nj_err
admit_mounted(
    struct conn *c, struct connect *k, struct principal *who, struct login *l)
{
	struct mounted own = { 0 };
	struct mount *m = NULL;
	enum nj_err e = mount_new(conn_port(c)->mount_point, &m);

	if (!e && m && k->has_will)
		e = mounted_will(m, &k->will, &own);
	if (!e) {
		e = admit(c, k, who, l);
		who = NULL;
	} else if (e == NJ_INVALID) {
		(void)connect_refuse(c, RC_TOPIC_NAME_INVALID,
		    "the topic of its will is too long or too deep");
	}
	principal_unref(who);
	mounted_fini(&own);
	free(m);
	return e;
}

void
login_decided(struct conn *c, struct login *l)
{
	struct auth_request *r = l->req;
	const char *why;
	struct connect k;
	char user[TEXT_ESC];

	c->login = NULL;
	if (r->result != AUTH_ALLOW) {
		count_add(&c->shard->counts.logins_failed, 1);
		if (auth_reason_is_guess(r->reason)) {
			guard_login_failed(c);
			if (r->has_username && r->has_password)
				guard_name_failed(c, r->username);
		}
		if (r->reason == AUTH_R_BAD_DATA)
			connect_refuse_as(
			    c, connect_refusal_of(r->reason), r->why, true);
		else if (r->method)
			(void)connect_refuse(c, connect_refusal_of(r->reason),
			    "%s: %s", r->method->name, r->why);
		else
			(void)connect_refuse(c, connect_refusal_of(r->reason),
			    "%s%s%s: %s",
			    r->has_username ? "user '" : "no user name",
			    text_esc(user, sizeof user, r->username),
			    r->has_username ? "'" : "", r->why);
	} else if (revoked_conn(c)) { /* a walk would not meet it any more */
		(void)connect_refuse(c, RC_NOT_AUTHORIZED,
		    "its certificate, or that of a CA above it, was revoked");
	} else if ((why = rights_outdated(c, r)) ||
	    (why = reentry_objection(c, r->principal))) {
		(void)connect_refuse(c, RC_NOT_AUTHORIZED, "%s", why);
	} else if (decode_connect(buf_slice(&l->packet), &k)) {
		conn_drop(c, "its CONNECT changed under our hands");
	} else {
		struct principal *who = r->principal;
		enum nj_err e;

		r->principal = NULL;
		if (!who->certified && who->name.n > 0)
			guard_name_came(c, who->name);
		login_holds(c, who);
		e = conn_port(c)->mount_point ? admit_mounted(c, &k, who, l)
					      : admit(c, &k, who, l);
		if (e && c->state != CONN_CLOSING && c->state != CONN_DEAD)
			conn_drop(c, "%s", nj_strerror(e));
	}
	login_free(l);
}

enum nj_err
on_connect(struct conn *c, const struct frame *f)
{
	struct connect k = { 0 };
	struct login *l = NULL;
	const char *objection = NULL;
	enum nj_err e = decode_connect(f->body, &k);
	enum enrolling right;
	struct auth_chain *chain;

	/* a version that is not served is answered in the form that its packet
	 * has, since its client can read that */
	c->version = c->link.version = k.like5		? MQTT5
	    : k.version == MQTT5 || k.version == MQTT31 ? k.version
							: MQTT311;
	if (e == NJ_UNSUPPORTED) /* [MQTT-3.1.2-2] */
		return connect_refuse(c, RC_UNSUPPORTED_VERSION,
		    "protocol version %d is not served", (int)k.version);
	if (e) /* [MQTT-3.1.4-1] */
		return connect_refuse(
		    c, rc_of(e), "%s in its CONNECT", nj_strerror(e));
	if (k.version == MQTT5 && props_has(&k.props, PROP_MAX_PACKET_SIZE))
		c->link.max_packet = k.props.max_packet_size;
	c->problem_info = k.version == MQTT5 &&
	    (!props_has(&k.props, PROP_REQUEST_PROBLEM) ||
		k.props.request_problem);
	c->link.explains = c->problem_info;
	if (connect_check(c, &k))
		return NJ_OK;
	right = enroll_purpose(c, &k, &objection);
	if (!objection && right == ENROLLING_NOT)
		objection = certname_objection(c);
	if (objection)
		return connect_refuse(c, RC_NOT_AUTHORIZED, "%s", objection);
	if (right == ENROLLING_NOT && connect_check_method(c, &k))
		return NJ_OK;
	if (conn_port(c)->use_username_as_clientid &&
	    login_client_id(c, &k).n == 0)
		return connect_refuse(c, RC_NOT_AUTHORIZED,
		    "the user name is the client identifier here "
		    "(use_username_as_clientid), and it gave none");
	if ((k.has_password || c->auth_method) && guard_login_wait(c) > 0)
		return connect_refuse(c, RC_CONNECTION_RATE_EXCEEDED,
		    "too many logins from its address have failed "
		    "(failed_logins_per_minute)");
	if ((e = new_login(c, f, &k, right, &l)))
		return connect_refuse(c, rc_of(e), "%s", nj_strerror(e));
	c->login = l;
	if (c->auth_method) {
		conn_set_state_within(c, CONN_LOGIN);
		login_start_method(c, l);
		return NJ_OK;
	}
	conn_set_state(c, CONN_LOGIN);
	l->asked = true;
	chain = right == ENROLLING_NOT ? conn_port(c)->chain
				       : conn_port(c)->enroll_chain;
	if (auth_start(chain, l->req) == AUTH_LATER) {
		conn_update_wants(c);
	} else {
		l->asked = false;
		login_decided(c, l);
	}
	return NJ_OK;
}
