/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/groups.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "broker/guard.h"
#include "broker/handover.h"
#include "broker/internal.h"
#include "broker/route.h"

/* From the session to the group's home. */
struct group_letter {
	struct letter letter;
	enum group_op op;
	struct targets *targets;
	struct membership who;
	size_t name_len;
	uint8_t name[];
};

/* From the group's home: what you have not sent goes to who is there. */
struct recall_letter {
	struct letter letter;
	uint64_t session;
	uint8_t share;
	bool kept; /* somebody who is there is kept */
};

/* Messages back to the group's home; it holds a reference on each. */
struct moved_letter {
	struct letter letter;
	struct targets *targets;
	struct route_move how;
	struct pledge *pledge; /* NULL, or a reference */
	struct list held;
	uint64_t *until; /* of each shard, while it is held */
	bool holds;	 /* targets */
	struct msg **v;
	uint32_t n, cap;
	size_t name_len;
	uint8_t name[];
};

/* Moving messages, the session's side. */

struct moved_letter *
groups_moving(
    const struct session *s, const struct shared_sub *x, uint32_t most)
{
	struct slice name = shared_group(x);
	struct moved_letter *l = calloc(1, sizeof *l + name.n);

	if (!l || !(l->v = calloc(most, sizeof(*l->v)))) {
		free(l);
		return NULL;
	}
	l->cap = most;
	l->letter.kind = LETTER_MOVED;
	l->targets = x->targets;
	l->how.from = s->number;
	l->how.kept = s->kept != NULL;
	l->name_len = name.n;
	memcpy(l->name, name.p, name.n);
	return l;
}

static void
moved_free(struct shard *sh, struct moved_letter *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		msg_unref(l->v[i]);
	if (l->holds)
		index_release(sh->broker->index, l->targets);
	free(l->until);
	free(l->v);
	free(l);
}

void
groups_move(void *arg, struct delivery *d)
{
	struct moved_letter *l = arg;

	assert(l->n < l->cap);
	l->v[l->n++] = msg_ref(d->msg);
	delivery_fini(d);
}

void
groups_moving_from_disk(struct moved_letter *l, bool back)
{
	l->how.disk = true;
	l->how.back = back;
}

/* One that must be on disk, if there is any. */
static const struct msg *
gravest(const struct moved_letter *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (l->v[i]->qos > 0)
			return l->v[i];
	return l->v[0];
}

void
groups_moving_go(struct shard *sh, struct moved_letter *l)
{
	unsigned to = l->targets->shard;

	if (l->n == 0) {
		moved_free(sh, l);
		return;
	}
	if (to == sh->home.shard) {
		groups_moved(sh, &l->letter);
		return;
	}
	/* what leaves one queue and enters another does so at once */
	l->pledge = pledge_for(sh, gravest(l));
	shard_post(&sh->broker->shards[to], &l->letter);
}

static bool
has_qos2(const struct moved_letter *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (l->v[i]->qos == 2)
			return true;
	return false;
}

/* Where the session leaves its group, the letter is to find it still. */
static bool
hold_targets(
    struct shard *sh, struct moved_letter *l, const struct shared_sub *x)
{
	size_t at = x->group_at + x->group_len + 1u;
	struct targets *t = NULL;

	if (index_hold(sh->broker->index, x->targets->shard,
		slice_of(x->filter + at, x->len - at), &t))
		return false;
	l->targets = t;
	l->holds = true;
	return true;
}

/* While the disk hangs, members may come, be given messages, and go again. */
#define HELD_MAX (64u * 1024)

/* Until all that was promised anywhere when it left is on disk.  False: there is
 * nothing to wait for, or no memory or room to do so. */
static bool
hold(struct shard *sh, const struct session *s, const struct shared_sub *x,
    struct moved_letter *l)
{
	struct broker *b = sh->broker;

