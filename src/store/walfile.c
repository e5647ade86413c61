/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/walfile.h"

#include <assert.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/pagefile.h"
#include "store/pagesum.h"

/* The log's format: https://www.sqlite.org/fileformat2.html#walformat */
#define HEADER	  32
#define FRAME	  24 /* before each page */
#define AT_SUM	  16 /* in that */
#define AT_HEADER 24 /* the same in the header */
#define AT_SALT	  8
#define AT_SALTS  16 /* the same in the header */

/* No page is larger, and SQLite's own VFS takes no more at once. */
#define PIECE 65536u

/*
 * A page's own sum (pagesum.h) is set in the log already: whoever brings the log
 * into the database copies it.  SQLite's sum of the frame, which goes on with the
 * frame before, is then another one, and so are all behind it: what SQLite has
 * in memory and what is on disk go on side by side.  SQLite compares them with
 * nothing; it takes those on disk when it opens a log, or makes them anew.
 */
struct chain {
	sqlite3_int64 at; /* the next frame, if it is behind the last one */
	struct sum ours;  /* of the frame before, on disk */
	struct sum sqlite;
	uint8_t salt[8];    /* of all its frames */
	bool known;	    /* sqlite is */
	bool big;	    /* words are big-endian */
	sqlite3_int64 head; /* whose page is to come; 0: none */
	struct framesum math;
};

struct walfile {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
	sqlite3_file *db;   /* whose log it is */
	int fd;		    /* another on the same file; or -1 */
	uint8_t *buf;
	size_t n;
	sqlite3_int64 at; /* where buf belongs */
	struct chain chain;
};

/* Behind WALFILE_BYTES there is room for one more. */
#define BUF_BYTES (WALFILE_BYTES + FRAME + PAGE_MOST)

static struct walfile *
of(sqlite3_file *f)
{
	return (struct walfile *)f;
}

/* What was gathered; it is dropped if it cannot be written, as what SQLite does
 * then is to begin there again. */
static int
flush(struct walfile *w)
{
	size_t n = w->n, done = 0;
	int rc = SQLITE_OK;

	w->n = 0;
	for (; done < n && rc == SQLITE_OK; done += PIECE)
		rc = w->real->pMethods->xWrite(w->real, w->buf + done,
		    (int)(n - done < PIECE ? n - done : PIECE),
		    w->at + (sqlite3_int64)done);
	/* it gets a start; the sync waits for it */
	if (rc == SQLITE_OK && w->fd >= 0 && n >= WALFILE_BYTES)
		(void)sync_file_range(
		    w->fd, w->at, (off_t)n, SYNC_FILE_RANGE_WRITE);
	return rc;
}

static int
w_close(sqlite3_file *f)
{
	struct walfile *w = of(f);
	int rc = flush(w), closed = w->real->pMethods->xClose(w->real);

	if (w->fd >= 0)
		close(w->fd);
	free(w->buf);
	w->buf = NULL;
	return rc ? rc : closed;
}

/* A page of n bytes behind the head of its frame. */
static bool
is_page_at(size_t n, sqlite3_int64 at)
{
	sqlite3_int64 frame = FRAME + (sqlite3_int64)n;

	return is_page_size(n) && at >= HEADER + FRAME &&
	    (at - HEADER) % frame == FRAME;
}

static int
w_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
	struct walfile *w = of(f);
	int rc = flush(w);

	if (!rc)
		rc = pagefile_read_below(w->real, to, n, at);
	/* SQLite compares its own sums only when it opens the log */
	if (!rc && is_page_at((size_t)n, at) && pagefile_has_sums(w->db))
		rc = pagefile_judge(w->db, to, (size_t)n, at, true);
	return rc;
}

static int
append(struct walfile *w, const void *from, size_t n, sqlite3_int64 at)
{
	int rc;

	if (w->n > 0 && at != w->at + (sqlite3_int64)w->n && (rc = flush(w)))
		return rc;
	if (w->n == 0)
		w->at = at;
	memcpy(w->buf + w->n, from, n);
	w->n += n;
	return SQLITE_OK;
}

