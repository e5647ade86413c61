/* SPDX-License-Identifier: Apache-2.0
 * nightjar user, group, role: users that a running broker keeps itself.  Each
 * verb is one command of dynamic security.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/text.h"
#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/roles_file.h"
#include "cmd/roles_show.h"

#define COUNT(a)     (sizeof(a) / sizeof(*(a)))
#define WORDS	     4
#define NO_NUMBER    LONG_MIN
#define PRIORITY_MAX 1000000000

/* What else a verb takes, by words or options. */
enum {
	SAYS_PASSWORD = 1,
	MAY_LACK_PASSWORD = 2,
	HAS_PRIORITY = 4,
	SAYS_ALLOW = 8, /* one word more: allow or deny */
	HAS_TEXTS = 16,
	HAS_CLIENT_ID = 32,
	HAS_WILDCARDS = 64,
	CHANGES = 128, /* one of the options has to be there */
	IS_LIST = 256,
	OF_DEFAULTS = 512 /* what words say goes into a list, "acls" */
};

/* The words on the command line are these members of the command. */
struct verb {
	const char *noun, *verb;
	const char *command;
	const char *args[WORDS];
	unsigned more;	     /* SAYS_PASSWORD ... */
	const char *without; /* the command without the last words; NULL */
	const char *help;
};

static const struct verb verbs[] = {
	{ "user", "list", "listClients", { 0 }, IS_LIST, NULL, "all users" },
	{ "user", "show", "getClient", { "username" }, 0, NULL,
	    "one, with groups and roles, and from where it is connected" },
	{ "user", "add", "createClient", { "username" },
	    SAYS_PASSWORD | MAY_LACK_PASSWORD | HAS_TEXTS | HAS_CLIENT_ID, NULL,
	    "makes one; asks for a password" },
	{ "user", "modify", "modifyClient", { "username" },
	    HAS_TEXTS | HAS_CLIENT_ID | CHANGES, NULL,
	    "gives one another client id or text" },
	{ "user", "remove", "deleteClient", { "username" }, 0, NULL,
	    "takes one away; its clients are disconnected" },
	{ "user", "password", "setClientPassword", { "username" },
	    SAYS_PASSWORD, NULL, "gives one another password" },
	{ "user", "enable", "enableClient", { "username" }, 0, NULL,
	    "lets one in again" },
	{ "user", "disable", "disableClient", { "username" }, 0, NULL,
	    "keeps one out, who stays known" },
	{ "user", "role-add", "addClientRole", { "username", "rolename" },
	    HAS_PRIORITY, NULL, "gives one a role" },
	{ "user", "role-remove", "removeClientRole", { "username", "rolename" },
	    0, NULL, "takes it away" },
	{ "group", "list", "listGroups", { 0 }, IS_LIST, NULL, "all groups" },
	{ "group", "show", "getGroup", { "groupname" }, 0, NULL,
	    "one, with members and roles" },
	{ "group", "add", "createGroup", { "groupname" }, HAS_TEXTS, NULL,
	    "makes one" },
	{ "group", "modify", "modifyGroup", { "groupname" },
	    HAS_TEXTS | CHANGES, NULL, "gives one another text" },
	{ "group", "remove", "deleteGroup", { "groupname" }, 0, NULL,
	    "takes one away" },
	{ "group", "member-add", "addGroupClient", { "groupname", "username" },
	    HAS_PRIORITY, NULL, "puts a user into it" },
	{ "group", "member-remove", "removeGroupClient",
	    { "groupname", "username" }, 0, NULL, "takes a user out of it" },
	{ "group", "role-add", "addGroupRole", { "groupname", "rolename" },
	    HAS_PRIORITY, NULL, "gives it a role" },
	{ "group", "role-remove", "removeGroupRole",
	    { "groupname", "rolename" }, 0, NULL, "takes it away" },
	{ "group", "anonymous", "setAnonymousGroup", { "groupname" }, 0,
	    "getAnonymousGroup",
	    "whose roles clients without a name have; with a group: makes it "
	    "that one" },
	{ "role", "list", "listRoles", { 0 }, IS_LIST, NULL, "all roles" },
	{ "role", "show", "getRole", { "rolename" }, 0, NULL,
	    "one, with its rules" },
	{ "role", "add", "createRole", { "rolename" },
	    HAS_TEXTS | HAS_WILDCARDS, NULL, "makes one" },
	{ "role", "modify", "modifyRole", { "rolename" },
	    HAS_TEXTS | HAS_WILDCARDS | CHANGES, NULL,
	    "gives one another text, or other wildcards" },
	{ "role", "remove", "deleteRole", { "rolename" }, 0, NULL,
	    "takes one away" },
	{ "role", "rule-add", "addRoleACL", { "rolename", "acltype", "topic" },
	    SAYS_ALLOW | HAS_PRIORITY, NULL,
	    "adds a rule: publishClientSend, publishClientReceive, "
	    "subscribePattern ..., TOPIC, allow or deny" },
	{ "role", "rule-remove", "removeRoleACL",
	    { "rolename", "acltype", "topic" }, 0, NULL, "takes a rule out" },
	{ "role", "default", "setDefaultACLAccess", { "acltype" },
	    SAYS_ALLOW | OF_DEFAULTS, "getDefaultACLAccess",
	    "what holds where no rule decides; with publishClientSend, "
	    "publishClientReceive, subscribe or unsubscribe, and allow or "
	    "deny: changes it" },
	{ "role", "count", "getDetails", { 0 }, 0, NULL,
	    "how many users, groups and roles there are" },
};

