/* SPDX-License-Identifier: Apache-2.0
 *
 * Records become rows; those of queues at the end of the transaction, lane.c.  A
 * message that several need is one row, however many rows name it: how many do is
 * summed up over the transaction and written at its end.  One that only one queue
 * needs is part of that.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/impl.h"

#define REFS_MIN 256u

/* Its slot, or the free one where it belongs. */
static uint32_t *
slot_of(const struct refs *r, uint64_t id)
{
	uint32_t mask = r->cap * 2 - 1;
	uint64_t i = id * 0x9e3779b97f4a7c15ull >> 32;

	while (r->at[i & mask] && r->v[r->at[i & mask] - 1].id != id)
		i++;
	return &r->at[i & mask];
}

static enum nj_err
refs_grow(struct refs *r)
{
	uint32_t cap = r->cap ? r->cap * 2 : REFS_MIN;
	uint32_t *at = calloc((size_t)cap * 2, sizeof *at);
	struct ref *v = realloc(r->v, cap * sizeof *v);

	if (v)
		r->v = v;
	if (!v || !at) {
		free(at);
		return NJ_NOMEM;
	}
	free(r->at);
	r->at = at;
	r->cap = cap;
	for (uint32_t i = 0; i < r->n; i++)
		*slot_of(r, r->v[i].id) = i + 1;
	return NJ_OK;
}

void
refs_fini(struct refs *r)
{
	free(r->v);
	free(r->at);
	*r = (struct refs){ 0 };
}

void
refs_clear(struct refs *r)
{
	if (r->cap > REFS_MIN * 64)
		refs_fini(r);
	else if (r->n > 0)
		memset(r->at, 0, (size_t)r->cap * 2 * sizeof *r->at);
	r->n = 0;
}

static enum nj_err
refs_add(struct refs *r, uint64_t id, int delta, void *msg)
{
	struct ref *ref;
	uint32_t *at;
	enum nj_err e;

	if (id == 0)
		return NJ_OK;
	if (r->n == r->cap && (e = refs_grow(r)))
		return e;
	at = slot_of(r, id);
	if (!*at) {
		r->v[r->n++] = (struct ref){ .id = id };
		*at = r->n;
	}
	ref = &r->v[*at - 1];
	ref->delta += delta;
	if (msg)
		ref->msg = msg;
	return NJ_OK;
}

enum nj_err
apply_dropping(struct store *s, enum statement which)
{
	sqlite3_stmt *st = sql_get(s, which);
	enum nj_err e = NJ_OK;
	int rc;

	while ((rc = sqlite3_step(st)) == SQLITE_ROW && !e)
		e = refs_add(
		    &s->refs, (uint64_t)sqlite3_column_int64(st, 0), -1, NULL);
	sqlite3_reset(st);
	return e ? e : sql_err(rc);
}

static sqlite3_stmt *
bind1(struct store *s, enum statement which, uint64_t a)
{
	sqlite3_stmt *st = sql_get(s, which);

	sqlite3_bind_int64(st, 1, (sqlite3_int64)a);
	return st;
}

static sqlite3_stmt *
bind2(struct store *s, enum statement which, uint64_t a, uint64_t b)
{
	sqlite3_stmt *st = bind1(s, which, a);

	sqlite3_bind_int64(st, 2, (sqlite3_int64)b);
	return st;
}

static enum nj_err
put_session(struct store *s, const struct store_rec *r)
{
	sqlite3_stmt *st = bind1(s, ST_SESSION, r->session);
	uint32_t mount = r->name_len + r->user_len, who = mount + r->mount_len;

	sql_bind_slice(st, 2, slice_of(r->text, r->name_len));
	sql_bind_slice(st, 3, slice_of(r->text + r->name_len, r->user_len));
	sql_bind_slice(st, 7, slice_of(r->text + mount, r->mount_len));
	sql_bind_slice(st, 8, slice_of(r->text + who, r->text_len - who));
	sqlite3_bind_int(st, 4, r->version);
	sqlite3_bind_int64(st, 5, r->expiry_s);
	sqlite3_bind_int64(st, 6, r->at_ms);
	return sql_run(s, ST_SESSION);
}

