/* SPDX-License-Identifier: Apache-2.0
 * main - which subcommand, by its name or by the name it was linked as.
 */
#include <stdio.h>
#include <string.h>

#include "auth/json_read.h"
#include "base/text.h"
#include "cmd/cmd.h"

static const struct command {
	const char *name;
	const char *linked_as; /* a program it stands in for, or NULL */
	int (*fn)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "up", NULL, cmd_up,
	    "a secure broker at once: makes the certificates, then serves" },
	{ "serve", "mosquitto", cmd_serve,
	    "serves what a mosquitto.conf says" },
	{ "pub", "mosquitto_pub", cmd_pub, "publishes messages" },
	{ "sub", "mosquitto_sub", cmd_sub, "subscribes and prints messages" },
	{ "rr", "mosquitto_rr", cmd_rr,
	    "publishes a request and prints the response" },
	{ "passwd", "mosquitto_passwd", cmd_passwd,
	    "keeps the users of a password file" },
	{ "ca", NULL, cmd_ca,
	    "the certificate authority: init, device, token, revoke, ..." },
	{ "audit", NULL, cmd_audit,
	    "certificates and devices that somebody should look at" },
	{ "doctor", NULL, cmd_doctor,
	    "tries to connect, and says who refuses, why, and what helps" },
	{ "enroll", NULL, cmd_enroll,
	    "a device gets its certificate with a token, or renews it" },
	{ "inspect", NULL, cmd_inspect,
	    "says what a certificate or key is, and what is wrong with it" },
	{ "status", NULL, cmd_status, "how a running broker is" },
	{ "clients", NULL, cmd_clients,
	    "who is connected to a running broker: list, show, disconnect" },
	{ "acl", NULL, cmd_acl,
	    "whether somebody may, and the rule that says so: explain" },
	{ "user", NULL, cmd_user,
	    "users that the broker keeps itself, while it runs" },
	{ "group", NULL, cmd_group, "groups of these users" },
	{ "role", NULL, cmd_role, "what these users and groups may" },
	{ "reload", NULL, cmd_reload,
	    "a running broker reads its configuration again" },
	{ "store", NULL, cmd_store,
	    "looks into what is on disk: check, stats, backup, restore, dump, "
	    "import" },
	{ "completion", NULL, cmd_completion,
	    "makes a shell complete commands and options" },
	{ "bench", NULL, cmd_bench, "measures a broker" },
};

#define COMMANDS (sizeof commands / sizeof commands[0])

static void
usage(FILE *to)
{
	fprintf(to,
	    "nightjar " NJ_VERSION " - a secure MQTT broker\n\n"
	    "usage: nightjar COMMAND [options]\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
	fprintf(to,
	    "\n'nightjar COMMAND --help' has the options. "
	    "Begin with 'nightjar up'.\n");
}

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const struct command *
find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int
unknown(const char *name)
{
	const char *near = NULL;
	unsigned best = 3, d;
	char esc[TEXT_ESC];

	for (size_t i = 0; i < COMMANDS; i++)
		if ((d = text_distance(name, commands[i].name)) < best) {
			best = d;
			near = commands[i].name;
		}
	fprintf(stderr, "nightjar: there is no command '%s'%s%s%s.\n",
	    text_esc(esc, sizeof esc, slice_str(name)),
	    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	fprintf(stderr, "'nightjar --help' lists the commands.\n");
	return 2;
}

int
main(int argc, char **argv)
{
	const char *me = base_name(argc > 0 ? argv[0] : "nightjar");
	const struct command *c;

	json_read_setup();
	for (size_t i = 0; i < COMMANDS; i++)
		if (commands[i].linked_as &&
		    strcmp(commands[i].linked_as, me) == 0)
			return commands[i].fn(argc, argv);
	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("nightjar version " NJ_VERSION "\n");
		return 0;
	}
	if (!(c = find(argv[1])))
		return unknown(argv[1]);
	return c->fn(argc - 1, argv + 1);
}
