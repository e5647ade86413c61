/* SPDX-License-Identifier: Apache-2.0
 * text_fuzz - what a peer calls itself: is it UTF-8, and what of it reaches a
 *             log.  UTF-8 is held against a decoder that takes a character at
 *             a time and knows no shortcuts.
 */
#include "fuzz.h"

#include "base/text.h"
#include "wire/topic.h"

/* RFC 3629, table 3-7 of Unicode; 0 for what is none. */
static size_t
plain_step(const uint8_t *p, size_t n)
{
	uint32_t v;

	if (p[0] < 0x80)
		return 1;
	if (n >= 2 && p[0] >= 0xc2 && p[0] <= 0xdf && (p[1] & 0xc0) == 0x80)
		return 2;
	if (n >= 3 && (p[0] & 0xf0) == 0xe0 && (p[1] & 0xc0) == 0x80 &&
	    (p[2] & 0xc0) == 0x80) {
		v = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
		return v >= 0x800 && (v < 0xd800 || v > 0xdfff) ? 3 : 0;
	}
	if (n >= 4 && (p[0] & 0xf8) == 0xf0 && (p[1] & 0xc0) == 0x80 &&
	    (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80) {
		v = (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 |
		    (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
		return v >= 0x10000 && v <= 0x10ffff ? 4 : 0;
	}
	return 0;
}

static bool
plain_ok(struct slice s, bool nul)
{
	while (s.n > 0) {
		size_t n = plain_step(s.p, s.n);

		if (n == 0 || (!nul && s.p[0] == 0))
			return false;
		s = slice_of(s.p + n, s.n - n);
	}
	return true;
}

static void
escape(struct slice s, size_t size)
{
	char dst[300];
	struct slice out;

	memset(dst, 0x7f, sizeof dst);
	out = slice_str(text_esc(dst, size, s));
	HOLDS(out.n < size);
	for (size_t i = size; i < sizeof dst; i++)
		HOLDS(dst[i] == 0x7f);
	for (size_t i = 0; i < out.n; i++)
		HOLDS(out.p[i] >= 0x20 && out.p[i] != 0x7f);
	HOLDS(plain_ok(out, false));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice s = slice_of(data, size);

	HOLDS(utf8_ok(s) == plain_ok(s, false));
	if (topic_name_ok(s) || topic_filter_ok(s))
		HOLDS(plain_ok(s, false));
	for (size_t n = 1; n <= 300; n += n < 24 ? 1 : 69)
		escape(s, n);
	escape(s, TEXT_ESC);
	return 0;
}
