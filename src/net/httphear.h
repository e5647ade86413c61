/* SPDX-License-Identifier: Apache-2.0
 * httphear - the answer to a request that our own clients made: its head, and
 *            its body to the length it names or to the end of the connection.
 *
 * Owns:    nothing that stays.
 * Threads: any; blocks as more() does.
 * Bounds:  HTTP_HEAD_MAX bytes of head, max of body.
 * Spec:    RFC 9112 6.3.
 */
#ifndef NJ_NET_HTTPHEAR_H
#define NJ_NET_HTTPHEAR_H

#include "base/buf.h"
#include "base/err.h"
#include "wire/httpreq.h"

#define HTTP_HEAD_MAX (16 * 1024)

/* Puts some bytes, 1 to room, at at.  NJ_EOF: the other side has ended, as it
 * should; any other error is handed on. */
typedef enum nj_err
http_more_fn(void *arg, uint8_t *at, size_t room, size_t *n);

/* The body is appended to body.  NJ_EOF: cut off; NJ_PROTOCOL: no HTTP;
 * NJ_TOOBIG: longer than max, or the length it names is. */
NJ_MUST enum nj_err http_hear(http_more_fn *more, void *arg, size_t max,
    struct http_response *out, struct buf *body);

#endif
