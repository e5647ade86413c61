/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "wire/topic.h"

static void
names_and_filters(void **state)
{
	const struct {
		struct slice s;
		bool name, filter;
	} rows[] = {
		{ B(""), false, false }, /* [MQTT-4.7.3-1] */
		{ B("a"), true, true },
		{ B("/"), true, true },
		{ B("//"), true, true },
		{ B("a/b/c"), true, true },
		{ B("sport/tennis/player1"), true, true },
		{ B("a b"), true, true },
		{ B("$SYS/x"), true, true },
		{ B("#"), false, true }, /* [MQTT-4.7.0-1] */
		{ B("+"), false, true },
		{ B("a/#"), false, true },
		{ B("a/+"), false, true },
		{ B("+/+"), false, true },
		{ B("/+"), false, true },
		{ B("+/tennis/#"), false, true },
		{ B("a/#/b"), false, false }, /* [MQTT-4.7.1-1] */
		{ B("a#"), false, false },
		{ B("#/"), false, false },
		{ B("##"), false, false },
		{ B("a/b#"), false, false },
		{ B("a+"), false, false }, /* [MQTT-4.7.1-2] */
		{ B("+a"), false, false },
		{ B("++"), false, false },
		{ B("a/b+/c"), false, false },
		{ B("long/enough/for/words/+/x"), false, true },
		{ B("long/enough/for/words/#"), false, true },
		{ B("a\0b"), false, false }, /* [MQTT-4.7.3-2] */
		{ B("12345678\0"), false, false },
		{ B("\xff"), false, false },
		{ B("caf\xc3\xa9/\xe2\x82\xac"), true, true },
		{ B("\xc3\xa9/+/\xc3\xa9"), false, true },
		{ B("\xc3\xa9#"), false, false },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice s = tight(rows[i].s);

		if (topic_name_ok(s) != rows[i].name ||
		    topic_filter_ok(s) != rows[i].filter) {
			print_error("%.*s\n", (int)s.n, (const char *)s.p);
			fail();
		}
		tight_free(s);
	}
}

/* A wildcard at every place of every length is found. */
static void
wildcards_at_every_place(void **state)
{
	(void)state;
	for (size_t n = 1; n < 40; n++) {
		for (size_t at = 0; at < n; at++) {
			uint8_t b[40];

			memset(b, 'x', sizeof b);
			assert_true(topic_name_ok(slice_of(b, n)));
			b[at] = '+';
			assert_false(topic_name_ok(slice_of(b, n)));
			b[at] = '#';
			assert_false(topic_name_ok(slice_of(b, n)));
			/* neighbours of the two in the table are letters */
			b[at] = '*';
			assert_true(topic_name_ok(slice_of(b, n)));
			b[at] = ',';
			assert_true(topic_name_ok(slice_of(b, n)));
			b[at] = '$';
			assert_true(topic_name_ok(slice_of(b, n)));
		}
	}
}

static void
depth_and_length(void **state)
{
	static uint8_t b[70000];

	(void)state;
	for (unsigned step = 1; step < 10; step += 2) {
		size_t n = (size_t)(TOPIC_LEVELS_MAX - 1) * step;

		memset(b, 'a', sizeof b);
		for (size_t i = 0; i < n; i += step)
			b[i] = '/';
		assert_true(topic_name_ok(slice_of(b, n)));
		assert_true(topic_filter_ok(slice_of(b, n)));
		b[n] = '/';
		assert_false(topic_name_ok(slice_of(b, n + 1)));
		assert_false(topic_filter_ok(slice_of(b, n + 1)));
	}
	memset(b, 'a', sizeof b);
	assert_true(topic_name_ok(slice_of(b, 65535)));
	assert_true(topic_filter_ok(slice_of(b, 65535)));
	assert_false(topic_name_ok(slice_of(b, 65536))); /* [MQTT-4.7.3-3] */
	assert_false(topic_filter_ok(slice_of(b, 65536)));
	memset(b, '/', 65400);
	assert_false(topic_name_ok(slice_of(b, 65400)));
	assert_false(topic_filter_ok(slice_of(b, 65400)));
}

