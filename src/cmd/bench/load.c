/* SPDX-License-Identifier: Apache-2.0
 * Messages through a broker.  Closed loop: each publisher keeps up to a window
 * of messages under way, measured by their receipt at the subscribers.  Open
 * loop: messages have a time at which they are due, and their latency counts
 * from it, so that a broker that makes the generator wait does not thereby
 * hide how long others would have waited.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "cmd/bench/impl.h"
#include "wire/decode.h"
#include "wire/encode.h"

#define NS	    UINT64_C(1000000000)
#define STALL_NS    (2 * NS)  /* nothing arrives: what is under way is lost */
#define OPEN_NS	    (60 * NS) /* nobody gets connected */
#define BEHIND_NS   (NS / 10) /* of the schedule, at the end */
#define FILL_TURN   4096      /* messages of one publisher a turn */
#define LAST_LEVEL  16	      /* digits, where topics are new */
#define SEND_NOW_NS 20000     /* nearer than this, waiting costs more */

/* The first bytes of every payload. */
struct stamp {
	uint32_t run, pub;
	uint64_t seq, ns;
};
static_assert(sizeof(struct stamp) == HEADER_SIZE, "the stamp is packed");

/* What one subscriber has of one publisher. */
struct flow {
	uint64_t next; /* the lowest seq above all that came */
	uint64_t bits[SEEN_BITS / 64];
};

struct pub {
	struct conn c;
	struct load *l;
	uint32_t index, unacked, unacked_max;
	uint16_t next_id;
	bool ready;	   /* in l->ready */
	uint64_t seq;	   /* of the next message */
	uint64_t settled;  /* deliveries that came, or never will */
	struct buf packet; /* the PUBLISH; id and stamp are patched */
	size_t id_at, stamp_at, last_at;
};

struct sub {
	struct conn c;
	struct load *l;
	uint32_t index;
};

struct load {
	struct bench *b;
	struct load_result *r;
	struct pub *pubs;
	struct sub *subs;
	struct flow *flows; /* flows_sub for each subscriber */
	uint32_t n_pubs, n_subs, flows_sub;
	uint32_t fanout;       /* deliveries of one message */
	struct others *others; /* NULL: none */
	struct pub **ready;
	size_t n_ready;
	size_t up, dead;
	uint64_t window; /* deliveries a publisher may have under way */
	uint64_t gaps, delivered, refused; /* of the whole run */
	uint64_t quiet_since; /* last delivery, or last writing off */
	bool measuring, stopping;
	/* open loop */
	struct watch timer;
	double interval; /* ns between two messages of any publisher */
	uint64_t t0;
};

static void
make_ready(struct pub *p)
{
	struct load *l = p->l;

	if (!p->ready) {
		p->ready = true;
		l->ready[l->n_ready++] = p;
	}
}

/* n deliveries of a publisher's messages need not be waited for any more. */
static inline void
settle(struct load *l, struct pub *p, uint64_t n)
{
	p->settled += n;
	if (l->interval == 0.0 && l->window > 0)
		make_ready(p);
}

/* Notes a seq; what it says about order, loss and repetition. */
static void
flow_take(struct load *l, struct flow *f, struct pub *p, uint64_t seq)
{
	uint64_t *word = &f->bits[seq / 64 % (SEEN_BITS / 64)];
	uint64_t bit = UINT64_C(1) << (seq % 64);

	if (seq == f->next) {
		f->next++;
		if (seq % 64 == 0)
			*word = 0;
		*word |= bit;
		settle(l, p, 1);
		return;
	}
	if (seq > f->next) {
		uint64_t gap = seq - f->next;

		l->gaps += gap;
		for (; f->next < seq && f->next + SEEN_BITS > seq; f->next++)
			f->bits[f->next / 64 % (SEEN_BITS / 64)] &=
			    ~(UINT64_C(1) << (f->next % 64));
		if (f->next < seq)
			memset(f->bits, 0, sizeof f->bits);
		if (seq % 64 == 0)
			*word = 0;
		*word |= bit;
		f->next = seq + 1;
		settle(l, p, gap + 1);
		return;
	}
	if (f->next - seq <= SEEN_BITS && !(*word & bit)) {
		*word |= bit;
		l->gaps--; /* it was not lost, only late */
		l->r->disordered++;
	} else {
		l->r->repeated++;
	}
}

