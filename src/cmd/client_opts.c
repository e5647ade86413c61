/* SPDX-License-Identifier: Apache-2.0
 * client_opts - see client_opts.h.  From words to struct cli, and whether what
 *               was asked for fits together.
 */
#include "cmd/client_opts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "cmd/client_opts_table.h"
#include "wire/topic.h"

#define DEFAULTS_MAX 65536 /* bytes of a defaults file */

void
cli_warn(const struct cli *c, const char *fmt, ...)
{
	va_list ap;

	if (c->quiet)
		return;
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

void
cli_error(const struct cli *c, const struct nj_why *why)
{
	if (c->quiet)
		return;
	(void)fprintf(stderr, "Error: %s.\n", why->what);
	if (why->mend[0])
		(void)fprintf(stderr, "       To mend it: %s\n", why->mend);
}

void
cli_usage_error(struct cli *c, const struct nj_why *why)
{
	c->quiet = false;
	cli_error(c, why);
	(void)fprintf(stderr, "\nUse '%s --help' to see usage.\n", c->self);
}

static bool
is_called(const struct cli_opt *o, const char *word)
{
	return (o->letter && strcmp(o->letter, word) == 0) ||
	    (o->name && strcmp(o->name, word) == 0);
}

static void
why_unknown(const struct cli *c, const char *word, struct nj_why *why)
{
	const struct cli_opt *best = NULL;
	/* Further away is no slip of the finger. */
	unsigned least = strlen(word) < 12 ? 1 + (unsigned)strlen(word) / 3 : 5;
	char esc[TEXT_ESC];

	why_set(why, "unknown option '%s'",
	    text_esc(esc, sizeof esc, slice_str(word)));
	for (size_t i = 0; i < cli_opts_n; i++) {
		const struct cli_opt *o = &cli_opts[i];
		unsigned d = o->name && (o->progs & c->prog)
		    ? text_distance(o->name, word)
		    : least;

		if (is_called(o, word))
			why_mend(why,
			    "it is an option of other programs, not "
			    "of %s",
			    c->self);
		if (d < least) {
			least = d;
			best = o;
		}
	}
	if (best && strncmp(word, "--", 2) == 0)
		why_mend(why, "did you mean %s?", best->name);
}

static const struct cli_opt *
find(const struct cli *c, const char *word)
{
	for (size_t i = 0; i < cli_opts_n; i++)
		if ((cli_opts[i].progs & c->prog) &&
		    is_called(&cli_opts[i], word))
			return &cli_opts[i];
	return NULL;
}

static int
take_number(
    struct cli *c, const struct cli_opt *o, char **argv, struct nj_why *why)
{
	char esc[TEXT_ESC];
	long v;

	if (!text_to_long(argv[1], o->min, o->max, &v)) {
		why_set(why, "invalid value \"%s\" for %s",
		    text_esc(esc, sizeof esc, slice_str(argv[1])), argv[0]);
		why_mend(
		    why, "it is a number between %ld and %ld", o->min, o->max);
		return -1;
	}
	memcpy((char *)c + o->off, &v, sizeof v);
	return 1;
}

/* Values used, or -1. */
static int
take_value(struct cli *c, const struct cli_opt *o, int argc, char **argv,
    struct nj_why *why)
{
	void *at = (char *)c + o->off;

	switch (o->kind) {
	case CLI_ON:
		*(bool *)at = true;
		return 0;
	case CLI_TEXT:
		memcpy(at, &argv[1], sizeof argv[1]);
		return 1;
	case CLI_NUMBER:
		return take_number(c, o, argv, why);
	case CLI_LIST:
		if (cli_list_add(at, argv[1]) == NJ_OK)
			return 1;
		why_set(why, "more than %d of %s", CLI_LIST_MAX, argv[0]);
		return -1;
	case CLI_FN:
		return o->fn(c, o, argc - 1, argv + 1, why);
	case CLI_REFUSE:
		break;
	}
	why_set(why, "option '%s' cannot be used", argv[0]);
	why_mend(why, "%s", o->help);
	return -1;
}

int
cli_take(struct cli *c, int argc, char **argv, struct nj_why *why)
{
	const struct cli_opt *o = find(c, argv[0]);
	int used;

	if (!o) {
		why_unknown(c, argv[0], why);
		return 0;
	}
	if (o->value && argc < 2) {
		why_set(why, "%s argument given, but no %s", argv[0], o->value);
		return 0;
	}
	used = take_value(c, o, argc, argv, why);
	return used < 0 ? 0 : used + 1;
}

/*
 * One line of the defaults file: an option and what is behind it, spaces
 * included; words are cut only for options that take several values.
 */
static enum nj_err
take_line(struct cli *c, char *line, struct nj_why *why)
{
	char *argv[5], *rest;
	const struct cli_opt *o;
	int argc = 1, most, used;

	line += strspn(line, " \t");
	if (line[0] == '\0' || line[0] == '#')
		return NJ_OK;
	argv[0] = strtok_r(line, " \t", &rest);
	o = find(c, argv[0]);
	most = o && o->kind == CLI_FN && o->max > 1 ? (int)o->max : 1;
	rest = rest ? rest + strspn(rest, " \t") : NULL;
	while (rest && rest[0] != '\0' && argc <= most) {
		char *end = argc < most ? strpbrk(rest, " \t") : NULL;

		argv[argc++] = rest;
		if (end)
			*end++ = '\0';
		rest = end ? end + strspn(end, " \t") : NULL;
	}
	if (!(used = cli_take(c, argc, argv, why)))
		return NJ_INVALID;
	if (used < argc) {
		why_set(why, "%s is followed by more than it takes", argv[0]);
		return NJ_INVALID;
	}
	return NJ_OK;
}

static const char *
defaults_name(enum cli_prog prog)
{
	return prog == CLI_PUB ? "mosquitto_pub"
	    : prog == CLI_SUB  ? "mosquitto_sub"
			       : "mosquitto_rr";
}

/* "" when there is no folder for it. */
static void
defaults_path(enum cli_prog prog, char *path, size_t size)
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	const char *name = defaults_name(prog);

	path[0] = '\0';
	if (xdg && xdg[0])
		(void)snprintf(path, size, "%s/%s", xdg, name);
	else if (home && home[0])
		(void)snprintf(path, size, "%s/.config/%s", home, name);
}

