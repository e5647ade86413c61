/* SPDX-License-Identifier: Apache-2.0
 * A session knows where each of its subscriptions stands: a few subrefs in a
 * row, or from SUBS_ROW on a hash table by targets (addresses, which no peer
 * chooses).  A filter's text is therefore looked up in one place only, the
 * tree.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/giveback.h"
#include "core/index.h"
#include "core/index_impl.h"

#define SUBS_ROW 8 /* largest capacity that is searched in a row */

/* What a large table was before it grew or shrank: each change moves a part of it,
 * so that none takes long. */
struct subs_old {
	struct subref *slots;
	uint32_t cap, at, left; /* the next to be moved, and how many */
	uint32_t from;		/* where that began */
};

/* Tables of fewer slots are moved at once. */
#define MOVE_AT_ONCE 4096
/* Slots of it that a change looks at: it is over before the next begins.  Of one
 * that grows there is more time, and its pages are new ones. */
#define MOVE_STEP 32
#define GROW_STEP 2
/* What is behind goes back to the system in pieces of so many slots: to unmap all
 * of a large table at once takes milliseconds. */
#define GIVE_STEP 4096

static uint32_t
slot_home(uint32_t cap, const struct targets *t)
{
	uint64_t h = (uint64_t)(uintptr_t)t * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(h >> 32) & (cap - 1);
}

static struct subref *
probe(struct subref *slots, uint32_t cap, const struct targets *t)
{
	for (uint32_t i = slot_home(cap, t); slots[i].targets;
	     i = (i + 1) & (cap - 1))
		if (slots[i].targets == t)
			return &slots[i];
	return NULL;
}

/* NULL: it is not there. */
static struct subref *
slot_find(const struct subs *ss, const struct targets *t)
{
	struct subref *r;

	if (ss->cap <= SUBS_ROW) {
		for (uint32_t i = 0; i < ss->n; i++)
			if (ss->slots[i].targets == t)
				return &ss->slots[i];
		return NULL;
	}
	if (!(r = probe(ss->slots, ss->cap, t)) && ss->old)
		r = probe(ss->old->slots, ss->old->cap, t);
	return r;
}

/* There is room, and it is not there. */
static void
insert(struct subs *ss, struct subref r)
{
	uint32_t i = slot_home(ss->cap, r.targets);

	while (ss->slots[i].targets)
		i = (i + 1) & (ss->cap - 1);
	ss->slots[i] = r;
}

/* All slots between from and at are empty, and stay so; the page in which the last
 * piece ended is whole now. */
static void
give_behind(struct subref *slots, uint32_t from, uint32_t at)
{
	uint32_t more = GIVE_STEP + GIVE_STEP / 4;

	if (at > from)
		giveback_pages(
		    slots + (at - from > more ? at - more : from), slots + at);
}

static void
old_free(struct subs *ss, struct index *ix)
{
	if (!ss->old)
		return;
	index_count(
	    &ix->bytes, -(int64_t)(ss->old->cap * sizeof *ss->old->slots));
	free(ss->old->slots);
	free(ss->old);
	ss->old = NULL;
}

/* Moves some of what it was, or all.  Whole runs are, so that what is left is
 * found from where it belongs. */
static void
move_some(struct subs *ss, struct index *ix, uint32_t least)
{
	struct subs_old *old = ss->old;

	for (uint32_t done = 0; old->left > 0; done++) {
		struct subref *r = &old->slots[old->at];

		if (!r->targets && done >= least)
			return;
		if (r->targets)
			insert(ss, *r);
		r->targets = NULL;
		old->at = (old->at + 1) & (old->cap - 1);
		if (--old->left % GIVE_STEP == 0)
			give_behind(old->slots, old->from, old->at);
	}
	old_free(ss, ix);
}

static void
move_step(struct subs *ss, struct index *ix)
{
	move_some(ss, ix, ss->old->cap < ss->cap ? GROW_STEP : MOVE_STEP);
}

