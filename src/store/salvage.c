/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows go to a new store, of one file, in one transaction; there what mends a
 * store whose rows do not agree (repair.c) makes them agree.
 */
#include "store/salvage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "store/facts.h"
#include "store/impl.h"
#include "store/lock.h"
#include "store/repair.h"
#include "store/view_impl.h"
#include "store/walcheck.h"

#define TAIL	 "-salvaged"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *const salvage_text[SALVAGE_KINDS] = {
	[SALVAGE_SESSIONS] = "sessions",
	[SALVAGE_SUBS] = "subscriptions",
	[SALVAGE_RECEIVED] = "QoS 2 identifiers not released",
	[SALVAGE_QUEUES] = "queued messages by themselves",
	[SALVAGE_SEGMENTS] = "rows of up to 512 queued messages",
	[SALVAGE_GONE] = "notes of what is gone from those",
	[SALVAGE_MESSAGES] = "messages of several queues or topics",
	[SALVAGE_RETAINED] = "retained topics",
	[SALVAGE_FACTS] = "facts of users, groups and roles",
};

/* Columns as rows have them; an id of SQLite's is not in the row. */
static const struct table {
	const char *name, *columns;
	unsigned n;
	bool id;
} tables[SALVAGE_KINDS] = {
	[SALVAGE_SESSIONS] = { "session",
	    "id, client, user, mount, version, expiry, offline, will, "
	    "will_delay, will_expiry, sent, who",
	    12, true },
	[SALVAGE_SUBS] = { "sub", "session, filter, options, share", 4, false },
	[SALVAGE_RECEIVED] = { "received", "session, pid", 2, false },
	[SALVAGE_QUEUES] = { "queue",
	    "session, seq, pid, flags, ids, msg, size", 7, false },
	[SALVAGE_SEGMENTS] = { "seg",
	    "session, first, n, size, stored, data, file, at, len, sum", 10,
	    false },
	[SALVAGE_GONE] = { "gone", "session, first, n, bits", 4, false },
	[SALVAGE_MESSAGES] = { "msg",
	    "id, refs, topic_len, payload_len, flags, expires, bytes, stored",
	    8, true },
	[SALVAGE_RETAINED] = { "retained", "topic, ord, msg", 3, false },
	[SALVAGE_FACTS] = { "fact", "space, kind, name, value", 4, false },
};

/* Columns of seg. */
enum { SEG_DATA = 5, SEG_FILE, SEG_AT, SEG_LEN, SEG_SUM };

struct salvaging {
	const char *path;
	const struct salvage_opts *opts;
	char *copy;
	struct salvage *out;
	struct store *s;
	sqlite3_stmt *put[SALVAGE_KINDS];
	struct rawtrees trees;
	struct buf data;
	struct data_source source;
	uint64_t stale; /* pages of facts */
	bool stale_any;
	int lock;
	struct nj_why *why;
};

static enum nj_err
sql_failed(struct salvaging *g, const char *doing)
{
	why_set(g->why, "%s: %s: %s", g->copy, doing, sqlite3_errmsg(g->s->db));
	return sql_err(sqlite3_errcode(g->s->db));
}

static unsigned
kind_of(const struct rawtree *t)
{
	unsigned i = 0;

	while (i < SALVAGE_KINDS && strcmp(tables[i].name, t->name) != 0)
		i++;
	return i;
}

static enum nj_err
prepare(struct salvaging *g)
{
	for (unsigned i = 0; i < SALVAGE_KINDS; i++) {
		char sql[256] = "?", *end = sql + 1;

		for (unsigned k = 1; k < tables[i].n; k++) {
			*end++ = ',';
			*end++ = '?';
		}
		*end = '\0';
		end = sqlite3_mprintf("INSERT OR IGNORE INTO %s(%s) VALUES(%s)",
		    tables[i].name, tables[i].columns, sql);
		if (!end)
			return NJ_NOMEM;
		if (sqlite3_prepare_v2(g->s->db, end, -1, &g->put[i], NULL) !=
		    SQLITE_OK) {
			sqlite3_free(end);
			return sql_failed(g, "writing it");
		}
		sqlite3_free(end);
	}
	return NJ_OK;
}

