/* SPDX-License-Identifier: Apache-2.0
 *
 * Every row of a store, in the words of MQTT.
 */
#include <stdio.h>
#include <string.h>

#include "store/impl.h"
#include "store/view_impl.h"

/* Columns of every query: the client's four, then the kind's own.  A row of a
 * session that is gone has no client, and is given all the same. */
#define CLIENT	     "s.id, s.client, s.user, s.mount, "
#define BODY	     "m.id, m.topic_len, m.payload_len, m.flags, m.expires, m.bytes, "
#define OF_CLIENT(x) x " IN (SELECT id FROM session WHERE client = ?1)"

static const struct kind {
	enum view_kind kind;
	const char *columns, *from, *where, *of_client, *order;
} kinds[] = {
	{ VIEW_SESSION, CLIENT "s.version, s.expiry, s.offline", "session s",
	    "1", OF_CLIENT("s.id"), "s.id" },
	{ VIEW_WILL,
	    CLIENT BODY "0, 0, 0, 0, NULL, s.will_delay, s.will_expiry",
	    "session s LEFT JOIN msg m ON m.id = s.will", "s.will IS NOT NULL",
	    OF_CLIENT("s.id"), "s.id" },
	{ VIEW_SUB, CLIENT "t.filter, t.options, t.share, t.session",
	    "sub t LEFT JOIN session s ON s.id = t.session", "1",
	    OF_CLIENT("t.session"), "t.session, t.filter" },
	{ VIEW_RECEIVED, CLIENT "t.pid, t.session",
	    "received t LEFT JOIN session s ON s.id = t.session", "1",
	    OF_CLIENT("t.session"), "t.session, t.pid" },
	{ VIEW_INFLIGHT, CLIENT BODY "t.session, t.seq, t.pid, t.flags, t.ids",
	    "queue t LEFT JOIN session s ON s.id = t.session "
	    "LEFT JOIN msg m ON m.id = t.msg",
	    "t.pid <> 0", OF_CLIENT("t.session"), "t.session, t.seq" },
	{ VIEW_QUEUED, CLIENT BODY "t.session, t.seq, t.pid, t.flags, t.ids",
	    "queue t LEFT JOIN session s ON s.id = t.session "
	    "LEFT JOIN msg m ON m.id = t.msg",
	    "t.pid = 0", OF_CLIENT("t.session"), "t.session, t.seq" },
	{ VIEW_RETAINED, "NULL, NULL, NULL, NULL, " BODY "0, 0, 0, 0, NULL",
	    "retained t LEFT JOIN msg m ON m.id = t.msg", "t.msg IS NOT NULL",
	    "0", "t.topic" },
};

enum { AT_KIND = 4, AT_ENTRY = AT_KIND + 7, AT_WILL = AT_ENTRY + 5 };

static void
fill_body(struct view_row *r, sqlite3_stmt *st)
{
	struct slice rest = sql_column(st, AT_KIND + 5), len;
	size_t topic = (size_t)sqlite3_column_int64(st, AT_KIND + 1);
	size_t payload = (size_t)sqlite3_column_int64(st, AT_KIND + 2);
	int flags = sqlite3_column_int(st, AT_KIND + 3);

	r->msg = (uint64_t)sqlite3_column_int64(st, AT_KIND);
	r->expires_ms = sqlite3_column_int64(st, AT_KIND + 4);
	r->stored_s = sqlite3_column_int64(st, AT_KIND + 6);
	r->qos = flags & 3;
	r->retain = (flags & 4) != 0;
	/* lengths that lie leave all of it to the last */
	if (take_bytes(&rest, 2, &len) || take_bytes(&rest, topic, &r->topic) ||
	    take_bytes(&rest, payload, &r->payload))
		r->payload = rest;
	else
		r->props = rest;
}

static void
fill_entry(struct view_row *r, sqlite3_stmt *st)
{
	int flags = sqlite3_column_int(st, AT_ENTRY + 3);

	r->session = (uint64_t)sqlite3_column_int64(st, AT_ENTRY);
	r->seq = (uint64_t)sqlite3_column_int64(st, AT_ENTRY + 1);
	r->pid = (uint16_t)sqlite3_column_int(st, AT_ENTRY + 2);
	r->qos = flags & 3;
	r->retain = (flags & 4) != 0;
	r->state = flags >> 4 & 15;
	r->share = (uint8_t)(flags >> 8);
	r->ids = sql_column(st, AT_ENTRY + 4);
}

