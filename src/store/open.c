/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening, making and checking the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "store/impl.h"
#include "store/lock.h"
#include "store/pagesum.h"
#include "store/place.h"
#include "store/walcheck.h"
#include "store/walfile.h"

/* The log is brought into the database when all is read (checkpointer_start): on a
 * full disk that would take the room that was given up for opening it. */
static const char settings[] = "PRAGMA wal_autocheckpoint = 0;"
			       "PRAGMA journal_mode = WAL;"
			       "PRAGMA synchronous = FULL;"
			       "PRAGMA journal_size_limit = 67108864;"
			       "PRAGMA secure_delete = FAST;"
			       "PRAGMA cell_size_check = ON;"
			       "PRAGMA trusted_schema = OFF;"
			       "PRAGMA temp_store = MEMORY;"
			       "PRAGMA cache_size = -16384;"
			       /* whether it may be written */
			       "BEGIN IMMEDIATE; ROLLBACK";

/* INCREMENTAL, as SQLite says it. */
#define AUTO_VACUUM 2

/* Of a row of seg, at most, without its data. */
#define ROW_OVERHEAD 44

/* Read ahead of what is looked at; more may be too much for memory. */
#define AHEAD_BYTES ((off_t)1 << 30)

/* A pipe would be waited for, without end.  Nothing there is as good as a file. */
static enum nj_err
only_file(const char *path, const char *end, struct nj_why *why)
{
	enum nj_err e = NJ_OK;
	char *name = NULL;
	struct stat st;

	if (asprintf(&name, "%s%s", path, end) < 0)
		return NJ_NOMEM;
	if (lstat(name, &st) == 0 && !S_ISREG(st.st_mode) &&
	    !S_ISLNK(st.st_mode) && (*end || !S_ISDIR(st.st_mode))) {
		why_set(why, "%s is %s", name,
		    S_ISDIR(st.st_mode) ? "a folder" : "not a file");
		why_mend(why,
		    "look at what it is, and take it away; the store "
		    "has a file of that name");
		e = NJ_IO;
	}
	free(name);
	return e;
}

static enum nj_err
only_files(const struct store *s, struct nj_why *why)
{
	static const char *const ends[] = { "", "-journal", "-wal", "-shm" };
	enum nj_err e = NJ_OK;

	for (unsigned i = 0;
	     !e && !s->opts.vfs && i < sizeof ends / sizeof ends[0]; i++)
		e = only_file(s->path, ends[i], why);
	return e;
}

/* Where there is a log, and no database or an empty one, SQLite begins with nothing
 * and deletes the log, which may have all there is; and data files would be leftovers. */
static enum nj_err
nothing_alone(struct store *s, struct nj_why *why)
{
	struct stat st;
	bool there;

	if (s->opts.vfs)
		return NJ_OK;
	s->logless = !store_has_log(s->path);
	if (store_log_alone(s->path, &there)) {
		why_set(why, "%s is %s, and its log is there: %s-wal", s->path,
		    there ? "empty" : "not there", s->path);
		why_mend(why, STORE_MEND_ALONE);
		return NJ_MALFORMED;
	}
	if (!s->logless || (there && (lstat(s->path, &st) || st.st_size > 0)) ||
	    !store_has_data(s->path))
		return NJ_OK;
	why_set(why, "%s is %s, and has data files: %s" DATA_TAIL "*", s->path,
	    there ? "empty" : "not there", s->path);
	why_mend(why,
	    "move the database back beside them, and its log, if there was "
	    "one: they have messages that it knows of; where it is lost, "
	    "restore the last backup, or move them away, too, to begin with "
	    "nothing");
	return NJ_MALFORMED;
}

/* As 'nightjar store check' says. */
static void
warn_exposed(const struct store *s)
{
	struct stat st;

	if (!s->opts.vfs && !s->opts.mend && fstat(s->db_fd, &st) == 0 &&
	    (st.st_mode & 077) != 0)
		nj_log(LOG_T_WARNING,
		    "Warning: other users of this machine can get at %s (mode "
		    "%04o), which has every client's messages: chmod go= %s "
		    "%s-*",
		    s->path, (unsigned)st.st_mode & 07777, s->path, s->path);
}

