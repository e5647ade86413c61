/* SPDX-License-Identifier: Apache-2.0
 *
 * The options whose value is no single word, number or text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/text.h"
#include "conf/parse.h"

struct form {
	const char *name;
	void (*read)(struct parse *p, const struct conf_opt *o,
	    const struct conf_line *ln);
};

/* What is left of a line while its words are taken. */
struct rest {
	struct slice text;
	uint32_t line, col;
	struct slice word;
	uint32_t word_col;
};

static struct rest
rest_of(const struct conf_line *ln)
{
	return (struct rest){
		.text = ln->value, .line = ln->line, .col = ln->value_col
	};
}

/* The next word; a comment counts as the end. */
static bool
next(struct rest *r)
{
	struct rest t = *r;

	if (!conf_lex_word(&t.text, &t.col, &t.word, &t.word_col) ||
	    t.word.p[0] == '#')
		return false;
	*r = t;
	return true;
}

static struct conf_at
here(struct parse *p, const struct conf_line *ln)
{
	return (struct conf_at){ ln->line, p->file,
		(uint16_t)(ln->name_col < UINT16_MAX ? ln->name_col : 1) };
}

static void
expected(struct parse *p, const struct conf_opt *o, const struct conf_line *ln,
    const struct rest *r)
{
	char esc[TEXT_ESC];

	if (r->word.n == 0)
		parse_fault(p, ln->line, ln->name_col, SLICE_NONE, NULL, NULL,
		    "%s needs a value: expected %s", o->name, o->args);
	else
		parse_fault(p, ln->line, r->word_col, r->word, NULL, NULL,
		    "'%s' is no value for %s: expected %s",
		    text_esc(esc, sizeof esc, r->word), o->name, o->args);
}

static bool
read_port(struct parse *p, const struct conf_opt *o, const struct conf_line *ln,
    struct rest *r, uint16_t *port)
{
	int64_t n = 0;
	char esc[TEXT_ESC];

	if (!next(r)) {
		expected(p, o, ln, r);
		return false;
	}
	if (!value_number(r->word, false, &n) || n < o->min || n > o->max) {
		parse_fault(p, ln->line, r->word_col, r->word, NULL, NULL,
		    "'%s' is no port: expected a number from %lld to %lld",
		    text_esc(esc, sizeof esc, r->word), (long long)o->min,
		    (long long)o->max);
		return false;
	}
	*port = (uint16_t)n;
	return true;
}

static void
form_listener(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct conf_listener *l = listener_add(p, here(p, ln));
	struct rest r = rest_of(ln);
	uint16_t port = 0;

	if (!l)
		return;
	p->listener = (int)p->c->nlisteners - 1;
	if (!read_port(p, o, ln, &r, &port))
		return;
	l->port = port;
	if (!next(&r)) {
		if (port == 0)
			parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
			    "listener 0 /run/nightjar/mqtt.sock",
			    "a listener with port 0 needs the path of a Unix "
			    "socket");
		return;
	}
	(void)value_string(p, port == 0 ? &l->unix_path : &l->host, r.word);
	value_rest(p, r.text, r.line, r.col);
}

/* From here on, listener options are about the default listener. */
static void
form_port(struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct conf_listener *l = &p->c->base;
	struct conf_at *at = &l->at[conf_opt_index(o)];
	struct rest r = rest_of(ln);
	uint16_t port = 0;

	p->listener = CONF_BASE;
	if (l->port != 0)
		parse_warn(p, ln->line, ln->name_col, ln->name,
		    "write 'listener PORT' for a second port",
		    "port was given before, in line %u; this line counts",
		    at->line);
	*at = here(p, ln); /* even when bad: something was to be opened */
	if (!read_port(p, o, ln, &r, &port))
		return;
	l->port = port;
	l->where = *at;
	value_rest(p, r.text, r.line, r.col);
}

static void
form_bind_address(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct conf_listener *l = &p->c->base;
	struct conf_at *at = &l->at[conf_opt_index(o)];
	struct rest r = rest_of(ln);

	p->listener = CONF_BASE;
	if (at->line != 0) {
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "write 'listener PORT ADDRESS' for a second one",
		    "bind_address was given before, in line %u", at->line);
		return;
	}
	*at = here(p, ln);
	if (l->where.line == 0)
		l->where = *at;
	if (!next(&r)) {
		expected(p, o, ln, &r);
		return;
	}
	(void)value_string(p, &l->host, r.word);
	value_rest(p, r.text, r.line, r.col);
}

