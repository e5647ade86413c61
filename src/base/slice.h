/* SPDX-License-Identifier: Apache-2.0
 * slice - borrowed bytes, and bounded reads from them.
 *
 * Owns:    nothing; a slice is valid as long as what it points into.
 * Threads: plain values.
 * Rule:    take_* consume from the front; on failure they consume nothing and
 *          write nothing.  Peer input is only ever handled as slices.
 */
#ifndef NJ_BASE_SLICE_H
#define NJ_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct slice {
	const uint8_t *p;
	size_t n;
};

#define SLICE_NONE ((struct slice){ NULL, 0 })
/* From a string literal, its terminating NUL excluded; NUL bytes inside are
 * kept. */
#define LIT(s) ((struct slice){ (const uint8_t *)(s), sizeof(s) - 1 })

static inline struct slice
slice_of(const void *p, size_t n)
{
	return (struct slice){ p, n };
}

static inline struct slice
slice_str(const char *s)
{
	return (struct slice){ (const uint8_t *)s, s ? strlen(s) : 0 };
}

static inline bool
slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n &&
	    (a.n == 0 || (a.p && b.p && memcmp(a.p, b.p, a.n) == 0));
}

static inline bool
slice_has_prefix(struct slice s, struct slice pre)
{
	return s.n >= pre.n &&
	    (pre.n == 0 || (s.p && pre.p && memcmp(s.p, pre.p, pre.n) == 0));
}

static inline bool
slice_is(struct slice s, const char *lit)
{
	return slice_eq(s, slice_str(lit));
}

NJ_MUST static inline enum nj_err
take_u8(struct slice *s, uint8_t *out)
{
	if (s->n < 1 || !s->p)
		return NJ_TRUNCATED;
	*out = s->p[0];
	s->p += 1;
	s->n -= 1;
	return NJ_OK;
}

NJ_MUST static inline enum nj_err
take_u16(struct slice *s, uint16_t *out)
{
	if (s->n < 2)
		return NJ_TRUNCATED;
	*out = (uint16_t)(s->p[0] << 8 | s->p[1]);
	s->p += 2;
	s->n -= 2;
	return NJ_OK;
}

NJ_MUST static inline enum nj_err
take_u32(struct slice *s, uint32_t *out)
{
	if (s->n < 4)
		return NJ_TRUNCATED;
	*out = (uint32_t)s->p[0] << 24 | (uint32_t)s->p[1] << 16 |
	    (uint32_t)s->p[2] << 8 | (uint32_t)s->p[3];
	s->p += 4;
	s->n -= 4;
	return NJ_OK;
}

/* Exactly n bytes, borrowed. */
NJ_MUST static inline enum nj_err
take_bytes(struct slice *s, size_t n, struct slice *out)
{
	if (s->n < n)
		return NJ_TRUNCATED;
	*out = (struct slice){ s->p, n };
	s->p += n;
	s->n -= n;
	return NJ_OK;
}

/* A two-byte length and that many bytes (MQTT 1.5.6 binary data). */
NJ_MUST static inline enum nj_err
take_bin(struct slice *s, struct slice *out)
{
	struct slice t = *s;
	uint16_t n = 0;
	enum nj_err e;

	if ((e = take_u16(&t, &n)) || (e = take_bytes(&t, n, out)))
		return e;
	*s = t;
	return NJ_OK;
}

#endif
