/* SPDX-License-Identifier: Apache-2.0
 * receipt - the certificate that a key was given lately, for its device to
 *           fetch once more: the answer may have been lost on its way.
 *
 *	DIR/pki/receipts/KEY	KEY is the SHA-256 of the public key
 *
 * Only who proves the same thing again, with a request by the same key, gets
 * it: the certificate is no secret, and no use to anybody else.
 *
 * Owns:    nothing.
 * Threads: any; a file is there whole or not at all.
 * Bounds:  RECEIPT_S; the last one of each key.
 */
#ifndef NJ_PKI_RECEIPT_H
#define NJ_PKI_RECEIPT_H

#include <openssl/x509.h>

#include "base/err.h"
#include "pki/cert.h"

#define RECEIPT_S 86400

/* proof: what was shown, a token's hash or a serial; hexadecimal, as spki. */
NJ_MUST enum nj_err receipt_store(const char *dir, const char *spki,
    const char *proof, const char *id, X509 *x);
/* NJ_NOTFOUND: there is none for that, or it is too old. */
NJ_MUST enum nj_err receipt_find(const char *dir, const char *spki,
    const char *proof, char id[PKI_ID_MAX + 1], X509 **out);
/* Forgets the old ones. */
void receipt_sweep(const char *dir);

#endif
