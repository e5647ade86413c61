/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/password.h"

#include <argon2.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "auth/base64.h"
#include "base/rand.h"
#include "base/secret.h"

#define SHA512_SIZE   64
#define SALT_DEFAULT  12 /* all that Mosquitto 2.0 reads back */
#define ARGON2_SALT   16
#define ARGON2_HASH   32
#define ARGON2_MIN_KB 8 /* a lane, RFC 9106 3.1 */

struct password_cost
password_default_cost(enum password_kind kind)
{
	struct password_cost c = { .kind = kind };

	if (kind == PASSWORD_PBKDF2)
		c.iterations = 210000;
	if (kind == PASSWORD_SCRAM)
		c.iterations = SCRAM_ITERATIONS_DEFAULT;
	if (kind == PASSWORD_ARGON2ID) {
		c.iterations = 1;
		c.memory = 47104;
		c.lanes = 1;
	}
	return c;
}

static enum nj_err
refuse_cost(struct nj_why *why, const char *what, uint64_t have, uint64_t min,
    uint64_t max)
{
	why_set(why,
	    "the hash asks for %s %" PRIu64 "; served are %" PRIu64
	    " to %" PRIu64 ", so that one login cannot occupy the machine",
	    what, have, min, max);
	return NJ_INVALID;
}

static enum nj_err
check_argon2(const struct password_cost *c, struct nj_why *why)
{
	uint64_t work = (uint64_t)c->memory * c->iterations;

	if (c->lanes < 1 || c->lanes > PASSWORD_ARGON2_LANES_MAX)
		return refuse_cost(
		    why, "lanes p =", c->lanes, 1, PASSWORD_ARGON2_LANES_MAX);
	if (c->iterations < 1 || c->iterations > PASSWORD_ARGON2_TIME_MAX)
		return refuse_cost(why, "passes t =", c->iterations, 1,
		    PASSWORD_ARGON2_TIME_MAX);
	if (c->memory < ARGON2_MIN_KB * c->lanes ||
	    c->memory > PASSWORD_ARGON2_MEMORY_MAX)
		return refuse_cost(why, "KiB of memory m =", c->memory,
		    (uint64_t)ARGON2_MIN_KB * c->lanes,
		    PASSWORD_ARGON2_MEMORY_MAX);
	if (work > PASSWORD_ARGON2_WORK_MAX)
		return refuse_cost(why, "memory times passes m * t =", work, 8,
		    PASSWORD_ARGON2_WORK_MAX);
	return NJ_OK;
}

enum nj_err
password_check_cost(const struct password_cost *c, struct nj_why *why)
{
	switch (c->kind) {
	case PASSWORD_SHA512:
		return NJ_OK;
	case PASSWORD_PBKDF2:
		if (c->iterations < 1 ||
		    c->iterations > PASSWORD_PBKDF2_ITERATIONS_MAX)
			return refuse_cost(why, "iterations", c->iterations, 1,
			    PASSWORD_PBKDF2_ITERATIONS_MAX);
		return NJ_OK;
	case PASSWORD_ARGON2ID:
		return check_argon2(c, why);
	case PASSWORD_SCRAM:
		if (c->iterations < SCRAM_ITERATIONS_MIN ||
		    c->iterations > SCRAM_ITERATIONS_MAX)
			return refuse_cost(why, "iterations", c->iterations,
			    SCRAM_ITERATIONS_MIN, SCRAM_ITERATIONS_MAX);
		return NJ_OK;
	}
	why_set(why, "no such kind of password hash");
	return NJ_INVALID;
}

/* Decimal, no sign, no leading zero, below 2^32. */
static enum nj_err
take_number(struct slice *s, uint32_t *out)
{
	uint64_t v = 0;
	size_t n = 0;

	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9') {
		v = v * 10 + (uint64_t)(s->p[n] - '0');
		if (v > UINT32_MAX)
			return NJ_MALFORMED;
		n++;
	}
	if (n == 0 || (s->p[0] == '0' && n > 1))
		return NJ_MALFORMED;
	s->p += n;
	s->n -= n;
	*out = (uint32_t)v;
	return NJ_OK;
}

