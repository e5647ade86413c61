/* SPDX-License-Identifier: Apache-2.0
 *
 * A session's queue within a transaction: entries that came are gathered until
 * its end, and written many a row, or in rows of queue, in the order of their keys;
 * what ended by then is not written.  Of those of segments that ended a bit is set
 * in memory, and what is left of each segment written once; rows of queue that ended
 * are deleted a run at once.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/impl.h"

/* Lanes whose memory is kept for the next transaction, and how much each. */
#define LANES_MIN  64u
#define LANES_KEEP 8192u
#define LANES_FEW  16u
#define LANE_MIN   8u
#define LANE_KEEP  256u /* where there are more than a few */

/* A larger row than store.row_bytes takes pages of its own besides the one with
 * its key, so such are made only where there is enough for several. */
#define PAGES_WORTH 4u

struct waiting {
	uint64_t seq;
	const struct store_rec *r; /* NULL: it ended, or is written */
	uint16_t pid;
	uint8_t state;
	bool row; /* of queue, not part of a segment */
};

/* A segment on disk that is not any more as it is there. */
struct touched {
	uint64_t first;
	uint32_t n, gone;
	uint64_t file, len; /* of its bytes; file 0: they are in the row */
	bool noted;	    /* some were gone before */
	bool dirty;
	uint8_t bits[SEGMENT_BITS];
};

struct lane {
	uint64_t session;
	struct waiting *v; /* to be written */
	struct touched *t; /* by first */
	uint64_t *e;	   /* keys of rows that ended */
	uint32_t n, cap, n_t, cap_t, n_e, cap_e;
	uint32_t rows;	    /* of v, and still to be written */
	uint32_t v_from;    /* those before were shifted away */
	uint64_t seg_from;  /* no segment below has any left */
	uint64_t gap, over; /* no segment has a key from gap to before over */
	bool unsorted;
};

/* Memory. */

static uint32_t *
slot_of(const struct lanes *l, uint64_t session)
{
	uint32_t mask = l->cap * 2 - 1;
	uint64_t i = session * 0x9e3779b97f4a7c15ull >> 32;

	while (l->at[i & mask] && l->v[l->at[i & mask] - 1].session != session)
		i++;
	return &l->at[i & mask];
}

static enum nj_err
lanes_grow(struct lanes *l)
{
	uint32_t cap = l->cap ? l->cap * 2 : LANES_MIN;
	uint32_t *at = calloc((size_t)cap * 2, sizeof *at);
	struct lane *v = realloc(l->v, cap * sizeof *v);

	if (v) {
		memset(v + l->cap, 0, (cap - l->cap) * sizeof *v);
		l->v = v;
	}
	if (!v || !at) {
		free(at);
		return NJ_NOMEM;
	}
	free(l->at);
	l->at = at;
	l->cap = cap;
	for (uint32_t i = 0; i < l->n; i++)
		*slot_of(l, l->v[i].session) = i + 1;
	return NJ_OK;
}

/* NULL: the transaction has done nothing to that session's. */
static struct lane *
lane_find(const struct lanes *l, uint64_t session)
{
	uint32_t at;

	if (l->n == 0)
		return NULL;
	if (l->v[l->last].session == session)
		return &l->v[l->last];
	at = *slot_of(l, session);
	return at ? &l->v[at - 1] : NULL;
}

static enum nj_err
lane_of(struct store *s, uint64_t session, struct lane **out)
{
	struct lanes *l = &s->lanes;
	struct lane *lane = lane_find(l, session);
	enum nj_err e;

	if (!lane) {
		if (l->n == l->cap && (e = lanes_grow(l)))
			return e;
		lane = &l->v[l->n++];
		lane->session = session;
		*slot_of(l, session) = l->n;
	}
	l->last = (uint32_t)(lane - l->v);
	*out = lane;
	return NJ_OK;
}

static void
lane_fini(struct lane *l)
{
	free(l->v);
	free(l->t);
	free(l->e);
	*l = (struct lane){ .session = 0 };
}

/* As if the transaction had done nothing to it; with its memory. */
static void
lane_clear(struct lane *l, uint64_t session)
{
	*l = (struct lane){ .session = session,
		.v = l->v,
		.cap = l->cap,
		.t = l->t,
		.cap_t = l->cap_t,
		.e = l->e,
		.cap_e = l->cap_e };
}

void
lanes_fini(struct lanes *l)
{
	for (uint32_t i = 0; i < l->cap; i++)
		lane_fini(&l->v[i]);
	free(l->v);
	free(l->at);
	*l = (struct lanes){ .n = 0 };
}

