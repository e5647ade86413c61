/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "wire/frame.h"

/* All values: written and read back, in the shortest form [MQTT-1.5.5-1]. */
static void
varint_every_value(void **state)
{
	(void)state;
	for (uint32_t v = 0; v <= MQTT_VARINT_MAX; v++) {
		uint8_t b[4];
		size_t n = (size_t)(varint_write(b, v) - b);
		struct slice s = slice_of(b, n);
		uint32_t back = ~v;

		if (n != varint_size(v) || take_varint(&s, &back) ||
		    back != v || s.n != 0) {
			print_error("value %u\n", v);
			fail();
		}
		/* Every step of what is checked below, sparser above. */
		if (v > 300000)
			v += 96;
	}
}

/* All forms of one to three bytes, and what stands behind them. */
static void
varint_every_form(void **state)
{
	(void)state;
	for (uint32_t form = 0; form < 1u << 24; form++) {
		uint8_t b[3] = { (uint8_t)form, (uint8_t)(form >> 8),
			(uint8_t)(form >> 16) };
		struct slice s = slice_of(b, sizeof b);
		uint32_t v = 77, want = 0;
		enum nj_err e = take_varint(&s, &v), want_e = NJ_TRUNCATED;
		size_t used = 0;

		for (size_t i = 0; i < 3 && want_e == NJ_TRUNCATED; i++) {
			want |= (uint32_t)(b[i] & 0x7f) << (7 * i);
			used = i + 1;
			if (!(b[i] & 0x80))
				want_e =
				    i > 0 && b[i] == 0 ? NJ_MALFORMED : NJ_OK;
		}
		if (e != want_e || s.n != 3 - (e ? 0 : used) ||
		    v != (e ? 77 : want)) {
			print_error("form %06x\n", form);
			fail();
		}
	}
}

static void
varint_rejects(void **state)
{
	const struct {
		const char *why;
		struct slice in;
		enum nj_err want;
	} rows[] = {
		{ "empty", B(""), NJ_TRUNCATED },
		{ "cut after one", B("\x80"), NJ_TRUNCATED },
		{ "cut after three", B("\xff\xff\xff"), NJ_TRUNCATED },
		{ "zero in two", B("\x80\x00"), NJ_MALFORMED },
		{ "127 in two", B("\xff\x00"), NJ_MALFORMED },
		{ "zero in four", B("\x80\x80\x80\x00"), NJ_MALFORMED },
		{ "five bytes", B("\x80\x80\x80\x80\x01"), NJ_MALFORMED },
		{ "fifth to come", B("\xff\xff\xff\xff"), NJ_MALFORMED },
		{ "largest", B("\xff\xff\xff\x7f"), NJ_OK },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice s = tight(rows[i].in), at = s;
		uint32_t v = 0;

		check_err(rows[i].why, take_varint(&at, &v), rows[i].want);
		tight_free(s);
	}
}

