/* SPDX-License-Identifier: Apache-2.0
 */
#include "auth/acl.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "auth/acl_impl.h"
#include "base/file.h"
#include "wire/topic.h"

/* A pattern with the names in it; what would be longer is as what cannot be
 * filled in. */
#define FILLED_MAX 4096

static struct slice
user_key(const void *value)
{
	const struct acl_user *u = value;

	return slice_of(u->name, u->name_len);
}

enum nj_err
acl_new(const char *path, struct acl **out)
{
	struct acl *a = calloc(1, sizeof *a);

	if (!a || !(a->path = strdup(path))) {
		free(a);
		return NJ_NOMEM;
	}
	atomic_init(&a->refs, 1);
	map_init(&a->users, user_key);
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
}

void
acl_unref(struct acl *a)
{
	struct acl_user *u;
	size_t at = 0;

	if (!a ||
	    atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
		return;
	while ((u = map_next(&a->users, &at))) {
		rules_free(&u->rules);
		free(u);
	}
	map_fini(&a->users);
	rules_free(&a->nobody);
	rules_free(&a->patterns);
	free(a->path);
	free(a);
}

enum nj_err
acl_load(const char *path, struct acl **out, struct nj_why *why)
{
	struct buf text = { 0 };
	struct stat st;
	enum nj_err e = file_read(path, ACL_FILE_MAX, &text, why);

	if (e)
		return e;
	if (!(e = acl_parse(buf_slice(&text), path, out, why)) &&
	    stat(path, &st) == 0)
		(*out)->exposed = (st.st_mode & S_IWOTH) != 0;
	buf_fini(&text);
	return e;
}

void
acl_info(const struct acl *a, struct acl_info *out)
{
	*out = (struct acl_info){
		.rules = a->n_rules,
		.users = a->users.n,
		.plain_patterns = a->plain_patterns,
		.exposed = a->exposed,
	};
}

static bool
has_wildcard(struct slice s)
{
	return s.n > 0 &&
	    (memchr(s.p, '+', s.n) != NULL || memchr(s.p, '#', s.n) != NULL);
}

enum fill {
	FILL_OK,
	FILL_NO_NAME, /* the client has none */
	FILL_UNFIT    /* its name cannot stand in a level */
};

/* The pattern with the names in it, in dst. */
static enum fill
fill_in(const struct acl_rule *r, const struct acl_asker *who, uint8_t *dst,
    struct slice *out)
{
	size_t n = 0;

	for (size_t i = 0; i < r->len; i++) {
		struct slice name;

		if (r->filter[i] != '%' || i + 1 == r->len ||
		    (r->filter[i + 1] != 'c' && r->filter[i + 1] != 'u')) {
			if (n == FILLED_MAX)
				return FILL_UNFIT;
			dst[n++] = r->filter[i];
			continue;
		}
		name = r->filter[++i] == 'c' ? who->client_id : who->user;
		if (name.n == 0)
			return FILL_NO_NAME;
		if (memchr(name.p, '/', name.n) || n + name.n > FILLED_MAX)
			return FILL_UNFIT;
		memcpy(dst + n, name.p, name.n);
		n += name.n;
	}
	*out = slice_of(dst, n);
	return FILL_OK;
}

/* A walk over the rules for one client, what denies first. */
struct walk {
	const struct acl_rules *lists[2];
	unsigned list;
	uint32_t at;
	const struct acl_asker *who;
	uint8_t filled[FILLED_MAX];
};

static void
walk_begin(struct walk *w, const struct acl *a, const struct acl_asker *who)
{
	const struct acl_user *u =
	    who->user.n ? map_get(&a->users, who->user) : NULL;

	w->lists[0] = u ? &u->rules : who->user.n ? NULL : &a->nobody;
	/* names that are wildcards must not become part of a filter */
	w->lists[1] = has_wildcard(who->user) || has_wildcard(who->client_id)
	    ? NULL
	    : &a->patterns;
	w->list = 0;
	w->at = 0;
	w->who = who;
}

static const struct acl_rule *
walk_next(struct walk *w, struct slice *filter)
{
	for (; w->list < 2; w->list++, w->at = 0) {
		const struct acl_rules *l = w->lists[w->list];

		while (l && w->at < l->n) {
			const struct acl_rule *r = l->v[w->at++];

			if (!r->names) {
				*filter = slice_of(r->filter, r->len);
				return r;
			}
			switch (fill_in(r, w->who, w->filled, filter)) {
			case FILL_OK:
				return r;
			case FILL_NO_NAME:
				break;
			case FILL_UNFIT:
				/* a name may not get round what denies */
				if (!r->denies)
					break;
				*filter = LIT("#");
				return r;
			}
		}
	}
	return NULL;
}

static const char by_default[] = "no rule of the acl_file allows it";

bool
acl_allows(const struct acl *a, const struct acl_asker *who, bool write,
    struct slice topic, const char **rule)
{
	uint8_t mine = write ? ACL_WRITE : ACL_READ;
	const struct acl_rule *r;
	struct slice filter;
	struct walk w;

	walk_begin(&w, a, who);
	while ((r = walk_next(&w, &filter))) {
		if (!((r->allows | r->denies) & mine) ||
		    !topic_matches(filter, topic))
			continue;
		*rule = acl_rule_text(r);
		return (r->denies & mine) == 0;
	}
	*rule = by_default;
	return false;
}

/* Whether all that matches b matches a. */
static bool
includes(struct slice a, struct slice b)
{
	bool more_a = true, more_b = true;
	struct slice x, y;

	/* a wildcard in front matches no $ topic */
	if (a.n && b.n && (a.p[0] == '+' || a.p[0] == '#') && b.p[0] == '$')
		return false;
	for (;;) {
		bool has_a = topic_next(&a, &more_a, &x);
		bool has_b = topic_next(&b, &more_b, &y);

		if (has_a && slice_is(x, "#"))
			return true;
		if (!has_a || !has_b)
			return has_a == has_b;
		if (slice_is(y, "#"))
			return false;
		if (!slice_is(x, "+") && !slice_eq(x, y))
			return false;
	}
}

enum acl_cover
acl_covers(const struct acl *a, const struct acl_asker *who,
    struct slice subscription, const char **rule)
{
	bool some = false, doubt = false;
	const struct acl_rule *r;
	struct slice filter;
	struct walk w;

	*rule = by_default;
	walk_begin(&w, a, who);
	while ((r = walk_next(&w, &filter))) {
		if (!((r->allows | r->denies) & ACL_READ) ||
		    !topic_filters_overlap(filter, subscription))
			continue;
		if (r->denies & ACL_READ) {
			*rule = acl_rule_text(r);
			if (includes(filter, subscription))
				return some ? ACL_SOME : ACL_NEVER;
			doubt = true;
			continue;
		}
		some = true;
		if (!doubt && includes(filter, subscription))
			return ACL_ALWAYS;
	}
	return some ? ACL_SOME : ACL_NEVER;
}
