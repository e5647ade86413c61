/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/sessions.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "auth/decide.h"
#include "auth/principal.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/groups.h"
#include "broker/guard.h"
#include "broker/handover.h"
#include "broker/identity.h"
#include "broker/internal.h"
#include "broker/quota.h"
#include "broker/route.h"
#include "core/full.h"

/* Of those that wait for room, which are recorded in a turn. */
#define WILLS_TURN 1024

static struct conn *
conn_of(const struct session *s)
{
	return s->link ? LIST_OWNER(s->link, struct conn, link) : s->coming;
}

/* The store. */

static struct slice
mount_text(const struct session *s)
{
	return s->mount ? slice_of(s->mount->prefix, s->mount->n) : SLICE_NONE;
}

/*
 * Where what is recorded of it last is, as its client may come and go any number of
 * times while nothing can be written.  What goes to the disk with another shard's may
 * do so behind what is recorded meanwhile: nothing takes the place of that, nor is
 * itself found again.
 */
static uint32_t *
facts_place(struct shard *sh, struct kept *k)
{
	const struct durable *d = &sh->durable;
	bool parted = d->keep.part != NULL;

	if (parted)
		k->facts_gate = d->part_gate;
	else if (k->facts_gate)
		parted = k->facts_gate == UINT64_MAX ||
		    together_pending(sh, k->facts_gate - 1);
	if (parted || k->facts_ticket != d->keep.ticket)
		k->facts_at = UINT32_MAX;
	k->facts_ticket = parted ? 0 : d->keep.ticket;
	return &k->facts_at;
}

/* What is known of it but its messages. */
static enum nj_err
keep_facts(struct shard *sh, const struct session *s, int64_t offline_ms)
{
	struct keep *k = &sh->durable.keep;
	struct buf *who = &sh->source;
	uint32_t nowhere = UINT32_MAX;
	enum nj_err e;

	buf_truncate(who, 0);
	e = s->who ? identity_write(who, s->who) : NJ_OK;
	if (!e)
		e = batch_session_at(k->into,
		    &(struct store_session){
			.id = s->kept ? s->kept->id : s->will_id,
			.client = session_id(s),
			.user = s->who ? s->who->name : SLICE_NONE,
			.mount = mount_text(s),
			.who = buf_slice(who),
			.version = s->version,
			.expiry_s = s->expiry_s,
			.offline_ms = offline_ms,
		    },
		    s->kept ? facts_place(sh, s->kept) : &nowhere);
	keep_note(k, e);
	return e;
}

static uint64_t
hash_of(const struct session *s)
{
	return hash_bytes(session_id(s));
}

/* The end of its will (NULL: its own) goes to the disk, at once or later. */
static void
keep_end_of(
    struct shard *sh, const struct session *s, uint64_t id, struct msg *will)
{
	struct keep *k = &sh->durable.keep;
	enum nj_err e = will ? batch_will_end(k->into, id, msg_ref(will))
			     : batch_session_end(k->into, id);

	keep_note(k, e);
	if (e)
		owe_end(sh, hash_of(s), id, will);
}

static void
keep_no_will(struct shard *sh, struct session *s, const struct session_will *w)
{
	if (s->kept)
		keep_end_of(sh, s, s->kept->id, w->msg);
	else if (s->will_id)
		keep_end_of(sh, s, s->will_id, NULL);
	s->will_id = 0;
}

static void
keep_will(struct shard *sh, const struct session *s)
{
	struct keep *k = &sh->durable.keep;
	const struct session_will *w = s->will;
	uint32_t at = UINT32_MAX;

	if (!w)
		return;
	if (s->kept && !k->part && s->kept->will_ticket == k->ticket)
		at = s->kept->will_at;
	keep_weigh(k, w->msg);
	keep_note(k,
	    batch_will_at(k->into, s->kept ? s->kept->id : s->will_id,
		w->delay_s, w->expiry_s, msg_ref(w->msg), &at));
	if (s->kept) {
		s->kept->will_at = at;
		s->kept->will_ticket = k->part ? 0 : k->ticket;
	}
}

/*
 * A will that is in the shard's batch still is taken out again: it was never on disk.
 * Its client was told that it was let in, not that it is, if nothing can be written
 * (let_in()), and nothing if it waits.  So a client that comes and goes while nothing can be
 * written leaves none behind, and where it is sent that needs to go with nothing.
 */
static bool
will_vanishes(
    struct shard *sh, const struct session *s, const struct session_will *w)
{
	struct keep *k = &sh->durable.keep;
	const struct kept *x = s->kept;