enum nj_err
apply_session_end(struct store *s, uint64_t session)
{
	enum nj_err e;

	bind1(s, ST_SESSION_END, session);
	bind1(s, ST_SUBS_END, session);
	bind1(s, ST_RECEIVED_END, session);
	bind1(s, ST_QUEUES_END, session);
	if ((e = lane_session_end(s, session)) ||
	    (e = apply_dropping(s, ST_SESSION_END)) ||
	    (e = sql_run(s, ST_SUBS_END)) || (e = sql_run(s, ST_RECEIVED_END)))
		return e;
	return apply_dropping(s, ST_QUEUES_END);
}

static enum nj_err
put_sent(struct store *s, const struct store_rec *r)
{
	bind2(s, ST_SENT, r->session, r->seq);
	return sql_run(s, ST_SENT);
}

static enum nj_err
end_session(struct store *s, const struct store_rec *r)
{
	return apply_session_end(s, r->session);
}

/* How it is stored, as one that has a row. */
static void
describe(struct store *s, void *msg, struct store_body *body)
{
	*body = (struct store_body){ .id = 0 };
	s->opts.msgs->describe(s->opts.arg, msg, body);
	if (body->id == 0)
		body->id = s->opts.msgs->name(s->opts.arg, msg);
}

/* A will's message is named by its session, if there is one: there may have been
 * no memory to record that it began. */
static enum nj_err
put_will(struct store *s, const struct store_rec *r)
{
	struct store_body body;
	sqlite3_stmt *st;
	enum nj_err e;

	bind1(s, ST_WILL_GET, r->session);
	if ((e = apply_dropping(s, ST_WILL_GET)))
		return e;
	describe(s, r->msg, &body);
	st = bind2(s, ST_WILL, r->session, body.id);
	sqlite3_bind_int64(st, 3, r->option);
	sqlite3_bind_int64(st, 4, r->expiry_s);
	if ((e = sql_run(s, ST_WILL)) || sqlite3_changes(s->db) == 0)
		return e;
	return refs_add(&s->refs, body.id, 1, r->msg);
}

/* It may have another by now: the end of one goes to disk together with what
 * other shards record of it, and CONNECT does not wait for that. */
static enum nj_err
end_will(struct store *s, const struct store_rec *r)
{
	struct store_body body;

	describe(s, r->msg, &body);
	bind2(s, ST_WILL_END, r->session, body.id);
	return apply_dropping(s, ST_WILL_END);
}

static enum nj_err
put_sub(struct store *s, const struct store_rec *r)
{
	sqlite3_stmt *st = bind1(s, ST_SUB, r->session);

	sql_bind_slice(st, 2, slice_of(r->text, r->text_len));
	sqlite3_bind_int64(st, 3, r->option);
	sqlite3_bind_int(st, 4, r->share);
	return sql_run(s, ST_SUB);
}

static enum nj_err
end_sub(struct store *s, const struct store_rec *r)
{
	sqlite3_stmt *st = bind1(s, ST_SUB_END, r->session);

	sql_bind_slice(st, 2, slice_of(r->text, r->text_len));
	return sql_run(s, ST_SUB_END);
}

/* qos 2 bits, retain 1, free 1, state 4, share 8 */
static int
flags_of(const struct store_rec *r)
{
	return r->qos | r->retain << 2 | r->state << 4 | r->share << 8;
}

static enum nj_err
put_msg(
    struct store *s, const struct store_body *body, int64_t refs, int64_t now_s)
{
	sqlite3_stmt *st = bind2(s, ST_MSG, body->id, (uint64_t)refs);

	sqlite3_bind_int(st, 3, body->topic_len);
	sqlite3_bind_int64(st, 4, body->payload_len);
	sqlite3_bind_int(
	    st, 5, body->qos | body->retain << 2 | body->source << 3);
	sqlite3_bind_int64(st, 6, body->expires_ms);
	sql_bind_slice(st, 7, body->bytes);
	sqlite3_bind_int64(st, 8, body->stored_s ? body->stored_s : now_s);
	return sql_run(s, ST_MSG);
}

