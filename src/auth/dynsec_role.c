/* SPDX-License-Identifier: Apache-2.0
 * Commands about roles and their rules.
 */
#include <stdlib.h>
#include <string.h>

#include "auth/dynsec.h"
#include "auth/roles_json.h"
#include "wire/topic.h"

#define NO_ROLE "Role not found"

/* Consumes x: puts it, unless there is an error. */
static const char *
put(struct roles *r, struct role *x, const char *error)
{
	if (error) {
		role_unref(x);
		return error;
	}
	return roles_put_role(r, &x) ? DYNSEC_INTERNAL : NULL;
}

/* "acls" of a role that has none.  One without a topic is passed by, as
 * Mosquitto does; one that could not be meant is not. */
static const char *
add_rules(struct role *x, const json_t *cmd)
{
	const json_t *v = json_member(cmd, "acls");

	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);
		const char *type = json_text(one, "acltype");
		const char *topic = json_text(one, "topic");
		enum rule_kind kind = type ? json_rule_kind(type) : RULE_KINDS;
		enum nj_err e;

		if (!topic)
			continue;
		if (kind == RULE_KINDS)
			return type ? "Unknown acltype"
				    : "Invalid/missing acltype";
		e = role_add_rule(x, kind, topic, json_int(one, "priority", 0),
		    json_flag(one, "allow", false), NULL);
		if (e)
			return e == NJ_INVALID ? "Invalid ACL topic"
					       : DYNSEC_INTERNAL;
	}
	/* of a topic that stands there twice the first is the first to hold */
	return role_settle(x) ? DYNSEC_INTERNAL : NULL;
}

const char *
dynsec_create_role(struct roles *r, const json_t *cmd)
{
	const json_t *wildcards = json_member(cmd, "allowwildcardsubs");
	const char *name, *error;
	struct role *x = NULL;

	if ((error = dynsec_role_name(cmd, &name)))
		return error;
	if (!*name)
		return "Empty rolename";
	if (role_new(name, &x))
		return DYNSEC_INTERNAL;
	if (!(error = dynsec_texts(cmd, &x->textname, &x->textdescription)) &&
	    wildcards && !json_is_boolean(wildcards))
		error = "Invalid allowwildcardsubs";
	if (!error && roles_role(r, slice_str(name)))
		error = "Role already exists";
	x->no_wildcard_subs = json_is_false(wildcards);
	return put(r, x, error ? error : add_rules(x, cmd));
}

const char *
dynsec_delete_role(struct roles *r, const json_t *cmd)
{
	const char *name, *error;
	enum nj_err e;

	if ((error = dynsec_role_name(cmd, &name)))
		return error;
	e = roles_del_role(r, slice_str(name));
	return e == NJ_NOTFOUND ? NO_ROLE : e ? DYNSEC_INTERNAL : NULL;
}

const char *
dynsec_modify_role(struct roles *r, const json_t *cmd)
{
	const char *name, *error;
	const struct role *was;
	struct role *x = NULL;

	if ((error = dynsec_role_name(cmd, &name)))
		return error;
	if (!(was = roles_role(r, slice_str(name))))
		return "Role does not exist";
	if (role_clone(was, &x))
		return DYNSEC_INTERNAL;
	if ((error = dynsec_new_texts(cmd, &x->textname, &x->textdescription)))
		return put(r, x, error);
	x->no_wildcard_subs =
	    !json_flag(cmd, "allowwildcardsubs", !was->no_wildcard_subs);
	if (!json_is_array(json_member(cmd, "acls")))
		return put(r, x, NULL);
	role_clear_rules(x);
	return put(r, x, add_rules(x, cmd));
}

/* What addRoleACL and removeRoleACL name, as a copy that may be changed: an
 * open role is nobody else's, and is not copied for each of its rules. */
static const char *
rule_of(const struct roles *r, const json_t *cmd, struct role **out,
    enum rule_kind *kind, const char **topic)
{
	const char *name, *type, *error;
	struct role *x;

	if ((error = dynsec_role_name(cmd, &name)))
		return error;
	if (!(x = roles_role(r, slice_str(name))))
		return NO_ROLE;
	if (!(type = json_text(cmd, "acltype")))
		return "Invalid/missing acltype";
	if ((*kind = json_rule_kind(type)) == RULE_KINDS)
		return "Unknown acltype";
	if ((error = dynsec_name(cmd, "topic", "Invalid/missing topic",
		 "Topic not valid UTF-8", topic)))
		return error;
	if (!topic_filter_ok(slice_str(*topic)))
		return "Invalid ACL topic";
	if (x->open) {
		*out = x;
		return NULL;
	}
	return role_clone(x, out) ? DYNSEC_INTERNAL : NULL;
}

/* Of what rule_of gave. */
static const char *
put_back(struct roles *r, struct role *x, size_t before, const char *error)
{
	if (!x->open)
		return put(r, x, error);
	r->n_rules += role_count_rules(x) - before;
	return error;
}

const char *
dynsec_add_rule(struct roles *r, const json_t *cmd)
{
	struct role *x = NULL;
	enum rule_kind kind = RULE_KINDS;
	const char *topic;
	const char *error = rule_of(r, cmd, &x, &kind, &topic);
	size_t before;

	if (error)
		return error;
	before = role_count_rules(x);
	if (role_find_rule(x, kind, topic))
		error = "ACL with this topic already exists";
	else if (role_add_rule(x, kind, topic, json_int(cmd, "priority", 0),
		     json_flag(cmd, "allow", false), NULL))
		error = DYNSEC_INTERNAL;
	return put_back(r, x, before, error);
}

const char *
dynsec_remove_rule(struct roles *r, const json_t *cmd)
{
	struct role *x = NULL;
	enum rule_kind kind = RULE_KINDS;
	const char *topic;
	const char *error = rule_of(r, cmd, &x, &kind, &topic);
	size_t before;

	if (error)
		return error;
	before = role_count_rules(x);
	if (!role_find_rule(x, kind, topic))
		error = "ACL not found";
	else
		role_del_rule(x, kind, topic);
	return put_back(r, x, before, error);
}

const char *
dynsec_get_role(const struct roles *r, const json_t *cmd, json_t *data)
{
	const char *name, *error;
	struct role *x;

	if ((error = dynsec_role_name(cmd, &name)))
		return error;
	if (!(x = roles_role(r, slice_str(name))))
		return NO_ROLE;
	return role_settle(x) ||
		json_object_set_new(
		    data, "role", json_of_role(x, JSON_FOR_ANSWER))
	    ? DYNSEC_INTERNAL
	    : NULL;
}

static json_t *
item(const void *arg, size_t i, bool verbose)
{
	struct role *const *v = arg;

	if (!verbose)
		return json_string(v[i]->name);
	return role_settle(v[i]) ? NULL : json_of_role(v[i], JSON_FOR_ANSWER);
}

const char *
dynsec_list_roles(const struct roles *r, const json_t *cmd, json_t *data)
{
	struct role **v = NULL;
	const char *error;

	if (roles_sorted_roles(r, &v))
		return DYNSEC_INTERNAL;
	error = dynsec_list(cmd, data, "roles", r->roles.n, item, v);
	free(v);
	return error;
}
