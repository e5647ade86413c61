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
#include "wire/topic.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

struct session {
	struct subs subs;
	unsigned shard;
};

struct subs *
session_subs(struct session *s)
{
	return &s->subs;
}

static struct index *
make(unsigned shards)
{
	struct index_opts o = { .shards = shards };
	struct index *ix = NULL;

	assert_int_equal(index_new(&o, &ix), NJ_OK);
	return ix;
}

static void
subscribe(
    struct index *ix, struct session *s, struct slice filter, uint32_t id_opts)
{
	bool existed;

	assert_int_equal(subs_put(&s->subs, ix, s->shard, filter, s, id_opts,
			     false, &existed),
	    NJ_OK);
}

/* Number of matches; each filter's text must match the topic. */
static unsigned
matches(struct index *ix, struct slice topic)
{
	struct match m = { 0 };
	unsigned n;

	assert_int_equal(index_match(ix, topic, &m), NJ_OK);
	for (uint32_t i = 0; i < m.n; i++) {
		uint8_t text[512];
		size_t len = filter_text(m.v[i], text, sizeof text);

		assert_true(len <= sizeof text);
		assert_true(topic_matches(slice_of(text, len), topic));
		for (uint32_t k = 0; k < i; k++)
			assert_ptr_not_equal(m.v[i], m.v[k]);
	}
	n = m.n;
	match_fini(&m);
	return n;
}

static void
index_matches(void **state)
{
	/* MQTT 5.0 4.7.1 to 4.7.3 */
	const struct {
		const char *filter, *topic;
		bool want;
	} rows[] = {
		{ "sport/tennis/player1/#", "sport/tennis/player1", true },
		{ "sport/tennis/player1/#", "sport/tennis/player1/ranking",
		    true },
		{ "sport/tennis/player1/#",
		    "sport/tennis/player1/score/wimbledon", true },
		{ "sport/#", "sport", true },
		{ "sport/#", "sports", false },
		{ "#", "sport", true },
		{ "#", "/", true },
		{ "#", "a/b/c", true },
		{ "sport/tennis/#", "sport/tennis", true },
		{ "sport/tennis/+", "sport/tennis/player1", true },
		{ "sport/tennis/+", "sport/tennis/player2", true },
		{ "sport/tennis/+", "sport/tennis/player1/ranking", false },
		{ "sport/+", "sport", false },
		{ "sport/+", "sport/", true },
		{ "+", "sport", true },
		{ "+", "sport/tennis", false },
		{ "+/tennis/#", "sport/tennis", true },
		{ "+/tennis/#", "sport/tennis/x/y", true },
		{ "sport/+/player1", "sport/tennis/player1", true },
		{ "sport/+/player1", "sport/tennis/player2", false },
		{ "+/+", "/finance", true },
		{ "/+", "/finance", true },
		{ "+", "/finance", false },
		{ "#", "$SYS/x", false }, /* [MQTT-4.7.2-1] */
		{ "+/monitor/Clients", "$SYS/monitor/Clients", false },
		{ "$SYS/#", "$SYS/", true },
		{ "$SYS/#", "$SYS", true },
		{ "$SYS/#", "$SYS/x/y", true },
		{ "$SYS/monitor/+", "$SYS/monitor/Clients", true },
		{ "a/#", "a/$SYS", true },
		{ "a/+", "a/$SYS", true },
		{ "+/#", "$SYS", false },
		{ "ACCOUNTS", "Accounts", false }, /* 4.7.3 */
		{ "Accounts payable", "Accounts payable", true },
		{ "/finance", "finance", false },
		{ "finance", "/finance", false },
		{ "/", "/", true },
		{ "+/+", "/", true },
		{ "//", "//", true },
		{ "a//b", "a//b", true },
		{ "a//b", "a/b", false },
		{ "a/+/b", "a//b", true },
		{ "a/b", "a/b", true },
		{ "a/b", "a/b/", false },
		{ "a/b/", "a/b", false },
		{ "a", "a/b", false },
		{ "a/b", "a", false },
		{ "a/+/#", "a/b", true },
		{ "a/+/#", "a", false },
		{ "+/+/+", "a/b/c", true },
		{ "+/+/+", "a/b", false },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct index *ix = make(1);
		struct session s = { 0 };

		subscribe(ix, &s, slice_str(rows[i].filter), 1);
		if (matches(ix, slice_str(rows[i].topic)) != rows[i].want)
			fail_msg("%s on %s: want %d", rows[i].filter,
			    rows[i].topic, rows[i].want);
		subs_clear(&s.subs, ix);
		assert_int_equal(matches(ix, slice_str(rows[i].topic)), 0);
		index_free(ix);
	}
}

