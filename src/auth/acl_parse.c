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
	struct acl_user *user; /* of the lines to come; NULL: nobody */
	struct slice line;     /* what is left of it */
	const uint8_t *begin;  /* of the line */
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
	if (r->denies) {
		memmove(l->v + l->n_deny + 1, l->v + l->n_deny,
		    (l->n - l->n_deny) * sizeof(*l->v));
		l->v[l->n_deny++] = r;
	} else {
		l->v[l->n] = r;
	}
	l->n++;
	return NJ_OK;
}

static bool
has_names(struct slice s)
{
	for (size_t i = 0; i + 1 < s.n; i++)
		if (s.p[i] == '%' && (s.p[i + 1] == 'c' || s.p[i + 1] == 'u'))
			return true;
	return false;
}

/* "/etc/x/acl line 7: topic deny a/#" */
static enum nj_err
rule_new(const struct parse *p, struct slice filter, unsigned access,
    bool pattern, struct acl_rule **out)
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
	r->names = pattern && has_names(filter);
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
	if ((e = rule_new(p, filter, access, pattern, &r)))
		return e;
	if (pattern && !r->names)
		p->a->plain_patterns++;
	p->a->n_rules++;
	e = add_rule(pattern ? &p->a->patterns
		: p->user    ? &p->user->rules
			     : &p->a->nobody,
	    r);
	if (e)
		free(r);
	return e;
}

static enum nj_err
on_user(struct parse *p)
{
	struct slice name = p->line;
	struct acl_user *u;
	enum nj_err e;

	if (name.n == 0)
		return fault(
		    p, name, "write a user name behind it", "no name here");
	if ((u = map_get(&p->a->users, name))) {
		p->user = u;
		return NJ_OK;
	}
	if (!(u = calloc(1, sizeof *u + name.n)))
		return NJ_NOMEM;
	u->name_len = name.n;
	memcpy(u->name, name.p, name.n);
	if ((e = map_put(&p->a->users, u))) {
		free(u);
		return e;
	}
	p->user = u;
	return NJ_OK;
}

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
	if (slice_is(what, "topic"))
		return on_topic(p, false);
	if (slice_is(what, "pattern"))
		return on_topic(p, true);
	if (slice_is(what, "user"))
		return on_user(p);
	return fault(p, what, "a line begins with topic, pattern, user or #",
	    "not known here:");
}

enum nj_err
acl_parse(
    struct slice text, const char *path, struct acl **out, struct nj_why *why)
{
	struct parse p = { .why = why };
	enum nj_err e = acl_new(path, &p.a);

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
	if (e) {
		if (e == NJ_NOMEM)
			why_set(why, "%s: out of memory", path);
		acl_unref(p.a);
		return e;
	}
	*out = p.a;
	return NJ_OK;
}
