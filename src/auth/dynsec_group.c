/* SPDX-License-Identifier: Apache-2.0
 * Commands about groups.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/dynsec.h"
#include "auth/roles_json.h"

#define NO_GROUP "Group not found"

static const char *
group_of(const struct roles *r, const json_t *cmd, struct group **clone)
{
	const char *name, *error;
	const struct group *g;

	if ((error = dynsec_group_name(cmd, &name)))
		return error;
	if (!(g = roles_group(r, slice_str(name))))
		return NO_GROUP;
	return group_clone(g, clone) ? DYNSEC_INTERNAL : NULL;
}

/* Consumes x: puts it, unless there is an error. */
static const char *
put(struct roles *r, struct group *x, const char *error)
{
	if (error) {
		group_unref(x);
		return error;
	}
	return roles_put_group(r, &x) ? DYNSEC_INTERNAL : NULL;
}

const char *
dynsec_create_group(struct roles *r, const json_t *cmd)
{
	const char *name, *error;
	struct group *x = NULL;
	bool given;

	if ((error = dynsec_group_name(cmd, &name)))
		return error;
	if (!*name)
		return "Empty groupname";
	if (group_new(name, &x))
		return DYNSEC_INTERNAL;
	if (!(error = dynsec_texts(cmd, &x->textname, &x->textdescription)) &&
	    roles_group(r, slice_str(name)))
		error = "Group already exists";
	if (!error)
		error = dynsec_roles_list(
		    r, cmd, DYNSEC_INTERNAL, &x->roles, &given);
	return put(r, x, error);
}

const char *
dynsec_delete_group(struct roles *r, const json_t *cmd)
{
	const char *name, *error;
	enum nj_err e;

	if ((error = dynsec_group_name(cmd, &name)))
		return error;
	if (r->anonymous && strcmp(r->anonymous->name, name) == 0)
		return "Deleting the anonymous group is forbidden";
	e = roles_del_group(r, slice_str(name));
	return e == NJ_NOTFOUND ? NO_GROUP : e ? DYNSEC_INTERNAL : NULL;
}

/* Everybody out. */
static enum nj_err
leave_all(struct roles *r, uint32_t id)
{
	struct roles_members m = { 0 };
	enum nj_err e = roles_members_init(&m, r);
	struct user *x;

	for (size_t i = e ? 0 : m.at[id]; !e && i < m.at[id + 1]; i++)
		if (!(e = user_clone(m.v[i], &x))) {
			(void)grants_del(&x->groups, id);
			e = roles_put_user(r, &x);
		}
	roles_members_fini(&m);
	return e;
}

static enum nj_err
join(struct roles *r, const struct user *u, uint32_t id, int32_t priority)
{
	struct user *x = NULL;
	enum nj_err e = user_clone(u, &x);

	if (e)
		return e;
	if ((e = grants_add(r, &x->groups, true, id, priority))) {
		user_unref(x);
		return e;
	}
	return roles_put_user(r, &x);
}

/* "clients" of modifyGroup take the place of those there are. */
static const char *
replace_members(struct roles *r, const json_t *cmd, uint32_t id)
{
	const json_t *v = json_member(cmd, "clients");

	if (!json_is_array(v))
		return NULL;
	if (leave_all(r, id))
		return DYNSEC_INTERNAL;
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);
		const char *name = json_text(one, "username");
		const struct user *u;
		enum nj_err e;

		if (!json_is_object(one))
			continue;
		if (!name)
			return "'clients' contains an object with an invalid "
			       "'username'";
		if (!(u = roles_user(r, slice_str(name))))
			return "'clients' contains an object with a "
			       "'username' that does not exist";
		e = join(
		    r, u, id, json_int(one, "priority", GRANT_NO_PRIORITY));
		if (e && e != NJ_EXISTS)
			return DYNSEC_INTERNAL;
	}
	return NULL;
}

const char *
dynsec_modify_group(struct roles *r, const json_t *cmd)
{
	struct grants grants = { 0 };
	struct group *x = NULL;
	const char *error;
	uint32_t id;
	bool given;

	if ((error = group_of(r, cmd, &x)))
		return error;
	id = roles_group(r, slice_str(x->name))->id;
	if ((error =
		    dynsec_new_texts(cmd, &x->textname, &x->textdescription)) ||
	    (error = dynsec_roles_list(r, cmd,
		 "'roles' not an array or missing/invalid rolename", &grants,
		 &given)) ||
	    !given)
		grants_clear(&grants);
	else
		grants_move(&x->roles, &grants);
	error = put(r, x, error);
	return error ? error : replace_members(r, cmd, id);
}

static const char *
names_of_member(const struct roles *r, const json_t *cmd, const struct user **u,
    const struct group **g)
{
	const char *name, *group, *error;

	if ((error = dynsec_user_name(cmd, &name)) ||
	    (error = dynsec_group_name(cmd, &group)))
		return error;
	if (!(*u = roles_user(r, slice_str(name))))
		return "Client not found";
	return (*g = roles_group(r, slice_str(group))) ? NULL : NO_GROUP;
}

