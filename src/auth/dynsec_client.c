/* SPDX-License-Identifier: Apache-2.0
 * Commands about clients, which are users.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/dynsec.h"
#include "auth/roles_json.h"
#include "base/secret.h"

#define NO_CLIENT "Client not found"
#define NO_GROUP  "Group not found"
#define NO_ROLE	  "Role not found"

/* The client that a command names, and a clone to be changed. */
static const char *
client_of(const struct roles *r, const json_t *cmd, struct user **clone)
{
	const char *name, *error;
	const struct user *u;

	if ((error = dynsec_user_name(cmd, &name)))
		return error;
	if (!(u = roles_user(r, slice_str(name))))
		return NO_CLIENT;
	return user_clone(u, clone) ? DYNSEC_INTERNAL : NULL;
}

/* Consumes x: puts it, unless there is an error. */
static const char *
put(struct roles *r, struct user *x, const char *error)
{
	if (error) {
		user_unref(x);
		return error;
	}
	return roles_put_user(r, &x) ? DYNSEC_INTERNAL : NULL;
}

/* An empty one is none: Mosquitto would let in whoever gives an empty one. */
static const char *
hash_password(struct user *x, const char *password)
{
	struct password_cost cost = password_default_cost(PASSWORD_PBKDF2);
	char text[PASSWORD_TEXT_MAX];
	bool bad;

	if (!*password)
		return NULL;
	if (password_make(&cost, slice_str(password), text))
		return DYNSEC_INTERNAL;
	bad = roles_set_text(&x->password, text) != NJ_OK;
	secret_wipe(text, sizeof text);
	return bad ? DYNSEC_INTERNAL : NULL;
}

static const char *
set_client_id(struct user *x, const char *id)
{
	return roles_set_text(&x->client_id, id && *id ? id : NULL)
	    ? DYNSEC_INTERNAL
	    : NULL;
}

/* "groups" of createClient. */
static const char *
join_groups(const struct roles *r, const json_t *cmd, struct user *x)
{
	const json_t *v = json_member(cmd, "groups");

	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);
		const char *name = json_text(one, "groupname");
		const struct group *g;

		if (!name)
			continue;
		if (!(g = roles_group(r, slice_str(name))))
			return NO_GROUP;
		if (grants_add(r, &x->groups, true, g->id,
			json_int(one, "priority", GRANT_NO_PRIORITY)))
			return DYNSEC_INTERNAL;
	}
	return NULL;
}

static const char *
fill_new(const struct roles *r, const json_t *cmd, struct user *x,
    const char *password, const char *id)
{
	const char *error;
	bool given;

	if ((error = dynsec_texts(cmd, &x->textname, &x->textdescription)))
		return error;
	if (roles_user(r, slice_str(x->name)))
		return "Client already exists";
	if ((error = set_client_id(x, id)) ||
	    (error = dynsec_roles_list(r, cmd,
		 "'roles' not an array or missing/invalid rolename", &x->roles,
		 &given)) ||
	    (error = join_groups(r, cmd, x)))
		return error;
	return password ? hash_password(x, password) : NULL;
}

const char *
dynsec_create_client(struct roles *r, const json_t *cmd)
{
	const char *name, *password, *id, *error;
	struct user *x = NULL;

	if ((error = dynsec_user_name(cmd, &name)))
		return error;
	if (!*name) /* who has an empty name is anonymous here */
		return "Empty username";
	if ((error = dynsec_optional(
		 cmd, "password", "Invalid/missing password", &password)) ||
	    (error = dynsec_optional(
		 cmd, "clientid", "Invalid/missing client id", &id)))
		return error;
	if (id && !dynsec_text_ok(id))
		return "Client ID not valid UTF-8";
	if (user_new(name, &x))
		return DYNSEC_INTERNAL;
	return put(r, x, fill_new(r, cmd, x, password, id));
}

const char *
dynsec_delete_client(struct roles *r, const json_t *cmd)
{
	const char *name = json_text(cmd, "username");
	enum nj_err e;

	if (!name)
		return "Invalid/missing username";
	e = roles_del_user(r, slice_str(name));
	return e == NJ_NOTFOUND ? NO_CLIENT : e ? DYNSEC_INTERNAL : NULL;
}

static const char *
set_disabled(struct roles *r, const json_t *cmd, bool disabled)
{
	struct user *x = NULL;
	const char *error = client_of(r, cmd, &x);

	if (error)
		return error;
	x->disabled = disabled;
	return put(r, x, NULL);
}

const char *
dynsec_enable_client(struct roles *r, const json_t *cmd)
{
	return set_disabled(r, cmd, false);
}

const char *
dynsec_disable_client(struct roles *r, const json_t *cmd)
{
	return set_disabled(r, cmd, true);
}

const char *
dynsec_set_id(struct roles *r, const json_t *cmd)
{
	struct user *x = NULL;
	const char *name, *id, *error;

	if ((error = dynsec_user_name(cmd, &name)) ||
	    (error = dynsec_optional(
		 cmd, "clientid", "Invalid/missing client ID", &id)))
		return error;
	if (id && !dynsec_text_ok(id))
		return "Client ID not valid UTF-8";
	if ((error = client_of(r, cmd, &x)))
		return error;
	return put(r, x, set_client_id(x, id));
}