static void
put_short(struct conn *c, uint8_t first, uint16_t id)
{
	uint8_t ack[4] = { first, 2, (uint8_t)(id >> 8), (uint8_t)id };

	if (buf_put(&c->out, ack, sizeof ack))
		conn_fail(c, NJ_NOMEM, "an acknowledgement");
	else
		conn_dirty(c);
}

/* Only what is needed of a PUBLISH; the payload's first bytes are copied,
 * nothing else. */
static bool
take_publish(struct sub *s, const struct frame *f)
{
	struct load *l = s->l;
	struct slice body = f->body, skipped;
	uint8_t qos = (f->flags >> 1) & 3;
	uint16_t id = 0;
	uint32_t props = 0;
	struct stamp st;

	if (take_bin(&body, &skipped) || (qos > 0 && take_u16(&body, &id)) ||
	    (l->b->o.ver == MQTT5 &&
		(take_varint(&body, &props) ||
		    take_bytes(&body, props, &skipped)))) {
		conn_fail(&s->c, NJ_MALFORMED, "PUBLISH");
		return false;
	}
	if (body.n >= sizeof st) {
		memcpy(&st, body.p, sizeof st);
		if (st.run == l->b->run && st.pub < l->n_pubs) {
			struct flow *fl = &l->flows[s->index * l->flows_sub +
			    st.pub % l->flows_sub];

			flow_take(l, fl, &l->pubs[st.pub], st.seq);
			l->delivered++;
			if (l->measuring) {
				l->r->delivered++;
				hist_add(&l->r->latency,
				    l->b->now > st.ns ? l->b->now - st.ns : 0);
			}
		}
	}
	if (qos > 0)
		put_short(&s->c, qos == 1 ? 0x40 : 0x50, id);
	return s->c.state == CONN_UP;
}

static bool
sub_packet(struct conn *c, const struct frame *f)
{
	struct sub *s = c->arg;
	struct slice body = f->body;
	struct suback a;
	uint16_t id;

	switch (f->type) {
	case MQTT_PUBLISH:
		return take_publish(s, f);
	case MQTT_PUBREL:
		if (take_u16(&body, &id))
			break;
		put_short(c, 0x70, id);
		return c->state == CONN_UP;
	case MQTT_SUBACK:
		if (decode_suback(f->body, c->b->o.ver, &a) || a.codes.n != 1)
			break;
		if (a.codes.p[0] >= RC_UNSPECIFIED) {
			conn_fail(c, NJ_DENIED, "SUBACK 0x%02x", a.codes.p[0]);
			return false;
		}
		s->l->up++;
		return true;
	default:
		break;
	}
	conn_fail(c, NJ_PROTOCOL, "subscriber: packet type %u", f->type);
	return false;
}

static bool
pub_packet(struct conn *c, const struct frame *f)
{
	struct pub *p = c->arg;
	struct slice body = f->body;
	uint8_t code = 0;
	uint16_t id;

	if (f->type < MQTT_PUBACK || f->type > MQTT_PUBCOMP ||
	    f->type == MQTT_PUBREL || take_u16(&body, &id)) {
		conn_fail(c, NJ_PROTOCOL, "publisher: packet type %u", f->type);
		return false;
	}
	if (body.n > 0)
		code = body.p[0];
	if (code >= RC_UNSPECIFIED)
		p->l->refused++;
	if (f->type == MQTT_PUBREC && code < RC_UNSPECIFIED) {
		put_short(c, 0x62, id);
		return c->state == CONN_UP;
	}
	if (p->unacked > 0)
		p->unacked--;
	make_ready(p);
	return true;
}