const char *
dynsec_add_group_client(struct roles *r, const json_t *cmd)
{
	const struct user *u;
	const struct group *g;
	const char *error = names_of_member(r, cmd, &u, &g);
	enum nj_err e;

	if (error)
		return error;
	e = join(r, u, g->id, json_int(cmd, "priority", GRANT_NO_PRIORITY));
	return e == NJ_EXISTS ? "Client is already in this group"
	    : e		      ? DYNSEC_INTERNAL
			      : NULL;
}

const char *
dynsec_remove_group_client(struct roles *r, const json_t *cmd)
{
	const struct user *u;
	const struct group *g;
	const char *error = names_of_member(r, cmd, &u, &g);
	struct user *x = NULL;

	if (error)
		return error;
	if (user_clone(u, &x))
		return DYNSEC_INTERNAL;
	(void)grants_del(&x->groups, g->id);
	return roles_put_user(r, &x) ? DYNSEC_INTERNAL : NULL;
}

static const char *
names_of_grant(const struct roles *r, const json_t *cmd, struct group **x,
    const struct role **role)
{
	const char *name, *rolename, *error;

	if ((error = dynsec_group_name(cmd, &name)) ||
	    (error = dynsec_role_name(cmd, &rolename)))
		return error;
	if (!roles_group(r, slice_str(name)))
		return NO_GROUP;
	if (!(*role = roles_role(r, slice_str(rolename))))
		return "Role not found";
	return group_of(r, cmd, x);
}

const char *
dynsec_add_group_role(struct roles *r, const json_t *cmd)
{
	struct group *x = NULL;
	const struct role *role;
	const char *error = names_of_grant(r, cmd, &x, &role);
	enum nj_err e;

	if (error)
		return error;
	e = grants_add(r, &x->roles, false, role->id,
	    json_int(cmd, "priority", GRANT_NO_PRIORITY));
	return put(r, x,
	    e == NJ_EXISTS ? "Group is already in this role"
		: e	   ? DYNSEC_INTERNAL
			   : NULL);
}

const char *
dynsec_remove_group_role(struct roles *r, const json_t *cmd)
{
	struct group *x = NULL;
	const struct role *role;
	const char *error = names_of_grant(r, cmd, &x, &role);

	if (error)
		return error;
	(void)grants_del(&x->roles, role->id);
	return put(r, x, NULL);
}

const char *
dynsec_set_anonymous(struct roles *r, const json_t *cmd)
{
	const char *name, *error;
	struct group *g;

	if ((error = dynsec_group_name(cmd, &name)))
		return error;
	if (!(g = roles_group(r, slice_str(name))))
		return NO_GROUP;
	r->anonymous = g;
	return NULL;
}

const char *
dynsec_get_anonymous(const struct roles *r, const json_t *cmd, json_t *data)
{
	(void)cmd;
	return json_object_set_new(data, "group",
		   json_pack("{s:s}", "groupname",
		       r->anonymous ? r->anonymous->name : ""))
	    ? DYNSEC_INTERNAL
	    : NULL;
}

static json_t *
told(
    const struct roles *r, const struct group *g, const struct roles_members *m)
{
	return json_of_group(r, g, m->v + m->at[g->id],
	    m->at[g->id + 1] - m->at[g->id], JSON_FOR_ANSWER);
}

const char *
dynsec_get_group(const struct roles *r, const json_t *cmd, json_t *data)
{
	struct roles_members m = { 0 };
	const char *name, *error;
	const struct group *g;
	int bad;

	if ((error = dynsec_group_name(cmd, &name)))
		return error;
	if (!(g = roles_group(r, slice_str(name))))
		return NO_GROUP;
	if (roles_members_init(&m, r))
		return DYNSEC_INTERNAL;
	bad = json_object_set_new(data, "group", told(r, g, &m));
	roles_members_fini(&m);
	return bad ? DYNSEC_INTERNAL : NULL;
}

struct listing {
	const struct roles *r;
	struct group **v;
	struct roles_members m;
};

static json_t *
item(const void *arg, size_t i, bool verbose)
{
	const struct listing *l = arg;

	return verbose ? told(l->r, l->v[i], &l->m)
		       : json_string(l->v[i]->name);
}

const char *
dynsec_list_groups(const struct roles *r, const json_t *cmd, json_t *data)
{
	struct listing l = { .r = r };
	const char *error = DYNSEC_INTERNAL;

	if (roles_sorted_groups(r, &l.v) == NJ_OK &&
	    (!json_flag(cmd, "verbose", false) ||
		roles_members_init(&l.m, r) == NJ_OK))
		error = dynsec_list(cmd, data, "groups", r->groups.n, item, &l);
	roles_members_fini(&l.m);
	free(l.v);
	return error;
}
