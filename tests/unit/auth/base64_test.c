/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "auth/base64.h"

/* RFC 4648 section 10. */
static void
rfc_vectors(void **state)
{
	const struct {
		const char *plain, *text;
	} rows[] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice plain = slice_str(rows[i].plain);
		uint8_t out[8];
		char text[16];
		size_t n = base64_encode(text, plain, true);

		assert_int_equal(n, strlen(rows[i].text));
		assert_memory_equal(text, rows[i].text, n);
		assert_int_equal(n, BASE64_SIZE(plain.n));
		check_int(rows[i].text,
		    base64_decode(slice_of(text, n), true, out, 8, &n), NJ_OK);
		assert_true(slice_eq(slice_of(out, n), plain));
		n = base64_encode(text, plain, false);
		check_int(rows[i].text,
		    base64_decode(slice_of(text, n), false, out, 8, &n), NJ_OK);
		assert_true(slice_eq(slice_of(out, n), plain));
	}
}

static void
rejects(void **state)
{
	const struct {
		const char *text;
		bool padded;
		enum nj_err want;
	} rows[] = {
		{ "Zg", true, NJ_MALFORMED },
		{ "Zg=", true, NJ_MALFORMED },
		{ "Zg==", false, NJ_MALFORMED },
		{ "Z", false, NJ_MALFORMED },
		{ "Z===", true, NJ_MALFORMED },
		{ "====", true, NJ_MALFORMED },
		{ "Zh==", true, NJ_MALFORMED }, /* bits that say nothing */
		{ "Zm9=", true, NJ_MALFORMED },
		{ "Zm 9", true, NJ_MALFORMED },
		{ "Zm9\n", true, NJ_MALFORMED },
		{ "Zm9-", true, NJ_MALFORMED },
		{ "Z=9v", true, NJ_MALFORMED },
		{ "AAAAAAAAAAAA", true, NJ_TOOBIG },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		uint8_t out[8];
		size_t n;

		check_int(rows[i].text,
		    base64_decode(
			slice_str(rows[i].text), rows[i].padded, out, 8, &n),
		    rows[i].want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc_vectors),
		cmocka_unit_test(rejects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
