/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "auth/password.h"
#include "auth/password_file.h"
#include "auth/scram.h"

#define S(lit)                                          \
	{                                               \
		(const uint8_t *)(lit), sizeof(lit) - 1 \
	}

/* RFC 7677 3. */
#define RFC_FIRST     "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define RFC_CLIENT    "rOprNGfwEbeRWgbNEkqO"
#define RFC_SERVER    "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_NONCE     RFC_CLIENT RFC_SERVER
#define RFC_CHALLENGE "r=" RFC_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define RFC_PROOF     "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define RFC_FINAL     "c=biws,r=" RFC_NONCE "," RFC_PROOF
#define RFC_END	      "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static struct scram_verifier
rfc_verifier(void)
{
	struct scram_verifier v = { .iterations = 4096, .salt_n = 16 };
	static const uint8_t salt[16] = { 0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12,
		0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81 };

	memcpy(v.salt, salt, sizeof salt);
	check_int("derive", scram_derive(LIT("pencil"), &v), NJ_OK);
	return v;
}

static void
check_text(const char *what, const struct buf *b, const char *want)
{
	if (!slice_is(buf_slice(b), want))
		print_error("%s: '%.*s'\n", what, (int)buf_len(b),
		    (const char *)buf_slice(b).p);
	assert_true(slice_is(buf_slice(b), want));
}

static void
server_of_the_rfc(void **state)
{
	struct scram_verifier v = rfc_verifier();
	struct scram_server s = { 0 };
	struct buf out = { 0 };
	struct nj_why why;

	(void)state;
	check_int("first", scram_server_begin(&s, LIT(RFC_FIRST), &why), NJ_OK);
	check_text("name", &s.name, "user");
	check_int("challenge",
	    scram_server_challenge(&s, &v, LIT(RFC_SERVER), &out), NJ_OK);
	check_text("challenge", &out, RFC_CHALLENGE);
	buf_truncate(&out, 0);
	check_int("final", scram_server_finish(&s, LIT(RFC_FINAL), &out, &why),
	    NJ_OK);
	check_text("end", &out, RFC_END);
	buf_fini(&out);
	scram_server_fini(&s);
}

