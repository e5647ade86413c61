/* SPDX-License-Identifier: Apache-2.0
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/secret.h"
#include "broker/conn.h"

void (*world_inside)(bool inside);

static void
inside(bool on)
{
	if (world_inside)
		world_inside(on);
}

static uint64_t
mono(void *arg)
{
	struct world *w = arg;

	if (w->runs)
		w->now += 100;
	return w->now;
}

static int64_t
wall(void *arg)
{
	const struct world *w = arg;

	return (int64_t)w->now + INT64_C(1700000000000);
}

static void
default_limits(struct broker_limits *l)
{
	*l = (struct broker_limits){
		.session = { .max_inflight = 20, .max_queued = 1000 },
		.receive_max = 20,
		.retain_available = true,
		.client_expiration_s = MQTT_EXPIRY_NEVER,
		.connect_timeout_ms = 30000,
		.handshake_timeout_ms = 30000,
		.write_timeout_ms = 20000,
		.handshake_budget = 8,
		.out_soft = 256 * 1024,
	};
}

void
world_init(struct world *w, unsigned shards)
{
	*w = (struct world){
		.clock = { .mono_ms = mono, .wall_ms = wall, .arg = w },
		.now = 1000000,
		.anonymous = true,
		.opts = { .shards = shards, .n_ports = 1 },
		.port = { .allow_zero_length_clientid = true,
		    .auto_id_prefix = "auto-",
		    .max_qos = 2,
		    .versions = 1u << 3 | 1u << 4 | 1u << 5,
		    .max_topic_alias = 10,
		    .max_topic_alias_broker = 10 },
		.listener = { .n = 1, .port = 1883, .where = "test" },
	};
	for (unsigned i = 0; i < WORLD_SHARDS; i++)
		w->fds[i] = -1;
	w->listener.fds = w->fds;
	w->listener.shards = shards;
	w->port.listener = &w->listener;
	w->opts.ports = &w->port;
	w->opts.clock = &w->clock;
	default_limits(&w->opts.limits);
}

/* Settings. */

enum kind { BOOL, U8, U16, U32, U64 };

static const struct {
	const char *name;
	enum kind kind;
	size_t at;
} settings[] = {
#define LIMIT(name, kind)                                             \
	{                                                             \
#name, kind, offsetof(struct world, opts.limits.name) \
	}
#define SESSION(name, kind)                                                   \
	{                                                                     \
#name, kind, offsetof(struct world, opts.limits.session.name) \
	}
#define PORT(name, kind)                                       \
	{                                                      \
#name, kind, offsetof(struct world, port.name) \
	}
	SESSION(max_inflight, U16),
	SESSION(max_inflight_bytes, U64),
	SESSION(max_queued, U32),
	SESSION(max_queued_bytes, U64),
	SESSION(queue_qos0, BOOL),
	SESSION(upgrade_qos, BOOL),
	SESSION(max_subscriptions, U32),
	LIMIT(max_packet_size, U32),
	LIMIT(message_size_limit, U32),
	LIMIT(max_keepalive, U16),
	LIMIT(receive_max, U16),
	LIMIT(retain_available, BOOL),
	LIMIT(client_expiration_s, U32),
	LIMIT(max_pending, U32),
	LIMIT(max_sessions, U32),
	LIMIT(max_waiting_per_user, U32),
	LIMIT(evict_sessions, BOOL),
	LIMIT(max_wills_per_minute, U32),
	LIMIT(max_match_work, U32),
	{ "max_retained_per_user", U32,
	    offsetof(struct world, opts.max_retained_per_user) },
	LIMIT(connect_timeout_ms, U32),
	LIMIT(write_timeout_ms, U32),
	LIMIT(out_soft, U32),
	LIMIT(sys_interval_s, U32),
	{ "global_max_connections", U32,
	    offsetof(struct world, opts.limits.max_connections) },
	{ "max_retained", U64, offsetof(struct world, opts.max_retained) },
	{ "max_retained_bytes", U64,
	    offsetof(struct world, opts.max_retained_bytes) },
	PORT(use_username_as_clientid, BOOL),
	PORT(allow_zero_length_clientid, BOOL),
	PORT(max_connections, U32),
	PORT(max_qos, U8),
	PORT(versions, U8),
	PORT(proxy, U8),
	PORT(proxy_tls, BOOL),
	PORT(proxy_cert, BOOL),
	PORT(max_topic_alias, U16),
	PORT(max_topic_alias_broker, U16),
	{ "anonymous", BOOL, offsetof(struct world, anonymous) },
	{ "later", BOOL, offsetof(struct world, later) },
	{ "nomethod", BOOL, offsetof(struct world, no_method) },
};

