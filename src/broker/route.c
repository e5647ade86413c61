/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/route.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "broker/handover.h"
#include "broker/internal.h"
#include "broker/retaining.h"
#include "core/fanout.h"

/*
 * A parcel is a row of 64-bit words:
 *   FAN    head(FAN, n), message, pledge, n targets   to their subscribers
 *   DIRECT head(DIRECT, choice), message, pledge, session, options, group, home
 *   BOUNCE head(BOUNCE, choice), message, pledge, session, group
 * Each holds one reference on its message and its pledge (durable.h).  A DIRECT is a group's choice; a
 * BOUNCE tells the group's home that the chosen member was not there.
 */
struct parcel {
	struct letter letter;
	uint64_t now_ms; /* the sender's */
	uint32_t n, cap;
	uint64_t w[];
};

enum parcel_kind { FAN = 1, DIRECT, BOUNCE };
enum { FAN_WORDS = 3, DIRECT_WORDS = 7, BOUNCE_WORDS = 5 };

/* Members of a group that are there and say no to a message before it is dropped:
 * they may not read it, or they are away and it is of QoS 0.  Who has gone, or has
 * left the group, is none of them: the group's home knows of that by the time it
 * is told, and each goes once for each time that it came. */
#define GROUP_REFUSALS 64
#define HITS_MIN       64
/* Words of a parcel with a message or two. */
#define PARCEL_LITTLE 16

/* How a message came to a group's member; a DIRECT carries it as a number. */
struct choice {
	uint8_t tries; /* members that were there, and said no */
	uint8_t share; /* as the member numbers the subscription */
	bool moved;    /* was another member's */
	bool disk;     /* and on disk: in memory it obeys the limits */
};

static uint32_t
choice_number(const struct choice *c)
{
	return c->tries | (uint32_t)c->share << 8 | (uint32_t)c->moved << 16 |
	    (uint32_t)c->disk << 17;
}

static struct choice
choice_of(uint64_t word)
{
	return (struct choice){
		.tries = (uint8_t)word,
		.share = (uint8_t)(word >> 8),
		.moved = (word >> 16 & 1) != 0,
		.disk = (word >> 17 & 1) != 0,
	};
}

static uint64_t
head(enum parcel_kind kind, uint32_t n)
{
	return (uint64_t)kind << 32 | n;
}

void
route_post_to(struct shard *sh, unsigned to)
{
	struct parcel *p = sh->parcels[to];

	if (!p)
		return;
	sh->parcels[to] = NULL;
	p->letter.kind = LETTER_PARCEL;
	p->now_ms = sh->home.now_ms;
	shard_post(&sh->broker->shards[to], &p->letter);
}

static bool
pack_has_room(const struct shard *sh, unsigned to, uint32_t n)
{
	const struct parcel *p = sh->parcels[to];

	return p && p->n + n <= p->cap;
}

/* Sees to it that the next n words to shard `to` find room. */
static bool
pack_reserve(struct shard *sh, unsigned to, uint32_t n)
{
	struct parcel *p = sh->parcels[to];

	if (p && p->n + n > p->cap) {
		route_post_to(sh, to);
		p = NULL;
	}
	if (!p) {
		/* An entry is never split: overlaps are merged within one.
		 * Only the front is touched until it fills. */
		uint32_t cap = n > PARCEL_WORDS ? n : PARCEL_WORDS;

		if (!(p = malloc(sizeof *p + cap * sizeof p->w[0])))
			return false;
		p->n = 0;
		p->cap = cap;
		sh->parcels[to] = p;
	}
	return true;
}

/* Room for n words to shard `to`; NULL without memory. */
static uint64_t *
pack(struct shard *sh, unsigned to, uint32_t n)
{
	struct parcel *p;
	uint64_t *at;

	if (!pack_reserve(sh, to, n))
		return NULL;
	p = sh->parcels[to];
	at = p->w + p->n;
	p->n += n;
	return at;
}

