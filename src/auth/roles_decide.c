/* SPDX-License-Identifier: Apache-2.0
 * What users, groups and roles allow, and whom they let in.
 */
#include <assert.h>
#include <string.h>

#include "auth/roles_edit.h"
#include "base/hash.h"
#include "wire/topic.h"

/* One question on its way through the roles. */
struct question {
	struct ranked_who who;
	enum roles_action what;
	struct slice topic;  /* the filter in a shared one */
	struct slice shared; /* the whole; empty: it is not shared */
	bool wildcard;	     /* a subscription has one */
	const char **rule;
};

static enum roles_answer
say(const struct question *q, const struct ranked *rules, uint32_t at)
{
	const struct ranked_note *x = ranked_note(rules, at);

	*q->rule = x->text;
	return x->allow ? ROLES_ALLOW : ROLES_DENY;
}

static enum roles_answer
of_topic(const struct question *q, const struct ranked *rules)
{
	uint32_t at = ranked_match(rules, &q->who, q->topic);

	return at == RANKED_NONE ? ROLES_DEFER : say(q, rules, at);
}

static uint32_t
first_of(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* What is written literally goes before patterns, whatever the priorities. */
static enum roles_answer
of_filter(const struct question *q, const struct rules *literal,
    const struct rules *pattern)
{
	uint32_t at = ranked_exact(literal->index, q->topic);

	if (q->shared.n)
		at = first_of(at, ranked_exact(literal->index, q->shared));
	if (at != RANKED_NONE)
		return say(q, literal->index, at);
	at = ranked_covers(pattern->index, &q->who, q->topic);
	if (q->shared.n)
		at = first_of(
		    at, ranked_covers(pattern->index, &q->who, q->shared));
	return at == RANKED_NONE ? ROLES_DEFER : say(q, pattern->index, at);
}

/* Of a subscription, or the end of one. */
static enum roles_answer
of_role(const struct question *q, const struct role *x)
{
	if (q->what == ROLES_UNSUBSCRIBE)
		return of_filter(q, &x->rules[RULE_UNSUB_LITERAL],
		    &x->rules[RULE_UNSUB_PATTERN]);
	if (x->no_wildcard_subs && q->wildcard) {
		*q->rule = "a role has allowwildcardsubs false";
		return ROLES_DENY;
	}
	return of_filter(
	    q, &x->rules[RULE_SUB_LITERAL], &x->rules[RULE_SUB_PATTERN]);
}

static const struct ranked *
asked_at(const struct roles *r, enum roles_action what, uint32_t id)
{
	if (id >= r->cap_asked)
		return NULL;
	return what == ROLES_PUBLISH ? r->asked[id].send : r->asked[id].receive;
}

static bool
is_topic(enum roles_action what)
{
	return what == ROLES_PUBLISH || what == ROLES_RECEIVE;
}

static enum roles_answer
of_roles(
    const struct roles *r, const struct question *q, const struct grants *g)
{
	enum roles_answer a = ROLES_DEFER;

	for (uint32_t i = 0; i < g->n && a == ROLES_DEFER; i++) {
		const struct role *x;

		if (is_topic(q->what))
			a = of_topic(q, asked_at(r, q->what, g->v[i].id));
		else if ((x = roles_role_at(r, g->v[i].id)))
			a = of_role(q, x);
	}
	return a;
}

/* Memory that is not in the processor's caches is what a question costs, and
 * each role is several steps from one place to the next.  So what all roles
 * need is fetched side by side, one step of all before the next of any. */

/* Of each of so many, which bounds what is fetched in vain. */
#define AHEAD 8

static uint32_t
ahead(const struct grants *g)
{
	return g->n < AHEAD ? g->n : AHEAD;
}

static void
fetch_roles(
    const struct roles *r, const struct grants *g, enum roles_action what)
{
	for (uint32_t i = 0; i < ahead(g); i++)
		if (is_topic(what))
			__builtin_prefetch(asked_at(r, what, g->v[i].id));
		else
			__builtin_prefetch(roles_role_at(r, g->v[i].id));
}

static void
fetch(const struct roles *r, const struct user *u, enum roles_action what)
{
	for (uint32_t i = 0; i < ahead(&u->groups); i++)
		__builtin_prefetch(roles_group_at(r, u->groups.v[i].id));
	fetch_roles(r, &u->roles, what);
	for (uint32_t i = 0; i < ahead(&u->groups); i++) {
		const struct group *x = roles_group_at(r, u->groups.v[i].id);

		if (x)
			fetch_roles(r, &x->roles, what);
	}
}

static enum roles_answer
of_user(const struct roles *r, const struct question *q, const struct user *u)
{
	enum roles_answer a;

	fetch(r, u, q->what);
	a = of_roles(r, q, &u->roles);

	for (uint32_t i = 0; i < u->groups.n && a == ROLES_DEFER; i++) {
		const struct group *g = roles_group_at(r, u->groups.v[i].id);

		if (g)
			a = of_roles(r, q, &g->roles);
	}
	return a;
}

/* The next of the groups from elsewhere that there is here; NULL: no more. */
static const struct group *
next_group(const struct roles *r, struct slice *names)
{
	const struct group *g = NULL;

	while (!g && names->n > 0) {
		const uint8_t *end = memchr(names->p, '\n', names->n);
		size_t n = end ? (size_t)(end - names->p) : names->n;

		g = roles_group(r, slice_of(names->p, n));
		n += end != NULL;
		*names = slice_of(names->p + n, names->n - n);
	}
	return g;
}

/* *any: there is one of them here. */
static enum roles_answer
of_groups(const struct roles *r, const struct question *q, struct slice names,
    bool *any)
{
	enum roles_answer a = ROLES_DEFER;
	const struct group *g;

	while (a == ROLES_DEFER && (g = next_group(r, &names))) {
		*any = true;
		a = of_roles(r, q, &g->roles);
	}
	return a;
}

static enum roles_answer
of_default(const struct roles *r, const struct question *q)
{
	static const char *const yes[ROLES_ACTIONS] = {
		"defaultACLAccess publishClientSend allows it",
		"defaultACLAccess publishClientReceive allows it",
		"defaultACLAccess subscribe allows it",
		"defaultACLAccess unsubscribe allows it",
	};
	static const char *const no[ROLES_ACTIONS] = {
		"no role allows it, nor does defaultACLAccess "
		"publishClientSend",
		"no role allows it, nor does defaultACLAccess "
		"publishClientReceive",
		"no role allows it, nor does defaultACLAccess subscribe",
		"no role allows it, nor does defaultACLAccess unsubscribe",
	};

	assert((unsigned)q->what < sizeof no / sizeof *no);
	if (!r->by_default[q->what]) {
		*q->rule = no[q->what];
		return ROLES_DEFER;
	}
	/* these are never granted by default */
	if (slice_has_prefix(q->topic, LIT("$CONTROL"))) {
		*q->rule = "no role allows it, and $CONTROL is never allowed "
			   "by default";
		return ROLES_DEFER;
	}
	*q->rule = yes[q->what];
	return ROLES_ALLOW;
}

static bool
has_wildcard(struct slice s)
{
	return s.n > 0 &&
	    (memchr(s.p, '+', s.n) != NULL || memchr(s.p, '#', s.n) != NULL);
}

enum roles_answer
roles_decide(const struct roles *r, const struct roles_asker *who,
    enum roles_action what, struct slice topic, const char **rule)
{
	bool filter = what == ROLES_SUBSCRIBE || what == ROLES_UNSUBSCRIBE;
	struct question q = {
		.who = { who->user, who->client_id },
		.what = what,
		.topic = topic,
		.wildcard = filter && has_wildcard(topic),
		.rule = rule,
	};
	struct slice group;
	const struct user *u = NULL;
	enum roles_answer a = ROLES_DEFER;
	bool known = true;

	if (filter && topic_share(topic, &group, &q.topic) == NJ_OK)
		q.shared = topic;
	else
		q.topic = topic;
	if (who->user.n > 0) {
		known = (u = roles_user(r, who->user)) != NULL;
		a = u ? of_user(r, &q, u) : ROLES_DEFER;
	} else if (r->anonymous) {
		a = of_roles(r, &q, &r->anonymous->roles);
	}
	if (a == ROLES_DEFER)
		a = of_groups(r, &q, who->groups, &known);
	if (!known) {
		*rule = "dynamic security does not know this user";
		return ROLES_DEFER;
	}
	return a == ROLES_DEFER ? of_default(r, &q) : a;
}

/* None of them says anything about what may be received. */
static bool
all_silent(const struct roles *r, const struct grants *g)
{
	for (uint32_t i = 0; i < g->n; i++) {
		const struct role *x = roles_role_at(r, g->v[i].id);

		if (x && x->rules[RULE_RECEIVE].n > 0)
			return false;
	}
	return true;
}

bool
roles_reads_all(const struct roles *r, const struct roles_asker *who)
{
	struct slice names = who->groups;
	const struct user *u = NULL;
	const struct group *g;

	if (!r->by_default[ROLES_RECEIVE])
		return false;
	if (who->user.n == 0 && r->anonymous &&
	    !all_silent(r, &r->anonymous->roles))
		return false;
	if (who->user.n > 0 && (u = roles_user(r, who->user)) &&
	    !all_silent(r, &u->roles))
		return false;
	for (uint32_t i = 0; u && i < u->groups.n; i++) {
		g = roles_group_at(r, u->groups.v[i].id);
		if (g && !all_silent(r, &g->roles))
			return false;
	}
	/* whom nothing here knows the default is not for */
	if (who->user.n > 0 && !u && !next_group(r, &names))
		return false;
	for (names = who->groups; (g = next_group(r, &names));)
		if (!all_silent(r, &g->roles))
			return false;
	return true;
}

static bool
same_roles(const struct roles *a, const struct roles *b, const struct grants *g)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (roles_role_at(a, g->v[i].id) !=
		    roles_role_at(b, g->v[i].id))
			return false;
	return true;
}