static void
fill(struct view_row *r, const struct kind *k, sqlite3_stmt *st)
{
	*r = (struct view_row){
		.kind = k->kind,
		.session = (uint64_t)sqlite3_column_int64(st, 0),
		.client = sql_column(st, 1),
		.user = sql_column(st, 2),
		.mount = sql_column(st, 3),
	};
	switch (k->kind) {
	case VIEW_SESSION:
		r->version = (uint8_t)sqlite3_column_int(st, AT_KIND);
		r->expiry_s = (uint32_t)sqlite3_column_int64(st, AT_KIND + 1);
		r->offline_ms = sqlite3_column_int64(st, AT_KIND + 2);
		break;
	case VIEW_SUB:
		r->filter = sql_column(st, AT_KIND);
		r->options = (uint32_t)sqlite3_column_int64(st, AT_KIND + 1);
		r->share = (uint8_t)sqlite3_column_int(st, AT_KIND + 2);
		r->session = (uint64_t)sqlite3_column_int64(st, AT_KIND + 3);
		break;
	case VIEW_RECEIVED:
		r->pid = (uint16_t)sqlite3_column_int(st, AT_KIND);
		r->session = (uint64_t)sqlite3_column_int64(st, AT_KIND + 1);
		break;
	case VIEW_WILL:
		fill_body(r, st);
		r->delay_s = (uint32_t)sqlite3_column_int64(st, AT_WILL);
		r->will_expiry_s =
		    (uint32_t)sqlite3_column_int64(st, AT_WILL + 1);
		break;
	case VIEW_INFLIGHT:
	case VIEW_QUEUED:
		fill_body(r, st);
		fill_entry(r, st);
		break;
	default:
		fill_body(r, st);
	}
}

/* A schema that does not know when a message was stored says 0. */
static int
prepare(struct view *v, const struct kind *k, bool of_client, sqlite3_stmt **st)
{
	bool has_body =
	    k->kind & (VIEW_WILL | VIEW_INFLIGHT | VIEW_QUEUED | VIEW_RETAINED);
	char *sql;
	const char *own;
	int rc, at;

	/* the kind's own columns stand behind those of the message */
	own = has_body ? strstr(k->columns, "m.bytes, ") : NULL;
	at = own ? (int)(own - k->columns) + 9 : 0;
	sql = sqlite3_mprintf(
	    "SELECT %.*s%s%s FROM %s WHERE %s AND %s ORDER BY %s", at,
	    k->columns,
	    !has_body		 ? ""
		: v->schema >= 2 ? "m.stored, "
				 : "0, ",
	    k->columns + at, k->from, k->where, of_client ? k->of_client : "1",
	    k->order);
	if (!sql)
		return SQLITE_NOMEM;
	rc = sqlite3_prepare_v2(v->db, sql, -1, st, NULL);
	sqlite3_free(sql);
	return rc;
}

typedef enum nj_err row_fn(void *arg, const struct view_row *);

/* Those in segments before a key of a session. */
static enum nj_err
rows_before(struct segment_walk *w, uint64_t session, uint64_t seq, row_fn *row,
    void *arg, int *rc)
{
	enum nj_err e;

	while (w->there &&
	    (w->row.session < session ||
		(w->row.session == session && w->row.seq < seq))) {
		if ((e = row(arg, &w->row)))
			return e;
		if ((*rc = segment_walk_next(w)) != SQLITE_OK)
			return NJ_OK;
	}
	return NJ_OK;
}

static enum nj_err
rows_of(struct view *v, const struct kind *k, struct slice client, row_fn *row,
    void *arg, struct nj_why *why)
{
	struct segment_walk w = { .st = NULL };
	sqlite3_stmt *st = NULL;
	int rc = prepare(v, k, client.p != NULL, &st), walk = SQLITE_OK;
	enum nj_err e = NJ_OK;

	if (rc == SQLITE_OK && client.p)
		sql_bind_slice(st, 1, client);
	if (rc == SQLITE_OK && k->kind == VIEW_QUEUED)
		rc = segment_walk_begin(&w, v, client);
	while (
	    !e && walk == SQLITE_OK && (rc == SQLITE_OK || rc == SQLITE_ROW)) {
		struct view_row r;

		if ((rc = sqlite3_step(st)) != SQLITE_ROW)
			break;
		fill(&r, k, st);
		e = rows_before(&w, r.session, r.seq, row, arg, &walk);
		if (!e && walk == SQLITE_OK)
			e = row(arg, &r);
	}
	if (!e && walk == SQLITE_OK && rc == SQLITE_DONE)
		e = rows_before(&w, UINT64_MAX, 0, row, arg, &walk);
	if (walk != SQLITE_OK)
		rc = walk;
	segment_walk_end(&w);
	sqlite3_finalize(st);
	return e ? e : view_err(v, "reading it", rc, why);
}

enum nj_err
view_rows(struct view *v, unsigned wanted, struct slice client,
    enum nj_err (*row)(void *arg, const struct view_row *), void *arg,
    struct nj_why *why)
{
	enum nj_err e;

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if ((kinds[i].kind & wanted) &&
		    (e = rows_of(v, &kinds[i], client, row, arg, why)))
			return e;
	return NJ_OK;
}
