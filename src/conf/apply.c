/* SPDX-License-Identifier: Apache-2.0
 *
 * One line after the other: find its row, see that it stands where it may,
 * let the row's type read the value, note the place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "conf/parse.h"

#define NAME_LOUD 100 /* bytes of a line shown when it makes no sense */

size_t
conf_opt_index(const struct conf_opt *o)
{
	return (size_t)(o - conf_table);
}

struct conf_place
conf_place_of(const struct conf *c, struct conf_at at)
{
	return (struct conf_place){ at.line ? conf_file_name(c, at) : NULL,
		at.line, at.col };
}

const char *
conf_file_name(const struct conf *c, struct conf_at at)
{
	return at.file < c->files.n ? c->files.v[at.file] : "";
}

static void
add(struct parse *p, bool fault, struct conf_place at, struct slice word,
    const char *nearest, const char *mend, const char *fmt, va_list ap)
{
	struct nj_why why = { 0 };

	(void)vsnprintf(why.what, sizeof why.what, fmt, ap);
	if (mend)
		why_mend(&why, "%s", mend);
	conf_report_add(p->report, fault, at, word, nearest, &why);
}

void
parse_fault(struct parse *p, uint32_t line, uint32_t col, struct slice word,
    const char *nearest, const char *mend, const char *fmt, ...)
{
	struct conf_place at = { p->file_name, line, col };
	va_list ap;

	va_start(ap, fmt);
	add(p, true, at, word, nearest, mend, fmt, ap);
	va_end(ap);
}

void
parse_warn(struct parse *p, uint32_t line, uint32_t col, struct slice word,
    const char *mend, const char *fmt, ...)
{
	struct conf_place at = { p->file_name, line, col };
	va_list ap;

	va_start(ap, fmt);
	add(p, false, at, word, NULL, mend, fmt, ap);
	va_end(ap);
}

void
parse_fault_at(
    struct parse *p, struct conf_at at, const char *mend, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(p, true, conf_place_of(p->c, at), SLICE_NONE, NULL, mend, fmt, ap);
	va_end(ap);
}

void
parse_warn_at(
    struct parse *p, struct conf_at at, const char *mend, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(p, false, conf_place_of(p->c, at), SLICE_NONE, NULL, mend, fmt, ap);
	va_end(ap);
}

struct conf_listener *
parse_listener(struct parse *p)
{
	return p->listener == CONF_BASE ? &p->c->base
					: &p->c->listeners[p->listener];
}

void *
parse_target(struct parse *p, const struct conf_opt *o, struct conf_at **at)
{
	struct conf_listener *l = parse_listener(p);
	struct conf_security *s =
	    p->c->per_listener_settings ? &l->own : &p->c->security;
	size_t i = conf_opt_index(o);
	char *base = NULL;

	switch (o->scope) {
	case CONF_GLOBAL:
		base = (char *)p->c;
		*at = &p->c->at[i];
		break;
	case CONF_LISTENER:
		base = (char *)l;
		*at = &l->at[i];
		break;
	case CONF_SECURITY:
		base = (char *)s;
		*at = &s->at[i];
		break;
	case CONF_BRIDGE:
	case CONF_PLUGIN:
		*at = NULL;
		return NULL;
	}
	return o->off == CONF_NOWHERE ? NULL : base + o->off;
}

/* "false" and "0" are one, and so are "true" and "1". */
static bool
is_default(const struct conf_opt *o, struct slice value)
{
	struct slice word;
	uint32_t col = 1, word_col;

	if (!o->def || !conf_lex_word(&value, &col, &word, &word_col))
		return false;
	if (o->type == CONF_T_BOOL && slice_is(word, "0"))
		word = LIT("false");
	if (o->type == CONF_T_BOOL && slice_is(word, "1"))
		word = LIT("true");
	return slice_is(word, o->def);
}

void
parse_standing(struct parse *p, const struct conf_opt *o, const char *written,
    const struct conf_line *ln)
{
	if (o->standing == CONF_WORKS || (o->flags & CONF_QUIET) ||
	    is_default(o, ln->value))
		return;
	if (o->standing == CONF_LATER || o->standing == CONF_IGNORED)
		parse_warn(p, ln->line, ln->name_col, ln->name, o->mend,
		    "%s: %s", written, o->note);
	else
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL, o->mend,
		    "%s: %s", written, o->note);
}

/* Whether the row may stand here; the reason when not. */
static bool
in_place(struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	bool opens = o->type == CONF_T_FORM &&
	    o->standing == CONF_LATER_STOPS && !(o->flags & CONF_QUIET);

	if (o->scope == CONF_BRIDGE && !opens && !p->in_bridge) {
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "put it below the line 'connection NAME' that it is about",
		    "%.*s is about a bridge, and no connection stands above it",
		    (int)ln->name.n, (const char *)ln->name.p);
		return false;
	}
	if (o->scope == CONF_PLUGIN && !opens && !p->in_plugin) {
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "put it below the line 'plugin PATH' that it is about",
		    "%.*s is about a plug-in, and none stands above it",
		    (int)ln->name.n, (const char *)ln->name.p);
		return false;
	}
	return true;
}

