/* SPDX-License-Identifier: Apache-2.0
 * rough - certificates that are wrong in one way or another, as people make
 *         them by hand; and a folder of a test's own.
 *
 * Owns:    what it returns is the caller's.
 * Threads: one.
 */
#ifndef NJ_TESTS_PKI_ROUGH_H
#define NJ_TESTS_PKI_ROUGH_H

#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/secret.h"

struct rough {
	unsigned rsa_bits; /* 0: P-256 */
	const char *md;	   /* NULL: SHA256 */
	bool v1;
	const char *cn;
	const char *san, *eku, *ku, *constraints; /* as openssl.cnf has them */
	int64_t serial;				  /* 0: 5A12 */
	int from_days, to_days; /* from now; both 0: yesterday to next year */
	X509 *issuer;		/* NULL: by itself */
	EVP_PKEY *issuer_key;
};

X509 *rough_cert(const struct rough *r, EVP_PKEY **key);
struct secret *rough_secret(const char *text);
/* A new folder, removed with all in it by rough_rmdir. */
void rough_mkdir(char dst[64]);
void rough_rmdir(const char *dir);
/* "dir/name", in one of a few static arrays. */
const char *rough_path(const char *dir, const char *name);
/* The permission bits, 0 when it is not there. */
unsigned rough_mode(const char *path);

#endif
