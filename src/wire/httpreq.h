/* SPDX-License-Identifier: Apache-2.0
 * httpreq - HTTP requests with a body, as enrolment has them, and for our own
 *           client the answers to them.
 *
 * Owns:    nothing; slices borrow from the input.
 * Threads: pure.
 * Bounds:  max bytes of head; HTTPREQ_FIELDS_MAX fields; the body is the
 *          caller's to bound, by length.
 * Rule:    strict, as http.h: CRLF only, no folded lines, no blank before a
 *          colon, nothing twice that may stand once, a body only with
 *          Content-Length.
 * Spec:    RFC 9112 2-6.
 */
#ifndef NJ_WIRE_HTTPREQ_H
#define NJ_WIRE_HTTPREQ_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

#define HTTPREQ_FIELDS_MAX 64
#define HTTPREQ_LENGTH_MAX 0x7fffffffu

struct http_request {
	struct slice method, target, host, authorization, type;
	size_t length;		  /* of the body */
	bool has_length, expects; /* Expect: 100-continue */
	/* Not NJ_OK: the status to answer with, and why. */
	unsigned status;
	const char *why;
};

/* NJ_OK consumes the head.  NJ_AGAIN: not whole yet.  NJ_PROTOCOL: out->status
 * (0: no HTTP at all) and out->why. */
NJ_MUST enum nj_err
http_take_request(struct slice *in, size_t max, struct http_request *out);

struct http_response {
	unsigned status;
	size_t length;
	bool has_length;      /* else the body ends with the connection */
	unsigned retry_after; /* seconds; 0: not said */
};

/* The same of an answer. */
NJ_MUST enum nj_err
http_take_response(struct slice *in, size_t max, struct http_response *out);

/* "Basic dXNlcjpwYXNz": what stands after the scheme, if that is it. */
bool http_credentials(
    struct slice authorization, const char *scheme, struct slice *out);

#endif
