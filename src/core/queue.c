/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/queue.h"

#include <stdlib.h>

#define QUEUE_MIN 8u
#define QUEUE_MAX (1u << 27)

static enum nj_err
grow(struct queue *q)
{
	uint32_t cap = q->cap ? q->cap * 2 : QUEUE_MIN;
	struct delivery *v;

	if (cap > QUEUE_MAX)
		return NJ_FULL;
	if (!(v = calloc(cap, sizeof *v)))
		return NJ_NOMEM;
	for (uint32_t i = 0; i < q->n; i++)
		v[i] = q->v[(q->head + i) & (q->cap - 1)];
	free(q->v);
	q->v = v;
	q->head = 0;
	q->cap = cap;
	return NJ_OK;
}

enum nj_err
queue_push(struct queue *q, const struct delivery *d)
{
	enum nj_err e;

	if (q->n == q->cap && (e = grow(q)))
		return e;
	q->v[(q->head + q->n) & (q->cap - 1)] = *d;
	q->n++;
	q->n0 += d->qos == 0;
	q->bytes += delivery_size(d);
	return NJ_OK;
}

bool
queue_pop(struct queue *q, struct delivery *out)
{
	if (q->n == 0)
		return false;
	*out = q->v[q->head];
	q->head = (q->head + 1) & (q->cap - 1);
	q->n--;
	q->n0 -= out->qos == 0;
	q->bytes -= delivery_size(out);
	if (q->n == 0 && q->cap > QUEUE_MIN * 8) {
		/* a drained backlog gives its memory back */
		free(q->v);
		*q = (struct queue){ 0 };
	}
	return true;
}

void
queue_clear(struct queue *q)
{
	for (uint32_t i = 0; i < q->n; i++)
		delivery_fini(&q->v[(q->head + i) & (q->cap - 1)]);
	free(q->v);
	*q = (struct queue){ 0 };
}
