/* SPDX-License-Identifier: Apache-2.0
 *
 * The lanes of a transaction, one a session, and their memory for the next.
 */
#include <stdlib.h>
#include <string.h>

#include "store/lane_impl.h"

/* Lanes whose memory is kept for the next transaction, and how much each. */
#define LANES_MIN  64u
#define LANES_KEEP 8192u
#define LANES_FEW  16u
#define LANE_KEEP  256u /* where there are more than a few */

static uint32_t *
slot_of(const struct lanes *l, uint64_t session)
{
	uint32_t mask = l->cap * 2 - 1;
	uint64_t i = session * 0x9e3779b97f4a7c15ull >> 32;

	while (l->at[i & mask] && l->v[l->at[i & mask] - 1].session != session)
		i++;
	return &l->at[i & mask];
}

static enum nj_err
lanes_grow(struct lanes *l)
{
	uint32_t cap = l->cap ? l->cap * 2 : LANES_MIN;
	uint32_t *at = calloc((size_t)cap * 2, sizeof *at);
	struct lane *v = realloc(l->v, cap * sizeof *v);

	if (v) {
		memset(v + l->cap, 0, (cap - l->cap) * sizeof *v);
		l->v = v;
	}
	if (!v || !at) {
		free(at);
		return NJ_NOMEM;
	}
	free(l->at);
	l->at = at;
	l->cap = cap;
	for (uint32_t i = 0; i < l->n; i++)
		*slot_of(l, l->v[i].session) = i + 1;
	return NJ_OK;
}

struct lane *
lane_find(const struct lanes *l, uint64_t session)
{
	uint32_t at;

	if (l->n == 0)
		return NULL;
	if (l->v[l->last].session == session)
		return &l->v[l->last];
	at = *slot_of(l, session);
	return at ? &l->v[at - 1] : NULL;
}

enum nj_err
lane_of(struct store *s, uint64_t session, struct lane **out)
{
	struct lanes *l = &s->lanes;
	struct lane *lane = lane_find(l, session);
	enum nj_err e;

	if (!lane) {
		if (l->n == l->cap && (e = lanes_grow(l)))
			return e;
		lane = &l->v[l->n++];
		lane->session = session;
		*slot_of(l, session) = l->n;
	}
	l->last = (uint32_t)(lane - l->v);
	*out = lane;
	return NJ_OK;
}

static void
lane_fini(struct lane *l)
{
	free(l->v);
	free(l->t);
	free(l->e);
	*l = (struct lane){ .session = 0 };
}

void
lane_clear(struct lane *l, uint64_t session)
{
	*l = (struct lane){ .session = session,
		.v = l->v,
		.cap = l->cap,
		.t = l->t,
		.cap_t = l->cap_t,
		.e = l->e,
		.cap_e = l->cap_e };
}

void
lanes_fini(struct lanes *l)
{
	for (uint32_t i = 0; i < l->cap; i++)
		lane_fini(&l->v[i]);
	free(l->v);
	free(l->at);
	*l = (struct lanes){ .n = 0 };
}

void
lanes_clear(struct lanes *l)
{
	if (l->cap > LANES_KEEP) {
		lanes_fini(l);
		return;
	}
	for (uint32_t i = 0; i < l->n; i++) {
		struct lane *x = &l->v[i];

		if (l->n > LANES_FEW &&
		    x->cap + x->cap_t + x->cap_e > LANE_KEEP)
			lane_fini(x);
		else
			lane_clear(x, 0);
	}
	if (l->n > 0)
		memset(l->at, 0, (size_t)l->cap * 2 * sizeof *l->at);
	l->n = l->last = 0;
}
