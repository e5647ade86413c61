/* SPDX-License-Identifier: Apache-2.0
 * nightjar acl explain: who may what, and which rule says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/acl.h"
#include "auth/suppose.h"
#include "base/buf.h"
#include "base/text.h"
#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "conf/conf.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* As grep's: what was asked is no. */
enum { EXIT_MAY = 0, EXIT_MAY_NOT = 1, EXIT_CANNOT_SAY = 2 };

struct explaining {
	struct ask_opts ask;
	const char *user, *client, *address, *listener, *action;
	const char *acl_file;
	bool live;
	struct flag_list groups, words;
};

/* What is known of the answer, whoever gave it. */
static int
print_answer(bool json, const json_t *r)
{
	bool may = json_is_true(json_object_get(r, "allowed"));
	char text[640], rule[512], where[160];

	if (json) {
		ask_print_json(r);
		return may ? EXIT_MAY : EXIT_MAY_NOT;
	}
	printf("%s: %s\n", may ? "allowed" : "denied",
	    ask_text(r, "text", text, sizeof text));
	printf("  rule      %s\n", ask_text(r, "rule", rule, sizeof rule));
	if (*ask_text(r, "listener", where, sizeof where))
		printf("  listener  %s%s\n", where,
		    json_is_false(json_object_get(r, "one_rule_set"))
			? " (others have other rules: --listener)"
			: "");
	if (json_is_true(json_object_get(r, "granted")))
		printf("  note      the subscription is granted all the same "
		       "(acl_deny_subscribe), and brings nothing\n");
	return may ? EXIT_MAY : EXIT_MAY_NOT;
}

/* Live. */

static int
explain_live(const struct explaining *x)
{
	json_t *args = ask_args("user", x->user, "client", x->client, "address",
	    x->address, "listener", x->listener, "action", x->action, "topic",
	    x->words.v[0], (char *)NULL);
	json_t *result = NULL, *groups = json_array();
	struct nj_why why = { 0 };
	int status = EXIT_CANNOT_SAY;
	enum nj_err e;

	for (unsigned i = 0; i < x->groups.n; i++)
		(void)json_array_append_new(
		    groups, json_string(x->groups.v[i]));
	(void)json_object_set_new(args, "groups", groups);
	if ((e = ask(&x->ask, "acl explain", args, &result, &why)))
		say_why(&why, e);
	else
		status = print_answer(x->ask.json, result);
	json_decref(result);
	return status;
}

/* Against files. */

static const struct conf_listener *
find_listener(const struct conf *c, const char *name)
{
	for (uint32_t i = 0; i < c->nlisteners; i++) {
		const struct conf_listener *l = &c->listeners[i];
		char port[8];

		(void)snprintf(port, sizeof port, "%u", l->port);
		if (!name || strcmp(name, port) == 0 ||
		    (l->unix_path && strcmp(name, l->unix_path) == 0))
			return l;
	}
	return NULL;
}

static bool
same_rules(const struct conf *c)
{
	const char *first = c->nlisteners ? c->listeners[0].acl_file : NULL;

	for (uint32_t i = 1; i < c->nlisteners; i++) {
		const char *other = c->listeners[i].acl_file;

		if (first != other &&
		    (!first || !other || strcmp(first, other) != 0))
			return false;
	}
	return true;
}

/* What stands against the configuration is the business of --test-config. */
static enum nj_err
rules_of_conf(const struct explaining *x, char **acl, char **where, bool *sure,
    struct nj_why *why)
{
	const struct conf_listener *l;
	struct conf_report report = { 0 };
	struct conf c = { 0 };
	enum nj_err e = conf_load(x->ask.conf, NULL, &c, &report);

	conf_report_free(&report);
	if (e == NJ_NOMEM)
		return e;
	if (e) {
		why_set(why, "%s cannot be used", x->ask.conf);
		why_mend(
		    why, "nightjar serve --test-config -c %s", x->ask.conf);
	} else if (!(l = find_listener(&c, x->listener))) {
		why_set(why, "%s has no listener %s", x->ask.conf,
		    x->listener ? x->listener : "");
		e = NJ_NOTFOUND;
	} else if ((l->acl_file && !(*acl = strdup(l->acl_file))) ||
	    asprintf(where, l->unix_path ? "unix %s" : "%s:%u",
		l->unix_path  ? l->unix_path
		    : l->host ? l->host
			      : "*",
		l->port) < 0) {
		*where = NULL;
		e = NJ_NOMEM;
	}
	*sure = x->listener || same_rules(&c);
	conf_free(&c);
	return e;
}