/* What a row has not is from before its column was there. */
static int
bind(sqlite3_stmt *st, const struct table *t, unsigned at,
    const struct rawvalue *v)
{
	int place = (int)at + 1;

	if (!v)
		return t->id && at == 11
		    ? sqlite3_bind_blob(st, place, "", 0, SQLITE_STATIC)
		    : sqlite3_bind_int64(st, place, 0);
	switch (v->type) {
	case RAW_INT:
		return sqlite3_bind_int64(st, place, v->n);
	case RAW_BYTES:
		return sqlite3_bind_blob64(st, place,
		    v->bytes.n ? (const void *)v->bytes.p : "", v->bytes.n,
		    SQLITE_STATIC);
	default:
		return sqlite3_bind_null(st, place);
	}
}

static enum nj_err
put_row(struct salvaging *g, unsigned kind, int64_t id,
    const struct rawvalue *v, unsigned n)
{
	const struct table *t = &tables[kind];
	sqlite3_stmt *st = g->put[kind];
	int rc = SQLITE_OK;

	for (unsigned i = 0; i < t->n && rc == SQLITE_OK; i++)
		rc = t->id && i == 0 ? sqlite3_bind_int64(st, 1, id)
				     : bind(st, t, i, i < n ? &v[i] : NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	sqlite3_reset(st);
	/* of a type that such a column cannot have */
	if ((rc & 0xff) == SQLITE_CONSTRAINT)
		return NJ_OK;
	return rc == SQLITE_DONE ? NJ_OK : sql_failed(g, "writing it");
}

/* The bytes of a segment that has them in a file; NJ_MALFORMED: they are not there,
 * or not what was written. */
static enum nj_err
read_data(struct salvaging *g, const struct rawvalue *v, struct slice *out)
{
	const struct place p = { (uint64_t)v[SEG_FILE].n, (uint64_t)v[SEG_AT].n,
		(uint64_t)v[SEG_LEN].n, (uint64_t)v[SEG_SUM].n };
	uint8_t *to = NULL;
	char *name;
	bool got;
	enum nj_err e;
	int fd;

	if ((e = place_check(&p)))
		return e;
	if (!(name = data_name(g->path, p.file)))
		return NJ_NOMEM;
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	free(name);
	buf_truncate(&g->data, 0);
	if ((e = buf_reserve(&g->data, (size_t)p.len, &to))) {
		if (fd >= 0)
			close(fd);
		return e;
	}
	got = fd >= 0 &&
	    file_read_at(fd, to, (size_t)p.len, (off_t)p.at) == NJ_OK;
	if (fd >= 0)
		close(fd);
	*out = slice_of(to, (size_t)p.len);
	return got && data_sum(p.file, p.at, *out) == p.sum ? NJ_OK
							    : NJ_MALFORMED;
}

/* A segment goes to the new store with its bytes. */
static enum nj_err
put_segment(struct salvaging *g, const struct rawvalue *v, unsigned n)
{
	struct rawvalue whole[SEG_SUM + 1];
	enum nj_err e;

	if (n <= SEG_FILE || v[SEG_FILE].n == 0)
		return put_row(g, SALVAGE_SEGMENTS, 0, v, n);
	for (unsigned i = 0; i <= SEG_SUM; i++)
		whole[i] = i < n ? v[i] : (struct rawvalue){ .type = RAW_INT };
	if ((e = read_data(g, whole, &whole[SEG_DATA].bytes)) == NJ_MALFORMED) {
		g->out->of[SALVAGE_SEGMENTS].cut++;
		return NJ_OK;
	}
	return e ? e : put_row(g, SALVAGE_SEGMENTS, 0, whole, SEG_FILE);
}

static enum nj_err
tell_fact(struct salvaging *g, const struct rawvalue *v, unsigned n)
{
	struct salvage_fact f = { .hole = n < 4, .in_order = !g->trees.unmet };

	if (!f.hole) {
		f.space = v[0].bytes;
		f.kind = (unsigned)v[1].n;
		f.name = v[2].bytes;
		f.value = v[3].bytes;
	}
	return g->opts->fact ? g->opts->fact(g->opts->arg, &f) : NJ_OK;
}

static enum nj_err
on_row(void *arg, const struct rawtree *t, int64_t id, const struct rawvalue *v,
    unsigned n)
{
	struct salvaging *g = arg;
	unsigned kind = kind_of(t);
	enum nj_err e;

	if (kind == SALVAGE_FACTS && (e = tell_fact(g, v, n)))
		return e;
	if (!v)
		return NJ_OK;
	if (kind == SALVAGE_SEGMENTS)
		return put_segment(g, v, n);
	return kind == SALVAGE_KINDS ? NJ_OK : put_row(g, kind, id, v, n);
}

static void
drop_copy(const struct salvaging *g)
{
	static const char *const tails[] = { "", "-wal", "-shm", "-journal",
		".lock" };

	for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
		char *name = NULL;

		if (asprintf(&name, "%s%s", g->copy, tails[i]) < 0)
			continue;
		(void)unlink(name);
		free(name);
	}
}

