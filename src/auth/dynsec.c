/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/dynsec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/json_read.h"
#include "auth/roles_json.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "wire/mqtt.h"
#include "wire/topic.h"

/* Members. */

bool
dynsec_text_ok(const char *s)
{
	size_t n = strlen(s);

	if (n > MQTT_STRING_MAX || !utf8_ok(slice_of(s, n)))
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)s[i];

		/* C0, DEL, and C1 in its two bytes */
		if (c < 0x20 || c == 0x7f ||
		    (c == 0xc2 && (uint8_t)s[i + 1] < 0xa0))
			return false;
	}
	return true;
}

const char *
dynsec_name(const json_t *cmd, const char *member, const char *missing,
    const char *invalid, const char **out)
{
	if (!(*out = json_text(cmd, member)))
		return missing;
	return dynsec_text_ok(*out) ? NULL : invalid;
}

const char *
dynsec_user_name(const json_t *cmd, const char **out)
{
	return dynsec_name(cmd, "username", "Invalid/missing username",
	    "Username not valid UTF-8", out);
}

const char *
dynsec_group_name(const json_t *cmd, const char **out)
{
	return dynsec_name(cmd, "groupname", "Invalid/missing groupname",
	    "Group name not valid UTF-8", out);
}

const char *
dynsec_role_name(const json_t *cmd, const char **out)
{
	return dynsec_name(cmd, "rolename", "Invalid/missing rolename",
	    "Role name not valid UTF-8", out);
}

const char *
dynsec_optional(
    const json_t *cmd, const char *member, const char *bad, const char **out)
{
	const json_t *v = json_member(cmd, member);

	*out = json_string_value(v);
	return v && !*out ? bad : NULL;
}

const char *
dynsec_texts(const json_t *cmd, char **textname, char **textdescription)
{
	const char *name, *description, *error;

	if ((error = dynsec_optional(
		 cmd, "textname", "Invalid/missing textname", &name)) ||
	    (error = dynsec_optional(cmd, "textdescription",
		 "Invalid/missing textdescription", &description)))
		return error;
	return roles_set_text(textname, name) ||
		roles_set_text(textdescription, description)
	    ? DYNSEC_INTERNAL
	    : NULL;
}

const char *
dynsec_new_texts(const json_t *cmd, char **textname, char **textdescription)
{
	const char *name = json_text(cmd, "textname");
	const char *description = json_text(cmd, "textdescription");

	if ((name && roles_set_text(textname, name)) ||
	    (description && roles_set_text(textdescription, description)))
		return DYNSEC_INTERNAL;
	return NULL;
}

const char *
dynsec_roles_list(const struct roles *r, const json_t *cmd, const char *bad,
    struct grants *out, bool *given)
{
	const json_t *v = json_member(cmd, "roles");

	*given = v != NULL;
	if (v && !json_is_array(v))
		return bad;
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);
		const char *name = json_text(one, "rolename");
		const struct role *x;
		enum nj_err e;

		if (!name)
			return bad;
		if (!(x = roles_role(r, slice_str(name))))
			return "Role not found";
		e = grants_add(r, out, false, x->id,
		    json_int(one, "priority", GRANT_NO_PRIORITY));
		if (e && e != NJ_EXISTS)
			return DYNSEC_INTERNAL;
	}
	return NULL;
}

static void
page(const json_t *cmd, size_t total, size_t *from, size_t *to, bool *verbose)
{
	int32_t count = json_int(cmd, "count", -1);
	int32_t offset = json_int(cmd, "offset", 0);

	*verbose = json_flag(cmd, "verbose", false);
	*from = offset < 0 ? 0 : (size_t)offset;
	if (*from > total)
		*from = total;
	/* Mosquitto's 0 is one */
	*to = count < 0 ? total : *from + (size_t)(count ? count : 1);
	if (*to > total)
		*to = total;
}

const char *
dynsec_list(const json_t *cmd, json_t *data, const char *member, size_t total,
    dynsec_item_fn *item, const void *arg)
{
	json_t *list;
	size_t from, to;
	bool verbose;

	if (json_object_set_new(
		data, "totalCount", json_integer((json_int_t)total)) ||
	    json_object_set_new(data, member, list = json_array()))
		return DYNSEC_INTERNAL;
	page(cmd, total, &from, &to, &verbose);
	for (; from < to; from++)
		if (json_array_append_new(list, item(arg, from, verbose)))
			return DYNSEC_INTERNAL;
	return NULL;
}

