/* SPDX-License-Identifier: Apache-2.0
 * map - a hash table from byte strings to pointers.
 *
 * Owns:    its slots only; values stay the caller's, and so do keys: the key
 *          of a value is read through key_of and must not change while it is
 *          in the table.
 * Threads: one owner.
 * Bounds:  none of its own; 16 bytes a slot, at most 3/4 full.
 * Cost:    a large table that grows or shrinks moves a little with each change,
 *          so that none of them takes long.
 */
#ifndef NJ_BASE_MAP_H
#define NJ_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

typedef struct slice map_key_fn(const void *value);

struct map_slot {
	uint64_t hash;
	void *value; /* NULL: empty */
};

struct map_table {
	struct map_slot *slots;
	size_t cap; /* 0, or a power of two */
};

/* Zeroed but for key_of is a valid empty table. */
struct map {
	map_key_fn *key_of;
	struct map_slot *slots;
	size_t n, cap;
	/* what it was before, while it is emptied; cap 0: nothing */
	struct map_table old;
	size_t old_at, old_left; /* slots: the next, and how many */
};

void map_init(struct map *m, map_key_fn *key_of);
void map_fini(struct map *m);
/* NULL when absent. */
void *map_get(const struct map *m, struct slice key);
/* NJ_EXISTS when the key is there already. */
NJ_MUST enum nj_err map_put(struct map *m, void *value);
/* The removed value, or NULL. */
void *map_del(struct map *m, struct slice key);
/* Start with *at = 0; NULL at the end.  The table must not change between. */
void *map_next(const struct map *m, size_t *at);

#endif
