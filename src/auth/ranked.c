/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/ranked.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "wire/topic.h"

/* Up to so many are compared one by one. */
#define FEW 8

/* A level of the tree; the level's text is borrowed.  Places of other nodes
 * are 0 where there is none: the root is nobody's child. */
struct node {
	struct slice level;
	uint32_t parent;
	uint32_t plus, client, user; /* children +, %c, %u */
	uint32_t first, next;	     /* child; the parent's next one */
	uint32_t ends;		     /* rank of the filter that ends here */
	uint32_t hash;		     /* of the one that ends in # below */
	uint32_t best;		     /* lowest rank in here */
};

/* With more than FEW. */
struct tree {
	struct node *nodes;
	uint32_t n_nodes, cap_nodes;
	uint32_t *table; /* children by parent and level; 0: empty */
	uint32_t cap_table;
};

/* What most questions need of one that does not match stands in front, in one
 * line of the processor's cache: memory that is not in there is what asking
 * costs. */
struct ranked {
	uint32_t n;
	uint32_t common; /* bytes that all begin with, and what they match */
	struct slice *v;
	struct tree *tree; /* NULL: they are compared one by one */
	/* what the filters borrow, one behind the other, if there are few */
	uint8_t text[];
};

#define CACHE_LINE 64

/* How a walk compares. */
struct walk {
	const struct ranked *r;
	const struct ranked_who *who;
	bool dollar; /* what is asked about begins with $ */
	bool filter; /* a filter is asked about */
	bool exact;
	uint32_t best;
};

static bool
is_name(struct slice name, struct slice level)
{
	return name.n > 0 && slice_eq(name, level) && !slice_is(name, "+") &&
	    !slice_is(name, "#");
}

/* One by one. */

static bool
level_matches(
    const struct ranked_who *who, struct slice rule, struct slice level)
{
	if (slice_is(rule, "+"))
		return true;
	if (slice_is(rule, "%c"))
		return is_name(who->client_id, level);
	if (slice_is(rule, "%u"))
		return is_name(who->user, level);
	return slice_eq(rule, level);
}

/* Bytes in front of a filter that are in front of all that it matches, or
 * covers: up to its first level that is a wildcard or a name; without the / in
 * front of #, which matches the level above, too [MQTT-4.7.1-2]. */
static uint32_t
literal_part(struct slice rule)
{
	struct slice rest = rule, level;
	uint32_t at = 0;
	bool more = true;

	while (topic_next(&rest, &more, &level)) {
		if (slice_is(level, "#"))
			return at > 0 ? at - 1 : 0;
		if (slice_is(level, "+") || slice_is(level, "%c") ||
		    slice_is(level, "%u"))
			return at;
		at += (uint32_t)level.n + 1;
	}
	return (uint32_t)rule.n;
}

static bool
begins(struct slice s, const uint8_t *with, uint32_t n)
{
	return s.n >= n && (n == 0 || memcmp(s.p, with, n) == 0);
}

static struct slice
behind(struct slice s, uint32_t n)
{
	return slice_of(s.p + n, s.n - n);
}

/* need: its literal_part. */
static bool
matches(const struct walk *w, struct slice rule, uint32_t need, struct slice s)
{
	bool more_rule = true, more = true;
	struct slice x, y;

	if (!begins(s, rule.p, need))
		return false;
	if (need == rule.n)
		return s.n == need;
	if (need == 0 && w->dollar)
		return false; /* [MQTT-4.7.2-1] */
	if (need > 0) {
		rule = behind(rule, need);
		s = behind(s, need);
	}
	if (slice_is(rule, "/#"))
		return s.n == 0 || s.p[0] == '/';
	for (;;) {
		bool has_x = topic_next(&rule, &more_rule, &x);
		bool has_y = topic_next(&s, &more, &y);

		if (has_x && slice_is(x, "#"))
			return true;
		if (!has_x || !has_y)
			return has_x == has_y;
		if ((w->filter && slice_is(y, "#")) ||
		    !level_matches(w->who, x, y))
			return false;
	}
}