static uint64_t
word(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static void *
pointer(uint64_t w)
{
	return (void *)(uintptr_t)w;
}

void
route_post(struct shard *sh)
{
	for (unsigned i = 0; i < sh->broker->n; i++)
		route_post_to(sh, i);
}

bool
route_congested(const struct shard *sh)
{
	const struct broker *b = sh->broker;

	for (unsigned i = 0; i < b->n; i++)
		if (i != sh->home.shard &&
		    mailbox_depth(&b->shards[i].mail) > MAIL_HIGH)
			return true;
	return false;
}

/* Group deliveries. */

/* What is on its way by a subscription that has ended since is for others
 * [MQTT-3.10.4-1]; 0 has no number to tell. */
static bool
has_share(const struct session *s, uint8_t share)
{
	return share == 0 ||
	    (s->shared_set &&
		(s->shared_set->taken[share / 64] >> share % 64 & 1));
}

static bool
member_takes(const struct session *s, const struct msg *m, uint32_t id_opts,
    uint8_t share)
{
	if (!s || s->ended || !has_share(s, share) || !session_may_read(s, m))
		return false;
	return s->link || fanout_qos(s->home, m, id_opts) > 0;
}

static void
deliver_member(
    struct session *s, struct msg *m, uint32_t id_opts, const struct choice *c)
{
	struct delivery d = {
		.msg = m,
		.qos = fanout_qos(s->home, m, id_opts) & 3,
		.retain = (id_opts & SUB_RAP) && m->retain,
		/* no mark says that a group's queue is full: full.h */
		.moved = m->promised || (c->moved && (s->kept || !c->disk)),
		.share = c->share,
	};

	ids_add(&d.ids, id_opts >> 4);
	/* nobody else is there any more: the rest need not set out */
	if (c->disk && s->kept)
		handover_stop(s);
	session_deliver(s, &d);
}

/* An entry for which there is no parcel: this shard plays its receiver again,
 * a turn later. */
static void
keep_entry(struct shard *sh, const struct route_entry *x, struct msg *m)
{
	if (sh->n_unsent == UNSENT_MAX) {
		home_dropped(&sh->home, DROP_MEMORY, msg_topic(m));
		return;
	}
	msg_ref(m);
	sh->unsent[sh->n_unsent] = *x;
	sh->unsent[sh->n_unsent++].w[2] = word(pledge_for(sh, m));
}

/* False: it lives here, and does not take it. */
static bool
give_to_member(struct shard *sh, struct group *g, struct msg *m, uint64_t not,
    struct choice *c, const struct member *who)
{
	unsigned to;
	uint64_t *w;

	c->share = who->share;
	to = (unsigned)(who->session >> 48);
	if (to == sh->home.shard) {
		struct session *s = session_by_number(&sh->home, who->session);

		if (!member_takes(s, m, who->id_opts, who->share))
			return false;
		deliver_member(s, m, who->id_opts, c);
		return true;
	}
	if (!(w = pack(sh, to, DIRECT_WORDS))) {
		keep_entry(sh,
		    &(struct route_entry){ { head(BOUNCE, choice_number(c)),
			word(m), 0, not, g->number } },
		    m);
		return true;
	}
	w[0] = head(DIRECT, choice_number(c));
	w[1] = word(msg_ref(m));
	w[2] = word(pledge_for(sh, m));
	w[3] = who->session;
	w[4] = who->id_opts;
	w[5] = g->number;
	w[6] = sh->home.shard;
	return true;
}

/* Who is asked when `not`, by the subscription c->share, did not take it; NULL:
 * all have been, or too many. */
static const struct member *
next_member(struct group *g, uint64_t not, struct choice *c)
{
	const struct member *m = group_find_member(g, not );

	if (!m || m->share != c->share) {
		/* places have moved, and it will not come again */
		c->tries = 0;
		return group_pick(g, not );
	}
	if (m->at >= group_takers(g))
		return group_pick(g, not );
	if (++c->tries >= GROUP_REFUSALS)
		return NULL;
	return group_pick_after(g, m, c->tries);
}

static void
give_to(struct shard *sh, struct group *g, struct msg *m, uint64_t not,
    struct choice c, const struct member *who)
{
	while (who && !give_to_member(sh, g, m, not, &c, who)) {
		not = who->session;
		who = next_member(g, not, &c);
		sh->work++;
	}
}

void
route_moved(struct shard *sh, struct group *g, struct msg *m,
    const struct route_move *how)
{
	struct choice c = { .moved = true, .disk = how->disk };
	const struct member *who = NULL;

	if (how->last && !(who = group_pick_lasting(g, how->from)))
		return;
	if (how->kept)
		who = group_pick_kept(g, how->from);
	/* those who were connected may have gone again */
	if (!who && how->back && (how->disk || g->n_online == 0))
		who = group_find_member(g, how->from);
	if (who)
		give_to(sh, g, m, how->from, c, who);
	else if (g->n > 1 || g->v[0]->session != how->from)
		give_to(sh, g, m, how->from, c, group_pick(g, how->from));
}

static void
take_direct(struct shard *sh, const uint64_t *w)
{
	struct msg *m = pointer(w[1]);
	struct session *s = session_by_number(&sh->home, w[3]);
	struct choice c = choice_of(w[0]);
	uint64_t *back;

	pledge_begin(sh, pointer(w[2]));
	if (member_takes(s, m, (uint32_t)w[4], c.share)) {
		deliver_member(s, m, (uint32_t)w[4], &c);
	} else if (!(back = pack(sh, (unsigned)w[6], BOUNCE_WORDS))) {
		keep_entry(sh,
		    &(struct route_entry){
			{ w[0], w[1], 0, w[3], w[4], w[5], w[6] } },
		    m);
	} else {
		back[0] = head(BOUNCE, choice_number(&c));
		back[1] = word(msg_ref(m));
		back[2] = word(pledge_for(sh, m));
		back[3] = w[3];
		back[4] = w[5];
	}
	pledge_end(sh);
	msg_unref(m);
}

static void
take_bounce(struct shard *sh, const uint64_t *w)
{
	struct msg *m = pointer(w[1]);
	struct group *g = groups_find(&sh->groups, w[4]);
	struct choice c = choice_of(w[0]);

	pledge_begin(sh, pointer(w[2]));
	if (g)
		give_to(sh, g, m, w[3], c, next_member(g, w[3], &c));
	pledge_end(sh);
	msg_unref(m);
}

/* Everyone on this shard. */
static void
deliver_here(
    struct shard *sh, struct msg *m, struct targets *const *t, uint32_t n)
{
	uint64_t kept = sh->durable.keep.messages;

	fanout_deliver(&sh->fan, &sh->home, m, t, n);
	sh->work += (uint32_t)(sh->durable.keep.messages - kept) * KEEP_WORK;
	for (uint32_t i = 0; i < n; i++) {
		sh->work += m->qos > 0 ? t[i]->n * QUEUE_WORK : t[i]->n;
		for (struct group *g = t[i]->groups; g; g = g->next, sh->work++)
			give_to(sh, g, m, 0, (struct choice){ 0 },
			    group_pick(g, 0));
	}
}

static bool
hits_reserve(struct shard *sh, uint32_t n)
{
	struct targets **v;
	uint32_t cap = sh->cap_hits ? sh->cap_hits : 64;

	if (n <= sh->cap_hits)
		return true;
	while (cap < n)
		cap *= 2;
	if (!(v = realloc(sh->hits, cap * sizeof(*v))))
		return false;
	sh->hits = v;
	sh->cap_hits = cap;
	return true;
}

static size_t
take_fan(struct shard *sh, const uint64_t *w)
{
	uint32_t n = (uint32_t)w[0], done = 0, some;
	struct msg *m = pointer(w[1]);

	/* without memory in parts: overlapping ones may come apart (3.3.4) */
	pledge_begin(sh, pointer(w[2]));
	some = hits_reserve(sh, n) ? n : sh->cap_hits;
	for (; done < n; done += some) {
		some = n - done < some ? n - done : some;
		for (uint32_t i = 0; i < some; i++)
			sh->hits[i] = pointer(w[FAN_WORDS + done + i]);
		deliver_here(sh, m, sh->hits, some);
	}
	pledge_end(sh);
	msg_unref(m);
	return FAN_WORDS + n;
}

/* What others say there: two small ones in a row are of who says little. */
static void
note_parcel(struct shard *sh, const struct parcel *p)
{
	bool little = p->n <= PARCEL_LITTLE;

	if (little && sh->little_mail)
		shard_heard_little(sh);
	sh->little_mail = little;
}

void
route_parcel(struct shard *sh, struct letter *l)
{
	struct parcel *p = (struct parcel *)l;

	/* this turn may have begun before the message came: a receiver would be
	 * told more of its life than its sender gave it [MQTT-3.3.2-6] */
	if (p->now_ms > sh->home.now_ms)
		sh->home.now_ms = p->now_ms;
	note_parcel(sh, p);
	for (uint32_t at = 0; at < p->n;) {
		const uint64_t *w = p->w + at;

		switch (w[0] >> 32) {
		case FAN:
			at += (uint32_t)take_fan(sh, w);
			break;
		case DIRECT:
			take_direct(sh, w);
			at += DIRECT_WORDS;
			break;
		case BOUNCE:
			take_bounce(sh, w);
			at += BOUNCE_WORDS;
			break;
		default:
			assert(!"parcel kind");
		}
	}
	free(p);
}

/* Publishing. */

/* The targets of another shard among the matches, to sh->hits. */
static uint32_t
hits_of(struct shard *sh, unsigned to)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < sh->match.n; i++) {
		struct targets *t = filter_targets_of(sh->match.v[i], to);

		if (t && atomic_load_explicit(&t->live, memory_order_acquire))
			sh->hits[n++] = t;
	}
	return n;
}