	/* alone, it comes to the disk behind that anyway */
	if (!sh->durable.store || b->n == 1 || s->kept || sh->stopping ||
	    !has_qos2(l))
		return false;
	if (sh->n_held + l->n > HELD_MAX) {
		if (guard_may_log(sh, &sh->evictions, GUARD_REFUSALS))
			nj_log(LOG_T_WARNING,
			    "The disk is far behind: messages of QoS 2 go to "
			    "another member of a group before it, and may "
			    "come twice after a crash");
		return false;
	}
	if (!(l->until = calloc(b->n, sizeof *l->until)) ||
	    !hold_targets(sh, l, x))
		return false;
	for (unsigned i = 0; i < b->n; i++)
		l->until[i] = i == sh->home.shard
		    ? durable_gate_end(&sh->durable)
		    : atomic_load_explicit(
			  &b->shards[i].durable.gate_end, memory_order_acquire);
	list_push(&sh->held, &l->held);
	sh->n_held += l->n;
	return true;
}

static bool
is_on_disk(struct shard *sh, const struct moved_letter *l)
{
	struct broker *b = sh->broker;

	for (unsigned i = 0; i < b->n; i++)
		if (atomic_load_explicit(&b->shards[i].durable.gate_open,
			memory_order_acquire) < l->until[i])
			return false;
	return true;
}

size_t
groups_held(struct shard *sh)
{
	struct list *at, *next;
	size_t n = 0;

	for (at = sh->held.next; at != &sh->held; at = next) {
		struct moved_letter *l =
		    LIST_OWNER(at, struct moved_letter, held);

		next = at->next;
		if (!sh->stopping && !is_on_disk(sh, l))
			continue;
		list_remove(at);
		sh->n_held -= l->n;
		groups_moving_go(sh, l);
		n++;
	}
	return n;
}

/* The same while the broker stops.  Of QoS 2 the publisher's identifier may not
 * come to the disk any more: it ends with its session. */
static void
move_on(void *arg, struct delivery *d)
{
	if (d->msg->qos == 1)
		groups_move(arg, d);
	else
		delivery_fini(d);
}

/* What came by x, back to the group's home. */
static void
give_back(
    struct shard *sh, struct session *s, const struct shared_sub *x, bool sent)
{
	uint32_t most = s->queue.n + (sent ? s->out.n : 0);
	struct moved_letter *l;

	/* without memory they stay, as long as the session does */
	if (x->number == 0 || most == 0 || !(l = groups_moving(s, x, most)))
		return;
	l->how.back = !sent; /* it lives on */
	l->how.last = sh->stopping;
	session_take_shared(
	    s, x->number, sent, sh->stopping ? move_on : groups_move, l);
	if (!hold(sh, s, x, l))
		groups_moving_go(sh, l);
}

void
groups_hand_over(struct shard *sh, struct session *s)
{
	/* what is on disk goes at the next start; and who else is there goes */
	if (sh->stopping && (s->kept || !sh->durable.store))
		return;
	for (struct shared_sub *x = s->shared; x; x = x->next)
		give_back(sh, s, x, true);
}

static void
recalled(struct shard *sh, uint64_t session, uint8_t share, bool kept)
{
	struct session *s = session_by_number(&sh->home, session);
	bool begun;

	/* gone, or back in the meantime */
	if (!s || s->link || s->coming || s->ended)
		return;
	if (kept && s->kept)
		handover_recall(sh, s, share);
	begun = s->kept && together_begin(sh);
	for (struct shared_sub *x = s->shared; x; x = x->next)
		if (x->number == share)
			give_back(sh, s, x, false);
	if (begun)
		together_end(sh);
}

void
groups_recalled(struct shard *sh, struct letter *letter)
{
	struct recall_letter *l = (struct recall_letter *)letter;

	recalled(sh, l->session, l->share, l->kept);
	free(l);
}

/* The group's home. */

void
groups_moved(struct shard *sh, struct letter *letter)
{
	struct moved_letter *l = (struct moved_letter *)letter;
	struct group *g =
	    group_find(&sh->groups, l->targets, slice_of(l->name, l->name_len));

	/* from another shard; what is this one's is in its transaction */
	if (l->pledge)
		pledge_begin(sh, l->pledge);
	for (uint32_t i = 0; g && i < l->n; i++)
		if (l->v[i]->expires_at > sh->home.now_ms)
			route_moved(sh, g, l->v[i], &l->how);
	if (l->pledge)
		pledge_end(sh);
	moved_free(sh, l);
}

