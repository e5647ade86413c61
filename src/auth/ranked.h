/* SPDX-License-Identifier: Apache-2.0
 * ranked - topic filters in the order in which they are to be asked, compiled
 *          so that the first that matches is found without asking all.
 *
 * A level that is %c or %u as a whole stands for the client identifier and the
 * user name; who has none, or one that is a wildcard, is matched by none of
 * these.  $ topics are matched only by filters that begin with $.
 *
 * Owns:    its nodes; the filters' bytes are borrowed.
 * Threads: immutable once made.
 * Bounds:  TOPIC_LEVELS_MAX levels, which is also how deep it recurses.
 * Cost:    few filters: each is compared.  Many: one look-up a level and
 *          branch of the tree, whatever their number.
 */
#ifndef NJ_AUTH_RANKED_H
#define NJ_AUTH_RANKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define RANKED_NONE UINT32_MAX

struct ranked;

struct ranked_who {
	struct slice user, client_id; /* empty: none */
};

/* What the caller has to say about a filter, kept beside it. */
struct ranked_note {
	const char *text;
	bool allow;
};

/* Of valid filters; the place in v is the rank, the lowest is asked first.
 * notes, one a filter, may be NULL. */
NJ_MUST enum nj_err ranked_new(const struct slice *v,
    const struct ranked_note *notes, uint32_t n, struct ranked **out);
/* Of a rank that was found; where there are notes. */
const struct ranked_note *ranked_note(const struct ranked *r, uint32_t rank);
void ranked_free(struct ranked *r); /* NULL is fine */

/* The first filter that matches a topic name; RANKED_NONE.  r may be NULL. */
uint32_t ranked_match(
    const struct ranked *r, const struct ranked_who *who, struct slice topic);
/* The first that matches all that a subscription's filter does. */
uint32_t ranked_covers(
    const struct ranked *r, const struct ranked_who *who, struct slice filter);
/* Some filter that matches something that the subscription's does, too; of
 * names it need not be one that the asker has. */
uint32_t ranked_overlaps(
    const struct ranked *r, const struct ranked_who *who, struct slice filter);
/* The one with just these bytes. */
uint32_t ranked_exact(const struct ranked *r, struct slice text);

#endif
