/* SPDX-License-Identifier: Apache-2.0
 * Where to connect, and through what.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/impl.h"
#include "net/listener.h"
#include "net/srv.h"

void
client_set_where(struct client *c, const char *host, uint16_t port)
{
	if (c->unix_path)
		(void)snprintf(c->where, sizeof c->where, "%s", c->unix_path);
	else
		(void)snprintf(c->where, sizeof c->where,
		    strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

static enum nj_err
dial_host(struct client *c, const char *host, uint16_t port, int left, int *fd)
{
	if (c->proxy.host)
		return dial_socks(
		    &c->proxy, host, port, c->bind_address, left, fd, &c->why);
	return dial_tcp(host, port, c->bind_address, left, fd, &c->why);
}

/* Of one domain, so that the name checked in a certificate is the domain's: a
 * target is only what DNS said (RFC 6125 6.2.1). */
static enum nj_err
keep_domain(struct client *c, const char *domain)
{
	char *copy;

	if (c->host)
		return NJ_OK;
	if (!(copy = strdup(domain)))
		return NJ_NOMEM;
	c->host = copy;
	return NJ_OK;
}

static enum nj_err
dial_srv(struct client *c, uint64_t deadline, int *fd)
{
	struct srv_list *l = malloc(sizeof *l);
	enum nj_err e;

	if (!l)
		return NJ_NOMEM;
	if ((e = srv_lookup(
		 c->host, c->tls != NULL, client_left(deadline), l, &c->why)) ||
	    (e = keep_domain(c, l->domain)))
		goto out;
	for (unsigned i = 0; i < l->n; i++) {
		const struct srv_target *t = &l->v[i];
		/* One that does not answer leaves time for the next. */
		int left = client_left(deadline) / (int)(l->n - i);

		client_set_where(c, t->host, t->port);
		if (!(e = dial_host(c, t->host, t->port, left, fd)))
			break;
	}
out:
	free(l);
	return e;
}

enum nj_err
client_dial(struct client *c, uint64_t deadline, int *fd)
{
	if (c->unix_path)
		return dial_unix(c->unix_path, fd, &c->why);
	if (c->srv)
		return dial_srv(c, deadline, fd);
	return dial_host(c, c->host, c->port, client_left(deadline), fd);
}
