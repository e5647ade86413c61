/* SPDX-License-Identifier: Apache-2.0
 * on_subscribe - SUBSCRIBE and UNSUBSCRIBE.
 *
 * Spec: MQTT 5.0 3.8 to 3.11, 4.7, 4.8.
 */
#include <assert.h>
#include <stdlib.h>

#include "auth/decide.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/conn.h"
#include "broker/denied.h"
#include "broker/mounted.h"
#include "broker/route.h"
#include "broker/sessions.h"
#include "broker/source.h"
#include "core/rc.h"
#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/topic.h"

/* What one entry of the list came to: the code for the SUBACK, and whether
 * retained messages are to follow. */
struct result {
	uint8_t code;
	bool send_retained;
};

/* A bridge of Mosquitto's that speaks 3.1.1 says in CONNECT that it is one, and
 * counts on what it could only ask for in MQTT 5: not to get its own messages
 * back, and to see which ones are retained. */
static uint32_t
id_opts(const struct conn *c, const struct subscription *s, uint32_t id,
    uint8_t qos, bool shared)
{
	bool bridge = c->version != MQTT5 && c->session->who->bridge;

	return id << 4 |
	    (s->no_local || (bridge && !shared) ? SUB_NO_LOCAL : 0) |
	    (s->retain_as_published || bridge ? SUB_RAP : 0) | qos;
}

static bool
quota_left(struct conn *c)
{
	uint32_t max = c->shard->limits.session.max_subscriptions;
	struct session *s = c->session;

	return !max || s->subs.n + s->n_shared < max;
}

/* 0x8F for a filter that is none; the inner filter of a shared one. */
static enum mqtt_rc
check_filter(struct conn *c, const struct subscription *s, struct slice *group,
    struct slice *filter)
{
	struct asker asker;
	struct decision rule;
	enum nj_err e;
	bool may;

	*group = SLICE_NONE;
	*filter = s->filter;
	e = topic_share(s->filter, group, filter);
	if (e == NJ_NOTFOUND)
		*group = SLICE_NONE;
	if ((e && e != NJ_NOTFOUND) || !topic_filter_ok(*filter))
		return RC_TOPIC_FILTER_INVALID;
	asker = sessions_asker(c->session);
	may = decide(&asker, ACTION_SUBSCRIBE, s->filter, &rule);
	if (rule.each)
		c->session->check_reads = true;
	if (!may && (rule.firm || c->shard->limits.deny_subscribe)) {
		denied_log(c, ACTION_SUBSCRIBE, s->filter, rule.text);
		return RC_NOT_AUTHORIZED;
	}
	return RC_SUCCESS;
}

enum nj_err
subscription_end(
    struct shard *sh, struct session *s, struct slice whole, bool shared)
{
	struct keep *k = &sh->durable.keep;
	enum nj_err e;

	e = shared ? sessions_unjoin(sh, s, whole)
		   : subs_del(&s->subs, sh->broker->index, sh->home.shard,
			 whole, s->full);
	if (!e && s->kept)
		keep_note(k, batch_sub_end(k->into, s->kept->id, whole));
	return e;
}

/* The subscription goes to the store. */
static void
keep_sub(struct conn *c, struct slice whole, bool shared, uint32_t options)
{
	struct keep *k = &c->shard->durable.keep;
	const struct session *s = c->session;

	if (!s->kept)
		return;
	s->kept->sub_ticket = k->ticket;
	keep_note(k,
	    batch_sub(k->into,
		&(struct store_sub){
		    .session = s->kept->id,
		    .filter = whole,
		    .options = options,
		    .share = shared ? sessions_share(s, whole) : 0,
		}));
}

/* Whether it has this one, and as what. */
static bool
has_sub(
    const struct conn *c, struct slice whole, bool shared, uint32_t *options)
{
	const struct shared_sub *x;

	if (shared) {
		if ((x = sessions_joined(c->session, whole)) && options)
			*options = x->id_opts;
		return x != NULL;
	}
	return subs_has(&c->session->subs, c->shard->broker->index,
	    c->shard->home.shard, whole, options);
}

