/* SPDX-License-Identifier: Apache-2.0
 * Subscriptions that nothing is published to: what they cost by themselves,
 * and what others feel of their being there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/bench/impl.h"
#include "wire/decode.h"
#include "wire/encode.h"

#define NS	   UINT64_C(1000000000)
#define BATCH	   100	     /* filters of one SUBSCRIBE */
#define FILTER_MAX 512	     /* bytes */
#define QUIET_NS   (60 * NS) /* the broker does not answer any more */

struct other {
	struct conn c;
	struct others *all;
	uint64_t next, end; /* numbers of its filters */
	uint64_t asked;	    /* in the SUBSCRIBE under way */
	uint16_t id;
};

struct others {
	struct bench *b;
	struct other *v;
	uint32_t n, started;
	uint64_t up, subscribed;
	bool asking, dead;
};

uint32_t
others_clients(const struct opts *o)
{
	return (uint32_t)((o->others + o->others_each - 1) / o->others_each);
}

static void
write_filter(const struct bench *b, uint64_t n, char *dst, size_t size)
{
	static const char *const ends[] = { "t", "+", "#" };
	unsigned kind =
	    b->o.kind == OTHERS_MIXED ? (unsigned)(n % 3) : (unsigned)b->o.kind;

	(void)snprintf(dst, size, "%s/other/%x/%llu/%s", b->o.topic, b->run,
	    (unsigned long long)n, ends[kind]);
}

/* The next SUBSCRIBE of this one, if it has filters left. */
static void
ask(struct other *o)
{
	struct bench *b = o->all->b;
	struct subscription subs[BATCH];
	char(*text)[FILTER_MAX];
	size_t n = 0;

	if (!(text = malloc(sizeof *text * BATCH))) {
		conn_fail(&o->c, NJ_NOMEM, "SUBSCRIBE");
		return;
	}
	for (; n < BATCH && o->next + n < o->end; n++) {
		write_filter(b, o->next + n, text[n], sizeof text[n]);
		subs[n] = (struct subscription){ .qos = (uint8_t)b->o.sub_qos,
			.filter = slice_str(text[n]) };
	}
	if (++o->id == 0)
		o->id = 1;
	if (n > 0 &&
	    encode_subscribe(&o->c.out, b->o.ver, o->id, NULL, subs, n))
		conn_fail(&o->c, NJ_NOMEM, "SUBSCRIBE");
	else if (n > 0)
		conn_dirty(&o->c);
	o->asked = n;
	free(text);
}

static void
other_up(struct conn *c)
{
	struct other *o = c->arg;

	o->all->up++;
	if (o->all->asking)
		ask(o);
}

static bool
other_packet(struct conn *c, const struct frame *f)
{
	struct other *o = c->arg;
	struct suback a;

	if (f->type != MQTT_SUBACK || decode_suback(f->body, c->b->o.ver, &a) ||
	    a.codes.n != o->asked) {
		conn_fail(c, NJ_PROTOCOL, "other: packet type %u", f->type);
		return false;
	}
	for (size_t i = 0; i < a.codes.n; i++)
		if (a.codes.p[i] >= RC_UNSPECIFIED) {
			conn_fail(c, NJ_DENIED, "SUBACK 0x%02x", a.codes.p[i]);
			return false;
		}
	o->next += a.codes.n;
	o->all->subscribed += a.codes.n;
	ask(o);
	return c->state == CONN_UP;
}

static void
other_dead(struct conn *c)
{
	((struct other *)c->arg)->all->dead = true;
}

static const struct conn_ops other_ops = {
	.up = other_up,
	.packet = other_packet,
	.dead = other_dead,
};

enum nj_err
others_new(struct bench *b, struct others **out)
{
	struct others *all = calloc(1, sizeof *all);
	uint64_t each = (uint64_t)b->o.others_each, at = 0;

	if (!all)
		return NJ_NOMEM;
	all->b = b;
	all->n = others_clients(&b->o);
	if (!(all->v = calloc(all->n, sizeof *all->v))) {
		free(all);
		return NJ_NOMEM;
	}
	for (uint32_t i = 0; i < all->n; i++) {
		struct other *o = &all->v[i];
		uint64_t left = (uint64_t)b->o.others - at;

		o->all = all;
		o->next = at;
		o->end = at += left < each ? left : each;
		conn_init(&o->c, b, &other_ops, o,
		    (uint32_t)(b->o.pubs + b->o.subs) + i);
	}
	*out = all;
	return NJ_OK;
}

void
others_free(struct others *all)
{
	if (!all)
		return;
	for (uint32_t i = 0; i < all->n; i++)
		conn_stop(&all->v[i].c, true);
	free(all->v);
	free(all);
}

/* Until *count is as many. */
static enum nj_err
go_on(struct others *all, const uint64_t *count, uint64_t target)
{
	struct bench *b = all->b;
	uint64_t last = *count, since = bench_now();

	while (*count < target) {
		while (all->started < all->n &&
		    all->started - all->up < (size_t)b->o.concurrency)
			conn_start(&all->v[all->started++].c);
		(void)loop_wait(b->loop, 100);
		loop_dispatch(b->loop);
		bench_flush(b);
		if (all->dead)
			return NJ_IO;
		if (*count != last) {
			last = *count;
			since = bench_now();
		} else if (bench_now() - since > QUIET_NS) {
			why_set(&b->why, "no answer to SUBSCRIBE for a minute");
			return NJ_TIMEOUT;
		}
	}
	return NJ_OK;
}

static enum nj_err
connect_all(struct others *all)
{
	return go_on(all, &all->up, all->n);
}

static enum nj_err
subscribe_all(struct others *all)
{
	all->asking = true;
	for (uint32_t i = 0; i < all->n; i++)
		if (all->v[i].c.state == CONN_UP)
			ask(&all->v[i]);
	bench_flush(all->b);
	return go_on(all, &all->subscribed, (uint64_t)all->b->o.others);
}

enum nj_err
others_open(struct others *all)
{
	enum nj_err e = connect_all(all);

	return e ? e : subscribe_all(all);
}

static void
settle(struct bench *b)
{
	uint64_t until = bench_now() + (uint64_t)b->o.settle * NS;

	while (bench_now() < until) {
		(void)loop_wait(b->loop, 100);
		loop_dispatch(b->loop);
	}
}

enum nj_err
subscribe_run(struct bench *b, struct subscribe_result *r)
{
	struct others *all = NULL;
	struct meter from, to, with, gone;
	uint64_t start;
	enum nj_err e;

	if ((e = others_new(b, &all)) || (e = connect_all(all)))
		goto out;
	settle(b);
	from = meter_read(&b->o.pids);
	start = bench_now();
	if ((e = subscribe_all(all)))
		goto out;
	to = meter_read(&b->o.pids);
	r->seconds = (double)(bench_now() - start) / 1e9;
	settle(b);
	with = meter_read(&b->o.pids);
	others_free(all);
	all = NULL;
	settle(b);
	gone = meter_read(&b->o.pids);
	r->done = (uint64_t)b->o.others;
	r->clients = others_clients(&b->o);
	r->metered = from.ok && to.ok && with.ok && gone.ok;
	r->cpu_s = (double)(to.cpu_ns - from.cpu_ns) / 1e9;
	r->gone_cpu_s = (double)(gone.cpu_ns - with.cpu_ns) / 1e9;
	r->rss_before = from.rss;
	r->rss_with = with.rss;
	r->rss_after = gone.rss;
out:
	others_free(all);
	return e;
}
