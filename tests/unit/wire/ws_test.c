/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "wire/ws.h"

#define KEY "\x11\x22\x33\x44"

/* A frame as a client sends it; its length. */
static size_t
client_frame(uint8_t *dst, uint8_t first, struct slice payload)
{
	static const uint8_t key[4] = { 0x11, 0x22, 0x33, 0x44 };
	uint8_t head[WS_HEAD_MAX];
	size_t n = ws_head(head, WS_BINARY, payload.n);

	head[0] = first;
	head[1] |= 0x80;
	memcpy(dst, head, n);
	memcpy(dst + n, key, sizeof key);
	n += sizeof key;
	for (size_t i = 0; i < payload.n; i++)
		dst[n++] = payload.p[i] ^ key[i % 4];
	return n;
}

/* Takes all, in pieces of step bytes, and gathers payload and controls
 * ("9:text|"). */
static enum nj_err
take_all(struct ws_in *w, struct slice in, size_t step, struct buf *data,
    struct buf *controls, struct ws_taken *last)
{
	enum nj_err e = NJ_OK;

	memset(last, 0, sizeof *last);
	for (size_t at = 0; at < in.n && !e && !w->ended;) {
		size_t part = in.n - at < step ? in.n - at : step;
		uint8_t *copy = malloc(part);

		assert_non_null(copy);
		memcpy(copy, in.p + at, part);
		e = ws_take(w, copy, copy, part, last);
		assert_true(last->used <= part && last->n <= last->used);
		assert_int_equal(buf_put(data, copy, last->n), NJ_OK);
		if (last->is_control)
			assert_int_equal(buf_printf(controls, "%u:%.*s|",
					     last->op, (int)last->control.n,
					     (const char *)last->control.p),
			    NJ_OK);
		free(copy);
		at += last->used;
	}
	return e;
}

static const size_t steps[] = { 1000, 1, 2, 3, 7, 9, 64 };

