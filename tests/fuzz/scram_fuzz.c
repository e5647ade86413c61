/* SPDX-License-Identifier: Apache-2.0
 * scram_fuzz - the messages of SCRAM: the first byte says which, a zero byte
 *              parts several.  What is taken lies inside of what was given,
 *              and nobody comes in by chance.
 */
#include "fuzz.h"

#include "auth/scram.h"

static void
within(struct slice all, struct slice part)
{
	HOLDS(part.n == 0 ||
	    (part.p >= all.p && part.p + part.n <= all.p + all.n));
}

static void
refused(enum nj_err e, const struct nj_why *why)
{
	HOLDS(e == NJ_MALFORMED || e == NJ_UNSUPPORTED || e == NJ_DENIED ||
	    e == NJ_NOMEM || e == NJ_PROTOCOL);
	HOLDS(e != NJ_MALFORMED || why->what[0]);
}

/* A name is what its encoding decodes to. */
static void
check_name(struct slice in)
{
	struct buf plain = { 0 }, coded = { 0 }, again = { 0 };

	if (scram_name_decode(in, &plain) == NJ_OK) {
		HOLDS(buf_len(&plain) <= in.n);
		HOLDS(scram_name_encode(buf_slice(&plain), &coded) == NJ_OK);
		HOLDS(scram_name_decode(buf_slice(&coded), &again) == NJ_OK);
		HOLDS(slice_eq(buf_slice(&plain), buf_slice(&again)));
	} else {
		HOLDS(buf_len(&plain) == 0);
	}
	buf_fini(&plain);
	buf_fini(&coded);
	buf_fini(&again);
}

static void
check_first(struct slice in)
{
	struct scram_first f = { .name = SLICE_NONE };
	struct nj_why why = { .what = "" };
	enum nj_err e = scram_take_first(in, &f, &why);

	if (e) {
		refused(e, &why);
		return;
	}
	within(in, f.gs2);
	within(in, f.bare);
	within(f.bare, f.name);
	within(f.bare, f.nonce);
	within(f.gs2, f.authzid);
	HOLDS(f.gs2.n + f.bare.n == in.n);
	HOLDS(f.name.n > 0 && f.name.n <= SCRAM_NAME_MAX);
	HOLDS(f.nonce.n > 0 && f.nonce.n <= SCRAM_NONCE_MAX);
	check_name(f.name);
}

static void
check_challenge(struct slice in)
{
	struct scram_challenge c = { .iterations = 0 };
	struct nj_why why = { .what = "" };
	enum nj_err e = scram_take_challenge(in, &c, &why);

	if (e) {
		refused(e, &why);
		return;
	}
	within(in, c.nonce);
	HOLDS(c.iterations > 0 && c.salt_n > 0 && c.salt_n <= SCRAM_SALT_MAX);
}

static void
check_final(struct slice in)
{
	struct scram_final f = { .nonce = SLICE_NONE };
	struct nj_why why = { .what = "" };
	enum nj_err e = scram_take_final(in, &f, &why);

	if (e) {
		refused(e, &why);
		return;
	}
	within(in, f.bare);
	within(f.bare, f.binding);
	within(f.bare, f.nonce);
	HOLDS(f.bare.n + 3 < in.n);
}

static void
check_end(struct slice in)
{
	uint8_t signature[SCRAM_KEY];
	struct nj_why why = { .what = "" };
	enum nj_err e = scram_take_end(in, signature, &why);

	if (e)
		refused(e, &why);
}

/* Up to the next zero byte. */
static struct slice
part(struct slice *in)
{
	const uint8_t *end = in->n > 0 ? memchr(in->p, '\0', in->n) : NULL;
	struct slice s = { in->p, end ? (size_t)(end - in->p) : in->n };

	in->p += s.n + (end != NULL);
	in->n -= s.n + (end != NULL);
	return s;
}

static void
serve(struct slice in)
{
	struct scram_verifier v = { .iterations = 4096, .salt_n = 8 };
	struct scram_server s = { 0 };
	struct nj_why why = { .what = "" };
	struct buf out = { 0 };

	if (scram_server_begin(&s, part(&in), &why) == NJ_OK) {
		struct scram_challenge c = { .iterations = 0 };

		HOLDS(
		    scram_server_challenge(&s, &v, LIT("abcd"), &out) == NJ_OK);
		/* what we ask is well formed */
		HOLDS(scram_take_challenge(buf_slice(&out), &c, &why) == NJ_OK);
		HOLDS(c.iterations == 4096 && c.salt_n == 8);
		buf_truncate(&out, 0);
		HOLDS(scram_server_finish(&s, part(&in), &out, &why) != NJ_OK);
		HOLDS(buf_len(&out) == 0);
	}
	buf_fini(&out);
	scram_server_fini(&s);
}

static void
ask(struct slice in)
{
	struct scram_client c = { .asked = false };
	struct nj_why why = { .what = "" };
	struct scram_challenge ch = { .iterations = 0 };
	struct slice challenge = part(&in);
	struct buf out = { 0 };
	struct scram_first f;

	HOLDS(scram_client_first(&c, LIT("us,er"), LIT("abcd"), &out) == NJ_OK);
	HOLDS(scram_take_first(buf_slice(&out), &f, &why) == NJ_OK);
	buf_truncate(&out, 0);
	/* the derivation is not what is looked at here */
	if (scram_take_challenge(challenge, &ch, &why) != NJ_OK ||
	    ch.iterations <= 5000) {
		enum nj_err e =
		    scram_client_final(&c, challenge, LIT("pw"), &out, &why);
		struct scram_final fin;

		if (e)
			refused(e, &why);
		else
			HOLDS(scram_take_final(buf_slice(&out), &fin, &why) ==
			    NJ_OK);
		HOLDS(scram_client_verify(&c, part(&in), &why) != NJ_OK);
	}
	buf_fini(&out);
	scram_client_fini(&c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const all[])(struct slice in) = { check_first,
		check_challenge, check_final, check_end, check_name, serve,
		ask };
	struct slice in;

	if (size == 0)
		return 0;
	in = slice_of(data + 1, size - 1);
	all[data[0] % (sizeof all / sizeof *all)](in);
	if (scram_prepared(in) == NJ_OK)
		HOLDS(!in.n || !memchr(in.p, '\0', in.n));
	return 0;
}
