/* SPDX-License-Identifier: Apache-2.0
 *
 * What need not be loaded: messages whose time is over, rows of sessions that
 * are gone, the orders that deleted retained messages left behind.
 */
#include "store/impl.h"

static enum nj_err
one_number(struct store *s, enum statement which, bool *any)
{
	int rc = sqlite3_step(sql_get(s, which));

	*any = rc == SQLITE_ROW;
	sqlite3_reset(sql_get(s, which));
	return sql_err(rc);
}

static enum nj_err
drop_expired(struct store *s, int64_t now_ms)
{
	static const enum statement drops[] = { ST_QUEUE_EXPIRED,
		ST_RETAINED_EXPIRED };
	enum nj_err e;
	bool any;

	sqlite3_bind_int64(sql_get(s, ST_EXPIRED), 1, now_ms);
	if ((e = one_number(s, ST_EXPIRED, &any)) || !any)
		return e;
	for (unsigned i = 0; i < 2; i++) {
		sqlite3_bind_int64(sql_get(s, drops[i]), 1, now_ms);
		sqlite3_bind_int64(sql_get(s, drops[i]), 2, CLEAN_EXPIRED_MAX);
		if ((e = apply_dropping(s, drops[i])))
			return e;
	}
	return apply_refs(s);
}

/* Who was connected when the last life ended has been away since now: else its
 * clock would begin again with each start. */
static enum nj_err
note_away(struct store *s, int64_t now_ms)
{
	sqlite3_bind_int64(sql_get(s, ST_AWAY), 1, now_ms);
	return sql_run(s, ST_AWAY);
}

/* One transaction, whole or not at all. */
static enum nj_err
end_transaction(struct store *s, enum nj_err e)
{
	if (!e && !(e = sql_run(s, ST_COMMIT))) {
		refs_clear(&s->refs);
		data_committed(s);
		return NJ_OK;
	}
	refs_clear(&s->refs);
	data_rolled_back(s);
	if (!sqlite3_get_autocommit(s->db) && sql_run(s, ST_ROLLBACK))
		return NJ_IO;
	return e;
}

enum nj_err
clean_expired(struct store *s, int64_t now_ms)
{
	enum nj_err e = sql_begin(s);

	if (e)
		return e;
	if (!(e = sql_exec(s, "DELETE FROM retained WHERE msg IS NULL")) &&
	    now_ms > 0 && !(e = note_away(s, now_ms)))
		e = drop_expired(s, now_ms);
	return end_transaction(s, e);
}

enum nj_err
clean_orphans(struct store *s, const uint64_t *sessions, size_t n)
{
	enum nj_err e;

	if (n == 0)
		return NJ_OK;
	if ((e = sql_begin(s)))
		return e;
	for (size_t i = 0; i < n && !e; i++)
		e = apply_session_end(s, sessions[i]);
	if (!e)
		e = apply_refs(s);
	return end_transaction(s, e);
}
