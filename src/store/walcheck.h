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

#include <stdbool.h>

#include "base/err.h"

/* NJ_MALFORMED: that of the database at path (vfs NULL: SQLite's own) is; NJ_IO: it
 * cannot be read.  None, or one that SQLite does not take either, is fine. */
NJ_MUST enum nj_err
walcheck(const char *vfs, const char *path, struct nj_why *why);
/*
 * Before it is checked and opened to be written.  Of a log whose header is not as it
 * should be SQLite takes nothing.  Where whole frames stand behind it, from the first
 * on, it gets the header back that they had: if that was damaged, what was
 * acknowledged is not lost; if a power cut has torn it as the next log was begun,
 * all of them are in the database, and are written to it once more.  Where there
 * are none it is emptied: SQLite could begin the next log with the salts that are in
 * such a header, in front of frames of the last, which would be taken for damage.
 * What is damaged beyond that stays as it is, for walcheck to tell, unless it is
 * given up: then it is emptied, too.
 */
NJ_MUST enum nj_err walcheck_mend_header(
    const char *vfs, const char *path, bool give_up, struct nj_why *why);

#endif
