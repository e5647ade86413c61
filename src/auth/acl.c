/* SPDX-License-Identifier: Apache-2.0
 */
#include "auth/acl.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/acl_impl.h"
#include "auth/epoch.h"
#include "base/file.h"

static struct slice
user_key(const void *value)
{
	const struct acl_user *u = value;

	return slice_of(u->name, u->name_len);
}

static struct slice
group_key(const void *value)
{
	const struct acl_group *g = value;

	return slice_of(g->name, g->name_len);
}

enum nj_err
acl_new(const char *path, struct acl **out)
{
	struct acl *a = calloc(1, sizeof *a);

	if (!a || !(a->path = strdup(path)) ||
	    !(a->scopes = calloc(1, sizeof *a->scopes))) {
		free(a ? a->path : NULL);
		free(a);
		return NJ_NOMEM;
	}
	a->n_scopes = 1;
	atomic_init(&a->refs, 1);
	a->epoch = epoch_new();
	map_init(&a->users, user_key);
	map_init(&a->groups, group_key);
	*out = a;
	return NJ_OK;
}

struct acl *
acl_ref(struct acl *a)
{
	(void)atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

static void
rules_free(struct acl_rules *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		free(r->v[i]);
	free(r->v);
	acl_sets_free(r);
}

void
acl_scope_fini(struct acl_scope *s)
{
	free(s->nets);
	free(s->listeners);
	*s = (struct acl_scope){ 0 };
}

uint64_t
acl_epoch(const struct acl *a)
{
	return a->epoch;
}

void
acl_unref(struct acl *a)
{
	struct acl_group *g;
	struct acl_user *u;
	size_t at = 0;

	if (!a ||
	    atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
		return;
	while ((u = map_next(&a->users, &at))) {
		rules_free(&u->rules);
		free(u->groups);
		free(u);
	}
	map_fini(&a->users);
	at = 0;
	while ((g = map_next(&a->groups, &at))) {
		rules_free(&g->rules);
		free(g);
	}
	map_fini(&a->groups);
	for (uint32_t i = 0; i < a->n_scopes; i++)
		acl_scope_fini(&a->scopes[i]);
	free(a->scopes);
	rules_free(&a->nobody);
	rules_free(&a->patterns);
	free(a->path);
	free(a);
}

enum nj_err
acl_load(const char *path, struct acl **out, struct nj_why *why)
{
	struct buf text = { 0 };
	enum nj_err e = file_read(path, ACL_FILE_MAX, &text, why);

	if (e)
		return e;
	e = acl_parse(buf_slice(&text), path, out, why);
	buf_fini(&text);
	return e;
}

void
acl_info(const struct acl *a, struct acl_info *out)
{
	*out = (struct acl_info){
		.rules = a->n_rules,
		.users = a->users.n,
		.groups = a->groups.n,
		.plain_patterns = a->plain_patterns,
	};
}

bool
acl_varies(const struct acl *a)
{
	return a->n_scopes > 1 || a->groups.n > 0;
}