static void
client_of_the_rfc(void **state)
{
	struct scram_client c = { .asked = false };
	struct buf out = { 0 };
	struct nj_why why;

	(void)state;
	check_int("first",
	    scram_client_first(&c, LIT("user"), LIT(RFC_CLIENT), &out), NJ_OK);
	check_text("first", &out, RFC_FIRST);
	buf_truncate(&out, 0);
	check_int(
	    "early", scram_client_verify(&c, LIT(RFC_END), &why), NJ_DENIED);
	check_int("final",
	    scram_client_final(
		&c, LIT(RFC_CHALLENGE), LIT("pencil"), &out, &why),
	    NJ_OK);
	check_text("final", &out, RFC_FINAL);
	check_int("end", scram_client_verify(&c, LIT(RFC_END), &why), NJ_OK);
	check_int("other end",
	    scram_client_verify(&c,
		LIT("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), &why),
	    NJ_DENIED);
	check_int("error",
	    scram_client_verify(&c, LIT("e=invalid-proof"), &why), NJ_DENIED);
	assert_string_equal(why.what, "invalid-proof");
	check_int("asked twice",
	    scram_client_final(
		&c, LIT(RFC_CHALLENGE), LIT("pencil"), &out, &why),
	    NJ_PROTOCOL);
	buf_fini(&out);
	scram_client_fini(&c);
}

/* What a client may say first. */
static const struct {
	const char *why;
	struct slice in;
	enum nj_err want;
} firsts[] = {
	{ "the RFC's", S(RFC_FIRST), NJ_OK },
	{ "binding not advertised", S("y,,n=user,r=abc"), NJ_OK },
	{ "for itself", S("n,a=user,n=user,r=abc"), NJ_OK },
	{ "an extension", S("n,,n=user,r=abc,x=1"), NJ_OK },
	{ "two extensions", S("n,,n=user,r=abc,x=1,Y=2=3"), NJ_OK },
	{ "a comma in the name", S("n,,n=us=2Cer,r=abc"), NJ_OK },
	{ "empty", S(""), NJ_MALFORMED },
	{ "NUL", S("n,,n=us\0er,r=abc"), NJ_MALFORMED },
	{ "not UTF-8", S("n,,n=us\xff,r=abc"), NJ_MALFORMED },
	{ "binding", S("p=tls-exporter,,n=user,r=abc"), NJ_UNSUPPORTED },
	{ "for another", S("n,a=root,n=user,r=abc"), NJ_UNSUPPORTED },
	{ "for nobody", S("n,a=,n=user,r=abc"), NJ_MALFORMED },
	{ "no a=", S("n,user,n=user,r=abc"), NJ_MALFORMED },
	{ "no header", S("n=user,r=abc"), NJ_MALFORMED },
	{ "half a header", S("n,n=user,r=abc"), NJ_MALFORMED },
	{ "header alone", S("n,,"), NJ_MALFORMED },
	{ "header's begin", S("n,"), NJ_MALFORMED },
	{ "one letter", S("n"), NJ_MALFORMED },
	{ "flag in capitals", S("N,,n=user,r=abc"), NJ_MALFORMED },
	{ "mandatory extension", S("n,,m=x,n=user,r=abc"), NJ_UNSUPPORTED },
	{ "no name", S("n,,r=abc"), NJ_MALFORMED },
	{ "empty name", S("n,,n=,r=abc"), NJ_MALFORMED },
	{ "stray =", S("n,,n=us=er,r=abc"), NJ_MALFORMED },
	{ "= in small letters", S("n,,n=us=2cer,r=abc"), NJ_MALFORMED },
	{ "= at the end", S("n,,n=user=,r=abc"), NJ_MALFORMED },
	{ "cut =", S("n,,n=user=2,r=abc"), NJ_MALFORMED },
	{ "no nonce", S("n,,n=user"), NJ_MALFORMED },
	{ "no nonce, comma", S("n,,n=user,"), NJ_MALFORMED },
	{ "empty nonce", S("n,,n=user,r="), NJ_MALFORMED },
	{ "blank in the nonce", S("n,,n=user,r=a c"), NJ_MALFORMED },
	{ "umlaut in the nonce", S("n,,n=user,r=\xc3\xa4"), NJ_MALFORMED },
	{ "wrong order", S("n,,r=abc,n=user"), NJ_MALFORMED },
	{ "comma behind", S("n,,n=user,r=abc,"), NJ_MALFORMED },
	{ "no attribute behind", S("n,,n=user,r=abc,xyz"), NJ_MALFORMED },
	{ "digit as attribute", S("n,,n=user,r=abc,1=2"), NJ_MALFORMED },
	{ "empty extension", S("n,,n=user,r=abc,x="), NJ_MALFORMED },
};

static void
first_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(firsts); i++) {
		struct scram_server s = { 0 };
		struct nj_why why = { .what = "" };

		check_int(firsts[i].why,
		    scram_server_begin(&s, firsts[i].in, &why), firsts[i].want);
		assert_int_equal(why.what[0] != '\0', firsts[i].want != NJ_OK);
		scram_server_fini(&s);
	}
}

static void
first_messages_are_bounded(void **state)
{
	struct scram_first f;
	struct nj_why why;

	(void)state;
	for (size_t n = 1000; n < 5000; n += 8) {
		struct buf b = { 0 };

		check_int(
		    "n,,n=", buf_printf(&b, "n,,n=%0*d,r=", (int)n, 0), NJ_OK);
		check_int("r", buf_printf(&b, "%0250d", 0), NJ_OK);
		check_int("long name",
		    scram_take_first(buf_slice(&b), &f, &why),
		    n > SCRAM_NAME_MAX ? NJ_MALFORMED : NJ_OK);
		check_int("r", buf_printf(&b, "%07d", 0), NJ_OK);
		check_int("long nonce",
		    scram_take_first(buf_slice(&b), &f, &why), NJ_MALFORMED);
		buf_fini(&b);
	}
}

