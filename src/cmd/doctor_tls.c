/* SPDX-License-Identifier: Apache-2.0
 * doctor_tls - TLS versions, both sides' certificates, ALPN.
 */
#include <dirent.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/doctor.h"
#include "pki/cert.h"
#include "pki/inspect.h"

#define SHAKE_MS 5000

static const char *
sni_of(const struct doctor *d)
{
	return target_is_address(doctor_name(d)) ? NULL : doctor_name(d);
}

/* -- our own files ------------------------------------------------------- */

static enum nj_err
give_keypass(void *arg, const char *what, unsigned attempt, struct secret **out)
{
	const struct doctor *d = arg;

	(void)what;
	if (attempt > 0 || !d->keypass)
		return NJ_NOTFOUND;
	return secret_new(secret_bytes(d->keypass), out);
}

/* What inspecting found, as steps; true when nothing is wrong. */
static bool
say_findings(struct doctor *d, const struct pki_inspection *in,
    const char *step, const char *leave_out)
{
	bool ok = true;

	for (unsigned i = 0; i < in->n; i++) {
		const struct pki_finding *f = &in->v[i];
		bool spared = d->insecure && strcmp(f->code, "host") == 0;

		/* Of the CA's file the step before has told. */
		if (f->level == PKI_NOTE ||
		    (f->level == PKI_DOUBT && strcmp(step, "own files") != 0 &&
			in->items->sources[f->source].trust) ||
		    (leave_out && strcmp(f->code, leave_out) == 0))
			continue;
		if (f->level == PKI_FAULT && !spared)
			ok = false;
		doctor_say(d,
		    f->level == PKI_FAULT && !spared ? DOC_FAIL : DOC_DOUBT,
		    SIDE_HERE, step, &f->why);
	}
	return ok;
}

static bool
inspect_items(struct doctor *d, struct pki_items *s, enum pki_use use,
    const char *host, const char *step)
{
	struct pki_inspect_opts o = {
		.has_use = true, .use = use, .host = host
	};
	struct pki_inspection in = { 0 };
	bool ok = false;

	if (pki_inspect(s, &o, &in) == NJ_OK)
		/* A broker may trust another CA than we do. */
		ok = say_findings(
		    d, &in, step, use == PKI_USE_CLIENT ? "chain" : NULL);
	pki_inspect_fini(&in);
	return ok;
}

/* OpenSSL finds a CA in a folder by a name that is a hash; Nightjar reads all
 * that is there. */
static void
check_capath(struct doctor *d)
{
	struct nj_why why = { 0 };
	DIR *dir = opendir(d->capath);
	struct dirent *en;
	char esc[TEXT_ESC];
	bool hashed = false;

	while (dir && !hashed && (en = readdir(dir)))
		hashed = strspn(en->d_name, "0123456789abcdef") == 8 &&
		    en->d_name[8] == '.';
	if (dir)
		(void)closedir(dir);
	if (!dir || hashed)
		return;
	(void)text_esc(esc, sizeof esc, slice_str(d->capath));
	why_set(&why,
	    "no certificate in the folder '%s' has a hash for its name: "
	    "Nightjar reads all of them, Mosquitto and other users of OpenSSL "
	    "none",
	    esc);
	why_mend(&why, "openssl rehash '%s'", esc);
	doctor_say(d, DOC_DOUBT, SIDE_HERE, "own files", &why);
}

bool
doctor_own_files(struct doctor *d)
{
	struct pki_items_opts trust = { .trust = true };
	struct pki_items_opts own = { .pass = give_keypass, .arg = d };
	struct pki_items *s = NULL;
	bool ok;

	if (d->capath)
		check_capath(d);
	if (!d->cafile && !d->certfile)
		return true;
	if (pki_items_new(&s) ||
	    (d->certfile && pki_items_file(s, d->certfile, &own)) ||
	    (d->keyfile && pki_items_file(s, d->keyfile, &own)) ||
	    (d->cafile && pki_items_file(s, d->cafile, &trust))) {
		pki_items_free(s);
		return false;
	}
	ok = inspect_items(d, s, PKI_USE_CLIENT, NULL, "own files");
	if (ok)
		doctor_fine(d, "own files", "%s%s%s can be used",
		    d->cafile ? d->cafile : "",
		    d->cafile && d->certfile ? ", " : "",
		    d->certfile ? d->certfile : "");
	pki_items_free(s);
	return ok;
}

/* -- versions ------------------------------------------------------------ */