	if (!x || x->will_ticket != k->ticket ||
	    !batch_will_cancel(k->own, x->will_at, x->id, w->msg))
		return false;
	k->bytes -= msg_size(w->msg);
	return true;
}

static uint32_t expiry_of(const struct shard *sh, const struct session *s);

/* Nothing of it overtakes what is on its way to the disk.  False: nothing is,
 * and it need not be ended. */
static bool
together_if_pending(struct shard *sh, const struct session *s)
{
	return together_pending(sh, s->gate) && together_again(sh, s->gate);
}

/* A new one; the end of the session in whose place it comes goes to disk no
 * later: else a crash between would lose its will, and what it hands over. */
static void
keep_new(struct shard *sh, struct session *s)
{
	bool begun = together_after_end(sh, hash_of(s), &s->gate);

	if (sh->durable.n_owed > 0)
		owed_of_client(sh, hash_of(s));
	(void)keep_facts(sh, s, STORE_NEVER); /* else keep.failed */
	keep_will(sh, s);
	if (begun)
		together_end(sh);
}

/* Nothing of it outlives a crash but its last word. */
static void
keep_will_alone(struct shard *sh, struct session *s)
{
	s->will_id = atomic_fetch_add(&sh->broker->next_kept, 1);
	keep_new(sh, s);
}

void
sessions_keep_wills(struct shard *sh)
{
	struct durable *d = &sh->durable;
	struct list *at;

	for (unsigned i = 0; i < WILLS_TURN && (at = list_pop(&d->wills));
	     i++) {
		struct session *s =
		    LIST_OWNER(at, struct session_will, unkept)->session;

		d->keep.failed = false;
		keep_will_alone(sh, s);
		if (d->keep.failed)
			conn_doom(conn_of(s), "out of memory");
	}
}

bool
sessions_keep(struct shard *sh, struct session *s, bool writes)
{
	struct durable *d = &sh->durable;
	bool dirty = d->keep.dirty, begun;

	if (!d->store)
		return true;
	if (!s->kept && expiry_of(sh, s) == 0) {
		if (s->will && !writes) {
			s->will->session = s;
			list_push(&d->wills, &s->will->unkept);
		} else if (s->will) {
			keep_will_alone(sh, s);
		}
		return !d->keep.failed;
	}
	if (!s->kept) {
		if (!(s->kept = calloc(1, sizeof *s->kept)))
			return false;
		s->kept->session = s;
		s->kept->id = atomic_fetch_add(&sh->broker->next_kept, 1);
		s->kept->next_key = 1;
		s->kept->expiry_s = s->expiry_s;
		keep_new(sh, s);
		return !d->keep.failed;
	}
	/* not before the will of its last connection is with those it is for,
	 * nor before the end of that connection */
	begun = together_if_pending(sh, s);
	(void)keep_facts(sh, s, STORE_NEVER);
	/* that it is back need not be known first if its time does not run out */
	if (s->kept->there && s->kept->expiry_s == s->expiry_s &&
	    expiry_of(sh, s) == MQTT_EXPIRY_NEVER)
		d->keep.dirty = dirty;
	s->kept->expiry_s = s->expiry_s;
	keep_will(sh, s);
	if (begun)
		together_end(sh);
	return !d->keep.failed;
}

void
sessions_keep_who(struct shard *sh, const struct session *s)
{
	if (s->kept)
		(void)keep_facts(sh, s, STORE_NEVER);
}

enum nj_err
sessions_keep_state(struct shard *sh, uint64_t number)
{
	const struct session *s = session_by_number(&sh->home, number);

	if (!s || !s->kept || s->link || s->coming)
		return NJ_OK;
	return keep_facts(sh, s,
	    s->ended
		? STORE_ENDED
		: sh->wall_ms - (int64_t)(sh->home.now_ms - s->offline_since));
}

/* Wills. */

/* The message waits in the session, so its expiry counts from now
 * [MQTT-3.3.2-6]. */
