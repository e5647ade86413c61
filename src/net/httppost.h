/* SPDX-License-Identifier: Apache-2.0
 * httppost - one question by plain HTTP, waited for: as OCSP has it, where the
 *            answer is signed.  No redirection is followed.
 *
 * Owns:    nothing that stays.
 * Threads: any; blocks.
 * Bounds:  HTTP_HEAD_MAX bytes of head (httphear.h), max of body, timeout_ms
 *          in all (but for the resolver's own patience).
 * Spec:    RFC 9112, RFC 6960 A.1.
 */
#ifndef NJ_NET_HTTPPOST_H
#define NJ_NET_HTTPPOST_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define HTTP_URL_HOST 256
#define HTTP_URL_PATH 1024

struct http_url {
	char host[HTTP_URL_HOST]; /* without brackets */
	uint16_t port;
	char path[HTTP_URL_PATH];
};

/* "http://host[:port][/path]"; NJ_INVALID: another scheme, a user, or anything
 * that is no plain text. */
NJ_MUST enum nj_err http_url_parse(const char *text, struct http_url *out);

/* NJ_OK: the answer's status was 200. */
NJ_MUST enum nj_err
http_post(const struct http_url *u, const char *type, struct slice body,
    size_t max, int timeout_ms, struct buf *out, struct nj_why *why);

#endif
