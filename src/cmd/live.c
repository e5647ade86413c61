/* SPDX-License-Identifier: Apache-2.0
 * nightjar status, clients, reload: what a running broker is asked.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/metrics.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* -1: go on; else the exit status. */
static int
parse(const struct flag *flags, size_t n, int argc, char **argv,
    struct flag_list *rest, const char *usage)
{
	struct nj_why why = { 0 };
	enum nj_err e = flags_parse(flags, n, argc, argv, rest, &why);

	if (e == NJ_EOF) {
		printf("%s\n\n", usage);
		flags_help(flags, n);
		return EXIT_FINE;
	}
	if (e) {
		say_why(&why, e);
		return EXIT_USAGE;
	}
	return -1;
}

/*
 * status
 */

static void
show_ends(const json_t *all)
{
	static const struct {
		const char *name, *label;
	} rows[] = {
		{ "server", "our certificate ends in days" },
		{ "ca", "a CA that we believe" },
		{ "crl", "a list of revoked ones" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const json_t *one = json_object_get(all, rows[i].name);

		if (one)
			printf("  %-18s %lld\n", rows[i].label,
			    ask_number(one, "days"));
	}
}

static void
show_status(const json_t *r)
{
	static const struct {
		const char *name, *label;
	} rows[] = {
		{ "connected", "clients connected" },
		{ "sessions", "sessions" },
		{ "subscriptions", "subscriptions" },
		{ "retained", "retained messages" },
		{ "queued", "messages queued" },
		{ "messages_received", "messages received" },
		{ "messages_sent", "messages sent" },
		{ "messages_dropped", "messages dropped" },
		{ "messages_expired", "messages expired" },
		{ "messages_refused", "messages refused" },
		{ "logins_failed", "logins failed" },
		{ "heap_bytes", "bytes of memory" },
		{ "shards", "shards" },
	};
	char version[TEXT_ESC], span[32], store[200];

	printf("nightjar %s, process %lld, for %s\n",
	    ask_text(r, "version", version, sizeof version),
	    ask_number(r, "process"),
	    ask_span(ask_number(r, "uptime"), span, sizeof span));
	for (size_t i = 0; i < COUNT(rows); i++)
		printf("  %-18s %lld\n", rows[i].label,
		    ask_number(r, rows[i].name));
	printf("  %-18s %s\n", "store", ask_store(r, store, sizeof store));
	if (ask_store_mend(r)[0])
		printf("      to mend it: %s\n", ask_store_mend(r));
	show_ends(json_object_get(r, "certificates"));
}

int
cmd_status(int argc, char **argv)
{
	struct ask_opts o = { 0 };
	bool metrics = false;
	const struct flag flags[] = { ASK_FLAGS(&o),
		{ "metrics", 0, FLAG_SWITCH, &metrics, NULL,
		    "the answer in the text format of Prometheus", 0, 0 } };
	int status = parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar status [options]: how a running broker is");

	if (status >= 0)
		return status;
	return ask_and_print(
	    &o, "status", NULL, metrics ? metrics_print : show_status);
}

/*
 * reload
 */

static void
show_reload(const json_t *r)
{
	(void)r;
	printf("Reloaded.\n");
}

int
cmd_reload(int argc, char **argv)
{
	struct ask_opts o = { 0 };
	const struct flag flags[] = { ASK_FLAGS(&o) };
	int status = parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar reload [options]: the configuration and its files are "
	    "read again");

	if (status >= 0)
		return status;
	return ask_and_print(&o, "reload", NULL, show_reload);
}

/*
 * clients
 */

static void
show_row(const json_t *c)
{
	char id[TEXT_ESC], user[TEXT_ESC], address[TEXT_ESC], span[32];
	bool on = json_is_true(json_object_get(c, "connected"));

	ask_text(c, "id", id, sizeof id);
	printf("%-24s %-16s %-22s %s %s\n", id,
	    json_object_get(c, "user") ? ask_text(c, "user", user, sizeof user)
				       : "-",
	    on ? ask_text(c, "address", address, sizeof address) : "-",
	    on ? "for" : "away for",
	    ask_span(ask_number(c, on ? "connected_s" : "away_s"), span,
		sizeof span));
}

static void
show_list(const json_t *r)
{
	const json_t *list = json_object_get(r, "clients");

	printf("%-24s %-16s %-22s\n", "CLIENT", "USER", "ADDRESS");
	for (size_t i = 0; i < json_array_size(list); i++)
		show_row(json_array_get(list, i));
	if (json_is_true(json_object_get(r, "more")))
		printf("... and more; see --limit\n");
}

