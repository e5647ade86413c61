/* SPDX-License-Identifier: Apache-2.0
 * The order between the threads comes from two words.  Who retires adds one to
 * the epoch (release) after the block is out of sight; who reads the new epoch
 * (acquire) at the end of a turn, before it says so in its seat (release), does
 * not find the block in the next turn, and has done with it in the last.  Who
 * finds that in the seat (acquire) frees it.
 *
 * An empty seat is taken without the epoch having been read in time: so who
 * retires exchanges its EMPTY for the same.  Either that comes first, and the
 * reader's own exchange, which takes the seat, follows on it and on what was done
 * before; or it fails, and the reader's epoch is there.
 */
#include "base/grace.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"

#define EMPTY UINT64_MAX
#define LINE  64

struct block {
	void (*free_fn)(void *);
	void *p;
};

/* Blocks that one turn has retired. */
struct bin {
	struct bin *next;
	uint64_t epoch;
	size_t bytes;
	uint32_t n, freed;
	struct block v[30];
};

_Static_assert(sizeof(struct bin) <= POOL_BLOCK, "it is of a small class");

struct seat {
	_Alignas(LINE) _Atomic(uint64_t) at;
	/* its thread's own */
	_Alignas(LINE) struct bin *first; /* oldest */
	struct bin *last;
	struct bin *fresh; /* the first of this turn; NULL: none */
	uint32_t n_fresh;  /* blocks */
	size_t waits;	   /* bytes of those that are not fresh */
};

struct grace {
	_Alignas(LINE) _Atomic(uint64_t) now;
	unsigned n;
	struct seat seats[];
};

enum nj_err
grace_new(unsigned seats, struct grace **out)
{
	size_t size = sizeof(struct grace) + seats * sizeof(struct seat);
	struct grace *g = aligned_alloc(LINE, size);

	if (!g)
		return NJ_NOMEM;
	memset(g, 0, size);
	atomic_init(&g->now, 1);
	g->n = seats;
	for (unsigned i = 0; i < seats; i++)
		atomic_init(&g->seats[i].at, EMPTY);
	*out = g;
	return NJ_OK;
}

/* Frees the oldest bin's blocks, up to *budget; whether the bin has gone. */
static bool
empty_bin(struct seat *s, size_t *budget)
{
	struct bin *b = s->first;

	for (; b->freed<b->n && * budget> 0; --*budget) {
		const struct block *v = &b->v[b->freed++];

		v->free_fn(v->p);
	}
	if (b->freed < b->n)
		return false;
	s->first = b->next;
	if (!s->first)
		s->last = NULL;
	s->waits -= b->bytes;
	pool_put(b, sizeof *b);
	return true;
}

/* The bins of this turn are of that epoch. */
static void
close_turn(struct seat *s, uint64_t epoch)
{
	for (struct bin *b = s->fresh; b; b = b->next) {
		b->epoch = epoch;
		s->waits += b->bytes;
	}
	s->fresh = NULL;
	s->n_fresh = 0;
}

void
grace_free(struct grace *g)
{
	if (!g)
		return;
	for (unsigned i = 0; i < g->n; i++) {
		struct seat *s = &g->seats[i];
		size_t all = SIZE_MAX;

		close_turn(s, 0);
		while (s->first)
			(void)empty_bin(s, &all);
	}
	free(g);
}

void
grace_enter(struct grace *g, unsigned seat)
{
	_Atomic(uint64_t) *at = &g->seats[seat].at;

	/* nobody else takes it, or leaves it */
	if (atomic_load_explicit(at, memory_order_relaxed) == EMPTY)
		(void)atomic_exchange_explicit(at,
		    atomic_load_explicit(&g->now, memory_order_acquire),
		    memory_order_acq_rel);
}

void
grace_leave(struct grace *g, unsigned seat)
{
	atomic_store_explicit(&g->seats[seat].at, EMPTY, memory_order_release);
}

static struct bin *
bin_add(struct seat *s)
{
	struct bin *b = pool_get(sizeof *b);

	if (!b)
		return NULL;
	b->next = NULL;
	b->epoch = 0;
	b->bytes = 0;
	b->n = b->freed = 0;
	if (s->last)
		s->last->next = b;
	else
		s->first = b;
	s->last = b;
	if (!s->fresh)
		s->fresh = b;
	return b;
}

bool
grace_retire(struct grace *g, unsigned seat, void (*free_fn)(void *), void *p,
    size_t size)
{
	struct seat *s = &g->seats[seat];
	struct bin *b = s->last;

	if ((!s->fresh || b->n == sizeof b->v / sizeof *b->v) &&
	    !(b = bin_add(s)))
		return false;
	b->v[b->n++] = (struct block){ free_fn, p };
	b->bytes += size;
	s->n_fresh++;
	return true;
}

/* The epoch up to which all others have come. */
static uint64_t
reached(struct grace *g, unsigned seat)
{
	uint64_t least = EMPTY;

	for (unsigned i = 0; i < g->n; i++) {
		_Atomic(uint64_t) *p = &g->seats[i].at;
		uint64_t at;

		if (i == seat)
			continue;
		at = atomic_load_explicit(p, memory_order_acquire);
		if (at == EMPTY)
			(void)atomic_compare_exchange_strong_explicit(p, &at,
			    EMPTY, memory_order_acq_rel, memory_order_acquire);
		if (at < least)
			least = at;
	}
	return least;
}

void
grace_turn(struct grace *g, unsigned seat)
{
	struct seat *s = &g->seats[seat];
	size_t budget = GRACE_FREES + (size_t)s->n_fresh;
	uint64_t now, least;

	if (s->fresh && g->n > 1)
		now = atomic_fetch_add_explicit(
			  &g->now, 1, memory_order_acq_rel) +
		    1;
	else
		now = atomic_load_explicit(&g->now, memory_order_acquire);
	close_turn(s, now);
	if (atomic_load_explicit(&s->at, memory_order_relaxed) != now)
		atomic_store_explicit(&s->at, now, memory_order_release);
	if (!s->first)
		return;
	least = reached(g, seat);
	while (s->first && s->first->epoch <= least && budget > 0)
		(void)empty_bin(s, &budget);
}

size_t
grace_waits(const struct grace *g, unsigned seat)
{
	return g->seats[seat].waits;
}
