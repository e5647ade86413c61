/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/repair.h"

#include <stdlib.h>

#include "store/impl.h"
#include "store/lock.h"
#include "store/salvage.h"
#include "store/view.h"
#include "store/walcheck.h"
#include "wire/topic.h"

static struct slice
argument(sqlite3_value *v)
{
	const void *p = sqlite3_value_blob(v);

	return slice_of(p, (size_t)sqlite3_value_bytes(v));
}

static void
f_filter_ok(sqlite3_context *c, int n, sqlite3_value **v)
{
	struct slice whole = argument(v[0]), group, filter;
	enum nj_err e = topic_share(whole, &group, &filter);

	(void)n;
	sqlite3_result_int(
	    c, e == NJ_OK || (e == NJ_NOTFOUND && topic_filter_ok(whole)));
}

static void
f_msg_ok(sqlite3_context *c, int n, sqlite3_value **v)
{
	struct slice rest = argument(v[0]), topic = SLICE_NONE, payload;
	sqlite3_int64 topic_len = sqlite3_value_int64(v[1]);
	sqlite3_int64 payload_len = sqlite3_value_int64(v[2]);

	(void)n;
	sqlite3_result_int(c,
	    topic_len > 0 && payload_len >= 0 &&
		take_bin(&rest, &topic) == NJ_OK &&
		(sqlite3_int64)topic.n == topic_len &&
		take_bytes(&rest, (size_t)payload_len, &payload) == NJ_OK &&
		topic_name_ok(topic));
}

/* As many entries as it says, and nothing else. */
static void
f_segment_ok(sqlite3_context *c, int n, sqlite3_value **v)
{
	struct slice data = argument(v[0]);
	sqlite3_int64 left = sqlite3_value_int64(v[1]);
	struct segment_entry en;
	bool ok = left > 0 && left <= SEGMENT_ENTRIES;

	(void)n;
	while (ok && left-- > 0)
		ok = segment_take(&data, &en) == NJ_OK &&
		    topic_name_ok(
			slice_of(en.body.bytes.p + 2, en.body.topic_len));
	sqlite3_result_int(c, ok && data.n == 0);
}

/* Some, not all, are gone; as many as it says. */
static void
f_gone_ok(sqlite3_context *c, int n, sqlite3_value **v)
{
	struct slice bits = argument(v[0]);
	sqlite3_int64 said = sqlite3_value_int64(v[1]);
	sqlite3_int64 of = sqlite3_value_int64(v[2]), counted = 0;

	(void)n;
	for (uint32_t i = 0; i < bits.n * 8 && bits.n <= SEGMENT_BITS; i++)
		counted += segment_gone(bits, i);
	sqlite3_result_int(c,
	    bits.n <= SEGMENT_BITS && counted == said && said > 0 && said < of);
}

enum nj_err
store_functions(sqlite3 *db)
{
	const int how = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;

	if (sqlite3_create_function(db, "nj_filter_ok", 1, how, NULL,
		f_filter_ok, NULL, NULL) != SQLITE_OK ||
	    sqlite3_create_function(db, "nj_msg_ok", 3, how, NULL, f_msg_ok,
		NULL, NULL) != SQLITE_OK ||
	    sqlite3_create_function(db, "nj_segment_ok", 2, how, NULL,
		f_segment_ok, NULL, NULL) != SQLITE_OK ||
	    sqlite3_create_function(db, "nj_gone_ok", 3, how, NULL, f_gone_ok,
		NULL, NULL) != SQLITE_OK)
		return NJ_NOMEM;
	return NJ_OK;
}

