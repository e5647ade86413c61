/* SPDX-License-Identifier: Apache-2.0
 * A broker with four shard threads under a few hundred clients that do
 * everything at once: connect, take over, subscribe alone and in groups,
 * publish, retain, leave wills, vanish; while limits are reloaded and logins
 * are decided on a worker.  For ThreadSanitizer and AddressSanitizer; and one
 * pair of clients that does nothing wrong must get every message, in order.
 *
 *   threads_test [SECONDS]
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/chain.h"
#include "base/workers.h"
#include "broker/broker.h"
#include "net/listener.h"
#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/frame.h"

#define SHARDS	 4
#define DRIVERS	 4  /* threads */
#define CLIENTS	 60 /* each */
#define NAMES	 150
#define STEADY	 64 /* messages that the steady pair has under way */
#define PATIENCE 60 /* seconds for anything that must happen */

static struct broker *broker;
static struct listener listener;
static struct workers *workers;
static atomic_bool over;
static atomic_ulong connects, received;

/* Random numbers, the same on every run. */
static unsigned
dice(uint64_t *seed, unsigned sides)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)(*seed >> 33) % sides;
}

/* Logins. */

static void
decide_later(struct job *j)
{
	struct auth_request *r = (struct auth_request *)((char *)j -
	    offsetof(struct auth_request, job));

	auth_answer(r,
	    slice_is(r->username, "mallory")
		? auth_deny(r, AUTH_R_WRONG_PASSWORD, NULL)
		: auth_allow(r, r->username));
}

static enum auth_result
start(struct authenticator *a, struct auth_request *r)
{
	(void)a;
	if (!r->has_username)
		return AUTH_NOT_MINE;
	r->job.run = decide_later;
	if (workers_submit(workers, &r->job))
		return auth_deny(r, AUTH_R_BUSY, NULL);
	return AUTH_LATER;
}

static void
no_free(struct authenticator *a)
{
	(void)a;
}

static struct authenticator slow_login = {
	.name = "slow", .start = start, .free = no_free
};

static struct auth_chain *
make_chain(void)
{
	struct authenticator *a = &slow_login;
	struct auth_chain *c = NULL;

	if (auth_chain_new(&c) || auth_chain_add(c, &a) ||
	    auth_add_anonymous(c, false))
		abort();
	return c;
}

/* Settings. */

static void
fill(struct broker_limits *l, struct port_opts *p, unsigned round)
{
	*l = (struct broker_limits){
		.session = { .max_inflight = (uint16_t)(10 + round % 10),
		    .max_queued = 200 },
		.receive_max = 20,
		.retain_available = true,
		.client_expiration_s = 2,
		.connect_timeout_ms = PATIENCE * 1000,
		.handshake_timeout_ms = PATIENCE * 1000,
		.write_timeout_ms = 1000,
		.handshake_budget = 8,
		.out_soft = 64 * 1024,
		.sys_interval_s = 1,
		.nodelay = true,
	};
	*p = (struct port_opts){
		.listener = &listener,
		.chain = make_chain(),
		.allow_zero_length_clientid = true,
		.auto_id_prefix = round % 2 ? "auto-" : "made-",
		.max_qos = 2,
		.versions = 1u << 3 | 1u << 4 | 1u << 5,
		.max_topic_alias = 10,
		.max_topic_alias_broker = 10,
	};
}

static void *
reloads(void *arg)
{
	struct broker_limits l;
	struct port_opts p;

	(void)arg;
	for (unsigned round = 1; !over; round++) {
		fill(&l, &p, round);
		if (broker_reload(broker, &l, &p, 1))
			abort();
		broker_log_line(broker, LOG_T_NOTICE, "a line for $SYS");
		(void)poll(NULL, 0, 20);
	}
	return NULL;
}

/* A client. */

struct client {
	int fd;
	enum mqtt_ver version;
	struct buf in, out;
	uint16_t id;
	bool steady;
	unsigned long next_in; /* steady: the payload that must come */
};

