/* SPDX-License-Identifier: Apache-2.0
 * key - private keys: made, loaded with or without a passphrase, stored.
 *
 * Owns:    what it returns is the caller's (EVP_PKEY_free).
 * Threads: any.
 */
#ifndef NJ_PKI_KEY_H
#define NJ_PKI_KEY_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

NJ_MUST enum nj_err pki_key_new_p256(EVP_PKEY **out);
NJ_MUST enum nj_err pki_key_new_rsa(unsigned bits, EVP_PKEY **out);
/*
 * PEM, any of the usual encodings, or a line that says in which hardware module
 * it is (pkcs11.h), where pass is the PIN.  NJ_DENIED: it is encrypted and pass is
 * NULL or wrong (*why says which); other errors tell an unreadable file, a
 * file that others may read (a warning is the caller's choice: private_only),
 * or no key inside.
 */
NJ_MUST enum nj_err pki_key_load(const char *path, const struct secret *pass,
    bool private_only, EVP_PKEY **out, struct nj_why *why);
/* Whether the file holds an encrypted key. */
bool pki_key_is_encrypted(const char *path);
/* 0600, atomic; encrypted (PKCS#8, scrypt, AES-256) when pass is given.  Of a
 * key in a hardware module the line. */
NJ_MUST enum nj_err pki_key_store(const char *path, EVP_PKEY *key,
    const struct secret *pass, struct nj_why *why);

/* How a passphrase becomes a key: scrypt resists guessing better, PBKDF2 with
 * SHA-256 is what the libraries of devices read. */
enum pki_kdf { PKI_KEY_SCRYPT, PKI_KEY_PBKDF2 };
/* PKCS#8 in PEM; encrypted with AES-256 when pass is given. */
NJ_MUST enum nj_err pki_key_pem(EVP_PKEY *key, const struct secret *pass,
    enum pki_kdf kdf, struct buf *out);

/* SHA-256 of its SubjectPublicKeyInfo. */
NJ_MUST enum nj_err pki_key_spki_sha256(EVP_PKEY *key, uint8_t out[32]);

#endif
