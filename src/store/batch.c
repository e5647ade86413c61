/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/giveback.h"

#define BATCH_MIN 32u
/* A batch that was once large gives its memory back. */
#define BATCH_KEEP 4096u

enum nj_err
batch_new(const struct store_msg_ops *ops, struct store_batch **out)
{
	struct store_batch *b = calloc(1, sizeof *b);

	if (!b)
		return NJ_NOMEM;
	b->unref = ops->unref;
	*out = b;
	return NJ_OK;
}

void
batch_init(const struct store_msg_ops *ops, struct store_batch *b)
{
	*b = (struct store_batch){ .unref = ops->unref };
}

static void
rec_fini(const struct store_batch *b, struct store_rec *r)
{
	if (r->msg)
		b->unref(r->msg);
	free(r->text);
	*r = (struct store_rec){ .kind = REC_NONE };
}

void
batch_clear(struct store_batch *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		rec_fini(b, &b->v[i]);
	b->n = b->live = b->idle = 0;
	b->bytes = 0;
	if (b->cap > BATCH_KEEP) {
		free(b->v);
		b->v = NULL;
		b->cap = 0;
	}
}

bool
batch_clear_some(struct store_batch *b, uint32_t *left)
{
	uint32_t n = b->n;

	for (; b->n > 0 && *left > 0; --*left)
		rec_fini(b, &b->v[--b->n]);
	/* to free all of a large one at once takes as long as the rest */
	if (b->cap > BATCH_KEEP && n > 0)
		giveback_pages(b->v + b->n, b->v + n);
	if (b->n > 0)
		return false;
	batch_clear(b);
	return true;
}

void
batch_fini(struct store_batch *b)
{
	batch_clear(b);
	free(b->v);
}

void
batch_free(struct store_batch *b)
{
	if (!b)
		return;
	batch_fini(b);
	free(b);
}

enum nj_err
batch_reserve(struct store_batch *b, uint32_t more)
{
	uint32_t cap = b->cap ? b->cap : BATCH_MIN;
	struct store_rec *v;

	if (b->cap - b->n >= more)
		return NJ_OK;
	while (cap - b->n < more)
		cap *= 2;
	if (!(v = realloc(b->v, cap * sizeof *v)))
		return NJ_NOMEM;
	b->v = v;
	b->cap = cap;
	return NJ_OK;
}

/* One behind the other; NULL: neither has anything. */
static enum nj_err
join(struct slice head, struct slice tail, uint8_t **out)
{
	size_t n = head.n + tail.n;

	*out = NULL;
	if (n == 0)
		return NJ_OK;
	if (!(*out = malloc(n)))
		return NJ_NOMEM;
	if (head.n)
		memcpy(*out, head.p, head.n);
	if (tail.n)
		memcpy(*out + head.n, tail.p, tail.n);
	return NJ_OK;
}

static void
set(struct store_batch *b, struct store_rec *to, const struct store_rec *r,
    struct slice head, struct slice tail, uint8_t *text)
{
	*to = *r;
	to->text = text;
	to->name_len = (uint16_t)head.n;
	to->text_len = (uint32_t)(head.n + tail.n);
	b->bytes += sizeof *to + to->text_len;
}

static enum nj_err
add(struct store_batch *b, const struct store_rec *r, struct slice head,
    struct slice tail)
{
	uint8_t *text;
	enum nj_err e;

	if ((e = batch_reserve(b, 1)) || (e = join(head, tail, &text)))
		return e;
	set(b, &b->v[b->n++], r, head, tail, text);
	b->live++;
	b->idle += r->kind == REC_QUEUE_END;
	return NJ_OK;
}

/* In the place of the one at *at, if that is of the same kind and session. */
static enum nj_err
add_at(struct store_batch *b, const struct store_rec *r, struct slice head,
    struct slice tail, uint32_t *at)
{
	struct store_rec *old = *at < b->n ? &b->v[*at] : NULL;
	uint8_t *text;
	enum nj_err e;

	if (!old || old->kind != r->kind || old->session != r->session) {
		if (!(e = add(b, r, head, tail)))
			*at = b->n - 1;
		return e;
	}
	if ((e = join(head, tail, &text)))
		return e;
	b->bytes -= sizeof *old + old->text_len;
	free(old->text);
	set(b, old, r, head, tail, text);
	return NJ_OK;
}

/* For records with a message: its reference goes wherever this ends. */
static enum nj_err
add_msg(struct store_batch *b, const struct store_rec *r, struct slice head)
{
	enum nj_err e = add(b, r, head, SLICE_NONE);

	if (e)
		b->unref(r->msg);
	return e;
}

enum nj_err
batch_session_at(
    struct store_batch *b, const struct store_session *s, uint32_t *at)
{
	const struct slice parts[] = { s->user, s->mount, s->who };
	uint8_t *rest = NULL;
	size_t n = s->user.n + s->mount.n + s->who.n, to = 0;
	enum nj_err e;