static int
clients_list(int argc, char **argv)
{
	struct ask_opts o = { 0 };
	const char *user = NULL, *address = NULL, *serial = NULL;
	bool online = false;
	long limit = 1000;
	const struct flag flags[] = {
		{ "user", 'u', FLAG_TEXT, &user, "NAME", "only of this user", 0,
		    0 },
		{ "address", 0, FLAG_TEXT, &address, "IP",
		    "only from this address", 0, 0 },
		{ "serial", 0, FLAG_TEXT, &serial, "HEX",
		    "only with this certificate", 0, 0 },
		{ "online", 0, FLAG_SWITCH, &online, NULL,
		    "only those who are connected", 0, 0 },
		{ "limit", 0, FLAG_NUMBER, &limit, "N",
		    "at most so many (1000)", 1, 100000 },
		ASK_FLAGS(&o),
	};
	int status = parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar clients list [options]: clients and sessions");
	json_t *args;

	if (status >= 0)
		return status;
	args = ask_args(
	    "user", user, "address", address, "serial", serial, (char *)NULL);
	(void)json_object_set_new(args, "limit", json_integer(limit));
	if (online)
		(void)json_object_set_new(args, "online", json_true());
	return ask_and_print(&o, "clients list", args, show_list);
}

static void
show_value(const char *name, const json_t *v)
{
	char esc[512];

	if (json_is_string(v))
		printf("  %-20s %s\n", name,
		    text_esc(esc, sizeof esc,
			slice_of(json_string_value(v), json_string_length(v))));
	else if (json_is_integer(v))
		printf(
		    "  %-20s %lld\n", name, (long long)json_integer_value(v));
	else if (json_is_boolean(v))
		printf("  %-20s %s\n", name, json_is_true(v) ? "yes" : "no");
}

static void
show_client(const json_t *r)
{
	const json_t *list = json_object_get(r, "filters"), *v;
	const char *name;
	char esc[512];

	printf("%s\n", ask_text(r, "id", esc, sizeof esc));
	json_object_foreach((json_t *)(uintptr_t)r, name,
	    v) if (strcmp(name, "id") != 0) show_value(name, v);
	for (size_t i = 0; i < json_array_size(list); i++) {
		v = json_array_get(list, i);
		printf("  %-20s %s (QoS %lld)\n", i ? "" : "subscribed to",
		    ask_text(v, "filter", esc, sizeof esc),
		    ask_number(v, "qos"));
	}
}

static int
clients_show(int argc, char **argv)
{
	struct ask_opts o = { 0 };
	struct flag_list rest = { 0 };
	const struct flag flags[] = { ASK_FLAGS(&o) };
	const char *usage = "nightjar clients show CLIENT [options]: one "
			    "client, and what it subscribed to";
	int status = parse(flags, COUNT(flags), argc, argv, &rest, usage);

	if (status >= 0)
		return status;
	if (rest.n != 1) {
		fprintf(stderr, "%s\n", usage);
		return EXIT_USAGE;
	}
	return ask_and_print(&o, "clients show",
	    ask_args("id", rest.v[0], (char *)NULL), show_client);
}

static void
show_gone(const json_t *r)
{
	printf("Sent away: %lld\n", ask_number(r, "disconnected"));
}

static int
clients_disconnect(int argc, char **argv)
{
	struct ask_opts o = { 0 };
	const char *user = NULL, *address = NULL, *serial = NULL, *print = NULL;
	bool forget = false;
	struct flag_list rest = { 0 };
	const struct flag flags[] = {
		{ "user", 'u', FLAG_TEXT, &user, "NAME", "all of this user", 0,
		    0 },
		{ "address", 0, FLAG_TEXT, &address, "IP",
		    "all from this address", 0, 0 },
		{ "serial", 0, FLAG_TEXT, &serial, "HEX",
		    "all with the certificate of this number", 0, 0 },
		{ "fingerprint", 0, FLAG_TEXT, &print, "HEX",
		    "the same by its SHA-256", 0, 0 },
		{ "forget", 0, FLAG_SWITCH, &forget, NULL,
		    "end their sessions, too: subscriptions and what is "
		    "queued",
		    0, 0 },
		ASK_FLAGS(&o),
	};
	int status = parse(flags, COUNT(flags), argc, argv, &rest,
	    "nightjar clients disconnect [CLIENT] [options]: sends clients "
	    "away; they may come back");
	json_t *args;

	if (status >= 0)
		return status;
	if (rest.n > 1) {
		fprintf(stderr, "nightjar: one client at a time, or --user\n");
		return EXIT_USAGE;
	}
	args =
	    ask_args("id", rest.n ? rest.v[0] : NULL, "user", user, "address",
		address, "serial", serial, "fingerprint", print, (char *)NULL);
	if (forget)
		(void)json_object_set_new(args, "forget", json_true());
	return ask_and_print(&o, "clients disconnect", args, show_gone);
}

static const struct {
	const char *name;
	int (*fn)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "list", clients_list, "clients and sessions" },
	{ "show", clients_show, "one client, and what it subscribed to" },
	{ "disconnect", clients_disconnect, "sends clients away" },
};

static void
usage(FILE *to)
{
	fprintf(to,
	    "nightjar clients: who is connected to a running broker\n\n"
	    "usage: nightjar clients COMMAND [options]\n\n");
	for (size_t i = 0; i < COUNT(verbs); i++)
		fprintf(to, "  %-11s %s\n", verbs[i].name, verbs[i].help);
	fprintf(to, "\n'nightjar clients COMMAND --help' has the options.\n");
}

int
cmd_clients(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < COUNT(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].fn(argc - 1, argv + 1);
	if (argc > 1 &&
	    (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		usage(stdout);
		return EXIT_FINE;
	}
	usage(stderr);
	return EXIT_USAGE;
}
