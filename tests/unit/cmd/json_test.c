/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "cmd/json.h"

static void
strings(void **state)
{
	const struct {
		const char *why;
		struct slice in, want;
	} rows[] = {
		{ "empty", B(""), B("\"\"") },
		{ "plain", B("hello"), B("\"hello\"") },
		{ "quotes", B("a\"b\\c"), B("\"a\\\"b\\\\c\"") },
		{ "controls", B("\b\f\n\r\t\1\x1f"),
		    B("\"\\b\\f\\n\\r\\t\\u0001\\u001f\"") },
		{ "NUL", B("a\0b"), B("\"a\\u0000b\"") },
		{ "UTF-8", B("h\xc3\xa9 \xf0\x9f\x90\xa6"),
		    B("\"h\xc3\xa9 \xf0\x9f\x90\xa6\"") },
		{ "not UTF-8", B("a\xff\xc3"), B("\"a\\ufffd\\ufffd\"") },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct buf b = { 0 };

		assert_int_equal(json_put_str(&b, rows[i].in), NJ_OK);
		expect(rows[i].why, &b, rows[i].want);
		buf_fini(&b);
	}
}

static void
values(void **state)
{
	const struct {
		struct slice in, want;
	} rows[] = {
		{ B("1"), B("1") },
		{ B(" -0.5e+10 "), B("-0.5e+10") },
		{ B("\"x\\u00e9\\/\""), B("\"x\\u00e9\\/\"") },
		{ B("[ ]"), B("[]") },
		{ B("{ }"), B("{}") },
		{ B("[1, true ,false,null]"), B("[1,true,false,null]") },
		{ B("{\"a\" : [ {\"b\":2} ] }\n"), B("{\"a\":[{\"b\":2}]}") },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct buf b = { 0 };

		assert_int_equal(json_put_value(&b, rows[i].in), NJ_OK);
		expect("value", &b, rows[i].want);
		buf_fini(&b);
	}
}

static void
not_values(void **state)
{
	static const struct slice rows[] = { B(""), B(" "), B("x"), B("{"),
		B("}"), B("["), B("[1"), B("[1,]"), B("{1:2}"), B("{\"a\"}"),
		B("{\"a\":}"), B("{\"a\":1,}"), B("01"), B("1."), B("1e"),
		B("-"), B("+1"), B("\"a"), B("\"\\x\""), B("\"\\u12g4\""),
		B("\"\\u12"), B("\"\n\""), B("\"\xff\""), B("1 2"), B("tru"),
		B("[1}") };

	for (size_t i = 0; i < LEN(rows); i++) {
		struct buf b = { 0 };

		assert_int_equal(buf_put(&b, "kept", 4), NJ_OK);
		assert_int_equal(json_put_value(&b, rows[i]), NJ_MALFORMED);
		expect("undone", &b, LIT("kept"));
		buf_fini(&b);
	}
}

static void
depth(void **state)
{
	static uint8_t deep[2 * (JSON_DEPTH + 1)];
	struct buf b = { 0 };

	memset(deep, '[', sizeof deep / 2);
	memset(deep + sizeof deep / 2, ']', sizeof deep / 2);
	assert_int_equal(
	    json_put_value(&b, slice_of(deep, sizeof deep)), NJ_TOOBIG);
	assert_int_equal(
	    json_put_value(&b, slice_of(deep + 1, sizeof deep - 2)), NJ_OK);
	buf_fini(&b);
}

static void
pretty(void **state)
{
	struct buf b = { 0 };

	assert_int_equal(json_put_pretty(&b,
			     LIT("{\"a\":[1,{\"b\":\"x,{\\\"\"}],\"c\":{}}")),
	    NJ_OK);
	expect("pretty", &b,
	    LIT("{\n\t\"a\":\t[1, {\n\t\t\t\"b\":\t\"x,{\\\"\"\n\t\t}],\n"
		"\t\"c\":\t{}\n}"));
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings),
		cmocka_unit_test(values),
		cmocka_unit_test(not_values),
		cmocka_unit_test(depth),
		cmocka_unit_test(pretty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
