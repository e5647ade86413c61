/* SPDX-License-Identifier: Apache-2.0
 * view_impl - what the files that implement view.h share.
 */
#ifndef NJ_STORE_VIEW_IMPL_H
#define NJ_STORE_VIEW_IMPL_H

#include <sqlite3.h>

#include "store/segment.h"
#include "store/view.h"

/* The first schema that has them. */
#define SEGMENT_SCHEMA 4

struct view {
	sqlite3 *db;
	char *path;
	unsigned schema;
	bool live;
};

/* What SQLite says of its last error, with the path before it. */
NJ_MUST enum nj_err
view_err(struct view *v, const char *doing, int rc, struct nj_why *why);
/* The numbers of a query's first row, 0 where there is none. */
NJ_MUST enum nj_err view_numbers(struct view *v, const char *sql, uint64_t *out,
    unsigned n, struct nj_why *why);

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