const char *
dynsec_set_password(struct roles *r, const json_t *cmd)
{
	struct user *x = NULL;
	const char *name, *password, *error;

	if ((error = dynsec_user_name(cmd, &name)))
		return error;
	if (!(password = json_text(cmd, "password")))
		return "Invalid/missing password";
	if (!*password)
		return "Empty password is not allowed";
	if ((error = client_of(r, cmd, &x)))
		return error;
	return put(r, x, hash_password(x, password));
}

/* "groups" of modifyClient take the place of what there is. */
static const char *
replace_groups(const struct roles *r, const json_t *cmd, struct user *x)
{
	const json_t *v = json_member(cmd, "groups");

	if (!json_is_array(v))
		return NULL;
	grants_clear(&x->groups);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);
		const char *name = json_text(one, "groupname");
		const struct group *g;
		enum nj_err e;

		if (!json_is_object(one))
			continue;
		if (!name)
			return "'groups' contains an object with an invalid "
			       "'groupname'";
		if (!(g = roles_group(r, slice_str(name))))
			return "'groups' contains an object with a "
			       "'groupname' that does not exist";
		e = grants_add(r, &x->groups, true, g->id,
		    json_int(one, "priority", GRANT_NO_PRIORITY));
		if (e && e != NJ_EXISTS)
			return DYNSEC_INTERNAL;
	}
	return NULL;
}

static const char *
modify(const struct roles *r, const json_t *cmd, struct user *x)
{
	const char *id = json_text(cmd, "clientid");
	const char *password = json_text(cmd, "password");
	struct grants grants = { 0 };
	const char *error;
	bool given;

	if (id && !dynsec_text_ok(id))
		return "Client ID not valid UTF-8";
	if ((error = id ? set_client_id(x, id) : NULL) ||
	    (error = dynsec_new_texts(cmd, &x->textname, &x->textdescription)))
		return error;
	if ((error = dynsec_roles_list(r, cmd,
		 "'roles' not an array or missing/invalid rolename", &grants,
		 &given)) ||
	    !given)
		grants_clear(&grants);
	else
		grants_move(&x->roles, &grants);
	if (error || (error = replace_groups(r, cmd, x)))
		return error;
	return password ? hash_password(x, password) : NULL;
}

const char *
dynsec_modify_client(struct roles *r, const json_t *cmd)
{
	struct user *x = NULL;
	const char *error = client_of(r, cmd, &x);

	return error ? error : put(r, x, modify(r, cmd, x));
}

static const char *
names_of_grant(const struct roles *r, const json_t *cmd, struct user **x,
    const struct role **role)
{
	const char *name, *rolename, *error;

	if ((error = dynsec_user_name(cmd, &name)) ||
	    (error = dynsec_role_name(cmd, &rolename)))
		return error;
	if (!roles_user(r, slice_str(name)))
		return NO_CLIENT;
	if (!(*role = roles_role(r, slice_str(rolename))))
		return NO_ROLE;
	return client_of(r, cmd, x);
}

const char *
dynsec_add_client_role(struct roles *r, const json_t *cmd)
{
	struct user *x = NULL;
	const struct role *role;
	const char *error = names_of_grant(r, cmd, &x, &role);

	if (error)
		return error;
	return put(r, x,
	    grants_add(r, &x->roles, false, role->id,
		json_int(cmd, "priority", GRANT_NO_PRIORITY))
		? DYNSEC_INTERNAL
		: NULL);
}

const char *
dynsec_remove_client_role(struct roles *r, const json_t *cmd)
{
	struct user *x = NULL;
	const struct role *role;
	const char *error = names_of_grant(r, cmd, &x, &role);

	if (error)
		return error;
	(void)grants_del(&x->roles, role->id);
	return put(r, x, NULL);
}

const char *
dynsec_get_client(const struct roles *r, const json_t *cmd, json_t *data)
{
	const char *name, *error;
	const struct user *u;

	if ((error = dynsec_user_name(cmd, &name)))
		return error;
	if (!(u = roles_user(r, slice_str(name))))
		return NO_CLIENT;
	return json_object_set_new(
		   data, "client", json_of_user(r, u, JSON_FOR_ANSWER))
	    ? DYNSEC_INTERNAL
	    : NULL;
}

struct listing {
	const struct roles *r;
	struct user **v;
};

static json_t *
item(const void *arg, size_t i, bool verbose)
{
	const struct listing *l = arg;

	return verbose ? json_of_user(l->r, l->v[i], JSON_FOR_ANSWER)
		       : json_string(l->v[i]->name);
}

const char *
dynsec_list_clients(const struct roles *r, const json_t *cmd, json_t *data)
{
	struct listing l = { .r = r };
	const char *error;

	if (roles_sorted_users(r, &l.v))
		return DYNSEC_INTERNAL;
	error = dynsec_list(cmd, data, "clients", r->users.n, item, &l);
	free(l.v);
	return error;
}
