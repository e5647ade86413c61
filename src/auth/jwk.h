/* SPDX-License-Identifier: Apache-2.0
 * jwk - the public keys that tokens are checked with, from PEM files (public
 *       keys or certificates) and JSON Web Key Sets.
 *
 * Owns:    its keys; reference counted.
 * Threads: immutable once loaded; any number of threads verify at once.
 * Bounds:  JWK_FILE_MAX bytes a file, JWK_KEYS_MAX keys.
 * Spec:    RFC 7517, RFC 7518 6.2 and 6.3, RFC 8037.
 */
#ifndef NJ_AUTH_JWK_H
#define NJ_AUTH_JWK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define JWK_FILE_MAX ((size_t)1 << 20)
#define JWK_KEYS_MAX 64
#define JWK_KID_MAX  255
/* Keys that one token without an identifier is tried with. */
#define JWK_TRIES_MAX 8

/* What a key is for; there is no other. */
enum jwk_alg { JWK_RS256, JWK_ES256, JWK_EDDSA, JWK_ALGS };

struct jwk_set;

/* The algorithm of that name; JWK_ALGS: it is not served. */
enum jwk_alg jwk_alg_of(struct slice name);

NJ_MUST enum nj_err jwk_set_new(struct jwk_set **out);
struct jwk_set *jwk_set_ref(struct jwk_set *s);
void jwk_set_unref(struct jwk_set *s);
/* Adds the keys of a file; at least one.  Refused are secret keys, private or
 * shared, and weak ones. */
NJ_MUST enum nj_err
jwk_set_load(struct jwk_set *s, const char *path, struct nj_why *why);
/* The same from memory; path is only for *why. */
NJ_MUST enum nj_err jwk_set_parse(
    struct jwk_set *s, struct slice text, const char *path, struct nj_why *why);
size_t jwk_set_count(const struct jwk_set *s);

/*
 * Whether one of the keys made this signature.  kid, when there is one, picks
 * the key that is called so; a key without a name is tried only if none is.
 * NJ_NOTFOUND: no key of that name and kind.  NJ_DENIED: it is not theirs.
 */
NJ_MUST enum nj_err
jwk_verify(const struct jwk_set *s, enum jwk_alg alg, bool has_kid,
    struct slice kid, struct slice signed_bytes, struct slice signature);

#endif