static const struct {
	const char *why, *in;
	enum nj_err want;
} finals[] = {
	{ "an unknown extension changes what is signed",
	    "c=biws,r=" RFC_NONCE ",x=1," RFC_PROOF, NJ_DENIED },
	{ "another proof",
	    "c=biws,r=" RFC_NONCE
	    ",p=AHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
	    NJ_DENIED },
	{ "empty", "", NJ_MALFORMED },
	{ "other header", "c=eSws,r=" RFC_NONCE "," RFC_PROOF, NJ_MALFORMED },
	{ "header and more", "c=biwsYQ==,r=" RFC_NONCE "," RFC_PROOF,
	    NJ_MALFORMED },
	{ "no header", "c=,r=" RFC_NONCE "," RFC_PROOF, NJ_MALFORMED },
	{ "header not in base64", "c=n,,,r=" RFC_NONCE "," RFC_PROOF,
	    NJ_MALFORMED },
	{ "no c=", "r=" RFC_NONCE "," RFC_PROOF, NJ_MALFORMED },
	{ "no nonce", "c=biws," RFC_PROOF, NJ_MALFORMED },
	{ "half a nonce", "c=biws,r=" RFC_CLIENT "," RFC_PROOF, NJ_MALFORMED },
	{ "a longer nonce", "c=biws,r=" RFC_NONCE "x," RFC_PROOF,
	    NJ_MALFORMED },
	{ "no proof", "c=biws,r=" RFC_NONCE, NJ_MALFORMED },
	{ "no proof, comma", "c=biws,r=" RFC_NONCE ",", NJ_MALFORMED },
	{ "empty proof", "c=biws,r=" RFC_NONCE ",p=", NJ_MALFORMED },
	{ "short proof", "c=biws,r=" RFC_NONCE ",p=dHzb", NJ_MALFORMED },
	{ "long proof",
	    "c=biws,r=" RFC_NONCE
	    ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQAAAAA",
	    NJ_MALFORMED },
	{ "proof without padding",
	    "c=biws,r=" RFC_NONCE
	    ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ",
	    NJ_MALFORMED },
	{ "something behind the proof", RFC_FINAL ",x=1", NJ_MALFORMED },
	{ "the proof twice", RFC_FINAL "," RFC_PROOF, NJ_DENIED },
	{ "the first message again", RFC_FIRST, NJ_MALFORMED },
};

static void
final_messages(void **state)
{
	struct scram_verifier v = rfc_verifier();

	(void)state;
	for (size_t i = 0; i < LEN(finals); i++) {
		struct scram_server s = { 0 };
		struct buf out = { 0 };
		struct nj_why why = { .what = "" };

		check_int("first", scram_server_begin(&s, LIT(RFC_FIRST), &why),
		    NJ_OK);
		check_int("challenge",
		    scram_server_challenge(&s, &v, LIT(RFC_SERVER), &out),
		    NJ_OK);
		buf_truncate(&out, 0);
		check_int(finals[i].why,
		    scram_server_finish(
			&s, slice_str(finals[i].in), &out, &why),
		    finals[i].want);
		assert_int_equal(buf_len(&out), 0);
		buf_fini(&out);
		scram_server_fini(&s);
	}
}

static const struct {
	const char *why, *in;
	enum nj_err want;
} challenges[] = {
	{ "an extension", RFC_CHALLENGE ",x=1", NJ_OK },
	{ "empty", "", NJ_MALFORMED },
	{ "mandatory extension", "m=x," RFC_CHALLENGE, NJ_UNSUPPORTED },
	{ "our nonce alone", "r=" RFC_CLIENT ",s=W22ZaJ0SNY4=,i=4096",
	    NJ_MALFORMED },
	{ "another nonce", "r=xOprNGfwEbeRWgbNEkqOabc,s=W22ZaJ0SNY4=,i=4096",
	    NJ_MALFORMED },
	{ "no salt", "r=" RFC_NONCE ",i=4096", NJ_MALFORMED },
	{ "empty salt", "r=" RFC_NONCE ",s=,i=4096", NJ_MALFORMED },
	{ "salt not in base64", "r=" RFC_NONCE ",s=W2,i=4096", NJ_MALFORMED },
	{ "no iterations", "r=" RFC_NONCE ",s=W22ZaJ0SNY4=", NJ_MALFORMED },
	{ "no number", "r=" RFC_NONCE ",s=W22ZaJ0SNY4=,i=x", NJ_MALFORMED },
	{ "leading zero", "r=" RFC_NONCE ",s=W22ZaJ0SNY4=,i=04096",
	    NJ_MALFORMED },
	{ "negative", "r=" RFC_NONCE ",s=W22ZaJ0SNY4=,i=-1", NJ_MALFORMED },
	{ "beyond 32 bits", "r=" RFC_NONCE ",s=W22ZaJ0SNY4=,i=4294967297",
	    NJ_MALFORMED },
	{ "few iterations", "r=" RFC_NONCE ",s=W22ZaJ0SNY4=,i=4095",
	    NJ_DENIED },
	{ "many iterations", "r=" RFC_NONCE ",s=W22ZaJ0SNY4=,i=2000001",
	    NJ_DENIED },
};

