/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/alias.h"

#include <stdlib.h>

#include "base/hash.h"

void
aliases_fini(struct aliases *a)
{
	for (uint16_t i = 0; a->slots && i < a->max; i++)
		msg_unref(a->slots[i].msg);
	free(a->slots);
	free(a->index);
	*a = (struct aliases){ 0 };
}

static bool
make_tables(struct aliases *a)
{
	uint32_t cap = 4;

	while (cap < a->max * 2u)
		cap *= 2;
	a->slots = calloc(a->max, sizeof *a->slots);
	a->index = calloc(cap, sizeof *a->index);
	if (!a->slots || !a->index) {
		free(a->slots);
		free(a->index);
		a->slots = NULL;
		a->index = NULL;
		return false;
	}
	a->index_cap = cap;
	return true;
}

uint16_t
aliases_find(
    struct aliases *a, const struct msg *m, bool *known, uint64_t *hash)
{
	uint32_t mask, i;

	if (a->max == 0 || (!a->slots && !make_tables(a)))
		return 0;
	*hash = hash_bytes(msg_topic(m));
	mask = a->index_cap - 1;
	for (i = (uint32_t)*hash & mask; a->index[i]; i = (i + 1) & mask) {
		struct alias_slot *s = &a->slots[a->index[i] - 1];

		*known = s->hash == *hash &&
		    slice_eq(msg_topic(s->msg), msg_topic(m));
		if (*known)
			return a->index[i];
	}
	*known = false;
	if (a->n < a->max)
		return (uint16_t)(a->n + 1);
	return (uint16_t)(*hash % a->max + 1);
}

/* Deletes by shifting the run behind the hole back. */
static void
index_drop(struct aliases *a, uint16_t alias)
{
	uint32_t mask = a->index_cap - 1, i, j;

	i = (uint32_t)a->slots[alias - 1].hash & mask;
	while (a->index[i] != alias)
		i = (i + 1) & mask;
	for (j = (i + 1) & mask; a->index[j]; j = (j + 1) & mask) {
		uint32_t home = (uint32_t)a->slots[a->index[j] - 1].hash & mask;

		if (((j - home) & mask) >= ((j - i) & mask)) {
			a->index[i] = a->index[j];
			i = j;
		}
	}
	a->index[i] = 0;
}

void
aliases_set(struct aliases *a, uint16_t alias, struct msg *m, uint64_t hash)
{
	struct alias_slot *s = &a->slots[alias - 1];
	uint32_t mask = a->index_cap - 1, i;

	if (s->msg) {
		index_drop(a, alias);
		msg_unref(s->msg);
	} else {
		a->n++;
	}
	s->msg = msg_ref(m);
	s->hash = hash;
	for (i = (uint32_t)hash & mask; a->index[i]; i = (i + 1) & mask)
		continue;
	a->index[i] = alias;
}
