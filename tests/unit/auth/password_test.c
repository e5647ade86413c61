/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "auth/password.h"

/* Made by mosquitto_passwd 2.0.11, Python's hashlib and the argon2 library. */
static const struct {
	const char *hash, *password;
	enum password_kind kind;
} good[] = {
	{ "$7$101$Z9E/JLmytX6biuh5$6jfFwrOEnaMTbElAiL8Pyeu5rNG1tCs0c8uWpcChis"
	  "wT1GUvjoEiEjTOE7ZEIgKwAi3Rm4VomXAUADsCxEbkKg==",
	    "s3cret", PASSWORD_PBKDF2 },
	{ "$6$hC7jVoMYFblQ1DP1$/2BVjw9J7OqPYU9ereNK3Ka1QVK3xff7HzBt0MKI83Upw"
	  "FQ29UA6TZWCVTm0PWVtyZgXnaDRQp5sq4ATpYzZ9w==",
	    "p\xc3\xa4ssword", PASSWORD_SHA512 },
	/* a salt of 64 bytes */
	{ "$7$101$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKiss"
	  "LS4vMDEyMzQ1Njc4OTo7PD0+Pw==$nC5lZh4zXXL9YYwSBLXeQ4x6eVDLDThAXrkOT"
	  "qlGFer3YWn3xud0lGeA18sh8JUkSvje98xCmwzQO8iSZd89Pw==",
	    "secret", PASSWORD_PBKDF2 },
	{ "$7$1000$AAECAwQFBgcICQoL$4wTcmyeXKbX+eU8mRAv8RuY7FkPT5YqwsG6AZlmHK"
	  "NwWPzuBfjOpFNbp6eDXGOQ94FxpOi30RqAptC1OfHP0KA==",
	    "secret", PASSWORD_PBKDF2 },
	{ "$6$AAECAwQFBgcICQoL$JqsxEv/ucyxjA5DKsQ+Y8CDWaQDNQI9FpAkmfwAqWfwZLk"
	  "/JEGgM0EpylrJHAZKKyFQjJeZ3nFaHjPzOzPPmPw==",
	    "secret", PASSWORD_SHA512 },
	{ "$argon2id$v=19$m=64,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$sAB5SsCsBD0gmb5"
	  "FJXoHOsOkGSa93chcRYo67KPvF8c",
	    "secret", PASSWORD_ARGON2ID },
	{ "$argon2id$v=19$m=256,t=2,p=4$AAECAwQFBgcICQoLDA0ODw$HmskyIJUlAw6GS"
	  "fhUIeq2db3askoKXYH6oVgAwJaF+8fITI6j50NQUfx1sY/92BjZ6VCHx69H13ctQv4"
	  "4po+QA",
	    "secret", PASSWORD_ARGON2ID },
};

static void
verifies(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(good); i++) {
		struct slice pw = slice_str(good[i].password);
		struct nj_why why = { 0 };
		struct password_hash h;
		size_t at;

		check_int(good[i].hash,
		    password_parse(slice_str(good[i].hash), &h, &at, &why),
		    NJ_OK);
		assert_int_equal(h.cost.kind, good[i].kind);
		check_int(good[i].hash, password_verify(&h, pw), NJ_OK);
		pw.n--;
		check_int(good[i].hash, password_verify(&h, pw), NJ_DENIED);
		check_int(
		    "wrong", password_verify(&h, LIT("Secret")), NJ_DENIED);
		check_int("empty", password_verify(&h, SLICE_NONE), NJ_DENIED);
		/* HMAC fills short keys up with zeros, and PBKDF2 with it */
		if (h.cost.kind != PASSWORD_PBKDF2)
			check_int("with NUL",
			    password_verify(&h, LIT("secret\0")), NJ_DENIED);
		h.hash[h.hash_n - 1] ^= 1;
		pw.n++;
		check_int("last bit", password_verify(&h, pw), NJ_DENIED);
	}
}

/* Every cut and most changes of one character are no hash any more. */
static void
damaged(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(good); i++) {
		struct slice s = slice_str(good[i].hash);

		for (size_t n = 0; n < s.n; n++) {
			struct password_hash h;
			struct nj_why why = { 0 };
			size_t at = 0;
			enum nj_err e =
			    password_parse(slice_of(s.p, n), &h, &at, &why);

			/* argon2 hashes say no length of their own */
			if (e == NJ_OK) {
				assert_int_equal(
				    good[i].kind, PASSWORD_ARGON2ID);
				assert_true(h.hash_n >= 16);
				continue;
			}
			assert_true(at <= n);
			assert_true(why.what[0] != '\0');
		}
	}
}

