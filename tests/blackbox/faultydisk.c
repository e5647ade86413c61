/* SPDX-License-Identifier: Apache-2.0
 * faultydisk - preloaded, it makes calls of a program fail that have to do with
 *              files below a folder ($NJ_DISK_FOLDER), as a file that the test
 *              maps, too, says ($NJ_DISK_CONTROL): struct control.
 */
/* Both names of a call are defined here. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS  4096
#define TAIL 32

/* Bits of control.calls; faulty.py has them, too. */
enum {
	F_OPEN = 1,
	F_READ = 2,
	F_WRITE = 4,
	F_SYNC = 8,
	F_TRUNCATE = 16,
	F_ALLOCATE = 32,
	F_RENAME = 64,
	F_UNLINK = 128,
	F_MMAP = 256,
	F_STAT = 512,
	F_LOCKS = 1024,
};

/* Instead of errno: a part is read or written. */
#define A_PART (-1)

struct control {
	atomic_int calls; /* which fail; 0: none */
	atomic_int error; /* errno, or A_PART; 0: they are slow only */
	atomic_int skip;  /* so many first do not */
	atomic_int times; /* then so many do */
	atomic_int slow_us;
	atomic_int hits;    /* how many have failed */
	atomic_int limited; /* files take only */
	atomic_int room;    /* so many bytes more */
	char part[TAIL];    /* of their names; empty: all below the folder */
};

static struct control *control;
static const char *folder;
static char *_Atomic names[FDS];

static void
begin(void)
{
	const char *path = getenv("NJ_DISK_CONTROL");
	int fd;
	void *p;

	if (control || !path || !(folder = getenv("NJ_DISK_FOLDER")))
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	p = (void *)syscall(SYS_mmap, NULL, sizeof *control,
	    PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)syscall(SYS_close, fd);
	if (p != MAP_FAILED)
		control = p;
}

static const char *
name_of(int fd)
{
	return fd >= 0 && fd < FDS ? atomic_load(&names[fd]) : NULL;
}

/* A part that ends with $ is the end of the name. */
static bool
is_meant(const char *name)
{
	size_t n = strlen(control->part), all = strlen(name);

	if (n == 0 || control->part[n - 1] != '$')
		return strstr(name, control->part) != NULL;
	return all >= n - 1 &&
	    memcmp(name + all - (n - 1), control->part, n - 1) == 0;
}

/* 0: the call is made as it is. */
static int
fault(int call, const char *name)
{
	int error;

	begin();
	if (!control || !name || !strstr(name, folder) ||
	    !(atomic_load(&control->calls) & call) || !is_meant(name))
		return 0;
	if (atomic_fetch_sub(&control->skip, 1) > 0)
		return 0;
	if (atomic_fetch_sub(&control->times, 1) <= 0)
		return 0;
	atomic_fetch_add(&control->hits, 1);
	if (atomic_load(&control->slow_us) > 0)
		(void)usleep((useconds_t)atomic_load(&control->slow_us));
	error = atomic_load(&control->error);
	if (error > 0)
		errno = error;
	return error;
}

/* The folder is told as it is from the root. */
static const char *
whole(const char *path, char *room, size_t size)
{
	size_t n;

	if (path[0] == '/' || !getcwd(room, size))
		return path;
	n = strlen(room);
	snprintf(room + n, size - n, "/%s", path);
	return room;
}

static int
open_it(int dir, const char *path, int flags, mode_t mode)
{
	char room[PATH_MAX];
	const char *name = whole(path, room, sizeof room);
	int fd;

	if (fault(F_OPEN, name) > 0)
		return -1;
	fd = (int)syscall(SYS_openat, dir, path, flags, mode);
	if (fd >= 0 && fd < FDS && folder && strstr(name, folder))
		free(atomic_exchange(&names[fd], strdup(name)));
	return fd;
}

static mode_t
mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

#define OPEN(name, dir_parameter, dir)                           \
	int name(dir_parameter const char *path, int flags, ...) \
	{                                                        \
		va_list ap;                                      \
		mode_t mode;                                     \
                                                                 \
		va_start(ap, flags);                             \
		mode = mode_of(flags, ap);                       \
		va_end(ap);                                      \
		return open_it(dir, path, flags, mode);          \
	}
#define COMMA ,
OPEN(open, , AT_FDCWD)
OPEN(open64, , AT_FDCWD)
OPEN(openat, int at COMMA, at)
OPEN(openat64, int at COMMA, at)

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);

int
__open_2(const char *path, int flags)
{
	return open_it(AT_FDCWD, path, flags, 0);
}

int
__open64_2(const char *path, int flags)
{
	return open_it(AT_FDCWD, path, flags, 0);
}

int
close(int fd)
{
	if (fd >= 0 && fd < FDS)
		free(atomic_exchange(&names[fd], NULL));
	return (int)syscall(SYS_close, fd);
}

