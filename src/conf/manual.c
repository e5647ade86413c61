/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/manual.h"

#include <stdbool.h>
#include <string.h>

#include "conf/table.h"

#define WIDTH 76 /* of --help-options */

static const struct {
	enum conf_scope scope;
	const char *title, *intro;
} sections[] = {
	{ CONF_LISTENER, "LISTENERS",
	    "These are about the listener above them, or about the default "
	    "one where a port or bind_address line stands above them." },
	{ CONF_SECURITY, "LOGGING IN",
	    "These are about all listeners, or with per_listener_settings "
	    "true about the listener above them." },
	{ CONF_GLOBAL, "THE BROKER", "These are about the whole broker." },
	{ CONF_PLUGIN, "PLUG-INS",
	    "Those that come with Mosquitto and are built in here work, "
	    "by the options which they stand for.  No other is loaded: a "
	    "file that names one is refused." },
	{ CONF_BRIDGE, "BRIDGES",
	    "Bridges are not served yet: a file with a connection is "
	    "refused.  Its lines are read all the same, so that mistakes in "
	    "them show." },
};

static const char *
args_of(const struct conf_opt *o)
{
	if (o->args)
		return o->args;
	switch (o->type) {
	case CONF_T_BOOL:
	case CONF_T_TRI:
		return "true | false";
	case CONF_T_U32:
	case CONF_T_LIMIT:
		return "NUMBER";
	case CONF_T_SIZE:
		return "BYTES";
	case CONF_T_DURATION:
		return "DURATION";
	case CONF_T_STRING:
		return "TEXT";
	case CONF_T_PATH:
		return "PATH";
	case CONF_T_ENUM:
	case CONF_T_SET:
	case CONF_T_FORM:
		break;
	}
	return "WORD";
}

static const char *
standing_of(const struct conf_opt *o)
{
	switch (o->standing) {
	case CONF_WORKS:
		return "";
	case CONF_LATER:
		return "Not served yet: warned about.";
	case CONF_LATER_STOPS:
		if (o->scope == CONF_PLUGIN) /* plugins.c serves some */
			return "Of any other plug-in: the start is refused.";
		return "Not served yet: the start is refused.";
	case CONF_IGNORED:
		return "Without effect: warned about.";
	case CONF_REFUSED:
		return "Refused.";
	}
	return "";
}

/* The sentences after the help line, one call each. */
static void
details(const struct conf_opt *o,
    void (*fn)(FILE *to, const char *label, const char *text), FILE *to)
{
	char expects[256];

	if (o->words || o->type == CONF_T_U32 || o->type == CONF_T_SIZE) {
		conf_opt_expects(o, expects, sizeof expects);
		fn(to, "Takes", expects);
	}
	if (o->def)
		fn(to, "Default:", o->def);
	for (size_t i = 0; i < conf_table_n; i++)
		if (conf_table[i].same_as &&
		    strcmp(conf_table[i].same_as, o->name) == 0)
			fn(to, "Also written", conf_table[i].name);
	if (o->flags & CONF_RELOAD)
		fn(to, "A reload brings a change.", NULL);
	if (o->flags & CONF_OURS)
		fn(to, "Not known to Mosquitto.", NULL);
	if (*standing_of(o))
		fn(to, standing_of(o), NULL);
}

/* Breaks text into lines behind an indent; *col is where the line is. */
static void
wrap(FILE *to, const char *text, size_t indent, size_t *col)
{
	while (*text) {
		size_t n = strcspn(text, " ");

		if (*col > indent && *col + 1 + n > WIDTH) {
			(void)fprintf(to, "\n%*s", (int)indent, "");
			*col = indent;
		} else if (*col > indent) {
			(void)fputc(' ', to);
			++*col;
		}
		(void)fprintf(to, "%.*s", (int)n, text);
		*col += n;
		text += n;
		text += strspn(text, " ");
	}
}

static void
help_detail(FILE *to, const char *label, const char *text)
{
	size_t col = 8;

	(void)fprintf(to, "        ");
	wrap(to, label, 8, &col);
	if (text)
		wrap(to, text, 8, &col);
	(void)fputc('\n', to);
}

static void
help_row(FILE *to, const struct conf_opt *o)
{
	size_t col = 8;

	(void)fprintf(to, "    %s %s\n        ", o->name, args_of(o));
	wrap(to, o->help, 8, &col);
	(void)fputc('\n', to);
	details(o, help_detail, to);
}

void
conf_help_write(FILE *to)
{
	for (size_t s = 0; s < sizeof sections / sizeof *sections; s++) {
		size_t col = 0;

		(void)fprintf(to, "%s%s\n", s ? "\n" : "", sections[s].title);
		wrap(to, sections[s].intro, 0, &col);
		(void)fputs("\n\n", to);
		for (size_t i = 0; i < conf_table_n; i++)
			if (!conf_table[i].same_as &&
			    conf_table[i].scope == sections[s].scope)
				help_row(to, &conf_table[i]);
	}
}

