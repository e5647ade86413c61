/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "wire/topic.h"

#define CODE_MAX 0x10ffff

static size_t
encode(uint32_t c, uint8_t b[4])
{
	if (c < 0x80) {
		b[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		b[0] = (uint8_t)(0xc0 | c >> 6);
		b[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		b[0] = (uint8_t)(0xe0 | c >> 12);
		b[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		b[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	b[0] = (uint8_t)(0xf0 | c >> 18);
	b[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	b[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	b[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

/* Every code point but U+0000 and the surrogates [MQTT-1.5.4-1], [-2]; U+FEFF
 * is one like others [MQTT-1.5.4-3]. */
static void
every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0; c <= CODE_MAX; c++) {
		bool want = c != 0 && (c < 0xd800 || c > 0xdfff);
		uint8_t b[4];
		size_t n = encode(c, b);

		if (utf8_ok(slice_of(b, n)) != want) {
			print_error("U+%04X\n", c);
			fail();
		}
	}
}

/* Independent of the code under test: decodes, then encodes back. */
static bool
is_char(const uint8_t *b, size_t n)
{
	static const uint8_t mark[5] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	static const uint8_t mask[5] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t c = b[0] & mask[n];
	uint8_t back[4];

	if (n > 1 && (uint8_t)(b[0] & ~mask[n]) != mark[n])
		return false;
	if (n == 1 && b[0] > 0x7f)
		return false;
	for (size_t i = 1; i < n; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return false;
		c = c << 6 | (b[i] & 0x3f);
	}
	return c != 0 && c <= CODE_MAX && (c < 0xd800 || c > 0xdfff) &&
	    encode(c, back) == n;
}

static bool
naive(const uint8_t *b, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t k = 1;

		while (k <= 4 && (k > n - i || !is_char(b + i, k)))
			k++;
		if (k > 4)
			return false;
		i += k;
	}
	return true;
}

/* All strings of up to three bytes. */
static void
every_three_bytes(void **state)
{
	(void)state;
	for (uint32_t v = 0; v < 1u << 24; v++) {
		uint8_t b[3] = { (uint8_t)(v >> 16), (uint8_t)(v >> 8),
			(uint8_t)v };
		size_t from = v < 256 ? 2 : v < 65536 ? 1 : 0;

		if (utf8_ok(slice_of(b + from, 3 - from)) !=
		    naive(b + from, 3 - from)) {
			print_error("bytes %06x\n", v);
			fail();
		}
	}
}

/* Four-byte forms whose lead can be one. */
static void
every_four_bytes(void **state)
{
	(void)state;
	for (uint32_t v = 0; v < 16u << 18; v++) {
		/* tails: each may be one bit off being a tail */
		uint8_t b[4] = { (uint8_t)(0xf0 | v >> 18),
			(uint8_t)(0x80 | (v >> 12 & 0x3f)),
			(uint8_t)(0x80 | (v >> 6 & 0x3f)),
			(uint8_t)(0x80 | (v & 0x3f)) };

		assert_int_equal(utf8_ok(slice_of(b, 4)), naive(b, 4));
		b[3] ^= 0x40;
		assert_false(utf8_ok(slice_of(b, 4)));
	}
}

/* A bad byte or character at every place of strings around the word size. */
static void
every_place(void **state)
{
	const struct {
		struct slice s;
		bool ok;
	} rows[] = {
		{ B("\x00"), false },
		{ B("\x80"), false },
		{ B("\xff"), false },
		{ B("\xc0\x80"), false },
		{ B("\xc1\xbf"), false },
		{ B("\xe0\x9f\xbf"), false },
		{ B("\xed\xa0\x80"), false },
		{ B("\xed\xbf\xbf"), false },
		{ B("\xf0\x8f\xbf\xbf"), false },
		{ B("\xf4\x90\x80\x80"), false },
		{ B("\xc3\xa9"), true },
		{ B("\xe2\x82\xac"), true },
		{ B("\xf0\x9f\x90\xa6"), true },
		{ B("\xef\xbb\xbf"), true },
		{ B("\x7f"), true },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		for (size_t n = 0; n < 40; n++) {
			for (size_t at = 0; at <= n; at++) {
				uint8_t b[48];
				struct slice s;

				memset(b, 'a', sizeof b);
				memcpy(b + at, rows[i].s.p, rows[i].s.n);
				s = tight(slice_of(b, n + rows[i].s.n));
				assert_int_equal(utf8_ok(s), rows[i].ok);
				tight_free(s);
				/* cut inside the last character */
				if (at == n && rows[i].s.n > 1) {
					s = tight(
					    slice_of(b, n + rows[i].s.n - 1));
					assert_false(utf8_ok(s));
					tight_free(s);
				}
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_point),
		cmocka_unit_test(every_three_bytes),
		cmocka_unit_test(every_four_bytes),
		cmocka_unit_test(every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