/* Whether something could match both. */
static bool
overlap(const struct walk *w, struct slice rule, struct slice s)
{
	bool more_rule = true, more = true;
	struct slice x, y;

	for (bool first = true;; first = false) {
		bool has_x = topic_next(&rule, &more_rule, &x);
		bool has_y = topic_next(&s, &more, &y);
		bool wild_x, wild_y;

		if (!has_x || !has_y)
			return has_x == has_y || (has_x && slice_is(x, "#")) ||
			    (has_y && slice_is(y, "#"));
		wild_x = slice_is(x, "+") || slice_is(x, "#");
		wild_y = slice_is(y, "+") || slice_is(y, "#");
		if (first && wild_x != wild_y &&
		    slice_has_prefix(wild_x ? y : x, LIT("$")))
			return false; /* [MQTT-4.7.2-1] */
		if (slice_is(x, "#") || slice_is(y, "#"))
			return true;
		if (!wild_y && !level_matches(w->who, x, y))
			return false;
	}
}

/* Behind the filters. */
static struct ranked_note *
notes_of(const struct ranked *r)
{
	return (struct ranked_note *)(void *)(r->v + r->n);
}

const struct ranked_note *
ranked_note(const struct ranked *r, uint32_t rank)
{
	return &notes_of(r)[rank];
}

/* Behind the notes. */
static uint32_t *
needs_of(const struct ranked *r)
{
	return (uint32_t *)(void *)(notes_of(r) + r->n);
}

static uint32_t
look_through(const struct walk *w, struct slice s)
{
	const struct ranked *r = w->r;
	const uint32_t *need = needs_of(r);

	for (uint32_t i = 0; i < r->n; i++)
		if (w->exact ? slice_eq(r->v[i], s)
			     : matches(w, r->v[i], need[i], s))
			return i;
	return RANKED_NONE;
}

/* The tree. */

static uint32_t *
table_slot(const struct tree *r, uint32_t parent, struct slice level)
{
	uint64_t h = hash_bytes(level) + parent * 0x9e3779b97f4a7c15ull;
	uint32_t mask = r->cap_table - 1;

	for (uint32_t i = (uint32_t)(h ^ h >> 32) & mask;; i = (i + 1) & mask) {
		const struct node *x = &r->nodes[r->table[i]];

		if (r->table[i] == 0 ||
		    (x->parent == parent && slice_eq(x->level, level)))
			return &r->table[i];
	}
}

static enum nj_err
node_new(struct tree *r, uint32_t parent, struct slice level, uint32_t *out)
{
	if (r->n_nodes == r->cap_nodes) {
		uint32_t cap = r->cap_nodes ? r->cap_nodes * 2 : 64;
		struct node *v = realloc(r->nodes, cap * sizeof *v);

		if (!v)
			return NJ_NOMEM;
		r->nodes = v;
		r->cap_nodes = cap;
	}
	r->nodes[r->n_nodes] = (struct node){
		.level = level,
		.parent = parent,
		.ends = RANKED_NONE,
		.hash = RANKED_NONE,
		.best = RANKED_NONE,
	};
	*out = r->n_nodes++;
	return NJ_OK;
}

static enum nj_err
table_grow(struct tree *r)
{
	if (r->n_nodes * 2 < r->cap_table)
		return NJ_OK;
	free(r->table);
	r->cap_table = r->cap_table ? r->cap_table * 2 : 128;
	if (!(r->table = calloc(r->cap_table, sizeof *r->table)))
		return NJ_NOMEM;
	/* + and names are found in their parents as well, and exactly here */
	for (uint32_t i = 1; i < r->n_nodes; i++)
		*table_slot(r, r->nodes[i].parent, r->nodes[i].level) = i;
	return NJ_OK;
}

static enum nj_err
child(struct tree *r, uint32_t parent, struct slice level, uint32_t *out)
{
	uint32_t *slot;
	enum nj_err e;

	if ((e = table_grow(r)))
		return e;
	if (*(slot = table_slot(r, parent, level))) {
		*out = *slot;
		return NJ_OK;
	}
	if ((e = node_new(r, parent, level, out)))
		return e;
	*slot = *out;
	r->nodes[*out].next = r->nodes[parent].first;
	r->nodes[parent].first = *out;
	if (slice_is(level, "+"))
		r->nodes[parent].plus = *out;
	else if (slice_is(level, "%c"))
		r->nodes[parent].client = *out;
	else if (slice_is(level, "%u"))
		r->nodes[parent].user = *out;
	return NJ_OK;
}

static void
lower(uint32_t *rank, uint32_t to)
{
	if (to < *rank)
		*rank = to;
}

