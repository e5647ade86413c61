/* SPDX-License-Identifier: Apache-2.0
 * httptext - the words that heads of HTTP are made of, for http.h and httpreq.h.
 *
 * Threads: pure.
 * Spec:    RFC 9110 5.5, 5.6.
 */
#ifndef NJ_WIRE_HTTPTEXT_H
#define NJ_WIRE_HTTPTEXT_H

#include <stdbool.h>

#include "base/slice.h"

bool http_is_letter(uint8_t c);
bool http_is_digit(uint8_t c);
bool http_is_blank(uint8_t c);
/* The same word, whatever its case. */
bool http_is_word(struct slice s, const char *lit);
bool http_is_token(struct slice s);
/* No controls; 0x80 and above may stand in a value, nobody looks at them. */
bool http_is_text(struct slice s);
struct slice http_trim(struct slice s);
/* What stands before the first c, which is consumed too; false without. */
bool http_cut(struct slice *s, uint8_t c, struct slice *before);

#endif
