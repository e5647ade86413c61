/* SPDX-License-Identifier: Apache-2.0
 */
#include "memory.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/walfile.h"

_Atomic long notes_alive;
static _Atomic uint64_t next_id = 1;

static struct note *
make(struct slice topic, struct slice payload)
{
	struct note *n = calloc(1, sizeof *n + 2 + topic.n + payload.n);

	if (!n)
		abort();
	n->refs = 1;
	n->topic_len = (uint32_t)topic.n;
	n->payload_len = (uint32_t)payload.n;
	n->bytes[0] = (uint8_t)(topic.n >> 8);
	n->bytes[1] = (uint8_t)topic.n;
	memcpy(n->bytes + 2, topic.p, topic.n);
	if (payload.n)
		memcpy(n->bytes + 2 + topic.n, payload.p, payload.n);
	notes_alive++;
	return n;
}

struct note *
note_new(const char *topic, const char *payload)
{
	return make(slice_str(topic), slice_str(payload));
}

struct note *
note_ref(struct note *n)
{
	n->refs++;
	return n;
}

void
note_unref(void *p)
{
	struct note *n = p;

	if (n && --n->refs == 0) {
		notes_alive--;
		free(n);
	}
}

static void
describe(void *arg, void *msg, struct store_body *out)
{
	const struct note *n = msg;

	(void)arg;
	*out = (struct store_body){
		.id = n->id,
		.topic_len = (uint16_t)n->topic_len,
		.payload_len = n->payload_len,
		.bytes = slice_of(n->bytes, 2 + n->topic_len + n->payload_len),
		.expires_ms = STORE_NEVER,
	};
}

static uint64_t
name(void *arg, void *msg)
{
	struct note *n = msg;

	(void)arg;
	if (n->id == 0)
		n->id = next_id++;
	return n->id;
}

static enum nj_err
remake(void *arg, const struct store_body *b, void **msg)
{
	struct note *n = make(slice_of(b->bytes.p + 2, b->topic_len),
	    slice_of(b->bytes.p + 2 + b->topic_len, b->payload_len));

	(void)arg;
	n->id = b->id;
	if (b->id >= next_id)
		next_id = b->id + 1;
	*msg = n;
	return NJ_OK;
}

const struct store_msg_ops note_ops = { describe, name, remake, note_unref };

void
model_fini(struct model *m)
{
	for (unsigned i = 0; i < MODEL_SESSIONS; i++) {
		note_unref(m->s[i].will);
		for (unsigned k = 0; k < MODEL_ENTRIES; k++)
			note_unref(m->s[i].queue[k].note);
	}
	for (unsigned i = 0; i < MODEL_TOPICS; i++)
		note_unref(m->retained[i]);
	*m = (struct model){ 0 };
}

static void
say(struct buf *out, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (buf_put_slice(out, slice_str(line)))
		abort();
}

static void
say_note(struct buf *out, const struct note *n)
{
	say(out, " '%.*s'", (int)(n->topic_len + n->payload_len),
	    (const char *)n->bytes + 2);
}

static void
say_entry(struct buf *out, unsigned s, const struct entry_model *e)
{
	say(out, "%u %llu p%u q%u s%u h%u r%d i%u", s,
	    (unsigned long long)e->seq, e->pid, e->qos, e->state, e->share,
	    e->retain, e->n_ids);
	say_note(out, e->note);
	say(out, "\n");
}

void
model_text(const struct model *m, struct buf *out)
{
	for (unsigned i = 0; i < MODEL_SESSIONS; i++) {
		const struct session_model *s = &m->s[i];

		if (!s->used)
			continue;
		say(out, "%u %s %s %u %lld", i, s->client, s->user, s->expiry_s,
		    (long long)s->offline_ms);
		if (s->will)
			say_note(out, s->will);
		for (unsigned k = 0; k < MODEL_SUBS; k++)
			say(out, " %u", s->sub[k]);
		for (unsigned k = 0; k < MODEL_PIDS; k++)
			say(out, " %d", s->received[k]);
		say(out, "\n");
		/* by seq: in flight first, as they are loaded */
		for (unsigned pass = 0; pass < 2; pass++)
			for (uint64_t q = 1; q <= s->seq; q++) {
				const struct entry_model *e =
				    &s->queue[q % MODEL_ENTRIES];

				if (e->note && e->seq == q &&
				    (e->pid == 0) == (pass == 1))
					say_entry(out, i, e);
			}
	}
	for (unsigned i = 0; i < MODEL_TOPICS; i++)
		if (m->retained[i]) {
			say(out, "retained");
			say_note(out, m->retained[i]);
			say(out, "\n");
		}
}

