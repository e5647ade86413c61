/* SPDX-License-Identifier: Apache-2.0
 *
 * The store's data files: appended to within a transaction, synced before its
 * end, deleted when no row is left of them, and copied together when little is.
 *
 * A transaction whose COMMIT failed may yet be found after a crash, for as long
 * as the log has it.  So what it wrote stays where it is, and until one has
 * succeeded rows have their bytes themselves: it costs the room of one
 * transaction, however often it is tried.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "store/impl.h"

/* As much is gathered, and written in pieces: SQLite's own VFS takes no more at
 * once. */
#define GATHER_BYTES (1024u * 1024)
#define PIECE	     65536u

/* Less than one part of so many is left: it is copied, so much at once, and so
 * often while there is something else to do. */
#define SPARSE	   4u
#define MOVE_BYTES (4u * 1024 * 1024)
#define MOVE_US	   100000u
#define STEP_MS	   20
/* A part of the last file, below which it is left although nothing is in it. */
#define FEW 16u

struct data_handle {
	char *name; /* SQLite's VFS refers to it */
	sqlite3_file *f;
	uint64_t no;
};

static void
say(struct store *s, const char *doing, const char *name, int rc)
{
	snprintf(s->data.why, sizeof s->data.why, "%s %s: %s", doing, name,
	    sqlite3_errstr(rc));
}

static const char *
base_of(const struct store *s)
{
	return sqlite3_db_filename(s->db, "main");
}

/* Handles. */

static void
handle_close(struct data_handle **at)
{
	struct data_handle *h = *at;

	*at = NULL;
	if (!h)
		return;
	if (h->f && h->f->pMethods)
		h->f->pMethods->xClose(h->f);
	free(h->f);
	free(h->name);
	free(h);
}

static enum nj_err
handle_open(struct store *s, uint64_t no, int flags, struct data_handle **out)
{
	sqlite3_vfs *vfs = s->data.vfs;
	struct data_handle *h = calloc(1, sizeof *h);
	int rc = SQLITE_NOMEM, got = 0;

	*out = NULL;
	if (!h)
		return NJ_NOMEM;
	h->no = no;
	h->name = data_name(base_of(s), no);
	h->f = calloc(1, (size_t)vfs->szOsFile);
	if (h->name && h->f) {
		/* fresh numbers only: nothing names what is there */
		if (flags & SQLITE_OPEN_CREATE)
			(void)vfs->xDelete(vfs, h->name, 0);
		/* as a log: its folder is synced with it */
		rc = vfs->xOpen(
		    vfs, h->name, h->f, flags | SQLITE_OPEN_WAL, &got);
	}
	if (rc != SQLITE_OK) {
		say(s, "opening", h->name ? h->name : "a data file", rc);
		handle_close(&h);
		return sql_err(rc);
	}
	*out = h;
	return NJ_OK;
}

/* The files. */

static struct data_file *
file_of(struct store *s, uint64_t no)
{
	for (size_t i = s->data.n; i-- > 0;)
		if (s->data.v[i].no == no)
			return &s->data.v[i];
	return NULL;
}

static enum nj_err
file_add(struct store *s, const struct data_file *f)
{
	struct data_files *d = &s->data;

	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 8;
		struct data_file *v = realloc(d->v, cap * sizeof *v);

		if (!v)
			return NJ_NOMEM;
		d->v = v;
		d->cap = cap;
	}
	d->v[d->n++] = *f;
	return NJ_OK;
}

static enum nj_err
begin_file(struct store *s)
{
	struct data_files *d = &s->data;
	struct data_file f = { .no = d->next };
	enum nj_err e;

	if ((e = handle_open(s, f.no,
		 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
		     SQLITE_OPEN_EXCLUSIVE,
		 &d->out)))
		return e;
	if ((e = file_add(s, &f))) {
		handle_close(&d->out);
		return e;
	}
	d->next++;
	d->at = 0;
	return NJ_OK;
}

static enum nj_err
flush(struct store *s)
{
	struct data_files *d = &s->data;
	struct slice left = buf_slice(&d->gather);
	int rc = SQLITE_OK;

	while (left.n > 0 && rc == SQLITE_OK) {
		size_t some = left.n < PIECE ? left.n : PIECE;

		rc = d->out->f->pMethods->xWrite(
		    d->out->f, left.p, (int)some, (sqlite3_int64)d->at);
		d->at += some;
		left.p += some;
		left.n -= some;
		d->unsynced = true;
	}
	buf_truncate(&d->gather, 0);
	if (rc != SQLITE_OK)
		say(s, "writing", d->out->name, rc);
	return sql_err(rc);
}

