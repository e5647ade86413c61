/* SPDX-License-Identifier: Apache-2.0
 * wskey - the proof that a WebSocket server has read the client's key.
 *
 * Owns:    the digest, once for all.
 * Threads: any.
 * Spec:    RFC 6455 4.1, 4.2.2.
 */
#ifndef NJ_NET_WSKEY_H
#define NJ_NET_WSKEY_H

#include "base/err.h"
#include "base/slice.h"

#define WS_ACCEPT_SIZE 32 /* 28 characters and the NUL */

/* key has HTTP_KEY_LEN bytes.  NJ_CRYPTO: SHA-1 is not available. */
NJ_MUST enum nj_err ws_accept_of(struct slice key, char dst[WS_ACCEPT_SIZE]);
/* A new key; HTTP_KEY_LEN characters and the NUL. */
void ws_new_key(char *dst, size_t size);

#endif
