/* SPDX-License-Identifier: Apache-2.0 */
#include "core/memo.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define LINE 64

struct memos {
	struct memo at[MEMO_TOPICS];
};

_Static_assert(sizeof(struct memo) == (size_t)3 * LINE, "three lines");
_Static_assert((MEMO_TOPICS & (MEMO_TOPICS - 1)) == 0, "a power of two");

struct memos *
memos_new(void)
{
	struct memos *ms = aligned_alloc(LINE, sizeof *ms);

	if (ms)
		memset(ms, 0, sizeof *ms);
	return ms;
}

void
memos_free(struct memos *ms)
{
	free(ms);
}

struct memo *
memo_at(struct memos *ms, struct slice topic, uint64_t *hash)
{
	if (topic.n > MEMO_TEXT)
		return NULL;
	*hash = hash_quick(topic);
	return &ms->at[*hash & (MEMO_TOPICS - 1)];
}

bool
memo_knows(
    const struct memo *e, struct slice topic, uint64_t hash, uint64_t changes)
{
	return e->hash == hash && e->changes == changes && e->len == topic.n &&
	    memcmp(e->text, topic.p, topic.n) == 0;
}

void
memo_learn(struct memo *e, struct slice topic, uint64_t hash, uint64_t changes,
    struct filter *const *v, uint32_t n)
{
	if (e->seen != hash) {
		e->seen = hash;
		return;
	}
	if (n > MEMO_FILTERS || topic.n == 0)
		return;
	e->changes = changes;
	e->hash = hash;
	e->len = (uint16_t)topic.n;
	e->n = (uint16_t)n;
	memcpy(e->text, topic.p, topic.n);
	for (uint32_t i = 0; i < n; i++)
		e->v[i] = v[i];
}
