/* SPDX-License-Identifier: Apache-2.0
 * walcheck - whether a write-ahead log is damaged in its midst.
 *
 * SQLite takes a log up to the first frame that is not as it should be, and says
 * nothing: behind a power cut that is the end of what was synced.  But where
 * whole frames follow a COMMIT behind that place it is not, as they were only
 * written when what is before was on disk: that frame has changed since, and what
 * was acknowledged would be gone.  What is damaged in the last transaction, in the
 * COMMIT frame of the one before, or in the log's first 32 bytes, looks as a power
 * cut does.
 *
 * Owns:    nothing.
 * Threads: any; nobody else writes the log meanwhile.
 * Bounds:  memory of one page; it is read once, as SQLite then does.
 */
#ifndef NJ_STORE_WALCHECK_H
#define NJ_STORE_WALCHECK_H

#include "base/err.h"

/* NJ_MALFORMED: that of the database at path (vfs NULL: SQLite's own) is; NJ_IO: it
 * cannot be read.  None, or one that SQLite does not take either, is fine. */
NJ_MUST enum nj_err
walcheck(const char *vfs, const char *path, struct nj_why *why);
/*
 * Before it is opened to be written.  Of a log whose header a power cut has torn
 * SQLite takes nothing, as it should: all behind it is in the database.  But the
 * salts that are in it may be the last log's, and SQLite would begin the next with
 * these, in front of whole frames of the last: they would be taken for damage.  So
 * such a log is emptied.
 */
NJ_MUST enum nj_err
walcheck_forget_torn(const char *vfs, const char *path, struct nj_why *why);

#endif
