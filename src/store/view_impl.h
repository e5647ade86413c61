/* SPDX-License-Identifier: Apache-2.0
 * view_impl - what the files that implement view.h share.
 */
#ifndef NJ_STORE_VIEW_IMPL_H
#define NJ_STORE_VIEW_IMPL_H

#include <sqlite3.h>

#include "store/view.h"

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

#endif