static void
will_send(struct shard *sh, struct session *s)
{
	struct session_will *w = s->will;
	struct decision rule;
	uint64_t who = guard_identity(s->who, session_id(s));
	char id[TEXT_ESC];
	bool begun = false, vanishes;

	if (!w)
		return;
	s->will = NULL;
	list_remove(&w->unkept);
	if (!(vanishes = will_vanishes(sh, s, w))) {
		begun = (s->kept || s->will_id) && together_begin(sh);
		s->gate = together_number(sh);
	}
	if (!s->kept && begun)
		together_ends(sh, hash_of(s), together_number(sh));
	if (w->expiry_s != MQTT_EXPIRY_NEVER)
		w->msg->expires_at = sh->home.now_ms + w->expiry_s * 1000ull;
	/* rights may have changed since CONNECT */
	if (!sessions_may(s, ACTION_PUBLISH, msg_topic(w->msg), &rule)) {
		nj_log(LOG_T_NOTICE, "Will of %s not sent: %s",
		    text_esc(id, sizeof id, session_id(s)), rule.text);
	} else {
		if (w->msg->retain && sh->limits.retain_available &&
		    route_retain(sh, w->msg, slice_of(&who, sizeof who)))
			nj_log(LOG_T_WARNING,
			    "Will of %s not retained: the limit of retained "
			    "messages is reached",
			    text_esc(id, sizeof id, session_id(s)));
		route(sh, w->msg);
		quota_will_sent(sh, quota_will_key(session_id(s), who));
	}
	if (!vanishes)
		keep_no_will(sh, s, w);
	if (begun)
		together_end(sh);
	msg_unref(w->msg);
	free(w);
}

static void
will_free(struct session_will *w)
{
	if (w)
		msg_unref(w->msg);
	free(w);
}

/* It has none any more; NULL: it had none. */
static struct session_will *
will_out(struct shard *sh, struct session *s)
{
	struct session_will *w = s->will;

	if (!w)
		return NULL;
	list_remove(&w->unkept);
	if (!will_vanishes(sh, s, w)) {
		bool begun = together_if_pending(sh, s);

		keep_no_will(sh, s, w);
		if (begun)
			together_end(sh);
	}
	s->will = NULL;
	return w;
}

static void
will_forget(struct shard *sh, struct session *s)
{
	will_free(will_out(sh, s));
}

void
session_before_fini(struct session_before *was)
{
	will_free(was->will);
	was->will = NULL;
}

/* Ends. */

/* It is nobody's any more. */
static void
forget_who(struct shard *sh, struct session *s)
{
	struct principal *who = s->who;

	s->who = NULL;
	principal_unref(who);
	if (s->ended)
		return;
	quota_back(sh, s);
	atomic_fetch_sub(&sh->broker->sessions, 1);
	count_add(&sh->counts.sessions, (uint64_t)-1);
}

/* Without a word to anybody but the groups. */
static void
end_silently(struct shard *sh, struct session *s)
{
	forget_who(sh, s);
	sh->n_ended -= s->ended;
	sessions_leave_groups(sh, s);
	decided_free(s->decided);
	session_free(s);
}

void
sessions_leave_name(struct shard *sh, struct session *s)
{
	forget_who(sh, s);
	session_end_name(s);
	sh->n_ended++;
}

/* It stays for those who get what it leaves on disk.  Until they have it its
 * row says that it has ended. */
static void
linger(struct shard *sh, struct session *s)
{
	s->expiry_s = 0;
	if (keep_facts(sh, s, STORE_ENDED))
		owe_facts(sh, hash_of(s), s->number);
	sessions_tell_groups(sh, s, GROUP_QUIT);
	sessions_leave_name(sh, s);
}

/* Its will, and what it hands over, is on disk exactly when its end is; nor does
 * that come there before what went from it just now. */
static bool
begin_end(struct shard *sh, const struct session *s, uint64_t *when)
{
	const uint64_t earlier[] = { s->kept->handed, s->gate };
	bool pending = false;

	/* which goes to the disk after all that was begun before */
	if ((s->will || s->shared) && together_begin(sh))
		return true;
	for (unsigned i = 0; i < 2; i++)
		if (together_pending(sh, earlier[i]) &&
		    (!pending || earlier[i] > *when)) {
			*when = earlier[i];
			pending = true;
		}
	return pending && together_again(sh, *when);
}

void
sessions_end(struct shard *sh, struct session *s)
{
	uint64_t when = together_number(sh);
	bool begun = s->kept && begin_end(sh, s, &when), lingers;

	/* [MQTT-3.1.2-8]: the will is sent when the session ends, at the
	 * latest */
	will_send(sh, s);
	groups_hand_over(sh, s);
	if ((lingers = handover_begin(sh, s)))
		linger(sh, s);
	else if (s->kept)
		keep_end_of(sh, s, s->kept->id, NULL);
	if (begun) {
		together_ends(sh, hash_of(s), when);
		together_end(sh);
	}
	if (!lingers)
		end_silently(sh, s);
}

void
sessions_drop(struct shard *sh, struct session *s)
{
	end_silently(sh, s);
}

