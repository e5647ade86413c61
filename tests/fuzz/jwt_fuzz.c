/* SPDX-License-Identifier: Apache-2.0
 * jwt_fuzz - tokens, and the files of their keys: the first byte says which.
 *            No token is good by chance; a head that nobody signed has no
 *            claims that count; what keys are taken can be asked.
 */
#include "fuzz.h"

#include "auth/base64url.h"
#include "auth/jwt.h"

/* A key whose private half is nobody's any more. */
static const char pem[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
    "-----END PUBLIC KEY-----\n";

static struct jwk_set *
our_keys(void)
{
	struct jwk_set *s = NULL;
	struct nj_why why = { .what = "" };

	HOLDS(jwk_set_new(&s) == NJ_OK);
	HOLDS(jwk_set_parse(s, slice_str(pem), "ours", &why) == NJ_OK);
	return s;
}

static void
check_token(struct slice in)
{
	static struct jwk_set *keys;
	struct jwt_rules rules = { .username = "sub",
		.groups = "groups",
		.topics = "topics",
		.client_id = "id",
		.skew_s = 30 };
	struct nj_why why = { .what = "" };
	struct jwt t = { 0 };

	if (!keys)
		keys = our_keys();
	rules.keys = keys;
	(void)jwt_looks_like_one(in);
	HOLDS(jwt_check(in, &rules, 1700000000, &t, &why) != NJ_OK);
	HOLDS(why.what[0]);
	HOLDS(buf_len(&t.name) == 0 && buf_len(&t.topics) == 0);
}

static void
check_keys(struct slice in)
{
	struct jwk_set *s = NULL;
	struct nj_why why = { .what = "" };

	HOLDS(jwk_set_new(&s) == NJ_OK);
	if (jwk_set_parse(s, in, "keys", &why) == NJ_OK) {
		HOLDS(jwk_set_count(s) > 0);
		for (int alg = 0; alg < JWK_ALGS; alg++)
			HOLDS(jwk_verify(s, (enum jwk_alg)alg, false,
				  SLICE_NONE, LIT("x"), in) != NJ_OK);
	} else {
		HOLDS(why.what[0]);
	}
	jwk_set_unref(s);
}

static void
check_text(struct slice in)
{
	uint8_t out[256];
	size_t n = 0;

	if (base64url_decode(in, out, sizeof out, &n) == NJ_OK)
		HOLDS(n == in.n * 3 / 4);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const all[])(
	    struct slice in) = { check_token, check_keys, check_text };

	if (size > 0)
		all[data[0] % (sizeof all / sizeof *all)](
		    slice_of(data + 1, size - 1));
	return 0;
}
