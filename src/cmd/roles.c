/* SPDX-License-Identifier: Apache-2.0
 * nightjar user, group, role: users that a running broker keeps itself.  Each
 * verb is one command of dynamic security.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/text.h"
#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/roles_file.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define WORDS	 4

enum { SAYS_PASSWORD = 1, HAS_PRIORITY = 2, SAYS_ALLOW = 4 };

/* The words on the command line are these members of the command. */
struct verb {
	const char *noun, *verb;
	const char *command;
	const char *args[WORDS];
	unsigned more; /* SAYS_PASSWORD ... */
	const char *help;
};

static const struct verb verbs[] = {
	{ "user", "list", "listClients", { 0 }, 0, "all users" },
	{ "user", "show", "getClient", { "username" }, 0,
	    "one, with groups and roles" },
	{ "user", "add", "createClient", { "username" }, SAYS_PASSWORD,
	    "makes one; asks for a password" },
	{ "user", "remove", "deleteClient", { "username" }, 0,
	    "takes one away; its clients are disconnected" },
	{ "user", "password", "setClientPassword", { "username" },
	    SAYS_PASSWORD, "gives one another password" },
	{ "user", "enable", "enableClient", { "username" }, 0,
	    "lets one in again" },
	{ "user", "disable", "disableClient", { "username" }, 0,
	    "keeps one out, who stays known" },
	{ "user", "role-add", "addClientRole", { "username", "rolename" },
	    HAS_PRIORITY, "gives one a role" },
	{ "user", "role-remove", "removeClientRole", { "username", "rolename" },
	    0, "takes it away" },
	{ "group", "list", "listGroups", { 0 }, 0, "all groups" },
	{ "group", "show", "getGroup", { "groupname" }, 0,
	    "one, with members and roles" },
	{ "group", "add", "createGroup", { "groupname" }, 0, "makes one" },
	{ "group", "remove", "deleteGroup", { "groupname" }, 0,
	    "takes one away" },
	{ "group", "member-add", "addGroupClient", { "groupname", "username" },
	    HAS_PRIORITY, "puts a user into it" },
	{ "group", "member-remove", "removeGroupClient",
	    { "groupname", "username" }, 0, "takes a user out of it" },
	{ "group", "role-add", "addGroupRole", { "groupname", "rolename" },
	    HAS_PRIORITY, "gives it a role" },
	{ "group", "role-remove", "removeGroupRole",
	    { "groupname", "rolename" }, 0, "takes it away" },
	{ "role", "list", "listRoles", { 0 }, 0, "all roles" },
	{ "role", "show", "getRole", { "rolename" }, 0, "one, with its rules" },
	{ "role", "add", "createRole", { "rolename" }, 0, "makes one" },
	{ "role", "remove", "deleteRole", { "rolename" }, 0, "takes one away" },
	{ "role", "rule-add", "addRoleACL", { "rolename", "acltype", "topic" },
	    SAYS_ALLOW | HAS_PRIORITY,
	    "adds a rule: publishClientSend, publishClientReceive, "
	    "subscribePattern ..., TOPIC, allow or deny" },
	{ "role", "rule-remove", "removeRoleACL",
	    { "rolename", "acltype", "topic" }, 0, "takes a rule out" },
};

static const struct verb *
find(const char *noun, const char *name)
{
	for (size_t i = 0; i < COUNT(verbs); i++)
		if (strcmp(verbs[i].noun, noun) == 0 &&
		    strcmp(verbs[i].verb, name) == 0)
			return &verbs[i];
	return NULL;
}

static void
print_synopsis(FILE *to, const struct verb *v)
{
	fprintf(to, "nightjar %s %s", v->noun, v->verb);
	for (size_t i = 0; i < WORDS && v->args[i]; i++)
		fprintf(to, " %s", v->args[i]);
	fprintf(to, "%s [options]: %s\n",
	    v->more & SAYS_ALLOW ? " allow|deny" : "", v->help);
}

/* Members of the command from the words. */
static enum nj_err
take_words(const struct verb *v, const struct flag_list *words, json_t *cmd,
    struct nj_why *why)
{
	unsigned want = 0;

	while (want < WORDS && v->args[want])
		want++;
	if (words->n != want + ((v->more & SAYS_ALLOW) != 0)) {
		why_set(why, "%u words are wanted here, not %u",
		    want + ((v->more & SAYS_ALLOW) != 0), words->n);
		why_mend(why, "nightjar %s %s --help", v->noun, v->verb);
		return NJ_INVALID;
	}
	for (unsigned i = 0; i < want; i++)
		if (json_object_set_new(
			cmd, v->args[i], json_string(words->v[i]))) {
			why_set(why, "'%s' is not text", words->v[i]);
			return NJ_INVALID;
		}
	if (!(v->more & SAYS_ALLOW))
		return NJ_OK;
	if (strcmp(words->v[want], "allow") != 0 &&
	    strcmp(words->v[want], "deny") != 0) {
		why_set(why, "the last word is allow or deny");
		return NJ_INVALID;
	}
	(void)json_object_set_new(
	    cmd, "allow", json_boolean(strcmp(words->v[want], "allow") == 0));
	return NJ_OK;
}

