/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections and sessions have a mark each, which a walk turns round: those it
 * has met, and those that came since, are behind all others in their lists.
 */
#include "broker/walk.h"

#include "broker/conn.h"
#include "broker/shard.h"

static void
to_the_end(struct shard *sh, struct conn *c)
{
	c->walked = sh->home.mark;
	list_remove(&c->all);
	list_push(&sh->conns, &c->all);
}

void
walk_cost(struct shard *sh, unsigned n)
{
	sh->walk_left -= n < sh->walk_left ? n : sh->walk_left;
}

/* Whether all have been met. */
static bool
meet_conns(struct shard *sh, struct walk *w)
{
	while (sh->walk_left > 0) {
		struct conn *c = LIST_OWNER(sh->conns.next, struct conn, all);

		if (list_empty(&sh->conns) || c->walked == sh->home.mark)
			return true;
		to_the_end(sh, c);
		w->ops->conn(sh, w, c);
		walk_cost(sh,
		    c->state == CONN_DEAD || c->state == CONN_CLOSING
			? WALK_DEATH
			: 1);
	}
	return false;
}

static void
meet(struct shard *sh, struct walk *w, struct session *s)
{
	bool on = w->partly == s;

	/* one that was met in part may have gone */
	w->partly = NULL;
	if (s->ended)
		return;
	if (on)
		w->go_on(sh, w, s);
	else
		w->ops->session(sh, w, s);
}

static bool
meet_sessions(struct shard *sh, struct walk *w)
{
	struct list *all = &sh->home.all;

	while (sh->walk_left > 0) {
		struct session *s = LIST_OWNER(all->next, struct session, all);

		if (list_empty(all) || s->walked == sh->home.mark)
			return true;
		s->walked = sh->home.mark;
		list_remove(&s->all);
		list_push(all, &s->all);
		if (w->partly != s)
			walk_cost(sh, 1);
		meet(sh, w, s);
		if (w->partly) { /* in front again */
			s->walked = !sh->home.mark;
			list_remove(&s->all);
			list_push(all->next, &s->all);
			return false;
		}
	}
	return false;
}

static void
begin(struct shard *sh, struct walk *w)
{
	w->again = false;
	w->partly = NULL;
	sh->walking = true;
	sh->home.mark = !sh->home.mark;
	if (w->ops->begin)
		w->ops->begin(sh, w);
}

static void
end(struct shard *sh, struct walk *w)
{
	sh->walking = false;
	list_remove(&w->link);
	if (w->again)
		list_push(&sh->walks, &w->link);
	if (w->ops->end)
		w->ops->end(sh, w);
}

void
walks_step(struct shard *sh)
{
	sh->walk_left = sh->walk_turn;
	while (sh->walk_left > 0 && !list_empty(&sh->walks)) {
		struct walk *w = LIST_OWNER(sh->walks.next, struct walk, link);

		if (!sh->walking)
			begin(sh, w);
		if (meet_conns(sh, w) && meet_sessions(sh, w))
			end(sh, w);
	}
}

void
walk_start(struct shard *sh, struct walk *w)
{
	if (list_linked(&w->link)) {
		w->again = true;
		return;
	}
	list_push(&sh->walks, &w->link);
	if (!sh->walking)
		walks_step(sh);
}

bool
walks_queue(const struct shard *sh)
{
	return sh->walking && sh->walks.next->next != &sh->walks;
}

void
walks_fini(struct shard *sh)
{
	sh->stopped = true;
	while (!list_empty(&sh->walks)) {
		struct walk *w = LIST_OWNER(sh->walks.next, struct walk, link);

		w->again = false;
		end(sh, w);
	}
}

void
walk_add(struct shard *sh, struct conn *c)
{
	c->walked = sh->home.mark;
	list_push(&sh->conns, &c->all);
}

void
walk_pass(struct conn *c)
{
	if (c->shard->walking && c->walked != c->shard->home.mark)
		to_the_end(c->shard, c);
}