enum nj_err
apply_entry(struct store *s, const struct store_rec *r, bool now)
{
	struct store_body body;
	sqlite3_stmt *st;
	enum nj_err e;

	describe(s, r->msg, &body);
	e = now ? put_msg(s, &body, 1, time(NULL))
		: refs_add(&s->refs, body.id, 1, r->msg);
	if (e)
		return e;
	st = bind2(s, ST_QUEUE, r->session, r->seq);
	sqlite3_bind_int(st, 3, r->pid);
	sqlite3_bind_int(st, 4, flags_of(r));
	if (r->text_len)
		sql_bind_slice(st, 5, slice_of(r->text, r->text_len));
	else
		sqlite3_bind_null(st, 5);
	sqlite3_bind_int64(st, 6, (sqlite3_int64)body.id);
	sqlite3_bind_int64(st, 7, (sqlite3_int64)body.bytes.n);
	return sql_run(s, ST_QUEUE);
}

/* No other record beside it has the same message: those of one that goes to
 * several are made one after the other. */
static bool
is_alone(const struct store_batch *b, const struct store_rec *r)
{
	const struct store_rec *at = r;

	while (at-- > b->v)
		if (at->msg) {
			if (at->msg == r->msg)
				return false;
			break;
		}
	for (at = r + 1; at < b->v + b->n; at++)
		if (at->msg)
			return at->msg != r->msg;
	return true;
}

static enum nj_err
put_queue(struct store *s, const struct store_rec *r)
{
	struct store_body body = { 0 };
	bool row;

	s->opts.msgs->describe(s->opts.arg, r->msg, &body);
	row = body.id != 0 || !segment_fits(r, &body) ||
	    !is_alone(s->applying, r);
	/* by that whoever needs it, too, knows that it has a row */
	if (row && body.id == 0)
		(void)s->opts.msgs->name(s->opts.arg, r->msg);
	return lane_add(s, r, row);
}

static enum nj_err
put_queue_state(struct store *s, const struct store_rec *r)
{
	sqlite3_stmt *st;
	bool row;
	enum nj_err e = lane_state(s, r, &row);

	if (e || !row)
		return e;
	st = bind2(s, ST_QUEUE_STATE, r->session, r->seq);
	sqlite3_bind_int(st, 3, r->pid);
	sqlite3_bind_int(st, 4, r->state << 4);
	return sql_run(s, ST_QUEUE_STATE);
}

static enum nj_err
end_queue(struct store *s, const struct store_rec *r)
{
	return lane_end(s, r->session, r->seq);
}

enum nj_err
apply_entries_end(
    struct store *s, uint64_t session, uint64_t first, uint64_t last)
{
	sqlite3_stmt *st = bind2(s, ST_QUEUE_MSGS, session, first);
	enum nj_err e;

	sqlite3_bind_int64(st, 3, (sqlite3_int64)last);
	if ((e = apply_dropping(s, ST_QUEUE_MSGS)))
		return e;
	st = bind2(s, ST_QUEUE_END, session, first);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)last);
	return sql_run(s, ST_QUEUE_END);
}

static enum nj_err
shift_queue(struct store *s, const struct store_rec *r)
{
	return lane_shift(s, r->session, r->seq);
}

static enum nj_err
end_share(struct store *s, const struct store_rec *r)
{
	enum nj_err e = lane_rows(s, r->session);

	if (e)
		return e;
	bind2(s, ST_SHARE_END, r->session, r->share);
	return sql_run(s, ST_SHARE_END);
}

/* Whether a change of this order comes after what is there; what is there is
 * dropped then. */
static enum nj_err
retain_turn(struct store *s, struct slice topic, uint64_t order, bool *mine)
{
	sqlite3_stmt *st = sql_get(s, ST_RETAIN_GET);
	enum nj_err e = NJ_OK;
	int rc;

	*mine = true;
	sql_bind_slice(st, 1, topic);
	if ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		*mine = (uint64_t)sqlite3_column_int64(st, 0) < order;
		if (*mine)
			e = refs_add(&s->refs,
			    (uint64_t)sqlite3_column_int64(st, 1), -1, NULL);
	}
	sqlite3_reset(st);
	return e ? e : sql_err(rc);
}

