/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/inflight.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define INFLIGHT_MIN 8u
#define INFLIGHT_MAX 65536u
#define WANTED_CAP   4096u /* grown to for an identifier that is wanted */

static struct delivery *
slot_of(struct inflight *f, uint16_t pid)
{
	return &f->v[pid & (f->cap - 1)];
}

/* Doubling keeps every entry findable: two identifiers that had different
 * slots in the smaller table have different slots in the larger one. */
static enum nj_err
grow(struct inflight *f)
{
	uint32_t cap = f->cap ? f->cap * 2 : INFLIGHT_MIN;
	struct delivery *v;

	if (cap > INFLIGHT_MAX)
		return NJ_FULL;
	if (!(v = calloc(cap, sizeof *v)))
		return NJ_NOMEM;
	for (uint32_t i = 0; i < f->cap; i++)
		if (f->v[i].pid)
			v[f->v[i].pid & (cap - 1)] = f->v[i];
	free(f->v);
	f->v = v;
	f->cap = cap;
	return NJ_OK;
}

/* At most half full, so that a free slot is near. */
enum nj_err
inflight_reserve(struct inflight *f)
{
	return f->n * 2 >= f->cap && f->cap < INFLIGHT_MAX ? grow(f) : NJ_OK;
}

enum nj_err
inflight_add(struct inflight *f, const struct delivery *d, uint16_t want,
    struct delivery **at)
{
	struct delivery *s;
	uint16_t pid = want ? (uint16_t)(want - 1) : f->last_pid;
	enum nj_err e;

	if ((e = inflight_reserve(f)))
		return e;
	if (f->n >= UINT16_MAX)
		return NJ_FULL;
	/* its place may be another's: in a larger table each has its own */
	while (want && f->cap < WANTED_CAP && slot_of(f, want)->pid &&
	    slot_of(f, want)->pid != want)
		if ((e = grow(f)))
			return e;
	do {
		if (++pid == 0)
			pid = 1;
		s = slot_of(f, pid);
	} while (s->pid);
	*s = *d;
	s->pid = pid;
	s->seq = f->seq++;
	f->last_pid = pid;
	f->n++;
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
	while (slot_of(f, d->pid)->pid)
		if ((e = grow(f)))
			return e;
	*slot_of(f, d->pid) = *d;
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
	d->pid = 0;
	f->n--;
	if (f->n == 0 && f->cap > INFLIGHT_MIN * 32) {
		free(f->v);
		f->v = NULL;
		f->cap = 0;
	}
}

struct order {
	uint32_t age; /* behind the newest, so that wrapping does not matter */
	uint16_t pid;
};

static int
oldest_first(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	return (x->age < y->age) - (x->age > y->age);
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
			o[n].age = f->seq - f->v[i].seq;
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
