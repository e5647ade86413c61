/* SPDX-License-Identifier: Apache-2.0
 * Shards that subscribe, match and retain at once, as the broker's do: each is
 * an RCU reader with one quiescent state a turn, and what is retired is freed
 * after a grace period; or by itself, when no turn can see it any more
 * (retained messages).  Meant for ThreadSanitizer and AddressSanitizer.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <urcu-qsbr.h>

#include <cmocka.h>

#include "base/grace.h"
#include "base/rand.h"
#include "core/index.h"
#include "core/retain.h"
#include "wire/topic.h"

#define SHARDS	 4
#define SESSIONS 8
#define TURNS	 10000
#define NAMES	 40

struct session {
	struct subs subs;
};

struct subs *
session_subs(struct session *s)
{
	return &s->subs;
}

struct world {
	struct index *ix;
	struct retain *rt;
	struct grace *grace;
	atomic_uint done;
};

struct shard {
	struct world *w;
	unsigned number;
	pthread_t thread;
	struct session sessions[SESSIONS];
	uint64_t matched, retained;
};

/* What waits for its grace period.  A grace period is waited for by a thread
 * of its own, joined through a mutex: liburcu is not instrumented, and the
 * mutex tells the sanitizer that frees come after reads. */
struct retired {
	struct retired *next;
	void (*free_fn)(void *);
	void *p;
};

static pthread_mutex_t bin_lock = PTHREAD_MUTEX_INITIALIZER;
static struct retired *bin;
static unsigned long binned;

static void
retire(void *arg, void (*free_fn)(void *), void *p, size_t size)
{
	struct retired *r = malloc(sizeof *r);

	(void)arg;
	(void)size;
	assert_non_null(r);
	*r = (struct retired){ NULL, free_fn, p };
	(void)pthread_mutex_lock(&bin_lock);
	r->next = bin;
	bin = r;
	binned++;
	(void)pthread_mutex_unlock(&bin_lock);
}

static _Thread_local unsigned seat;
static atomic_ulong seen;

static void
retire_seen(void *arg, void (*free_fn)(void *), void *p, size_t size)
{
	struct world *w = arg;

	assert_true(grace_retire(w->grace, seat, free_fn, p, size));
	atomic_fetch_add_explicit(&seen, 1, memory_order_relaxed);
}

/* A shard's quiescent state, visible to the sanitizer. */
static void
quiet(struct world *w)
{
	grace_turn(w->grace, seat);
	(void)pthread_mutex_lock(&bin_lock);
	(void)pthread_mutex_unlock(&bin_lock);
	rcu_quiescent_state();
}

static void
empty_bin(void)
{
	struct retired *r;

	(void)pthread_mutex_lock(&bin_lock);
	r = bin;
	bin = NULL;
	(void)pthread_mutex_unlock(&bin_lock);
	if (!r)
		return;
	synchronize_rcu();
	(void)pthread_mutex_lock(&bin_lock);
	(void)pthread_mutex_unlock(&bin_lock);
	while (r) {
		struct retired *next = r->next;

		r->free_fn(r->p);
		free(r);
		r = next;
	}
}

static struct slice
name(char *dst, size_t size, struct rng *r, bool filter)
{
	static const char *const forms[] = { "n/%u", "n/%u/deep", "n/+",
		"n/%u/#", "+/%u/+", "#" };
	size_t i = rng_next(r) % (filter ? sizeof forms / sizeof *forms : 2);
	unsigned k = (unsigned)(rng_next(r) % NAMES);
	const char *form = forms[i];

	if (!form) /* with UBSan gcc takes that for possible */
		abort();
	(void)snprintf(dst, size, form, k);
	return slice_str(dst);
}

static void
check_match(struct shard *s, struct slice topic, struct match *m)
{
	assert_int_equal(index_match(s->w->ix, topic, m), NJ_OK);
	for (uint32_t i = 0; i < m->n; i++) {
		uint8_t text[64];
		size_t n = filter_text(m->v[i], text, sizeof text);
		struct targets *t = filter_targets(m->v[i]);

		assert_true(topic_matches(slice_of(text, n), topic));
		for (; t;
		     t = atomic_load_explicit(&t->next, memory_order_acquire)) {
			assert_true(t->shard < SHARDS);
			if (!atomic_load(&t->live) || t->shard != s->number)
				continue;
			for (uint32_t k = 0; k < t->n; k++)
				s->matched += t->subs[k].session != NULL;
		}
	}
}

