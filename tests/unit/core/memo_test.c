/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "core/index.h"
#include "core/memo.h"
#include "wire/topic.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

struct session {
	struct subs subs;
};

struct subs *
session_subs(struct session *s)
{
	return &s->subs;
}

/* The filters are only compared, never looked into. */
static struct filter *
fake(uintptr_t n)
{
	return (struct filter *)n;
}

static void
memo_learns_the_second_time(void **state)
{
	struct memos *ms = memos_new();
	struct filter *v[MEMO_FILTERS + 1];
	struct slice topic = LIT("a/topic");
	uint64_t hash = 0;
	struct memo *e;

	(void)state;
	assert_non_null(ms);
	for (size_t i = 0; i < LEN(v); i++)
		v[i] = fake(i + 1);
	e = memo_at(ms, topic, &hash);
	assert_non_null(e);
	assert_false(memo_knows(e, topic, hash, 1));
	memo_learn(e, topic, hash, 1, v, 2);
	assert_false(memo_knows(e, topic, hash, 1));
	memo_learn(e, topic, hash, 1, v, 2);
	assert_true(memo_knows(e, topic, hash, 1));
	assert_int_equal(e->n, 2);
	assert_ptr_equal(e->v[1], fake(2));
	/* old after a change */
	assert_false(memo_knows(e, topic, hash, 2));
	memo_learn(e, topic, hash, 2, v, 0);
	assert_true(memo_knows(e, topic, hash, 2));
	assert_int_equal(e->n, 0);
	/* another topic of the same hash */
	assert_false(memo_knows(e, LIT("b/topic"), hash, 2));
	assert_false(memo_knows(e, LIT("a/topi"), hash, 2));
	/* too many filters */
	memo_learn(e, topic, hash, 3, v, MEMO_FILTERS + 1);
	assert_false(memo_knows(e, topic, hash, 3));
	memo_learn(e, topic, hash, 3, v, MEMO_FILTERS);
	assert_true(memo_knows(e, topic, hash, 3));
	memos_free(ms);
	memos_free(NULL);
}

static void
memo_spreads(void **state)
{
	static const char *const forms[] = { "bench/topic/%u", "%u", "dev/%u/s",
		"a/long/prefix/of/many/levels/and/%u/temperature", "x%u/" };
	struct memos *ms = memos_new();
	static bool used[MEMO_TOPICS];
	char text[MEMO_TEXT + 1];
	uint64_t hash;

	(void)state;
	assert_non_null(ms);
	for (size_t f = 0; f < LEN(forms); f++) {
		struct memo *base = NULL;
		unsigned places = 0;

		memset(used, 0, sizeof used);
		for (unsigned i = 0; i < MEMO_TOPICS; i++) {
			struct memo *e;

			(void)snprintf(text, sizeof text, forms[f], i);
			e = memo_at(ms, slice_str(text), &hash);
			assert_non_null(e);
			base = (struct memo *)ms;
			places += !used[e - base];
			used[e - base] = true;
		}
		/* 1 - 1/e of them, when thrown at random */
		assert_in_range(places, MEMO_TOPICS * 55 / 100, MEMO_TOPICS);
	}
	memset(text, 'x', sizeof text);
	assert_non_null(memo_at(ms, slice_of(text, MEMO_TEXT), &hash));
	assert_null(memo_at(ms, slice_of(text, MEMO_TEXT + 1), &hash));
	memos_free(ms);
}

/* One match that remembers and one that is new each time agree, while
 * filters come and go. */
static void
index_remembers_rightly(void **state)
{
	static const char *const filters[] = { "a/0", "a/1", "a/+", "a/#", "#",
		"+/1", "b/+", "a/0/#" };
	const struct index_opts o = { .shards = 1 };
	struct match m = { 0 };
	struct index *ix = NULL;
	struct session s = { 0 };
	bool on[LEN(filters)] = { false };
	struct rng r;

	(void)state;
	rng_seed(&r, 1);
	assert_int_equal(index_new(&o, &ix), NJ_OK);
	for (unsigned step = 0; step < 50000; step++) {
		size_t k = rng_next(&r) % LEN(filters);
		unsigned want = 0;
		char topic[16];
		bool existed;

		if (step % 50 == 0) {
			if (on[k])
				assert_int_equal(
				    subs_del(&s.subs, ix, 0,
					slice_str(filters[k]), false),
				    NJ_OK);
			else
				assert_int_equal(subs_put(&s.subs, ix, 0,
						     slice_str(filters[k]), &s,
						     0, false, &existed),
				    NJ_OK);
			on[k] = !on[k];
		}
		(void)snprintf(topic, sizeof topic, "%c/%u",
		    rng_next(&r) % 2 ? 'a' : 'b', (unsigned)(rng_next(&r) % 3));
		for (k = 0; k < LEN(filters); k++)
			want += on[k] &&
			    topic_matches(
				slice_str(filters[k]), slice_str(topic));
		assert_int_equal(index_match(ix, slice_str(topic), &m), NJ_OK);
		assert_int_equal(m.n, want);
		for (uint32_t i = 0; i < m.n; i++)
			assert_non_null(filter_targets(m.v[i]));
	}
	assert_non_null(m.memos);
	match_fini(&m);
	subs_clear(&s.subs, ix);
	index_free(ix);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memo_learns_the_second_time),
		cmocka_unit_test(memo_spreads),
		cmocka_unit_test(index_remembers_rightly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
