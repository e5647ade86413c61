/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/drops.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "core/session.h"

static const struct {
	const char *why, *option, *mend;
} of[DROP_CAUSES] = {
	[DROP_MESSAGES] = { "its queue has as many as it may",
	    "max_queued_messages",
	    "bring that client back, end its session, or raise the limit" },
	[DROP_BYTES] = { "its queue has as many bytes as it may",
	    "max_queued_bytes",
	    "bring that client back, end its session, or raise the limit" },
	[DROP_OUTPUT] = { "it reads too slowly for what comes at QoS 0",
	    "max_output_bytes",
	    "let it subscribe to less, or with QoS 1, or raise the limit" },
	[DROP_SIZE] = { "they are larger than it takes",
	    "its Maximum Packet Size",
	    "let that client ask for more, or send smaller ones" },
	[DROP_RIGHT] = { "it may not read them any more", NULL,
	    "allow it to, or end its subscription" },
	[DROP_ONCE] = { "they may have been sent before the broker ended, and "
			"QoS 0 is sent once at most",
	    NULL, "subscribe with QoS 1" },
	[DROP_WORK] = { "finding their subscribers would take too long",
	    "max_match_work",
	    "have fewer subscriptions with wildcards, or raise the limit" },
	[DROP_MEMORY] = { "out of memory", NULL,
	    "give the broker more, or lower its limits" },
};

static uint64_t
limit_of(const struct home *h, const struct session *s, enum drop_cause cause)
{
	switch (cause) {
	case DROP_MESSAGES:
		return h->limits.max_queued;
	case DROP_BYTES:
		return h->limits.max_queued_bytes;
	case DROP_OUTPUT:
		return s && s->link ? s->link->soft : 0;
	case DROP_SIZE:
		return s && s->link ? s->link->max_packet : 0;
	default:
		return 0;
	}
}

static void
tell(struct drops *d, unsigned i)
{
	const char *option = of[d->v[i].cause].option;
	char limit[64] = "", since[64] = "";

	if (option && d->v[i].limit)
		snprintf(limit, sizeof limit, " (%s %" PRIu64 ")", option,
		    d->v[i].limit);
	else if (option)
		snprintf(limit, sizeof limit, " (%s)", option);
	if (d->v[i].untold > 1)
		snprintf(since, sizeof since, "%" PRIu64 " more in %u s, ",
		    d->v[i].untold, DROPS_EVERY_MS / 1000);
	/* the words that Mosquitto has for it */
	nj_log(LOG_T_NOTICE,
	    "Outgoing messages are being dropped for %s: %s%s%s.  To mend it: "
	    "%s.",
	    d->v[i].who, since, of[d->v[i].cause].why, limit,
	    of[d->v[i].cause].mend);
	d->v[i].untold = 0;
}

/* Who goes on losing some keeps its place. */
static void
tell_all(struct drops *d)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < d->n; i++) {
		if (d->v[i].untold == 0)
			continue;
		tell(d, i);
		d->keys[kept] = d->keys[i];
		d->v[kept++] = d->v[i];
	}
	d->n = kept;
	if (d->others)
		nj_log(LOG_T_NOTICE,
		    "Outgoing messages are being dropped for other clients: "
		    "%" PRIu64 " in %u s.",
		    d->others, DROPS_EVERY_MS / 1000);
	d->others = 0;
}

static void
on_timer(struct timer *t, uint64_t now_ms)
{
	struct home *h = LIST_OWNER(t, struct home, drops.timer);

	tell_all(&h->drops);
	/* without memory for it the next that is dropped begins anew */
	if (h->drops.n > 0 && timer_set(&h->timers, t, now_ms + DROPS_EVERY_MS))
		h->drops.n = 0;
}

void
drops_end(struct home *h)
{
	tell_all(&h->drops);
	timer_stop(&h->timers, &h->drops.timer);
	h->drops.n = 0;
}

/* False: it was counted with others of its kind, or there is no place. */
static bool
is_new(struct home *h, uint64_t key)
{
	struct drops *d = &h->drops;

	for (unsigned i = 0; i < d->n; i++)
		if (d->keys[i] == key) {
			d->v[i].untold++;
			return false;
		}
	if (d->n == DROPS_TOLD) {
		d->others++;
		return false;
	}
	d->timer.fn = on_timer;
	return d->n > 0 ||
	    timer_set(&h->timers, &d->timer, h->now_ms + DROPS_EVERY_MS) ==
	    NJ_OK;
}

static void
begin(struct home *h, uint64_t key, enum drop_cause cause, uint64_t limit,
    const char *what, struct slice name)
{
	struct drops *d = &h->drops;
	unsigned i = d->n++;
	int n = snprintf(d->v[i].who, sizeof d->v[i].who, "%s", what);
	char esc[TEXT_ESC - 16];

	snprintf(d->v[i].who + n, sizeof d->v[i].who - (size_t)n, "%s",
	    text_esc(esc, sizeof esc, name));
	d->keys[i] = key;
	d->v[i].cause = cause;
	d->v[i].limit = limit;
	d->v[i].untold = 1;
	tell(d, i);
}

/* Of one shard, so its number, in the highest bits, can go. */
static uint64_t
key_of(uint64_t number, enum drop_cause cause)
{
	return number << 8 | cause;
}

void
session_dropped(struct session *s, enum drop_cause cause)
{
	struct home *h = s->home;
	uint64_t key = key_of(s->number, cause);

	count_add(&h->counts.dropped, 1);
	if (log_on(LOG_T_NOTICE) && is_new(h, key))
		begin(h, key, cause, limit_of(h, s, cause), "client ",
		    session_id(s));
}

void
home_dropped(struct home *h, enum drop_cause cause, struct slice topic)
{
	uint64_t key = key_of(0, cause);

	count_add(&h->counts.dropped, 1);
	if (log_on(LOG_T_NOTICE) && is_new(h, key))
		begin(h, key, cause, limit_of(h, NULL, cause), "topic ", topic);
}