/* How many words an option takes with its values, as far as they are there. */
static int
words_of(const struct cli_opt *o, int n, char **argv)
{
	int words = o && o->value ? 2 : 1;

	if (o && o->kind == CLI_FN && o->max > 1) /* -D */
		words = n > 2 && strcmp(argv[2], "user-property") == 0 ? 5 : 4;
	return words < n ? words : n;
}

/* The value of -o, which comes before all other options; NULL without. */
static enum nj_err
find_options_file(
    struct cli *c, int argc, char **argv, const char **out, struct nj_why *why)
{
	*out = NULL;
	for (int i = 1; i < argc;
	     i += words_of(find(c, argv[i]), argc - i, argv + i)) {
		if (strcmp(argv[i], "-o") != 0)
			continue;
		if (*out) {
			why_set(why, "-o may be given once");
			return NJ_INVALID;
		}
		*out = i + 1 < argc ? argv[i + 1] : NULL;
	}
	return NJ_OK;
}

static enum nj_err
take_file(struct cli *c, const char *path, struct nj_why *why)
{
	struct buf text = { 0 };
	char *copy, *line, *rest;
	unsigned at = 0;
	enum nj_err e;

	if ((e = file_read(path, DEFAULTS_MAX, &text, why)))
		goto out;
	e = NJ_NOMEM;
	if (!(copy = cli_own(
		  c, (const char *)buf_slice(&text).p, buf_len(&text))))
		goto out;
	e = NJ_OK;
	for (rest = copy; !e && (line = strsep(&rest, "\n"));) {
		line[strcspn(line, "\r")] = '\0';
		at++;
		if ((e = take_line(c, line, why)))
			why_prefix(why, "%s line %u", path, at);
	}
out:
	buf_wipe(&text);
	if (!e && c->options_file) {
		why_set(why, "%s: -o cannot stand in a file", path);
		e = NJ_INVALID;
	}
	return e;
}

/* The file of -o, which must be there; else the default one, which need not. */
static enum nj_err
take_defaults(struct cli *c, int argc, char **argv, struct nj_why *why)
{
	const char *given;
	char path[4096];
	enum nj_err e;

	if ((e = find_options_file(c, argc, argv, &given, why)))
		return e;
	if (given)
		return take_file(c, given, why);
	defaults_path(c->prog, path, sizeof path);
	if (path[0] == '\0' || access(path, F_OK) != 0)
		return NJ_OK;
	return take_file(c, path, why);
}