static bool
speaks_version(struct doctor *d, int version)
{
	struct tls_probe_opts o = { .min = version,
		.max = version,
		.sni = sni_of(d),
		.timeout_ms = SHAKE_MS };
	struct tls_probe p = { 0 };
	bool yes = false;
	int fd;

	if (!doctor_dial(d, d->at.port, &fd, NULL))
		return false;
	if (tls_probe(fd, &o, &p) == NJ_OK)
		/* It may say no later, for want of a certificate. */
		yes = p.end == TLS_PROBE_DONE || p.chain;
	(void)close(fd);
	tls_probe_fini(&p);
	return yes;
}

static bool
check_versions(struct doctor *d)
{
	static const struct {
		int version;
		const char *name;
	} all[] = {
		{ TLS_V13, "1.3" },
		{ TLS_V12, "1.2" },
		{ TLS_V11, "1.1" },
		{ TLS_V10, "1.0" },
	};
	bool has[4] = { false }, any = false;
	char text[64] = "";
	struct nj_why why = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < 4; i++) {
		has[i] = speaks_version(d, all[i].version);
		any |= has[i];
		if (has[i])
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%s",
			    n ? ", " : "", all[i].name);
	}
	if (!any) /* for another reason than its version; the next step says */
		return true;
	if (!has[0] && !has[1]) {
		why_set(&why,
		    "the broker speaks only TLS %s, which was "
		    "retired in 2021 (RFC 8996)",
		    text);
		why_mend(&why,
		    "update the broker, or delete its tls_version "
		    "line");
		doctor_say(d, DOC_FAIL, SIDE_HERE, "TLS", &why);
		return false;
	}
	if (has[2] || has[3]) {
		why_set(&why,
		    "the broker speaks TLS %s; 1.0 and 1.1 were "
		    "retired in 2021 (RFC 8996)",
		    text);
		why_mend(&why, "delete its tls_version line, or update it");
		doctor_say(d, DOC_DOUBT, SIDE_NONE, "TLS", &why);
		return true;
	}
	doctor_fine(d, "TLS", "the broker speaks TLS %s", text);
	return true;
}

/* -- its certificate ----------------------------------------------------- */

/* Whether this machine trusts it without being told to. */
static bool
publicly_trusted(const STACK_OF(X509) * chain)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool yes = store && ctx && X509_STORE_set_default_paths(store) == 1 &&
	    X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0),
		(STACK_OF(X509) *)(uintptr_t)chain) == 1 &&
	    X509_verify_cert(ctx) == 1;

	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return yes;
}

static void
say_untrusted(struct doctor *d, X509 *leaf)
{
	X509_NAME *issuer = X509_get_issuer_name(leaf);
	struct nj_why why = { 0 };
	char cn[128] = "", esc[TEXT_ESC];

	(void)X509_NAME_get_text_by_NID(issuer, NID_commonName, cn, sizeof cn);
	why_set(&why,
	    "the broker's certificate was issued by '%s', which this machine "
	    "does not trust by itself, and no --cafile was given",
	    text_esc(esc, sizeof esc, slice_str(cn)));
	why_mend(&why,
	    "copy the broker's ca.crt here (DIR/pki/ca.crt of nightjar up) and "
	    "give it to the client: --cafile ca.crt");
	doctor_say(d, DOC_FAIL, SIDE_HERE, "certificate", &why);
}

/* Whose certificate comes through is not always the broker's. */
static void
say_whose(struct doctor *d, const STACK_OF(X509) * chain)
{
	X509 *last = sk_X509_value(chain, sk_X509_num(chain) - 1);
	STACK_OF(X509) *cas = NULL;
	struct nj_why why = { 0 };
	bool known = false;
	char cn[TEXT_ESC];

	if (!last || pki_chain_load(d->cafile, &cas, NULL))
		return;
	for (int i = 0; i < sk_X509_num(cas) && !known; i++) {
		X509 *ca = sk_X509_value(cas, i);

		known = X509_NAME_cmp(X509_get_subject_name(ca),
			    X509_get_issuer_name(last)) == 0 ||
		    X509_cmp(ca, last) == 0;
	}
	sk_X509_pop_free(cas, X509_free);
	if (known)
		return;
	pki_issuer_name(last, cn, sizeof cn);
	why_set(&why,
	    "if the broker has a certificate of another CA than '%s', "
	    "something in between shows its own: a company's proxy, a virus "
	    "scanner, a cloud's load balancer, or somebody who listens",
	    cn);
	why_mend(&why,
	    "compare its SHA-256 with what \"nightjar inspect\" says of the "
	    "certfile on the broker's machine; where they differ, have that "
	    "proxy let this host through, and do not trust its CA instead");
	doctor_say(d, DOC_NOTE, SIDE_HERE, "certificate", &why);
}

