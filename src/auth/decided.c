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

struct decided {
	uint64_t who, acl, roles; /* epochs; 0: none */
	struct answer *v;	  /* DECIDED_WAYS; NULL: none yet */
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
	for (unsigned i = 0; d->v && i < DECIDED_WAYS; i++)
		free(d->v[i].topic);
	free(d->v);
	free(d);
}

/* Whether there is something to be remembered under the epochs of now. */
static bool
is_current(struct decided *d, const struct asker *a)
{
	uint64_t acl = a->acl ? acl_epoch(a->acl) : 0;
	uint64_t roles = a->roles ? roles_epoch(a->roles) : 0;

	if (d->v && d->who == a->who->epoch && d->acl == acl &&
	    d->roles == roles)
		return true;
	if (!d->v && !(d->v = calloc(DECIDED_WAYS, sizeof *d->v)))
		return false;
	for (unsigned i = 0; i < DECIDED_WAYS; i++)
		d->v[i].used = false;
	d->who = a->who->epoch;
	d->acl = acl;
	d->roles = roles;
	return true;
}

static void
note(struct decided *d, enum action what, struct slice topic, bool may,
    const struct decision *why)
{
	struct answer *x = &d->v[d->next];
	uint8_t *copy;

	if (x->cap < topic.n) {
		if (!(copy = realloc(x->topic, topic.n)))
			return;
		x->topic = copy;
		x->cap = (uint16_t)topic.n;
	}
	memcpy(x->topic, topic.p, topic.n);
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
	bool may;

	/* without rules it is found out as fast as it is found */
	if (!d || !a->who || (!a->acl && !a->roles && !a->who->has_topics) ||
	    topic.n == 0 || topic.n > DECIDED_TOPIC_MAX || !is_current(d, a))
		return decide(a, what, topic, why);
	for (unsigned i = 0; i < DECIDED_WAYS; i++) {
		const struct answer *x = &d->v[i];

		if (x->used && x->len == topic.n && x->what == what &&
		    memcmp(x->topic, topic.p, topic.n) == 0) {
			*why = (struct decision){ x->text, x->each, x->firm };
			return x->may;
		}
	}
	may = decide(a, what, topic, why);
	note(d, what, topic, may, why);
	return may;
}
