/* SPDX-License-Identifier: Apache-2.0
 * site - see site.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "site.h"

struct certs certs;

static const struct cert_spec specs[] = {
	{ .name = "ca", .cn = "Test CA", .ca = true },
	{ .name = "otherca", .cn = "Other CA", .ca = true },
	{ .name = "server",
	    .san = "DNS:localhost,IP:127.0.0.1",
	    .eku = "serverAuth",
	    .issuer = "ca" },
	{ .name = "rsaserver",
	    .san = "DNS:localhost",
	    .eku = "serverAuth",
	    .issuer = "ca",
	    .rsa = 2048 },
	{ .name = "dev1",
	    .san = "URI:urn:nightjar:x:device:dev1,DNS:dev1.lan",
	    .eku = "clientAuth",
	    .issuer = "ca" },
	{ .name = "dev2", .eku = "clientAuth", .issuer = "ca" },
	{ .name = "rsadev", .eku = "clientAuth", .issuer = "ca", .rsa = 2048 },
	{ .name = "p384dev",
	    .eku = "clientAuth",
	    .issuer = "ca",
	    .p384 = true },
	{ .name = "eddev",
	    .eku = "clientAuth",
	    .issuer = "ca",
	    .ed25519 = true },
	{ .name = "edserver",
	    .san = "DNS:localhost",
	    .eku = "serverAuth",
	    .issuer = "ca",
	    .ed25519 = true },
	{ .name = "p384server",
	    .san = "DNS:localhost",
	    .eku = "serverAuth",
	    .issuer = "ca",
	    .p384 = true },
	{ .name = "middle", .cn = "Issuing CA", .ca = true, .issuer = "ca" },
	{ .name = "below",
	    .san = "DNS:localhost",
	    .eku = "serverAuth",
	    .issuer = "middle" },
	{ .name = "ends",
	    .eku = "clientAuth",
	    .issuer = "ca",
	    .from_days = -3,
	    .to_days = 1 },
};

void
site_init(void)
{
	certs_init(&certs);
	for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
		certs_make(&certs, &specs[i]);
}

struct tls_server *
server_new(unsigned flags, const struct tls_server *previous)
{
	struct tls_server_opts o = { .certfile =
					 certs_path(&certs, "server.crt"),
		.keyfile = certs_path(&certs, "server.key"),
		.cafile =
		    flags & (MTLS | WANT) ? certs_path(&certs, "ca.crt") : NULL,
		.crlfile = flags & CRL ? certs_path(&certs, "crl.pem") : NULL,
		.require_certificate = flags & MTLS,
		.want_certificate = flags & WANT,
		.min = flags & ONLY13 ? TLS_MIN_13 : TLS_MIN_12,
		.tickets = flags & NO_TICKETS ? 0 : 1,
		.ticket_rotate_s = 3600,
		.previous = previous };
	struct nj_why why = { 0 };
	struct tls_server *t = NULL;

	if (tls_server_new(&o, 1, &t, &why))
		fail_msg("%s", why.what);
	return t;
}

struct tls_client *
client_new(const char *cert, int max)
{
	char crt[32], key[32];
	struct tls_client_opts o = { .cafile = certs_path(&certs, "ca.crt"),
		.max = (enum tls_min)max,
		.alpn = "mqtt" };
	struct tls_client *c = NULL;
	struct nj_why why = { 0 };

	if (cert) {
		(void)snprintf(crt, sizeof crt, "%s.crt", cert);
		(void)snprintf(key, sizeof key, "%s.key", cert);
		o.certfile = certs_path(&certs, crt);
		o.keyfile = certs_path(&certs, key);
	}
	if (tls_client_new(&o, &c, &why))
		fail_msg("%s", why.what);
	return c;
}

void
must(struct pair *p)
{
	pair_handshake(p);
	if (p->se || p->ce)
		fail_msg("server: %s; client: %s", stream_why(p->server)->what,
		    p->client ? stream_why(p->client)->what : "");
}

bool
visit(struct tls_server *t, struct tls_client *c)
{
	struct pair p;
	bool resumed;

	pair_ours(&p, t, c, "localhost", true);
	must(&p);
	pair_say(p.client, p.server, "ping");
	pair_say(p.server, p.client, "pong");
	resumed = stream_tls(p.server)->resumed;
	assert_int_equal(resumed, stream_tls(p.client)->resumed);
	pair_fini(&p);
	return resumed;
}
