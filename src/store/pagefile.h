/* SPDX-License-Identifier: Apache-2.0
 * pagefile - the database file, whose pages have checksums (pagesum.h).
 *
 * They are set as a page is written and compared as it is read; so what SQLite
 * has of a page is what was written, or SQLITE_CORRUPT, and the log says which
 * page of which file.  A file that has no room for them, from before schema
 * PAGESUM_SCHEMA, is read and written as it is.
 *
 * Which it is follows from two numbers in its header, far enough from each other
 * that no single fault makes one of the other.
 *
 * Owns:    the file it stands on.
 * Threads: as SQLite's.
 */
#ifndef NJ_STORE_PAGEFILE_H
#define NJ_STORE_PAGEFILE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* "NjMq", so that file(1) and we know whose database it is. */
#define STORE_APPLICATION 0x4e6a4d71

/* The first whose pages have checksums. */
#define PAGESUM_SCHEMA 7

/* xRead of the file below.  What the system could not read (EIO) is an error of the
 * disk, also where SQLite's own VFS says that its file system is corrupt, of which
 * SQLite makes damage of the database. */
int pagefile_read_below(sqlite3_file *below, void *to, int n, sqlite3_int64 at);

/* Besides what a file of the VFS below takes. */
size_t pagefile_size(void);
/* xOpen of a main database. */
int pagefile_open(
    sqlite3_vfs *below, const char *name, sqlite3_file *f, int flags, int *out);

/* Whether f, a main database, is one of these, and its pages have sums. */
bool pagefile_has_sums(const sqlite3_file *f);
/* The same of a connection's. */
bool pages_have_sums(sqlite3 *db);
/* Before the index of f's log is written to: SQLITE_OK, or SQLITE_FULL
 * (walindex.h). */
int pagefile_index_room(const sqlite3_file *f);
/* Whether a sync of it has failed: then each fails until it is opened again, as
 * after another, in which the system forgot what it could not write, SQLite would
 * take its log as done with. */
bool pages_unsynced(sqlite3 *db);
/* A database that is to be made, or copied by VACUUM, has room for them. */
NJ_MUST int pages_want_sums(sqlite3 *db);

/* A page of f's, or of its log, at `at`: SQLITE_OK, or SQLITE_CORRUPT, which is
 * told of. */
int pagefile_judge(
    sqlite3_file *f, const void *page, size_t n, sqlite3_int64 at, bool log);

/* Tells how many pages of a database file were read so far, each `each` of them. */
struct pages_watch {
	void (*read)(void *arg, uint64_t n);
	void *arg;
	uint64_t each, n;
};

/* From now on; NULL: no more.  Only while one thread has the connection. */
void pages_watch(sqlite3 *db, struct pages_watch *w);

/* This connection, which only makes checkpoints, pauses for a moment after each
 * few pages.  The kernel compares who has waited with who runs when something
 * wakes or at its tick, every 4 ms: so long a shard would wait for it.  And what it
 * wrote it sends off to the disk, by fd: the same file, open as long as db is. */
void pages_pace(sqlite3 *db, int fd);

/* How many pages were not as they should be, in this process so far. */
uint64_t pages_damaged(void);

/* Sets the sum of each page of a file that nobody has open, and that has room
 * for them. */
NJ_MUST enum nj_err pages_seal(const char *path, struct nj_why *why);

#endif