static void
challenge_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(challenges); i++) {
		struct scram_client c = { .asked = false };
		struct buf out = { 0 };
		struct nj_why why = { .what = "" };

		check_int("first",
		    scram_client_first(&c, LIT("user"), LIT(RFC_CLIENT), &out),
		    NJ_OK);
		check_int(challenges[i].why,
		    scram_client_final(&c, slice_str(challenges[i].in),
			LIT("pencil"), &out, &why),
		    challenges[i].want);
		buf_fini(&out);
		scram_client_fini(&c);
	}
}

static void
prepared(void **state)
{
	static const struct {
		struct slice s;
		bool ok;
	} rows[] = {
		{ S("pencil with blanks, = and ~"), true },
		{ S(""), true },
		{ S("p\xc3\xa4ssw\xc3\xb6rd \xc3\x9f"), true },
		{ S("\xce\xb1\xce\xb2 \xd0\x90\xd1\x8f \xe6\x97\xa5"), true },
		{ S("tab\t"), false },
		{ S("del\x7f"), false },
		{ S("no-break\xc2\xa0space"), false },
		{ S("soft\xc2\xadhyphen"), false },
		{ S("a\xcc\x88"), false },	  /* combining diaeresis */
		{ S("\xe2\x85\xa8"), false },	  /* Roman nine: NFKC */
		{ S("\xd7\x90"), false },	  /* right to left */
		{ S("\xc2\xaa"), false },	  /* feminine ordinal: a */
		{ S("\xf0\x9f\x98\x80"), false }, /* not in Unicode 3.2 */
		{ S("\xff"), false },
		{ S("\xc3"), false },
		{ S("\xc0\x80"), false },
		{ S("\xc3\x28"), false },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++)
		assert_int_equal(
		    scram_prepared(rows[i].s), rows[i].ok ? NJ_OK : NJ_INVALID);
}

/* A verifier in a file, for both ways to log in. */
#define VERIFIER                                        \
	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"  \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:" \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n"
#define LINE "user:" VERIFIER

static struct password_file *
load(const char *text)
{
	struct password_file *pf = NULL;
	struct nj_why why = { .what = "" };

	check_int(
	    text, password_file_parse(slice_str(text), "pw", &pf, &why), NJ_OK);
	return pf;
}

static void
verifiers_in_files(void **state)
{
	struct scram_verifier want = rfc_verifier(), v;
	struct password_file *pf = load(LINE);
	struct password_file_info info;
	enum auth_reason why;
	bool known = false;

	(void)state;
	password_file_info(pf, &info);
	assert_int_equal(info.scram, 1);
	check_int(
	    "scram", password_file_scram(pf, LIT("user"), &v, &known), NJ_OK);
	assert_true(known);
	assert_int_equal(v.iterations, want.iterations);
	assert_memory_equal(v.stored, want.stored, SCRAM_KEY);
	assert_memory_equal(v.server, want.server, SCRAM_KEY);
	check_int("plain",
	    password_file_check(pf, LIT("user"), LIT("pencil"), &why),
	    AUTH_ALLOW);
	check_int("wrong",
	    password_file_check(pf, LIT("user"), LIT("pencil2"), &why),
	    AUTH_DENY);
	check_int("cannot be one",
	    password_file_check(pf, LIT("user"), LIT("pen\tcil"), &why),
	    AUTH_DENY);
	assert_int_equal(why, AUTH_R_WRONG_PASSWORD);
	password_file_unref(pf);
}

