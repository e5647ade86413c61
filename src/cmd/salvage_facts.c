/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/salvage_facts.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/roles_json.h"
#include "auth/roles_rows.h"
#include "base/file.h"
#include "cmd/json.h"
#include "cmd/store.h"

/* As rolekeep.h has them. */
#define SPACE	  "dynsec:"
#define KIND_FILE 0

static const char *const kind_text[] = { [ROLES_ROW_ROLE] = "role",
	[ROLES_ROW_GROUP] = "group",
	[ROLES_ROW_USER] = "user",
	[ROLES_ROW_REST] = "what holds for all" };

struct found {
	bool hole, in_order;
	unsigned kind;
	char *space, *name; /* NULL: a hole's */
	struct buf value;
};

struct salvage_facts {
	struct found *v;
	size_t n, cap;
	const struct found **sorted;
	size_t n_sorted;
};

enum nj_err
salvage_facts_new(struct salvage_facts **out)
{
	return (*out = calloc(1, sizeof **out)) ? NJ_OK : NJ_NOMEM;
}

static void
found_fini(struct found *x)
{
	buf_wipe(&x->value);
	free(x->space);
	free(x->name);
}

void
salvage_facts_free(struct salvage_facts *f)
{
	for (size_t i = 0; f && i < f->n; i++)
		found_fini(&f->v[i]);
	if (f) {
		free(f->v);
		free(f->sorted);
	}
	free(f);
}

/* What is no row of users, groups or roles says nothing to anybody. */
static bool
is_row(const struct salvage_fact *x)
{
	return x->hole ||
	    (x->space.n > strlen(SPACE) &&
		memcmp(x->space.p, SPACE, strlen(SPACE)) == 0 &&
		x->kind != KIND_FILE && x->kind <= ROLES_ROW_REST);
}

static char *
text_of(struct slice s)
{
	return strndup(s.n ? (const char *)s.p : "", s.n);
}

enum nj_err
salvage_facts_take(void *arg, const struct salvage_fact *fact)
{
	struct salvage_facts *f = arg;
	struct found x = { .hole = fact->hole,
		.in_order = fact->in_order,
		.kind = fact->kind };

	if (!is_row(fact))
		return NJ_OK;
	if (f->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 64;
		struct found *v = reallocarray(f->v, cap, sizeof *v);

		if (!v)
			return NJ_NOMEM;
		f->v = v;
		f->cap = cap;
	}
	if (!x.hole &&
	    (!(x.space = text_of(fact->space)) ||
		!(x.name = text_of(fact->name)) ||
		buf_put_slice(&x.value, fact->value))) {
		found_fini(&x);
		return NJ_NOMEM;
	}
	f->v[f->n++] = x;
	return NJ_OK;
}

/* The next space behind at that nobody has seen; n: there is none. */
static size_t
next_space(const struct salvage_facts *f, size_t at)
{
	for (; at < f->n; at++) {
		size_t k = 0;

		if (f->v[at].hole)
			continue;
		while (
		    f->v[k].hole || strcmp(f->v[k].space, f->v[at].space) != 0)
			k++;
		if (k == at)
			break;
	}
	return at;
}

static int
by_name(const void *a, const void *b)
{
	const struct found *x = *(const struct found *const *)a;
	const struct found *y = *(const struct found *const *)b;
	int c = strcmp(x->space, y->space);

	if (c == 0)
		c = (x->kind > y->kind) - (x->kind < y->kind);
	return c ? c : strcmp(x->name, y->name);
}

/* All that have names, to be looked for. */
static enum nj_err
sort(struct salvage_facts *f)
{
	free(f->sorted);
	f->n_sorted = 0;
	if (!(f->sorted = calloc(f->n + 1, sizeof(const struct found *))))
		return NJ_NOMEM;
	for (size_t i = 0; i < f->n; i++)
		if (!f->v[i].hole)
			f->sorted[f->n_sorted++] = &f->v[i];
	qsort(f->sorted, f->n_sorted, sizeof(const struct found *), by_name);
	return NJ_OK;
}

static bool
is_found(const struct salvage_facts *f, const char *space, unsigned kind,
    const char *name)
{
	char *of = (char *)(uintptr_t)space, *is = (char *)(uintptr_t)name;
	const struct found key = { .kind = kind, .space = of, .name = is };
	const struct found *want = &key;

	return bsearch(&want, f->sorted, f->n_sorted, sizeof want, by_name);
}

/*
 * Writing them.
 */

static enum nj_err
print_space(struct salvage_facts *f, const char *space, struct buf *out,
    struct nj_why *why)
{
	struct roles_reader *reader = NULL;
	struct roles *r = NULL;
	bool rest = false;
	enum nj_err e = roles_reader_new(space + strlen(SPACE), &reader);

