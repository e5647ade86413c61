/* SPDX-License-Identifier: Apache-2.0
 * wsstream - a broker's end of MQTT over WebSocket, as a stream over another
 *            one (TCP or TLS).
 *
 * Owns:    the inner stream, and with it the descriptor.
 * Threads: as stream.h.
 * Bounds:  max_head bytes of request, and what wire/ws.h has; to be sent are
 *          kept at most two control frames and the head of a data frame.
 * Errors:  as stream.h; NJ_PROTOCOL when the request or a frame was refused,
 *          with the reason in stream_why.  The client was told already.
 * Spec:    RFC 6455; MQTT 5.0 6.0.
 */
#ifndef NJ_NET_WSSTREAM_H
#define NJ_NET_WSSTREAM_H

#include "net/stream.h"

struct ws_opts {
	/* Origins that may connect, one a line; NULL: any.  Clients that send
	 * none are no browsers, and not what the list is about. */
	const char *origins;
	uint64_t max_message; /* bytes in one message; 0: no limit */
	uint32_t max_head;    /* bytes of the request; 0: HTTP_HEAD_USUAL */
	/* MQTT without WebSocket is served too: ALPN tells, or the first byte,
	 * which the handshake waits for. */
	bool mqtt_too;
};

/*
 * Takes *inner over on success.  stream_handshake ends the inner stream's
 * first.  A write of which only a part was accepted has begun a frame: the
 * next one must go on where it stopped, as callers of a stream do anyway.
 */
NJ_MUST enum nj_err stream_ws_new(
    struct stream **inner, const struct ws_opts *o, struct stream **out);

#endif