/* Whether there is room for it; replacing one that is there stays possible. */
static bool
may_add(struct conn *c, struct slice whole, bool shared)
{
	return quota_left(c) || has_sub(c, whole, shared, NULL);
}

/* The store is full or failing. */
static bool
is_stuck(const struct conn *c)
{
	const struct store *store = c->shard->durable.store;

	return c->session->kept && store_state(store) != STORE_OK;
}

/* It is on disk as it is asked for. */
static bool
is_kept(const struct conn *c, struct slice whole, bool shared, uint32_t options)
{
	uint32_t had = 0;

	return c->session->kept->sub_ticket <= c->shard->durable.keep.done &&
	    has_sub(c, whole, shared, &had) && had == options;
}

/* One entry. */
static struct result
subscribe_one(struct conn *c, const struct subscription *s, uint32_t id)
{
	struct shard *sh = c->shard;
	uint8_t qos =
	    s->qos < conn_port(c)->max_qos ? s->qos : conn_port(c)->max_qos;
	struct slice group, filter;
	enum mqtt_rc rc = check_filter(c, s, &group, &filter);
	uint32_t opts = id_opts(c, s, id, qos, group.n > 0);
	bool existed = false, stuck = is_stuck(c);
	enum nj_err e;

	if (rc)
		return (struct result){ (uint8_t)rc, false };
	if (!may_add(c, s->filter, group.n > 0) ||
	    (stuck && !is_kept(c, s->filter, group.n > 0, opts)))
		return (struct result){ RC_QUOTA_EXCEEDED, false };
	if (group.n)
		e = sessions_join(sh, c->session, s->filter, group, filter,
		    opts, 0, &existed);
	else
		e = subs_put(&c->session->subs, sh->broker->index,
		    sh->home.shard, filter, c->session, opts, c->session->full,
		    &existed);
	if (e)
		return (struct result){ (uint8_t)rc_of(e), false };
	if (!stuck)
		keep_sub(c, s->filter, group.n > 0, opts);
	/* 3.8.3.1: shared subscriptions get no retained messages */
	return (struct result){
		.code = qos,
		.send_retained = !group.n &&
		    (s->retain_handling == 0 ||
			(s->retain_handling == 1 && !existed)),
	};
}

static void
log_subscribe(struct conn *c, const struct subscription *s, uint8_t code)
{
	char name[TEXT_ESC], t[TEXT_ESC];

	nj_log(LOG_T_SUBSCRIBE, "%s %u %s%s%s", conn_name(c, name, sizeof name),
	    s->qos, text_esc(t, sizeof t, s->filter), code >= 0x80 ? ": " : "",
	    code >= 0x80 ? rc_name(code) : "");
}

static size_t
count_entries(const struct subscribe *s, enum mqtt_ver v, bool ends)
{
	struct slice list = s->list;
	struct subscription one;
	size_t n = 0;

	while (ends ? next_unsubscription(&list, &one.filter)
		    : next_subscription(&list, v, &one))
		n++;
	return n;
}

/* 3.1.1 knows 0x80 only (3.9.3 of 3.1.1). */
static uint8_t
code_for(const struct conn *c, uint8_t code)
{
	return c->version != MQTT5 && code >= 0x80 ? 0x80 : code;
}

/* Why there is a 0x87 among n codes, if the client takes it; no more than who
 * guesses knows anyway. */
static void
add_reason(const struct conn *c, size_t n, struct props *out)
{
	struct slice why = LIT("nothing that a refused filter matches may be "
			       "read by this client");

	if (!c->problem_info ||
	    !link_fits(&c->link, (uint32_t)(2 + 1 + 3 + why.n + n)))
		return;
	out->seen = PROP_BIT(PROP_REASON_STRING);
	out->reason_string = why;
}

/*
 * A SUBSCRIBE is worked on in portions: it can name as many filters as fit in
 * it, and each can look at all retained messages.  Until it is done no other
 * packet of the connection is.  An UNSUBSCRIBE is so, too.
 */
