/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/topic.h"

#include "wire/utf8.h"

static bool
is_wildcard(uint8_t c)
{
	return c == '+' || c == '#';
}

/* One pass: UTF-8, wildcards and the number of levels together. */
/* What "+" (2b) and "#" (23) differ in. */
#define WILD_BIT (WORD_ONES * 0x08)

bool
topic_is_plain(struct slice s)
{
	uint64_t other = 0, wild = 0, w;

	if (s.n < 8 || s.n >= TOPIC_LEVELS_MAX)
		return false;
	for (size_t at = 0;; at += 8) {
		/* the last eight, with some of those before again */
		w = word_load(s.p + (at + 8 < s.n ? at : s.n - 8));
		other |= (w - WORD_ONES) | w;
		wild |= word_find(w & ~WILD_BIT, '#');
		if (at + 8 >= s.n)
			break;
	}
	/* with other bytes among it, wild may say anything */
	return !(other & WORD_HIGHS) && !wild;
}

bool
topic_name_ok(struct slice s)
{
	unsigned levels = 1;

	if (topic_is_plain(s))
		return true;
	if (s.n == 0 || s.n > UINT16_MAX)
		return false; /* [MQTT-4.7.3-1], [-3] */
	while (s.n > 0) {
		size_t step = 8;
		uint64_t w;

		if (s.n >= 8 && word_is_ascii(w = word_load(s.p))) {
			if (word_find(w, '+') | word_find(w, '#'))
				return false; /* [MQTT-4.7.0-1] */
			levels += word_count(w, '/');
		} else {
			if ((step = utf8_step(s.p, s.n)) == 0)
				return false; /* [MQTT-4.7.3-2] */
			if (is_wildcard(s.p[0]))
				return false;
			levels += s.p[0] == '/';
		}
		s.p += step;
		s.n -= step;
	}
	return levels <= TOPIC_LEVELS_MAX;
}

/* A wildcard is the whole level, and # the last one. */
static bool
level_ok(struct slice level, bool last)
{
	if (level.n == 1)
		return level.p[0] != '#' || last;
	for (size_t i = 0; i < level.n; i++)
		if (is_wildcard(level.p[i]))
			return false;
	return true;
}

bool
topic_filter_ok(struct slice s)
{
	struct slice level;
	unsigned levels = 0;
	bool more = true;

	if (s.n == 0 || s.n > UINT16_MAX || !utf8_ok(s))
		return false; /* [MQTT-4.7.3-1], [-2], [-3] */
	while (topic_next(&s, &more, &level))
		if (++levels > TOPIC_LEVELS_MAX || !level_ok(level, !more))
			return false; /* [MQTT-4.7.1-1], [-2] */
	return true;
}

/* The bytes of s from i on are "/#": what they follow matches as well. */
static bool
at_multi_level(struct slice s, size_t i)
{
	return s.n - i == 2 && s.p[i] == '/' && s.p[i + 1] == '#';
}

bool
topic_matches(struct slice f, struct slice name)
{
	size_t i = 0, j = 0;

	if (f.n == 0 || name.n == 0)
		return false;
	if (name.p[0] == '$' && is_wildcard(f.p[0]))
		return false; /* [MQTT-4.7.2-1] */
	/* In a valid filter a wildcard always begins a level, and the name has
	 * come to the same level when the filter is at it. */
	while (i < f.n) {
		if (f.p[i] == '#')
			return true;
		if (f.p[i] == '+') {
			while (j < name.n && name.p[j] != '/')
				j++;
			i++;
		} else if (j < name.n && f.p[i] == name.p[j]) {
			i++;
			j++;
		} else {
			return j == name.n && at_multi_level(f, i);
		}
	}
	return j == name.n;
}

/* What is left of a filter that something longer was compared with. */
static bool
only_multi_level(struct slice level, bool more)
{
	return !more && slice_is(level, "#");
}

static bool
level_is_wildcard(struct slice level)
{
	return level.n == 1 && is_wildcard(level.p[0]);
}

static bool
levels_overlap(struct slice a, struct slice b, bool first)
{
	bool wild_a = level_is_wildcard(a), wild_b = level_is_wildcard(b);

	if (first && wild_a != wild_b) {
		struct slice literal = wild_a ? b : a;

		/* [MQTT-4.7.2-1] */
		return !slice_has_prefix(literal, LIT("$"));
	}
	return wild_a || wild_b || slice_eq(a, b);
}

bool
topic_filters_overlap(struct slice a, struct slice b)
{
	bool more_a = true, more_b = true;

	/* Only the empty name would match both, and it is none. */
	if ((slice_is(a, "+") && slice_is(b, "/#")) ||
	    (slice_is(a, "/#") && slice_is(b, "+")))
		return false;
	for (bool first = true;; first = false) {
		struct slice la, lb;
		bool got_a = topic_next(&a, &more_a, &la);
		bool got_b = topic_next(&b, &more_b, &lb);

		if (!got_a || !got_b)
			return got_a == got_b ||
			    (got_a && only_multi_level(la, more_a)) ||
			    (got_b && only_multi_level(lb, more_b));
		if (!levels_overlap(la, lb, first))
			return false;
		if (slice_is(la, "#") || slice_is(lb, "#"))
			return true;
	}
}

enum nj_err
topic_share(struct slice s, struct slice *group, struct slice *filter)
{
	const struct slice mark = LIT("$share");
	struct slice g, level;
	bool more = true;

	if (!topic_next(&s, &more, &level) || !slice_eq(level, mark))
		return NJ_NOTFOUND;
	if (!topic_next(&s, &more, &g) || !more)
		return NJ_MALFORMED; /* [MQTT-4.8.2-1] */
	if (g.n == 0 || memchr(g.p, '+', g.n) || memchr(g.p, '#', g.n))
		return NJ_MALFORMED; /* [MQTT-4.8.2-2] */
	if (!topic_filter_ok(s) || !utf8_ok(g))
		return NJ_MALFORMED;
	*group = g;
	*filter = s;
	return NJ_OK;
}

bool
topic_next(struct slice *rest, bool *more, struct slice *level)
{
	const uint8_t *slash;
	size_t n;

	if (!*more)
		return false;
	slash = rest->n > 0 ? memchr(rest->p, '/', rest->n) : NULL;
	n = slash ? (size_t)(slash - rest->p) : rest->n;
	*level = slice_of(rest->p, n);
	*more = slash != NULL;
	if (slash)
		n++;
	if (n > 0)
		rest->p += n;
	rest->n -= n;
	return true;
}
