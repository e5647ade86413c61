/* SPDX-License-Identifier: Apache-2.0
 * unixpath - a Unix socket that listens, and its path.
 *
 * A path that a process left behind is taken over; one that somebody serves,
 * or that is no socket, is not touched.  Two that start at once are kept apart
 * by a lock on the folder.
 *
 * Owns:    the path's name; removes it at the end if it is still this socket's.
 * Threads: the main thread; unixpath_peer any.
 */
#ifndef NJ_NET_UNIXPATH_H
#define NJ_NET_UNIXPATH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"

#define UNIXPATH_MODE 0660 /* where none is given */

struct unixpath_opts {
	const char *path;
	unsigned mode; /* 0: UNIXPATH_MODE */
	uid_t uid;     /* (uid_t)-1: whoever we are */
	gid_t gid;     /* (gid_t)-1: the same */
	int backlog;
};

/* Zeroed: none. */
struct unixpath {
	char *path;
	/* Inode numbers are used again, so its time too. */
	uint64_t dev, ino;
	struct timespec made;
};

/* *fd listens. */
NJ_MUST enum nj_err unixpath_open(const struct unixpath_opts *o,
    struct unixpath *out, int *fd, struct nj_why *why);
void unixpath_remove(struct unixpath *u);
/* "unix (process 812, user 1000)": who made the connection. */
void unixpath_peer(int fd, char *dst, size_t size);

#endif
