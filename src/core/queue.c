/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/queue.h"

#include <stdlib.h>
#include <string.h>

/* Entries of the first block, and of the largest: each is twice the one
 * before. */
#define BLOCK_MIN 8u
#define BLOCK_MAX 1024u
/* Above this a block that is empty is given back. */
#define BLOCK_KEEP 64u
#define QUEUE_MAX  (1u << 27)

struct queue_block {
	struct queue_block *next;
	uint32_t cap;
	struct delivery v[];
};

/* Place for one more at the end.  What is there stays where it is, but for a
 * queue of one block that is at least half empty: to copy millions would take
 * some hundred milliseconds of a turn. */
static enum nj_err
extend(struct queue *q)
{
	struct queue_block *last = q->last, *b;
	uint32_t cap = last ? last->cap * 2 : BLOCK_MIN;

	if (q->n >= QUEUE_MAX)
		return NJ_FULL;
	if (last && last == q->first && q->head >= q->n) {
		memmove(last->v, last->v + q->head, q->n * sizeof *last->v);
		q->head = 0;
		q->tail = q->n;
		return NJ_OK;
	}
	if (cap > BLOCK_MAX)
		cap = BLOCK_MAX;
	if (!(b = malloc(sizeof *b + cap * sizeof *b->v)))
		return NJ_NOMEM;
	b->next = NULL;
	b->cap = cap;
	if (last)
		last->next = b;
	else
		q->first = b;
	q->last = b;
	q->tail = 0;
	return NJ_OK;
}

enum nj_err
queue_push(struct queue *q, const struct delivery *d)
{
	enum nj_err e;

	if ((!q->last || q->tail == q->last->cap) && (e = extend(q)))
		return e;
	q->last->v[q->tail++] = *d;
	q->n++;
	q->n0 += d->qos == 0;
	q->bytes += delivery_size(d);
	return NJ_OK;
}

/* The first block is empty. */
static void
drop_block(struct queue *q)
{
	struct queue_block *b = q->first;

	q->head = 0;
	if (b != q->last) {
		q->first = b->next;
		free(b);
		return;
	}
	q->tail = 0;
	if (b->cap > BLOCK_KEEP) {
		q->first = q->last = NULL;
		free(b);
	}
}

struct delivery *
queue_first(const struct queue *q)
{
	return q->n > 0 ? &q->first->v[q->head] : NULL;
}

bool
queue_pop(struct queue *q, struct delivery *out)
{
	struct queue_block *b = q->first;

	if (!b || q->n == 0)
		return false;
	*out = b->v[q->head++];
	q->n--;
	q->n0 -= out->qos == 0;
	q->bytes -= delivery_size(out);
	if (q->n == 0 || q->head == b->cap)
		drop_block(q);
	return true;
}

static bool
is_above(const struct delivery *d, uint64_t key)
{
	return d->key == 0 || d->key > key;
}

struct delivery *
queue_above(const struct queue *q, uint64_t key)
{
	struct queue_block *b = q->first;
	uint32_t at = q->head;

	for (uint32_t n = q->n; n > 0; n--, at++) {
		if (at == b->cap) {
			b = b->next;
			at = 0;
		}
		if (is_above(&b->v[at], key))
			return &b->v[at];
	}
	return NULL;
}

bool
queue_pop_above(struct queue *q, uint64_t key, struct delivery *out)
{
	const struct delivery *found = queue_above(q, key);
	struct queue_block *b = q->first;
	uint32_t at = q->head;
	struct delivery d, before;

	if (!found)
		return false;
	/* those before it move up by one, and it becomes the first */
	before = *found;
	for (bool done = false; !done; at++) {
		if (at == b->cap) {
			b = b->next;
			at = 0;
		}
		done = &b->v[at] == found;
		d = b->v[at];
		b->v[at] = before;
		before = d;
	}
	return queue_pop(q, out);
}

/* It ends there: what is behind is empty. */
static void
end_at(struct queue *q, struct queue_block *last, uint32_t tail)
{
	struct queue_block *b;

	while ((b = last->next)) {
		last->next = b->next;
		free(b);
	}
	q->last = last;
	q->tail = tail;
	if (q->n == 0)
		drop_block(q);
}

void
queue_sift(
    struct queue *q, bool (*takes)(void *arg, struct delivery *d), void *arg)
{
	struct queue_block *from = q->first, *to = from;
	uint32_t at = q->head, end = at;

	if (q->n == 0)
		return;
	for (uint32_t n = q->n; n > 0; n--) {
		struct delivery d;
		size_t size;

		if (at == from->cap) {
			from = from->next;
			at = 0;
		}
		d = from->v[at++];
		size = delivery_size(&d);
		if (takes(arg, &d)) {
			q->n--;
			q->n0 -= d.qos == 0;
			q->bytes -= size;
			continue;
		}
		if (end == to->cap) {
			to = to->next;
			end = 0;
		}
		to->v[end++] = d;
	}
	end_at(q, to, end);
}

void
queue_forget_share(struct queue *q, uint8_t share)
{
	uint32_t i = q->head;

	for (struct queue_block *b = q->first; b; b = b->next, i = 0)
		for (uint32_t end = b == q->last ? q->tail : b->cap; i < end;
		     i++)
			if (b->v[i].share == share)
				b->v[i].share = 0;
}

void
queue_clear(struct queue *q)
{
	struct delivery d;

	while (queue_pop(q, &d))
		delivery_fini(&d);
	free(q->first);
	*q = (struct queue){ 0 };
}
