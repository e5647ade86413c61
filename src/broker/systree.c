/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/systree.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "broker/internal.h"
#include "broker/memory.h"
#include "broker/route.h"
#include "net/tls.h"

/* All shards' figures added up. */
struct figures {
	struct shard_counts c;
	struct session_counts s;
	struct index_stats index;
	uint64_t shared, retained, retained_bytes;
	uint64_t heap, heap_max, clients_max, uptime_s;
	struct store_stats store;
	enum store_state store_state;
};

typedef uint64_t figure_fn(const struct figures *f);

#define FIGURE(name, expr)                            \
	static uint64_t name(const struct figures *f) \
	{                                             \
		return (expr);                        \
	}

FIGURE(f_connected, f->c.connected)
FIGURE(f_disconnected, f->c.sessions - f->c.connected)
FIGURE(f_sessions, f->c.sessions)
FIGURE(f_maximum, f->clients_max)
FIGURE(f_expired, f->c.expired_sessions)
FIGURE(f_evicted, f->c.evicted_sessions)
FIGURE(f_packets_in, f->c.packets_in)
FIGURE(f_packets_out, f->c.packets_out)
FIGURE(f_bytes_in, f->c.bytes_in)
FIGURE(f_bytes_out, f->c.bytes_out)
FIGURE(f_pub_in, f->c.publish_in)
FIGURE(f_pub_out, f->s.sent)
FIGURE(f_pub_dropped, f->s.dropped)
FIGURE(f_pub_expired, f->s.expired)
FIGURE(f_pub_bytes_in, f->c.publish_in_bytes)
FIGURE(f_pub_bytes_out, f->s.sent_bytes)
FIGURE(f_stored, f->retained + f->s.queued)
FIGURE(f_stored_bytes, f->retained_bytes + f->s.queued_bytes)
FIGURE(f_retained, f->retained)
FIGURE(f_subscriptions, f->index.subscriptions)
FIGURE(f_shared, f->shared)
FIGURE(f_heap, f->heap)
FIGURE(f_store_state, f->store_state)
FIGURE(f_commits, f->store.commits)
FIGURE(f_commit_us, f->store.last_commit_us)
FIGURE(f_heap_max, f->heap_max)
FIGURE(f_sockets, f->c.sockets)
FIGURE(f_opened, f->c.opened)
FIGURE(f_connects, f->c.connects)
FIGURE(f_handshakes, f->c.handshakes)
FIGURE(f_handshakes_failed, f->c.handshakes_failed)
FIGURE(f_resumed, f->c.resumed)
FIGURE(f_logins_failed, f->c.logins_failed)
FIGURE(f_refused, f->c.publish_refused)
FIGURE(f_store_refused, f->c.store_refused)
FIGURE(f_slow, f->c.slow_dropped)

static const struct {
	const char *topic;
	figure_fn *fn;
} rows[] = {
	{ "clients/total", f_sessions },
	{ "clients/maximum", f_maximum },
	{ "clients/disconnected", f_disconnected },
	{ "clients/inactive", f_disconnected },
	{ "clients/connected", f_connected },
	{ "clients/active", f_connected },
	{ "clients/expired", f_expired },
	{ "clients/evicted", f_evicted },
	{ "messages/stored", f_stored },
	{ "messages/received", f_packets_in },
	{ "messages/sent", f_packets_out },
	{ "store/messages/count", f_stored },
	{ "store/messages/bytes", f_stored_bytes },
	{ "store/state", f_store_state },
	{ "store/refused", f_store_refused },
	{ "store/commits", f_commits },
	{ "store/commit/microseconds", f_commit_us },
	{ "subscriptions/count", f_subscriptions },
	{ "shared_subscriptions/count", f_shared },
	{ "retained messages/count", f_retained },
	{ "heap/current", f_heap },
	{ "heap/maximum", f_heap_max },
	{ "bytes/received", f_bytes_in },
	{ "bytes/sent", f_bytes_out },
	{ "publish/bytes/received", f_pub_bytes_in },
	{ "publish/bytes/sent", f_pub_bytes_out },
	{ "publish/messages/dropped", f_pub_dropped },
	{ "publish/messages/expired", f_pub_expired },
	{ "publish/messages/received", f_pub_in },
	{ "publish/messages/sent", f_pub_out },
	{ "publish/messages/refused", f_refused },
	{ "connections/socket/count", f_sockets },
	{ "connections/slow/disconnected", f_slow },
	{ "tls/handshakes", f_handshakes },
	{ "tls/handshakes/failed", f_handshakes_failed },
	{ "tls/handshakes/resumed", f_resumed },
	{ "logins/failed", f_logins_failed },
};

/* Averages a minute over 1, 5 and 15 minutes. */
static const struct {
	const char *topic;
	figure_fn *fn;
} loads[] = {
	{ "load/messages/received", f_packets_in },
	{ "load/messages/sent", f_packets_out },
	{ "load/publish/dropped", f_pub_dropped },
	{ "load/publish/received", f_pub_in },
	{ "load/publish/sent", f_pub_out },
	{ "load/bytes/received", f_bytes_in },
	{ "load/bytes/sent", f_bytes_out },
	{ "load/sockets", f_opened },
	{ "load/connections", f_connects },
};

