/* SPDX-License-Identifier: Apache-2.0
 * illdisk - a world whose store is on the disk that a test makes ill (disk.h), and
 *           has no thread of its own.
 *
 * Owns:    the disk, and the store's lock beside it; one at a time.
 * Threads: one.
 */
#ifndef NJ_TESTS_SCENARIO_ILLDISK_H
#define NJ_TESTS_SCENARIO_ILLDISK_H

#include "world.h"

/* A broker on an empty disk. */
void illdisk_begin(struct world *w, unsigned shards);
/* It stops, on a disk that is well. */
void illdisk_end(struct world *w);

#endif
