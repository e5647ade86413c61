/* SPDX-License-Identifier: Apache-2.0
 *
 * One session's queue in pages: what waits in rows and in segments, by key.
 */
#include <stdlib.h>
#include <string.h>

#include "store/impl.h"

/* Where the segments have been read to. */
struct cursor {
	sqlite3_stmt *st;
	bool there; /* en is the next, with this key */
	uint64_t key;
	struct segment_entry en;
	/* the rest of its row */
	struct slice data, bits;
	uint64_t first;
	uint32_t n, i;
};

static enum nj_err
next_row(struct store *s, struct cursor *c)
{
	int rc = sqlite3_step(c->st);

	c->there = rc == SQLITE_ROW;
	if (!c->there)
		return sql_err(rc);
	c->first = (uint64_t)sqlite3_column_int64(c->st, 0);
	c->n = (uint32_t)sqlite3_column_int64(c->st, 1);
	c->bits = sql_column(c->st, 2);
	c->i = 0;
	return data_column(s, c->st, 3, &c->data);
}

/* The next entry that is there still, from a key on. */
static enum nj_err
next_entry(struct store *s, struct cursor *c, uint64_t from)
{
	enum nj_err e;

	for (;;) {
		while (c->there && c->i < c->n) {
			uint32_t i = c->i++;

			if ((e = segment_take(&c->data, &c->en)))
				return e;
			c->key = c->first + i;
			if (c->key >= from && !segment_gone(c->bits, i))
				return NJ_OK;
		}
		if ((e = next_row(s, c)) || !c->there)
			return e;
	}
}

static enum nj_err
begin(struct store *s, struct store_read *r, struct cursor *c)
{
	sqlite3_stmt *st = sql_get(s, ST_SEG_FROM);
	sqlite3_int64 until =
	    r->until > INT64_MAX ? INT64_MAX : (sqlite3_int64)r->until;
	sqlite3_int64 from = (sqlite3_int64)r->from;
	int rc;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)r->session);
	sqlite3_bind_int64(st, 2, from);
	if ((rc = sqlite3_step(st)) == SQLITE_ROW)
		from = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	if (sql_err(rc))
		return sql_err(rc);
	*c = (struct cursor){ .st = sql_get(s, ST_SEG_READ) };
	sqlite3_bind_int64(c->st, 1, (sqlite3_int64)r->session);
	sqlite3_bind_int64(c->st, 2, from);
	sqlite3_bind_int64(c->st, 3, until);
	return next_entry(s, c, r->from);
}

/* Identifiers go with the answer. */
static enum nj_err
own_ids(struct store_entry *en)
{
	struct slice ids = en->ids;
	uint8_t *copy;

	en->ids = SLICE_NONE;
	if (ids.n == 0)
		return NJ_OK;
	if (!(copy = malloc(ids.n)))
		return NJ_NOMEM;
	memcpy(copy, ids.p, ids.n);
	en->ids = slice_of(copy, ids.n);
	return NJ_OK;
}

static enum nj_err
add_row(struct store *s, struct store_read *r, sqlite3_stmt *st, size_t *bytes)
{
	struct store_entry *en = &r->v[r->n];
	struct store_body body;
	enum nj_err e;

	*en = load_entry(st, 0);
	en->session = r->session;
	if ((e = own_ids(en)))
		return e;
	if ((e = load_msg(
		 s, (uint64_t)sqlite3_column_int64(st, 4), &en->msg))) {
		free((void *)(uintptr_t)en->ids.p);
		return e;
	}
	r->n++;
	s->opts.msgs->describe(s->opts.arg, en->msg, &body);
	*bytes += en->ids.n + body.bytes.n;
	return NJ_OK;
}

static enum nj_err
add_entry(struct store *s, struct store_read *r, const struct cursor *c,
    size_t *bytes)
{
	struct store_entry *en = &r->v[r->n];
	enum nj_err e;

	*en = (struct store_entry){
		.session = r->session,
		.seq = c->key,
		.qos = c->en.qos,
		.retain = c->en.retain,
		.ids = c->en.ids,
	};
	if ((e = own_ids(en)))
		return e;
	if ((e = s->opts.msgs->make(s->opts.arg, &c->en.body, &en->msg))) {
		free((void *)(uintptr_t)en->ids.p);
		return e;
	}
	r->n++;
	*bytes += en->ids.n + c->en.body.bytes.n;
	return NJ_OK;
}

/* Both, in the order of their keys. */
static enum nj_err
merge(struct store *s, struct store_read *r, sqlite3_stmt *st, struct cursor *c)
{
	size_t bytes = 0;
	int rc = sqlite3_step(st);
	enum nj_err e = NJ_OK;

	while (!e) {
		bool row = rc == SQLITE_ROW;
		bool seg = c->there && c->key < r->until;

		if (!row && !seg)
			return sql_err(rc);
		if (r->n == r->max || bytes > STORE_PAGE_BYTES) {
			r->more = true;
			return NJ_OK;
		}
		if (row &&
		    (!seg || (uint64_t)sqlite3_column_int64(st, 0) < c->key)) {
			if (!(e = add_row(s, r, st, &bytes)))
				rc = sqlite3_step(st);
		} else if (!(e = add_entry(s, r, c, &bytes))) {
			e = next_entry(s, c, r->from);
		}
	}
	return e;
}

void
read_answer(struct store *s, struct store_read *r)
{
	sqlite3_stmt *st = sql_get(s, ST_QUEUE_READ);
	struct cursor c = { .there = false };

	r->n = 0;
	r->more = false;
	r->result = NJ_NOMEM;
	if (!(r->v = calloc(r->max, sizeof *r->v)))
		return;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)r->session);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)r->from);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)r->max + 1);
	sqlite3_bind_int64(
	    st, 4, r->until > INT64_MAX ? INT64_MAX : (sqlite3_int64)r->until);
	if (!(r->result = begin(s, r, &c)))
		r->result = merge(s, r, st, &c);
	sqlite3_reset(st);
	sqlite3_reset(sql_get(s, ST_SEG_READ));
}

void
store_read_fini(struct store_read *r, const struct store_msg_ops *ops)
{
	for (uint32_t i = 0; i < r->n; i++) {
		if (r->v[i].msg)
			ops->unref(r->v[i].msg);
		free((void *)(uintptr_t)r->v[i].ids.p);
	}
	free(r->v);
	r->v = NULL;
	r->n = 0;
}
