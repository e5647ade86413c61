/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/pagefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "store/pagesum.h"
#include "store/walindex.h"

/* The file's header, of which SQLite reads as much by itself. */
#define HEADER	    100
#define AT_RESERVED 20
#define AT_PAGE	    16
#define AT_VERSION  60
#define AT_OWNER    68

/* The same page is told of again after so long. */
#define SAY_AGAIN_S 60

/* Of one that only makes checkpoints: pages between two pauses, some 0.1 ms, and
 * what is sent off by one call. */
#define PACE	    12u
#define PIECE_BYTES ((sqlite3_int64)256 * 1024)

struct pagefile {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
	const char *name;   /* SQLite's, as long as it is open */
	uint8_t *copy;	    /* of a page with its sum */
	atomic_bool sums;
	atomic_bool unsynced;
	int page; /* bytes; 0: not known yet */
	struct pages_watch *watch;
	struct walindex index;
	bool paced; /* pages_pace() */
	int fd;
	unsigned writes;
	sqlite3_int64 piece; /* where the one begins that is not sent off */
	sqlite3_int64 said_at;
	time_t said;
};

/* Room for another file behind it. */
#define FILE_SIZE ((sizeof(struct pagefile) + 15) / 16 * 16)

static atomic_ullong damaged;

static struct pagefile *
of(sqlite3_file *f)
{
	return (struct pagefile *)f;
}

static uint32_t
number(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

/* Where one of both says so and the other does not, page 1 is damaged, and so is
 * found to be. */
static bool
header_says_sums(const uint8_t *p)
{
	uint32_t owner = number(p + AT_OWNER);
	bool room = p[AT_RESERVED] == PAGESUM_BYTES;

	return pagesum_is_first(p) &&
	    ((room && owner == 0) ||
		(owner == STORE_APPLICATION &&
		    (room || number(p + AT_VERSION) >= PAGESUM_SCHEMA)));
}

static void
look(struct pagefile *p, const void *bytes, size_t n, sqlite3_int64 at)
{
	const uint8_t *h = bytes;

	if (at != 0 || n < HEADER)
		return;
	atomic_store(&p->sums, header_says_sums(h));
	p->page = h[AT_PAGE] << 8 | h[AT_PAGE + 1];
	if (p->page == 1) /* as 65536 is written */
		p->page = 65536;
}

int
pagefile_judge(
    sqlite3_file *f, const void *page, size_t n, sqlite3_int64 at, bool log)
{
	struct pagefile *p = of(f);
	time_t now;

	if (pagesum_ok(page, n))
		return SQLITE_OK;
	atomic_fetch_add(&damaged, 1);
	now = time(NULL);
	if (at != p->said_at || now - p->said >= SAY_AGAIN_S) {
		p->said_at = at;
		p->said = now;
		nj_log(LOG_T_ERROR,
		    "%s%s is damaged: the page at %lld is not as it was "
		    "written.  Nothing is taken from it; run nightjar store "
		    "check",
		    p->name ? p->name : "The store", log ? "-wal" : "",
		    (long long)at);
	}
	return SQLITE_CORRUPT;
}

uint64_t
pages_damaged(void)
{
	return atomic_load(&damaged);
}

int
pagefile_read_below(sqlite3_file *below, void *to, int n, sqlite3_int64 at)
{
	int rc = below->pMethods->xRead(below, to, n, at);

	return rc == SQLITE_IOERR_CORRUPTFS ? SQLITE_IOERR_READ : rc;
}

static int
p_close(sqlite3_file *f)
{
	struct pagefile *p = of(f);
	int rc = p->real->pMethods->xClose(p->real);

	walindex_end(&p->index);
	free(p->copy);
	p->copy = NULL;
	return rc;
}

static void
tell(struct pages_watch *w)
{
	if (++w->n % w->each == 0)
		w->read(w->arg, w->n);
}

static int
p_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
	struct pagefile *p = of(f);
	int rc;

	/* SQLite from 3.45 on may leave out the end of a page that only has a part
	 * of a large value */
	if (atomic_load(&p->sums) && at > 0 && n < p->page &&
	    at % p->page == 0) {
		rc = p_read(f, p->copy, p->page, at);
		if (rc == SQLITE_OK)
			memcpy(to, p->copy, (size_t)n);
		return rc;
	}
	rc = pagefile_read_below(p->real, to, n, at);
	if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ)
		return rc;
	if (rc == SQLITE_OK)
		look(p, to, (size_t)n, at);
	if (p->watch && is_page_size((size_t)n))
		tell(p->watch);
	if (atomic_load(&p->sums) && is_page_size((size_t)n) && at % n == 0 &&
	    pagefile_judge(f, to, (size_t)n, at, false) != SQLITE_OK)
		return SQLITE_CORRUPT;
	return rc;
}

static void
pause_now(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
}

