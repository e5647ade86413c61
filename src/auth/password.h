/* SPDX-License-Identifier: Apache-2.0
 * password - one password hash: read, made, checked.
 *
 *   $6$salt$hash           SHA-512 over password and salt (old, fast: weak)
 *   $7$iter$salt$hash      PBKDF2-HMAC-SHA512
 *   $argon2id$v=19$m=,t=,p=$salt$hash
 *   SCRAM-SHA-256$iter:salt$StoredKey:ServerKey (RFC 5803)
 *
 * Owns:    nothing.
 * Threads: any; slow by intent, so never on a shard.
 * Bounds:  PASSWORD_*_MAX: what one login attempt may cost.  A hash past them
 *          is refused when it is read, not when somebody logs in.
 */
#ifndef NJ_AUTH_PASSWORD_H
#define NJ_AUTH_PASSWORD_H

#include <stddef.h>
#include <stdint.h>

#include "auth/scram.h"
#include "base/err.h"
#include "base/slice.h"

#define PASSWORD_SALT_MAX 64
#define PASSWORD_HASH_MAX 64
/* Room for every hash in writing, its NUL included. */
#define PASSWORD_TEXT_MAX 320

#define PASSWORD_PBKDF2_ITERATIONS_MAX 2000000u /* about 1.5 s of CPU */
#define PASSWORD_ARGON2_MEMORY_MAX     262144u	/* KiB */
#define PASSWORD_ARGON2_TIME_MAX       64u
#define PASSWORD_ARGON2_LANES_MAX      16u
#define PASSWORD_ARGON2_WORK_MAX       2097152u /* KiB times passes */

enum password_kind {
	PASSWORD_SHA512 = 1,
	PASSWORD_PBKDF2,
	PASSWORD_ARGON2ID,
	PASSWORD_SCRAM /* hash: StoredKey and ServerKey */
};

/* What one check costs.  Fields a kind does not have are 0. */
struct password_cost {
	enum password_kind kind;
	uint32_t iterations; /* PBKDF2, SCRAM; passes of argon2id */
	uint32_t memory;     /* KiB, argon2id */
	uint32_t lanes;	     /* argon2id */
};

struct password_hash {
	struct password_cost cost;
	uint8_t version; /* of argon2id */
	uint8_t salt_n, hash_n;
	uint8_t salt[PASSWORD_SALT_MAX];
	uint8_t hash[PASSWORD_HASH_MAX];
};

/* What new hashes are made with unless something else is asked for. */
struct password_cost password_default_cost(enum password_kind kind);
/* NJ_INVALID with *why when past the bounds, or too little to work. */
NJ_MUST enum nj_err
password_check_cost(const struct password_cost *c, struct nj_why *why);

/*
 * NJ_UNSUPPORTED: none of the four forms (a plaintext password, say).
 * NJ_MALFORMED: begins like one.  NJ_INVALID: the cost.  *at is how many
 * bytes in the fault is.
 */
NJ_MUST enum nj_err password_parse(struct slice text, struct password_hash *out,
    size_t *at, struct nj_why *why);
/* A new salt and the hash, as text with a NUL.  NJ_INVALID: a password that
 * SCRAM cannot have (scram_prepared). */
NJ_MUST enum nj_err password_make(const struct password_cost *c,
    struct slice password, char out[PASSWORD_TEXT_MAX]);
/* NJ_OK or NJ_DENIED; NJ_NOMEM and NJ_CRYPTO when it cannot be told.  The
 * comparison takes the same time wherever the hashes differ. */
NJ_MUST enum nj_err
password_verify(const struct password_hash *h, struct slice password);
/* Of a hash whose kind is PASSWORD_SCRAM. */
void
password_verifier(const struct password_hash *h, struct scram_verifier *out);

#endif
