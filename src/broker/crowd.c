/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/crowd.h"

#include "base/clock.h"
#include "broker/conn.h"
#include "broker/shard.h"

/* Of a connection that is in no loop: nothing that could be wanted. */
#define WANT_NONE (~0u)

static void
on_crowd(struct watch *w, unsigned ready)
{
	(void)ready;
	LIST_OWNER(w, struct crowd, watch)->ready = true;
}

enum nj_err
crowd_init(struct shard *sh)
{
	struct crowd *w = &sh->crowd;
	enum nj_err e;

	list_init(&w->queue);
	if ((e = loop_new(&w->loop)))
		return e;
	w->watch = (struct watch){
		.fd = loop_fd(w->loop), .fn = on_crowd, .want = LOOP_IN
	};
	return loop_add(sh->loop, &w->watch);
}

void
crowd_fini(struct shard *sh)
{
	loop_free(sh->crowd.loop);
	sh->crowd.loop = NULL;
}

bool
crowd_waits(const struct shard *sh)
{
	return sh->crowd.ready || !list_empty(&sh->crowd.queue);
}

/* One of what is ready; the system is asked once a turn, and what it named is
 * called to the end, in this turn or in later ones, before it is asked again. */
static bool
serve_ready(struct crowd *w)
{
	if (!w->ready)
		return false;
	if (loop_next(w->loop))
		return true;
	if (!w->looked) {
		w->looked = true;
		(void)loop_wait(w->loop, 0);
		if (loop_next(w->loop))
			return true;
	}
	w->ready = false; /* or the shard's own loop says so again */
	return false;
}

static bool
serve_queue(struct crowd *w)
{
	struct list *at = list_pop(&w->queue);

	if (at)
		conn_its_turn(LIST_OWNER(at, struct conn, work));
	return at != NULL;
}

static bool
serve_one(struct crowd *w)
{
	w->queue_next = !w->queue_next;
	return w->queue_next ? serve_queue(w) || serve_ready(w)
			     : serve_ready(w) || serve_queue(w);
}

void
crowd_serve(struct shard *sh)
{
	uint64_t from, share;

	if (!crowd_waits(sh))
		return;
	from = clock_mono_us(sh->clock);
	share = (from - sh->began_ms * 1000) / CROWD_SHARE;
	share = share < CROWD_US ? CROWD_US : share;
	share = share > CROWD_MOST_US ? CROWD_MOST_US : share;
	sh->crowd.looked = false;
	while (serve_one(&sh->crowd) && sh->deaths < CROWD_DEATHS &&
	    clock_mono_us(sh->clock) - from < share)
		;
}

void
crowd_push(struct conn *c)
{
	list_push(&c->shard->crowd.queue, &c->work);
}

static void
join_loop(struct conn *c)
{
	c->watch.fd = stream_fd(c->stream); /* loop_del took it out */
	if (loop_add(conn_loop(c), &c->watch))
		conn_doom(c, "the event loop refused it");
}

void
crowd_part(struct conn *c, unsigned want)
{
	loop_del(conn_loop(c), &c->watch);
	c->crowded = false;
	c->watch.want = want & ~(unsigned)LOOP_EDGE;
	join_loop(c);
}

/* Its events would come again and again. */
bool
crowd_takes(struct conn *c)
{
	if (c->crowded || c->shard->deaths < CROWD_GONE ||
	    list_linked(&c->work))
		return false;
	loop_del(conn_loop(c), &c->watch);
	c->watch.want = WANT_NONE;
	c->crowded = true;
	crowd_push(c);
	return true;
}

void
crowd_again(struct conn *c, unsigned want)
{
	if (list_linked(&c->work)) /* its turn comes, here or elsewhere */
		return;
	c->watch.want = want;
	join_loop(c);
}
