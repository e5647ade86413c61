/* SPDX-License-Identifier: Apache-2.0
 * lock - the file beside a store, named like it with .lock, that says who has it:
 *        one process at a time, by a lock of the kernel's, which ends with it.
 *
 * SQLite makes two files before it reads anything, and deletes them when it ends.  So
 * that a broker which was stopped starts on a full disk, too, the lock's file has
 * as many bytes meanwhile, which are given up for that: its ballast.
 *
 * The database itself is locked, too: whoever has another name for it, in another
 * folder, finds another .lock there.
 *
 * Owns:    the descriptor is the caller's; the file stays.
 * Threads: any.
 */
#ifndef NJ_STORE_LOCK_H
#define NJ_STORE_LOCK_H

#include <stdbool.h>

#include "base/err.h"

struct store;

/* What SQLite needs to open a store. */
#define STORE_BALLAST (256 * 1024)

/* *out holds the lock of the store at path until it is closed. */
NJ_MUST enum nj_err store_lock(const char *path, int *out, struct nj_why *why);
/* fd, of the database at path, holds a lock of it until it is closed, if its file
 * system has such. */
NJ_MUST enum nj_err
store_lock_file(int fd, const char *path, struct nj_why *why);
/* Whether a broker has the store at path open now, whatever the file is. */
bool store_locked(const char *path);

/* Whether somebody has it open by another name, a hard link or a mount: the log is
 * there, and without it what is in the file is not all.  A symbolic link is none. */
bool store_locked_elsewhere(const char *path);
NJ_MUST enum nj_err
store_refuse_elsewhere(const char *path, struct nj_why *why);

/* Of the store that is locked: as much as there is room for. */
void store_ballast_take(const struct store *s);
/* Whether there was any. */
bool store_ballast_drop(const struct store *s);

#endif
