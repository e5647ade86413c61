/* SPDX-License-Identifier: Apache-2.0
 *
 * Mosquitto's file, changed at random and cut anywhere: what is made of it is
 * a whole store, or none.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd/import.h"
#include "store/view.h"

#define HEAD 23 /* magic, checksum, version */

static char folder[] = "/tmp/nightjar-import-XXXXXX";
static char path[128];
static const char *seeds[2];
static uint64_t state = 88172645463325252u;

static uint64_t
draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static void
remove_files(void)
{
	static const char *const tails[] = { "", "-wal", "-shm", ".lock" };
	char name[160];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "%s%s", path, tails[i]);
		unlink(name);
	}
}

static int
setup_all(void **st)
{
	(void)st;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof path, "%s/state.db", folder);
	return 0;
}

static int
teardown_all(void **st)
{
	(void)st;
	remove_files();
	return rmdir(folder);
}

static void
on_fault(void *arg, const struct view_fault *f)
{
	(void)arg;
	fail_msg("%s: %s", f->code, f->text);
}

static uint64_t
rows_of(const struct import_result *r)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < TOOK_KINDS; i++)
		n += r->took[i];
	return n;
}

/* The exact bytes, so that a sanitizer sees a step past the end. */
static bool
take(struct slice bytes)
{
	uint8_t *exact = malloc(bytes.n);
	struct import_result r;
	struct nj_why why = { 0 };
	struct view_stats vs;
	struct view *v;
	enum nj_err e;

	if (!exact || !bytes.p)
		abort();
	memcpy(exact, bytes.p, bytes.n);
	remove_files();
	e = import_mosquitto(slice_of(exact, bytes.n), path, 1000, &r, &why);
	free(exact);
	if (e) {
		assert_true(why.what[0]);
		return false;
	}
	if (view_open(path, &v, &why))
		fail_msg("%s", why.what);
	assert_int_equal(view_check(v, false, on_fault, NULL, &why), NJ_OK);
	assert_int_equal(view_stats(v, 0, &vs, &why), NJ_OK);
	assert_true(vs.sessions + vs.subscriptions + vs.received + vs.waiting +
		vs.inflight + vs.retained <=
	    rows_of(&r));
	assert_int_equal(vs.sessions, r.took[TOOK_SESSIONS]);
	view_stats_fini(&vs);
	view_close(v);
	return true;
}

static void
test_hostile(void **st)
{
	unsigned taken = 0;

	(void)st;
	for (unsigned k = 0; k < 2; k++) {
		struct buf seed = { 0 }, b = { 0 };

		assert_int_equal(
		    file_read(seeds[k], 1 << 20, &seed, NULL), NJ_OK);
		assert_true(take(buf_slice(&seed)));
		for (unsigned i = 0; i < 50; i++) {
			struct slice s = buf_slice(&seed);

			buf_truncate(&b, 0);
			assert_int_equal(buf_put_slice(&b, s), NJ_OK);
			for (uint64_t n = draw(3); n < 3; n++) {
				static const uint8_t edges[] = { 0, 1, 0x7f,
					0x80, 0xff };

				b.p[HEAD + draw(s.n - HEAD)] = draw(2)
				    ? (uint8_t)draw(256)
				    : edges[draw(5)];
			}
			if (i % 5 == 0)
				buf_truncate(&b, draw(s.n) + 1);
			taken += take(buf_slice(&b));
		}
		buf_fini(&seed);
		buf_fini(&b);
	}
	/* most of a file is names and payloads */
	assert_true(taken > 5 && taken < 100);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile),
	};

	if (argc != 3)
		return 2;
	seeds[0] = argv[1];
	seeds[1] = argv[2];
	return cmocka_run_group_tests_name(
	    "import", tests, setup_all, teardown_all);
}
