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
#include <unistd.h>

#include "base/file.h"
#include "store/impl.h"
#include "store/repair.h"
#include "store/view_impl.h"
#include "store/walcheck.h"

#define TAIL "-salvaged"

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
	char *copy;
	struct salvage *out;
	struct store *s;
	sqlite3_stmt *put[SALVAGE_KINDS];
	struct rawtrees trees;
	struct buf data;
	struct data_source source;
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
on_row(void *arg, const struct rawtree *t, int64_t id, const struct rawvalue *v,
    unsigned n)
{
	struct salvaging *g = arg;
	unsigned kind = kind_of(t);

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

/* What is lost, and whether anything is. */
static enum nj_err
judge(struct salvaging *g)
{
	struct salvage *out = g->out;

	out->damaged = g->trees.damaged;
	out->unknown = g->trees.unknown;
	out->maps = g->trees.maps;
	for (unsigned i = 0; i < g->trees.n; i++) {
		const struct rawtree *t = &g->trees.v[i];
		unsigned kind = kind_of(t);

		if (kind == SALVAGE_KINDS)
			continue;
		/* else each page of theirs was met on the way down */
		if (t->damaged)
			out->unplaced = g->trees.unplaced;
		out->of[kind].damaged = t->damaged;
		out->of[kind].dropped = t->rows - out->of[kind].cut;
		out->of[kind].cut += t->cut;
	}
	if (out->damaged == 0) {
		why_set(g->why, "no page of %s is damaged%s", g->path,
		    out->log_left > 0 ? ", and its log is" : "");
		why_mend(g->why,
		    "what else may be wrong with it: nightjar store check %s",
		    g->path);
		return NJ_NOTFOUND;
	}
	if (out->of[SALVAGE_FACTS].damaged || out->of[SALVAGE_FACTS].cut) {
		why_set(g->why,
		    "users, groups or roles are on damaged pages of %s, and "
		    "what is left of them could allow what they forbade",
		    g->path);
		why_mend(g->why,
		    "restore the last backup; what can still be read: sqlite3 "
		    "%s .recover",
		    g->path);
		return NJ_DENIED;
	}
	return NJ_OK;
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
		g->out->of[i].kept = kept;
		g->out->of[i].dropped = g->out->of[i].dropped > kept
		    ? g->out->of[i].dropped - kept
		    : 0;
	}
	return NJ_OK;
}

static enum nj_err
fill(struct salvaging *g, const struct rawpages *p)
{
	enum nj_err e;

	if ((e = prepare(g)) || (e = sql_exec(g->s, "BEGIN")) ||
	    (e = rawtree_read(p, &g->trees, on_row, g, g->why)) ||
	    (e = judge(g)))
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

static void
on_fault(void *arg, const struct view_fault *f)
{
	struct nj_why *why = arg;

	if (!why->what[0])
		why_set(why, "what was salvaged is not whole: %s", f->text);
}

/* It is looked at as any store is, before it becomes one. */
static enum nj_err
put_in_place(struct salvaging *g, void (*made)(const char *copy), char **old)
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
			e = restore_locked(v, g->path, made, old, g->why);
		}
	}
	view_close(v);
	return e;
}

enum nj_err
store_salvage(const char *path, void (*made)(const char *copy),
    struct salvage *out, char **old, struct nj_why *why)
{
	struct salvaging g = {
		.path = path, .out = out, .lock = -1, .why = why
	};
	char *before = NULL;
	enum nj_err e;

	*out = (struct salvage){ .pages = 0 };
	*old = NULL;
	if (asprintf(&g.copy, "%s" TAIL, path) < 0)
		return NJ_NOMEM;
	if (!(e = store_lock(path, &g.lock, why))) {
		if (!(e = restore_finish(path, &before, why)) &&
		    !(e = make_copy(&g)))
			e = put_in_place(&g, made, old);
		drop_copy(&g);
		close(g.lock);
	}
	buf_fini(&g.data);
	free(before);
	free(g.copy);
	return e;
}
