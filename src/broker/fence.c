/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/fence.h"

#include <string.h>
#include <time.h>
#include <urcu-qsbr.h>

#include "base/grace.h"
#include "base/log.h"
#include "base/pool.h"
#include "broker/internal.h"

struct retired;

struct fence {
	struct letter letter;
	struct retired *of;
};

struct retired {
	struct rcu_head rcu;
	struct broker *broker;
	void (*free_fn)(void *);
	void *p;
	unsigned n; /* fences */
	atomic_uint left;
	struct fence fences[];
};

static size_t
size_with(unsigned n)
{
	return sizeof(struct retired) + n * sizeof(struct fence);
}

static struct retired *
retired_new(struct broker *b, unsigned n, void (*free_fn)(void *), void *p)
{
	struct retired *r = pool_get(size_with(n));

	if (!r)
		return NULL;
	memset(r, 0, size_with(n));
	r->broker = b;
	r->free_fn = free_fn;
	r->p = p;
	r->n = n;
	return r;
}

static void
done(struct retired *r)
{
	r->free_fn(r->p);
	pool_put(r, size_with(r->n));
}

void
fence_passed(struct letter *l)
{
	struct retired *r = ((struct fence *)l)->of;

	if (atomic_fetch_sub(&r->left, 1) == 1)
		done(r);
}

static void
after_grace(struct rcu_head *h)
{
	struct retired *r = (struct retired *)(void *)((char *)h -
	    offsetof(struct retired, rcu));
	unsigned n = atomic_load_explicit(&r->left, memory_order_acquire);
	struct broker *b = r->broker;

	/* The last fence posted may free r. */
	for (unsigned i = 0; i < n; i++) {
		struct fence *f = &r->fences[i];

		f->letter.kind = LETTER_FENCE;
		f->of = r;
		shard_post(&b->shards[i], &f->letter);
	}
	atomic_fetch_sub(&b->retiring, 1);
}

static void
elsewhere(struct rcu_head *h)
{
	struct retired *r = (struct retired *)(void *)((char *)h -
	    offsetof(struct retired, rcu));
	struct broker *b;

	/* first, as in after_grace */
	(void)atomic_load_explicit(&r->left, memory_order_acquire);
	b = r->broker;
	done(r);
	atomic_fetch_sub(&b->retiring, 1);
}

void
fence_free_elsewhere(struct broker *b, void (*free_fn)(void *), void *p)
{
	struct retired *r = retired_new(b, 0, free_fn, p);

	if (!r) {
		free_fn(p);
		return;
	}
	atomic_store_explicit(&r->left, 1, memory_order_release);
	atomic_fetch_add(&b->retiring, 1);
	call_rcu(&r->rcu, elsewhere);
}

static void
keep_late(struct broker *b, void (*free_fn)(void *), void *p)
{
	unsigned at = atomic_fetch_add(&b->n_late, 1);

	if (at < LATE_MAX)
		b->late[at] = (struct late){ free_fn, p };
	else
		nj_log(LOG_T_ERROR,
		    "Out of memory: a block of the index is not freed");
}

void
fence_free_late(struct broker *b)
{
	unsigned n = atomic_load(&b->n_late);

	for (unsigned i = 0; i < n && i < LATE_MAX; i++)
		b->late[i].free_fn(b->late[i].p);
}

void
fence_retire(void *arg, void (*free_fn)(void *), void *p, size_t size)
{
	struct broker *b = arg;
	struct retired *r = retired_new(b, b->n, free_fn, p);

	if (!r) {
		keep_late(b, free_fn, p);
		return;
	}
	/* call_rcu orders this before after_grace; the pair of release and
	 * acquire says so to tools that do not look into liburcu */
	atomic_store_explicit(&r->left, b->n, memory_order_release);
	atomic_fetch_add(&b->retiring, 1);
	call_rcu(&r->rcu, after_grace);
}

/* Whose turn this thread runs; NULL: none, as before the start and at the end. */
static _Thread_local struct shard *turning;

void
fence_turn_begins(struct shard *sh)
{
	grace_enter(sh->broker->grace, sh->home.shard);
	turning = sh;
}

void
fence_turn_ends(struct shard *sh)
{
	turning = NULL;
	grace_turn(sh->broker->grace, sh->home.shard);
	rcu_quiescent_state();
}

void
fence_sleep(struct shard *sh)
{
	grace_leave(sh->broker->grace, sh->home.shard);
	rcu_thread_offline();
}

void
fence_awake(struct shard *sh)
{
	rcu_thread_online();
	grace_enter(sh->broker->grace, sh->home.shard);
}

size_t
fence_waits(const struct shard *sh)
{
	return grace_waits(sh->broker->grace, sh->home.shard);
}

void
fence_retire_seen(void *arg, void (*free_fn)(void *), void *p, size_t size)
{
	struct broker *b = arg;

	/* without memory to note it the longer way does */
	if (!turning || turning->broker != b ||
	    !grace_retire(b->grace, turning->home.shard, free_fn, p, size))
		fence_retire(arg, free_fn, p, size);
}

/* rcu_barrier() would do, but what it shares with liburcu's thread looks like
 * a race to ThreadSanitizer, which does not see liburcu's atomics. */
void
fence_barrier(struct broker *b)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	rcu_thread_offline();
	while (atomic_load(&b->retiring) > 0)
		(void)nanosleep(&ms, NULL);
	rcu_thread_online();
}
