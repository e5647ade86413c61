/* SPDX-License-Identifier: Apache-2.0
 * base64url - RFC 4648 section 5 without padding, as JSON Web Tokens have it;
 *             strict: no blanks, no stray bits.
 *
 * Threads: pure.
 */
#ifndef NJ_AUTH_BASE64URL_H
#define NJ_AUTH_BASE64URL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

/* Bytes that n characters are, at most. */
#define BASE64URL_BYTES(n) ((n) / 4 * 3 + 2)

/* NJ_MALFORMED, or NJ_TOOBIG when more than room bytes come out. */
NJ_MUST enum nj_err
base64url_decode(struct slice text, uint8_t *out, size_t room, size_t *n);

#endif
