/* SPDX-License-Identifier: Apache-2.0
 * The messages of SCRAM (RFC 5802 7), read.
 */
#include "auth/base64.h"
#include "auth/scram.h"
#include "base/text.h"
#include "wire/topic.h"

static enum nj_err
malformed(struct nj_why *why, const char *what)
{
	why_set(why, "%s", what);
	return NJ_MALFORMED;
}

/* Up to the next comma, which is consumed; more: there was one. */
static struct slice
take_field(struct slice *s, bool *more)
{
	const uint8_t *comma = s->n > 0 ? memchr(s->p, ',', s->n) : NULL;
	size_t n = comma ? (size_t)(comma - s->p) : s->n;
	struct slice field = { s->p, n };

	*more = comma != NULL;
	n += comma ? 1 : 0;
	if (n > 0) {
		s->p += n;
		s->n -= n;
	}
	return field;
}

/* "x=value" with a value; false: it is another field. */
static bool
value_of(struct slice field, uint8_t attr, struct slice *value)
{
	if (field.n < 2 || field.p[0] != attr || field.p[1] != '=')
		return false;
	*value = slice_of(field.p + 2, field.n - 2);
	return true;
}

static bool
take_value(struct slice *s, uint8_t attr, struct slice *value, bool *more)
{
	struct slice rest = *s;

	if (!value_of(take_field(&rest, more), attr, value))
		return false;
	*s = rest;
	return true;
}

/* Attributes that may stand at the end, and that nobody must know. */
static enum nj_err
skip_extensions(struct slice s, bool more, struct nj_why *why)
{
	while (more) {
		struct slice f = take_field(&s, &more);

		if (f.n < 3 || f.p[1] != '=' ||
		    !((f.p[0] >= 'a' && f.p[0] <= 'z') ||
			(f.p[0] >= 'A' && f.p[0] <= 'Z')))
			return malformed(why,
			    "a field of the SCRAM message is no attribute");
	}
	return NJ_OK;
}

/* RFC 5802 5.1: m= means that who does not know it must give up. */
static enum nj_err
check_mandatory(struct slice s, struct nj_why *why)
{
	if (!slice_has_prefix(s, LIT("m=")))
		return NJ_OK;
	why_set(why, "the SCRAM message demands an extension (m=)");
	return NJ_UNSUPPORTED;
}

static bool
nonce_ok(struct slice s)
{
	if (s.n == 0 || s.n > SCRAM_NONCE_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',')
			return false;
	return true;
}

static enum nj_err
check_size(struct slice in, struct nj_why *why)
{
	if (in.n > SCRAM_MESSAGE_MAX)
		return malformed(why, "the SCRAM message is too long");
	if (in.n == 0 || !utf8_ok(in))
		return malformed(
		    why, "the SCRAM message is empty, or not UTF-8");
	return NJ_OK;
}

/* gs2-header: how the channel is bound, and for whom to act. */
static enum nj_err
take_gs2(struct slice *s, struct scram_first *out, struct nj_why *why)
{
	const uint8_t *start = s->p;
	bool more;
	struct slice flag = take_field(s, &more);

	if (slice_has_prefix(flag, LIT("p="))) {
		why_set(why,
		    "the client wants channel binding, which only "
		    "SCRAM-SHA-256-PLUS has; it is not offered");
		return NJ_UNSUPPORTED;
	}
	if (!more || (!slice_is(flag, "n") && !slice_is(flag, "y")))
		return malformed(
		    why, "the SCRAM message does not begin with n,, or y,,");
	out->authzid = take_field(s, &more);
	if (!more)
		return malformed(why, "the SCRAM message ends in its header");
	if (out->authzid.n > 0 &&
	    (!value_of(out->authzid, 'a', &out->authzid) ||
		out->authzid.n == 0))
		return malformed(
		    why, "the SCRAM header holds something else than a=");
	out->gs2 = slice_of(start, (size_t)(s->p - start));
	return NJ_OK;
}

enum nj_err
scram_take_first(struct slice in, struct scram_first *out, struct nj_why *why)
{
	struct scram_first f = { .name = SLICE_NONE };
	bool more;
	enum nj_err e;

	if ((e = check_size(in, why)) || (e = take_gs2(&in, &f, why)) ||
	    (e = check_mandatory(in, why)))
		return e;
	f.bare = in;
	if (!take_value(&in, 'n', &f.name, &more) || f.name.n == 0)
		return malformed(
		    why, "the SCRAM message has no user name (n=)");
	if (f.name.n > SCRAM_NAME_MAX)
		return malformed(why, "the SCRAM message's name is too long");
	if (!more || !take_value(&in, 'r', &f.nonce, &more) ||
	    !nonce_ok(f.nonce))
		return malformed(
		    why, "the SCRAM message has no usable nonce (r=)");
	if ((e = skip_extensions(in, more, why)))
		return e;
	*out = f;
	return NJ_OK;
}

