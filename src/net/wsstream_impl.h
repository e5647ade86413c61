/* SPDX-License-Identifier: Apache-2.0
 * wsstream_impl - what the two files of WebSocket share: wsupgrade.c has the
 *                 request and the choice between MQTT and WebSocket,
 *                 wsstream.c the frames.
 *
 * Owns:    see wsstream.h.
 * Threads: as stream.h.
 */
#ifndef NJ_NET_WSSTREAM_IMPL_H
#define NJ_NET_WSSTREAM_IMPL_H

#include "base/buf.h"
#include "net/stream_impl.h"
#include "net/wsstream.h"
#include "wire/ws.h"

enum ws_phase {
	WS_INNER,  /* the inner handshake */
	WS_FIRST,  /* of MQTT or of a request: the first byte will tell */
	WS_HEAD,   /* the request */
	WS_OPEN,   /* frames */
	WS_ENDED,  /* a Close came */
	WS_FAILED, /* why is told */
};

struct ws_stream {
	struct stream base;
	struct stream *inner;
	char *origins;	   /* until the request was judged */
	struct buf in;	   /* the request; then what came behind it */
	struct buf out;	   /* to be sent before anything else */
	struct buf later;  /* control frames, once owed is 0 */
	uint32_t owed;	   /* bytes that the frame being sent lacks */
	uint32_t max_head; /* bytes of a request */
	uint8_t phase;	   /* enum ws_phase */
	uint8_t next;	   /* phase once the data before it was read */
	bool mqtt_too;	   /* a client without WebSocket is welcome */
	bool closing;	   /* our Close is sent, or about to be */
	bool shut;	   /* the inner stream was told to end */
	bool gone;	   /* the client ended without a Close */
	uint16_t code; /* of a fault, or a Close, not told or answered yet */
	const char *fault; /* in words */
	struct ws_in rx;
};

static inline struct ws_stream *
ws_of(struct stream *s)
{
	return (struct ws_stream *)s;
}

static inline const struct ws_stream *
cws_of(const struct stream *s)
{
	return (const struct ws_stream *)s;
}

/* wsstream.c */

extern const struct stream_ops ws_ops;

/* The inner stream's failure is ours. */
NJ_MUST enum nj_err ws_inner_failed(struct ws_stream *s, enum nj_err e);
/* Bytes that came behind the request, then the inner stream's. */
NJ_MUST enum nj_err
ws_receive(struct ws_stream *s, uint8_t *dst, size_t cap, size_t *n);
/* What must leave before the next byte of data. */
NJ_MUST enum nj_err ws_send_kept(struct ws_stream *s);
/* Closing with bytes unread resets the connection, and the client may never
 * see what it was told. */
void ws_drain(struct ws_stream *s);
void ws_free(struct stream *base);

/* wsupgrade.c */

NJ_MUST enum nj_err ws_handshake(struct stream *base);

#endif
