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
/* Tables of fewer slots are moved at once. */
#define MOVE_AT_ONCE 4096
/* Slots a change looks at while a larger one is moved: enough for it to be over
 * before the next has to begin. */
#define MOVE_STEP 32

void
map_init(struct map *m, map_key_fn *key_of)
{
	*m = (struct map){ .key_of = key_of };
}

void
map_fini(struct map *m)
{
	free(m->slots);
	free(m->old.slots);
	*m = (struct map){ .key_of = m->key_of };
}

static struct map_table
table_of(const struct map *m)
{
	return (struct map_table){ m->slots, m->cap };
}

/* The slot of the key, or the empty one where it would go.  cap > 0. */
static size_t
find(const struct map *m, struct map_table t, struct slice key, uint64_t hash)
{
	size_t i = hash & (t.cap - 1);

	for (; t.slots[i].value; i = (i + 1) & (t.cap - 1))
		if (t.slots[i].hash == hash &&
		    slice_eq(m->key_of(t.slots[i].value), key))
			break;
	return i;
}

/* It is not there, and there is room. */
static void
insert(struct map_table t, struct map_slot s)
{
	size_t at = s.hash & (t.cap - 1);

	while (t.slots[at].value)
		at = (at + 1) & (t.cap - 1);
	t.slots[at] = s;
}

/* Moves some of the old table's slots, or all.  Whole runs are, so that what is
 * left is found from where it belongs. */
static void
move_some(struct map *m, size_t least)
{
	struct map_table *old = &m->old;
	size_t done = 0;

	while (m->old_left > 0) {
		struct map_slot *s = &old->slots[m->old_at];

		if (!s->value && done >= least)
			return;
		if (s->value)
			insert(table_of(m), *s);
		s->value = NULL;
		m->old_at = (m->old_at + 1) & (old->cap - 1);
		m->old_left--;
		done++;
	}
	free(old->slots);
	*old = (struct map_table){ 0 };
}

static enum nj_err
rehash(struct map *m, size_t cap)
{
	struct map_slot *slots = calloc(cap, sizeof *slots);

	if (!slots)
		return NJ_NOMEM;
	if (m->old.cap > 0)
		move_some(m, SIZE_MAX);
	m->old = table_of(m);
	m->slots = slots;
	m->cap = cap;
	m->old_at = 0;
	m->old_left = m->old.cap;
	/* no run is cut where it begins */
	while (m->old.cap > MOVE_AT_ONCE && m->old.slots[m->old_at].value)
		m->old_at++;
	if (m->old.cap <= MOVE_AT_ONCE)
		move_some(m, SIZE_MAX);
	return NJ_OK;
}

/* In which table it is, and where; false: in none. */
static bool
locate(const struct map *m, struct slice key, uint64_t hash,
    struct map_table *t, size_t *at)
{
	*t = table_of(m);
	*at = t->cap > 0 ? find(m, *t, key, hash) : 0;
	if (t->cap > 0 && t->slots[*at].value)
		return true;
	if (m->old.cap == 0)
		return false;
	*t = m->old;
	*at = find(m, *t, key, hash);
	return t->slots[*at].value != NULL;
}

void *
map_get(const struct map *m, struct slice key)
{
	struct map_table t;
	size_t at;

	if (m->n == 0 || !locate(m, key, hash_bytes(key), &t, &at))
		return NULL;
	return t.slots[at].value;
}

enum nj_err
map_put(struct map *m, void *value)
{
	struct slice key = m->key_of(value);
	uint64_t hash = hash_bytes(key);
	struct map_table t;
	enum nj_err e;
	size_t at;

	if (m->n > 0 && locate(m, key, hash, &t, &at))
		return NJ_EXISTS;
	if ((m->n + 1) * 4 > m->cap * 3 &&
	    (e = rehash(m, m->cap ? m->cap * 2 : MAP_MIN)))
		return e;
	if (m->old.cap > 0)
		move_some(m, MOVE_STEP);
	insert(table_of(m), (struct map_slot){ hash, value });
	m->n++;
	return NJ_OK;
}

/* Closes the gap at i: whatever probed past it moves nearer to its home. */
static void
close_gap(struct map_table t, size_t i)
{
	size_t mask = t.cap - 1;
	size_t j = i;

	for (;;) {
		j = (j + 1) & mask;
		if (!t.slots[j].value)
			break;
		if (((j - t.slots[j].hash) & mask) < ((j - i) & mask))
			continue;
		t.slots[i] = t.slots[j];
		i = j;
	}
	t.slots[i].value = NULL;
}

void *
map_del(struct map *m, struct slice key)
{
	struct map_table t;
	void *value;
	size_t at;

	if (m->n == 0 || !locate(m, key, hash_bytes(key), &t, &at))
		return NULL;
	value = t.slots[at].value;
	close_gap(t, at);
	m->n--;
	if (m->n == 0 && m->cap + m->old.cap > MOVE_AT_ONCE)
		map_fini(m);
	else if (m->old.cap > 0)
		move_some(m, MOVE_STEP);
	/* Memory goes back after a wave of clients; failing is no harm. */
	else if (m->cap > MAP_MIN && m->n * 8 < m->cap &&
	    rehash(m, m->cap / 2) != NJ_OK)
		return value;
	return value;
}

void *
map_next(const struct map *m, size_t *at)
{
	while (*at < m->cap + m->old.cap) {
		size_t i = (*at)++;
		void *value = i < m->cap ? m->slots[i].value
					 : m->old.slots[i - m->cap].value;

		if (value)
			return value;
	}
	return NULL;
}
