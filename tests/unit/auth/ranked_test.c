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

		assert_int_equal(ranked_new(&v[i], NULL, 1, &one), NJ_OK);
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
		assert_int_equal(ranked_new(v, NULL, FILTERS, &r), NJ_OK);
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

/* With "a" and "b" in the places of names. */
static bool
oracle(struct slice filter, struct slice topic)
{
	char text[128];
	size_t n = 0;
	bool more = true;
	struct slice level;

	while (topic_next(&filter, &more, &level)) {
		if (slice_is(level, "%u"))
			level = LIT("a");
		else if (slice_is(level, "%c"))
			level = LIT("b");
		n += (size_t)snprintf(text + n, sizeof text - n, "%.*s%s",
		    (int)level.n, (const char *)level.p, more ? "/" : "");
	}
	return topic_matches(slice_of(text, n), topic);
}

/* A few that begin alike, as those of one role do: what they have in common is
 * compared once. */
static void
test_few(void **state)
{
	static const char *const fronts[] = { "", "a/", "site/1/", "a" };
	const struct ranked_who who = { LIT("a"), LIT("b") };
	struct ranked_note notes[8], *note = notes;
	char text[8][96], topic[96], tail[64];
	struct slice v[8];
	unsigned hits = 0;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		const char *front = fronts[round % 4];
		bool whole = strcmp(front, "a") != 0; /* levels */
		uint32_t n = 1 + draw(8), want;
		struct ranked *r = NULL;

		for (uint32_t i = 0; i < n; i++) {
			struct slice t =
			    invent(tail, sizeof tail, whole, whole && draw(2));

			v[i] = slice_of(text[i],
			    (size_t)snprintf(text[i], sizeof text[i], "%s%.*s",
				front, (int)t.n, (const char *)t.p));
			note[i] = (struct ranked_note){ text[i], i % 2 };
		}
		assert_int_equal(ranked_new(v, notes, n, &r), NJ_OK);
		for (int i = 0; i < ASKED; i++) {
			struct slice t =
			    invent(tail, sizeof tail, false, false);
			struct slice s = slice_of(topic,
			    (size_t)snprintf(topic, sizeof topic, "%s%.*s",
				i % 4 ? front : "", (int)t.n,
				(const char *)t.p));
			uint32_t got = ranked_match(r, &who, s);

			for (want = 0; want < n && !oracle(v[want], s); want++)
				;
			if (got != (want < n ? want : RANKED_NONE))
				fail_msg("%s: rank %u, not %u: %s", topic, got,
				    want, want < n ? text[want] : "none");
			if (got == RANKED_NONE)
				continue;
			hits++;
			assert_ptr_equal(ranked_note(r, got)->text, text[got]);
			assert_int_equal(ranked_note(r, got)->allow, got % 2);
		}
		for (uint32_t i = 0; i < n; i++)
			assert_true(ranked_exact(r, v[i]) <= i);
		ranked_free(r);
	}
	assert_true(hits > 2000);
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
		{ "/#", "/", false, true },
		{ "/#", "x", false, false },
		{ "/#", "$x", false, false },
		{ "$x/#", "$x", false, true },
		{ "a/b/#", "a/bc", false, false },
		{ "a/b/#", "a/b", false, true },
		{ "a/+", "a", false, false },
		{ "a/+", "a/", false, true },
		{ "a//#", "a/", false, true },
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

		assert_int_equal(ranked_new(&f, NULL, 1, &r), NJ_OK);
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
	assert_int_equal(ranked_new(f, NULL, 2, &r), NJ_OK);
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
		cmocka_unit_test(test_few),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