/* Its mode is set by making it; SQLite gives its other files the same. */
static enum nj_err
make_file(struct store *s, struct nj_why *why)
{
	enum nj_err e;

	s->db_fd =
	    open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->db_fd < 0) {
		int err = errno;

		why_set(why, "%s: %s", s->path, strerror(err));
		store_mend(why, err);
		return NJ_IO;
	}
	if (!s->opts.vfs && (e = store_lock_file(s->db_fd, s->path, why)))
		return e;
	/* all of it is read now, and not from start to end: the kernel may
	 * as well begin to, in the order of the disk */
	(void)posix_fadvise(s->db_fd, 0, AHEAD_BYTES, POSIX_FADV_WILLNEED);
	return NJ_OK;
}

static enum nj_err
number(struct store *s, const char *sql, uint64_t *out)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
		*out = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return sql_err(rc);
}

/* What the check says of a page that could not be read is no damage of it: a
 * disk that fails for a moment must not cost the store.  sums: pages have them,
 * and so one that is not as it was written would have been judged. */
static enum nj_err
damage_of(const char *said, bool judged, bool sums)
{
	static const char mark[] = "error code=";
	const char *at = strstr(said, mark);
	enum nj_err e =
	    at ? sql_err((int)strtol(at + strlen(mark), NULL, 10)) : NJ_OK;

	/* of those behind a row it says no more, nor of the map of pages */
	if (!judged &&
	    (strstr(said, "failed to get page") ||
		(sums && strstr(said, "Failed to read ptrmap"))))
		e = NJ_IO;
	return e ? e : NJ_MALFORMED;
}

/* The first line of it that says something: there may be a hundred. */
static void
say_damage(
    const struct store *s, enum nj_err e, const char *said, struct nj_why *why)
{
	const char *end;

	if (strncmp(said, "***", 3) == 0 && (end = strchr(said, '\n')))
		said = end + 1;
	end = said + strcspn(said, "\n");
	why_set(why, "%s %s: %.*s%s", s->path,
	    e == NJ_MALFORMED ? "is damaged" : "cannot be checked",
	    (int)(end - said), said, *end && end[1] ? ", and more" : "");
}