static void
frame_rows(void **state)
{
	const struct {
		const char *why;
		struct slice in;
		uint32_t max;
		enum nj_err want;
		uint32_t size;
		size_t left;
	} rows[] = {
		{ "nothing", B(""), 0, NJ_AGAIN, 0, 0 },
		{ "type only", B("\xc0"), 0, NJ_AGAIN, 0, 1 },
		{ "ping", B("\xc0\x00"), 0, NJ_OK, 2, 0 },
		{ "ping and more", B("\xc0\x00\xc0"), 0, NJ_OK, 2, 1 },
		{ "half a length", B("\x30\x80"), 0, NJ_AGAIN, 0, 2 },
		{ "body missing", B("\x30\x05"), 0, NJ_AGAIN, 7, 2 },
		{ "body short",
		    B("\x30\x05"
		      "abcd"),
		    0, NJ_AGAIN, 7, 6 },
		{ "body there",
		    B("\x30\x05"
		      "abcde"),
		    0, NJ_OK, 7, 0 },
		{ "at the limit",
		    B("\x30\x05"
		      "abcde"),
		    7, NJ_OK, 7, 0 },
		{ "past the limit", B("\x30\x05"), 6, NJ_TOOBIG, 7, 2 },
		{ "largest", B("\x30\xff\xff\xff\x7f"), 0, NJ_AGAIN, 268435460,
		    5 },
		{ "largest, limited", B("\x30\xff\xff\xff\x7f"), 2000000,
		    NJ_TOOBIG, 268435460, 5 },
		{ "type 0", B("\x00"), 0, NJ_MALFORMED, 0, 1 },
		{ "long length", B("\xc0\x80\x00"), 0, NJ_MALFORMED, 0, 3 },
		{ "five of length", B("\x30\xff\xff\xff\xff"), 0, NJ_MALFORMED,
		    0, 5 },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice s = tight(rows[i].in), at = s;
		struct frame f = { 0 };

		check_err(rows[i].why, frame_take(&at, rows[i].max, &f),
		    rows[i].want);
		if (rows[i].want != NJ_MALFORMED)
			assert_int_equal(f.size, rows[i].size);
		assert_int_equal(at.n, rows[i].left);
		tight_free(s);
	}
}

/* Each type with each set of flags [MQTT-2.1.3-1]: PUBREL, SUBSCRIBE and
 * UNSUBSCRIBE want 2 [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]; the
 * others 0 [MQTT-3.1.2-12], [MQTT-3.14.1-1], [MQTT-3.15.1-1]; it is seen in
 * the first byte already. */
static void
frame_flags(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 256; first++) {
		unsigned type = first >> 4, flags = first & 0x0f;
		bool two = type == MQTT_PUBREL || type == MQTT_SUBSCRIBE ||
		    type == MQTT_UNSUBSCRIBE;
		bool ok = type != 0 &&
		    (type == MQTT_PUBLISH || flags == (two ? 2 : 0));
		uint8_t b[2] = { (uint8_t)first, 0 };

		for (size_t n = 1; n <= 2; n++) {
			struct slice s = slice_of(b, n);
			struct frame f = { 0 };
			enum nj_err e = frame_take(&s, 0, &f);

			assert_int_equal(e,
			    !ok		 ? NJ_MALFORMED
				: n == 1 ? NJ_AGAIN
					 : NJ_OK);
			assert_int_equal(f.type, type);
			assert_int_equal(f.flags, flags);
		}
	}
}

/* 3.1 has DUP on requests that are sent again. */
static void
frame_flags_31(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 256; first++) {
		unsigned type = first >> 4, flags = first & 0x0f;
		bool two = type == MQTT_PUBREL || type == MQTT_SUBSCRIBE ||
		    type == MQTT_UNSUBSCRIBE;
		bool ok = type != 0 && (!two || (flags & 0x06) == 0x02);
		uint8_t b[2] = { (uint8_t)first, 0 };
		struct slice s = slice_of(b, 2);
		struct frame f = { 0 };

		assert_int_equal(
		    frame_take_31(&s, 0, &f), ok ? NJ_OK : NJ_MALFORMED);
	}
}

/* Byte by byte gives the same packets as all at once. */
static void
frame_bytewise(void **state)
{
	static const uint8_t in[] = "\x30\x05\x00\x01"
				    "axy\xc0\x00\x82\x00";
	size_t off = 0, packets = 0;

	(void)state;
	for (size_t n = 1; n < sizeof in; n++) {
		struct slice s = slice_of(in + off, n - off);
		struct frame f;

		if (frame_take(&s, 0, &f) == NJ_OK) {
			off = n;
			packets++;
			assert_int_equal(s.n, 0);
		}
	}
	assert_int_equal(packets, 3);
	assert_int_equal(off, sizeof in - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(varint_every_value),
		cmocka_unit_test(varint_every_form),
		cmocka_unit_test(varint_rejects),
		cmocka_unit_test(frame_rows),
		cmocka_unit_test(frame_flags),
		cmocka_unit_test(frame_flags_31),
		cmocka_unit_test(frame_bytewise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
