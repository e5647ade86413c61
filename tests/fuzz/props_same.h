/* SPDX-License-Identifier: Apache-2.0
 * props_same - properties that were read are written again and compared.
 */
#ifndef NJ_TESTS_FUZZ_PROPS_SAME_H
#define NJ_TESTS_FUZZ_PROPS_SAME_H

#include "fuzz.h"
#include "wire/props.h"

/* Makes of p, as it was read, what writes the same: user properties and,
 * where there may be several, subscription identifiers go to extra, whose
 * bytes are in *b. */
void props_to_write(struct props *p, struct buf *b, enum props_in where);
/* Both as they were read. */
void props_check_same(const struct props *a, const struct props *b);

#endif
