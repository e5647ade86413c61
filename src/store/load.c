/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading everything, at the start.
 */
#include <stdlib.h>
#include <string.h>

#include "store/impl.h"

/* Message numbers, or sessions, in order. */
struct numbers {
	uint64_t *v;
	size_t n, cap;
};

struct reading {
	struct store *s;
	const struct store_loader *l;
	const char *what;
	uint64_t n;
	struct numbers sessions;    /* all there are */
	struct numbers sent;	    /* up to which entry, of each */
	size_t at;		    /* the one that rows are at */
	struct numbers orphans;	    /* sessions that rows name all the same */
	struct store_waiting wait;  /* in rows, so far */
	struct store_waiting *segs; /* in segments, by session */
	size_t n_segs, cap_segs, segs_at;
	struct numbers retained;
};

static enum nj_err
numbers_add(struct numbers *l, uint64_t v)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 1024;
		uint64_t *to = realloc(l->v, cap * sizeof *to);

		if (!to)
			return NJ_NOMEM;
		l->v = to;
		l->cap = cap;
	}
	l->v[l->n++] = v;
	return NJ_OK;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
progress(struct reading *r)
{
	if (++r->n % STORE_PROGRESS == 0 && r->what && r->l->progress)
		r->l->progress(r->l->arg, r->what, r->n);
}

static void
begin(struct reading *r, const char *what)
{
	r->what = what;
	r->n = 0;
	r->at = 0;
}

static void
finish(struct reading *r)
{
	if ((r->n % STORE_PROGRESS || r->n == 0) && r->what && r->l->progress)
		r->l->progress(r->l->arg, r->what, r->n);
}

/* Runs a query and gives every row to take; what NULL: it is not worth
 * telling of. */
static enum nj_err
each(struct reading *r, const char *what, const char *sql,
    enum nj_err (*take)(struct reading *r, sqlite3_stmt *st))
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(r->s->db, sql, -1, &st, NULL);
	enum nj_err e = NJ_OK;

	begin(r, what);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		if ((rc = sqlite3_step(st)) != SQLITE_ROW)
			break;
		if ((e = take(r, st)))
			break;
		progress(r);
	}
	sqlite3_finalize(st);
	if (e || (e = sql_err(rc)))
		return e;
	finish(r);
	return NJ_OK;
}

/* Rows come by session, as sessions do; one of a session that is not there is
 * noted, and passed over. */
static enum nj_err
belongs(struct reading *r, uint64_t session, bool *is)
{
	const struct numbers *all = &r->sessions;
	struct numbers *none = &r->orphans;

	while (r->at < all->n && all->v[r->at] < session)
		r->at++;
	*is = r->at < all->n && all->v[r->at] == session;
	if (*is || (none->n > 0 && none->v[none->n - 1] == session))
		return NJ_OK;
	return numbers_add(none, session);
}

/* A message row from column `at` on: topic_len ... bytes. */
static enum nj_err
make_msg(struct store *s, sqlite3_stmt *st, int at, uint64_t id, void **msg)
{
	int flags = sqlite3_column_int(st, at + 2);
	struct store_body b = {
		.id = id,
		.topic_len = (uint16_t)sqlite3_column_int(st, at),
		.payload_len = (uint32_t)sqlite3_column_int64(st, at + 1),
		.qos = flags & 3,
		.retain = (flags & 4) != 0,
		.source = (flags & 8) != 0,
		.expires_ms = sqlite3_column_int64(st, at + 3),
		.stored_s = sqlite3_column_int64(st, at + 5),
		.bytes = sql_column(st, at + 4),
	};

	if (b.bytes.n < 2u + b.topic_len ||
	    b.bytes.n - 2 - b.topic_len < b.payload_len || b.qos > 2)
		return NJ_MALFORMED;
	return s->opts.msgs->make(s->opts.arg, &b, msg);
}

