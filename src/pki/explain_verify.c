/* SPDX-License-Identifier: Apache-2.0
 * explain_verify - what stands against a chain, or against the host that was
 *                  connected to.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "pki/explain.h"

/* "certificate 'dev1' (serial 5A12...)" */
static void
call_it(X509 *x, int depth, char *dst, size_t size)
{
	const char *kind = depth > 0 ? "CA certificate" : "certificate";
	char name[TEXT_ESC], serial[48];

	if (!x) {
		(void)snprintf(dst, size, "the %s", kind);
		return;
	}
	pki_short_name(x, name, sizeof(name));
	pki_serial(x, serial, sizeof(serial));
	(void)snprintf(dst, size, "%s '%s' (serial %.40s)", kind, name, serial);
}

static bool
mentions_address(const char *host)
{
	unsigned char a[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, a) == 1 ||
	    inet_pton(AF_INET6, host, a) == 1;
}

bool
pki_matches_host(X509 *x, const char *host)
{
	bool yes;

	if (mentions_address(host))
		yes = X509_check_ip_asc(x, host, 0) == 1;
	else
		yes = X509_check_host(x, host, 0,
			  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
	ERR_clear_error();
	return yes;
}

void
pki_explain_host(X509 *x, const char *host, struct nj_why *why)
{
	char names[256], safe[TEXT_ESC];

	text_esc(safe, sizeof(safe), slice_str(host));
	pki_names_text(x, names, sizeof(names));
	if (mentions_address(host) && X509_check_host(x, host, 0, 0, NULL) == 1)
		why_set(why,
		    "the server's certificate has %s as a host name "
		    "(DNS:%s) and not as an address (IP:%s)",
		    safe, safe, safe);
	else if (names[0] == '\0')
		why_set(why,
		    "the server's certificate names no host; you "
		    "connected to %s",
		    safe);
	else
		why_set(why,
		    "the server's certificate is valid for %s; you "
		    "connected to %s",
		    names, safe);
	why_mend(why,
	    "connect to one of its names, or run on the broker's "
	    "machine: nightjar ca server %s (--insecure is never needed)",
	    safe);
	ERR_clear_error();
}

static void
verify_dates(int code, X509 *x, const char *it, struct nj_why *why)
{
	char day[40];

	if (code == X509_V_ERR_CERT_HAS_EXPIRED) {
		pki_day_text(
		    x ? X509_get0_notAfter(x) : NULL, day, sizeof(day));
		why_set(
		    why, "%s expired on %s", it, x ? day : "an earlier day");
		why_mend(why,
		    "make a new one with nightjar ca (init, server or "
		    "device), and check the clock of both machines");
	} else {
		pki_day_text(
		    x ? X509_get0_notBefore(x) : NULL, day, sizeof(day));
		why_set(why, "%s is not valid before %s", it,
		    x ? day : "a later day");
		why_mend(why,
		    "set the clock of the machine that says this; it "
		    "is probably behind");
	}
}

static void
verify_issuer(int code, X509 *x, int depth, const char *it, struct nj_why *why)
{
	char issuer[TEXT_ESC];

	pki_issuer_name(x, issuer, sizeof(issuer));
	if (code == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT)
		why_set(why, "%s is signed by itself, not by a trusted CA", it);
	else if (code == X509_V_ERR_CERT_SIGNATURE_FAILURE)
		why_set(why,
		    "%s was not signed by the trusted CA of the same "
		    "name '%s', but by another with that name: the CA was "
		    "made anew, and one side has the old one",
		    it, issuer);
	else if (code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN)
		why_set(why,
		    "%s heads the chain that was sent, and is not "
		    "among the trusted CAs",
		    it);
	else
		why_set(why,
		    "%s was issued by '%s', which is not among the "
		    "trusted CAs",
		    it, issuer);
	if (depth > 0 &&
	    (code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
		code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY)) {
		why_mend(why,
		    "if '%s' is to be trusted, put its certificate into the "
		    "cafile too (--cafile for a client): a chain ends at a "
		    "root",
		    issuer);
		return;
	}
	why_mend(why,
	    "give that CA's certificate as cafile (--cafile for a "
	    "client), or make a certificate with the trusted CA: nightjar ca "
	    "device ID, nightjar ca server");
}

/* Faults that need no more than the sentence. */
static const struct verdict {
	int code;
	const char *what; /* after "certificate 'x' " */
	const char *mend;
} verdicts[] = {
	{ X509_V_ERR_CERT_REVOKED, "is revoked",
	    "give the device a new certificate: nightjar ca device ID" },
	{ X509_V_ERR_INVALID_CA,
	    "signed another certificate and is not a CA itself",
	    "use certificates that come straight from the CA" },
	{ X509_V_ERR_KEYUSAGE_NO_CERTSIGN,
	    "signed another certificate, which its key usage does not allow",
	    "make a new CA with: nightjar ca init" },
	{ X509_V_ERR_PATH_LENGTH_EXCEEDED,
	    "has more CAs below it than its path length allows",
	    "issue from the last CA that is allowed" },
	{ X509_V_ERR_EC_KEY_EXPLICIT_PARAMS,
	    "has a key that spells its curve out (explicit parameters) in "
	    "place of naming it, which nobody takes",
	    "make one with a named curve: nightjar ca device ID, nightjar ca "
	    "server; with openssl, leave ec_param_enc:explicit out" },
	{ X509_V_ERR_CERT_CHAIN_TOO_LONG, "stands in a chain that is too long",
	    "send only the certificate and its issuing CAs" },
	{ X509_V_ERR_EE_KEY_TOO_SMALL, "has a key that is too short to be safe",
	    "make one with a better key: nightjar ca device ID, nightjar ca "
	    "server" },
	{ X509_V_ERR_CA_KEY_TOO_SMALL, "has a key that is too short to be safe",
	    "make a new CA with: nightjar ca init; devices then need its "
	    "ca.crt" },
	{ X509_V_ERR_CA_MD_TOO_WEAK,
	    "is signed with a hash that can be forged (SHA-1 or MD5)",
	    "make a new one with nightjar ca; it signs with SHA-256" },
	{ X509_V_ERR_UNABLE_TO_GET_CRL,
	    "could not be checked for revocation: there is no CRL of its "
	    "issuer",
	    "put the issuer's CRL into the crlfile, or remove the crlfile "
	    "line" },
	{ X509_V_ERR_CRL_HAS_EXPIRED,
	    "could not be checked for revocation: the CRL of its issuer has "
	    "expired",
	    "fetch a fresh CRL into the crlfile and reload" },
	{ X509_V_ERR_CRL_NOT_YET_VALID,
	    "could not be checked for revocation: the CRL of its issuer is not "
	    "valid yet",
	    "set this machine's clock" },
	{ X509_V_ERR_CRL_SIGNATURE_FAILURE,
	    "could not be checked for revocation: the CRL is not signed by its "
	    "issuer",
	    "put the issuer's own CRL into the crlfile" },
	{ X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION,
	    "has a critical extension that is not understood",
	    "issue it without that extension" },
	{ X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE,
	    "is below a CA with name constraints of a kind that OpenSSL does "
	    "not know",
	    "have the CA made anew with constraints on DNS names and "
	    "addresses alone: nightjar ca init --constrain" },
	{ X509_V_ERR_PERMITTED_VIOLATION,
	    "has a name that its CA may not give (name constraints)",
	    "issue it with a name that the CA is allowed" },
	{ X509_V_ERR_EXCLUDED_VIOLATION,
	    "has a name that its CA may not give (name constraints)",
	    "issue it with a name that the CA is allowed" },
};

static void
verify_by_table(int code, const char *it, struct nj_why *why)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(*verdicts); i++) {
		if (verdicts[i].code != code)
			continue;
		why_set(why, "%s %s", it, verdicts[i].what);
		why_mend(why, "%s", verdicts[i].mend);
		return;
	}
	why_set(
	    why, "%s was refused: %s", it, X509_verify_cert_error_string(code));
	why_mend(why, "%s", "");
}

