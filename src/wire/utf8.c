/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/utf8.h"

#include "base/slice.h"
#include "wire/topic.h"

static bool
is_tail(uint8_t b)
{
	return (b & 0xc0) == 0x80;
}

/*
 * The second byte carries all that is irregular: its range excludes overlong
 * forms (after E0, F0), surrogates (after ED) and what is above U+10FFFF
 * (after F4).
 */
static bool
second_ok(uint8_t lead, uint8_t b)
{
	switch (lead) {
	case 0xe0:
		return b >= 0xa0 && b <= 0xbf;
	case 0xed: /* U+D800..U+DFFF [MQTT-1.5.4-1] */
		return b >= 0x80 && b <= 0x9f;
	case 0xf0:
		return b >= 0x90 && b <= 0xbf;
	case 0xf4:
		return b >= 0x80 && b <= 0x8f;
	default:
		return is_tail(b);
	}
}

size_t
utf8_long(const uint8_t *p, size_t n)
{
	uint8_t lead = p[0];

	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	if (n < 2 || !second_ok(lead, p[1]))
		return 0;
	if (lead < 0xe0)
		return 2;
	if (n < 3 || !is_tail(p[2]))
		return 0;
	if (lead < 0xf0)
		return 3;
	return n >= 4 && is_tail(p[3]) ? 4 : 0;
}

bool
utf8_ok(struct slice s)
{
	const uint8_t *last = s.n >= 8 ? s.p + s.n - 8 : NULL;

	while (s.n > 0) {
		size_t step;

		if (s.n >= 8 && word_is_ascii(word_load(s.p)))
			step = 8;
		else if (s.n < 8 && last && word_is_ascii(word_load(last)))
			return true; /* the end, and some of it again */
		else if ((step = utf8_step(s.p, s.n)) == 0)
			return false;
		s.p += step;
		s.n -= step;
	}
	return true;
}
