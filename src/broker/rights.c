/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/rights.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "auth/principal.h"
#include "auth/rolebase.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/control.h"
#include "broker/fence.h"
#include "broker/sessions.h"

/* To one shard; posted while it is on its way. */
struct note {
	struct letter letter;
	struct rolebase *rb;
	atomic_bool posted;
	/* the shard's: */
	struct walk walk;
	struct roles *before, *now; /* while it is under way; now is borrowed */
};

struct rights_watch {
	struct rights_watch *next;
	struct broker *broker;
	struct rolebase *rb; /* one reference */
	struct note notes[]; /* one a shard */
};

static void
on_change(void *arg)
{
	struct rights_watch *w = arg;

	for (unsigned i = 0; i < w->broker->n; i++)
		if (!atomic_exchange(&w->notes[i].posted, true))
			shard_post(&w->broker->shards[i], &w->notes[i].letter);
}

static enum nj_err
watch(struct broker *b, struct rolebase *rb)
{
	struct rights_watch *w = b->watches;
	enum nj_err e;

	while (w && w->rb != rb)
		w = w->next;
	if (w)
		return NJ_OK;
	if (!(w = calloc(1, sizeof *w + b->n * sizeof w->notes[0])))
		return NJ_NOMEM;
	w->broker = b;
	w->rb = rb;
	for (unsigned i = 0; i < b->n; i++) {
		w->notes[i].letter.kind = LETTER_ROLES;
		w->notes[i].rb = rb;
		atomic_init(&w->notes[i].posted, false);
	}
	if ((e = rolebase_watch(rb, b->n, on_change, w))) {
		free(w);
		return e;
	}
	(void)rolebase_ref(rb);
	w->next = b->watches;
	b->watches = w;
	return NJ_OK;
}

enum nj_err
rights_watch(struct broker *b, const struct port_opts *v, size_t n)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; i < n && !e; i++)
		if (v[i].roles)
			e = watch(b, v[i].roles);
	return e;
}

void
rights_fini(struct broker *b)
{
	struct rights_watch *w;

	while ((w = b->watches)) {
		b->watches = w->next;
		rolebase_unwatch(w->rb);
		rolebase_homeless(w->rb);
		rolebase_unref(w->rb);
		free(w);
	}
}

/* What its password was checked against is not what holds. */
static bool
is_stale(struct rolebase *rb, struct slice user, uint64_t proof)
{
	struct roles *now = proof ? rolebase_now(rb) : NULL;
	bool stale = now && roles_proof(now, user) != proof;

	roles_unref(now);
	return stale;
}

const char *
rights_user_objection(
    const struct conn *c, struct slice user, struct slice client_id)
{
	struct rolebase *rb = conn_port(c)->roles;
	struct roles_asker who = { .user = user, .client_id = client_id };

	if (!rb || user.n == 0)
		return NULL;
	switch (
	    roles_login(rolebase_seen(rb, c->shard->home.shard), &who, NULL)) {
	case ROLES_DISABLED:
		return "the user is disabled";
	case ROLES_OTHER_ID:
		return "the user is bound to another client identifier";
	case ROLES_UNKNOWN:
	case ROLES_MAY:
		break;
	}
	return NULL;
}

const char *
rights_refusal(const struct conn *c, struct slice user, struct slice client_id,
    uint64_t proof)
{
	struct rolebase *rb = conn_port(c)->roles;

	if (rb && user.n > 0 && is_stale(rb, user, proof))
		return "the user was deleted, or got another password, while "
		       "it logged in";
	return rights_user_objection(c, user, client_id);
}

const char *
rights_outdated(const struct conn *c, const struct auth_request *r)
{
	const struct auth_chain *now = conn_port(c)->chain;

	return r->right != ENROLLING_NOT || r->chain == now
	    ? NULL
	    : auth_chain_objection(r->chain, now, r->principal);
}

struct asker
rights_asker(const struct conn *c, const struct principal *who, struct slice id)
{
	const struct port_opts *po = conn_port(c);

	return (struct asker){ who, id, po->acl,
		po->roles ? rolebase_seen(po->roles, c->shard->home.shard)
			  : NULL };
}

/* Subscriptions. */

static bool
may_subscribe(const struct session *s, struct slice filter)
{
	struct asker a = sessions_asker(s);
	struct decision rule;

	return decide(&a, ACTION_SUBSCRIBE, filter, &rule) || !rule.firm;
}

static void
tell_ended(const struct session *s, struct slice filter)
{
	char id[TEXT_ESC], t[TEXT_ESC];

	nj_log(LOG_T_NOTICE,
	    "Subscription of %s to '%s' ends: its rights have changed",
	    text_esc(id, sizeof id, session_id(s)),
	    text_esc(t, sizeof t, filter));
}

