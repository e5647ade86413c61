/* SPDX-License-Identifier: Apache-2.0
 * Grace periods without a pause: liburcu's own thread sleeps 10 ms before each
 * one, so that many share it, which is most of the time of a test that ends a
 * thousand brokers.  Linked with --wrap=urcu_qsbr_call_rcu.
 */
#include "grace.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t some = PTHREAD_COND_INITIALIZER;
static struct rcu_head *first, **last = &first; /* in their order */

/* The link of liburcu's queue is one of ours until the grace period is over. */
static struct rcu_head **
next_of(struct rcu_head *h)
{
	return (struct rcu_head **)(void *)&h->next.next;
}

void
__wrap_urcu_qsbr_call_rcu(struct rcu_head *h, void (*fn)(struct rcu_head *))
{
	h->func = fn;
	*next_of(h) = NULL;
	(void)pthread_mutex_lock(&lock);
	*last = h;
	last = next_of(h);
	(void)pthread_cond_signal(&some);
	(void)pthread_mutex_unlock(&lock);
}

static struct rcu_head *
take_all(void)
{
	struct rcu_head *h;

	(void)pthread_mutex_lock(&lock);
	while (!first)
		(void)pthread_cond_wait(&some, &lock);
	h = first;
	first = NULL;
	last = &first;
	(void)pthread_mutex_unlock(&lock);
	return h;
}

static void *
run(void *arg)
{
	struct rcu_head *h, *next;

	rcu_register_thread();
	for (;;) {
		rcu_thread_offline();
		h = take_all();
		synchronize_rcu();
		rcu_thread_online();
		for (; h; h = next) {
			next = *next_of(h);
			h->func(h);
		}
	}
	return arg;
}

void
grace_start(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, run, NULL) != 0)
		abort();
	(void)pthread_detach(t);
}