static void
load_dead(struct conn *c)
{
	struct load *l = c->ops->idle ? ((struct sub *)c->arg)->l
				      : ((struct pub *)c->arg)->l;

	l->dead++;
}

static void
pub_up(struct conn *c)
{
	struct pub *p = c->arg;

	p->unacked_max =
	    c->receive_max < UNACKED_MAX ? c->receive_max : UNACKED_MAX;
	p->l->up++;
}

/* Nothing to do; its being there tells subscribers from publishers. */
static void
sub_idle(struct conn *c)
{
}

static void
sub_filter(const struct load *l, uint32_t index, char *dst, size_t size)
{
	const char *t = l->b->o.topic;
	const char *last = l->b->o.new_topics ? "+" : "t";
	uint32_t run = l->b->run;

	switch (l->b->o.pattern) {
	case PAIRS:
		(void)snprintf(dst, size, "%s/%x/%u/%s", t, run, index, last);
		break;
	case FAN_IN:
		(void)snprintf(dst, size, "%s/%x/+/%s", t, run, last);
		break;
	case FAN_OUT:
		(void)snprintf(dst, size, "%s/%x/0/%s", t, run, last);
		break;
	case WILDCARDS: /* different ones that all match all */
		if (index % 2)
			(void)snprintf(dst, size, "%s/%x/+/%s", t, run, last);
		else
			(void)snprintf(dst, size, "%s/%x/#", t, run);
		break;
	}
}

static void
sub_up(struct conn *c)
{
	struct sub *s = c->arg;
	char filter[512];
	struct subscription sub = { .qos = (uint8_t)c->b->o.sub_qos };

	sub_filter(s->l, s->index, filter, sizeof filter);
	sub.filter = slice_str(filter);
	if (encode_subscribe(&c->out, c->b->o.ver, 1, NULL, &sub, 1))
		conn_fail(c, NJ_NOMEM, "SUBSCRIBE");
	else
		conn_dirty(c);
}

static const struct conn_ops pub_ops = {
	.up = pub_up,
	.packet = pub_packet,
	.dead = load_dead,
};
static const struct conn_ops sub_ops = {
	.up = sub_up,
	.packet = sub_packet,
	.idle = sub_idle,
	.dead = load_dead,
};

/* The PUBLISH that every message of this publisher is a copy of. */
static enum nj_err
make_packet(struct load *l, struct pub *p)
{
	const struct opts *o = &l->b->o;
	size_t size = (size_t)o->size;
	char topic[512];
	struct publish m = {
		.qos = (uint8_t)o->qos,
		.retain = o->retain,
		.id = 1,
	};
	uint8_t *payload;
	enum nj_err e;

	if (!(payload = malloc(size)))
		return NJ_NOMEM;
	memset(payload, 'x', size);
	(void)snprintf(topic, sizeof topic, "%s/%x/%u/%s", o->topic, l->b->run,
	    p->index, o->new_topics ? "0000000000000000" : "t");
	m.topic = slice_str(topic);
	m.payload = slice_of(payload, size);
	e = encode_publish(&p->packet, o->ver, &m);
	free(payload);
	if (e)
		return e;
	p->stamp_at = buf_len(&p->packet) - size;
	/* Behind the id there is the length of no properties. */
	p->id_at = p->stamp_at - (o->ver == MQTT5 ? 3 : 2);
	p->last_at =
	    p->stamp_at - (o->ver == MQTT5) - (o->qos > 0 ? 2 : 0) - LAST_LEVEL;
	return NJ_OK;
}

static void
put_number(uint8_t *at, uint64_t v)
{
	for (unsigned i = LAST_LEVEL; i-- > 0; v >>= 4)
		at[i] = (uint8_t) "0123456789abcdef"[v & 15];
}

