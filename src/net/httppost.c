/* SPDX-License-Identifier: Apache-2.0 */
#include "net/httppost.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "net/httphear.h"
#include "net/listener.h"

#define HTTP_PORT 80

/* Printable, and no blank: it goes into a line of a request. */
static bool
is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

static bool
take_host(const char **at, struct http_url *u)
{
	const char *p = *at, *end;
	size_t n;

	if (*p == '[') {
		if (!(end = strchr(++p, ']')))
			return false;
		n = (size_t)(end - p);
		*at = end + 1;
	} else {
		n = strcspn(p, ":/?#");
		*at = p + n;
	}
	if (n == 0 || n >= sizeof u->host || memchr(p, '@', n))
		return false;
	memcpy(u->host, p, n);
	u->host[n] = '\0';
	return true;
}

enum nj_err
http_url_parse(const char *text, struct http_url *out)
{
	struct http_url u = { .port = HTTP_PORT };
	long port = HTTP_PORT;
	char digits[8];
	const char *p;
	size_t n;

	if (strncasecmp(text, "http://", 7) != 0 || !is_plain(text))
		return NJ_INVALID;
	p = text + 7;
	if (!take_host(&p, &u))
		return NJ_INVALID;
	if (*p == ':') {
		n = strspn(++p, "0123456789");
		if (n == 0 || n >= sizeof digits)
			return NJ_INVALID;
		memcpy(digits, p, n);
		digits[n] = '\0';
		p += n;
		if (!text_to_long(digits, 1, 65535, &port))
			return NJ_INVALID;
	}
	if (*p && *p != '/')
		return NJ_INVALID;
	u.port = (uint16_t)port;
	n = strcspn(p, "#");
	if (n + 1 >= sizeof u.path)
		return NJ_INVALID;
	(void)snprintf(
	    u.path, sizeof u.path, "%.*s", n ? (int)n : 1, n ? p : "/");
	*out = u;
	return NJ_OK;
}

struct call {
	int fd;
	uint64_t deadline;
	struct nj_why *why;
};

static bool
wait_for(const struct call *c, short events)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	int r = -1;

	while (r < 0) {
		uint64_t now = clock_mono(&clock_system);

		if (now >= c->deadline)
			return false;
		r = poll(&p, 1, (int)(c->deadline - now));
		if (r < 0 && errno != EINTR)
			return false;
	}
	return r > 0;
}

static enum nj_err
late(const struct call *c)
{
	why_set(c->why, "it does not answer in time");
	return NJ_TIMEOUT;
}

static enum nj_err
say(const struct call *c, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = send(c->fd, s.p, s.n, MSG_NOSIGNAL);

		if (n > 0) {
			s = slice_of(s.p + n, s.n - (size_t)n);
		} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (!wait_for(c, POLLOUT))
				return late(c);
		} else {
			why_set(c->why, "sending: %s", strerror(errno));
			return NJ_IO;
		}
	}
	return NJ_OK;
}

static enum nj_err
hear_some(void *arg, uint8_t *at, size_t room, size_t *got)
{
	const struct call *c = arg;

	for (;;) {
		ssize_t n = recv(c->fd, at, room, 0);

		if (n > 0) {
			*got = (size_t)n;
			return NJ_OK;
		}
		if (n == 0)
			return NJ_EOF;
		if (errno != EAGAIN && errno != EINTR) {
			why_set(c->why, "receiving: %s", strerror(errno));
			return NJ_IO;
		}
		if (!wait_for(c, POLLIN))
			return late(c);
	}
}

static enum nj_err
hear(struct call *c, size_t max, struct buf *out)
{
	struct http_response r = { 0 };
	struct buf body = { 0 };
	enum nj_err e = http_hear(hear_some, c, max, &r, &body);

	if (e == NJ_TOOBIG) {
		why_set(c->why, "its answer is longer than %zu bytes", max);
	} else if (e && !c->why->what[0]) {
		why_set(c->why, "its answer is not HTTP, or cut off");
	} else if (!e && r.status != 200) {
		why_set(c->why, "it answers with HTTP status %u", r.status);
		e = NJ_DENIED;
	} else if (!e && buf_len(&body) > 0) {
		e = buf_put_slice(out, buf_slice(&body));
	}
	buf_fini(&body);
	return e;
}

enum nj_err
http_post(const struct http_url *u, const char *type, struct slice body,
    size_t max, int timeout_ms, struct buf *out, struct nj_why *why)
{
	struct call c = { .fd = -1,
		.why = why,
		.deadline = clock_mono(&clock_system) + (uint64_t)timeout_ms };
	bool brackets = strchr(u->host, ':') != NULL;
	struct buf head = { 0 };
	enum nj_err e;

	if ((e = dial_tcp(u->host, u->port, NULL, timeout_ms, &c.fd, why)))
		return e;
	/* to 1.0 nobody answers in chunks (RFC 9112 6.1) */
	e = buf_printf(&head,
	    "POST %s HTTP/1.0\r\nHost: %s%s%s:%u\r\nUser-Agent: nightjar/%s\r\n"
	    "Content-Type: %s\r\nContent-Length: %zu\r\n"
	    "Connection: close\r\n\r\n",
	    u->path, brackets ? "[" : "", u->host, brackets ? "]" : "",
	    (unsigned)u->port, NJ_VERSION, type, body.n);
	if (!e && !(e = say(&c, buf_slice(&head))) && !(e = say(&c, body)))
		e = hear(&c, max, out);
	buf_fini(&head);
	(void)close(c.fd);
	return e;
}
