/* SPDX-License-Identifier: Apache-2.0
 *
 * The lines of an acl_file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/acl_impl.h"
#include "base/text.h"
#include "wire/topic.h"

struct parse {
	struct acl *a;
	struct acl_rules *rules; /* where topic lines go */
	struct acl_group *group; /* of the lines to come; NULL: none */
	struct acl_scope here;	 /* address and listener lines that hold */
	int32_t scope;		 /* its place; -1: it has none yet */
	struct slice line;	 /* what is left of it */
	const uint8_t *begin;	 /* of the line */
	unsigned number;
	struct nj_why *why;
};

static const struct {
	const char *word;
	uint8_t allows, denies;
} accesses[] = {
	{ "read", ACL_READ, 0 },
	{ "write", ACL_WRITE, 0 },
	{ "readwrite", ACL_READ | ACL_WRITE, 0 },
	{ "deny", 0, ACL_READ | ACL_WRITE },
	{ "readdeny", 0, ACL_READ },
	{ "writedeny", 0, ACL_WRITE },
};

#define ACCESSES    (sizeof accesses / sizeof accesses[0])
#define ACCESS_BOTH 2 /* when none is given */

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static void
skip_blanks(struct slice *s)
{
	while (s->n > 0 && is_blank(s->p[0])) {
		s->p++;
		s->n--;
	}
}

static void
drop_blanks(struct slice *s)
{
	while (s->n > 0 && is_blank(s->p[s->n - 1]))
		s->n--;
}

static struct slice
word(struct slice *s)
{
	struct slice w = { s->p, 0 };

	while (w.n < s->n && !is_blank(s->p[w.n]))
		w.n++;
	s->p += w.n;
	s->n -= w.n;
	skip_blanks(s);
	return w;
}

static enum nj_err
fault(struct parse *p, struct slice at, const char *mend, const char *what)
{
	char shown[TEXT_ESC];

	why_set(p->why, "%s:%u:%u: %s '%s'", p->a->path, p->number,
	    (unsigned)(at.p - p->begin) + 1, what,
	    text_esc(shown, sizeof shown, at));
	why_mend(p->why, "%s", mend);
	return NJ_INVALID;
}

static enum nj_err
add_rule(struct acl_rules *l, struct acl_rule *r)
{
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 4;
		struct acl_rule **v = realloc(l->v, cap * sizeof(*v));

		if (!v)
			return NJ_NOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = r;
	l->n_deny += r->denies != 0;
	return NJ_OK;
}

/* Which names it has, and whether each is a level of its own. */
static uint8_t
names_in(struct slice s)
{
	uint8_t names = 0;

	for (size_t i = 0; i + 1 < s.n; i++) {
		if (s.p[i] != '%' || (s.p[i + 1] != 'c' && s.p[i + 1] != 'u'))
			continue;
		names |= s.p[i + 1] == 'c' ? ACL_NAMES_CLIENT : ACL_NAMES_USER;
		if ((i > 0 && s.p[i - 1] != '/') ||
		    (i + 2 < s.n && s.p[i + 2] != '/'))
			names |= ACL_NAMES_PARTS;
		i++;
	}
	return names;
}

/* Conditions. */

static bool
same_scope(const struct acl_scope *a, const struct acl_scope *b)
{
	return a->n_nets == b->n_nets &&
	    (a->n_nets == 0 ||
		memcmp(a->nets, b->nets, a->n_nets * sizeof *a->nets) == 0) &&
	    strcmp(a->listeners ? a->listeners : "",
		b->listeners ? b->listeners : "") == 0;
}

static enum nj_err
copy_scope(const struct acl_scope *s, struct acl_scope *out)
{
	struct acl_scope c = { .n_nets = s->n_nets };

	if (s->n_nets && !(c.nets = malloc(s->n_nets * sizeof *c.nets)))
		return NJ_NOMEM;
	if (s->n_nets)
		memcpy(c.nets, s->nets, s->n_nets * sizeof *c.nets);
	if (s->listeners && !(c.listeners = strdup(s->listeners))) {
		free(c.nets);
		return NJ_NOMEM;
	}
	*out = c;
	return NJ_OK;
}