/* One FAN entry, for which there is room. */
static void
send_to(struct shard *sh, unsigned to, struct msg *m)
{
	uint32_t n = hits_of(sh, to);
	uint64_t *w;

	if (n == 0 || !(w = pack(sh, to, FAN_WORDS + n)))
		return;
	w[0] = head(FAN, n);
	w[1] = word(msg_ref(m));
	w[2] = word(pledge_for(sh, m));
	for (uint32_t i = 0; i < n; i++)
		w[FAN_WORDS + i] = word(sh->hits[i]);
}

/* To all or to none: what is refused is sent again, and at QoS 2 nobody may
 * have had it before.  Others may begin to listen between the two rounds, in
 * other threads; they are not more than there are matches. */
static enum nj_err
send_to_others(struct shard *sh, struct msg *m)
{
	for (unsigned to = 0; to < sh->broker->n; to++)
		if (to != sh->home.shard &&
		    !pack_has_room(sh, to, FAN_WORDS + sh->match.n) &&
		    hits_of(sh, to) > 0 &&
		    !pack_reserve(sh, to, FAN_WORDS + sh->match.n))
			return NJ_NOMEM;
	for (unsigned to = 0; to < sh->broker->n; to++)
		if (to != sh->home.shard)
			send_to(sh, to, m);
	return NJ_OK;
}

