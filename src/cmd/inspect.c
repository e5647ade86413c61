/* SPDX-License-Identifier: Apache-2.0
 * nightjar inspect: what a certificate, key, request, PKCS#12 or revocation
 * list is, what it may be used for, and what is wrong with it.
 */
#include "cmd/inspect.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/flags.h"
#include "cmd/target.h"
#include "net/listener.h"
#include "net/tls_probe.h"

#define COUNT(a)   (sizeof(a) / sizeof(*(a)))
#define CONNECT_MS 10000
#define TLS_PORT   8883

struct inspect {
	struct flag_list files, cafiles;
	const char *use, *host, *password_file;
	bool json, pem, pem_key;
	enum tls_probe_word word; /* of the server's CA */
	struct nj_why word_why;
	unsigned word_source;
	char found_host[TARGET_HOST_MAX]; /* that we connected to */
};

static enum nj_err
ask(void *arg, const char *what, unsigned attempt, struct secret **out)
{
	const struct inspect *c = arg;
	char prompt[TEXT_ESC + 64];
	struct nj_why why = { 0 };
	enum nj_err e;

	if (attempt > 0)
		return NJ_NOTFOUND;
	if (c->password_file) {
		e = secret_from_file(c->password_file, out, &why);
		if (e)
			say_why(&why, e);
		return e;
	}
	if (!isatty(STDIN_FILENO))
		return NJ_NOTFOUND;
	(void)snprintf(prompt, sizeof prompt,
	    "Password of %s (empty: leave it shut): ", what);
	return secret_from_tty(prompt, out);
}

/* What the server at a host and port shows. */
static enum nj_err
add_server(struct pki_items *s, struct inspect *c, const struct target *t,
    struct nj_why *why)
{
	struct tls_probe_opts o = {
		.sni = target_is_address(t->host) ? NULL : t->host,
		.timeout_ms = CONNECT_MS,
	};
	struct tls_probe p = { 0 };
	char name[TARGET_HOST_MAX + 16];
	uint16_t port = t->port ? t->port : TLS_PORT;
	enum nj_err e;
	int fd = -1;

	if ((e = dial_tcp(t->host, port, NULL, CONNECT_MS, &fd, why)))
		return e;
	target_print(t->host, port, name, sizeof name);
	e = tls_probe(fd, &o, &p);
	(void)close(fd);
	if (!e && !p.chain) {
		why_set(why, "%s sent no certificate: %s", name,
		    p.end == TLS_PROBE_NOT_TLS	    ? "it does not speak TLS"
			: p.end == TLS_PROBE_ALERT  ? p.alert_name
			: p.end == TLS_PROBE_SILENT ? "it did not answer"
			: p.end == TLS_PROBE_CLOSED ? "it closed the connection"
						    : p.why.what);
		why_mend(why, "nightjar doctor %s finds out more", name);
		e = NJ_TLS;
	}
	if (!e) {
		(void)snprintf(
		    c->found_host, sizeof c->found_host, "%s", t->host);
		c->word = tls_probe_word(&p, &c->word_why);
		c->word_source = s->nsources;
		e = pki_items_chain(s, name, p.chain);
	}
	tls_probe_fini(&p);
	return e;
}

static enum nj_err
add_word(struct pki_items *s, struct inspect *c, const char *word,
    struct nj_why *why)
{
	struct pki_items_opts o = { .pass = ask, .arg = c };
	struct target t;

	if (access(word, F_OK) != 0 &&
	    (strchr(word, ':') || target_is_address(word)) &&
	    target_parse(word, &t, NULL) == NJ_OK)
		return add_server(s, c, &t, why);
	return pki_items_file(s, word, &o);
}

static enum nj_err
collect(struct pki_items *s, struct inspect *c, struct nj_why *why)
{
	struct pki_items_opts trust = { .trust = true };
	enum nj_err e = NJ_OK;

	for (unsigned i = 0; i < c->files.n && !e; i++)
		e = add_word(s, c, c->files.v[i], why);
	for (unsigned i = 0; i < c->cafiles.n && !e; i++)
		e = pki_items_file(s, c->cafiles.v[i], &trust);
	if (e == NJ_FULL) {
		why_set(why, "these are more than %d files or %d parts",
		    PKI_SOURCES_MAX, PKI_ITEMS_MAX);
		why_mend(why, "inspect a few at a time");
	}
	return e;
}

static enum nj_err
find_use(
    const struct inspect *c, struct pki_inspect_opts *o, struct nj_why *why)
{
	static const struct {
		const char *name;
		enum pki_use use;
	} names[] = {
		{ "server", PKI_USE_SERVER },
		{ "client", PKI_USE_CLIENT },
		{ "ca", PKI_USE_CA },
	};
	char esc[TEXT_ESC];

	o->has_use = c->use != NULL;
	if (!c->use)
		return NJ_OK;
	for (size_t i = 0; i < COUNT(names); i++)
		if (strcmp(names[i].name, c->use) == 0) {
			o->use = names[i].use;
			return NJ_OK;
		}
	why_set(why, "--as takes server, client or ca, not '%s'",
	    text_esc(esc, sizeof esc, slice_str(c->use)));
	return NJ_INVALID;
}