static void
index_bounds_levels(void **state)
{
	const struct {
		const char *why;
		unsigned levels;
		enum nj_err want;
	} rows[] = {
		{ "one", 1, NJ_OK },
		{ "at the bound", TOPIC_LEVELS_MAX, NJ_OK },
		{ "past the bound", TOPIC_LEVELS_MAX + 1, NJ_TOOBIG },
	};
	struct index *ix = make(1);

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		char text[2 * TOPIC_LEVELS_MAX + 8], plus[sizeof text];
		size_t n = rows[i].levels * 2 - 1;
		struct session s = { 0 };
		struct match m = { 0 };
		struct index_stats st;
		bool existed;

		for (size_t k = 0; k < n; k++) {
			text[k] = k % 2 ? '/' : 'a';
			plus[k] = k % 2 ? '/' : '+';
		}
		assert_int_equal(subs_put(&s.subs, ix, 0, slice_of(text, n), &s,
				     0, false, &existed),
		    rows[i].want);
		assert_int_equal(subs_put(&s.subs, ix, 0, slice_of(plus, n), &s,
				     0, false, &existed),
		    rows[i].want);
		assert_int_equal(
		    index_match(ix, slice_of(text, n), &m), rows[i].want);
		assert_int_equal(m.n, rows[i].want ? 0 : 2);
		match_fini(&m);
		subs_clear(&s.subs, ix);
		index_stats(ix, &st);
		assert_int_equal(st.filters, 0);
	}
	index_free(ix);
}

/* Level texts that make many filters overlap. */
static struct slice
random_text(struct rng *r, bool filter, char *dst)
{
	static const char *const words[] = { "a", "b", "c", "", "$x", "dd" };
	unsigned levels = 1 + (unsigned)(rng_next(r) % 5);
	size_t n = 0;

	for (unsigned i = 0; i < levels; i++) {
		const char *w = words[rng_next(r) % LEN(words)];
		unsigned wild = (unsigned)(rng_next(r) % 6);

		if (filter && wild == 0)
			w = "+";
		if (filter && wild == 1 && i + 1 == levels)
			w = "#";
		if (i > 0)
			dst[n++] = '/';
		memcpy(dst + n, w, strlen(w));
		n += strlen(w);
	}
	if (n == 0)
		dst[n++] = 'z';
	return slice_of(dst, n);
}

#define ORACLE 400

static void
index_agrees_with_oracle(void **state)
{
	static char filters[ORACLE][64];
	struct slice f[ORACLE];
	bool on[ORACLE] = { false };
	struct session s = { 0 };
	struct index *ix = make(1);
	struct index_stats st;
	struct rng r;

	(void)state;
	rng_seed(&r, 7);
	for (size_t i = 0; i < ORACLE; i++) {
		bool again = true;

		while (again) {
			f[i] = random_text(&r, true, filters[i]);
			again = !topic_filter_ok(f[i]);
			for (size_t k = 0; k < i; k++)
				again = again || slice_eq(f[i], f[k]);
		}
	}
	for (unsigned step = 0; step < 20000; step++) {
		size_t i = rng_next(&r) % ORACLE;
		char buf[64];
		struct slice topic = random_text(&r, false, buf);
		unsigned want = 0;

		if (on[i])
			assert_int_equal(
			    subs_del(&s.subs, ix, 0, f[i], false), NJ_OK);
		else
			subscribe(ix, &s, f[i], (uint32_t)i << 4);
		on[i] = !on[i];
		for (size_t k = 0; k < ORACLE; k++)
			want += on[k] && topic_matches(f[k], topic);
		assert_int_equal(matches(ix, topic), want);
	}
	subs_clear(&s.subs, ix);
	index_stats(ix, &st);
	assert_int_equal(st.filters, 0);
	assert_int_equal(st.subscriptions, 0);
	index_free(ix);
}