/* The four below judge what was asked for as a whole. */

static enum nj_err
bad(struct nj_why *why, const char *what, const char *mend)
{
	why_set(why, "%s", what);
	why_mend(why, "%s", mend);
	return NJ_INVALID;
}

static enum nj_err
check_session(struct cli *c, struct nj_why *why)
{
	if (c->any_property || c->auth_method)
		c->version = MQTT5;
	if (c->reauth_s && !c->auth_method)
		return bad(why, "--reauth is about --auth-method",
		    "add --auth-method SCRAM-SHA-256");
	if (c->id && c->id_prefix)
		return bad(why, "-i and -I cannot be used together", "");
	if (c->persistent && !c->id && !c->id_prefix)
		return bad(why,
		    "you must provide a client id if you are using "
		    "the -c option",
		    "add -i ID");
	if (c->version != MQTT5 && c->password && !c->user)
		return bad(why, "a password without a user name needs MQTT 5",
		    "add -u NAME, or -V mqttv5");
	if (c->version != MQTT5 && c->session_expiry >= 0)
		cli_warn(c,
		    "Warning: -x has no effect below MQTT 5; add -V "
		    "mqttv5.");
	if (c->version != MQTT5 &&
	    (c->retain_as_published || c->retain_handling))
		return bad(why,
		    "--retain-as-published and --retain-handling "
		    "need MQTT 5",
		    "add -V mqttv5");
	if (!c->will_topic &&
	    (c->will_payload || c->will_qos || c->will_retain))
		return bad(why, "will given, but no will topic",
		    "add "
		    "--will-topic TOPIC");
	if (c->will_topic && !topic_name_ok(slice_str(c->will_topic)))
		return bad(why, "invalid will topic",
		    "it is not empty and "
		    "has no + or #");
	return NJ_OK;
}

static enum nj_err
check_way(struct cli *c, struct nj_why *why)
{
	if (c->unix_path && (c->srv || c->proxy.host))
		return bad(why,
		    "--unix goes together with neither -S nor --proxy", "");
	if (c->srv && c->port && !c->url)
		return bad(why, "-S and -p cannot be used together",
		    "the SRV record has the port");
	return NJ_OK;
}

static enum nj_err
check_tls(struct cli *c, struct nj_why *why)
{
	bool asked;

	if ((c->tls.certfile != NULL) != (c->tls.keyfile != NULL))
		return bad(why,
		    "both --cert and --key must be provided if one "
		    "of them is",
		    "");
	if ((c->tls.psk_hex != NULL) != (c->tls.psk_identity != NULL))
		return bad(why, "--psk and --psk-identity need each other", "");
	if ((c->keyform || c->keypass_file) && !c->tls.keyfile)
		return bad(why,
		    "--keyform and --keypass-file are about --key, "
		    "which is missing",
		    "");
	if (c->tls.psk_hex && (c->tls.cafile || c->tls.capath))
		return bad(
		    why, "only one of --psk and --cafile can be used", "");
	if (c->tls.psk_hex)
		c->use_tls = true;
	if (c->port == 8883 && !c->unix_path)
		c->use_tls = true;
	asked = c->use_tls;
	if (c->no_tls)
		c->use_tls = false;
	if (!asked && !c->no_tls && c->tls_modifier)
		return bad(why, "TLS options are given, but TLS is not used",
		    "add --cafile FILE, or --tls-use-os-certs for a broker "
		    "with a public certificate");
	/* Somebody must be trusted. */
	if (c->use_tls && !c->tls.cafile && !c->tls.capath && !c->tls.psk_hex)
		c->tls.os_certs = true;
	return NJ_OK;
}

static bool
filter_ok(struct slice s)
{
	struct slice group, filter;

	return topic_filter_ok(s) &&
	    topic_share(s, &group, &filter) != NJ_MALFORMED;
}

