/* SPDX-License-Identifier: Apache-2.0
 */
#include "lone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/durable.h"
#include "core/index.h"
#include "core/keep.h"

static char store;

struct lone lone;

enum store_state __wrap_store_state(const struct store *s);
void __wrap_store_submit(struct store *s, struct store_batch *b);

enum store_state
__wrap_store_state(const struct store *s)
{
	(void)s;
	return lone.state;
}

void
__wrap_store_submit(struct store *s, struct store_batch *b)
{
	assert_ptr_equal(s, lone.store);
	assert_true(lone.n_given < BATCHES_OUT);
	lone.given[lone.n_given++] = b;
}

enum nj_err
lone_begin(unsigned shards)
{
	struct shard *sh = calloc(1, sizeof *sh);
	enum nj_err e;

	lone = (struct lone){
		.shard = sh, .store = (struct store *)&store, .state = STORE_OK
	};
	if (!sh)
		return NJ_NOMEM;
	if ((e = index_new(
		 &(struct index_opts){ .shards = shards }, &lone.index)))
		return e;
	lone.broker =
	    (struct broker){ .n = shards, .shards = sh, .index = lone.index };
	sh->broker = &lone.broker;
	home_init(&sh->home, 0, lone.index);
	sh->home.now_ms = 1000;
	return durable_init(sh, lone.store);
}

void
lone_end(void)
{
	assert_int_equal(lone.n_given, 0);
	durable_fini(lone.shard);
	home_fini(&lone.shard->home);
	index_free(lone.index);
	free(lone.shard);
}

void
lone_turn(unsigned after_ms)
{
	struct home *h = &lone.shard->home;

	h->now_ms += after_ms;
	(void)timers_run(&h->timers, h->now_ms, 10);
	durable_turn(lone.shard);
}

void
lone_stored(void)
{
	for (unsigned i = 0; i < lone.n_given; i++)
		durable_stored(lone.shard, &lone.given[i]->letter);
	lone.n_given = 0;
}

enum nj_err
lone_kept(const char *id, struct session **out)
{
	struct session *s;
	enum nj_err e = session_new(&lone.shard->home, slice_str(id), &s);

	if (e)
		return e;
	if (!(s->kept = calloc(1, sizeof *s->kept))) {
		session_free(s);
		return NJ_NOMEM;
	}
	s->kept->session = s;
	*out = s;
	return NJ_OK;
}

enum nj_err
lone_begin_with(unsigned shards, struct session **s, struct msg **m)
{
	const struct publish p = { .qos = 2 };
	enum nj_err e;

	if (lone_begin(shards))
		return NJ_NOMEM;
	if ((e = lone_kept("a", s)))
		return e;
	return msg_new(&p, slice_str("t"), 0, m);
}

void
lone_on_kick(struct link *l)
{
	l->kicked = true;
}

void
lone_on_flush(struct link *l)
{
	(void)l;
}