struct subscribing {
	struct subscribing *next; /* in conn.parked */
	bool parked;
	bool behind; /* it stopped as there is no room in the queue */
	bool ends;   /* it is an UNSUBSCRIBE */
	uint16_t packet_id;
	uint32_t id; /* subscription identifier; 0: none */
	struct slice list, rest;
	struct buf own;	    /* where list is after the first portion */
	struct buf mounted; /* the filter that is on, with its prefix */
	size_t n, at;	    /* entries */
	bool recorded;	    /* some entry of it is to be on disk */
	bool kept;	    /* and is on its way there */
	bool told; /* SUBACK is out; what follows are retained messages */
	struct retain_walk walk;
	struct result r[];
};

/* SUBACK or UNSUBACK: now, or when it is on disk. */
static enum nj_err
answer(struct conn *c, const struct subscribing *s, bool later)
{
	enum nj_err (*encode)(struct buf *, enum mqtt_ver,
	    const struct suback *) = s->ends ? encode_unsuback : encode_suback;
	struct suback a = { .id = s->packet_id };
	struct buf own = { 0 };
	uint8_t *codes = malloc(s->n);
	char name[TEXT_ESC];
	bool denied = false;
	enum nj_err e;

	if (!codes)
		return NJ_NOMEM;
	for (size_t i = 0; i < s->n; i++) {
		codes[i] = code_for(c, s->r[i].code);
		denied |= codes[i] == RC_NOT_AUTHORIZED;
	}
	if (denied && !s->ends)
		add_reason(c, s->n, &a.props);
	a.codes = slice_of(codes, s->n);
	if (!s->ends)
		nj_log(LOG_T_DEBUG, "Sending SUBACK to %s",
		    conn_name(c, name, sizeof name));
	if (!later) {
		link_kick(&c->link);
		c->link.packets++;
		e = encode(&c->link.out, c->version, &a);
	} else if ((e = encode(&own, c->version, &a))) {
		buf_fini(&own);
	} else {
		/* nothing was drained from it: it begins with the packet */
		durable_promise_bytes(c, own.p, (uint32_t)buf_len(&own));
	}
	free(codes);
	return e;
}

/* One entry costs about as much as this many nodes, and each byte of it as so many,
 * since all may be levels: 350 to 500 common ones a turn, some 2 ms where all of them are
 * in no cache and their tables grow. */
#define ENTRY_WORK 90
#define ENTRY_BYTE 6
/* A retained message that is sent, against one that is passed by. */
#define SEND_WORK 4
/* Nodes a filter that are looked at for whether there is any. */
#define PEEK_WORK 64

/*
 * MQTT 3.1, 3.8 and 3.9: SUBACK has granted qualities of service and nothing
 * else.  Who is not authorized is acknowledged all the same; any other failure
 * ends the connection rather than be taken for a success.
 */
static bool
grant_31(const struct conn *c, const struct subscription *one, struct result *r)
{
	if (r->code < RC_UNSPECIFIED)
		return true;
	if (r->code != RC_NOT_AUTHORIZED)
		return false;
	r->code =
	    one->qos < conn_port(c)->max_qos ? one->qos : conn_port(c)->max_qos;
	return true;
}

/* Subscribes.  NJ_AGAIN: more another time. */
static enum nj_err
add_entries(struct conn *c, struct subscribing *s)
{
	struct subscription one;

	for (; s->at < s->n; s->at++) {
		if (c->shard->work >= TURN_WORK)
			return NJ_AGAIN;
		if (!next_subscription(&s->rest, c->version, &one))
			break;
		if (c->link.mount)
			mounted_filter(c->link.mount, &one.filter, &s->mounted);
		s->r[s->at] = subscribe_one(c, &one, s->id);
		log_subscribe(c, &one, s->r[s->at].code);
		if (c->version == MQTT31 && !grant_31(c, &one, &s->r[s->at]))
			return NJ_FULL;
		c->shard->work +=
		    ENTRY_WORK + ENTRY_BYTE * (uint32_t)one.filter.n;
	}
	return NJ_OK;
}

