/* SPDX-License-Identifier: Apache-2.0
 * Connections without messages: how many handshakes a second, what an idle
 * connection costs, and how long it takes until all are back that were lost at
 * once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/bench/impl.h"

#define NS	   UINT64_C(1000000000)
#define MAX_FAILED 100 /* then there is no point in going on */
#define CALM	   50  /* connections being opened at once before a storm */

struct storm {
	struct bench *b;
	struct storm_result *r;
	struct conn *conns;
	struct conn **ended; /* to be started again, outside their callbacks */
	size_t n, n_ended;
	uint32_t next; /* index of the next connection */
	uint64_t opened;
	bool measuring, stopping, keep; /* keep: stay connected */
};

static void
again(struct conn *c)
{
	struct storm *s = c->arg;

	if (c->listed)
		return;
	c->listed = true;
	s->ended[s->n_ended++] = c;
}

static void
storm_up(struct conn *c)
{
	struct storm *s = c->arg;

	s->opened++;
	if (s->measuring) {
		s->r->done++;
		hist_add(&s->r->latency, bench_now() - c->started);
	}
	if (!s->keep)
		again(c);
}

static bool
storm_packet(struct conn *c, const struct frame *f)
{
	if (f->type != MQTT_PINGRESP) {
		conn_fail(c, NJ_PROTOCOL, "packet type %u", f->type);
		return false;
	}
	return true;
}

static void
storm_dead(struct conn *c)
{
	struct storm *s = c->arg;

	if (!s->keep)
		again(c);
}

static const struct conn_ops storm_ops = {
	.up = storm_up,
	.packet = storm_packet,
	.dead = storm_dead,
};

static enum nj_err
storm_new(struct storm *s, struct bench *b, size_t n, struct storm_result *r)
{
	*s = (struct storm){ .b = b, .r = r, .n = n };
	memset(r, 0, sizeof *r);
	hist_reset(&r->latency);
	s->conns = calloc(n, sizeof *s->conns);
	s->ended = calloc(n, sizeof(struct conn *));
	if (!s->conns || !s->ended)
		return NJ_NOMEM;
	for (size_t i = 0; i < n; i++)
		conn_init(&s->conns[i], b, &storm_ops, s, s->next++);
	return NJ_OK;
}

static void
close_all(struct storm *s, bool goodbye)
{
	for (size_t i = 0; i < s->n; i++)
		conn_stop(&s->conns[i], goodbye);
}

static void
storm_free(struct storm *s)
{
	if (s->conns)
		close_all(s, true);
	free(s->conns);
	free(s->ended);
}

static void
turn(struct storm *s, uint64_t until)
{
	uint64_t now = bench_now();
	int ms = until > now ? (int)((until - now) / 1000000 + 1) : 0;

	(void)loop_wait(s->b->loop, ms < 100 ? ms : 100);
	loop_dispatch(s->b->loop);
	bench_flush(s->b);
	for (size_t i = 0; i < s->n_ended; i++) {
		struct conn *c = s->ended[i];

		c->listed = false;
		conn_stop(c, true);
		if (s->stopping)
			continue;
		/* Another source every time: ports rest after use. */
		c->index = s->next;
		s->next += PORTS_ADDRESS / 64 + 1;
		conn_start(c);
	}
	s->n_ended = 0;
}

static enum nj_err
run_until(struct storm *s, uint64_t until)
{
	while (bench_now() < until) {
		turn(s, until);
		if (s->b->failed > MAX_FAILED)
			return NJ_IO;
	}
	return NJ_OK;
}

enum nj_err
connect_run(struct bench *b, struct storm_result *r)
{
	struct storm s;
	struct meter from, to;
	uint64_t start;
	enum nj_err e;

	if ((e = storm_new(&s, b, (size_t)b->o.concurrency, r)))
		goto out;
	for (size_t i = 0; i < s.n; i++)
		conn_start(&s.conns[i]);
	start = bench_now();
	if ((e = run_until(&s, start + (uint64_t)b->o.warmup * NS)))
		goto out;
	s.measuring = true;
	b->resumed = 0;
	start = bench_now();
	from = meter_read(&b->o.pids);
	e = run_until(&s, start + (uint64_t)b->o.duration * NS);
	to = meter_read(&b->o.pids);
	r->seconds = (double)(bench_now() - start) / 1e9;
	r->resumed = b->resumed;
	r->metered = from.ok && to.ok;
	r->cpu_s = (double)(to.cpu_ns - from.cpu_ns) / 1e9;
	r->rss_before = from.rss;
	r->rss_after = to.rss;
	s.measuring = false;
	s.stopping = true;
out:
	storm_free(&s);
	return e;
}

