/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/base64.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* -1 when c is no digit. */
static int
digit(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static enum nj_err
strip_padding(struct slice *text)
{
	if (text->n % 4 != 0)
		return NJ_MALFORMED;
	for (unsigned i = 0; i < 2; i++)
		if (text->n > 0 && text->p[text->n - 1] == '=')
			text->n--;
	return NJ_OK;
}

enum nj_err
base64_decode(
    struct slice text, bool padded, uint8_t *out, size_t room, size_t *n)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t put = 0;

	if (padded && strip_padding(&text))
		return NJ_MALFORMED;
	if (text.n % 4 == 1)
		return NJ_MALFORMED;
	for (size_t i = 0; i < text.n; i++) {
		int d = digit(text.p[i]);

		if (d < 0)
			return NJ_MALFORMED;
		bits = bits << 6 | (uint32_t)d;
		have += 6;
		if (have < 8)
			continue;
		if (put == room)
			return NJ_TOOBIG;
		have -= 8;
		out[put++] = (uint8_t)(bits >> have);
		bits &= (1u << have) - 1;
	}
	if (bits != 0)
		return NJ_MALFORMED; /* would not come back the same */
	*n = put;
	return NJ_OK;
}

size_t
base64_encode(char *dst, struct slice s, bool padded)
{
	size_t put = 0;

	for (size_t i = 0; i < s.n; i += 3) {
		size_t left = s.n - i < 3 ? s.n - i : 3;
		uint32_t v = (uint32_t)s.p[i] << 16;

		if (left > 1)
			v |= (uint32_t)s.p[i + 1] << 8;
		if (left > 2)
			v |= s.p[i + 2];
		for (size_t k = 0; k < 4; k++) {
			if (k <= left)
				dst[put++] = alphabet[v >> (18 - 6 * k) & 0x3f];
			else if (padded)
				dst[put++] = '=';
		}
	}
	return put;
}