/* It is whole, so it may go; a head waits for its page. */
static int
flush_full(struct walfile *w)
{
	return w->n >= WALFILE_BYTES ? flush(w) : SQLITE_OK;
}

static void
begin_chain(struct walfile *w, const uint8_t *header)
{
	w->chain.at = HEADER;
	w->chain.big = header[3] & 1;
	w->chain.ours = w->chain.sqlite = sum_get(header + AT_HEADER);
	memcpy(w->chain.salt, header + AT_SALTS, sizeof w->chain.salt);
	w->chain.known = true;
	w->chain.head = 0;
}

/* From a frame on that is not behind the last one that was written. */
static int
find_chain(struct walfile *w, sqlite3_int64 at)
{
	struct chain *c = &w->chain;
	uint8_t bytes[HEADER];
	sqlite3_int64 from = at - FRAME - (sqlite3_int64)c->math.n + AT_SUM;
	int rc;

	if ((rc = flush(w)) ||
	    (rc = pagefile_read_below(w->real, bytes, HEADER, 0)))
		return rc;
	begin_chain(w, bytes);
	c->at = 0; /* until all of it is known */
	if (at != HEADER) {
		if ((rc = pagefile_read_below(w->real, bytes, 8, from)))
			return rc;
		c->ours = sum_get(bytes);
		c->known = false;
	}
	c->at = at;
	return SQLITE_OK;
}

/* Where a page is to follow, if any does: SQLite writes heads by themselves too,
 * with sums of what is on disk. */
static int
put_head(struct walfile *w, const void *from, sqlite3_int64 at)
{
	struct chain *c = &w->chain;
	int rc;

	c->head = 0;
	if (at != c->at ||
	    memcmp((const uint8_t *)from + AT_SALT, c->salt, sizeof c->salt) !=
		0)
		c->at = 0;
	if ((rc = append(w, from, FRAME, at)))
		return rc;
	c->head = at;
	return SQLITE_OK;
}

/* Behind a page that put_again() wrote over, to the end of its transaction, where
 * SQLite makes the sums of what is on disk. */
static bool
has_no_sums(const uint8_t *head)
{
	static const uint8_t none[FRAME - AT_SALT];

	return memcmp(head + AT_SALT, none, sizeof none) == 0;
}

/* The head is the last that was gathered. */
static int
put_page(struct walfile *w, const uint8_t *from, size_t n)
{
	struct chain *c = &w->chain;
	sqlite3_int64 at = c->head;
	uint8_t *head, *page;
	struct sum sqlite;
	int rc;

	c->head = 0;
	if (has_no_sums(w->buf + w->n - FRAME)) {
		if ((rc = append(w, from, n, at + FRAME)))
			return rc;
		pagesum_set(w->buf + w->n - n, n);
		return flush_full(w);
	}
	if (c->math.n != n)
		framesum_init(&c->math, n);
	if (at != c->at) {
		uint8_t keep[FRAME];

		memcpy(keep, w->buf + w->n - FRAME, FRAME);
		w->n -= FRAME;
		if ((rc = find_chain(w, at)) ||
		    (rc = append(w, keep, FRAME, at)))
			return rc;
	}
	if ((rc = append(w, from, n, at + FRAME)))
		return rc;
	page = w->buf + w->n - n;
	head = page - FRAME;
	sqlite = sum_get(head + AT_SUM);
	if (c->known && !c->big && !pagesum_is_first(page)) {
		c->ours = framesum_set(
		    &c->math, head, page, c->sqlite, sqlite, c->ours);
	} else {
		pagesum_set(page, n);
		c->ours = sum_add(c->ours, head, 8, c->big);
		c->ours = sum_add(c->ours, page, n, c->big);
	}
	c->sqlite = sqlite;
	c->known = true;
	sum_put(head + AT_SUM, c->ours);
	c->at = at + FRAME + (sqlite3_int64)n;
	return flush_full(w);
}

