/* SPDX-License-Identifier: Apache-2.0
 * clienthello - is a whole ClientHello there, and if not TLS, what is it?
 *
 * Owns:    nothing; borrows from the input or from the work array.
 * Threads: any.
 * Bounds:  HELLO_MAX bytes of message, HELLO_RAW_MAX with record headers.
 * Spec:    RFC 8446 4.1.2, 5.1; RFC 6066 3.
 */
#ifndef NJ_NET_CLIENTHELLO_H
#define NJ_NET_CLIENTHELLO_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define HELLO_MAX     (16 * 1024)
#define HELLO_RAW_MAX (HELLO_MAX + 64 * 5)

struct hello {
	uint16_t max_version; /* highest offered, 0x0304 is TLS 1.3; 0:
				 * could not be read */
	struct slice sni;     /* the host asked for; may be empty */
};

/*
 * NJ_AGAIN until the hello is whole; NJ_PROTOCOL when these bytes cannot
 * become one, with *why saying what they look like; NJ_TOOBIG past the
 * bounds.  work is used when the hello comes in several records; it holds at
 * least HELLO_MAX bytes.
 */
NJ_MUST enum nj_err hello_parse(
    struct slice in, uint8_t *work, struct hello *out, struct nj_why *why);

#endif
