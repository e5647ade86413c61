/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth/base64.h"
#include "base/rand.h"
#include "base/secret.h"

/*
 * What RFC 4013 leaves as it is: no mapping, NFKC and its parts unchanged in
 * any neighbourhood (no combining marks), not prohibited, assigned in Unicode
 * 3.2, left to right.  tests/unit/auth/saslprep.py says whether that is so.
 */
static const struct {
	uint16_t first, last;
} plain[] = {
	{ 0x0020, 0x007e },
	{ 0x00a1, 0x00a7 },
	{ 0x00a9, 0x00a9 },
	{ 0x00ab, 0x00ac },
	{ 0x00ae, 0x00ae },
	{ 0x00b0, 0x00b1 },
	{ 0x00b6, 0x00b7 },
	{ 0x00bb, 0x00bb },
	{ 0x00bf, 0x0131 },
	{ 0x0134, 0x013e },
	{ 0x0141, 0x0148 },
	{ 0x014a, 0x017e },
	{ 0x0386, 0x0386 },
	{ 0x0388, 0x038a },
	{ 0x038c, 0x038c },
	{ 0x038e, 0x03a1 },
	{ 0x03a3, 0x03ce },
	{ 0x0400, 0x0481 },
	{ 0x3041, 0x3096 },
	{ 0x30a1, 0x30fa },
	{ 0x4e00, 0x9fa5 },
	{ 0xac00, 0xd7a3 },
};

/* One character of well-formed UTF-8; 0 at what is none. */
static uint32_t
take_char(struct slice *s)
{
	uint8_t c = s->p[0];
	size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	uint32_t v = c < 0x80 ? c : c & (0xffu >> (n + 1));

	if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || s->n < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((s->p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s->p[i] & 0x3f);
	}
	s->p += n;
	s->n -= n;
	return v;
}

enum nj_err
scram_prepared(struct slice s)
{
	while (s.n > 0) {
		uint32_t c = take_char(&s);
		bool ok = false;

		for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
			ok |= c >= plain[i].first && c <= plain[i].last;
		if (!ok)
			return NJ_INVALID;
	}
	return NJ_OK;
}

enum nj_err
scram_hmac(struct slice key, struct slice data, uint8_t out[SCRAM_KEY])
{
	unsigned n = 0;

	return HMAC(EVP_sha256(), key.p, (int)key.n, data.p, data.n, out, &n) &&
		n == SCRAM_KEY
	    ? NJ_OK
	    : NJ_CRYPTO;
}

static enum nj_err
hash(const uint8_t in[SCRAM_KEY], uint8_t out[SCRAM_KEY])
{
	unsigned n = 0;

	return EVP_Digest(in, SCRAM_KEY, out, &n, EVP_sha256(), NULL) &&
		n == SCRAM_KEY
	    ? NJ_OK
	    : NJ_CRYPTO;
}

static struct slice
key_slice(const uint8_t key[SCRAM_KEY])
{
	return slice_of(key, SCRAM_KEY);
}

/* client is the key whose hash is StoredKey. */
static enum nj_err
derive(
    struct slice password, struct scram_verifier *v, uint8_t client[SCRAM_KEY])
{
	uint8_t salted[SCRAM_KEY];
	enum nj_err e = NJ_CRYPTO;

	if (password.n > SECRET_MAX || v->iterations > SCRAM_ITERATIONS_MAX)
		return NJ_TOOBIG;
	if (password.n == 0)
		password = LIT("");
	if (PKCS5_PBKDF2_HMAC((const char *)password.p, (int)password.n,
		v->salt, v->salt_n, (int)v->iterations, EVP_sha256(), SCRAM_KEY,
		salted) &&
	    !(e = scram_hmac(key_slice(salted), LIT("Client Key"), client)) &&
	    !(e = hash(client, v->stored)))
		e = scram_hmac(key_slice(salted), LIT("Server Key"), v->server);
	secret_wipe(salted, sizeof salted);
	return e;
}

enum nj_err
scram_derive(struct slice password, struct scram_verifier *v)
{
	uint8_t client[SCRAM_KEY] = { 0 };
	enum nj_err e = scram_prepared(password);

	if (!e)
		e = derive(password, v, client);
	secret_wipe(client, sizeof client);
	return e;
}

void
scram_nonce(char out[SCRAM_NONCE + 1])
{
	uint8_t r[SCRAM_NONCE / 4 * 3];

	rand_bytes(r, sizeof r);
	out[base64_encode(out, slice_of(r, sizeof r), true)] = '\0';
}

static void
exclusive_or(uint8_t to[SCRAM_KEY], const uint8_t a[SCRAM_KEY],
    const uint8_t b[SCRAM_KEY])
{
	for (size_t i = 0; i < SCRAM_KEY; i++)
		to[i] = a[i] ^ b[i];
}