static void
on_done(void *arg, struct store_batch *batch)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->acked = batch->ticket;
	pthread_cond_broadcast(&b->change);
	pthread_mutex_unlock(&b->lock);
	batch_free(batch);
}

static void
on_paged(void *arg, struct store_read *r)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->page = r;
	pthread_cond_broadcast(&b->change);
	pthread_mutex_unlock(&b->lock);
}

static void
on_state(void *arg, enum store_state s, const char *why)
{
	struct bench *b = arg;

	(void)why;
	pthread_mutex_lock(&b->lock);
	b->state = s;
	pthread_cond_broadcast(&b->change);
	pthread_mutex_unlock(&b->lock);
}

uint32_t bench_data_min;
uint64_t bench_data_file;

enum nj_err
bench_open(
    struct bench *b, const char *path, const char *vfs, struct nj_why *why)
{
	struct store_opts o = {
		.path = path,
		.vfs = vfs,
		.msgs = &note_ops,
		.arg = b,
		.done = on_done,
		.paged = on_paged,
		.state = on_state,
		.retry_ms = 1,
		.data_min = bench_data_min,
		.data_file = bench_data_file,
	};

	*b = (struct bench){ 0 };
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->change, NULL);
	return store_open(&o, &b->store, why);
}

bool
bench_wait(struct bench *b, uint64_t ticket)
{
	bool there;

	pthread_mutex_lock(&b->lock);
	while (b->acked < ticket && b->state == STORE_OK)
		pthread_cond_wait(&b->change, &b->lock);
	there = b->acked >= ticket;
	pthread_mutex_unlock(&b->lock);
	return there;
}

void
bench_submit(struct bench *b, struct store_batch *x)
{
	x->ticket = ++b->ticket;
	store_submit(b->store, x);
}

bool
bench_write(struct bench *b, struct store_batch *x)
{
	bench_submit(b, x);
	return bench_wait(b, b->ticket);
}

