/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/lex.h"

#include <stdio.h>

#include "memory.h"

/* Every line that says something, as "line:name_col:value_col name=value|". */
static void
lines(const char *text, char *dst, size_t size)
{
	struct conf_lex lex;
	struct conf_line ln;
	size_t n = 0;

	dst[0] = '\0';
	assert_true(conf_lex_init(&lex, slice_str(text)));
	while (conf_lex_next(&lex, &ln)) {
		int k = snprintf(dst + n, size - n, "%u:%u:%u %.*s=%.*s|",
		    ln.line, ln.name_col, ln.value_col, (int)ln.name.n,
		    (const char *)ln.name.p, (int)ln.value.n,
		    (const char *)ln.value.p);

		assert_true(k > 0 && (size_t)k < size - n);
		n += (size_t)k;
	}
}

static void
test_lines(void **state)
{
	static const struct {
		const char *why, *text, *want;
	} rows[] = {
		{ "nothing", "", "" },
		{ "one", "port 1883\n", "1:1:6 port=1883|" },
		{ "no end of line", "port 1883", "1:1:6 port=1883|" },
		{ "comment and empty lines", "# x\n\n  \n#\na b\n",
		    "5:1:3 a=b|" },
		{ "indented comment", "  # x\n\t#y\na b", "3:1:3 a=b|" },
		{ "CRLF", "a b\r\nc d\r\n", "1:1:3 a=b|2:1:3 c=d|" },
		{ "spaces around", "   a    b  \n", "1:4:9 a=b|" },
		{ "tab between", "\ta\tb\t\n", "1:2:4 a=b|" },
		{ "byte order mark",
		    "\xef\xbb\xbf"
		    "a b\n",
		    "1:1:3 a=b|" },
		{ "value with spaces", "a b c  d\n", "1:1:3 a=b c  d|" },
		{ "no value", "a\n", "1:1:2 a=|" },
		{ "no value but spaces", "a   \n", "1:1:2 a=|" },
		{ "hash inside", "a b # c\n", "1:1:3 a=b # c|" },
	};
	char got[256];

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		lines(rows[i].text, got, sizeof got);
		if (strcmp(got, rows[i].want) != 0)
			fail_msg(
			    "%s: %s, not %s", rows[i].why, got, rows[i].want);
	}
}

static void
test_utf16(void **state)
{
	struct conf_lex lex;

	(void)state;
	assert_false(conf_lex_init(&lex, LIT("\xff\xfep\0o\0")));
	assert_false(conf_lex_init(&lex, LIT("\xfe\xff\0p\0o")));
	assert_true(conf_lex_init(&lex, LIT("\xff")));
}

static void
test_words(void **state)
{
	struct slice v = LIT("  ab\tc "), w;
	uint32_t col = 10, at = 0;

	(void)state;
	assert_true(conf_lex_word(&v, &col, &w, &at));
	assert_true(slice_is(w, "ab"));
	assert_int_equal(at, 12);
	assert_int_equal(col, 14);
	assert_true(conf_lex_word(&v, &col, &w, &at));
	assert_true(slice_is(w, "c"));
	assert_int_equal(at, 15);
	assert_false(conf_lex_word(&v, &col, &w, &at));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_utf16),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
