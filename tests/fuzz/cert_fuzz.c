/* SPDX-License-Identifier: Apache-2.0
 * cert_fuzz - a certificate of a peer, DER, as far as it is read by more than
 *             OpenSSL: names, judgements, explanations.
 */
#include "fuzz.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#include "base/err.h"
#include "pki/explain.h"
#include "pki/names.h"

/* One line, and nothing a terminal would act upon. */
static void
plain(const char *s)
{
	for (; *s; s++)
		HOLDS((uint8_t)*s >= 0x20 && *s != 0x7f);
}

static void
doubt(void *arg, const struct nj_why *why)
{
	(void)arg;
	HOLDS(why->what[0]);
	plain(why->what);
	plain(why->mend);
}

static void
describe(X509 *x)
{
	char text[300], print[96];

	pki_names_text(x, text, sizeof text);
	plain(text);
	pki_short_name(x, text, sizeof text);
	plain(text);
	pki_subject(x, text, sizeof text);
	plain(text);
	pki_serial(x, text, sizeof text);
	plain(text);
	pki_fingerprint(x, print);
	pki_subject(x, text, 4);
	HOLDS(strlen(text) < 4);
}

static void
judge(X509 *x)
{
	static const enum pki_use uses[] = { PKI_USE_SERVER, PKI_USE_CLIENT,
		PKI_USE_CA };
	struct nj_why why;

	for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
		why = (struct nj_why){ 0 };
		HOLDS(!pki_judge(x, uses[i], "it", &why) || why.what[0]);
		plain(why.what);
		pki_doubts(x, uses[i], "it", doubt, NULL);
	}
	for (int error = 1; error < 90; error += 3) {
		why = (struct nj_why){ 0 };
		pki_explain_verify(error, x, error % 3, &why);
		plain(why.what);
	}
	why = (struct nj_why){ 0 };
	pki_explain_host(x, "broker.example", &why);
	plain(why.what);
	(void)pki_matches_host(x, "broker.example");
	(void)pki_matches_host(x, "192.0.2.1");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pki_names names;
	const unsigned char *p = data;
	X509 *x = d2i_X509(NULL, &p, (long)size);

	if (x) {
		names.n = 0;
		pki_names_of(x, &names);
		HOLDS(names.n <= PKI_NAMES_MAX);
		for (unsigned i = 0; i < names.n; i++)
			HOLDS(strlen(names.v[i].text) <= PKI_NAME_MAX);
		describe(x);
		judge(x);
	}
	X509_free(x);
	ERR_clear_error();
	return 0;
}