/* What was acknowledged after the state that is there may be less than it allows. */
static enum nj_err
judge_facts(struct salvaging *g)
{
	struct salvage *out = g->out;

	out->facts_lost = out->of[SALVAGE_FACTS].damaged > 0 ||
	    out->of[SALVAGE_FACTS].cut > 0;
	out->facts_stale = out->log_lost && (g->stale || g->stale_any);
	if ((!out->facts_lost && !out->facts_stale) || g->opts->without_facts)
		return NJ_OK;
	if (out->facts_lost)
		why_set(g->why,
		    "users, groups or roles are on damaged pages of %s, and "
		    "what is left of them could allow what they forbade",
		    g->path);
	else
		why_set(g->why,
		    "users, groups or roles %s in the part of the log that is "
		    "lost, and what %s has of them could allow what they "
		    "forbade",
		    g->stale ? "were changed" : "may have been changed",
		    g->path);
	why_mend(g->why,
	    "restore the last backup; or go on without any of them: "
	    "--without-users-and-roles");
	return NJ_DENIED;
}

/* None of them, rather than some. */
static enum nj_err
drop_facts(struct salvaging *g)
{
	struct timespec now;
	char sql[128];

	if (!g->out->facts_lost && !g->out->facts_stale)
		return NJ_OK;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(sql, sizeof sql,
	    "INSERT INTO fact VALUES(CAST('" FACTS_LOST
	    "' AS BLOB), 0, CAST('when' AS BLOB), CAST('%lld.%09ld' AS BLOB))",
	    (long long)now.tv_sec, now.tv_nsec);
	if (sql_exec(g->s, "DELETE FROM fact") || sql_exec(g->s, sql))
		return sql_failed(g, "writing it");
	return NJ_OK;
}

/* What is lost, and whether anything is. */
static enum nj_err
judge(struct salvaging *g)
{
	struct salvage *out = g->out;

	out->damaged = g->trees.damaged;
	if (out->pages < out->damaged)
		out->pages = out->damaged; /* some are named, and not there */
	out->unknown = g->trees.unknown;
	out->maps = g->trees.maps;
	for (unsigned i = 0; i < g->trees.n; i++) {
		const struct rawtree *t = &g->trees.v[i];
		unsigned kind = kind_of(t);

		if (kind == SALVAGE_KINDS)
			continue;
		if (kind == SALVAGE_FACTS)
			g->stale = t->stale;
		/* else each page of theirs was met on the way down */
		if (t->damaged)
			out->unplaced = g->trees.unplaced;
		out->of[kind].damaged = t->damaged;
		out->of[kind].dropped = t->rows - out->of[kind].cut;
		out->of[kind].cut += t->cut;
	}
	if (out->damaged == 0 && !out->log_lost) {
		why_set(g->why, "no page of %s is damaged%s", g->path,
		    out->log_left > 0 ? ", and its log is" : "");
		why_mend(g->why,
		    "what else may be wrong with it: nightjar store check %s",
		    g->path);
		return NJ_NOTFOUND;
	}
	return judge_facts(g);
}

