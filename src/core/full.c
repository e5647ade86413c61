/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/full.h"

static void
mark(struct session *s, unsigned by)
{
	struct filter *f;
	uint32_t at = 0;

	while (subs_next(&s->subs, &at, &f))
		atomic_fetch_add_explicit(
		    &filter_targets_of(f, s->home->shard)->full, by,
		    memory_order_relaxed);
}

static bool
is_full(const struct session *s)
{
	const struct session_limits *lim = &s->home->limits;

	return (lim->max_queued && session_queued(s) >= lim->max_queued) ||
	    (lim->max_queued_bytes &&
		session_queued_bytes(s) >= lim->max_queued_bytes);
}

void
full_check(struct session *s)
{
	bool full = s->home->limits.drop_policy == DROP_REFUSE && is_full(s);

	if (full == s->full)
		return;
	s->full = full;
	mark(s, full ? 1 : -1u);
}

void
full_forget(struct session *s)
{
	if (s->full)
		mark(s, -1u);
	s->full = false;
}

bool
filter_full(const struct filter *f)
{
	for (struct targets *t = filter_targets(f); t;
	     t = atomic_load_explicit(&t->next, memory_order_acquire))
		if (atomic_load_explicit(&t->full, memory_order_relaxed) > 0)
			return true;
	return false;
}