enum nj_err
load_msg(struct store *s, uint64_t id, void **msg)
{
	sqlite3_stmt *st = sql_get(s, ST_MSG_GET);
	enum nj_err e = NJ_MALFORMED; /* a row names what is not there */
	int rc;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
	if ((rc = sqlite3_step(st)) == SQLITE_ROW)
		e = make_msg(s, st, 0, id, msg);
	else if (rc != SQLITE_DONE)
		e = sql_err(rc);
	sqlite3_reset(st);
	return e;
}

static enum nj_err
take_session(struct reading *r, sqlite3_stmt *st)
{
	struct store_session ss = {
		.id = (uint64_t)sqlite3_column_int64(st, 0),
		.client = sql_column(st, 1),
		.user = sql_column(st, 2),
		.version = (uint8_t)sqlite3_column_int(st, 3),
		.expiry_s = (uint32_t)sqlite3_column_int64(st, 4),
		.offline_ms = sqlite3_column_int64(st, 5),
		.mount = sql_column(st, 9),
		.sent = (uint64_t)sqlite3_column_int64(st, 10),
		.who = sql_column(st, 11),
	};
	struct store_will w = { .session = ss.id };
	void *msg = NULL;
	enum nj_err e;

	if ((e = numbers_add(&r->sessions, ss.id)) ||
	    (e = numbers_add(&r->sent, ss.sent)) ||
	    (e = r->l->session(r->l->arg, &ss)) ||
	    sqlite3_column_type(st, 6) == SQLITE_NULL)
		return e;
	w.delay_s = (uint32_t)sqlite3_column_int64(st, 7);
	w.expiry_s = (uint32_t)sqlite3_column_int64(st, 8);
	if ((e = load_msg(r->s, (uint64_t)sqlite3_column_int64(st, 6), &msg)))
		return e;
	return r->l->will(r->l->arg, &w, msg);
}

static enum nj_err
take_sub(struct reading *r, sqlite3_stmt *st)
{
	struct store_sub sub = {
		.session = (uint64_t)sqlite3_column_int64(st, 0),
		.filter = sql_column(st, 1),
		.options = (uint32_t)sqlite3_column_int64(st, 2),
		.share = (uint8_t)sqlite3_column_int(st, 3),
	};
	enum nj_err e;
	bool is;

	if ((e = belongs(r, sub.session, &is)) || !is)
		return e;
	return r->l->sub(r->l->arg, &sub);
}

static enum nj_err
take_received(struct reading *r, sqlite3_stmt *st)
{
	uint64_t session = (uint64_t)sqlite3_column_int64(st, 0);
	enum nj_err e;
	bool is;

	if ((e = belongs(r, session, &is)) || !is)
		return e;
	return r->l->received(
	    r->l->arg, session, (uint16_t)sqlite3_column_int(st, 1));
}

/* seq, pid, flags, ids from column `at` on */
struct store_entry
load_entry(sqlite3_stmt *st, int at)
{
	int flags = sqlite3_column_int(st, at + 2);

	return (struct store_entry){
		.seq = (uint64_t)sqlite3_column_int64(st, at),
		.pid = (uint16_t)sqlite3_column_int(st, at + 1),
		.qos = flags & 3,
		.retain = (flags & 4) != 0,
		.state = flags >> 4 & 15,
		.share = (uint8_t)(flags >> 8),
		.ids = sql_column(st, at + 3),
	};
}

/* How many of n entries from first on, of the session that rows are at, may have been
 * sent. */
static uint64_t
sent_of(const struct reading *r, uint64_t first, uint64_t n)
{
	uint64_t sent = r->sent.v[r->at];
	uint64_t keys = sent < first ? 0 : sent - first + 1;

	return keys < n ? keys : n;
}

/* s->first to s->first + n - 1, of which some are gone: what is left of them
 * has about its share of the bytes. */