static void
matches_rows(void **state)
{
	const struct {
		const char *filter, *name;
		bool want;
	} rows[] = {
		{ "a", "a", true },
		{ "a", "b", false },
		{ "a", "ab", false },
		{ "ab", "a", false },
		{ "a/b", "a/b", true },
		{ "a/b", "a", false },
		{ "a", "a/b", false },
		{ "A", "a", false },
		{ "#", "a", true },
		{ "#", "/", true },
		{ "#", "a/b/c", true },
		{ "sport/tennis/player1/#", "sport/tennis/player1", true },
		{ "sport/tennis/player1/#", "sport/tennis/player1/ranking",
		    true },
		{ "sport/tennis/player1/#",
		    "sport/tennis/player1/score/wimbledon", true },
		{ "sport/tennis/player1/#", "sport/tennis/player11", false },
		{ "sport/#", "sport", true },
		{ "sport/#", "spor", false },
		{ "sport/tennis/+", "sport/tennis/player1", true },
		{ "sport/tennis/+", "sport/tennis/player1/ranking", false },
		{ "sport/+", "sport", false },
		{ "sport/+", "sport/", true },
		{ "+", "finance", true },
		{ "+", "/finance", false },
		{ "+/+", "/finance", true },
		{ "/+", "/finance", true },
		{ "+/+", "a/", true },
		{ "+/#", "a", true },
		{ "+/#", "a/b/c", true },
		{ "+/b/#", "a/b", true },
		{ "+/b/#", "a/c", false },
		{ "a/+/c", "a/b/c", true },
		{ "a/+/c", "a//c", true },
		{ "a/+/c", "a/b/d", false },
		{ "a/+/c", "a/b/c/d", false },
		{ "a//#", "a/", true },
		{ "a//#", "a", false },
		{ "/#", "/", true },
		{ "/#", "a", false },
		/* [MQTT-4.7.2-1] */
		{ "#", "$SYS", false },
		{ "#", "$SYS/x", false },
		{ "+/monitor/Clients", "$SYS/monitor/Clients", false },
		{ "+", "$x", false },
		{ "$SYS/#", "$SYS/x", true },
		{ "$SYS/#", "$SYS", true },
		{ "$SYS/monitor/+", "$SYS/monitor/Clients", true },
		{ "a/#", "a/$x", true },
		{ "+/$x", "a/$x", true },
		{ "", "a", false },
		{ "a", "", false },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		if (topic_matches(slice_str(rows[i].filter),
			slice_str(rows[i].name)) != rows[i].want) {
			print_error(
			    "%s and %s\n", rows[i].filter, rows[i].name);
			fail();
		}
	}
}

/* The definition, level by level. */
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

/* The s-th string over the alphabet; false once s is past length max. */
static bool
nth(unsigned s, const char *alphabet, char *out)
{
	unsigned base = (unsigned)strlen(alphabet);
	size_t n = 0;

	while (s > 0) {
		s--;
		out[n++] = alphabet[s % base];
		s /= base;
		if (n == 6)
			return false;
	}
	out[n] = '\0';
	return true;
}

/* Every valid filter and name of a few characters. */
static void
matches_every_short(void **state)
{
	static char names[2000][8], filters[20000][8];
	size_t n = 0, m = 0, overlaps = 0;
	char s[8];

	(void)state;
	for (unsigned i = 1; nth(i, "a$/", s); i++)
		if (topic_name_ok(slice_str(s)))
			memcpy(names[n++], s, sizeof s);
	for (unsigned i = 1; nth(i, "a$/+#", s) && m < LEN(filters); i++)
		if (topic_filter_ok(slice_str(s)))
			memcpy(filters[m++], s, sizeof s);
	for (size_t i = 0; i < m; i++) {
		struct slice f = slice_str(filters[i]);

		for (size_t k = 0; k < n; k++) {
			struct slice t = slice_str(names[k]);

			if (topic_matches(f, t) != naive_matches(f, t)) {
				print_error(
				    "%s and %s\n", filters[i], names[k]);
				fail();
			}
		}
	}
	/* Two filters overlap when one name matches both: the shorter ones,
	 * against names that are longer than what they can tell apart. */
	for (size_t i = 0; i < m && strlen(filters[i]) <= 3; i++) {
		for (size_t j = i; j < m && strlen(filters[j]) <= 3; j++) {
			struct slice a = slice_str(filters[i]);
			struct slice b = slice_str(filters[j]);
			bool want = false;

			for (size_t k = 0; k < n && !want; k++)
				want = topic_matches(a, slice_str(names[k])) &&
				    topic_matches(b, slice_str(names[k]));
			overlaps += want;
			if (topic_filters_overlap(a, b) != want ||
			    topic_filters_overlap(b, a) != want) {
				print_error(
				    "%s and %s\n", filters[i], filters[j]);
				fail();
			}
		}
	}
	assert_true(m > 500 && n > 300 && overlaps > 100);
}

