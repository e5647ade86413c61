/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries in segments as the rows of a view.
 */
#include <stdio.h>

#include "store/impl.h"
#include "store/view_impl.h"

int
segment_walk_begin(struct segment_walk *w, struct view *v, struct slice client)
{
	char sql[500];
	int rc;

	*w = (struct segment_walk){ .st = NULL };
	if (v->schema < SEGMENT_SCHEMA)
		return SQLITE_OK;
	(void)snprintf(sql, sizeof sql,
	    "SELECT s.id, s.client, s.user, s.mount, t.session, t.first, t.n, "
	    "t.stored, %s, g.bits FROM seg t "
	    "LEFT JOIN session s ON s.id = t.session LEFT JOIN gone g "
	    "ON g.session = t.session AND g.first = t.first "
	    "WHERE ?1 IS NULL OR t.session IN "
	    "(SELECT id FROM session WHERE client = ?1) "
	    "ORDER BY t.session, t.first",
	    v->schema < DATA_SCHEMA
		? "t.data"
		: "nj_data(t.data, t.file, t.at, t.len, t.sum)");
	rc = sqlite3_prepare_v2(v->db, sql, -1, &w->st, NULL);
	if (rc != SQLITE_OK)
		return rc;
	if (client.p)
		sql_bind_slice(w->st, 1, client);
	return segment_walk_next(w);
}

static int
next_row(struct segment_walk *w)
{
	int rc = sqlite3_step(w->st);

	w->there = rc == SQLITE_ROW;
	if (!w->there)
		return rc == SQLITE_DONE ? SQLITE_OK : rc;
	w->row = (struct view_row){
		.kind = VIEW_QUEUED,
		.client = sql_column(w->st, 1),
		.user = sql_column(w->st, 2),
		.mount = sql_column(w->st, 3),
		.session = (uint64_t)sqlite3_column_int64(w->st, 4),
		.stored_s = sqlite3_column_int64(w->st, 7),
		.expires_ms = STORE_NEVER,
	};
	w->first = (uint64_t)sqlite3_column_int64(w->st, 5);
	w->n = (uint32_t)sqlite3_column_int64(w->st, 6);
	w->data = sql_column(w->st, 8);
	w->bits = sql_column(w->st, 9);
	w->i = 0;
	return SQLITE_OK;
}

static void
fill(struct view_row *r, const struct segment_entry *en)
{
	struct slice rest = en->body.bytes;

	r->qos = en->qos;
	r->retain = en->retain;
	r->ids = en->ids;
	/* segment_take has looked at the lengths */
	if (take_bin(&rest, &r->topic) ||
	    take_bytes(&rest, en->body.payload_len, &r->payload))
		return;
	r->props = rest;
}

int
segment_walk_next(struct segment_walk *w)
{
	struct segment_entry en;
	int rc;

	if (!w->st)
		return SQLITE_OK;
	for (;;) {
		while (w->there && w->i < w->n) {
			uint32_t i = w->i++;

			/* the rest of it says nothing: view_check tells */
			if (segment_take(&w->data, &en)) {
				w->i = w->n;
				break;
			}
			if (segment_gone(w->bits, i))
				continue;
			w->row.seq = w->first + i;
			fill(&w->row, &en);
			return SQLITE_OK;
		}
		if ((rc = next_row(w)) != SQLITE_OK || !w->there)
			return rc;
	}
}

void
segment_walk_end(struct segment_walk *w)
{
	sqlite3_finalize(w->st);
	w->st = NULL;
	w->there = false;
}