static void
form_log_dest(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct conf *c = p->c;
	struct rest r = rest_of(ln);
	const struct conf_word *w;
	struct value v;
	char esc[TEXT_ESC];

	if (!next(&r)) {
		expected(p, o, ln, &r);
		return;
	}
	if (!(w = conf_word_find(o, r.word))) {
		parse_fault(p, ln->line, r.word_col, r.word,
		    conf_word_nearest(o, r.word), NULL,
		    "'%s' is no log_dest: expected %s",
		    text_esc(esc, sizeof esc, r.word), o->args);
		return;
	}
	if (w->standing == CONF_IGNORED) {
		parse_warn(p, ln->line, r.word_col, r.word, w->mend,
		    "log_dest %s: %s", w->name, w->note);
		return;
	}
	if (!c->log_dests_given || w->value == 0)
		c->log_dests = 0;
	c->log_dests_given = true;
	c->at[conf_opt_index(o)] = here(p, ln);
	c->log_dests |= (unsigned)w->value;
	if (w->value != LOG_D_FILE) {
		value_rest(p, r.text, r.line, r.col);
		return;
	}
	if (c->log_file) {
		parse_fault(p, ln->line, r.word_col, r.word, NULL,
		    "delete one of the two",
		    "there can be only one log_dest file");
		return;
	}
	while (r.text.n > 0 && (r.text.p[0] == ' ' || r.text.p[0] == '\t')) {
		r.text = (struct slice){ r.text.p + 1, r.text.n - 1 };
		r.col++;
	}
	v = (struct value){ r.text, ln->line, r.text.n ? r.col : ln->name_col };
	(void)value_read(p,
	    &(const struct conf_opt){
		.name = "log_dest file", .type = CONF_T_PATH },
	    v, &c->log_file, false);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool
is_conf_file(const char *name)
{
	size_t n = strlen(name);

	return n > 5 && strcmp(name + n - 5, ".conf") == 0;
}

/* A file of its own: what its lines are about begins anew, and afterwards
 * goes on as it was. */
static void
include(struct parse *p, const char *path, const struct conf_line *ln)
{
	struct parse sub = *p;
	struct buf text = { 0 };
	struct nj_why why = { 0 };

	if (p->src->read(p->src->arg, path, &text, &why)) {
		parse_fault(p, ln->line, ln->value_col, ln->value, NULL,
		    why.mend[0] ? why.mend : NULL, "%s", why.what);
		buf_fini(&text);
		return;
	}
	sub.depth = p->depth + 1;
	sub.listener = CONF_BASE;
	sub.in_bridge = sub.in_plugin = false;
	sub.plugin = (struct parse_plugin){ 0 };
	parse_text(&sub, path, buf_slice(&text));
	p->failed = sub.failed;
	p->security_line = sub.security_line;
	buf_fini(&text);
}

static void
form_include_dir(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct conf_list names = { 0 };
	struct nj_why why = { 0 };
	char *dir = NULL;

	if (p->depth > 0) {
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "move this line into the main file",
		    "include_dir may only stand in the main file");
		return;
	}
	if (!value_read(p,
		&(const struct conf_opt){
		    .name = o->name, .type = CONF_T_PATH },
		(struct value){ ln->value, ln->line,
		    ln->value.n ? ln->value_col : ln->name_col },
		&dir, false))
		return;
	if (p->src->list(p->src->arg, dir, &names, &why)) {
		parse_fault(p, ln->line, ln->value_col, ln->value, NULL,
		    why.mend[0] ? why.mend : NULL, "%s", why.what);
		goto out;
	}
	if (names.n > 0)
		qsort(names.v, names.n, sizeof *names.v, by_name);
	for (uint32_t i = 0; i < names.n && !p->failed; i++) {
		char *path = NULL;

		if (!is_conf_file(names.v[i]))
			continue;
		if (p->c->files.n >= CONF_INCLUDES_MAX) {
			parse_fault(p, ln->line, ln->value_col, ln->value, NULL,
			    NULL, "more than %d files are included",
			    CONF_INCLUDES_MAX);
			break;
		}
		if (asprintf(&path, "%s%s%s", dir,
			dir[strlen(dir) - 1] == '/' ? "" : "/",
			names.v[i]) < 0) {
			p->failed = NJ_NOMEM;
			break;
		}
		include(p, path, ln);
		free(path);
	}
out:
	conf_list_free(&names);
	free(dir);
}

static void
form_connection(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct rest r = rest_of(ln);

	p->in_bridge = true;
	if (next(&r))
		parse_standing(p, o, o->name, ln);
	else
		expected(p, o, ln, &r);
}

/* A bridge's lines are only looked at: it refuses the start anyway, and the
 * lines must not hide behind that.  "topic #" is no comment. */
static void
form_words(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct rest r = rest_of(ln);

	if (ln->value.n == 0)
		expected(p, o, ln, &r);
}

static void
form_numbers(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct rest r = rest_of(ln);
	int n = 0, most = 3;
	bool all = strcmp(o->name, "bridge_tcp_keepalive") == 0;

	for (; n < most && next(&r); n++) {
		int64_t v = 0;

		if (!value_number(r.word, false, &v) || v < 1 ||
		    v > INT32_MAX) {
			expected(p, o, ln, &r);
			return;
		}
	}
	if (n == 0 || (all && n < most)) {
		r.word = SLICE_NONE;
		expected(p, o, ln, &r);
	}
}

static const struct form forms[] = {
	{ "listener", form_listener },
	{ "port", form_port },
	{ "bind_address", form_bind_address },
	{ "log_dest", form_log_dest },
	{ "include_dir", form_include_dir },
	{ "connection", form_connection },
	{ "address", form_words },
	{ "topic", form_words },
	{ "restart_timeout", form_numbers },
	{ "bridge_tcp_keepalive", form_numbers },
	{ "plugin", plugin_read },
	{ "global_plugin", plugin_read },
	{ "plugin_load", plugin_read },
	{ "plugin_opt_*", plugin_option },
};

void
form_read(struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
		if (strcmp(forms[i].name, o->name) == 0)
			forms[i].read(p, o, ln);
}
