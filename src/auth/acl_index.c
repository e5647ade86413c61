/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules compiled: those that match alike but for their filters become a set
 * (ranked.h), and what no set can have is compared one by one: patterns with a
 * name in a level with other text, and those with a name that deny, because a
 * name that does not fit makes them deny everything.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/acl_impl.h"
#include "wire/topic.h"

/* A pattern with the names in it; what would be longer is as what cannot be
 * filled in. */
#define FILLED_MAX 4096

/* Compiling. */

struct plan {
	struct acl_rules *l;
	uint32_t cap_sets;
	struct slice *filters; /* of the set that is being made */
};

static bool
is_loose(const struct acl_rule *r)
{
	return (r->names & (ACL_NAMES_PARTS | ACL_NAMES_LITERAL)) ||
	    (r->names && r->denies);
}

static bool
belongs(const struct acl_set *s, const struct acl_rule *r)
{
	return !is_loose(r) && r->scope == s->scope && r->names == s->names &&
	    ((s->denies ? r->denies : r->allows) & s->access);
}

/* The set that a rule belongs to for one access; made when it is the first. */
static enum nj_err
plan_set(struct plan *p, const struct acl_rule *r, uint8_t access, bool denies)
{
	struct acl_rules *l = p->l;
	struct acl_set s = {
		.scope = r->scope,
		.names = r->names,
		.access = access,
		.denies = denies,
	};

	for (uint32_t i = 0; i < l->n_sets; i++) {
		struct acl_set *x = &l->sets[i];

		if (x->scope == s.scope && x->names == s.names &&
		    x->access == access && x->denies == denies) {
			x->n++;
			return NJ_OK;
		}
	}
	if (l->n_sets == p->cap_sets) {
		uint32_t cap = p->cap_sets ? p->cap_sets * 2 : 4;
		struct acl_set *v = realloc(l->sets, cap * sizeof *v);

		if (!v)
			return NJ_NOMEM;
		l->sets = v;
		p->cap_sets = cap;
	}
	s.n = 1;
	l->sets[l->n_sets++] = s;
	return NJ_OK;
}

static enum nj_err
plan_rule(struct plan *p, const struct acl_rule *r)
{
	enum nj_err e = NJ_OK;

	for (uint8_t access = ACL_READ; !e && access <= ACL_WRITE; access++) {
		if (r->denies & access)
			e = plan_set(p, r, access, true);
		else if (r->allows & access)
			e = plan_set(p, r, access, false);
	}
	return e;
}

static enum nj_err
make_set(struct plan *p, struct acl_set *s)
{
	const struct acl_rules *l = p->l;
	uint32_t n = 0;

	if (!(s->at = malloc(s->n * sizeof *s->at)))
		return NJ_NOMEM;
	for (uint32_t i = 0; i < l->n; i++) {
		const struct acl_rule *r = l->v[i];

		if (!belongs(s, r))
			continue;
		p->filters[n] = slice_of(r->filter, r->len);
		s->at[n++] = i;
	}
	return ranked_new(p->filters, NULL, n, &s->ranked);
}

/* What denies comes to the front; else the order stays. */
static enum nj_err
deny_first(struct acl_rules *l)
{
	struct acl_rule **v;
	uint32_t deny = 0, allow = l->n_deny;

	if (l->n_deny == 0 || l->n_deny == l->n)
		return NJ_OK;
	if (!(v = malloc(l->n * sizeof(*v))))
		return NJ_NOMEM;
	for (uint32_t i = 0; i < l->n; i++)
		v[l->v[i]->denies ? deny++ : allow++] = l->v[i];
	free(l->v);
	l->v = v;
	l->cap = l->n;
	return NJ_OK;
}