static bool
dial(struct client *c)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_port = htons(listener.port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd >= 0 &&
	    connect(c->fd, (struct sockaddr *)(void *)&sin, sizeof sin) == 0)
		return true;
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	return false;
}

static void
hang_up(struct client *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	buf_fini(&c->in);
	buf_fini(&c->out);
}

static void
write_out(struct client *c)
{
	struct slice s = buf_slice(&c->out);

	while (c->fd >= 0 && s.n > 0) {
		ssize_t n = send(c->fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n <= 0) {
			if (errno == EAGAIN)
				break;
			hang_up(c);
			return;
		}
		s.p += n;
		s.n -= (size_t)n;
	}
	buf_drain(&c->out, buf_len(&c->out) - s.n);
}

static void
must(enum nj_err e)
{
	if (e)
		abort();
}

static void
say_ack(struct client *c, enum mqtt_type type, uint16_t id)
{
	struct ack a = { .id = id };

	must(encode_ack(&c->out, type, c->version, &a));
}

static void
take_message(struct client *c, const struct frame *f)
{
	char want[24];
	struct publish p;

	must(decode_publish(f->flags, f->body, c->version, &p));
	atomic_fetch_add(&received, 1);
	if (p.qos > 0)
		say_ack(c, p.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, p.id);
	if (!c->steady)
		return;
	snprintf(want, sizeof want, "%lu", c->next_in++);
	if (!slice_is(p.payload, want)) {
		printf("steady message %.*s where %s was due\n",
		    (int)p.payload.n, (const char *)p.payload.p, want);
		abort();
	}
}

static void
take_packet(struct client *c, const struct frame *f)
{
	struct ack a;

	if (f->type == MQTT_PUBLISH) {
		take_message(c, f);
	} else if (f->type == MQTT_PUBREC || f->type == MQTT_PUBREL) {
		must(decode_ack(
		    (enum mqtt_type)f->type, f->body, c->version, &a));
		say_ack(c, f->type == MQTT_PUBREC ? MQTT_PUBREL : MQTT_PUBCOMP,
		    a.id);
	}
}

static void
read_in(struct client *c)
{
	uint8_t chunk[8192];
	struct slice in;
	struct frame f;
	ssize_t n = 0;
	enum nj_err e = NJ_AGAIN;

	while (c->fd >= 0 &&
	    (n = recv(c->fd, chunk, sizeof chunk, MSG_DONTWAIT)) != 0) {
		if (n < 0)
			break;
		must(buf_put(&c->in, chunk, (size_t)n));
	}
	if (c->fd < 0 || (n < 0 && errno != EAGAIN) || n == 0) {
		hang_up(c);
		return;
	}
	in = buf_slice(&c->in);
	while (in.n > 0 && (e = frame_take(&in, 0, &f)) == NJ_OK)
		take_packet(c, &f);
	if (in.n > 0 && e != NJ_AGAIN)
		abort();
	buf_drain(&c->in, buf_len(&c->in) - in.n);
	write_out(c);
}

/* What the restless ones do. */

static const char *const filters[] = { "a/b", "a/+", "a/#", "#", "+/b", "c",
	"$share/g/a/#", "$share/g/c", "$share/h/#", "$SYS/#" };
static const char *const topics[] = { "a/b", "a/c", "c", "d/b", "e" };

static struct slice
one_of(const char *const *v, size_t n, uint64_t *seed)
{
	return slice_str(v[dice(seed, (unsigned)n)]);
}

#define ONE_OF(v, seed) one_of(v, sizeof(v) / sizeof *(v), seed)

