/* SPDX-License-Identifier: Apache-2.0
 * States of users, groups and roles, and how the next one comes about.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/epoch.h"
#include "auth/roles_edit.h"
#include "base/secret.h"

static void *
ref_role(void *v)
{
	struct role *x = v;

	(void)atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
	return x;
}

static void *
ref_group(void *v)
{
	struct group *x = v;

	(void)atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
	return x;
}

static void *
ref_user(void *v)
{
	struct user *x = v;

	(void)atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
	return x;
}

static void
unref_role(void *v)
{
	role_unref(v);
}

static void
unref_group(void *v)
{
	group_unref(v);
}

static void
unref_user(void *v)
{
	user_unref(v);
}

static struct slice
role_key(const void *v)
{
	return slice_str(((const struct role *)v)->name);
}

static struct slice
group_key(const void *v)
{
	return slice_str(((const struct group *)v)->name);
}

static struct slice
user_key(const void *v)
{
	return slice_str(((const struct user *)v)->name);
}

static const struct cow_ops of_roles = { role_key, ref_role, unref_role };
static const struct cow_ops of_groups = { group_key, ref_group, unref_group };
static const struct cow_ops of_users = { user_key, ref_user, unref_user };

/* Places by number. */

static void
slots_fini(struct slots *s, const struct cow_ops *ops)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->v[i])
			ops->unref(s->v[i]);
	free(s->v);
	*s = (struct slots){ 0 };
}

static enum nj_err
slots_copy(
    struct slots *dst, const struct slots *src, const struct cow_ops *ops)
{
	*dst = (struct slots){ 0 };
	if (src->n == 0)
		return NJ_OK;
	if (!(dst->v = calloc(src->n, sizeof(*dst->v))))
		return NJ_NOMEM;
	dst->n = dst->cap = src->n;
	dst->used = src->used;
	for (uint32_t i = 0; i < src->n; i++)
		if (src->v[i])
			dst->v[i] = ops->ref(src->v[i]);
	return NJ_OK;
}

/* An empty place. */
static enum nj_err
slots_place(struct slots *s, uint32_t *id)
{
	if (s->used < s->n)
		for (*id = 0; *id < s->n; (*id)++)
			if (!s->v[*id])
				return NJ_OK;
	if (s->n == s->cap) {
		uint32_t cap = s->cap ? s->cap * 2 : 16;
		void **v = realloc(s->v, cap * sizeof *v);

		if (!v)
			return NJ_NOMEM;
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n] = NULL;
	*id = s->n++;
	return NJ_OK;
}

static void
slots_set(struct slots *s, uint32_t id, void *value, const struct cow_ops *ops)
{
	void *old = s->v[id];

	s->used = s->used + (value != NULL) - (old != NULL);
	s->v[id] = value ? ops->ref(value) : NULL;
	if (old)
		ops->unref(old);
}

/* As many as there are places. */
static enum nj_err
asked_room(struct roles *r)
{
	struct asked *v;

	if (r->role_slots.n <= r->cap_asked)
		return NJ_OK;
	if (!(v = realloc(r->asked, r->role_slots.cap * sizeof *v)))
		return NJ_NOMEM;
	memset(v + r->cap_asked, 0,
	    (r->role_slots.cap - r->cap_asked) * sizeof *v);
	r->asked = v;
	r->cap_asked = r->role_slots.cap;
	return NJ_OK;
}

/* x NULL: the place is empty. */
static void
asked_set(struct roles *r, uint32_t id, const struct role *x)
{
	r->asked[id] = (struct asked){ 0 };
	if (x)
		r->asked[id] = (struct asked){ x->rules[RULE_SEND].index,
			x->rules[RULE_RECEIVE].index };
}

/* States. */

enum nj_err
roles_new(struct roles **out)
{
	struct roles *r = calloc(1, sizeof *r);

	if (!r)
		return NJ_NOMEM;
	atomic_init(&r->refs, 1);
	r->epoch = epoch_new();
	cowmap_init(&r->users, &of_users);
	cowmap_init(&r->groups, &of_groups);
	cowmap_init(&r->roles, &of_roles);
	r->common = password_default_cost(PASSWORD_PBKDF2);
	*out = r;
	return NJ_OK;
}