static enum nj_err
take_word(struct slice *s, struct slice word)
{
	if (!slice_has_prefix(*s, word))
		return NJ_MALFORMED;
	s->p += word.n;
	s->n -= word.n;
	return NJ_OK;
}

/* Base64 up to the next $ or : or the end. */
static enum nj_err
take_base64(struct slice *s, bool padded, uint8_t *out, size_t room, uint8_t *n)
{
	size_t len = 0, got = 0;

	while (len < s->n && s->p[len] != '$' && s->p[len] != ':')
		len++;
	if (len == 0 ||
	    base64_decode(slice_of(s->p, len), padded, out, room, &got))
		return NJ_MALFORMED;
	*n = (uint8_t)got;
	s->p += len;
	s->n -= len;
	return NJ_OK;
}

/* salt$hash, to the end. */
static enum nj_err
take_salt_and_hash(struct slice *s, bool padded, struct password_hash *h)
{
	enum nj_err e;

	if (s->n == 0 ||
	    (e = take_base64(s, padded, h->salt, sizeof h->salt, &h->salt_n)) ||
	    (e = take_word(s, LIT("$"))) || s->n == 0 ||
	    (e = take_base64(s, padded, h->hash, sizeof h->hash, &h->hash_n)))
		return NJ_MALFORMED;
	return s->n == 0 ? NJ_OK : NJ_MALFORMED;
}

/* m=,t=,p= in the one order that is written. */
static enum nj_err
take_argon2_head(struct slice *s, struct password_hash *h)
{
	uint32_t version = 0;
	enum nj_err e;

	if ((e = take_word(s, LIT("v="))) || (e = take_number(s, &version)))
		return e;
	if (version != ARGON2_VERSION_10 && version != ARGON2_VERSION_13)
		return NJ_MALFORMED;
	h->version = (uint8_t)version;
	if ((e = take_word(s, LIT("$m="))) ||
	    (e = take_number(s, &h->cost.memory)) ||
	    (e = take_word(s, LIT(",t="))) ||
	    (e = take_number(s, &h->cost.iterations)) ||
	    (e = take_word(s, LIT(",p="))) ||
	    (e = take_number(s, &h->cost.lanes)))
		return e;
	return take_word(s, LIT("$"));
}

/* iter:salt$StoredKey:ServerKey, the keys side by side in hash. */
static enum nj_err
take_scram(struct slice *s, struct password_hash *h)
{
	uint8_t n = 0, m = 0;

	if (take_number(s, &h->cost.iterations) || take_word(s, LIT(":")) ||
	    s->n == 0 ||
	    take_base64(s, true, h->salt, sizeof h->salt, &h->salt_n) ||
	    take_word(s, LIT("$")) || s->n == 0 ||
	    take_base64(s, true, h->hash, SCRAM_KEY, &n) ||
	    take_word(s, LIT(":")) || s->n == 0 ||
	    take_base64(s, true, h->hash + n, SCRAM_KEY, &m))
		return NJ_MALFORMED;
	h->hash_n = (uint8_t)(n + m);
	return s->n == 0 ? NJ_OK : NJ_MALFORMED;
}

static enum nj_err
take_hash(struct slice *s, struct password_hash *h)
{
	enum nj_err e;

	if (take_word(s, LIT("$6$")) == NJ_OK) {
		h->cost.kind = PASSWORD_SHA512;
		return take_salt_and_hash(s, true, h);
	}
	if (take_word(s, LIT("$7$")) == NJ_OK) {
		h->cost.kind = PASSWORD_PBKDF2;
		if ((e = take_number(s, &h->cost.iterations)) ||
		    (e = take_word(s, LIT("$"))))
			return e;
		return take_salt_and_hash(s, true, h);
	}
	if (take_word(s, LIT("$argon2id$")) == NJ_OK) {
		h->cost.kind = PASSWORD_ARGON2ID;
		if ((e = take_argon2_head(s, h)))
			return e;
		return take_salt_and_hash(s, false, h);
	}
	if (take_word(s, LIT(SCRAM_METHOD "$")) == NJ_OK) {
		h->cost.kind = PASSWORD_SCRAM;
		return take_scram(s, h);
	}
	return NJ_UNSUPPORTED;
}

