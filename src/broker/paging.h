/* SPDX-License-Identifier: Apache-2.0
 * paging - queues that are on disk, read as their clients take them.
 *
 * Threads: the sessions' shard.
 * Bounds:  one page a session under way, PAGE_MAX entries and about
 *          STORE_PAGE_BYTES; PAGES_MAX a shard.
 */
#ifndef NJ_BROKER_PAGING_H
#define NJ_BROKER_PAGING_H

#include "base/mailbox.h"
#include "store/store.h"

struct shard;

#define PAGES_MAX 64

/* What could not be read is asked for again after that. */
#define REREAD_MS 500

/* For the sessions in keep.pages; all that was recorded is submitted, or the disk
 * takes nothing: then who gets nothing waits in keep.parked. */
void paging_ask(struct shard *sh);
/* From the store's thread. */
void paging_done(void *arg, struct store_read *r);
/* A page has come (LETTER_PAGE). */
void paging_come(struct shard *sh, struct letter *l);

#endif
