/* SPDX-License-Identifier: Apache-2.0
 *
 * What a transaction has gathered of queues is written at its end, session by session.
 */
#include <stdlib.h>
#include <time.h>

#include "store/lane_impl.h"

/* A larger row than store.row_bytes takes pages of its own besides the one with
 * its key, so such are made only where there is enough for several. */
#define PAGES_WORTH 4u

static int
by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

enum nj_err
lane_write_ended(struct store *s, struct lane *l)
{
	uint32_t end;
	enum nj_err e;

	for (uint32_t i = 1; i < l->n_e; i++)
		if (l->e[i] < l->e[i - 1]) {
			qsort(l->e, l->n_e, sizeof *l->e, by_key);
			break;
		}
	for (uint32_t i = 0; i < l->n_e; i = end) {
		for (end = i + 1;
		     end < l->n_e && l->e[end] - l->e[end - 1] <= 1;)
			end++;
		if ((e = apply_entries_end(
			 s, l->session, l->e[i], l->e[end - 1])))
			return e;
	}
	l->n_e = 0;
	return NJ_OK;
}

enum nj_err
lane_write_entry(struct store *s, struct lane *l, struct waiting *w)
{
	struct store_rec row = *w->r;

	row.pid = w->pid;
	row.state = w->state;
	lane_leave_out(l, w);
	return apply_entry(s, &row, false);
}

static enum nj_err
write_touched(struct store *s, const struct lane *l, const struct touched *t)
{
	sqlite3_stmt *st;
	enum nj_err e;

	if (t->gone < t->n) {
		st = lane_bind(s, ST_GONE, l->session, t->first);
		sqlite3_bind_int64(st, 3, t->gone);
		sql_bind_slice(st, 4, slice_of(t->bits, (t->n + 7) / 8));
		return sql_run(s, ST_GONE);
	}
	lane_bind(s, ST_SEG_END, l->session, t->first);
	if ((e = sql_run(s, ST_SEG_END)))
		return e;
	data_drop(s, t->file, t->len);
	if (!t->noted)
		return NJ_OK;
	lane_bind(s, ST_GONE_END, l->session, t->first);
	return sql_run(s, ST_GONE_END);
}

static enum nj_err
describe(struct store *s, const struct waiting *w, struct store_body *body)
{
	*body = (struct store_body){ .id = 0 };
	s->opts.msgs->describe(s->opts.arg, w->r->msg, body);
	return segment_put(&s->scratch, w->r, body);
}

/* How many bytes the rows of a run may take: many pages, or a part of one. */
static size_t
row_size(struct store *s, const struct waiting *w, uint32_t n)
{
	size_t left = 0;
	struct store_body body;

	for (uint32_t i = 0; i < n; i++) {
		s->opts.msgs->describe(s->opts.arg, w[i].r->msg, &body);
		left += body.bytes.n + 9 + w[i].r->text_len;
		if (left > PAGES_WORTH * s->page_bytes)
			return data_row_bytes(s);
	}
	return s->row_bytes;
}

/* As much of a run of keys without a hole as fits in a row; how many. */
static enum nj_err
write_row(struct store *s, const struct lane *l, const struct waiting *w,
    uint32_t n, size_t max, uint32_t *took)
{
	struct place p = { .file = 0 };
	struct store_body body;
	sqlite3_stmt *st;
	uint64_t size = 0;
	uint32_t i = 0;
	enum nj_err e;

	buf_truncate(&s->scratch, 0);
	for (; i < n && i < SEGMENT_ENTRIES; i++) {
		size_t before = buf_len(&s->scratch);

		if ((e = describe(s, &w[i], &body)))
			return e;
		if (i > 0 && buf_len(&s->scratch) > max) {
			buf_truncate(&s->scratch, before);
			break;
		}
		size += body.bytes.n;
	}
	*took = i;
	if (data_wants(s, buf_len(&s->scratch))) {
		if ((e = data_put(s, buf_slice(&s->scratch), &p)))
			return e;
		buf_truncate(&s->scratch, 0);
	} else {
		p.sum = data_sum(0, 0, buf_slice(&s->scratch));
	}
	st = lane_bind(s, ST_SEG, l->session, w->seq);
	sqlite3_bind_int64(st, 3, i);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)size);
	sqlite3_bind_int64(st, 5, s->now_s);
	sql_bind_slice(st, 6, buf_slice(&s->scratch));
	sqlite3_bind_int64(st, 7, (sqlite3_int64)p.file);
	sqlite3_bind_int64(st, 8, (sqlite3_int64)p.at);
	sqlite3_bind_int64(st, 9, (sqlite3_int64)p.len);
	sqlite3_bind_int64(st, 10, (sqlite3_int64)p.sum);
	return sql_run(s, ST_SEG);
}

static enum nj_err
write_run(
    struct store *s, const struct lane *l, const struct waiting *w, uint32_t n)
{
	size_t max = row_size(s, w, n);
	uint32_t took = 0;
	enum nj_err e;

	for (; n > 0; w += took, n -= took)
		if ((e = write_row(s, l, w, n, max, &took)))
			return e;
	return NJ_OK;
}

static enum nj_err
write_lane(struct store *s, struct lane *l)
{
	uint32_t end;
	enum nj_err e;

	for (uint32_t i = 0; i < l->n_t; i++)
		if (l->t[i].dirty && (e = write_touched(s, l, &l->t[i])))
			return e;
	if ((e = lane_write_ended(s, l)))
		return e;
	lane_sort(l);
	for (uint32_t i = 0; i < l->n; i = end) {
		end = i + 1;
		if (!l->v[i].r)
			continue;
		if (l->v[i].row) {
			if ((e = lane_write_entry(s, l, &l->v[i])))
				return e;
			continue;
		}
		while (end < l->n && l->v[end].r && !l->v[end].row &&
		    l->v[end].seq == l->v[end - 1].seq + 1)
			end++;
		if ((e = write_run(s, l, &l->v[i], end - i)))
			return e;
	}
	return NJ_OK;
}

enum nj_err
lanes_write(struct store *s)
{
	enum nj_err e;

	s->now_s = time(NULL); /* for people who ask how old it is */
	for (uint32_t i = 0; i < s->lanes.n; i++)
		if ((e = write_lane(s, &s->lanes.v[i])))
			return e;
	return NJ_OK;
}