static void
index_puts_and_replaces(void **state)
{
	struct index *ix = make(4);
	struct session a = { .shard = 2 }, b = { .shard = 2 },
		       c = { .shard = 1 };
	struct filter *f = NULL;
	struct targets *t;
	struct match m = { 0 };
	struct index_stats st;
	bool existed = true;
	uint32_t at = 0;

	(void)state;
	assert_int_equal(subs_put(&a.subs, ix, 2, LIT("x/+"), &a,
			     9u << 4 | SUB_RAP | 1, false, &existed),
	    NJ_OK);
	assert_false(existed);
	subscribe(ix, &b, LIT("x/+"), 2);
	subscribe(ix, &c, LIT("x/+"), 0);
	assert_int_equal(subs_put(&a.subs, ix, 2, LIT("x/+"), &a,
			     5u << 4 | SUB_NO_LOCAL | 2, false, &existed),
	    NJ_OK);
	assert_true(existed); /* [MQTT-3.8.4-3] */
	assert_int_equal(index_match(ix, LIT("x/y"), &m), NJ_OK);
	assert_int_equal(m.n, 1);
	t = filter_targets_of(m.v[0], 2);
	assert_non_null(t);
	assert_int_equal(t->n, 2);
	assert_int_equal(atomic_load(&t->live), 2);
	assert_ptr_equal(t->subs[0].session, &a);
	assert_int_equal(SUB_ID(&t->subs[0]), 5);
	assert_int_equal(t->subs[0].id_opts & SUB_QOS, 2);
	assert_true(t->subs[0].id_opts & SUB_NO_LOCAL);
	assert_null(filter_targets_of(m.v[0], 0));
	assert_int_equal(filter_targets_of(m.v[0], 1)->n, 1);
	assert_ptr_equal(subs_next(&a.subs, &at, &f), &t->subs[0]);
	assert_ptr_equal(f, m.v[0]);
	assert_null(subs_next(&a.subs, &at, &f));
	/* the last one moves into the gap, and is still found */
	assert_int_equal(subs_del(&a.subs, ix, 2, LIT("x/+"), false), NJ_OK);
	assert_int_equal(
	    subs_del(&a.subs, ix, 2, LIT("x/+"), false), NJ_NOTFOUND);
	assert_int_equal(
	    subs_del(&a.subs, ix, 2, LIT("x/y"), false), NJ_NOTFOUND);
	assert_ptr_equal(t->subs[0].session, &b);
	assert_int_equal(subs_del(&b.subs, ix, 2, LIT("x/+"), false), NJ_OK);
	index_stats(ix, &st);
	assert_int_equal(st.filters, 1);
	assert_int_equal(st.subscriptions, 1);
	subs_clear(&c.subs, ix);
	assert_int_equal(matches(ix, LIT("x/y")), 0);
	subs_clear(&a.subs, ix);
	subs_clear(&b.subs, ix);
	match_fini(&m);
	index_free(ix);
}

/* The names below one level come and go, with "+" and "#" beside them: who is
 * there is found, and nobody else; a node's kids. */
static void
index_names_of_one_level(void **state)
{
	struct index *ix = make(1);
	struct session s = { 0 }, wild = { 0 };
	bool there[60] = { false };
	const size_t n = sizeof there / sizeof *there;
	char text[16];

	(void)state;
	subscribe(ix, &s, LIT("up"), 0);
	for (unsigned step = 0; step < 3000; step++) {
		size_t i = step * 37u % (n - step % 7);
		struct slice name = slice_of(
		    text, (size_t)snprintf(text, sizeof text, "up/%zu", i));
		unsigned others = 0;

		if (there[i])
			assert_int_equal(
			    subs_del(&s.subs, ix, 0, name, false), NJ_OK);
		else
			subscribe(ix, &s, name, 0);
		there[i] = !there[i];
		if (step % 100 == 50)
			subscribe(ix, &wild, LIT("up/+"), 0);
		if (step % 100 == 70)
			subscribe(ix, &wild, LIT("up/#"), 0);
		if (step % 100 == 90)
			subs_clear(&wild.subs, ix);
		if (step % 100 >= 50 && step % 100 < 90)
			others = step % 100 < 70 ? 1 : 2;
		for (size_t k = 0; k < n; k++) {
			name = slice_of(text,
			    (size_t)snprintf(text, sizeof text, "up/%zu", k));
			assert_int_equal(matches(ix, name), there[k] + others);
		}
	}
	subs_clear(&s.subs, ix);
	subs_clear(&wild.subs, ix);
	index_free(ix);
}