static enum nj_err
count_kept(struct salvaging *g)
{
	for (unsigned i = 0; i < SALVAGE_KINDS; i++) {
		sqlite3_stmt *st = NULL;
		char sql[64];
		uint64_t kept = 0;

		(void)snprintf(
		    sql, sizeof sql, "SELECT count(*) FROM %s", tables[i].name);
		if (sqlite3_prepare_v2(g->s->db, sql, -1, &st, NULL) !=
			SQLITE_OK ||
		    sqlite3_step(st) != SQLITE_ROW) {
			sqlite3_finalize(st);
			return sql_failed(g, "reading it");
		}
		kept = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_finalize(st);
		/* what says that they are lost is none of them */
		if (i == SALVAGE_FACTS &&
		    (g->out->facts_lost || g->out->facts_stale))
			kept = 0;
		g->out->of[i].kept = kept;
		g->out->of[i].dropped = g->out->of[i].dropped > kept
		    ? g->out->of[i].dropped - kept
		    : 0;
	}
	return NJ_OK;
}

/* Where the new store has its tables. */
static enum nj_err
read_places(struct salvaging *g, struct rawroot *out, unsigned max, unsigned *n)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(g->s->db,
	    "SELECT name, type = 'table', sql NOT LIKE '%WITHOUT ROWID', "
	    "rootpage FROM sqlite_schema WHERE rootpage > 0 ORDER BY rootpage",
	    -1, &st, NULL);

	*n = 0;
	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(st)) == SQLITE_ROW && *n < max) {
			struct rawroot *r = &out[(*n)++];

			*r = (struct rawroot){
				.table = sqlite3_column_int(st, 1),
				.rowid = sqlite3_column_int(st, 1) &&
				    sqlite3_column_int(st, 2),
				.root = (uint32_t)sqlite3_column_int64(st, 3),
			};
			(void)snprintf(r->name, sizeof r->name, "%s",
			    (const char *)sqlite3_column_text(st, 0));
		}
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? NJ_OK : sql_failed(g, "reading it");
}

static enum nj_err
fill(struct salvaging *g, const struct rawpages *p)
{
	struct rawroot made[SALVAGE_KINDS * 2];
	unsigned n = 0;
	enum nj_err e;

	if ((e = read_places(g, made, COUNT(made), &n)) || (e = prepare(g)) ||
	    (e = sql_exec(g->s, "BEGIN")) ||
	    (e = rawtree_read(p, made, n, &g->trees, on_row, g, g->why)) ||
	    (e = judge(g)) || (e = drop_facts(g)))
		return e;
	if ((e = store_mend_rows(g->s, &g->source)) ||
	    (e = sql_exec(g->s, "COMMIT")))
		return sql_failed(g, "mending it");
	return count_kept(g);
}

/* A store of one file at g->copy. */
static enum nj_err
make_copy(struct salvaging *g)
{
	struct rawpages p = { .fd = -1, .log = -1 };
	struct nj_why lost = { 0 };
	enum nj_err e;

	if ((e = walcheck(NULL, g->path, &lost)) == NJ_MALFORMED) {
		g->out->log_lost = true;
	} else if (e) {
		*g->why = lost;
		return e;
	}
	if ((e = rawpages_open(g->path, &p, g->why)))
		return e;
	g->out->pages = (uint64_t)p.n + p.missing;
	g->out->missing = p.missing;
	g->out->headless = p.headless;
	/* from its header on, what it would change is not known */
	g->stale_any = p.lost_any || (g->out->log_lost && p.log_end == 0);
	if (p.log_bad || g->out->log_lost) {
		g->out->log_end = p.log_end;
		g->out->log_left = p.log_left;
	}
	drop_copy(g);
	if (!(e = store_open(
		  &(struct store_opts){ .path = g->copy, .mend = true }, &g->s,
		  g->why)))
		e = fill(g, &p);
	for (unsigned i = 0; i < SALVAGE_KINDS; i++)
		sqlite3_finalize(g->put[i]);
	store_close(g->s);
	g->s = NULL;
	rawpages_close(&p);
	return e;
}

