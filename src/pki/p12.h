/* SPDX-License-Identifier: Apache-2.0
 * p12 - PKCS#12 files that the platforms really import.
 *
 * Java takes a certificate of such a file for a trusted one only when its bag
 * carries the attribute 2.16.840.1.113894.746875.1.1; without it a trust
 * store made by openssl has no entries.  Android up to 13, macOS and Java
 * before 8u301 do not know AES in these files and call it a wrong password.
 *
 * Owns:    nothing.
 * Threads: any.
 * Spec:    RFC 7292, RFC 8018.
 */
#ifndef NJ_PKI_P12_H
#define NJ_PKI_P12_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"

enum p12_form {
	P12_NONE,
	P12_MODERN,  /* PBES2, AES-256, PBKDF2 with SHA-256; MAC SHA-256 */
	P12_ANDROID, /* 3DES with SHA-1, which is all that old ones read */
	P12_JAVA     /* as modern; the CA as an entry that is trusted */
};

struct p12_spec {
	enum p12_form form;
	const char *name;	       /* how the entry is called (alias) */
	EVP_PKEY *key;		       /* NULL: a trust store */
	X509 *leaf;		       /* with key */
	const STACK_OF(X509) * chain;  /* between leaf and root, or NULL */
	const STACK_OF(X509) * roots;  /* whom to trust */
	const struct secret *password; /* ASCII */
	bool random; /* the password is a long random one, and needs no slow
		      * derivation to be safe */
};

/* "modern", "android", "java"; false: none of them. */
bool p12_form_of(const char *word, enum p12_form *out);
/* Appends the file to *out, which may hold a secret now. */
NJ_MUST enum nj_err
p12_make(const struct p12_spec *spec, struct buf *out, struct nj_why *why);

#endif