static void
say_connect(struct client *c, uint64_t *seed)
{
	char name[16];
	struct connect k = {
		.version = dice(seed, 3) ? MQTT5 : MQTT311,
		.clean_start = dice(seed, 2),
		.keep_alive = 60,
	};

	if (!dial(c))
		return;
	snprintf(name, sizeof name, "c%u", dice(seed, NAMES));
	c->version = k.version;
	k.client_id = slice_str(name);
	k.has_username = k.has_password = dice(seed, 4) == 0;
	k.username = slice_str(dice(seed, 4) ? "anna" : "mallory");
	k.password = slice_str("pw");
	if (dice(seed, 3) == 0) {
		k.has_will = true;
		k.will.topic = ONE_OF(topics, seed);
		k.will.payload = slice_str("will");
		k.will.qos = (uint8_t)dice(seed, 3);
		k.will.retain = dice(seed, 4) == 0;
		k.will.props.seen = PROP_BIT(PROP_WILL_DELAY);
		k.will.props.will_delay = dice(seed, 2);
	}
	k.props.seen =
	    PROP_BIT(PROP_SESSION_EXPIRY) | PROP_BIT(PROP_TOPIC_ALIAS_MAX);
	k.props.session_expiry = dice(seed, 3);
	k.props.topic_alias_max = 5;
	must(encode_connect(&c->out, &k));
	atomic_fetch_add(&connects, 1);
}

static void
say_publish(struct client *c, uint64_t *seed)
{
	struct publish p = {
		.topic = ONE_OF(topics, seed),
		.payload =
		    slice_of("some payload of a message", dice(seed, 26)),
		.qos = (uint8_t)dice(seed, 3),
		.retain = dice(seed, 5) == 0,
	};

	if (dice(seed, 8) == 0)
		p.topic = slice_str("$share/x"); /* refused */
	p.id = p.qos ? (uint16_t)(++c->id % 500 + 1) : 0;
	if (dice(seed, 4) == 0) {
		p.props.seen = PROP_BIT(PROP_MESSAGE_EXPIRY);
		p.props.message_expiry = 1;
	}
	must(encode_publish(&c->out, c->version, &p));
}

static void
say_subscribe(struct client *c, uint64_t *seed)
{
	struct subscription v[3] = { 0 };
	struct props id = { .seen = PROP_BIT(PROP_SUBSCRIPTION_ID) };

	for (int i = 0; i < 3; i++) {
		v[i].filter = ONE_OF(filters, seed);
		v[i].qos = (uint8_t)dice(seed, 3);
	}
	id.subscription_id = 1 + dice(seed, 100);
	must(encode_subscribe(&c->out, c->version, 1,
	    c->version == MQTT5 ? &id : NULL, v, 1 + dice(seed, 3)));
}

static void
act(struct client *c, uint64_t *seed)
{
	struct slice f = ONE_OF(filters, seed);
	struct disconnect d = { .code = dice(seed, 2) ? 0 : 4 };

	switch (dice(seed, 24)) {
	case 0:
		hang_up(c);
		return;
	case 1:
		must(encode_disconnect(&c->out, c->version, &d));
		break;
	case 2:
		must(buf_put(&c->out, "\xff\xff\xff\xff\xff", 5));
		break;
	case 3:
	case 4:
	case 5:
		say_subscribe(c, seed);
		break;
	case 6:
	case 7:
		must(encode_unsubscribe(&c->out, c->version, 1, NULL, &f, 1));
		break;
	case 8:
		must(encode_ping(&c->out, MQTT_PINGREQ));
		break;
	default:
		for (unsigned n = dice(seed, 6); n > 0; n--)
			say_publish(c, seed);
	}
	write_out(c);
}

static void *
drive(void *arg)
{
	struct client *v = calloc(CLIENTS, sizeof *v);
	uint64_t seed = *(unsigned *)arg;

	for (int i = 0; i < CLIENTS; i++)
		v[i].fd = -1;
	while (!over) {
		struct client *c = &v[dice(&seed, CLIENTS)];

		if (dice(&seed, 20) == 0)
			(void)poll(NULL, 0, 1); /* the shards need some time */

		if (c->fd < 0)
			say_connect(c, &seed);
		/* a few never read: slow readers */
		else if (c != v && dice(&seed, 3))
			read_in(c);
		if (c->fd >= 0)
			act(c, &seed);
	}
	for (int i = 0; i < CLIENTS; i++)
		hang_up(&v[i]);
	free(v);
	return NULL;
}

/* The steady pair. */

