/* SPDX-License-Identifier: Apache-2.0
 * pkcs11 - keys that stay in a hardware module: where a key file is expected,
 *          one line that says where the key is.
 *
 *	pkcs11:token=ca;object=issuing?module-path=/usr/lib/softhsm/libsofthsm2.so
 *
 * The passphrase of the file is the PIN, unless the line has pin-source.  What
 * talks to the module is OpenSSL's pkcs11 engine (libengine-pkcs11-openssl).
 *
 * Owns:    nothing; keys are the caller's.
 * Threads: the first key before there are others.
 * Bounds:  PKCS11_URI_MAX bytes.
 * Spec:    RFC 7512.
 */
#ifndef NJ_PKI_PKCS11_H
#define NJ_PKI_PKCS11_H

#include <openssl/evp.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/slice.h"

#define PKCS11_URI_MAX 1024

bool pkcs11_is_uri(struct slice text);
/* NJ_UNSUPPORTED: there is no engine; NJ_DENIED: not this PIN. */
NJ_MUST enum nj_err pkcs11_load(struct slice uri, const struct secret *pin,
    EVP_PKEY **out, struct nj_why *why);
/* The line that a key came from; SLICE_NONE: it is in memory. */
struct slice pkcs11_uri_of(const EVP_PKEY *key);

#endif