static enum nj_err
take_segment(struct reading *r, sqlite3_stmt *st)
{
	uint64_t session = (uint64_t)sqlite3_column_int64(st, 0);
	uint64_t first = (uint64_t)sqlite3_column_int64(st, 1);
	uint64_t n = (uint64_t)sqlite3_column_int64(st, 2);
	uint64_t size = (uint64_t)sqlite3_column_int64(st, 3);
	uint64_t gone = (uint64_t)sqlite3_column_int64(st, 4);
	struct store_waiting *w = r->n_segs ? &r->segs[r->n_segs - 1] : NULL;
	enum nj_err e;
	bool is;

	if (n == 0 || n > SEGMENT_ENTRIES || gone >= n)
		return NJ_MALFORMED;
	if ((e = belongs(r, session, &is)) || !is)
		return e;
	if (!w || w->session != session) {
		if (r->n_segs == r->cap_segs) {
			size_t cap = r->cap_segs ? r->cap_segs * 2 : 64;

			if (!(w = realloc(r->segs, cap * sizeof *w)))
				return NJ_NOMEM;
			r->segs = w;
			r->cap_segs = cap;
		}
		w = &r->segs[r->n_segs++];
		*w = (struct store_waiting){ .session = session,
			.first = first };
	}
	/* keys up to the last were used, whether or not it is there still */
	w->last = first + n - 1;
	w->n += n - gone;
	w->sent += sent_of(r, first, n - gone);
	w->bytes += size / n * (n - gone);
	return NJ_OK;
}

static enum nj_err
give_waiting(struct reading *r, const struct store_waiting *w)
{
	return r->l->waiting(r->l->arg, w);
}

/* What waits of the sessions before this one. */
static enum nj_err
end_waiting(struct reading *r, uint64_t before)
{
	struct store_waiting w = r->wait;
	enum nj_err e;

	r->wait = (struct store_waiting){ .n = 0 };
	for (; r->segs_at < r->n_segs; r->segs_at++) {
		const struct store_waiting *g = &r->segs[r->segs_at];

		if (g->session >= before)
			break;
		if (w.n > 0 && w.session < g->session) {
			if ((e = give_waiting(r, &w)))
				return e;
			w.n = 0;
		}
		if (w.n == 0) {
			w = *g;
		} else {
			w.n += g->n;
			w.sent += g->sent;
			w.bytes += g->bytes;
			w.first = w.first < g->first ? w.first : g->first;
			w.last = w.last > g->last ? w.last : g->last;
		}
	}
	return w.n > 0 ? give_waiting(r, &w) : NJ_OK;
}

static enum nj_err
take_inflight(struct reading *r, sqlite3_stmt *st)
{
	struct store_entry en = load_entry(st, 1);
	enum nj_err e;

	en.session = r->wait.session;
	if ((e = load_msg(
		 r->s, (uint64_t)sqlite3_column_int64(st, 5), &en.msg)))
		return e;
	return r->l->inflight(r->l->arg, &en);
}

/* Those in flight are given one by one, of those that wait a summary. */
static enum nj_err
take_queue(struct reading *r, sqlite3_stmt *st)
{
	uint64_t session = (uint64_t)sqlite3_column_int64(st, 0);
	uint64_t seq = (uint64_t)sqlite3_column_int64(st, 1);
	enum nj_err e;
	bool is;

	if (session != r->wait.session && (e = end_waiting(r, session)))
		return e;
	r->wait.session = session;
	if ((e = belongs(r, session, &is)) || !is)
		return e;
	if (sqlite3_column_int(st, 2) != 0)
		return take_inflight(r, st);
	if (r->wait.n++ == 0)
		r->wait.first = seq;
	r->wait.last = seq;
	r->wait.sent += sent_of(r, seq, 1);
	r->wait.bytes += (uint64_t)sqlite3_column_int64(st, 6);
	return NJ_OK;
}

static enum nj_err
load_queues(struct reading *r)
{
	enum nj_err e;

	if ((e = each(r, NULL,
		 "SELECT s.session, s.first, s.n, s.size, ifnull(g.n, 0) "
		 "FROM seg s LEFT JOIN gone g ON g.session = s.session AND "
		 "g.first = s.first ORDER BY s.session, s.first",
		 take_segment)) ||
	    (e = each(r, "queued messages",
		 "SELECT session, seq, pid, flags, ids, msg, size FROM queue "
		 "ORDER BY session, seq",
		 take_queue)))
		return e;
	return end_waiting(r, UINT64_MAX);
}

