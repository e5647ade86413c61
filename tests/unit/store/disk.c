/* SPDX-License-Identifier: Apache-2.0
 */
#include "disk.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES	512 /* a store of a seed's has more than 64 data files */
#define SECTOR	512
#define REGIONS 64

struct change {
	struct change *next;
	uint64_t at, n; /* n 0: the file ends at `at` */
	bool cut;
	uint8_t bytes[];
};

struct image {
	uint8_t *p;
	uint64_t n, cap;
};

struct data {
	char name[256]; /* empty: free */
	struct image now, synced;
	struct change *first, **last; /* since the last sync */
	bool known;		      /* the folder on disk has it */
	bool gone;     /* deleted, and the folder on disk does not know */
	unsigned maps; /* connections that use these */
	void *regions[REGIONS]; /* shared memory of the WAL */
};

struct handle {
	sqlite3_file base;
	struct data *data;
	bool mapped;
};

static struct data files[FILES];
static uint64_t state, left, ops;
static atomic_bool off;
static atomic_int failing;
static atomic_ullong called[DISK_CALLS];
/* A store deletes files behind its answers, too. */
static atomic_int fault_in = DISK_CALLS;
static atomic_ullong fault_at, fault_times;
static char fault_tail[16]; /* of names; empty: all */
static bool registered;

static uint64_t
draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static void
image_write(struct image *im, uint64_t at, const void *p, uint64_t n)
{
	if (at + n > im->cap) {
		uint64_t cap = (at + n) * 2;
		uint8_t *v = realloc(im->p, cap);

		if (!v)
			abort();
		im->p = v;
		im->cap = cap;
	}
	if (at > im->n)
		memset(im->p + im->n, 0, at - im->n);
	memcpy(im->p + at, p, n);
	if (at + n > im->n)
		im->n = at + n;
}

static void
apply(struct image *im, const struct change *c, uint64_t n)
{
	if (c->cut && c->at < im->n)
		im->n = c->at;
	else if (!c->cut)
		image_write(im, c->at, c->bytes, n);
}

static void
forget(struct data *d)
{
	struct change *c;

	while ((c = d->first)) {
		d->first = c->next;
		free(c);
	}
	d->last = &d->first;
}

/* A write or sync is about to happen; false: the power went before. */
static bool
powered(void)
{
	ops++;
	if (!off && left > 0 && --left == 0)
		off = true;
	return !off;
}

static bool
ends_so(const struct data *d)
{
	size_t n = strlen(d->name), tail = strlen(fault_tail);

	return n >= tail && strcmp(d->name + n - tail, fault_tail) == 0;
}

/* This call is to fail. */
static bool
faulty(enum disk_call which)
{
	uint64_t n = ++called[which];

	return (int)which == fault_in && n >= fault_at &&
	    n - fault_at < fault_times;
}

static int
note(struct data *d, uint64_t at, const void *p, uint64_t n, bool cut)
{
	struct change *c = malloc(sizeof *c + n);

	if (!c)
		abort();
	*c = (struct change){ .at = at, .n = n, .cut = cut };
	if (n)
		memcpy(c->bytes, p, n);
	*d->last = c;
	d->last = &c->next;
	apply(&d->now, c, n);
	return SQLITE_OK;
}

static struct data *
data_of(sqlite3_file *f)
{
	return ((struct handle *)f)->data;
}

static int
f_close(sqlite3_file *f)
{
	(void)f;
	return SQLITE_OK;
}

static int
f_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	const struct data *d = data_of(f);
	uint64_t has = (uint64_t)at < d->now.n ? d->now.n - (uint64_t)at : 0;

	/* which SQLite's own says of EIO */
	if (off || faulty(DISK_READ))
		return SQLITE_IOERR_CORRUPTFS;
	if (has >= (uint64_t)n) {
		memcpy(p, d->now.p + at, (size_t)n);
		return SQLITE_OK;
	}
	memset(p, 0, (size_t)n);
	if (has)
		memcpy(p, d->now.p + at, has);
	return SQLITE_IOERR_SHORT_READ;
}

static int
f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	struct data *d = data_of(f);

	if (failing)
		return failing;
	if (off || faulty(DISK_WRITE))
		return SQLITE_IOERR_WRITE;
	/* what is written as the power goes may arrive in part */
	if (!powered()) {
		note(d, (uint64_t)at, p, (uint64_t)n, false);
		return SQLITE_IOERR_WRITE;
	}
	return note(d, (uint64_t)at, p, (uint64_t)n, false);
}

static int
f_truncate(sqlite3_file *f, sqlite3_int64 n)
{
	if (failing)
		return failing;
	if (faulty(DISK_TRUNCATE) || !powered())
		return SQLITE_IOERR_TRUNCATE;
	return note(data_of(f), (uint64_t)n, NULL, 0, true);
}

static void data_fini(struct data *d);

/* All names are on disk as they are now. */
static void
sync_folder(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		files[i].known = true;
		if (files[i].gone)
			data_fini(&files[i]);
	}
}