static void
share_rows(void **state)
{
	const struct {
		struct slice in;
		enum nj_err want;
		const char *group, *filter;
	} rows[] = {
		{ B("a/b"), NJ_NOTFOUND, NULL, NULL },
		{ B("$shared/g/f"), NJ_NOTFOUND, NULL, NULL },
		{ B("x/$share/g/f"), NJ_NOTFOUND, NULL, NULL },
		{ B(""), NJ_NOTFOUND, NULL, NULL },
		{ B("$share"), NJ_MALFORMED, NULL, NULL },
		{ B("$share/"), NJ_MALFORMED, NULL, NULL },
		{ B("$share/g"), NJ_MALFORMED, NULL, NULL },
		{ B("$share/g/"), NJ_MALFORMED, NULL, NULL },
		{ B("$share//f"), NJ_MALFORMED, NULL, NULL },
		{ B("$share/+/f"), NJ_MALFORMED, NULL, NULL },
		{ B("$share/#"), NJ_MALFORMED, NULL, NULL },
		{ B("$share/g#/f"), NJ_MALFORMED, NULL, NULL },
		{ B("$share/g/f#"), NJ_MALFORMED, NULL, NULL },
		{ B("$share/g\xff/f"), NJ_MALFORMED, NULL, NULL },
		{ B("$share/g/f"), NJ_OK, "g", "f" },
		{ B("$share/g/#"), NJ_OK, "g", "#" },
		{ B("$share/g//"), NJ_OK, "g", "/" },
		{ B("$share/group 1/a/+/b"), NJ_OK, "group 1", "a/+/b" },
		{ B("$share/g/$SYS/#"), NJ_OK, "g", "$SYS/#" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice s = tight(rows[i].in);
		struct slice g = SLICE_NONE, f = SLICE_NONE;

		/* [MQTT-4.8.2-1], [MQTT-4.8.2-2] */
		check_err((const char *)rows[i].in.p, topic_share(s, &g, &f),
		    rows[i].want);
		if (rows[i].want == NJ_OK) {
			check_slice("group", g, slice_str(rows[i].group));
			check_slice("filter", f, slice_str(rows[i].filter));
		}
		tight_free(s);
	}
}

static void
next_rows(void **state)
{
	const struct {
		const char *in;
		const char *levels[4];
	} rows[] = {
		{ "", { "" } },
		{ "a", { "a" } },
		{ "a/", { "a", "" } },
		{ "/", { "", "" } },
		{ "/a", { "", "a" } },
		{ "a/bc/d", { "a", "bc", "d" } },
		{ "//", { "", "", "" } },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice s = slice_str(rows[i].in), level;
		bool more = true;
		size_t k = 0;

		while (topic_next(&s, &more, &level)) {
			assert_non_null(rows[i].levels[k]);
			check_slice(
			    rows[i].in, level, slice_str(rows[i].levels[k++]));
		}
		assert_null(rows[i].levels[k]);
		assert_int_equal(s.n, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_filters),
		cmocka_unit_test(wildcards_at_every_place),
		cmocka_unit_test(depth_and_length),
		cmocka_unit_test(matches_rows),
		cmocka_unit_test(matches_every_short),
		cmocka_unit_test(share_rows),
		cmocka_unit_test(next_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