/* The place of what holds for a rule here. */
static enum nj_err
find_scope(struct parse *p, uint16_t *out)
{
	struct acl *a = p->a;
	struct acl_scope *v;
	enum nj_err e;

	for (uint32_t i = 0; p->scope < 0 && i < a->n_scopes; i++)
		if (same_scope(&a->scopes[i], &p->here))
			p->scope = (int32_t)i;
	if (p->scope < 0) {
		if (a->n_scopes == ACL_SCOPES_MAX)
			return fault(p, p->line,
			    "put rules of the same address and listener lines "
			    "below one of them",
			    "too many different conditions, at");
		v = realloc(a->scopes, (a->n_scopes + 1) * sizeof *v);
		if (!v)
			return NJ_NOMEM;
		a->scopes = v;
		if ((e = copy_scope(&p->here, &v[a->n_scopes])))
			return e;
		p->scope = (int32_t)a->n_scopes++;
	}
	*out = (uint16_t)p->scope;
	return NJ_OK;
}

static void
everywhere(struct parse *p)
{
	acl_scope_fini(&p->here);
	p->scope = 0;
}

static enum nj_err
on_address(struct parse *p)
{
	struct acl_scope *s = &p->here;
	struct slice text;

	free(s->nets);
	s->nets = NULL;
	s->n_nets = 0;
	p->scope = -1;
	if (slice_is(p->line, "any"))
		return NJ_OK;
	if (p->line.n == 0)
		return fault(p, p->line,
		    "write addresses or networks behind it, or any",
		    "no address here");
	while ((text = word(&p->line)).n > 0) {
		struct cidr *v = realloc(s->nets, (s->n_nets + 1) * sizeof *v);

		if (!v)
			return NJ_NOMEM;
		s->nets = v;
		if (!cidr_read(text, &v[s->n_nets]))
			return fault(p, text,
			    "write them like 192.0.2.7, 10.0.0.0/8 or "
			    "2001:db8::/32, with blanks between them",
			    "not an address or network:");
		s->n_nets++;
	}
	return NJ_OK;
}

static enum nj_err
on_listener(struct parse *p)
{
	struct acl_scope *s = &p->here;
	struct slice text;
	size_t n = 0;

	free(s->listeners);
	s->listeners = NULL;
	p->scope = -1;
	if (slice_is(p->line, "any"))
		return NJ_OK;
	if (p->line.n == 0)
		return fault(p, p->line,
		    "write ports or the paths of Unix sockets behind it, or "
		    "any",
		    "no listener here");
	/* Words and what ends each: a blank between two, one more at the end. */
	if (!(s->listeners = malloc(p->line.n + 2)))
		return NJ_NOMEM;
	while ((text = word(&p->line)).n > 0) {
		memcpy(s->listeners + n, text.p, text.n);
		n += text.n;
		s->listeners[n++] = '\n';
	}
	s->listeners[n] = '\0';
	return NJ_OK;
}

/* Rules. */

/* "/etc/x/acl line 7: topic deny a/#" */
static enum nj_err
rule_new(const struct parse *p, struct slice filter, unsigned access,
    bool pattern, uint16_t scope, struct acl_rule **out)
{
	char text[512], shown[TEXT_ESC];
	struct acl_rule *r;
	int n = snprintf(text, sizeof text, "%s line %u: %s %s %s", p->a->path,
	    p->number, pattern ? "pattern" : "topic", accesses[access].word,
	    text_esc(shown, sizeof shown, filter));

	if (n < 0 || (size_t)n >= sizeof text)
		n = (int)sizeof text - 1;
	if (!(r = calloc(1, sizeof *r + filter.n + (size_t)n + 1)))
		return NJ_NOMEM;
	r->allows = accesses[access].allows;
	r->denies = accesses[access].denies;
	r->names = names_in(filter);
	if (!pattern && r->names)
		r->names = ACL_NAMES_LITERAL;
	r->scope = scope;
	r->len = (uint16_t)filter.n;
	memcpy(r->filter, filter.p, filter.n);
	memcpy(r->filter + filter.n, text, (size_t)n);
	*out = r;
	return NJ_OK;
}

