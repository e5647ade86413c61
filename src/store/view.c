/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/impl.h"
#include "store/lock.h"
#include "store/mosquitto.h"
#include "store/place.h"
#include "store/view_impl.h"
#include "store/walcheck.h"
#include "store/walfile.h"

#define BUSY_MS	   10000
#define DATA_TRIES 20

enum nj_err
view_err(struct view *v, const char *doing, int rc, struct nj_why *why)
{
	enum nj_err e = sql_err(rc);
	struct statvfs fs;

	if (!e)
		return NJ_OK;
	why_set(why, "%s: %s: %s", v->path, doing,
	    v->db ? sqlite3_errmsg(v->db) : sqlite3_errstr(rc));
	/* readers note where they are, in the -shm file */
	if (((rc & 0xff) == SQLITE_READONLY ||
		(rc & 0xff) == SQLITE_CANTOPEN) &&
	    statvfs(v->path, &fs) == 0 && fs.f_flag & ST_RDONLY)
		why_mend(why,
		    "its file system is read-only, and it has a log (-wal) or "
		    "a "
		    "broker: mount it for writing, or copy the store with all "
		    "files whose names begin with its name, and look at the "
		    "copy");
	else if ((rc & 0xff) == SQLITE_READONLY ||
	    (rc & 0xff) == SQLITE_CANTOPEN)
		why_mend(why,
		    "run this as the user that the broker runs as, or as "
		    "root: also who only reads needs to write in the store's "
		    "folder");
	else if (e == NJ_MALFORMED)
		why_mend(why,
		    "restore the last backup, or go on with what other pages "
		    "have: nightjar store salvage %s",
		    v->path);
	return e;
}

enum nj_err
view_numbers(struct view *v, const char *sql, uint64_t *out, unsigned n,
    struct nj_why *why)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(v->db, sql, -1, &st, NULL);

	memset(out, 0, n * sizeof *out);
	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
		for (unsigned i = 0; i < n; i++)
			out[i] = (uint64_t)sqlite3_column_int64(st, (int)i);
	sqlite3_finalize(st);
	return view_err(v, "reading it", rc, why);
}

static void
say_gone(const char *path, struct nj_why *why)
{
	bool there;

	if (store_locked(path)) {
		why_set(why,
		    "%s is not there: it was moved or deleted, and a broker "
		    "has it open",
		    path);
		why_mend(why,
		    "move it back, with all that has its name: the broker "
		    "goes on by itself; where it is lost, end the broker and "
		    "restore the last backup");
	} else if (store_log_alone(path, &there)) {
		why_set(
		    why, "%s is not there, and its log is: %s-wal", path, path);
		why_mend(why, STORE_MEND_ALONE);
	} else {
		why_mend(why,
		    "give the store's path, or -c and the broker's "
		    "configuration");
	}
}

/* Before SQLite sees it: is there a file, and does it look like a store? */
static enum nj_err
look(struct view *v, struct nj_why *why)
{
	uint8_t head[MOSQ_MAGIC_SIZE] = { 0 };
	struct stat st;
	ssize_t got;
	int fd = open(v->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0) {
		int err = errno;
		enum nj_err e = err == ENOENT ? NJ_NOTFOUND
		    : err == EACCES	      ? NJ_DENIED
					      : NJ_IO;

		why_set(why, "cannot open %s: %s", v->path, strerror(err));
		if (e == NJ_NOTFOUND)
			say_gone(v->path, why);
		else if (e == NJ_DENIED)
			why_mend(why,
			    "run this as the user that the broker runs as, "
			    "or as root");
		else
			store_mend(why, err);
		return e;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		bool folder = S_ISDIR(st.st_mode);

		close(fd);
		why_set(why, folder ? "%s is a folder" : "%s is not a file",
		    v->path);
		if (folder)
			why_mend(why,
			    "give the path of the store in it, as a rule "
			    "nightjar.db");
		return NJ_UNSUPPORTED;
	}
	got = read(fd, head, sizeof head);
	close(fd);
	if (got == 0) {
		why_set(why, "%s is empty: no broker has stored anything in it",
		    v->path);
		return NJ_UNSUPPORTED;
	}
	if (got > 0 && mosq_is(slice_of(head, (size_t)got))) {
		why_set(why, "%s was written by Mosquitto", v->path);
		why_mend(why,
		    "take it over: nightjar store import %s --into "
		    "NEWFILE",
		    v->path);
		return NJ_UNSUPPORTED;
	}
	return NJ_OK;
}

/* Neither what is in the file nor what SQLite takes of its log: all that was ever
 * stored may be behind a place where that is damaged. */
static enum nj_err
say_empty(struct view *v, struct nj_why *why)
{
	if (!store_locked(v->path) &&
	    walcheck(NULL, v->path, why) == NJ_MALFORMED)
		return NJ_MALFORMED;
	why_set(
	    why, "%s is empty: no broker has stored anything in it", v->path);
	return NJ_UNSUPPORTED;
}