/* What the server shows of its CA. */
static void
add_word_of_ca(const struct inspect *c, struct pki_inspection *in)
{
	if (c->word == TLS_WORD_NONE)
		return;
	*pki_inspect_add(in, c->word == TLS_WORD_GOOD ? PKI_NOTE : PKI_FAULT,
	    c->word == TLS_WORD_GOOD	      ? "ocsp-good"
		: c->word == TLS_WORD_REVOKED ? "revoked"
					      : "ocsp-bad",
	    NULL, c->word_source) = c->word_why;
}

static int
report(struct inspect *c, struct pki_items *s, struct pki_inspect_opts *o)
{
	struct pki_inspection in = { 0 };
	enum nj_err e;
	int status;

	if (c->host) {
		o->host = c->host;
	} else if (c->found_host[0]) {
		o->host = c->found_host;
		o->use = PKI_USE_SERVER;
		o->has_use = true;
	}
	e = pki_inspect(s, o, &in);
	if (!e)
		add_word_of_ca(c, &in);
	if (!e && c->json) {
		e = inspect_print_json(&in);
	} else if (!e) {
		inspect_print_items(s);
		inspect_print_findings(&in);
	}
	status =
	    e || pki_inspect_count(&in, PKI_FAULT) ? EXIT_FAILED : EXIT_FINE;
	pki_inspect_fini(&in);
	if (e)
		say_why(&(struct nj_why){ .what = "" }, e);
	return status;
}

/* Only what can be read is written, so what cannot is told. */
static int
convert(const struct inspect *c, const struct pki_items *s)
{
	unsigned keys = 0;
	enum nj_err e;

	for (unsigned i = 0; i < s->nsources; i++)
		if (s->sources[i].why.what[0])
			say_why(&s->sources[i].why, NJ_INVALID);
	for (unsigned i = 0; i < s->n; i++)
		keys += s->v[i].kind == PKI_ITEM_KEY && s->v[i].key != NULL;
	if (s->n == 0 || (c->pem_key && !c->pem && keys == 0)) {
		struct nj_why why = { 0 };

		why_set(&why, "there is nothing to write");
		why_mend(&why,
		    s->n == 0 ? "look at it with: nightjar inspect FILE"
			      : "--pem-key needs a key that opens: "
				"--password-file FILE");
		say_why(&why, NJ_INVALID);
		return EXIT_FAILED;
	}
	if ((e = inspect_print_pem(s, c->pem, c->pem_key)))
		say_why(&(struct nj_why){ .what = "" }, e);
	return e ? EXIT_FAILED : EXIT_FINE;
}

static void
usage(const struct flag *flags, size_t n)
{
	printf("nightjar inspect FILE|HOST:PORT... [options]: says what a "
	       "certificate, key, request,\nPKCS#12 file or revocation list "
	       "is and what is wrong with it; several files\nare looked at "
	       "together (certificate, key, CA)\n\n");
	flags_help(flags, n);
	printf("\nIt exits with 0 when nothing is wrong, 1 when something "
	       "is, 2 when it was asked wrongly.\n");
}

int
cmd_inspect(int argc, char **argv)
{
	struct inspect c = { 0 };
	const struct flag flags[] = {
		{ "as", 0, FLAG_TEXT, &c.use, "USE",
		    "judge it as server, client or ca", 0, 0 },
		{ "host", 0, FLAG_TEXT, &c.host, "NAME",
		    "the name or address that clients connect to", 0, 0 },
		{ "cafile", 0, FLAG_LIST, &c.cafiles, "FILE",
		    "the CA that is trusted; may be given often", 0, 0 },
		{ "password-file", 0, FLAG_TEXT, &c.password_file, "FILE",
		    "the first line opens a key or PKCS#12 file", 0, 0 },
		{ "json", 0, FLAG_SWITCH, &c.json, NULL, "as JSON", 0, 0 },
		{ "pem", 0, FLAG_SWITCH, &c.pem, NULL,
		    "only write it anew: PEM, in the right order", 0, 0 },
		{ "pem-key", 0, FLAG_SWITCH, &c.pem_key, NULL,
		    "only write its private key as PEM, not encrypted", 0, 0 },
	};
	struct pki_inspect_opts o = { 0 };
	struct pki_items *s = NULL;
	struct nj_why why = { 0 };
	int status = EXIT_FAILED;
	enum nj_err e =
	    flags_parse(flags, COUNT(flags), argc, argv, &c.files, &why);

	if (e == NJ_EOF) {
		usage(flags, COUNT(flags));
		return EXIT_FINE;
	}
	if (!e && c.files.n == 0) {
		why_set(&why, "a file or HOST:PORT is needed");
		why_mend(&why, "nightjar inspect server.crt server.key");
		e = NJ_INVALID;
	}
	if (e || (e = find_use(&c, &o, &why))) {
		say_why(&why, e);
		return EXIT_USAGE;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if ((e = pki_items_new(&s)) || (e = collect(s, &c, &why)))
		say_why(&why, e);
	else
		status =
		    c.pem || c.pem_key ? convert(&c, s) : report(&c, s, &o);
	pki_items_free(s);
	return status;
}