	/* in the order of kinds, whatever order they were found in */
	for (unsigned kind = ROLES_ROW_ROLE; kind <= ROLES_ROW_REST; kind++)
		for (size_t i = 0; i < f->n && !e; i++) {
			const struct found *x = &f->v[i];

			if (x->hole || x->kind != kind ||
			    strcmp(x->space, space) != 0)
				continue;
			rest |= kind == ROLES_ROW_REST;
			e = roles_reader_take(reader, (enum roles_row)kind,
			    buf_slice(&x->value), why);
		}
	if (!e && !rest)
		e = roles_reader_take(reader, ROLES_ROW_REST, LIT("{}"), why);
	if (!e && !(e = roles_reader_end(reader, &r)))
		e = roles_print(r, out);
	roles_unref(r);
	roles_reader_free(reader);
	return e;
}

static char *
file_name(const char *path, unsigned no)
{
	char *name = NULL;

	if (asprintf(&name, "%s.found-roles-%u.json", path, no) < 0)
		return NULL;
	return name;
}

enum nj_err
salvage_facts_write(struct salvage_facts *f, const char *path,
    void (*made)(const char *file), struct nj_why *why)
{
	unsigned no = 0;
	enum nj_err e = NJ_OK;

	for (size_t i = next_space(f, 0); i < f->n && !e;
	     i = next_space(f, i + 1)) {
		struct buf text = { 0 };
		char *name = file_name(path, ++no);

		e = !name ? NJ_NOMEM
			  : print_space(f, f->v[i].space, &text, why);
		if (!e && !(e = file_write(name, buf_slice(&text), 0600, why)))
			made(name);
		buf_wipe(&text);
		free(name);
	}
	return e;
}

/*
 * Telling of them.
 */

/* {"kind":"role","name":"x"} */
static json_t *
name_json(const struct found *x)
{
	return x ? json_pack(
		       "{s:s,s:s}", "kind", kind_text[x->kind], "name", x->name)
		 : json_null();
}

static enum nj_err
add(json_t *list, json_t *o)
{
	return o && json_array_append_new(list, o) == 0 ? NJ_OK : NJ_NOMEM;
}

static enum nj_err
add_missing(
    json_t *list, unsigned kind, const char *name, const struct found *by)
{
	json_t *x;
	size_t i;

	json_array_foreach(list, i,
	    x) if (strcmp(json_text(x, "kind"), kind_text[kind]) == 0 &&
	    strcmp(json_text(x, "name"), name) == 0) return NJ_OK;
	return add(list,
	    json_pack("{s:s,s:s,s:o}", "kind", kind_text[kind], "name", name,
		"named_by", name_json(by)));
}

/* What one names and was not found. */
static enum nj_err
look_at(const struct salvage_facts *f, const struct found *x, json_t *list)
{
	static const struct {
		const char *list, *member;
		unsigned kind;
	} names[] = {
		{ "roles", "rolename", ROLES_ROW_ROLE },
		{ "groups", "groupname", ROLES_ROW_GROUP },
	};
	struct slice s = buf_slice(&x->value);
	json_t *o = json_loadb((const char *)s.p, s.n, 0, NULL), *y;
	const char *anonymous = json_text(o, "anonymousGroup");
	enum nj_err e = NJ_OK;
	size_t i;

	for (unsigned k = 0; k < 2; k++)
		json_array_foreach(json_member(o, names[k].list), i, y)
		{
			const char *name = json_text(y, names[k].member);

			if (!e && name &&
			    !is_found(f, x->space, names[k].kind, name))
				e = add_missing(list, names[k].kind, name, x);
		}
	if (!e && anonymous &&
	    !is_found(f, x->space, ROLES_ROW_GROUP, anonymous))
		e = add_missing(list, ROLES_ROW_GROUP, anonymous, x);
	json_decref(o);
	return e;
}

/* Where some are lost, as they stand by kind and name. */
static enum nj_err
add_holes(const struct salvage_facts *f, json_t *list)
{
	const struct found *after = NULL;
	enum nj_err e = NJ_OK;

	for (size_t i = 0; i < f->n && !e; i++) {
		const struct found *before = NULL;

		if (!f->v[i].in_order)
			break;
		if (!f->v[i].hole) {
			after = &f->v[i];
			continue;
		}
		while (i + 1 < f->n && f->v[i + 1].hole && f->v[i + 1].in_order)
			i++;
		if (i + 1 < f->n && f->v[i + 1].in_order)
			before = &f->v[i + 1];
		e = add(list,
		    json_pack("{s:o,s:o}", "after", name_json(after), "before",
			name_json(before)));
	}
	return e;
}