void
lanes_clear(struct lanes *l)
{
	if (l->cap > LANES_KEEP) {
		lanes_fini(l);
		return;
	}
	for (uint32_t i = 0; i < l->n; i++) {
		struct lane *x = &l->v[i];

		if (l->n > LANES_FEW &&
		    x->cap + x->cap_t + x->cap_e > LANE_KEEP)
			lane_fini(x);
		else
			lane_clear(x, 0);
	}
	if (l->n > 0)
		memset(l->at, 0, (size_t)l->cap * 2 * sizeof *l->at);
	l->n = l->last = 0;
}

/* What is to be written. */

static uint32_t
larger(uint32_t cap)
{
	return cap ? cap * 2 : LANE_MIN;
}

enum nj_err
lane_add(struct store *s, const struct store_rec *r, bool row)
{
	struct waiting *v;
	struct lane *l;
	enum nj_err e;

	if ((e = lane_of(s, r->session, &l)))
		return e;
	if (l->n == l->cap) {
		if (!(v = realloc(l->v, larger(l->cap) * sizeof *v)))
			return NJ_NOMEM;
		l->v = v;
		l->cap = larger(l->cap);
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

static void
sort(struct lane *l)
{
	if (!l->unsorted)
		return;
	qsort(l->v, l->n, sizeof *l->v, by_seq);
	l->unsorted = false;
	l->v_from = 0; /* what came late may be before it */
}

/* It is not to be written any more. */
static void
leave_out(struct lane *l, struct waiting *w)
{
	l->rows -= w->r && w->row;
	w->r = NULL;
}

static struct waiting *
waiting_find(struct lane *l, uint64_t seq)
{
	uint32_t from = 0, to = l->n;

	sort(l);
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

/* What is on disk. */

static sqlite3_stmt *
bind2(struct store *s, enum statement which, uint64_t a, uint64_t b)
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
	sqlite3_stmt *st = bind2(s, which, session, key);
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
		if (!(v = realloc(v, larger(l->cap_t) * sizeof *v)))
			return NJ_NOMEM;
		l->t = v;
		l->cap_t = larger(l->cap_t);
	}
	assert(v);
	memmove(&v[at + 1], &v[at], (l->n_t - at) * sizeof *v);
	v[at] = *t;
	l->n_t++;
	*out = &v[at];
	return NJ_OK;
}

/* The segment that has a key; NULL: none. */
static enum nj_err
touch(struct store *s, struct lane *l, uint64_t key, struct touched **out)
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

static bool
is_gone(const struct touched *t, uint32_t i)
{
	return t->bits[i / 8] >> i % 8 & 1;
}

static void
strike(struct touched *t, uint32_t i)
{
	t->bits[i / 8] |= (uint8_t)(1 << i % 8);
	t->gone++;
	t->dirty = true;
}

/* A row of queue ended. */
static enum nj_err
end_row(struct lane *l, uint64_t seq)
{
	uint64_t *e;

	if (l->n_e == l->cap_e) {
		if (!(e = realloc(l->e, larger(l->cap_e) * sizeof *e)))
			return NJ_NOMEM;
		l->e = e;
		l->cap_e = larger(l->cap_e);
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
		leave_out(l, w);
		return NJ_OK;
	}
	if ((e = touch(s, l, seq, &t)))
		return e;
	/* what is gone from it may have become a row */
	if (!t || is_gone(t, (uint32_t)(seq - t->first)))
		return end_row(l, seq);
	strike(t, (uint32_t)(seq - t->first));
	return NJ_OK;
}

/* The message of an entry as a new one; it has its bytes from a row. */
static enum nj_err
read_entry(struct store *s, uint64_t session, const struct touched *t,
    uint32_t i, struct store_rec *r)
{
	sqlite3_stmt *st = bind2(s, ST_SEG_DATA, session, t->first);
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
	if ((e = touch(s, l, r->seq, &t)))
		return e;
	if (!t || is_gone(t, (uint32_t)(r->seq - t->first))) {
		*is_row = true;
		return NJ_OK;
	}
	row.text = NULL;
	row.text_len = 0;
	row.msg = NULL;
	e = read_entry(s, r->session, t, (uint32_t)(r->seq - t->first), &row);
	if (e == NJ_MALFORMED &&
	    (sqlite3_errcode(s->db) & 0xff) != SQLITE_CORRUPT)
		/* its bytes are damaged: no client gets it in any state, and
		 * what is for others is written all the same */
		e = NJ_OK;
	else if (!e && !(e = apply_entry(s, &row, true)))
		strike(t, (uint32_t)(r->seq - t->first));
	if (row.msg)
		s->opts.msgs->unref(row.msg);
	free(row.text);
	return e;
}

/* The oldest that is left in a segment; t NULL: there is none. */
static enum nj_err
oldest(struct store *s, struct lane *l, struct touched **t, uint32_t *i)
{
	struct touched found;
	enum nj_err e;
	bool there;

	for (;;) {
		if ((e = look(s, ST_SEG_NEXT, l->session, l->seg_from, &found,
			 &there)))
			return e;
		*t = NULL;
		if (!there)
			return NJ_OK;
		if ((e = touch(s, l, found.first, t)) || !*t)
			return e ? e : NJ_MALFORMED;
		for (*i = 0; *i < (*t)->n; ++*i)
			if (!is_gone(*t, *i))
				return NJ_OK;
		l->seg_from = (*t)->first + (*t)->n;
	}
}

static enum nj_err
oldest_row(struct store *s, uint64_t session, uint64_t *seq)
{
	sqlite3_stmt *st = sql_get(s, ST_QUEUE_OLDEST);
	int rc;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)session);
	if ((rc = sqlite3_step(st)) == SQLITE_ROW)
		*seq = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return sql_err(rc);
}