static enum nj_err
put_message(struct pub *p, uint64_t ns)
{
	struct stamp st = { p->l->b->run, p->index, p->seq, ns };
	struct slice packet = buf_slice(&p->packet);
	uint8_t *at;
	enum nj_err e;

	if (!packet.p)
		return NJ_INVALID;
	if ((e = buf_reserve(&p->c.out, packet.n, &at)))
		return e;
	memcpy(at, packet.p, packet.n);
	memcpy(at + p->stamp_at, &st, sizeof st);
	if (p->l->b->o.new_topics)
		put_number(at + p->last_at, p->seq);
	if (p->l->b->o.qos > 0) {
		if (++p->next_id == 0)
			p->next_id = 1;
		at[p->id_at] = (uint8_t)(p->next_id >> 8);
		at[p->id_at + 1] = (uint8_t)p->next_id;
		p->unacked++;
	}
	buf_commit(&p->c.out, packet.n);
	p->seq++;
	if (p->l->measuring)
		p->l->r->sent++;
	return NJ_OK;
}

/* When message n of a publisher is due. */
static uint64_t
due(const struct load *l, uint32_t pub, uint64_t n)
{
	return l->t0 + (uint64_t)(((double)n * l->n_pubs + pub) * l->interval);
}

static bool
may_send(const struct load *l, const struct pub *p, uint64_t now)
{
	if (l->stopping || p->c.state != CONN_UP ||
	    buf_len(&p->c.out) > UNSENT_HIGH ||
	    (l->b->o.qos > 0 && p->unacked >= p->unacked_max) ||
	    (l->b->o.count > 0 && p->seq >= (uint64_t)l->b->o.count))
		return false;
	if (l->interval > 0.0)
		return due(l, p->index, p->seq) <= now;
	return p->seq * l->fanout < p->settled + l->window;
}

static void
fill(struct load *l, struct pub *p)
{
	uint64_t now = bench_now();
	unsigned n = 0;

	for (; n < FILL_TURN && may_send(l, p, now); n++) {
		uint64_t ns =
		    l->interval > 0.0 ? due(l, p->index, p->seq) : now;

		if (put_message(p, ns)) {
			conn_fail(&p->c, NJ_NOMEM, "a message");
			return;
		}
	}
	if (n > 0)
		conn_dirty(&p->c);
	if (n == FILL_TURN)
		make_ready(p);
}

static void
fill_ready(struct load *l)
{
	size_t n = l->n_ready;

	/* fill() may put some back; they go to the front, behind our reading. */
	l->n_ready = 0;
	for (size_t i = 0; i < n; i++) {
		struct pub *p = l->ready[i];

		p->ready = false;
		fill(l, p);
	}
}

static void
on_timer(struct watch *w, unsigned ready)
{
	uint64_t n;

	(void)!read(w->fd, &n, sizeof n);
}

/* Sends what is due and sets the timer to the next; how long to wait, ms. */
static int
keep_schedule(struct load *l, uint64_t until)
{
	uint64_t now = bench_now(), next = until;
	struct itimerspec t = { .it_value = { 0 } };

	for (uint32_t i = 0; i < l->n_pubs; i++) {
		struct pub *p = &l->pubs[i];
		uint64_t at = due(l, i, p->seq);

		if (at <= now) {
			fill(l, p);
			at = due(l, i, p->seq);
		}
		/* One that may not send is woken by what holds it up. */
		if (at > now && at < next)
			next = at;
	}
	if (next <= now + SEND_NOW_NS)
		return 0;
	t.it_value.tv_sec = (time_t)(next / NS);
	t.it_value.tv_nsec = (long)(next % NS);
	(void)timerfd_settime(l->timer.fd, TFD_TIMER_ABSTIME, &t, NULL);
	return 100;
}

static void
turn(struct load *l, uint64_t until)
{
	struct bench *b = l->b;
	uint64_t now = bench_now();
	int ms = until > now ? (int)((until - now) / 1000000 + 1) : 0;

	if (ms > 100)
		ms = 100;
	if (l->interval > 0.0 && l->t0 > 0 && !l->stopping) {
		ms = keep_schedule(l, until);
		bench_flush(b);
	}
	if (l->n_ready > 0)
		ms = 0;
	(void)loop_wait(b->loop, ms);
	loop_dispatch(b->loop);
	fill_ready(l);
	bench_flush(b);
}

