/* SPDX-License-Identifier: Apache-2.0
 *
 * A session's queue within a transaction: entries that came are gathered until
 * its end, and written many a row, or in rows of queue, in the order of their keys;
 * what ended by then is not written.  Of those of segments that ended a bit is set
 * in memory, and what is left of each segment written once; rows of queue that ended
 * are deleted a run at once.
 */
#include <stdlib.h>

#include "store/lane_impl.h"

/* What is to be written. */

enum nj_err
lane_add(struct store *s, const struct store_rec *r, bool row)
{
	struct waiting *v;
	struct lane *l;
	enum nj_err e;

	if ((e = lane_of(s, r->session, &l)))
		return e;
	if (l->n == l->cap) {
		if (!(v = realloc(l->v, lane_larger(l->cap) * sizeof *v)))
			return NJ_NOMEM;
		l->v = v;
		l->cap = lane_larger(l->cap);
	}
	if (l->n > 0 && l->v[l->n - 1].seq >= r->seq)
		l->unsorted = true;
	l->v[l->n++] = (struct waiting){ r->seq, r, r->pid, r->state, row };
	l->rows += row;
	return NJ_OK;
}

static int
by_seq(const void *a, const void *b)
{
	const struct waiting *x = a, *y = b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

void
lane_sort(struct lane *l)
{
	if (!l->unsorted)
		return;
	qsort(l->v, l->n, sizeof *l->v, by_seq);
	l->unsorted = false;
	l->v_from = 0; /* what came late may be before it */
}

void
lane_leave_out(struct lane *l, struct waiting *w)
{
	l->rows -= w->r && w->row;
	w->r = NULL;
}

static struct waiting *
waiting_find(struct lane *l, uint64_t seq)
{
	uint32_t from = 0, to = l->n;

	lane_sort(l);
	while (from < to) {
		uint32_t mid = from + (to - from) / 2;

		if (l->v[mid].seq == seq)
			return &l->v[mid];
		if (l->v[mid].seq < seq)
			from = mid + 1;
		else
			to = mid;
	}
	return NULL;
}

/* What ended, or is another now. */

/* A row of queue ended. */
static enum nj_err
end_row(struct lane *l, uint64_t seq)
{
	uint64_t *e;

	if (l->n_e == l->cap_e) {
		if (!(e = realloc(l->e, lane_larger(l->cap_e) * sizeof *e)))
			return NJ_NOMEM;
		l->e = e;
		l->cap_e = lane_larger(l->cap_e);
	}
	l->e[l->n_e++] = seq;
	return NJ_OK;
}

enum nj_err
lane_end(struct store *s, uint64_t session, uint64_t seq)
{
	struct waiting *w;
	struct touched *t;
	struct lane *l;
	enum nj_err e;

	if ((e = lane_of(s, session, &l)))
		return e;
	if (l->n > 0 && (w = waiting_find(l, seq))) {
		if (!w->r)
			return end_row(l, seq);
		lane_leave_out(l, w);
		return NJ_OK;
	}
	if ((e = lane_touch(s, l, seq, &t)))
		return e;
	/* what is gone from it may have become a row */
	if (!t || touched_is_gone(t, (uint32_t)(seq - t->first)))
		return end_row(l, seq);
	touched_strike(t, (uint32_t)(seq - t->first));
	return NJ_OK;
}

enum nj_err
lane_state(struct store *s, const struct store_rec *r, bool *is_row)
{
	struct store_rec row = *r;
	struct waiting *w;
	struct touched *t;
	struct lane *l;
	enum nj_err e;

	*is_row = false;
	if ((e = lane_of(s, r->session, &l)))
		return e;
	if (l->n > 0 && (w = waiting_find(l, r->seq))) {
		*is_row = !w->r;
		if (w->r && !w->row) {
			(void)s->opts.msgs->name(s->opts.arg, w->r->msg);
			l->rows++;
		}
		w->pid = r->pid;
		w->state = r->state;
		w->row = true;
		return NJ_OK;
	}
	if ((e = lane_touch(s, l, r->seq, &t)))
		return e;
	if (!t || touched_is_gone(t, (uint32_t)(r->seq - t->first))) {
		*is_row = true;
		return NJ_OK;
	}
	row.text = NULL;
	row.text_len = 0;
	row.msg = NULL;
	e = lane_read_entry(
	    s, r->session, t, (uint32_t)(r->seq - t->first), &row);
	if (e == NJ_MALFORMED &&
	    (sqlite3_errcode(s->db) & 0xff) != SQLITE_CORRUPT)
		/* its bytes are damaged: no client gets it in any state, and
		 * what is for others is written all the same */
		e = NJ_OK;
	else if (!e && !(e = apply_entry(s, &row, true)))
		touched_strike(t, (uint32_t)(r->seq - t->first));
	if (row.msg)
		s->opts.msgs->unref(row.msg);
	free(row.text);
	return e;
}

static enum nj_err
oldest_row(struct store *s, uint64_t session, uint64_t from, uint64_t *seq)
{
	sqlite3_stmt *st = lane_bind(s, ST_QUEUE_OLDEST, session, from);
	int rc;

	if ((rc = sqlite3_step(st)) == SQLITE_ROW)
		*seq = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return sql_err(rc);
}

enum nj_err
lane_rows(struct store *s, uint64_t session)
{
	struct lane *l = lane_find(&s->lanes, session);
	enum nj_err e;

	if (!l)
		return NJ_OK;
	if ((e = lane_write_ended(s, l)))
		return e;
	/* those that were not written yet are the last ones */
	for (uint32_t i = l->n; l->rows > 0; i--)
		if (l->v[i - 1].r && l->v[i - 1].row &&
		    (e = lane_write_entry(s, l, &l->v[i - 1])))
			return e;
	return NJ_OK;
}

enum nj_err
lane_shift(struct store *s, uint64_t session, uint64_t from)
{
	uint64_t seg, row = UINT64_MAX, new = UINT64_MAX;
	struct touched *t;
	struct lane *l;
	uint32_t i = 0;
	enum nj_err e;

	if ((e = lane_rows(s, session)) || (e = lane_of(s, session, &l)))
		return e;
	if (from < l->shifted || from > l->seg_from)
		l->seg_from = from;
	if (from < l->shifted) /* what is before it is gone, or below it */
		l->v_from = 0;
	l->shifted = from;
	if ((e = lane_oldest(s, l, &t, &i)) ||
	    (e = oldest_row(s, session, from, &row)))
		return e;
	lane_sort(l);
	while (l->v_from < l->n &&
	    (!l->v[l->v_from].r || l->v[l->v_from].seq < from))
		l->v_from++;
	if (l->v_from < l->n)
		new = l->v[l->v_from].seq;
	seg = t ? t->first + i : UINT64_MAX;
	if (row < seg && row < new)
		return apply_entries_end(s, session, row, row);
	if (seg < new)
		touched_strike(t, i);
	else if (l->v_from < l->n)
		lane_leave_out(l, &l->v[l->v_from]);
	return NJ_OK;
}

enum nj_err
lane_session_end(struct store *s, uint64_t session)
{
	static const enum statement ends[] = { ST_SEGS_END, ST_GONES_END };
	struct lane *l = lane_find(&s->lanes, session);
	enum nj_err e;

	if (l)
		lane_clear(l, session);
	for (unsigned i = 0; i < 2; i++) {
		sqlite3_bind_int64(
		    sql_get(s, ends[i]), 1, (sqlite3_int64)session);
		if ((e = data_dropping(s, ends[i])))
			return e;
	}
	return NJ_OK;
}