static enum nj_err
sync_out(struct store *s)
{
	struct data_files *d = &s->data;
	enum nj_err e;
	int rc;

	if (!d->out)
		return NJ_OK;
	if ((e = flush(s)))
		return e;
	if (!d->unsynced)
		return NJ_OK;
	rc = d->out->f->pMethods->xSync(
	    d->out->f, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
	if (rc != SQLITE_OK)
		say(s, "syncing", d->out->name, rc);
	else
		d->unsynced = false;
	return sql_err(rc);
}

static uint64_t
file_bytes(const struct store *s)
{
	return s->opts.data_file ? s->opts.data_file : DATA_FILE_BYTES;
}

size_t
data_row_bytes(const struct store *s)
{
	return s->data.avoid || s->opts.data_min == STORE_ONE_FILE
	    ? SEGMENT_BYTES
	    : DATA_ROW_BYTES;
}

bool
data_wants(const struct store *s, size_t n)
{
	return !s->data.avoid &&
	    n >= (s->opts.data_min ? s->opts.data_min : DATA_MIN);
}

enum nj_err
data_put(struct store *s, struct slice bytes, struct place *out)
{
	struct data_files *d = &s->data;
	struct data_file *f = d->out ? file_of(s, d->out->no) : NULL;
	enum nj_err e;

	if (f && f->end > 0 && f->end + bytes.n > file_bytes(s)) {
		if ((e = sync_out(s)))
			return e;
		handle_close(&d->out);
	}
	if (!d->out && (e = begin_file(s)))
		return e;
	f = file_of(s, d->out->no);
	*out = (struct place){ .file = f->no, .at = f->end, .len = bytes.n };
	out->sum = data_sum(out->file, out->at, bytes);
	if ((e = buf_put_slice(&d->gather, bytes)))
		return e;
	f->end += bytes.n;
	f->delta += (int64_t)bytes.n;
	d->touched = true;
	return buf_len(&d->gather) >= GATHER_BYTES ? flush(s) : NJ_OK;
}

void
data_drop(struct store *s, uint64_t no, uint64_t len)
{
	struct data_file *f = no ? file_of(s, no) : NULL;

	if (!f)
		return;
	f->delta -= (int64_t)len;
	s->data.touched = true;
}

enum nj_err
data_dropping(struct store *s, enum statement which)
{
	sqlite3_stmt *st = sql_get(s, which);
	int rc;

	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		data_drop(s, (uint64_t)sqlite3_column_int64(st, 0),
		    (uint64_t)sqlite3_column_int64(st, 1));
	sqlite3_reset(st);
	return sql_err(rc);
}

static enum nj_err
run_file(struct store *s, enum statement which, uint64_t no)
{
	sqlite3_bind_int64(sql_get(s, which), 1, (sqlite3_int64)no);
	return sql_run(s, which);
}

enum nj_err
data_sync(struct store *s)
{
	struct data_files *d = &s->data;
	enum nj_err e;

	if ((e = sync_out(s)))
		return e;
	for (size_t i = 0; i < d->n; i++) {
		struct data_file *f = &d->v[i];

		e = NJ_OK;
		if (f->gone)
			e = run_file(s, ST_FILE_END, f->no);
		else if (!f->noted && f->delta > 0)
			e = run_file(s, ST_FILE, f->no);
		if (e)
			return e;
		f->told = f->gone || f->delta > 0;
	}
	d->committing = true;
	return NJ_OK;
}

void
data_committed(struct store *s)
{
	struct data_files *d = &s->data;
	size_t n = 0;

	for (size_t i = 0; i < d->n; i++) {
		struct data_file *f = &d->v[i];

		f->live = (uint64_t)((int64_t)f->live + f->delta);
		f->delta = 0;
		f->kept = f->end;
		f->noted |= f->told;
		if (f->gone && f->told)
			continue;
		f->told = false;
		d->v[n++] = *f;
	}
	d->n = n;
	d->avoid = d->committing = d->touched = false;
	d->why[0] = '\0';
}

void
data_rolled_back(struct store *s)
{
	struct data_files *d = &s->data;

	for (size_t i = 0; i < d->n; i++) {
		struct data_file *f = &d->v[i];

		f->delta = 0;
		f->told = false;
		if (!d->committing)
			f->end = f->kept;
		f->kept = f->end;
	}
	buf_truncate(&d->gather, 0);
	if (d->out)
		d->at = file_of(s, d->out->no)->end;
	d->paged.file = 0;
	d->avoid |= d->touched;
	d->committing = d->touched = false;
}

/* Reading. */

static bool
is_missing(struct store *s, uint64_t no)
{
	char *name = data_name(base_of(s), no);
	int is = 1;
	int rc = name
	    ? s->data.vfs->xAccess(s->data.vfs, name, SQLITE_ACCESS_EXISTS, &is)
	    : SQLITE_NOMEM;

	free(name);
	return rc == SQLITE_OK && !is;
}

static enum nj_err
handle_for(struct store *s, uint64_t no, struct data_handle **out)
{
	struct data_files *d = &s->data;
	enum nj_err e;

	if (d->out && d->out->no == no) {
		*out = d->out;
		return NJ_OK;
	}
	if (!d->in || d->in->no != no) {
		handle_close(&d->in);
		if ((e = handle_open(s, no, SQLITE_OPEN_READONLY, &d->in)))
			return is_missing(s, no) ? NJ_MALFORMED : e;
	}
	*out = d->in;
	return NJ_OK;
}

static enum nj_err
read_bytes(const struct data_handle *h, const struct place *p, uint8_t *to)
{
	sqlite3_int64 at = (sqlite3_int64)p->at;
	size_t left = (size_t)p->len, some;
	int rc = SQLITE_OK;

	for (; left > 0 && rc == SQLITE_OK; left -= some, to += some) {
		some = left < PIECE ? left : PIECE;
		rc = h->f->pMethods->xRead(h->f, to, (int)some, at);
		at += (sqlite3_int64)some;
	}
	return rc == SQLITE_IOERR_SHORT_READ ? NJ_MALFORMED : sql_err(rc);
}

enum nj_err
data_get(struct store *s, const struct place *p, struct slice *out)
{
	struct data_files *d = &s->data;
	struct data_handle *h;
	uint8_t *to;
	enum nj_err e;

	/* a page that ends within a row is followed by one from there on */
	if (p->file == d->paged.file && p->at == d->paged.at &&
	    p->len == d->paged.len && p->sum == d->paged.sum) {
		*out = buf_slice(&d->page);
		return NJ_OK;
	}
	d->paged.file = 0;
	buf_truncate(&d->page, 0);
	if ((e = place_check(p)) || (e = handle_for(s, p->file, &h)) ||
	    (e = buf_reserve(&d->page, p->len, &to)) ||
	    (e = read_bytes(h, p, to)))
		return e;
	buf_commit(&d->page, p->len);
	if (data_sum(p->file, p->at, buf_slice(&d->page)) != p->sum) {
		nj_log(LOG_T_ERROR,
		    "%s is damaged at %llu: run nightjar store check", h->name,
		    (unsigned long long)p->at);
		return NJ_MALFORMED;
	}
	d->paged = *p;
	*out = buf_slice(&d->page);
	return NJ_OK;
}

enum nj_err
data_column(struct store *s, sqlite3_stmt *st, int at, struct slice *out)
{
	struct place p = place_of(st, at);

	if (p.file > 0)
		return data_get(s, &p, out);
	*out = sql_column(st, at);
	if (data_is_whole(&p, *out))
		return NJ_OK;
	nj_log(LOG_T_ERROR, "%s is damaged: run nightjar store check", s->path);
	return NJ_MALFORMED;
}

/* Between transactions. */

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static bool
delete_file(struct store *s, uint64_t no)
{
	sqlite3_vfs *vfs = s->data.vfs;
	char *name = data_name(base_of(s), no);
	int rc = SQLITE_NOMEM;

	if (s->data.in && s->data.in->no == no)
		handle_close(&s->data.in);
	/* synced: it must not come back when nothing knows it any more */
	if (name)
		rc = vfs->xDelete(vfs, name, 1);
	free(name);
	return rc == SQLITE_OK || rc == SQLITE_IOERR_DELETE_NOENT ||
	    rc == SQLITE_IOERR_DIR_FSYNC;
}

/* What was read at the start may come from a broker that was killed before it had
 * synced it: a file that only this says is empty has rows again when the power fails. */
static bool
log_synced(struct store *s)
{
	struct data_files *d = &s->data;
	sqlite3_file *f = NULL;

	if (!d->synced)
		d->synced =
		    sqlite3_file_control(s->db, "main",
			SQLITE_FCNTL_JOURNAL_POINTER, &f) == SQLITE_OK &&
		    f &&
		    (!f->pMethods ||
			f->pMethods->xSync(f, SQLITE_SYNC_NORMAL) == SQLITE_OK);
	return d->synced;
}

static void
delete_dead(struct store *s)
{
	struct data_files *d = &s->data;
	size_t n = 0;

	/* one that failed may name them */
	if (d->avoid)
		return;
	for (size_t i = 0; i < d->n; i++) {
		struct data_file *f = &d->v[i];

		if (f->live == 0 && !f->gone &&
		    !(d->out && d->out->no == f->no) && log_synced(s))
			f->gone = delete_file(s, f->no);
		if (!f->gone || f->noted)
			d->v[n++] = *f;
	}
	d->n = n;
}

/* The last one is ended before it is full, if little of it is left. */
static void
end_sparse(struct store *s)
{
	struct data_file *f = s->data.out ? file_of(s, s->data.out->no) : NULL;

	if (f &&
	    ((f->live == 0 && f->end >= file_bytes(s) / FEW) ||
		(f->live < f->end / SPARSE && f->end >= file_bytes(s) / 2)))
		handle_close(&s->data.out);
}

static struct data_file *
sparse(struct store *s)
{
	struct data_files *d = &s->data;

	for (size_t i = 0; i < d->n; i++) {
		struct data_file *f = &d->v[i];

		if (!f->gone && !f->stuck && f->live > 0 &&
		    f->live < f->end / SPARSE &&
		    !(d->out && d->out->no == f->no))
			return f;
	}
	return NULL;
}

/* One row; *len 0: there is none. */
static enum nj_err
move_row(struct store *s, uint64_t no, uint64_t *len)
{
	sqlite3_stmt *st = sql_get(s, ST_SEG_OF_FILE);
	sqlite3_int64 key[2];
	struct place from, to;
	struct slice bytes;
	enum nj_err e;
	int rc;

	*len = 0;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)no);
	if ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		key[0] = sqlite3_column_int64(st, 0);
		key[1] = sqlite3_column_int64(st, 1);
		from = place_of(st, 2);
	}
	sqlite3_reset(st);
	if (rc != SQLITE_ROW)
		return sql_err(rc);
	if ((e = data_get(s, &from, &bytes)) || (e = data_put(s, bytes, &to)))
		return e;
	data_drop(s, no, from.len);
	st = sql_get(s, ST_SEG_MOVE);
	sqlite3_bind_int64(st, 1, key[0]);
	sqlite3_bind_int64(st, 2, key[1]);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)to.file);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)to.at);
	sqlite3_bind_int64(st, 5, (sqlite3_int64)to.sum);
	*len = from.len;
	return sql_run(s, ST_SEG_MOVE);
}

