/* SPDX-License-Identifier: Apache-2.0
 * The rules of a role, and who has which role and group, in their order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/roles_edit.h"
#include "base/text.h"
#include "wire/topic.h"

const char *const rule_kind_names[RULE_KINDS] = {
	"publishClientSend",
	"publishClientReceive",
	"subscribeLiteral",
	"subscribePattern",
	"unsubscribeLiteral",
	"unsubscribePattern",
};

static void
rule_fini(struct rule *u)
{
	free(u->topic);
	free(u->text);
	free(u->extra);
}

static void
rules_clear(struct rules *rules)
{
	for (uint32_t i = 0; i < rules->n; i++)
		rule_fini(&rules->v[i]);
	free(rules->v);
	ranked_free(rules->index);
	*rules = (struct rules){ 0 };
}

void
role_clear_rules(struct role *x)
{
	for (unsigned k = 0; k < RULE_KINDS; k++)
		rules_clear(&x->rules[k]);
}

struct rule *
role_find_rule(const struct role *x, enum rule_kind kind, const char *topic)
{
	const struct rules *rules = &x->rules[kind];

	for (uint32_t i = 0; i < rules->n; i++)
		if (strcmp(rules->v[i].topic, topic) == 0)
			return &rules->v[i];
	return NULL;
}

void
role_del_rule(struct role *x, enum rule_kind kind, const char *topic)
{
	struct rules *rules = &x->rules[kind];
	struct rule *u = role_find_rule(x, kind, topic);
	size_t at;

	if (!u)
		return;
	rule_fini(u);
	at = (size_t)(u - rules->v);
	memmove(u, u + 1, (--rules->n - at) * sizeof *u);
}

static enum nj_err
room_for_one(struct rules *rules)
{
	uint32_t cap = rules->cap ? rules->cap * 2 : 4;
	struct rule *v;

	if (rules->n >= ROLES_RULES_MAX)
		return NJ_FULL;
	if (rules->n < rules->cap)
		return NJ_OK;
	if (!(v = realloc(rules->v, cap * sizeof *v)))
		return NJ_NOMEM;
	rules->v = v;
	rules->cap = cap;
	return NJ_OK;
}

static char *
words(const struct role *x, enum rule_kind kind, const struct rule *u)
{
	char name[TEXT_ESC], topic[TEXT_ESC], *text;

	return asprintf(&text, "role '%s': %s %s '%s'",
		   text_esc(name, sizeof name, slice_str(x->name)),
		   rule_kind_names[kind], u->allow ? "allow" : "deny",
		   text_esc(topic, sizeof topic, slice_str(u->topic))) < 0
	    ? NULL
	    : text;
}

enum nj_err
role_add_rule(struct role *x, enum rule_kind kind, const char *topic,
    int32_t priority, bool allow, const char *extra)
{
	struct rules *rules = &x->rules[kind];
	struct rule u = { .priority = priority, .allow = allow };
	uint32_t at;
	enum nj_err e;

	if (!topic_filter_ok(slice_str(topic)))
		return NJ_INVALID;
	if ((e = room_for_one(rules)))
		return e;
	if (!(u.topic = strdup(topic)) || !(u.text = words(x, kind, &u)) ||
	    (extra && !(u.extra = strdup(extra)))) {
		rule_fini(&u);
		return NJ_NOMEM;
	}
	/* behind those of the same priority, as Mosquitto has them */
	for (at = rules->n; at > 0 && rules->v[at - 1].priority < priority;)
		at--;
	memmove(&rules->v[at + 1], &rules->v[at],
	    (rules->n - at) * sizeof rules->v[0]);
	rules->v[at] = u;
	rules->n++;
	return NJ_OK;
}

/* Grants. */

bool
grants_has(const struct grants *g, uint32_t id)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (g->v[i].id == id)
			return true;
	return false;
}

static const char *
granted_name(const struct roles *r, bool groups, uint32_t id)
{
	const struct group *g = groups ? roles_group_at(r, id) : NULL;
	const struct role *x = groups ? NULL : roles_role_at(r, id);

	return g ? g->name : x ? x->name : "";
}

/* Of an empty one or one that grows. */
static enum nj_err
make_room(struct grants *g, uint32_t n)
{
	struct grant *v;

	if (n <= GRANTS_FEW && g->cap == 0) {
		g->v = g->few;
		return NJ_OK;
	}
	if (n <= g->cap)
		return NJ_OK;
	if (!(v = malloc(n * sizeof *v)))
		return NJ_NOMEM;
	if (g->n > 0)
		memcpy(v, g->v, g->n * sizeof *v);
	if (g->cap > 0)
		free(g->v);
	g->v = v;
	g->cap = n;
	return NJ_OK;
}

enum nj_err
grants_copy(struct grants *dst, const struct grants *src)
{
	enum nj_err e;

	if (src->n == 0)
		return NJ_OK;
	if ((e = make_room(dst, src->n)))
		return e;
	memcpy(dst->v, src->v, src->n * sizeof *dst->v);
	dst->n = src->n;
	return NJ_OK;
}

enum nj_err
grants_add(const struct roles *r, struct grants *g, bool groups, uint32_t id,
    int32_t priority)
{
	const char *name = granted_name(r, groups, id);
	struct grant *v;
	uint32_t at;
	enum nj_err e;

	if (grants_has(g, id))
		return NJ_EXISTS;
	if ((e = make_room(g, g->n + 1)))
		return e;
	v = g->v;
	/* higher ones first, equal ones by name */
	for (at = g->n; at > 0; at--) {
		const struct grant *before = &v[at - 1];

		if (before->priority > priority ||
		    (before->priority == priority &&
			strcmp(granted_name(r, groups, before->id), name) < 0))
			break;
	}
	memmove(&v[at + 1], &v[at], (g->n - at) * sizeof *v);
	v[at] = (struct grant){ id, priority };
	g->n++;
	return NJ_OK;
}

bool
grants_del(struct grants *g, uint32_t id)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (g->v[i].id == id) {
			g->n--;
			memmove(&g->v[i], &g->v[i + 1],
			    (g->n - i) * sizeof g->v[0]);
			return true;
		}
	return false;
}

void
grants_clear(struct grants *g)
{
	if (g->cap > 0)
		free(g->v);
	*g = (struct grants){ 0 };
}

void
grants_move(struct grants *dst, struct grants *src)
{
	grants_clear(dst);
	*dst = *src;
	if (src->v == src->few)
		dst->v = dst->few;
	*src = (struct grants){ 0 };
}
