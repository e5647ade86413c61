/* SPDX-License-Identifier: Apache-2.0
 * parse - what the files of this folder share while a configuration is read.
 *
 * Owns:    nothing; fills the struct conf it points to.
 * Threads: one owner.
 * Rule:    a fault goes into the report and reading goes on; only running
 *          out of memory ends it (p->failed).
 */
#ifndef NJ_CONF_PARSE_H
#define NJ_CONF_PARSE_H

#include <stdarg.h>

#include "conf/conf.h"
#include "conf/lex.h"

#define CONF_BASE (-1) /* the default listener, conf.base */

/* A plug-in that is built in, whose lines follow. */
struct parse_plugin {
	const char *base;   /* the file's name; NULL: it is no such one */
	const char *needs;  /* its option that has to be there */
	const char *option; /* what that is here */
	struct conf_at at;
	bool global, given;
	int loaded; /* by plugin_load: 1 + its place in conf.plugins */
};

struct parse {
	struct conf *c;
	struct conf_report *report;
	const struct conf_source *src;
	const char *file_name;
	uint16_t file;
	int depth; /* 1 in an included file */
	/* what the lines of this file are about at the moment */
	int listener; /* index, or CONF_BASE */
	bool in_bridge, in_plugin;
	struct parse_plugin plugin;
	/* line of the first option that per_listener_settings is about */
	uint32_t security_line;
	enum nj_err failed;
};

/* A value, and where it stands. */
struct value {
	struct slice text;
	uint32_t line, col;
};

/* Reports about a word; nearest may be NULL, mend NULL for no advice. */
void parse_fault(struct parse *p, uint32_t line, uint32_t col,
    struct slice word, const char *nearest, const char *mend, const char *fmt,
    ...) NJ_PRINTF(7, 8);
void parse_warn(struct parse *p, uint32_t line, uint32_t col, struct slice word,
    const char *mend, const char *fmt, ...) NJ_PRINTF(6, 7);
/* The same about a place remembered in the configuration. */
void parse_fault_at(struct parse *p, struct conf_at at, const char *mend,
    const char *fmt, ...) NJ_PRINTF(4, 5);
void parse_warn_at(struct parse *p, struct conf_at at, const char *mend,
    const char *fmt, ...) NJ_PRINTF(4, 5);

struct conf_listener *parse_listener(struct parse *p);
/* Of the row: the struct its value goes to and where its place is noted. */
void *
parse_target(struct parse *p, const struct conf_opt *o, struct conf_at **at);
size_t conf_opt_index(const struct conf_opt *o);
/* The row of that name, which there is. */
static inline const struct conf_opt *
conf_row(const char *name)
{
	return conf_opt_find(slice_str(name));
}
static inline struct conf_at
conf_at_of(const struct conf_at *at, const char *name)
{
	return at[conf_opt_index(conf_row(name))];
}
/* Where the option was given to this listener; line 0: it was not. */
static inline struct conf_at
conf_given(const struct conf_listener *l, const char *name)
{
	return conf_at_of(l->at, name);
}
/* A listener line that was refused: its faults are told already. */
static inline bool
conf_broken(const struct conf_listener *l)
{
	return l->port == 0 && !l->unix_path;
}
struct conf_place conf_place_of(const struct conf *c, struct conf_at at);

/* value.c: reads v as the row says into field (NULL: only looks at it).
 * False when it is refused; then field is as it was. */
bool value_read(struct parse *p, const struct conf_opt *o, struct value v,
    void *field, bool again);
/* A copy of text in *field, in place of what was there. */
bool value_string(struct parse *p, char **field, struct slice text);
/* A whole number as Mosquitto reads it, and "of bytes" with k, M, G. */
bool value_number(struct slice s, bool bytes, int64_t *out);
/* Warns when more words follow a value that is one word. */
void
value_rest(struct parse *p, struct slice rest, uint32_t line, uint32_t col);

/* forms.c: the rows of CONF_T_FORM. */
void form_read(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln);

/* plugins.c: plug-ins of Mosquitto's that are built in. */
void plugin_read(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln);
void plugin_option(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln);
/* The lines about one are over: what it needs must have been there. */
void plugin_end(struct parse *p);
/* What a listener's plugin_use means. */
void plugin_resolve(struct parse *p, struct conf_listener *l);
/* Those that no listener uses are told. */
void plugin_check_idle(struct parse *p);
void plugin_free_all(struct conf *c);

/* apply.c */
/* A line as if it began with the name of that row; false: it was refused. */
bool parse_plain(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln);
void parse_text(struct parse *p, const char *name, struct slice text);
/* What does not work as written is told, by the row or the word. */
void parse_standing(struct parse *p, const struct conf_opt *o,
    const char *written, const struct conf_line *ln);

/* listeners.c */
NJ_MUST enum nj_err conf_defaults(struct conf *c);
NJ_MUST enum nj_err listener_init(struct conf_listener *l);
void listener_fini(struct conf_listener *l);
/* NULL out of memory or past the bound (then told). */
struct conf_listener *listener_add(struct parse *p, struct conf_at where);
NJ_MUST enum nj_err
listener_copy(const struct conf_listener *from, struct conf_listener *to);

/* contradict.c: what one listener's lines say against each other. */
void check_listener(struct parse *p, uint32_t i);

/* finish.c: what only shows once all is read. */
void conf_finish(struct parse *p, const struct conf_args *args);

#endif