struct roles *
roles_ref(struct roles *r)
{
	(void)atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void
roles_unref(struct roles *r)
{
	if (!r ||
	    atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	cowmap_fini(&r->users);
	cowmap_fini(&r->groups);
	cowmap_fini(&r->roles);
	slots_fini(&r->group_slots, &of_groups);
	slots_fini(&r->role_slots, &of_roles);
	free(r->asked);
	free(r->extra);
	free(r);
}

enum nj_err
roles_copy(const struct roles *r, struct roles **out)
{
	struct roles *x = NULL;
	enum nj_err e = roles_new(&x);

	if (e)
		return e;
	memcpy(x->by_default, r->by_default, sizeof x->by_default);
	x->n_rules = r->n_rules;
	x->changes = r->changes;
	x->common = r->common;
	x->anonymous = r->anonymous;
	if ((e = cowmap_copy(&x->users, &r->users)) ||
	    (e = cowmap_copy(&x->groups, &r->groups)) ||
	    (e = cowmap_copy(&x->roles, &r->roles)) ||
	    (e = slots_copy(&x->group_slots, &r->group_slots, &of_groups)) ||
	    (e = slots_copy(&x->role_slots, &r->role_slots, &of_roles)) ||
	    (e = asked_room(x)) || (e = roles_set_text(&x->extra, r->extra))) {
		roles_unref(x);
		return e;
	}
	for (uint32_t i = 0; i < x->cap_asked && i < r->cap_asked; i++)
		x->asked[i] = r->asked[i];
	*out = x;
	return NJ_OK;
}

uint64_t
roles_epoch(const struct roles *r)
{
	return r->epoch;
}

struct role *
roles_role(const struct roles *r, struct slice name)
{
	return cowmap_get(&r->roles, name);
}

struct group *
roles_group(const struct roles *r, struct slice name)
{
	return cowmap_get(&r->groups, name);
}

struct user *
roles_user(const struct roles *r, struct slice name)
{
	return cowmap_get(&r->users, name);
}

struct password_cost
roles_common_cost(const struct roles *r)
{
	return r->common;
}

void
roles_info(const struct roles *r, struct roles_info *out)
{
	*out = (struct roles_info){
		.users = r->users.n,
		.groups = r->groups.n,
		.roles = r->roles.n,
		.rules = r->n_rules,
	};
}

/* What has a name. */

enum nj_err
roles_set_text(char **at, const char *text)
{
	char *copy = NULL;

	if (text && !(copy = strdup(text)))
		return NJ_NOMEM;
	free(*at);
	*at = copy;
	return NJ_OK;
}

enum nj_err
role_new(const char *name, struct role **out)
{
	struct role *x = calloc(1, sizeof *x);

	if (!x || !(x->name = strdup(name))) {
		free(x);
		return NJ_NOMEM;
	}
	atomic_init(&x->refs, 1);
	x->id = UINT32_MAX;
	*out = x;
	return NJ_OK;
}

void
role_unref(struct role *x)
{
	if (!x ||
	    atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
		return;
	role_clear_rules(x);
	free(x->name);
	free(x->textname);
	free(x->textdescription);
	free(x->extra);
	free(x);
}

enum nj_err
role_clone(const struct role *from, struct role **out)
{
	struct role *x = NULL;
	enum nj_err e = role_new(from->name, &x);

	if (e)
		return e;
	x->no_wildcard_subs = from->no_wildcard_subs;
	if ((e = roles_set_text(&x->textname, from->textname)) ||
	    (e = roles_set_text(&x->textdescription, from->textdescription)) ||
	    (e = roles_set_text(&x->extra, from->extra)) ||
	    (e = role_share_rules(x, from))) {
		role_unref(x);
		return e;
	}
	*out = x;
	return NJ_OK;
}

enum nj_err
group_new(const char *name, struct group **out)
{
	struct group *x = calloc(1, sizeof *x);

	if (!x || !(x->name = strdup(name))) {
		free(x);
		return NJ_NOMEM;
	}
	atomic_init(&x->refs, 1);
	x->id = UINT32_MAX;
	*out = x;
	return NJ_OK;
}

void
group_unref(struct group *x)
{
	if (!x ||
	    atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
		return;
	grants_clear(&x->roles);
	free(x->name);
	free(x->textname);
	free(x->textdescription);
	free(x->extra);
	free(x);
}

enum nj_err
group_clone(const struct group *from, struct group **out)
{
	struct group *x = NULL;
	enum nj_err e = group_new(from->name, &x);

	if (e)
		return e;
	if ((e = roles_set_text(&x->textname, from->textname)) ||
	    (e = roles_set_text(&x->textdescription, from->textdescription)) ||
	    (e = roles_set_text(&x->extra, from->extra)) ||
	    (e = grants_copy(&x->roles, &from->roles))) {
		group_unref(x);
		return e;
	}
	*out = x;
	return NJ_OK;
}

enum nj_err
user_new(const char *name, struct user **out)
{
	size_t n = strlen(name) + 1;
	struct user *x = calloc(1, sizeof *x + n);

	if (!x)
		return NJ_NOMEM;
	x->name = memcpy(x + 1, name, n);
	atomic_init(&x->refs, 1);
	*out = x;
	return NJ_OK;
}

void
user_unref(struct user *x)
{
	if (!x ||
	    atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
		return;
	grants_clear(&x->roles);
	grants_clear(&x->groups);
	if (x->password)
		secret_wipe(x->password, strlen(x->password));
	free(x->password);
	free(x->client_id);
	free(x->textname);
	free(x->textdescription);
	free(x->extra);
	free(x);
}

enum nj_err
user_clone(const struct user *from, struct user **out)
{
	struct user *x = NULL;
	enum nj_err e = user_new(from->name, &x);

	if (e)
		return e;
	x->disabled = from->disabled;
	if ((e = roles_set_text(&x->textname, from->textname)) ||
	    (e = roles_set_text(&x->textdescription, from->textdescription)) ||
	    (e = roles_set_text(&x->extra, from->extra)) ||
	    (e = roles_set_text(&x->client_id, from->client_id)) ||
	    (e = grants_copy(&x->roles, &from->roles)) ||
	    (e = grants_copy(&x->groups, &from->groups)) ||
	    (e = roles_set_text(&x->password, from->password))) {
		user_unref(x);
		return e;
	}
	*out = x;
	return NJ_OK;
}

/* Putting and deleting. */

enum nj_err
roles_put_role(struct roles *r, struct role **taken)
{
	struct role *x = *taken;
	const struct role *old = roles_role(r, slice_str(x->name));
	size_t before = old ? role_count_rules(old) : 0;
	enum nj_err e = NJ_OK;

	*taken = NULL;
	if (!old && r->roles.n >= ROLES_ROLES_MAX)
		e = NJ_FULL;
	if (!e && old)
		x->id = old->id;
	else if (!e && !(e = slots_place(&r->role_slots, &x->id)) &&
	    !(e = asked_room(r)))
		asked_set(r, x->id, NULL);
	if (!e && !(e = cowmap_put(&r->roles, x))) {
		x->open = true;
		slots_set(&r->role_slots, x->id, x, &of_roles);
		asked_set(r, x->id, NULL);
		r->n_rules += role_count_rules(x) - before;
	}
	role_unref(x);
	return e;
}

enum nj_err
roles_seal(struct roles *r)
{
	enum nj_err e = NJ_OK;

	for (uint32_t i = 0; i < r->role_slots.n && !e; i++) {
		struct role *x = r->role_slots.v[i];

		if (!x || !x->open)
			continue;
		if (!(e = role_seal(x)))
			asked_set(r, i, x);
	}
	return e;
}

enum nj_err
roles_put_group(struct roles *r, struct group **taken)
{
	struct group *x = *taken;
	const struct group *old = roles_group(r, slice_str(x->name));
	enum nj_err e = NJ_OK;

	*taken = NULL;
	if (!old && r->groups.n >= ROLES_GROUPS_MAX)
		e = NJ_FULL;
	else if (old)
		x->id = old->id;
	else
		e = slots_place(&r->group_slots, &x->id);
	if (!e) {
		bool anonymous = old && r->anonymous == old;

		if (!(e = cowmap_put(&r->groups, x))) {
			slots_set(&r->group_slots, x->id, x, &of_groups);
			if (anonymous)
				r->anonymous = x;
		}
	}
	group_unref(x);
	return e;
}

enum nj_err
roles_put_user(struct roles *r, struct user **taken)
{
	struct user *x = *taken;
	enum nj_err e = NJ_FULL;

	*taken = NULL;
	if (r->users.n < ROLES_USERS_MAX || roles_user(r, slice_str(x->name)))
		e = cowmap_put(&r->users, x);
	user_unref(x);
	return e;
}

/* Those who have it, in an array of their own: they are replaced. */
static enum nj_err
users_with(const struct roles *r, bool group, uint32_t id, struct user ***out,
    size_t *n)
{
	struct cow_at at = { 0 };
	struct user **v = malloc((r->users.n + 1) * sizeof(*v)), *u;

	if (!v)
		return NJ_NOMEM;
	*n = 0;
	while ((u = cowmap_next(&r->users, &at)))
		if (grants_has(group ? &u->groups : &u->roles, id))
			v[(*n)++] = u;
	*out = v;
	return NJ_OK;
}

static enum nj_err
take_from_users(struct roles *r, bool group, uint32_t id)
{
	struct user **v = NULL, *x;
	size_t n = 0;
	enum nj_err e = users_with(r, group, id, &v, &n);

	for (size_t i = 0; i < n && !e; i++) {
		if ((e = user_clone(v[i], &x)))
			break;
		(void)grants_del(group ? &x->groups : &x->roles, id);
		e = roles_put_user(r, &x);
	}
	free(v);
	return e;
}

static enum nj_err
take_from_groups(struct roles *r, uint32_t id)
{
	enum nj_err e = NJ_OK;

	for (uint32_t i = 0; i < r->group_slots.n && !e; i++) {
		const struct group *g = r->group_slots.v[i];
		struct group *x;

		if (!g || !grants_has(&g->roles, id) ||
		    (e = group_clone(g, &x)))
			continue;
		(void)grants_del(&x->roles, id);
		e = roles_put_group(r, &x);
	}
	return e;
}

enum nj_err
roles_del_role(struct roles *r, struct slice name)
{
	struct role *x = roles_role(r, name);
	uint32_t id = x ? x->id : 0;
	size_t n = x ? role_count_rules(x) : 0;
	enum nj_err e = NJ_NOTFOUND;

	if (!x || (e = take_from_users(r, false, id)) ||
	    (e = take_from_groups(r, id)) || (e = cowmap_del(&r->roles, name)))
		return e;
	slots_set(&r->role_slots, id, NULL, &of_roles);
	asked_set(r, id, NULL);
	r->n_rules -= n;
	return NJ_OK;
}

enum nj_err
roles_del_group(struct roles *r, struct slice name)
{
	struct group *x = roles_group(r, name);
	uint32_t id = x ? x->id : 0;
	enum nj_err e = NJ_NOTFOUND;

	if (!x || (e = take_from_users(r, true, id)) ||
	    (e = cowmap_del(&r->groups, name)))
		return e;
	if (r->anonymous == x)
		r->anonymous = NULL;
	slots_set(&r->group_slots, id, NULL, &of_groups);
	return NJ_OK;
}

enum nj_err
roles_del_user(struct roles *r, struct slice name)
{
	return cowmap_del(&r->users, name);
}

/* Sorted. */

static int
by_user(const void *a, const void *b)
{
	return strcmp(
	    (*(struct user *const *)a)->name, (*(struct user *const *)b)->name);
}

static int
by_group(const void *a, const void *b)
{
	return strcmp((*(struct group *const *)a)->name,
	    (*(struct group *const *)b)->name);
}

static int
by_role(const void *a, const void *b)
{
	return strcmp(
	    (*(struct role *const *)a)->name, (*(struct role *const *)b)->name);
}

static enum nj_err
sorted(const struct cowmap *m, int (*cmp)(const void *, const void *),
    void *out_array)
{
	void **v = malloc((m->n + 1) * sizeof *v);
	struct cow_at at = { 0 };

	if (!v)
		return NJ_NOMEM;
	for (size_t i = 0; i < m->n; i++)
		v[i] = cowmap_next(m, &at);
	qsort(v, m->n, sizeof *v, cmp);
	memcpy(out_array, &v, sizeof v);
	return NJ_OK;
}

enum nj_err
roles_sorted_users(const struct roles *r, struct user ***out)
{
	return sorted(&r->users, by_user, out);
}

enum nj_err
roles_sorted_groups(const struct roles *r, struct group ***out)
{
	return sorted(&r->groups, by_group, out);
}

enum nj_err
roles_sorted_roles(const struct roles *r, struct role ***out)
{
	return sorted(&r->roles, by_role, out);
}
