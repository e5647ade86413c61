/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/roles_rows.h"

#include <stdlib.h>
#include <string.h>

#include "auth/roles_json.h"
#include "base/secret.h"

struct rows {
	roles_row_fn *fn;
	void *arg;
};

/* Consumes o. */
static enum nj_err
put(const struct rows *to, enum roles_row kind, const char *name, json_t *o)
{
	char *text = json_whole(o);
	enum nj_err e = NJ_NOMEM;

	json_decref(o);
	if (text) {
		e = to->fn(to->arg, kind, slice_str(name), slice_str(text));
		secret_wipe(text, strlen(text));
	}
	free(text);
	return e;
}

static enum nj_err
put_roles(
    const struct roles *was, const struct roles *now, const struct rows *to)
{
	struct cow_at at = { 0 };
	const struct role *x;
	enum nj_err e = NJ_OK;

	while (!e && (x = cowmap_next_new(&now->roles, &was->roles, &at)))
		e = put(to, ROLES_ROW_ROLE, x->name,
		    json_of_role(x, JSON_FOR_STORE));
	at = (struct cow_at){ 0 };
	while (!e && (x = cowmap_next_new(&was->roles, &now->roles, &at)))
		if (!roles_role(now, slice_str(x->name)))
			e = to->fn(to->arg, ROLES_ROW_ROLE, slice_str(x->name),
			    SLICE_NONE);
	return e;
}

static enum nj_err
put_groups(
    const struct roles *was, const struct roles *now, const struct rows *to)
{
	struct cow_at at = { 0 };
	const struct group *x;
	enum nj_err e = NJ_OK;

	while (!e && (x = cowmap_next_new(&now->groups, &was->groups, &at)))
		e = put(to, ROLES_ROW_GROUP, x->name,
		    json_of_group(now, x, NULL, 0, JSON_FOR_STORE));
	at = (struct cow_at){ 0 };
	while (!e && (x = cowmap_next_new(&was->groups, &now->groups, &at)))
		if (!roles_group(now, slice_str(x->name)))
			e = to->fn(to->arg, ROLES_ROW_GROUP, slice_str(x->name),
			    SLICE_NONE);
	return e;
}

static enum nj_err
put_users(
    const struct roles *was, const struct roles *now, const struct rows *to)
{
	struct cow_at at = { 0 };
	const struct user *x;
	enum nj_err e = NJ_OK;

	while (!e && (x = cowmap_next_new(&now->users, &was->users, &at)))
		e = put(to, ROLES_ROW_USER, x->name,
		    json_of_user(now, x, JSON_FOR_STORE));
	at = (struct cow_at){ 0 };
	while (!e && (x = cowmap_next_new(&was->users, &now->users, &at)))
		if (!roles_user(now, slice_str(x->name)))
			e = to->fn(to->arg, ROLES_ROW_USER, slice_str(x->name),
			    SLICE_NONE);
	return e;
}

enum nj_err
roles_rows_changed(const struct roles *was, const struct roles *now,
    roles_row_fn *fn, void *arg)
{
	const struct rows to = { fn, arg };
	struct roles *none = NULL;
	enum nj_err e;

	if (!was && (e = roles_new(&none)))
		return e;
	if (!was)
		was = none;
	if (!(e = put_roles(was, now, &to)) &&
	    !(e = put_groups(was, now, &to)) && !(e = put_users(was, now, &to)))
		e = put(&to, ROLES_ROW_REST, "", json_of_rest(now));
	roles_unref(none);
	return e;
}
