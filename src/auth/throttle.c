/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/throttle.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"

#define KEY_SIZE   16
#define V6_PREFIX  8	/* bytes that count of an IPv6 address */
#define MILLI	   1000 /* a token is a thousand thousandths */
#define DOUBLE_MAX 20	/* doublings; any wait_max_ms is below that */

/* One address.  In the list from the longest unseen to the last seen. */
struct entry {
	struct entry *older, *newer;
	uint8_t key[KEY_SIZE];
	uint64_t tokens;     /* thousandths of a connection */
	uint64_t filled_ms;  /* when tokens was brought up to date */
	uint64_t melted_ms;  /* the same for failures */
	uint64_t blocked_ms; /* no login before */
	uint32_t failures;
};

struct throttle {
	struct throttle_opts o;
	pthread_mutex_t lock; /* all below */
	struct map by_addr;
	struct entry *oldest, *newest;
	struct throttle_stats stats;
};

static struct slice
key_of(const void *value)
{
	return slice_of(((const struct entry *)value)->key, KEY_SIZE);
}

/* The first bytes of a mapped IPv4 address (RFC 4291 2.5.5.2). */
static const uint8_t v4_prefix[12] = { [10] = 0xff, [11] = 0xff };

/* IPv4 in its mapped form, IPv6 cut to its prefix. */
static bool
make_key(struct slice addr, uint8_t key[KEY_SIZE])
{
	memset(key, 0, KEY_SIZE);
	if (addr.n == 4) {
		memcpy(key, v4_prefix, sizeof v4_prefix);
		memcpy(key + sizeof v4_prefix, addr.p, 4);
		return true;
	}
	if (addr.n != KEY_SIZE)
		return false;
	if (memcmp(addr.p, v4_prefix, sizeof v4_prefix) == 0)
		memcpy(key, addr.p, KEY_SIZE);
	else
		memcpy(key, addr.p, V6_PREFIX);
	return true;
}

struct throttle_opts
throttle_defaults(void)
{
	return (struct throttle_opts){
		.max_addresses = 65536,
		.connects_per_s = 20,
		.connects_burst = 200,
		.failures_free = 5,
		.failure_melts_ms = 30000,
		.wait_first_ms = 1000,
		.wait_max_ms = 60000,
	};
}

enum nj_err
throttle_new(const struct throttle_opts *o, struct throttle **out)
{
	struct throttle *t;

	if (o->max_addresses == 0)
		return NJ_INVALID;
	if (!(t = calloc(1, sizeof *t)))
		return NJ_NOMEM;
	t->o = *o;
	map_init(&t->by_addr, key_of);
	(void)pthread_mutex_init(&t->lock, NULL);
	*out = t;
	return NJ_OK;
}