/* "ok" in one row, or what is wrong in several. */
static enum nj_err
look_at_pages(struct store *s, const char *sql, struct nj_why *why)
{
	sqlite3_stmt *st = NULL;
	uint64_t before = pages_damaged();
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
	enum nj_err e = NJ_OK;

	while ((e == NJ_OK || e == NJ_MALFORMED) &&
	    (rc == SQLITE_OK || rc == SQLITE_ROW) &&
	    (rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *said = (const char *)sqlite3_column_text(st, 0);

		if (!said || strcmp(said, "ok") == 0)
			continue;
		e = damage_of(
		    said, pages_damaged() > before, pages_have_sums(s->db));
		say_damage(s, e, said, why);
	}
	if (!e && (e = sql_err(rc)))
		sql_why(s, why, "checking it");
	sqlite3_finalize(st);
	return e;
}

/* Damage is looked at again: where it is the disk that fails, some of what is
 * said tells. */
static enum nj_err
check_pages(struct store *s, struct nj_why *why)
{
	struct pages_watch w = {
		.read = s->opts.checking,
		.arg = s->opts.arg,
		.each = s->opts.checking_each ? s->opts.checking_each
					      : STORE_PROGRESS,
	};
	enum nj_err e;

	if (w.read)
		pages_watch(s->db, &w);
	e = look_at_pages(s, "PRAGMA quick_check(1)", why);
	if (e == NJ_MALFORMED)
		e = look_at_pages(s, "PRAGMA quick_check(100)", why);
	pages_watch(s->db, NULL);
	return e;
}

/* After the tables are those of TABLES_SCHEMA. */
static enum nj_err
mark_pages(struct store *s)
{
	s->plain = !pages_have_sums(s->db);
	return s->plain ? NJ_OK : sql_exec(s, "PRAGMA user_version = 7");
}

static enum nj_err
bring_up(struct store *s, unsigned version, struct nj_why *why)
{
	enum nj_err e;

	if ((version < TABLES_SCHEMA && (e = schema_upgrade(s, version))) ||
	    (e = mark_pages(s))) {
		sql_why(s, why, "bringing its tables up to date");
		return e;
	}
	if (version < TABLES_SCHEMA || !s->plain)
		nj_log(LOG_T_NOTICE, "%s: brought from schema %u to %d",
		    s->path, version, s->plain ? TABLES_SCHEMA : STORE_SCHEMA);
	return NJ_OK;
}

static enum nj_err
check_owner(struct store *s, struct nj_why *why)
{
	uint64_t app = 0, version = 0, tables = 0;
	enum nj_err e;

	if ((e = number(s, "PRAGMA application_id", &app)) ||
	    (e = number(s, "PRAGMA user_version", &version)) ||
	    (e = number(s, "SELECT count(*) FROM sqlite_schema", &tables))) {
		sql_why(s, why, "reading it");
		return e;
	}
	if (app == 0 && version == 0 && tables == 0) {
		if ((e = schema_upgrade(s, 0)) || (e = mark_pages(s)))
			sql_why(s, why, "making its tables");
		return e;
	}
	if (app != STORE_APPLICATION) {
		why_set(why, "%s is a database of another program", s->path);
		why_mend(why, "give persistence_file another name");
		return NJ_UNSUPPORTED;
	}
	if (version > STORE_SCHEMA) {
		why_set(why,
		    "%s was written by a newer nightjar (schema %llu, this "
		    "one knows %d)",
		    s->path, (unsigned long long)version, STORE_SCHEMA);
		why_mend(why, "start that one, or restore a backup");
		return NJ_UNSUPPORTED;
	}
	if (version >= PAGESUM_SCHEMA && !pages_have_sums(s->db)) {
		why_set(why, "%s is damaged: its first page", s->path);
		return NJ_MALFORMED;
	}
	e = check_pages(s, why);
	return e || version == STORE_SCHEMA
	    ? e
	    : bring_up(s, (unsigned)version, why);
}

static enum nj_err
next_numbers(struct store *s, struct nj_why *why)
{
	enum nj_err e;

	if ((e = number(s, "SELECT ifnull(max(id), 0) + 1 FROM session",
		 &s->next_session)) ||
	    (e = number(
		 s, "SELECT ifnull(max(id), 0) + 1 FROM msg", &s->next_msg)) ||
	    (e = number(
		 s, "SELECT ifnull(max(ord), 0) FROM retained", &s->order)))
		sql_why(s, why, "reading it");
	return e;
}

/* What SQLite keeps of a row of seg in its page, less key and numbers. */
static enum nj_err
page_sizes(struct store *s, struct nj_why *why)
{
	uint64_t page = 0;
	enum nj_err e = number(s, "PRAGMA page_size", &page);

	if (e)
		sql_why(s, why, "reading it");
	if (!s->plain)
		page -= PAGESUM_BYTES;
	s->page_bytes = page;
	s->row_bytes = (page - 12) * 64 / 255 - 23 - ROW_OVERHEAD;
	return e;
}

/* For want of a right. */
static bool
is_closed(sqlite3 *db)
{
	int rc = sqlite3_errcode(db) & 0xff;

	return rc == SQLITE_READONLY || rc == SQLITE_CANTOPEN ||
	    rc == SQLITE_PERM;
}

/* Said to a store that has it, SQLite writes its first page once more; each start on a
 * full disk would so take some of the ballast (lock.h), while its log stays. */
static enum nj_err
want_vacuum(struct store *s)
{
	uint64_t is = 0;
	enum nj_err e = number(s, "PRAGMA auto_vacuum", &is);

	return e || is == AUTO_VACUUM
	    ? e
	    : sql_exec(s, "PRAGMA auto_vacuum = INCREMENTAL");
}

static enum nj_err
connect_db(struct store *s, struct nj_why *why)
{
	const char *vfs;
	enum nj_err e = walfile_vfs(s->opts.vfs, &vfs);
	int rc;

	if (e) {
		sql_why(s, why, "opening it");
		return e;
	}
	if ((e = walcheck_mend_header(
		 s->opts.vfs, s->path, s->opts.mend, why)) ||
	    (!s->opts.mend && (e = walcheck(s->opts.vfs, s->path, why))))
		return e;
	rc = sqlite3_open_v2(s->path, &s->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
	    vfs);
	if (rc != SQLITE_OK) {
		sql_why(s, why, "opening it");
		return sql_err(rc);
	}
	sqlite3_busy_timeout(s->db, 5000);
	if ((e = sql_err(pages_want_sums(s->db))) || (e = want_vacuum(s)) ||
	    (e = sql_exec(s, settings))) {
		sql_why(s, why, "opening it");
		/* a copy that has no log yet, and is read */
		if (e == NJ_BUSY)
			why_mend(why,
			    "another program has it open, such as 'nightjar "
			    "store check': let that end first");
		else if (is_closed(s->db))
			why_mend(why,
			    "give the folder, and what it has of this name, "
			    "to the user that the broker runs as");
		return e;
	}
	return check_owner(s, why);
}

/* What SQLite calls an error of the disk. */
static void
say_no_room(const struct store *s, int said, struct nj_why *why)
{
	struct statvfs st;
	unsigned long long left;

	if (s->opts.vfs || fstatvfs(s->db_fd, &st) != 0)
		return;
	left = (unsigned long long)st.f_bavail * st.f_frsize;
	if (said != ENOSPC && said != EDQUOT && left >= STORE_BALLAST)
		return;
	why_set(why, "no room on the file system of %s: %llu bytes free",
	    s->path, left);
	why_mend(why,
	    "make room there, some 256 KiB at least, or move the store to "
	    "where there is (persistence_location)");
}

/* Whoever closes it then must not bring its log into the database: that would take
 * what room there is. */
static bool
no_room(const struct store *s, enum nj_err e)
{
	if (e != NJ_IO && e != NJ_FULL)
		return false;
	if (s->db)
		(void)sqlite3_db_config(
		    s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return true;
}

static enum nj_err
connect_anyhow(struct store *s, struct nj_why *why)
{
	enum nj_err e = connect_db(s, why);

	if (no_room(s, e) && store_ballast_drop(s)) {
		sqlite3_close(s->db);
		s->db = NULL;
		s->plain = false;
		e = connect_db(s, why);
	}
	if (no_room(s, e))
		say_no_room(s, s->db ? sqlite3_system_errno(s->db) : 0, why);
	return e;
}

static enum nj_err
open_db(struct store *s, struct nj_why *why)
{
	enum nj_err e = connect_anyhow(s, why);

	/* once, when it is of an older schema */
	if (!e && s->plain && !s->opts.vfs && !s->opts.mend) {
		convert_pages(s);
		s->plain = false; /* as the next look finds it */
		if (!(e = make_file(s, why)))
			e = connect_db(s, why);
	}
	if (e || (e = next_numbers(s, why)) || (e = page_sizes(s, why)))
		return e;
	if ((e = sql_prepare_all(s)))
		sql_why(s, why, "its tables are not as they should be");
	else
		e = data_open(s, why);
	return e;
}

/* What a restore was cut off in. */
static enum nj_err
go_on_restoring(const char *path, struct nj_why *why)
{
	bool was = restore_pending(path);
	char *old = NULL;
	enum nj_err e = restore_finish(path, &old, why);

	if (!e && was)
		nj_log(LOG_T_NOTICE,
		    "%s: a restore of it had been cut off, and is done now%s%s",
		    path,
		    !old			 ? ""
			: access(old, F_OK) == 0 ? "; the old one is "
						 : "; files of an old one that "
						   "was not there begin with ",
		    old ? old : "");
	free(old);
	return e;
}

enum nj_err
store_open(const struct store_opts *o, struct store **out, struct nj_why *why)
{
	struct store *s = calloc(1, sizeof *s);
	enum nj_err e;

	if (!s)
		return NJ_NOMEM;
	s->opts = *o;
	s->lock_fd = s->db_fd = -1;
	if (!(s->path = strdup(o->path))) {
		free(s);
		return NJ_NOMEM;
	}
	if ((e = store_lock(s->path, &s->lock_fd, why)) ||
	    (!o->vfs && (e = go_on_restoring(s->path, why))) ||
	    (e = only_files(s, why)) || (e = nothing_alone(s, why)) ||
	    (e = make_file(s, why)) || (e = open_db(s, why))) {
		store_close(s);
		return e;
	}
	place_look(s);
	warn_exposed(s);
	store_ballast_take(s);
	*out = s;
	return NJ_OK;
}

uint64_t
store_next_session(struct store *s)
{
	return s->next_session;
}

uint64_t
store_next_msg(struct store *s)
{
	return s->next_msg;
}

uint64_t
store_order(struct store *s)
{
	return s->order;
}

void
store_close(struct store *s)
{
	if (!s)
		return;
	writer_end(s);
	data_close(s);
	sql_finalize_all(s);
	if (s->db)
		close_database(s, s->db);
	if (s->db_fd >= 0)
		close(s->db_fd);
	store_ballast_take(s);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	refs_fini(&s->refs);
	lanes_fini(&s->lanes);
	buf_fini(&s->scratch);
	free(s->path);
	free(s);
}
