/* SPDX-License-Identifier: Apache-2.0
 *
 * version, status, help, reload.
 */
#include <unistd.h>

#include "admin/handlers.h"
#include "broker/inspect.h"

enum nj_err
admin_version(struct admin_call *c, struct nj_why *why)
{
	enum nj_err e =
	    admin_set(c->result, "version", json_string(NJ_VERSION));

	(void)why;
	return e ? e : admin_set(c->result, "process", json_integer(getpid()));
}

enum nj_err
admin_status(struct admin_call *c, struct nj_why *why)
{
	struct broker_totals t;
	enum nj_err e = admin_version(c, why);

	if (e)
		return e;
	inspect_totals(c->env->broker, &t);
	const struct {
		const char *name;
		uint64_t v;
	} rows[] = {
		{ "uptime", t.uptime_s },
		{ "shards", t.shards },
		{ "sockets", t.sockets },
		{ "connected", t.connected },
		{ "sessions", t.sessions },
		{ "subscriptions", t.subscriptions },
		{ "retained", t.retained },
		{ "retained_bytes", t.retained_bytes },
		{ "queued", t.queued },
		{ "queued_bytes", t.queued_bytes },
		{ "messages_received", t.received },
		{ "messages_sent", t.sent },
		{ "messages_dropped", t.dropped },
		{ "messages_refused", t.refused },
		{ "logins_failed", t.logins_failed },
		{ "bytes_received", t.bytes_in },
		{ "bytes_sent", t.bytes_out },
		{ "heap_bytes", t.heap },
	};
	for (size_t i = 0; !e && i < sizeof rows / sizeof *rows; i++)
		e = admin_set(c->result, rows[i].name,
		    json_integer((json_int_t)rows[i].v));
	return e;
}

enum nj_err
admin_help(struct admin_call *c, struct nj_why *why)
{
	json_t *list = json_array(), *row;
	enum nj_err e = admin_set(c->result, "commands", list);

	(void)why;
	for (size_t i = 0; !e && i < admin_commands_n; i++) {
		const struct admin_command *k = &admin_commands[i];

		row = json_pack("{s:s,s:s,s:s}", "command", k->name, "args",
		    k->args, "help", k->help);
		if (json_array_append_new(list, row))
			e = NJ_NOMEM;
	}
	return e;
}

enum nj_err
admin_reload(struct admin_call *c, struct nj_why *why)
{
	if (!c->env->reload) {
		why_set(why, "this broker has nothing to reload");
		return NJ_UNSUPPORTED;
	}
	return c->env->reload(c->env->reload_arg, c->patience_ms, why);
}
