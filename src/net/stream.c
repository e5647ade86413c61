/* SPDX-License-Identifier: Apache-2.0
 * stream - see stream.h; the plain transport lives here too.
 */
#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream_impl.h"

static const struct nj_why why_nothing;

struct nj_why *
stream_why_new(struct stream *s)
{
	if (!s->why && !(s->why = malloc(sizeof *s->why)))
		return NULL;
	s->why->what[0] = s->why->mend[0] = '\0';
	s->why->by_peer = false;
	return s->why;
}

static enum nj_err
sock_error(struct stream *s, const char *verb)
{
	int err = errno;

	if (err == EAGAIN || err == EWOULDBLOCK || err == EINTR)
		return NJ_AGAIN;
	why_set(stream_why_new(s), "%s: %s", verb, strerror(err));
	errno = err;
	return NJ_IO;
}

enum nj_err
stream_recv(struct stream *s, uint8_t *dst, size_t cap, size_t *n)
{
	ssize_t r = recv(s->fd, dst, cap, 0);

	if (r > 0) {
		*n = (size_t)r;
		return NJ_OK;
	}
	return r == 0 ? NJ_EOF : sock_error(s, "receiving");
}

enum nj_err
stream_send(struct stream *s, const uint8_t *src, size_t len, size_t *n)
{
	ssize_t r = send(s->fd, src, len, MSG_NOSIGNAL);

	if (r >= 0) {
		*n = (size_t)r;
		return NJ_OK;
	}
	return sock_error(s, "sending");
}

static enum nj_err
tcp_nothing(struct stream *s)
{
	return NJ_OK;
}

static enum nj_err
tcp_writev(struct stream *s, const struct iovec *iov, int cnt, size_t *n)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = (size_t)cnt };
	ssize_t r = sendmsg(s->fd, &m, MSG_NOSIGNAL);

	if (r >= 0) {
		*n = (size_t)r;
		return NJ_OK;
	}
	return sock_error(s, "sending");
}

static bool
tcp_pending(const struct stream *s)
{
	return false;
}

static unsigned
tcp_wants(const struct stream *s)
{
	return 0;
}

static void
tcp_shutdown(struct stream *s)
{
	(void)shutdown(s->fd, SHUT_WR);
}

static void
tcp_move(struct stream *s, struct stream_scratch *scratch)
{
}

static const struct tls_peer *
tcp_tls(const struct stream *s)
{
	return NULL;
}

static void
tcp_free(struct stream *s)
{
	free(s);
}

static const struct stream_ops tcp_ops = {
	.handshake = tcp_nothing,
	.read = stream_recv,
	.write = stream_send,
	.writev = tcp_writev,
	.flush = tcp_nothing,
	.pending = tcp_pending,
	.wants = tcp_wants,
	.shutdown = tcp_shutdown,
	.move = tcp_move,
	.tls = tcp_tls,
	.free = tcp_free,
};

enum nj_err
stream_tcp_new(int fd, struct stream **out)
{
	struct stream *s = calloc(1, sizeof *s);

	if (!s)
		return NJ_NOMEM;
	s->ops = &tcp_ops;
	s->fd = fd;
	*out = s;
	return NJ_OK;
}

enum nj_err
stream_peek(struct stream *s, uint8_t *dst, size_t cap, size_t *n)
{
	ssize_t r = recv(s->fd, dst, cap, MSG_PEEK);

	if (r > 0) {
		*n = (size_t)r;
		return NJ_OK;
	}
	return r == 0 ? NJ_EOF : sock_error(s, "receiving");
}

void
stream_leave(struct stream *s)
{
	if (s)
		s->fd = -1;
	stream_free(s);
}

void
stream_free(struct stream *s)
{
	if (!s)
		return;
	free(s->why);
	if (s->fd >= 0)
		(void)close(s->fd);
	s->ops->free(s);
}

void
stream_ack_now(struct stream *s)
{
	int one = 1;

	/* a Unix socket has no such thing, and needs none */
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

int
stream_fd(const struct stream *s)
{
	return s->fd;
}

void
stream_move(struct stream *s, struct stream_scratch *scratch)
{
	s->ops->move(s, scratch);
}

enum nj_err
stream_handshake(struct stream *s)
{
	return s->ops->handshake(s);
}

enum nj_err
stream_read(struct stream *s, uint8_t *dst, size_t cap, size_t *n)
{
	return s->ops->read(s, dst, cap, n);
}

enum nj_err
stream_write(struct stream *s, const uint8_t *src, size_t len, size_t *n)
{
	if (len == 0) {
		*n = 0;
		return NJ_OK;
	}
	return s->ops->write(s, src, len, n);
}

enum nj_err
stream_writev(struct stream *s, const struct iovec *iov, int cnt, size_t *n)
{
	return s->ops->writev(s, iov, cnt, n);
}

enum nj_err
stream_flush(struct stream *s)
{
	return s->ops->flush(s);
}

bool
stream_pending(const struct stream *s)
{
	return s->ops->pending(s);
}

unsigned
stream_wants(const struct stream *s)
{
	return s->ops->wants(s);
}

void
stream_shutdown(struct stream *s)
{
	s->ops->shutdown(s);
}

void
stream_end_code(struct stream *s, uint16_t code)
{
	s->end_code = code;
}

bool
stream_from_page(const struct stream *s)
{
	return s->from_page;
}

const struct nj_why *
stream_why(const struct stream *s)
{
	return s->why ? s->why : &why_nothing;
}

const struct tls_peer *
stream_tls(const struct stream *s)
{
	return s->ops->tls(s);
}

bool
stream_looks_like_tls(struct slice first)
{
	/* A handshake record of SSL 3 to TLS 1.3.  0x16 is also the first byte
	 * of no MQTT packet (type 1 has its low bits 0). */
	return first.n >= 1 && first.p[0] == 0x16 &&
	    (first.n < 2 || first.p[1] == 0x03);
}
