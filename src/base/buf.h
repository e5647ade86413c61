/* SPDX-License-Identifier: Apache-2.0
 * buf - a growable byte buffer, filled at the end and drained at the front.
 *
 * Owns:    its bytes.  A zeroed struct buf is a valid empty one (embedded).
 * Threads: one owner at a time.
 * Bounds:  the hard maximum given to each growing call; NJ_TOOBIG past it.
 *          4 GiB - 1 in any case.
 */
#ifndef NJ_BASE_BUF_H
#define NJ_BASE_BUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define BUF_MAX UINT32_MAX

struct buf {
	uint8_t *p;
	uint32_t off; /* drained bytes at the front */
	uint32_t len; /* end of the filled part, from p */
	uint32_t cap;
};

static inline size_t
buf_len(const struct buf *b)
{
	return b->len - b->off;
}

static inline struct slice
buf_slice(const struct buf *b)
{
	return (struct slice){ b->p ? b->p + b->off : NULL, b->len - b->off };
}

/* Frees the bytes; the buf is empty and usable again. */
void buf_fini(struct buf *b);
/* The same, wiping first (secrets). */
void buf_wipe(struct buf *b);
/* Makes room for n more bytes; the slow path of the calls below. */
NJ_MUST enum nj_err buf_grow(struct buf *b, size_t n);

/* Room for n more bytes at *at; they count once buf_commit(n) is called. */
NJ_MUST static inline enum nj_err
buf_reserve(struct buf *b, size_t n, uint8_t **at)
{
	if (b->cap - b->len < n) {
		enum nj_err e = buf_grow(b, n);

		if (e)
			return e;
	}
	*at = b->p + b->len;
	return NJ_OK;
}

static inline void
buf_commit(struct buf *b, size_t n)
{
	b->len += (uint32_t)n;
}

static inline void
buf_drain(struct buf *b, size_t n)
{
	b->off += (uint32_t)n;
	if (b->off == b->len)
		b->off = b->len = 0;
}

/* Cuts back to a length that buf_len() gave earlier, undoing appends. */
static inline void
buf_truncate(struct buf *b, size_t n)
{
	b->len = b->off + (uint32_t)n;
}

NJ_MUST enum nj_err buf_put(struct buf *b, const void *p, size_t n);
NJ_MUST enum nj_err buf_put_slice(struct buf *b, struct slice s);
NJ_MUST enum nj_err buf_put_u8(struct buf *b, uint8_t v);
NJ_MUST enum nj_err buf_put_u16(struct buf *b, uint16_t v);
NJ_MUST enum nj_err buf_put_u32(struct buf *b, uint32_t v);
/* printf at the end, without a NUL. */
NJ_MUST enum nj_err
buf_printf(struct buf *b, const char *fmt, ...) NJ_PRINTF(2, 3);

#endif
