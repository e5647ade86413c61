/* SPDX-License-Identifier: Apache-2.0
 *
 * How much of what is in a store.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/store.h"
#include "store/view_impl.h"

static uint64_t
file_size(const char *path, const char *tail)
{
	struct stat st;
	char *name = NULL;
	uint64_t n = 0;

	if (asprintf(&name, "%s%s", path, tail) < 0)
		return 0;
	if (stat(name, &st) == 0)
		n = (uint64_t)st.st_size;
	free(name);
	return n;
}

static enum nj_err
file_stats(struct view *v, struct view_stats *st, struct nj_why *why)
{
	uint64_t n[1];
	unsigned mode;
	enum nj_err e;

	st->schema = v->schema;
	st->live = v->live;
	st->file_bytes = file_size(v->path, "");
	st->wal_bytes = file_size(v->path, "-wal");
	view_data_stat(v, &st->data_bytes, &mode);
	if ((e = view_numbers(v, "PRAGMA page_size", n, 1, why)))
		return e;
	st->page_bytes = n[0];
	if ((e = view_numbers(v, "PRAGMA freelist_count", n, 1, why)))
		return e;
	st->free_bytes = n[0] * st->page_bytes;
	return NJ_OK;
}

/* What is left of segments, and about how many bytes that is. */
#define SEGMENTS                                                         \
	"seg s LEFT JOIN gone g ON g.session = s.session AND g.first = " \
	"s.first"
#define LEFT_N	   "s.n - ifnull(g.n, 0)"
#define LEFT_BYTES "s.size / s.n * (" LEFT_N ")"

static void
older(int64_t *oldest_s, uint64_t stored)
{
	if (stored > 0 && (*oldest_s == 0 || (int64_t)stored < *oldest_s))
		*oldest_s = (int64_t)stored;
}

static enum nj_err
segment_stats(struct view *v, struct view_stats *st, struct nj_why *why)
{
	uint64_t n[3];
	enum nj_err e;

	if (v->schema < SEGMENT_SCHEMA)
		return NJ_OK;
	if ((e = view_numbers(v,
		 "SELECT total(" LEFT_N "), total(" LEFT_BYTES
		 "), min(s.stored) FROM " SEGMENTS,
		 n, 3, why)))
		return e;
	st->waiting += n[0];
	st->queued_bytes += n[1];
	st->messages += n[0];
	st->message_bytes += n[1];
	older(&st->oldest_s, n[2]);
	return NJ_OK;
}

static enum nj_err
row_stats(struct view *v, struct view_stats *st, struct nj_why *why)
{
	uint64_t n[4];
	enum nj_err e;

	if ((e = view_numbers(v,
		 "SELECT count(*), total(offline = 9223372036854775807), "
		 "count(will) FROM session",
		 n, 3, why)))
		return e;
	st->sessions = n[0];
	st->connected = n[1];
	st->wills = n[2];
	if ((e = view_numbers(v, "SELECT count(*) FROM sub", n, 1, why)))
		return e;
	st->subscriptions = n[0];
	if ((e = view_numbers(v, "SELECT count(*) FROM received", n, 1, why)))
		return e;
	st->received = n[0];
	if ((e = view_numbers(v,
		 "SELECT total(pid = 0), total(pid <> 0), total(size) "
		 "FROM queue",
		 n, 3, why)))
		return e;
	st->waiting = n[0];
	st->inflight = n[1];
	st->queued_bytes = n[2];
	if ((e = view_numbers(v,
		 "SELECT count(*), total(length(m.bytes)) FROM retained r "
		 "JOIN msg m ON m.id = r.msg",
		 n, 2, why)))
		return e;
	st->retained = n[0];
	st->retained_bytes = n[1];
	if ((e = view_numbers(v,
		 "SELECT count(*), total(length(bytes)), "
		 "total(expires < 9223372036854775807) FROM msg",
		 n, 3, why)))
		return e;
	st->messages = n[0];
	st->message_bytes = n[1];
	st->expiring = n[2];
	if (v->schema < 2)
		return NJ_OK;
	if ((e = view_numbers(v,
		 "SELECT min(m.stored) FROM queue q JOIN msg m "
		 "ON m.id = q.msg WHERE q.pid = 0 AND m.stored > 0",
		 n, 1, why)))
		return e;
	st->oldest_s = (int64_t)n[0];
	return segment_stats(v, st, why);
}

/* The name goes to the end of what was kept so far; slices are made when all
 * are there. */