enum nj_err
route_match(struct shard *sh, struct msg *m)
{
	enum nj_err e;

	sh->match.max_work = sh->limits.max_match_work;
	e = index_match(sh->broker->index, msg_topic(m), &sh->match);
	sh->work += sh->match.work + sh->match.n;
	return e;
}

void
route(struct shard *sh, struct msg *m)
{
	size_t n;
	enum nj_err e = route_match(sh, m);

	if (e || (e = route_out(sh, m, &n)))
		home_dropped(&sh->home, e == NJ_FULL ? DROP_WORK : DROP_MEMORY,
		    msg_topic(m));
}

bool
route_leaves(const struct shard *sh)
{
	for (uint32_t i = 0; i < sh->match.n; i++)
		for (struct targets *t = filter_targets(sh->match.v[i]); t;
		     t = atomic_load_explicit(&t->next, memory_order_acquire)) {
			if (t->shard == sh->home.shard
				? t->groups != NULL
				: atomic_load_explicit(
				      &t->live, memory_order_acquire) > 0)
				return true;
		}
	return false;
}

enum nj_err
route_out(struct shard *sh, struct msg *m, size_t *matched)
{
	uint32_t n = 0;
	enum nj_err e;

	*matched = sh->match.n;
	if (sh->match.n == 0)
		return NJ_OK;
	if (!hits_reserve(sh, sh->match.n))
		return NJ_NOMEM;
	if (sh->broker->n > 1 && (e = send_to_others(sh, m)))
		return e;
	for (uint32_t i = 0; i < sh->match.n; i++) {
		struct targets *t;

		/* thousands of them are in no cache: ask for them early */
		if (i + 16 < sh->match.n)
			__builtin_prefetch(filter_targets(sh->match.v[i + 16]));
		t = filter_targets_of(sh->match.v[i], sh->home.shard);
		if (t && (t->n > 0 || t->groups))
			sh->hits[n++] = t;
	}
	if (n > 0)
		deliver_here(sh, m, sh->hits, n);
	return NJ_OK;
}

void
route_retry(struct shard *sh)
{
	unsigned n = sh->n_unsent;
	struct route_entry todo[UNSENT_MAX];

	if (n == 0)
		return;
	memcpy(todo, sh->unsent, n * sizeof todo[0]);
	sh->n_unsent = 0;
	for (unsigned i = 0; i < n; i++)
		if (todo[i].w[0] >> 32 == DIRECT)
			take_direct(sh, todo[i].w);
		else
			take_bounce(sh, todo[i].w);
}

enum nj_err
route_init(struct shard *sh)
{
	if (!hits_reserve(sh, HITS_MIN))
		return NJ_NOMEM;
	return fanout_reserve(&sh->fan);
}

void
route_fini(struct shard *sh)
{
	for (unsigned i = 0; i < sh->n_unsent; i++) {
		msg_unref(pointer(sh->unsent[i].w[1]));
		pledge_unref(sh, pointer(sh->unsent[i].w[2]));
	}
	free(sh->hits);
}

enum nj_err
route_retain(struct shard *sh, struct msg *m, struct slice owner)
{
	uint64_t order;
	enum nj_err e = retain_change(sh->broker->retain, m, owner, &order);

	sh->work += RETAIN_WORK;
	if (e || order == 0 || !sh->durable.store)
		return e;
	sh->work += KEEP_WORK;
	retaining_keep(sh, order, msg_topic(m), m->payload_len > 0 ? m : NULL);
	return NJ_OK;
}

bool
route_reaches(struct shard *sh, const struct session *s, struct slice topic)
{
	struct match m = { 0 };
	bool found = false;

	if (index_match(sh->broker->index, topic, &m) == NJ_OK)
		for (uint32_t i = 0; i < m.n && !found; i++) {
			const struct targets *t =
			    filter_targets_of(m.v[i], sh->home.shard);

			for (uint32_t k = 0; t && k < t->n && !found; k++)
				found = t->subs[k].session == s;
		}
	match_fini(&m);
	return found;
}
