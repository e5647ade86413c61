/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Names longer than this are compared by their beginnings. */
#define TEXT_NAME 64

/* Length of the well-formed UTF-8 sequence at the front, 0 if there is none;
 * *cp is its code point. */
static size_t
utf8_len(struct slice s, uint32_t *cp)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t c = s.p[0];
	size_t n = c < 0x80	 ? 1
	    : (c & 0xe0) == 0xc0 ? 2
	    : (c & 0xf0) == 0xe0 ? 3
	    : (c & 0xf8) == 0xf0 ? 4
				 : 0;
	uint32_t v;

	if (n == 0 || n > s.n)
		return 0;
	v = n == 1 ? c : c & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s.p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s.p[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*cp = v;
	return n;
}

/* What may reach a terminal: no controls (C0, DEL, C1), nothing that breaks
 * the line or turns the direction of what follows. */
static bool
harmless(uint32_t cp)
{
	return cp >= 0x20 && cp != 0x7f && cp != '\\' &&
	    !(cp >= 0x80 && cp <= 0x9f) && !(cp >= 0x2028 && cp <= 0x202e) &&
	    !(cp >= 0x2066 && cp <= 0x2069) && cp != 0x200e && cp != 0x200f &&
	    cp != 0x061c && cp != 0xfeff;
}

const char *
text_esc(char *dst, size_t size, struct slice s)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0, safe = 0; /* safe: where "..." still fits */
	size_t used = 0;

	if (size == 0)
		return "";
	while (used < s.n) {
		uint32_t cp = 0;
		size_t in = utf8_len(slice_of(s.p + used, s.n - used), &cp);
		size_t out = in;
		bool raw = in > 0 && harmless(cp);

		if (!raw) {
			in = 1;
			out = 4;
		}
		if (n + out + 1 > size)
			break;
		if (raw) {
			memcpy(dst + n, s.p + used, in);
		} else {
			dst[n] = '\\';
			dst[n + 1] = 'x';
			dst[n + 2] = hex[s.p[used] >> 4];
			dst[n + 3] = hex[s.p[used] & 15];
		}
		n += out;
		used += in;
		if (n + 4 <= size)
			safe = n;
	}
	if (used < s.n) {
		size_t dots = size > 3 ? 3 : size - 1;

		memcpy(dst + safe, "...", dots);
		n = safe + dots;
	}
	dst[n] = '\0';
	return dst;
}

const char *
text_word(char *dst, size_t size, struct slice s, const char *otherwise)
{
	static const char more[] = "._@%+:/-";

	if (s.n == 0 || s.n >= size || s.p[0] == '-')
		return otherwise;
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i], low = c | 0x20;

		if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') &&
		    (c == '\0' || !strchr(more, c)))
			return otherwise;
	}
	return text_esc(dst, size, s);
}

static unsigned
min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

unsigned
text_distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	unsigned beyond = 0;
	unsigned rows[3][TEXT_NAME + 1];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2];

	if (na > TEXT_NAME) {
		beyond += (unsigned)(na - TEXT_NAME);
		na = TEXT_NAME;
	}
	if (nb > TEXT_NAME) {
		beyond += (unsigned)(nb - TEXT_NAME);
		nb = TEXT_NAME;
	}
	for (size_t j = 0; j <= nb; j++) {
		above[j] = (unsigned)j;
		before[j] = 0;
	}
	for (size_t i = 1; i <= na; i++) {
		unsigned *spare = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			row[j] = min3(above[j] + 1, row[j - 1] + 1,
			    above[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		before = above;
		above = row;
		row = spare;
	}
	return above[nb] + beyond;
}

bool
text_to_long(const char *s, long min, long max, long *out)
{
	char *end;
	long v;

	/* strtol alone would let white space in front pass. */
	if (!(s[0] >= '0' && s[0] <= '9') &&
	    !((s[0] == '-' || s[0] == '+') && s[1] >= '0' && s[1] <= '9'))
		return false;
	errno = 0;
	v = strtol(s, &end, 10);
	if (errno || *end != '\0' || v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool
text_value(struct slice text, const char *key, char *dst, size_t size)
{
	size_t n = strlen(key);

	while (text.n > 0) {
		const uint8_t *nl = memchr(text.p, '\n', text.n);
		size_t len = nl ? (size_t)(nl - text.p) : text.n;

		if (len > n && memcmp(text.p, key, n) == 0 &&
		    text.p[n] == ' ') {
			if (len - n - 1 >= size)
				return false;
			memcpy(dst, text.p + n + 1, len - n - 1);
			dst[len - n - 1] = '\0';
			return true;
		}
		len += nl != NULL;
		text = slice_of(text.p + len, text.n - len);
	}
	return false;
}

bool
text_number(struct slice text, const char *key, int64_t *out)
{
	char word[24], *end;
	int64_t v;

	if (!text_value(text, key, word, sizeof word))
		return false;
	errno = 0;
	v = strtoll(word, &end, 10);
	if (errno != 0 || end == word || *end)
		return false;
	*out = v;
	return true;
}
