/* SPDX-License-Identifier: Apache-2.0
 * socks - see socks.h.
 */
#include "net/socks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"
#include "net/listener.h"

#define VERSION	      5
#define AUTH_VERSION  1
#define METHOD_NONE   0
#define METHOD_USER   2
#define METHOD_NO_ONE 0xff
#define CMD_CONNECT   1

enum address { ADDRESS_V4 = 1, ADDRESS_NAME = 3, ADDRESS_V6 = 4 };

/* One conversation with a proxy. */
struct talk {
	int fd;
	uint64_t deadline;
	const struct socks_opts *o;
	struct nj_why *why;
};

static enum nj_err
fail(struct talk *t, enum nj_err e, const char *what, const char *mend)
{
	char esc[TEXT_ESC];

	why_set(t->why, "the proxy %s:%u %s",
	    text_esc(esc, sizeof esc, slice_str(t->o->host)), t->o->port, what);
	why_mend(t->why, "%s", mend);
	return e;
}

static enum nj_err
wait_ready(struct talk *t, short events)
{
	uint64_t now = clock_mono(&clock_system);
	struct pollfd p = { .fd = t->fd, .events = events };
	int left = now < t->deadline ? (int)(t->deadline - now) : 0;
	int r = poll(&p, 1, left);

	if (r == 0)
		return fail(t, NJ_TIMEOUT, "does not answer in time",
		    "look whether it is a SOCKS5 proxy");
	return r < 0 && errno != EINTR ? fail(t, NJ_IO, strerror(errno), "")
				       : NJ_OK;
}

static enum nj_err
say(struct talk *t, const uint8_t *p, size_t n)
{
	enum nj_err e;

	while (n > 0) {
		ssize_t r = send(t->fd, p, n, MSG_NOSIGNAL);

		if (r < 0 && errno != EAGAIN && errno != EINTR)
			return fail(t, NJ_IO, strerror(errno), "");
		if (r < 0 && (e = wait_ready(t, POLLOUT)))
			return e;
		if (r > 0) {
			p += r;
			n -= (size_t)r;
		}
	}
	return NJ_OK;
}

/* Exactly n bytes: what stands behind the proxy's words is the broker's. */
static enum nj_err
hear(struct talk *t, uint8_t *p, size_t n)
{
	enum nj_err e;

	while (n > 0) {
		ssize_t r = recv(t->fd, p, n, 0);

		if (r == 0)
			return fail(t, NJ_EOF, "closed the connection",
			    "look whether it is a SOCKS5 proxy, and its log");
		if (r < 0 && errno != EAGAIN && errno != EINTR)
			return fail(t, NJ_IO, strerror(errno), "");
		if (r < 0 && (e = wait_ready(t, POLLIN)))
			return e;
		if (r > 0) {
			p += r;
			n -= (size_t)r;
		}
	}
	return NJ_OK;
}

/* RFC 1929 */
static enum nj_err
log_in(struct talk *t)
{
	struct slice user = slice_str(t->o->user), pass = SLICE_NONE;
	struct buf b = { 0 };
	uint8_t answer[2];
	enum nj_err e;

	if (t->o->password)
		pass = secret_bytes(t->o->password);
	if (user.n > SOCKS_TEXT_MAX || pass.n > SOCKS_TEXT_MAX)
		return fail(t, NJ_INVALID,
		    "cannot take names and passwords above 255 bytes", "");
	if ((e = buf_put_u8(&b, AUTH_VERSION)) ||
	    (e = buf_put_u8(&b, (uint8_t)user.n)) ||
	    (e = buf_put_slice(&b, user)) ||
	    (e = buf_put_u8(&b, (uint8_t)pass.n)) ||
	    (e = buf_put_slice(&b, pass)) ||
	    (e = say(t, buf_slice(&b).p, buf_len(&b))) ||
	    (e = hear(t, answer, sizeof answer)))
		goto out;
	if (answer[1] != 0) /* the version of the answer varies in the field */
		e = fail(t, NJ_DENIED, "refuses the user name or password",
		    "look at the login in the URL of --proxy");
out:
	buf_wipe(&b);
	return e;
}

