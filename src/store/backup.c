/* SPDX-License-Identifier: Apache-2.0
 *
 * A copy of a store while a broker writes it: SQLite's own copying of pages,
 * of one moment, into a file that gets its name when it is complete.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rand.h"
#include "store/impl.h"
#include "store/lock.h"
#include "store/view_impl.h"
#include "store/walcheck.h"
#include "store/walfile.h"

/* Between two calls of progress: 16 MiB. */
#define STEP_PAGES 4096

struct copy {
	struct view *from;
	const char *path;
	char *temp;
	int held; /* the same, locked: who made it is there */
	sqlite3 *db;
	void (*progress)(void *arg, uint64_t done, uint64_t of);
	void *arg;
};

static enum nj_err
failed(struct nj_why *why, const char *verb, const char *path)
{
	int err = errno;

	why_set(why, "cannot %s %s: %s", verb, path, strerror(err));
	if (err == ENOSPC)
		why_mend(why, "free space on the disk of %s", path);
	else if (err == ENOENT)
		why_mend(why, "make the folder first, or give another path");
	else
		store_mend(why, err);
	return NJ_IO;
}

static bool
there(const char *path, const char *tail)
{
	struct stat st;
	char *name = NULL;
	bool is;

	if (asprintf(&name, "%s%s", path, tail) < 0)
		return true;
	is = lstat(name, &st) == 0;
	free(name);
	return is;
}

/* A log without its database would be taken for the copy's own, and spoil it. */
static enum nj_err
check_orphan(const struct copy *c, struct nj_why *why)
{
	const char *tail = there(c->path, "-wal") ? "-wal" : "-journal";

	if (there(c->path, "") || !there(c->path, tail))
		return NJ_OK;
	why_set(why,
	    "there is a log %s%s, and no database that it belongs to: it "
	    "would be taken for the copy's",
	    c->path, tail);
	why_mend(
	    why, "rm '%s%s', or give the copy another name", c->path, tail);
	return NJ_EXISTS;
}

/*
 * What is written over may have a log, as it has when a broker or another program
 * was cut off from it.  SQLite takes the log into the file.  Were it only deleted,
 * or left until the copy has the name, whoever is cut off in between would leave
 * neither the old nor the new.
 */
static enum nj_err
fold_log(const struct copy *c, struct nj_why *why)
{
	const char *tail = there(c->path, "-wal") ? "-wal" : "-journal";
	sqlite3 *db = NULL;
	int rc;

	if (!there(c->path, "") || !there(c->path, tail))
		return check_orphan(c, why);
	rc = sqlite3_open_v2(c->path, &db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
		SQLITE_OPEN_EXRESCODE,
	    NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db,
		    "SELECT 1 FROM sqlite_schema; PRAGMA journal_mode = DELETE",
		    NULL, NULL, NULL);
	(void)sqlite3_close(db);
	/* what stays of a journal that was read has nothing to say */
	if (!there(c->path, "-wal") &&
	    (rc == SQLITE_OK || !there(c->path, "-journal")))
		return NJ_OK;
	why_set(why, "%s has a log %s%s, which does not go into it: %s",
	    c->path, c->path, tail, sqlite3_errstr(rc ? rc : SQLITE_BUSY));
	if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY)
		why_mend(why,
		    "end the program that has it open, or give the copy "
		    "another name");
	else
		why_mend(why,
		    "move %s and %s%s away, or give the copy another name",
		    c->path, c->path, tail);
	return NJ_EXISTS;
}

/* What stands under the new name, and what it would do to the copy. */
static enum nj_err
check_target(const struct copy *c, bool force, struct nj_why *why)
{
	struct stat a, b;

	if (store_locked(c->path) || store_locked_elsewhere(c->path)) {
		why_set(why, "a broker uses %s", c->path);
		why_mend(why, "give the copy another name");
		return NJ_BUSY;
	}
	if (stat(c->from->path, &a) == 0 && stat(c->path, &b) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino) {
		why_set(why, "%s is the store itself", c->path);
		why_mend(why, "give the copy another name");
		return NJ_INVALID;
	}
	if (lstat(c->path, &b) == 0) {
		if (S_ISDIR(b.st_mode)) {
			why_set(why, "%s is a folder", c->path);
			why_mend(why, "give the name of a file in it");
			return NJ_INVALID;
		}
		if (!force) {
			why_set(why, "there is a file %s", c->path);
			why_mend(why, "--force writes over it");
			return NJ_EXISTS;
		}
		if (!S_ISREG(b.st_mode)) {
			why_set(why, "%s is not a file", c->path);
			return NJ_INVALID;
		}
	}
	return check_orphan(c, why);
}

