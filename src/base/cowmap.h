/* SPDX-License-Identifier: Apache-2.0
 * cowmap - a hash table from byte strings to counted objects that is cheap to
 *          copy: copies share what neither has changed since.
 *
 * Owns:    one reference on each value, by its cow_ops.
 * Threads: any number may read one that nobody changes; a copy may be changed
 *          while others read what it was copied from.
 * Bounds:  none of its own; about 20 bytes a value.
 */
#ifndef NJ_BASE_COWMAP_H
#define NJ_BASE_COWMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct cow_ops {
	struct slice (*key_of)(const void *value); /* must not change */
	void *(*ref)(void *value);
	void (*unref)(void *value);
};

struct cow_bucket;

/* Zeroed but for ops is a valid empty one. */
struct cowmap {
	const struct cow_ops *ops;
	struct cow_bucket **v; /* NULL: an empty one */
	uint32_t n_buckets;    /* a power of two */
	size_t n;
};

struct cow_at {
	uint32_t bucket, place;
};

void cowmap_init(struct cowmap *m, const struct cow_ops *ops);
void cowmap_fini(struct cowmap *m);
/* *dst is uninitialised before. */
NJ_MUST enum nj_err cowmap_copy(struct cowmap *dst, const struct cowmap *src);
/* Borrowed; NULL when absent. */
void *cowmap_get(const struct cowmap *m, struct slice key);
/* Takes its own reference; one of that key is replaced. */
NJ_MUST enum nj_err cowmap_put(struct cowmap *m, void *value);
/* NJ_NOTFOUND when absent. */
NJ_MUST enum nj_err cowmap_del(struct cowmap *m, struct slice key);
/* In no order; start with a zeroed *at; NULL at the end. */
void *cowmap_next(const struct cowmap *m, struct cow_at *at);
/* The same of those values that was does not have: what both share is not
 * looked at, if one is a copy of the other. */
void *cowmap_next_new(
    const struct cowmap *m, const struct cowmap *was, struct cow_at *at);

#endif
