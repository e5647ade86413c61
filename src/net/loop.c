/* SPDX-License-Identifier: Apache-2.0
 * loop - see loop.h.
 */
#include "net/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct loop {
	int ep;
	int at, n; /* the batch being dispatched: next and end */
	struct epoll_event batch[LOOP_EVENTS];
};

static uint32_t
epoll_bits(unsigned want)
{
	return (want & LOOP_IN ? EPOLLIN | EPOLLRDHUP : 0u) |
	    (want & LOOP_EDGE ? EPOLLET : 0u) |
	    (want & LOOP_OUT ? EPOLLOUT : 0u);
}

/* A half-close is something to read: the reader finds the end of the stream
 * behind what still waits. */
static unsigned
ready_bits(uint32_t ev)
{
	return (ev & (EPOLLIN | EPOLLRDHUP) ? LOOP_IN : 0u) |
	    (ev & EPOLLRDHUP ? LOOP_GONE : 0u) |
	    (ev & EPOLLOUT ? LOOP_OUT : 0u) |
	    (ev & (EPOLLERR | EPOLLHUP) ? LOOP_HUP : 0u);
}

enum nj_err
loop_new(struct loop **out)
{
	struct loop *l = calloc(1, sizeof *l);

	if (!l)
		return NJ_NOMEM;
	if ((l->ep = epoll_create1(EPOLL_CLOEXEC)) < 0) {
		free(l);
		return NJ_IO;
	}
	*out = l;
	return NJ_OK;
}

void
loop_free(struct loop *l)
{
	if (!l)
		return;
	(void)close(l->ep);
	free(l);
}

static enum nj_err
ctl(struct loop *l, int op, struct watch *w)
{
	struct epoll_event ev = { .events = epoll_bits(w->want),
		.data.ptr = w };

	if (epoll_ctl(l->ep, op, w->fd, &ev) == 0)
		return NJ_OK;
	return errno == ENOMEM || errno == ENOSPC ? NJ_NOMEM : NJ_IO;
}

enum nj_err
loop_add(struct loop *l, struct watch *w)
{
	assert(w->fd >= 0 && w->fn);
	return ctl(l, EPOLL_CTL_ADD, w);
}

enum nj_err
loop_want(struct loop *l, struct watch *w, unsigned want)
{
	unsigned before = w->want;
	enum nj_err e;

	if (want == before)
		return NJ_OK;
	assert(w->fd >= 0);
	w->want = want;
	if ((e = ctl(l, EPOLL_CTL_MOD, w)))
		w->want = before;
	return e;
}

void
loop_del(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	/* Fails only when the descriptor was closed already, which took it
	 * out of the set. */
	(void)epoll_ctl(l->ep, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
	for (int i = l->at; i < l->n; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
}

int
loop_wait(struct loop *l, int timeout_ms)
{
	int n = epoll_wait(l->ep, l->batch, LOOP_EVENTS, timeout_ms);

	/* The process was stopped, say, and goes on: what came meanwhile is
	 * seen before timers find that time has passed. */
	if (n < 0 && errno == EINTR)
		n = epoll_wait(l->ep, l->batch, LOOP_EVENTS, 0);
	l->at = 0;
	l->n = n > 0 ? n : 0;
	return l->n;
}

bool
loop_next(struct loop *l)
{
	while (l->at < l->n) {
		struct epoll_event *ev = &l->batch[l->at++];
		struct watch *w = ev->data.ptr;

		if (!w)
			continue;
		w->fn(w, ready_bits(ev->events));
		return true;
	}
	return false;
}

void
loop_dispatch(struct loop *l)
{
	while (l->at < l->n) {
		struct epoll_event *ev = &l->batch[l->at++];
		struct watch *w = ev->data.ptr;

		if (w)
			w->fn(w, ready_bits(ev->events));
	}
}

int
loop_fd(const struct loop *l)
{
	return l->ep;
}

void
loop_break(struct loop *l)
{
	l->at = l->n;
}

int
loop_turn(struct loop *l, int timeout_ms)
{
	int n = loop_wait(l, timeout_ms);

	loop_dispatch(l);
	return n;
}