static enum nj_err
put_base64(struct buf *b, struct slice s)
{
	uint8_t *at;
	enum nj_err e = buf_reserve(b, BASE64_SIZE(s.n), &at);

	if (!e)
		buf_commit(b, base64_encode((char *)at, s, true));
	return e;
}

/* An empty buffer is an empty text, not none. */
static struct slice
text_of(const struct buf *b)
{
	struct slice s = buf_slice(b);

	return s.p ? s : LIT("");
}

/* The server. */

enum nj_err
scram_server_begin(struct scram_server *s, struct slice in, struct nj_why *why)
{
	struct scram_first f = { .name = SLICE_NONE };
	struct buf authzid = { 0 };
	enum nj_err e;

	if ((e = scram_take_first(in, &f, why)))
		return e;
	if ((e = scram_name_decode(f.name, &s->name)) ||
	    (e = scram_name_decode(f.authzid, &authzid))) {
		why_set(why, "the name in the SCRAM message has a stray =");
	} else if (f.authzid.n > 0 &&
	    !slice_eq(text_of(&s->name), text_of(&authzid))) {
		why_set(why,
		    "the client wants to act for somebody else (a=), which "
		    "is not served");
		e = NJ_UNSUPPORTED;
	} else if (!(e = buf_put_slice(&s->gs2, f.gs2)) &&
	    !(e = buf_put_slice(&s->log, f.bare))) {
		e = buf_put_slice(&s->nonce, f.nonce);
	}
	buf_fini(&authzid);
	return e;
}

enum nj_err
scram_server_challenge(struct scram_server *s, const struct scram_verifier *v,
    struct slice nonce, struct buf *out)
{
	size_t had = buf_len(out);
	struct slice made;
	enum nj_err e;

	s->v = *v;
	if ((e = buf_put_slice(&s->nonce, nonce)) ||
	    (e = buf_put_slice(out, LIT("r="))) ||
	    (e = buf_put_slice(out, text_of(&s->nonce))) ||
	    (e = buf_put_slice(out, LIT(",s="))) ||
	    (e = put_base64(out, slice_of(v->salt, v->salt_n))) ||
	    (e = buf_printf(out, ",i=%u", (unsigned)v->iterations)))
		return e;
	made = text_of(out);
	made = slice_of(made.p + had, made.n - had);
	if ((e = buf_put_u8(&s->log, ',')) ||
	    (e = buf_put_slice(&s->log, made)))
		return e;
	return buf_put_u8(&s->log, ',');
}

/* c= must repeat the header that client-first had (RFC 5802 7). */
static bool
binding_ok(const struct scram_server *s, struct slice binding)
{
	uint8_t said[SCRAM_MESSAGE_MAX];
	size_t n = 0;

	return base64_decode(binding, true, said, sizeof said, &n) == NJ_OK &&
	    slice_eq(slice_of(said, n), text_of(&s->gs2));
}

/* The one secret step: takes the same way whoever it is. */
static enum nj_err
check_proof(const struct scram_server *s, const uint8_t proof[SCRAM_KEY])
{
	uint8_t signature[SCRAM_KEY], key[SCRAM_KEY] = { 0 };
	uint8_t stored[SCRAM_KEY] = { 0 };
	enum nj_err e;

	if ((e = scram_hmac(
		 key_slice(s->v.stored), text_of(&s->log), signature)))
		return e;
	exclusive_or(key, proof, signature);
	e = hash(key, stored);
	if (!e && !secret_eq(key_slice(stored), key_slice(s->v.stored)))
		e = NJ_DENIED;
	secret_wipe(key, sizeof key);
	return e;
}

enum nj_err
scram_server_finish(struct scram_server *s, struct slice in, struct buf *out,
    struct nj_why *why)
{
	struct scram_final f;
	uint8_t signature[SCRAM_KEY];
	enum nj_err e;

	if ((e = scram_take_final(in, &f, why)))
		return e;
	if (!binding_ok(s, f.binding)) {
		why_set(why, "c= is not the header of the first SCRAM message");
		return NJ_MALFORMED;
	}
	if (!slice_eq(f.nonce, text_of(&s->nonce))) {
		why_set(why, "the nonce (r=) is not the one of this exchange");
		return NJ_MALFORMED;
	}
	if ((e = buf_put_slice(&s->log, f.bare)) ||
	    (e = check_proof(s, f.proof)) ||
	    (e = scram_hmac(
		 key_slice(s->v.server), text_of(&s->log), signature)) ||
	    (e = buf_put_slice(out, LIT("v="))))
		return e;
	return put_base64(out, key_slice(signature));
}

struct slice
scram_server_name(const struct scram_server *s)
{
	return text_of(&s->name);
}

void
scram_server_fini(struct scram_server *s)
{
	buf_wipe(&s->log);
	buf_wipe(&s->name);
	buf_wipe(&s->gs2);
	buf_wipe(&s->nonce);
	secret_wipe(&s->v, sizeof s->v);
}

