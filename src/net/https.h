/* SPDX-License-Identifier: Apache-2.0
 * https - one HTTPS request, waited for; for enrolment.
 *
 * Owns:    nothing that stays.
 * Threads: any; blocks.
 * Bounds:  HTTP_HEAD_MAX (httphear.h) and HTTPS_BODY_MAX bytes of answer,
 *          timeout_ms in all (but for the resolver's own patience).
 * Spec:    RFC 9112; RFC 7030 3.2, 3.3.
 */
#ifndef NJ_NET_HTTPS_H
#define NJ_NET_HTTPS_H

#include <openssl/x509.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define HTTPS_BODY_MAX (512 * 1024)

struct https_opts {
	const char *host;
	uint16_t port;
	/* Whom the server's certificate must be of; NULL: it is not looked at,
	 * and nothing that is secret may be said. */
	STACK_OF(X509) * trust;
	X509 *cert;		/* what is shown; NULL: none */
	STACK_OF(X509) * chain; /* what is between it and the root */
	EVP_PKEY *key;
	int timeout_ms;
};

struct https_result {
	unsigned status, retry_after;
	struct buf body; /* the caller frees it */
};

/* more: header lines, each with its end, or "". */
NJ_MUST enum nj_err https_do(const struct https_opts *o, const char *method,
    const char *path, const char *more, struct slice body,
    struct https_result *out, struct nj_why *why);

#endif