static void
mdoc_word(FILE *to, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\\')
			(void)fputs("\\e", to);
		else if (s[i] == '-')
			(void)fputs("\\-", to);
		else
			(void)fputc(s[i], to);
	}
}

/* Text into mdoc: no line may begin with a dot or quote by chance, and a
 * sentence begins a line, which is how roff finds sentence ends. */
static void
mdoc_text(FILE *to, const char *s)
{
	size_t col = 0;

	while (*s) {
		size_t n = strcspn(s, " "), gap = strspn(s + n, " ");

		if (col > 0 && col + 1 + n > WIDTH) {
			(void)fputc('\n', to);
			col = 0;
		} else if (col > 0) {
			(void)fputc(' ', to);
			col++;
		}
		if (col == 0 && (*s == '.' || *s == '\''))
			(void)fputs("\\&", to);
		mdoc_word(to, s, n);
		col = gap > 1 ? WIDTH : col + n;
		s += n + gap;
	}
	(void)fputc('\n', to);
}

static void
mdoc_detail(FILE *to, const char *label, const char *text)
{
	char line[512];

	(void)snprintf(line, sizeof line, "%s%s%s%s", label, text ? " " : "",
	    text ? text : "", text ? "." : "");
	mdoc_text(to, line);
}

static void
mdoc_row(FILE *to, const struct conf_opt *o)
{
	char line[512];

	(void)fprintf(to, ".It Ic \"%s\" Ar \"%s\"\n", o->name, args_of(o));
	(void)snprintf(line, sizeof line, "%s.", o->help);
	mdoc_text(to, line);
	details(o, mdoc_detail, to);
}

static const char man_head[] =
    ".\\\" SPDX-License-Identifier: Apache-2.0\n"
    ".\\\" Written by tools/gen-conf-man from src/conf/table.c; "
    "do not edit.\n"
    ".Dd November 21, 2026\n"
    ".Dt NIGHTJAR.CONF 5\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm nightjar.conf\n"
    ".Nd configuration of the Nightjar MQTT broker\n"
    ".Sh DESCRIPTION\n"
    ".Ic nightjar serve Fl c Ar file\n"
    "reads the grammar and the names of\n"
    ".Xr mosquitto.conf 5 ,\n"
    "and some names of its own.\n"
    ".Pp\n"
    "A line has a name, blanks and a value.\n"
    "Empty lines and lines that begin with\n"
    ".Sq #\n"
    "are comments.\n"
    "A\n"
    ".Sq #\n"
    "after a word or number begins a comment too, but in text and paths\n"
    "it is part of the value.\n"
    "Numbers may be decimal, octal (0 in front) or hexadecimal (0x in\n"
    "front); sizes may end in k, M or G.\n"
    ".Pp\n"
    "Without any listener, port or bind_address the broker serves\n"
    "127.0.0.1 and ::1 on port 1883, to anonymous clients.\n"
    "As soon as one is given, anonymous clients are let in only where\n"
    "the file says so.\n"
    "An option that restricts access and does not work yet refuses the\n"
    "start; one that only tunes is warned about.\n"
    ".Pp\n"
    ".Ic nightjar serve Fl c Ar file Fl -test-config\n"
    "tells every fault of the file, and of the files that it names, in one "
    "run.\n";

static const char man_tail[] =
    ".Sh ENVIRONMENT\n"
    ".Bl -tag -width Ds\n"
    ".It Ev MOSQUITTO_PERSISTENCE_LOCATION\n"
    "Takes the place of\n"
    ".Ic persistence_location .\n"
    ".It Ev CREDENTIALS_DIRECTORY\n"
    "Where\n"
    ".Ic keyfile_password_file\n"
    "finds a name without\n"
    ".Sq / ;\n"
    "set by systemd.\n"
    ".El\n"
    ".Sh EXAMPLES\n"
    "MQTT over TLS for clients with a certificate, whose CN is the user "
    "name:\n"
    ".Bd -literal -offset indent\n"
    "listener 8883\n"
    "cafile /var/lib/nightjar/ca.crt\n"
    "certfile /var/lib/nightjar/server.crt\n"
    "keyfile /var/lib/nightjar/server.key\n"
    "require_certificate true\n"
    "use_identity_as_username true\n"
    ".Ed\n"
    ".Sh SEE ALSO\n"
    ".Xr nightjar 1 ,\n"
    ".Xr nightjar-passwd 1 ,\n"
    ".Xr nightjar-serve 8\n";

void
conf_man_write(FILE *to)
{
	(void)fputs(man_head, to);
	for (size_t s = 0; s < sizeof sections / sizeof *sections; s++) {
		(void)fprintf(to, ".Sh %s\n", sections[s].title);
		mdoc_text(to, sections[s].intro);
		(void)fputs(".Bl -tag -width Ds\n", to);
		for (size_t i = 0; i < conf_table_n; i++)
			if (!conf_table[i].same_as &&
			    conf_table[i].scope == sections[s].scope)
				mdoc_row(to, &conf_table[i]);
		(void)fputs(".El\n", to);
	}
	(void)fputs(man_tail, to);
}
