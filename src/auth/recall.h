/* SPDX-License-Identifier: Apache-2.0
 * recall - who proved which password of late, so that ten thousand clients who
 *          come back at once do not wait for as many derivations.
 *
 * Of each user that was let in it keeps a digest of the password that was
 * right, under a random key that nothing else has.  The digest is of what the
 * user is known by, too: who has another password now is not recalled.
 *
 * Owns:    its table; wiped in the end.
 * Threads: any; one lock inside, held for a copy.
 * Bounds:  RECALL_WAYS users to a set, a set for RECALL_WAYS / 2 of the users
 *          there are, RECALL_SETS_MAX sets; past that the oldest is forgotten.
 *          No memory until somebody was let in.
 */
#ifndef NJ_AUTH_RECALL_H
#define NJ_AUTH_RECALL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

#define RECALL_WAYS	8u
#define RECALL_SETS_MAX (1u << 18)

struct recall;

/* For so many users, about. */
NJ_MUST enum nj_err recall_new(size_t users, struct recall **out);
void recall_free(struct recall *r); /* NULL is fine */
/*
 * Whether password is the one that was found right the last time.  known_by:
 * what the user's password is checked against (its hash); for a name that is
 * nobody's anything, and the same work is done.  false says nothing.
 */
bool recall_knows(struct recall *r, struct slice user, struct slice known_by,
    struct slice password);
/* It was found right.  Without memory the next time is slow again. */
void recall_note(struct recall *r, struct slice user, struct slice known_by,
    struct slice password);

#endif