/* Opens all of them. */
static enum nj_err
open_all(struct storm *s, size_t at_once)
{
	struct bench *b = s->b;
	uint64_t since = bench_now(), last = 0;
	size_t started = 0;

	while (s->opened < s->n) {
		while (started < s->n && started - s->opened < at_once)
			conn_start(&s->conns[started++]);
		turn(s, since + 60 * NS);
		if (b->failed > 0)
			return NJ_IO;
		if (s->opened != last) {
			last = s->opened;
			since = bench_now();
		} else if (bench_now() - since > 60 * NS) {
			why_set(&b->why,
			    "no connection was completed for a "
			    "minute");
			return NJ_TIMEOUT;
		}
	}
	return NJ_OK;
}

enum nj_err
idle_run(struct bench *b, struct storm_result *r)
{
	struct storm s;
	struct meter from, opened, to;
	uint64_t start;
	enum nj_err e;

	if ((e = storm_new(&s, b, (size_t)b->o.connections, r)))
		goto out;
	s.keep = s.measuring = true;
	from = meter_read(&b->o.pids);
	start = bench_now();
	if ((e = open_all(&s, (size_t)b->o.concurrency)))
		goto out;
	r->seconds = (double)(bench_now() - start) / 1e9;
	r->resumed = b->resumed;
	opened = meter_read(&b->o.pids);
	if ((e = run_until(&s, bench_now() + (uint64_t)b->o.settle * NS)))
		goto out;
	to = meter_read(&b->o.pids);
	r->metered = from.ok && opened.ok && to.ok;
	r->cpu_s = (double)(opened.cpu_ns - from.cpu_ns) / 1e9;
	r->rss_before = from.rss;
	r->rss_after = to.rss;
	r->rss_each = ((double)to.rss - (double)from.rss) / (double)s.n;
	if (b->failed > 0) {
		why_prefix(&b->why, "connections were lost while idle");
		e = NJ_IO;
		goto out;
	}
	close_all(&s, true);
	if ((e = run_until(&s, bench_now() + (uint64_t)b->o.settle * NS)))
		goto out;
	r->rss_closed = meter_read(&b->o.pids).rss;
out:
	storm_free(&s);
	return e;
}

/* Whoever measures the others says when. */
static enum nj_err
await_word(struct bench *b)
{
	char line[16];

	if (!b->o.on_input)
		return NJ_OK;
	(void)fprintf(stderr, "connected\n");
	if (fgets(line, sizeof line, stdin))
		return NJ_OK;
	why_set(&b->why, "--on-input: standard input ended");
	return NJ_EOF;
}

enum nj_err
storm_run(struct bench *b, struct storm_result *r)
{
	struct storm s;
	struct meter from, to;
	uint64_t start;
	enum nj_err e;

	if ((e = storm_new(&s, b, (size_t)b->o.connections, r)))
		goto out;
	s.keep = true;
	if ((e = open_all(&s, CALM)) ||
	    (e = run_until(&s, bench_now() + (uint64_t)b->o.settle * NS)) ||
	    (e = await_word(b)))
		goto out;
	close_all(&s, false);
	s.opened = 0;
	s.measuring = true;
	b->resumed = 0;
	from = meter_read(&b->o.pids);
	start = bench_now();
	if ((e = open_all(&s, (size_t)b->o.concurrency)))
		goto out;
	r->seconds = (double)(bench_now() - start) / 1e9;
	to = meter_read(&b->o.pids);
	r->resumed = b->resumed;
	r->metered = from.ok && to.ok;
	r->cpu_s = (double)(to.cpu_ns - from.cpu_ns) / 1e9;
	r->rss_before = from.rss;
	r->rss_after = to.rss;
out:
	storm_free(&s);
	return e;
}