static enum nj_err
keep_name(struct view_stats *st, size_t *used, sqlite3_stmt *row)
{
	size_t n = (size_t)sqlite3_column_bytes(row, 5);
	const void *p = sqlite3_column_blob(row, 5);
	char *v = realloc(st->names, *used + n + 1);

	if (!v)
		return NJ_NOMEM;
	st->names = v;
	if (n > 0)
		memcpy(v + *used, p, n);
	st->top[st->n_top].client.n = n;
	*used += n;
	return NJ_OK;
}

static enum nj_err
top_stats(
    struct view *v, unsigned top, struct view_stats *st, struct nj_why *why)
{
	static const char rows[] = "SELECT session, pid = 0 AS w, "
				   "pid <> 0 AS i, size AS b FROM queue";
	static const char segments[] = " UNION ALL SELECT s.session, " LEFT_N
				       ", 0, " LEFT_BYTES " FROM " SEGMENTS;
	char sql[800];
	sqlite3_stmt *row = NULL;
	size_t used = 0;
	enum nj_err e = NJ_OK;
	int rc;

	(void)snprintf(sql, sizeof sql,
	    "SELECT t.session, t.waiting, t.inflight, t.bytes, s.offline, "
	    "s.client FROM (SELECT session, total(w) AS waiting, "
	    "total(i) AS inflight, total(b) AS bytes FROM (%s%s) "
	    "GROUP BY session ORDER BY waiting + inflight DESC, session "
	    "LIMIT ?1) t LEFT JOIN session s ON s.id = t.session "
	    "ORDER BY t.waiting + t.inflight DESC, t.session",
	    rows, v->schema >= SEGMENT_SCHEMA ? segments : "");
	rc = sqlite3_prepare_v2(v->db, sql, -1, &row, NULL);
	sqlite3_bind_int(
	    row, 1, (int)(top > VIEW_TOP_MAX ? VIEW_TOP_MAX : top));
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		struct view_queue *q = &st->top[st->n_top];

		if ((rc = sqlite3_step(row)) != SQLITE_ROW)
			break;
		q->session = (uint64_t)sqlite3_column_int64(row, 0);
		q->waiting = (uint64_t)sqlite3_column_int64(row, 1);
		q->inflight = (uint64_t)sqlite3_column_int64(row, 2);
		q->bytes = (uint64_t)sqlite3_column_int64(row, 3);
		q->offline_ms = sqlite3_column_int64(row, 4);
		if ((e = keep_name(st, &used, row)))
			break;
		st->n_top++;
	}
	sqlite3_finalize(row);
	if (e || (e = view_err(v, "reading it", rc, why)))
		return e;
	used = 0;
	for (unsigned i = 0; i < st->n_top; i++) {
		st->top[i].client.p = (const uint8_t *)st->names + used;
		used += st->top[i].client.n;
	}
	return NJ_OK;
}

static enum nj_err
top_ages(struct view *v, struct view_stats *st, struct nj_why *why)
{
	enum nj_err e;

	for (unsigned i = 0; i < st->n_top && v->schema >= 2; i++) {
		char sql[200];
		uint64_t n[1];

		snprintf(sql, sizeof sql,
		    "SELECT min(m.stored) FROM queue q JOIN msg m ON m.id = "
		    "q.msg WHERE q.session = %lld AND m.stored > 0",
		    (long long)st->top[i].session);
		if ((e = view_numbers(v, sql, n, 1, why)))
			return e;
		st->top[i].oldest_s = (int64_t)n[0];
		if (v->schema < SEGMENT_SCHEMA)
			continue;
		snprintf(sql, sizeof sql,
		    "SELECT min(stored) FROM seg WHERE session = %lld",
		    (long long)st->top[i].session);
		if ((e = view_numbers(v, sql, n, 1, why)))
			return e;
		older(&st->top[i].oldest_s, n[0]);
	}
	return NJ_OK;
}

enum nj_err
view_stats(
    struct view *v, unsigned top, struct view_stats *out, struct nj_why *why)
{
	enum nj_err e;

	*out = (struct view_stats){ .schema = 0 };
	if ((e = file_stats(v, out, why)) || (e = row_stats(v, out, why)) ||
	    (e = top_stats(v, top, out, why)) || (e = top_ages(v, out, why)))
		view_stats_fini(out);
	return e;
}

void
view_stats_fini(struct view_stats *st)
{
	free(st->names);
	st->names = NULL;
	st->n_top = 0;
}
