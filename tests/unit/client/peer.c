/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static void
note(struct peer *p, const char *fmt, ...)
{
	size_t n = strlen(p->log);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(p->log + n, sizeof p->log - n, fmt, ap);
	va_end(ap);
}

static void
on_message(void *arg, const struct publish *m)
{
	struct peer *p = arg;

	note(p, "[%.*s=%.*s q%u]", (int)m->topic.n, (const char *)m->topic.p,
	    (int)m->payload.n, (const char *)m->payload.p, m->qos);
	if (p->hold)
		client_hold(p->c);
	if (p->answer) {
		struct publish a = { .topic = slice_str(p->answer) };

		assert_int_equal(client_publish(p->c, &a, NULL), NJ_OK);
	}
	if (p->disconnect)
		assert_int_equal(client_disconnect(p->c, 0, NULL), NJ_OK);
}

static void
on_published(void *arg, uint16_t id, uint8_t code, const struct props *props)
{
	note(arg, "[published %u %u]", id, code);
}

static void
on_subscribed(
    void *arg, uint16_t id, struct slice codes, const struct props *props)
{
	note(arg, "[subscribed %u", id);
	for (size_t i = 0; i < codes.n; i++)
		note(arg, " %u", codes.p[i]);
	note(arg, "]");
}

static void
on_unsubscribed(
    void *arg, uint16_t id, struct slice codes, const struct props *props)
{
	note(arg, "[unsubscribed %u %zu]", id, codes.n);
}

static const struct client_events events = {
	.on_message = on_message,
	.on_published = on_published,
	.on_subscribed = on_subscribed,
	.on_unsubscribed = on_unsubscribed,
};

void
peer_new(struct peer *p, struct client_opts *o)
{
	*p = (struct peer){ .fd = -1 };
	o->events = &events;
	o->arg = p;
	assert_int_equal(client_new(o, &p->c, &p->why), NJ_OK);
}

void
peer_free(struct peer *p)
{
	client_free(p->c);
	if (p->fd >= 0)
		close(p->fd);
}

void
peer_connect(struct peer *p, struct slice connack)
{
	int fds[2];

	if (p->fd >= 0)
		close(p->fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p->fd = fds[0];
	assert_true(fcntl(p->fd, F_SETFL, O_NONBLOCK) == 0);
	peer_send(p, connack);
	assert_int_equal(client_connect_fd(p->c, fds[1], 2000, &p->why), NJ_OK);
	(void)snprintf(p->opening, sizeof p->opening, "%s", peer_got(p));
	p->log[0] = '\0';
}

void
peer_accept(struct peer *p, enum mqtt_ver v)
{
	peer_connect(
	    p, v == MQTT5 ? LIT("\x20\x03\0\0\0") : LIT("\x20\x02\0\0"));
}

void
peer_send(struct peer *p, struct slice bytes)
{
	if (bytes.n > 0)
		assert_int_equal(write(p->fd, bytes.p, bytes.n), bytes.n);
}

enum nj_err
peer_settle(struct peer *p)
{
	enum nj_err e = NJ_OK;

	for (unsigned i = 0; !e && i < 3; i++)
		e = client_step(p->c, 0, &p->why);
	return e;
}

const char *
peer_got(struct peer *p)
{
	static char text[3 * 4096];
	uint8_t b[4096];
	ssize_t n = read(p->fd, b, sizeof b);

	text[0] = '\0';
	for (ssize_t i = 0; i < n; i++)
		(void)snprintf(text + 3 * i, 4, "%02x ", b[i]);
	if (n > 0)
		text[3 * n - 1] = '\0';
	return text;
}

void
peer_expect(const char *why, const char *got, const char *want)
{
	if (strcmp(got, want) == 0)
		return;
	print_error("%s:\n got    %s\n wanted %s\n", why, got, want);
	fail();
}
