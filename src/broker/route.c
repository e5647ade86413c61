/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/route.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "broker/internal.h"
#include "core/fanout.h"

/*
 * A parcel is a row of 64-bit words:
 *   FAN    head(FAN, n), message, n targets        to their subscribers
 *   DIRECT head(DIRECT, tries), message, session, options, group, home
 *   BOUNCE head(BOUNCE, tries), message, session, group
 * Each holds one reference on its message.  A DIRECT is a group's choice; a
 * BOUNCE tells the group's home that the chosen member was not there.
 */
struct parcel {
	struct letter letter;
	uint32_t n;
	uint64_t w[PARCEL_WORDS];
};

enum parcel_kind { FAN = 1, DIRECT, BOUNCE };

#define GROUP_TRIES 3

static uint64_t
head(enum parcel_kind kind, uint32_t n)
{
	return (uint64_t)kind << 32 | n;
}

static void
post(struct shard *sh, unsigned to)
{
	struct parcel *p = sh->parcels[to];

	if (!p)
		return;
	sh->parcels[to] = NULL;
	p->letter.kind = LETTER_PARCEL;
	shard_post(&sh->broker->shards[to], &p->letter);
}

/* Room for n words to shard `to`; NULL without memory. */
static uint64_t *
pack(struct shard *sh, unsigned to, uint32_t n)
{
	struct parcel *p = sh->parcels[to];
	uint64_t *at;

	if (p && p->n + n > PARCEL_WORDS) {
		post(sh, to);
		p = NULL;
	}
	if (!p) {
		/* only the front is touched until it fills */
		if (!(p = malloc(sizeof *p)))
			return NULL;
		p->n = 0;
		sh->parcels[to] = p;
	}
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
		post(sh, i);
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

static bool
member_takes(const struct session *s, const struct msg *m, uint32_t id_opts)
{
	if (!s)
		return false;
	return s->link || fanout_qos(s->home, m, id_opts) > 0;
}

static void
deliver_member(struct session *s, struct msg *m, uint32_t id_opts)
{
	ids_t ids = 0;

	ids_add(&ids, id_opts >> 4);
	session_deliver(s, m, fanout_qos(s->home, m, id_opts),
	    (id_opts & SUB_RAP) && m->retain, ids);
}

static void
give_to_group(struct shard *sh, struct group *g, struct msg *m, uint64_t not,
    uint32_t tries)
{
	struct member *who = group_pick(g, not );
	unsigned to;
	uint64_t *w;

	if (!who)
		return;
	to = (unsigned)(who->session >> 48);
	if (to == sh->home.shard) {
		struct session *s = session_by_number(&sh->home, who->session);

		if (member_takes(s, m, who->id_opts))
			deliver_member(s, m, who->id_opts);
		else if (tries < GROUP_TRIES && g->n > 1)
			give_to_group(sh, g, m, who->session, tries + 1);
		return;
	}
	if (!(w = pack(sh, to, 6)))
		return;
	w[0] = head(DIRECT, tries);
	w[1] = word(msg_ref(m));
	w[2] = who->session;
	w[3] = who->id_opts;
	w[4] = g->number;
	w[5] = sh->home.shard;
}

static void
take_direct(struct shard *sh, const uint64_t *w)
{
	struct msg *m = pointer(w[1]);
	struct session *s = session_by_number(&sh->home, w[2]);
	uint32_t tries = (uint32_t)w[0];
	uint64_t *back;

	if (member_takes(s, m, (uint32_t)w[3])) {
		deliver_member(s, m, (uint32_t)w[3]);
	} else if (tries < GROUP_TRIES &&
	    (back = pack(sh, (unsigned)w[5], 4))) {
		back[0] = head(BOUNCE, tries + 1);
		back[1] = word(msg_ref(m));
		back[2] = w[2];
		back[3] = w[4];
	}
	msg_unref(m);
}

static void
take_bounce(struct shard *sh, const uint64_t *w)
{
	struct msg *m = pointer(w[1]);
	struct group *g = groups_find(&sh->groups, w[3]);

	if (g)
		give_to_group(sh, g, m, w[2], (uint32_t)w[0]);
	msg_unref(m);
}

/* Everyone on this shard. */
static void
deliver_here(
    struct shard *sh, struct msg *m, struct targets *const *t, uint32_t n)
{
	fanout_deliver(&sh->fan, &sh->home, m, t, n);
	for (uint32_t i = 0; i < n; i++)
		for (struct group *g = t[i]->groups; g; g = g->next)
			give_to_group(sh, g, m, 0, 0);
}

static size_t
take_fan(struct shard *sh, const uint64_t *w)
{
	uint32_t n = (uint32_t)w[0];
	struct msg *m = pointer(w[1]);

	/* a pointer and a word have the same size on 64-bit machines only */
	if (n > sh->cap_hits) {
		struct targets **v = realloc(sh->hits, n * sizeof(*v));

		if (!v) {
			msg_unref(m);
			return 2 + n;
		}
		sh->hits = v;
		sh->cap_hits = n;
	}
	for (uint32_t i = 0; i < n; i++)
		sh->hits[i] = pointer(w[2 + i]);
	deliver_here(sh, m, sh->hits, n);
	msg_unref(m);
	return 2 + n;
}

void
route_parcel(struct shard *sh, struct letter *l)
{
	struct parcel *p = (struct parcel *)l;

	for (uint32_t at = 0; at < p->n;) {
		const uint64_t *w = p->w + at;

		switch (w[0] >> 32) {
		case FAN:
			at += (uint32_t)take_fan(sh, w);
			break;
		case DIRECT:
			take_direct(sh, w);
			at += 6;
			break;
		case BOUNCE:
			take_bounce(sh, w);
			at += 4;
			break;
		default:
			assert(!"parcel kind");
		}
	}
	free(p);
}

/* Publishing. */

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

/* The targets of one other shard among the matches, as one FAN entry. */
static void
send_to(struct shard *sh, unsigned to, struct msg *m)
{
	uint32_t n = 0, done = 0;

	for (uint32_t i = 0; i < sh->match.n; i++) {
		struct targets *t = filter_targets_of(sh->match.v[i], to);

		if (t && atomic_load_explicit(&t->live, memory_order_acquire))
			sh->hits[n++] = t;
	}
	/* Overlaps are merged only within an entry, so it is not split unless
	 * it could never fit. */
	while (done < n) {
		uint32_t some =
		    n - done < PARCEL_WORDS - 2 ? n - done : PARCEL_WORDS - 2;
		uint64_t *w = pack(sh, to, 2 + some);

		if (!w)
			return;
		w[0] = head(FAN, some);
		w[1] = word(msg_ref(m));
		for (uint32_t i = 0; i < some; i++)
			w[2 + i] = word(sh->hits[done + i]);
		done += some;
	}
}

static void
send_to_others(struct shard *sh, struct msg *m)
{
	for (unsigned to = 0; to < sh->broker->n; to++)
		if (to != sh->home.shard)
			send_to(sh, to, m);
}

size_t
route(struct shard *sh, struct msg *m)
{
	uint32_t n = 0;

	if (index_match(sh->broker->index, msg_topic(m), &sh->match) ||
	    sh->match.n == 0 || !hits_reserve(sh, sh->match.n))
		return 0;
	if (sh->broker->n > 1)
		send_to_others(sh, m);
	for (uint32_t i = 0; i < sh->match.n; i++) {
		struct targets *t =
		    filter_targets_of(sh->match.v[i], sh->home.shard);

		if (t && (t->n > 0 || t->groups))
			sh->hits[n++] = t;
	}
	if (n > 0)
		deliver_here(sh, m, sh->hits, n);
	return sh->match.n;
}

enum nj_err
route_retain(struct shard *sh, struct msg *m)
{
	return retain_set(sh->broker->retain, m);
}

/* Groups. */

struct group_letter {
	struct letter letter;
	enum group_op op;
	bool online;
	struct targets *targets;
	uint64_t session;
	uint32_t id_opts;
	size_t name_len;
	uint8_t name[];
};

static void
group_apply(struct shard *sh, const struct group_letter *g)
{
	struct slice name = slice_of(g->name, g->name_len);
	struct index *ix = sh->broker->index;
	enum nj_err e;

	switch (g->op) {
	case GROUP_JOIN:
		e = group_join(&sh->groups, g->targets, name, g->session,
		    g->id_opts, g->online);
		if (e == NJ_NOMEM)
			nj_log(LOG_T_ERROR,
			    "Out of memory: a client is no member of the "
			    "group it joined");
		break;
	case GROUP_LEAVE:
		/* The hold is the session's, member or not: it ends with the
		 * last letter that names the targets. */
		if (group_leave(&sh->groups, g->targets, name, g->session))
			nj_log(LOG_T_DEBUG, "Left a group it was no member of");
		index_release(ix, g->targets);
		break;
	case GROUP_ONLINE:
	case GROUP_OFFLINE:
		group_online(&sh->groups, g->targets, name, g->session,
		    g->op == GROUP_ONLINE);
		break;
	}
}

enum nj_err
route_group(struct shard *sh, struct targets *t, enum group_op op,
    struct slice name, uint64_t session, uint32_t id_opts, bool online)
{
	struct group_letter *g = malloc(sizeof *g + name.n);

	if (!g)
		return NJ_NOMEM;
	*g = (struct group_letter){
		.letter.kind = LETTER_GROUP,
		.op = op,
		.targets = t,
		.session = session,
		.id_opts = id_opts,
		.online = online,
		.name_len = name.n,
	};
	memcpy(g->name, name.p, name.n);
	if (t->shard == sh->home.shard) {
		group_apply(sh, g);
		free(g);
		return NJ_OK;
	}
	/* Messages routed to the group so far leave first. */
	post(sh, t->shard);
	shard_post(&sh->broker->shards[t->shard], &g->letter);
	return NJ_OK;
}

void
route_group_letter(struct shard *sh, struct letter *l)
{
	struct group_letter *g = (struct group_letter *)l;

	group_apply(sh, g);
	free(g);
}