/* Deliveries that are still to be expected. */
static uint64_t
under_way(const struct load *l)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < l->n_pubs; i++) {
		const struct pub *p = &l->pubs[i];

		if (p->seq * l->fanout > p->settled)
			n += p->seq * l->fanout - p->settled;
	}
	return n;
}

/* A lost message would hold its place in the window for ever. */
static void
write_off(struct load *l)
{
	for (uint32_t i = 0; i < l->n_pubs; i++) {
		struct pub *p = &l->pubs[i];

		p->settled = p->seq * l->fanout;
		make_ready(p);
	}
}

static bool
all_sent(const struct load *l)
{
	if (l->b->o.count == 0)
		return false;
	for (uint32_t i = 0; i < l->n_pubs; i++)
		if (l->pubs[i].seq < (uint64_t)l->b->o.count)
			return false;
	return true;
}

/* Goes on until the time is over, or all messages have arrived. */
static enum nj_err
run_until(struct load *l, uint64_t until)
{
	uint64_t last = l->delivered;

	l->quiet_since = bench_now();
	while (bench_now() < until) {
		bool done = all_sent(l) || l->stopping;

		if (done && under_way(l) == 0)
			break;
		turn(l, until);
		if (l->dead > 0)
			return NJ_IO;
		if (l->delivered != last) {
			last = l->delivered;
			l->quiet_since = bench_now();
		} else if (bench_now() - l->quiet_since > STALL_NS) {
			if (done)
				break;
			write_off(l);
			l->quiet_since = bench_now();
		}
	}
	return NJ_OK;
}

static enum nj_err
open_conns(struct load *l)
{
	struct bench *b = l->b;
	uint32_t total = l->n_pubs + l->n_subs, started = 0;
	uint64_t end = bench_now() + OPEN_NS;

	/* Subscribers first: who publishes before is not heard. */
	while (l->up < total) {
		while (started < total &&
		    started - l->up < (size_t)b->o.concurrency) {
			conn_start(started < l->n_subs
				? &l->subs[started].c
				: &l->pubs[started - l->n_subs].c);
			started++;
		}
		turn(l, end);
		if (l->dead > 0)
			return NJ_IO;
		if (bench_now() > end) {
			why_set(&b->why,
			    "%zu of %u connections are ready after "
			    "a minute",
			    l->up, total);
			return NJ_TIMEOUT;
		}
	}
	return NJ_OK;
}

static enum nj_err
load_new(struct load *l, struct bench *b, struct load_result *r)
{
	const struct opts *o = &b->o;
	enum nj_err e;

	*l = (struct load){ .b = b, .r = r, .timer = { .fd = -1 } };
	memset(r, 0, sizeof *r);
	hist_reset(&r->latency);
	l->n_pubs = (uint32_t)o->pubs;
	l->n_subs = (uint32_t)o->subs;
	l->fanout =
	    o->pattern == FAN_OUT || o->pattern == WILDCARDS ? l->n_subs : 1;
	l->flows_sub =
	    o->pattern == FAN_IN || o->pattern == WILDCARDS ? l->n_pubs : 1;
	l->window = (uint64_t)o->window * l->fanout;
	l->interval = o->rate ? 1e9 / (double)o->rate : 0.0;
	l->pubs = calloc(l->n_pubs, sizeof *l->pubs);
	l->subs = calloc(l->n_subs, sizeof *l->subs);
	l->ready = calloc(l->n_pubs, sizeof(struct pub *));
	l->flows = calloc((size_t)l->n_subs * l->flows_sub, sizeof *l->flows);
	if (!l->pubs || !l->subs || !l->ready || !l->flows)
		return NJ_NOMEM;
	for (uint32_t i = 0; i < l->n_subs; i++) {
		l->subs[i].l = l;
		l->subs[i].index = i;
		conn_init(&l->subs[i].c, b, &sub_ops, &l->subs[i], i);
	}
	for (uint32_t i = 0; i < l->n_pubs; i++) {
		struct pub *p = &l->pubs[i];

		p->l = l;
		p->index = i;
		conn_init(&p->c, b, &pub_ops, p, l->n_subs + i);
		if ((e = make_packet(l, p)))
			return e;
	}
	return NJ_OK;
}

