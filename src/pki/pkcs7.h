/* SPDX-License-Identifier: Apache-2.0
 * pkcs7 - certificates as EST carries them: a "certs-only" PKCS#7, in base64.
 *
 * Threads: any.
 * Bounds:  PKCS7_MAX bytes of text.
 * Spec:    RFC 7030 4.1.3, 4.2.3; RFC 8951 3; RFC 4648 4.
 */
#ifndef NJ_PKI_PKCS7_H
#define NJ_PKI_PKCS7_H

#include <openssl/x509.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define PKCS7_MAX (256 * 1024)

/* ders: certificates in DER, each with a length of two bytes before it; only
 * the first when one. */
NJ_MUST enum nj_err pkcs7_of(struct slice ders, bool one, struct buf *out);
/* In base64 as it came.  The certificates are the caller's. */
NJ_MUST enum nj_err pkcs7_certs(struct slice text, STACK_OF(X509) * *out);

/* In lines of 64 characters, which RFC 8951 has receivers take and simple tools
 * need. */
NJ_MUST enum nj_err pki_base64_put(struct buf *out, struct slice bytes);
/* White space anywhere; lines that begin with "-----", as PEM has them, are
 * passed over. */
NJ_MUST enum nj_err
pki_base64_take(struct slice text, size_t max, struct buf *out);

#endif
