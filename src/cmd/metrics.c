/* SPDX-License-Identifier: Apache-2.0
 *
 * The same answer as numbers for a monitoring system: the text format of
 * Prometheus (version 0.0.4), which its node_exporter takes from files and
 * most others read.
 */
#include "cmd/metrics.h"

#include <stdio.h>

#include "cmd/ask.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct {
	const char *member, *name, *type, *help;
} rows[] = {
	{ "uptime", "uptime_seconds", "gauge", "Time since the start." },
	{ "shards", "shards", "gauge", "Threads that serve connections." },
	{ "sockets", "sockets", "gauge", "Connections, whatever their state." },
	{ "connected", "clients_connected", "gauge", "Clients connected." },
	{ "sessions", "sessions", "gauge", "Sessions, connected or not." },
	{ "subscriptions", "subscriptions", "gauge", "Subscriptions." },
	{ "retained", "retained_messages", "gauge", "Retained messages." },
	{ "retained_bytes", "retained_bytes", "gauge",
	    "Bytes of retained messages." },
	{ "queued", "queued_messages", "gauge",
	    "Messages that wait for a client." },
	{ "queued_bytes", "queued_bytes", "gauge", "Bytes of those." },
	{ "messages_received", "messages_received_total", "counter",
	    "PUBLISH packets received." },
	{ "messages_sent", "messages_sent_total", "counter",
	    "PUBLISH packets sent." },
	{ "messages_dropped", "messages_dropped_total", "counter",
	    "Messages dropped because of a limit." },
	{ "messages_refused", "messages_refused_total", "counter",
	    "Messages refused." },
	{ "logins_failed", "logins_failed_total", "counter",
	    "Logins that failed." },
	{ "bytes_received", "received_bytes_total", "counter",
	    "Bytes received." },
	{ "bytes_sent", "sent_bytes_total", "counter", "Bytes sent." },
	{ "heap_bytes", "heap_bytes", "gauge", "Memory in use." },
};

/* When the first of each kind ends. */
static void
print_ends(const json_t *all)
{
	static const char *const kinds[] = { "server", "ca", "crl" };
	bool any = false;

	for (size_t i = 0; i < COUNT(kinds); i++) {
		const json_t *one = json_object_get(all, kinds[i]);

		if (!one)
			continue;
		if (!any)
			printf("# HELP nightjar_certificate_expiry_seconds "
			       "When the first certificate, CA or list of its "
			       "kind ends, as Unix time.\n"
			       "# TYPE nightjar_certificate_expiry_seconds "
			       "gauge\n");
		any = true;
		printf(
		    "nightjar_certificate_expiry_seconds{kind=\"%s\"} %lld\n",
		    kinds[i], ask_number(one, "expires"));
	}
}

void
metrics_print(const json_t *r)
{
	for (size_t i = 0; i < COUNT(rows); i++)
		if (json_is_integer(json_object_get(r, rows[i].member)))
			printf("# HELP nightjar_%s %s\n"
			       "# TYPE nightjar_%s %s\n"
			       "nightjar_%s %lld\n",
			    rows[i].name, rows[i].help, rows[i].name,
			    rows[i].type, rows[i].name,
			    ask_number(r, rows[i].member));
	print_ends(json_object_get(r, "certificates"));
}
