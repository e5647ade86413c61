/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/fleet.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/map.h"
#include "base/text.h"

struct fleet {
	atomic_uint refs;
	struct map by_id;
};

static struct slice
key_of(const void *value)
{
	const struct fleet_device *d = value;

	return slice_str(d->id);
}

void
fleet_unref(struct fleet *f)
{
	struct fleet_device *d;
	size_t at = 0;

	if (!f ||
	    atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	while ((d = map_next(&f->by_id, &at))) {
		free(d->groups);
		free(d);
	}
	map_fini(&f->by_id);
	free(f);
}

struct fleet *
fleet_ref(struct fleet *f)
{
	(void)atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

size_t
fleet_size(const struct fleet *f)
{
	return f->by_id.n;
}

const struct fleet_device *
fleet_find(const struct fleet *f, struct slice id)
{
	return map_get(&f->by_id, id);
}

static enum nj_err
device_of(struct fleet *f, const char *id, struct fleet_device **out)
{
	struct fleet_device *d = map_get(&f->by_id, slice_str(id));
	enum nj_err e;

	if (!d) {
		if (!(d = calloc(1, sizeof(*d))) || !(d->groups = strdup(""))) {
			free(d);
			return NJ_NOMEM;
		}
		(void)snprintf(d->id, sizeof(d->id), "%s", id);
		if ((e = map_put(&f->by_id, d))) {
			free(d->groups);
			free(d);
			return e;
		}
	}
	*out = d;
	return NJ_OK;
}

enum nj_err
fleet_note(struct fleet *f, const struct registry_entry *e)
{
	bool device = strcmp(e->kind, "device") == 0;
	struct fleet_device *d = NULL;
	enum nj_err err;
	char *groups;

	if (strcmp(e->kind, "revoked") == 0) {
		if ((d = map_get(&f->by_id, slice_str(e->id))) &&
		    strcmp(d->serial, e->serial) == 0)
			d->serial[0] = '\0';
		return NJ_OK;
	}
	if (!device && strcmp(e->kind, "groups") != 0)
		return NJ_OK;
	if ((err = device_of(f, e->id, &d)))
		return err;
	if (device) {
		memcpy(d->serial, e->serial, sizeof(d->serial));
		memcpy(d->spki, e->spki, sizeof(d->spki));
		d->not_after = e->not_after;
	}
	if (!e->has_groups)
		return NJ_OK;
	if (!(groups = strdup(e->groups)))
		return NJ_NOMEM;
	free(d->groups);
	d->groups = groups;
	return NJ_OK;
}

struct loading {
	struct fleet *f;
	enum nj_err err;
};

static bool
on_entry(void *arg, const struct registry_entry *e)
{
	struct loading *l = arg;

	l->err = fleet_note(l->f, e);
	return l->err == NJ_OK;
}

enum nj_err
fleet_load(const char *registry, struct fleet **out, struct nj_why *why)
{
	struct loading l = { .f = calloc(1, sizeof(*l.f)) };
	enum nj_err e;

	if (!l.f)
		return NJ_NOMEM;
	atomic_init(&l.f->refs, 1);
	map_init(&l.f->by_id, key_of);
	e = registry_each(registry, on_entry, &l, why);
	if (!e)
		e = l.err;
	if (e)
		fleet_unref(l.f);
	else
		*out = l.f;
	return e;
}

/*
 * For brokers.
 */

static int
by_id(const void *a, const void *b)
{
	const struct fleet_device *const *x = a, *const *y = b;

	return strcmp((*x)->id, (*y)->id);
}

static enum nj_err
put_lines(const struct fleet *f, struct buf *out)
{
	const struct fleet_device **v, *d;
	size_t at = 0, n = 0;
	enum nj_err e;

	if (!(v = calloc(f->by_id.n + 1, sizeof(*v))))
		return NJ_NOMEM;
	while ((d = map_next(&f->by_id, &at)))
		if (d->groups[0])
			v[n++] = d;
	qsort(v, n, sizeof(*v), by_id);
	e = buf_printf(out,
	    "# Written by nightjar ca; change it with: nightjar ca group\n");
	for (size_t i = 0; i < n && !e; i++)
		e = buf_printf(out, "%s %s\n", v[i]->id, v[i]->groups);
	free(v);
	return e;
}

enum nj_err
fleet_export(const struct fleet *f, const char *dir, struct nj_why *why)
{
	char *path = NULL;
	struct buf text = { 0 };
	enum nj_err e;

	if (asprintf(&path, "%s/groups", dir) < 0)
		return NJ_NOMEM;
	if (!(e = put_lines(f, &text)))
		e = file_write(path, buf_slice(&text), 0644, why);
	buf_fini(&text);
	free(path);
	return e;
}

/*
 * Names of groups.
 */

static bool
is_group(const char *p, size_t n)
{
	if (n < 1 || n > PKI_ID_MAX || !isalnum((unsigned char)p[0]) ||
	    !isalnum((unsigned char)p[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)p[i]) && !strchr("._-", p[i]))
			return false;
	return true;
}

struct names {
	struct slice v[FLEET_GROUPS_MAX];
	size_t n;
};

static int
order(struct slice a, struct slice b)
{
	int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

	return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

/* Keeps v sorted; false when there is no room. */
static bool
insert(struct names *s, struct slice name)
{
	size_t at = 0;

	while (at < s->n && order(s->v[at], name) < 0)
		at++;
	if (at < s->n && slice_eq(s->v[at], name))
		return true;
	if (s->n == FLEET_GROUPS_MAX)
		return false;
	memmove(&s->v[at + 1], &s->v[at], (s->n - at) * sizeof(*s->v));
	s->v[at] = name;
	s->n++;
	return true;
}

static enum nj_err
add_words(struct names *s, const char *words, struct nj_why *why)
{
	char safe[TEXT_ESC];

	for (const char *p = words;; p++) {
		size_t n = strcspn(p, ",");

		if (!is_group(p, n)) {
			text_esc(safe, sizeof(safe), slice_of(p, n));
			why_set(
			    why, "'%s' cannot be the name of a group", safe);
			why_mend(why,
			    "use 1 to %d of A-Z a-z 0-9 . _ - with a letter "
			    "or digit first and last",
			    PKI_ID_MAX);
			return NJ_INVALID;
		}
		if (!insert(s, slice_of(p, n))) {
			why_set(why, "a device can be in at most %d groups",
			    FLEET_GROUPS_MAX);
			return NJ_INVALID;
		}
		p += n;
		if (!*p)
			return NJ_OK;
	}
}

enum nj_err
fleet_groups(const char *const *words, size_t n,
    char dst[REGISTRY_GROUPS_MAX + 1], struct nj_why *why)
{
	struct names s = { 0 };
	enum nj_err e;
	size_t used = 0;

	for (size_t i = 0; i < n; i++)
		if ((e = add_words(&s, words[i], why)))
			return e;
	dst[0] = '\0';
	for (size_t i = 0; i < s.n; i++) {
		if (used + s.v[i].n + 1 > REGISTRY_GROUPS_MAX) {
			why_set(why,
			    "the names of a device's groups are longer than "
			    "%d bytes together",
			    REGISTRY_GROUPS_MAX);
			why_mend(why, "use shorter names or fewer groups");
			return NJ_INVALID;
		}
		used += (size_t)snprintf(dst + used,
		    REGISTRY_GROUPS_MAX + 1 - used, "%s%.*s", i ? "," : "",
		    (int)s.v[i].n, (const char *)s.v[i].p);
	}
	return NJ_OK;
}
