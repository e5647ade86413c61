/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

#define BUF_MIN 64

void
buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

void
buf_wipe(struct buf *b)
{
	if (b->p)
		secret_wipe(b->p, b->cap);
	buf_fini(b);
}

enum nj_err
buf_grow(struct buf *b, size_t n)
{
	size_t live = b->len - b->off;
	size_t want, cap;
	uint8_t *p;

	if (n > BUF_MAX - live)
		return NJ_TOOBIG;
	want = live + n;
	/*
	 * Sliding down is only worth it when at least as much was drained as
	 * is left, so that each byte moves a bounded number of times.
	 */
	if (want <= b->cap && b->off >= live) {
		if (live > 0)
			memmove(b->p, b->p + b->off, live);
		b->off = 0;
		b->len = (uint32_t)live;
		return NJ_OK;
	}
	cap = b->cap < BUF_MIN ? BUF_MIN : b->cap;
	while (cap < want || cap - live < live / 2)
		cap *= 2;
	if (cap > BUF_MAX)
		cap = BUF_MAX;
	if (b->off == 0) {
		if (!(p = realloc(b->p, cap)))
			return NJ_NOMEM;
	} else {
		if (!(p = malloc(cap)))
			return NJ_NOMEM;
		memcpy(p, b->p + b->off, live);
		free(b->p);
	}
	b->p = p;
	b->off = 0;
	b->len = (uint32_t)live;
	b->cap = (uint32_t)cap;
	return NJ_OK;
}

enum nj_err
buf_put(struct buf *b, const void *p, size_t n)
{
	uint8_t *at;
	enum nj_err e;

	if (n == 0)
		return NJ_OK;
	if ((e = buf_reserve(b, n, &at)))
		return e;
	memcpy(at, p, n);
	buf_commit(b, n);
	return NJ_OK;
}

enum nj_err
buf_put_slice(struct buf *b, struct slice s)
{
	return buf_put(b, s.p, s.n);
}

enum nj_err
buf_put_u8(struct buf *b, uint8_t v)
{
	return buf_put(b, &v, 1);
}

enum nj_err
buf_put_u16(struct buf *b, uint16_t v)
{
	uint8_t w[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	return buf_put(b, w, sizeof w);
}

enum nj_err
buf_put_u32(struct buf *b, uint32_t v)
{
	uint8_t w[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16),
		(uint8_t)(v >> 8), (uint8_t)v };

	return buf_put(b, w, sizeof w);
}

enum nj_err
buf_printf(struct buf *b, const char *fmt, ...)
{
	size_t room = 128; /* most lines fit at the first attempt */

	for (;;) {
		uint8_t *at;
		enum nj_err e;
		va_list ap;
		int n;

		if ((e = buf_reserve(b, room, &at)))
			return e;
		va_start(ap, fmt);
		n = vsnprintf((char *)at, room, fmt, ap);
		va_end(ap);
		if (n < 0)
			return NJ_INVALID;
		if ((size_t)n < room) {
			buf_commit(b, (size_t)n);
			return NJ_OK;
		}
		room = (size_t)n + 1;
	}
}
