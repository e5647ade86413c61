/* SPDX-License-Identifier: Apache-2.0
 * wsclient - a client's end of MQTT over WebSocket, as a stream over another
 *            one (TCP or TLS).
 *
 * Owns:    the inner stream, and with it the descriptor.
 * Threads: as stream.h.
 * Bounds:  HTTP_HEAD_MAX bytes of answer; one frame of WSC_FRAME_MAX bytes
 *          and the answers to control frames are kept unsent.
 * Errors:  as stream.h; NJ_PROTOCOL when the answer or a frame cannot be
 *          accepted, or the server ended the WebSocket with an error's code,
 *          with the reason in stream_why.
 * Trust:   the server is not trusted.
 * Spec:    RFC 6455, the client's part; MQTT 5.0 6.0.
 */
#ifndef NJ_NET_WSCLIENT_H
#define NJ_NET_WSCLIENT_H

#include "net/stream.h"

#define WSC_FRAME_MAX (32 * 1024)
#define WSC_PATH      "/mqtt"

/*
 * Takes *inner over on success.  host is what the Host field says ("[::1]:9001");
 * NJ_INVALID when it cannot stand there.  stream_handshake ends the inner
 * stream's first.
 */
NJ_MUST enum nj_err
stream_wsc_new(struct stream **inner, const char *host, struct stream **out);

#endif
