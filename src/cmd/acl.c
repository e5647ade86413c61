/* SPDX-License-Identifier: Apache-2.0
 * nightjar acl explain: who may what, and which rule says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/acl_files.h"
#include "cmd/cmd.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

int
acl_print_answer(bool json, const json_t *r)
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
		status = acl_print_answer(x->ask.json, result);
	json_decref(result);
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
		{ "dynamic-security-file", 0, FLAG_TEXT, &x.roles_file, "FILE",
		    "the same for users, groups and roles", 0, 0 },
		{ "token", 0, FLAG_TEXT, &x.token, "FILE",
		    "with -c: it comes with the token in this file", 0, 0 },
		{ "device", 0, FLAG_TEXT, &x.device, "ID",
		    "with -c: it has the certificate that the CA gave this "
		    "device, and its groups",
		    0, 0 },
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
	if (x.acl_file || x.roles_file ||
	    (x.ask.conf && !x.live && !x.ask.socket))
		return acl_explain_files(&x);
	if (x.token || x.device) {
		fprintf(stderr,
		    "--token and --device are for files: give -c FILE.\n");
		return EXIT_CANNOT_SAY;
	}
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
