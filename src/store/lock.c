/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "store/impl.h"

/* Where root made it for a store that is another user's, or will be, that user must
 * be able to open it. */
static void
share_lock(const char *path, int fd)
{
	struct stat st;

	if (geteuid() == 0 &&
	    (stat(path, &st) == 0 || store_folder_stat(path, &st)) &&
	    st.st_uid != 0 && fchown(fd, st.st_uid, st.st_gid))
		nj_log(LOG_T_WARNING,
		    "Warning: %s.lock cannot be given to user id %ld: %s", path,
		    (long)st.st_uid, strerror(errno));
}

/* Whoever looks whether it is locked has it for a moment (store_locked), or for as long
 * as a busy machine lets it wait for a processor. */
#define LOCK_TRIES 500
#define LOCK_WAIT  2000000 /* ns */

static bool
lock_now(int fd)
{
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return false;
		(void)nanosleep(
		    &(struct timespec){ .tv_nsec = LOCK_WAIT }, NULL);
	}
	return false;
}

/* Not that of a file which somebody has deleted meanwhile (store_forget_lock). */
static bool
is_still(int fd, const char *path)
{
	struct stat is, was;

	return fstat(fd, &was) == 0 && lstat(path, &is) == 0 &&
	    is.st_dev == was.st_dev && is.st_ino == was.st_ino;
}

static int
open_lock(const char *path, struct nj_why *why)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = errno;

	if (fd >= 0)
		return fd;
	why_set(why, "%s: %s", path, strerror(err));
	store_mend(why, err);
	return -1;
}

enum nj_err
store_lock(const char *store, int *out, struct nj_why *why)
{
	char *path = NULL;
	int fd;

	if (asprintf(&path, "%s.lock", store) < 0)
		return NJ_NOMEM;
	for (unsigned i = 0;; i++) {
		if ((fd = open_lock(path, why)) < 0) {
			free(path);
			return NJ_IO;
		}
		share_lock(store, fd);
		if (!lock_now(fd)) {
			why_set(why, "%s: another broker uses it, or a command",
			    store);
			why_mend(why,
			    "end that one, or give this one another "
			    "persistence_location");
			free(path);
			close(fd);
			return NJ_BUSY;
		}
		if (i == LOCK_TRIES || is_still(fd, path))
			break;
		close(fd);
	}
	free(path);
	*out = fd;
	return NJ_OK;
}

/* SQLite's own locks of a database are of the process, and of the 512 bytes before
 * this one; a lock of the descriptor's (OFD) neither meets them nor is undone as SQLite
 * closes one.  flock() would be a lock of all bytes on NFS. */
#define LOCK_BYTE (0x40000000 + 512)

static struct flock
lock_of_file(void)
{
	return (struct flock){ .l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = LOCK_BYTE,
		.l_len = 1 };
}

enum nj_err
store_lock_file(int fd, const char *path, struct nj_why *why)
{
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		struct flock l = lock_of_file();

		if (fcntl(fd, F_OFD_SETLK, &l) == 0 ||
		    (errno != EAGAIN && errno != EACCES && errno != EINTR))
			return NJ_OK;
		(void)nanosleep(
		    &(struct timespec){ .tv_nsec = LOCK_WAIT }, NULL);
	}
	why_set(why,
	    "%s: another broker uses this file, or a command, by another "
	    "name of it",
	    path);
	why_mend(why,
	    "end that one, and keep one name: with two (ln, a mount) each "
	    "has a log of its own, which the other one lacks; 'nightjar store "
	    "backup' makes a copy");
	return NJ_BUSY;
}

bool
store_locked(const char *path)
{
	char *name = NULL;
	bool locked;
	int fd;

	if (asprintf(&name, "%s.lock", path) < 0)
		return true;
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	free(name);
	if (fd < 0)
		return false;
	locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	close(fd);
	return locked;
}

bool
store_locked_elsewhere(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool elsewhere = fd >= 0;

	for (unsigned i = 0; elsewhere && i < LOCK_TRIES; i++) {
		struct flock l = lock_of_file();

		/* who has it by this name has locked that before */
		elsewhere = fcntl(fd, F_OFD_GETLK, &l) == 0 &&
		    l.l_type != F_UNLCK && !store_locked(path);
		if (elsewhere)
			(void)nanosleep(
			    &(struct timespec){ .tv_nsec = LOCK_WAIT }, NULL);
	}
	if (fd >= 0)
		close(fd);
	return elsewhere;
}

enum nj_err
store_refuse_elsewhere(const char *path, struct nj_why *why)
{
	if (!store_locked_elsewhere(path))
		return NJ_OK;
	why_set(why,
	    "%s: a broker uses this file, or a command, by another name of it, "
	    "where its log is: what is here is not all",
	    path);
	why_mend(why,
	    "give the name that is in use, or -c and the broker's "
	    "configuration, and keep that name alone: with two (ln, a mount) "
	    "a start by the other one lacks the log; 'nightjar store backup' "
	    "makes a copy");
	return NJ_BUSY;
}

void
store_ballast_take(const struct store *s)
{
	static const uint8_t zeros[32 * 1024];
	struct stat st;
	off_t lacks;
	ssize_t n = 1;

	if (s->lock_fd < 0 || s->opts.vfs || fstat(s->lock_fd, &st) != 0)
		return;
	for (; (lacks = STORE_BALLAST - st.st_size) > 0 && n > 0;
	     st.st_size += n)
		n = pwrite(s->lock_fd, zeros,
		    lacks < (off_t)sizeof zeros ? (size_t)lacks : sizeof zeros,
		    st.st_size);
}

bool
store_ballast_drop(const struct store *s)
{
	struct stat st;

	return s->lock_fd >= 0 && !s->opts.vfs && fstat(s->lock_fd, &st) == 0 &&
	    st.st_size > 0 && ftruncate(s->lock_fd, 0) == 0;
}