static bool
same_group(const struct roles *a, const struct roles *b, const struct group *x,
    const struct group *y)
{
	return x == y && (!x || same_roles(a, b, &x->roles));
}

/* Those from elsewhere, by their names. */
static bool
same_groups(const struct roles *a, const struct roles *b, struct slice names)
{
	struct slice others = names;
	const struct group *x, *y;

	do {
		x = next_group(a, &names);
		y = next_group(b, &others);
		if (!same_group(a, b, x, y))
			return false;
	} while (x);
	return true;
}

bool
roles_same_for(
    const struct roles *a, const struct roles *b, const struct roles_asker *who)
{
	const struct user *u;

	if (memcmp(a->by_default, b->by_default, sizeof a->by_default) != 0 ||
	    !same_groups(a, b, who->groups))
		return false;
	if (who->user.n == 0)
		return same_group(a, b, a->anonymous, b->anonymous);
	/* what is as it was is the same object */
	if ((u = roles_user(a, who->user)) != roles_user(b, who->user))
		return false;
	if (!u)
		return true;
	for (uint32_t i = 0; i < u->groups.n; i++)
		if (!same_group(a, b, roles_group_at(a, u->groups.v[i].id),
			roles_group_at(b, u->groups.v[i].id)))
			return false;
	return same_roles(a, b, &u->roles);
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool
roles_must_end(
    const struct roles *before, const struct roles *now, struct slice user)
{
	const struct user *a = user.n ? roles_user(before, user) : NULL;
	const struct user *b = user.n ? roles_user(now, user) : NULL;

	if (!a) /* it came in otherwise */
		return b && b->disabled;
	return a != b &&
	    (!b || (b->disabled && !a->disabled) ||
		!same_text(a->password, b->password) ||
		!same_text(a->client_id, b->client_id));
}

enum roles_login
roles_login(
    const struct roles *r, const struct roles_asker *who, const char **hash)
{
	const struct user *u = roles_user(r, who->user);

	if (!u)
		return ROLES_UNKNOWN;
	if (hash)
		*hash = u->password;
	if (u->disabled)
		return ROLES_DISABLED;
	if (u->client_id && !slice_is(who->client_id, u->client_id))
		return ROLES_OTHER_ID;
	return hash && !u->password ? ROLES_UNKNOWN : ROLES_MAY;
}

uint64_t
roles_proof(const struct roles *r, struct slice user)
{
	const struct user *u = roles_user(r, user);

	/* its salt makes it one of its own */
	return u && u->password ? hash_bytes(slice_str(u->password)) | 1 : 0;
}
