/* SPDX-License-Identifier: Apache-2.0
 * frame - cuts one MQTT control packet off the front of received bytes.
 *
 * Owns:    nothing; the body borrows from the input.
 * Threads: pure.
 * Bounds:  the caller's maximum packet size, known from the fixed header
 *          before a byte of the body is waited for.
 * Spec:    MQTT 5.0 2.1, 1.5.5.
 */
#ifndef NJ_WIRE_FRAME_H
#define NJ_WIRE_FRAME_H

#include "base/slice.h"
#include "wire/mqtt.h"

struct frame {
	uint8_t type;  /* enum mqtt_type, 1..15 */
	uint8_t flags; /* low four bits of the first byte */
	uint32_t size; /* of the whole packet, fixed header included */
	struct slice body;
};

/*
 * NJ_OK consumes the packet from *in.  NJ_AGAIN: not whole yet; out->size is
 * the whole packet's size, or 0 while it is not known.  NJ_TOOBIG: the packet
 * is larger than max (0: no limit but the protocol's); out->type is set.
 * NJ_MALFORMED: type 0, a length of five bytes or one not in its shortest
 * form [MQTT-1.5.5-1], or fixed-header flags the type does not allow
 * [MQTT-2.1.3-1] (PUBLISH flags are left to decode_publish).
 */
NJ_MUST enum nj_err
frame_take(struct slice *in, uint32_t max, struct frame *out);

/* For connections of MQTT 3.1, whose clients set DUP on a PUBREL, SUBSCRIBE or
 * UNSUBSCRIBE that they send again, and whose other flags are free. */
NJ_MUST enum nj_err
frame_take_31(struct slice *in, uint32_t max, struct frame *out);

/* 1.5.5 variable byte integer; NJ_MALFORMED unless in its shortest form. */
NJ_MUST enum nj_err take_varint(struct slice *s, uint32_t *out);
static inline unsigned
varint_size(uint32_t v)
{
	return v < 128 ? 1 : v < 16384 ? 2 : v < 2097152 ? 3 : 4;
}
/* Writes varint_size(v) bytes at p; returns the byte after them. */
uint8_t *varint_write(uint8_t *p, uint32_t v);

#endif
