/* SPDX-License-Identifier: Apache-2.0
 * walfile - a VFS under SQLite that writes its log in large pieces.
 *
 * SQLite writes the log page by page, a header of 24 bytes before each: two
 * calls a page, and nothing is on its way to the disk until it says sync.  Here
 * what comes one behind the other is gathered, written WALFILE_BYTES at once, and
 * sent off; what is left is written before a sync, a read, and everything else.
 * Nobody may read what is not synced: the log's index says how far it goes, and is
 * changed after the sync (synchronous=FULL).  What is deleted does not come back
 * when the power fails.
 *
 * Owns:    what it registers with SQLite, to the end of the process.
 * Threads: store_open: one at a time; then as the VFS it stands on.
 * Bounds:  WALFILE_BYTES a log.
 * Errors:  of a write: come with a later call, the sync at the latest, before
 *          which nothing was promised.
 */
#ifndef NJ_STORE_WALFILE_H
#define NJ_STORE_WALFILE_H

#include "base/err.h"

#define WALFILE_BYTES (256u * 1024)

/* The name of one that stands on the VFS base (NULL: SQLite's own).  NJ_NOTFOUND:
 * there is no such. */
NJ_MUST enum nj_err walfile_vfs(const char *base, const char **name);

#endif
