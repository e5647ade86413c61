/* SPDX-License-Identifier: Apache-2.0
 *
 * version, status, help, reload.
 */
#include <time.h>
#include <unistd.h>

#include "admin/handlers.h"
#include "broker/broker.h"
#include "broker/inspect.h"
#include "net/tls_staple.h"

enum nj_err
admin_version(struct admin_call *c, struct nj_why *why)
{
	enum nj_err e =
	    admin_set(c->result, "version", json_string(NJ_VERSION));

	(void)why;
	return e ? e : admin_set(c->result, "process", json_integer(getpid()));
}

/* -- certificates ------------------------------------------------------------ */

static enum nj_err
set_end(json_t *to, const char *name, int64_t end)
{
	int64_t now = (int64_t)time(NULL);

	if (!end)
		return NJ_OK;
	return admin_set(to, name,
	    json_pack("{s:I,s:I}", "expires", (json_int_t)end, "days",
		(json_int_t)((end - now) / 86400)));
}

static void
add_answer(void *arg, const struct tls_staple_info *i)
{
	static const char *const states[] = { [TLS_STAPLE_NONE] = "none",
		[TLS_STAPLE_GOOD] = "good",
		[TLS_STAPLE_REVOKED] = "revoked" };
	json_t *one = json_pack("{s:s,s:s,s:s,s:s,s:b}", "name", i->name,
	    "serial", i->serial, "responder", i->url, "answer",
	    states[i->state], "must_staple", i->must);

	if (one && i->until)
		(void)json_object_set_new(
		    one, "until", json_integer((json_int_t)i->until));
	if (one && i->revoked_at)
		(void)json_object_set_new(
		    one, "revoked_at", json_integer((json_int_t)i->revoked_at));
	if (one && i->why.what[0])
		(void)json_object_set_new(
		    one, "error", json_string(i->why.what));
	(void)json_array_append_new(arg, one);
}

/* When the first of what we serve with ends, and what its CAs say of it. */
static enum nj_err
set_certificates(struct admin_call *c)
{
	json_t *all = json_object(), *answers = json_array();
	struct broker_dates d;
	enum nj_err e;

	if ((e = admin_set(c->result, "certificates", all))) {
		json_decref(answers);
		return e;
	}
	broker_dates(c->env->broker, &d);
	if (!answers)
		return NJ_NOMEM;
	tls_staples_each(c->env->staples, add_answer, answers);
	if ((e = admin_set(all, "ocsp", answers)) ||
	    (e = set_end(all, "server", d.server)) ||
	    (e = set_end(all, "ca", d.cas)))
		return e;
	return set_end(all, "crl", d.lists);
}

/* Whether what must be kept can be. */
static enum nj_err
set_store(json_t *to, const struct broker_totals *t)
{
	json_t *store = json_object();
	enum nj_err e = admin_set(to, "store", store);

	if (e)
		return e;
	if (!t->stores)
		return admin_set(store, "state", json_string("none"));
	if ((e = admin_set(store, "state", json_string(t->store_name))) ||
	    (e = admin_set(store, "number", json_integer(t->store))) ||
	    (e = admin_set(
		 store, "refused", json_integer((json_int_t)t->store_refused))))
		return e;
	return t->store_since_ms
	    ? admin_set(store, "since",
		  json_integer((json_int_t)(t->store_since_ms / 1000)))
	    : NJ_OK;
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
		{ "messages_expired", t.expired },
		{ "messages_refused", t.refused },
		{ "logins_failed", t.logins_failed },
		{ "bytes_received", t.bytes_in },
		{ "bytes_sent", t.bytes_out },
		{ "heap_bytes", t.heap },
	};
	for (size_t i = 0; !e && i < sizeof rows / sizeof *rows; i++)
		e = admin_set(c->result, rows[i].name,
		    json_integer((json_int_t)rows[i].v));
	if (!e)
		e = set_store(c->result, &t);
	return e ? e : set_certificates(c);
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
