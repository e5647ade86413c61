/* SPDX-License-Identifier: Apache-2.0
 * stream - a connected byte stream: TCP or Unix socket, TLS over it,
 *          WebSocket over either (wsstream.h).  Non-blocking.
 *
 * Owns:    the descriptor and everything the transport needs.
 * Threads: one owner at a time; stream_move hands it to another thread.
 * Bounds:  what a transport may hold unsent: STREAM_UNSENT_MAX bytes.
 * Errors:  NJ_AGAIN nothing now (wait for what stream_wants says); NJ_EOF
 *          orderly end; NJ_IO with errno; NJ_TLS, and NJ_PROTOCOL of WebSocket,
 *          with the reason in stream_why.
 */
#ifndef NJ_NET_STREAM_H
#define NJ_NET_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/slice.h"

#define STREAM_UNSENT_MAX (64 * 1024)

struct stream;
struct tls_peer;

/* Buffers one thread lends to all its streams: received ciphertext and
 * gathered records live here, not in each connection. */
struct stream_scratch;
NJ_MUST enum nj_err stream_scratch_new(struct stream_scratch **out);
void stream_scratch_free(struct stream_scratch *s);

/* Takes fd over on success. */
NJ_MUST enum nj_err stream_tcp_new(int fd, struct stream **out);
/* What waits in a plain stream's socket, and stays there. */
NJ_MUST enum nj_err
stream_peek(struct stream *s, uint8_t *dst, size_t cap, size_t *n);
/* Frees it and leaves the descriptor, which is another's now, open. */
void stream_leave(struct stream *s);
/* Closes without ceremony when the transport's end was not sent yet. */
void stream_free(struct stream *s);
int stream_fd(const struct stream *s);

/* To be called by the new owner before its first use. */
void stream_move(struct stream *s, struct stream_scratch *scratch);

/* TCP: NJ_OK at once.  TLS: goes on until NJ_OK.  Nothing is allocated for
 * TLS on a server before a whole ClientHello has arrived. */
NJ_MUST enum nj_err stream_handshake(struct stream *s);
/* *n > 0 on NJ_OK.  May return less than there is: read again until NJ_AGAIN
 * or until *n < cap and !stream_pending. */
NJ_MUST enum nj_err
stream_read(struct stream *s, uint8_t *dst, size_t cap, size_t *n);
/* Takes as much as it can; *n accepted bytes (the transport sends them or
 * keeps them).  NJ_AGAIN when nothing was accepted. */
NJ_MUST enum nj_err
stream_write(struct stream *s, const uint8_t *src, size_t len, size_t *n);
/* The same for pieces; TLS makes few records of many pieces.  cnt <= 1024. */
NJ_MUST enum nj_err
stream_writev(struct stream *s, const struct iovec *iov, int cnt, size_t *n);
/* Sends what the transport kept; NJ_OK when nothing is left. */
NJ_MUST enum nj_err stream_flush(struct stream *s);
/* Received bytes wait inside the transport: read without waiting.  To be
 * asked after stream_handshake too: the peer's first bytes may have come
 * together with the end of its handshake. */
bool stream_pending(const struct stream *s);
/* LOOP_IN | LOOP_OUT the transport itself needs now (a handshake that must
 * write, kept bytes). */
unsigned stream_wants(const struct stream *s);
/* Acknowledges what was received at once instead of waiting for something to
 * send along (TCP_QUICKACK); nothing on other sockets. */
void stream_ack_now(struct stream *s);
/* Sends the transport's end (close_notify), best effort. */
void stream_shutdown(struct stream *s);
/* What that end says where it can say something: the code of a WebSocket's
 * Close (RFC 6455 7.4), 1000 when none was given. */
void stream_end_code(struct stream *s, uint16_t code);
/* A web page speaks: what its browser adds by itself, like a certificate, need
 * not be its person's will. */
bool stream_from_page(const struct stream *s);

/* Why the last call failed; never NULL. */
const struct nj_why *stream_why(const struct stream *s);
/* NULL on a plain stream, and before the handshake has ended. */
const struct tls_peer *stream_tls(const struct stream *s);
/* For the plain side: these first bytes are a TLS client's hello. */
bool stream_looks_like_tls(struct slice first_bytes);

#endif
