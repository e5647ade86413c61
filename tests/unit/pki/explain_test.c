/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

#include "pki/explain.h"

static const char server[] = "serverAuth";

static void
judges(void **state)
{
	static const struct {
		const char *why;
		struct rough r;
		enum pki_use use;
		const char *says; /* NULL: accepted */
		const char *mends;
	} rows[] = {
		{ "good server", { .san = "DNS:a.example", .eku = server },
		    PKI_USE_SERVER, NULL, NULL },
		{ "good client", { .eku = "clientAuth" }, PKI_USE_CLIENT, NULL,
		    NULL },
		{ "good CA",
		    { .constraints = "critical,CA:TRUE",
			.ku = "critical,keyCertSign" },
		    PKI_USE_CA, NULL, NULL },
		{ "RSA-2048", { .rsa_bits = 2048 }, PKI_USE_SERVER, NULL,
		    NULL },
		{ "RSA-1024 server, as the third document makes it",
		    { .rsa_bits = 1024, .san = "DNS:futro-s450" },
		    PKI_USE_SERVER, "x.crt is refused: it is RSA-1024",
		    "nightjar ca server" },
		{ "RSA-1024 CA", { .rsa_bits = 1024, .constraints = "CA:TRUE" },
		    PKI_USE_CA, "RSA-1024", "nightjar ca init" },
		{ "SHA-1 leaf", { .md = "SHA1" }, PKI_USE_SERVER,
		    "signed with SHA-1", "nightjar ca server" },
		{ "MD5 leaf", { .rsa_bits = 2048, .md = "MD5" }, PKI_USE_CLIENT,
		    "signed with MD5", "nightjar ca device" },
		{ "SHA-1 root: nothing rests on its signature",
		    { .md = "SHA1", .constraints = "CA:TRUE" }, PKI_USE_CA,
		    NULL, NULL },
		{ "version 1 CA, as the first document makes it",
		    { .v1 = true }, PKI_USE_CA, "version 1",
		    "nightjar ca init" },
		{ "version 1 leaf: only doubted", { .v1 = true },
		    PKI_USE_SERVER, NULL, NULL },
		{ "no CA flag", { .constraints = "CA:FALSE" }, PKI_USE_CA,
		    "not a CA certificate", "nightjar ca init" },
		{ "CA that may not sign",
		    { .constraints = "CA:TRUE", .ku = "digitalSignature" },
		    PKI_USE_CA, "keyCertSign", NULL },
		{ "client's as server", { .eku = "clientAuth" }, PKI_USE_SERVER,
		    "serverAuth", "nightjar ca server" },
		{ "server's as client", { .eku = server }, PKI_USE_CLIENT,
		    "clientAuth", "nightjar ca device" },
		{ "any use is none for a client",
		    { .eku = "anyExtendedKeyUsage" }, PKI_USE_CLIENT, "'any'",
		    "nightjar ca device" },
		{ "any use, of a server: only doubted",
		    { .eku = "anyExtendedKeyUsage" }, PKI_USE_SERVER, NULL,
		    NULL },
		{ "a client's key that only encrypts",
		    { .ku = "keyEncipherment" }, PKI_USE_CLIENT,
		    "digitalSignature", "nightjar ca device" },
		{ "1970 for 2070", { .from_days = -30000, .to_days = -29000 },
		    PKI_USE_SERVER, "two digits of the year", NULL },
		{ "no TLS usage", { .ku = "cRLSign" }, PKI_USE_SERVER,
		    "digitalSignature", NULL },
		{ "expired", { .from_days = -10, .to_days = -1 },
		    PKI_USE_SERVER, "expired on 20", NULL },
		{ "not yet", { .from_days = 2, .to_days = 20 }, PKI_USE_SERVER,
		    "valid only from 20", "set the clock" },
		{ "not yet, of a CA: not to be made anew",
		    { .from_days = 2,
			.to_days = 20,
			.constraints = "critical,CA:TRUE" },
		    PKI_USE_CA, "valid only from 20", "set the clock" },
		{ "weak, and not yet: the clock is not all",
		    { .rsa_bits = 1024, .from_days = 2, .to_days = 20 },
		    PKI_USE_SERVER, "RSA-1024", "nightjar ca server" },
		{ "two faults at once", { .rsa_bits = 1024, .md = "SHA1" },
		    PKI_USE_SERVER,
		    "broken (at least 2048 bits); it is signed with SHA-1",
		    NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct nj_why why = { 0 };
		X509 *x = rough_cert(&rows[i].r, NULL);
		enum nj_err e = pki_judge(x, rows[i].use, "x.crt", &why);

		if ((e == NJ_OK) != (rows[i].says == NULL) ||
		    (rows[i].says && !strstr(why.what, rows[i].says)) ||
		    (rows[i].mends && !strstr(why.mend, rows[i].mends)))
			fail_msg("%s: %d '%s' '%s'", rows[i].why, (int)e,
			    why.what, why.mend);
		X509_free(x);
	}
}

struct seen {
	unsigned n;
	char all[2048];
};

static void
collect(void *arg, const struct nj_why *why)
{
	struct seen *s = arg;
	size_t len = strlen(s->all);

	s->n++;
	(void)snprintf(s->all + len, sizeof(s->all) - len, "%s\n", why->what);
}

static void
doubts(void **state)
{
	static const struct {
		const char *why;
		struct rough r;
		enum pki_use use;
		unsigned n;
		const char *says;
	} rows[] = {
		{ "by itself", { .san = "DNS:a.example" }, PKI_USE_SERVER, 1,
		    "signed by itself" },
		{ "no SAN, as the second document makes it",
		    { .cn = "iotgateway1" }, PKI_USE_SERVER, 2,
		    "only the common name 'iotgateway1'" },
		{ "no host among them", { .san = "URI:mqtts://a.example" },
		    PKI_USE_SERVER, 2,
		    "(mqtts://a.example): clients look for 'DNS:'" },
		{ "a URL as name", { .san = "DNS:mqtts://a.example" },
		    PKI_USE_SERVER, 2, "who connects to 'a.example' does not" },
		{ "a port in it", { .san = "DNS:a.example:8883" },
		    PKI_USE_SERVER, 2, "who connects to 'a.example' does not" },
		{ "brackets", { .san = "DNS:[2001:db8::1]" }, PKI_USE_SERVER, 2,
		    "who connects to '2001:db8::1' does not" },
		{ "a star for a top level", { .san = "DNS:*.local" },
		    PKI_USE_SERVER, 2, "two more behind it" },
		{ "a star in the middle", { .san = "DNS:a*.example.org" },
		    PKI_USE_SERVER, 2, "two more behind it" },
		{ "a good star", { .san = "DNS:*.example.org" }, PKI_USE_SERVER,
		    1, NULL },
		{ "a service of docker-compose", { .san = "DNS:my_broker" },
		    PKI_USE_SERVER, 2, "no host name" },
		{ "only for encryption",
		    { .ku = "keyEncipherment", .san = "DNS:a.example" },
		    PKI_USE_SERVER, 2, "keyEncipherment without" },
		{ "only for agreement",
		    { .ku = "keyAgreement", .san = "DNS:a.example" },
		    PKI_USE_SERVER, 2, "keyAgreement without" },
		{ "any use",
		    { .eku = "anyExtendedKeyUsage", .san = "DNS:a.example" },
		    PKI_USE_SERVER, 2, "'any' without serverAuth" },
		{ "a serial below 0", { .serial = -5, .san = "DNS:a.example" },
		    PKI_USE_SERVER, 2, "a serial number below 0" },
		{ "version 1", { .v1 = true }, PKI_USE_SERVER, 3,
		    "version 1 certificate" },
		{ "ends soon",
		    { .from_days = -300, .to_days = 5, .san = "DNS:a.example" },
		    PKI_USE_SERVER, 2, "ends in " },
		{ "ten years, as the third document makes it",
		    { .from_days = -1,
			.to_days = 3650,
			.san = "DNS:futro-s450" },
		    PKI_USE_SERVER, 2, "3651 days" },
		{ "a client needs no names", { .cn = "dev" }, PKI_USE_CLIENT, 1,
		    "no broker does" },
		{ "SHA-1 root", { .md = "SHA1", .constraints = "CA:TRUE" },
		    PKI_USE_CA, 1, "signed by itself with SHA-1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct seen s = { 0 };
		X509 *x = rough_cert(&rows[i].r, NULL);

		pki_doubts(x, rows[i].use, "x.crt", collect, &s);
		if (s.n != rows[i].n ||
		    (rows[i].says && !strstr(s.all, rows[i].says)))
			fail_msg("%s: %u\n%s", rows[i].why, s.n, s.all);
		X509_free(x);
	}
}

static void
verify_errors(void **state)
{
	static const struct {
		int code;
		const char *says, *mends;
	} rows[] = {
		{ X509_V_ERR_CERT_HAS_EXPIRED,
		    "certificate 'dev1' (serial 5A12) expired on 20",
		    "nightjar ca" },
		{ X509_V_ERR_CERT_NOT_YET_VALID, "is not valid before",
		    "clock" },
		{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
		    "issued by 'dev1', which is not among the trusted CAs",
		    "cafile" },
		{ X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "signed by itself",
		    "nightjar ca" },
		{ X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
		    "not among the trusted CAs", "cafile" },
		{ X509_V_ERR_CERT_REVOKED, "is revoked", "nightjar ca device" },
		{ X509_V_ERR_INVALID_PURPOSE, "may not be used for this",
		    "nightjar ca device" },
		{ X509_V_ERR_EE_KEY_TOO_SMALL, "too short", "nightjar ca" },
		{ X509_V_ERR_CRL_HAS_EXPIRED, "has expired", "crlfile" },
		{ X509_V_ERR_HOSTNAME_MISMATCH, "is valid for box.lan",
		    "nightjar ca server" },
		{ X509_V_ERR_OUT_OF_MEM, "was refused: out of memory", "" },
	};
	const struct rough r = { .cn = "dev1", .san = "DNS:box.lan" };
	X509 *x = rough_cert(&r, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct nj_why why = { 0 };

		pki_explain_verify(rows[i].code, x, 0, &why);
		if (!strstr(why.what, rows[i].says) ||
		    !strstr(why.mend, rows[i].mends))
			fail_msg(
			    "%d: '%s' '%s'", rows[i].code, why.what, why.mend);
		/* Without a certificate it must hold as well. */
		pki_explain_verify(rows[i].code, NULL, 1, &why);
		assert_non_null(strstr(why.what, "the CA certificate"));
	}
	X509_free(x);
}

static void
hosts(void **state)
{
	static const struct {
		const char *san, *host;
		bool matches;
	} rows[] = {
		{ "DNS:futro-s450", "futro-s450", true },
		{ "DNS:futro-s450", "FUTRO-S450", true },
		{ "DNS:futro-s450", "192.168.1.20", false },
		{ "IP:192.168.1.20", "192.168.1.20", true },
		{ "IP:::1", "::1", true },
		{ "DNS:*.example.org", "a.example.org", true },
		{ "DNS:*.example.org", "a.b.example.org", false },
		{ "DNS:192.168.1.20", "192.168.1.20", false },
	};
	struct nj_why why = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct rough r = { .san = rows[i].san, .cn = "other" };
		X509 *x = rough_cert(&r, NULL);

		if (pki_matches_host(x, rows[i].host) != rows[i].matches)
			fail_msg("%s and %s", rows[i].san, rows[i].host);
		pki_explain_host(x, rows[i].host, &why);
		assert_non_null(strstr(why.mend, rows[i].host));
		assert_non_null(strstr(why.mend, "nightjar ca server"));
		X509_free(x);
	}
}

static void
texts(void **state)
{
	const struct rough r = { .cn = "evil\n\x1b[2J" };
	X509 *x = rough_cert(&r, NULL);
	char text[512], print[96];

	(void)state;
	pki_short_name(x, text, sizeof(text));
	assert_string_equal(text, "evil\\x0a\\x1b[2J");
	pki_subject(x, text, sizeof(text));
	assert_null(strchr(text, '\n'));
	assert_null(strchr(text, '\x1b'));
	pki_serial(x, text, sizeof(text));
	assert_string_equal(text, "5A12");
	pki_fingerprint(x, print);
	assert_int_equal(strlen(print), 95);
	X509_free(x);
}

static void
many_names(void **state)
{
	struct rough r = { 0 };
	char san[4096] = "", names[200];
	size_t len = 0;
	X509 *x;

	(void)state;
	for (unsigned i = 0; i < 60; i++)
		len += (size_t)snprintf(san + len, sizeof(san) - len,
		    "%sDNS:host%u.example.org", i ? "," : "", i);
	r.san = san;
	x = rough_cert(&r, NULL);
	pki_names_text(x, names, sizeof(names));
	assert_non_null(strstr(names, "host0.example.org, host1"));
	assert_non_null(strstr(names, " more"));
	X509_free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judges),
		cmocka_unit_test(doubts),
		cmocka_unit_test(verify_errors),
		cmocka_unit_test(hosts),
		cmocka_unit_test(texts),
		cmocka_unit_test(many_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