static enum nj_err
check_topics(struct cli *c, struct nj_why *why)
{
	const struct {
		const struct cli_list *list;
		const char *what;
	} lists[] = {
		{ &c->topics, "subscription topic" },
		{ &c->filter_out, "filter topic" },
		{ &c->unsubscribe_from, "unsubscribe topic" },
	};
	char esc[TEXT_ESC];

	if (c->prog != CLI_SUB)
		return NJ_OK;
	for (size_t l = 0; l < 3; l++)
		for (size_t i = 0; i < lists[l].list->n; i++) {
			struct slice s = slice_str(lists[l].list->v[i]);

			if (filter_ok(s))
				continue;
			why_set(why, "invalid %s '%s'", lists[l].what,
			    text_esc(esc, sizeof esc, s));
			why_mend(why,
			    "+ stands for one whole level, # for all "
			    "that follow, at the end only");
			return NJ_INVALID;
		}
	return NJ_OK;
}

static void
print_help(const struct cli *c)
{
	(void)printf("Usage: %s [OPTION]...\n\n", c->self);
	for (size_t i = 0; i < cli_opts_n; i++) {
		const struct cli_opt *o = &cli_opts[i];
		char left[64];

		if (!(o->progs & c->prog) || o->kind == CLI_REFUSE)
			continue;
		(void)snprintf(left, sizeof left, "%s%s%s %s",
		    o->letter ? o->letter : "    ",
		    o->letter && o->name ? ", " : "", o->name ? o->name : "",
		    o->value ? o->value : "");
		(void)printf("  %-34s %s\n", left, o->help);
	}
	(void)printf("\nDefaults are read from $XDG_CONFIG_HOME/%s, or "
		     "~/.config/%s, or from what -o names: one option a "
		     "line.\n",
	    defaults_name(c->prog), defaults_name(c->prog));
}

static enum nj_err
take_words(struct cli *c, int argc, char **argv, struct nj_why *why)
{
	enum nj_err e;

	if ((e = take_defaults(c, argc, argv, why)))
		return e;
	for (int i = 1; i < argc;) {
		int used = cli_take(c, argc - i, argv + i, why);

		if (!used)
			return NJ_INVALID;
		i += used;
	}
	if (c->help || c->show_version)
		return NJ_EOF;
	if (c->url && (e = cli_url(c, why)))
		return e;
	if ((e = check_session(c, why)) || (e = check_way(c, why)) ||
	    (e = check_tls(c, why)))
		return e;
	return check_topics(c, why);
}

enum nj_err
cli_parse(struct cli *c, enum cli_prog prog, int argc, char **argv)
{
	struct nj_why why = { .what = "" };
	const char *slash = strrchr(argv[0], '/');
	const char *base = slash ? slash + 1 : argv[0];
	enum nj_err e;

	*c = (struct cli){
		.prog = prog,
		.self = prog == CLI_PUB ? "nightjar pub"
		    : prog == CLI_SUB	? "nightjar sub"
					: "nightjar rr",
		.keep_alive = 60,
		.version = prog == CLI_RR ? MQTT5 : MQTT311,
		.session_expiry = -1,
		.random_filter = 100.0,
		.repeat = 1,
	};
	if (strcmp(base, defaults_name(prog)) == 0)
		c->self = defaults_name(prog);
	e = take_words(c, argc, argv, &why);
	if (e == NJ_EOF && c->help)
		print_help(c);
	else if (e == NJ_EOF)
		(void)printf("%s version %s\n", c->self, NJ_VERSION);
	if (!e || e == NJ_EOF)
		return e;
	if (!why.what[0])
		why_set(&why, "%s", nj_strerror(e));
	cli_usage_error(c, &why);
	return NJ_INVALID;
}

void
cli_fini(struct cli *c)
{
	struct cli_props *props[] = { &c->connect, &c->publish, &c->subscribe,
		&c->unsubscribe, &c->disconnect, &c->will };

	for (size_t i = 0; i < sizeof props / sizeof *props; i++)
		buf_fini(&props[i]->extra);
	for (size_t i = 0; i < c->owned.n; i++) {
		char *s = (char *)(uintptr_t)c->owned.v[i];

		secret_wipe(s, strlen(s));
		free(s);
	}
	free(c->owned.v);
	free(c->topics.v);
	free(c->filter_out.v);
	free(c->unsubscribe_from.v);
	secret_free(c->password);
	secret_free(c->proxy_password);
	secret_free(c->keypass);
}
