/* SPDX-License-Identifier: Apache-2.0
 * base64 - RFC 4648 section 4, strict: no blanks, no stray bits, padding as
 *          it was asked for.
 *
 * Threads: pure.
 */
#ifndef NJ_AUTH_BASE64_H
#define NJ_AUTH_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

/* Characters that n bytes take, padding included. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4)

/* NJ_MALFORMED, or NJ_TOOBIG when more than room bytes come out. */
NJ_MUST enum nj_err base64_decode(
    struct slice text, bool padded, uint8_t *out, size_t room, size_t *n);
/* Returns the characters written; dst has room for BASE64_SIZE(s.n). */
size_t base64_encode(char *dst, struct slice s, bool padded);

#endif