static int
by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Rows that ended, as many at once as follow on each other. */
static enum nj_err
write_ended(struct store *s, struct lane *l)
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

static enum nj_err
write_entry(struct store *s, struct lane *l, struct waiting *w)
{
	struct store_rec row = *w->r;

	row.pid = w->pid;
	row.state = w->state;
	leave_out(l, w);
	return apply_entry(s, &row, false);
}

enum nj_err
lane_rows(struct store *s, uint64_t session)
{
	struct lane *l = lane_find(&s->lanes, session);
	enum nj_err e;

	if (!l)
		return NJ_OK;
	if ((e = write_ended(s, l)))
		return e;
	/* those that were not written yet are the last ones */
	for (uint32_t i = l->n; l->rows > 0; i--)
		if (l->v[i - 1].r && l->v[i - 1].row &&
		    (e = write_entry(s, l, &l->v[i - 1])))
			return e;
	return NJ_OK;
}

enum nj_err
lane_shift(struct store *s, uint64_t session)
{
	uint64_t seg, row = UINT64_MAX, new = UINT64_MAX;
	struct touched *t;
	struct lane *l;
	uint32_t i = 0;
	enum nj_err e;

	if ((e = lane_rows(s, session)) || (e = lane_of(s, session, &l)) ||
	    (e = oldest(s, l, &t, &i)) || (e = oldest_row(s, session, &row)))
		return e;
	sort(l);
	while (l->v_from < l->n && !l->v[l->v_from].r)
		l->v_from++;
	if (l->v_from < l->n)
		new = l->v[l->v_from].seq;
	seg = t ? t->first + i : UINT64_MAX;
	if (row < seg && row < new)
		return apply_entries_end(s, session, row, row);
	if (seg < new)
		strike(t, i);
	else if (l->v_from < l->n)
		leave_out(l, &l->v[l->v_from]);
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

/* The end of the transaction. */

static enum nj_err
write_touched(struct store *s, const struct lane *l, const struct touched *t)
{
	sqlite3_stmt *st;
	enum nj_err e;

	if (t->gone < t->n) {
		st = bind2(s, ST_GONE, l->session, t->first);
		sqlite3_bind_int64(st, 3, t->gone);
		sql_bind_slice(st, 4, slice_of(t->bits, (t->n + 7) / 8));
		return sql_run(s, ST_GONE);
	}
	bind2(s, ST_SEG_END, l->session, t->first);
	if ((e = sql_run(s, ST_SEG_END)))
		return e;
	data_drop(s, t->file, t->len);
	if (!t->noted)
		return NJ_OK;
	bind2(s, ST_GONE_END, l->session, t->first);
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
	st = bind2(s, ST_SEG, l->session, w->seq);
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
	if ((e = write_ended(s, l)))
		return e;
	sort(l);
	for (uint32_t i = 0; i < l->n; i = end) {
		end = i + 1;
		if (!l->v[i].r)
			continue;
		if (l->v[i].row) {
			if ((e = write_entry(s, l, &l->v[i])))
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
