/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <time.h>

#include "cmd/format.h"

static const struct timespec noon = { 1700000000, 123456789 };

/* k1: v1 and k2: v2, as they stand in a packet. */
#define USERS "\x26\0\2k1\0\2v1\x26\0\2k2\0\2v2"

static struct publish
full(void)
{
	return (struct publish){
		.qos = 1, .retain = true, .id = 7,
		.topic = LIT("f/topic"), .payload = LIT("Hello"),
		.props = {
			.seen = PROP_BIT(PROP_CONTENT_TYPE) |
			    PROP_BIT(PROP_RESPONSE_TOPIC) |
			    PROP_BIT(PROP_CORRELATION_DATA) |
			    PROP_BIT(PROP_MESSAGE_EXPIRY) |
			    PROP_BIT(PROP_PAYLOAD_FORMAT) |
			    PROP_BIT(PROP_SUBSCRIPTION_ID) |
			    PROP_BIT(PROP_TOPIC_ALIAS) | PROP_BIT(PROP_USER),
			.raw = LIT(USERS),
			.content_type = LIT("text/plain"),
			.response_topic = LIT("re/sp"),
			.correlation_data = LIT("abc"),
			.message_expiry = 77,
			.payload_format = 1,
			.subscription_id = 12,
			.topic_alias = 3,
		},
	};
}

static void
check(const char *fmt, const struct publish *p, bool nice, const char *want)
{
	struct nj_why why = { .what = "" };
	struct buf b = { 0 };

	assert_int_equal(format_check(fmt, &why), NJ_OK);
	assert_int_equal(format_message(&b, fmt, p, &noon, nice, &why), NJ_OK);
	expect(fmt, &b, slice_str(want));
	buf_fini(&b);
}

/* What mosquitto_sub 2.0 prints for the same. */
static void
letters(void **state)
{
	const struct {
		const char *fmt, *want;
	} rows[] = {
		{ "plain", "plain" },
		{ "", "" },
		{ "%t %p", "f/topic Hello" },
		{ "%%|%A|%C|%D|%E|%F|%l|%m", "%|3|text/plain|abc|77|1|5|7" },
		{ "%P|%q|%R|%r|%S", "k1:v1 k2:v2|1|re/sp|1|12" },
		{ "%x|%X", "48656c6c6f|48656C6C6F" },
		{ "%10t|%-10t|%3.4t|%.4t|%010t|%-010t|",
		    "   f/topic|f/topic   |f/to|f/to|   f/topic|f/topic   |" },
		{ "%10p|%-10p|%10l|%010l|%-10l|",
		    "     Hello|Hello     |         5|0000000005|5         |" },
		{ "%010m|%-5m|%.2C|%8R|%-8R|%.3R|",
		    "0000000007|7    |te|   re/sp|re/sp   |re/|" },
		{ "%12x|%012X|%-12x|%.2x|%.4:X|%.3x|%.0x",
		    "  48656c6c6f|0048656C6C6F|48656c6c6f  |48 65 6c 6c 6f|"
		    "4865:6C6C:6F|486 56c 6c6 f|48656c6c6f" },
		{ "%3p|%.2p|%07p|%-07p|%2x", "Hel|Hello|00Hello|Hello  |4865" },
		{ "\\\\|\\a|\\e|\\n|\\r|\\t|\\v", "\\|\a|\033|\n|\r|\t|\v" },
		{ "@@|@N|@s|%U",
		    "@|123456789|1700000000|1700000000.123456789" },
		{ "@Y-@m-@d @H:@M:@S", "2023-11-14 22:13:20" },
		{ "%I", "2023-11-14T22:13:20+0000" },
		{ "%10%|%5q", "%|1" },
	};
	struct publish p = full();

	for (size_t i = 0; i < LEN(rows); i++)
		check(rows[i].fmt, &p, false, rows[i].want);
}

static void
nothing_there(void **state)
{
	struct publish p = { .topic = LIT("t") };

	check("%A|%C|%D|%E|%F|%P|%R|%S|%p|%x|%l|%m", &p, false,
	    "|||||||||"
	    "|0|0");
	check("%5A|%05S|%05C|%-3E|", &p, false, "     |00000|     |   |");
}

