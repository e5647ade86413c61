/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of an older schema has no room for checksums in its pages: it is
 * written anew beside the old one, row after row, and takes its name when it is
 * complete and on disk.  Where the power fails before, the old one is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "store/impl.h"

#define TAIL "-anew"

/* Empty, and nobody else's. */
static enum nj_err
make(struct store *s, const char *path, struct nj_why *why)
{
	struct stat st;
	int fd;

	fd = open(
	    path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		why_set(why, "%s: %s", path, strerror(errno));
		return NJ_IO;
	}
	if (geteuid() == 0 && stat(s->path, &st) == 0 &&
	    fchown(fd, st.st_uid, st.st_gid)) {
		why_set(why, "%s: %s", path, strerror(errno));
		close(fd);
		return NJ_IO;
	}
	close(fd);
	return NJ_OK;
}

static enum nj_err
failed(sqlite3 *db, const char *path, int rc, struct nj_why *why)
{
	why_set(
	    why, "%s: %s", path, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
	return sql_err(rc);
}

/* By SQLite's own means: what is read has no sums, what is written gets them
 * when all of it is there. */
static enum nj_err
copy(struct store *s, const char *path, struct nj_why *why)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	enum nj_err e = NJ_OK;
	int rc = sqlite3_open_v2(s->path, &db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
	    NULL);

	if (rc == SQLITE_OK && (rc = pages_want_sums(db)) == SQLITE_OK &&
	    (rc = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &st, NULL)) ==
		SQLITE_OK &&
	    (rc = sqlite3_bind_text(st, 1, path, -1, SQLITE_STATIC)) ==
		SQLITE_OK &&
	    (rc = sqlite3_step(st)) == SQLITE_DONE)
		rc = SQLITE_OK;
	if (rc != SQLITE_OK)
		e = failed(db, path, rc, why);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return e;
}

static enum nj_err
mark(const char *path, struct nj_why *why)
{
	sqlite3 *db = NULL;
	enum nj_err e = NJ_OK;
	int rc = sqlite3_open_v2(path, &db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
	    NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(
		    db, "PRAGMA user_version = 7", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		e = failed(db, path, rc, why);
	sqlite3_close(db);
	return e;
}

/* The log of the old one must not be taken for one of the new one. */
static enum nj_err
part_with_log(struct store *s, struct nj_why *why)
{
	char *log = NULL;
	struct stat st;
	enum nj_err e = NJ_OK;
	int rc = sqlite3_wal_checkpoint_v2(
	    s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);

	if (rc == SQLITE_IOERR_FSYNC && pages_unsynced(s->db))
		atomic_store(&s->unsynced, true);
	if (rc != SQLITE_OK)
		return failed(s->db, s->path, rc, why);
	sqlite3_close(s->db);
	s->db = NULL;
	if (asprintf(&log, "%s-wal", s->path) < 0)
		return NJ_NOMEM;
	if (stat(log, &st) == 0) {
		why_set(why, "%s: another program has it open", s->path);
		e = NJ_BUSY;
	}
	free(log);
	return e;
}

static enum nj_err
convert(struct store *s, const char *path, struct nj_why *why)
{
	struct statvfs v;
	struct stat st;
	enum nj_err e;

	(void)unlink(path); /* of a start that was cut off */
	if (stat(s->path, &st) == 0 && statvfs(s->path, &v) == 0 &&
	    v.f_frsize > 0 &&
	    (uint64_t)v.f_bavail * v.f_frsize < (uint64_t)st.st_size) {
		why_set(why, "it takes %llu MiB of free space",
		    (unsigned long long)st.st_size >> 20);
		return NJ_FULL;
	}
	if ((e = make(s, path, why)) || (e = copy(s, path, why)) ||
	    (e = mark(path, why)) || (e = pages_seal(path, why)) ||
	    (e = part_with_log(s, why)))
		return e;
	if (rename(path, s->path)) {
		why_set(why, "%s: %s", s->path, strerror(errno));
		return NJ_IO;
	}
	if (!file_sync_folder(s->path))
		nj_log(LOG_T_WARNING,
		    "Warning: %s was written anew, but its folder could not be "
		    "synced (%s)",
		    s->path, strerror(errno));
	return NJ_OK;
}

void
convert_pages(struct store *s)
{
	struct nj_why why = { .what = "" };
	char *path = NULL;
	enum nj_err e = NJ_NOMEM;

	nj_log(LOG_T_NOTICE,
	    "%s: it is written anew once, with checksums of its pages; an "
	    "older "
	    "nightjar cannot read it then",
	    s->path);
	if (asprintf(&path, "%s" TAIL, s->path) < 0)
		path = NULL;
	else if ((e = convert(s, path, &why)))
		(void)unlink(path);
	if (e)
		nj_log(LOG_T_WARNING,
		    "Warning: %s is used without checksums of its pages, as it "
		    "could not be written anew (%s).  It is tried again at the "
		    "next start",
		    s->path, why.what[0] ? why.what : nj_strerror(e));
	free(path);
	/* SQLite's first: with any descriptor its locks would end */
	close_database(s, s->db);
	s->db = NULL;
	close(s->db_fd);
	s->db_fd = -1;
	/* its log is read from the start again */
	atomic_store(&s->unsynced, false);
}