void
sessions_end_all(struct shard *sh)
{
	struct map *all = &sh->home.sessions;
	struct session *s;

	while (all->n > 0) {
		size_t at = 0;

		while ((s = map_next(all, &at))) {
			if (s->kept)
				sessions_drop(sh, s);
			else
				sessions_end(sh, s);
			at--; /* another may have moved into its slot */
		}
	}
	while (sh->home.numbers.n > 0) {
		size_t at = 0;

		sessions_drop(sh, map_next(&sh->home.numbers, &at));
	}
	home_end_some(&sh->home, true);
}

/* Seconds until the session ends, counted from when the client left. */
static uint32_t
expiry_of(const struct shard *sh, const struct session *s)
{
	uint32_t cap = sh->limits.client_expiration_s;

	return s->expiry_s > cap ? cap : s->expiry_s;
}

static uint64_t
due_ms(uint64_t from, uint32_t seconds)
{
	return seconds == MQTT_EXPIRY_NEVER ? UINT64_MAX
					    : from + seconds * 1000ull;
}

static bool
is_over(const struct shard *sh, const struct session *s)
{
	return sh->home.now_ms >= due_ms(s->offline_since, expiry_of(sh, s));
}

static void arm(struct shard *sh, struct session *s);

static void
on_timer(struct timer *t, uint64_t now)
{
	struct session *s = LIST_OWNER(t, struct session, timer);
	struct shard *sh = LIST_OWNER(s->home, struct shard, home);
	char id[TEXT_ESC];

	if (s->coming) { /* its client is here, as good as */
		if (timer_set(&sh->home.timers, t, now + 1000))
			nj_log(LOG_T_ERROR, "Out of memory: a session stays");
		return;
	}
	if (s->will && now >= due_ms(s->offline_since, s->will->delay_s))
		will_send(sh, s);
	if (now < due_ms(s->offline_since, expiry_of(sh, s))) {
		arm(sh, s);
		return;
	}
	nj_log(LOG_T_NOTICE, "Session of client %s expired.",
	    text_esc(id, sizeof id, session_id(s)));
	count_add(&sh->counts.expired_sessions, 1);
	sessions_end(sh, s);
}

/* The next of will delay and session expiry. */
static void
arm(struct shard *sh, struct session *s)
{
	uint64_t due = due_ms(s->offline_since, expiry_of(sh, s));

	if (s->will) {
		uint64_t w = due_ms(s->offline_since, s->will->delay_s);

		due = w < due ? w : due;
	}
	s->timer.fn = on_timer;
	if (due == UINT64_MAX)
		timer_stop(&sh->home.timers, &s->timer);
	else if (timer_set(&sh->home.timers, &s->timer, due)) {
		nj_log(LOG_T_ERROR, "Out of memory: a session ends early");
		sessions_end(sh, s);
	}
}

/* One that waits for its client has to go; why is for the log. */
static void
evict(struct shard *sh, struct session *s, const char *why)
{
	char id[TEXT_ESC];

	if (guard_may_log(sh, &sh->evictions, GUARD_REFUSALS))
		nj_log(LOG_T_WARNING,
		    "Session of client %s, away for %llu s, was dropped: %s",
		    text_esc(id, sizeof id, session_id(s)),
		    (unsigned long long)((sh->home.now_ms - s->offline_since) /
			1000),
		    why);
	count_add(&sh->counts.evicted_sessions, 1);
	sessions_end(sh, s);
}

/* since: when it was left. */
static void
leave(struct conn *c, uint64_t since)
{
	struct shard *sh = c->shard;
	struct session *s = c->session, *gone;

	c->session = NULL;
	s->coming = NULL;
	session_detach(s);
	s->offline_since = since;
	count_add(&sh->counts.connected, (uint64_t)-1);
	sessions_tell_groups(sh, s, GROUP_OFFLINE);
	if (c->clean_disconnect)
		will_forget(sh, s); /* [MQTT-3.14.4-3] */
	if (s->will && s->will->delay_s == 0)
		will_send(sh, s);
	if (expiry_of(sh, s) == 0) {
		sessions_end(sh, s);
		return;
	}
	decided_free(s->decided);
	s->decided = NULL;
	if (s->kept) {
		bool begun = together_if_pending(sh, s);

		if (keep_facts(sh, s,
			sh->wall_ms - (int64_t)(sh->home.now_ms - since)))
			owe_facts(sh, hash_of(s), s->number);
		keep_left(s);
		if (begun)
			together_end(sh);
	}
	gone = quota_wait(sh, s);
	arm(sh, s);
	if (gone)
		evict(sh, gone,
		    "max_offline_sessions_per_user is reached, and it was away "
		    "longest of its user's");
}

void
sessions_leave(struct conn *c)
{
	if (c->session)
		leave(c, c->shard->home.now_ms);
}