static void
nul(void **state)
{
	struct publish p = { .topic = LIT("t") };
	struct nj_why why;
	struct buf b = { 0 };

	assert_int_equal(
	    format_message(&b, "a\\0b", &p, &noon, false, &why), NJ_OK);
	expect("\\0", &b, LIT("a\0b"));
	buf_fini(&b);
}

static void
json(void **state)
{
	struct publish p = full(), bare = { .topic = LIT("t") };
	struct publish twice = { .topic = LIT("t"),
		.props.seen = PROP_BIT(PROP_USER) };

	check("%j", &p, false,
	    "{\"tst\":\"2023-11-14T22:13:20.123456+0000\",\"topic\":"
	    "\"f/topic\",\"qos\":1,\"retain\":1,\"payloadlen\":5,\"mid\":7,"
	    "\"properties\":{\"subscription-identifier\":12,\"topic-alias\":3,"
	    "\"content-type\":\"text/plain\",\"response-topic\":\"re/sp\","
	    "\"correlation-data\":\"abc\",\"payload-format-indicator\":1,"
	    "\"user-properties\":{\"k1\":\"v1\",\"k2\":\"v2\"},"
	    "\"message-expiry-interval\":77},\"payload\":\"Hello\"}");
	twice.props.raw = LIT("\x26\0\1k\0\2v1\x26\0\1a\0\2v2"
			      "\x26\0\1k\0\2v3");
	check("%j", &twice, false,
	    "{\"tst\":\"2023-11-14T22:13:20.123456+0000\",\"topic\":\"t\","
	    "\"qos\":0,\"retain\":0,\"payloadlen\":0,\"properties\":"
	    "{\"user-properties\":[{\"k\":\"v1\"},{\"a\":\"v2\"},"
	    "{\"k\":\"v3\"}]},\"payload\":null}");
	check("%J", &bare, false,
	    "{\"tst\":\"2023-11-14T22:13:20.123456+0000\",\"topic\":\"t\","
	    "\"qos\":0,\"retain\":0,\"payloadlen\":0,\"payload\":null}");
	bare.payload = LIT("{ \"a\" : [1, 2] }");
	check("%J", &bare, true,
	    "{\n\t\"tst\":\t\"2023-11-14T22:13:20.123456+0000\",\n\t\"topic\":"
	    "\t\"t\",\n\t\"qos\":\t0,\n\t\"retain\":\t0,\n\t\"payloadlen\":"
	    "\t16,\n\t\"payload\":\t{\n\t\t\"a\":\t[1, 2]\n\t}\n}");
}

static void
json_refused(void **state)
{
	struct publish p = { .topic = LIT("t"), .payload = LIT("{a") };
	struct nj_why why = { .what = "" };
	struct buf b = { 0 };

	assert_int_equal(
	    format_message(&b, "x%J", &p, &noon, false, &why), NJ_MALFORMED);
	assert_non_null(strstr(why.what, "not valid JSON on topic t"));
	expect("what stood before", &b, LIT("x"));
	buf_fini(&b);
}

/* IEEE 754 in the payload. */
static void
floats(void **state)
{
	static const double d = 3.25;
	static const float f = -1.5F;
	struct publish p = { .topic = LIT("t"), .payload = slice_of(&d, 8) };

	check("%d|%.2d|%10.1d|%-10.1d|%010.2d", &p, false,
	    "3.250000|3.25|       3.2|3.2       |0000003.25");
	check("%f|", &p, false, "|");
	p.payload = slice_of(&f, 4);
	check("%f|%.1f|%d", &p, false, "-1.500000|-1.5|");
}

static void
bad_formats(void **state)
{
	static const char *const rows[] = { "%", "%5", "%-", "%z", "%5.z", "%.",
		"a\\", "\\q", "@", "%99999t", "%1.99999t", "%\xc3" };

	for (size_t i = 0; i < LEN(rows); i++) {
		struct nj_why why = { .what = "" };

		if (format_check(rows[i], &why) != NJ_INVALID || !why.what[0]) {
			print_error("%s\n", rows[i]);
			fail();
		}
	}
}

static int
utc(void **state)
{
	setenv("TZ", "UTC", 1);
	tzset();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(letters),
		cmocka_unit_test(nothing_there),
		cmocka_unit_test(nul),
		cmocka_unit_test(json),
		cmocka_unit_test(json_refused),
		cmocka_unit_test(floats),
		cmocka_unit_test(bad_formats),
	};

	return cmocka_run_group_tests(tests, utc, NULL);
}