/* What the options say. */
struct said {
	const char *password_file, *client_id, *textname, *textdescription,
	    *wildcards, *listener;
	bool no_password, verbose;
	long priority, count, offset;
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

static unsigned
count_words(const struct verb *v)
{
	unsigned n = 0;

	while (n < WORDS && v->args[n])
		n++;
	return n + ((v->more & SAYS_ALLOW) != 0);
}

static void
print_synopsis(FILE *to, const struct verb *v)
{
	fprintf(
	    to, "nightjar %s %s%s", v->noun, v->verb, v->without ? " [" : "");
	for (size_t i = 0; i < WORDS && v->args[i]; i++)
		fprintf(
		    to, "%s%s", v->without && i == 0 ? "" : " ", v->args[i]);
	fprintf(to, "%s%s [options]: %s\n",
	    v->more & SAYS_ALLOW ? " allow|deny" : "", v->without ? "]" : "",
	    v->help);
}

static enum nj_err
take_allow(const char *word, json_t *o, struct nj_why *why)
{
	if (strcmp(word, "allow") != 0 && strcmp(word, "deny") != 0) {
		why_set(why, "the last word is allow or deny");
		return NJ_INVALID;
	}
	return json_object_set_new(
		   o, "allow", json_boolean(strcmp(word, "allow") == 0))
	    ? NJ_NOMEM
	    : NJ_OK;
}

/* Members of the command from the words. */
static enum nj_err
take_words(const struct verb *v, const struct flag_list *words, json_t *cmd,
    struct nj_why *why)
{
	unsigned want = count_words(v);
	json_t *to = cmd, *list;