static enum nj_err
plant(struct tree *t, struct slice filter, uint32_t rank)
{
	struct slice rest = filter, level;
	uint32_t at = 0;
	bool more = true;
	enum nj_err e;

	lower(&t->nodes[0].best, rank);
	while (topic_next(&rest, &more, &level)) {
		uint32_t parent = at;

		if ((e = child(t, parent, level, &at)))
			return e;
		lower(&t->nodes[at].best, rank);
		if (slice_is(level, "#"))
			lower(&t->nodes[parent].hash, rank);
	}
	lower(&t->nodes[at].ends, rank);
	return NJ_OK;
}

static void
walk(struct walk *w, uint32_t at, struct slice rest, bool more)
{
	const struct node *x = &w->r->tree->nodes[at];
	bool top = at == 0 && w->dollar;
	struct slice level;
	uint32_t next;

	if (x->best >= w->best)
		return;
	if (!w->exact && !top) {
		lower(&w->best, x->hash);
		if (x->best >= w->best)
			return;
	}
	if (!topic_next(&rest, &more, &level)) {
		lower(&w->best, x->ends);
		return;
	}
	if (w->filter && slice_is(level, "#"))
		return;
	next = *table_slot(w->r->tree, at, level);
	/* of the names the texts themselves are nothing */
	if (next && (w->exact || (next != x->client && next != x->user)))
		walk(w, next, rest, more);
	if (w->exact || top)
		return;
	if (x->plus && x->plus != next)
		walk(w, x->plus, rest, more);
	if (x->client && is_name(w->who->client_id, level))
		walk(w, x->client, rest, more);
	if (x->user && is_name(w->who->user, level))
		walk(w, x->user, rest, more);
}

static uint32_t
ask(struct walk *w, struct slice s)
{
	if (!w->r || !begins(s, w->r->v[0].p, w->r->common))
		return RANKED_NONE;
	w->best = RANKED_NONE;
	w->dollar = s.n > 0 && s.p[0] == '$';
	if (!w->r->tree)
		return look_through(w, s);
	walk(w, 0, s, true);
	return w->best;
}

uint32_t
ranked_match(
    const struct ranked *r, const struct ranked_who *who, struct slice topic)
{
	struct walk w = { .r = r, .who = who };

	return ask(&w, topic);
}

uint32_t
ranked_covers(
    const struct ranked *r, const struct ranked_who *who, struct slice filter)
{
	struct walk w = { .r = r, .who = who, .filter = true };

	return ask(&w, filter);
}

/* Overlaps: as above, and what the subscription leaves open is looked into. */

static uint32_t
some_below(const struct walk *w, uint32_t at, struct slice rest, bool more);

/* [MQTT-4.7.2-1]: a wildcard in front is not for $ topics. */
static bool
is_dollar(uint32_t at, struct slice level)
{
	return at == 0 && slice_has_prefix(level, LIT("$"));
}

/* The subscription has + or # here: whatever there is. */
static uint32_t
some_child(
    const struct walk *w, uint32_t at, bool all, struct slice rest, bool more)
{
	const struct node *y;
	uint32_t found = RANKED_NONE;

	for (uint32_t c = w->r->tree->nodes[at].first;
	     c && found == RANKED_NONE; c = y->next) {
		y = &w->r->tree->nodes[c];
		if (is_dollar(at, y->level))
			continue;
		found = all || slice_is(y->level, "#")
		    ? y->best
		    : some_below(w, c, rest, more);
	}
	return found;
}

/* The subscription has a text here. */
static uint32_t
this_child(const struct walk *w, uint32_t at, struct slice level,
    struct slice rest, bool more)
{
	const struct node *x = &w->r->tree->nodes[at];
	uint32_t next = *table_slot(w->r->tree, at, level);
	uint32_t found = RANKED_NONE;

	if (next && next != x->client && next != x->user)
		found = some_below(w, next, rest, more);
	if (found != RANKED_NONE || is_dollar(at, level))
		return found;
	found = x->hash;
	if (found == RANKED_NONE && x->plus)
		found = some_below(w, x->plus, rest, more);
	if (found == RANKED_NONE && x->client &&
	    is_name(w->who->client_id, level))
		found = some_below(w, x->client, rest, more);
	if (found == RANKED_NONE && x->user && is_name(w->who->user, level))
		found = some_below(w, x->user, rest, more);
	return found;
}