/* A page of a checkpoint was written, which come in the order of the file.  The
 * piece before is on its way to the disk before it is waited for: all at once would
 * be milliseconds in the kernel, which are not interrupted. */
static void
keep_pace(struct pagefile *p, sqlite3_int64 at)
{
	sqlite3_int64 piece = at - at % PIECE_BYTES;

	if (piece != p->piece) {
		/* what it cannot do, and why, the sync finds */
		(void)sync_file_range(
		    p->fd, p->piece, PIECE_BYTES, SYNC_FILE_RANGE_WRITE);
		p->piece = piece;
		pause_now();
	}
	if (++p->writes % PACE == 0)
		pause_now();
}

static int
p_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
	struct pagefile *p = of(f);
	int rc;

	look(p, from, (size_t)n, at);
	if (atomic_load(&p->sums) && is_page_size((size_t)n) && at % n == 0) {
		memcpy(p->copy, from, (size_t)n);
		pagesum_set(p->copy, (size_t)n);
		from = p->copy;
	}
	rc = p->real->pMethods->xWrite(p->real, from, n, at);
	if (p->paced)
		keep_pace(p, at);
	return rc;
}

static int
p_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return of(f)->real->pMethods->xTruncate(of(f)->real, size);
}

static int
p_sync(sqlite3_file *f, int flags)
{
	struct pagefile *p = of(f);
	int rc;

	/* the system says so once, and may have forgotten what it could not write */
	if (atomic_load(&p->unsynced))
		return SQLITE_IOERR_FSYNC;
	rc = p->real->pMethods->xSync(p->real, flags);
	if (rc != SQLITE_OK)
		atomic_store(&p->unsynced, true);
	/* a checkpoint says in the index how far it came */
	return rc ? rc : walindex_room(&p->index);
}

static int
p_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return of(f)->real->pMethods->xFileSize(of(f)->real, size);
}

static int
p_lock(sqlite3_file *f, int how)
{
	/* who closes it as the last one, and writes to the index with no other lock */
	int rc = how == SQLITE_LOCK_EXCLUSIVE ? walindex_room(&of(f)->index)
					      : SQLITE_OK;

	return rc ? rc : of(f)->real->pMethods->xLock(of(f)->real, how);
}

static int
p_unlock(sqlite3_file *f, int how)
{
	return of(f)->real->pMethods->xUnlock(of(f)->real, how);
}

static int
p_reserved(sqlite3_file *f, int *is)
{
	return of(f)->real->pMethods->xCheckReservedLock(of(f)->real, is);
}

static int
p_control(sqlite3_file *f, int op, void *arg)
{
	return of(f)->real->pMethods->xFileControl(of(f)->real, op, arg);
}

static int
p_sector(sqlite3_file *f)
{
	return of(f)->real->pMethods->xSectorSize(of(f)->real);
}

static int
p_characteristics(sqlite3_file *f)
{
	/* nor less than a page is read (SQLITE_IOCAP_SUBPAGE_READ, 3.48) */
	return of(f)->real->pMethods->xDeviceCharacteristics(of(f)->real) &
	    ~0x8000;
}

static int
p_shm_map(
    sqlite3_file *f, int region, int size, int extend, void volatile **out)
{
	struct pagefile *p = of(f);
	void *map;
	int rc;

	walindex_begin(&p->index, p->name);
	rc = p->real->pMethods->xShmMap(p->real, region, size, extend, out);
	if (rc != SQLITE_OK)
		return rc;
	memcpy(&map, out, sizeof map); /* less volatile */
	rc = walindex_mapped(&p->index, (unsigned)region, map, (size_t)size);
	if (rc != SQLITE_OK)
		*out = NULL; /* it is asked for again */
	return rc;
}

static int
p_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	int rc = (flags & SQLITE_SHM_LOCK) && (flags & SQLITE_SHM_EXCLUSIVE)
	    ? walindex_room(&of(f)->index)
	    : SQLITE_OK;

	return rc ? rc
		  : of(f)->real->pMethods->xShmLock(of(f)->real, at, n, flags);
}

static void
p_shm_barrier(sqlite3_file *f)
{
	of(f)->real->pMethods->xShmBarrier(of(f)->real);
}

static int
p_shm_unmap(sqlite3_file *f, int gone)
{
	walindex_end(&of(f)->index);
	return of(f)->real->pMethods->xShmUnmap(of(f)->real, gone);
}

/* Not mapped: what is read there is not judged. */
static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = p_close,
	.xRead = p_read,
	.xWrite = p_write,
	.xTruncate = p_truncate,
	.xSync = p_sync,
	.xFileSize = p_size,
	.xLock = p_lock,
	.xUnlock = p_unlock,
	.xCheckReservedLock = p_reserved,
	.xFileControl = p_control,
	.xSectorSize = p_sector,
	.xDeviceCharacteristics = p_characteristics,
	.xShmMap = p_shm_map,
	.xShmLock = p_shm_lock,
	.xShmBarrier = p_shm_barrier,
	.xShmUnmap = p_shm_unmap,
};

