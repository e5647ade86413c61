/* SPDX-License-Identifier: Apache-2.0 */
#include "base/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/daemon.h"

#define LINKS_MAX 16

/* The broker's end. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one question */
static struct keeper_paths kept;
static int line = -1;

struct question {
	uint16_t which;
	uint16_t no_links; /* the path's last part must not be one */
};

enum nj_err
keeper_add(struct keeper_paths *p, const char *path)
{
	if (!path)
		return NJ_OK;
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->v[i], path) == 0)
			return NJ_OK;
	if (p->n == KEEPER_MAX)
		return NJ_FULL;
	if (!(p->v[p->n] = strdup(path)))
		return NJ_NOMEM;
	p->n++;
	return NJ_OK;
}

void
keeper_paths_fini(struct keeper_paths *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i]);
	p->n = 0;
}

/* -- whose paths they are --------------------------------------------------- */

/* Nobody but root can put something else there. */
static bool
is_roots(const struct stat *st)
{
	return st->st_uid == 0 && !(st->st_mode & S_IWOTH) &&
	    (!(st->st_mode & S_IWGRP) || st->st_gid == 0);
}

/* The path with its first n bytes, a symbolic link, replaced by where that
 * leads.  False: it cannot be said. */
static bool
follow(const char *path, size_t n, char dst[PATH_MAX])
{
	char to[PATH_MAX];
	ssize_t k;
	size_t dir = n;
	int len;

	(void)snprintf(dst, PATH_MAX, "%.*s", (int)n, path);
	if ((k = readlink(dst, to, sizeof to)) <= 0 || k == sizeof to)
		return false;
	while (dir > 0 && path[dir - 1] != '/')
		dir--;
	len = snprintf(dst, PATH_MAX, "%.*s%.*s%s", to[0] == '/' ? 0 : (int)dir,
	    path, (int)k, to, path + n);
	return len > 0 && len < PATH_MAX;
}

/*
 * Whether only root decides what a path names: else who takes the broker over
 * could lead it to any file, by a symbolic link in a folder of its own.
 * links: so many more may be followed.
 */
static bool
is_sound(const char *path, unsigned links)
{
	bool sticky = false; /* others can add to the folder before */
	char part[PATH_MAX];
	struct stat st;

	for (size_t n = 1;; n++) {
		if (n > 1 && path[n] != '/' && path[n] != '\0')
			continue;
		if (snprintf(part, sizeof part, "%.*s", (int)n, path) >=
		    (int)sizeof part)
			return false;
		if (lstat(part, &st) != 0)
			return errno == ENOENT && !sticky;
		if (sticky && st.st_uid != 0)
			return false;
		if (S_ISLNK(st.st_mode))
			return links > 0 && follow(path, n, part) &&
			    is_sound(part, links - 1);
		if (path[n] == '\0')
			return true;
		sticky = S_ISDIR(st.st_mode) && st.st_uid == 0 &&
		    (st.st_mode & S_ISVTX);
		if (!S_ISDIR(st.st_mode) || (!is_roots(&st) && !sticky))
			return false;
	}
}

/* Leaves those out that are not. */
static void
keep_sound(struct keeper_paths *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		char *real = NULL;

		/* from where it is now; the process stays there */
		if (p->v[i][0] != '/' && (real = getcwd(NULL, 0)) != NULL) {
			char whole[PATH_MAX];
			int len = snprintf(
			    whole, sizeof whole, "%s/%s", real, p->v[i]);

			free(real);
			real = len < (int)sizeof whole ? strdup(whole) : NULL;
		}
		if (is_sound(real ? real : p->v[i], LINKS_MAX) &&
		    (real || p->v[i][0] == '/'))
			p->v[n++] = p->v[i];
		else
			free(p->v[i]);
		free(real);
	}
	p->n = n;
}

/* -- the process ------------------------------------------------------------ */

