/* SPDX-License-Identifier: Apache-2.0
 * enrol_fuzz - what a device that enrols sends, HTTP apart: a request for a
 *              certificate, base64, certs-only answers, tokens.  The first byte
 *              chooses.
 */
#include "fuzz.h"

#include <string.h>

#include "pki/csr.h"
#include "pki/pkcs7.h"
#include "pki/token.h"

static void
csr(struct slice s)
{
	struct pki_csr c;
	struct nj_why why = { 0 };

	if (pki_csr_open(s, &c, &why)) {
		HOLDS(why.what[0]);
		return;
	}
	HOLDS(c.key && strlen(c.spki) == 64);
	HOLDS(!c.cn[0] || pki_check_id(c.cn, NULL) == NJ_OK);
	HOLDS(pki_csr_check_names(&c, "other", "urn:x", &why) != NJ_OK ||
	    !c.cn[0] || strcmp(c.cn, "other") == 0);
	pki_csr_fini(&c);
}

static void
base64(struct slice s)
{
	struct buf out = { 0 }, text = { 0 }, again = { 0 };

	if (pki_base64_take(s, 256, &out) == NJ_OK) {
		HOLDS(buf_len(&out) <= 256);
		HOLDS(pki_base64_put(&text, buf_slice(&out)) == NJ_OK);
		HOLDS(pki_base64_take(buf_slice(&text), 256, &again) == NJ_OK);
		HOLDS(slice_eq(buf_slice(&out), buf_slice(&again)));
	}
	buf_fini(&again);
	buf_fini(&text);
	buf_fini(&out);
}

static void
answer(struct slice s)
{
	STACK_OF(X509) *certs = NULL;

	if (pkcs7_certs(s, &certs) == NJ_OK)
		HOLDS(sk_X509_num(certs) > 0);
	sk_X509_pop_free(certs, X509_free);
}

static void
token(struct slice s)
{
	struct pki_token_text t, u;
	char text[PKI_TOKEN_MAX + 1];

	if (pki_token_parse(s, &t))
		return;
	HOLDS(t.port > 0 && t.host[0]);
	if (pki_token_print(&t, text))
		return; /* brackets that were not there make it longer */
	HOLDS(pki_token_parse(slice_str(text), &u) == NJ_OK);
	HOLDS(strcmp(t.host, u.host) == 0 && t.port == u.port);
	HOLDS(memcmp(t.pin, u.pin, 32) == 0 && strcmp(t.secret, u.secret) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(
	    struct slice) = { csr, base64, answer, token };

	if (size > 0)
		kinds[data[0] % 4](slice_of(data + 1, size - 1));
	return 0;
}