static int
f_sync(sqlite3_file *f, int flags)
{
	struct data *d = data_of(f);

	(void)flags;
	if (failing)
		return failing == SQLITE_FULL ? SQLITE_OK : failing;
	if ((ends_so(d) && faulty(DISK_SYNC)) || !powered())
		return SQLITE_IOERR_FSYNC;
	for (const struct change *c = d->first; c; c = c->next)
		apply(&d->synced, c, c->n);
	forget(d);
	if (!d->known)
		sync_folder();
	return SQLITE_OK;
}

static int
f_size(sqlite3_file *f, sqlite3_int64 *n)
{
	if (faulty(DISK_SIZE))
		return SQLITE_IOERR_FSTAT;
	*n = (sqlite3_int64)data_of(f)->now.n;
	return SQLITE_OK;
}

static int
f_lock(sqlite3_file *f, int level)
{
	(void)f;
	(void)level;
	return faulty(DISK_LOCK) ? SQLITE_IOERR_LOCK : SQLITE_OK;
}

static int
f_unlock(sqlite3_file *f, int level)
{
	(void)f;
	(void)level;
	return SQLITE_OK;
}

static int
f_reserved(sqlite3_file *f, int *out)
{
	(void)f;
	*out = 0;
	return SQLITE_OK;
}

static int
f_control(sqlite3_file *f, int op, void *arg)
{
	(void)f;
	(void)op;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int
f_sector(sqlite3_file *f)
{
	(void)f;
	return SECTOR;
}

static int
f_character(sqlite3_file *f)
{
	(void)f;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int
f_shm_map(
    sqlite3_file *f, int region, int size, int extend, void volatile **out)
{
	struct handle *h = (struct handle *)f;
	struct data *d = h->data;

	*out = NULL;
	if (region >= REGIONS || faulty(DISK_SHM_MAP))
		return SQLITE_IOERR_SHMMAP;
	d->maps += !h->mapped;
	h->mapped = true;
	if (!d->regions[region] && extend)
		d->regions[region] = calloc(1, (size_t)size);
	*out = d->regions[region];
	return SQLITE_OK;
}

static int
f_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	(void)f;
	(void)at;
	(void)n;
	return (flags & SQLITE_SHM_LOCK) && faulty(DISK_SHM_LOCK)
	    ? SQLITE_IOERR_SHMLOCK
	    : SQLITE_OK;
}

static void
f_shm_barrier(sqlite3_file *f)
{
	(void)f;
}

static void
drop_regions(struct data *d)
{
	for (unsigned i = 0; i < REGIONS; i++) {
		free(d->regions[i]);
		d->regions[i] = NULL;
	}
}

static int
f_shm_unmap(sqlite3_file *f, int del)
{
	struct handle *h = (struct handle *)f;
	struct data *d = h->data;

	(void)del;
	if (h->mapped && --d->maps == 0)
		drop_regions(d);
	h->mapped = false;
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = f_close,
	.xRead = f_read,
	.xWrite = f_write,
	.xTruncate = f_truncate,
	.xSync = f_sync,
	.xFileSize = f_size,
	.xLock = f_lock,
	.xUnlock = f_unlock,
	.xCheckReservedLock = f_reserved,
	.xFileControl = f_control,
	.xSectorSize = f_sector,
	.xDeviceCharacteristics = f_character,
	.xShmMap = f_shm_map,
	.xShmLock = f_shm_lock,
	.xShmBarrier = f_shm_barrier,
	.xShmUnmap = f_shm_unmap,
};

static struct data *
find(const char *name)
{
	for (unsigned i = 0; i < FILES; i++)
		if (files[i].name[0] && !files[i].gone &&
		    strcmp(files[i].name, name) == 0)
			return &files[i];
	return NULL;
}

static int
v_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	struct handle *h = (struct handle *)f;
	struct data *d = name ? find(name) : NULL;

	(void)v;
	*h = (struct handle){ .data = NULL };
	if (!name || off || faulty(DISK_OPEN))
		return SQLITE_CANTOPEN;
	/* only the database's file is there before it is made */
	if (!d && !(flags & (SQLITE_OPEN_CREATE | SQLITE_OPEN_MAIN_DB)))
		return SQLITE_CANTOPEN;
	for (unsigned i = 0; !d && i < FILES; i++)
		if (!files[i].name[0]) {
			d = &files[i];
			snprintf(d->name, sizeof d->name, "%s", name);
			d->last = &d->first;
			d->known = !(flags &
			    (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL));
		}
	if (!d) { /* no fault that a store should meet */
		(void)fprintf(
		    stderr, "more than %d files on the disk\n", FILES);
		abort();
	}
	h->data = d;
	h->base.pMethods = &methods;
	if (out)
		*out = flags;
	return SQLITE_OK;
}

static void
data_fini(struct data *d)
{
	if (d->name[0])
		forget(d);
	free(d->now.p);
	free(d->synced.p);
	drop_regions(d);
	*d = (struct data){ .name = "" };
}

static int
v_delete(sqlite3_vfs *v, const char *name, int sync)
{
	struct data *d = find(name);

	(void)v;
	if (!d)
		return SQLITE_IOERR_DELETE_NOENT;
	if (faulty(DISK_DELETE) || !powered())
		return SQLITE_IOERR_DELETE;
	d->gone = true;
	if (sync || !d->known)
		data_fini(d);
	return SQLITE_OK;
}