static enum nj_err
take_password(const char *file, json_t *cmd, struct nj_why *why)
{
	struct secret *pass = NULL;
	struct slice s;
	enum nj_err e = file ? secret_from_file(file, &pass, why)
			     : secret_from_tty("Password: ", &pass);

	if (e) {
		if (!file) {
			why_set(why, "there is no terminal to ask for it");
			why_mend(why, "--password-file FILE");
		}
		return e;
	}
	s = secret_bytes(pass);
	if (json_object_set_new(
		cmd, "password", json_stringn((const char *)s.p, s.n))) {
		why_set(why, "the password is not UTF-8 text");
		e = NJ_INVALID;
	}
	secret_free(pass);
	return e;
}

/* What a command brought: names, or one thing in JSON. */
static void
show(const json_t *data)
{
	const char *name;
	const json_t *v;

	json_object_foreach((json_t *)(uintptr_t)data, name, v)
	{
		if (!json_is_array(v)) {
			if (!json_is_integer(v))
				ask_print_json(v);
			continue;
		}
		for (size_t i = 0; i < json_array_size(v); i++) {
			const json_t *x = json_array_get(v, i);
			char esc[TEXT_ESC];

			if (json_is_string(x))
				printf("%s\n",
				    text_esc(esc, sizeof esc,
					slice_str(json_string_value(x))));
			else
				ask_print_json(x);
		}
	}
}

static int
run(const struct verb *v, const struct ask_opts *o, json_t *cmd)
{
	json_t *result = NULL, *list = json_array(), *args = json_object();
	struct nj_why why = { 0 };
	const json_t *answer, *data;
	const char *error;
	enum nj_err e = NJ_NOMEM;

	/* cmd goes into the list, the list into the arguments */
	if (json_array_append_new(list, cmd) == 0 &&
	    json_object_set_new(args, "commands", list) == 0)
		e = ask(o, "dynsec", args, &result, &why);
	answer = json_array_get(json_object_get(result, "responses"), 0);
	error = json_string_value(json_object_get(answer, "error"));
	data = json_object_get(answer, "data");
	if (!e && error) {
		why_set(&why, "%s: %s", v->command, error);
		e = NJ_INVALID;
	}
	if (e)
		say_why(&why, e);
	else if (o->json)
		ask_print_json(answer);
	else if (data)
		show(data);
	else
		printf("Done.\n");
	json_decref(result);
	return e ? EXIT_FAILED : EXIT_FINE;
}

static int
do_verb(const struct verb *v, int argc, char **argv)
{
	struct ask_opts o = { 0 };
	const char *file = NULL;
	long priority = -1;
	struct flag_list words = { 0 };
	const struct flag flags[] = {
		ASK_FLAGS(&o),
		{ "password-file", 0, FLAG_TEXT, &file, "FILE",
		    "the first line is the password (add, password)", 0, 0 },
		{ "priority", 0, FLAG_NUMBER, &priority, "N",
		    "higher ones are asked first (role-add, member-add, "
		    "rule-add)",
		    -1, INT32_MAX },
	};
	struct nj_why why = { 0 };
	enum nj_err e =
	    flags_parse(flags, COUNT(flags), argc, argv, &words, &why);
	json_t *cmd;

	if (e == NJ_EOF) {
		print_synopsis(stdout, v);
		printf("\n");
		flags_help(flags, COUNT(flags));
		return EXIT_FINE;
	}
	cmd = json_pack("{s:s}", "command", v->command);
	if (!e)
		e = take_words(v, &words, cmd, &why);
	if (!e && (v->more & SAYS_PASSWORD))
		e = take_password(file, cmd, &why);
	if (!e && (v->more & HAS_PRIORITY) && priority >= 0)
		(void)json_object_set_new(
		    cmd, "priority", json_integer(priority));
	if (e) {
		say_why(&why, e);
		json_decref(cmd);
		return EXIT_USAGE;
	}
	return run(v, &o, cmd);
}

static void
usage(FILE *to, const char *noun)
{
	fprintf(to,
	    "nightjar %s: users, groups and roles of a running broker "
	    "(dynamic_security_file)\n\nusage: nightjar %s COMMAND "
	    "[options]\n\n",
	    noun, noun);
	for (size_t i = 0; i < COUNT(verbs); i++)
		if (strcmp(verbs[i].noun, noun) == 0)
			fprintf(
			    to, "  %-13s  %s\n", verbs[i].verb, verbs[i].help);
	if (strcmp(noun, "role") == 0)
		fprintf(to, "  %-13s  %s\n  %-13s  %s\n", "import",
		    ROLES_IMPORT_HELP, "export", ROLES_EXPORT_HELP);
	fprintf(to, "\n'nightjar %s COMMAND --help' has the options.\n", noun);
}

static int
noun_main(const char *noun, int argc, char **argv)
{
	const struct verb *v = argc > 1 ? find(noun, argv[1]) : NULL;

	if (v)
		return do_verb(v, argc - 1, argv + 1);
	if (argc > 1 &&
	    (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		usage(stdout, noun);
		return EXIT_FINE;
	}
	usage(stderr, noun);
	return EXIT_USAGE;
}

int
cmd_user(int argc, char **argv)
{
	return noun_main("user", argc, argv);
}

int
cmd_group(int argc, char **argv)
{
	return noun_main("group", argc, argv);
}

int
cmd_role(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "import") == 0)
		return roles_import(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "export") == 0)
		return roles_export(argc - 1, argv + 1);
	return noun_main("role", argc, argv);
}