/* A session whose queue is full counts where it is, once; full.h. */
static void
index_counts_the_full(void **state)
{
	struct index *ix = make(1);
	struct session a = { 0 }, b = { 0 };
	struct match m = { 0 };
	struct targets *t;
	bool existed;
	uint32_t at = 0;

	(void)state;
	subscribe(ix, &b, LIT("x"), 0);
	assert_int_equal(index_match(ix, LIT("x"), &m), NJ_OK);
	t = filter_targets_of(m.v[0], 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    subs_put(&a.subs, ix, 0, LIT("x"), &a, 1, true, &existed),
		    NJ_OK);
		assert_int_equal(atomic_load(&t->full), 1);
	}
	assert_int_equal(subs_del(&a.subs, ix, 0, LIT("y"), true), NJ_NOTFOUND);
	assert_int_equal(atomic_load(&t->full), 1);
	assert_int_equal(subs_del(&a.subs, ix, 0, LIT("x"), true), NJ_OK);
	assert_int_equal(atomic_load(&t->full), 0);
	assert_int_equal(
	    subs_put(&a.subs, ix, 0, LIT("x"), &a, 1, true, &existed), NJ_OK);
	assert_int_equal(subs_clear_some(&a.subs, ix, &at, 9, true), 1);
	assert_int_equal(atomic_load(&t->full), 0);
	subs_clear(&b.subs, ix);
	match_fini(&m);
	index_free(ix);
}

static void
index_holds(void **state)
{
	struct index *ix = make(2);
	struct targets *t = NULL, *again = NULL;
	struct session s = { .shard = 1 };
	struct match m = { 0 };

	(void)state;
	assert_int_equal(index_hold(ix, 1, LIT("q/#"), &t), NJ_OK);
	assert_int_equal(index_hold(ix, 1, LIT("q/#"), &again), NJ_OK);
	assert_ptr_equal(t, again);
	assert_int_equal(t->shard, 1);
	assert_int_equal(t->n, 0);
	assert_int_equal(matches(ix, LIT("q")), 1);
	subscribe(ix, &s, LIT("q/#"), 0);
	index_release(ix, t);
	index_release(ix, t);
	assert_int_equal(matches(ix, LIT("q")), 1);
	subs_clear(&s.subs, ix);
	assert_int_equal(index_match(ix, LIT("q"), &m), NJ_OK);
	assert_int_equal(m.n, 0);
	match_fini(&m);
	index_free(ix);
}

static void
filter_text_cuts(void **state)
{
	struct index *ix = make(1);
	struct targets *t = NULL;
	uint8_t dst[16];

	(void)state;
	assert_int_equal(index_hold(ix, 0, LIT("/ab//+/c/#"), &t), NJ_OK);
	for (size_t size = 0; size < sizeof dst; size++) {
		memset(dst, '!', sizeof dst);
		assert_int_equal(filter_text(t->filter, dst, size), 10);
		for (size_t i = 0; i < sizeof dst; i++)
			assert_int_equal(
			    dst[i], i < size && i < 10 ? "/ab//+/c/#"[i] : '!');
	}
	index_release(ix, t);
	index_free(ix);
}

/* Many subscribers of one filter, coming and going in any order. */
#define CROWD 3000

static void
index_crowd(void **state)
{
	struct session *s = calloc(CROWD, sizeof *s);
	struct index *ix = make(1);
	bool *on = calloc(CROWD, sizeof *on);
	struct targets *t = NULL;
	struct rng r;
	uint32_t n = 0;

	(void)state;
	assert_non_null(s);
	assert_non_null(on);
	rng_seed(&r, 3);
	assert_int_equal(index_hold(ix, 0, LIT("all"), &t), NJ_OK);
	for (unsigned step = 0; step < 40 * CROWD; step++) {
		/* swells, then shrinks */
		size_t i = rng_next(&r) % CROWD;
		bool want =
		    rng_next(&r) % 4 ? step < 20 * CROWD : step >= 20 * CROWD;

		if (want == on[i])
			continue;
		if (want)
			subscribe(ix, &s[i], LIT("all"), 0);
		else
			assert_int_equal(
			    subs_del(&s[i].subs, ix, 0, LIT("all"), false),
			    NJ_OK);
		on[i] = want;
		n += want ? 1 : UINT32_MAX;
		assert_int_equal(t->n, n);
	}
	for (uint32_t i = 0; i < t->n; i++)
		assert_true(on[t->subs[i].session - s]);
	for (size_t i = 0; i < CROWD; i++)
		subs_clear(&s[i].subs, ix);
	assert_int_equal(t->n, 0);
	index_release(ix, t);
	free(s);
	free(on);
	index_free(ix);
}