/* The hash must be as long as its kind makes it; a short one would be
 * matched by more passwords than one. */
static bool
lengths_ok(const struct password_hash *h)
{
	if (h->cost.kind == PASSWORD_ARGON2ID)
		return h->salt_n >= ARGON2_MIN_SALT_LENGTH && h->hash_n >= 16;
	return h->salt_n >= 8 && h->hash_n == SHA512_SIZE;
}

enum nj_err
password_parse(struct slice text, struct password_hash *out, size_t *at,
    struct nj_why *why)
{
	struct password_hash h = { 0 };
	struct slice rest = text;
	enum nj_err e = take_hash(&rest, &h);

	*at = text.n - rest.n;
	if (e == NJ_UNSUPPORTED) {
		why_set(why,
		    "this is no password hash: it does not begin "
		    "with $6$, $7$, $argon2id$ or SCRAM-SHA-256$");
		return e;
	}
	if (e) {
		why_set(why, "the password hash is damaged here");
		return e;
	}
	*at = 0;
	if (!lengths_ok(&h)) {
		why_set(why,
		    "the password hash has a salt of %u and a hash "
		    "of %u bytes; it is cut off or not of this kind",
		    h.salt_n, h.hash_n);
		return NJ_MALFORMED;
	}
	if ((e = password_check_cost(&h.cost, why)))
		return e;
	*out = h;
	return NJ_OK;
}

static enum nj_err
run_sha512(const struct password_hash *h, struct slice password,
    uint8_t out[SHA512_SIZE])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	if (!ctx)
		return NJ_NOMEM;
	ok = EVP_DigestInit_ex(ctx, EVP_sha512(), NULL) &&
	    EVP_DigestUpdate(ctx, password.p, password.n) &&
	    EVP_DigestUpdate(ctx, h->salt, h->salt_n) &&
	    EVP_DigestFinal_ex(ctx, out, NULL);
	EVP_MD_CTX_free(ctx); /* wipes its state */
	return ok ? NJ_OK : NJ_CRYPTO;
}

static enum nj_err
run_pbkdf2(const struct password_hash *h, struct slice password, uint8_t *out)
{
	return PKCS5_PBKDF2_HMAC((const char *)password.p, (int)password.n,
		   h->salt, h->salt_n, (int)h->cost.iterations, EVP_sha512(),
		   h->hash_n, out)
	    ? NJ_OK
	    : NJ_CRYPTO;
}

/* All lanes on this thread: a worker is one thread's worth of work.  The
 * library takes its inputs as not const, but only writes to them when asked
 * to clear them. */
static enum nj_err
run_argon2(const struct password_hash *h, struct slice password, uint8_t *out)
{
	uint8_t salt[PASSWORD_SALT_MAX];
	argon2_context ctx = {
		.out = out,
		.outlen = h->hash_n,
		.pwdlen = (uint32_t)password.n,
		.salt = salt,
		.saltlen = h->salt_n,
		.t_cost = h->cost.iterations,
		.m_cost = h->cost.memory,
		.lanes = h->cost.lanes,
		.threads = 1,
		.version = h->version,
		.flags = ARGON2_DEFAULT_FLAGS,
	};
	int rc;

	memcpy(salt, h->salt, sizeof salt);
	memcpy(&ctx.pwd, &password.p, sizeof ctx.pwd); /* sheds const */
	rc = argon2_ctx(&ctx, Argon2_id);
	if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
		return NJ_NOMEM;
	return rc == ARGON2_OK ? NJ_OK : NJ_CRYPTO;
}

static enum nj_err
run_scram(const struct password_hash *h, struct slice password, uint8_t *out)
{
	struct scram_verifier v;
	enum nj_err e;

	password_verifier(h, &v);
	e = scram_derive(password, &v);
	memcpy(out, v.stored, SCRAM_KEY);
	memcpy(out + SCRAM_KEY, v.server, SCRAM_KEY);
	secret_wipe(&v, sizeof v);
	return e;
}

