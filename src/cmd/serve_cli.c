/* SPDX-License-Identifier: Apache-2.0
 * serve_cli - nightjar serve, and the program mosquitto.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cmd/cmd.h"
#include "cmd/serve.h"

static void
usage(FILE *to)
{
	fputs("usage: nightjar serve [-c FILE] [-p PORT] [-v] [-q] [-d] "
	      "[--test-config]\n\n"
	      "  -c, --config-file FILE  a configuration as mosquitto.conf\n"
	      "  -p, --port PORT         listen here, on loopback, when the "
	      "configuration\n"
	      "                          opens no listener\n"
	      "  -v, --verbose           log everything\n"
	      "  -q, --quiet             log warnings and errors only\n"
	      "  -d, --daemon            in the background\n"
	      "  --test-config           open every file that the "
	      "configuration names,\n"
	      "                          say every fault, and leave\n"
	      "  --help-options          the options a configuration can "
	      "have\n"
	      "  -h, --help  --version\n\n"
	      "Without a configuration anonymous clients of this machine are "
	      "served on\nport 1883. For a secure broker: nightjar up\n",
	    to);
}

enum { NEXT_OK, NEXT_HELP, NEXT_VERSION, NEXT_OPTIONS, NEXT_TEST, NEXT_BAD };

static bool
is(const char *arg, const char *a, const char *b)
{
	return strcmp(arg, a) == 0 || (b && strcmp(arg, b) == 0);
}

static int
bad(const char *what, const char *arg)
{
	char esc[TEXT_ESC];

	fprintf(stderr, "nightjar serve: %s '%s'; see --help\n", what,
	    text_esc(esc, sizeof esc, slice_str(arg)));
	return NEXT_BAD;
}

static int
take_port(struct serve_opts *o, const char *text)
{
	long port;

	if (!text_to_long(text, 1, 65535, &port))
		return bad("not a port from 1 to 65535:", text);
	if (o->args.nports == CONF_PORTS_MAX)
		return bad("too many ports, at", text);
	o->args.ports[o->args.nports++] = (uint16_t)port;
	return NEXT_OK;
}

static int
take_arg(struct serve_opts *o, int argc, char **argv, int *i)
{
	const char *arg = argv[*i];
	const char *value = *i + 1 < argc ? argv[*i + 1] : NULL;

	if (is(arg, "-v", "--verbose"))
		o->args.verbose = true;
	else if (is(arg, "-q", "--quiet"))
		o->quiet = true;
	else if (is(arg, "-d", "--daemon"))
		o->background = true;
	else if (is(arg, "-h", "--help"))
		return NEXT_HELP;
	else if (is(arg, "--version", NULL))
		return NEXT_VERSION;
	else if (is(arg, "--help-options", NULL))
		return NEXT_OPTIONS;
	else if (is(arg, "--test-config", NULL))
		return NEXT_TEST;
	else if (is(arg, "-c", "--config-file") || is(arg, "-p", "--port")) {
		if (!value)
			return bad("a value is missing after", arg);
		++*i;
		if (is(arg, "-p", "--port"))
			return take_port(o, value);
		o->path = value;
	} else if (is(arg, "--tls-keylog", NULL)) {
		fputs("nightjar serve: '--tls-keylog' is refused: who can "
		      "read that file can read what all clients say. To "
		      "mend it: look at one client's traffic with the "
		      "--tls-keylog of nightjar pub, sub or rr\n",
		    stderr);
		return NEXT_BAD;
	} else {
		return bad("unknown option", arg);
	}
	return NEXT_OK;
}

int
cmd_serve(int argc, char **argv)
{
	struct serve_opts o = { 0 };
	bool test = false;

	for (int i = 1; i < argc; i++) {
		switch (take_arg(&o, argc, argv, &i)) {
		case NEXT_HELP:
			usage(stdout);
			return 0;
		case NEXT_VERSION:
			printf("nightjar version " NJ_VERSION "\n");
			return 0;
		case NEXT_OPTIONS:
			return cmd_help_options();
		case NEXT_TEST:
			test = true;
			break;
		case NEXT_BAD:
			return 3;
		default:
			break;
		}
	}
	if (test)
		return cmd_test_config(o.path, &o.args);
	return serve_with(&o, NULL);
}
