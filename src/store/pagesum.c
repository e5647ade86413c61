/* SPDX-License-Identifier: Apache-2.0
 *
 * A step is linear: (a, b) becomes (a + b, a + 2b) + (x, x + y).  So the sum of a
 * page behind another one is that of the page by itself and the one before,
 * multiplied by that matrix as often as the page has pairs of words.  All is
 * modulo 2^32, where the matrix has an inverse.
 */
#include "store/pagesum.h"

#include <endian.h>
#include <string.h>

/* Of no page: so none of zeros is whole. */
static const struct sum salt = { 0x4e6a5067u, 0x53756d21u };

/* Of page 1: where what counts as zero is, and what lies around it. */
#define HEAD_BYTES 104
static const char magic[16] = "SQLite format 3";
static const struct {
	uint8_t at, n;
} loose[] = {
	{ 18, 2 }, /* versions of the format */
	{ 24, 4 }, /* changes */
	{ 40, 4 }, /* changes of the schema */
	{ 92, 8 }, /* for which the size is valid; SQLite's version */
};

static uint32_t
word(const uint8_t *p, bool big)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return big ? be32toh(v) : le32toh(v);
}

struct sum
sum_add(struct sum s, const uint8_t *p, size_t n, bool big)
{
	if (big) {
		for (; n >= 8; n -= 8, p += 8) {
			s.a += word(p, true) + s.b;
			s.b += word(p + 4, true) + s.a;
		}
		return s;
	}
	for (; n >= 8; n -= 8, p += 8) {
		s.a += word(p, false) + s.b;
		s.b += word(p + 4, false) + s.a;
	}
	return s;
}

struct sum
sum_get(const uint8_t *p)
{
	return (struct sum){ word(p, true), word(p + 4, true) };
}

void
sum_put(uint8_t *p, struct sum s)
{
	uint32_t v[2] = { htobe32(s.a), htobe32(s.b) };

	memcpy(p, v, sizeof v);
}

bool
pagesum_is_first(const uint8_t *page)
{
	return memcmp(page, magic, sizeof magic) == 0;
}

static struct sum
sum_of(const uint8_t *page, size_t n)
{
	uint8_t head[HEAD_BYTES];
	struct sum s = salt;
	size_t done = 0;

	if (pagesum_is_first(page)) {
		memcpy(head, page, sizeof head);
		for (size_t i = 0; i < sizeof loose / sizeof *loose; i++)
			memset(head + loose[i].at, 0, loose[i].n);
		s = sum_add(s, head, sizeof head, false);
		done = sizeof head;
	}
	return sum_add(s, page + done, n - PAGESUM_BYTES - done, false);
}

static void
put_last(uint8_t *page, size_t n, struct sum s)
{
	uint32_t v[2] = { htole32(s.a), htole32(s.b) };

	memcpy(page + n - PAGESUM_BYTES, v, sizeof v);
}

bool
pagesum_ok(const uint8_t *page, size_t n)
{
	const uint8_t *last = page + n - PAGESUM_BYTES;
	struct sum s = sum_of(page, n);

	return s.a == word(last, false) && s.b == word(last + 4, false);
}

void
pagesum_set(uint8_t *page, size_t n)
{
	put_last(page, n, sum_of(page, n));
}

static struct sum
plus(struct sum x, struct sum y)
{
	return (struct sum){ x.a + y.a, x.b + y.b };
}

static struct sum
minus(struct sum x, struct sum y)
{
	return (struct sum){ x.a - y.a, x.b - y.b };
}

/* What a step does to the sum before it, and what undoes that. */
static struct sum
step(struct sum s)
{
	return (struct sum){ s.a + s.b, s.a + 2 * s.b };
}

static struct sum
step_back(struct sum s)
{
	return (struct sum){ 2 * s.a - s.b, s.b - s.a };
}

static struct sum
through(const struct framesum *f, struct sum s)
{
	return (struct sum){ f->row[0].a * s.a + f->row[0].b * s.b,
		f->row[1].a * s.a + f->row[1].b * s.b };
}

void
framesum_init(struct framesum *f, size_t n)
{
	struct sum x = { 1, 0 }, y = { 0, 1 };

	f->n = n;
	f->salt = salt;
	for (size_t i = 0; i < n / 8; i++) {
		x = step(x);
		y = step(y);
	}
	for (size_t i = 0; i < n / 8 - 1; i++)
		f->salt = step(f->salt);
	f->row[0] = (struct sum){ x.a, y.a };
	f->row[1] = (struct sum){ x.b, y.b };
}

/* What its last words add to the sum of a page. */
static struct sum
last_words(uint32_t x, uint32_t y)
{
	return (struct sum){ x, x + y };
}

struct sum
framesum_set(const struct framesum *f, const uint8_t head[8], uint8_t *page,
    struct sum was, struct sum sum, struct sum before)
{
	const uint8_t *last = page + f->n - PAGESUM_BYTES;
	struct sum s;

	/* of the page alone, as it was; without its last words */
	s = minus(sum, through(f, sum_add(was, head, 8, false)));
	s = minus(s, last_words(word(last, false), word(last + 4, false)));
	s = step_back(s);
	sum = plus(s, f->salt);
	put_last(page, f->n, sum);
	s = plus(step(s), last_words(sum.a, sum.b));
	return plus(s, through(f, sum_add(before, head, 8, false)));
}