static enum nj_err
pass_row(void *arg, const struct rawtree *t, int64_t id,
    const struct rawvalue *v, unsigned n)
{
	return NJ_OK;
}

enum nj_err
salvage_judge_log(const char *path, struct nj_why *why)
{
	struct rawpages p = { .fd = -1, .log = -1 };
	struct rawtrees trees = { .n = 0 };
	struct nj_why none = { 0 };
	bool stale;
	enum nj_err e;

	/* what else is wrong, or cannot be read, whoever opens it tells */
	if (store_locked(path) || walcheck(NULL, path, &none) != NJ_MALFORMED ||
	    rawpages_open(path, &p, &none))
		return NJ_OK;
	e = rawtree_read(&p, NULL, 0, &trees, pass_row, NULL, &none);
	/* from its header on, what it would change is not known */
	stale = p.lost_any || p.log_end == 0;
	for (unsigned i = 0; i < trees.n; i++)
		stale |= kind_of(&trees.v[i]) == SALVAGE_FACTS &&
		    trees.v[i].stale > 0;
	rawpages_close(&p);
	if (e || !stale)
		return e == NJ_NOMEM ? e : NJ_OK;
	why_set(why,
	    "users, groups or roles may have been changed in the part of the "
	    "log that is lost, and what %s has of them could allow what they "
	    "forbade",
	    path);
	why_mend(why,
	    "restore the last backup; or go on without any of them: nightjar "
	    "store salvage --without-users-and-roles %s",
	    path);
	return NJ_DENIED;
}

static void
on_fault(void *arg, const struct view_fault *f)
{
	struct nj_why *why = arg;

	if (!why->what[0])
		why_set(why, "what was salvaged is not whole: %s", f->text);
}

/* It is looked at as any store is, before it becomes one. */
static enum nj_err
put_in_place(struct salvaging *g, char **old)
{
	struct nj_why fault = { 0 };
	struct view *v = NULL;
	enum nj_err e;

	if (!(e = view_open(g->copy, &v, g->why)) &&
	    !(e = view_check(v, false, on_fault, &fault, g->why))) {
		if (fault.what[0]) {
			*g->why = fault;
			e = NJ_INVALID;
		} else {
			e = restore_locked(
			    v, g->path, g->opts->made, old, g->why);
		}
	}
	view_close(v);
	return e;
}

enum nj_err
store_salvage(const char *path, const struct salvage_opts *opts,
    struct salvage *out, char **old, struct nj_why *why)
{
	struct salvaging g = {
		.path = path, .opts = opts, .out = out, .lock = -1, .why = why
	};
	char *before = NULL;
	enum nj_err e;

	*out = (struct salvage){ .pages = 0 };
	*old = NULL;
	if (asprintf(&g.copy, "%s" TAIL, path) < 0)
		return NJ_NOMEM;
	if (!(e = store_refuse_elsewhere(path, why)) &&
	    !(e = store_lock(path, &g.lock, why))) {
		if (!(e = restore_finish(path, &before, why)) &&
		    !(e = walcheck_mend_header(NULL, path, false, why)) &&
		    !(e = make_copy(&g)))
			e = put_in_place(&g, old);
		drop_copy(&g);
		close(g.lock);
	}
	buf_fini(&g.data);
	free(before);
	free(g.copy);
	return e;
}