static void
recall(struct shard *sh, const struct group *g, const struct member *m)
{
	unsigned to = (unsigned)(m->session >> 48);
	struct recall_letter *l;

	if (m->share == 0)
		return;
	if (to == sh->home.shard) {
		recalled(sh, m->session, m->share, g->n_kept > 0);
		return;
	}
	if (!(l = malloc(sizeof *l)))
		return; /* it keeps them, and delivers when it is back */
	l->letter.kind = LETTER_RECALL;
	l->session = m->session;
	l->share = m->share;
	l->kept = g->n_kept > 0;
	route_post_to(sh, to); /* what it was given so far, first */
	shard_post(&sh->broker->shards[to], &l->letter);
}

/* The first connected member is there, or the first that is kept: it gets what
 * waits with the others. */
static void
recall_all(struct shard *sh, const struct group *g)
{
	for (uint32_t i = g->n_online, n = 0; i < g->n && n < GROUPS_RECALL;
	     i++, n++)
		recall(sh, g, g->v[i]);
}

/* Its place in the group has changed; `before` members were connected, and so
 * many of them kept. */
static void
on_presence(struct shard *sh, struct group *g, uint64_t session,
    uint32_t before, uint32_t kept_before)
{
	if ((before == 0 && g->n_online > 0) ||
	    (kept_before == 0 && g->n_kept > 0)) {
		recall_all(sh, g);
	} else if (g->n_online > 0 && g->n_online < before) {
		const struct member *m = group_find_member(g, session);

		if (m)
			recall(sh, g, m);
	}
}

static void
join_or_move(struct shard *sh, const struct group_letter *l)
{
	struct slice name = slice_of(l->name, l->name_len);
	struct group *g = group_find(&sh->groups, l->targets, name);
	uint32_t before = g ? g->n_online : 0;
	uint32_t kept_before = g ? g->n_kept : 0;
	enum nj_err e = NJ_OK;

	if (l->op == GROUP_JOIN)
		e = group_join(&sh->groups, l->targets, name, &l->who);
	else
		group_online(&sh->groups, l->targets, name, l->who.session,
		    l->op == GROUP_ONLINE);
	if (e == NJ_NOMEM)
		nj_log(LOG_T_ERROR,
		    "Out of memory: a client is no member of the group it "
		    "joined");
	if ((g = group_find(&sh->groups, l->targets, name)))
		on_presence(sh, g, l->who.session, before, kept_before);
}

static void
apply(struct shard *sh, const struct group_letter *l)
{
	if (l->op != GROUP_LEAVE && l->op != GROUP_QUIT) {
		join_or_move(sh, l);
		return;
	}
	/* The hold is the session's, member or not: it ends with the last
	 * letter that names the targets. */
	if (group_leave(&sh->groups, l->targets, slice_of(l->name, l->name_len),
		l->who.session))
		nj_log(LOG_T_DEBUG, "Left a group it was no member of");
	if (l->op == GROUP_LEAVE)
		index_release(sh->broker->index, l->targets);
}

void
groups_take(struct shard *sh, struct letter *l)
{
	struct group_letter *g = (struct group_letter *)l;

	apply(sh, g);
	free(g);
}

static void
post(struct shard *sh, struct group_letter *g, struct targets *t,
    enum group_op op, struct slice name, const struct membership *who)
{
	*g = (struct group_letter){
		.letter.kind = LETTER_GROUP,
		.op = op,
		.targets = t,
		.who = *who,
		.name_len = name.n,
	};
	memcpy(g->name, name.p, name.n);
	if (t->shard == sh->home.shard) {
		groups_take(sh, &g->letter);
		return;
	}
	/* Messages routed to the group so far leave first. */
	route_post_to(sh, t->shard);
	shard_post(&sh->broker->shards[t->shard], &g->letter);
}

enum nj_err
groups_tell(struct shard *sh, struct targets *t, enum group_op op,
    struct slice name, const struct membership *who)
{
	struct group_letter *g = malloc(sizeof *g + name.n);

	if (!g)
		return NJ_NOMEM;
	post(sh, g, t, op, name, who);
	return NJ_OK;
}

struct letter *
groups_letter(struct slice name)
{
	/* the letter is what it begins with */
	return malloc(sizeof(struct group_letter) + name.n);
}

void
groups_leave(struct shard *sh, uint64_t session, struct shared_sub *x)
{
	struct group_letter *g = (struct group_letter *)x->leave;

	x->leave = NULL;
	post(sh, g, x->targets, GROUP_LEAVE, shared_group(x),
	    &(struct membership){ .session = session });
}
