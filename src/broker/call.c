/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/call.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "broker/internal.h"

struct call {
	atomic_uint refs;
	atomic_bool dropped; /* nobody waits any more */
	pthread_mutex_t lock;
	pthread_cond_t done;
	unsigned left; /* parts not over; under lock */
	call_fn *fn;
	struct buf in;
	unsigned n;
	struct call_part parts[];
};

static enum nj_err
waiting_init(struct call *c)
{
	pthread_condattr_t attr;

	if (pthread_condattr_init(&attr) != 0)
		return NJ_NOMEM;
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (pthread_mutex_init(&c->lock, NULL) != 0)
		goto no_lock;
	if (pthread_cond_init(&c->done, &attr) != 0)
		goto no_cond;
	(void)pthread_condattr_destroy(&attr);
	return NJ_OK;
no_cond:
	(void)pthread_mutex_destroy(&c->lock);
no_lock:
	(void)pthread_condattr_destroy(&attr);
	return NJ_NOMEM;
}

static enum nj_err
call_new(unsigned n, call_fn *fn, struct slice in, struct call **out)
{
	struct call *c = calloc(1, sizeof *c + n * sizeof c->parts[0]);

	if (!c)
		return NJ_NOMEM;
	if (buf_put_slice(&c->in, in) || waiting_init(c)) {
		buf_fini(&c->in);
		free(c);
		return NJ_NOMEM;
	}
	atomic_init(&c->refs, n + 1);
	atomic_init(&c->dropped, false);
	c->n = c->left = n;
	c->fn = fn;
	for (unsigned i = 0; i < n; i++) {
		c->parts[i].letter.kind = LETTER_CALL;
		c->parts[i].call = c;
	}
	*out = c;
	return NJ_OK;
}

static void
call_unref(struct call *c)
{
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < c->n; i++)
		buf_fini(&c->parts[i].out);
	buf_fini(&c->in);
	(void)pthread_cond_destroy(&c->done);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

void
call_free(struct call *c)
{
	if (!c)
		return;
	atomic_store(&c->dropped, true);
	call_unref(c);
}

static struct timespec
in_ms(unsigned ms)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000L;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000L;
	}
	return t;
}

/* What all of it came to. */
static enum nj_err
wait_for(struct call *c, unsigned timeout_ms)
{
	struct timespec until = in_ms(timeout_ms);
	enum nj_err e = NJ_OK;
	int late = 0;

	(void)pthread_mutex_lock(&c->lock);
	while (c->left > 0 && !late)
		late = pthread_cond_timedwait(&c->done, &c->lock, &until);
	if (c->left > 0)
		e = NJ_TIMEOUT;
	(void)pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; !e && i < c->n; i++)
		e = c->parts[i].e;
	return e;
}

enum nj_err
call_shards(struct broker *b, uint32_t which, call_fn *fn, struct slice in,
    unsigned timeout_ms, struct call **out)
{
	bool all = which == CALL_ALL;
	unsigned n = all ? b->n : 1;
	struct call *c = NULL;
	enum nj_err e;

	if ((e = call_new(n, fn, in, &c)))
		return e;
	for (unsigned i = 0; i < n; i++)
		shard_post(&b->shards[all ? i : which], &c->parts[i].letter);
	if ((e = wait_for(c, timeout_ms)))
		call_free(c);
	else
		*out = c;
	return e;
}

bool
call_answer(const struct call *c, unsigned nth, struct slice *out)
{
	if (nth >= c->n)
		return false;
	*out = buf_slice(&c->parts[nth].out);
	return true;
}

uint32_t
call_count(const struct call *c, unsigned nth)
{
	return nth < c->n ? c->parts[nth].count : 0;
}

static void
over(struct call_part *p)
{
	struct call *c = p->call;

	/* each part has a reference of its own */
	(void)pthread_mutex_lock(&c->lock);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	if (--c->left == 0)
		(void)pthread_cond_signal(&c->done);
	(void)pthread_mutex_unlock(&c->lock);
	call_unref(c);
}

void
call_take(struct shard *sh, struct letter *l)
{
	struct call_part *p = LIST_OWNER(l, struct call_part, letter);

	list_push(&sh->calls, &p->pending);
}

void
calls_step(struct shard *sh)
{
	struct list *at, *next;

	for (at = sh->calls.next; at != &sh->calls; at = next) {
		struct call_part *p = LIST_OWNER(at, struct call_part, pending);
		struct call *c = p->call;

		next = at->next;
		if (!atomic_load(&c->dropped) &&
		    !c->fn(sh, buf_slice(&c->in), p))
			continue;
		list_remove(&p->pending);
		over(p);
	}
}

void
calls_fini(struct shard *sh)
{
	struct list *at;

	while ((at = list_pop(&sh->calls))) {
		struct call_part *p = LIST_OWNER(at, struct call_part, pending);

		p->e = NJ_EOF;
		over(p);
	}
}