static enum nj_err
put_retain(struct store *s, const struct store_rec *r)
{
	struct slice topic = slice_of(r->text, r->text_len);
	struct store_body body = { 0 };
	sqlite3_stmt *st;
	enum nj_err e;
	bool mine;

	if (r->msg) {
		describe(s, r->msg, &body);
		topic = slice_of(body.bytes.p + 2, body.topic_len);
	}
	if ((e = retain_turn(s, topic, r->seq, &mine)) || !mine)
		return e;
	if (r->msg && (e = refs_add(&s->refs, body.id, 1, r->msg)))
		return e;
	if (r->seq > s->order)
		s->order = r->seq;
	st = sql_get(s, ST_RETAIN);
	sql_bind_slice(st, 1, topic);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)r->seq);
	if (r->msg) {
		sqlite3_bind_int64(st, 3, (sqlite3_int64)body.id);
	} else {
		sqlite3_bind_null(st, 3);
		s->tombs++;
	}
	return sql_run(s, ST_RETAIN);
}

static enum nj_err
nothing(struct store *s, const struct store_rec *r)
{
	(void)s;
	(void)r;
	return NJ_OK;
}

static enum nj_err
put_received(struct store *s, const struct store_rec *r)
{
	bind2(s, ST_RECEIVED, r->session, r->pid);
	return sql_run(s, ST_RECEIVED);
}

static enum nj_err
end_received(struct store *s, const struct store_rec *r)
{
	bind2(s, ST_RELEASED, r->session, r->pid);
	return sql_run(s, ST_RELEASED);
}

static enum nj_err (*const appliers[REC_KINDS])(
    struct store *s, const struct store_rec *r) = {
	[REC_NONE] = nothing,
	[REC_SESSION] = put_session,
	[REC_SENT] = put_sent,
	[REC_SESSION_END] = end_session,
	[REC_WILL] = put_will,
	[REC_WILL_END] = end_will,
	[REC_SUB] = put_sub,
	[REC_SUB_END] = end_sub,
	[REC_RECEIVED] = put_received,
	[REC_RELEASED] = end_received,
	[REC_QUEUE] = put_queue,
	[REC_QUEUE_STATE] = put_queue_state,
	[REC_QUEUE_END] = end_queue,
	[REC_QUEUE_SHIFT] = shift_queue,
	[REC_SHARE_END] = end_share,
	[REC_RETAIN] = put_retain,
	[REC_RETAIN_END] = put_retain,
};

enum nj_err
apply_batch(struct store *s, const struct store_batch *b)
{
	enum nj_err e;

	s->applying = b;
	for (uint32_t i = 0; i < b->n; i++)
		if ((e = appliers[b->v[i].kind](s, &b->v[i])))
			return e;
	return NJ_OK;
}

static enum nj_err
drop_refs(struct store *s, const struct ref *r)
{
	sqlite3_stmt *st = bind1(s, ST_MSG_LEFT, r->id);
	int rc = sqlite3_step(st);
	bool there = rc == SQLITE_ROW;
	int64_t left = there ? sqlite3_column_int64(st, 0) + r->delta : 0;

	sqlite3_reset(st);
	if (!there)
		return sql_err(rc);
	if (left > 0) {
		bind2(s, ST_MSG_REFS, r->id, (uint64_t)r->delta);
		return sql_run(s, ST_MSG_REFS);
	}
	bind1(s, ST_MSG_GC, r->id);
	return sql_run(s, ST_MSG_GC);
}

enum nj_err
apply_refs(struct store *s)
{
	int64_t now_s = time(NULL); /* for people who ask how old it is */
	enum nj_err e;

	for (uint32_t i = 0; i < s->refs.n; i++) {
		const struct ref *r = &s->refs.v[i];
		struct store_body body;

		if (r->delta == 0)
			continue;
		if (r->delta > 0) {
			describe(s, r->msg, &body);
			e = put_msg(s, &body, r->delta, now_s);
		} else {
			e = drop_refs(s, r);
		}
		if (e)
			return e;
	}
	return NJ_OK;
}