/* In this order: what one deletes, the next no longer finds. */
static const char *const steps[] = {
	"DELETE FROM session WHERE id <= 0 OR version NOT IN (0, 3, 4, 5) OR "
	"expiry NOT BETWEEN 0 AND 4294967295 OR length(client) > 65535",
	/* the newest is the one that the client used last */
	"DELETE FROM session WHERE " STORE_LIVE " AND id NOT IN (SELECT "
	"max(id) FROM session WHERE " STORE_LIVE " GROUP BY client)",
	"DELETE FROM sub WHERE session NOT IN (SELECT id FROM session) OR "
	"NOT nj_filter_ok(filter)",
	"DELETE FROM received WHERE session NOT IN (SELECT id FROM session) "
	"OR pid NOT BETWEEN 1 AND 65535",
	"DELETE FROM msg WHERE NOT nj_msg_ok(bytes, topic_len, payload_len) "
	"OR flags & 3 = 3",
	"DELETE FROM queue WHERE session NOT IN (SELECT id FROM session) OR "
	"msg NOT IN (SELECT id FROM msg) OR pid NOT BETWEEN 0 AND 65535 OR "
	"flags & 3 = 3 OR size < 0 OR ifnull(length(ids), 0) % 4 <> 0",
	"DELETE FROM seg WHERE session NOT IN (SELECT id FROM session) OR "
	"size < 0 OR NOT nj_segment_ok(nj_data(data, file, at, len, sum), n)",
	"DELETE FROM seg WHERE EXISTS (SELECT 1 FROM seg o WHERE o.session = "
	"seg.session AND o.first < seg.first AND o.first + o.n > seg.first)",
	/* what it says is gone may come once more */
	"DELETE FROM gone WHERE NOT EXISTS (SELECT 1 FROM seg s WHERE "
	"s.session = gone.session AND s.first = gone.first AND "
	"nj_gone_ok(gone.bits, gone.n, s.n))",
	/* the later of two in flight goes back into the queue */
	"UPDATE queue SET pid = 0, flags = flags & ~240 WHERE pid <> 0 AND "
	"EXISTS (SELECT 1 FROM queue q WHERE q.session = queue.session AND "
	"q.pid = queue.pid AND q.seq < queue.seq)",
	"DELETE FROM retained WHERE msg IS NULL OR NOT EXISTS (SELECT 1 FROM "
	"msg m WHERE m.id = retained.msg AND substr(m.bytes, 3, m.topic_len) "
	"= retained.topic)",
	"UPDATE session SET will = NULL WHERE will IS NOT NULL AND will NOT "
	"IN (SELECT id FROM msg)",
	"CREATE TEMP TABLE named AS SELECT msg AS id, count(*) AS n FROM "
	"(" STORE_NAMED ") GROUP BY msg",
	"CREATE UNIQUE INDEX temp.named_id ON named(id, n)",
	"DELETE FROM msg WHERE id NOT IN (SELECT id FROM named)",
	"UPDATE msg SET refs = (SELECT n FROM named WHERE named.id = msg.id) "
	"WHERE refs <> (SELECT n FROM named WHERE named.id = msg.id)",
	"DROP TABLE temp.named",
};

static enum nj_err
read_data(void *arg, const struct place *p, struct slice *out)
{
	return data_get(arg, p, out);
}

static enum nj_err
run_steps(struct store *s)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; i < sizeof steps / sizeof *steps && !e; i++)
		e = sql_exec(s, steps[i]);
	return e;
}

enum nj_err
store_mend_rows(struct store *s, struct data_source *src)
{
	enum nj_err e;

	*src = (struct data_source){ .read = read_data, .arg = s };
	if ((e = store_functions(s->db)) || (e = data_function(s->db, src)))
		return e;
	return run_steps(s);
}

enum nj_err
store_repair(const char *path, uint64_t *deleted, struct nj_why *why)
{
	struct data_source src;
	struct store *s = NULL;
	sqlite3_int64 before;
	enum nj_err e;

	if ((!store_locked(path) &&
		(e = walcheck_mend_header(NULL, path, false, why))) ||
	    (e = salvage_judge_log(path, why)) ||
	    (e = store_open(
		 &(struct store_opts){ .path = path, .mend = true }, &s, why)))
		return e;
	before = sqlite3_total_changes64(s->db);
	if ((e = sql_exec(s, "BEGIN")) || (e = store_mend_rows(s, &src)) ||
	    (e = sql_exec(s, "COMMIT")))
		sql_why(s, why, "mending it");
	else
		*deleted = (uint64_t)(sqlite3_total_changes64(s->db) - before);
	store_close(s);
	return e;
}
