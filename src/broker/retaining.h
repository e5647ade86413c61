/* SPDX-License-Identifier: Apache-2.0
 * retaining - changes of retained messages on their way to the disk.
 *
 * While the disk takes nothing, what waits has one record of a topic, the last: who
 * publishes at QoS 0, or leaves a retained will whenever he goes, may do so any number of
 * times.  Else all that others may not do when there is too much (KEEP_BYTES) would
 * depend on him.
 *
 * Owns:    a copy of each topic that waits, until its batch has gone to the store and
 *          there is another, or there is room; in chunks, so that they are soon freed.
 * Threads: the shard.
 * Bounds:  as many as there are records of them; they count in KEEP_BYTES.
 * Errors:  without memory a topic has a record for each change; or keep.failed.
 */
#ifndef NJ_BROKER_RETAINING_H
#define NJ_BROKER_RETAINING_H

#include <stdint.h>

#include "base/slice.h"

struct durable;
struct msg;
struct shard;

/* The change of that order: m, or that there is none any more (NULL). */
void retaining_keep(
    struct shard *sh, uint64_t order, struct slice topic, struct msg *m);
void retaining_fini(struct durable *d);

#endif