static enum nj_err
compile_list(struct acl_rules *l)
{
	struct plan p = { .l = l };
	enum nj_err e = deny_first(l);

	if (e || l->n <= ACL_FEW)
		return e;
	if (!(p.filters = malloc(l->n * sizeof *p.filters)) ||
	    !(l->loose = malloc(l->n * sizeof *l->loose))) {
		free(p.filters);
		return NJ_NOMEM;
	}
	for (uint32_t i = 0; !e && i < l->n; i++) {
		if (is_loose(l->v[i]))
			l->loose[l->n_loose++] = i;
		else
			e = plan_rule(&p, l->v[i]);
	}
	for (uint32_t i = 0; !e && i < l->n_sets; i++)
		e = make_set(&p, &l->sets[i]);
	free(p.filters);
	return e;
}

void
acl_sets_free(struct acl_rules *l)
{
	for (uint32_t i = 0; i < l->n_sets; i++) {
		free(l->sets[i].at);
		ranked_free(l->sets[i].ranked);
	}
	free(l->sets);
	free(l->loose);
}

enum nj_err
acl_compile(struct acl *a)
{
	struct acl_group *g;
	struct acl_user *u;
	size_t at = 0;
	enum nj_err e;

	if ((e = compile_list(&a->nobody)) || (e = compile_list(&a->patterns)))
		return e;
	while (!e && (u = map_next(&a->users, &at)))
		e = compile_list(&u->rules);
	at = 0;
	while (!e && (g = map_next(&a->groups, &at)))
		e = compile_list(&g->rules);
	return e;
}

/* Asking. */

static bool
has_line(const char *list, struct slice s)
{
	size_t n;

	for (; *list; list += n + 1) {
		n = strcspn(list, "\n");
		if (slice_eq(slice_of(list, n), s))
			return true;
	}
	return false;
}

/* "127.0.0.1:8883" is what it says, and 8883. */
static bool
is_listener(const char *list, struct slice s)
{
	const uint8_t *colon = s.p && s.n ? memrchr(s.p, ':', s.n) : NULL;

	if (slice_has_prefix(s, LIT("unix ")))
		s = slice_of(s.p + 5, s.n - 5);
	else if (colon &&
	    has_line(
		list, slice_of(colon + 1, (size_t)(s.p + s.n - colon) - 1)))
		return true;
	return has_line(list, s);
}

static bool
holds_here(const struct acl_ask *q, uint16_t scope)
{
	const struct acl_scope *s = &q->acl->scopes[scope];
	bool in = s->n_nets == 0;

	if (scope == 0)
		return true;
	if (s->listeners && !is_listener(s->listeners, q->who->listener))
		return false;
	if (!in && !q->who->address)
		return q->denies;
	for (uint32_t i = 0; !in && i < s->n_nets; i++)
		in = cidr_has(&s->nets[i], q->who->address);
	return in;
}

enum fill {
	FILL_OK,
	FILL_NO_NAME, /* the client has none */
	FILL_UNFIT    /* its name cannot stand in a level */
};

/* The pattern with the names in it, in dst. */
static enum fill
fill_in(const struct acl_rule *r, const struct acl_asker *who, uint8_t *dst,
    struct slice *out)
{
	size_t n = 0;

	for (size_t i = 0; i < r->len; i++) {
		struct slice name;

		if (r->filter[i] != '%' || i + 1 == r->len ||
		    (r->filter[i + 1] != 'c' && r->filter[i + 1] != 'u')) {
			if (n == FILLED_MAX)
				return FILL_UNFIT;
			dst[n++] = r->filter[i];
			continue;
		}
		name = r->filter[++i] == 'c' ? who->client_id : who->user;
		if (name.n == 0)
			return FILL_NO_NAME;
		/* nor may it make a $ topic of what was none */
		if (memchr(name.p, '/', name.n) || n + name.n > FILLED_MAX ||
		    (n == 0 && name.p[0] == '$'))
			return FILL_UNFIT;
		memcpy(dst + n, name.p, name.n);
		n += name.n;
	}
	*out = slice_of(dst, n);
	return FILL_OK;
}