static void
put(struct world *w, size_t at, enum kind kind, uint64_t v)
{
	uint8_t *p = (uint8_t *)w + at;

	switch (kind) {
	case BOOL:
		*(bool *)(void *)p = v != 0;
		break;
	case U8:
		*p = (uint8_t)v;
		break;
	case U16:
		*(uint16_t *)(void *)p = (uint16_t)v;
		break;
	case U32:
		*(uint32_t *)(void *)p = (uint32_t)v;
		break;
	case U64:
		*(uint64_t *)(void *)p = v;
		break;
	}
}

bool
world_set(struct world *w, const char *name, const char *value)
{
	if (strcmp(name, "clientid_prefixes") == 0) {
		snprintf(w->prefixes, sizeof w->prefixes, "%s", value);
		w->port.clientid_prefixes = w->prefixes;
		return true;
	}
	if (strcmp(name, "mount_point") == 0) {
		snprintf(w->mount, sizeof w->mount, "%s", value);
		w->port.mount_point =
		    strcmp(value, "none") == 0 ? NULL : w->mount;
		return true;
	}
	if (strcmp(name, "user") == 0 && w->n_users < WORLD_USERS) {
		snprintf(
		    w->users[w->n_users++], sizeof w->users[0], "%s", value);
		return true;
	}
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		if (strcmp(name, settings[i].name) == 0) {
			put(w, settings[i].at, settings[i].kind,
			    strtoull(value, NULL, 0));
			return true;
		}
	return false;
}

/* An authenticator that knows the users of the world. */

struct table {
	struct authenticator a;
	struct world *world;
};

static bool
knows(const struct world *w, struct slice name, struct slice pw)
{
	char line[64];

	snprintf(line, sizeof line, "%.*s:%.*s", (int)name.n,
	    (const char *)name.p, (int)pw.n, (const char *)pw.p);
	for (unsigned i = 0; i < w->n_users; i++)
		if (strcmp(line, w->users[i]) == 0)
			return true;
	return false;
}

static enum auth_result
table_start(struct authenticator *a, struct auth_request *r)
{
	struct world *w = ((struct table *)(void *)a)->world;

	if (!r->has_username)
		return AUTH_NOT_MINE;
	if (w->later && w->n_waiting < WORLD_LOGINS) {
		w->waiting[w->n_waiting++] = r;
		return AUTH_LATER;
	}
	if (!r->password)
		return auth_deny(r, AUTH_R_NO_PASSWORD, NULL);
	if (!knows(w, r->username, secret_bytes(r->password)))
		return auth_deny(r, AUTH_R_WRONG_PASSWORD, NULL);
	return auth_allow(r, r->username);
}

static void
table_free(struct authenticator *a)
{
	atomic_fetch_sub(&((struct table *)(void *)a)->world->tables, 1);
	free(a);
}

/* NAME:PASSWORD of an exchange; false: it is something else. */
static bool
said(const struct auth_request *r, struct slice *name, struct slice *pw)
{
	struct slice data = r->data ? secret_bytes(r->data) : SLICE_NONE;
	const uint8_t *colon = data.n > 0 ? memchr(data.p, ':', data.n) : NULL;

	if (!colon)
		return false;
	*name = slice_of(data.p, (size_t)(colon - data.p));
	*pw = slice_of(colon + 1, data.n - name->n - 1);
	return true;
}

/* The state is there so that a leak of it shows. */
static enum auth_result
go_on(struct auth_request *r)
{
	if ((!r->state && !(r->state = malloc(1))) ||
	    buf_put_slice(&r->out, LIT("more?")))
		return auth_deny(r, AUTH_R_FAILED, NULL);
	return AUTH_CONTINUE;
}

static enum auth_result
welcome(struct auth_request *r, struct slice name)
{
	if (buf_put_slice(&r->out, LIT("welcome")))
		return auth_deny(r, AUTH_R_FAILED, NULL);
	return auth_allow(r, name);
}