static enum nj_err
greet(struct talk *t)
{
	uint8_t hello[4] = { VERSION, 1, METHOD_NONE, METHOD_USER };
	uint8_t answer[2];
	enum nj_err e;

	hello[1] = t->o->user ? 2 : 1;
	if ((e = say(t, hello, 2u + hello[1])) ||
	    (e = hear(t, answer, sizeof answer)))
		return e;
	if (answer[0] != VERSION)
		return fail(t, NJ_PROTOCOL, "does not speak SOCKS5",
		    "look at the port in the URL of --proxy; it is 1080 when "
		    "none is given");
	if (answer[1] == METHOD_NONE)
		return NJ_OK;
	if (answer[1] == METHOD_USER && t->o->user)
		return log_in(t);
	return fail(t, NJ_DENIED,
	    t->o->user ? "takes neither no login nor a user name"
		       : "wants a login",
	    t->o->user ? "" : "give --proxy socks5h://user:password@host");
}

/* RFC 1928 6 */
static enum nj_err
refused(struct talk *t, uint8_t reply)
{
	static const struct {
		const char *what, *mend;
	} replies[] = {
		[1] = { "failed to connect", "its log says why" },
		[2] = { "does not allow this connection",
		    "its rules decide; ask its operator" },
		[3] = { "cannot reach the broker's network", "" },
		[4] = { "cannot reach the broker",
		    "look at the spelling of the host's name" },
		[5] = { "finds nobody listening there",
		    "look whether the broker runs, and on which port" },
		[6] = { "gave up: the way is too long", "" },
		[7] = { "knows no CONNECT", "" },
		[8] = { "does not take this kind of address", "" },
	};

	if (reply >= sizeof replies / sizeof *replies || !replies[reply].what)
		return fail(t, NJ_IO, "refuses without a known reason",
		    "its log says why");
	return fail(t, NJ_IO, replies[reply].what, replies[reply].mend);
}

/* The address that the proxy connects from says nothing to us. */
static enum nj_err
skip_address(struct talk *t, uint8_t kind)
{
	uint8_t rest[1 + SOCKS_TEXT_MAX + 2];
	size_t n = kind == ADDRESS_V4 ? 4 : kind == ADDRESS_V6 ? 16 : 0;
	enum nj_err e;

	if (kind == ADDRESS_NAME) {
		if ((e = hear(t, rest, 1)))
			return e;
		n = rest[0];
	} else if (n == 0) {
		return fail(t, NJ_PROTOCOL, "answers with no kind of address",
		    "look whether it is a SOCKS5 proxy");
	}
	return hear(t, rest, n + 2);
}

static enum nj_err
put_address(struct buf *b, const char *host)
{
	uint8_t raw[16];
	size_t n = strlen(host);
	enum nj_err e;

	if (inet_pton(AF_INET, host, raw) == 1)
		return (e = buf_put_u8(b, ADDRESS_V4)) ? e : buf_put(b, raw, 4);
	if (inet_pton(AF_INET6, host, raw) == 1)
		return (e = buf_put_u8(b, ADDRESS_V6)) ? e
						       : buf_put(b, raw, 16);
	if (n == 0 || n > SOCKS_TEXT_MAX)
		return NJ_INVALID;
	if ((e = buf_put_u8(b, ADDRESS_NAME)) ||
	    (e = buf_put_u8(b, (uint8_t)n)))
		return e;
	return buf_put(b, host, n);
}

static enum nj_err
request(struct talk *t, const char *host, uint16_t port)
{
	static const uint8_t head[] = { VERSION, CMD_CONNECT, 0 };
	uint8_t answer[4];
	struct buf b = { 0 };
	enum nj_err e;

	if ((e = buf_put(&b, head, sizeof head)) ||
	    (e = put_address(&b, host)) || (e = buf_put_u16(&b, port))) {
		fail(t, e, "cannot be given this host's name", "");
		goto out;
	}
	if ((e = say(t, buf_slice(&b).p, buf_len(&b))) ||
	    (e = hear(t, answer, sizeof answer)))
		goto out;
	if (answer[0] != VERSION)
		e = fail(t, NJ_PROTOCOL, "does not speak SOCKS5", "");
	else if (answer[1] != 0)
		e = refused(t, answer[1]);
	else
		e = skip_address(t, answer[3]);
out:
	buf_fini(&b);
	return e;
}

enum nj_err
dial_socks(const struct socks_opts *o, const char *host, uint16_t port,
    const char *bind_address, int timeout_ms, int *out, struct nj_why *why)
{
	struct talk t = { .fd = -1,
		.o = o,
		.why = why,
		.deadline = clock_mono(&clock_system) +
		    (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) };
	enum nj_err e =
	    dial_tcp(o->host, o->port, bind_address, timeout_ms, &t.fd, why);

	if (e) {
		why_prefix(why, "the proxy");
		return e;
	}
	if ((e = greet(&t)) || (e = request(&t, host, port))) {
		(void)close(t.fd);
		return e;
	}
	*out = t.fd;
	return NJ_OK;
}