static enum nj_err
take_retained(struct reading *r, sqlite3_stmt *st)
{
	return numbers_add(&r->retained, (uint64_t)sqlite3_column_int64(st, 0));
}

/* How far to step to the next message rather than to look for it. */
#define STRIDE 100u

/* From the wanted message *i on, as long as the next is near. */
static enum nj_err
walk_retained(struct reading *r, sqlite3_stmt *st, size_t *i)
{
	const struct numbers *want = &r->retained;
	enum nj_err e;
	int rc;

	sqlite3_reset(st);
	sqlite3_bind_int64(st, 1, (sqlite3_int64)want->v[*i]);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		uint64_t id = (uint64_t)sqlite3_column_int64(st, 0);
		void *msg = NULL;

		if (id < want->v[*i])
			continue;
		if (id > want->v[*i])
			return NJ_MALFORMED; /* a row names what is not there */
		if ((e = make_msg(r->s, st, 1, id, &msg)) ||
		    (e = r->l->retained(r->l->arg, msg)))
			return e;
		progress(r);
		while (*i < want->n && want->v[*i] == id)
			++*i;
		if (*i == want->n || want->v[*i] - id > STRIDE)
			return NJ_OK;
	}
	return rc == SQLITE_DONE ? NJ_MALFORMED : sql_err(rc);
}

/* By message, not by topic: the largest table is read from its start to its
 * end then, whatever the order of the topics. */
static enum nj_err
load_retained(struct reading *r)
{
	sqlite3_stmt *st = NULL;
	enum nj_err e;

	if ((e = each(r, NULL, "SELECT msg FROM retained WHERE msg IS NOT NULL",
		 take_retained)))
		return e;
	if (r->retained.n > 0)
		qsort(r->retained.v, r->retained.n, sizeof r->retained.v[0],
		    by_number);
	begin(r, "retained messages");
	e = sql_err(sqlite3_prepare_v2(r->s->db,
	    "SELECT id, topic_len, payload_len, flags, expires, bytes, stored "
	    "FROM msg WHERE id >= ?1 ORDER BY id",
	    -1, &st, NULL));
	for (size_t i = 0; !e && i < r->retained.n;)
		e = walk_retained(r, st, &i);
	sqlite3_finalize(st);
	if (!e)
		finish(r);
	return e;
}

static enum nj_err
load_all(struct reading *r)
{
	enum nj_err e;

	if ((e = each(r, "sessions",
		 "SELECT id, client, user, version, expiry, offline, will, "
		 "will_delay, will_expiry, mount, sent, who FROM session "
		 "ORDER BY id",
		 take_session)) ||
	    (e = each(r, "subscriptions",
		 "SELECT session, filter, options, share FROM sub "
		 "ORDER BY session",
		 take_sub)) ||
	    (e = each(r, "QoS 2 identifiers",
		 "SELECT session, pid FROM received ORDER BY session",
		 take_received)) ||
	    (e = load_queues(r)))
		return e;
	return load_retained(r);
}

enum nj_err
store_load(struct store *s, const struct store_loader *l, struct nj_why *why)
{
	struct reading r = { .s = s, .l = l };
	enum nj_err e;

	/* on a full disk that is left, and done when another start has room */
	if ((!(e = clean_expired(s, l->now_ms)) || e == NJ_FULL) &&
	    !(e = load_all(&r)) &&
	    (e = clean_orphans(s, r.orphans.v, r.orphans.n)) == NJ_FULL)
		e = NJ_OK;
	if (e == NJ_MALFORMED && sqlite3_errcode(s->db) != SQLITE_CORRUPT) {
		why_set(why,
		    "%s: one of its %s names a message that is not "
		    "there, or is not as it should be",
		    s->path, r.what ? r.what : "rows");
		why_mend(why, "nightjar store check %s", s->path);
	} else if (e) {
		sql_why(s, why, "loading it");
	}
	free(r.segs);
	free(r.sessions.v);
	free(r.sent.v);
	free(r.orphans.v);
	free(r.retained.v);
	return e;
}