/* posit-number, within what the type holds. */
static bool
number_of(struct slice s, uint32_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 10 || s.p[0] == '0')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	*out = (uint32_t)v;
	return v <= UINT32_MAX;
}

enum nj_err
scram_take_challenge(
    struct slice in, struct scram_challenge *out, struct nj_why *why)
{
	struct scram_challenge c = { .iterations = 0 };
	struct slice v;
	size_t n = 0;
	bool more;
	enum nj_err e;

	if ((e = check_size(in, why)) || (e = check_mandatory(in, why)))
		return e;
	if (!take_value(&in, 'r', &c.nonce, &more) || !more ||
	    c.nonce.n > 2 * SCRAM_NONCE_MAX)
		return malformed(why, "the SCRAM message has no nonce (r=)");
	if (!take_value(&in, 's', &v, &more) || !more || v.n == 0 ||
	    base64_decode(v, true, c.salt, sizeof c.salt, &n))
		return malformed(why, "the SCRAM message has no salt (s=)");
	c.salt_n = (uint8_t)n;
	if (!take_value(&in, 'i', &v, &more) || !number_of(v, &c.iterations))
		return malformed(
		    why, "the SCRAM message has no number of iterations (i=)");
	if ((e = skip_extensions(in, more, why)))
		return e;
	*out = c;
	return NJ_OK;
}

static bool
take_key(struct slice s, uint8_t out[SCRAM_KEY])
{
	size_t n = 0;

	return base64_decode(s, true, out, SCRAM_KEY, &n) == NJ_OK &&
	    n == SCRAM_KEY;
}

enum nj_err
scram_take_final(struct slice in, struct scram_final *out, struct nj_why *why)
{
	struct scram_final f = { .bare = SLICE_NONE };
	const uint8_t *start = in.p;
	struct slice field, proof;
	bool more;
	enum nj_err e;

	if ((e = check_size(in, why)))
		return e;
	if (!take_value(&in, 'c', &f.binding, &more) || !more)
		return malformed(
		    why, "the SCRAM message has no channel binding (c=)");
	if (!take_value(&in, 'r', &f.nonce, &more) || !more)
		return malformed(why, "the SCRAM message has no nonce (r=)");
	/* extensions in between; the proof is last */
	for (;;) {
		f.bare = slice_of(start, (size_t)(in.p - start) - 1);
		field = take_field(&in, &more);
		if (!more)
			break;
		if ((e = skip_extensions(field, true, why)))
			return e;
	}
	if (!value_of(field, 'p', &proof) || !take_key(proof, f.proof))
		return malformed(
		    why, "the SCRAM message does not end in a proof (p=)");
	*out = f;
	return NJ_OK;
}

enum nj_err
scram_take_end(
    struct slice in, uint8_t signature[SCRAM_KEY], struct nj_why *why)
{
	uint8_t key[SCRAM_KEY];
	char said[TEXT_ESC];
	struct slice v;
	bool more;
	enum nj_err e;

	if ((e = check_size(in, why)))
		return e;
	if (take_value(&in, 'e', &v, &more)) {
		why_set(why, "%s", text_esc(said, sizeof said, v));
		return NJ_DENIED;
	}
	if (!take_value(&in, 'v', &v, &more) || !take_key(v, key))
		return malformed(
		    why, "the SCRAM message has no signature (v=)");
	if ((e = skip_extensions(in, more, why)))
		return e;
	memcpy(signature, key, SCRAM_KEY);
	return NJ_OK;
}

enum nj_err
scram_name_decode(struct slice in, struct buf *out)
{
	size_t had = buf_len(out);
	enum nj_err e = NJ_OK;

	while (in.n > 0 && !e) {
		uint8_t c = in.p[0];
		size_t n = 1;

		if (c == '=') {
			n = 3;
			if (slice_has_prefix(in, LIT("=2C")))
				c = ',';
			else if (!slice_has_prefix(in, LIT("=3D")))
				e = NJ_MALFORMED;
		}
		if (e || (e = buf_put_u8(out, c)))
			break;
		in.p += n;
		in.n -= n;
	}
	if (e)
		buf_truncate(out, had);
	return e;
}

enum nj_err
scram_name_encode(struct slice name, struct buf *out)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; i < name.n && !e; i++) {
		if (name.p[i] == ',')
			e = buf_put_slice(out, LIT("=2C"));
		else if (name.p[i] == '=')
			e = buf_put_slice(out, LIT("=3D"));
		else
			e = buf_put_u8(out, name.p[i]);
	}
	return e;
}
