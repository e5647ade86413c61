/* SPDX-License-Identifier: Apache-2.0
 * lists - see lists.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lists.h"

static enum nj_err
load(const char *crlfile, const struct tls_server *previous,
    struct tls_server **out, struct nj_why *why)
{
	struct tls_server_opts o = { .certfile =
					 certs_path(&certs, "server.crt"),
		.keyfile = certs_path(&certs, "server.key"),
		.cafile = certs_path(&certs, "cas.pem"),
		.crlfile = crlfile ? certs_path(&certs, crlfile) : NULL,
		.require_certificate = true,
		.min = TLS_MIN_12,
		.tickets = 1,
		.ticket_rotate_s = 3600,
		.previous = previous };

	return tls_server_new(&o, 1, out, why);
}

struct tls_server *
reloaded(const char *crlfile, const struct tls_server *previous)
{
	struct nj_why why = { 0 };
	struct tls_server *t = NULL;

	if (load(crlfile, previous, &t, &why))
		fail_msg("%s: %s", crlfile, why.what);
	return t;
}

void
refuses_to_start(const char *crlfile, const char *word)
{
	struct nj_why why = { 0 };
	struct tls_server *t = NULL;
	enum nj_err e = load(crlfile, NULL, &t, &why);

	if ((e != NJ_INVALID && e != NJ_TOOBIG) || !strstr(why.what, word))
		fail_msg("%s: \"%s\"", crlfile, why.what);
}

struct tls_server *
server_of(const char *crlfile)
{
	return reloaded(crlfile, NULL);
}

size_t
known(const struct tls_revoked *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_lists; i++)
		n += r->lists[i].ca != NULL;
	return n;
}

/* What the log would say of this client; "" when it is let in. */
static const char *
meet(struct tls_server *t, const char *client)
{
	static char said[512];
	struct tls_client *c = client_new(client, 13);
	struct pair p;

	pair_ours(&p, t, c, "localhost", false);
	pair_handshake(&p);
	(void)snprintf(
	    said, sizeof said, "%s", p.se ? stream_why(p.server)->what : "");
	pair_fini(&p);
	tls_client_free(c);
	return said;
}

void
refused(struct tls_server *t, const char *client, const char *word)
{
	const char *said = meet(t, client);

	if (!strstr(said, word) || !said[0])
		fail_msg("%s: \"%s\", not %s", client, said, word);
}

void
let_in(struct tls_server *t, const char *client)
{
	const char *said = meet(t, client);

	if (said[0])
		fail_msg("%s: %s", client, said);
}

X509_CRL *
list_of(const char *ca, const char *revoked)
{
	X509_CRL *crl = X509_CRL_new();
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_TIME *t = ASN1_TIME_new();

	(void)X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	(void)X509_CRL_set_issuer_name(
	    crl, X509_get_subject_name(certs_get(&certs, ca)));
	(void)X509_gmtime_adj(t, -DAY);
	(void)X509_CRL_set1_lastUpdate(crl, t);
	(void)X509_REVOKED_set_serialNumber(
	    r, X509_get_serialNumber(certs_get(&certs, revoked)));
	(void)X509_REVOKED_set_revocationDate(r, t);
	(void)X509_CRL_add0_revoked(crl, r);
	(void)X509_gmtime_adj(t, 10 * DAY);
	(void)X509_CRL_set1_nextUpdate(crl, t);
	ASN1_TIME_free(t);
	return crl;
}

void
append(const char *to, const char *from)
{
	char line[256];
	FILE *in = fopen(certs_path(&certs, from), "r");
	FILE *out = fopen(certs_path(&certs, to), "a");

	assert_true(in && out);
	while (fgets(line, sizeof line, in))
		(void)fputs(line, out);
	(void)fclose(in);
	(void)fclose(out);
}

void
tamper(const X509_CRL *crl)
{
	const ASN1_BIT_STRING *sig;

	X509_CRL_get0_signature(crl, &sig, NULL);
	((ASN1_BIT_STRING *)(uintptr_t)sig)->data[sig->length - 1] ^= 1;
}

void
stays_out(struct tls_server *t, struct tls_client *c)
{
	for (int i = 0; i < 2; i++) {
		struct pair p;

		pair_ours(&p, t, c, "localhost", i == 0);
		pair_handshake(&p);
		assert_int_equal(p.se, NJ_TLS);
		pair_fini(&p);
	}
}

void
renew(struct tls_server *t)
{
	struct nj_why why = { 0 };
	bool changed = false;

	if (tls_server_renew_lists(t, &changed, &why))
		fail_msg("%s", why.what);
}

size_t
met(const struct tls_revoked *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_lists; i++)
		n += atomic_load(&r->lists[i].met) != NULL;
	return n;
}
