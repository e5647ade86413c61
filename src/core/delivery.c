/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/delivery.h"

#include <stdlib.h>

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
	if (is_single(*ids)) {
		if (!(l = malloc(sizeof *l)))
			return;
		l->n = 1;
		l->v[0] = (uint32_t)(*ids >> 1);
		*ids = (ids_t)l;
	}
	l = as_list(*ids);
	if (l->n < IDS_MAX)
		l->v[l->n++] = id;
}

void
ids_free(ids_t ids)
{
	if (ids != 0 && !is_single(ids))
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

void
delivery_fini(struct delivery *d)
{
	msg_unref(d->msg);
	d->msg = NULL;
	ids_free(d->ids);
	d->ids = 0;
}