/* Of the whole. */

static const char *const defaults[ROLES_ACTIONS] = { "publishClientSend",
	"publishClientReceive", "subscribe", "unsubscribe" };

/* "allow" as the plugin has it, or the "access" that mosquitto_ctrl 2.0 sends
 * in its place, to which Mosquitto is deaf. */
static bool
take_access(const json_t *one, bool *out)
{
	const json_t *allow = json_member(one, "allow");
	const char *access = json_text(one, "access");
	bool yes = access && strcasecmp(access, "allow") == 0;

	if (json_is_boolean(allow))
		*out = json_is_true(allow);
	else if (yes || (access && strcasecmp(access, "deny") == 0))
		*out = yes;
	else
		return false;
	return true;
}

static const char *
set_default_access(struct roles *r, const json_t *cmd)
{
	const json_t *v = json_member(cmd, "acls");

	if (!json_is_array(v))
		return "Missing/invalid actions array";
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);
		const char *type = json_text(one, "acltype");
		bool allow;

		if (!type || !take_access(one, &allow))
			continue;
		for (int k = 0; k < ROLES_ACTIONS; k++)
			if (strcasecmp(type, defaults[k]) == 0)
				r->by_default[k] = allow;
	}
	return NULL;
}

static const char *
get_default_access(const struct roles *r, const json_t *cmd, json_t *data)
{
	json_t *v = json_array();

	(void)cmd;
	if (json_object_set_new(data, "acls", v))
		return DYNSEC_INTERNAL;
	for (int k = 0; k < ROLES_ACTIONS; k++)
		if (json_array_append_new(v,
			json_pack("{s:s,s:b}", "acltype", defaults[k], "allow",
			    (int)r->by_default[k])))
			return DYNSEC_INTERNAL;
	return NULL;
}

/* Of Mosquitto 2.1. */
static const char *
get_details(const struct roles *r, const json_t *cmd, json_t *data)
{
	(void)cmd;
	return json_object_set_new(
		   data, "clientCount", json_integer((json_int_t)r->users.n)) ||
		json_object_set_new(data, "groupCount",
		    json_integer((json_int_t)r->groups.n)) ||
		json_object_set_new(
		    data, "roleCount", json_integer((json_int_t)r->roles.n)) ||
		json_object_set_new(
		    data, "changeIndex", json_integer((json_int_t)r->changes))
	    ? DYNSEC_INTERNAL
	    : NULL;
}

struct command {
	const char *name;
	dynsec_change_fn *change;
	dynsec_read_fn *read;
};

static const struct command commands[] = {
	{ "setDefaultACLAccess", set_default_access, NULL },
	{ "getDefaultACLAccess", NULL, get_default_access },
	{ "getDetails", NULL, get_details },
	{ "createClient", dynsec_create_client, NULL },
	{ "deleteClient", dynsec_delete_client, NULL },
	{ "getClient", NULL, dynsec_get_client },
	{ "listClients", NULL, dynsec_list_clients },
	{ "modifyClient", dynsec_modify_client, NULL },
	{ "setClientPassword", dynsec_set_password, NULL },
	{ "setClientId", dynsec_set_id, NULL },
	{ "addClientRole", dynsec_add_client_role, NULL },
	{ "removeClientRole", dynsec_remove_client_role, NULL },
	{ "enableClient", dynsec_enable_client, NULL },
	{ "disableClient", dynsec_disable_client, NULL },
	{ "addGroupClient", dynsec_add_group_client, NULL },
	{ "createGroup", dynsec_create_group, NULL },
	{ "deleteGroup", dynsec_delete_group, NULL },
	{ "getGroup", NULL, dynsec_get_group },
	{ "listGroups", NULL, dynsec_list_groups },
	{ "modifyGroup", dynsec_modify_group, NULL },
	{ "removeGroupClient", dynsec_remove_group_client, NULL },
	{ "addGroupRole", dynsec_add_group_role, NULL },
	{ "removeGroupRole", dynsec_remove_group_role, NULL },
	{ "setAnonymousGroup", dynsec_set_anonymous, NULL },
	{ "getAnonymousGroup", NULL, dynsec_get_anonymous },
	{ "createRole", dynsec_create_role, NULL },
	{ "getRole", NULL, dynsec_get_role },
	{ "listRoles", NULL, dynsec_list_roles },
	{ "modifyRole", dynsec_modify_role, NULL },
	{ "deleteRole", dynsec_delete_role, NULL },
	{ "addRoleACL", dynsec_add_rule, NULL },
	{ "removeRoleACL", dynsec_remove_rule, NULL },
};

