/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/guard.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "auth/chain.h"
#include "auth/homes.h"
#include "auth/principal.h"
#include "auth/throttle.h"
#include "base/hash.h"
#include "base/log.h"
#include "net/tls.h"

#define ADDRESSES_MAX 65536
#define NAMES_MAX     65536
#define MINUTE_MS     60000u
#define SECOND_MS     1000u

enum nj_err
guard_new(const struct guard_opts *o, struct throttle **out)
{
	struct throttle_opts t = {
		.max_addresses = ADDRESSES_MAX,
		.connects_per_s = o->connects_per_s,
		/* a site that comes back after a power cut */
		.connects_burst = o->connects_per_s > UINT32_MAX / 10
		    ? UINT32_MAX
		    : o->connects_per_s * 10,
	};

	*out = NULL;
	if (o->failures_per_minute) {
		t.failures_free = o->failures_per_minute;
		t.failure_melts_ms = MINUTE_MS / o->failures_per_minute;
		t.wait_first_ms = SECOND_MS;
		t.wait_max_ms = MINUTE_MS;
	}
	if (!o->connects_per_s && !o->failures_per_minute)
		return NJ_OK;
	return throttle_new(&t, out);
}

enum nj_err
guard_names_new(const struct guard_opts *o, struct throttle **out)
{
	const struct throttle_opts t = {
		.max_addresses = NAMES_MAX,
		.failures_free = o->failures_per_user,
		.failure_melts_ms =
		    o->failures_per_user ? MINUTE_MS / o->failures_per_user : 0,
		.wait_first_ms = SECOND_MS,
		.wait_max_ms = MINUTE_MS,
	};

	*out = NULL;
	return o->failures_per_user ? throttle_new(&t, out) : NJ_OK;
}

/* A name as an address: what the throttle looks at of IPv6 is 64 bits. */
static struct slice
name_key(struct slice user, uint8_t key[16])
{
	uint64_t h = hash_bytes(user);

	memset(key, 0, 16);
	memcpy(key, &h, sizeof h);
	return slice_of(key, 16);
}

uint64_t
guard_name_wait(const struct conn *c, struct slice user)
{
	struct throttle *t = c->shard->broker->names;
	uint8_t key[16];

	return t
	    ? throttle_login_wait(t, name_key(user, key), c->shard->home.now_ms)
	    : 0;
}

void
guard_name_failed(const struct conn *c, struct slice user)
{
	struct throttle *t = c->shard->broker->names;
	uint8_t key[16];

	if (t)
		throttle_login_failed(
		    t, name_key(user, key), c->shard->home.now_ms);
}

static struct slice
v4_of(const struct in_addr *a)
{
	return ntohl(a->s_addr) >> 24 == IN_LOOPBACKNET
	    ? SLICE_NONE
	    : slice_of(a, sizeof *a);
}

static struct slice
v6_of(const struct in6_addr *a)
{
	if (IN6_IS_ADDR_LOOPBACK(a) ||
	    (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == IN_LOOPBACKNET))
		return SLICE_NONE;
	return slice_of(a, sizeof *a);
}

/* The address as bytes; none for who is not counted. */
static struct slice
address_of(int fd, struct sockaddr_storage *ss)
{
	socklen_t n = sizeof *ss;

	if (getpeername(fd, (struct sockaddr *)ss, &n) != 0)
		return SLICE_NONE;
	if (ss->ss_family == AF_INET)
		return v4_of(&((struct sockaddr_in *)(void *)ss)->sin_addr);
	if (ss->ss_family == AF_INET6)
		return v6_of(&((struct sockaddr_in6 *)(void *)ss)->sin6_addr);
	return SLICE_NONE;
}

/* The client's, however it came. */
static struct slice
client_of(const struct conn *c, struct sockaddr_storage *ss)
{
	const struct proxied *v = c->via;

	if (!v || v->own)
		return address_of(stream_fd(c->stream), ss);
	memcpy(ss, v->addr, sizeof v->addr);
	if (v->addr_n == sizeof(struct in_addr))
		return v4_of((const struct in_addr *)(const void *)ss);
	if (v->addr_n == sizeof(struct in6_addr))
		return v6_of((const struct in6_addr *)(const void *)ss);
	return SLICE_NONE;
}

