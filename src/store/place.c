/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/place.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store/impl.h"

static const char *
name_of(const struct store *s, unsigned i)
{
	/* whole, wherever this process is now */
	const char *db = sqlite3_db_filename(s->db, "main");

	return i == 0 ? db : sqlite3_filename_wal(db);
}

void
place_look(struct store *s)
{
	s->placed = false;
	for (unsigned i = 0; i < STORE_PLACES; i++) {
		struct stat st;

		if (s->opts.vfs || stat(name_of(s, i), &st) != 0)
			return;
		s->places[i].dev = st.st_dev;
		s->places[i].ino = st.st_ino;
	}
	s->placed = true;
}

bool
place_holds(const struct store *s, char *why, size_t cap)
{
	for (unsigned i = 0; s->placed && i < STORE_PLACES; i++) {
		const char *name = name_of(s, i);
		struct stat st;
		bool there = stat(name, &st) == 0;

		/* who may not look knows nothing */
		if (there ? st.st_dev == s->places[i].dev &&
			    st.st_ino == s->places[i].ino
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
