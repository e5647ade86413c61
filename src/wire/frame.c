/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#define VARINT_BYTES 4

/*
 * What the low four bits of each type's first byte must be.  ANY: they mean
 * something there; NONE: the type itself is reserved (2.1.2).
 */
enum { FLAGS_ANY = 0xfe, FLAGS_NONE = 0xff };

static const uint8_t flags_wanted[16] = {
	[0] = FLAGS_NONE,
	[MQTT_PUBLISH] = FLAGS_ANY,
	[MQTT_PUBREL] = 0x02,	   /* [MQTT-3.6.1-1] */
	[MQTT_SUBSCRIBE] = 0x02,   /* [MQTT-3.8.1-1] */
	[MQTT_UNSUBSCRIBE] = 0x02, /* [MQTT-3.10.1-1] */
};

/*
 * Bytes that the integer takes; 0 when more are needed, -1 when it can become
 * none.  A last byte of zero behind others is a longer form than needed.
 */
static int
varint_scan(struct slice s, uint32_t *out)
{
	uint32_t v = 0;
	size_t n = s.n < VARINT_BYTES ? s.n : VARINT_BYTES;

	for (size_t i = 0; i < n; i++) {
		v |= (uint32_t)(s.p[i] & 0x7f) << (7 * i);
		if (s.p[i] & 0x80)
			continue;
		if (i > 0 && s.p[i] == 0)
			return -1; /* [MQTT-1.5.5-1] */
		*out = v;
		return (int)i + 1;
	}
	return s.n < VARINT_BYTES ? 0 : -1;
}

enum nj_err
take_varint(struct slice *s, uint32_t *out)
{
	int n = varint_scan(*s, out);

	if (n <= 0)
		return n == 0 ? NJ_TRUNCATED : NJ_MALFORMED;
	s->p += n;
	s->n -= (size_t)n;
	return NJ_OK;
}

uint8_t *
varint_write(uint8_t *p, uint32_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

/* 3.1, 2.1: the flags are quality of service and DUP of other packets too,
 * and where they mean nothing they may be anything. */
static bool
flags_ok_31(uint8_t wanted, uint8_t flags)
{
	return wanted != FLAGS_NONE &&
	    (wanted != 0x02 || (flags & 0x06) == 0x02);
}

static inline enum nj_err
take(struct slice *in, uint32_t max, bool is_31, struct frame *out)
{
	uint32_t rest = 0;
	uint8_t first, wanted;
	int n;

	out->size = 0;
	if (in->n == 0)
		return NJ_AGAIN;
	first = in->p[0];
	out->type = first >> 4;
	out->flags = first & 0x0f;
	wanted = flags_wanted[out->type];
	if (wanted != FLAGS_ANY && wanted != out->flags &&
	    !(is_31 && flags_ok_31(wanted, out->flags)))
		return NJ_MALFORMED; /* [MQTT-2.1.3-1] */
	n = varint_scan(slice_of(in->p + 1, in->n - 1), &rest);
	if (n <= 0)
		return n == 0 ? NJ_AGAIN : NJ_MALFORMED;
	out->size = 1 + (uint32_t)n + rest;
	if (max != 0 && out->size > max)
		return NJ_TOOBIG;
	if (in->n < out->size)
		return NJ_AGAIN;
	out->body = slice_of(in->p + 1 + n, rest);
	in->p += out->size;
	in->n -= out->size;
	return NJ_OK;
}

enum nj_err
frame_take(struct slice *in, uint32_t max, struct frame *out)
{
	return take(in, max, false, out);
}

enum nj_err
frame_take_31(struct slice *in, uint32_t max, struct frame *out)
{
	return take(in, max, true, out);
}
