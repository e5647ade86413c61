/* SPDX-License-Identifier: Apache-2.0
 * csr - a stranger's request for a certificate.  Only its key is taken from
 *       it; what else it asks for must not be more than it may have.
 *
 * Owns:    struct pki_csr the request.
 * Threads: any.
 * Bounds:  PKI_CSR_MAX bytes.
 * Spec:    RFC 2986; RFC 7030 4.2.1.
 */
#ifndef NJ_PKI_CSR_H
#define NJ_PKI_CSR_H

#include <openssl/x509.h>

#include "base/err.h"
#include "base/slice.h"
#include "pki/cert.h"

#define PKI_CSR_MAX 16384

struct pki_csr {
	X509_REQ *req;
	EVP_PKEY *key;		 /* borrowed from req */
	char cn[PKI_ID_MAX + 1]; /* "": it names none */
	char spki[65];
};

/*
 * DER.  NJ_INVALID with *why: no request, not signed by its own key, a weak
 * key, a CA's rights, a common name that no device can have.
 */
NJ_MUST enum nj_err
pki_csr_open(struct slice der, struct pki_csr *out, struct nj_why *why);
/* It names nobody but id: NJ_INVALID otherwise.  uri is id's own. */
NJ_MUST enum nj_err pki_csr_check_names(const struct pki_csr *c, const char *id,
    const char *uri, struct nj_why *why);
void pki_csr_fini(struct pki_csr *c);

#endif
