/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "store/impl.h"

static const char *
name_of(const struct store *s, unsigned i)
{
	/* whole, wherever this process is now */
	const char *db = sqlite3_db_filename(s->db, "main");

	return i == 0 ? db : sqlite3_filename_wal(db);
}

/* Its times are not asked for: a file whose times have been read gets new ones with
 * its next write (Linux 6.13), which took a sixth of the commits. */
static bool
look_at(const char *name, struct store_place *p)
{
	struct statx st;

	if (statx(AT_FDCWD, name, 0, STATX_INO, &st) != 0)
		return false;
	p->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	p->ino = st.stx_ino;
	return true;
}

void
place_look(struct store *s)
{
	s->placed = false;
	for (unsigned i = 0; i < STORE_PLACES; i++)
		if (s->opts.vfs || !look_at(name_of(s, i), &s->places[i]))
			return;
	s->placed = true;
}

bool
place_holds(const struct store *s, char *why, size_t cap)
{
	for (unsigned i = 0; s->placed && i < STORE_PLACES; i++) {
		const char *name = name_of(s, i);
		struct store_place now;
		bool there = look_at(name, &now);

		/* who may not look knows nothing */
		if (there ? now.dev == s->places[i].dev &&
			    now.ino == s->places[i].ino
			  : errno != ENOENT && errno != ENOTDIR)
			continue;
		snprintf(why, cap,
		    "%s was %s while it was in use: put the file back that "
		    "was there, or start the broker again",
		    name, there ? "replaced" : "deleted or moved");
		return false;
	}
	return true;
}

bool
store_log_alone(const char *path, bool *there)
{
	/* of which nothing was written but the header, if that */
	static const off_t begun = 32;
	struct stat st;
	char *log = NULL;
	bool alone;

	*there = lstat(path, &st) == 0;
	if ((*there && st.st_size > 0) || asprintf(&log, "%s-wal", path) < 0)
		return false;
	alone =
	    lstat(log, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > begun;
	free(log);
	return alone;
}

bool
store_has_log(const char *path)
{
	char *log = NULL;
	struct stat st;
	bool is;

	/* who does not know says nothing */
	if (asprintf(&log, "%s-wal", path) < 0)
		return true;
	is = lstat(log, &st) == 0 || errno != ENOENT;
	free(log);
	return is;
}