static enum nj_err
identify(struct view *v, struct nj_why *why)
{
	uint64_t app, version, tables;
	enum nj_err e;

	if ((e = view_numbers(v, "PRAGMA application_id", &app, 1, why)) ||
	    (e = view_numbers(v, "PRAGMA user_version", &version, 1, why)) ||
	    (e = view_numbers(
		 v, "SELECT count(*) FROM sqlite_schema", &tables, 1, why)))
		return e;
	if (app != STORE_APPLICATION) {
		if (!tables)
			return say_empty(v, why);
		why_set(why, "%s is a database of another program", v->path);
		return NJ_UNSUPPORTED;
	}
	if (version > STORE_SCHEMA) {
		why_set(why,
		    "%s was written by a newer nightjar (schema %llu, this "
		    "one knows %d)",
		    v->path, (unsigned long long)version, STORE_SCHEMA);
		why_mend(why, "use that one");
		return NJ_UNSUPPORTED;
	}
	if (version >= PAGESUM_SCHEMA && !pages_have_sums(v->db)) {
		why_set(why, "%s is damaged: its first page", v->path);
		why_mend(why, "restore the last backup");
		return NJ_MALFORMED;
	}
	v->schema = (unsigned)version;
	return NJ_OK;
}

/* Nobody can change it, as far as we see, and it has no log. */
static bool
is_still(const struct view *v)
{
	struct statvfs fs;
	struct stat st;
	char *wal = NULL;
	bool still;

	if (v->live || statvfs(v->path, &fs) || !(fs.f_flag & ST_RDONLY) ||
	    asprintf(&wal, "%s-wal", v->path) < 0)
		return false;
	still = lstat(wal, &st) ? errno == ENOENT : st.st_size == 0;
	free(wal);
	return still;
}

/* The name by which SQLite reads it without its -shm file, which cannot be made
 * there; NULL: no memory. */
static char *
still_name(const char *path)
{
	static const char head[] = "file:", rest[] = "?immutable=1";
	char *name = malloc(sizeof head + 3 * strlen(path) + sizeof rest);
	char *at = name;

	if (!name)
		return NULL;
	memcpy(at, head, sizeof head - 1);
	at += sizeof head - 1;
	/* what follows two would be the name of a machine */
	while (path[0] == '/' && path[1] == '/')
		path++;
	for (; *path; path++)
		if (*path == '?' || *path == '#' || *path == '%')
			at += snprintf(at, 4, "%%%02X", (unsigned char)*path);
		else
			*at++ = *path;
	memcpy(at, rest, sizeof rest);
	return name;
}

static int
open_it(struct view *v, const char *vfs)
{
	int flags =
	    SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	char *name;
	int rc;

	if (!is_still(v))
		return sqlite3_open_v2(v->path, &v->db, flags, vfs);
	if (!(name = still_name(v->path)))
		return SQLITE_NOMEM;
	rc = sqlite3_open_v2(name, &v->db, flags | SQLITE_OPEN_URI, vfs);
	free(name);
	return rc;
}

static enum nj_err
connect_to(struct view *v, struct nj_why *why)
{
	const char *vfs;
	enum nj_err e = walfile_vfs(NULL, &vfs);
	int rc;

	if (e)
		return e;
	rc = open_it(v, vfs);
	if ((e = view_err(v, "opening it", rc, why)))
		return e;
	sqlite3_busy_timeout(v->db, BUSY_MS);
	rc = sqlite3_exec(v->db,
	    "PRAGMA trusted_schema = OFF; PRAGMA query_only = ON;"
	    "PRAGMA cell_size_check = ON; PRAGMA cache_size = -65536; BEGIN",
	    NULL, NULL, NULL);
	if ((e = view_err(v, "opening it", rc, why)))
		return e;
	return identify(v, why);
}

/* A broker may delete a file between the beginning of the transaction and now:
 * then it does not belong to the next one. */
static enum nj_err
find_data(struct view *v, struct nj_why *why)
{
	enum nj_err e = view_data_open(v, false, why);

	for (unsigned i = 1; e == NJ_AGAIN && i <= DATA_TRIES; i++) {
		int rc =
		    sqlite3_exec(v->db, "ROLLBACK; BEGIN", NULL, NULL, NULL);

		if ((e = view_err(v, "opening it", rc, why)))
			return e;
		e = view_data_open(v, i == DATA_TRIES, why);
	}
	return e;
}

enum nj_err
view_open(const char *path, struct view **out, struct nj_why *why)
{
	struct view *v = calloc(1, sizeof *v);
	enum nj_err e = NJ_NOMEM;

	if (!v || !(v->path = strdup(path)))
		goto out;
	/* a store without its log may have its name */
	if (restore_pending(path)) {
		why_set(why, "a restore of %s was cut off", path);
		why_mend(why,
		    "start the broker, which goes on with it, or restore it "
		    "again with --force");
		e = NJ_BUSY;
		goto out;
	}
	if ((e = store_refuse_elsewhere(path, why)) || (e = look(v, why)))
		goto out;
	v->live = store_locked(path);
	if ((e = connect_to(v, why)) || (e = find_data(v, why)))
		goto out;
	*out = v;
	v = NULL;
out:
	view_close(v);
	return e;
}

void
view_close(struct view *v)
{
	if (!v)
		return;
	if (v->db)
		sqlite3_close(v->db);
	view_data_close(v);
	free(v->path);
	free(v);
}

bool
view_live(const struct view *v)
{
	return v->live;
}