#define ANEW_MAX 3

/* Some of them, as far as this turn goes. */
static void
end_subscriptions(struct shard *sh, struct walk *w, struct session *s)
{
	/* a shard's own read buffer is free while nothing is read */
	uint8_t *text = sh->rx;
	unsigned all = UINT_MAX, *most = &sh->walk_left;
	struct filter *f;

	/* who lets his table grow and shrink again and again holds up nobody */
	if (w->look.cap > 0 && w->look.cap != s->subs.cap &&
	    ++w->anew > ANEW_MAX)
		most = &all;
	while (subs_look(&s->subs, sh->broker->index, &w->look, most, &f)) {
		struct slice filter =
		    slice_of(text, filter_text(f, text, MQTT_STRING_MAX));

		if (may_subscribe(s, filter))
			continue;
		tell_ended(s, filter);
		walk_cost(sh, WALK_SUB_END);
		if (subscription_end(sh, s, filter, false))
			break; /* it cannot be found: neither next time */
	}
	if (!subs_looked(&s->subs, &w->look))
		w->partly = s;
	if (most == &all)
		sh->walk_left = 0;
}

static void
end_shared(struct shard *sh, struct session *s)
{
	uint8_t *text = sh->rx; /* as above */

	for (struct shared_sub *x = s->shared, *next; x; x = next) {
		/* x does not outlive its end, which names the filter */
		struct slice whole =
		    slice_of(memcpy(text, x->filter, x->len), x->len);

		next = x->next;
		if (may_subscribe(s, whole))
			continue;
		tell_ended(s, whole);
		(void)!subscription_end(sh, s, whole, true);
	}
}

void
rights_changed(struct shard *sh, struct walk *w, struct session *s)
{
	sessions_recheck_reads(s);
	walk_cost(sh, s->n_shared);
	end_shared(sh, s);
	w->go_on = end_subscriptions;
	w->anew = 0;
	w->look = (struct subs_look){ 0 };
	end_subscriptions(sh, w, s);
}

/* Connections. */

static bool
is_of(const struct conn *c, const struct rolebase *rb)
{
	return c->session && c->session->roles == rb && c->session->who;
}

static void
end_connection(struct conn *c, const struct note *note)
{
	if (!is_of(c, note->rb) ||
	    !roles_must_end(note->before, note->now, c->session->who->name))
		return;
	/* who did it itself hears first that it was done */
	if (c->control)
		control_end_after(c);
	else
		control_end(c);
}

void
rights_reload(
    struct conn *c, const struct port_set *was, const struct port_set *now)
{
	const char *why;

	if (!c->session || !c->session->who ||
	    !(why = auth_chain_objection(was->v[c->port].chain,
		  now->v[c->port].chain, c->session->who)))
		return;
	/* as Mosquitto: whoever is thrown out leaves no will behind */
	c->clean_disconnect = true;
	conn_end(c, RC_NOT_AUTHORIZED, "%s", why);
}

/* What came by now is seen from here on. */
static void
walk_begin(struct shard *sh, struct walk *w)
{
	struct note *note = LIST_OWNER(w, struct note, walk);

	note->now = rolebase_now(note->rb);
	note->before = rolebase_take(note->rb, sh->home.shard, note->now);
}

static void
walk_conn(struct shard *sh, struct walk *w, struct conn *c)
{
	end_connection(c, LIST_OWNER(w, struct note, walk));
}

static void
walk_session(struct shard *sh, struct walk *w, struct session *s)
{
	const struct note *note = LIST_OWNER(w, struct note, walk);
	struct roles_asker who;

	if (s->roles != note->rb || !s->who)
		return;
	who =
	    (struct roles_asker){ s->who->name, session_id(s), s->who->groups };
	if (!roles_same_for(note->before, note->now, &who))
		rights_changed(sh, w, s);
}

static void
leave_roles(void *r)
{
	roles_unref(r);
}

static void
walk_end(struct shard *sh, struct walk *w)
{
	struct note *note = LIST_OWNER(w, struct note, walk);

	if (note->before && !sh->stopped)
		fence_free_elsewhere(sh->broker, leave_roles, note->before);
	else
		roles_unref(note->before);
	note->before = note->now = NULL;
}

static const struct walk_ops walk_ops = {
	.begin = walk_begin,
	.conn = walk_conn,
	.session = walk_session,
	.end = walk_end,
};

void
rights_take(struct shard *sh, struct letter *l)
{
	struct note *note = LIST_OWNER(l, struct note, letter);

	/* what comes from here on posts it again */
	atomic_store(&note->posted, false);
	note->walk.ops = &walk_ops;
	walk_start(sh, &note->walk);
}
