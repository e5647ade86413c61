/* SPDX-License-Identifier: Apache-2.0
 * The addresses of -L and of --proxy.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "cmd/client_opts_table.h"

static enum nj_err
bad_url(struct nj_why *why, const char *what)
{
	why_set(why, "-L: %s", what);
	why_mend(why,
	    "it is mqtt(s)://[user[:password]@]host[:port]/topic, or ws(s)://");
	return NJ_INVALID;
}

/* "user[:password]" */
static enum nj_err
url_login(struct cli *c, const char *s, size_t n)
{
	const char *colon = memchr(s, ':', n);
	size_t user = colon ? (size_t)(colon - s) : n;

	if (!(c->user = cli_own(c, s, user)))
		return NJ_NOMEM;
	if (!colon)
		return NJ_OK;
	secret_free(c->password);
	c->password = NULL;
	return secret_new(slice_of(colon + 1, n - user - 1), &c->password);
}

/* "host[:port]", the host perhaps an IPv6 address in brackets; what was wrong,
 * or NULL.  *port is left alone without one. */
static const char *
take_host(
    struct cli *c, const char *s, size_t n, const char **to, long *to_port)
{
	const char *end = s + n, *host = s, *colon;
	size_t host_n;
	char *port;

	if (n > 0 && *s == '[') {
		host = s + 1;
		if (!(colon = memchr(s, ']', n)))
			return "a bracket is not closed";
		host_n = (size_t)(colon - host);
		colon = colon + 1 < end && colon[1] == ':' ? colon + 1 : NULL;
	} else {
		colon = memchr(s, ':', n);
		host_n = colon ? (size_t)(colon - s) : n;
	}
	if (host_n == 0)
		return "the host is missing";
	if (!(*to = cli_own(c, host, host_n)))
		return nj_strerror(NJ_NOMEM);
	if (!colon)
		return NULL;
	if (!(port = cli_own(c, colon + 1, (size_t)(end - colon - 1))))
		return nj_strerror(NJ_NOMEM);
	return text_to_long(port, 1, 65535, to_port)
	    ? NULL
	    : "the port is not a number up to 65535";
}

/* What is spoken, and how; without -p the port follows from it. */
static bool
url_scheme(struct cli *c, const char **s)
{
	static const struct {
		const char *name;
		bool tls, websocket;
	} schemes[] = {
		{ "mqtt://", false, false },
		{ "mqtts://", true, false },
		{ "ws://", false, true },
		{ "wss://", true, true },
	};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		size_t n = strlen(schemes[i].name);

		if (strncasecmp(*s, schemes[i].name, n) != 0)
			continue;
		*s += n;
		c->use_tls |= schemes[i].tls;
		c->websocket |= schemes[i].websocket;
		if (schemes[i].tls && !c->port)
			c->port = 8883;
		return true;
	}
	return false;
}

enum nj_err
cli_url(struct cli *c, struct nj_why *why)
{
	const char *s = c->url, *slash, *at, *what;
	enum nj_err e;

	if (!url_scheme(c, &s))
		return bad_url(why, "unsupported scheme");
	if (!(slash = strchr(s, '/')) || slash[1] == '\0')
		return bad_url(why, "the topic is missing");
	/* A password may have an @: the last one counts. */
	at = memrchr(s, '@', (size_t)(slash - s));
	if (at && (e = url_login(c, s, (size_t)(at - s)))) {
		why_set(why, "-L: %s", nj_strerror(e));
		return e;
	}
	s = at ? at + 1 : s;
	if ((what = take_host(c, s, (size_t)(slash - s), &c->host, &c->port)))
		return bad_url(why, what);
	return cli_list_add(&c->topics, slash + 1);
}

static enum nj_err
bad_proxy(struct nj_why *why, const char *what)
{
	why_set(why, "--proxy: %s", what);
	why_mend(why, "it is socks5h://[user[:password]@]host[:port]");
	return NJ_INVALID;
}

/* mosquitto_pub(1) names three bytes that are written with a percent sign. */
static bool
unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s != '%') {
			*to++ = *s;
			continue;
		}
		if (strncmp(s, "%25", 3) == 0)
			*to++ = '%';
		else if (strncasecmp(s, "%3a", 3) == 0)
			*to++ = ':';
		else if (strncmp(s, "%40", 3) == 0)
			*to++ = '@';
		else
			return false;
		s += 2;
	}
	*to = '\0';
	return true;
}

/* "user[:password]" */
static const char *
proxy_login(struct cli *c, const char *s, size_t n)
{
	const char *colon = memchr(s, ':', n);
	size_t user_n = colon ? (size_t)(colon - s) : n;
	char *user = cli_own(c, s, user_n);
	char *pass = colon ? cli_own(c, colon + 1, n - user_n - 1) : NULL;

	if (!user || (colon && !pass))
		return nj_strerror(NJ_NOMEM);
	if (user[0] == '\0')
		return "the user name is missing";
	if (pass && strchr(pass, ':'))
		return "a colon in the password is written %3A";
	if (!unescape(user) || (pass && !unescape(pass)))
		return "only %25, %3A and %40 may stand in a login";
	c->proxy.user = user;
	secret_free(c->proxy_password);
	c->proxy_password = NULL;
	if (pass && secret_new(slice_str(pass), &c->proxy_password))
		return nj_strerror(NJ_NOMEM);
	c->proxy.password = c->proxy_password;
	return NULL;
}

enum nj_err
cli_proxy(struct cli *c, const char *url, struct nj_why *why)
{
	static const char scheme[] = "socks5h://";
	const char *s, *at, *what;
	long port = SOCKS_PORT;

	if (strncmp(url, scheme, sizeof scheme - 1) != 0)
		return bad_proxy(why, "unsupported scheme");
	s = url + strlen(scheme);
	if ((at = strchr(s, '@'))) {
		if ((what = proxy_login(c, s, (size_t)(at - s))))
			return bad_proxy(why, what);
		s = at + 1;
	}
	if ((what = take_host(c, s, strcspn(s, "/"), &c->proxy.host, &port)))
		return bad_proxy(why, what);
	c->proxy.port = (uint16_t)port;
	return NJ_OK;
}
