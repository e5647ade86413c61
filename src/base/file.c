/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/keeper.h"
#include "base/rand.h"

#define CHUNK	     16384
#define PIPE_WAIT_MS 10000
/* Somebody may type a passphrase there. */
#define PIPE_HELD_MS 120000

const char *
file_mend_path(const char *path)
{
	size_t n = strlen(path);

	if (n > 0 && (strchr("\"'", path[0]) || strchr("\"'", path[n - 1])))
		return "leave the quotation marks out: they are taken for a "
		       "part of the path";
	if (path[0] == '~')
		return "write the home folder out: only a shell knows '~'";
	if (path[0] == '$' || strstr(path, "${"))
		return "write the path out: only a shell knows variables";
	if (strstr(path, " #") || strstr(path, "\t#"))
		return "put the comment on a line of its own: behind a value "
		       "it is taken for a part of it";
	if (strchr(path, '\\'))
		return "write '/' in place of '\\'";
	return "check the path, and that its folder exists";
}

/* certbot's files are links, and a container sees where they point only if it
 * was given that too. */
static bool
mend_link(struct nj_why *why, const char *path)
{
	char to[512];
	ssize_t n = readlink(path, to, sizeof to - 1);
	size_t used = strlen(why->what);

	if (n <= 0)
		return false;
	to[n] = '\0';
	(void)snprintf(why->what + used, sizeof why->what - used,
	    " (it is a link to %s)", to);
	why_mend(why,
	    "give what the link points to (to a container: the whole "
	    "/etc/letsencrypt, and not live/ alone), or a copy in its place");
	return true;
}

/* Puts errno into *why, with what usually mends it. */
static enum nj_err
refuse(struct nj_why *why, const char *verb, const char *path)
{
	int err = errno;

	why_set(why, "cannot %s %s: %s", verb, path, strerror(err));
	if (err == ENOENT && why && mend_link(why, path))
		return NJ_NOTFOUND;
	switch (err) {
	case ENOENT:
		why_mend(why, "%s", file_mend_path(path));
		return NJ_NOTFOUND;
	case EISDIR:
		why_mend(why, "give the path of a file in it");
		return NJ_IO;
	case EEXIST:
		return NJ_EXISTS;
	case EACCES:
	case EPERM:
		why_mend(why,
		    "as user id %ld the path must be accessible; "
		    "see: namei -l %s",
		    (long)geteuid(), path);
		return NJ_DENIED;
	case ELOOP:
		why_mend(why, "give the file itself, not a symbolic link");
		return NJ_DENIED;
	case ENOSPC:
	case EDQUOT:
		why_mend(why, "free space on the disk of %s", path);
		return NJ_IO;
	case EROFS:
		why_mend(why, "its file system is mounted read-only");
		return NJ_IO;
	case ENOMEM:
		return NJ_NOMEM;
	default:
		return NJ_IO;
	}
}

/* As open(2), for reading. */
static int
open_kept(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0 && errno == EACCES) {
		fd = keeper_open(path, !(flags & O_NOFOLLOW));
		errno = EACCES;
	}
	return fd;
}

static bool
stat_kept(const char *path, bool links, struct stat *st)
{
	bool ok;
	int fd;

	if ((links ? stat(path, st) : lstat(path, st)) == 0)
		return true;
	if (errno != EACCES)
		return false;
	if ((fd = keeper_open(path, links)) < 0) {
		errno = EACCES;
		return false;
	}
	ok = fstat(fd, st) == 0;
	(void)close(fd);
	return ok;
}

bool
file_stat(const char *path, struct stat *st)
{
	return stat_kept(path, true, st);
}

bool
file_is_hidden(const char *path)
{
	int fd;

	if (access(path, R_OK) == 0 || errno != EACCES)
		return false;
	if ((fd = keeper_open(path, true)) < 0)
		return true;
	(void)close(fd);
	return false;
}

static bool
is_pipe(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Whoever writes to a pipe may begin a little later, and may never.  Who holds
 * it has more time for the next bytes, but not for ever: nothing else is done
 * meanwhile, at a reload neither. */
static enum nj_err
wait_for_more(
    int fd, const char *path, bool held, bool *ended, struct nj_why *why)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, held ? PIPE_HELD_MS : PIPE_WAIT_MS);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		*ended = !(p.revents & POLLIN);
		return NJ_OK;
	}
	if (n == 0 && held) {
		why_set(why,
		    "%s is a pipe, and who holds it has written nothing for "
		    "%d s",
		    path, PIPE_HELD_MS / 1000);
		why_mend(why,
		    "give a file, or let the program at the other end write, "
		    "or end");
		return NJ_IO;
	}
	why_set(why, "%s is a pipe, and nobody writes to it", path);
	why_mend(why, "give a file, or begin to write to the pipe first");
	return NJ_IO;
}