	if (n > 0 && !(rest = malloc(n)))
		return NJ_NOMEM;
	for (unsigned i = 0; i < 3; to += parts[i++].n)
		if (rest && parts[i].n > 0)
			memcpy(rest + to, parts[i].p, parts[i].n);
	e = add_at(b,
	    &(struct store_rec){
		.kind = REC_SESSION,
		.session = s->id,
		.version = s->version,
		.expiry_s = s->expiry_s,
		.at_ms = s->offline_ms,
		.user_len = (uint16_t)s->user.n,
		.mount_len = (uint16_t)s->mount.n,
	    },
	    s->client, slice_of(rest, n), at);
	free(rest);
	return e;
}

enum nj_err
batch_session(struct store_batch *b, const struct store_session *s)
{
	uint32_t at = UINT32_MAX;

	return batch_session_at(b, s, &at);
}

enum nj_err
batch_sent_at(
    struct store_batch *b, uint64_t session, uint64_t seq, uint32_t *at)
{
	return add_at(b,
	    &(struct store_rec){
		.kind = REC_SENT, .session = session, .seq = seq },
	    SLICE_NONE, SLICE_NONE, at);
}

enum nj_err
batch_sent(struct store_batch *b, uint64_t session, uint64_t seq)
{
	uint32_t at = UINT32_MAX;

	return batch_sent_at(b, session, seq, &at);
}

enum nj_err
batch_session_end(struct store_batch *b, uint64_t session)
{
	return add(b,
	    &(struct store_rec){ .kind = REC_SESSION_END, .session = session },
	    SLICE_NONE, SLICE_NONE);
}

enum nj_err
batch_will_at(struct store_batch *b, uint64_t session, uint32_t delay_s,
    uint32_t expiry_s, void *msg, uint32_t *at)
{
	struct store_rec r = {
		.kind = REC_WILL,
		.session = session,
		.option = delay_s,
		.expiry_s = expiry_s,
		.msg = msg,
	};
	enum nj_err e;

	if (*at < b->n && b->v[*at].kind == REC_NONE) {
		b->bytes -= sizeof r;
		set(b, &b->v[*at], &r, SLICE_NONE, SLICE_NONE, NULL);
		b->live++;
		return NJ_OK;
	}
	if (!(e = add_msg(b, &r, SLICE_NONE)))
		*at = b->n - 1;
	return e;
}

enum nj_err
batch_will(struct store_batch *b, uint64_t session, uint32_t delay_s,
    uint32_t expiry_s, void *msg)
{
	uint32_t at = UINT32_MAX;

	return batch_will_at(b, session, delay_s, expiry_s, msg, &at);
}

enum nj_err
batch_will_end(struct store_batch *b, uint64_t session, void *msg)
{
	return add_msg(b,
	    &(struct store_rec){
		.kind = REC_WILL_END,
		.session = session,
		.msg = msg,
	    },
	    SLICE_NONE);
}

enum nj_err
batch_sub(struct store_batch *b, const struct store_sub *s)
{
	return add(b,
	    &(struct store_rec){
		.kind = REC_SUB,
		.session = s->session,
		.option = s->options,
		.share = s->share,
	    },
	    s->filter, SLICE_NONE);
}

enum nj_err
batch_sub_end(struct store_batch *b, uint64_t session, struct slice filter)
{
	return add(b,
	    &(struct store_rec){ .kind = REC_SUB_END, .session = session },
	    filter, SLICE_NONE);
}

enum nj_err
batch_received(struct store_batch *b, uint64_t session, uint16_t pid)
{
	return add(b,
	    &(struct store_rec){
		.kind = REC_RECEIVED, .session = session, .pid = pid },
	    SLICE_NONE, SLICE_NONE);
}

enum nj_err
batch_released(struct store_batch *b, uint64_t session, uint16_t pid)
{
	return add(b,
	    &(struct store_rec){
		.kind = REC_RELEASED, .session = session, .pid = pid },
	    SLICE_NONE, SLICE_NONE);
}

enum nj_err
batch_queue(struct store_batch *b, const struct store_entry *e, uint32_t *at)
{
	enum nj_err err = add_msg(b,
	    &(struct store_rec){
		.kind = REC_QUEUE,
		.session = e->session,
		.seq = e->seq,
		.pid = e->pid,
		.qos = e->qos,
		.state = e->state,
		.retain = e->retain,
		.share = e->share,
		.msg = e->msg,
	    },
	    e->ids);

	if (!err)
		*at = b->n - 1;
	return err;
}

/* The record of the entry at that place; NULL: another one is there. */
static struct store_rec *
record_of(
    const struct store_batch *b, uint32_t at, uint64_t session, uint64_t seq)
{
	struct store_rec *r = at < b->n ? &b->v[at] : NULL;

	if (!r || (r->kind != REC_QUEUE && r->kind != REC_QUEUE_STATE) ||
	    r->session != session || r->seq != seq)
		return NULL;
	return r;
}

bool
batch_has(
    const struct store_batch *b, uint32_t at, uint64_t session, uint64_t seq)
{
	return record_of(b, at, session, seq) != NULL;
}