void
sessions_refuse(struct conn *c, struct session_before *was)
{
	struct shard *sh = c->shard;
	struct session *s = c->session;

	will_forget(sh, s);
	if (!was->present) {
		s->expiry_s = 0;
		leave(c, sh->home.now_ms);
		return;
	}
	s->version = was->version;
	s->expiry_s = was->expiry_s;
	s->will = was->will;
	was->will = NULL;
	if (s->kept) {
		bool begun = together_if_pending(sh, s);

		s->kept->expiry_s = s->expiry_s;
		keep_will(sh, s);
		if (begun)
			together_end(sh);
	}
	/* its client's own was another will */
	c->clean_disconnect = false;
	leave(c, was->offline_since);
}

bool
sessions_restored(struct shard *sh, struct session *s)
{
	s->kept->expiry_s = s->expiry_s;
	if (s->ended) {
		if (handover_go_on(sh, s))
			return false;
		sessions_end(sh, s);
		return true;
	}
	if (quota_wait(sh, s) == s) {
		evict(sh, s, "max_offline_sessions_per_user is reached");
		return true;
	}
	full_check(s);
	/* one that was connected and ends with its connection, too: its will
	 * goes out when the clock runs */
	arm(sh, s);
	return false;
}

/* Whether there is a place for another session, or one can be made. */
static bool
make_room(struct shard *sh)
{
	struct broker *b = sh->broker;
	struct session *s;

	if (!sh->limits.max_sessions ||
	    atomic_load(&b->sessions) < sh->limits.max_sessions)
		return true;
	if (!sh->limits.evict_sessions || !(s = quota_oldest(sh)))
		return false;
	evict(sh, s, "global_max_clients is reached, and it was away longest");
	return true;
}

/* What was subscribed to under one mount_point means something else under
 * another, and what was queued there is nobody's business here. */
static bool
moved_in(const struct conn *c, const struct session *s)
{
	char id[TEXT_ESC];

	if (mount_is(s->mount, conn_port(c)->mount_point))
		return false;
	nj_log(LOG_T_NOTICE,
	    "Session of client %s ends: it comes to a listener with another "
	    "mount_point.",
	    text_esc(id, sizeof id, session_id(s)));
	return true;
}

bool
sessions_goes_on(const struct conn *c, const struct session *s)
{
	return mount_is(s->mount, conn_port(c)->mount_point) &&
	    (s->link || s->coming || !is_over(c->shard, s));
}

enum nj_err
sessions_take(struct conn *c, struct slice id, bool clean_start,
    struct session **out, struct session_before *was)
{
	struct shard *sh = c->shard;
	struct session *s = session_find(&sh->home, id);
	struct conn *old = s ? conn_of(s) : NULL;
	struct broker *b = sh->broker;
	enum nj_err e;

	if (old) {
		conn_hear_out(old);
		s = session_find(&sh->home, id);
		old = s ? conn_of(s) : NULL;
	}
	if (old) {
		/* [MQTT-3.1.4-3]; a delayed will is kept for the new one */
		conn_end(old, RC_SESSION_TAKEN_OVER,
		    "another connection (%s) uses this client identifier",
		    c->peer);
		s = session_find(&sh->home, id);
	}
	/* [MQTT-3.1.2-4]; one whose time was over before this life of the broker is
	 * only there for its will, until the clock runs [MQTT-3.1.2-23] */
	if (s && (clean_start || is_over(sh, s) || moved_in(c, s))) {
		sessions_end(sh, s);
		s = NULL;
	}
	if (s) {
		*was = (struct session_before){
			.present = true,
			.version = s->version,
			.expiry_s = s->expiry_s,
			.offline_since = s->offline_since,
		};
		/* back before its delay was over, or so soon after the start
		 * of the broker that its will has not been sent yet */
		if (s->will &&
		    due_ms(s->offline_since, s->will->delay_s) <=
			sh->home.now_ms)
			will_send(sh, s);
		else
			was->will = will_out(sh, s);
		if (s->kept)
			handover_stop(s);
		quota_back(sh, s);
		sessions_tell_groups(sh, s, GROUP_ONLINE);
		count_add(&sh->counts.connected, 1);
		*out = s;
		return NJ_OK;
	}
	if (!make_room(sh))
		return NJ_FULL;
	if ((e = session_new(&sh->home, id, &s)))
		return e;
	if ((e = mount_new(conn_port(c)->mount_point, &s->mount))) {
		session_free(s);
		return e;
	}
	atomic_fetch_add(&b->sessions, 1);
	count_add(&sh->counts.sessions, 1);
	count_add(&sh->counts.connected, 1);
	*out = s;
	return NJ_OK;
}