static enum nj_err
find_access(struct parse *p, struct slice w, unsigned *out)
{
	for (unsigned i = 0; i < ACCESSES; i++)
		if (slice_is(w, accesses[i].word)) {
			*out = i;
			return NJ_OK;
		}
	return fault(p, w,
	    "write read, write, readwrite, deny, readdeny or writedeny in "
	    "front of the topic, or nothing for readwrite",
	    "not a kind of access:");
}

static enum nj_err
on_topic(struct parse *p, bool pattern)
{
	struct slice first = word(&p->line), filter = p->line;
	unsigned access = ACCESS_BOTH;
	uint16_t scope = 0;
	struct acl_rule *r;
	enum nj_err e;

	if (first.n == 0)
		return fault(
		    p, first, "write a topic behind it", "no topic here");
	if (filter.n == 0)
		filter = first;
	else if ((e = find_access(p, first, &access)))
		return e;
	if (!topic_filter_ok(filter))
		return fault(p, filter,
		    "wildcards stand alone between slashes, # only at the end",
		    "not a topic filter:");
	if (p->a->n_rules == ACL_RULES_MAX)
		return fault(p, filter, "make patterns of them",
		    "too many rules, the first of them");
	if ((e = find_scope(p, &scope)) ||
	    (e = rule_new(p, filter, access, pattern, scope, &r)))
		return e;
	if (pattern && !r->names)
		p->a->plain_patterns++;
	p->a->n_rules++;
	if ((e = add_rule(pattern ? &p->a->patterns : p->rules, r)))
		free(r);
	return e;
}

/* Whose rules they are. */

static enum nj_err
get_user(struct parse *p, struct slice name, struct acl_user **out)
{
	struct acl_user *u = map_get(&p->a->users, name);
	enum nj_err e;

	if (!u) {
		if (!(u = calloc(1, sizeof *u + name.n)))
			return NJ_NOMEM;
		u->name_len = name.n;
		memcpy(u->name, name.p, name.n);
		if ((e = map_put(&p->a->users, u))) {
			free(u);
			return e;
		}
	}
	*out = u;
	return NJ_OK;
}

static enum nj_err
on_user(struct parse *p)
{
	struct acl_user *u;
	enum nj_err e;

	if (p->line.n == 0)
		return fault(
		    p, p->line, "write a user name behind it", "no name here");
	if ((e = get_user(p, p->line, &u)))
		return e;
	p->rules = &u->rules;
	p->group = NULL;
	everywhere(p);
	return NJ_OK;
}

static enum nj_err
on_group(struct parse *p)
{
	struct slice name = p->line;
	struct acl_group *g;
	enum nj_err e;

	if (name.n == 0)
		return fault(
		    p, name, "write a group's name behind it", "no name here");
	if (!(g = map_get(&p->a->groups, name))) {
		if (!(g = calloc(1, sizeof *g + name.n)))
			return NJ_NOMEM;
		g->name_len = name.n;
		memcpy(g->name, name.p, name.n);
		if ((e = map_put(&p->a->groups, g))) {
			free(g);
			return e;
		}
	}
	p->rules = &g->rules;
	p->group = g;
	everywhere(p);
	return NJ_OK;
}

