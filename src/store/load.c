/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading: everything at the start, one session's queue in pages afterwards.
 */
#include <stdlib.h>
#include <string.h>

#include "store/impl.h"

#define PROGRESS 100000u

struct reading {
	struct store *s;
	const struct store_loader *l;
	const char *what;
	uint64_t n;
};

static void
progress(struct reading *r)
{
	if (++r->n % PROGRESS == 0 && r->l->progress)
		r->l->progress(r->l->arg, r->what, r->n);
}

/* Runs a query and gives every row to take. */
static enum nj_err
each(struct reading *r, const char *what, const char *sql,
    enum nj_err (*take)(struct reading *r, sqlite3_stmt *st))
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(r->s->db, sql, -1, &st, NULL);
	enum nj_err e = NJ_OK;

	r->what = what;
	r->n = 0;
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		if ((rc = sqlite3_step(st)) != SQLITE_ROW)
			break;
		if ((e = take(r, st)))
			break;
		progress(r);
	}
	sqlite3_finalize(st);
	return e ? e : sql_err(rc);
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
		.expires_ms = sqlite3_column_int64(st, at + 3),
		.bytes = sql_column(st, at + 4),
	};

	if (b.bytes.n < 2u + b.topic_len ||
	    b.bytes.n - 2 - b.topic_len < b.payload_len || b.qos > 2)
		return NJ_MALFORMED;
	return s->opts.msgs->make(s->opts.arg, &b, msg);
}

static enum nj_err
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
	};
	struct store_will w = { .session = ss.id };
	void *msg = NULL;
	enum nj_err e;

	if ((e = r->l->session(r->l->arg, &ss)) ||
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
	return r->l->sub(r->l->arg,
	    &(struct store_sub){
		.session = (uint64_t)sqlite3_column_int64(st, 0),
		.filter = sql_column(st, 1),
		.options = (uint32_t)sqlite3_column_int64(st, 2),
		.share = (uint8_t)sqlite3_column_int(st, 3),
	    });
}

static enum nj_err
take_received(struct reading *r, sqlite3_stmt *st)
{
	return r->l->received(r->l->arg, (uint64_t)sqlite3_column_int64(st, 0),
	    (uint16_t)sqlite3_column_int(st, 1));
}

/* session, seq, pid, flags, ids, msg from column 0 on; without the message */
static struct store_entry
entry_of(sqlite3_stmt *st, int at)
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

static enum nj_err
take_inflight(struct reading *r, sqlite3_stmt *st)
{
	struct store_entry en = entry_of(st, 1);
	enum nj_err e;

	en.session = (uint64_t)sqlite3_column_int64(st, 0);
	if ((e = load_msg(
		 r->s, (uint64_t)sqlite3_column_int64(st, 5), &en.msg)))
		return e;
	return r->l->inflight(r->l->arg, &en);
}

static enum nj_err
take_waiting(struct reading *r, sqlite3_stmt *st)
{
	return r->l->waiting(r->l->arg, (uint64_t)sqlite3_column_int64(st, 0),
	    (uint64_t)sqlite3_column_int64(st, 1),
	    (uint64_t)sqlite3_column_int64(st, 2),
	    (uint64_t)sqlite3_column_int64(st, 3),
	    (uint64_t)sqlite3_column_int64(st, 4));
}

static enum nj_err
take_retained(struct reading *r, sqlite3_stmt *st)
{
	void *msg;
	enum nj_err e =
	    make_msg(r->s, st, 1, (uint64_t)sqlite3_column_int64(st, 0), &msg);

	return e ? e : r->l->retained(r->l->arg, msg);
}

enum nj_err
store_load(struct store *s, const struct store_loader *l, struct nj_why *why)
{
	struct reading r = { .s = s, .l = l };
	enum nj_err e;

	if ((e = sql_exec(s, "DELETE FROM retained WHERE msg IS NULL")) ||
	    (e = each(&r, "sessions",
		 "SELECT id, client, user, version, expiry, offline, will, "
		 "will_delay, will_expiry, mount FROM session ORDER BY id",
		 take_session)) ||
	    (e = each(&r, "subscriptions",
		 "SELECT session, filter, options, share FROM sub",
		 take_sub)) ||
	    (e = each(&r, "QoS 2 identifiers",
		 "SELECT session, pid FROM received", take_received)) ||
	    (e = each(&r, "messages in flight",
		 "SELECT session, seq, pid, flags, ids, msg FROM queue "
		 "WHERE pid <> 0 ORDER BY session, seq",
		 take_inflight)) ||
	    (e = each(&r, "queues",
		 "SELECT session, count(*), min(seq), max(seq), sum(size) "
		 "FROM queue WHERE pid = 0 GROUP BY session",
		 take_waiting)) ||
	    (e = each(&r, "retained messages",
		 "SELECT m.id, topic_len, payload_len, flags, expires, bytes "
		 "FROM retained r JOIN msg m ON m.id = r.msg",
		 take_retained)))
		sql_why(s, why, "loading it");
	return e;
}

static enum nj_err
append(struct store *s, struct store_read *r, sqlite3_stmt *st, size_t *bytes)
{
	struct store_entry *en = &r->v[r->n];
	struct slice ids;
	enum nj_err e;

	*en = entry_of(st, 0);
	en->session = r->session;
	ids = en->ids;
	en->ids = SLICE_NONE;
	if (ids.n > 0) { /* they go with the answer */
		uint8_t *copy = malloc(ids.n);

		if (!copy)
			return NJ_NOMEM;
		memcpy(copy, ids.p, ids.n);
		en->ids = slice_of(copy, ids.n);
	}
	e = load_msg(s, (uint64_t)sqlite3_column_int64(st, 4), &en->msg);
	if (e) {
		free((void *)(uintptr_t)en->ids.p);
		return e;
	}
	r->n++;
	*bytes += ids.n + sqlite3_column_bytes(s->st[ST_MSG_GET], 4);
	return NJ_OK;
}

void
read_answer(struct store *s, struct store_read *r)
{
	sqlite3_stmt *st = sql_get(s, ST_QUEUE_READ);
	size_t bytes = 0;
	int rc = SQLITE_DONE;

	r->n = 0;
	r->more = false;
	r->result = NJ_NOMEM;
	if (!(r->v = calloc(r->max, sizeof *r->v)))
		return;
	r->result = NJ_OK;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)r->session);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)r->from);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)r->max + 1);
	sqlite3_bind_int64(
	    st, 4, r->until > INT64_MAX ? INT64_MAX : (sqlite3_int64)r->until);
	while (r->result == NJ_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (r->n == r->max || bytes > STORE_PAGE_BYTES) {
			r->more = true;
			break;
		}
		r->result = append(s, r, st, &bytes);
	}
	sqlite3_reset(st);
	if (r->result == NJ_OK && rc != SQLITE_ROW)
		r->result = sql_err(rc);
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
