/* SPDX-License-Identifier: Apache-2.0
 *
 * Filters in the order of asking: many, which stand in a tree, are answered
 * as one by one.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/ranked.h"
#include "wire/topic.h"

#define FILTERS 40
#define ROUNDS	400
#define ASKED	60

static uint32_t seed = 20261121;

static uint32_t
draw(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static struct slice
invent(char *dst, size_t size, bool wild, bool names)
{
	static const char *const levels[] = { "a", "b", "", "$x", "+", "%c",
		"%u" };
	uint32_t kinds = names ? 7 : wild ? 5 : 4;
	size_t n = 0;

	do {
		uint32_t depth = 1 + draw(4);

		n = 0;
		for (uint32_t i = 0; i < depth; i++)
			n += (size_t)snprintf(dst + n, size - n, "%s%s",
			    i ? "/" : "", levels[draw(kinds)]);
		if (wild && draw(3) == 0)
			n += (size_t)snprintf(dst + n, size - n, "/#");
	} while (n == 0);
	return slice_of(dst, n);
}

/* One filter at a time, in a set of its own. */
static uint32_t
slowly(const struct slice *v, const struct ranked_who *who, struct slice s,
    bool filter)
{
	for (uint32_t i = 0; i < FILTERS; i++) {
		struct ranked *one = NULL;
		bool found;

		assert_int_equal(ranked_new(&v[i], 1, &one), NJ_OK);
		found = (filter ? ranked_covers(one, who, s)
				: ranked_match(one, who, s)) == 0;
		ranked_free(one);
		if (found)
			return i;
	}
	return RANKED_NONE;
}

static void
test_tree(void **state)
{
	const struct ranked_who who = { LIT("a"), LIT("b") };
	char text[FILTERS][64], topic[64];
	struct slice v[FILTERS];
	unsigned hits = 0;

	(void)state;
	for (int round = 0; round < ROUNDS / 10; round++) {
		struct ranked *r = NULL;

		for (uint32_t i = 0; i < FILTERS; i++)
			v[i] = invent(
			    text[i], sizeof text[i], draw(4) > 0, draw(2));
		assert_int_equal(ranked_new(v, FILTERS, &r), NJ_OK);
		for (int i = 0; i < ASKED; i++) {
			bool filter = i % 2;
			struct slice s =
			    invent(topic, sizeof topic, filter, false);
			uint32_t got = filter ? ranked_covers(r, &who, s)
					      : ranked_match(r, &who, s);

			assert_int_equal(got, slowly(v, &who, s, filter));
			hits += got != RANKED_NONE;
		}
		for (uint32_t i = 0; i < FILTERS; i++)
			assert_true(ranked_exact(r, v[i]) <= i);
		ranked_free(r);
	}
	assert_true(hits > 500);
}

/* What one filter is to one topic or subscription. */
static void
test_rows(void **state)
{
	static const struct {
		const char *filter, *s;
		bool covers, want;
	} rows[] = {
		{ "a/#", "a", false, true },
		{ "#", "$SYS/x", false, false },
		{ "$SYS/#", "$SYS/x", false, true },
		{ "%c/x", "id/x", false, true },
		{ "%u/x", "id/x", false, false },
		{ "x%c", "xid", false, false },
		{ "%c", "%c", false, false },
		{ "a/#", "a/+/b", true, true },
		{ "a/+", "a/#", true, false },
		{ "a/+", "a/+", true, true },
		{ "+/#", "#", true, false },
		{ "/#", "#", true, false },
		{ "#", "#", true, true },
		{ "#", "$SYS/#", true, false },
		{ "%c/#", "id/#", true, true },
		{ "%c/#", "+/#", true, false },
	};
	const struct ranked_who who = { LIT("user"), LIT("id") };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice f = slice_str(rows[i].filter);
		struct slice s = slice_str(rows[i].s);
		struct ranked *r = NULL;
		uint32_t got;

		assert_int_equal(ranked_new(&f, 1, &r), NJ_OK);
		got = rows[i].covers ? ranked_covers(r, &who, s)
				     : ranked_match(r, &who, s);
		if ((got == 0) != rows[i].want)
			fail_msg("%s and %s", rows[i].filter, rows[i].s);
		ranked_free(r);
	}
}

/* Names that are wildcards stand for nothing. */
static void
test_names(void **state)
{
	const struct ranked_who who = { LIT("+"), LIT("#") };
	struct slice f[] = { LIT("%u"), LIT("%c") };
	struct ranked *r = NULL;

	(void)state;
	assert_int_equal(ranked_new(f, 2, &r), NJ_OK);
	assert_int_equal(ranked_covers(r, &who, LIT("+")), RANKED_NONE);
	assert_int_equal(ranked_covers(r, &who, LIT("#")), RANKED_NONE);
	ranked_free(r);
	assert_int_equal(ranked_match(NULL, &who, LIT("a")), RANKED_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