	if (words->n == 0 && v->without)
		return json_object_set_new(
			   cmd, "command", json_string(v->without))
		    ? NJ_NOMEM
		    : NJ_OK;
	if (words->n != want) {
		why_set(
		    why, "%u words are wanted here, not %u", want, words->n);
		why_mend(why, "nightjar %s %s --help", v->noun, v->verb);
		return NJ_INVALID;
	}
	if (v->more & OF_DEFAULTS) {
		list = json_array();
		to = json_object();
		if (json_array_append_new(list, to) ||
		    json_object_set_new(cmd, "acls", list))
			return NJ_NOMEM;
		if (!roles_is_default(words->v[0])) {
			why_set(why,
			    "it is publishClientSend, publishClientReceive, "
			    "subscribe or unsubscribe");
			return NJ_INVALID;
		}
	}
	for (unsigned i = 0; i < WORDS && v->args[i]; i++)
		if (json_object_set_new(
			to, v->args[i], json_string(words->v[i]))) {
			why_set(why, "'%s' is not text", words->v[i]);
			return NJ_INVALID;
		}
	return v->more & SAYS_ALLOW ? take_allow(words->v[want - 1], to, why)
				    : NJ_OK;
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

static enum nj_err
take_text(const char *member, const char *text, json_t *cmd, struct nj_why *why)
{
	if (!text || json_object_set_new(cmd, member, json_string(text)) == 0)
		return NJ_OK;
	why_set(why, "'%s' is not text", text);
	return NJ_INVALID;
}

static enum nj_err
take_number(const char *member, long n, json_t *cmd)
{
	return n == NO_NUMBER ||
		json_object_set_new(cmd, member, json_integer(n)) == 0
	    ? NJ_OK
	    : NJ_NOMEM;
}

static enum nj_err
take_wildcards(const char *text, json_t *cmd, struct nj_why *why)
{
	if (!text)
		return NJ_OK;
	if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
		why_set(why, "--allow-wildcards is yes or no");
		return NJ_INVALID;
	}
	return json_object_set_new(cmd, "allowwildcardsubs",
		   json_boolean(strcmp(text, "yes") == 0))
	    ? NJ_NOMEM
	    : NJ_OK;
}

static enum nj_err
take_options(
    const struct verb *v, const struct said *s, json_t *cmd, struct nj_why *why)
{
	size_t before = json_object_size(cmd);
	enum nj_err e;

	if ((e = take_number("priority", s->priority, cmd)) ||
	    (e = take_number("count", s->count, cmd)) ||
	    (e = take_number("offset", s->offset, cmd)) ||
	    (e = take_text("clientid", s->client_id, cmd, why)) ||
	    (e = take_text("textname", s->textname, cmd, why)) ||
	    (e = take_text("textdescription", s->textdescription, cmd, why)) ||
	    (e = take_wildcards(s->wildcards, cmd, why)))
		return e;
	if (s->verbose && json_object_set_new(cmd, "verbose", json_true()))
		return NJ_NOMEM;
	if ((v->more & CHANGES) && json_object_size(cmd) == before) {
		why_set(why, "nothing is to be changed");
		why_mend(why, "nightjar %s %s --help", v->noun, v->verb);
		return NJ_INVALID;
	}
	if (s->no_password && s->password_file) {
		why_set(why, "--no-password and --password-file contradict");
		return NJ_INVALID;
	}
	return (v->more & SAYS_PASSWORD) && !s->no_password
	    ? take_password(s->password_file, cmd, why)
	    : NJ_OK;
}

static int
run(const struct verb *v, const struct ask_opts *o, const char *listener,
    json_t *cmd)
{
	json_t *result = NULL, *list = json_array(), *args = json_object();
	struct nj_why why = { 0 };
	const json_t *answer, *data;
	const char *error;
	enum nj_err e = NJ_NOMEM;

	/* cmd goes into the list, the list into the arguments */
	if (json_array_append_new(list, cmd) == 0 &&
	    json_object_set_new(args, "commands", list) == 0 &&
	    (!listener ||
		json_object_set_new(args, "listener", json_string(listener)) ==
		    0))
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
		roles_show(data);
	else
		printf("Done.\n");
	json_decref(result);
	return e ? EXIT_FAILED : EXIT_FINE;
}

#define FLAGS_MAX 16

/* The options of this verb, and no others. */
static size_t
flags_of(const struct verb *v, struct ask_opts *o, struct said *s,
    struct flag out[FLAGS_MAX])
{
	const struct {
		unsigned more; /* 0: all verbs */
		struct flag f;
	} all[] = {
		{ 0,
		    { "listener", 0, FLAG_TEXT, &s->listener, "PORT",
			"the users of this listener, where others have others",
			0, 0 } },
		{ SAYS_PASSWORD,
		    { "password-file", 0, FLAG_TEXT, &s->password_file, "FILE",
			"the first line is the password", 0, 0 } },
		{ MAY_LACK_PASSWORD,
		    { "no-password", 0, FLAG_SWITCH, &s->no_password, NULL,
			"without one: for who comes by a certificate, a token "
			"or a key",
			0, 0 } },
		{ HAS_CLIENT_ID,
		    { "client-id", 0, FLAG_TEXT, &s->client_id, "ID",
			"the only client id it may use; empty: any", 0, 0 } },
		{ HAS_TEXTS,
		    { "text-name", 0, FLAG_TEXT, &s->textname, "TEXT",
			"what people call it", 0, 0 } },
		{ HAS_TEXTS,
		    { "text-description", 0, FLAG_TEXT, &s->textdescription,
			"TEXT", "what it is there for", 0, 0 } },
		{ HAS_WILDCARDS,
		    { "allow-wildcards", 0, FLAG_TEXT, &s->wildcards, "yes|no",
			"whether subscriptions that it allows may have "
			"wildcards (yes)",
			0, 0 } },
		{ HAS_PRIORITY,
		    { "priority", 0, FLAG_NUMBER, &s->priority, "N",
			"higher ones are asked first", -PRIORITY_MAX,
			PRIORITY_MAX } },
		{ IS_LIST,
		    { "verbose", 0, FLAG_SWITCH, &s->verbose, NULL,
			"all that is known of each", 0, 0 } },
		{ IS_LIST,
		    { "count", 0, FLAG_NUMBER, &s->count, "N",
			"not more than so many", 1, INT_MAX } },
		{ IS_LIST,
		    { "offset", 0, FLAG_NUMBER, &s->offset, "N",
			"without the first so many", 0, INT_MAX } },
	};
	const struct flag asking[] = { ASK_FLAGS(o) };
	size_t n = 0;

	for (size_t i = 0; i < COUNT(asking); i++)
		out[n++] = asking[i];
	for (size_t i = 0; i < COUNT(all) && n < FLAGS_MAX; i++)
		if (all[i].more == 0 || (v->more & all[i].more))
			out[n++] = all[i].f;
	return n;
}

static int
do_verb(const struct verb *v, int argc, char **argv)
{
	struct said s = {
		.priority = NO_NUMBER, .count = NO_NUMBER, .offset = NO_NUMBER
	};
	struct ask_opts o = { 0 };
	struct flag_list words = { 0 };
	struct flag flags[FLAGS_MAX];
	size_t n = flags_of(v, &o, &s, flags);
	struct nj_why why = { 0 };
	enum nj_err e = flags_parse(flags, n, argc, argv, &words, &why);
	json_t *cmd;

	if (e == NJ_EOF) {
		print_synopsis(stdout, v);
		printf("\n");
		flags_help(flags, n);
		return EXIT_FINE;
	}
	cmd = json_pack("{s:s}", "command", v->command);
	if (!e)
		e = take_words(v, &words, cmd, &why);
	if (!e)
		e = take_options(v, &s, cmd, &why);
	if (e) {
		say_why(&why, e);
		json_decref(cmd);
		return EXIT_USAGE;
	}
	return run(v, &o, s.listener, cmd);
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
