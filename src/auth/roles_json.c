/* SPDX-License-Identifier: Apache-2.0
 * From users, groups and roles to JSON.
 */
#include "auth/roles_json.h"

#include "auth/json_read.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

json_t *
json_member(const json_t *object, const char *name)
{
	json_t *v = json_object_get(object, name);
	void *at = NULL;

	if (v || !json_is_object(object))
		return v;
	/* not to be changed by going through it */
	at = json_object_iter((json_t *)(uintptr_t)object);
	for (; at; at = json_object_iter_next((json_t *)(uintptr_t)object, at))
		if (strcasecmp(json_object_iter_key(at), name) == 0)
			return json_object_iter_value(at);
	return NULL;
}

const char *
json_text(const json_t *object, const char *name)
{
	return json_string_value(json_member(object, name));
}

int32_t
json_int(const json_t *object, const char *name, int32_t fallback)
{
	const json_t *v = json_member(object, name);
	double n;

	if (!json_is_number(v))
		return fallback;
	n = json_number_value(v);
	if (n > GRANT_PRIORITY_MAX)
		return GRANT_PRIORITY_MAX;
	return n < -GRANT_PRIORITY_MAX ? -GRANT_PRIORITY_MAX : (int32_t)n;
}

bool
json_flag(const json_t *object, const char *name, bool fallback)
{
	const json_t *v = json_member(object, name);

	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

enum rule_kind
json_rule_kind(const char *name)
{
	unsigned k = 0;

	while (k < RULE_KINDS && strcasecmp(rule_kind_names[k], name) != 0)
		k++;
	return (enum rule_kind)k;
}

char *
json_whole(const json_t *o)
{
	const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
	size_t n = o ? json_dumpb(o, NULL, 0, flags) : 0;
	char *text = n > 0 ? malloc(n + 1) : NULL;

	if (text && json_dumpb(o, text, n, flags) == n) {
		text[n] = '\0';
		return text;
	}
	free(text);
	return NULL;
}

enum nj_err
json_others(const json_t *object, const char *const *known, char **out)
{
	json_t *others = NULL;
	const char *key;
	json_t *v;
	enum nj_err e = NJ_OK;

	*out = NULL;
	json_object_foreach((json_t *)(uintptr_t)object, key, v)
	{
		const char *const *k = known;

		while (*k && strcasecmp(*k, key) != 0)
			k++;
		if (*k)
			continue;
		if ((!others && !(others = json_object())) ||
		    json_object_set(others, key, v)) {
			e = NJ_NOMEM;
			break;
		}
	}
	if (!e && others && !(*out = json_whole(others)))
		e = NJ_NOMEM;
	json_decref(others);
	return e;
}

bool
json_add_others(json_t *object, const char *others)
{
	const char *key;
	json_t *o, *v;
	bool ok;

	if (!others)
		return true;
	o = json_read(slice_str(others), 0, NULL);
	ok = o != NULL;
	/* json_object_update_missing does not say that it has no memory */
	json_object_foreach(o, key, v)
	{
		if (!json_object_get(object, key) &&
		    json_object_set(object, key, v))
			ok = false;
	}
	json_decref(o);
	return ok;
}

/* Adds a string unless it is NULL. */
static bool
put_text(json_t *o, const char *name, const char *text)
{
	return !text || json_object_set_new(o, name, json_string(text)) == 0;
}

static bool
put_names(json_t *o, const char *name, const char *textname,
    const char *textdescription, const char *value)
{
	return put_text(o, name, value) && put_text(o, "textname", textname) &&
	    put_text(o, "textdescription", textdescription);
}

static json_t *
of_rule(const struct rule *u, enum rule_kind kind)
{
	json_t *o = json_pack("{s:s,s:s,s:i,s:b}", "acltype",
	    rule_kind_names[kind], "topic", u->topic, "priority",
	    (int)u->priority, "allow", (int)u->allow);

	if (o && json_add_others(o, u->extra))
		return o;
	json_decref(o);
	return NULL;
}

static bool
put_rules(json_t *o, const struct role *x)
{
	json_t *v = json_array();

	if (json_object_set_new(o, "acls", v))
		return false;
	for (unsigned k = 0; k < RULE_KINDS; k++)
		for (uint32_t i = 0; i < x->rules[k].n; i++)
			if (json_array_append_new(
				v, of_rule(x->rules[k].v[i], k)))
				return false;
	return true;
}

json_t *
json_of_role(const struct role *x, enum json_for what)
{
	json_t *o = json_object();

	if (o &&
	    put_names(
		o, "rolename", x->textname, x->textdescription, x->name) &&
	    (!x->no_wildcard_subs ||
		json_object_set_new(o, "allowwildcardsubs", json_false()) ==
		    0) &&
	    put_rules(o, x) &&
	    (what == JSON_FOR_ANSWER || json_add_others(o, x->extra)))
		return o;
	json_decref(o);
	return NULL;
}

/* One entry of a list of those that have a priority. */
static json_t *
of_grant(const char *member, const char *name, int32_t priority)
{
	json_t *o = json_pack("{s:s}", member, name);

	if (o && priority != GRANT_NO_PRIORITY &&
	    json_object_set_new(o, "priority", json_integer(priority))) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static bool
put_grants(
    json_t *o, const struct roles *r, const struct grants *g, bool groups)
{
	json_t *v = json_array();

	if (json_object_set_new(o, groups ? "groups" : "roles", v))
		return false;
	for (uint32_t i = 0; i < g->n; i++) {
		const struct group *x =
		    groups ? roles_group_at(r, g->v[i].id) : NULL;
		const struct role *y =
		    groups ? NULL : roles_role_at(r, g->v[i].id);

		if (!x && !y)
			continue;
		if (json_array_append_new(v,
			of_grant(groups ? "groupname" : "rolename",
			    x ? x->name : y->name, g->v[i].priority)))
			return false;
	}
	return true;
}

static int32_t
priority_in(const struct user *u, const struct group *x)
{
	for (uint32_t i = 0; i < u->groups.n; i++)
		if (u->groups.v[i].id == x->id)
			return u->groups.v[i].priority;
	return GRANT_NO_PRIORITY;
}

static bool
put_members(json_t *o, const struct group *x, struct user *const *members,
    size_t n, enum json_for what)
{
	json_t *v = json_array();

	if (json_object_set_new(o, "clients", v))
		return false;
	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(v,
			of_grant("username", members[i]->name,
			    what == JSON_FOR_FILE ? priority_in(members[i], x)
						  : GRANT_NO_PRIORITY)))
			return false;
	return true;
}

json_t *
json_of_group(const struct roles *r, const struct group *x,
    struct user *const *members, size_t n, enum json_for what)
{
	json_t *o = json_object();

	if (o &&
	    put_names(
		o, "groupname", x->textname, x->textdescription, x->name) &&
	    (what == JSON_FOR_STORE || put_members(o, x, members, n, what)) &&
	    put_grants(o, r, &x->roles, false) &&
	    (what == JSON_FOR_ANSWER || json_add_others(o, x->extra)))
		return o;
	json_decref(o);
	return NULL;
}

/* $7$iterations$salt$hash in its parts, as Mosquitto 2.0 has it; any other kind
 * whole, as 2.1 does. */
static bool
put_password(json_t *o, const char *password)
{
	const char *salt, *hash;
	json_t *v;

	if (!password)
		return true;
	if (strncmp(password, "$7$", 3) != 0 ||
	    !(salt = strchr(password + 3, '$')) ||
	    !(hash = strchr(++salt, '$')))
		return put_text(o, "encoded_password", password);
	v = json_stringn(salt, (size_t)(hash - salt));
	return put_text(o, "password", hash + 1) &&
	    json_object_set_new(o, "salt", v) == 0 &&
	    json_object_set_new(o, "iterations",
		json_integer(strtol(password + 3, NULL, 10))) == 0;
}

json_t *
json_of_user(const struct roles *r, const struct user *x, enum json_for what)
{
	json_t *o = json_object();

	if (o && put_text(o, "username", x->name) &&
	    put_text(o, "clientid", x->client_id) &&
	    put_names(o, "", x->textname, x->textdescription, NULL) &&
	    (!x->disabled ||
		json_object_set_new(o, "disabled", json_true()) == 0) &&
	    put_grants(o, r, &x->roles, false) &&
	    (what == JSON_FOR_FILE || put_grants(o, r, &x->groups, true)) &&
	    (what == JSON_FOR_ANSWER ||
		(put_password(o, x->password) && json_add_others(o, x->extra))))
		return o;
	json_decref(o);
	return NULL;
}

/* Groups. */

void
roles_members_fini(struct roles_members *m)
{
	free(m->users);
	free(m->v);
	free(m->at);
	*m = (struct roles_members){ 0 };
}

/* How many each has, then where each begins. */
static size_t
count_members(struct roles_members *m, const struct roles *r, size_t *next)
{
	size_t total = 0;

	for (size_t i = 0; i < r->users.n; i++)
		for (uint32_t k = 0; k < m->users[i]->groups.n; k++, total++)
			next[m->users[i]->groups.v[k].id + 1]++;
	for (size_t i = 0; i < r->group_slots.n; i++)
		next[i + 1] += next[i];
	memcpy(m->at, next, (r->group_slots.n + 1) * sizeof *next);
	return total;
}

enum nj_err
roles_members_init(struct roles_members *m, const struct roles *r)
{
	size_t n = r->group_slots.n + 1, total;
	size_t *next = calloc(n, sizeof *next);
	enum nj_err e = NJ_NOMEM;

	*m = (struct roles_members){ .at = calloc(n, sizeof *m->at) };
	if (!m->at || !next || (e = roles_sorted_users(r, &m->users)))
		goto out;
	total = count_members(m, r, next);
	e = NJ_NOMEM;
	if (!(m->v = malloc((total + 1) * sizeof(*m->v))))
		goto out;
	for (size_t i = 0; i < r->users.n; i++)
		for (uint32_t k = 0; k < m->users[i]->groups.n; k++)
			m->v[next[m->users[i]->groups.v[k].id]++] = m->users[i];
	e = NJ_OK;
out:
	free(next);
	if (e)
		roles_members_fini(m);
	return e;
}

/* The file. */

static enum nj_err
print_one(struct buf *out, json_t *o, const char **before)
{
	char *text = json_whole(o);
	enum nj_err e = NJ_NOMEM;

	json_decref(o);
	if (text)
		e = buf_printf(out, "%s\n\t\t%s", *before, text);
	free(text);
	*before = ",";
	return e;
}

static enum nj_err
print_users(const struct roles *r, struct user *const *v, struct buf *out)
{
	const char *before = "";
	enum nj_err e = buf_printf(out, ",\n\t\"clients\": [");

	for (size_t i = 0; i < r->users.n && !e; i++)
		e = print_one(
		    out, json_of_user(r, v[i], JSON_FOR_FILE), &before);
	return e ? e : buf_printf(out, "]");
}

static enum nj_err
print_groups(
    const struct roles *r, const struct roles_members *m, struct buf *out)
{
	struct group **v = NULL;
	const char *before = "";
	enum nj_err e;

	if ((e = roles_sorted_groups(r, &v)))
		return e;
	e = buf_printf(out, ",\n\t\"groups\": [");
	for (size_t i = 0; i < r->groups.n && !e; i++) {
		size_t id = v[i]->id;

		e = print_one(out,
		    json_of_group(r, v[i], m->v + m->at[id],
			m->at[id + 1] - m->at[id], JSON_FOR_FILE),
		    &before);
	}
	free(v);
	return e ? e : buf_printf(out, "]");
}

static enum nj_err
print_roles(const struct roles *r, struct buf *out)
{
	struct role **v = NULL;
	const char *before = "";
	enum nj_err e;

	if ((e = roles_sorted_roles(r, &v)))
		return e;
	e = buf_printf(out, ",\n\t\"roles\": [");
	for (size_t i = 0; i < r->roles.n && !e; i++)
		e = print_one(out, json_of_role(v[i], JSON_FOR_FILE), &before);
	free(v);
	return e ? e : buf_printf(out, "]");
}

/* As 2.1 has it; 2.0 passes it by. */
static bool
put_changes(json_t *o, const struct roles *r)
{
	return r->changes == 0 ||
	    json_object_set_new(
		o, "changeIndex", json_integer((json_int_t)r->changes)) == 0;
}

json_t *
json_of_rest(const struct roles *r)
{
	json_t *o = json_object();
	json_t *defaults = json_pack("{s:b,s:b,s:b,s:b}", "publishClientSend",
	    (int)r->by_default[ROLES_PUBLISH], "publishClientReceive",
	    (int)r->by_default[ROLES_RECEIVE], "subscribe",
	    (int)r->by_default[ROLES_SUBSCRIBE], "unsubscribe",
	    (int)r->by_default[ROLES_UNSUBSCRIBE]);

	/* taken over, whatever becomes of it */
	if (json_object_set_new(o, "defaultACLAccess", defaults) == 0 &&
	    put_text(o, "anonymousGroup",
		r->anonymous ? r->anonymous->name : NULL) &&
	    put_changes(o, r) && json_add_others(o, r->extra))
		return o;
	json_decref(o);
	return NULL;
}

/* Members of the whole; the text of each begins behind the first brace. */
static enum nj_err
print_rest(const struct roles *r, struct buf *out)
{
	json_t *o = json_object();
	char *text = NULL;
	enum nj_err e = NJ_NOMEM;

	if (o &&
	    put_text(o, "anonymousGroup",
		r->anonymous ? r->anonymous->name : NULL) &&
	    put_changes(o, r) && json_add_others(o, r->extra) &&
	    (text = json_whole(o))) {
		size_t n = strlen(text);

		e = n > 2 ? buf_printf(out, ",\n\t%.*s", (int)(n - 2), text + 1)
			  : NJ_OK;
	}
	json_decref(o);
	free(text);
	return e;
}

enum nj_err
roles_print(const struct roles *r, struct buf *out)
{
	static const char *const b[] = { "false", "true" };
	struct roles_members m = { 0 };
	enum nj_err e;

	if ((e = buf_printf(out,
		 "{\n\t\"defaultACLAccess\": {\"publishClientSend\":%s,"
		 "\"publishClientReceive\":%s,\"subscribe\":%s,"
		 "\"unsubscribe\":%s}",
		 b[r->by_default[ROLES_PUBLISH]],
		 b[r->by_default[ROLES_RECEIVE]],
		 b[r->by_default[ROLES_SUBSCRIBE]],
		 b[r->by_default[ROLES_UNSUBSCRIBE]])) ||
	    (e = roles_members_init(&m, r)))
		return e;
	if ((e = print_users(r, m.users, out)) ||
	    (e = print_groups(r, &m, out)) || (e = print_roles(r, out)) ||
	    (e = print_rest(r, out)))
		goto out;
	e = buf_printf(out, "\n}\n");
out:
	roles_members_fini(&m);
	return e;
}
