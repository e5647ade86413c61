/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/delivery.h"

#include <stdlib.h>

/* Two overlapping subscriptions are common, more are not. */
#define IDS_FIRST 4

static bool
is_single(ids_t ids)
{
	return (ids & 1) != 0;
}

static struct id_list *
as_list(ids_t ids)
{
	return (struct id_list *)ids;
}

/* A list with room for one more, made of *ids; NULL without memory. */
static struct id_list *
roomy(ids_t ids)
{
	struct id_list *had = ids == 0 || is_single(ids) ? NULL : as_list(ids);
	struct id_list *l;
	uint32_t cap;

	if (had && had->n < had->cap)
		return had;
	cap = had ? had->cap * 2 : IDS_FIRST;
	if (!(l = realloc(had, sizeof *l + cap * sizeof l->v[0])))
		return NULL;
	l->cap = cap;
	if (!had) {
		l->n = ids ? 1 : 0;
		l->v[0] = (uint32_t)(ids >> 1);
	}
	return l;
}

void
ids_add(ids_t *ids, uint32_t id)
{
	struct id_list *l;

	if (id == 0)
		return;
	if (*ids == 0) {
		*ids = (ids_t)id << 1 | 1;
		return;
	}
	if (!(l = roomy(*ids)))
		return;
	l->v[l->n++] = id;
	*ids = (ids_t)l;
}

void
ids_free_list(ids_t ids)
{
	free(as_list(ids));
}

unsigned
ids_count(ids_t ids)
{
	if (ids == 0)
		return 0;
	return is_single(ids) ? 1 : as_list(ids)->n;
}

uint32_t
ids_at(ids_t ids, unsigned i)
{
	return is_single(ids) ? (uint32_t)(ids >> 1) : as_list(ids)->v[i];
}

size_t
delivery_size(const struct delivery *d)
{
	size_t n = msg_size(d->msg);

	if (d->ids != 0 && !is_single(d->ids))
		n += sizeof(struct id_list) +
		    as_list(d->ids)->cap * sizeof(uint32_t);
	return n;
}

void
delivery_fini(struct delivery *d)
{
	msg_unref(d->msg);
	d->msg = NULL;
	ids_free(d->ids);
	d->ids = 0;
}