/* What its CA says of it now, where the broker shows that. */
static bool
judge_word(struct doctor *d, const struct tls_probe *p)
{
	struct nj_why why = { 0 };
	enum tls_probe_word word = tls_probe_word(p, &why);

	if (word == TLS_WORD_GOOD)
		doctor_fine(d, "certificate", "%s", why.what);
	else if (word != TLS_WORD_NONE)
		doctor_say(d, DOC_FAIL, SIDE_BROKER, "certificate", &why);
	return word == TLS_WORD_NONE || word == TLS_WORD_GOOD;
}

static bool
judge_server(struct doctor *d, const struct tls_probe *p)
{
	struct pki_items_opts trust = { .trust = true };
	struct pki_items *s = NULL;
	char name[TEXT_ESC], names[256];
	bool ok;

	if (pki_items_new(&s) ||
	    pki_items_chain(s, "what the broker sends", p->chain) ||
	    (d->cafile && pki_items_file(s, d->cafile, &trust))) {
		pki_items_free(s);
		return false;
	}
	ok = inspect_items(d, s, PKI_USE_SERVER, doctor_name(d), "certificate");
	pki_items_free(s);
	if (!ok && d->cafile)
		say_whose(d, p->chain);
	if (ok && !d->cafile && !d->capath && !publicly_trusted(p->chain)) {
		say_untrusted(d, sk_X509_value(p->chain, 0));
		ok = false;
	}
	if (!ok || !judge_word(d, p))
		return false;
	pki_short_name(sk_X509_value(p->chain, 0), name, sizeof name);
	pki_names_text(sk_X509_value(p->chain, 0), names, sizeof names);
	doctor_fine(d, "certificate", "the broker is '%s', valid for %s%s",
	    name, names, d->insecure ? "" : ", as it should be");
	return true;
}

/* -- what the broker refuses --------------------------------------------- */

static const struct alert_row {
	int alert;
	const char *bare; /* without a client certificate; NULL: as below */
	const char *what;
	const char *mend;
} alerts[] = {
	{ SSL_AD_UNKNOWN_CA, NULL,
	    "the broker does not trust the CA of the client's certificate "
	    "(alert unknown_ca)",
	    "give the client one that the broker's CA issued (on its machine: "
	    "nightjar ca device ID), or add that CA to the cafile of the "
	    "listener" },
	{ SSL_AD_CERTIFICATE_EXPIRED, NULL,
	    "the broker says that the client's certificate has expired",
	    "nightjar ca device ID --again; and look at the broker's clock" },
	{ SSL_AD_CERTIFICATE_REVOKED, NULL,
	    "the broker says that the client's certificate was revoked",
	    "nightjar ca device ID --again" },
	{ SSL_AD_UNSUPPORTED_CERTIFICATE, NULL,
	    "the broker cannot use the client's certificate: it is not made "
	    "for clients (extended key usage clientAuth)",
	    "nightjar ca device ID --again makes one for clients" },
	{ SSL_AD_BAD_CERTIFICATE, NULL,
	    "the broker refused the client's certificate (alert "
	    "bad_certificate)",
	    "nightjar inspect CERT --as client; the broker's log says more: "
	    "nightjar doctor --last there" },
	{ SSL_AD_CERTIFICATE_UNKNOWN, NULL,
	    "the broker refused the client's certificate (alert "
	    "certificate_unknown)",
	    "the broker's log says more: nightjar doctor --last there" },
	{ SSL_AD_DECRYPT_ERROR, NULL,
	    "the broker could not check the client's signature (alert "
	    "decrypt_error): its CA differs from the one of the same name that "
	    "the broker trusts, or the key is another's",
	    "nightjar ca device ID --again" },
	{ SSL_AD_CERTIFICATE_REQUIRED, NULL,
	    "the broker requires a client certificate, and none was given",
	    "on the broker's machine: nightjar ca device ID; then give the "
	    "client its files: --cert client.crt --key client.key" },
	{ SSL_AD_NO_APPLICATION_PROTOCOL, NULL,
	    "the broker does not speak the application protocol that was "
	    "asked for (ALPN)",
	    "set the client's ALPN to mqtt, or leave it out" },
	{ SSL_AD_UNRECOGNIZED_NAME, NULL,
	    "what answers has no certificate for the name that was asked for "
	    "(SNI)",
	    "connect to the name that is in its certificate, or give it as "
	    "--servername" },
	{ SSL_AD_PROTOCOL_VERSION, NULL,
	    "the broker speaks no TLS version that this client offers (1.2 "
	    "and 1.3)",
	    "update the broker, or delete its tls_version line" },
	{ SSL_AD_HANDSHAKE_FAILURE,
	    "the broker requires a client certificate, and none was given",
	    "the broker found nothing in common with this client (alert "
	    "handshake_failure): ciphers, or it takes only pre-shared keys",
	    "look at 'ciphers' and 'psk_file' of its listener" },
};