static uint32_t
some_below(const struct walk *w, uint32_t at, struct slice rest, bool more)
{
	const struct node *x = &w->r->tree->nodes[at];
	struct slice level;
	bool all;

	if (!topic_next(&rest, &more, &level)) /* "a/#" matches "a" */
		return x->ends != RANKED_NONE ? x->ends : x->hash;
	all = slice_is(level, "#");
	if (all && x->ends != RANKED_NONE)
		return x->ends;
	if (all || slice_is(level, "+"))
		return some_child(w, at, all, rest, more);
	return this_child(w, at, level, rest, more);
}

static uint32_t
overlap_one_by_one(const struct walk *w, struct slice s)
{
	for (uint32_t i = 0; i < w->r->n; i++)
		if (overlap(w, w->r->v[i], s))
			return i;
	return RANKED_NONE;
}

uint32_t
ranked_overlaps(
    const struct ranked *r, const struct ranked_who *who, struct slice filter)
{
	struct walk w = { .r = r, .who = who, .filter = true };

	if (!r)
		return RANKED_NONE;
	if (!r->tree)
		return overlap_one_by_one(&w, filter);
	return some_below(&w, 0, filter, true);
}

uint32_t
ranked_exact(const struct ranked *r, struct slice text)
{
	struct walk w = { .r = r, .exact = true };

	return ask(&w, text);
}

/* What all have in front. */
static uint32_t
common_part(const struct slice *v, uint32_t n)
{
	uint32_t common = n ? literal_part(v[0]) : 0;

	for (uint32_t i = 1; i < n; i++) {
		uint32_t most = literal_part(v[i]);

		if (most < common)
			common = most;
		while (common > 0 && memcmp(v[0].p, v[i].p, common) != 0)
			common--;
	}
	return common;
}

/* With what it borrows in it where it is compared one by one. */
static struct ranked *
block_new(const struct slice *v, const struct ranked_note *notes, uint32_t n)
{
	const size_t fit = _Alignof(struct slice) - 1;
	const size_t each = sizeof *v + sizeof *notes + sizeof *needs_of(NULL);
	size_t bytes = 0;
	struct ranked *r;
	uint8_t *at;

	for (uint32_t i = 0; n <= FEW && i < n; i++)
		bytes += v[i].n;
	bytes = (sizeof *r + bytes + fit) & ~fit; /* where r->v begins */
	r = aligned_alloc(CACHE_LINE,
	    (bytes + n * each + CACHE_LINE) & ~(size_t)(CACHE_LINE - 1));
	if (!r)
		return NULL;
	*r = (struct ranked){ .n = n, .common = common_part(v, n) };
	r->v = (struct slice *)(void *)((uint8_t *)r + bytes);
	at = r->text;
	for (uint32_t i = 0; i < n; i++) {
		needs_of(r)[i] = literal_part(v[i]);
		notes_of(r)[i] = notes ? notes[i] : (struct ranked_note){ 0 };
		r->v[i] = v[i];
		if (n > FEW || v[i].n == 0)
			continue;
		memcpy(at, v[i].p, v[i].n);
		r->v[i].p = at;
		at += v[i].n;
	}
	return r;
}

static enum nj_err
tree_new(struct ranked *r)
{
	uint32_t root;
	enum nj_err e;

	if (!(r->tree = calloc(1, sizeof *r->tree)))
		return NJ_NOMEM;
	if ((e = node_new(r->tree, 0, SLICE_NONE, &root)))
		return e;
	for (uint32_t i = 0; i < r->n; i++)
		if ((e = plant(r->tree, r->v[i], i)))
			return e;
	return NJ_OK;
}

enum nj_err
ranked_new(const struct slice *v, const struct ranked_note *notes, uint32_t n,
    struct ranked **out)
{
	struct ranked *r = n ? block_new(v, notes, n) : NULL;
	enum nj_err e = r || !n ? NJ_OK : NJ_NOMEM;

	if (!e && n > FEW && (e = tree_new(r))) {
		ranked_free(r);
		return e;
	}
	if (!e)
		*out = r;
	return e;
}

void
ranked_free(struct ranked *r)
{
	if (!r)
		return;
	if (r->tree) {
		free(r->tree->nodes);
		free(r->tree->table);
	}
	free(r->tree);
	free(r);
}
