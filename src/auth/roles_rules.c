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

/* From so many rules on a topic is looked up and not looked for. */
#define MANY 16

static void
rule_unref(struct rule *u)
{
	if (!u ||
	    atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(u->text);
	free(u->extra);
	free(u);
}

static void
forget_topics(struct rules *rules)
{
	if (rules->topics)
		map_fini(rules->topics);
	free(rules->topics);
	rules->topics = NULL;
	rules->twins = false;
}

static void
rules_clear(struct rules *rules)
{
	for (uint32_t i = 0; i < rules->n; i++)
		rule_unref(rules->v[i]);
	free(rules->v);
	forget_topics(rules);
	ranked_free(rules->index);
	*rules = (struct rules){ 0 };
}

void
role_clear_rules(struct role *x)
{
	for (unsigned k = 0; k < RULE_KINDS; k++)
		rules_clear(&x->rules[k]);
}

size_t
role_count_rules(const struct role *x)
{
	size_t n = 0;

	for (unsigned k = 0; k < RULE_KINDS; k++)
		n += x->rules[k].n;
	return n;
}

static struct slice
topic_key(const void *v)
{
	return slice_str(((const struct rule *)v)->topic);
}

/* Without memory they are looked for one by one. */
static void
learn_topics(struct rules *rules)
{
	struct map *m = malloc(sizeof *m);
	enum nj_err e = NJ_OK;

	if (!m)
		return;
	map_init(m, topic_key);
	rules->topics = m;
	/* a topic that stands there twice is its first one's */
	for (uint32_t i = 0; i < rules->n && !e; i++)
		if ((e = map_put(m, rules->v[i])) == NJ_EXISTS) {
			rules->twins = true;
			e = NJ_OK;
		}
	if (e)
		forget_topics(rules);
}

const struct rule *
role_find_rule(struct role *x, enum rule_kind kind, const char *topic)
{
	struct rules *rules = &x->rules[kind];

	if (!rules->topics && rules->n >= MANY)
		learn_topics(rules);
	if (rules->topics)
		return map_get(rules->topics, slice_str(topic));
	for (uint32_t i = 0; i < rules->n; i++)
		if (strcmp(rules->v[i]->topic, topic) == 0)
			return rules->v[i];
	return NULL;
}

void
role_del_rule(struct role *x, enum rule_kind kind, const char *topic)
{
	struct rules *rules = &x->rules[kind];
	const struct rule *u = role_find_rule(x, kind, topic);
	uint32_t at = 0;

	if (!u)
		return;
	while (rules->v[at] != u)
		at++;
	if (rules->topics)
		(void)map_del(rules->topics, slice_str(topic));
	rule_unref(rules->v[at]);
	memmove(&rules->v[at], &rules->v[at + 1],
	    (--rules->n - at) * sizeof(*rules->v));
	/* the same once more, by createRole */
	for (uint32_t i = at; rules->twins && i < rules->n; i++)
		if (strcmp(rules->v[i]->topic, topic) == 0) {
			forget_topics(rules);
			break;
		}
}

static enum nj_err
room_for_one(struct rules *rules)
{
	uint32_t cap = rules->cap ? rules->cap * 2 : 4;
	struct rule **v;

	if (rules->n >= ROLES_RULES_MAX)
		return NJ_FULL;
	if (rules->n < rules->cap)
		return NJ_OK;
	if (!(v = realloc(rules->v, cap * sizeof(*v))))
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

static enum nj_err
rule_new(const struct role *x, enum rule_kind kind, const char *topic,
    int32_t priority, bool allow, const char *extra, struct rule **out)
{
	size_t n = strlen(topic) + 1;
	struct rule *u = calloc(1, sizeof *u + n);

	if (!u)
		return NJ_NOMEM;
	atomic_init(&u->refs, 1);
	u->priority = priority;
	u->allow = allow;
	memcpy(u->topic, topic, n);
	if (!(u->text = words(x, kind, u)) ||
	    (extra && !(u->extra = strdup(extra)))) {
		rule_unref(u);
		return NJ_NOMEM;
	}
	*out = u;
	return NJ_OK;
}

enum nj_err
role_add_rule(struct role *x, enum rule_kind kind, const char *topic,
    int32_t priority, bool allow, const char *extra)
{
	struct rules *rules = &x->rules[kind];
	struct rule *u = NULL;
	enum nj_err e;

	if (!topic_filter_ok(slice_str(topic)))
		return NJ_INVALID;
	if ((e = room_for_one(rules)) ||
	    (e = rule_new(x, kind, topic, priority, allow, extra, &u)))
		return e;
	if (rules->topics && (e = map_put(rules->topics, u))) {
		if (e != NJ_EXISTS) {
			rule_unref(u);
			return e;
		}
		rules->twins = true;
	}
	/* behind those of the same priority, as Mosquitto has them */
	rules->loose |=
	    rules->n > 0 && rules->v[rules->n - 1]->priority < priority;
	rules->v[rules->n++] = u;
	return NJ_OK;
}

enum nj_err
role_share_rules(struct role *x, const struct role *from)
{
	for (unsigned k = 0; k < RULE_KINDS; k++) {
		const struct rules *src = &from->rules[k];
		struct rules *dst = &x->rules[k];

		if (src->n == 0)
			continue;
		if (!(dst->v = malloc(src->n * sizeof(*dst->v))))
			return NJ_NOMEM;
		for (uint32_t i = 0; i < src->n; i++) {
			dst->v[i] = src->v[i];
			(void)atomic_fetch_add_explicit(
			    &dst->v[i]->refs, 1, memory_order_relaxed);
		}
		dst->n = dst->cap = src->n;
		dst->loose = src->loose;
	}
	return NJ_OK;
}

struct placed {
	struct rule *u;
	uint32_t at;
};

static int
by_priority(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	if (x->u->priority != y->u->priority)
		return x->u->priority > y->u->priority ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static enum nj_err
sort(struct rules *rules)
{
	struct placed *v;

	if (!rules->loose)
		return NJ_OK;
	if (!(v = malloc(rules->n * sizeof *v)))
		return NJ_NOMEM;
	for (uint32_t i = 0; i < rules->n; i++)
		v[i] = (struct placed){ rules->v[i], i };
	qsort(v, rules->n, sizeof *v, by_priority);
	for (uint32_t i = 0; i < rules->n; i++)
		rules->v[i] = v[i].u;
	free(v);
	rules->loose = false;
	return NJ_OK;
}

enum nj_err
role_settle(struct role *x)
{
	enum nj_err e = NJ_OK;

	for (unsigned k = 0; k < RULE_KINDS && !e; k++)
		e = sort(&x->rules[k]);
	return e;
}

static enum nj_err
compile(struct rules *rules)
{
	struct ranked_note *notes;
	struct slice *v;
	enum nj_err e;

	forget_topics(rules);
	ranked_free(rules->index);
	rules->index = NULL;
	if (rules->n == 0)
		return NJ_OK;
	v = malloc(rules->n * sizeof *v);
	notes = malloc(rules->n * sizeof *notes);
	for (uint32_t i = 0; v && notes && i < rules->n; i++) {
		v[i] = slice_str(rules->v[i]->topic);
		notes[i] = (struct ranked_note){ rules->v[i]->text,
			rules->v[i]->allow };
	}
	e = v && notes ? ranked_new(v, notes, rules->n, &rules->index)
		       : NJ_NOMEM;
	free(v);
	free(notes);
	return e;
}

enum nj_err
role_seal(struct role *x)
{
	enum nj_err e = role_settle(x);

	for (unsigned k = 0; k < RULE_KINDS && !e; k++)
		e = compile(&x->rules[k]);
	if (!e)
		x->open = false;
	return e;
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