/* An error may come when a part is done. */
static bool
is_careful(const struct command *c)
{
	return c->change == dynsec_delete_group ||
	    c->change == dynsec_modify_group || c->change == dynsec_delete_role;
}

/* Answers. */

/* Consumes data. */
static enum nj_err
reply(struct dynsec *d, const char *command, const char *error, json_t *data,
    const char *correlation, bool changed)
{
	json_t *o = json_pack("{s:s}", "command", command);

	if (!o ||
	    (error && json_object_set_new(o, "error", json_string(error))) ||
	    (data && json_object_set(o, "data", data)) ||
	    (correlation &&
		json_object_set_new(
		    o, "correlationData", json_string(correlation))) ||
	    (changed && json_array_append(d->changes, o)) ||
	    json_array_append(d->responses, o)) {
		json_decref(o);
		json_decref(data);
		return NJ_NOMEM;
	}
	json_decref(o);
	json_decref(data);
	return NJ_OK;
}

static void
tell(const struct dynsec *d, const struct command *c, const json_t *cmd)
{
	static const char *const members[] = { "username", "groupname",
		"rolename", "acltype", "topic" };
	char line[512], id[TEXT_ESC], user[TEXT_ESC], esc[TEXT_ESC];
	size_t n = 0;

	line[0] = '\0';
	for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
		const char *v = json_text(cmd, members[i]);
		int put = v
		    ? snprintf(line + n, sizeof line - n, " | %s=%s",
			  members[i], text_esc(esc, sizeof esc, slice_str(v)))
		    : 0;

		if (put < 0 || (size_t)put >= sizeof line - n)
			break;
		n += (size_t)put;
	}
	nj_log(LOG_T_INFORMATION, "dynsec: %s/%s | %s%s%s",
	    text_esc(id, sizeof id, d->who->client_id),
	    text_esc(user, sizeof user, d->who->user), c->name, line,
	    json_text(cmd, "password") ? " | password=******" : "");
}

static enum nj_err
change(struct dynsec *d, const struct command *c, const json_t *cmd,
    const char *correlation)
{
	struct roles *draft = NULL;
	const char *error;
	enum nj_err e;

	/* a copy costs as much as there are roles: not for each of thousands */
	if (d->own && !is_careful(c))
		draft = roles_ref(d->now);
	else if ((e = roles_copy(d->now, &draft)))
		return e;
	if ((error = c->change(draft, cmd))) {
		roles_unref(draft);
	} else {
		draft->changes++;
		roles_unref(d->now);
		d->now = draft;
		d->own = true;
		tell(d, c, cmd);
	}
	return reply(d, c->name, error, NULL, correlation, !error);
}

