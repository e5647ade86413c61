/* SPDX-License-Identifier: Apache-2.0
 * json - writing JSON text, and checking what others wrote.
 *
 * Owns:    nothing.
 * Threads: pure.
 * Bounds:  JSON_DEPTH levels of nesting, NJ_TOOBIG past it.
 * Spec:    RFC 8259.
 */
#ifndef NJ_CMD_JSON_H
#define NJ_CMD_JSON_H

#include <stdbool.h>

#include "base/buf.h"

#define JSON_DEPTH 100

/* A string with its quotes; bytes that are not UTF-8 become U+FFFD. */
NJ_MUST enum nj_err json_put_str(struct buf *b, struct slice s);
/* One value of any kind, white space around it allowed, written again without
 * any: NJ_MALFORMED, *b as it was, when it is not JSON. */
NJ_MUST enum nj_err json_put_value(struct buf *b, struct slice in);
/* Text that json_put_* made, over several lines: objects a member a line,
 * indented by tabs; arrays on one. */
NJ_MUST enum nj_err json_put_pretty(struct buf *b, struct slice in);

#endif
