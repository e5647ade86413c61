/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/inflight.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define INFLIGHT_MIN 8u
#define INFLIGHT_MAX 131072u
/* From an identifier that was wanted and is taken. */
#define ELSEWHERE 16384u

static uint32_t
own_slot(const struct inflight *f, uint16_t pid)
{
	return inflight_slot(pid, f->cap);
}

/* Where it is, or the free slot where it would be: the first of those from its
 * own on. */
static struct delivery *
slot_of(const struct inflight *f, uint16_t pid)
{
	uint32_t i = own_slot(f, pid);

	while (f->v[i].pid && f->v[i].pid != pid)
		i = (i + 1) & (f->cap - 1);
	return &f->v[i];
}

/* Puts it into the free slot that slot_of() found. */
static void
put(struct inflight *f, struct delivery *slot, const struct delivery *d)
{
	*slot = *d;
	if (slot != &f->v[own_slot(f, d->pid)])
		f->astray++;
}

void
tables_fini(struct tables *t)
{
	while (t->n > 0)
		free(t->spare[--t->n].v);
	t->bytes = 0;
}

static bool
take_spare(struct inflight *f)
{
	struct tables *t = f->tables;

	if (!t || t->n == 0)
		return false;
	t->n--;
	f->v = t->spare[t->n].v;
	f->cap = t->spare[t->n].cap;
	t->bytes -= (uint32_t)(f->cap * sizeof *f->v);
	return true;
}

/* An empty one; all its slots are free. */
static void
give_away(struct inflight *f)
{
	size_t bytes = f->cap * sizeof *f->v;
	struct tables *t = f->tables;

	if (t && t->n < TABLES_MAX && t->bytes + bytes <= TABLES_BYTES) {
		t->spare[t->n].v = f->v;
		t->spare[t->n++].cap = f->cap;
		t->bytes += (uint32_t)bytes;
	} else {
		free(f->v);
	}
	f->v = NULL;
	f->cap = 0;
}

static enum nj_err
grow(struct inflight *f)
{
	uint32_t cap = f->cap ? f->cap * 2 : INFLIGHT_MIN;
	struct inflight to = { .cap = cap };

	if (cap > INFLIGHT_MAX)
		return NJ_FULL;
	if (f->cap == 0 && take_spare(f))
		return NJ_OK;
	if (!(to.v = calloc(cap, sizeof *to.v)))
		return NJ_NOMEM;
	for (uint32_t i = 0; i < f->cap; i++)
		if (f->v[i].pid)
			put(&to, slot_of(&to, f->v[i].pid), &f->v[i]);
	free(f->v);
	f->v = to.v;
	f->cap = cap;
	f->astray = to.astray;
	return NJ_OK;
}

/* The run behind the hole moves up, so no tombstones.  Mostly nothing has to:
 * all stand where they belong. */
static void
take_out(struct inflight *f, struct delivery *d)
{
	uint32_t mask = f->cap - 1, hole = (uint32_t)(d - f->v), i = hole;

	if (f->astray > 0 && hole != own_slot(f, d->pid))
		f->astray--;
	while (f->astray > 0) {
		i = (i + 1) & mask;
		if (!f->v[i].pid)
			break;
		if (((i - own_slot(f, f->v[i].pid)) & mask) >=
		    ((i - hole) & mask)) {
			if (hole == own_slot(f, f->v[i].pid))
				f->astray--;
			f->v[hole] = f->v[i];
			f->v[i].pid = 0;
			hole = i;
		}
	}
	f->v[hole].pid = 0;
}

/* At most half full, so that a free slot is near. */
enum nj_err
inflight_reserve(struct inflight *f)
{
	return f->n * 2 >= f->cap && f->cap < INFLIGHT_MAX ? grow(f) : NJ_OK;
}

enum nj_err
inflight_place(struct inflight *f, uint16_t want, struct delivery **at)
{
	struct delivery *s;
	uint16_t pid = want ? (uint16_t)(want - 1) : f->last_pid;
	enum nj_err e;

	if ((e = inflight_reserve(f)))
		return e;
	if (f->n >= UINT16_MAX)
		return NJ_FULL;
	/* what is near stands for messages that come after this one, also for
	 * those that an earlier life of the broker has sent */
	if (want && slot_of(f, want)->pid)
		pid = (uint16_t)(pid + ELSEWHERE);
	do {
		if (++pid == 0)
			pid = 1;
		s = slot_of(f, pid);
	} while (s->pid);
	s->pid = pid;
	if (s != &f->v[own_slot(f, pid)])
		f->astray++;
	s->seq = f->seq++;
	f->last_pid = pid;
	f->n++;
	*at = s;
	return NJ_OK;
}

enum nj_err
inflight_add(struct inflight *f, const struct delivery *d, uint16_t want,
    struct delivery **at)
{
	struct delivery *s;
	enum nj_err e = inflight_place(f, want, &s);
	uint32_t seq;
	uint16_t pid;

	if (e)
		return e;
	pid = s->pid;
	seq = s->seq;
	*s = *d;
	s->pid = pid;
	s->seq = seq;
	*at = s;
	return NJ_OK;
}

