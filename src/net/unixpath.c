/* SPDX-License-Identifier: Apache-2.0 */
#include "net/unixpath.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"

#define LOCK_TRIES   50
#define LOCK_WAIT_MS 20

/* A descriptor that holds the folder's lock; -1 where it cannot be had, as in
 * a folder that may be written and not read. */
static int
lock_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == path ? strdup("/")
	    : slash		  ? strndup(path, (size_t)(slash - path))
				  : strdup(".");
	struct timespec pause = { .tv_nsec = LOCK_WAIT_MS * 1000000L };
	int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	free(dir);
	if (fd < 0)
		return -1;
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		if (errno != EWOULDBLOCK)
			break;
		(void)nanosleep(&pause, NULL);
	}
	(void)close(fd);
	return -1;
}

/* Whether nobody serves there: only a refusal says so.  Whatever else may be
 * wrong (no right to connect, a full queue), somebody may. */
static bool
is_dead(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool dead;

	if (fd < 0)
		return false;
	dead = connect(fd, (const struct sockaddr *)un, sizeof *un) != 0 &&
	    (errno == ECONNREFUSED || errno == ENOENT);
	(void)close(fd);
	return dead;
}

static enum nj_err
clear(const struct sockaddr_un *un, const char *esc, struct nj_why *why)
{
	struct stat st;

	if (lstat(un->sun_path, &st) != 0)
		return NJ_OK;
	if (!S_ISSOCK(st.st_mode)) {
		why_set(why, "%s exists and is no socket", esc);
		why_mend(why, "choose another path, or move the file away");
		return NJ_INVALID;
	}
	if (!is_dead(un)) {
		why_set(why, "%s is served by another program", esc);
		why_mend(why, "stop that program, or choose another path");
		return NJ_INVALID;
	}
	(void)unlink(un->sun_path); /* left by one that ended badly */
	return NJ_OK;
}

/* Before it listens, so that nobody who may not connect ever could. */
static enum nj_err
set_rights(const struct unixpath_opts *o, const char *esc, struct nj_why *why)
{
	unsigned mode = o->mode ? o->mode : UNIXPATH_MODE;

	if ((o->uid != (uid_t)-1 || o->gid != (gid_t)-1) &&
	    lchown(o->path, o->uid, o->gid) != 0) {
		why_set(why, "%s cannot be given to its owner: %s", esc,
		    strerror(errno));
		why_mend(why, "start as root, or take unix_socket_owner out");
		return NJ_INVALID;
	}
	if (fchmodat(AT_FDCWD, o->path, mode, AT_SYMLINK_NOFOLLOW) != 0 &&
	    (errno != EOPNOTSUPP || chmod(o->path, mode) != 0)) {
		why_set(why, "the mode of %s cannot be set: %s", esc,
		    strerror(errno));
		return NJ_INVALID;
	}
	return NJ_OK;
}

static enum nj_err
serve_there(const struct unixpath_opts *o, const struct sockaddr_un *un,
    const char *esc, struct unixpath *u, int fd, struct nj_why *why)
{
	struct stat st;
	enum nj_err e;

	if ((e = clear(un, esc, why)))
		return e;
	if (bind(fd, (const struct sockaddr *)un, sizeof *un) != 0 ||
	    lstat(un->sun_path, &st) != 0)
		goto fail;
	u->dev = st.st_dev;
	u->ino = st.st_ino;
	u->made = st.st_mtim;
	if ((e = set_rights(o, esc, why)))
		return e;
	if (listen(fd, o->backlog) == 0)
		return NJ_OK;
fail:
	why_set(why, "listening on %s: %s", esc, strerror(errno));
	why_mend(why, "the folder must exist and be writable for this user");
	return NJ_INVALID;
}

enum nj_err
unixpath_open(const struct unixpath_opts *o, struct unixpath *out, int *fd,
    struct nj_why *why)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct unixpath u = { 0 };
	char esc[TEXT_ESC];
	size_t n = strlen(o->path);
	int sock = -1, lock;
	enum nj_err e = NJ_NOMEM;

	(void)text_esc(esc, sizeof esc, slice_of(o->path, n));
	if (n >= sizeof un.sun_path) {
		why_set(why, "the socket path %s is longer than %zu bytes", esc,
		    sizeof un.sun_path - 1);
		return NJ_INVALID;
	}
	memcpy(un.sun_path, o->path, n + 1);
	lock = lock_folder(o->path);
	if (!(u.path = strdup(o->path)))
		goto out;
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (sock < 0) {
		why_set(why, "listening on %s: %s", esc, strerror(errno));
		e = NJ_INVALID;
		goto out;
	}
	if ((e = serve_there(o, &un, esc, &u, sock, why)))
		goto out;
	*fd = sock;
	*out = u;
	sock = -1;
	u = (struct unixpath){ 0 }; /* moved */
out:
	if (sock >= 0)
		(void)close(sock);
	unixpath_remove(&u);
	if (lock >= 0)
		(void)close(lock);
	return e;
}

void
unixpath_remove(struct unixpath *u)
{
	struct stat st;

	if (u->path && u->ino && lstat(u->path, &st) == 0 &&
	    st.st_dev == u->dev && st.st_ino == u->ino &&
	    st.st_mtim.tv_sec == u->made.tv_sec &&
	    st.st_mtim.tv_nsec == u->made.tv_nsec)
		(void)unlink(u->path);
	free(u->path);
	*u = (struct unixpath){ 0 };
}

void
unixpath_peer(int fd, char *dst, size_t size)
{
	struct ucred who;
	socklen_t n = sizeof who;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 &&
	    n == sizeof who)
		(void)snprintf(dst, size, "unix (process %ld, user %lu)",
		    (long)who.pid, (unsigned long)who.uid);
	else
		(void)snprintf(dst, size, "unix");
}
