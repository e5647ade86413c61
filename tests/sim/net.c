/* SPDX-License-Identifier: Apache-2.0
 */
#include "net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "edge.h"
#include "net/loop.h"
#include "sim.h"

/* Pipes. */

static uint64_t
latency(const struct nconn *c)
{
	uint64_t ms = between(&sim->wire, c->lat_lo, c->lat_hi);

	if (!sim->calm && chance(&sim->wire, 5))
		ms += pick(&sim->wire, 2000);
	return sim->now + ms;
}

static void
pipe_init(struct pipe *p)
{
	*p = (struct pipe){ .fin_at = NEVER, .rst_at = NEVER };
}

static void
pipe_put(struct pipe *p, const uint8_t *b, size_t n, uint64_t at)
{
	struct seg *s;

	if (n == 0 || p->cut || buf_put(&p->data, b, n))
		return;
	if (at < p->last_at)
		at = p->last_at; /* in order */
	p->last_at = at;
	if (p->n == NET_SEGS) {
		s = &p->segs[(p->head + p->n - 1) % NET_SEGS];
		s->n += n;
		s->at = at;
		return;
	}
	s = &p->segs[(p->head + p->n++) % NET_SEGS];
	*s = (struct seg){ at, n };
}

static void
pipe_step(struct pipe *p)
{
	while (p->n > 0 && p->segs[p->head].at <= sim->now) {
		p->arrived += p->segs[p->head].n;
		p->head = (p->head + 1) % NET_SEGS;
		p->n--;
	}
}

/* Only so many of the bytes that have not arrived ever will. */
static void
pipe_truncate(struct pipe *p, size_t keep)
{
	buf_truncate(&p->data, p->arrived + keep);
	p->n = 0;
	if (keep > 0)
		p->segs[p->head] = (struct seg){ p->last_at, keep };
	p->n = keep > 0;
}

static size_t
pipe_take(struct pipe *p, uint8_t *dst, size_t cap)
{
	size_t n = p->arrived < cap ? p->arrived : cap;

	if (n > 1 && chance(&sim->wire, sim->is.short_io))
		n = 1 + pick(&sim->wire, n);
	memcpy(dst, p->data.p + p->data.off, n);
	buf_drain(&p->data, n);
	p->arrived -= n;
	return n;
}

/* The end that is under way comes behind all that was sent before it. */
static bool
pipe_ended(const struct pipe *p)
{
	return p->fin_at <= sim->now && buf_len(&p->data) == 0;
}

static void
pipe_end(struct pipe *p, uint64_t *end, uint64_t at)
{
	if (at < p->last_at)
		at = p->last_at;
	if (at < *end)
		*end = at;
}

/* Connections. */

static void
release(struct nconn *c)
{
	struct net *net = &sim->net;

	if (!c->broker_gone || !c->client_gone)
		return;
	for (unsigned i = 0; i < net->n; i++)
		if (net->v[i] == c) {
			memmove(&net->v[i], &net->v[i + 1],
			    (--net->n - i) * sizeof(c));
			break;
		}
	buf_fini(&c->up.data);
	buf_fini(&c->down.data);
	edge_free(c->edge);
	free(c);
}

struct nconn *
net_dial(struct client *cl)
{
	static const size_t windows[] = { 200, 2000, 20000, 65536, 1 << 20 };
	struct net *net = &sim->net;
	struct nconn *c;

	if (net->n == NET_CONNS || !(c = calloc(1, sizeof *c)))
		return NULL;
	c->id = ++net->next_id;
	c->fd = NET_FD + (int)c->id;
	c->client = cl;
	pipe_init(&c->up);
	pipe_init(&c->down);
	c->lat_lo = (uint32_t)pick(&sim->wire, sim->is.lat_lo + 1);
	c->lat_hi = c->lat_lo + (uint32_t)pick(&sim->wire, sim->is.lat_hi + 1);
	c->window = windows[pick(&sim->wire, 5)];
	c->shard = (unsigned)pick(&sim->wire, sim->is.shards);
	c->open_at = latency(c);
	c->edge = edge_new(c);
	net->v[net->n++] = c;
	return c;
}

