/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/decided.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "auth/epoch.h"

uint64_t
epoch_new(void)
{
	static atomic_ullong last;

	return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

struct answer {
	uint8_t *topic;
	const char *text;
	uint16_t len, cap;
	uint8_t what;
	bool used, may, each, firm;
};

/* Marks of the topics stand together: one that is new is mostly compared with
 * none of them. */
struct answers {
	uint64_t mark[DECIDED_WAYS];
	struct answer v[DECIDED_WAYS];
};

struct decided {
	uint64_t who, acl, roles; /* epochs; 0: none */
	struct answers *all;	  /* NULL: none yet */
	unsigned next;
};

struct decided *
decided_new(void)
{
	return calloc(1, sizeof(struct decided));
}

void
decided_free(struct decided *d)
{
	if (!d)
		return;
	for (unsigned i = 0; d->all && i < DECIDED_WAYS; i++)
		free(d->all->v[i].topic);
	free(d->all);
	free(d);
}

/* Whether there is something to be remembered under the epochs of now. */
static bool
is_current(struct decided *d, const struct asker *a)
{
	uint64_t acl = a->acl ? acl_epoch(a->acl) : 0;
	uint64_t roles = a->roles ? roles_epoch(a->roles) : 0;

	if (d->all && d->who == a->who->epoch && d->acl == acl &&
	    d->roles == roles)
		return true;
	if (!d->all && !(d->all = calloc(1, sizeof *d->all)))
		return false;
	for (unsigned i = 0; i < DECIDED_WAYS; i++)
		d->all->v[i].used = false;
	d->who = a->who->epoch;
	d->acl = acl;
	d->roles = roles;
	return true;
}

/* Topics differ in their length, in the middle or in the end. */
static uint64_t
mark_of(struct slice topic)
{
	uint64_t middle, end;

	if (topic.n < sizeof end)
		return topic.n;
	memcpy(&middle, topic.p + topic.n / 2 - sizeof end / 2, sizeof end);
	memcpy(&end, topic.p + topic.n - sizeof end, sizeof end);
	return topic.n + middle * UINT64_C(0x9fb21c651e98df25) + end;
}

static void
note(struct decided *d, enum action what, struct slice topic, uint64_t mark,
    bool may, const struct decision *why)
{
	struct answer *x = &d->all->v[d->next];
	uint8_t *copy;

	if (x->cap < topic.n) {
		if (!(copy = realloc(x->topic, topic.n)))
			return;
		x->topic = copy;
		x->cap = (uint16_t)topic.n;
	}
	memcpy(x->topic, topic.p, topic.n);
	d->all->mark[d->next] = mark;
	x->len = (uint16_t)topic.n;
	x->what = (uint8_t)what;
	x->text = why->text;
	x->may = may;
	x->each = why->each;
	x->firm = why->firm;
	x->used = true;
	d->next = (d->next + 1) % DECIDED_WAYS;
}

bool
decided_ask(struct decided *d, const struct asker *a, enum action what,
    struct slice topic, struct decision *why)
{
	uint64_t mark;
	bool may;

	/* without rules it is found out as fast as it is found */
	if (!d || !a->who || (!a->acl && !a->roles && !a->who->has_topics) ||
	    topic.n == 0 || topic.n > DECIDED_TOPIC_MAX || !is_current(d, a))
		return decide(a, what, topic, why);
	mark = mark_of(topic);
	for (unsigned i = 0; i < DECIDED_WAYS; i++) {
		const struct answer *x = &d->all->v[i];

		if (d->all->mark[i] == mark && x->used && x->len == topic.n &&
		    x->what == what &&
		    memcmp(x->topic, topic.p, topic.n) == 0) {
			*why = (struct decision){ x->text, x->each, x->firm };
			return x->may;
		}
	}
	may = decide(a, what, topic, why);
	note(d, what, topic, mark, may, why);
	return may;
}
