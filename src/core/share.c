/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/share.h"

#include <stdlib.h>
#include <string.h>

#include "core/session.h"

static struct slice
session_key(const void *value)
{
	const struct member *m = value;

	return slice_of(&m->session, sizeof m->session);
}

static struct slice
number_key(const void *value)
{
	const struct group *g = value;

	return slice_of(&g->number, sizeof g->number);
}

static struct slice
group_key(const void *value)
{
	const struct group *g = value;

	return slice_of(g->key, g->key_len);
}

void
groups_init(struct groups *gs)
{
	*gs = (struct groups){ 0 };
	map_init(&gs->by_number, number_key);
	map_init(&gs->by_key, group_key);
}

static void
group_free(struct group *g)
{
	for (uint32_t i = 0; i < g->n; i++)
		free(g->v[i]);
	map_fini(&g->by_session);
	free(g->v);
	free(g);
}

void
groups_fini(struct groups *gs)
{
	size_t at = 0;
	struct group *g;

	while ((g = map_next(&gs->by_number, &at)))
		group_free(g);
	map_fini(&gs->by_number);
	map_fini(&gs->by_key);
}

struct group *
groups_find(struct groups *gs, uint64_t number)
{
	return map_get(&gs->by_number, slice_of(&number, sizeof number));
}

/* A topic filter has 65,535 bytes at most, and a group's name is part of one. */
#define NAME_MAX_LEN 65535

struct group *
group_find(struct groups *gs, struct targets *t, struct slice name)
{
	uint8_t key[sizeof(t) + NAME_MAX_LEN];

	if (!t->groups || name.n > NAME_MAX_LEN)
		return NULL;
	memcpy(key, &t, sizeof(t));
	memcpy(key + sizeof(t), name.p, name.n);
	return map_get(&gs->by_key, slice_of(key, sizeof(t) + name.n));
}

static enum nj_err
group_new(
    struct groups *gs, struct targets *t, struct slice name, struct group **out)
{
	struct group *g = calloc(1, sizeof *g + sizeof(t) + name.n);

	if (!g)
		return NJ_NOMEM;
	map_init(&g->by_session, session_key);
	g->targets = t;
	g->number = ++gs->next_number;
	g->key_len = sizeof(t) + name.n;
	memcpy(g->key, &t, sizeof(t));
	memcpy(g->key + sizeof(t), name.p, name.n);
	if (map_put(&gs->by_number, g)) {
		free(g);
		return NJ_NOMEM;
	}
	if (map_put(&gs->by_key, g)) {
		map_del(&gs->by_number, number_key(g));
		free(g);
		return NJ_NOMEM;
	}
	g->next = t->groups;
	if (g->next)
		g->next->prev = g;
	t->groups = g;
	*out = g;
	return NJ_OK;
}

static void
drop_if_empty(struct groups *gs, struct group *g)
{
	if (g->n > 0)
		return;
	if (g->next)
		g->next->prev = g->prev;
	if (g->prev)
		g->prev->next = g->next;
	else
		g->targets->groups = g->next;
	map_del(&gs->by_key, group_key(g));
	map_del(&gs->by_number, number_key(g));
	group_free(g);
}

static void
place(struct group *g, uint32_t at, struct member *m)
{
	g->v[at] = m;
	m->at = at;
}

static void
swap(struct group *g, uint32_t i, uint32_t j)
{
	struct member *a = g->v[i], *b = g->v[j];

	place(g, i, b);
	place(g, j, a);
}

/* The array keeps connected members in front of the others, and in front of them
 * those that are kept; behind them those that take something while they are away.
 * A member goes through the borders between. */
static void
set_online(struct group *g, struct member *m, bool online)
{
	uint32_t *const borders[] = { &g->n_kept, &g->n_online, &g->n_waiting };
	unsigned to = online ? (m->kept ? 0 : 1) : (m->waits ? 2 : 3);

	for (unsigned i = 3; i-- > to;)
		if (m->at >= *borders[i])
			swap(g, m->at, (*borders[i])++);
	for (unsigned i = 0; i < to; i++)
		if (m->at < *borders[i])
			swap(g, m->at, --*borders[i]);
}

