/* SPDX-License-Identifier: Apache-2.0
 * homes - from which addresses names have come in, so that who guesses at a
 *         name elsewhere does not lock out those whose it is.
 *
 * Owns:    its table.
 * Threads: any, without locks.
 * Bounds:  HOMES_MAX pairs of name and address; past that one of those that
 *          share a place is forgotten.
 */
#ifndef NJ_AUTH_HOMES_H
#define NJ_AUTH_HOMES_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

#define HOMES_MAX 65536u

struct homes;

NJ_MUST enum nj_err homes_new(struct homes **out);
void homes_free(struct homes *h); /* NULL is fine */
/* address: 4 or 16 bytes, of IPv6 the first 64 bits count; anything else is
 * this machine. */
void homes_add(struct homes *h, struct slice name, struct slice address);
bool homes_has(const struct homes *h, struct slice name, struct slice address);

#endif