static bool
on_retained(void *arg, struct msg *m)
{
	struct shard *s = arg;

	s->retained += msg_payload(m).n;
	msg_unref(msg_ref(m));
	return true;
}

static void
turn(struct shard *s, struct rng *r, struct match *m)
{
	struct session *session = &s->sessions[rng_next(r) % SESSIONS];
	struct publish p = { .payload = LIT("x") };
	struct targets *held = NULL;
	struct msg *msg = NULL;
	char buf[32];
	bool existed;

	assert_int_equal(subs_put(&session->subs, s->w->ix, s->number,
			     name(buf, sizeof buf, r, true), session,
			     (uint32_t)s->number, false, &existed),
	    NJ_OK);
	check_match(s, name(buf, sizeof buf, r, false), m);
	if (subs_del(&session->subs, s->w->ix, s->number,
		name(buf, sizeof buf, r, true), false) == NJ_OK)
		s->matched++;
	/* a hold on somebody else's shard, as the store thread takes them */
	assert_int_equal(index_hold(s->w->ix, (s->number + 1) % SHARDS,
			     name(buf, sizeof buf, r, true), &held),
	    NJ_OK);
	check_match(s, name(buf, sizeof buf, r, false), m);
	index_release(s->w->ix, held);
	if (rng_next(r) % 64 == 0)
		subs_clear(&session->subs, s->w->ix);
	if (rng_next(r) % 2)
		p.payload = LIT("");
	assert_int_equal(
	    msg_new(&p, name(buf, sizeof buf, r, false), 0, &msg), NJ_OK);
	assert_int_equal(retain_set(s->w->rt, msg), NJ_OK);
	msg_unref(msg);
	retain_match(
	    s->w->rt, name(buf, sizeof buf, r, true), 0, on_retained, s);
}

static void *
run(void *arg)
{
	struct shard *s = arg;
	struct match m = { 0 };
	struct rng r;

	rng_seed(&r, s->number);
	seat = s->number;
	rcu_register_thread();
	grace_enter(s->w->grace, seat);
	for (unsigned i = 0; i < TURNS; i++) {
		turn(s, &r, &m);
		quiet(s->w);
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		subs_clear(&s->sessions[i].subs, s->w->ix);
	quiet(s->w);
	grace_leave(s->w->grace, seat);
	rcu_unregister_thread();
	match_fini(&m);
	atomic_fetch_add(&s->w->done, 1);
	return NULL;
}

static void
shards_share_the_index(void **state)
{
	static struct shard shards[SHARDS];
	struct index_opts io = { .shards = SHARDS, .retire = retire };
	struct world w = { 0 };
	struct retain_opts ro = { .retire = retire_seen, .arg = &w };
	struct index_stats st;

	(void)state;
	assert_int_equal(index_new(&io, &w.ix), NJ_OK);
	assert_int_equal(grace_new(SHARDS, &w.grace), NJ_OK);
	assert_int_equal(retain_new(&ro, &w.rt), NJ_OK);
	for (unsigned i = 0; i < SHARDS; i++) {
		shards[i] = (struct shard){ .w = &w, .number = i };
		assert_int_equal(
		    pthread_create(&shards[i].thread, NULL, run, &shards[i]),
		    0);
	}
	do
		empty_bin();
	while (atomic_load(&w.done) < SHARDS);
	for (unsigned i = 0; i < SHARDS; i++) {
		assert_int_equal(pthread_join(shards[i].thread, NULL), 0);
		assert_true(shards[i].matched > 0);
		assert_true(shards[i].retained > 0);
	}
	empty_bin();
	assert_true(binned > TURNS);
	assert_true(atomic_load(&seen) > TURNS);
	index_stats(w.ix, &st);
	assert_int_equal(st.filters, 0);
	assert_int_equal(st.subscriptions, 0);
	index_free(w.ix);
	retain_free(w.rt);
	grace_free(w.grace);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shards_share_the_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
