/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "core/inflight.h"

#define ROUNDS 60000
#define WINDOW 300

/* Which identifiers are in flight, and the message of each by its number. */
struct model {
	struct inflight f;
	struct rng rng;
	uint64_t key[UINT16_MAX + 1];
	uint16_t ids[WINDOW];
	uint32_t n;
	uint64_t next;
};

/* Every one is found, and as many as there are. */
static void
check(struct model *t)
{
	uint32_t astray = 0;

	assert_int_equal(t->f.n, t->n);
	for (uint32_t i = 0; i < t->f.cap; i++)
		astray += t->f.v[i].pid &&
		    inflight_slot(t->f.v[i].pid, t->f.cap) != i;
	assert_int_equal(t->f.astray, astray);
	for (uint32_t i = 0; i < t->n; i++) {
		struct delivery *d = inflight_find(&t->f, t->ids[i]);

		assert_non_null(d);
		assert_int_equal(d->key, t->key[t->ids[i]]);
	}
}

static void
add(struct model *t, uint16_t want)
{
	struct delivery d = { .key = ++t->next, .qos = 1 }, *at = NULL;

	assert_int_equal(inflight_add(&t->f, &d, want, &at), NJ_OK);
	assert_int_not_equal(at->pid, 0);
	assert_int_equal(t->key[at->pid], 0);
	t->key[at->pid] = d.key;
	t->ids[t->n++] = at->pid;
	t->f.waiting++;
}

static void
end(struct model *t, uint32_t i)
{
	struct delivery *d = inflight_find(&t->f, t->ids[i]);

	assert_non_null(d);
	inflight_done(&t->f, d);
	t->key[t->ids[i]] = 0;
	assert_null(inflight_find(&t->f, t->ids[i]));
	memmove(&t->ids[i], &t->ids[i + 1], (t->n - i - 1) * sizeof t->ids[0]);
	t->n--;
}

static void
run(struct model *t, bool in_order)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t r = rng_next(&t->rng);

		/* now and then all but a few go, so that the table shrinks */
		if (t->n < WINDOW && (t->n == 0 || r % 5 < 3) &&
		    i % 9000 < 8000)
			add(t,
			    !in_order && r % 7 == 0 ? (uint16_t)(r >> 32) : 0);
		else if (t->n > 0)
			end(t, in_order ? 0 : (uint32_t)((r >> 16) % t->n));
		if (i % 256 == 0)
			check(t);
	}
	while (t->n > 0)
		end(t, 0);
	check(t);
	inflight_clear(&t->f);
}

static void
identifiers_are_found(void **state)
{
	static struct model t;

	(void)state;
	for (unsigned in_order = 0; in_order < 2; in_order++) {
		memset(&t, 0, sizeof t);
		rng_seed(&t.rng, in_order + 1);
		run(&t, in_order != 0);
	}
}

/* One that is never acknowledged stays while the identifiers go round. */
static void
an_old_one_stays(void **state)
{
	static struct model t;

	(void)state;
	memset(&t, 0, sizeof t);
	for (unsigned i = 0; i < 10; i++)
		add(&t, 0);
	for (unsigned i = 0; i < 140000; i++) {
		add(&t, 0);
		end(&t, t.n > 20 ? 5 : t.n - 1);
		if (i % 4096 == 0)
			check(&t);
	}
	check(&t);
	inflight_clear(&t.f);
}

/* Fills and empties f; the table that it had. */
static const struct delivery *
fill(struct inflight *f)
{
	const struct delivery *v;
	struct delivery *at = NULL;

	for (unsigned i = 0; i < WINDOW; i++) {
		assert_int_equal(
		    inflight_add(f, &(struct delivery){ .qos = 1 }, 0, &at),
		    NJ_OK);
		f->waiting++;
	}
	v = f->v;
	for (uint16_t pid = f->last_pid; f->n > 0; pid--)
		inflight_done(f, inflight_find(f, pid));
	return v;
}

/* What one session does not need any more the next one has. */
static void
an_empty_table_is_used_again(void **state)
{
	struct tables spare = { 0 };
	struct inflight a = { .tables = &spare }, b = { .tables = &spare };
	const struct delivery *v = fill(&a);

	(void)state;
	assert_null(a.v);
	assert_int_equal(spare.n, 1);
	assert_ptr_equal(fill(&b), v);
	assert_int_equal(spare.n, 1);
	inflight_clear(&a);
	inflight_clear(&b);
	tables_fini(&spare);
	assert_int_equal(spare.bytes, 0);
}

/* There are bounds to what is kept. */
static void
spare_tables_are_bounded(void **state)
{
	static struct inflight f[2 * TABLES_MAX];
	struct tables spare = { 0 };
	struct delivery *at = NULL;

	(void)state;
	for (unsigned i = 0; i < 2 * TABLES_MAX; i++) {
		f[i].tables = &spare;
		for (unsigned k = 0; k < WINDOW; k++, f[i].waiting++)
			assert_int_equal(
			    inflight_add(
				&f[i], &(struct delivery){ .qos = 1 }, 0, &at),
			    NJ_OK);
	}
	for (unsigned i = 0; i < 2 * TABLES_MAX; i++)
		for (uint16_t pid = WINDOW; pid > 0; pid--)
			inflight_done(&f[i], inflight_find(&f[i], pid));
	assert_true(spare.n > 0 && spare.n <= TABLES_MAX);
	assert_true(spare.bytes <= TABLES_BYTES);
	tables_fini(&spare);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifiers_are_found),
		cmocka_unit_test(an_old_one_stays),
		cmocka_unit_test(an_empty_table_is_used_again),
		cmocka_unit_test(spare_tables_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