/* Whether all that matches b matches a. */
static bool
includes(struct slice a, struct slice b)
{
	bool more_a = true, more_b = true;
	struct slice x, y;

	/* a wildcard in front matches no $ topic */
	if (a.n && b.n && (a.p[0] == '+' || a.p[0] == '#') && b.p[0] == '$')
		return false;
	for (;;) {
		bool has_a = topic_next(&a, &more_a, &x);
		bool has_b = topic_next(&b, &more_b, &y);

		if (has_a && slice_is(x, "#"))
			return true;
		if (!has_a || !has_b)
			return has_a == has_b;
		if (slice_is(y, "#"))
			return false;
		if (!slice_is(x, "+") && !slice_eq(x, y))
			return false;
	}
}

static bool
compare(enum acl_how how, struct slice filter, struct slice s)
{
	switch (how) {
	case ACL_MATCHES:
		return topic_matches(filter, s);
	case ACL_INCLUDES:
		return includes(filter, s);
	default:
		return topic_filters_overlap(filter, s);
	}
}

static bool
applies(const struct acl_ask *q, const struct acl_rule *r, enum acl_how how,
    struct slice s)
{
	uint8_t filled[FILLED_MAX];
	struct slice filter = slice_of(r->filter, r->len);

	if (!((q->denies ? r->denies : r->allows) & q->access) ||
	    !holds_here(q, r->scope))
		return false;
	if (!r->names || (r->names & ACL_NAMES_LITERAL))
		return compare(how, filter, s);
	switch (fill_in(r, q->who, filled, &filter)) {
	case FILL_OK:
		return compare(how, filter, s);
	case FILL_UNFIT:
		/* a name may not get round what denies */
		return r->denies && compare(how, LIT("#"), s);
	default:
		return false;
	}
}

static bool
fits_level(struct slice name)
{
	return name.n > 0 && !memchr(name.p, '/', name.n);
}

static bool
set_counts(const struct acl_ask *q, const struct acl_set *s)
{
	return s->access == q->access && s->denies == q->denies &&
	    (!(s->names & ACL_NAMES_CLIENT) || fits_level(q->who->client_id)) &&
	    (!(s->names & ACL_NAMES_USER) || fits_level(q->who->user)) &&
	    holds_here(q, s->scope);
}

static uint32_t
ask_set(const struct acl_set *s, const struct ranked_who *who, enum acl_how how,
    struct slice what)
{
	uint32_t rank = how == ACL_MATCHES ? ranked_match(s->ranked, who, what)
	    : how == ACL_INCLUDES	   ? ranked_covers(s->ranked, who, what)
				  : ranked_overlaps(s->ranked, who, what);

	return rank == RANKED_NONE ? RANKED_NONE : s->at[rank];
}

static const struct acl_rule *
first_of_sets(const struct acl_ask *q, const struct acl_rules *l,
    enum acl_how how, struct slice s)
{
	struct ranked_who who = { q->who->user, q->who->client_id };
	uint32_t best = RANKED_NONE;

	for (uint32_t i = 0; i < l->n_sets; i++) {
		uint32_t at = set_counts(q, &l->sets[i])
		    ? ask_set(&l->sets[i], &who, how, s)
		    : RANKED_NONE;

		if (at < best)
			best = at;
	}
	for (uint32_t i = 0; i < l->n_loose && l->loose[i] < best; i++)
		if (applies(q, l->v[l->loose[i]], how, s))
			best = l->loose[i];
	return best == RANKED_NONE ? NULL : l->v[best];
}

const struct acl_rule *
acl_first(const struct acl_ask *q, const struct acl_rules *l, enum acl_how how,
    struct slice s)
{
	uint32_t from = q->denies ? 0 : l->n_deny;
	uint32_t to = q->denies ? l->n_deny : l->n;

	if (from == to)
		return NULL;
	if (l->n > ACL_FEW)
		return first_of_sets(q, l, how, s);
	for (uint32_t i = from; i < to; i++)
		if (applies(q, l->v[i], how, s))
			return l->v[i];
	return NULL;
}
