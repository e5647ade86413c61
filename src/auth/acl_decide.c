/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose rules are asked, and in which order: a user's own, his groups' by
 * priority, patterns; in each tier first what denies.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/acl_impl.h"

/* The groups of one priority are a tier. */
struct tiers {
	const struct acl_rules *own;
	const struct acl_group *groups[ACL_ASKED_GROUPS];
	uint32_t n_groups;
	const struct acl_rules *patterns;
	bool too_many;
};

static const char by_default[] = "no rule of the acl_file allows it";
static const char too_many_groups[] =
    "its user is in more groups than can be asked";

static bool
has_wildcard(struct slice s)
{
	return s.n > 0 &&
	    (memchr(s.p, '+', s.n) != NULL || memchr(s.p, '#', s.n) != NULL);
}

/* In its place by priority, once. */
static void
add_group(struct tiers *t, const struct acl_group *g)
{
	uint32_t i = t->n_groups;

	for (uint32_t k = 0; k < t->n_groups; k++)
		if (t->groups[k] == g)
			return;
	if (t->n_groups == ACL_ASKED_GROUPS) {
		t->too_many = true;
		return;
	}
	for (; i > 0 && t->groups[i - 1]->priority < g->priority; i--)
		t->groups[i] = t->groups[i - 1];
	t->groups[i] = g;
	t->n_groups++;
}

static void
add_groups(struct tiers *t, const struct acl *a, struct slice names)
{
	while (names.n > 0) {
		const uint8_t *end = memchr(names.p, '\n', names.n);
		size_t n = end ? (size_t)(end - names.p) : names.n;
		const struct acl_group *g =
		    map_get(&a->groups, slice_of(names.p, n));

		if (g)
			add_group(t, g);
		n += end != NULL;
		names = slice_of(names.p + n, names.n - n);
	}
}

static void
find_tiers(const struct acl *a, const struct acl_asker *who, struct tiers *t)
{
	const struct acl_user *u =
	    who->user.n ? map_get(&a->users, who->user) : NULL;

	t->own = u ? &u->rules : who->user.n ? NULL : &a->nobody;
	/* names that are wildcards must not become part of a filter */
	t->patterns = has_wildcard(who->user) || has_wildcard(who->client_id)
	    ? NULL
	    : &a->patterns;
	t->n_groups = 0;
	t->too_many = false;
	if (a->groups.n == 0)
		return;
	for (uint32_t i = 0; u && i < u->n_groups; i++)
		add_group(t, u->groups[i]);
	add_groups(t, a, who->groups);
}

/* The lists of one tier, from *at on. */
static bool
next_tier(const struct tiers *t, uint32_t *at, const struct acl_rules **lists,
    uint32_t *n)
{
	uint32_t g = *at;

	*n = 0;
	if (g == 0) {
		*at = 1;
		lists[(*n)++] = t->own;
		return true;
	}
	if (g <= t->n_groups) {
		int32_t priority = t->groups[g - 1]->priority;

		for (;
		     g <= t->n_groups && t->groups[g - 1]->priority == priority;
		     g++)
			lists[(*n)++] = &t->groups[g - 1]->rules;
		*at = g;
		return true;
	}
	if (g > t->n_groups + 1)
		return false;
	*at = g + 1;
	lists[(*n)++] = t->patterns;
	return true;
}

static const struct acl_rule *
first_of_tier(const struct acl_ask *q, const struct acl_rules *const *lists,
    uint32_t n, enum acl_how how, struct slice s)
{
	const struct acl_rule *r = NULL;

	for (uint32_t i = 0; !r && i < n; i++)
		if (lists[i])
			r = acl_first(q, lists[i], how, s);
	return r;
}

bool
acl_allows(const struct acl *a, const struct acl_asker *who, bool write,
    struct slice topic, const char **rule)
{
	const struct acl_rules *lists[ACL_ASKED_GROUPS];
	struct acl_ask q = {
		.acl = a,
		.who = who,
		.access = write ? ACL_WRITE : ACL_READ,
	};
	const struct acl_rule *r;
	uint32_t at = 0, n;
	struct tiers t;

	find_tiers(a, who, &t);
	*rule = t.too_many ? too_many_groups : by_default;
	while (!t.too_many && next_tier(&t, &at, lists, &n)) {
		q.denies = true;
		if (!(r = first_of_tier(&q, lists, n, ACL_MATCHES, topic))) {
			q.denies = false;
			r = first_of_tier(&q, lists, n, ACL_MATCHES, topic);
		}
		if (!r)
			continue;
		*rule = acl_rule_text(r);
		return !q.denies;
	}
	return false;
}

enum acl_cover
acl_covers(const struct acl *a, const struct acl_asker *who,
    struct slice filter, const char **rule)
{
	const struct acl_rules *lists[ACL_ASKED_GROUPS];
	struct acl_ask q = { .acl = a, .who = who, .access = ACL_READ };
	bool some = false, doubt = false;
	const struct acl_rule *r;
	uint32_t at = 0, n;
	struct tiers t;

	find_tiers(a, who, &t);
	*rule = t.too_many ? too_many_groups : by_default;
	while (!t.too_many && next_tier(&t, &at, lists, &n)) {
		q.denies = true;
		if ((r = first_of_tier(&q, lists, n, ACL_INCLUDES, filter))) {
			*rule = acl_rule_text(r);
			return some ? ACL_SOME : ACL_NEVER;
		}
		if ((r = first_of_tier(&q, lists, n, ACL_OVERLAPS, filter))) {
			*rule = acl_rule_text(r);
			doubt = true;
		}
		q.denies = false;
		if (!doubt &&
		    (r = first_of_tier(&q, lists, n, ACL_INCLUDES, filter))) {
			*rule = acl_rule_text(r);
			return ACL_ALWAYS;
		}
		if (!some &&
		    (r = first_of_tier(&q, lists, n, ACL_OVERLAPS, filter))) {
			*rule = acl_rule_text(r);
			some = true;
		}
	}
	return some ? ACL_SOME : ACL_NEVER;
}
