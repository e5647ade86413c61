/* SPDX-License-Identifier: Apache-2.0
 * utf8 - the steps that the checks of strings and topics share: eight ASCII
 *        bytes at a time, and one character of anything else.
 *
 * Threads: pure.
 * Spec:    MQTT 5.0 1.5.4, RFC 3629.
 */
#ifndef NJ_WIRE_UTF8_H
#define NJ_WIRE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORD_ONES  UINT64_C(0x0101010101010101)
#define WORD_HIGHS UINT64_C(0x8080808080808080)

/* Eight bytes from anywhere; their order does not matter to the tests. */
static inline uint64_t
word_load(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof w);
	return w;
}

/* No byte is NUL or above 0x7f.  The borrow of a NUL can only add more high
 * bits, so that none set means that there was none. */
static inline bool
word_is_ascii(uint64_t w)
{
	return (((w - WORD_ONES) | w) & WORD_HIGHS) == 0;
}

/* The high bit of every byte that is c; w and c must be ASCII, so that the
 * sum never carries from one byte into the next. */
static inline uint64_t
word_find(uint64_t w, uint8_t c)
{
	uint64_t diff = w ^ (WORD_ONES * c);

	return ~(diff + (WORD_HIGHS - WORD_ONES)) & WORD_HIGHS;
}

/* How many bytes of w are c: one each, summed up in the highest byte. */
static inline unsigned
word_count(uint64_t w, uint8_t c)
{
	return (unsigned)(((word_find(w, c) >> 7) * WORD_ONES) >> 56);
}

/* What follows for a character that is not ASCII. */
size_t utf8_long(const uint8_t *p, size_t n);

/* Bytes of the character at p, n > 0; 0 when it is not one, or is U+0000 or a
 * surrogate. */
static inline size_t
utf8_step(const uint8_t *p, size_t n)
{
	return p[0] < 0x80 ? p[0] != 0 : utf8_long(p, n); /* [MQTT-1.5.4-2] */
}

#endif