/* Filters that come and go leave nothing behind. */
static void
index_churn(void **state)
{
	struct index *ix = make(1);
	struct session s = { 0 };
	struct index_stats empty, st;
	struct filter *f;
	unsigned seen = 0;
	uint32_t at = 0;

	(void)state;
	index_stats(ix, &empty);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 5000; i++) {
			char text[48];

			(void)snprintf(text, sizeof text, "r%u/%u/+/x%u/#",
			    round, i % 7, i);
			subscribe(ix, &s, slice_str(text), i << 4);
		}
		for (at = 0, seen = 0; subs_next(&s.subs, &at, &f);)
			seen++;
		assert_int_equal(seen, 5000);
		for (unsigned i = 0; i < 5000; i++) {
			char text[48];

			if (round % 2)
				break;
			(void)snprintf(text, sizeof text, "r%u/%u/+/x%u/#",
			    round, i % 7, i);
			assert_int_equal(
			    subs_del(&s.subs, ix, 0, slice_str(text), false),
			    NJ_OK);
		}
		if (round % 2)
			subs_clear(&s.subs, ix);
		index_stats(ix, &st);
		assert_int_equal(st.filters, 0);
		assert_int_equal(st.subscriptions, 0);
		assert_true(st.bytes < empty.bytes + 200);
	}
	subs_clear(&s.subs, ix);
	index_stats(ix, &st);
	assert_int_equal(st.bytes, empty.bytes);
	index_free(ix);
}

/* A table that is moved little by little has all that it should, at any moment. */
static void
index_moves_tables(void **state)
{
	enum { MANY = 20000, STEPS = 5 * MANY };
	struct index *ix = make(1);
	struct session s = { 0 };
	uint8_t *has = calloc(MANY, 1);
	uint32_t rnd = 1, n = 0;
	char text[16];

	(void)state;
	assert_non_null(has);
	for (unsigned step = 0; step < STEPS; step++) {
		uint32_t i;

		rnd = rnd * 1664525u + 1013904223u;
		/* comes to 18,000, goes to a few hundred */
		i = (rnd >> 8) % MANY;
		(void)snprintf(text, sizeof text, "a/%u", i);
		assert_true(subs_has(&s.subs, ix, 0, slice_str(text), NULL) ==
		    (has[i] != 0));
		if (step < STEPS / 2 && !has[i]) {
			subscribe(ix, &s, slice_str(text), i << 4);
			has[i] = 1;
			n++;
		} else if (step >= STEPS / 2 && has[i]) {
			assert_int_equal(
			    subs_del(&s.subs, ix, 0, slice_str(text), false),
			    NJ_OK);
			has[i] = 0;
			n--;
		}
		assert_int_equal(s.subs.n, n);
		if (step % 2500 == 0) {
			struct filter *f;
			uint32_t at = 0, seen = 0;

			while (subs_next(&s.subs, &at, &f))
				seen++;
			assert_int_equal(seen, n);
		}
	}
	subs_settle(&s.subs, ix);
	assert_null(s.subs.old);
	subs_clear(&s.subs, ix);
	free(has);
	index_free(ix);
}

/* One of two who have the same filters goes, little by little, while the other's
 * end: each moves what the other has. */
static void
index_clears_some(void **state)
{
	enum { MANY = 20000, SOME = 500 };
	struct index *ix = make(1);
	struct session goes = { 0 }, stays = { 0 };
	struct index_stats st;
	uint32_t at = 0, ended = 0;
	char text[16];

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		(void)snprintf(text, sizeof text, "a/%u", i);
		subscribe(ix, i % 2 ? &goes : &stays, slice_str(text), 0);
		subscribe(ix, i % 2 ? &stays : &goes, slice_str(text), 0);
	}
	while (goes.subs.n > 0) {
		uint32_t left = goes.subs.n;

		assert_int_equal(
		    subs_clear_some(&goes.subs, ix, &at, SOME, false),
		    left < SOME ? left : SOME);
		for (unsigned k = 0; k < SOME / 2; k++, ended++) {
			(void)snprintf(text, sizeof text, "a/%u",
			    (uint32_t)(ended * UINT32_C(7919) % MANY));
			assert_int_equal(subs_del(&stays.subs, ix, 0,
					     slice_str(text), false),
			    NJ_OK);
		}
		index_stats(ix, &st);
		assert_int_equal(st.subscriptions, goes.subs.n + stays.subs.n);
	}
	assert_int_equal(stays.subs.n, MANY - ended);
	for (uint32_t i = ended; i < MANY; i++) {
		(void)snprintf(text, sizeof text, "a/%u",
		    (uint32_t)(i * UINT32_C(7919) % MANY));
		assert_true(
		    subs_has(&stays.subs, ix, 0, slice_str(text), NULL));
	}
	subs_clear(&stays.subs, ix);
	index_stats(ix, &st);
	assert_int_equal(st.filters, 0);
	index_free(ix);
}

