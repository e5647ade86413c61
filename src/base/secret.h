/* SPDX-License-Identifier: Apache-2.0
 * secret - bytes that must not be printed, swapped or left behind.
 *
 * Owns:    its bytes, in memory excluded from core dumps; wiped on free, and
 *          kept for the next ones or given back.
 * Threads: one owner.
 * Bounds:  SECRET_MAX bytes.
 */
#ifndef NJ_BASE_SECRET_H
#define NJ_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

#define SECRET_MAX 65536

struct secret; /* opaque, so that printing one does not compile */

NJ_MUST enum nj_err secret_new(struct slice bytes, struct secret **out);
/* The first line of a file (its end of line removed).  Refuses a file that
 * group or others may read, saying so in *why. */
NJ_MUST enum nj_err
secret_from_file(const char *path, struct secret **out, struct nj_why *why);
/* Asks at the terminal without echo; NJ_UNSUPPORTED when there is none. */
NJ_MUST enum nj_err secret_from_tty(const char *prompt, struct secret **out);
/* n characters of [A-Za-z0-9] from the kernel's random source. */
NJ_MUST enum nj_err secret_random(size_t n, struct secret **out);
void secret_free(struct secret *s);
/* For the one call that needs them. */
struct slice secret_bytes(const struct secret *s);
/* Constant time in the shorter length. */
bool secret_eq(struct slice a, struct slice b);
void secret_wipe(void *p, size_t n);

#endif