size_t
pagefile_size(void)
{
	return FILE_SIZE;
}

int
pagefile_open(
    sqlite3_vfs *below, const char *name, sqlite3_file *f, int flags, int *out)
{
	struct pagefile *p = of(f);
	int rc;

	memset(p, 0, sizeof *p);
	if (!(p->copy = malloc(PAGE_MOST)))
		return SQLITE_NOMEM;
	p->name = name;
	p->said_at = -1;
	p->real = (sqlite3_file *)((uint8_t *)f + FILE_SIZE);
	p->real->pMethods = NULL;
	rc = below->xOpen(below, name, p->real, flags, out);
	if (rc != SQLITE_OK) {
		free(p->copy);
		p->copy = NULL;
		return rc;
	}
	p->base.pMethods = &methods;
	return SQLITE_OK;
}

bool
pagefile_has_sums(const sqlite3_file *f)
{
	return f && f->pMethods == &methods &&
	    atomic_load(&((const struct pagefile *)f)->sums);
}

int
pagefile_index_room(const sqlite3_file *f)
{
	return f && f->pMethods == &methods
	    ? walindex_room(&((const struct pagefile *)f)->index)
	    : SQLITE_OK;
}

bool
pages_have_sums(sqlite3 *db)
{
	sqlite3_file *f = NULL;

	return sqlite3_file_control(
		   db, "main", SQLITE_FCNTL_FILE_POINTER, &f) == SQLITE_OK &&
	    pagefile_has_sums(f);
}

bool
pages_unsynced(sqlite3 *db)
{
	sqlite3_file *f = NULL;

	return sqlite3_file_control(
		   db, "main", SQLITE_FCNTL_FILE_POINTER, &f) == SQLITE_OK &&
	    f && f->pMethods == &methods && atomic_load(&of(f)->unsynced);
}

void
pages_watch(sqlite3 *db, struct pages_watch *w)
{
	sqlite3_file *f = NULL;

	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f) ==
		SQLITE_OK &&
	    f && f->pMethods == &methods)
		of(f)->watch = w;
}

void
pages_pace(sqlite3 *db, int fd)
{
	sqlite3_file *f = NULL;

	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f) !=
		SQLITE_OK ||
	    !f || f->pMethods != &methods)
		return;
	of(f)->paced = true;
	of(f)->fd = fd;
}

int
pages_want_sums(sqlite3 *db)
{
	sqlite3_file *f = NULL;
	int n = PAGESUM_BYTES;
	int rc =
	    sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f);

	if (rc != SQLITE_OK)
		return rc;
	/* else SQLite writes the log's pages in pieces */
	if (!f || !f->pMethods ||
	    !(f->pMethods->xDeviceCharacteristics(f) &
		SQLITE_IOCAP_POWERSAFE_OVERWRITE))
		return SQLITE_OK;
	return sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &n);
}

static bool
write_whole(int fd, const uint8_t *from, size_t n, off_t at)
{
	while (n > 0) {
		ssize_t put = pwrite(fd, from, n, at);

		if (put < 0 && errno != EINTR)
			return false;
		if (put > 0) {
			from += put;
			at += put;
			n -= (size_t)put;
		}
	}
	return true;
}

static enum nj_err
seal(int fd, uint8_t *page)
{
	struct stat st;
	size_t n;

	if (fstat(fd, &st) || file_read_at(fd, page, HEADER, 0))
		return NJ_IO;
	n = (size_t)page[16] << 8 | page[17];
	n = n == 1 ? PAGE_MOST : n;
	if (!header_says_sums(page) || !is_page_size(n) ||
	    page[AT_RESERVED] != PAGESUM_BYTES)
		return NJ_MALFORMED;
	for (off_t at = 0; at + (off_t)n <= st.st_size; at += (off_t)n) {
		if (file_read_at(fd, page, n, at))
			return NJ_IO;
		pagesum_set(page, n);
		if (!write_whole(fd, page, n, at))
			return errno == ENOSPC ? NJ_FULL : NJ_IO;
	}
	return fsync(fd) ? NJ_IO : NJ_OK;
}

enum nj_err
pages_seal(const char *path, struct nj_why *why)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	uint8_t *page = malloc(PAGE_MOST);
	enum nj_err e = NJ_NOMEM;

	if (fd < 0)
		e = NJ_IO;
	else if (page)
		e = seal(fd, page);
	if (e)
		why_set(why, "%s: setting its checksums: %s", path,
		    e == NJ_MALFORMED ? "it has no room for them"
				      : strerror(errno));
	if (fd >= 0)
		close(fd);
	free(page);
	return e;
}