/* The client. */

enum nj_err
scram_client_first(struct scram_client *c, struct slice name,
    struct slice nonce, struct buf *out)
{
	enum nj_err e;

	if ((e = scram_prepared(name)) ||
	    (e = buf_put_slice(&c->nonce, nonce)) ||
	    (e = buf_put_slice(&c->log, LIT("n="))) ||
	    (e = scram_name_encode(name, &c->log)) ||
	    (e = buf_put_slice(&c->log, LIT(",r="))) ||
	    (e = buf_put_slice(&c->log, nonce)) ||
	    (e = buf_put_slice(out, LIT("n,,"))))
		return e;
	return buf_put_slice(out, text_of(&c->log));
}

/* A server that asks for few iterations may want to guess the password from
 * the answer, and one that asks for many to keep us busy. */
static enum nj_err
check_challenge(const struct scram_client *c, const struct scram_challenge *ch,
    struct nj_why *why)
{
	struct slice ours = text_of(&c->nonce);

	if (!slice_has_prefix(ch->nonce, ours) || ch->nonce.n == ours.n) {
		why_set(why, "the broker's nonce does not continue ours");
		return NJ_MALFORMED;
	}
	if (ch->iterations < SCRAM_ITERATIONS_MIN ||
	    ch->iterations > SCRAM_ITERATIONS_MAX) {
		why_set(why,
		    "the broker asks for %u iterations; %u to %u are done",
		    (unsigned)ch->iterations, SCRAM_ITERATIONS_MIN,
		    SCRAM_ITERATIONS_MAX);
		return NJ_DENIED;
	}
	return NJ_OK;
}

/* The proof from the log, which is whole; and what must come back. */
static enum nj_err
prove(struct scram_client *c, const struct scram_challenge *ch,
    struct slice password, uint8_t proof[SCRAM_KEY])
{
	struct scram_verifier v = { .iterations = ch->iterations,
		.salt_n = ch->salt_n };
	uint8_t client[SCRAM_KEY], signature[SCRAM_KEY];
	enum nj_err e;

	memcpy(v.salt, ch->salt, sizeof v.salt);
	if (!(e = derive(password, &v, client)) &&
	    !(e = scram_hmac(
		  key_slice(v.stored), text_of(&c->log), signature)) &&
	    !(e = scram_hmac(
		  key_slice(v.server), text_of(&c->log), c->signature)))
		exclusive_or(proof, client, signature);
	secret_wipe(client, sizeof client);
	secret_wipe(&v, sizeof v);
	return e;
}

enum nj_err
scram_client_final(struct scram_client *c, struct slice in,
    struct slice password, struct buf *out, struct nj_why *why)
{
	struct scram_challenge ch = { .iterations = 0 };
	uint8_t proof[SCRAM_KEY] = { 0 };
	size_t had = buf_len(out);
	struct slice bare;
	enum nj_err e;

	if (c->asked) {
		why_set(why, "the broker goes on asking");
		return NJ_PROTOCOL;
	}
	if ((e = scram_prepared(password))) {
		why_set(why,
		    "the password has characters that SCRAM would need "
		    "rewritten (SASLprep), which is not done");
		return e;
	}
	if ((e = scram_take_challenge(in, &ch, why)) ||
	    (e = check_challenge(c, &ch, why)))
		return e;
	/* biws: the header n,, in base64 */
	if ((e = buf_put_slice(out, LIT("c=biws,r="))) ||
	    (e = buf_put_slice(out, ch.nonce)))
		return e;
	bare = text_of(out);
	bare = slice_of(bare.p + had, bare.n - had);
	if ((e = buf_put_u8(&c->log, ',')) ||
	    (e = buf_put_slice(&c->log, in)) ||
	    (e = buf_put_u8(&c->log, ',')) ||
	    (e = buf_put_slice(&c->log, bare)) ||
	    (e = prove(c, &ch, password, proof)) ||
	    (e = buf_put_slice(out, LIT(",p="))) ||
	    (e = put_base64(out, key_slice(proof))))
		return e;
	c->asked = true;
	return NJ_OK;
}

enum nj_err
scram_client_verify(
    const struct scram_client *c, struct slice in, struct nj_why *why)
{
	uint8_t signature[SCRAM_KEY] = { 0 };
	enum nj_err e;

	if (!c->asked) {
		why_set(why, "the broker has not asked for the password");
		return NJ_DENIED;
	}
	if ((e = scram_take_end(in, signature, why)))
		return e;
	if (secret_eq(key_slice(signature), key_slice(c->signature)))
		return NJ_OK;
	why_set(why, "the broker does not know this user's password");
	return NJ_DENIED;
}

void
scram_client_fini(struct scram_client *c)
{
	buf_wipe(&c->log);
	buf_wipe(&c->nonce);
	secret_wipe(c->signature, sizeof c->signature);
	c->asked = false;
}
