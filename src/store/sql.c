/* SPDX-License-Identifier: Apache-2.0
 *
 * The schema's statements, and SQLite's results as ours.
 */
#include "store/impl.h"

/* As the index msg_expires has it, which is used for this form only. */
#define EXPIRED "expires <= ?1 AND expires < 9223372036854775807"

static const char *const text[STATEMENTS] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_SESSION] =
	    "INSERT INTO session(id, client, user, version, expiry, "
	    "offline, mount, who) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
	    "ON CONFLICT(id) DO UPDATE SET client = ?2, user = ?3, "
	    "version = ?4, expiry = ?5, offline = ?6, mount = ?7, "
	    "who = ?8",
	[ST_SENT] = "UPDATE session SET sent = ?2 WHERE id = ?1",
	[ST_AWAY] = "UPDATE session SET offline = ?1 "
		    "WHERE offline = 9223372036854775807",
	[ST_SESSION_END] = "DELETE FROM session WHERE id = ?1 RETURNING will",
	[ST_WILL] = "UPDATE session SET will = ?2, will_delay = ?3, "
		    "will_expiry = ?4 WHERE id = ?1",
	[ST_WILL_END] = "UPDATE session SET will = NULL "
			"WHERE id = ?1 AND will = ?2 RETURNING ?2",
	[ST_WILL_GET] = "SELECT will FROM session WHERE id = ?1",
	[ST_SUB] = "INSERT OR REPLACE INTO sub(session, filter, options, "
		   "share) VALUES(?1, ?2, ?3, ?4)",
	[ST_SUB_END] = "DELETE FROM sub WHERE session = ?1 AND filter = ?2",
	[ST_SUBS_END] = "DELETE FROM sub WHERE session = ?1",
	[ST_RECEIVED] = "INSERT OR REPLACE INTO received(session, pid) "
			"VALUES(?1, ?2)",
	[ST_RELEASED] = "DELETE FROM received WHERE session = ?1 AND pid = ?2",
	[ST_RECEIVED_END] = "DELETE FROM received WHERE session = ?1",
	[ST_QUEUE] = "INSERT OR REPLACE INTO queue(session, seq, pid, flags, "
		     "ids, msg, size) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[ST_QUEUE_STATE] = "UPDATE queue SET pid = ?3, "
			   "flags = (flags & ~240) | ?4 "
			   "WHERE session = ?1 AND seq = ?2",
	/* RETURNING makes a table for what it gives, and costs more than both */
	[ST_QUEUE_MSGS] = "SELECT msg FROM queue WHERE session = ?1 AND "
			  "seq BETWEEN ?2 AND ?3",
	[ST_QUEUE_END] = "DELETE FROM queue WHERE session = ?1 AND "
			 "seq BETWEEN ?2 AND ?3",
	[ST_QUEUE_OLDEST] = "SELECT seq FROM queue WHERE session = ?1 AND "
			    "seq >= ?2 AND pid = 0 ORDER BY seq LIMIT 1",
	[ST_SHARE_END] = "UPDATE queue SET flags = flags & 255 "
			 "WHERE session = ?1 AND flags >> 8 & 255 = ?2",
	[ST_QUEUES_END] = "DELETE FROM queue WHERE session = ?1 RETURNING msg",
	[ST_QUEUE_READ] = "SELECT seq, pid, flags, ids, msg FROM queue "
			  "WHERE session = ?1 AND seq >= ?2 AND seq < ?4 "
			  "AND pid = 0 ORDER BY seq LIMIT ?3",
	[ST_SEG] =
	    "INSERT INTO seg(session, first, n, size, stored, data, file, "
	    "at, len, sum) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
	    "?10)",
	[ST_SEG_AT] =
	    "SELECT s.first, s.n, g.bits, s.file, s.len FROM seg s "
	    "LEFT JOIN gone g ON g.session = s.session AND g.first = s.first "
	    "WHERE s.session = ?1 AND s.first <= ?2 "
	    "ORDER BY s.first DESC LIMIT 1",
	[ST_SEG_NEXT] = "SELECT s.first, s.n, g.bits, s.file, s.len "
			"FROM seg s LEFT JOIN gone g ON g.session = s.session "
			"AND g.first = s.first "
			"WHERE s.session = ?1 AND s.first >= ?2 "
			"ORDER BY s.first LIMIT 1",
	[ST_SEG_DATA] = "SELECT data, file, at, len, sum FROM seg WHERE "
			"session = ?1 AND first = "
			"?2",
	[ST_SEG_END] = "DELETE FROM seg WHERE session = ?1 AND first = ?2",
	[ST_SEG_FROM] = "SELECT first FROM seg WHERE session = ?1 AND "
			"first <= ?2 ORDER BY first DESC LIMIT 1",
	[ST_SEG_READ] = "SELECT s.first, s.n, g.bits, s.data, s.file, s.at, "
			"s.len, s.sum FROM seg s "
			"LEFT JOIN gone g ON g.session = s.session AND "
			"g.first = s.first WHERE s.session = ?1 AND "
			"s.first >= ?2 AND s.first < ?3 ORDER BY s.first",
	[ST_SEG_OF_FILE] = "SELECT session, first, data, file, at, len, sum "
			   "FROM seg WHERE file = ?1 AND file <> 0 LIMIT 1",
	[ST_SEG_MOVE] = "UPDATE seg SET file = ?3, at = ?4, sum = ?5 "
			"WHERE session = ?1 AND first = ?2",
	[ST_FILE] = "INSERT OR IGNORE INTO file(no) VALUES(?1)",
	/* the highest says which numbers were used */
	[ST_FILE_END] = "DELETE FROM file WHERE no = ?1 AND "
			"no < (SELECT max(no) FROM file)",
	[ST_GONE] = "INSERT OR REPLACE INTO gone(session, first, n, bits) "
		    "VALUES(?1, ?2, ?3, ?4)",
	[ST_GONE_END] = "DELETE FROM gone WHERE session = ?1 AND first = ?2",
	[ST_SEGS_END] = "DELETE FROM seg WHERE session = ?1 "
			"RETURNING file, len",
	[ST_GONES_END] = "DELETE FROM gone WHERE session = ?1",
	[ST_MSG] = "INSERT INTO msg(id, refs, topic_len, payload_len, flags, "
		   "expires, bytes, stored) "
		   "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
		   "ON CONFLICT(id) DO UPDATE SET refs = refs + ?2",
	[ST_MSG_LEFT] = "SELECT refs FROM msg WHERE id = ?1",
	[ST_MSG_REFS] = "UPDATE msg SET refs = refs + ?2 WHERE id = ?1",
	[ST_MSG_GC] = "DELETE FROM msg WHERE id = ?1",
	[ST_MSG_GET] = "SELECT topic_len, payload_len, flags, expires, bytes, "
		       "stored FROM msg WHERE id = ?1",
	[ST_RETAIN_GET] = "SELECT ord, msg FROM retained WHERE topic = ?1",
	[ST_RETAIN] = "INSERT OR REPLACE INTO retained(topic, ord, msg) "
		      "VALUES(?1, ?2, ?3)",
	[ST_TOMBS_END] = "DELETE FROM retained WHERE msg IS NULL AND ord <= ?1",
	[ST_FACT] = "INSERT OR REPLACE INTO fact(space, kind, name, value) "
		    "VALUES(?1, ?2, ?3, ?4)",
	[ST_FACT_END] = "DELETE FROM fact WHERE space = ?1 AND kind = ?2 "
			"AND name = ?3",
	[ST_FACTS_END] = "DELETE FROM fact WHERE space = ?1",
	[ST_FACTS_READ] = "SELECT kind, name, value FROM fact WHERE space = ?1 "
			  "ORDER BY kind, name",
	[ST_PAGES] = "PRAGMA page_count",
	[ST_FREE_PAGES] = "PRAGMA freelist_count",
	[ST_EXPIRED] = "SELECT 1 FROM msg WHERE " EXPIRED " LIMIT 1",
	/* not what its client may have been sent at QoS 2, and would wait for
	 * the end of */
	[ST_QUEUE_EXPIRED] = "DELETE FROM queue WHERE pid = 0 AND msg IN "
			     "(SELECT id FROM msg WHERE " EXPIRED
			     " ORDER BY expires LIMIT ?2) AND (flags & 3 < 2 "
			     "OR seq > (SELECT sent FROM session "
			     "WHERE id = queue.session)) RETURNING msg",
	[ST_RETAINED_EXPIRED] = "DELETE FROM retained WHERE msg IN "
				"(SELECT id FROM msg WHERE " EXPIRED
				" ORDER BY expires LIMIT ?2) RETURNING msg",
};

