/* SPDX-License-Identifier: Apache-2.0
 * topic_fuzz - a filter and a name (or two filters): the first byte is the
 *              length of the one that comes first.
 */
#include "fuzz.h"

#include "wire/topic.h"

/* As the standard says it, level by level. */
static bool
naive_matches(struct slice f, struct slice n)
{
	bool more_f = true, more_n = true;
	struct slice lf, ln;

	if (n.p[0] == '$' && (f.p[0] == '+' || f.p[0] == '#'))
		return false;
	for (;;) {
		bool has_f = topic_next(&f, &more_f, &lf);
		bool has_n = topic_next(&n, &more_n, &ln);

		if (has_f && slice_is(lf, "#"))
			return true;
		if (!has_f || !has_n)
			return has_f == has_n;
		if (!slice_is(lf, "+") && !slice_eq(lf, ln))
			return false;
	}
}

static bool
has_wildcard(struct slice s)
{
	return s.n > 0 && (memchr(s.p, '+', s.n) || memchr(s.p, '#', s.n));
}

static void
check_one(struct slice s)
{
	struct slice rest = s, level, group, filter;
	bool more = true;
	size_t n = 0, levels = 0;
	enum nj_err e;

	while (topic_next(&rest, &more, &level)) {
		n += level.n + 1;
		levels++;
	}
	HOLDS(n == s.n + 1);
	if (topic_name_ok(s))
		HOLDS(utf8_ok(s) && topic_filter_ok(s) && !has_wildcard(s) &&
		    s.n > 0 && levels <= TOPIC_LEVELS_MAX);
	if (topic_filter_ok(s)) {
		HOLDS(utf8_ok(s) && s.n > 0 && levels <= TOPIC_LEVELS_MAX);
		HOLDS(topic_name_ok(s) == !has_wildcard(s));
		HOLDS(topic_filters_overlap(s, s));
	}
	e = topic_share(s, &group, &filter);
	HOLDS(e == NJ_OK || e == NJ_NOTFOUND || e == NJ_MALFORMED);
	if (e == NJ_OK) {
		HOLDS(topic_filter_ok(filter) && group.n > 0);
		HOLDS(!has_wildcard(group) && !memchr(group.p, '/', group.n));
		HOLDS(s.n == 7 + group.n + 1 + filter.n);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice a, b;
	size_t n;

	if (size == 0)
		return 0;
	n = data[0] < size ? data[0] : size - 1;
	a = slice_of(data + 1, n);
	b = slice_of(data + 1 + n, size - 1 - n);
	check_one(a);
	check_one(b);
	if (!topic_filter_ok(a) || !topic_filter_ok(b))
		return 0;
	HOLDS(topic_filters_overlap(a, b) == topic_filters_overlap(b, a));
	if (topic_name_ok(b)) {
		HOLDS(topic_matches(a, b) == naive_matches(a, b));
		HOLDS(topic_matches(a, b) == topic_filters_overlap(a, b));
		HOLDS(topic_matches(b, b));
	}
	return 0;
}