static enum auth_result
table_step(struct authenticator *a, struct auth_request *r)
{
	struct world *w = ((struct table *)(void *)a)->world;
	struct slice name, pw;

	if (w->later && w->n_waiting < WORLD_LOGINS) {
		w->waiting[w->n_waiting++] = r;
		return AUTH_LATER;
	}
	if (!said(r, &name, &pw))
		return go_on(r);
	return knows(w, name, pw) ? welcome(r, name)
				  : auth_deny(r, AUTH_R_WRONG_PASSWORD, NULL);
}

static void
table_end(struct auth_request *r)
{
	free(r->state);
}

static const struct auth_method steps = {
	.name = "steps",
	.step = table_step,
	.end = table_end,
};

static enum auth_result
say(struct auth_request *r, enum auth_result result)
{
	struct slice name, pw;

	if (result == AUTH_CONTINUE && r->method)
		return go_on(r);
	if (result != AUTH_ALLOW)
		return auth_deny(r, AUTH_R_WRONG_PASSWORD, NULL);
	if (!r->method)
		return auth_allow(r, r->username);
	return welcome(r, said(r, &name, &pw) ? name : r->username);
}

bool
world_answer(struct world *w, enum auth_result result)
{
	struct auth_request *r = w->waiting[0];

	if (w->n_waiting == 0)
		return false;
	memmove(
	    w->waiting, w->waiting + 1, --w->n_waiting * sizeof w->waiting[0]);
	inside(true);
	auth_answer(r, say(r, result));
	inside(false);
	return true;
}

static enum nj_err
make_chain(struct world *w, struct auth_chain **out)
{
	struct auth_chain *c = NULL;
	struct authenticator *a = NULL;
	struct table *t = NULL;
	enum nj_err e;

	if ((e = auth_chain_new(&c)))
		return e;
	if (w->n_users || w->later) {
		e = NJ_NOMEM;
		if (!(t = calloc(1, sizeof *t)))
			goto fail;
		t->a = (struct authenticator){ .name = "table",
			.start = table_start,
			.free = table_free,
			.method = w->no_method ? NULL : &steps };
		t->world = w;
		atomic_fetch_add(&w->tables, 1);
		a = &t->a;
		if ((e = auth_chain_add(c, &a)))
			goto fail;
	}
	if (w->anonymous && (e = auth_add_anonymous(c, t == NULL)))
		goto fail;
	*out = c;
	return NJ_OK;
fail:
	auth_chain_unref(c);
	return e;
}

/* Life. */

enum nj_err
world_start(struct world *w)
{
	struct nj_why why;
	enum nj_err e;

	inside(true);
	if ((e = make_chain(w, &w->port.chain)) == NJ_OK &&
	    (e = broker_new(&w->opts, &w->broker, &why))) {
		auth_chain_unref(w->port.chain);
		w->broker = NULL;
	}
	w->port.chain = NULL;
	/* what takes many turns with many clients does with a few */
	for (unsigned i = 0; w->broker && i < w->broker->n; i++) {
		w->broker->shards[i].walk_turn = 1;
		w->broker->shards[i].flush_turn = 1;
		w->broker->shards[i].durable.kept_turn = 1;
	}
	inside(false);
	return e;
}

enum nj_err
world_reload(struct world *w)
{
	enum nj_err e;

	inside(true);
	if ((e = make_chain(w, &w->port.chain)) == NJ_OK &&
	    (e = broker_reload(w->broker, &w->opts.limits, &w->port, 1)))
		auth_chain_unref(w->port.chain);
	w->port.chain = NULL;
	inside(false);
	return e;
}

void
world_turn(struct world *w)
{
	inside(true);
	broker_turn(w->broker, 0);
	inside(false);
}

void
world_stop(struct world *w)
{
	if (!w->broker)
		return;
	w->runs = true; /* last words have a deadline */
	broker_stop(w->broker);
	broker_free(w->broker);
	w->broker = NULL;
}

void
world_fini(struct world *w)
{
	while (world_answer(w, AUTH_DENY))
		;
	world_stop(w);
}

int
world_connect(struct world *w, int bytes)
{
	struct port *p;
	int fds[2];
	char peer[PEER_NAME];

	if (socketpair(
		AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
		return -1;
	for (int i = 0; bytes && i < 2; i++)
		(void)setsockopt(
		    fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	p = &w->broker->shards[w->accepted % w->broker->n].ports[0];
	snprintf(peer, sizeof peer, "peer-%u", w->accepted++);
	inside(true);
	conn_accept(p, fds[1], peer);
	inside(false);
	return fds[0];
}
