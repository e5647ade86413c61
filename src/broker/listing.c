/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/listing.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/json_read.h"
#include "auth/rolebase.h"
#include "auth/roles_json.h"
#include "net/listener.h"

/* What the commands of dynamic security are to Mosquitto. */
#define DYNSEC_PLUGIN "dynamic-security"

/* "127.0.0.1:1883" without its port; nothing where it is not one address. */
static bool
put_address(json_t *o, const struct listener *l)
{
	const char *colon = strrchr(l->where, ':');
	struct slice at =
	    slice_of(l->where, colon ? (size_t)(colon - l->where) : 0);

	if (at.n == 0 || strchr(l->where, ',') || slice_is(at, "0.0.0.0") ||
	    slice_is(at, "[::]"))
		return true;
	if (at.p[0] == '[' && at.n > 2)
		at = slice_of(at.p + 1, at.n - 2);
	return json_object_set_new(o, "bind-address",
		   json_stringn((const char *)at.p, at.n)) == 0;
}

static json_t *
of_port(const struct port_opts *p)
{
	json_t *o = json_pack("{s:i,s:b}", "port", (int)p->listener->port,
	    "tls", (int)(p->tls != NULL));
	const char *protocol = p->est ? NULL
	    : p->websockets	      ? "mqtt+websockets"
				      : "mqtt";

	if (o &&
	    (!protocol ||
		json_object_set_new(o, "protocol", json_string(protocol)) ==
		    0) &&
	    (p->listener->port ? put_address(o, p->listener)
			       : json_object_set_new(o, "socket-path",
				     json_string(p->listener->un.path)) == 0))
		return o;
	json_decref(o);
	return NULL;
}

static bool
put_listeners(const struct port_set *set, json_t *data)
{
	json_t *v = json_array();

	if (json_object_set_new(data, "listeners", v))
		return false;
	for (size_t i = 0; i < set->n; i++)
		if (json_array_append_new(v, of_port(&set->v[i])))
			return false;
	return true;
}

/* Whether the ports before have the same users. */
static bool
is_told(const struct port_set *set, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (set->v[i].roles == set->v[at].roles)
			return true;
	return false;
}

static bool
put_plugins(const struct port_set *set, json_t *data)
{
	json_t *v = json_array();

	if (json_object_set_new(data, "plugins", v))
		return false;
	for (size_t i = 0; i < set->n; i++)
		if (set->v[i].roles && !is_told(set, i) &&
		    json_array_append_new(v,
			json_pack("{s:s,s:s,s:[s]}", "name", DYNSEC_PLUGIN,
			    "version", NJ_VERSION, "control-endpoints",
			    ROLEBASE_TOPIC)))
			return false;
	return true;
}

/* As the commands of dynamic security are answered. */
static enum nj_err
reply(json_t *list, const char *command, const char *error, json_t *data,
    const char *correlation)
{
	json_t *o = json_pack("{s:s}", "command", command);
	bool ok = o &&
	    (!error ||
		json_object_set_new(o, "error", json_string(error)) == 0) &&
	    (!data || json_object_set(o, "data", data) == 0) &&
	    (!correlation ||
		json_object_set_new(
		    o, "correlationData", json_string(correlation)) == 0) &&
	    json_array_append(list, o) == 0;

	json_decref(o);
	json_decref(data);
	return ok ? NJ_OK : NJ_NOMEM;
}

static enum nj_err
run_one(const struct port_set *set, const json_t *cmd, json_t *list, bool *stop)
{
	static const struct {
		const char *name;
		bool (*put)(const struct port_set *set, json_t *data);
	} commands[] = {
		{ "listListeners", put_listeners },
		{ "listPlugins", put_plugins },
	};
	const char *name = json_text(cmd, "command");
	const json_t *correlation = json_member(cmd, "correlationData");
	const char *text = json_string_value(correlation);

	if (!json_is_object(cmd))
		return reply(list, "Unknown command", "Command not an object",
		    NULL, NULL);
	if (!name)
		return reply(
		    list, "Unknown command", "Missing command", NULL, text);
	if (correlation && !text) {
		*stop = true;
		return reply(list, name, "Invalid correlationData data type.",
		    NULL, NULL);
	}
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		json_t *data;

		if (strcasecmp(commands[i].name, name) != 0)
			continue;
		data = json_object();
		if (!data || !commands[i].put(set, data)) {
			json_decref(data);
			return NJ_NOMEM;
		}
		return reply(list, commands[i].name, NULL, data, text);
	}
	return reply(list, name, "Unknown command", NULL, text);
}

static enum nj_err
run_all(const struct port_set *set, struct slice text, json_t *list)
{
	json_t *root = NULL;
	const json_t *commands;
	enum nj_err e = NJ_OK;
	bool stop = false;

	if (text.n > 0 && text.n <= LISTING_BYTES_MAX)
		root = json_read(text, JSON_REJECT_DUPLICATES, NULL);
	commands = json_member(root, "commands");
	if (!root)
		e = reply(list, "Unknown command", "Payload not valid JSON",
		    NULL, NULL);
	else if (!json_is_array(commands))
		e = reply(list, "Unknown command", "Invalid/missing commands",
		    NULL, NULL);
	else if (json_array_size(commands) > LISTING_COMMANDS_MAX)
		e = reply(
		    list, "Unknown command", "Too many commands", NULL, NULL);
	else
		for (size_t i = 0; i < json_array_size(commands) && !e && !stop;
		     i++)
			e = run_one(
			    set, json_array_get(commands, i), list, &stop);
	json_decref(root);
	return e;
}

enum nj_err
listing_run(
    const struct port_set *set, struct slice commands, struct buf *answer)
{
	json_t *list = json_array(), *o = NULL;
	char *text = NULL;
	enum nj_err e = list ? run_all(set, commands, list) : NJ_NOMEM;

	if (!e &&
	    (!(o = json_pack("{s:O}", "responses", list)) ||
		!(text = json_whole(o))))
		e = NJ_NOMEM;
	if (!e)
		e = buf_put(answer, text, strlen(text));
	free(text);
	json_decref(o);
	json_decref(list);
	return e;
}
