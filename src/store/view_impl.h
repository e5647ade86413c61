/* SPDX-License-Identifier: Apache-2.0
 * view_impl - what the files that implement view.h share.
 */
#ifndef NJ_STORE_VIEW_IMPL_H
#define NJ_STORE_VIEW_IMPL_H

#include <sqlite3.h>

#include "store/data.h"
#include "store/view.h"

/* The first schema that has them. */
#define SEGMENT_SCHEMA 4
#define DATA_SCHEMA    6

struct view {
	sqlite3 *db;
	char *path;
	unsigned schema;
	bool live;
	struct view_file *files; /* as the transaction knows them */
	size_t n_files;
	struct buf page;
	struct data_source source;
};

/* What SQLite says of its last error, with the path before it. */
NJ_MUST enum nj_err
view_err(struct view *v, const char *doing, int rc, struct nj_why *why);
/* view_backup; served: as a broker would have made it.  One without a log becomes
 * that when nobody reads it, which a start would have to wait for. */
NJ_MUST enum nj_err view_copy(struct view *v, const char *path, bool force,
    bool served, void (*progress)(void *arg, uint64_t done, uint64_t of),
    void *arg, struct nj_why *why);
/* view_restore of a store whose lock the caller has. */
NJ_MUST enum nj_err restore_locked(struct view *v, const char *path,
    void (*made)(const char *copy), char **old, struct nj_why *why);
/* The numbers of a query's first row, 0 where there is none. */
NJ_MUST enum nj_err view_numbers(struct view *v, const char *sql, uint64_t *out,
    unsigned n, struct nj_why *why);

/* view_data.c: the files of a view, opened with its transaction. */
/* NJ_AGAIN: one is not there; the transaction is to be begun again, or last
 * true. */
NJ_MUST enum nj_err
view_data_open(struct view *v, bool last, struct nj_why *why);
void view_data_close(struct view *v);
/* How large they are, and the rights of all of them together. */
void view_data_stat(const struct view *v, uint64_t *bytes, unsigned *mode);

/* view_segments.c: entries in segments, by session and key. */
struct segment_walk {
	sqlite3_stmt *st;
	bool there; /* row is the next */
	struct view_row row;
	struct slice data, bits;
	uint64_t first;
	uint32_t n, i;
};
/* A view of a schema without them has none.  End it in any case. */
NJ_MUST int
segment_walk_begin(struct segment_walk *w, struct view *v, struct slice client);
NJ_MUST int segment_walk_next(struct segment_walk *w);
void segment_walk_end(struct segment_walk *w);

#endif