static int
v_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
	const struct data *d = find(name);

	(void)v;
	(void)flags;
	*out = d && d->now.n > 0;
	return SQLITE_OK;
}

static int
v_full(sqlite3_vfs *v, const char *name, int n, char *out)
{
	(void)v;
	snprintf(out, (size_t)n, "%s", name);
	return SQLITE_OK;
}

static int
v_random(sqlite3_vfs *v, int n, char *out)
{
	(void)v;
	for (int i = 0; i < n; i++)
		out[i] = (char)draw(256);
	return n;
}

static int
v_sleep(sqlite3_vfs *v, int us)
{
	(void)v;
	return us;
}

static int
v_time(sqlite3_vfs *v, double *out)
{
	(void)v;
	*out = 2460000.0;
	return SQLITE_OK;
}

static int
v_error(sqlite3_vfs *v, int n, char *out)
{
	(void)v;
	if (n > 0)
		out[0] = '\0';
	return 0;
}

static sqlite3_vfs vfs = {
	.iVersion = 1,
	.szOsFile = sizeof(struct handle),
	.mxPathname = 250,
	.zName = DISK_VFS,
	.xOpen = v_open,
	.xDelete = v_delete,
	.xAccess = v_access,
	.xFullPathname = v_full,
	.xRandomness = v_random,
	.xSleep = v_sleep,
	.xCurrentTime = v_time,
	.xGetLastError = v_error,
};

void
disk_reset(uint64_t seed)
{
	if (!registered && sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
		abort();
	registered = true;
	disk_fini();
	state = seed * 0x9e3779b97f4a7c15ull | 1;
	left = ops = 0;
	off = false;
	failing = 0;
	disk_fault(DISK_CALLS, 0, 0);
}

void
disk_fini(void)
{
	for (unsigned i = 0; i < FILES; i++)
		data_fini(&files[i]);
}

void
disk_cut_at(uint64_t n)
{
	left = n;
}

bool
disk_is_off(void)
{
	return off;
}

void
disk_cut_now(void)
{
	off = true;
}

/* Its sectors by themselves, the last perhaps in part. */
static void
tear(struct data *d, const struct change *c)
{
	uint64_t n;

	for (uint64_t at = 0; at < c->n; at += n) {
		n = SECTOR - (c->at + at) % SECTOR;
		if (n > c->n - at)
			n = c->n - at;
		if (draw(2))
			image_write(&d->synced, c->at + at, c->bytes + at,
			    draw(8) ? n : draw(n));
	}
}

/* One unsynced write, as it may be found afterwards. */
static void
survive(struct data *d, const struct change *c)
{
	switch (draw(4)) {
	case 0:
		break;
	case 1:
		if (!c->cut)
			tear(d, c);
		break;
	default:
		apply(&d->synced, c, c->n);
	}
}

static void
restart(struct data *d)
{
	for (const struct change *c = d->first; c; c = c->next)
		survive(d, c);
	forget(d);
	d->now.n = 0;
	if (d->synced.n)
		image_write(&d->now, 0, d->synced.p, d->synced.n);
	d->known = true;
	d->maps = 0;
	drop_regions(d);
}

void
disk_power_on(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		struct data *d = &files[i];

		if (!d->name[0])
			continue;
		/* one of that name may have been made since */
		if (d->gone && (find(d->name) || draw(2))) {
			data_fini(d);
			continue;
		}
		d->gone = false;
		restart(d);
	}
	off = false;
	left = 0;
}

void
disk_killed(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		files[i].maps = 0;
		drop_regions(&files[i]);
	}
	off = false;
	left = 0;
}

void
disk_fail(int rc)
{
	failing = rc;
}

void
disk_fault(enum disk_call which, uint64_t at, uint64_t times)
{
	fault_in = (int)which;
	fault_at = at;
	fault_times = times;
	fault_tail[0] = '\0';
	for (unsigned i = 0; i < DISK_CALLS; i++)
		called[i] = 0;
}

void
disk_fault_in(const char *tail)
{
	snprintf(fault_tail, sizeof fault_tail, "%s", tail);
}

uint64_t
disk_called(enum disk_call which)
{
	return called[which];
}

bool
disk_damage(const char *name, uint64_t at)
{
	struct data *d = find(name);

	if (!d || at >= d->now.n)
		return false;
	d->now.p[at] ^= 0x40;
	return true;
}

uint64_t
disk_size(const char *name)
{
	const struct data *d = find(name);

	return d ? d->now.n : 0;
}

unsigned
disk_files(void)
{
	return FILES;
}

const char *
disk_name(unsigned i)
{
	return files[i].gone ? "" : files[i].name;
}

uint64_t
disk_ops(void)
{
	return ops;
}

bool
disk_export(const char *name, const char *path)
{
	const struct data *d = find(name);
	bool good;
	int fd;

	if (!d)
		return false;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	good =
	    d->now.n == 0 || write(fd, d->now.p, d->now.n) == (ssize_t)d->now.n;
	close(fd);
	return good;
}