static enum nj_err
add(struct group *g, const struct membership *who, struct member **out)
{
	struct member *m;

	if (g->n == g->cap) {
		uint32_t cap = g->cap ? g->cap * 2 : 4;
		struct member **v = realloc(g->v, cap * sizeof(*v));

		if (!v)
			return NJ_NOMEM;
		g->v = v;
		g->cap = cap;
	}
	if (!(m = calloc(1, sizeof *m)))
		return NJ_NOMEM;
	m->session = who->session;
	if (map_put(&g->by_session, m)) {
		free(m);
		return NJ_NOMEM;
	}
	place(g, g->n++, m);
	*out = m;
	return NJ_OK;
}

enum nj_err
group_join(struct groups *gs, struct targets *t, struct slice name,
    const struct membership *who)
{
	struct group *g = group_find(gs, t, name);
	struct member *m;
	enum nj_err e;

	if (!g && (e = group_new(gs, t, name, &g)))
		return e;
	m = map_get(
	    &g->by_session, slice_of(&who->session, sizeof who->session));
	e = m ? NJ_EXISTS : NJ_OK;
	if (!m) {
		enum nj_err failed = add(g, who, &m);

		if (failed) {
			drop_if_empty(gs, g);
			return failed;
		}
		count_add(&gs->members, 1);
	}
	m->id_opts = who->id_opts;
	m->share = who->share;
	m->kept = who->kept;
	m->waits = who->waits;
	set_online(g, m, who->online);
	return e;
}

enum nj_err
group_leave(
    struct groups *gs, struct targets *t, struct slice name, uint64_t session)
{
	struct group *g = group_find(gs, t, name);
	struct member *m;

	if (!g ||
	    !(m = map_del(&g->by_session, slice_of(&session, sizeof session))))
		return NJ_NOTFOUND;
	m->waits = false;
	set_online(g, m, false);
	swap(g, m->at, g->n - 1);
	g->n--;
	free(m);
	count_add(&gs->members, (uint64_t)-1);
	drop_if_empty(gs, g);
	return NJ_OK;
}

void
group_online(struct groups *gs, struct targets *t, struct slice name,
    uint64_t session, bool online)
{
	struct group *g = group_find(gs, t, name);
	struct member *m;

	if (g &&
	    (m = map_get(&g->by_session, slice_of(&session, sizeof session))))
		set_online(g, m, online);
}

const struct member *
group_find_member(const struct group *g, uint64_t session)
{
	return map_get(&g->by_session, slice_of(&session, sizeof session));
}

struct member *
group_pick(struct group *g, uint64_t not )
{
	uint32_t among = g->n_online ? g->n_online
	    : g->n_waiting	     ? g->n_waiting
				     : g->n;
	struct member *m;

	if (among == 0)
		return NULL;
	m = g->v[g->turn++ % among];
	if (m->session == not &&g->n > 1) {
		/* the only connected one failed: try those that are not */
		if (among == 1)
			among = g->n_waiting > 1 ? g->n_waiting : g->n;
		m = g->v[(m->at + 1) % among];
	}
	return m;
}

struct member *
group_pick_after(struct group *g, const struct member *m, uint32_t asked)
{
	uint32_t first = g->n_online ? g->n_online : group_takers(g);

	if (asked < first)
		return g->v[(m->at + 1) % first];
	return asked < group_takers(g) ? g->v[asked] : NULL;
}

struct member *
group_pick_kept(struct group *g, uint64_t not )
{
	struct member *m;

	if (g->n_kept == 0)
		return NULL;
	m = g->v[g->turn++ % g->n_kept];
	if (m->session == not )
		m = g->v[(m->at + 1) % g->n_kept];
	return m->session == not ? NULL : m;
}

/* Of those that are away all but some that end just now are kept. */
#define AWAY_LOOKS 64u

struct member *
group_pick_lasting(struct group *g, uint64_t not )
{
	uint32_t away = g->n_waiting - g->n_online;
	struct member *m = group_pick_kept(g, not );

	for (uint32_t i = 0; !m && i < away && i < AWAY_LOOKS; i++) {
		m = g->v[g->n_online + g->turn++ % away];
		if (!m->kept || m->session == not )
			m = NULL;
	}
	return m;
}
