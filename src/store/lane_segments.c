/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments on disk that a transaction takes something from.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/lane_impl.h"

sqlite3_stmt *
lane_bind(struct store *s, enum statement which, uint64_t a, uint64_t b)
{
	sqlite3_stmt *st = sql_get(s, which);

	sqlite3_bind_int64(st, 1, (sqlite3_int64)a);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)b);
	return st;
}

static uint32_t
count_bits(const struct touched *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		n += t->bits[i / 8] >> i % 8 & 1;
	return n;
}

/* first, n, bits, file, len.  False: no such row. */
static enum nj_err
look(struct store *s, enum statement which, uint64_t session, uint64_t key,
    struct touched *t, bool *there)
{
	sqlite3_stmt *st = lane_bind(s, which, session, key);
	int rc = sqlite3_step(st);
	struct slice bits;

	*there = rc == SQLITE_ROW;
	if (*there) {
		*t = (struct touched){
			.first = (uint64_t)sqlite3_column_int64(st, 0),
			.n = (uint32_t)sqlite3_column_int64(st, 1),
			.file = (uint64_t)sqlite3_column_int64(st, 3),
			.len = (uint64_t)sqlite3_column_int64(st, 4),
		};
		bits = sql_column(st, 2);
		t->noted = bits.n > 0;
		if (t->n == 0 || t->n > SEGMENT_ENTRIES ||
		    bits.n > sizeof t->bits)
			rc = SQLITE_CORRUPT;
		else if (bits.n > 0)
			memcpy(t->bits, bits.p, bits.n);
	}
	sqlite3_reset(st);
	if (sql_err(rc))
		return sql_err(rc);
	if (*there)
		t->gone = count_bits(t);
	return NJ_OK;
}

/* The place of the first of those touched that begins behind key. */
static uint32_t
behind(const struct lane *l, uint64_t key)
{
	uint32_t from = 0, to = l->n_t;

	/* they come in order */
	if (to > 0 && l->t[to - 1].first <= key)
		return to;
	while (from < to) {
		uint32_t mid = from + (to - from) / 2;

		if (l->t[mid].first <= key)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static enum nj_err
insert(struct lane *l, const struct touched *t, struct touched **out)
{
	uint32_t at = behind(l, t->first);
	struct touched *v = l->t;

	if (l->n_t == l->cap_t) {
		if (!(v = realloc(v, lane_larger(l->cap_t) * sizeof *v)))
			return NJ_NOMEM;
		l->t = v;
		l->cap_t = lane_larger(l->cap_t);
	}
	assert(v);
	memmove(&v[at + 1], &v[at], (l->n_t - at) * sizeof *v);
	v[at] = *t;
	l->n_t++;
	*out = &v[at];
	return NJ_OK;
}

enum nj_err
lane_touch(struct store *s, struct lane *l, uint64_t key, struct touched **out)
{
	uint32_t at = behind(l, key);
	struct touched t;
	enum nj_err e;
	bool there;

	*out = at > 0 ? &l->t[at - 1] : NULL;
	if (*out && key - (*out)->first < (*out)->n)
		return NJ_OK;
	*out = NULL;
	if (key >= l->gap && key < l->over)
		return NJ_OK;
	if ((e = look(s, ST_SEG_AT, l->session, key, &t, &there)))
		return e;
	if (there && key - t.first < t.n)
		return insert(l, &t, out);
	l->gap = there ? t.first + t.n : 0;
	if ((e = look(s, ST_SEG_NEXT, l->session, key, &t, &there)))
		return e;
	l->over = there ? t.first : UINT64_MAX;
	return NJ_OK;
}

enum nj_err
lane_read_entry(struct store *s, uint64_t session, const struct touched *t,
    uint32_t i, struct store_rec *r)
{
	sqlite3_stmt *st = lane_bind(s, ST_SEG_DATA, session, t->first);
	struct segment_entry en = { .qos = 0 };
	enum nj_err e = NJ_MALFORMED;
	struct slice data;
	int rc;

	if ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		e = data_column(s, st, 0, &data);
		for (; !e && i != UINT32_MAX; i--)
			e = segment_take(&data, &en);
	} else if (rc != SQLITE_DONE) {
		e = sql_err(rc);
	}
	if (!e && en.ids.n > 0) {
		if ((r->text = malloc(en.ids.n)))
			memcpy(r->text, en.ids.p, en.ids.n);
		else
			e = NJ_NOMEM;
		r->text_len = (uint32_t)en.ids.n;
	}
	if (!e)
		e = s->opts.msgs->make(s->opts.arg, &en.body, &r->msg);
	sqlite3_reset(st);
	r->qos = en.qos;
	r->retain = en.retain;
	return e;
}

enum nj_err
lane_oldest(struct store *s, struct lane *l, struct touched **t, uint32_t *i)
{
	struct touched next;
	bool there;
	enum nj_err e;

	while (!(e = lane_touch(s, l, l->seg_from, t))) {
		if (*t) {
			for (*i = (uint32_t)(l->seg_from - (*t)->first);
			     *i < (*t)->n; ++*i)
				if (!touched_is_gone(*t, *i))
					return NJ_OK;
			l->seg_from = (*t)->first + (*t)->n;
			continue;
		}
		e = look(
		    s, ST_SEG_NEXT, l->session, l->seg_from, &next, &there);
		if (e || !there)
			break;
		l->seg_from = next.first;
	}
	return e;
}