static const unsigned minutes[] = { 1, 5, 15 };

#define ROWS  (sizeof rows / sizeof rows[0])
#define LOADS (sizeof loads / sizeof loads[0])
#define SPANS (sizeof minutes / sizeof minutes[0])

struct systree {
	uint64_t last[ROWS];
	bool known[ROWS];
	uint64_t load_last[LOADS];
	double load[LOADS][SPANS];
	uint64_t load_at_ms;
	uint64_t heap_max, clients_max;
	int64_t cert_end, cert_days; /* as published */
	struct {
		int64_t end, days;
	} ends[3]; /* of broker_dates, the same */
};

static void
add_counts(uint64_t *sum, const uint64_t *cells, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += count_get(&cells[i]);
}

static void
read_figures(struct broker *b, struct figures *f)
{
	*f = (struct figures){ 0 };
	for (unsigned i = 0; i < b->n; i++) {
		struct shard *sh = &b->shards[i];

		add_counts((uint64_t *)&f->c, (const uint64_t *)&sh->counts,
		    sizeof f->c / sizeof(uint64_t));
		add_counts((uint64_t *)&f->s,
		    (const uint64_t *)&sh->home.counts,
		    sizeof f->s / sizeof(uint64_t));
		f->shared += count_get(&sh->groups.members);
	}
	index_stats(b->index, &f->index);
	f->retained = retain_count(b->retain);
	f->retained_bytes = retain_bytes(b->retain);
	f->heap = memory_heap(b);
	if (b->store) {
		store_stats(b->store, &f->store);
		f->store_state = store_state(b->store);
	}
	f->uptime_s = (clock_mono(b->clock) - b->started_ms) / 1000;
	if (f->heap > b->systree->heap_max)
		b->systree->heap_max = f->heap;
	if (f->c.connected > b->systree->clients_max)
		b->systree->clients_max = f->c.connected;
	f->heap_max = b->systree->heap_max;
	f->clients_max = b->systree->clients_max;
}

static void
publish(struct shard *sh, const char *topic, const char *text)
{
	char full[128];
	struct publish p = { .retain = true, .payload = slice_str(text) };
	struct msg *m;

	snprintf(full, sizeof full, "$SYS/broker/%s", topic);
	if (msg_new(&p, slice_str(full), sh->home.now_ms, &m))
		return;
	if (retain_set(sh->broker->retain, m))
		nj_log(LOG_T_DEBUG,
		    "%s is not retained: the limit is "
		    "reached",
		    full);
	route(sh, m);
	msg_unref(m);
}

static void
publish_rows(struct shard *sh, struct systree *t, const struct figures *f)
{
	char text[32];

	for (size_t i = 0; i < ROWS; i++) {
		uint64_t v = rows[i].fn(f);

		if (t->known[i] && t->last[i] == v)
			continue;
		t->known[i] = true;
		t->last[i] = v;
		snprintf(text, sizeof text, "%" PRIu64, v);
		publish(sh, rows[i].topic, text);
	}
	snprintf(text, sizeof text, "%" PRIu64 " seconds", f->uptime_s);
	publish(sh, "uptime", text);
}

/* When the first of our listeners' certificates ends, and in how many days
 * (fewer than none: it has). */
static void
publish_expiry(struct shard *sh, struct systree *t)
{
	int64_t now = clock_wall(sh->broker->clock) / 1000, end = 0, days;
	char text[32];

	for (size_t i = 0; i < sh->set->n; i++) {
		const struct tls_server *tls = sh->set->v[i].tls;
		int64_t one = tls ? tls_server_expires(tls) : 0;

		if (one && (!end || one < end))
			end = one;
	}
	days = (end - now) / (24 * 3600);
	if (!end || (t->cert_end == end && t->cert_days == days))
		return;
	t->cert_end = end;
	t->cert_days = days;
	snprintf(text, sizeof text, "%" PRId64, end);
	publish(sh, "tls/certificate/expires", text);
	snprintf(text, sizeof text, "%" PRId64, days);
	publish(sh, "tls/certificate/days", text);
}

void
broker_tell_dates(struct broker *b, const struct broker_dates *d)
{
	atomic_store(&b->ends[0], d->server);
	atomic_store(&b->ends[1], d->cas);
	atomic_store(&b->ends[2], d->lists);
}

void
broker_dates(const struct broker *b, struct broker_dates *out)
{
	out->server = atomic_load(&b->ends[0]);
	out->cas = atomic_load(&b->ends[1]);
	out->lists = atomic_load(&b->ends[2]);
}

