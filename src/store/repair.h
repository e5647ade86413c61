/* SPDX-License-Identifier: Apache-2.0
 * repair - what makes a store's rows agree again, and what says that they do
 *          not.
 *
 * Threads: the caller's; no broker may have the store.
 */
#ifndef NJ_STORE_REPAIR_H
#define NJ_STORE_REPAIR_H

#include <sqlite3.h>
#include <stdint.h>

#include "base/err.h"

/* Every row that names a message, as often as it does. */
#define STORE_NAMED                                                 \
	"SELECT msg FROM queue UNION ALL "                          \
	"SELECT msg FROM retained WHERE msg IS NOT NULL UNION ALL " \
	"SELECT will AS msg FROM session WHERE will IS NOT NULL"

/* A session that has not ended: one that has may be there for what it hands
 * over, beside another of its client. */
#define STORE_LIVE "(expiry <> 0 OR offline <> 0)"

/* nj_filter_ok(filter), nj_msg_ok(bytes, topic_len, payload_len): for SQL. */
NJ_MUST enum nj_err store_functions(sqlite3 *db);

struct store;
struct data_source;

/* What store_repair does, within a transaction; src stays as long as s. */
NJ_MUST enum nj_err store_mend_rows(struct store *s, struct data_source *src);

/*
 * Deletes the rows that are not as they should be and those that name what is
 * not there, and counts the users of messages again: all of it or nothing.
 * *deleted rows went.  Pages that are damaged are beyond it (NJ_MALFORMED), and a log
 * that has lost changes of users or roles (NJ_DENIED).
 */
NJ_MUST enum nj_err
store_repair(const char *path, uint64_t *deleted, struct nj_why *why);

#endif