static enum nj_err
move_rows(struct store *s, uint64_t no)
{
	uint64_t moved = 0, len = 1;
	enum nj_err e = sql_begin(s);

	if (e)
		return e;
	for (; !e && len > 0 && moved < MOVE_BYTES; moved += len)
		e = move_row(s, no, &len);
	if (!e && !(e = data_sync(s)) && !(e = sql_run(s, ST_COMMIT))) {
		data_committed(s);
		return NJ_OK;
	}
	if (!sqlite3_get_autocommit(s->db) && sql_run(s, ST_ROLLBACK))
		nj_log(LOG_T_ERROR, "%s: cannot be rolled back: %s", s->path,
		    sqlite3_errmsg(s->db));
	data_rolled_back(s);
	return e;
}

int
data_turn(struct store *s, bool idle)
{
	struct data_files *d = &s->data;
	struct data_file *f;
	uint64_t no;
	enum nj_err e;

	/* after a failure the next commit says whether it is over */
	if (d->n == 0 || d->avoid || atomic_load(&s->unsynced))
		return -1;
	end_sparse(s);
	delete_dead(s);
	if (!(f = sparse(s)))
		return -1;
	if (!idle && !s->opts.no_thread && !s->opts.vfs &&
	    now_us() - d->moved_us < MOVE_US)
		return STEP_MS;
	no = f->no;
	e = move_rows(s, no);
	d->moved_us = now_us();
	/* it cannot be read: repair says what to do */
	if (e == NJ_MALFORMED && (f = file_of(s, no)))
		f->stuck = true;
	return STEP_MS;
}