static enum nj_err
space_json(
    const struct salvage_facts *f, const char *space, unsigned no, json_t *list)
{
	json_t *found = json_array(), *missing = json_array(), *o;
	enum nj_err e = found && missing ? NJ_OK : NJ_NOMEM;

	for (size_t i = 0; i < f->n && !e; i++) {
		const struct found *x = &f->v[i];

		if (x->hole || strcmp(x->space, space) != 0)
			continue;
		if (x->kind != ROLES_ROW_REST)
			e = add(found, name_json(x));
		if (!e)
			e = look_at(f, x, missing);
	}
	if (!e && !is_found(f, space, ROLES_ROW_REST, ""))
		e = add(missing,
		    json_pack("{s:s,s:s}", "kind", kind_text[ROLES_ROW_REST],
			"name", ""));
	o = e ? NULL
	      : json_pack("{s:s,s:i,s:O,s:O}", "file", space + strlen(SPACE),
		    "no", (int)no, "found", found, "missing", missing);
	json_decref(found);
	json_decref(missing);
	return e ? e : add(list, o);
}

static enum nj_err
all_json(struct salvage_facts *f, json_t **out)
{
	json_t *files = json_array(), *holes = json_array();
	unsigned no = 0;
	enum nj_err e = files && holes ? sort(f) : NJ_NOMEM;

	for (size_t i = next_space(f, 0); i < f->n && !e;
	     i = next_space(f, i + 1))
		e = space_json(f, f->v[i].space, ++no, files);
	if (!e)
		e = add_holes(f, holes);
	if (!e &&
	    !(*out = json_pack(
		  "{s:O,s:O}", "files", files, "lost_between", holes)))
		e = NJ_NOMEM;
	json_decref(files);
	json_decref(holes);
	return e;
}

static enum nj_err
put_name(struct buf *out, const json_t *x)
{
	const char *kind = json_text(x, "kind"), *name = json_text(x, "name");
	enum nj_err e = buf_printf(out, "%s", kind);

	if (!e && *name && !(e = buf_put_u8(out, ' ')))
		e = store_put_text(out, slice_str(name));
	return e;
}

static unsigned
count(const json_t *found, enum roles_row kind)
{
	unsigned n = 0;
	json_t *x;
	size_t i;

	json_array_foreach(found, i, x) n +=
	    strcmp(json_text(x, "kind"), kind_text[kind]) == 0;
	return n;
}

static enum nj_err
put_file(struct buf *out, const json_t *file)
{
	const json_t *found = json_member(file, "found");
	const json_t *missing = json_member(file, "missing"), *by;
	json_t *x;
	size_t i;
	enum nj_err e;

	e = buf_printf(out,
	    "Of the users, groups and roles of %s were found: %u users, %u "
	    "groups, %u roles.\n",
	    json_text(file, "file"), count(found, ROLES_ROW_USER),
	    count(found, ROLES_ROW_GROUP), count(found, ROLES_ROW_ROLE));
	json_array_foreach(missing, i, x)
	{
		if (e || (e = buf_printf(out, "  missing: ")) ||
		    (e = put_name(out, x)))
			break;
		if ((by = json_member(x, "named_by")) &&
		    (!(e = buf_printf(out, ", which "))) &&
		    !(e = put_name(out, by)))
			e = buf_printf(out, " names");
		if (!e)
			e = buf_put_u8(out, '\n');
	}
	return e;
}

static enum nj_err
put_hole(struct buf *out, const json_t *hole)
{
	const json_t *after = json_member(hole, "after");
	const json_t *before = json_member(hole, "before");
	enum nj_err e = buf_printf(out, "  some were lost");

	if (!e && !json_is_null(after) && !(e = buf_printf(out, " behind ")))
		e = put_name(out, after);
	if (!e && !json_is_null(before) && !(e = buf_printf(out, " before ")))
		e = put_name(out, before);
	return e ? e : buf_put_u8(out, '\n');
}

static enum nj_err
put_lines(struct buf *out, const json_t *all)
{
	const json_t *files = json_member(all, "files");
	const json_t *holes = json_member(all, "lost_between");
	enum nj_err e = NJ_OK;
	json_t *x;
	size_t i;

	json_array_foreach(files, i, x) if (!e) e = put_file(out, x);
	if (!e && json_array_size(files) == 0)
		e = buf_printf(
		    out, "Of users, groups and roles nothing was found.\n");
	json_array_foreach(holes, i, x) if (!e) e = put_hole(out, x);
	if (!e && json_array_size(holes) > 0)
		e = buf_printf(out,
		    "  (in the order role, group, user; those lost there are "
		    "others than those found)\n");
	return e;
}

enum nj_err
salvage_facts_tell(struct salvage_facts *f, bool json, struct buf *out)
{
	json_t *all = NULL;
	enum nj_err e = all_json(f, &all);
	char *text = NULL;

	if (!e && !json)
		e = put_lines(out, all);
	else if (!e && !(text = json_whole(all)))
		e = NJ_NOMEM;
	else if (!e)
		e = buf_put_slice(out, slice_str(text));
	free(text);
	json_decref(all);
	return e;
}
