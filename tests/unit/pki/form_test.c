/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "pki/form.h"

#define BODY "MIIBszCCAVmgAwIBAgIUE8Pq\nQUJDREVGR0hJSktMTU5PUFE=\n"
#define GOOD                                                            \
	"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUE8PqQUJDREVG" \
	"R0hJSktMTU5PUFE=\n-----END CERTIFICATE-----\n"

static const struct {
	const char *why;
	struct slice in;
	enum pki_form_kind kind;
	const char *says; /* in the explanation; NULL: none */
} rows[] = {
	{ "nothing", LIT(""), PKI_FORM_EMPTY, "is empty" },
	{ "only a mark", LIT("\xEF\xBB\xBF"), PKI_FORM_EMPTY, "is empty" },
	{ "well", LIT(GOOD), PKI_FORM_PEM, NULL },
	{ "BOM", LIT("\xEF\xBB\xBF" GOOD), PKI_FORM_PEM, "byte order mark" },
	{ "UTF-16", LIT("\xFF\xFE-\0-\0-\0-\0-\0B\0E\0G\0I\0N\0 \0"),
	    PKI_FORM_OTHER, "UTF-16" },
	{ "literal \\n",
	    LIT("\"-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END "
		"CERTIFICATE-----\\n\""),
	    PKI_FORM_PEM, "written out" },
	{ "no end", LIT("-----BEGIN CERTIFICATE-----\n" BODY), PKI_FORM_PEM,
	    "cut off" },
	{ "long dashes",
	    LIT("\xE2\x80\x94"
		"BEGIN CERTIFICATE\xE2\x80\x94\n" BODY "\xE2\x80\x94"
		"END CERTIFICATE\xE2\x80\x94\n"),
	    PKI_FORM_PEM, "hyphens" },
	{ "indented",
	    LIT("  -----BEGIN CERTIFICATE-----\n" BODY
		"  -----END CERTIFICATE-----\n"),
	    PKI_FORM_PEM, "left edge" },
	{ "old Mac",
	    LIT("-----BEGIN CERTIFICATE-----\rMIIB\r-----END "
		"CERTIFICATE-----\r"),
	    PKI_FORM_PEM, "Mac" },
	{ "DER", LIT("\x30\x03\x02\x01\x05"), PKI_FORM_DER, "DER" },
	{ "DER, too long", LIT("\x30\x7f\x02\x01\x05"), PKI_FORM_OTHER, NULL },
	{ "DER, length of length", LIT("\x30\x84\xff\xff"), PKI_FORM_OTHER,
	    NULL },
	{ "JKS", LIT("\xFE\xED\xFE\xED\0\0\0\2"), PKI_FORM_JKS, "keystore" },
	{ "HTML", LIT("<!DOCTYPE html><html>"), PKI_FORM_HTML, "web page" },
	{ "SSH", LIT("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"),
	    PKI_FORM_SSH_KEY, "SSH" },
	{ "SSH, public", LIT("ssh-ed25519 AAAA me@here"), PKI_FORM_SSH_PUB,
	    "SSH" },
	{ "print",
	    LIT("Certificate:\n    Data:\n        Signature Algorithm: x\n"),
	    PKI_FORM_DUMP, "printed" },
	{ "two, put together without a line end",
	    LIT("-----BEGIN CERTIFICATE-----\n" BODY
		"-----END CERTIFICATE----------BEGIN CERTIFICATE-----\n" BODY
		"-----END CERTIFICATE-----\n"),
	    PKI_FORM_PEM, "BEGIN behind an END" },
	{ "blanks for line ends",
	    LIT("-----BEGIN CERTIFICATE----- MIIB AAAA "
		"-----END CERTIFICATE----- "),
	    PKI_FORM_PEM, "blanks" },
	{ "of Kubernetes", LIT("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"),
	    PKI_FORM_OTHER, "Kubernetes" },
	{ "gzip", LIT("\x1f\x8b\x08\0"), PKI_FORM_OTHER, "gzip" },
	{ "PGP", LIT("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabcd\n"),
	    PKI_FORM_PEM, "PGP" },
	{ "PKCS#7", LIT("-----BEGIN PKCS7-----\n" BODY "-----END PKCS7-----\n"),
	    PKI_FORM_PEM, "PKCS#7" },
	{ "a curve alone",
	    LIT("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
		"-----END EC PARAMETERS-----\n"),
	    PKI_FORM_OTHER, "ecparam" },
	{ "prose", LIT("hello"), PKI_FORM_OTHER, NULL },
};

static void
tells_the_form(void **state)
{
	struct nj_why why;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pki_form f = pki_form_of(rows[i].in);
		bool said;

		memset(&why, 0, sizeof why);
		said = pki_form_explain("x", rows[i].in, &why);
		if (f.kind != rows[i].kind)
			print_error("%s\n", rows[i].why);
		assert_int_equal(f.kind, rows[i].kind);
		if (said != (rows[i].says != NULL) ||
		    (said && !strstr(why.what, rows[i].says)))
			fail_msg("%s: said '%s'", rows[i].why, why.what);
	}
}

static void
cleans_what_editors_did(void **state)
{
	static const struct slice in[] = {
		LIT(GOOD),
		LIT("\xEF\xBB\xBF" GOOD),
		LIT("text\n  -----BEGIN CERTIFICATE-----\r\n  " BODY
		    "-----END CERTIFICATE-----"),
		LIT("'-----BEGIN CERTIFICATE-----\\n"
		    "MIIBszCCAVmgAwIBAgIUE8Pq\\nQUJDREVGR0hJSktMTU5PUFE=\\n"
		    "-----END CERTIFICATE-----'"),
		LIT("\xE2\x80\x94"
		    "BEGIN CERTIFICATE\xE2\x80\x94 " BODY "\xE2\x80\x94"
		    "END CERTIFICATE\xE2\x80\x94"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
		struct buf out = { 0 };

		assert_int_equal(pki_form_clean(in[i], &out), NJ_OK);
		if (!slice_eq(buf_slice(&out), LIT(GOOD)))
			fail_msg("row %zu: %.*s", i, (int)buf_len(&out),
			    (const char *)buf_slice(&out).p);
		buf_fini(&out);
	}
}

/* Each beginning of each row, and each with one byte changed. */
static void
takes_anything(void **state)
{
	uint8_t bytes[512];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n =
		    rows[i].in.n < sizeof bytes ? rows[i].in.n : sizeof bytes;

		for (size_t k = 0; k < n; k++) {
			struct buf out = { 0 };

			(void)!pki_form_clean(slice_of(rows[i].in.p, k), &out);
			memcpy(bytes, rows[i].in.p, n);
			bytes[k] ^= 0x80;
			(void)!pki_form_clean(slice_of(bytes, n), &out);
			(void)pki_form_of(slice_of(bytes, n));
			buf_fini(&out);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_the_form),
		cmocka_unit_test(cleans_what_editors_did),
		cmocka_unit_test(takes_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
