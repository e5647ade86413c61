/* SPDX-License-Identifier: Apache-2.0
 * keeper - a process that keeps the right to read files when a broker that was
 *          started by root gives up its own.
 *
 * Keys and certificates lie in folders that are closed to the user who serves.
 * They are read before root is dropped, and again on a reload: then this
 * process opens them.  It knows the paths from the start and is asked for them
 * by number, so that who takes the broker over can read these files, which it
 * had read anyhow, and no other: a path that others than root could lead
 * elsewhere, by a folder that they may write to, is not kept.  It has one
 * capability, reads nothing but numbers, and writes nothing.
 *
 * Owns:    one end of a socket pair, for the process's life, as the logger its
 *          file: file.h asks it where a path is closed.
 * Threads: keeper_start before others; keeper_open from any.
 * Bounds:  KEEPER_MAX paths, KEEPER_WAIT_MS for an answer.
 */
#ifndef NJ_BASE_KEEPER_H
#define NJ_BASE_KEEPER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define KEEPER_MAX     256
#define KEEPER_WAIT_MS 5000

struct keeper_paths {
	size_t n;
	char *v[KEEPER_MAX];
};
/* NULL and what is there already are passed over; NJ_FULL past KEEPER_MAX. */
NJ_MUST enum nj_err keeper_add(struct keeper_paths *p, const char *path);
void keeper_paths_fini(struct keeper_paths *p);

/* As root, before it is dropped: the process becomes that user.  Takes the
 * paths over. */
NJ_MUST enum nj_err
keeper_start(struct keeper_paths *p, const char *user, struct nj_why *why);
/* Open for reading; -1: nobody keeps it, or it is not there.  links: the path
 * may be a symbolic link. */
int keeper_open(const char *path, bool links) NJ_MUST;
void keeper_stop(void);

#endif
