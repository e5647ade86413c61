/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static void
text_escapes(void **state)
{
	const struct {
		struct slice in;
		const char *want;
	} rows[] = {
		{ LIT(""), "" },
		{ LIT("plain text"), "plain text" },
		{ LIT("\0\x1b[2J\n\x7f"), "\\x00\\x1b[2J\\x0a\\x7f" },
		{ LIT("a\\b"), "a\\x5cb" },
		{ LIT("na\xc3\xafve \xe2\x82\xac \xf0\x9f\x90\xa6"),
		    "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x90\xa6" },
		{ LIT("\xc2\x9b"), "\\xc2\\x9b" }, /* C1 CSI */
		{ LIT("\xe2\x80\xae"
		      "x"),
		    "\\xe2\\x80\\xaex" },
		{ LIT("\xc0\xaf"), "\\xc0\\xaf" }, /* overlong */
		{ LIT("\xe0\x80\x80"), "\\xe0\\x80\\x80" },
		{ LIT("\xed\xa0\x80"), "\\xed\\xa0\\x80" }, /* surrogate */
		{ LIT("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80" },
		{ LIT("\xff"), "\\xff" },
		{ LIT("\xe2\x82"), "\\xe2\\x82" }, /* cut */
		{ LIT("\xe2\x82z"), "\\xe2\\x82z" },
	};
	char dst[TEXT_ESC];

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++)
		assert_string_equal(
		    text_esc(dst, sizeof dst, rows[i].in), rows[i].want);
}

/* As a word of a command, or not at all. */
static void
text_words(void **state)
{
	const struct {
		const char *in, *want;
	} rows[] = {
		{ "pump-7", "pump-7" },
		{ "a.b_c@d%e+f:g/h", "a.b_c@d%e+f:g/h" },
		{ "", "-" },
		{ "-x", "-" },
		{ "a b", "-" },
		{ "a;b", "-" },
		{ "$(a)", "-" },
		{ "a\\b", "-" },
		{ "a\nb", "-" },
		{ "[a]", "-" },
		{ "much too long for it", "-" },
	};
	char dst[20];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(
		    text_word(dst, sizeof dst, slice_str(rows[i].in), "-"),
		    rows[i].want);
}

static void
text_escape_cuts(void **state)
{
	const struct {
		size_t size;
		const char *in, *want;
	} rows[] = {
		{ 6, "12345", "12345" },
		{ 6, "123456", "12..." },
		{ 6, "1\n", "1\\x0a" },
		{ 6, "\n\n", "..." },
		{ 8, "\n\n", "\\x0a..." },
		{ 8,
		    "ab\xe2\x82\xac"
		    "cdef",
		    "ab..." },
		{ 4, "abcd", "..." },
		{ 3, "abcd", ".." },
		{ 1, "abcd", "" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		char dst[16];

		memset(dst, '!', sizeof dst);
		assert_string_equal(
		    text_esc(dst, rows[i].size, slice_str(rows[i].in)),
		    rows[i].want);
		assert_int_equal(dst[rows[i].size], '!');
	}
	assert_string_equal(text_esc(NULL, 0, LIT("x")), "");
}

static void
text_measures_distance(void **state)
{
	const struct {
		const char *a, *b;
		unsigned want;
	} rows[] = {
		{ "", "", 0 },
		{ "", "abc", 3 },
		{ "abc", "", 3 },
		{ "listener", "listener", 0 },
		{ "listner", "listener", 1 },
		{ "listenre", "listener", 1 },
		{ "kitten", "sitting", 3 },
		{ "max_connection", "max_connections", 1 },
		{ "ca", "abc", 3 },
	};
	char wide[200];

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		assert_int_equal(
		    text_distance(rows[i].a, rows[i].b), rows[i].want);
		assert_int_equal(
		    text_distance(rows[i].b, rows[i].a), rows[i].want);
	}
	memset(wide, 'a', sizeof wide);
	wide[sizeof wide - 1] = '\0';
	assert_int_equal(text_distance(wide, "a"), 198);
}

static void
text_reads_numbers(void **state)
{
	const struct {
		const char *in;
		bool want;
		long value;
	} rows[] = {
		{ "0", true, 0 },
		{ "-5", true, -5 },
		{ "+7", true, 7 },
		{ "100", true, 100 },
		{ "010", true, 10 },
		{ "101", false, 0 },
		{ "-6", false, 0 },
		{ "", false, 0 },
		{ " 1", false, 0 },
		{ "1 ", false, 0 },
		{ "1x", false, 0 },
		{ "-", false, 0 },
		{ "--1", false, 0 },
		{ "0x10", false, 0 },
		{ "99999999999999999999", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		long v = 77;

		assert_int_equal(
		    text_to_long(rows[i].in, -5, 100, &v), rows[i].want);
		assert_int_equal(v, rows[i].want ? rows[i].value : 77);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_escapes),
		cmocka_unit_test(text_escape_cuts),
		cmocka_unit_test(text_words),
		cmocka_unit_test(text_measures_distance),
		cmocka_unit_test(text_reads_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