/* One that the same transaction had in the log before, and that is written over:
 * SQLite makes the sums of all frames from there on anew before it commits. */
static int
put_again(struct walfile *w, const void *from, size_t n, sqlite3_int64 at)
{
	int rc;

	w->chain.at = 0;
	if ((rc = append(w, from, n, at)))
		return rc;
	pagesum_set(w->buf + w->n - n, n);
	return flush_full(w);
}

static int
w_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
	struct walfile *w = of(f);
	struct chain *c = &w->chain;
	sqlite3_int64 head = c->head;
	int rc;

	/* no page is larger */
	assert(n > 0 && (size_t)n <= FRAME + PAGE_MOST);
	if (pagefile_has_sums(w->db)) {
		if (n == FRAME && at >= HEADER)
			return put_head(w, from, at);
		if (is_page_size((size_t)n) && head && at == head + FRAME)
			/* a sync between both is only there where a sector
			 * may be torn; see below */
			return w->n < FRAME ? SQLITE_IOERR_WRITE
					    : put_page(w, from, (size_t)n);
		if (is_page_at((size_t)n, at))
			return put_again(w, from, (size_t)n, at);
		c->at = c->head = 0;
		if (n == HEADER && at == 0)
			begin_chain(w, from);
		else if (at >= HEADER)
			/* a piece of a page: SQLite does so where a sector
			 * may be torn, where pages have no sums */
			return SQLITE_IOERR_WRITE;
	}
	rc = append(w, from, (size_t)n, at);
	return rc ? rc : flush_full(w);
}

static int
w_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = flush(of(f));

	return rc ? rc : of(f)->real->pMethods->xTruncate(of(f)->real, size);
}

static int
w_sync(sqlite3_file *f, int flags)
{
	struct walfile *w = of(f);
	/* the index says next what was synced: else that is not even written */
	int rc = pagefile_index_room(w->db);

	if (rc != SQLITE_OK)
		w->n = 0;
	else
		rc = flush(w);
	if (rc == SQLITE_OK)
		rc = w->real->pMethods->xSync(w->real, flags);
	/* which may have written the index too */
	return rc ? rc : pagefile_index_room(w->db);
}

static int
w_size(sqlite3_file *f, sqlite3_int64 *size)
{
	int rc = flush(of(f));

	return rc ? rc : of(f)->real->pMethods->xFileSize(of(f)->real, size);
}

static int
w_lock(sqlite3_file *f, int how)
{
	return of(f)->real->pMethods->xLock(of(f)->real, how);
}

static int
w_unlock(sqlite3_file *f, int how)
{
	return of(f)->real->pMethods->xUnlock(of(f)->real, how);
}

static int
w_reserved(sqlite3_file *f, int *is)
{
	return of(f)->real->pMethods->xCheckReservedLock(of(f)->real, is);
}

static int
w_control(sqlite3_file *f, int op, void *arg)
{
	return of(f)->real->pMethods->xFileControl(of(f)->real, op, arg);
}

static int
w_sector(sqlite3_file *f)
{
	return of(f)->real->pMethods->xSectorSize(of(f)->real);
}

static int
w_characteristics(sqlite3_file *f)
{
	return of(f)->real->pMethods->xDeviceCharacteristics(of(f)->real);
}

/* A log has no shared memory of its own, and is not mapped. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = w_close,
	.xRead = w_read,
	.xWrite = w_write,
	.xTruncate = w_truncate,
	.xSync = w_sync,
	.xFileSize = w_size,
	.xLock = w_lock,
	.xUnlock = w_unlock,
	.xCheckReservedLock = w_reserved,
	.xFileControl = w_control,
	.xSectorSize = w_sector,
	.xDeviceCharacteristics = w_characteristics,
};

/* The VFS below, and where to find it. */
struct walvfs {
	sqlite3_vfs vfs;
	sqlite3_vfs *below;
	char name[80];
};