#define SECRET(c)                                                     \
	PASSWORD_FILE_SECRET_LINE " " c "AAAAAAAAAAAAAAAAAAAAAAAAAAA" \
				  "AAAAAAAAAAAAAAA=\n"

/* Strangers' salts: stable, different, and not to be told from real ones. */
static void
strangers(void **state)
{
	struct password_file *a = load(SECRET("A") LINE);
	struct password_file *b = load(SECRET("A") "bob:" VERIFIER);
	struct password_file *c = load(SECRET("B") LINE), *d = load(LINE);
	struct scram_verifier v[6];
	bool known = true;

	(void)state;
	check_int("a", password_file_scram(a, LIT("x"), &v[0], &known), NJ_OK);
	assert_false(known);
	check_int("b", password_file_scram(b, LIT("x"), &v[1], &known), NJ_OK);
	check_int("c", password_file_scram(c, LIT("x"), &v[2], &known), NJ_OK);
	check_int("y", password_file_scram(a, LIT("y"), &v[3], &known), NJ_OK);
	check_int("d", password_file_scram(d, LIT("x"), &v[4], &known), NJ_OK);
	check_int("d", password_file_scram(d, LIT("x"), &v[5], &known), NJ_OK);
	assert_int_equal(v[0].iterations, 4096);
	assert_int_equal(v[0].salt_n, 16);
	assert_memory_equal(&v[0], &v[1], sizeof v[0]);
	assert_memory_not_equal(v[0].salt, v[2].salt, 16);
	assert_memory_not_equal(v[0].salt, v[3].salt, 16);
	assert_memory_equal(&v[4], &v[5], sizeof v[0]);
	password_file_unref(a);
	password_file_unref(b);
	password_file_unref(c);
	password_file_unref(d);
}

static void
damaged_files(void **state)
{
	static const char *const rows[] = {
		SECRET("A") SECRET("A"),
		PASSWORD_FILE_SECRET_LINE "\n",
		PASSWORD_FILE_SECRET_LINE " AAAA\n",
		"u:SCRAM-SHA-256$\n",
		"u:SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$"
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n",
		"u:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=\n",
		"u:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:AAAA\n",
		"u:SCRAM-SHA-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$"
		"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n",
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct password_file *pf = NULL;
		struct nj_why why = { .what = "" };

		check_int(rows[i],
		    password_file_parse(slice_str(rows[i]), "pw", &pf, &why),
		    NJ_MALFORMED);
		assert_true(why.what[0] && why.mend[0]);
	}
}

static void
makes_what_it_reads(void **state)
{
	struct password_cost cost = { .kind = PASSWORD_SCRAM,
		.iterations = SCRAM_ITERATIONS_MIN };
	char text[PASSWORD_TEXT_MAX];
	struct password_hash h;
	struct nj_why why;
	size_t at;

	(void)state;
	check_int("make", password_make(&cost, LIT("s3cret"), text), NJ_OK);
	check_int(
	    "parse", password_parse(slice_str(text), &h, &at, &why), NJ_OK);
	check_int("right", password_verify(&h, LIT("s3cret")), NJ_OK);
	check_int("wrong", password_verify(&h, LIT("s3cret ")), NJ_DENIED);
	check_int("cannot", password_make(&cost, LIT("s\t"), text), NJ_INVALID);
	cost.iterations--;
	check_int("few", password_make(&cost, LIT("s3cret"), text), NJ_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_of_the_rfc),
		cmocka_unit_test(client_of_the_rfc),
		cmocka_unit_test(first_messages),
		cmocka_unit_test(first_messages_are_bounded),
		cmocka_unit_test(final_messages),
		cmocka_unit_test(challenge_messages),
		cmocka_unit_test(prepared),
		cmocka_unit_test(verifiers_in_files),
		cmocka_unit_test(strangers),
		cmocka_unit_test(damaged_files),
		cmocka_unit_test(makes_what_it_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