static bool
wait_for(struct client *c, uint8_t type)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	uint8_t byte = 0;

	return poll(&p, 1, PATIENCE * 1000) == 1 &&
	    recv(c->fd, &byte, 1, MSG_PEEK) == 1 && byte >> 4 == type;
}

static void
greet(struct client *c, const char *name)
{
	struct connect k = { .version = MQTT5, .clean_start = true };

	c->version = MQTT5;
	k.client_id = slice_str(name);
	if (!dial(c))
		abort();
	must(encode_connect(&c->out, &k));
	write_out(c);
	if (!wait_for(c, MQTT_CONNACK))
		abort();
	read_in(c);
}

static void
say_steady(struct client *c, unsigned long n)
{
	char text[24];
	struct publish p = { .topic = LIT("steady"), .qos = 1 };

	snprintf(text, sizeof text, "%lu", n);
	p.payload = slice_str(text);
	p.id = (uint16_t)(n % 60000 + 1);
	must(encode_publish(&c->out, MQTT5, &p));
	write_out(c);
}

/* Messages that all arrived, in order; aborts when one does not. */
static unsigned long
steady(void)
{
	struct client from = { .fd = -1 }, to = { .fd = -1, .steady = true };
	struct subscription s = { .filter = LIT("steady"), .qos = 1 };
	unsigned long sent = 0;
	unsigned idle = 0;

	greet(&from, "steady-from");
	greet(&to, "steady-to");
	must(encode_subscribe(&to.out, MQTT5, 1, NULL, &s, 1));
	write_out(&to);
	if (!wait_for(&to, MQTT_SUBACK))
		abort();
	while (!over || to.next_in < sent) {
		unsigned long before = to.next_in;

		if (!over && sent < to.next_in + STEADY)
			say_steady(&from, sent++);
		read_in(&to);
		read_in(&from);
		if (to.fd < 0 || from.fd < 0) {
			printf("a steady client was disconnected\n");
			abort();
		}
		if (to.next_in != before) {
			idle = 0;
		} else if (sent >= to.next_in + STEADY || over) {
			if (++idle > PATIENCE * 1000) {
				printf("steady message %lu does not come\n",
				    to.next_in);
				abort();
			}
			(void)poll(NULL, 0, 1);
		}
	}
	hang_up(&from);
	hang_up(&to);
	return sent;
}

static void *
steady_main(void *arg)
{
	*(unsigned long *)arg = steady();
	return NULL;
}

static void
start_broker(void)
{
	struct listener_opts lo = {
		.address = "127.0.0.1", .any_port = true, .backlog = 1000
	};
	struct port_opts port;
	struct broker_opts o = {
		.shards = SHARDS, .ports = &port, .n_ports = 1
	};
	struct nj_why why;

	if (listener_open(&lo, SHARDS, &listener, &why) ||
	    workers_new(2, 1000, &workers)) {
		printf("%s\n", why.what);
		exit(1);
	}
	fill(&o.limits, &port, 0);
	if (broker_new(&o, &broker, &why) || broker_start(broker, &why)) {
		printf("%s\n", why.what);
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 6;
	unsigned seeds[DRIVERS];
	pthread_t drivers[DRIVERS], reloader, pair;
	unsigned long sent = 0;

	log_types_on = 0;
	start_broker();
	pthread_create(&reloader, NULL, reloads, NULL);
	pthread_create(&pair, NULL, steady_main, &sent);
	for (unsigned i = 0; i < DRIVERS; i++) {
		seeds[i] = i + 1;
		pthread_create(&drivers[i], NULL, drive, &seeds[i]);
	}
	(void)poll(NULL, 0, (int)seconds * 1000);
	over = true;
	for (unsigned i = 0; i < DRIVERS; i++)
		pthread_join(drivers[i], NULL);
	pthread_join(reloader, NULL);
	pthread_join(pair, NULL);
	broker_stop(broker);
	workers_free(workers);
	broker_free(broker);
	listener_close(&listener);
	printf("%lu connections, %lu messages received, %lu steady ones\n",
	    atomic_load(&connects), atomic_load(&received), sent);
	return connects > 100 && received > 1000 && sent > 20 ? 0 : 1;
}
