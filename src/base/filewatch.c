/* SPDX-License-Identifier: Apache-2.0 */
#include "base/filewatch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define EVENTS                                                  \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | \
	    IN_DELETE_SELF | IN_MOVE_SELF | IN_MOVED_FROM | IN_ONLYDIR)

/* What a file was when it was last looked at. */
struct mark {
	bool there;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

struct watched {
	char *path;
	struct mark mark;
};

struct filewatch {
	int fd;
	struct watched v[FILEWATCH_MAX];
	unsigned n;
};

enum nj_err
filewatch_new(int sig, struct filewatch **out, struct nj_why *why)
{
	struct filewatch *w = calloc(1, sizeof *w);

	if (!w)
		return NJ_NOMEM;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0 || fcntl(w->fd, F_SETOWN, getpid()) != 0 ||
	    fcntl(w->fd, F_SETSIG, sig) != 0 ||
	    fcntl(w->fd, F_SETFL, O_NONBLOCK | O_ASYNC) != 0) {
		why_set(why, "files cannot be watched: %s", strerror(errno));
		filewatch_free(w);
		return NJ_IO;
	}
	*out = w;
	return NJ_OK;
}

void
filewatch_free(struct filewatch *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < w->n; i++)
		free(w->v[i].path);
	if (w->fd >= 0)
		(void)close(w->fd);
	free(w);
}

static struct mark
look(const char *path)
{
	struct mark m = { 0 };
	struct stat st;

	if (!file_stat(path, &st))
		return m;
	m = (struct mark){ .there = true,
		.dev = st.st_dev,
		.ino = st.st_ino,
		.size = st.st_size,
		.changed = st.st_mtim };
	return m;
}

static bool
same(const struct mark *a, const struct mark *b)
{
	return a->there == b->there && a->dev == b->dev && a->ino == b->ino &&
	    a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
	    a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Watches the folder; where there is none yet, the one that it will be made
 * in. */
static void
watch_folder(const struct filewatch *w, const char *path)
{
	char *folder = strdup(path), *slash;

	while (folder && (slash = strrchr(folder, '/'))) {
		*(slash == folder ? slash + 1 : slash) = '\0';
		if (inotify_add_watch(w->fd, folder, EVENTS) >= 0 ||
		    errno != ENOENT || slash == folder)
			break;
	}
	if (folder && !strchr(path, '/'))
		(void)inotify_add_watch(w->fd, ".", EVENTS);
	free(folder);
}

enum nj_err
filewatch_add(struct filewatch *w, const char *path)
{
	struct watched *new = &w->v[w->n];

	for (unsigned i = 0; i < w->n; i++)
		if (strcmp(w->v[i].path, path) == 0)
			return NJ_OK;
	if (w->n == FILEWATCH_MAX)
		return NJ_FULL;
	if (!(new->path = strdup(path)))
		return NJ_NOMEM;
	w->n++;
	watch_folder(w, path);
	new->mark = look(path);
	return NJ_OK;
}

bool
filewatch_changed(struct filewatch *w)
{
	_Alignas(struct inotify_event) char events[4096];
	bool changed = false;

	/* which they are does not matter: all files are looked at */
	while (read(w->fd, events, sizeof events) > 0)
		continue;
	for (unsigned i = 0; i < w->n; i++) {
		struct mark now;

		watch_folder(w, w->v[i].path);
		now = look(w->v[i].path);
		changed |= !same(&now, &w->v[i].mark);
		w->v[i].mark = now;
	}
	return changed;
}
