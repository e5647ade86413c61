/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/present.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/json_read.h"
#include "auth/roles_json.h"

/* Most commands are others: what has neither name is not taken apart. */
static bool
mentions(struct slice s, const char *what)
{
	size_t n = strlen(what);

	for (size_t i = 0; i + n <= s.n; i++)
		if (strncasecmp((const char *)s.p + i, what, n) == 0)
			return true;
	return false;
}

/* Whom they ask about: *all, or one, in *f, which borrows from root. */
static bool
is_asked(const json_t *root, struct client_filter *f)
{
	const json_t *list = json_member(root, "commands");
	bool all = false, some = false;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *cmd = json_array_get(list, i);
		const char *name = json_text(cmd, "command");
		const char *user = json_text(cmd, "username");

		if (name && strcasecmp(name, "listClients") == 0)
			all = all || json_flag(cmd, "verbose", false);
		if (!name || !user || strcasecmp(name, "getClient") != 0)
			continue;
		all = all || (some && !slice_is(f->user, user));
		some = true;
		f->user = slice_str(user);
	}
	if (all)
		f->user = SLICE_NONE;
	return all || (some && f->user.n > 0);
}

static enum nj_err
add(struct present *p, size_t *cap, const struct client_info *i)
{
	if (p->n == *cap) {
		size_t more = *cap ? *cap * 2 : 64;
		struct rolebase_here *v =
		    reallocarray(p->v, more, sizeof *p->v);

		if (!v)
			return NJ_NOMEM;
		p->v = v;
		*cap = more;
	}
	p->v[p->n++] =
	    (struct rolebase_here){ i->user, i->id, inspect_host(i->address) };
	return NJ_OK;
}

static int
by_user(const void *a, const void *b)
{
	const struct rolebase_here *x = a, *y = b;
	int c = rolebase_here_cmp(x->user, y->user);

	return c ? c : rolebase_here_cmp(x->client_id, y->client_id);
}

static bool
look(struct present *p, struct broker *b, const struct client_filter *f)
{
	struct client_info i;
	size_t cap = 0;

	if (inspect_clients(b, f, PRESENT_PATIENCE_MS, &p->list))
		return false;
	while (client_list_next(&p->list, &i))
		if (i.proved && add(p, &cap, &i))
			return false;
	if (p->n > 0)
		qsort(p->v, p->n, sizeof *p->v, by_user);
	return true;
}

void
present_look(struct present *p, struct broker *b, struct slice commands,
    struct rolebase_admin *who)
{
	struct client_filter f = { .online = true, .limit = PRESENT_MAX };
	json_t *root;

	if (!mentions(commands, "getClient") &&
	    !mentions(commands, "listClients"))
		return;
	root = json_read(commands, JSON_REJECT_DUPLICATES, NULL);
	if (root && is_asked(root, &f) && look(p, b, &f)) {
		who->here = p->v;
		who->n_here = p->n;
		who->knows_here = true;
	}
	json_decref(root);
}

void
present_fini(struct present *p)
{
	if (p->list.call)
		client_list_free(&p->list);
	free(p->v);
	*p = (struct present){ 0 };
}
