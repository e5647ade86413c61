/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/base64url.h"

static int
value_of(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A'
	    : c >= 'a' && c <= 'z'  ? c - 'a' + 26
	    : c >= '0' && c <= '9'  ? c - '0' + 52
	    : c == '-'		    ? 62
	    : c == '_'		    ? 63
				    : -1;
}

enum nj_err
base64url_decode(struct slice text, uint8_t *out, size_t room, size_t *n)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t at = 0;

	if (text.n % 4 == 1)
		return NJ_MALFORMED;
	for (size_t i = 0; i < text.n; i++) {
		int v = value_of(text.p[i]);

		if (v < 0)
			return NJ_MALFORMED;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (at == room)
			return NJ_TOOBIG;
		out[at++] = (uint8_t)(bits >> have);
		bits &= (1u << have) - 1;
	}
	if (bits) /* else one text of many would be the same bytes */
		return NJ_MALFORMED;
	*n = at;
	return NJ_OK;
}
