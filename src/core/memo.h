/* SPDX-License-Identifier: Apache-2.0
 * memo - what the last topics matched, so that a topic published again and
 *        again is not walked again and again.
 *
 * A direct-mapped table, stamped with the index's count of changes: while no
 * filter comes or goes, an entry tells the truth.  A topic is written down
 * when it is seen twice in a row in its place, so that one-off topics cost a
 * word, not an entry.
 *
 * Filters: an entry's pointers are only used while the count has not moved.
 *          A filter is retired after the count moved, and is not freed before
 *          this reader's next quiescent state; so a reader that still sees
 *          the old count may use them.
 *
 * Owns:    its table; filters are the index's.
 * Threads: one owner.
 * Bounds:  MEMO_TOPICS entries; longer topics and more filters than an entry
 *          has room for are not kept.
 */
#ifndef NJ_CORE_MEMO_H
#define NJ_CORE_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define MEMO_TOPICS  1024
#define MEMO_TEXT    96
#define MEMO_FILTERS 8

struct filter;

/* Three cache lines, of which a short topic with few filters reads two. */
struct memo {
	uint64_t changes; /* 0: empty */
	uint64_t hash;
	uint64_t seen; /* hash of the last topic that was not the entry's */
	uint16_t len, n;
	struct filter *v[MEMO_FILTERS];
	uint8_t text[MEMO_TEXT];
};

struct memos;

struct memos *memos_new(void); /* NULL without memory */
void memos_free(struct memos *ms);
/* The topic's place, and its hash; NULL when it is too long to be kept. */
struct memo *memo_at(struct memos *ms, struct slice topic, uint64_t *hash);
/* Whether the entry holds this topic's filters, as of that many changes. */
bool memo_knows(
    const struct memo *e, struct slice topic, uint64_t hash, uint64_t changes);
/* changes as they were before the walk that found v. */
void memo_learn(struct memo *e, struct slice topic, uint64_t hash,
    uint64_t changes, struct filter *const *v, uint32_t n);

#endif