static bool
has_namesake(X509_STORE *store, X509 *x)
{
	STACK_OF(X509_OBJECT) *all =
	    store ? X509_STORE_get0_objects(store) : NULL;
	bool found = false;

	for (int i = 0; x && !found && i < sk_X509_OBJECT_num(all); i++) {
		X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));

		found = ca &&
		    X509_NAME_cmp(X509_get_subject_name(ca),
			X509_get_issuer_name(x)) == 0 &&
		    X509_verify(x, X509_get0_pubkey(ca)) != 1;
	}
	ERR_clear_error();
	return found;
}

int
pki_verify_cause(X509_STORE_CTX *ctx)
{
	int err = X509_STORE_CTX_get_error(ctx);

	switch (err) {
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		if (has_namesake(X509_STORE_CTX_get0_store(ctx),
			X509_STORE_CTX_get_current_cert(ctx)))
			return X509_V_ERR_CERT_SIGNATURE_FAILURE;
		return err;
	default:
		return err;
	}
}

/* Which of its usages it is; what for was asked is not known here, and mostly
 * shows from what it is for instead. */
static void
verify_purpose(X509 *x, int depth, const char *it, struct nj_why *why)
{
	uint32_t flags = x ? X509_get_extension_flags(x) : 0;
	uint32_t eku = XKU_SSL_SERVER | XKU_SSL_CLIENT | XKU_ANYEKU;
	bool signs = depth > 0 || !(flags & EXFLAG_KUSAGE) ||
	    (X509_get_key_usage(x) & KU_DIGITAL_SIGNATURE);
	const char *what = "its extended key usage or key usage is for "
			   "something else";

	eku =
	    flags & EXFLAG_XKUSAGE ? eku & X509_get_extended_key_usage(x) : eku;
	if (eku == XKU_SSL_SERVER)
		what = "it is a server's (extended key usage serverAuth, "
		       "without clientAuth)";
	else if (eku == XKU_SSL_CLIENT && signs)
		what = "it is a client's (extended key usage clientAuth, "
		       "without serverAuth)";
	else if (eku == XKU_ANYEKU)
		what = "its extended key usage is 'any', which OpenSSL does "
		       "not take for serverAuth or clientAuth";
	else if (eku == 0)
		what = "its extended key usage has neither serverAuth nor "
		       "clientAuth";
	else if (!signs)
		what = "its key usage lacks digitalSignature";
	why_set(why, "%s may not be used for this: %s", it, what);
	why_mend(why,
	    "clients need one from: nightjar ca device ID; a broker one from: "
	    "nightjar ca server");
}

void
pki_explain_verify(int verify_error, X509 *x, int depth, struct nj_why *why)
{
	char it[TEXT_ESC + 96], names[256];

	call_it(x, depth, it, sizeof(it));
	switch (verify_error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		verify_dates(verify_error, x, it, why);
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
	case X509_V_ERR_CERT_UNTRUSTED:
		verify_issuer(verify_error, x, depth, it, why);
		break;
	case X509_V_ERR_INVALID_PURPOSE:
		verify_purpose(x, depth, it, why);
		break;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		names[0] = '\0';
		if (x)
			pki_names_text(x, names, sizeof(names));
		why_set(why,
		    "%s is valid for %s, not for the host that was "
		    "connected to",
		    it, names[0] ? names : "no host at all");
		why_mend(why,
		    "connect to one of its names, or run on the "
		    "broker's machine: nightjar ca server NAME|ADDRESS");
		break;
	default:
		verify_by_table(verify_error, it, why);
	}
}
