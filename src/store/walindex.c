/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/walindex.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Linux 5.14; an older one says EINVAL. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* A file that is there is left alone: whoever closes it loses its locks, and the
 * flag is for empty files.  SQLite deletes it when it ends. */
static void
make_uncopied(const char *name, mode_t mode)
{
	int fd = open(
	    name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	int flags = 0;

	if (fd < 0)
		return;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= FS_NOCOW_FL;
		(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
	close(fd);
}

void
walindex_begin(struct walindex *x, const char *db)
{
	struct statfs fs;
	struct stat st;
	char *name = NULL;

	if (x->looked || !db)
		return;
	x->looked = true;
	x->copied = statfs(db, &fs) == 0 &&
	    (unsigned long)fs.f_type == BTRFS_SUPER_MAGIC;
	if (!x->copied || stat(db, &st) != 0 ||
	    asprintf(&name, "%s-shm", db) < 0)
		return;
	make_uncopied(name, st.st_mode & 0777);
	free(name);
}

static int
writable(void *map, size_t size)
{
	int rc;

	do
		rc = madvise(map, size, MADV_POPULATE_WRITE);
	while (rc != 0 && errno == EINTR);
	/* else it is not known here, or that page is not to be had alone */
	return rc != 0 && errno == EFAULT ? SQLITE_FULL : SQLITE_OK;
}

int
walindex_mapped(struct walindex *x, unsigned at, void *map, size_t size)
{
	if (!x->copied || !map)
		return SQLITE_OK;
	if (at >= x->cap) {
		size_t cap = (size_t)at + 16;
		void **maps = realloc(x->maps, cap * sizeof *maps);

		if (!maps)
			return SQLITE_NOMEM;
		memset(maps + x->cap, 0, (cap - x->cap) * sizeof *maps);
		x->maps = maps;
		x->cap = cap;
	}
	x->maps[at] = map;
	x->size = size;
	if (at >= x->n)
		x->n = (size_t)at + 1;
	return writable(map, size);
}

int
walindex_room(const struct walindex *x)
{
	int rc = SQLITE_OK;

	for (size_t i = 0; i < x->n && rc == SQLITE_OK; i++)
		if (x->maps[i])
			rc = writable(x->maps[i], x->size);
	return rc;
}

void
walindex_end(struct walindex *x)
{
	free(x->maps);
	*x = (struct walindex){ 0 };
}
