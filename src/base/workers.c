/* SPDX-License-Identifier: Apache-2.0 */
#include "base/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

struct workers {
	pthread_mutex_t lock; /* all below but threads */
	pthread_cond_t more;
	struct job *first, **last;
	size_t queued, max_queued;
	bool stop;
	unsigned n;
	pthread_t threads[];
};

static void *
work(void *arg)
{
	struct workers *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct job *j;

		while (!w->first && !w->stop)
			pthread_cond_wait(&w->more, &w->lock);
		if (!(j = w->first))
			break;
		if (!(w->first = j->next))
			w->last = &w->first;
		w->queued--;
		pthread_mutex_unlock(&w->lock);
		j->run(j); /* may free j */
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Signals are for the main thread; workers are born with all blocked. */
static bool
start_one(struct workers *w)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->threads[w->n], NULL, work, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return false;
	w->n++;
	return true;
}

enum nj_err
workers_new(unsigned threads, size_t max_queued, struct workers **out)
{
	struct workers *w;

	if (threads == 0)
		return NJ_INVALID;
	if (!(w = calloc(1, sizeof *w + threads * sizeof(pthread_t))))
		return NJ_NOMEM;
	w->last = &w->first;
	w->max_queued = max_queued;
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->more, NULL);
	for (unsigned i = 0; i < threads; i++) {
		if (!start_one(w)) {
			workers_free(w);
			return NJ_NOMEM;
		}
	}
	*out = w;
	return NJ_OK;
}

void
workers_free(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->more);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->n; i++)
		(void)pthread_join(w->threads[i], NULL);
	pthread_cond_destroy(&w->more);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

enum nj_err
workers_submit(struct workers *w, struct job *j)
{
	enum nj_err e = NJ_OK;

	j->next = NULL;
	pthread_mutex_lock(&w->lock);
	if (w->queued >= w->max_queued) {
		e = NJ_FULL;
	} else {
		*w->last = j;
		w->last = &j->next;
		w->queued++;
		pthread_cond_signal(&w->more);
	}
	pthread_mutex_unlock(&w->lock);
	return e;
}
