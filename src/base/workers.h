/* SPDX-License-Identifier: Apache-2.0
 * workers - a small pool of threads for what must not run on a shard:
 *           password hashing, name look-ups, signing.
 *
 * Owns:    queued jobs until run; a job is embedded in the caller's request.
 * Threads: workers_submit from any.  run is called on a worker; it hands its
 *          result back itself (a letter to the shard's mailbox).
 * Bounds:  max_queued jobs, then NJ_FULL.
 */
#ifndef NJ_BASE_WORKERS_H
#define NJ_BASE_WORKERS_H

#include <stddef.h>

#include "base/err.h"

struct job {
	struct job *next;
	void (*run)(struct job *j);
};

struct workers;

NJ_MUST enum nj_err
workers_new(unsigned threads, size_t max_queued, struct workers **out);
/* Runs what is queued, then ends the threads. */
void workers_free(struct workers *w);
NJ_MUST enum nj_err workers_submit(struct workers *w, struct job *j);

#endif