/* All that stay are met by a look that takes some at a time, while those it has
 * met, and others, end, and more come. */
static void
index_looks_at_some(void **state)
{
	enum { N = 9000, MORE = 12000, SOME = 500 };
	const struct {
		const char *why;
		unsigned ends, odd, comes;
	} rows[] = {
		{ "nothing changes", 0, 0, 0 },
		{ "all end that are met", 1, 0, 0 },
		{ "every third ends that is met", 3, 0, 0 },
		{ "others end between two portions", 0, 40, 0 },
		{ "more come between two portions", 0, 0, 300 },
		{ "all of that", 2, 20, 300 },
	};

	(void)state;
	for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
		struct index *ix = make(1);
		struct session s = { 0 };
		struct subs_look l = { 0 };
		bool *met = calloc(MORE, sizeof *met), existed;
		bool *gone = calloc(MORE, sizeof *gone);
		unsigned n = 0, rounds = 0, odd = 1;
		char text[16];

		assert_non_null(met);
		assert_non_null(gone);
		for (; n < N; n++) {
			(void)snprintf(text, sizeof text, "%u", n);
			assert_int_equal(
			    subs_put(&s.subs, ix, 0, slice_str(text), &s, 0,
				false, &existed),
			    NJ_OK);
		}
		for (; !subs_looked(&s.subs, &l) || rounds == 0; rounds++) {
			uint32_t most = SOME;
			struct filter *f;

			while (subs_look(&s.subs, ix, &l, &most, &f)) {
				size_t len = filter_text(
				    f, (uint8_t *)text, sizeof text - 1);
				unsigned is;

				text[len] = '\0';
				is = (unsigned)strtoul(text, NULL, 10);
				met[is] = true;
				if (!rows[row].ends || is % rows[row].ends)
					continue;
				gone[is] = true;
				assert_int_equal(subs_del(&s.subs, ix, 0,
						     slice_str(text), false),
				    NJ_OK);
			}
			assert_in_range(rounds, 0, 8 * N / SOME);
			for (unsigned i = 0; i < rows[row].odd && odd < N;
			     i++, odd += 2) {
				(void)snprintf(text, sizeof text, "%u", odd);
				if (!gone[odd])
					assert_int_equal(
					    subs_del(&s.subs, ix, 0,
						slice_str(text), false),
					    NJ_OK);
				gone[odd] = true;
			}
			for (unsigned i = 0; i < rows[row].comes && n < MORE;
			     i++, n++) {
				(void)snprintf(text, sizeof text, "%u", n);
				assert_int_equal(
				    subs_put(&s.subs, ix, 0, slice_str(text),
					&s, 0, false, &existed),
				    NJ_OK);
			}
		}
		assert_in_range(rounds, 2, 8 * N / SOME);
		for (unsigned i = 0; i < N; i++)
			if (!met[i] && !gone[i])
				fail_msg(
				    "%s: %u was not met", rows[row].why, i);
		subs_clear(&s.subs, ix);
		index_free(ix);
		free(met);
		free(gone);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(index_matches),
		cmocka_unit_test(index_bounds_levels),
		cmocka_unit_test(index_agrees_with_oracle),
		cmocka_unit_test(index_puts_and_replaces),
		cmocka_unit_test(index_names_of_one_level),
		cmocka_unit_test(index_counts_the_full),
		cmocka_unit_test(index_holds),
		cmocka_unit_test(filter_text_cuts),
		cmocka_unit_test(index_crowd),
		cmocka_unit_test(index_churn),
		cmocka_unit_test(index_moves_tables),
		cmocka_unit_test(index_clears_some),
		cmocka_unit_test(index_looks_at_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