static int
v_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	sqlite3_vfs *below = ((struct walvfs *)v->pAppData)->below;
	struct walfile *w = of(f);
	int rc;

	if (flags & SQLITE_OPEN_MAIN_DB)
		return pagefile_open(below, name, f, flags, out);
	if (!(flags & SQLITE_OPEN_WAL))
		return below->xOpen(below, name, f, flags, out);
	*w = (struct walfile){ .fd = -1 };
	if (!(w->buf = malloc(BUF_BYTES)))
		return SQLITE_NOMEM;
	w->real = (sqlite3_file *)(w + 1);
	rc = below->xOpen(below, name, w->real, flags, out);
	if (rc != SQLITE_OK) {
		free(w->buf);
		w->buf = NULL;
		return rc;
	}
	/* a log is not locked: to close this loses no lock */
	if (name)
		w->fd = open(name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	w->db = name ? sqlite3_database_file_object(name) : NULL;
	w->base.pMethods = &methods;
	return SQLITE_OK;
}

/* The folder is synced in any case, which SQLite does with synchronous=EXTRA
 * only: the journal of the first start, where the power failed while the tables
 * were made, would be back after another failure, and be rolled back: all would
 * be as it was then. */
static int
v_delete(sqlite3_vfs *v, const char *name, int dir)
{
	sqlite3_vfs *below = ((struct walvfs *)v->pAppData)->below;
	int rc = below->xDelete(below, name, 1);

	/* some file systems cannot */
	return rc == SQLITE_IOERR_DIR_FSYNC && !dir ? SQLITE_OK : rc;
}

static int
v_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
	sqlite3_vfs *below = ((struct walvfs *)v->pAppData)->below;

	return below->xAccess(below, name, flags, out);
}

static int
v_path(sqlite3_vfs *v, const char *name, int n, char *out)
{
	sqlite3_vfs *below = ((struct walvfs *)v->pAppData)->below;

	return below->xFullPathname(below, name, n, out);
}

static int
v_random(sqlite3_vfs *v, int n, char *out)
{
	sqlite3_vfs *below = ((struct walvfs *)v->pAppData)->below;

	return below->xRandomness(below, n, out);
}

static int
v_sleep(sqlite3_vfs *v, int us)
{
	sqlite3_vfs *below = ((struct walvfs *)v->pAppData)->below;

	return below->xSleep(below, us);
}

static int
v_time(sqlite3_vfs *v, double *now)
{
	sqlite3_vfs *below = ((struct walvfs *)v->pAppData)->below;

	return below->xCurrentTime(below, now);
}

static int
v_error(sqlite3_vfs *v, int n, char *out)
{
	sqlite3_vfs *below = ((struct walvfs *)v->pAppData)->below;

	return below->xGetLastError ? below->xGetLastError(below, n, out) : 0;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

enum nj_err
walfile_vfs(const char *base, const char **name)
{
	sqlite3_vfs *below = sqlite3_vfs_find(base);
	struct walvfs *v;

	if (!below)
		return NJ_NOTFOUND;
	if (!(v = calloc(1, sizeof *v)))
		return NJ_NOMEM;
	(void)snprintf(v->name, sizeof v->name, "nightjar-%.60s", below->zName);
	if (sqlite3_vfs_find(v->name)) {
		*name = sqlite3_vfs_find(v->name)->zName;
		free(v);
		return NJ_OK;
	}
	v->below = below;
	v->vfs = (sqlite3_vfs){
		.iVersion = 1,
		.szOsFile =
		    (int)(larger(sizeof(struct walfile), pagefile_size())) +
		    below->szOsFile,
		.mxPathname = below->mxPathname,
		.zName = v->name,
		.pAppData = v,
		.xOpen = v_open,
		.xDelete = v_delete,
		.xAccess = v_access,
		.xFullPathname = v_path,
		.xRandomness = v_random,
		.xSleep = v_sleep,
		.xCurrentTime = v_time,
		.xGetLastError = v_error,
	};
	if (sqlite3_vfs_register(&v->vfs, 0) != SQLITE_OK) {
		free(v);
		return NJ_NOMEM;
	}
	*name = v->name;
	return NJ_OK;
}