static void
load_free(struct load *l)
{
	for (uint32_t i = 0; l->pubs && i < l->n_pubs; i++) {
		conn_stop(&l->pubs[i].c, true);
		buf_fini(&l->pubs[i].packet);
	}
	for (uint32_t i = 0; l->subs && i < l->n_subs; i++)
		conn_stop(&l->subs[i].c, true);
	if (l->timer.fd >= 0)
		(void)close(l->timer.fd);
	others_free(l->others);
	free(l->pubs);
	free(l->subs);
	free(l->ready);
	free(l->flows);
}

static enum nj_err
start_sending(struct load *l)
{
	if (l->interval > 0.0) {
		/* The default slack of 50 us would be most of the latency. */
		(void)prctl(PR_SET_TIMERSLACK, 1UL);
		l->timer = (struct watch){ .want = LOOP_IN, .fn = on_timer };
		l->timer.fd =
		    timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (l->timer.fd < 0 || loop_add(l->b->loop, &l->timer))
			return NJ_IO;
		l->t0 = bench_now() + NS / 100;
		return NJ_OK;
	}
	for (uint32_t i = 0; i < l->n_pubs; i++)
		make_ready(&l->pubs[i]);
	return NJ_OK;
}

/* After the last message: what never came. */
static void
count_lost(struct load *l)
{
	l->r->lost = l->gaps;
	for (uint32_t s = 0; s < l->n_subs; s++)
		for (uint32_t f = 0; f < l->flows_sub; f++) {
			const struct flow *fl = &l->flows[s * l->flows_sub + f];
			uint32_t pub = l->flows_sub > 1 ? f
			    : l->fanout > 1		? 0
							: s % l->n_pubs;

			if (l->pubs[pub].seq > fl->next)
				l->r->lost += l->pubs[pub].seq - fl->next;
		}
}

static bool
behind(const struct load *l)
{
	uint64_t now = bench_now();

	for (uint32_t i = 0; l->interval > 0.0 && i < l->n_pubs; i++)
		if (l->b->o.count == 0 &&
		    due(l, i, l->pubs[i].seq) + BEHIND_NS < now)
			return true;
	return false;
}

enum nj_err
load_run(struct bench *b, struct load_result *r)
{
	struct load l;
	struct meter from, to;
	uint64_t start;
	enum nj_err e;

	if ((e = load_new(&l, b, r)) ||
	    (b->o.others > 0 &&
		((e = others_new(b, &l.others)) ||
		    (e = others_open(l.others)))) ||
	    (e = open_conns(&l)) || (e = start_sending(&l)) ||
	    (e = run_until(&l, bench_now() + (uint64_t)b->o.warmup * NS)))
		goto out;
	l.measuring = true;
	from = meter_read(&b->o.pids);
	start = bench_now();
	e = run_until(&l, start + (uint64_t)b->o.duration * NS);
	to = meter_read(&b->o.pids);
	r->seconds = (double)(bench_now() - start) / 1e9;
	l.measuring = false;
	if (e)
		goto out;
	r->late = behind(&l);
	l.stopping = true;
	if ((e = run_until(&l, bench_now() + 10 * STALL_NS)))
		goto out;
	count_lost(&l);
	r->metered = from.ok && to.ok;
	r->cpu_s = (double)(to.cpu_ns - from.cpu_ns) / 1e9;
	r->rss_before = from.rss;
	r->rss_after = to.rss;
	if (l.refused > 0) {
		why_set(&b->why, "the broker refused %llu messages",
		    (unsigned long long)l.refused);
		e = NJ_DENIED;
	}
out:
	load_free(&l);
	return e;
}
