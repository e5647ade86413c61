/* SPDX-License-Identifier: Apache-2.0
 * http - the one HTTP request that is understood, GET with an upgrade to
 *        WebSocket, and for our own clients the answer to it.
 *
 * Owns:    nothing; slices borrow from the input.
 * Threads: pure.
 * Bounds:  max bytes of head, HTTP_HEAD_MAX at most; HTTP_FIELDS_MAX fields.
 * Rule:    strict, so that a proxy in front cannot see another request in the
 *          same bytes: CRLF only, no folded lines, no blank before a colon,
 *          nothing twice that may stand once, no body.
 * Spec:    RFC 9112 2-5; RFC 6455 4.2; MQTT 5.0 6.0.
 */
#ifndef NJ_WIRE_HTTP_H
#define NJ_WIRE_HTTP_H

#include "base/err.h"
#include "base/slice.h"

#define HTTP_HEAD_MAX	65535 /* a caller's bound is at most this */
#define HTTP_HEAD_USUAL 8192
#define HTTP_FIELDS_MAX 64
#define HTTP_KEY_LEN	24 /* of Sec-WebSocket-Key */

struct http_upgrade {
	struct slice target, host;
	struct slice origin;  /* p is NULL without one */
	struct slice key;     /* HTTP_KEY_LEN bytes */
	const char *protocol; /* the one to answer with */
	/* Not NJ_OK: the status to answer with, and why. */
	unsigned status;
	const char *why;
};

/*
 * NJ_OK consumes the request's head from *in, max bytes at most.  NJ_AGAIN:
 * not whole yet; another line may say more, and the first byte always does.
 * NJ_PROTOCOL: out->status and out->why say what is wrong; what begins like
 * no HTTP at all has the status 0, and is found at its first byte.
 */
NJ_MUST enum nj_err
http_take_upgrade(struct slice *in, size_t max, struct http_upgrade *out);

struct http_answer {
	unsigned status; /* 0: none was read */
	const char *why;
};

/*
 * NJ_OK consumes the head of a server's answer that agrees to WebSocket, with
 * the subprotocol mqtt, no extension, and accept for our key.  NJ_AGAIN: not
 * whole yet.  NJ_PROTOCOL: out->why says what is wrong.
 */
NJ_MUST enum nj_err
http_take_answer(struct slice *in, const char *accept, struct http_answer *out);

/* "Bad Request" */
const char *http_phrase(unsigned status);

#endif