enum nj_err
inflight_restore(struct inflight *f, const struct delivery *d)
{
	enum nj_err e;

	if (inflight_find(f, d->pid))
		return NJ_EXISTS;
	if ((e = inflight_reserve(f)))
		return e;
	put(f, slot_of(f, d->pid), d);
	slot_of(f, d->pid)->seq = f->seq++;
	slot_of(f, d->pid)->unsent = 1;
	f->last_pid = d->pid;
	f->n++;
	return NJ_OK;
}

struct delivery *
inflight_find(struct inflight *f, uint16_t pid)
{
	struct delivery *s;

	if (f->cap == 0 || pid == 0)
		return NULL;
	s = slot_of(f, pid);
	return s->pid == pid ? s : NULL;
}

void
inflight_done(struct inflight *f, struct delivery *d)
{
	assert(d->pid);
	if (!d->unsent)
		f->waiting--;
	delivery_fini(d);
	take_out(f, d);
	f->n--;
	if (f->n == 0 && f->cap > INFLIGHT_MIN * 32)
		give_away(f);
}

struct order {
	uint64_t at;
	uint16_t pid;
};

/* Entries are sent in the order of their keys.  Their numbers here may have another:
 * after a start, what has an identifier of its own on disk is here first, and what was
 * sent before it is read later.  Where there are no keys the number counts: how far
 * it is behind the newest, so that wrapping does not matter. */
static uint64_t
order_of(const struct inflight *f, const struct delivery *d)
{
	return d->key ? d->key : UINT32_MAX - (f->seq - d->seq);
}

static int
oldest_first(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

enum nj_err
inflight_restart(struct inflight *f)
{
	struct order *o = NULL;
	uint32_t n = 0;

	free(f->resend);
	f->resend = NULL;
	f->resend_n = f->resend_at = 0;
	f->waiting = 0;
	if (f->n == 0)
		return NJ_OK;
	if (!(o = calloc(f->n, sizeof *o)) ||
	    !(f->resend = calloc(f->n, sizeof *f->resend))) {
		free(o);
		return NJ_NOMEM;
	}
	for (uint32_t i = 0; i < f->cap; i++)
		if (f->v[i].pid) {
			f->v[i].unsent = 1;
			o[n].at = order_of(f, &f->v[i]);
			o[n++].pid = f->v[i].pid;
		}
	qsort(o, n, sizeof *o, oldest_first);
	for (uint32_t i = 0; i < n; i++)
		f->resend[i] = o[i].pid;
	f->resend_n = n;
	free(o);
	return NJ_OK;
}

struct delivery *
inflight_next_unsent(struct inflight *f)
{
	while (f->resend_at < f->resend_n) {
		struct delivery *d = inflight_find(f, f->resend[f->resend_at]);

		if (d && d->unsent)
			return d;
		f->resend_at++; /* finished in the meantime */
	}
	free(f->resend);
	f->resend = NULL;
	f->resend_n = f->resend_at = 0;
	return NULL;
}

void
inflight_clear(struct inflight *f)
{
	for (uint32_t i = 0; i < f->cap; i++)
		if (f->v[i].pid)
			delivery_fini(&f->v[i]);
	free(f->v);
	free(f->resend);
	*f = (struct inflight){ 0 };
}

static uint32_t
home(const struct idset *s, uint16_t id)
{
	return (id * 40503u >> 4) & (s->cap - 1);
}

bool
idset_has(const struct idset *s, uint16_t id)
{
	if (s->n == 0)
		return false;
	for (uint32_t i = home(s, id); s->slots[i]; i = (i + 1) & (s->cap - 1))
		if (s->slots[i] == id)
			return true;
	return false;
}

static void
place(struct idset *s, uint16_t id)
{
	uint32_t i = home(s, id);

	while (s->slots[i])
		i = (i + 1) & (s->cap - 1);
	s->slots[i] = id;
}

enum nj_err
idset_add(struct idset *s, uint16_t id)
{
	assert(id);
	if (idset_has(s, id))
		return NJ_EXISTS;
	if ((s->n + 1) * 4 > s->cap * 3) {
		struct idset t = { .cap = s->cap ? s->cap * 2 : 8 };

		if (!(t.slots = calloc(t.cap, sizeof *t.slots)))
			return NJ_NOMEM;
		for (uint32_t i = 0; i < s->cap; i++)
			if (s->slots[i])
				place(&t, s->slots[i]);
		t.n = s->n;
		free(s->slots);
		*s = t;
	}
	place(s, id);
	s->n++;
	return NJ_OK;
}

/* Deletes by shifting the run behind the hole back, so no tombstones. */
bool
idset_del(struct idset *s, uint16_t id)
{
	uint32_t i, j, mask = s->cap - 1;

	if (s->n == 0)
		return false;
	for (i = home(s, id); s->slots[i] != id; i = (i + 1) & mask)
		if (!s->slots[i])
			return false;
	for (j = (i + 1) & mask; s->slots[j]; j = (j + 1) & mask) {
		uint32_t h = home(s, s->slots[j]);

		if (((j - h) & mask) >= ((j - i) & mask)) {
			s->slots[i] = s->slots[j];
			i = j;
		}
	}
	s->slots[i] = 0;
	s->n--;
	if (s->n == 0 && s->cap > 64)
		idset_fini(s);
	return true;
}

void
idset_fini(struct idset *s)
{
	free(s->slots);
	*s = (struct idset){ 0 };
}