uint64_t
batch_leaves(const struct store_batch *b, uint64_t session, uint64_t from,
    uint64_t until)
{
	for (uint32_t i = 0; i < b->n && until > from; i++) {
		const struct store_rec *r = &b->v[i];

		if (r->session != session)
			continue;
		if (r->kind == REC_QUEUE_SHIFT || r->kind == REC_SHARE_END ||
		    r->kind == REC_SESSION_END)
			return from; /* it may be any of them */
		if ((r->kind == REC_QUEUE || r->kind == REC_QUEUE_STATE ||
			r->kind == REC_QUEUE_END) &&
		    r->seq >= from && r->seq < until)
			until = r->seq;
	}
	return until;
}

/* Its place stays until the batch goes, and counts. */
static void
take_out(struct store_batch *b, struct store_rec *r)
{
	b->bytes -= r->text_len;
	b->live--;
	rec_fini(b, r);
}

enum batch_had
batch_cancel(struct store_batch *b, uint32_t at, uint64_t session, uint64_t seq)
{
	struct store_rec *r = record_of(b, at, session, seq);
	enum batch_had had;

	if (!r)
		return BATCH_HAD_NOTHING;
	had = r->kind == REC_QUEUE ? BATCH_HAD_ENTRY : BATCH_HAD_STATE;
	take_out(b, r);
	return had;
}

bool
batch_will_cancel(
    struct store_batch *b, uint32_t at, uint64_t session, const void *msg)
{
	struct store_rec *r = at < b->n ? &b->v[at] : NULL;

	if (!r || r->kind != REC_WILL || r->session != session || r->msg != msg)
		return false;
	take_out(b, r);
	return true;
}

enum nj_err
batch_queue_state(struct store_batch *b, uint64_t session, uint64_t seq,
    uint16_t pid, uint8_t state, uint32_t *at)
{
	struct store_rec *r = record_of(b, *at, session, seq);
	enum nj_err e;

	if (r) {
		r->pid = pid;
		r->state = state;
		return NJ_OK;
	}
	e = add(b,
	    &(struct store_rec){
		.kind = REC_QUEUE_STATE,
		.session = session,
		.seq = seq,
		.pid = pid,
		.state = state,
	    },
	    SLICE_NONE, SLICE_NONE);
	if (!e)
		*at = b->n - 1;
	return e;
}

enum nj_err
batch_queue_shift(struct store_batch *b, uint64_t session, uint64_t from)
{
	return add(b,
	    &(struct store_rec){
		.kind = REC_QUEUE_SHIFT, .session = session, .seq = from },
	    SLICE_NONE, SLICE_NONE);
}

enum nj_err
batch_share_end(struct store_batch *b, uint64_t session, uint8_t share)
{
	return add(b,
	    &(struct store_rec){
		.kind = REC_SHARE_END, .session = session, .share = share },
	    SLICE_NONE, SLICE_NONE);
}

void
batch_append(struct store_batch *b, struct store_batch *from)
{
	assert(b->cap - b->n >= from->n);
	if (from->n)
		memcpy(b->v + b->n, from->v, from->n * sizeof *from->v);
	b->n += from->n;
	b->live += from->live;
	b->idle += from->idle;
	b->bytes += from->bytes;
	from->n = from->live = from->idle = 0;
	from->bytes = 0;
}

enum nj_err
batch_queue_end(struct store_batch *b, uint64_t session, uint64_t seq)
{
	return add(b,
	    &(struct store_rec){
		.kind = REC_QUEUE_END, .session = session, .seq = seq },
	    SLICE_NONE, SLICE_NONE);
}

enum nj_err
batch_retain(struct store_batch *b, uint64_t order, void *msg)
{
	return add_msg(b,
	    &(struct store_rec){ .kind = REC_RETAIN, .seq = order, .msg = msg },
	    SLICE_NONE);
}

enum nj_err
batch_retain_end(struct store_batch *b, uint64_t order, struct slice topic)
{
	return add(b,
	    &(struct store_rec){ .kind = REC_RETAIN_END, .seq = order }, topic,
	    SLICE_NONE);
}

enum nj_err
batch_retain_at(struct store_batch *b, uint64_t order, struct slice topic,
    void *msg, uint32_t *at, void **was)
{
	struct store_rec *old = *at < b->n ? &b->v[*at] : NULL;
	uint8_t *text;
	enum nj_err e;

	assert(!old ||
	    ((old->kind == REC_RETAIN || old->kind == REC_RETAIN_END) &&
		old->seq < order));
	*was = NULL;
	if (!old) {
		if (!(e = msg ? batch_retain(b, order, msg)
			      : batch_retain_end(b, order, topic)))
			*at = b->n - 1;
		return e;
	}
	if (msg)
		topic = SLICE_NONE;
	if ((e = join(topic, SLICE_NONE, &text))) {
		if (msg)
			b->unref(msg);
		return e;
	}
	*was = old->msg;
	b->bytes -= sizeof *old + old->text_len;
	free(old->text);
	set(b, old,
	    &(struct store_rec){
		.kind = msg ? REC_RETAIN : REC_RETAIN_END,
		.seq = order,
		.msg = msg,
	    },
	    topic, SLICE_NONE, text);
	return NJ_OK;
}