#define MEND_DEVICE                                                      \
	"on the broker's machine: nightjar ca device ID; then give the " \
	"client its files: --cert client.crt --key client.key"

/* Its CAs, and ours, where they differ. */
static void
add_cas(const struct doctor *d, const struct tls_probe *p, struct nj_why *why)
{
	size_t n = strlen(why->what);

	if (d->certfile && p->cas > 0 && !p->ours_fits && p->ca_names[0])
		(void)snprintf(why->what + n, sizeof why->what - n,
		    "; it takes those of: %s", p->ca_names);
}

static void
say_refused(struct doctor *d, const struct tls_probe *p)
{
	bool bare = p->asked && !d->certfile;
	struct nj_why why = { 0 };

	if (p->end == TLS_PROBE_FAILED) {
		doctor_say(d, DOC_FAIL, SIDE_HERE, "TLS", &p->why);
		return;
	}
	if (p->end != TLS_PROBE_ALERT && bare && p->chain) {
		why_set(&why,
		    "the broker asked for a client certificate, got "
		    "none, and closed the connection");
		why_mend(&why, "%s", MEND_DEVICE);
		doctor_say(d, DOC_FAIL, SIDE_BROKER, "client", &why);
		return;
	}
	if (p->end != TLS_PROBE_ALERT) {
		why_set(&why, "the broker %s during the TLS handshake",
		    p->end == TLS_PROBE_SILENT ? "fell silent"
					       : "closed the connection");
		why_mend(&why,
		    "its log says why: nightjar doctor --last on "
		    "its machine; or look whether a proxy or firewall stands "
		    "in between");
		doctor_say(d, DOC_FAIL, SIDE_BROKER, "TLS", &why);
		return;
	}
	why_set(
	    &why, "the broker refused the handshake: alert %s", p->alert_name);
	for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++)
		if (alerts[i].alert == p->alert) {
			bool b = bare && alerts[i].bare && p->chain;

			why_set(
			    &why, "%s", b ? alerts[i].bare : alerts[i].what);
			why_mend(&why, "%s", b ? MEND_DEVICE : alerts[i].mend);
		}
	add_cas(d, p, &why);
	doctor_say(d, DOC_FAIL, SIDE_BROKER, p->chain ? "client" : "TLS", &why);
}

/* What it wants of the client, when the handshake went well. */
static void
say_client(struct doctor *d, const struct tls_probe *p)
{
	struct nj_why why = { 0 };

	d->wants_cert = p->asked;
	if (p->asked && d->certfile) {
		doctor_fine(d, "client",
		    "the broker asked for a client certificate and took it");
	} else if (p->asked) {
		why_set(&why,
		    "the broker asks for a client certificate (of %s), and "
		    "goes on without one",
		    p->ca_names[0] ? p->ca_names : "any CA");
		doctor_say(d, DOC_NOTE, SIDE_NONE, "client", &why);
	} else if (d->certfile) {
		why_set(&why,
		    "the broker does not ask for a client certificate: it does "
		    "not see the one that was given, and nobody is known by "
		    "it");
		why_mend(&why,
		    "add 'cafile PATH' and 'require_certificate true' to its "
		    "listener, if clients are to be known by certificates");
		doctor_say(d, DOC_DOUBT, SIDE_NONE, "client", &why);
	}
	if (p->alpn[0])
		doctor_fine(d, "ALPN", "agreed on %s", p->alpn);
}

static bool
check_handshake(struct doctor *d)
{
	struct tls_probe_opts o = { .sni = sni_of(d),
		.alpn = d->alpn	   ? d->alpn
		    : d->websocket ? "http/1.1"
				   : "mqtt",
		.certfile = d->certfile,
		.keyfile = d->keyfile,
		.passphrase = d->keypass,
		.timeout_ms = SHAKE_MS };
	struct tls_probe p = { 0 };
	struct nj_why why = { 0 };
	bool ok = false;
	int fd;

	if (!doctor_dial(d, d->at.port, &fd, &why)) {
		doctor_say(d, DOC_FAIL, SIDE_BETWEEN, "TLS", &why);
		return false;
	}
	if (tls_probe(fd, &o, &p)) {
		doctor_say(d, DOC_FAIL, SIDE_HERE, "own files", &p.why);
	} else {
		ok = !p.chain || judge_server(d, &p);
		d->cert_bad = !ok;
		if (p.end == TLS_PROBE_DONE && p.chain)
			say_client(d, &p);
		else
			say_refused(d, &p);
		ok = ok && p.end == TLS_PROBE_DONE;
	}
	(void)close(fd);
	tls_probe_fini(&p);
	return ok;
}

bool
doctor_tls(struct doctor *d)
{
	if (d->psk) /* the login shows whether it fits */
		return true;
	return check_versions(d) && check_handshake(d);
}