/* What we serve with, the CAs that we believe, their lists of revoked ones. */
static void
publish_ends(struct shard *sh, struct systree *t)
{
	static const char *const names[] = { "server", "ca", "crl" };
	int64_t now = clock_wall(sh->broker->clock) / 1000;
	char topic[64], text[32];

	for (size_t i = 0; i < 3; i++) {
		int64_t end = atomic_load(&sh->broker->ends[i]);
		int64_t days = (end - now) / (24 * 3600);

		if (!end || (t->ends[i].end == end && t->ends[i].days == days))
			continue;
		t->ends[i].end = end;
		t->ends[i].days = days;
		snprintf(
		    topic, sizeof topic, "certificates/%s/expires", names[i]);
		snprintf(text, sizeof text, "%" PRId64, end);
		publish(sh, topic, text);
		snprintf(topic, sizeof topic, "certificates/%s/days", names[i]);
		snprintf(text, sizeof text, "%" PRId64, days);
		publish(sh, topic, text);
	}
}

static void
publish_loads(struct shard *sh, struct systree *t, const struct figures *f)
{
	uint64_t now = sh->home.now_ms;
	double s = (double)(now - t->load_at_ms) / 1000;
	char topic[64], text[32];

	if (s <= 0)
		return;
	t->load_at_ms = now;
	for (size_t i = 0; i < LOADS; i++) {
		uint64_t v = loads[i].fn(f);
		double rate = (double)(v - t->load_last[i]) * 60 / s;

		t->load_last[i] = v;
		for (size_t k = 0; k < SPANS; k++) {
			double keep = exp(-s / (60.0 * minutes[k]));
			double old = t->load[i][k];

			t->load[i][k] = rate + keep * (old - rate);
			if (fabs(t->load[i][k] - old) < 0.005)
				continue;
			snprintf(topic, sizeof topic, "%s/%umin",
			    loads[i].topic, minutes[k]);
			snprintf(text, sizeof text, "%.2f", t->load[i][k]);
			publish(sh, topic, text);
		}
	}
}

static void
on_sys_timer(struct timer *timer, uint64_t now)
{
	struct shard *sh = LIST_OWNER(timer, struct shard, sys_timer);
	struct systree *t = sh->broker->systree;
	struct figures f;

	read_figures(sh->broker, &f);
	publish_rows(sh, t, &f);
	publish_expiry(sh, t);
	publish_ends(sh, t);
	publish_loads(sh, t, &f);
	if (timer_set(&sh->home.timers, timer,
		now + sh->limits.sys_interval_s * 1000ull))
		nj_log(LOG_T_ERROR, "Out of memory: $SYS stops");
}

void
systree_reload(struct shard *sh)
{
	if (sh->home.shard != 0)
		return;
	sh->sys_timer.fn = on_sys_timer;
	if (sh->limits.sys_interval_s == 0) {
		timer_stop(&sh->home.timers, &sh->sys_timer);
	} else if (timer_set(
		       &sh->home.timers, &sh->sys_timer, sh->home.now_ms)) {
		nj_log(LOG_T_ERROR, "Out of memory: $SYS stops");
	}
}

struct log_letter {
	struct letter letter;
	enum log_type type;
	char line[];
};

static const char *
log_topic(enum log_type type)
{
	switch (type) {
	case LOG_T_ERROR:
		return "E";
	case LOG_T_WARNING:
		return "W";
	case LOG_T_NOTICE:
		return "N";
	case LOG_T_INFORMATION:
		return "I";
	case LOG_T_SUBSCRIBE:
		return "M/subscribe";
	case LOG_T_UNSUBSCRIBE:
		return "M/unsubscribe";
	case LOG_T_WEBSOCKETS:
		return "WS";
	default:
		return "D";
	}
}

/* Letters that wait; more are not worth the memory of a broker in trouble. */
#define LOG_LETTERS_MAX 1024

void
broker_log_line(struct broker *b, enum log_type type, const char *line)
{
	size_t n = strlen(line) + 1;
	struct log_letter *l;

	/* a debug line about the delivery of a debug line would never end */
	if (type == LOG_T_DEBUG ||
	    mailbox_depth(&b->shards[0].mail) > LOG_LETTERS_MAX ||
	    !(l = malloc(sizeof *l + n)))
		return;
	l->letter.kind = LETTER_LOG;
	l->type = type;
	memcpy(l->line, line, n);
	shard_post(&b->shards[0], &l->letter);
}

void
systree_log(struct shard *sh, struct letter *letter)
{
	struct log_letter *l = (struct log_letter *)letter;
	struct publish p = { .payload = slice_str(l->line) };
	char full[64];
	struct msg *m;

	snprintf(full, sizeof full, "$SYS/broker/log/%s", log_topic(l->type));
	if (msg_new(&p, slice_str(full), sh->home.now_ms, &m) == NJ_OK) {
		route(sh, m);
		msg_unref(m);
	}
	free(l);
}

enum nj_err
systree_new(struct broker *b)
{
	struct shard *sh = &b->shards[0];

	if (!(b->systree = calloc(1, sizeof *b->systree)))
		return NJ_NOMEM;
	b->systree->load_at_ms = sh->home.now_ms;
	if (sh->limits.sys_interval_s > 0)
		publish(sh, "version", "nightjar version " NJ_VERSION);
	systree_reload(sh);
	return NJ_OK;
}

void
systree_free(struct systree *t)
{
	free(t);
}