size_t
net_send(struct nconn *c, const uint8_t *p, size_t n)
{
	size_t used = buf_len(&c->up.data);
	size_t room = used < c->window ? c->window - used : 0;

	n = n < room ? n : room;
	if (c->broker_gone) {
		/* what comes back is a reset */
		pipe_end(&c->down, &c->down.rst_at, latency(c));
		return n;
	}
	if (n > 0)
		pipe_put(&c->up, p, n, latency(c));
	return n;
}

bool
net_recv(struct nconn *c, struct buf *in)
{
	uint8_t chunk[4096];
	size_t n;

	if (c->hole)
		return true;
	pipe_step(&c->down);
	while (c->down.arrived > 0) {
		n = pipe_take(&c->down, chunk, sizeof chunk);
		if (buf_put(in, chunk, n))
			return false;
	}
	return !pipe_ended(&c->down) && c->down.rst_at > sim->now;
}

void
net_hangup(struct nconn *c, bool orderly)
{
	uint64_t at = latency(c);

	trace("conn %u: client %s", c->id, orderly ? "closes" : "resets");
	c->client_gone = true;
	if (orderly) {
		pipe_end(&c->up, &c->up.fin_at, at);
	} else {
		pipe_step(&c->up);
		if (chance(&sim->wire, 500))
			pipe_truncate(&c->up, 0);
		pipe_end(&c->up, &c->up.rst_at, at);
	}
	buf_truncate(&c->down.data, 0);
	c->down.arrived = 0;
	c->down.n = 0;
	release(c);
}

static size_t
part_of(const struct pipe *p)
{
	return pick(&sim->wire, buf_len(&p->data) - p->arrived + 1);
}

void
net_cut(struct nconn *c)
{
	trace("conn %u: cut", c->id);
	pipe_step(&c->up);
	pipe_truncate(&c->up, part_of(&c->up));
	pipe_end(&c->up,
	    chance(&sim->wire, 500) ? &c->up.fin_at : &c->up.rst_at,
	    latency(c));
	pipe_step(&c->down);
	pipe_truncate(&c->down, part_of(&c->down));
	pipe_end(&c->down, &c->down.rst_at, latency(c));
	c->up.cut = c->down.cut = true;
}

void
net_abandon(struct nconn *c, bool hole)
{
	trace("conn %u: abandoned%s", c->id, hole ? ", half-open" : "");
	c->hole |= hole;
	c->client = NULL; /* nobody reads */
	if (c->broker_gone) {
		c->client_gone = true;
		release(c);
	}
}

/* The broker's end. */

struct nconn *
net_find(int fd)
{
	struct net *net = &sim->net;

	for (unsigned i = 0; i < net->n; i++)
		if (net->v[i]->fd == fd)
			return net->v[i];
	return NULL;
}

struct nconn *
net_waiting(unsigned shard)
{
	struct net *net = &sim->net;

	for (unsigned i = 0; i < net->n; i++) {
		struct nconn *c = net->v[i];

		if (!c->accepted && !c->broker_gone && c->shard == shard &&
		    c->open_at <= sim->now)
			return c;
	}
	return NULL;
}

static size_t
room_down(const struct nconn *c)
{
	size_t used = buf_len(&c->down.data);

	return used < c->window ? c->window - used : 0;
}

static bool
has_ended(const struct nconn *c)
{
	return c->up.rst_at <= sim->now || pipe_ended(&c->up);
}

static bool
is_news(const struct nconn *c)
{
	return c->taken + c->up.arrived != c->told ||
	    has_ended(c) != c->told_end;
}

