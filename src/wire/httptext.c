/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/httptext.h"

#include <string.h>

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool
http_is_letter(uint8_t c)
{
	return lower(c) >= 'a' && lower(c) <= 'z';
}

bool
http_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

bool
http_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

bool
http_is_word(struct slice s, const char *lit)
{
	size_t n = strlen(lit);

	if (s.n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (lower(s.p[i]) != lower((uint8_t)lit[i]))
			return false;
	return true;
}

bool
http_is_token(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		if (!http_is_letter(c) && !http_is_digit(c) &&
		    (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return s.n > 0;
}

bool
http_is_text(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
			return false;
	return true;
}

struct slice
http_trim(struct slice s)
{
	while (s.n > 0 && http_is_blank(s.p[0]))
		s = slice_of(s.p + 1, s.n - 1);
	while (s.n > 0 && http_is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool
http_cut(struct slice *s, uint8_t c, struct slice *before)
{
	const uint8_t *at = s->n > 0 ? memchr(s->p, c, s->n) : NULL;
	size_t n;

	if (!at)
		return false;
	n = (size_t)(at - s->p);
	*before = slice_of(s->p, n);
	*s = slice_of(at + 1, s->n - n - 1);
	return true;
}