static enum nj_err
read_all(
    int fd, const char *path, size_t max, struct buf *out, struct nj_why *why)
{
	size_t total = 0;
	bool ended;

	for (;;) {
		/* One byte past the bound tells a larger file from a full
		 * one. */
		size_t want = max - total < CHUNK ? max - total + 1 : CHUNK;
		uint8_t *at;
		ssize_t got;
		enum nj_err e;

		if ((e = buf_reserve(out, want, &at))) {
			why_set(
			    why, "cannot read %s: %s", path, nj_strerror(e));
			return e;
		}
		got = read(fd, at, want);
		if (got < 0 && errno == EINTR)
			continue;
		if ((got < 0 && errno == EAGAIN) ||
		    (got == 0 && total == 0 && is_pipe(fd))) {
			if ((e = wait_for_more(
				 fd, path, got < 0, &ended, why)) ||
			    ended)
				return e;
			continue;
		}
		if (got < 0)
			return refuse(why, "read", path);
		if (got == 0)
			return NJ_OK;
		total += (size_t)got;
		if (total > max) {
			why_set(why, "%s is larger than %zu bytes", path, max);
			return NJ_TOOBIG;
		}
		buf_commit(out, (size_t)got);
	}
}

enum nj_err
file_read(const char *path, size_t max, struct buf *out, struct nj_why *why)
{
	size_t before = buf_len(out);
	int fd = open_kept(path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	enum nj_err e;

	if (fd < 0)
		return refuse(why, "open", path);
	e = read_all(fd, path, max, out, why);
	if (e)
		buf_truncate(out, before);
	(void)close(fd);
	return e;
}

static bool
write_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t put = write(fd, s.p, s.n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return false;
		s.p += put;
		s.n -= (size_t)put;
	}
	return true;
}

/* "dir/.name.RANDOM", so that it is on the same file system and a glob for
 * the real name does not find it. */
static char *
temp_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	int dir = slash ? (int)(slash - path) + 1 : 0;
	uint64_t r;
	char *tmp;

	rand_bytes(&r, sizeof r);
	if (asprintf(&tmp, "%.*s.%s.%016llx", dir, path, path + dir,
		(unsigned long long)r) < 0)
		return NULL;
	return tmp;
}

enum nj_err
file_read_at(int fd, void *to, size_t n, off_t at)
{
	uint8_t *p = to;

	while (n > 0) {
		ssize_t got = pread(fd, p, n, at);

		if (got == 0) {
			errno = EIO;
			return NJ_EOF;
		}
		if (got < 0 && errno != EINTR)
			return NJ_IO;
		if (got > 0) {
			p += got;
			at += got;
			n -= (size_t)got;
		}
	}
	return NJ_OK;
}

bool
file_sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir;
	int fd;
	bool ok;

	dir = !slash	    ? strdup(".")
	    : slash == path ? strdup("/")
			    : strndup(path, (size_t)(slash - path));
	if (!dir) {
		errno = ENOMEM;
		return false;
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	if (fd < 0)
		return errno == EACCES; /* writable, not readable: rare */
	ok = fsync(fd) == 0 || errno == EINVAL;
	(void)close(fd);
	return ok;
}

/* rename, but never over something.  Old file systems lack the flag. */
static int
rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (link(from, to) != 0)
		return -1;
	(void)unlink(from);
	return 0;
}

/* Creates and fills tmp.  As root, a replaced file keeps its owner, so that
 * a password file edited by root can still be read by the broker. */
static bool
fill_temp(const char *tmp, const char *path, struct slice bytes, mode_t mode,
    bool replace)
{
	struct stat st;
	bool ok;
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    mode & 0600);

	if (fd < 0)
		return false;
	ok = !replace || geteuid() != 0 || lstat(path, &st) != 0 ||
	    !S_ISREG(st.st_mode) || fchown(fd, st.st_uid, st.st_gid) == 0;
	ok = ok && fchmod(fd, mode) == 0 && write_all(fd, bytes) &&
	    fsync(fd) == 0;
	if (close(fd) != 0)
		ok = false;
	return ok;
}

static enum nj_err
put_file(const char *path, struct slice bytes, mode_t mode, bool replace,
    struct nj_why *why)
{
	char *tmp = temp_name(path);
	enum nj_err e;

