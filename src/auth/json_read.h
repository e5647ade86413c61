/* SPDX-License-Identifier: Apache-2.0
 * json_read - JSON text, taken apart by jansson, but never in part.
 *
 * jansson's reader (2.14) does not look whether there was memory for the next
 * byte of a name or a string: it goes on without it, so that a rule would be
 * another one, or reads on behind its end.  So what was read while an
 * allocation failed is thrown away, and there is an end behind each.
 *
 * Threads: json_read_setup before any other; json_read any.
 */
#ifndef NJ_AUTH_JSON_READ_H
#define NJ_AUTH_JSON_READ_H

#include <jansson.h>

#include "base/slice.h"

/* Once: without it allocations that fail are not noticed, and what is freed is
 * not wiped. */
void json_read_setup(void);
/* As json_loadb; NULL without memory, too. */
json_t *json_read(struct slice text, size_t flags, json_error_t *fault);

#endif
