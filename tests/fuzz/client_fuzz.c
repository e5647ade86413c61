/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as what a broker sends: the first byte chooses the version,
 * whether the client authenticates by SCRAM, and whether a good CONNACK comes
 * before the rest.  The client ends the connection
 * or goes on; whatever it says about it can be printed, and nothing waits for
 * more than there is.
 */
#include "fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client.h"
#include "wire/topic.h"

static void
on_message(void *arg, const struct publish *p)
{
	struct client *c = *(struct client **)arg;
	struct publish answer = { .topic = p->topic, .qos = p->qos };

	HOLDS(topic_name_ok(p->topic));
	/* As a client does that answers: what it makes must be possible. */
	(void)!client_publish(c, &answer, NULL);
}

static void
on_subscribed(
    void *arg, uint16_t id, struct slice codes, const struct props *props)
{
	HOLDS(codes.n == 2);
}

static void
on_trace(void *arg, const char *line)
{
	HOLDS(!strchr(line, '\n'));
}

static const struct client_events events = {
	.on_message = on_message,
	.on_subscribed = on_subscribed,
	.on_trace = on_trace,
};

static void
ask(struct client *c)
{
	struct subscription s[2] = { { .filter = LIT("a") },
		{ .filter = LIT("b/#"), .qos = 2 } };
	struct publish p = { .topic = LIT("t"), .payload = LIT("x") };
	struct slice u = LIT("a");

	(void)!client_subscribe(c, s, 2, NULL, NULL);
	(void)!client_unsubscribe(c, &u, 1, NULL, NULL);
	for (p.qos = 0; p.qos <= 2; p.qos++)
		(void)!client_publish(c, &p, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct props props = { .seen = PROP_BIT(PROP_TOPIC_ALIAS_MAX) |
		    PROP_BIT(PROP_RECEIVE_MAX),
		.topic_alias_max = 3,
		.receive_max = 5 };
	struct client *c = NULL;
	struct client_opts o = { .client_id = "c",
		.props = &props,
		.max_packet = 60000,
		.events = &events,
		.arg = &c };
	struct nj_why why = { .what = "" };
	struct secret *pw = NULL;
	enum nj_err e;
	int fds[2];

	if (size < 1 || size > 60000)
		return 0;
	o.version = (enum mqtt_ver)(MQTT31 + data[0] % 3);
	o.persistent = data[0] & 0x40;
	if (o.version == MQTT5 && (data[0] & 0x20)) {
		HOLDS(secret_new(LIT("pw"), &pw) == NJ_OK);
		o.auth_method = "SCRAM-SHA-256";
		o.username = "u";
		o.password = pw;
	}
	HOLDS(client_new(&o, &c, &why) == NJ_OK);
	HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	if (data[0] & 0x80) {
		struct slice ok = o.version == MQTT5 ? LIT("\x20\x03\0\0\0")
						     : LIT("\x20\x02\0\0");

		HOLDS(write(fds[0], ok.p, ok.n) == (ssize_t)ok.n);
	}
	HOLDS(write(fds[0], data + 1, size - 1) == (ssize_t)size - 1);
	HOLDS(shutdown(fds[0], SHUT_WR) == 0);
	e = client_connect_fd(c, fds[1], 1000, &why);
	HOLDS(e != NJ_TIMEOUT);
	HOLDS(e || !pw); /* nobody knows the password */
	if (!e)
		ask(c);
	for (unsigned i = 0; !e && i < 1000; i++)
		e = client_step(c, 0, &why);
	/* The other end is closed: it must have noticed. */
	HOLDS(e != NJ_OK && why.what[0] != '\0');
	HOLDS(!client_connected(c));
	client_free(c);
	secret_free(pw);
	(void)close(fds[0]);
	return 0;
}