static void
takes(void **state)
{
	const struct {
		const char *why;
		struct slice in;
		const char *data, *controls;
	} rows[] = {
		{ "nothing", B(""), "", "" },
		{ "one byte", B("\x82\x81" KEY "\x70"), "a", "" },
		{ "eleven bytes",
		    B("\x82\x8b" KEY
		      "\x70\x40\x50\x20\x74\x44\x54\x2c\x78\x48\x58"),
		    "abcdefghijk", "" },
		{ "two messages", B("\x82\x81" KEY "\x70\x82\x81" KEY "\x73"),
		    "ab", "" },
		{ "fragments", B("\x02\x81" KEY "\x70\x80\x81" KEY "\x73"),
		    "ab", "" },
		{ "an empty one between",
		    B("\x02\x81" KEY "\x70\x00\x80" KEY "\x80\x81" KEY "\x73"),
		    "ab", "" },
		{ "a ping between",
		    B("\x02\x81" KEY "\x70\x89\x82" KEY "\x79\x4b\x80\x81" KEY
		      "\x73"),
		    "ab", "9:hi|" },
		{ "a pong nobody asked for", B("\x8a\x80" KEY), "", "10:|" },
		{ "half a head", B("\x82\x81\x11"), "", "" },
		{ "half a payload", B("\x82\x82" KEY "\x70"), "a", "" },
		{ "a close ends it",
		    B("\x82\x81" KEY "\x70\x88\x80" KEY "\x82\x81" KEY "\x70"),
		    "a", "8:|" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++)
		for (size_t k = 0; k < LEN(steps); k++) {
			struct ws_in w = { .max = 100 };
			struct buf data = { 0 }, controls = { 0 };
			struct ws_taken t;

			check_err(rows[i].why,
			    take_all(
				&w, rows[i].in, steps[k], &data, &controls, &t),
			    NJ_OK);
			check_slice(rows[i].why, buf_slice(&data),
			    slice_str(rows[i].data));
			check_slice(rows[i].why, buf_slice(&controls),
			    slice_str(rows[i].controls));
			buf_fini(&data);
			buf_fini(&controls);
		}
}

static void
refuses(void **state)
{
	const struct {
		const char *why;
		struct slice in;
		unsigned code;
		const char *says;
	} rows[] = {
		{ "not masked", B("\x82\x01"), 1002, "masked" },
		{ "first reserved bit", B("\xc2\x81"), 1002, "reserved" },
		{ "second", B("\xa2\x81"), 1002, "reserved" },
		{ "third", B("\x92\x81"), 1002, "reserved" },
		{ "text", B("\x81\x81"), 1003, "text" },
		{ "text, fragmented", B("\x01\x81"), 1003, "text" },
		{ "kind 3", B("\x83\x80"), 1002, "kind" },
		{ "kind 7", B("\x87\x80"), 1002, "kind" },
		{ "kind 11", B("\x8b\x80"), 1002, "kind" },
		{ "kind 15", B("\x8f\x80"), 1002, "kind" },
		{ "ping of 126", B("\x89\xfe"), 1002, "125" },
		{ "ping of 64 bits", B("\x89\xff"), 1002, "125" },
		{ "fragmented ping", B("\x09\x80"), 1002, "fragmented" },
		{ "fragmented close", B("\x08\x80"), 1002, "fragmented" },
		{ "continues nothing", B("\x80\x80"), 1002, "continues" },
		{ "continues a whole one", B("\x82\x81" KEY "\x70\x80\x81"),
		    1002, "continues" },
		{ "one inside another", B("\x02\x81" KEY "\x70\x82\x81"), 1002,
		    "inside" },
		{ "125 in 16 bits", B("\x82\xfe\x00\x7d" KEY), 1002,
		    "shortest" },
		{ "65535 in 64 bits",
		    B("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff" KEY), 1002,
		    "shortest" },
		{ "2^63", B("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" KEY),
		    1002, "2^63" },
		{ "2^64-1", B("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" KEY),
		    1002, "2^63" },
		{ "2^63-1", B("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" KEY),
		    1009, "long" },
		{ "101 bytes", B("\x82\xe5" KEY), 1009, "long" },
		{ "101 in two fragments", B("\x02\x81" KEY "\x70\x80\xe4" KEY),
		    1009, "long" },
		{ "half a code", B("\x88\x81" KEY "\x12"), 1002, "half" },
		{ "code 999", B("\x88\x82" KEY "\x12\xc5"), 1002, "code" },
		{ "code 1005", B("\x88\x82" KEY "\x12\xcf"), 1002, "code" },
		{ "code 5000", B("\x88\x82" KEY "\x02\xaa"), 1002, "code" },
		{ "a reason of Latin-1", B("\x88\x83" KEY "\x12\xca\xda"), 1007,
		    "UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++)
		for (size_t k = 0; k < LEN(steps); k++) {
			struct ws_in w = { .max = 100 };
			struct buf data = { 0 }, controls = { 0 };
			struct ws_taken t;

			check_err(rows[i].why,
			    take_all(
				&w, rows[i].in, steps[k], &data, &controls, &t),
			    NJ_PROTOCOL);
			if (t.code != rows[i].code ||
			    !strstr(t.why, rows[i].says)) {
				print_error(
				    "%s: %u %s\n", rows[i].why, t.code, t.why);
				fail();
			}
			/* and nothing is taken any more */
			check_err(rows[i].why,
			    ws_take(&w, data.p, rows[i].in.p, rows[i].in.n, &t),
			    NJ_OK);
			assert_int_equal(t.used, 0);
			buf_fini(&data);
			buf_fini(&controls);
		}
}

static void
close_codes(void **state)
{
	const struct {
		struct slice in;
		unsigned code;
	} rows[] = {
		{ B("\x88\x80" KEY), WS_CODE_NONE },
		{ B("\x88\x82" KEY "\x12\xca"), 1000 },
		{ B("\x88\x85" KEY "\x12\xcb\x51\x3d\x74"), 1001 },
		{ B("\x88\x82" KEY "\x1a\x9a"), 3000 },
		{ B("\x88\x82" KEY "\x02\xa5"), 4999 },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct ws_in w = { .max = 100 };
		uint8_t out[200];
		struct ws_taken t;

		assert_int_equal(
		    ws_take(&w, out, rows[i].in.p, rows[i].in.n, &t), NJ_OK);
		assert_true(t.is_control && t.op == WS_CLOSE);
		assert_int_equal(t.code, rows[i].code);
		assert_true(w.ended);
	}
}

/* Every length around the steps of unmasking and of the head's forms, from
 * every alignment, moved by every distance. */
static void
lengths(void **state)
{
	static const size_t sizes[] = { 0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17,
		31, 63, 124, 125, 126, 127, 128, 1000, 65535, 65536, 70001 };
	uint8_t *payload = malloc(80000), *frame = malloc(80100);

	(void)state;
	assert_true(payload && frame);
	for (size_t i = 0; i < 80000; i++)
		payload[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t i = 0; i < LEN(sizes); i++)
		for (size_t off = 0; off < 10; off++) {
			struct ws_in w = { .max = 80000 };
			struct ws_taken t;
			size_t n = client_frame(
			    frame + off, 0x82, slice_of(payload, sizes[i]));

			assert_int_equal(
			    ws_take(&w, frame, frame + off, n, &t), NJ_OK);
			assert_int_equal(t.used, n);
			assert_int_equal(t.n, sizes[i]);
			assert_memory_equal(frame, payload, sizes[i]);
			assert_false(w.in_message);
		}
	free(payload);
	free(frame);
}

/* An empty frame costs six bytes and brings nothing. */
static void
empty_floods(void **state)
{
	struct ws_in w = { .max = 100 };
	uint8_t out[64];
	struct ws_taken t;
	unsigned n = 0;
	enum nj_err e;

	(void)state;
	e = ws_take(&w, out, (const uint8_t *)"\x02\x80" KEY, 6, &t);
	assert_int_equal(e, NJ_OK);
	while (!(e = ws_take(&w, out, (const uint8_t *)"\x00\x80" KEY, 6, &t)))
		assert_true(++n <= WS_EMPTY_MAX);
	assert_int_equal(e, NJ_PROTOCOL);
	assert_int_equal(t.code, WS_CODE_POLICY);
	/* a byte now and then, and it may go on; the message ends it */
	w = (struct ws_in){ .max = 1000 };
	assert_int_equal(
	    ws_take(&w, out, (const uint8_t *)"\x02\x80" KEY, 6, &t), NJ_OK);
	for (n = 0; n < 100000; n++) {
		bool byte = n % WS_EMPTY_MAX == 0;

		e = ws_take(&w, out,
		    (const uint8_t *)(byte ? "\x00\x81" KEY "x"
					   : "\x00\x80" KEY),
		    byte ? 7 : 6, &t);
		if (e)
			break;
	}
	assert_int_equal(n, 100000);
}

static void
heads(void **state)
{
	const struct {
		uint64_t len;
		struct slice want;
	} rows[] = {
		{ 0, B("\x82\x00") },
		{ 125, B("\x82\x7d") },
		{ 126, B("\x82\x7e\x00\x7e") },
		{ 65535, B("\x82\x7e\xff\xff") },
		{ 65536, B("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00") },
		{ UINT64_C(0x123456789a),
		    B("\x82\x7f\x00\x00\x00\x12\x34\x56\x78\x9a") },
	};
	uint8_t b[2 + WS_CONTROL_MAX];
	char longer[300];

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		uint8_t head[WS_HEAD_MAX];
		size_t n = ws_head(head, WS_BINARY, rows[i].len);

		check_slice("head", slice_of(head, n), rows[i].want);
	}
	check_slice("pong", slice_of(b, ws_control(b, WS_PONG, LIT("hi"))),
	    LIT("\x8a\x02hi"));
	check_slice("close", slice_of(b, ws_close(b, WS_CODE_PROTOCOL, "no")),
	    LIT("\x88\x04\x03\xeano"));
	check_slice("close without a reason",
	    slice_of(b, ws_close(b, WS_CODE_NORMAL, NULL)),
	    LIT("\x88\x02\x03\xe8"));
	check_slice("close without a code",
	    slice_of(b, ws_close(b, WS_CODE_NONE, NULL)), LIT("\x88\x00"));
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	assert_int_equal(
	    ws_close(b, WS_CODE_NORMAL, longer), 2 + WS_CONTROL_MAX);
}

/* The other role: frames come without a mask, and leave with one. */
static void
client_role(void **state)
{
	static const uint8_t key[WS_KEY_LEN] = { 0x11, 0x22, 0x33, 0x44 };
	struct slice in = LIT("\x02\x01"
			      "a\x89\x01p\x80\x01"
			      "b\x88\x02\x03\xe8");
	struct ws_in w = { .max = 10, .client = true };
	struct buf data = { 0 }, controls = { 0 };
	uint8_t head[WS_HEAD_IN_MAX], masked[11];
	struct ws_taken last;

	(void)state;
	for (size_t i = 0; i < LEN(steps); i++) {
		w = (struct ws_in){ .max = 10, .client = true };
		buf_truncate(&data, 0);
		buf_truncate(&controls, 0);
		check_err("taken",
		    take_all(&w, in, steps[i], &data, &controls, &last), NJ_OK);
		check_slice("data", buf_slice(&data), LIT("ab"));
		check_slice(
		    "controls", buf_slice(&controls), LIT("9:p|8:\x03\xe8|"));
		assert_int_equal(last.code, WS_CODE_NORMAL);
	}
	w = (struct ws_in){ .max = 10, .client = true };
	check_err("masked",
	    take_all(
		&w, LIT("\x82\x81" KEY "\x70"), 1, &data, &controls, &last),
	    NJ_PROTOCOL);
	assert_string_equal(last.why, "a frame is masked");
	check_slice("head",
	    slice_of(head, ws_head_masked(head, WS_BINARY, 300, key)),
	    LIT("\x82\xfe\x01\x2c" KEY));
	ws_mask(masked, (const uint8_t *)"abcdefghijk", sizeof masked, key);
	check_slice("masked", slice_of(masked, sizeof masked),
	    LIT("\x70\x40\x50\x20\x74\x44\x54\x2c\x78\x48\x58"));
	buf_fini(&data);
	buf_fini(&controls);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes),
		cmocka_unit_test(refuses),
		cmocka_unit_test(close_codes),
		cmocka_unit_test(lengths),
		cmocka_unit_test(empty_floods),
		cmocka_unit_test(heads),
		cmocka_unit_test(client_role),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
