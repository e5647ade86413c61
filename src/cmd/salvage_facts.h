/* SPDX-License-Identifier: Apache-2.0
 * salvage_facts - which users, groups and roles a damaged store had, as far as can be
 *                 seen, for who has to write them again.
 *
 * Owns:    copies of what was found; they are wiped.
 * Threads: the main thread.
 * Bounds:  what the store has.
 */
#ifndef NJ_CMD_SALVAGE_FACTS_H
#define NJ_CMD_SALVAGE_FACTS_H

#include <stdbool.h>

#include "base/buf.h"
#include "store/salvage.h"

struct salvage_facts;

NJ_MUST enum nj_err salvage_facts_new(struct salvage_facts **out);
void salvage_facts_free(struct salvage_facts *f); /* NULL is fine */
/* salvage_opts.fact */
NJ_MUST enum nj_err
salvage_facts_take(void *arg, const struct salvage_fact *fact);

/* What was found goes to files of their own beside the store, in the form of
 * dynamic-security.json. */
NJ_MUST enum nj_err salvage_facts_write(struct salvage_facts *f,
    const char *path, void (*made)(const char *file), struct nj_why *why);
/* What was found, what that names and was not, and where some are lost: lines, or a
 * JSON object. */
NJ_MUST enum nj_err
salvage_facts_tell(struct salvage_facts *f, bool json, struct buf *out);

#endif
