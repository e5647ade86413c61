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

struct row {
	const char *member, *name, *type, *help;
};

static const struct row rows[] = {
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
	{ "messages_expired", "messages_expired_total", "counter",
	    "Messages that expired before they were sent." },
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

static const struct row store_rows[] = {
	{ "number", "store_state", "gauge",
	    "The store: 0 ok, 1 full, 2 failing, 3 damaged." },
	{ "since", "store_state_since_seconds", "gauge",
	    "When that began, as Unix time; not there: with the start." },
	{ "refused", "store_refused_total", "counter",
	    "Messages refused because the store could not be written." },
};

static void
print_row(const struct row *row, const json_t *r)
{
	if (json_is_integer(json_object_get(r, row->member)))
		printf("# HELP nightjar_%s %s\n"
		       "# TYPE nightjar_%s %s\n"
		       "nightjar_%s %lld\n",
		    row->name, row->help, row->name, row->type, row->name,
		    ask_number(r, row->member));
}

void
metrics_print(const json_t *r)
{
	for (size_t i = 0; i < COUNT(rows); i++)
		print_row(&rows[i], r);
	for (size_t i = 0; i < COUNT(store_rows); i++)
		print_row(&store_rows[i], json_object_get(r, "store"));
	print_ends(json_object_get(r, "certificates"));
}
