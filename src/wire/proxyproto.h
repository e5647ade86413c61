/* SPDX-License-Identifier: Apache-2.0
 * proxyproto - the header by which a proxy tells whom it speaks for.
 *
 * Owns:    nothing; slices borrow from the input.
 * Threads: pure.
 * Bounds:  PROXY_V1_MAX bytes a line, PROXY_V2_MAX a binary header.
 * Spec:    "The PROXY protocol, versions 1 & 2" (haproxy.org).
 */
#ifndef NJ_WIRE_PROXYPROTO_H
#define NJ_WIRE_PROXYPROTO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PROXY_V1_MAX 107 /* 2.1: the longest line, CR LF included */
#define PROXY_V2_MIN 16	 /* signature, version and command, family, length */
/* The standard would let a header be 64 KiB long; real ones, with a client's
 * certificate in them, are not. */
#define PROXY_V2_MAX 8192

enum proxy_family {
	PROXY_OWN, /* nobody is named: the connection's own addresses hold */
	PROXY_IP4,
	PROXY_IP6,
	PROXY_UNIX
};

struct proxy_head {
	enum proxy_family family;
	bool local;	 /* the proxy speaks for itself (a health check) */
	uint8_t src[16]; /* 4 or 16 bytes of it */
	uint8_t dst[16];
	uint16_t src_port, dst_port;
	struct slice src_path; /* of PROXY_UNIX; mostly empty */
	/* What it tells of TLS (2.2.5); empty where it tells nothing. */
	bool tls;  /* the client came to the proxy over TLS */
	bool cert; /* with a certificate that the proxy found good */
	struct slice tls_version, cipher, cn;
	struct slice alpn, authority, unique_id;
};

/*
 * version is what the listener expects, 1 or 2.  NJ_OK: *used bytes are the
 * header.  NJ_AGAIN: more is needed; *used is how many bytes are part of the
 * header for certain, so that a version 2 reader who never takes more than
 * that takes nothing of what follows.  NJ_PROTOCOL: *why says in words what
 * is wrong (static).
 */
NJ_MUST enum nj_err proxy_parse(struct slice in, unsigned version,
    struct proxy_head *out, size_t *used, const char **why);

#endif