/* The start and the end. */

static enum nj_err
count_file(struct store *s, sqlite3_stmt *st)
{
	struct data_file f = {
		.no = (uint64_t)sqlite3_column_int64(st, 0),
		.live = (uint64_t)sqlite3_column_int64(st, 1),
		.end = (uint64_t)sqlite3_column_int64(st, 2),
		.noted = true,
	};

	f.kept = f.end;
	if (f.no >= s->data.next)
		s->data.next = f.no + 1;
	return file_add(s, &f);
}

/* What a file should have is there, as far as its size says; the bytes are
 * checked when they are read. */
static enum nj_err
check_file(struct store *s, const struct data_file *f, struct nj_why *why)
{
	struct data_handle *h = NULL;
	sqlite3_int64 size = 0;
	enum nj_err e;
	int rc = SQLITE_OK;

	if (f->live == 0 || s->opts.mend)
		return NJ_OK;
	if ((e = handle_open(s, f->no, SQLITE_OPEN_READONLY, &h)) &&
	    !is_missing(s, f->no)) {
		why_set(why, "%s: %s", s->path, s->data.why);
		return e;
	}
	if (h && (rc = h->f->pMethods->xFileSize(h->f, &size)) != SQLITE_OK) {
		why_set(why, "%s: %s", h->name, sqlite3_errstr(rc));
	} else if (!h || (uint64_t)size < f->end) {
		why_set(why, "%s%s%07llu, a part of the store, %s", s->path,
		    DATA_TAIL, (unsigned long long)f->no,
		    h ? "is shorter than it was" : "is missing");
		why_mend(why,
		    "put it back, restore a backup, or give up what was in it "
		    "with 'nightjar store check --repair %s'",
		    s->path);
		rc = SQLITE_CORRUPT;
	}
	handle_close(&h);
	return sql_err(rc);
}

