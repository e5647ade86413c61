/* SPDX-License-Identifier: Apache-2.0
 * stream_impl - what a transport provides; for the transports only.
 *
 * Owns:    a transport embeds struct stream as its first member and frees the
 *          whole in its own free.
 * Threads: as stream.h.
 */
#ifndef NJ_NET_STREAM_IMPL_H
#define NJ_NET_STREAM_IMPL_H

#include "net/stream.h"

struct stream_ops {
	enum nj_err (*handshake)(struct stream *s);
	enum nj_err (*read)(
	    struct stream *s, uint8_t *dst, size_t cap, size_t *n);
	enum nj_err (*write)(
	    struct stream *s, const uint8_t *src, size_t len, size_t *n);
	enum nj_err (*writev)(
	    struct stream *s, const struct iovec *iov, int cnt, size_t *n);
	enum nj_err (*flush)(struct stream *s);
	bool (*pending)(const struct stream *s);
	unsigned (*wants)(const struct stream *s);
	void (*shutdown)(struct stream *s);
	void (*move)(struct stream *s, struct stream_scratch *scratch);
	const struct tls_peer *(*tls)(const struct stream *s);
	void (*free)(struct stream *s);
};

struct stream {
	const struct stream_ops *ops;
	struct nj_why *why; /* made at the first failure */
	int fd;
	uint16_t end_code; /* stream_end_code; 0: none was given */
	bool from_page;	   /* see stream_from_page */
};

#define SCRATCH_IN  (80 * 1024)	      /* ciphertext of one receive */
#define SCRATCH_OUT STREAM_UNSENT_MAX /* records gathered for one send */

/* Everything here is in use only inside one call on one stream. */
struct stream_scratch {
	struct bio_st *bio;		/* OpenSSL's way in and out, shared */
	struct stream *cur;		/* whose call it is */
	size_t in_at, in_whole, in_end; /* consumed, end of whole records,
					 * end of bytes */
	size_t out_len;
	uint8_t *in;	/* SCRATCH_IN */
	uint8_t *out;	/* SCRATCH_OUT */
	uint8_t *plain; /* TLS_PLAIN_MAX: many small pieces made one */
};

/* The stream's own why, cleared; a shared "out of memory" one cannot be
 * written, so NULL then. */
struct nj_why *stream_why_new(struct stream *s);
/* One system call each, with errno turned into the stream's error. */
NJ_MUST enum nj_err
stream_recv(struct stream *s, uint8_t *dst, size_t cap, size_t *n);
NJ_MUST enum nj_err
stream_send(struct stream *s, const uint8_t *src, size_t len, size_t *n);

#endif