static enum nj_err
on_member(struct parse *p)
{
	struct acl_group **v;
	struct acl_user *u;
	enum nj_err e;

	if (!p->group)
		return fault(p, p->line, "put it below a line 'group NAME'",
		    "of which group is this a member:");
	if (p->line.n == 0)
		return fault(
		    p, p->line, "write a user name behind it", "no name here");
	if ((e = get_user(p, p->line, &u)))
		return e;
	for (uint32_t i = 0; i < u->n_groups; i++)
		if (u->groups[i] == p->group)
			return NJ_OK;
	if (u->n_groups == ACL_ASKED_GROUPS)
		return fault(p, p->line, "put its rules into fewer groups",
		    "this user is in too many groups:");
	if (!(v = realloc(u->groups, (u->n_groups + 1) * sizeof(*v))))
		return NJ_NOMEM;
	v[u->n_groups++] = p->group;
	u->groups = v;
	return NJ_OK;
}

static enum nj_err
on_priority(struct parse *p)
{
	char text[16] = "";
	long n = 0;

	if (p->line.n < sizeof text)
		memcpy(text, p->line.p, p->line.n);
	if (!p->group)
		return fault(p, p->line, "put it below a line 'group NAME'",
		    "of which group is this the priority:");
	if (p->line.n >= sizeof text ||
	    !text_to_long(text, INT32_MIN, INT32_MAX, &n))
		return fault(
		    p, p->line, "write a whole number", "not a priority:");
	if (p->group->has_priority && p->group->priority != n)
		return fault(p, p->line, "delete one of the two",
		    "this group has another priority above:");
	p->group->has_priority = true;
	p->group->priority = (int32_t)n;
	return NJ_OK;
}

static enum nj_err
on_rule(struct parse *p)
{
	return on_topic(p, false);
}

static enum nj_err
on_pattern(struct parse *p)
{
	return on_topic(p, true);
}

static const struct {
	const char *word;
	enum nj_err (*fn)(struct parse *p);
} lines[] = {
	{ "topic", on_rule },
	{ "pattern", on_pattern },
	{ "user", on_user },
	{ "group", on_group },
	{ "member", on_member },
	{ "priority", on_priority },
	{ "address", on_address },
	{ "listener", on_listener },
};

static enum nj_err
on_line(struct parse *p)
{
	struct slice what;

	if (p->line.n == 0 || p->line.p[0] == '#')
		return NJ_OK;
	if (memchr(p->line.p, '\0', p->line.n) || !utf8_ok(p->line))
		return fault(
		    p, p->line, "save the file as text in UTF-8", "not text:");
	drop_blanks(&p->line);
	skip_blanks(&p->line);
	what = word(&p->line);
	if (what.n == 0)
		return NJ_OK;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		if (slice_is(what, lines[i].word))
			return lines[i].fn(p);
	return fault(p, what,
	    "a line begins with topic, pattern, user, group, member, "
	    "priority, address, listener or #",
	    "not known here:");
}

enum nj_err
acl_parse(
    struct slice text, const char *path, struct acl **out, struct nj_why *why)
{
	struct parse p = { .why = why };
	enum nj_err e = acl_new(path, &p.a);

	if (!e)
		p.rules = &p.a->nobody;
	if (!e && slice_has_prefix(text, LIT("\xef\xbb\xbf")))
		text = slice_of(text.p + 3, text.n - 3);
	while (!e && text.n > 0) {
		const uint8_t *end = memchr(text.p, '\n', text.n);
		size_t n = end ? (size_t)(end - text.p) : text.n;

		p.number++;
		p.begin = text.p;
		p.line = slice_of(text.p, n);
		e = on_line(&p);
		n += end != NULL;
		text = slice_of(text.p + n, text.n - n);
	}
	acl_scope_fini(&p.here);
	if (!e)
		e = acl_compile(p.a);
	if (e) {
		if (e == NJ_NOMEM)
			why_set(why, "%s: out of memory", path);
		acl_unref(p.a);
		return e;
	}
	*out = p.a;
	return NJ_OK;
}
