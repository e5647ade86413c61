/* SPDX-License-Identifier: Apache-2.0
 * A session knows where each of its subscriptions stands: a few subrefs in a
 * row, or from SUBS_ROW on a hash table by targets (addresses, which no peer
 * chooses).  A filter's text is therefore looked up in one place only, the
 * tree.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/index.h"
#include "core/index_impl.h"

#define SUBS_ROW 8 /* largest capacity that is searched in a row */
#define NOT_HERE UINT32_MAX

static uint32_t
slot_home(const struct subs *ss, const struct targets *t)
{
	uint64_t h = (uint64_t)(uintptr_t)t * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(h >> 32) & (ss->cap - 1);
}

static uint32_t
slot_find(const struct subs *ss, const struct targets *t)
{
	if (ss->cap <= SUBS_ROW) {
		for (uint32_t i = 0; i < ss->n; i++)
			if (ss->slots[i].targets == t)
				return i;
		return NOT_HERE;
	}
	for (uint32_t i = slot_home(ss, t); ss->slots[i].targets;
	     i = (i + 1) & (ss->cap - 1))
		if (ss->slots[i].targets == t)
			return i;
	return NOT_HERE;
}

/* There is room, and t is not there. */
static void
slot_add(struct subs *ss, struct targets *t, uint32_t at)
{
	uint32_t i = ss->n;

	if (ss->cap > SUBS_ROW) {
		i = slot_home(ss, t);
		while (ss->slots[i].targets)
			i = (i + 1) & (ss->cap - 1);
	}
	ss->slots[i] = (struct subref){ .targets = t, .at = at };
	ss->n++;
}

static enum nj_err
slots_resize(struct subs *ss, struct index *ix, uint32_t cap)
{
	struct subs to = { .cap = cap };

	if (!(to.slots = calloc(cap, sizeof *to.slots)))
		return NJ_NOMEM;
	for (uint32_t i = 0; i < ss->cap; i++)
		if (ss->slots[i].targets)
			slot_add(&to, ss->slots[i].targets, ss->slots[i].at);
	index_count(&ix->bytes,
	    ((int64_t)cap - (int64_t)ss->cap) * (int64_t)sizeof *ss->slots);
	free(ss->slots);
	*ss = to;
	return NJ_OK;
}

static enum nj_err
slots_reserve(struct subs *ss, struct index *ix)
{
	uint64_t room =
	    ss->cap <= SUBS_ROW ? ss->cap : (uint64_t)ss->cap * 3 / 4;

	if (ss->n < room)
		return NJ_OK;
	if (ss->cap > UINT32_MAX / 4)
		return NJ_FULL;
	return slots_resize(ss, ix, ss->cap ? ss->cap * 2 : 1);
}

static void
slot_take(struct subs *ss, uint32_t i)
{
	uint32_t mask = ss->cap - 1;

	ss->n--;
	if (ss->cap <= SUBS_ROW) {
		ss->slots[i] = ss->slots[ss->n];
		i = ss->n;
	} else {
		/* Shift back what probed past the gap. */
		for (uint32_t j = (i + 1) & mask; ss->slots[j].targets;
		     j = (j + 1) & mask) {
			uint32_t home = slot_home(ss, ss->slots[j].targets);

			if (((j - home) & mask) < ((j - i) & mask))
				continue;
			ss->slots[i] = ss->slots[j];
			i = j;
		}
	}
	ss->slots[i] = (struct subref){ 0 };
}

static void
slot_del(struct subs *ss, struct index *ix, uint32_t i)
{
	slot_take(ss, i);
	if (ss->cap > SUBS_ROW && ss->n < ss->cap / 8 &&
	    slots_resize(ss, ix, ss->cap / 2) != NJ_OK)
		return; /* failing to shrink does no harm */
}

static enum nj_err
targets_reserve(struct targets *t, struct index *ix)
{
	if (t->n < t->cap)
		return NJ_OK;
	if (t->cap > UINT32_MAX / 4)
		return NJ_FULL;
	return index_room(ix, t, t->cap * 2);
}