/* How much of n bytes is read or written; -1: none, with errno. */
static ssize_t
some_of(int call, int fd, size_t n)
{
	int error = fault(call, name_of(fd));

	if (error > 0)
		return -1;
	return (ssize_t)(error == A_PART && n > 1 ? n / 2 : n);
}

/* What there is room for, of what makes a file longer. */
static ssize_t
room_for(int fd, size_t n, off_t at)
{
	struct stat st;
	long more;

	if (!control || !name_of(fd) || !atomic_load(&control->limited) ||
	    syscall(SYS_fstat, fd, &st) != 0)
		return (ssize_t)n;
	more = (long)(at + (off_t)n) - (long)st.st_size;
	if (more <= 0)
		return (ssize_t)n;
	if (more <= atomic_load(&control->room)) {
		atomic_fetch_sub(&control->room, (int)more);
		return (ssize_t)n;
	}
	atomic_fetch_add(&control->hits, 1);
	more -= atomic_exchange(&control->room, 0);
	if (more < (long)n)
		return (ssize_t)n - more;
	errno = ENOSPC;
	return -1;
}

ssize_t
pread64(int fd, void *to, size_t n, off_t at)
{
	ssize_t some = some_of(F_READ, fd, n);

	return some < 0 ? -1 : syscall(SYS_pread64, fd, to, some, at);
}

ssize_t
pread(int fd, void *to, size_t n, off_t at)
{
	return pread64(fd, to, n, at);
}

ssize_t
read(int fd, void *to, size_t n)
{
	ssize_t some = some_of(F_READ, fd, n);

	return some < 0 ? -1 : syscall(SYS_read, fd, to, some);
}

ssize_t
pwrite64(int fd, const void *from, size_t n, off_t at)
{
	ssize_t some = some_of(F_WRITE, fd, n);

	if (some > 0)
		some = room_for(fd, (size_t)some, at);
	return some < 0 ? -1 : syscall(SYS_pwrite64, fd, from, some, at);
}

ssize_t
pwrite(int fd, const void *from, size_t n, off_t at)
{
	return pwrite64(fd, from, n, at);
}

ssize_t
write(int fd, const void *from, size_t n)
{
	ssize_t some = some_of(F_WRITE, fd, n);

	return some < 0 ? -1 : syscall(SYS_write, fd, from, some);
}

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	if (fault(F_WRITE, name_of(fd)) > 0)
		return -1;
	return syscall(SYS_writev, fd, v, n);
}

int
fsync(int fd)
{
	return fault(F_SYNC, name_of(fd)) > 0 ? -1
					      : (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	return fault(F_SYNC, name_of(fd)) > 0 ? -1
					      : (int)syscall(SYS_fdatasync, fd);
}

/* What is given up is room for others. */
static int
gives_up(const struct stat *before, off_t left, int rc)
{
	if (rc == 0 && control && atomic_load(&control->limited) &&
	    before->st_size > left)
		atomic_fetch_add(&control->room, (int)(before->st_size - left));
	return rc;
}

int
ftruncate64(int fd, off_t n)
{
	struct stat st = { .st_size = 0 };

	if (fault(F_TRUNCATE, name_of(fd)) > 0)
		return -1;
	if (name_of(fd))
		(void)syscall(SYS_fstat, fd, &st);
	return gives_up(&st, n, (int)syscall(SYS_ftruncate, fd, n));
}

int
ftruncate(int fd, off_t n)
{
	return ftruncate64(fd, n);
}

int
fallocate(int fd, int mode, off_t at, off_t n)
{
	return fault(F_ALLOCATE, name_of(fd)) > 0
	    ? -1
	    : (int)syscall(SYS_fallocate, fd, mode, at, n);
}

int
rename(const char *from, const char *to)
{
	char room[PATH_MAX];

	return fault(F_RENAME, whole(from, room, sizeof room)) > 0
	    ? -1
	    : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int
unlink(const char *path)
{
	char room[PATH_MAX];
	const char *name = whole(path, room, sizeof room);
	struct stat st = { .st_size = 0 };

	if (fault(F_UNLINK, name) > 0)
		return -1;
	if (folder && strstr(name, folder))
		(void)syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0);
	return gives_up(&st, 0, (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

void *
mmap64(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
	if (fd >= 0 && fault(F_MMAP, name_of(fd)) > 0)
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, from);
}

void *
mmap(void *at, size_t n, int prot, int flags, int fd, off_t from)
{
	return mmap64(at, n, prot, flags, fd, from);
}

int
fstat64(int fd, struct stat64 *st)
{
	return fault(F_STAT, name_of(fd)) > 0 ? -1
					      : (int)syscall(SYS_fstat, fd, st);
}

int
fcntl64(int fd, int what, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, what);
	arg = va_arg(ap, void *);
	va_end(ap);
	if ((what == F_SETLK || what == F_SETLKW) &&
	    fault(F_LOCKS, name_of(fd)) > 0)
		return -1;
	return (int)syscall(SYS_fcntl, fd, what, arg);
}