bool
guard_may_connect(struct shard *sh, int fd)
{
	struct broker *b = sh->broker;
	struct sockaddr_storage ss = { 0 };

	if (!b->throttle || !b->opts.guard.connects_per_s)
		return true;
	return throttle_connect(
	    b->throttle, address_of(fd, &ss), sh->home.now_ms);
}

bool
guard_may_come(const struct conn *c)
{
	struct broker *b = c->shard->broker;
	struct sockaddr_storage ss = { 0 };

	if (!b->throttle || !b->opts.guard.connects_per_s)
		return true;
	return throttle_connect(
	    b->throttle, client_of(c, &ss), c->shard->home.now_ms);
}

uint64_t
guard_login_wait(const struct conn *c)
{
	struct throttle *t = c->shard->broker->throttle;
	struct sockaddr_storage ss = { 0 };

	if (!t)
		return 0;
	return throttle_login_wait(t, client_of(c, &ss), c->shard->home.now_ms);
}

void
guard_login_failed(const struct conn *c)
{
	struct throttle *t = c->shard->broker->throttle;
	struct sockaddr_storage ss = { 0 };

	if (t)
		throttle_login_failed(
		    t, client_of(c, &ss), c->shard->home.now_ms);
}

void
guard_name_came(const struct conn *c, struct slice user)
{
	struct sockaddr_storage ss = { 0 };

	if (c->shard->broker->names)
		homes_add(c->shard->broker->homes, user, client_of(c, &ss));
}

bool
guard_name_at_home(const struct conn *c, struct slice user)
{
	struct sockaddr_storage ss = { 0 };

	return c->shard->broker->names &&
	    homes_has(c->shard->broker->homes, user, client_of(c, &ss));
}

static bool
is_pressed(void *arg, struct slice name)
{
	return guard_name_wait(arg, name) > 0 && !guard_name_at_home(arg, name);
}

static void
has_failed(void *arg, struct slice name)
{
	guard_name_failed(arg, name);
}

const struct auth_watch guard_watch = { is_pressed, has_failed };

/* No user's name: NUL cannot be in one. */
static struct slice
psk_name(struct slice identity, uint8_t name[TLS_PSK_IDENTITY_MAX + 1])
{
	size_t n = identity.n < TLS_PSK_IDENTITY_MAX ? identity.n
						     : TLS_PSK_IDENTITY_MAX;

	name[0] = '\0';
	if (n > 0)
		memcpy(name + 1, identity.p, n);
	return slice_of(name, n + 1);
}

bool
guard_psk_may(void *conn, struct slice identity)
{
	uint8_t name[TLS_PSK_IDENTITY_MAX + 1];

	return guard_login_wait(conn) == 0 &&
	    !is_pressed(conn, psk_name(identity, name));
}

void
guard_psk_failed(void *conn, struct slice identity)
{
	uint8_t name[TLS_PSK_IDENTITY_MAX + 1];

	guard_login_failed(conn);
	guard_name_failed(conn, psk_name(identity, name));
}

void
guard_psk_came(const struct conn *c, struct slice identity)
{
	uint8_t name[TLS_PSK_IDENTITY_MAX + 1];

	guard_name_came(c, psk_name(identity, name));
}

uint64_t
guard_identity(const struct principal *who, struct slice client_id)
{
	/* the constant keeps users and clients of the same name apart */
	if (who && who->name.n > 0)
		return hash_bytes(who->name);
	return hash_bytes(client_id) ^ UINT64_C(0x9e3779b97f4a7c15);
}

bool
guard_may_log(struct shard *sh, struct log_gate *g, uint32_t per_s)
{
	uint32_t held = 0;

	if (!log_gate_open(g, sh->home.now_ms, SECOND_MS, per_s, &held))
		return false;
	if (held)
		nj_log(LOG_T_NOTICE,
		    "(%u lines of the kind of the next were left out)", held);
	return true;
}
