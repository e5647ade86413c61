/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines that load plug-ins.  Those that come with Mosquitto and are built in
 * here become the option that stands for them; any other is refused, because
 * what it would keep out would come in.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "conf/parse.h"

/* It stands for 'persistence true', and keeps nobody out. */
#define PERSIST "mosquitto_persist_sqlite.so"

static const struct bundled {
	const char *base;
	const char *needs, *option; /* NULL: it is not built in */
	const char *mend;
} bundled[] = {
	{ "mosquitto_dynamic_security.so", "config_file",
	    "dynamic_security_file", NULL },
	{ "mosquitto_acl_file.so", "acl_file", "acl_file", NULL },
	{ "mosquitto_password_file.so", "password_file", "password_file",
	    NULL },
	{ PERSIST, NULL, NULL,
	    "delete it and its plugin_opt_ lines, and write 'persistence "
	    "true'" },
	{ "mosquitto_sparkplug_aware.so", NULL, NULL,
	    "delete it and its plugin_opt_ lines" },
};

/* By the name of the file, wherever it is. */
static const struct bundled *
find(struct slice path)
{
	for (size_t i = 0; i < sizeof bundled / sizeof *bundled; i++) {
		struct slice b = slice_str(bundled[i].base);

		if (path.n < b.n ||
		    memcmp(path.p + path.n - b.n, b.p, b.n) != 0)
			continue;
		if (path.n == b.n || path.p[path.n - b.n - 1] == '/')
			return &bundled[i];
	}
	return NULL;
}

/* Of plugin_load; NULL: none of that name. */
static struct conf_plugin *
find_named(const struct conf *c, struct slice name)
{
	for (uint32_t i = 0; i < c->nplugins; i++)
		if (slice_is(name, c->plugins[i].name))
			return &c->plugins[i];
	return NULL;
}

/* A name, for plugin_use; option NULL: it was refused, and its users need not
 * be told again. */
static void
add_named(struct parse *p, const struct conf_line *ln, struct slice name,
    const char *option)
{
	struct conf *c = p->c;
	struct conf_plugin *v;
	char esc[TEXT_ESC];

	if (find_named(c, name)) {
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "give it another name",
		    "there is a plug-in called '%s' before",
		    text_esc(esc, sizeof esc, name));
		return;
	}
	v = reallocarray(c->plugins, c->nplugins + 1, sizeof *v);
	if (!v) {
		p->failed = NJ_NOMEM;
		return;
	}
	c->plugins = v;
	v += c->nplugins;
	*v = (struct conf_plugin){
		.option = option,
		.at = { ln->line, p->file,
		    (uint16_t)(ln->name_col < UINT16_MAX ? ln->name_col : 1) }
	};
	if (!value_string(p, &v->name, name))
		return;
	c->nplugins++;
}

void
plugin_free_all(struct conf *c)
{
	for (uint32_t i = 0; i < c->nplugins; i++) {
		free(c->plugins[i].name);
		free(c->plugins[i].file);
		free(c->plugins[i].password);
	}
	free(c->plugins);
	c->plugins = NULL;
	c->nplugins = 0;
}

/* The listener's field that the option of a plug-in fills. */
static const char **
field_of(struct conf_listener *l, const char *option)
{
	return strcmp(option, "acl_file") == 0 ? &l->plugin_acl_file
	    : strcmp(option, "password_file") == 0
	    ? &l->plugin_password_file
	    : &l->plugin_dynamic_security_file;
}

static void
use_one(struct parse *p, struct conf_listener *l, struct slice name)
{
	struct conf_at at =
	    l->at[conf_opt_index(conf_opt_find(LIT("plugin_use")))];
	struct conf_plugin *x = find_named(p->c, name);
	const char **field;
	char esc[TEXT_ESC];

	if (!x) {
		parse_fault_at(p, at,
		    "add 'plugin_load NAME PATH' with this name, or delete "
		    "this line",
		    "plugin_use: no plugin_load has the name '%s'",
		    text_esc(esc, sizeof esc, name));
		return;
	}
	x->used = true;
	if (!x->option || !x->file) /* told by its plugin_load */
		return;
	field = field_of(l, x->option);
	if (*field && strcmp(*field, x->file) != 0)
		parse_fault_at(p, at, "use one of them",
		    "plugin_use: this listener has another %s by another "
		    "plug-in",
		    x->option);
	*field = x->file;
	if (field == &l->plugin_dynamic_security_file)
		l->plugin_dynamic_security_password_file = x->password;
}

void
plugin_resolve(struct parse *p, struct conf_listener *l)
{
	const char *s = l->plugin_use;

	while (s && *s) {
		size_t n = strcspn(s, "\n");

		use_one(p, l, slice_of(s, n));
		s += n + (s[n] == '\n');
	}
}

void
plugin_check_idle(struct parse *p)
{
	for (uint32_t i = 0; i < p->c->nplugins; i++) {
		const struct conf_plugin *x = &p->c->plugins[i];

		if (!x->used && x->file)
			parse_warn_at(p, x->at,
			    "add 'plugin_use NAME' below a listener, or delete "
			    "these lines",
			    "the plug-in '%s' is used by no listener, so it "
			    "keeps nobody out",
			    x->name);
	}
}

