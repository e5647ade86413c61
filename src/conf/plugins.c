/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines that load plug-ins.  Those that come with Mosquitto and are built in
 * here become the option that stands for them; any other is refused, because
 * what it would keep out would come in.
 */
#include <string.h>

#include "base/text.h"
#include "conf/parse.h"

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
	{ "mosquitto_persist_sqlite.so", NULL, NULL,
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

void
plugin_read(
    struct parse *p, const struct conf_opt *o, const struct conf_line *ln)
{
	bool named = strcmp(o->name, "plugin_load") == 0;
	struct slice rest = ln->value, path = SLICE_NONE;
	uint32_t col = ln->value_col, path_col;
	const struct bundled *b;
	struct conf_opt said = *o;

	plugin_end(p);
	p->in_plugin = true;
	if (!conf_lex_word(&rest, &col, &path, &path_col) ||
	    (named && !conf_lex_word(&rest, &col, &path, &path_col))) {
		parse_fault(p, ln->line, ln->name_col, SLICE_NONE, NULL, NULL,
		    "%s needs a value: expected %s", o->name, o->args);
		return;
	}
	b = find(path);
	if (!b || !b->option || named) {
		said.mend = b && b->mend ? b->mend
		    : b ? "write 'plugin PATH' below the listener that it is "
			  "about, or 'global_plugin PATH'"
			: "let clients in by 'password_file', "
			  "'dynamic_security_file' or by certificates, or "
			  "wait for it";
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
	bool per_listener = p->c->per_listener_settings;
	char esc[TEXT_ESC];

	(void)o;
	if (!x->base) /* told by its plug-in */
		return;
	if (slice_is(name, "password_init_file")) {
		parse_warn(p, ln->line, ln->name_col, ln->name,
		    "make the file: mosquitto_ctrl dynsec init FILE ADMIN",
		    "no administrator is made here from a password in a file");
		return;
	}
	if (!slice_is(name, x->needs)) {
		parse_fault(p, ln->line, ln->name_col, ln->name, NULL,
		    "delete this line", "%s has no option '%s'", x->base,
		    text_esc(esc, sizeof esc, name));
		return;
	}
	x->given = true;
	/* for all listeners, whatever stands above it */
	if (x->global)
		p->c->per_listener_settings = false;
	(void)parse_plain(p, conf_opt_find(slice_str(x->option)), ln);
	p->c->per_listener_settings = per_listener;
}
