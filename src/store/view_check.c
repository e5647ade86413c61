/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a store is whole: its pages, its tables, what its rows name.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "store/impl.h"
#include "store/lock.h"
#include "store/repair.h"
#include "store/view_impl.h"
#include "store/walcheck.h"
#include "wire/topic.h"

/* Lines of the integrity check that are told, each a page or an index. */
#define PAGES_MAX 20

#define MEND_REPAIR \
	"stop the broker and run this with --repair, which deletes such rows"
#define MEND_START                                                             \
	"nothing: the broker deletes such rows when it starts next; --repair " \
	"does it now"
#define MEND_PAGES                                                         \
	"stop the broker, and restore the last backup (nightjar store "    \
	"restore --force), or go on with what other pages have (nightjar " \
	"store salvage)"

struct checking {
	struct view *v;
	void (*fault)(void *arg, const struct view_fault *f);
	void *arg;
};

static void
found(struct checking *c, const char *code, uint64_t n, const char *mend,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void
found(struct checking *c, const char *code, uint64_t n, const char *mend,
    const char *fmt, ...)
{
	struct view_fault f = { .code = code, .count = n, .mend = mend };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(f.text, sizeof f.text, fmt, ap);
	va_end(ap);
	c->fault(c->arg, &f);
}

/* Each query counts what is wrong, and gives one example. */
static const struct rule {
	const char *code, *sql, *text, *mend;
} rules[] = {
	{ "session-range",
	    "SELECT count(*), min(id) FROM session WHERE id <= 0 OR version "
	    "NOT IN (0, 3, 4, 5) OR expiry NOT BETWEEN 0 AND 4294967295 OR "
	    "length(client) > 65535",
	    "sessions with a protocol version, an expiry or a name that is "
	    "none, such as session",
	    MEND_REPAIR },
	{ "session-twice",
	    "SELECT count(*), min(id) FROM (SELECT max(id) AS id FROM session "
	    "WHERE " STORE_LIVE " GROUP BY client HAVING count(*) > 1)",
	    "clients that have more than one session, such as session",
	    MEND_REPAIR },
	{ "orphan-subscription",
	    "SELECT count(*), min(session) FROM sub WHERE session NOT IN "
	    "(SELECT id FROM session)",
	    "subscriptions of sessions that are gone, such as of session",
	    MEND_START },
	{ "bad-filter",
	    "SELECT count(*), min(session) FROM sub WHERE NOT "
	    "nj_filter_ok(filter)",
	    "subscriptions whose filter is none, such as of session",
	    MEND_REPAIR },
	{ "orphan-received",
	    "SELECT count(*), min(session) FROM received WHERE session NOT IN "
	    "(SELECT id FROM session)",
	    "QoS 2 identifiers of sessions that are gone, such as of session",
	    MEND_START },
	{ "received-range",
	    "SELECT count(*), min(session) FROM received WHERE pid NOT "
	    "BETWEEN 1 AND 65535",
	    "QoS 2 identifiers that are none, such as of session",
	    MEND_REPAIR },
	{ "orphan-queue",
	    "SELECT count(*), min(session) FROM queue WHERE session NOT IN "
	    "(SELECT id FROM session)",
	    "queued messages of sessions that are gone, such as of session",
	    MEND_START },
	{ "queue-range",
	    "SELECT count(*), min(session) FROM queue WHERE pid NOT BETWEEN "
	    "0 AND 65535 OR flags & 3 = 3 OR size < 0 OR "
	    "ifnull(length(ids), 0) % 4 <> 0",
	    "queued messages with a packet identifier, a QoS or a size that "
	    "is none, such as of session",
	    MEND_REPAIR },
	{ "pid-twice",
	    "SELECT count(*), min(session) FROM (SELECT session FROM queue "
	    "WHERE pid <> 0 GROUP BY session, pid HAVING count(*) > 1)",
	    "packet identifiers in flight twice, such as in session",
	    MEND_REPAIR },
	{ "bad-message",
	    "SELECT count(*), min(id) FROM msg WHERE NOT nj_msg_ok(bytes, "
	    "topic_len, payload_len) OR flags & 3 = 3",
	    "messages whose topic, lengths or QoS are not as they should be, "
	    "such as message",
	    MEND_REPAIR },
	{ "retained-topic",
	    "SELECT count(*), min(m.id) FROM retained r JOIN msg m ON m.id = "
	    "r.msg WHERE r.topic <> substr(m.bytes, 3, m.topic_len)",
	    "retained messages under another topic than their own, such as "
	    "message",
	    MEND_REPAIR },
};

/* The same, of what a schema before SEGMENT_SCHEMA has not. */
static const struct rule segment_rules[] = {
	{ "orphan-segment",
	    "SELECT count(*), min(session) FROM seg WHERE session NOT IN "
	    "(SELECT id FROM session)",
	    "segments of queues of sessions that are gone, such as of session",
	    MEND_START },
	{ "segment-overlap",
	    "SELECT count(*), min(session) FROM (SELECT session, first + n AS "
	    "till, lead(first) OVER (PARTITION BY session ORDER BY first) AS "
	    "next FROM seg) WHERE till > next",
	    "segments of queues that have the keys of others, such as of "
	    "session",
	    MEND_REPAIR },
	{ "segment-gone",
	    "SELECT count(*), min(g.session) FROM gone g LEFT JOIN seg s ON "
	    "s.session = g.session AND s.first = g.first WHERE s.n IS NULL OR "
	    "NOT nj_gone_ok(g.bits, g.n, s.n)",
	    "notes of what is gone from a segment that do not go with it, "
	    "such as of session",
	    MEND_REPAIR },
};

static const struct rule bad_segment[] = {
	{ "bad-segment",
	    "SELECT count(*), min(session) FROM seg WHERE size < 0 OR "
	    "NOT nj_segment_ok(data, n)",
	    "segments of queues whose messages are not as they should be, "
	    "such as of session",
	    MEND_REPAIR },
	{ "bad-segment",
	    "SELECT count(*), min(session) FROM seg WHERE size < 0 OR "
	    "NOT nj_segment_ok(nj_data(data, file, at, len, sum), n)",
	    "segments of queues whose messages are not as they should be, "
	    "such as of session",
	    MEND_REPAIR },
};

static enum nj_err
check_rules(
    struct checking *c, const struct rule *r, size_t of, struct nj_why *why)
{
	for (; of > 0; of--, r++) {
		uint64_t n[2];
		enum nj_err e = view_numbers(c->v, r->sql, n, 2, why);

		if (e)
			return e;
		if (n[0] > 0)
			found(c, r->code, n[0], r->mend, "%llu %s %lld",
			    (unsigned long long)n[0], r->text, (long long)n[1]);
	}
	return NJ_OK;
}

/* Two lists in order of message: what is there, and how often it is named. */
struct merge {
	sqlite3_stmt *there, *named;
	int rc_there, rc_named;
	struct tally {
		uint64_t n, first;
	} missing, unnamed, wrong;
};

static void
tally(struct tally *t, sqlite3_int64 id)
{
	if (t->n++ == 0)
		t->first = (uint64_t)id;
}

static int
merge_all(struct merge *m)
{
	m->rc_there = sqlite3_step(m->there);
	m->rc_named = sqlite3_step(m->named);
	while (m->rc_there == SQLITE_ROW || m->rc_named == SQLITE_ROW) {
		bool a = m->rc_there == SQLITE_ROW;
		bool b = m->rc_named == SQLITE_ROW;
		sqlite3_int64 x = a ? sqlite3_column_int64(m->there, 0) : 0;
		sqlite3_int64 y = b ? sqlite3_column_int64(m->named, 0) : 0;

		if (b && (!a || y < x)) {
			tally(&m->missing, y);
		} else if (a && (!b || x < y)) {
			tally(&m->unnamed, x);
		} else if (sqlite3_column_int64(m->there, 1) !=
		    sqlite3_column_int64(m->named, 1)) {
			tally(&m->wrong, x);
		}
		if (a && (!b || x <= y))
			m->rc_there = sqlite3_step(m->there);
		if (b && (!a || y <= x))
			m->rc_named = sqlite3_step(m->named);
	}
	return m->rc_there != SQLITE_DONE ? m->rc_there
	    : m->rc_named != SQLITE_DONE  ? m->rc_named
					  : SQLITE_OK;
}

static void
tell_merge(struct checking *c, const struct merge *m)
{
	if (m->missing.n)
		found(c, "missing-message", m->missing.n, MEND_REPAIR,
		    "%llu messages are named by queues, wills or topics and "
		    "are not there, such as message %llu",
		    (unsigned long long)m->missing.n,
		    (unsigned long long)m->missing.first);
	if (m->unnamed.n)
		found(c, "unnamed-message", m->unnamed.n, MEND_REPAIR,
		    "%llu messages are there and belong to nothing, such as "
		    "message %llu",
		    (unsigned long long)m->unnamed.n,
		    (unsigned long long)m->unnamed.first);
	if (m->wrong.n)
		found(c, "reference-count", m->wrong.n, MEND_REPAIR,
		    "%llu messages have another count of their users than "
		    "they have users, such as message %llu",
		    (unsigned long long)m->wrong.n,
		    (unsigned long long)m->wrong.first);
}

static enum nj_err
check_references(struct checking *c, struct nj_why *why)
{
	struct merge m = { .there = NULL };
	int rc;

	if ((rc = sqlite3_prepare_v2(c->v->db,
		 "SELECT id, refs FROM msg ORDER BY id", -1, &m.there, NULL)) ==
		SQLITE_OK &&
	    (rc = sqlite3_prepare_v2(c->v->db,
		 "SELECT msg, count(*) FROM (" STORE_NAMED
		 ") GROUP BY msg ORDER BY msg",
		 -1, &m.named, NULL)) == SQLITE_OK)
		rc = merge_all(&m);
	sqlite3_finalize(m.there);
	sqlite3_finalize(m.named);
	if (rc == SQLITE_OK)
		tell_merge(c, &m);
	return view_err(c->v, "checking what it names", rc, why);
}

/* "ok" in one row, or a row for each thing that is wrong. */
static enum nj_err
check_pages(struct checking *c, bool quick, bool *whole, struct nj_why *why)
{
	sqlite3_stmt *st = NULL;
	char sql[64];
	int rc;

	(void)snprintf(sql, sizeof sql, "PRAGMA %s_check(%d)",
	    quick ? "quick" : "integrity", PAGES_MAX);
	*whole = true;
	rc = sqlite3_prepare_v2(c->v->db, sql, -1, &st, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		const char *said;
		char esc[400];

		if ((rc = sqlite3_step(st)) != SQLITE_ROW)
			break;
		said = (const char *)sqlite3_column_text(st, 0);
		if (!said || strcmp(said, "ok") == 0)
			continue;
		*whole = false;
		found(c, "damaged", 1, MEND_PAGES, "the file is damaged: %s",
		    text_esc(esc, sizeof esc, slice_str(said)));
	}
	sqlite3_finalize(st);
	if ((rc & 0xff) == SQLITE_CORRUPT) {
		*whole = false;
		found(c, "damaged", 1, MEND_PAGES, "the file is damaged: %s",
		    sqlite3_errmsg(c->v->db));
		return NJ_OK;
	}
	return view_err(c->v, "checking it", rc, why);
}

static enum nj_err
check_tables(struct checking *c, bool *there, struct nj_why *why)
{
	static const char *const columns[] = {
		"SELECT id, client, user, mount, version, expiry, offline, "
		"will, will_delay, will_expiry, sent FROM session",
		"SELECT session, filter, options, share FROM sub",
		"SELECT session, pid FROM received",
		"SELECT session, seq, pid, flags, ids, msg, size FROM queue",
		"SELECT id, refs, topic_len, payload_len, flags, expires, "
		"bytes FROM msg",
		"SELECT topic, ord, msg FROM retained",
		"SELECT session, first, n, size, stored, data FROM seg",
		"SELECT session, first, n, bits FROM gone",
		"SELECT no, file, at, len, sum FROM seg, file",
	};
	size_t n = sizeof columns / sizeof *columns -
	    (c->v->schema < SEGMENT_SCHEMA	 ? 3
		    : c->v->schema < DATA_SCHEMA ? 1
						 : 0);

	*there = true;
	for (size_t i = 0; i < n; i++) {
		sqlite3_stmt *st = NULL;
		int rc =
		    sqlite3_prepare_v2(c->v->db, columns[i], -1, &st, NULL);

		sqlite3_finalize(st);
		if (rc == SQLITE_ERROR) {
			*there = false;
			found(c, "tables", 1,
			    "restore the last backup: somebody changed the "
			    "tables",
			    "its tables are not as they should be: %s",
			    sqlite3_errmsg(c->v->db));
		} else if (rc != SQLITE_OK) {
			return view_err(c->v, "reading it", rc, why);
		}
	}
	return NJ_OK;
}

static void
check_file(struct checking *c)
{
	unsigned mode = 0;
	struct stat st;
	uint64_t bytes;

	view_data_stat(c->v, &bytes, &mode);
	if (stat(c->v->path, &st) == 0)
		mode |= (unsigned)st.st_mode;
	if ((mode & 077) != 0)
		found(c, "exposed", 1,
		    "chmod go= FILE FILE-wal FILE-shm FILE-data*",
		    "other users of this machine can get at the file (mode "
		    "%04o): it has every client's messages",
		    mode & 07777);
}

/* Who writes it changes it under our eyes. */
static enum nj_err
check_log(struct checking *c, struct nj_why *why)
{
	enum nj_err e = walcheck(NULL, c->v->path, why);

	/* a broker has begun to since */
	if ((e == NJ_MALFORMED || e == NJ_IO) && store_locked(c->v->path))
		return NJ_OK;
	if (e != NJ_MALFORMED)
		return e;
	found(c, "bad-log", 1, why->mend, "%s", why->what);
	return NJ_OK;
}

enum nj_err
view_check(struct view *v, bool quick,
    void (*fault)(void *arg, const struct view_fault *), void *arg,
    struct nj_why *why)
{
	struct checking c = { v, fault, arg };
	bool whole = false, there = false;
	enum nj_err e;

	check_file(&c);
	if (!v->live && (e = check_log(&c, why)))
		return e;
	if ((e = store_functions(v->db))) {
		why_set(why, "out of memory");
		return e;
	}
	/* rows of a damaged file may say anything */
	if ((e = check_pages(&c, quick, &whole, why)) || !whole ||
	    (e = check_tables(&c, &there, why)) || !there ||
	    (e = check_rules(&c, rules, sizeof rules / sizeof *rules, why)))
		return e;
	if (v->schema >= SEGMENT_SCHEMA &&
	    ((e = check_rules(&c, segment_rules,
		  sizeof segment_rules / sizeof *segment_rules, why)) ||
		(e = check_rules(
		     &c, &bad_segment[v->schema >= DATA_SCHEMA], 1, why))))
		return e;
	return check_references(&c, why);
}