enum nj_err
sql_err(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return NJ_OK;
	case SQLITE_NOMEM:
		return NJ_NOMEM;
	case SQLITE_FULL:
		return NJ_FULL;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return NJ_BUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return NJ_MALFORMED;
	case SQLITE_TOOBIG:
		return NJ_TOOBIG;
	default:
		return NJ_IO;
	}
}

void
sql_why(struct store *s, struct nj_why *why, const char *doing)
{
	why_set(why, "%s: %s: %s", s->path, doing,
	    s->db ? sqlite3_errmsg(s->db) : "out of memory");
}

enum nj_err
sql_exec(struct store *s, const char *sql)
{
	return sql_err(sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

enum nj_err
sql_prepare_all(struct store *s)
{
	for (unsigned i = 0; i < STATEMENTS; i++) {
		int rc = sqlite3_prepare_v3(s->db, text[i], -1,
		    SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL);

		if (rc != SQLITE_OK)
			return sql_err(rc);
	}
	return NJ_OK;
}

void
sql_finalize_all(struct store *s)
{
	for (unsigned i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(s->st[i]);
		s->st[i] = NULL;
	}
}

sqlite3_stmt *
sql_get(struct store *s, enum statement which)
{
	return s->st[which];
}

enum nj_err
sql_run(struct store *s, enum statement which)
{
	int rc = sqlite3_step(s->st[which]);

	/* the result of a failed step comes again from reset */
	sqlite3_reset(s->st[which]);
	return sql_err(rc);
}

enum nj_err
sql_begin(struct store *s)
{
	enum nj_err e;

	if (!sqlite3_get_autocommit(s->db) && (e = sql_run(s, ST_ROLLBACK)))
		return e;
	return sql_run(s, ST_BEGIN);
}

void
sql_bind_slice(sqlite3_stmt *st, int at, struct slice v)
{
	/* the bytes stay where they are until the statement was run */
	sqlite3_bind_blob64(st, at, v.n ? (const void *)v.p : "", v.n, NULL);
}

struct slice
sql_column(sqlite3_stmt *st, int at)
{
	const void *p = sqlite3_column_blob(st, at);

	return slice_of(p, (size_t)sqlite3_column_bytes(st, at));
}