int
rolebase_here_cmp(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Where those of the user begin. */
static size_t
first_here(const struct rolebase_admin *w, struct slice user)
{
	size_t low = 0, high = w->n_here;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (rolebase_here_cmp(w->here[mid].user, user) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* "connections" of Mosquitto 2.1, to a client as it is answered. */
static bool
put_connections(const struct rolebase_admin *w, json_t *client)
{
	const char *user = json_text(client, "username");
	const char *id = json_text(client, "clientid");
	json_t *list = json_array();

	if (!user || json_object_set_new(client, "connections", list))
		return false;
	for (size_t i = first_here(w, slice_str(user));
	     i < w->n_here && slice_is(w->here[i].user, user); i++) {
		struct slice at = w->here[i].address;

		if ((!id || slice_is(w->here[i].client_id, id)) &&
		    json_array_append_new(list,
			json_pack("{s:s%}", "address", (const char *)at.p,
			    (size_t)at.n)))
			return false;
	}
	return true;
}

static bool
put_all_connections(const struct rolebase_admin *w, json_t *data)
{
	json_t *client = json_object_get(data, "client");
	json_t *list = json_object_get(data, "clients");

	if (!w->knows_here)
		return true;
	if (client)
		return put_connections(w, client);
	for (size_t i = 0; i < json_array_size(list); i++) {
		client = json_array_get(list, i);
		if (json_is_object(client) && !put_connections(w, client))
			return false;
	}
	return true;
}

static enum nj_err
ask(struct dynsec *d, const struct command *c, const json_t *cmd,
    const char *correlation)
{
	json_t *data = json_object();
	const char *error = data ? c->read(d->now, cmd, data) : DYNSEC_INTERNAL;

	if (!error && !put_all_connections(d->who, data))
		error = DYNSEC_INTERNAL;
	if (error) {
		json_decref(data);
		data = NULL;
	} else {
		tell(d, c, cmd);
	}
	return reply(d, c->name, error, data, correlation, false);
}

/* *stop: what follows is not looked at, as Mosquitto does. */
static enum nj_err
run_one(struct dynsec *d, const json_t *cmd, bool *stop)
{
	const char *name = json_text(cmd, "command");
	const json_t *correlation = json_member(cmd, "correlationData");
	const char *text = json_string_value(correlation);

	if (!json_is_object(cmd))
		return reply(d, "Unknown command", "Command not an object",
		    NULL, NULL, false);
	if (!name)
		return reply(
		    d, "Unknown command", "Missing command", NULL, text, false);
	if (correlation && !text) {
		*stop = true;
		return reply(d, name, "Invalid correlationData data type.",
		    NULL, NULL, false);
	}
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (strcasecmp(commands[i].name, name) == 0)
			return commands[i].change
			    ? change(d, &commands[i], cmd, text)
			    : ask(d, &commands[i], cmd, text);
	return reply(d, name, "Unknown command", NULL, text, false);
}

/* The JSON's memory is freed as it is. */
static void
forget_passwords(const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *p = json_text(json_array_get(list, i), "password");

		if (p)
			secret_wipe((void *)(uintptr_t)p, strlen(p));
	}
}

enum nj_err
dynsec_run(struct dynsec *d, struct slice json)
{
	json_t *root = NULL, *list;
	bool stop = false;
	enum nj_err e = NJ_OK;

	d->responses = json_array();
	d->changes = json_array();
	if (!d->responses || !d->changes)
		return NJ_NOMEM;
	if (json.n > 0 && json.n <= ROLEBASE_COMMAND_MAX)
		root = json_read(json, JSON_REJECT_DUPLICATES, NULL);
	if (!root)
		return reply(d, "Unknown command", "Payload not valid JSON",
		    NULL, NULL, false);
	list = json_member(root, "commands");
	if (!json_is_array(list))
		e = reply(d, "Unknown command", "Invalid/missing commands",
		    NULL, NULL, false);
	for (size_t i = 0; i < json_array_size(list) && !e && !stop; i++)
		e = run_one(d, json_array_get(list, i), &stop);
	forget_passwords(list);
	json_decref(root);
	return e ? e : d->own ? roles_seal(d->now) : NJ_OK;
}

void
dynsec_failed(struct dynsec *d)
{
	for (size_t i = 0; i < json_array_size(d->changes); i++)
		(void)json_object_set_new(json_array_get(d->changes, i),
		    "error", json_string(DYNSEC_INTERNAL));
}

enum nj_err
dynsec_answer(struct dynsec *d, struct buf *out)
{
	json_t *o = json_pack("{s:O}", "responses", d->responses);
	char *text = json_whole(o);
	enum nj_err e = text ? buf_put(out, text, strlen(text)) : NJ_NOMEM;

	json_decref(o);
	free(text);
	return e;
}

void
dynsec_fini(struct dynsec *d)
{
	roles_unref(d->now);
	json_decref(d->responses);
	json_decref(d->changes);
}
