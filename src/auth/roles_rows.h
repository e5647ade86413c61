/* SPDX-License-Identifier: Apache-2.0
 * roles_rows - a state of users, groups and roles as rows for a store: what a
 *              change brings is only those that are others.
 *
 * A row is JSON, as a file has it, but for groups, which do not say who is in
 * them: users say which groups they are in.
 *
 * Owns:    a reader what it has read so far.
 * Threads: one owner.
 */
#ifndef NJ_AUTH_ROLES_ROWS_H
#define NJ_AUTH_ROLES_ROWS_H

#include "auth/roles.h"
#include "base/err.h"
#include "base/slice.h"

/* In the order in which a reader takes them. */
enum roles_row {
	ROLES_ROW_ROLE = 1,
	ROLES_ROW_GROUP,
	ROLES_ROW_USER,
	ROLES_ROW_REST /* one, without a name */
};

/* text.p NULL: there is none of that name any more. */
typedef enum nj_err roles_row_fn(
    void *arg, enum roles_row kind, struct slice name, struct slice text);
/* was NULL: all of now.  A row's error ends it and is returned. */
NJ_MUST enum nj_err roles_rows_changed(const struct roles *was,
    const struct roles *now, roles_row_fn *fn, void *arg);

struct roles_reader;

/* from: for what is said. */
NJ_MUST enum nj_err
roles_reader_new(const char *from, struct roles_reader **out);
void roles_reader_free(struct roles_reader *r); /* NULL is fine */
/* NJ_MALFORMED with *why. */
NJ_MUST enum nj_err roles_reader_take(struct roles_reader *r,
    enum roles_row kind, struct slice text, struct nj_why *why);
/* All were there; the state is the caller's. */
NJ_MUST enum nj_err
roles_reader_end(struct roles_reader *r, struct roles **out);

#endif