static enum nj_err
check_files(struct store *s, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; i < s->data.n && !e; i++)
		e = check_file(s, &s->data.v[i], why);
	return e;
}

/* What a crash left, with the log that it left; and who ends in good order
 * deletes it before the log, or leaves both (data_close).  So where there is no log it was
 * taken away, and had the rows. */
static enum nj_err
known_left(struct store *s, const char *name, struct nj_why *why)
{
	int is = 0;

	if (!s->logless || s->opts.mend ||
	    s->data.vfs->xAccess(
		s->data.vfs, name, SQLITE_ACCESS_EXISTS, &is) != SQLITE_OK ||
	    !is)
		return NJ_OK;
	why_set(why,
	    "%s has messages that %s does not know, and %s-wal is not there",
	    name, s->path, s->path);
	why_mend(why,
	    "move the log back beside the database: it has what was "
	    "acknowledged last; where it is lost, or another program has "
	    "brought it into the database, delete such files with 'nightjar "
	    "store check --repair %s'",
	    s->path);
	return NJ_MALFORMED;
}

/* What a transaction began that was not committed. */
static enum nj_err
delete_left(struct store *s, struct nj_why *why)
{
	enum nj_err e = NJ_OK;
	int rc = SQLITE_OK;

	for (uint64_t no = s->data.next; !e && rc == SQLITE_OK; no++) {
		char *name = data_name(base_of(s), no);

		if (!name)
			return NJ_NOMEM;
		if (!(e = known_left(s, name, why)))
			rc = s->data.vfs->xDelete(s->data.vfs, name, 0);
		free(name);
	}
	return e;
}

enum nj_err
data_open(struct store *s, struct nj_why *why)
{
	static const char all[] =
	    "SELECT no, ifnull(l.live, 0), ifnull(l.till, 0) FROM "
	    "(SELECT no FROM file UNION SELECT file FROM seg WHERE file <> 0) "
	    "LEFT JOIN (SELECT file, sum(len) AS live, max(at + len) AS till "
	    "FROM seg WHERE file <> 0 GROUP BY file) l ON l.file = no "
	    "ORDER BY no";
	sqlite3_stmt *st = NULL;
	enum nj_err e = NJ_OK;
	int rc;

	s->data.vfs = sqlite3_vfs_find(s->opts.vfs);
	s->data.next = 1;
	rc = sqlite3_prepare_v2(s->db, all, -1, &st, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		if ((rc = sqlite3_step(st)) != SQLITE_ROW)
			break;
		if ((e = count_file(s, st)))
			break;
	}
	sqlite3_finalize(st);
	if (e || (e = sql_err(rc))) {
		sql_why(s, why, "reading it");
		return e;
	}
	if ((e = check_files(s, why)))
		return e;
	if ((e = delete_left(s, why)))
		return e;
	delete_dead(s);
	return NJ_OK;
}

void
data_close(struct store *s)
{
	struct data_files *d = &s->data;

	handle_close(&d->out);
	handle_close(&d->in);
	if (s->db && d->vfs)
		delete_dead(s);
	/* the next start knows by its log that nothing is missing (known_left) */
	for (size_t i = 0; s->db && i < d->n; i++)
		if (!d->v[i].noted)
			(void)sqlite3_db_config(
			    s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	buf_fini(&d->gather);
	buf_fini(&d->page);
	free(d->v);
	*d = (struct data_files){ .n = 0 };
}