void
plugin_end(struct parse *p)
{
	const struct parse_plugin *x = &p->plugin;

	if (x->needs && !x->given)
		parse_fault_at(p, x->at,
		    "add it: without its file it would keep nobody out",
		    "%s has no line 'plugin_opt_%s PATH' below it", x->base,
		    x->needs);
	p->plugin = (struct parse_plugin){ 0 };
}

/* The store is in the folder that the plug-in's file would be in. */
static void
persist_option(struct parse *p, const struct conf_line *ln, struct slice name)
{
	static const char *const tuning[] = { "sync", "flush_period",
		"page_size" };
	struct slice dir = ln->value;
	char esc[TEXT_ESC];

	for (size_t i = 0; i < sizeof tuning / sizeof *tuning; i++)
		if (slice_is(name, tuning[i])) {
			parse_warn(p, ln->line, ln->name_col, ln->name,
			    "delete this line",
			    "what is acknowledged is on disk in any case");
			return;
		}
	if (!slice_is(name, "db_file") || ln->value.n == 0) {
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "delete this line", "%s has no option '%s'", PERSIST,
		    text_esc(esc, sizeof esc, name));
		return;
	}
	parse_warn(p, ln->line, ln->name_col, ln->name,
	    "write 'persistence true', and 'persistence_location FOLDER'",
	    "what another broker has in this file is not read; the store is "
	    "nightjar.db beside it");
	while (dir.n > 0 && dir.p[dir.n - 1] != '/')
		dir.n--;
	if (p->c->persistence_location)
		return; /* that is where */
	if (dir.n > 1)
		dir.n--;
	if (!value_string(
		p, &p->c->persistence_location, dir.n ? dir : LIT(".")))
		return;
}

void
plugin_read(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	bool named = strcmp(o->name, "plugin_load") == 0;
	struct slice rest = ln->value, path = SLICE_NONE, name = SLICE_NONE;
	uint32_t col = ln->value_col, path_col;
	const struct bundled *b;
	struct conf_opt said = *o;

	plugin_end(p);
	p->in_plugin = true;
	if (named && conf_lex_word(&rest, &col, &path, &path_col))
		name = path;
	if ((named && name.n == 0) ||
	    !conf_lex_word(&rest, &col, &path, &path_col)) {
		parse_fault(p, ln->line, ln->name_col, SLICE_NONE, NULL, NULL,
		    "%s needs a value: expected %s", o->name, o->args);
		return;
	}
	b = find(path);
	if (!named && b && strcmp(b->base, PERSIST) == 0) {
		p->c->persistence = true;
		p->plugin.base = b->base;
		return;
	}
	if (named)
		add_named(p, ln, name, b ? b->option : NULL);
	if (!b || !b->option) {
		said.mend = b ? b->mend
			      : "let clients in by 'password_file', "
				"'dynamic_security_file', 'jwt_key_file' or "
				"by certificates";
		parse_standing(p, &said, conf_opt_find(ln->name)->name, ln);
		return;
	}
	p->plugin = (struct parse_plugin){
		.base = b->base,
		.needs = b->needs,
		.option = b->option,
		.at = { ln->line, p->file,
		    (uint16_t)(ln->name_col < UINT16_MAX ? ln->name_col : 1) },
		.global = strcmp(o->name, "global_plugin") == 0,
		.loaded = named ? (int)p->c->nplugins : 0,
	};
}

/* Its name behind plugin_opt_ or auth_opt_. */
static struct slice
option_name(struct slice name)
{
	static const char *const before[] = { "plugin_opt_", "auth_opt_" };

	for (size_t i = 0; i < 2; i++)
		if (slice_has_prefix(name, slice_str(before[i])))
			return slice_of(name.p + strlen(before[i]),
			    name.n - strlen(before[i]));
	return name;
}

void
plugin_option(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	struct parse_plugin *x = &p->plugin;
	struct slice name = option_name(ln->name);
	bool per_listener = p->c->per_listener_settings, first;
	struct conf_plugin *load;
	const char *option;
	char esc[TEXT_ESC];

	(void)o;
	if (!x->base) /* told by its plug-in */
		return;
	if (strcmp(x->base, PERSIST) == 0) {
		persist_option(p, ln, name);
		return;
	}
	first = slice_is(name, "password_init_file") &&
	    strcmp(x->option, "dynamic_security_file") == 0;
	if (!first && !slice_is(name, x->needs)) {
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "delete this line", "%s has no option '%s'", x->base,
		    text_esc(esc, sizeof esc, name));
		return;
	}
	if (!first)
		x->given = true;
	option = first ? "dynamic_security_password_file" : x->option;
	if (x->loaded) {
		load = &p->c->plugins[x->loaded - 1];
		(void)value_read(p,
		    &(const struct conf_opt){
			.name = option, .type = CONF_T_PATH },
		    (struct value){ ln->value, ln->line,
			ln->value.n ? ln->value_col : ln->name_col },
		    first ? &load->password : &load->file, false);
		return;
	}
	/* for all listeners, whatever stands above it */
	if (x->global)
		p->c->per_listener_settings = false;
	(void)parse_plain(p, conf_opt_find(slice_str(option)), ln);
	p->c->per_listener_settings = per_listener;
}