static void
parse_rejects(void **state)
{
	const struct {
		const char *hash;
		enum nj_err want;
		size_t at;
		const char *says;
	} rows[] = {
		{ "", NJ_UNSUPPORTED, 0, "no password hash" },
		{ "plain", NJ_UNSUPPORTED, 0, "no password hash" },
		{ "$1$salt$hash", NJ_UNSUPPORTED, 0, "no password hash" },
		{ "$5$salt$hash", NJ_UNSUPPORTED, 0, "no password hash" },
		{ "$argon2i$v=19$m=64,t=1,p=1$a$b", NJ_UNSUPPORTED, 0,
		    "no password hash" },
		{ "$6$", NJ_MALFORMED, 3, "damaged" },
		{ "$6$!$x", NJ_MALFORMED, 3, "damaged" },
		{ "$6$AAAA$AAAA", NJ_MALFORMED, 0, "cut off" },
		{ "$7$", NJ_MALFORMED, 3, "damaged" },
		{ "$7$x$", NJ_MALFORMED, 3, "damaged" },
		{ "$7$-1$AAAA$AAAA", NJ_MALFORMED, 3, "damaged" },
		{ "$7$010$AAAA$AAAA", NJ_MALFORMED, 3, "damaged" },
		{ "$7$99999999999$AAAA$AAAA", NJ_MALFORMED, 3, "damaged" },
		{ "$7$101$AAAA", NJ_MALFORMED, 11, "damaged" },
		{ "$argon2id$m=64,t=1,p=1$AAAA$AAAA", NJ_MALFORMED, 10,
		    "damaged" },
		{ "$argon2id$v=20$m=64,t=1,p=1$AAAA$AAAA", NJ_MALFORMED, 14,
		    "damaged" },
		{ "$argon2id$v=19$t=1,m=64,p=1$AAAA$AAAA", NJ_MALFORMED, 14,
		    "damaged" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct password_hash h;
		struct nj_why why = { 0 };
		size_t at = 99;

		check_int(rows[i].hash,
		    password_parse(slice_str(rows[i].hash), &h, &at, &why),
		    rows[i].want);
		check_int(rows[i].hash, (long)at, (long)rows[i].at);
		check_has(why.what, rows[i].says);
	}
}

/* A file cannot make one login cost more than the bounds. */
static void
costs(void **state)
{
	const struct {
		struct password_cost c;
		enum nj_err want;
	} rows[] = {
		{ { PASSWORD_SHA512, 0, 0, 0 }, NJ_OK },
		{ { PASSWORD_PBKDF2, 0, 0, 0 }, NJ_INVALID },
		{ { PASSWORD_PBKDF2, 1, 0, 0 }, NJ_OK },
		{ { PASSWORD_PBKDF2, 2000000, 0, 0 }, NJ_OK },
		{ { PASSWORD_PBKDF2, 2000001, 0, 0 }, NJ_INVALID },
		{ { PASSWORD_ARGON2ID, 1, 47104, 1 }, NJ_OK },
		{ { PASSWORD_ARGON2ID, 0, 47104, 1 }, NJ_INVALID },
		{ { PASSWORD_ARGON2ID, 65, 64, 1 }, NJ_INVALID },
		{ { PASSWORD_ARGON2ID, 1, 7, 1 }, NJ_INVALID },
		{ { PASSWORD_ARGON2ID, 1, 31, 4 }, NJ_INVALID },
		{ { PASSWORD_ARGON2ID, 1, 32, 4 }, NJ_OK },
		{ { PASSWORD_ARGON2ID, 1, 262145, 1 }, NJ_INVALID },
		{ { PASSWORD_ARGON2ID, 8, 262144, 1 }, NJ_OK },
		{ { PASSWORD_ARGON2ID, 9, 262144, 1 }, NJ_INVALID },
		{ { PASSWORD_ARGON2ID, 1, 1024, 0 }, NJ_INVALID },
		{ { PASSWORD_ARGON2ID, 1, 1024, 17 }, NJ_INVALID },
		{ { (enum password_kind)9, 1, 1, 1 }, NJ_INVALID },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct nj_why why = { 0 };
		char text[PASSWORD_TEXT_MAX];

		check_int("cost", password_check_cost(&rows[i].c, &why),
		    rows[i].want);
		assert_int_equal(why.what[0] != '\0', rows[i].want != NJ_OK);
		if (rows[i].want)
			check_int("make",
			    password_make(&rows[i].c, LIT("x"), text),
			    NJ_INVALID);
	}
}

static void
makes(void **state)
{
	const struct password_cost rows[] = {
		{ PASSWORD_SHA512, 0, 0, 0 },
		{ PASSWORD_PBKDF2, 101, 0, 0 },
		{ PASSWORD_ARGON2ID, 1, 64, 1 },
		{ PASSWORD_ARGON2ID, 3, 128, 2 },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		char one[PASSWORD_TEXT_MAX], two[PASSWORD_TEXT_MAX];
		struct password_hash h;
		size_t at;

		check_int(
		    "make", password_make(&rows[i], LIT("pw"), one), NJ_OK);
		check_int(
		    "make", password_make(&rows[i], LIT("pw"), two), NJ_OK);
		assert_string_not_equal(one, two); /* salted */
		check_int("parse",
		    password_parse(slice_str(one), &h, &at, NULL), NJ_OK);
		assert_memory_equal(&h.cost, &rows[i], sizeof h.cost);
		check_int("right", password_verify(&h, LIT("pw")), NJ_OK);
		check_int("wrong", password_verify(&h, LIT("pW")), NJ_DENIED);
	}
	for (int k = PASSWORD_SHA512; k <= PASSWORD_ARGON2ID; k++) {
		struct password_cost c =
		    password_default_cost((enum password_kind)k);

		check_int("default", password_check_cost(&c, NULL), NJ_OK);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verifies),
		cmocka_unit_test(damaged),
		cmocka_unit_test(parse_rejects),
		cmocka_unit_test(costs),
		cmocka_unit_test(makes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