static uint8_t
unsubscribe_one(struct conn *c, struct slice filter)
{
	struct slice group, inner;
	struct asker asker;
	struct decision rule;
	char name[TEXT_ESC], t[TEXT_ESC];
	enum nj_err e = topic_share(filter, &group, &inner);

	nj_log(LOG_T_UNSUBSCRIBE, "%s %s", conn_name(c, name, sizeof name),
	    text_esc(t, sizeof t, filter));
	if (e && (e != NJ_NOTFOUND || !topic_filter_ok(filter)))
		return RC_TOPIC_FILTER_INVALID;
	asker = sessions_asker(c->session);
	if (!decide(&asker, ACTION_UNSUBSCRIBE, filter, &rule)) {
		denied_log(c, ACTION_UNSUBSCRIBE, filter, rule.text);
		return RC_NOT_AUTHORIZED;
	}
	e = subscription_end(c->shard, c->session, filter, e == NJ_OK);
	return e == NJ_OK ? RC_SUCCESS : RC_NO_SUBSCRIPTION_EXISTED;
}

/* Unsubscribes.  NJ_AGAIN: more another time. */
static enum nj_err
end_entries(struct conn *c, struct subscribing *s)
{
	struct slice filter;

	for (; s->at < s->n; s->at++) {
		if (c->shard->work >= TURN_WORK)
			return NJ_AGAIN;
		if (!next_unsubscription(&s->rest, &filter))
			break;
		if (c->link.mount)
			mounted_filter(c->link.mount, &filter, &s->mounted);
		s->r[s->at].code = unsubscribe_one(c, filter);
		c->shard->work += ENTRY_WORK + ENTRY_BYTE * (uint32_t)filter.n;
	}
	return NJ_OK;
}

struct retained_for {
	struct conn *c;
	struct subscribing *s;
	uint32_t id_opts; /* as struct sub has them */
};

/*
 * Retained messages of QoS 1 and 2 that find the queue half full wait where they
 * are, and the connection goes on meanwhile: its acknowledgements make room.
 * What comes otherwise has the other half.  So many of a connection can wait, and
 * so much can they have asked for.
 */
#define PARKED_MAX   16u
#define PARKED_BYTES (64u * 1024)

static bool
may_park(const struct conn *c, const struct subscribing *s)
{
	size_t bytes = s->list.n;
	unsigned n = 0;

	for (const struct subscribing *p = c->parked; p; p = p->next, n++)
		bytes += p->list.n;
	return s->parked || (n < PARKED_MAX && bytes <= PARKED_BYTES);
}

/* False: not now, the client must read first. */
static bool
send_retained(void *arg, struct msg *m)
{
	const struct retained_for *r = arg;
	struct session *s = r->c->session;
	uint8_t qos = fanout_qos(s->home, m, r->id_opts);
	struct delivery d = { .msg = m, .qos = qos & 3, .retain = true };

	/* [MQTT-3.8.3-3] */
	if (((r->id_opts & SUB_NO_LOCAL) && source_is(m, s)) ||
	    !source_may(r->c->shard, m))
		return true;
	if (qos == 0 && link_congested(&r->c->link))
		return false;
	if (qos > 0 && session_is_behind(s) && may_park(r->c, r->s)) {
		r->s->behind = true;
		return false;
	}
	ids_add(&d.ids, r->id_opts >> 4);
	session_deliver(s, &d);
	return true;
}

/* What the subscription is now: while this waited it may have been replaced
 * [MQTT-3.8.4-3], or have ended [MQTT-3.10.4-2]. */
static bool
still_there(struct conn *c, const struct subscribing *s,
    const struct subscription *one, uint32_t *opts)
{
	*opts = id_opts(c, one, s->id, s->r[s->at].code, false);
	return !s->parked ||
	    subs_has(&c->session->subs, c->shard->broker->index,
		c->shard->home.shard, one->filter, opts);
}