/* False when a second line is one too many. */
static bool
first_of_its_kind(struct parse *p, const struct conf_opt *o,
    const struct conf_line *ln, struct conf_at was)
{
	const char *same = was.file == p->file ? "" : conf_file_name(p->c, was);

	if (was.line == 0 ||
	    (o->type == CONF_T_SET && !(o->flags & CONF_MANY)) ||
	    (o->off == CONF_NOWHERE && o->type == CONF_T_STRING) ||
	    (o->flags & CONF_REPEAT))
		return true;
	if (o->flags & CONF_ONCE) {
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "delete one of the two",
		    "%s was given before, in %s%sline %u", o->name, same,
		    *same ? " " : "", was.line);
		return false;
	}
	parse_warn(p, ln->line, ln->name_col, ln->name, "delete one of the two",
	    "%s was given before, in %s%sline %u; this line counts", o->name,
	    same, *same ? " " : "", was.line);
	return true;
}

/* per_listener_settings changes what earlier lines would have meant. */
static void
check_order(struct parse *p, const struct conf_opt *o, bool was,
    const struct conf_line *ln)
{
	if (o->scope == CONF_SECURITY && p->security_line == 0)
		p->security_line = ln->line;
	if (o->off != offsetof(struct conf, per_listener_settings) ||
	    o->scope != CONF_GLOBAL)
		return;
	if (was)
		p->c->per_listener_settings = true; /* once on, it stays */
	else if (p->c->per_listener_settings && p->security_line)
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "move this line to the top of the file",
		    "per_listener_settings stands below line %u, whose "
		    "meaning it changes",
		    p->security_line);
}

/* False when the line was refused. */
bool
parse_plain(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct conf_at *at = NULL,
		       here = { ln->line, p->file,
			       (uint16_t)(ln->name_col < UINT16_MAX
				       ? ln->name_col
				       : 1) };
	void *field = parse_target(p, o, &at);
	struct value v = { ln->value, ln->line, ln->value_col };
	bool was = p->c->per_listener_settings;

	if (at && !first_of_its_kind(p, o, ln, *at))
		return false;
	if (v.text.n == 0)
		v.col = ln->name_col;
	if (!value_read(p, o, v, field, at && at->line != 0))
		return false;
	if (at)
		*at = here;
	check_order(p, o, was, ln);
	return true;
}

/* A misspelt listener still opens one for what follows, or each line below
 * it would be reported too. */
static void
pretend_listener(struct parse *p, const struct conf_line *ln)
{
	struct conf_at at = { ln->line, p->file, 1 };

	if (listener_add(p, at))
		p->listener = (int)p->c->nlisteners - 1;
}

/* The name in "port=1883" or "port:1883"; 0 when there is none. */
static size_t
before_sign(struct slice name)
{
	for (size_t i = 1; i < name.n; i++)
		if (name.p[i] == '=' || name.p[i] == ':')
			return i;
	return 0;
}

static void
unknown(struct parse *p, const struct conf_line *ln)
{
	struct slice name = ln->name;
	size_t cut = before_sign(name);
	const char *nearest, *mend = NULL;
	char esc[NAME_LOUD];

	if (cut) {
		name.n = cut;
		mend = "put a space between name and value";
	}
	/* Not worth the search for what will not be shown any more. */
	nearest =
	    p->report->n < CONF_REPORT_MAX ? conf_opt_nearest(name) : NULL;
	if (!nearest && !mend)
		mend = "nightjar serve --help-options lists what there is";
	parse_fault(p, ln->line, ln->name_col, ln->name, nearest, mend,
	    "there is no option '%s'", text_esc(esc, sizeof esc, ln->name));
	if (nearest && strcmp(nearest, "listener") == 0)
		pretend_listener(p, ln);
	if (nearest && strcmp(nearest, "connection") == 0)
		p->in_bridge = true;
}

static bool
readable(struct parse *p, const struct conf_line *ln)
{
	struct slice whole = { ln->name.p,
		(size_t)(ln->value.p + ln->value.n - ln->name.p) };

	if (memchr(whole.p, '\0', whole.n)) {
		parse_fault(p, ln->line, ln->name_col, SLICE_NONE, NULL,
		    "save the file as plain UTF-8 text",
		    "this line has a NUL byte");
		return false;
	}
	if (whole.n > CONF_LINE_MAX) {
		parse_fault(p, ln->line, ln->name_col, SLICE_NONE, NULL, NULL,
		    "this line is longer than %u bytes", CONF_LINE_MAX);
		return false;
	}
	return true;
}

static void
read_line(struct parse *p, const struct conf_line *ln)
{
	const struct conf_opt *written, *o;

	if (!readable(p, ln))
		return;
	if (!(written = conf_opt_find(ln->name))) {
		unknown(p, ln);
		return;
	}
	o = conf_opt_real(written);
	if (!in_place(p, o, ln))
		return;
	if (o->type == CONF_T_FORM)
		form_read(p, o, ln);
	else if (parse_plain(p, o, ln))
		parse_standing(p, o, written->name, ln);
}

void
parse_text(struct parse *p, const char *name, struct slice text)
{
	struct conf_lex lex;
	struct conf_line ln;

	if (p->c->files.n >= CONF_INCLUDES_MAX)
		return; /* told by include_dir */
	if ((p->failed = conf_list_add(&p->c->files, name)))
		return;
	p->file = (uint16_t)(p->c->files.n - 1);
	p->file_name = p->c->files.v[p->file];
	if (!conf_lex_init(&lex, text)) {
		parse_fault(p, 1, 1, SLICE_NONE, NULL, "save the file as UTF-8",
		    "this file is UTF-16, not UTF-8");
		return;
	}
	while (!p->failed && conf_lex_next(&lex, &ln))
		read_line(p, &ln);
	plugin_end(p);
}