void
bench_wait_state(struct bench *b, enum store_state want)
{
	pthread_mutex_lock(&b->lock);
	while (b->state != want)
		pthread_cond_wait(&b->change, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

static enum nj_err
l_session(void *arg, const struct store_session *s)
{
	struct session_model *to = &((struct model *)arg)->s[s->id - 1];

	to->used = true;
	snprintf(to->client, sizeof to->client, "%.*s", (int)s->client.n,
	    (const char *)s->client.p);
	snprintf(to->user, sizeof to->user, "%.*s", (int)s->user.n,
	    (const char *)s->user.p);
	to->expiry_s = s->expiry_s;
	to->offline_ms = s->offline_ms;
	return NJ_OK;
}

static enum nj_err
l_will(void *arg, const struct store_will *w, void *msg)
{
	((struct model *)arg)->s[w->session - 1].will = msg;
	return NJ_OK;
}

static enum nj_err
l_sub(void *arg, const struct store_sub *s)
{
	struct session_model *to = &((struct model *)arg)->s[s->session - 1];

	to->sub[s->filter.p[0] - 'a'] = s->options;
	return NJ_OK;
}

static enum nj_err
l_received(void *arg, uint64_t session, uint16_t pid)
{
	((struct model *)arg)->s[session - 1].received[pid] = true;
	return NJ_OK;
}

static enum nj_err
l_entry(void *arg, const struct store_entry *e)
{
	struct session_model *to = &((struct model *)arg)->s[e->session - 1];

	if (to->queue[e->seq % MODEL_ENTRIES].note)
		abort(); /* twice */
	to->queue[e->seq % MODEL_ENTRIES] = (struct entry_model){
		.note = e->msg,
		.seq = e->seq,
		.pid = e->pid,
		.qos = e->qos,
		.state = e->state,
		.share = e->share,
		.retain = e->retain,
		.n_ids = (uint32_t)e->ids.n / 4,
	};
	if (e->seq > to->seq)
		to->seq = e->seq;
	return NJ_OK;
}

/* Counted, and read afterwards: sub[] of nobody says so. */
struct loading {
	struct model m;
	uint64_t n[MODEL_SESSIONS];
};

static enum nj_err
l_waiting(void *arg, const struct store_waiting *w)
{
	struct loading *l = arg;

	if (w->first > w->last || w->n > w->last - w->first + 1 ||
	    w->sent > w->n)
		abort();
	l->n[w->session - 1] = w->n;
	return NJ_OK;
}

static enum nj_err
l_retained(void *arg, void *msg)
{
	struct note *n = msg;

	((struct model *)arg)->retained[n->bytes[2] - 'a'] = n;
	return NJ_OK;
}

void
bench_read(struct bench *b, struct store_read *r)
{
	b->page = NULL;
	store_read(b->store, r);
	pthread_mutex_lock(&b->lock);
	while (!b->page)
		pthread_cond_wait(&b->change, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

static enum nj_err
read_queue(struct bench *b, struct loading *l, unsigned i)
{
	uint64_t from = 0, n = 0;
	bool more = true;

	while (more) {
		struct store_read r = { .session = i + 1,
			.from = from,
			.until = UINT64_MAX,
			.max = 3 };

		bench_read(b, &r);
		if (r.result) {
			store_read_fini(&r, &note_ops);
			return r.result;
		}
		for (uint32_t k = 0; k < r.n; k++) {
			from = r.v[k].seq + 1;
			n++;
			(void)l_entry(&l->m, &r.v[k]);
			r.v[k].msg = NULL;
		}
		more = r.more;
		store_read_fini(&r, &note_ops);
	}
	return n == l->n[i] ? NJ_OK : NJ_MALFORMED;
}

enum nj_err
bench_text(struct bench *b, struct buf *out, struct nj_why *why)
{
	struct loading l = { .n = { 0 } };
	struct store_loader ld = {
		.session = l_session,
		.will = l_will,
		.sub = l_sub,
		.received = l_received,
		.inflight = l_entry,
		.waiting = l_waiting,
		.retained = l_retained,
		.arg = &l,
	};
	enum nj_err e = store_load(b->store, &ld, why);

	if (!e)
		e = store_start(b->store, why);
	for (unsigned i = 0; !e && i < MODEL_SESSIONS; i++)
		e = read_queue(b, &l, i);
	if (!e)
		model_text(&l.m, out);
	model_fini(&l.m);
	return e;
}

void
bench_close(struct bench *b)
{
	store_close(b->store);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->change);
}

struct store_batch *
bench_batch(void)
{
	struct store_batch *x;

	if (batch_new(&note_ops, &x))
		abort();
	return x;
}

void
bench_put(struct store_batch *x, uint64_t from, uint64_t n)
{
	char text[300];
	uint32_t at;

	for (uint64_t seq = from; seq < from + n; seq++) {
		memset(text, 'x', sizeof text - 1);
		text[sizeof text - 1] = '\0';
		(void)snprintf(text, 24, "%020llu", (unsigned long long)seq);
		text[20] = ' ';
		if (batch_queue(x,
			&(struct store_entry){ .session = 1,
			    .seq = seq,
			    .qos = 1,
			    .msg = note_new("a", text) },
			&at))
			abort();
	}
}

static sqlite3 *
open_by_hand(const char *path)
{
	const char *vfs;
	sqlite3 *db;

	if (walfile_vfs(NULL, &vfs) ||
	    sqlite3_open_v2(path, &db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs) != SQLITE_OK)
		abort();
	return db;
}

void
bench_edit(const char *path, const char *sql)
{
	sqlite3 *db = open_by_hand(path);

	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
		fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
		abort();
	}
	sqlite3_close(db);
}

int64_t
bench_ask(const char *path, const char *sql)
{
	sqlite3 *db = open_by_hand(path);
	sqlite3_stmt *st = NULL;
	int64_t n;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW) {
		fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
		abort();
	}
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}