/* Retained messages come after the SUBACK, entry by entry. */
static bool
say_retained(struct conn *c, struct subscribing *s)
{
	struct shard *sh = c->shard;
	struct subscription one;

	for (; s->at < s->n; s->at++) {
		struct retained_for to = { .c = c, .s = s };
		struct slice after = s->rest;
		uint32_t had, budget;
		bool over;

		if (sh->work >= TURN_WORK)
			return false;
		had = budget = (TURN_WORK - sh->work) / SEND_WORK + 1;
		if (!next_subscription(&after, c->version, &one))
			break;
		sh->work++;
		if (c->link.mount)
			mounted_filter(c->link.mount, &one.filter, &s->mounted);
		if (!s->r[s->at].send_retained) {
			s->rest = after;
			continue;
		}
		if (still_there(c, s, &one, &to.id_opts)) {
			over = retain_step(sh->broker->retain, &s->walk,
			    one.filter, sh->home.now_ms, &budget, send_retained,
			    &to);
			sh->work += (had - budget) * SEND_WORK;
			if (!over)
				return false;
		} else {
			retain_walk_end(sh->broker->retain, &s->walk);
		}
		s->rest = after;
	}
	return true;
}

static bool
stop_there(void *arg, struct msg *m)
{
	(void)arg;
	(void)m;
	return false;
}

/* Whether retained messages follow, or may: it takes too long to see. */
static bool
may_follow(struct conn *c, struct subscribing *s)
{
	struct shard *sh = c->shard;
	struct retain *all = sh->broker->retain;
	struct slice rest = s->list;
	struct subscription one;

	for (size_t i = 0; i < s->n && retain_count(all) > 0; i++) {
		struct retain_walk w = { .at = NULL };
		uint32_t budget = PEEK_WORK;

		if (!next_subscription(&rest, c->version, &one))
			break;
		if (!s->r[i].send_retained)
			continue;
		if (c->link.mount)
			mounted_filter(c->link.mount, &one.filter, &s->mounted);
		if (sh->work >= TURN_WORK ||
		    !retain_step(all, &w, one.filter, sh->home.now_ms, &budget,
			stop_there, NULL)) {
			retain_walk_end(all, &w);
			return true;
		}
		sh->work += PEEK_WORK - budget;
	}
	return false;
}

/* Once: until what it subscribed to is on disk, and until what was promised
 * before is told. */
static bool
must_wait(const struct conn *c, struct subscribing *s)
{
	bool wait = !s->kept && (s->recorded || c->link.held > 0);

	s->kept = true;
	return wait;
}

/* A portion.  NJ_AGAIN: it was not the last. */
static enum nj_err
work_on(struct conn *c, struct subscribing *s)
{
	struct keep *k = &c->shard->durable.keep;
	enum nj_err e;

	k->dirty = k->failed = false;
	e = s->ends ? end_entries(c, s) : add_entries(c, s);
	s->recorded |= k->dirty;
	/* what could not be recorded is not acknowledged */
	return k->failed ? NJ_NOMEM : e;
}

/* *done: nothing is left to do. */
static enum nj_err
go_on(struct conn *c, struct subscribing *s, bool *done)
{
	enum nj_err e;

	*done = false;
	if (!s->told) {
		if (!s->kept && (e = work_on(c, s)))
			return e == NJ_AGAIN ? NJ_OK : e;
		if (s->ends) {
			*done = true;
			return answer(c, s, s->recorded || c->link.held > 0);
		}
		if (must_wait(c, s)) {
			/* then those that come behind it share its way */
			if (!may_follow(c, s)) {
				*done = true;
				return answer(c, s, true);
			}
			(void)durable_promise_to_go_on(c);
			/* nor is more of it read meanwhile */
			conn_update_wants(c);
			return NJ_OK;
		}
		if ((e = answer(c, s, c->leaves)))
			return e;
		s->told = true;
		s->at = 0;
		s->rest = s->list;
	}
	*done = say_retained(c, s);
	return NJ_OK;
}

