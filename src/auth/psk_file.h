/* SPDX-License-Identifier: Apache-2.0
 * psk_file - identities and the keys they share with the broker, from a file in
 *            Mosquitto's form.
 *
 * Lines are "identity:key", the key in hexadecimal digits; those that begin
 * with # and empty ones are skipped.
 *
 * Owns:    identities and keys; wiped when the last reference goes.
 * Threads: immutable once loaded.
 * Bounds:  PSK_FILE_MAX bytes, PSK_USERS_MAX identities of PSK_IDENTITY_MAX
 *          bytes, keys of PSK_KEY_MAX bytes.
 */
#ifndef NJ_AUTH_PSK_FILE_H
#define NJ_AUTH_PSK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define PSK_FILE_MAX	 ((size_t)64 << 20)
#define PSK_USERS_MAX	 1000000u
#define PSK_IDENTITY_MAX 255
#define PSK_KEY_MAX	 256
/* Below this many bytes a key can be guessed by who overheard a handshake. */
#define PSK_KEY_SHORT 16

struct psk_file;

struct psk_file_info {
	size_t identities;
	size_t short_keys;
};

/* Anything else than such lines is refused, with file and line in *why. */
NJ_MUST enum nj_err
psk_file_load(const char *path, struct psk_file **out, struct nj_why *why);
/* The same from memory; path is only for *why. */
NJ_MUST enum nj_err psk_file_parse(struct slice text, const char *path,
    struct psk_file **out, struct nj_why *why);
struct psk_file *psk_file_ref(struct psk_file *f);
void psk_file_unref(struct psk_file *f);
void psk_file_info(const struct psk_file *f, struct psk_file_info *out);

/*
 * Copies the identity's key and returns its length.  Of an identity that is
 * nobody's (*known is false) a key that is always the same for it and that
 * nobody has, after the same work.
 */
size_t psk_file_key(const struct psk_file *f, struct slice identity,
    uint8_t key[PSK_KEY_MAX], bool *known);

#endif