/* What make_temp() calls it, and SQLite what is beside it. */
static bool
is_unfinished(const char *name, const char *head)
{
	static const char *const tails[] = { "", "-wal", "-shm", "-journal" };
	size_t n = strlen(head);

	if (strncmp(name, head, n) != 0 ||
	    strspn(name + n, "0123456789abcdef") != 16)
		return false;
	for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
		if (strcmp(name + n + 16, tails[i]) == 0)
			return true;
	return false;
}

/* Those of copies of the same name whose makers were cut off. */
static void
drop_unfinished(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *folder =
	    slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("./");
	DIR *dir = folder ? opendir(folder) : NULL;
	char *head = NULL, *whole = NULL;
	const struct dirent *d;

	if (asprintf(&head, ".%s.", name) < 0)
		head = NULL;
	while (dir && head && (d = readdir(dir))) {
		int fd;

		if (!is_unfinished(d->d_name, head) ||
		    asprintf(&whole, "%s%s", folder, d->d_name) < 0)
			continue;
		fd = open(whole,
		    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			(void)unlink(whole);
		if (fd >= 0)
			close(fd);
		free(whole);
	}
	if (dir)
		closedir(dir);
	free(head);
	free(folder);
}

/* NJ_AGAIN: who drops what is unfinished came in between, and it is gone. */
static enum nj_err
try_temp(struct copy *c, struct nj_why *why)
{
	const char *slash = strrchr(c->path, '/');
	int dir = slash ? (int)(slash - c->path) + 1 : 0;
	struct stat st;
	uint64_t r;

	rand_bytes(&r, sizeof r);
	if (asprintf(&c->temp, "%.*s.%s.%016llx", dir, c->path, c->path + dir,
		(unsigned long long)r) < 0) {
		c->temp = NULL;
		return NJ_NOMEM;
	}
	c->held = open(
	    c->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* a disk may know of no such locks */
	if (c->held < 0 || (flock(c->held, LOCK_EX) && errno == EINTR) ||
	    lstat(c->temp, &st)) {
		bool gone = c->held >= 0 && errno == ENOENT;
		enum nj_err e = failed(why, "make", c->temp);

		if (gone)
			close(c->held);
		c->held = gone ? -1 : c->held;
		free(c->temp);
		c->temp = NULL;
		return gone ? NJ_AGAIN : e;
	}
	return NJ_OK;
}

/* Each time another one has to come in between, so it is not often. */
#define TEMP_TRIES 100u

static enum nj_err
make_temp(struct copy *c, struct nj_why *why)
{
	enum nj_err e = NJ_AGAIN;

	for (unsigned i = 0; e == NJ_AGAIN && i < TEMP_TRIES; i++)
		e = try_temp(c, why);
	if (!e)
		*why = (struct nj_why){ .what = "" };
	return e;
}

static enum nj_err
copy_err(const struct copy *c, int rc, struct nj_why *why)
{
	enum nj_err e = sql_err(rc);

	if (e) {
		why_set(why, "copying %s to %s: %s", c->from->path, c->path,
		    sqlite3_errmsg(c->db));
		if (e == NJ_FULL)
			why_mend(why, "free space on the disk of %s", c->path);
	}
	return e;
}

/* The view's read transaction keeps what is copied of one moment, however
 * often a broker commits. */
static enum nj_err
copy_pages(struct copy *c, struct nj_why *why)
{
	sqlite3_backup *b;
	const char *vfs;
	enum nj_err e = walfile_vfs(NULL, &vfs);
	int rc;

	if (e)
		return e;
	rc = sqlite3_open_v2(c->temp, &c->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
	    vfs);

	/* nobody reads it before it is complete */
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(c->db,
		    "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF", NULL,
		    NULL, NULL);
	if ((e = copy_err(c, rc, why)))
		return e;
	if (!(b = sqlite3_backup_init(c->db, "main", c->from->db, "main")))
		return copy_err(c, sqlite3_errcode(c->db), why);
	do {
		rc = sqlite3_backup_step(b, STEP_PAGES);
		if (c->progress && (rc == SQLITE_OK || rc == SQLITE_DONE))
			c->progress(c->arg,
			    (uint64_t)(sqlite3_backup_pagecount(b) -
				sqlite3_backup_remaining(b)),
			    (uint64_t)sqlite3_backup_pagecount(b));
	} while (rc == SQLITE_OK);
	if (rc == SQLITE_DONE)
		rc = SQLITE_OK;
	if (sqlite3_backup_finish(b) != SQLITE_OK && rc == SQLITE_OK)
		rc = SQLITE_IOERR;
	return copy_err(c, rc, why);
}

/* What data files have goes into the rows of the copy, which has no files. */
static enum nj_err
copy_data(struct copy *c, struct nj_why *why)
{
	enum nj_err e;
	int rc;

	if (c->from->schema < DATA_SCHEMA)
		return NJ_OK;
	if ((e = data_function(c->db, &c->from->source)))
		return e;
	rc = sqlite3_exec(c->db,
	    "UPDATE seg SET data = nj_data(data, file, at, len, sum), "
	    "file = 0, at = 0, len = 0, sum = 0 WHERE file <> 0; "
	    "DELETE FROM file",
	    NULL, NULL, NULL);
	if ((rc & 0xff) != SQLITE_CONSTRAINT)
		return copy_err(c, rc, why);
	why_set(why,
	    "%s is damaged, and so would be its copy: its data files "
	    "are not as they were written",
	    c->from->path);
	why_mend(why, "nightjar store check %s", c->from->path);
	return NJ_MALFORMED;
}

/* A file that needs no log beside it; and whether it can be read back. */
static enum nj_err
finish_copy(struct copy *c, struct nj_why *why)
{
	sqlite3_stmt *st = NULL;
	const char *said;
	enum nj_err e = NJ_OK;
	int rc = sqlite3_exec(
	    c->db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);

	if ((e = copy_err(c, rc, why)))
		return e;
	rc = sqlite3_prepare_v2(c->db, "PRAGMA quick_check(1)", -1, &st, NULL);
	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		said = (const char *)sqlite3_column_text(st, 0);
		if (!said || strcmp(said, "ok") != 0) {
			why_set(why,
			    "%s is damaged, and so would be its "
			    "copy: %s",
			    c->from->path, said ? said : "?");
			why_mend(why, "nightjar store check %s", c->from->path);
			e = NJ_MALFORMED;
		}
	}
	sqlite3_finalize(st);
	return e ? e : copy_err(c, rc, why);
}

/* The format's versions in the header, of which 2 says that there may be a log; no
 * sum counts them. */
static bool
serve(int fd)
{
	return pwrite(fd, "\2\2", 2, 18) == 2;
}

/* Root's is the broker's before it has a name by which a start finds it.  Where that
 * cannot be, whoever asked for the copy tells of it. */
static void
give_to_broker(int fd, const char *path)
{
	struct stat st;

	if (geteuid() == 0 && store_owner_stat(path, &st))
		(void)!fchown(fd, st.st_uid, st.st_gid);
}

static enum nj_err
name_copy(struct copy *c, bool force, bool served, struct nj_why *why)
{
	enum nj_err e = force ? fold_log(c, why) : check_orphan(c, why);
	int rc;

	if (e)
		return e;
	if (served)
		give_to_broker(c->held, c->path);
	if ((served && !serve(c->held)) || fsync(c->held))
		return failed(why, "sync", c->temp);
	/* link() does not write over what came there meanwhile */
	rc = force ? rename(c->temp, c->path) : link(c->temp, c->path);
	if (rc)
		return failed(why, "make", c->path);
	if (!force)
		unlink(c->temp);
	free(c->temp);
	c->temp = NULL;
	return file_sync_folder(c->path)
	    ? NJ_OK
	    : failed(why, "sync the folder of", c->path);
}

/* What SQLite would not take of it, and say nothing. */
static enum nj_err
check_log(struct view *v, struct nj_why *why)
{
	enum nj_err e = walcheck(NULL, v->path, why);

	/* a broker writes it, or has begun to since */
	return e && store_locked(v->path) ? NJ_OK : e;
}

enum nj_err
view_copy(struct view *v, const char *path, bool force, bool served,
    void (*progress)(void *arg, uint64_t done, uint64_t of), void *arg,
    struct nj_why *why)
{
	struct copy c = { v, path, NULL, -1, NULL, progress, arg };
	enum nj_err e;

	if ((e = check_target(&c, force, why)) || (e = check_log(v, why)))
		return e;
	drop_unfinished(path);
	if ((e = make_temp(&c, why))) {
		if (c.held >= 0)
			close(c.held);
		return e;
	}
	if (!(e = copy_pages(&c, why)) && !(e = copy_data(&c, why)))
		e = finish_copy(&c, why);
	if (sqlite3_close(c.db) != SQLITE_OK && !e)
		e = NJ_IO;
	if (!e)
		e = name_copy(&c, force, served, why);
	if (c.temp)
		unlink(c.temp);
	close(c.held);
	free(c.temp);
	return e;
}

enum nj_err
view_backup(struct view *v, const char *path, bool force,
    void (*progress)(void *arg, uint64_t done, uint64_t of), void *arg,
    struct nj_why *why)
{
	return view_copy(v, path, force, false, progress, arg, why);
}
