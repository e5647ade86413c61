/* SPDX-License-Identifier: Apache-2.0
 * data - the files beside the database that large segments have their bytes in,
 *        and how a row says where.
 *
 * A file is written from start to end and never again: what is appended is
 * synced before the row that names it is committed.  Its name is that of the
 * database with DATA_TAIL and a number that no file before had.
 *
 * Owns:    nothing.
 * Threads: any.
 * Bounds:  DATA_*.
 */
#ifndef NJ_STORE_DATA_H
#define NJ_STORE_DATA_H

#include <sqlite3.h>

#include "base/err.h"
#include "base/slice.h"
#include "store/segment.h"

/* Not "-data-": SQLite takes a file's mode and owner from the one whose name
 * ends before the last "-". */
#define DATA_TAIL      "-data"
#define DATA_NAME_MORE 32 /* what a name has besides the database's */

#define DATA_MIN	(32u * 1024)  /* a smaller row has its own bytes */
#define DATA_ROW_BYTES	(256u * 1024) /* of one row */
#define DATA_ROW_MAX	(2 * DATA_ROW_BYTES) /* a longer one is damaged */
#define DATA_FILE_BYTES (64ull << 20)	     /* then another file is begun */

/* Where a row's bytes are; file 0: in the row, and only the sum counts. */
struct place {
	uint64_t file, at, len, sum;
};

/* The columns data, file, at, len and sum, from one on. */
struct place place_of(sqlite3_stmt *st, int at);
/* NJ_MALFORMED: there is no such place. */
NJ_MUST enum nj_err place_check(const struct place *p);
/* Of bytes at a place. */
uint64_t data_sum(uint64_t file, uint64_t at, struct slice bytes);
/* Of bytes in their row.  None has a sum from before, or from a backup. */
static inline bool
data_is_whole(const struct place *p, struct slice bytes)
{
	return p->sum == 0 || data_sum(0, 0, bytes) == p->sum;
}
/* To be freed; NULL: no memory. */
char *data_name(const char *base, uint64_t no);

/* Reads the bytes of a place, lent until the next call.  NJ_MALFORMED: they are
 * not there, or not what was written. */
struct data_source {
	enum nj_err (*read)(
	    void *arg, const struct place *p, struct slice *out);
	void *arg;
};

/* nj_data(data, file, at, len, sum): a row's bytes, or NULL where they are
 * damaged.  src stays as long as db. */
NJ_MUST enum nj_err data_function(sqlite3 *db, struct data_source *src);

#endif