void
throttle_free(struct throttle *t)
{
	if (!t)
		return;
	while (t->oldest) {
		struct entry *e = t->oldest;

		t->oldest = e->newer;
		free(e);
	}
	map_fini(&t->by_addr);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

static void
unlink_entry(struct throttle *t, struct entry *e)
{
	*(e->older ? &e->older->newer : &t->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &t->newest) = e->older;
	e->older = e->newer = NULL;
}

static void
link_newest(struct throttle *t, struct entry *e)
{
	e->newer = NULL;
	e->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = e;
	t->newest = e;
}

/* An entry for a new address: the longest unseen one's when the table is
 * full.  NULL without memory: then nothing is known of the address. */
static struct entry *
add_entry(struct throttle *t, const uint8_t key[KEY_SIZE], uint64_t now)
{
	struct entry *e = NULL;

	if (t->by_addr.n < t->o.max_addresses) {
		e = malloc(sizeof *e);
	} else {
		e = t->oldest;
		unlink_entry(t, e);
		(void)map_del(&t->by_addr, key_of(e));
		t->stats.evicted++;
	}
	if (!e)
		return NULL;
	*e = (struct entry){ .filled_ms = now, .melted_ms = now };
	memcpy(e->key, key, KEY_SIZE);
	e->tokens = (uint64_t)t->o.connects_burst * MILLI;
	if (map_put(&t->by_addr, e)) {
		free(e);
		return NULL;
	}
	link_newest(t, e);
	return e;
}

/* The address's entry, now the last seen. */
static struct entry *
entry_of(
    struct throttle *t, const uint8_t key[KEY_SIZE], uint64_t now, bool add)
{
	struct entry *e = map_get(&t->by_addr, slice_of(key, KEY_SIZE));

	if (!e)
		return add ? add_entry(t, key, now) : NULL;
	unlink_entry(t, e);
	link_newest(t, e);
	return e;
}

static void
fill(const struct throttle_opts *o, struct entry *e, uint64_t now)
{
	uint64_t full = (uint64_t)o->connects_burst * MILLI;
	uint64_t passed = now > e->filled_ms ? now - e->filled_ms : 0;

	e->filled_ms = now;
	/* tokens a second are thousandths a millisecond */
	if (passed >= full / o->connects_per_s + 1)
		e->tokens = full;
	else
		e->tokens += passed * o->connects_per_s;
	if (e->tokens > full)
		e->tokens = full;
}

bool
throttle_connect(struct throttle *t, struct slice addr, uint64_t now_ms)
{
	uint8_t key[KEY_SIZE];
	struct entry *e;
	bool ok = true;

	if (t->o.connects_per_s == 0 || !make_key(addr, key))
		return true;
	pthread_mutex_lock(&t->lock);
	if ((e = entry_of(t, key, now_ms, true))) {
		fill(&t->o, e, now_ms);
		ok = e->tokens >= MILLI;
		e->tokens -= ok ? MILLI : 0;
		t->stats.connects_refused += !ok;
	}
	pthread_mutex_unlock(&t->lock);
	return ok;
}

uint64_t
throttle_login_wait(struct throttle *t, struct slice addr, uint64_t now_ms)
{
	uint8_t key[KEY_SIZE];
	uint64_t wait = 0;
	struct entry *e;

	if (t->o.wait_first_ms == 0 || !make_key(addr, key))
		return 0;
	pthread_mutex_lock(&t->lock);
	if ((e = entry_of(t, key, now_ms, false)) && e->blocked_ms > now_ms) {
		wait = e->blocked_ms - now_ms;
		t->stats.logins_refused++;
	}
	pthread_mutex_unlock(&t->lock);
	return wait;
}

/* Forgets the failures that time has made up for. */
static void
melt(const struct throttle_opts *o, struct entry *e, uint64_t now)
{
	uint64_t passed = now > e->melted_ms ? now - e->melted_ms : 0;
	uint64_t gone = o->failure_melts_ms ? passed / o->failure_melts_ms : 0;

	if (gone >= e->failures) {
		e->failures = 0;
		e->melted_ms = now;
	} else {
		e->failures -= (uint32_t)gone;
		e->melted_ms += gone * o->failure_melts_ms;
	}
}

void
throttle_login_failed(struct throttle *t, struct slice addr, uint64_t now_ms)
{
	uint8_t key[KEY_SIZE];
	struct entry *e;

	if (t->o.wait_first_ms == 0 || !make_key(addr, key))
		return;
	pthread_mutex_lock(&t->lock);
	if ((e = entry_of(t, key, now_ms, true))) {
		melt(&t->o, e, now_ms);
		if (e->failures < t->o.failures_free + DOUBLE_MAX)
			e->failures++;
		if (e->failures > t->o.failures_free) {
			unsigned n = e->failures - t->o.failures_free - 1;
			uint64_t wait = (uint64_t)t->o.wait_first_ms << n;

			if (wait > t->o.wait_max_ms)
				wait = t->o.wait_max_ms;
			e->blocked_ms = now_ms + wait;
		}
	}
	pthread_mutex_unlock(&t->lock);
}

void
throttle_stats(struct throttle *t, struct throttle_stats *out)
{
	pthread_mutex_lock(&t->lock);
	*out = t->stats;
	out->addresses = t->by_addr.n;
	pthread_mutex_unlock(&t->lock);
}