static enum nj_err
decide_by_files(const struct explaining *x, const struct supposed *s,
    const char *file, bool sure, json_t *out, struct nj_why *why)
{
	struct asker rules = { 0 };
	struct acl *acl = NULL;
	struct decision d;
	char text[640], where[160];
	enum nj_err e;
	bool may;

	(void)x;
	if (file && (e = acl_load(file, &acl, why)))
		return e;
	rules.acl = acl;
	may = suppose_decide(s, &rules, &d);
	suppose_text(s, may, &d, text, sizeof text);
	if (json_object_set_new(out, "allowed", json_boolean(may)) ||
	    json_object_set_new(out, "partly", json_boolean(d.each)) ||
	    json_object_set_new(out, "one_rule_set", json_boolean(sure)) ||
	    json_object_set_new(out, "rule", json_string(d.text)) ||
	    json_object_set_new(out, "listener",
		json_string(text_esc(where, sizeof where, s->listener))) ||
	    json_object_set_new(out, "text", json_string(text)))
		e = NJ_NOMEM;
	else
		e = NJ_OK;
	acl_unref(acl);
	return e;
}

static struct slice
given(const char *s)
{
	return s ? slice_str(s) : SLICE_NONE;
}

static int
explain_files(const struct explaining *x)
{
	struct supposed s = {
		.user = given(x->user),
		.client_id = given(x->client),
		.address = given(x->address),
		.listener = given(x->listener),
		.topic = slice_str(x->words.v[0]),
	};
	char *file = x->acl_file ? strdup(x->acl_file) : NULL, *where = NULL;
	int status = EXIT_CANNOT_SAY;
	json_t *out = json_object();
	struct buf groups = { 0 };
	struct nj_why why = { 0 };
	bool sure = true;
	enum nj_err e = NJ_OK;

	for (unsigned i = 0; !e && i < x->groups.n; i++)
		e = buf_printf(&groups, "%s\n", x->groups.v[i]);
	s.groups = buf_slice(&groups);
	if (!suppose_action(slice_str(x->action), &s.what)) {
		why_set(&why, "--action is publish, subscribe or receive");
		e = NJ_INVALID;
	}
	if (!e)
		e = suppose_check(&s, &why);
	if (!e && !file)
		e = rules_of_conf(x, &file, &where, &sure, &why);
	if (where)
		s.listener = slice_str(where);
	if (!e)
		e = decide_by_files(x, &s, file, sure, out, &why);
	if (e)
		say_why(&why, e);
	else
		status = print_answer(x->ask.json, out);
	json_decref(out);
	buf_fini(&groups);
	free(where);
	free(file);
	return status;
}

static int
acl_explain(int argc, char **argv)
{
	struct explaining x = { .action = "publish" };
	const struct flag flags[] = {
		{ "user", 'u', FLAG_TEXT, &x.user, "NAME",
		    "the user name; without it and --client: a client without "
		    "one",
		    0, 0 },
		{ "client", 'i', FLAG_TEXT, &x.client, "ID",
		    "the client id; live and without --user: that client "
		    "itself",
		    0, 0 },
		{ "address", 0, FLAG_TEXT, &x.address, "IP",
		    "where it comes from", 0, 0 },
		{ "group", 0, FLAG_LIST, &x.groups, "NAME",
		    "a group it is in; may be given often", 0, 0 },
		{ "listener", 0, FLAG_TEXT, &x.listener, "PORT",
		    "the listener it comes by, or a socket's path", 0, 0 },
		{ "action", 'a', FLAG_TEXT, &x.action, "WHAT",
		    "publish, subscribe or receive", 0, 0 },
		{ "acl-file", 0, FLAG_TEXT, &x.acl_file, "FILE",
		    "ask this file, not a broker", 0, 0 },
		{ "live", 0, FLAG_SWITCH, &x.live, NULL,
		    "with -c: ask the broker that serves it, not its files", 0,
		    0 },
		ASK_FLAGS(&x.ask),
	};
	const char *usage =
	    "nightjar acl explain [options] TOPIC: whether somebody may, and "
	    "the rule that says so.\nA running broker answers, or with -c FILE "
	    "or --acl-file FILE these files.\nThe exit status is 0 for yes, 1 "
	    "for no, 2 when there is no answer.";
	struct nj_why why = { 0 };
	enum nj_err e =
	    flags_parse(flags, COUNT(flags), argc, argv, &x.words, &why);

	if (e == NJ_EOF) {
		printf("%s\n\n", usage);
		flags_help(flags, COUNT(flags));
		return EXIT_MAY;
	}
	if (e) {
		say_why(&why, e);
		return EXIT_CANNOT_SAY;
	}
	if (x.words.n != 1) {
		fprintf(stderr, "%s\n", usage);
		return EXIT_CANNOT_SAY;
	}
	if (x.acl_file || (x.ask.conf && !x.live && !x.ask.socket))
		return explain_files(&x);
	return explain_live(&x);
}

int
cmd_acl(int argc, char **argv)
{
	const char *usage =
	    "nightjar acl: topic rules\n\n"
	    "usage: nightjar acl explain [options] TOPIC\n\n"
	    "  explain  whether somebody may, and the rule that says so\n";

	if (argc > 1 && strcmp(argv[1], "explain") == 0)
		return acl_explain(argc - 1, argv + 1);
	if (argc > 1 &&
	    (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		printf("%s", usage);
		return EXIT_MAY;
	}
	fprintf(stderr, "%s", usage);
	return EXIT_CANNOT_SAY;
}