	if (!tmp) {
		errno = ENOMEM;
		return refuse(why, "write", path);
	}
	if (!fill_temp(tmp, path, bytes, mode, replace) ||
	    (replace ? rename(tmp, path) : rename_new(tmp, path)) != 0) {
		e = refuse(why, replace ? "write" : "create", path);
		(void)unlink(tmp);
	} else {
		e = file_sync_folder(path) ? NJ_OK : refuse(why, "sync", path);
	}
	free(tmp);
	return e;
}

enum nj_err
file_write(
    const char *path, struct slice bytes, mode_t mode, struct nj_why *why)
{
	return put_file(path, bytes, mode, true, why);
}

enum nj_err
file_create(
    const char *path, struct slice bytes, mode_t mode, struct nj_why *why)
{
	return put_file(path, bytes, mode, false, why);
}

enum nj_err
file_mkdir(const char *path, mode_t mode, struct nj_why *why)
{
	char *p = strdup(path);
	enum nj_err e = NJ_OK;
	struct stat st;

	if (!p) {
		errno = ENOMEM;
		return refuse(why, "create", path);
	}
	for (char *at = p + (*p == '/'); !e; at++) {
		char c = *at;

		if (c != '/' && c != '\0')
			continue;
		*at = '\0';
		if (mkdir(p, mode) != 0 && errno != EEXIST) {
			int err = errno;

			if (stat(p, &st) != 0 || !S_ISDIR(st.st_mode)) {
				errno = err;
				e = refuse(why, "create folder", p);
			}
		}
		*at = c;
		if (c == '\0')
			break;
	}
	if (!e && stat(path, &st) != 0) {
		e = refuse(why, "create folder", path);
	} else if (!e && !S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		e = refuse(why, "create folder", path);
	}
	free(p);
	return e;
}

/* By descriptor, so that what was checked is what is read. */
static enum nj_err
check_private(int fd, const char *path, struct nj_why *why)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return refuse(why, "look at", path);
	if (S_ISLNK(st.st_mode)) {
		errno = ELOOP;
		return refuse(why, "trust", path);
	}
	if (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) {
		why_set(why, "%s is open to other users (mode %04o)", path,
		    (unsigned)(st.st_mode & 07777));
		why_mend(why, "chmod go= %s", path);
		return NJ_DENIED;
	}
	return NJ_OK;
}

static enum nj_err
check_private_at(const char *path, int links, struct nj_why *why)
{
	int fd = open_kept(path, O_PATH | links);
	enum nj_err e;

	if (fd < 0)
		return refuse(why, "open", path);
	e = check_private(fd, path, why);
	(void)close(fd);
	return e;
}

enum nj_err
file_check_private(const char *path, struct nj_why *why)
{
	return check_private_at(path, O_NOFOLLOW, why);
}

enum nj_err
file_check_private_linked(const char *path, struct nj_why *why)
{
	return check_private_at(path, 0, why);
}

enum nj_err
file_check_rules(
    const char *path, bool links, bool readable, struct nj_why *why)
{
	struct stat st;
	mode_t bad = S_IWOTH | (readable ? 0 : S_IROTH);

	if (!stat_kept(path, links, &st))
		return refuse(why, "open", path);
	if (S_ISLNK(st.st_mode)) {
		why_set(why, "%s is a symbolic link", path);
		why_mend(why,
		    "give the file itself, not a symbolic link, or set: "
		    "allow_linked_files true");
		return NJ_DENIED;
	}
	if (!S_ISREG(st.st_mode)) {
		why_set(why, "%s is not a regular file", path);
		why_mend(why, "give the path of a file");
		return NJ_DENIED;
	}
	if (st.st_size == 0) {
		why_set(why, "%s is empty", path);
		why_mend(why,
		    "put back what stood there (was the disk full?), or write "
		    "a comment into it, a line that begins with #");
		return NJ_DENIED;
	}
	if (st.st_mode & bad) {
		why_set(why, "%s can be %s by every user (mode %04o)", path,
		    st.st_mode & S_IWOTH ? "written" : "read",
		    (unsigned)(st.st_mode & 07777));
		why_mend(why, "chmod o%s %s", readable ? "-w" : "=", path);
		return NJ_DENIED;
	}
	return NJ_OK;
}

enum nj_err
file_open_private(const char *path, int *out, struct nj_why *why)
{
	int fd = open_kept(path, O_RDONLY | O_NOFOLLOW | O_NOCTTY);
	enum nj_err e;

	if (fd < 0)
		return refuse(why, "open", path);
	if ((e = check_private(fd, path, why))) {
		(void)close(fd);
		return e;
	}
	*out = fd;
	return NJ_OK;
}
