/* SPDX-License-Identifier: Apache-2.0 */
#include "store/impl.h"
#include "store/view_impl.h"

#define FACTS_SCHEMA 3 /* the first that has them */

enum nj_err
view_facts(struct view *v, struct slice space,
    enum nj_err (*fact)(
	void *arg, unsigned kind, struct slice name, struct slice value),
    void *arg, struct nj_why *why)
{
	sqlite3_stmt *st = NULL;
	enum nj_err e = NJ_OK;
	size_t n = 0;
	int rc;

	if (v->schema < FACTS_SCHEMA)
		return NJ_NOTFOUND;
	rc = sqlite3_prepare_v2(v->db,
	    "SELECT kind, name, value FROM fact WHERE space = ?1 "
	    "ORDER BY kind, name",
	    -1, &st, NULL);
	if (rc == SQLITE_OK) {
		sql_bind_slice(st, 1, space);
		while (!e && (rc = sqlite3_step(st)) == SQLITE_ROW) {
			e = fact(arg, (unsigned)sqlite3_column_int(st, 0),
			    sql_column(st, 1), sql_column(st, 2));
			n++;
		}
	}
	if (!e && rc != SQLITE_DONE)
		e = view_err(v, "reading it", rc, why);
	sqlite3_finalize(st);
	return !e && n == 0 ? NJ_NOTFOUND : e;
}