void
subs_settle(struct subs *ss, struct index *ix)
{
	if (ss->old)
		move_some(ss, ix, UINT32_MAX);
}

static void
slot_add(struct subs *ss, struct index *ix, struct targets *t, uint32_t at)
{
	struct subref r = { .targets = t, .at = at };

	if (ss->cap > SUBS_ROW)
		insert(ss, r);
	else
		ss->slots[ss->n] = r;
	ss->n++;
	if (ss->old)
		move_step(ss, ix);
}

/* Those of a row, or of a small table. */
static void
move_at_once(struct subs *to, const struct subs *ss)
{
	for (uint32_t i = 0, n = 0; i < ss->cap; i++) {
		if (!ss->slots[i].targets)
			continue;
		if (to->cap > SUBS_ROW)
			insert(to, ss->slots[i]);
		else
			to->slots[n++] = ss->slots[i];
	}
}

static enum nj_err
slots_resize(struct subs *ss, struct index *ix, uint32_t cap)
{
	struct subs to = { .cap = cap, .n = ss->n };

	subs_settle(ss, ix);
	if (!(to.slots = calloc(cap, sizeof *to.slots)))
		return NJ_NOMEM;
	if (ss->cap > MOVE_AT_ONCE && (to.old = malloc(sizeof *to.old))) {
		*to.old =
		    (struct subs_old){ ss->slots, ss->cap, 0, ss->cap, 0 };
		/* no run is cut where it begins */
		while (ss->slots[to.old->at].targets)
			to.old->at++;
		to.old->from = to.old->at;
	} else {
		move_at_once(&to, ss);
		index_count(
		    &ix->bytes, -(int64_t)(ss->cap * sizeof *ss->slots));
		free(ss->slots);
	}
	index_count(&ix->bytes, (int64_t)(cap * sizeof *to.slots));
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

/* Shifts back what probed past the gap. */
static void
close_gap(struct subref *slots, uint32_t cap, uint32_t i)
{
	uint32_t mask = cap - 1;

	for (uint32_t j = (i + 1) & mask; slots[j].targets;
	     j = (j + 1) & mask) {
		uint32_t home = slot_home(cap, slots[j].targets);

		if (((j - home) & mask) < ((j - i) & mask))
			continue;
		slots[i] = slots[j];
		i = j;
	}
	slots[i] = (struct subref){ 0 };
}

static void
slot_take(struct subs *ss, struct subref *r)
{
	ss->n--;
	if (ss->cap <= SUBS_ROW) {
		*r = ss->slots[ss->n];
		ss->slots[ss->n] = (struct subref){ 0 };
	} else if (r >= ss->slots && r < ss->slots + ss->cap) {
		close_gap(ss->slots, ss->cap, (uint32_t)(r - ss->slots));
	} else {
		close_gap(ss->old->slots, ss->old->cap,
		    (uint32_t)(r - ss->old->slots));
	}
}

static void
slot_del(struct subs *ss, struct index *ix, struct subref *r)
{
	slot_take(ss, r);
	if (ss->old)
		move_step(ss, ix);
	else if (ss->cap > SUBS_ROW && ss->n < ss->cap / 8 &&
	    slots_resize(ss, ix, ss->cap / 2) != NJ_OK)
		return; /* failing to shrink does no harm */
}

/* The slot of that number, of both tables. */
static struct subref *
slot_at(const struct subs *ss, uint32_t at)
{
	if (at < ss->cap)
		return &ss->slots[at];
	at -= ss->cap;
	return ss->old && at < ss->old->cap ? &ss->old->slots[at] : NULL;
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
		struct subref *r = slot_find(moved, t);

		assert(r && r->at == last);
		t->subs[at] = t->subs[last];
		r->at = at;
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
	struct subref *r;
	enum nj_err e;

	if ((e = index_hold(ix, shard, filter, &t)))
		return e;
	if ((r = slot_find(ss, t))) {
		t->subs[r->at].id_opts = id_opts;
		index_release(ix, t); /* it holds already */
		*existed = true;
		return NJ_OK;
	}
	if ((e = slots_reserve(ss, ix)) || (e = targets_reserve(t, ix))) {
		index_release(ix, t);
		return e;
	}
	slot_add(ss, ix, t, t->n);
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
	struct subref *r;

	if (index_find(ix, shard, filter, &t) || !(r = slot_find(ss, t)))
		return false;
	if (id_opts)
		*id_opts = t->subs[r->at].id_opts;
	return true;
}

enum nj_err
subs_del(struct subs *ss, struct index *ix, unsigned shard, struct slice filter,
    bool full)
{
	struct targets *t;
	struct subref *r;
	enum nj_err e;

	if ((e = index_find(ix, shard, filter, &t)))
		return e;
	if (!(r = slot_find(ss, t)))
		return NJ_NOTFOUND;
	if (full)
		atomic_fetch_sub_explicit(&t->full, 1, memory_order_relaxed);
	targets_del(t, ix, r->at);
	slot_del(ss, ix, r);
	index_count(&ix->subscriptions, -1);
	index_release(ix, t);
	return NJ_OK;
}

static void
slots_free(struct subs *ss, struct index *ix)
{
	index_count(&ix->bytes, -(int64_t)(ss->cap * sizeof *ss->slots));
	free(ss->slots);
	old_free(ss, ix);
	*ss = (struct subs){ 0 };
}

/* What is left stays findable: another's entry may move. */
uint32_t
subs_clear_some(
    struct subs *ss, struct index *ix, uint32_t *at, uint32_t most, bool full)
{
	uint32_t done = 0;
	struct subref *r;

	while (done < most && (r = slot_at(ss, *at))) {
		struct targets *t = r->targets;

		if (!t) {
			if (++*at % GIVE_STEP == 0 && *at <= ss->cap)
				give_behind(ss->slots, 0, *at);
			continue;
		}
		if (full)
			atomic_fetch_sub_explicit(
			    &t->full, 1, memory_order_relaxed);
		targets_del(t, ix, r->at);
		slot_take(ss, r);
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
	const struct subref *r;

	while ((r = slot_at(ss, *at))) {
		++*at;
		if (r->targets) {
			*filter = r->targets->filter;
			return &r->targets->subs[r->at];
		}
	}
	return NULL;
}

/*
 * Backwards, since what ends moves others nearer to where they belong, to a lower
 * slot: they have been met then, or will be.  The lowest of all follows an empty
 * slot, so that none moves round the table's end to where the look has been.  A
 * table that changes its size is looked at from the start.
 */
static bool
look_begin(
    struct subs *ss, struct index *ix, struct subs_look *l, uint32_t *most)
{
	uint32_t had = *most;

	if (ss->old) {
		uint32_t left = ss->old->left;

		move_some(ss, ix, had);
		*most -= left < had ? left : had;
		if (ss->old)
			return false;
	}
	*l = (struct subs_look){ .left = ss->cap, .cap = ss->cap };
	while (ss->cap > SUBS_ROW && ss->slots[l->first].targets)
		l->first++;
	return true;
}

const struct sub *
subs_look(struct subs *ss, struct index *ix, struct subs_look *l,
    uint32_t *most, struct filter **filter)
{
	if ((ss->old || l->cap != ss->cap) && !look_begin(ss, ix, l, most))
		return NULL;
	while (l->left > 0 && *most > 0) {
		const struct subref *r;

		r = &ss->slots[(l->first + --l->left) & (ss->cap - 1)];
		--*most;
		if (r->targets) {
			*filter = r->targets->filter;
			return &r->targets->subs[r->at];
		}
	}
	return NULL;
}

bool
subs_looked(const struct subs *ss, const struct subs_look *l)
{
	return !ss->old && l->cap == ss->cap && l->left == 0;
}