/* Takes the entry out; the last one moves into its place. */
static void
targets_del(struct targets *t, struct index *ix, uint32_t at)
{
	uint32_t last = --t->n;

	if (at != last) {
		struct subs *moved = session_subs(t->subs[last].session);
		uint32_t i = slot_find(moved, t);

		assert(i != NOT_HERE && moved->slots[i].at == last);
		t->subs[at] = t->subs[last];
		moved->slots[i].at = at;
	}
	if (t->cap >= 16 && t->n < t->cap / 4 &&
	    index_room(ix, t, t->cap / 2) != NJ_OK)
		return; /* failing to shrink does no harm */
}

enum nj_err
subs_put(struct subs *ss, struct index *ix, unsigned shard, struct slice filter,
    struct session *session, uint32_t id_opts, bool full, bool *existed)
{
	struct targets *t;
	enum nj_err e;
	uint32_t i;

	if ((e = index_hold(ix, shard, filter, &t)))
		return e;
	if ((i = slot_find(ss, t)) != NOT_HERE) {
		t->subs[ss->slots[i].at].id_opts = id_opts;
		index_release(ix, t); /* it holds already */
		*existed = true;
		return NJ_OK;
	}
	if ((e = slots_reserve(ss, ix)) || (e = targets_reserve(t, ix))) {
		index_release(ix, t);
		return e;
	}
	slot_add(ss, t, t->n);
	t->subs[t->n++] = (struct sub){ session, id_opts, 0 };
	if (full)
		atomic_fetch_add_explicit(&t->full, 1, memory_order_relaxed);
	index_count(&ix->subscriptions, 1);
	*existed = false;
	return NJ_OK;
}

bool
subs_has(const struct subs *ss, struct index *ix, unsigned shard,
    struct slice filter, uint32_t *id_opts)
{
	struct targets *t;
	uint32_t i;

	if (index_find(ix, shard, filter, &t) ||
	    (i = slot_find(ss, t)) == NOT_HERE)
		return false;
	if (id_opts)
		*id_opts = t->subs[ss->slots[i].at].id_opts;
	return true;
}

enum nj_err
subs_del(struct subs *ss, struct index *ix, unsigned shard, struct slice filter,
    bool full)
{
	struct targets *t;
	enum nj_err e;
	uint32_t i;

	if ((e = index_find(ix, shard, filter, &t)))
		return e;
	if ((i = slot_find(ss, t)) == NOT_HERE)
		return NJ_NOTFOUND;
	if (full)
		atomic_fetch_sub_explicit(&t->full, 1, memory_order_relaxed);
	targets_del(t, ix, ss->slots[i].at);
	slot_del(ss, ix, i);
	index_count(&ix->subscriptions, -1);
	index_release(ix, t);
	return NJ_OK;
}

static void
slots_free(struct subs *ss, struct index *ix)
{
	index_count(&ix->bytes, -(int64_t)(ss->cap * sizeof *ss->slots));
	free(ss->slots);
	*ss = (struct subs){ 0 };
}

/* What is left stays findable: another's entry may move. */
uint32_t
subs_clear_some(
    struct subs *ss, struct index *ix, uint32_t *at, uint32_t most, bool full)
{
	uint32_t done = 0;

	while (*at < ss->cap && done < most) {
		struct targets *t = ss->slots[*at].targets;

		if (!t) {
			++*at;
			continue;
		}
		if (full)
			atomic_fetch_sub_explicit(
			    &t->full, 1, memory_order_relaxed);
		targets_del(t, ix, ss->slots[*at].at);
		slot_take(ss, *at);
		index_count(&ix->subscriptions, -1);
		index_release(ix, t);
		done++;
	}
	if (ss->n == 0)
		slots_free(ss, ix);
	return done;
}

void
subs_clear(struct subs *ss, struct index *ix)
{
	uint32_t at = 0;

	(void)subs_clear_some(ss, ix, &at, UINT32_MAX, false);
}

const struct sub *
subs_next(const struct subs *ss, uint32_t *at, struct filter **filter)
{
	while (*at < ss->cap) {
		const struct subref *r = &ss->slots[(*at)++];

		if (r->targets) {
			*filter = r->targets->filter;
			return &r->targets->subs[r->at];
		}
	}
	return NULL;
}
