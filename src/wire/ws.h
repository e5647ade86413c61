/* SPDX-License-Identifier: Apache-2.0
 * ws - WebSocket frames: what the peer sent is checked, unmasked in place and
 *      stripped of its frames as it arrives; frames to it are written.
 *
 * Owns:    nothing; a zeroed struct ws_in with its max set is ready.
 * Threads: pure.
 * Bounds:  max bytes of a message, WS_CONTROL_MAX of a control frame,
 *          WS_EMPTY_MAX data frames without a byte one after the other.
 *          Nothing is gathered but a control frame, so that a message costs
 *          no memory here.
 * Spec:    RFC 6455 5, 7.4; MQTT 5.0 6.0.
 */
#ifndef NJ_WIRE_WS_H
#define NJ_WIRE_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define WS_CONTROL_MAX 125
#define WS_HEAD_IN_MAX 14
#define WS_HEAD_MAX    10 /* a server's: no masking key */
#define WS_KEY_LEN     4  /* of a masking key */
#define WS_EMPTY_MAX   128

enum ws_op {
	WS_CONTINUATION = 0,
	WS_TEXT = 1,
	WS_BINARY = 2,
	WS_CLOSE = 8,
	WS_PING = 9,
	WS_PONG = 10
};

enum ws_code {
	WS_CODE_NORMAL = 1000,
	WS_CODE_GOING = 1001,
	WS_CODE_PROTOCOL = 1002,
	WS_CODE_NOT_BINARY = 1003,
	WS_CODE_NONE = 1005, /* never sent: a Close without a code */
	WS_CODE_NOT_UTF8 = 1007,
	WS_CODE_POLICY = 1008,
	WS_CODE_TOO_BIG = 1009,
	WS_CODE_INTERNAL = 1011,
	WS_CODE_BUSY = 1013
};

/* One direction's receiving end. */
struct ws_in {
	uint64_t max;	/* bytes of a message; set by the owner */
	uint64_t left;	/* payload of this frame still to come */
	uint64_t whole; /* payload of this message so far, frames to come too */
	uint32_t empty; /* data frames without payload since the last byte */
	uint8_t head[WS_HEAD_IN_MAX];
	uint8_t head_len;
	uint8_t mask[4]; /* turned, so that mask[0] is for the next byte */
	uint8_t op;	 /* of this frame */
	bool in_frame;	 /* head is whole, payload is not */
	bool in_message; /* its last frame has not begun */
	bool ended;	 /* a Close or a fault: nothing more is taken */
	bool client; /* we are one: frames come unmasked; set by the owner */
	uint8_t control_len;
	uint8_t control[WS_CONTROL_MAX];
};

/* What one call of ws_take found. */
struct ws_taken {
	size_t used; /* bytes of src */
	size_t n;    /* bytes of payload, now at dst */
	/* A whole control frame: the call ended behind it. */
	bool is_control;
	uint8_t op;
	struct slice control; /* borrows from the struct ws_in */
	uint16_t code;	      /* WS_CLOSE: its code; a fault: ours */
	const char *why;      /* a fault in words, else NULL */
};

/*
 * Takes src until it ends or a control frame was whole.  Payload of data
 * frames goes to dst, which is src, a place before it in the same array, or
 * another array of at least n bytes.  NJ_PROTOCOL: out->code and out->why say
 * what is wrong, out->n bytes before that are good, and nothing may be taken
 * any more.
 */
NJ_MUST enum nj_err ws_take(struct ws_in *w, uint8_t *dst, const uint8_t *src,
    size_t n, struct ws_taken *out);

/* The head of an unmasked, last frame, in its shortest form; its length. */
size_t ws_head(uint8_t dst[WS_HEAD_MAX], enum ws_op op, uint64_t len);
/* The same of a client's frame, with its masking key. */
size_t ws_head_masked(uint8_t dst[WS_HEAD_IN_MAX], enum ws_op op, uint64_t len,
    const uint8_t key[WS_KEY_LEN]);
/* Masks n bytes from the first of a frame's payload on. */
void ws_mask(
    uint8_t *dst, const uint8_t *src, size_t n, const uint8_t key[WS_KEY_LEN]);
/* Head and payload of a control frame, cut to WS_CONTROL_MAX; its length. */
size_t ws_control(
    uint8_t dst[2 + WS_CONTROL_MAX], enum ws_op op, struct slice payload);
/* A Close with a reason, or without any payload for WS_CODE_NONE. */
size_t
ws_close(uint8_t dst[2 + WS_CONTROL_MAX], uint16_t code, const char *why);

#endif
