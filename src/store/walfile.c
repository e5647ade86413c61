/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/walfile.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* No page is larger, and SQLite's own VFS takes no more at once. */
#define PIECE 65536u

/* Reads between two pauses: some 0.2 ms of a checkpoint. */
#define PACE 32u

struct walfile {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
	int fd;		    /* another on the same file; or -1 */
	uint8_t *buf;
	size_t n;
	sqlite3_int64 at; /* where buf belongs */
	bool paced;	  /* walfile_pace() */
	unsigned reads;
};

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
	if (rc == SQLITE_OK && w->fd >= 0 && n == WALFILE_BYTES)
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

static int
w_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
	struct walfile *w = of(f);
	int rc = flush(w);

	if (w->paced && ++w->reads % PACE == 0)
		(void)nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
	return rc ? rc : w->real->pMethods->xRead(w->real, to, n, at);
}

static int
w_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
	struct walfile *w = of(f);
	const uint8_t *p = from;
	size_t left = (size_t)n, some;
	int rc;

	if (w->n > 0 && at != w->at + (sqlite3_int64)w->n && (rc = flush(w)))
		return rc;
	for (; left > 0; left -= some, p += some, at += (sqlite3_int64)some) {
		if (w->n == 0)
			w->at = at;
		some = WALFILE_BYTES - w->n;
		some = left < some ? left : some;
		memcpy(w->buf + w->n, p, some);
		w->n += some;
		if (w->n == WALFILE_BYTES && (rc = flush(w)))
			return rc;
	}
	return SQLITE_OK;
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
	int rc = flush(of(f));

	return rc ? rc : of(f)->real->pMethods->xSync(of(f)->real, flags);
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

void
walfile_pace(sqlite3 *db)
{
	sqlite3_file *f = NULL;

	if (sqlite3_file_control(
		db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f) == SQLITE_OK &&
	    f && f->pMethods == &methods)
		of(f)->paced = true;
}

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

	if (!(flags & SQLITE_OPEN_WAL))
		return below->xOpen(below, name, f, flags, out);
	*w = (struct walfile){ .fd = -1 };
	if (!(w->buf = malloc(WALFILE_BYTES)))
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
		.szOsFile = (int)sizeof(struct walfile) + below->szOsFile,
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
