/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/device_groups.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/map.h"

/* Points into the text. */
struct line {
	struct slice id, groups;
};

struct table {
	struct buf text;
	struct line *lines;
	size_t n;
	struct map by_id;
};

struct device_groups {
	atomic_uint refs;
	char *path;
	pthread_mutex_t lock; /* of table */
	struct table *table;
};

static struct slice
key_of(const void *value)
{
	return ((const struct line *)value)->id;
}

static void
table_free(struct table *t)
{
	if (!t)
		return;
	map_fini(&t->by_id);
	free(t->lines);
	buf_fini(&t->text);
	free(t);
}

static size_t
count_lines(struct slice text)
{
	size_t n = 1;

	for (size_t i = 0; text.p && i < text.n; i++)
		n += text.p[i] == '\n';
	return n;
}

/* "ID a,b"; false: a comment, or nothing. */
static bool
take_line(struct slice *text, struct line *out)
{
	const uint8_t *nl = text->p ? memchr(text->p, '\n', text->n) : NULL;
	const uint8_t *blank;
	struct slice one =
	    slice_of(text->p, nl ? (size_t)(nl - text->p) : text->n);

	*text = slice_of(one.p + one.n, text->n - one.n);
	if (nl)
		*text = slice_of(text->p + 1, text->n - 1);
	if (!one.p || one.n == 0 || one.p[0] == '#' ||
	    !(blank = memchr(one.p, ' ', one.n)))
		return false;
	out->id = slice_of(one.p, (size_t)(blank - one.p));
	out->groups = slice_of(blank + 1, one.n - out->id.n - 1);
	return out->id.n > 0 && out->groups.n > 0;
}

static enum nj_err
table_fill(struct table *t)
{
	struct slice text = buf_slice(&t->text);
	enum nj_err e = NJ_OK;

	t->lines = calloc(count_lines(text), sizeof(*t->lines));
	if (!t->lines)
		return NJ_NOMEM;
	while (!e && text.n > 0) {
		struct line *l = &t->lines[t->n];

		if (!take_line(&text, l))
			continue;
		if ((e = map_put(&t->by_id, l)) == NJ_EXISTS)
			e = NJ_OK; /* the first one counts */
		t->n++;
	}
	return e;
}

static enum nj_err
table_load(const char *path, struct table **out, struct nj_why *why)
{
	struct table *t = calloc(1, sizeof(*t));
	struct stat st;
	enum nj_err e = NJ_OK;

	if (!t)
		return NJ_NOMEM;
	map_init(&t->by_id, key_of);
	if (stat(path, &st) == 0)
		e = file_read(path, DEVICE_GROUPS_FILE_MAX, &t->text, why);
	if (!e)
		e = table_fill(t);
	if (e)
		table_free(t);
	else
		*out = t;
	return e;
}

enum nj_err
device_groups_new(
    const char *path, struct device_groups **out, struct nj_why *why)
{
	struct device_groups *g = calloc(1, sizeof(*g));
	enum nj_err e;

	if (!g)
		return NJ_NOMEM;
	atomic_init(&g->refs, 1);
	pthread_mutex_init(&g->lock, NULL);
	e = (g->path = strdup(path)) ? table_load(path, &g->table, why)
				     : NJ_NOMEM;
	if (e)
		device_groups_unref(g);
	else
		*out = g;
	return e;
}

struct device_groups *
device_groups_ref(struct device_groups *g)
{
	(void)atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
	return g;
}

void
device_groups_unref(struct device_groups *g)
{
	if (!g ||
	    atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
		return;
	pthread_mutex_destroy(&g->lock);
	table_free(g->table);
	free(g->path);
	free(g);
}

enum nj_err
device_groups_renew(struct device_groups *g, bool *changed, struct nj_why *why)
{
	struct table *t = NULL, *old;
	enum nj_err e = table_load(g->path, &t, why);

	if (e)
		return e;
	pthread_mutex_lock(&g->lock);
	old = g->table;
	*changed = !slice_eq(buf_slice(&old->text), buf_slice(&t->text));
	g->table = t;
	pthread_mutex_unlock(&g->lock);
	table_free(old);
	return NJ_OK;
}

enum nj_err
device_groups_of(struct device_groups *g, struct slice id, struct buf *out)
{
	const struct line *l;
	enum nj_err e = NJ_OK;

	pthread_mutex_lock(&g->lock);
	l = map_get(&g->table->by_id, id);
	for (size_t i = 0; l && !e && i < l->groups.n; i++) {
		uint8_t c = l->groups.p[i];

		e = buf_put_u8(out, c == ',' ? '\n' : c);
	}
	if (l && !e)
		e = buf_put_u8(out, '\n');
	pthread_mutex_unlock(&g->lock);
	return e;
}