unsigned
net_ready(struct nconn *c, unsigned want)
{
	bool rst, fin;
	unsigned r = 0;

	if (c->hole)
		return (want & LOOP_OUT) && room_down(c) ? LOOP_OUT : 0;
	pipe_step(&c->up);
	rst = c->up.rst_at <= sim->now;
	fin = pipe_ended(&c->up);
	if ((want & LOOP_IN) && (c->up.arrived > 0 || rst || fin))
		r |= LOOP_IN | (rst || fin ? LOOP_GONE : 0);
	if ((want & LOOP_OUT) && (room_down(c) || rst))
		r |= LOOP_OUT;
	if (rst || (fin && c->shut))
		r |= LOOP_HUP;
	if ((want & LOOP_EDGE) && !c->armed && !is_news(c))
		r &= LOOP_OUT;
	return r;
}

void
net_told(struct nconn *c)
{
	c->armed = false;
	c->told = c->taken + c->up.arrived;
	c->told_end = has_ended(c);
}

enum nj_err
net_read(struct nconn *c, uint8_t *dst, size_t cap, size_t *n)
{
	if (c->hole)
		return NJ_AGAIN;
	pipe_step(&c->up);
	if (c->up.arrived > 0) {
		*n = pipe_take(&c->up, dst, cap);
		c->taken += *n;
		/* no system does that and says nothing more */
		c->armed |= *n < cap && c->up.arrived > 0;
		edge_in(c->edge, dst, *n);
		return NJ_OK;
	}
	if (c->up.rst_at <= sim->now) {
		errno = ECONNRESET;
		return NJ_IO;
	}
	return pipe_ended(&c->up) ? NJ_EOF : NJ_AGAIN;
}

enum nj_err
net_write(struct nconn *c, const uint8_t *src, size_t len, size_t *n)
{
	size_t room = room_down(c);

	if (!c->hole && c->up.rst_at <= sim->now) {
		errno = EPIPE;
		return NJ_IO;
	}
	if (room == 0)
		return NJ_AGAIN;
	*n = len < room ? len : room;
	if (*n > 1 && chance(&sim->wire, sim->is.short_io))
		*n = 1 + pick(&sim->wire, *n);
	edge_out(c->edge, src, *n);
	if (c->client_gone) /* the answer to it is a reset */
		pipe_end(&c->up, &c->up.rst_at, latency(c));
	else
		pipe_put(&c->down, src, *n, latency(c));
	return NJ_OK;
}

void
net_shut(struct nconn *c)
{
	c->shut = true;
	pipe_end(&c->down, &c->down.fin_at, latency(c));
	edge_over(c->edge);
}

void
net_close(struct nconn *c)
{
	trace("conn %u: broker closes", c->id);
	edge_over(c->edge);
	pipe_step(&c->up);
	if (buf_len(&c->up.data) > 0) {
		/* unread bytes make a reset of it, which may outrun data */
		pipe_step(&c->down);
		pipe_truncate(&c->down, part_of(&c->down));
		pipe_end(&c->down, &c->down.rst_at, latency(c));
	} else {
		pipe_end(&c->down, &c->down.fin_at, latency(c));
	}
	c->broker_gone = true;
	c->client_gone |= c->client == NULL;
	release(c);
}

bool
net_busy(void)
{
	struct net *net = &sim->net;

	for (unsigned i = 0; i < net->n; i++) {
		struct nconn *c = net->v[i];

		if (!c->accepted || c->broker_gone || c->client_gone ||
		    !c->client || buf_len(&c->up.data) > 0 ||
		    buf_len(&c->down.data) > 0)
			return true;
	}
	return false;
}

void
net_unplug(void)
{
	struct net *net = &sim->net;

	for (unsigned i = net->n; i > 0; i--) {
		struct nconn *c = net->v[i - 1];

		if (c->broker_gone)
			continue;
		net_cut(c);
		c->hole = false;
		pipe_truncate(&c->up, 0);
		buf_truncate(&c->up.data, 0);
		c->up.arrived = 0;
		c->up.rst_at = sim->now;
		if (!c->accepted)
			net_close(c);
	}
}

void
net_fini(void)
{
	struct net *net = &sim->net;

	while (net->n > 0) {
		struct nconn *c = net->v[0];

		c->client_gone = c->broker_gone = true;
		release(c);
	}
}