static void
subscribing_free(struct conn *c, struct subscribing *s)
{
	retain_walk_end(c->shard->broker->retain, &s->walk);
	buf_fini(&s->own);
	buf_fini(&s->mounted);
	free(s);
}

static void
free_all(struct conn *c, struct subscribing **list)
{
	struct subscribing *s;

	while ((s = *list)) {
		*list = s->next;
		subscribing_free(c, s);
	}
}

void
subscribe_abandon(struct conn *c)
{
	free_all(c, &c->subscribing);
	free_all(c, &c->parked);
}

/* It is to be gone on with: before all else, or when there is room. */
static void
put_off(struct conn *c, struct subscribing *s)
{
	struct subscribing **last = &c->parked;

	if (!s->behind) {
		c->subscribing = s;
		return;
	}
	s->parked = true;
	while (*last)
		last = &(*last)->next;
	*last = s;
}

bool
subscribe_unpark(struct conn *c)
{
	struct subscribing *s;

	while ((s = c->parked) && !session_is_behind(c->session)) {
		if (!say_retained(c, s))
			return !session_is_behind(c->session);
		c->parked = s->next;
		subscribing_free(c, s);
	}
	return false;
}

bool
subscribe_is_done(const struct conn *c)
{
	return c->subscribing->kept || c->subscribing->told;
}

enum nj_err
subscribe_go_on(struct conn *c)
{
	struct subscribing *s = c->subscribing;
	bool done;
	enum nj_err e = go_on(c, s, &done);

	c->subscribing = NULL;
	if (e || done)
		subscribing_free(c, s);
	else
		put_off(c, s);
	return e;
}

/* The packet it borrows from goes, and it stays. */
static enum nj_err
keep_list(struct subscribing *s)
{
	size_t used = s->list.n - s->rest.n;
	enum nj_err e = buf_put_slice(&s->own, s->list);

	if (e)
		return e;
	s->list = buf_slice(&s->own);
	s->rest = slice_of(s->list.p + used, s->list.n - used);
	return NJ_OK;
}

/* [MQTT-3.1.2-24]: an answer that the client does not take ends it; there is
 * no other way to tell it what became of its packet. */
static bool
answer_fits(struct conn *c, size_t n_codes)
{
	if (link_fits(&c->link, 2 + 1 + (uint32_t)n_codes))
		return true;
	conn_end(c, RC_PACKET_TOO_LARGE,
	    "the answer to its %zu filters is larger than its maximum packet "
	    "size",
	    n_codes);
	return false;
}

static enum nj_err
begin(struct conn *c, const struct subscribe *p, bool ends)
{
	struct subscribing *s;
	bool done = false;
	size_t n = count_entries(p, c->version, ends);
	enum nj_err e;

	/* decode saw to it [MQTT-3.8.3-2], [MQTT-3.10.3-2] */
	assert(n > 0);
	if (!answer_fits(c, n))
		return NJ_OK;
	if (!(s = calloc(1, sizeof *s + n * sizeof s->r[0])))
		return NJ_NOMEM;
	s->ends = ends;
	s->packet_id = p->id;
	s->n = n;
	s->list = s->rest = p->list;
	if (c->version == MQTT5 && props_has(&p->props, PROP_SUBSCRIPTION_ID))
		s->id = p->props.subscription_id;
	if ((e = go_on(c, s, &done)) || done || (e = keep_list(s)))
		subscribing_free(c, s);
	else
		put_off(c, s);
	return e;
}

enum nj_err
on_subscribe(struct conn *c, const struct frame *f)
{
	struct subscribe p;
	enum nj_err e = decode_subscribe(f->body, c->version, &p);

	return e ? e : begin(c, &p, false);
}

enum nj_err
on_unsubscribe(struct conn *c, const struct frame *f)
{
	struct subscribe p;
	enum nj_err e = decode_unsubscribe(f->body, c->version, &p);

	return e ? e : begin(c, &p, true);
}
