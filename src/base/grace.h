/* SPDX-License-Identifier: Apache-2.0
 * grace - frees what readers may still see in their turn, on the thread that
 *         took it out of their sight, as soon as each has begun another turn.
 *
 * Every reader has a seat and works in turns, at whose end it holds nothing that
 * it has only seen.  What a turn has retired belongs to the epoch that begins
 * when that turn ends; a turn of another seat that begins in that epoch or a
 * later one finds none of it.  So it is freed when all other seats have come to
 * that epoch, or are empty.
 *
 * No thread but those of the readers has to do with it, none is woken, and a
 * block is freed where it was made, while it is in the cache: for what is
 * replaced with every message.  What a letter between threads may name as well
 * is not for this (broker/fence.h).
 *
 * Owns:    what was retired.
 * Threads: a seat is one thread's at a time.
 * Bounds:  a turn frees GRACE_FREES blocks and as many as it has retired, so
 *          that what waits does not grow for want of turns.  How much waits for
 *          a reader whose turn is long is told (grace_waits).
 */
#ifndef NJ_BASE_GRACE_H
#define NJ_BASE_GRACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define GRACE_FREES 2048

struct grace;

/* All seats are empty. */
NJ_MUST enum nj_err grace_new(unsigned seats, struct grace **out);
/* Frees what waits, too: no reader may be left. */
void grace_free(struct grace *g);

/* Sits down, unless it sits already: before anything is read. */
void grace_enter(struct grace *g, unsigned seat);
/* Gets up, between turns. */
void grace_leave(struct grace *g, unsigned seat);
/* In a turn of the seat, when readers that begin now do not find p any more.
 * size is what it counts.  False: there is no memory to note it. */
bool grace_retire(struct grace *g, unsigned seat, void (*free_fn)(void *),
    void *p, size_t size);
/* The turn ends. */
void grace_turn(struct grace *g, unsigned seat);
/* Bytes that earlier turns of the seat have retired, and which are not freed. */
size_t grace_waits(const struct grace *g, unsigned seat);

#endif