/* hash_n bytes of what the password gives with this salt and cost. */
static enum nj_err
derive(const struct password_hash *h, struct slice password,
    uint8_t out[PASSWORD_HASH_MAX])
{
	if (password.n > SECRET_MAX)
		return NJ_TOOBIG;
	if (password.n == 0)
		password = LIT("");
	switch (h->cost.kind) {
	case PASSWORD_SHA512:
		return run_sha512(h, password, out);
	case PASSWORD_PBKDF2:
		return run_pbkdf2(h, password, out);
	case PASSWORD_ARGON2ID:
		return run_argon2(h, password, out);
	case PASSWORD_SCRAM:
		return run_scram(h, password, out);
	}
	return NJ_CRYPTO;
}

enum nj_err
password_verify(const struct password_hash *h, struct slice password)
{
	uint8_t got[PASSWORD_HASH_MAX] = { 0 };
	enum nj_err e = derive(h, password, got);

	/* it could not have become a verifier, so it is not the one */
	if (e == NJ_INVALID)
		e = NJ_DENIED;
	if (!e &&
	    !secret_eq(slice_of(got, h->hash_n), slice_of(h->hash, h->hash_n)))
		e = NJ_DENIED;
	secret_wipe(got, sizeof got);
	return e;
}

void
password_verifier(const struct password_hash *h, struct scram_verifier *out)
{
	*out = (struct scram_verifier){
		.iterations = h->cost.iterations,
		.salt_n = h->salt_n,
	};
	memcpy(out->salt, h->salt, sizeof out->salt);
	memcpy(out->stored, h->hash, SCRAM_KEY);
	memcpy(out->server, h->hash + SCRAM_KEY, SCRAM_KEY);
}

static void
write_head(const struct password_hash *h, char *out, size_t size)
{
	const struct password_cost *c = &h->cost;

	switch (c->kind) {
	case PASSWORD_SHA512:
		(void)snprintf(out, size, "$6$");
		break;
	case PASSWORD_PBKDF2:
		(void)snprintf(out, size, "$7$%" PRIu32 "$", c->iterations);
		break;
	case PASSWORD_ARGON2ID:
		(void)snprintf(out, size,
		    "$argon2id$v=%u$m=%" PRIu32 ",t=%" PRIu32 ",p=%" PRIu32 "$",
		    h->version, c->memory, c->iterations, c->lanes);
		break;
	case PASSWORD_SCRAM:
		(void)snprintf(
		    out, size, SCRAM_METHOD "$%" PRIu32 ":", c->iterations);
		break;
	}
}

enum nj_err
password_make(const struct password_cost *c, struct slice password,
    char out[PASSWORD_TEXT_MAX])
{
	bool argon2 = c->kind == PASSWORD_ARGON2ID;
	bool scram = c->kind == PASSWORD_SCRAM;
	struct password_hash h = {
		.cost = *c,
		.version = ARGON2_VERSION_13,
		.salt_n = argon2 ? ARGON2_SALT
		    : scram	 ? SCRAM_SALT
				 : SALT_DEFAULT,
		.hash_n = argon2 ? ARGON2_HASH : SHA512_SIZE,
	};
	size_t n;
	enum nj_err e;

	if ((e = password_check_cost(c, NULL)))
		return e;
	rand_bytes(h.salt, h.salt_n);
	if ((e = derive(&h, password, h.hash)))
		return e;
	write_head(&h, out, PASSWORD_TEXT_MAX);
	n = strlen(out);
	n += base64_encode(out + n, slice_of(h.salt, h.salt_n), !argon2);
	out[n++] = '$';
	if (scram) {
		n += base64_encode(out + n, slice_of(h.hash, SCRAM_KEY), true);
		out[n++] = ':';
		n += base64_encode(
		    out + n, slice_of(h.hash + SCRAM_KEY, SCRAM_KEY), true);
	} else {
		n +=
		    base64_encode(out + n, slice_of(h.hash, h.hash_n), !argon2);
	}
	out[n] = '\0';
	return NJ_OK;
}