/* fd -1: none. */
static bool
answer(int to, int fd)
{
	char there = fd >= 0 ? 'y' : 'n';
	struct iovec iov = { .iov_base = &there, .iov_len = 1 };
	union {
		struct cmsghdr h; /* for its alignment */
		char room[CMSG_SPACE(sizeof fd)];
	} u;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	memset(&u, 0, sizeof u);
	if (fd >= 0) {
		struct cmsghdr *h;

		m.msg_control = u.room;
		m.msg_controllen = sizeof u.room;
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(h), &fd, sizeof fd);
	}
	return sendmsg(to, &m, MSG_NOSIGNAL) == 1;
}

/* -1: it is not there, or no file. */
static int
open_one(struct question q)
{
	struct stat st;
	int fd;

	if (q.which >= kept.n)
		return -1;
	fd = open(kept.v[q.which],
	    O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
		(q.no_links ? O_NOFOLLOW : 0));
	/* a pipe in its place would hold up who reads it */
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void
serve(int fd)
{
	bool ok = true;

	while (ok) {
		struct question q;
		ssize_t n = recv(fd, &q, sizeof q, 0);
		int file;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break; /* the broker has ended */
		file = n == (ssize_t)sizeof q ? open_one(q) : -1;
		ok = answer(fd, file);
		if (file >= 0)
			(void)close(file);
	}
}

/* Does not return. */
static void
be_the_keeper(const char *user, int fd)
{
	struct nj_why why = { 0 };
	char good;

	daemon_be_helper(fd, "nightjar-keeper");
	good = daemon_confine_reader(user, &why) == NJ_OK ? 'y' : 'n';
	if (send(fd, &good, 1, MSG_NOSIGNAL) == 1 && good == 'y')
		serve(fd);
	_exit(0);
}

/* -- the broker's side ------------------------------------------------------ */

/* One byte and perhaps a descriptor: 'y', 'n', or 0 without an answer. */
static char
hear(int from, int *fd)
{
	struct pollfd p = { .fd = from, .events = POLLIN };
	char there = 0;
	struct iovec iov = { .iov_base = &there, .iov_len = 1 };
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof *fd)];
	} u;
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = u.room,
		.msg_controllen = sizeof u.room };
	struct cmsghdr *h;
	int ready;

	while ((ready = poll(&p, 1, KEEPER_WAIT_MS)) < 0 && errno == EINTR)
		continue;
	if (ready <= 0 || recvmsg(from, &m, MSG_CMSG_CLOEXEC) != 1)
		return 0;
	h = CMSG_FIRSTHDR(&m);
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS &&
	    h->cmsg_len == CMSG_LEN(sizeof *fd))
		memcpy(fd, CMSG_DATA(h), sizeof *fd);
	return there;
}

enum nj_err
keeper_start(struct keeper_paths *p, const char *user, struct nj_why *why)
{
	int fds[2], none = -1;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
		why_set(why, "no socket for the keeper: %s", strerror(errno));
		return NJ_IO;
	}
	keep_sound(p);
	kept = *p; /* moved */
	p->n = 0;
	if ((pid = fork()) == 0) {
		(void)close(fds[0]);
		be_the_keeper(user, fds[1]);
	}
	(void)close(fds[1]);
	if (pid > 0 && hear(fds[0], &none) == 'y') {
		line = fds[0];
		return NJ_OK;
	}
	why_set(why,
	    "a process that keeps the right to read files cannot be "
	    "had");
	(void)close(fds[0]);
	keeper_paths_fini(&kept);
	return NJ_DENIED;
}

int
keeper_open(const char *path, bool links)
{
	struct question q = { .no_links = !links };
	int fd = -1;

	while (q.which < kept.n && strcmp(kept.v[q.which], path) != 0)
		q.which++;
	if (q.which == kept.n)
		return -1;
	(void)pthread_mutex_lock(&lock);
	/* after an answer that did not come a later one may be its */
	if (line >= 0 &&
	    (send(line, &q, sizeof q, MSG_NOSIGNAL) != (ssize_t)sizeof q ||
		hear(line, &fd) == 0)) {
		(void)close(line);
		line = -1;
	}
	(void)pthread_mutex_unlock(&lock);
	return fd;
}

void
keeper_stop(void)
{
	(void)pthread_mutex_lock(&lock);
	if (line >= 0)
		(void)close(line);
	line = -1;
	(void)pthread_mutex_unlock(&lock);
	keeper_paths_fini(&kept);
}
