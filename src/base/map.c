/* SPDX-License-Identifier: Apache-2.0
 * Linear probing with the hash kept in the slot: a miss costs one cache line
 * mostly, keys are compared only when all 64 bits agree, and growing does not
 * touch the values.  Deleting shifts the run back instead of leaving graves.
 */
#include "base/map.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/hash.h"

#define MAP_MIN 8

void
map_init(struct map *m, map_key_fn *key_of)
{
	*m = (struct map){ .key_of = key_of };
}

void
map_fini(struct map *m)
{
	free(m->slots);
	m->slots = NULL;
	m->n = m->cap = 0;
}

/* The slot of the key, or the empty one where it would go.  cap > 0. */
static size_t
find(const struct map *m, struct slice key, uint64_t hash)
{
	size_t i = hash & (m->cap - 1);

	for (; m->slots[i].value; i = (i + 1) & (m->cap - 1))
		if (m->slots[i].hash == hash &&
		    slice_eq(m->key_of(m->slots[i].value), key))
			break;
	return i;
}

static enum nj_err
rehash(struct map *m, size_t cap)
{
	struct map_slot *slots = calloc(cap, sizeof *slots);

	if (!slots)
		return NJ_NOMEM;
	for (size_t i = 0; i < m->cap; i++) {
		size_t at = m->slots[i].hash & (cap - 1);

		if (!m->slots[i].value)
			continue;
		while (slots[at].value)
			at = (at + 1) & (cap - 1);
		slots[at] = m->slots[i];
	}
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
	return NJ_OK;
}

void *
map_get(const struct map *m, struct slice key)
{
	if (m->n == 0)
		return NULL;
	return m->slots[find(m, key, hash_bytes(key))].value;
}

enum nj_err
map_put(struct map *m, void *value)
{
	struct slice key = m->key_of(value);
	uint64_t hash = hash_bytes(key);
	enum nj_err e;
	size_t i;

	if (m->n > 0 && m->slots[find(m, key, hash)].value)
		return NJ_EXISTS;
	if ((m->n + 1) * 4 > m->cap * 3 &&
	    (e = rehash(m, m->cap ? m->cap * 2 : MAP_MIN)))
		return e;
	i = find(m, key, hash);
	m->slots[i] = (struct map_slot){ hash, value };
	m->n++;
	return NJ_OK;
}

/* Closes the gap at i: whatever probed past it moves nearer to its home. */
static void
close_gap(struct map *m, size_t i)
{
	size_t mask = m->cap - 1;
	size_t j = i;

	for (;;) {
		j = (j + 1) & mask;
		if (!m->slots[j].value)
			break;
		if (((j - m->slots[j].hash) & mask) < ((j - i) & mask))
			continue;
		m->slots[i] = m->slots[j];
		i = j;
	}
	m->slots[i].value = NULL;
}

void *
map_del(struct map *m, struct slice key)
{
	void *value;
	size_t i;

	if (m->n == 0)
		return NULL;
	i = find(m, key, hash_bytes(key));
	if (!(value = m->slots[i].value))
		return NULL;
	close_gap(m, i);
	m->n--;
	/* Memory goes back after a wave of clients; failing is no harm. */
	if (m->cap > MAP_MIN && m->n * 8 < m->cap &&
	    rehash(m, m->cap / 2) != NJ_OK)
		return value;
	return value;
}

void *
map_next(const struct map *m, size_t *at)
{
	while (*at < m->cap) {
		void *value = m->slots[(*at)++].value;

		if (value)
			return value;
	}
	return NULL;
}
