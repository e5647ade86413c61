/* SPDX-License-Identifier: Apache-2.0
 *
 * Facts: a change is one transaction, with and without the store's thread, and
 * is refused by a disk in trouble, which what waits outlives.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "disk.h"
#include "memory.h"
#include "place.h"
#include "store/facts.h"

static const char *const path = place_path;
static struct bench b;
static struct nj_why why;

static int
setup(void **state)
{
	(void)state;
	disk_reset(1);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	disk_fini();
	return 0;
}

static void
open_it(bool started)
{
	assert_int_equal(bench_open(&b, path, DISK_VFS, &why), NJ_OK);
	if (started)
		assert_int_equal(store_start(b.store, &why), NJ_OK);
}

/* "+1:name=value;" "-1:name;" "*" */
static enum nj_err
change(struct slice space, const char *what)
{
	struct facts *f = NULL;
	enum nj_err e = facts_new(space, &f);
	char name[32], value[32], sign;
	unsigned kind;

	assert_int_equal(e, NJ_OK);
	if (*what == '*') {
		facts_replace_all(f);
		what++;
	}
	while (sscanf(what, "%c%u:%31[^=;]=%31[^;]", &sign, &kind, name,
		   value) >= 3) {
		e = sign == '+'
		    ? facts_put(f, kind, slice_str(name), slice_str(value))
		    : facts_del(f, kind, slice_str(name));
		assert_int_equal(e, NJ_OK);
		what = strchr(what, ';') + 1;
	}
	e = facts_commit(b.store, f, &why);
	facts_free(f);
	return e;
}

static enum nj_err
take(void *arg, unsigned kind, struct slice name, struct slice value)
{
	return buf_printf(arg, "%u:%.*s=%.*s;", kind, (int)name.n,
	    (const char *)name.p, (int)value.n, (const char *)value.p);
}

static void
has(struct slice space, const char *want)
{
	struct buf got = { 0 };
	enum nj_err e = facts_read(b.store, space, take, &got, &why);

	assert_int_equal(e, *want ? NJ_OK : NJ_NOTFOUND);
	assert_int_equal(buf_put(&got, "", 1), NJ_OK);
	assert_string_equal((const char *)buf_slice(&got).p, want);
	buf_fini(&got);
}

static void
all_of(bool started)
{
	open_it(started);
	has(LIT("a"), "");
	assert_int_equal(change(LIT("a"), "+2:y=1;+1:z=2;+1:x=3;"), NJ_OK);
	assert_int_equal(change(LIT("b"), "+1:x=other;"), NJ_OK);
	has(LIT("a"), "1:x=3;1:z=2;2:y=1;");
	assert_int_equal(change(LIT("a"), "-1:z;-1:none;+1:x=4;"), NJ_OK);
	has(LIT("a"), "1:x=4;2:y=1;");
	assert_int_equal(change(LIT("a"), "*+3:only=5;"), NJ_OK);
	bench_close(&b);
	open_it(false);
	has(LIT("a"), "3:only=5;");
	has(LIT("b"), "1:x=other;");
	bench_close(&b);
}

static void
test_with_a_thread(void **state)
{
	(void)state;
	all_of(true);
}

static void
test_without(void **state)
{
	(void)state;
	all_of(false);
}

static enum nj_err
refuse(void *arg, unsigned kind, struct slice name, struct slice value)
{
	(void)arg;
	(void)kind;
	(void)name;
	(void)value;
	return NJ_TOOBIG;
}

static void
test_reader_refuses(void **state)
{
	(void)state;
	open_it(true);
	assert_int_equal(change(LIT("a"), "+1:x=1;"), NJ_OK);
	assert_int_equal(
	    facts_read(b.store, LIT("a"), refuse, NULL, &why), NJ_TOOBIG);
	has(LIT("a"), "1:x=1;");
	bench_close(&b);
}

/* Who changes facts is told at once; a batch beside it waits for the disk. */
static void
test_disk_in_trouble(void **state)
{
	struct store_batch *x = NULL;

	(void)state;
	open_it(true);
	assert_int_equal(change(LIT("a"), "+1:x=1;"), NJ_OK);
	disk_fail(SQLITE_FULL);
	assert_int_equal(change(LIT("a"), "+1:x=2;+1:y=2;"), NJ_FULL);
	assert_int_equal(store_state(b.store), STORE_OK);
	assert_int_equal(batch_new(&note_ops, &x), NJ_OK);
	assert_int_equal(batch_received(x, 1, 7), NJ_OK);
	x->ticket = 1;
	store_submit(b.store, x);
	assert_false(bench_wait(&b, 1));
	assert_int_equal(store_state(b.store), STORE_FULL);
	assert_int_equal(change(LIT("a"), "-1:x;"), NJ_FULL);
	disk_fail(0);
	pthread_mutex_lock(&b.lock);
	while (b.acked < 1)
		pthread_cond_wait(&b.change, &b.lock);
	pthread_mutex_unlock(&b.lock);
	assert_int_equal(store_state(b.store), STORE_OK);
	has(LIT("a"), "1:x=1;");
	bench_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_with_a_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_reader_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_disk_in_trouble, setup, teardown),
	};

	return cmocka_run_group_tests_name(
	    "facts", tests, place_make, place_remove);
}
