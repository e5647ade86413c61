/* SPDX-License-Identifier: Apache-2.0
 * giveback - free memory of this thread's heap goes back to the system, a
 *            little at a time.
 *
 * When thousands of connections have ended their memory is free, but glibc
 * gives it back only from the end of a heap, where some small thing that
 * still lives holds all of it.  malloc_trim() does it in one go, some tens of
 * milliseconds for 100 MiB, with the heap locked.  So pieces of what is free are taken out, their pages handed to
 * the system, and once no more are found whose pages are there, all of them are
 * freed again.
 *
 * Owns:    the pieces, until it is done.
 * Threads: the one whose memory it is.
 * Bounds:  GIVEBACK_STEP bytes a step; pieces below the size from which malloc
 *          maps memory of its own.
 */
#ifndef NJ_BASE_GIVEBACK_H
#define NJ_BASE_GIVEBACK_H

#include <stdbool.h>
#include <stddef.h>

#define GIVEBACK_STEP ((size_t)1024 * 1024)

struct giveback {
	struct giveback_piece *held;
	unsigned pass;	 /* which size */
	unsigned absent; /* pieces in a row whose pages were not there */
};

/* One step; false: it is done, and holds nothing. */
bool giveback_step(struct giveback *g);
/* Ends it at once. */
void giveback_end(struct giveback *g);
/* Hands the whole pages of a block of malloc that lie between to the system: zeros
 * are in them when they are looked at again.  To free it costs less then. */
void giveback_pages(void *from, void *to);
/* Bytes that all threads hold now: not in use, though malloc counts them. */
size_t giveback_held(void);

#endif
