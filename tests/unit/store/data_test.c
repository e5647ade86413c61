/* SPDX-License-Identifier: Apache-2.0
 *
 * The files beside the database: who may read them, when they go, what a tool
 * says of them, and what is delivered when they are damaged.
 */
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk.h"
#include "memory.h"
#include "place.h"
#include "store/impl.h"
#include "store/repair.h"
#include "store/view.h"

#define BATCH 100u

static const char *const path = place_path, *const copy = place_copy;
static struct bench b;
static struct nj_why why;

static size_t
files_of(const char *of, glob_t *g)
{
	char pattern[160];

	snprintf(pattern, sizeof pattern, "%s" DATA_TAIL "*", of);
	*g = (glob_t){ 0 };
	return glob(pattern, 0, NULL, g) == 0 ? g->gl_pathc : 0;
}

static size_t
count_files(void)
{
	glob_t g;
	size_t n = files_of(path, &g);

	globfree(&g);
	return n;
}

static off_t
size_of_files(void)
{
	glob_t g;
	size_t n = files_of(path, &g);
	struct stat st;
	off_t all = 0;

	for (size_t i = 0; i < n; i++)
		all += stat(g.gl_pathv[i], &st) == 0 ? st.st_size : 0;
	globfree(&g);
	return all;
}

static int
teardown_all(void **state)
{
	disk_fini();
	return place_remove(state);
}

static int
fresh(void **state)
{
	(void)state;
	place_clear();
	why = (struct nj_why){ .what = "" };
	bench_data_min = 8192;
	bench_data_file = 400000;
	return 0;
}

static void
open_it(const char *vfs)
{
	assert_int_equal(bench_open(&b, path, vfs, &why), NJ_OK);
	assert_int_equal(store_start(b.store, &why), NJ_OK);
}

static void
write_now(struct store_batch *x)
{
	assert_true(bench_write(&b, x));
}

static void
add_session(void)
{
	struct store_batch *x = bench_batch();

	assert_int_equal(batch_session(x,
			     &(struct store_session){ .id = 1,
				 .client = slice_str("c"),
				 .expiry_s = 100,
				 .version = 5,
				 .offline_ms = 1 }),
	    NJ_OK);
	write_now(x);
}

/* 30 KB, which are more than a row in a page. */
static void
put_some(uint64_t from)
{
	struct store_batch *x = bench_batch();

	bench_put(x, from, BATCH);
	write_now(x);
}

static void
end_some(uint64_t from, uint64_t step)
{
	struct store_batch *x = bench_batch();

	for (uint64_t seq = from; seq < from + BATCH; seq += step)
		assert_int_equal(batch_queue_end(x, 1, seq), NJ_OK);
	write_now(x);
}

/* All from a key on; how many, and the last answer. */
static uint64_t
read_all(uint64_t from, enum nj_err *result)
{
	uint64_t n = 0;

	for (bool more = true; more;) {
		struct store_read r = { .session = 1,
			.from = from,
			.until = UINT64_MAX,
			.max = 30 };

		bench_read(&b, &r);
		*result = r.result;
		more = r.more && !r.result;
		for (uint32_t i = 0; i < r.n; i++) {
			const struct note *note = r.v[i].msg;

			from = r.v[i].seq + 1;
			/* topic's length, topic, payload */
			assert_int_equal(
			    strtoull((const char *)note->bytes + 3, NULL, 10),
			    r.v[i].seq);
		}
		n += r.n;
		store_read_fini(&r, &note_ops);
	}
	return n;
}

static void
wait_files(size_t n)
{
	for (int i = 0; i < 3000 && count_files() > n; i++)
		usleep(10000);
	assert_true(count_files() <= n);
}

static void
test_come_and_go(void **state)
{
	enum nj_err e;
	struct stat st;
	glob_t g;
	size_t n;

	(void)state;
	open_it(NULL);
	add_session();
	for (uint64_t i = 0; i < 40; i++)
		put_some(1 + i * BATCH);
	n = files_of(path, &g);
	assert_true(n >= 3);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(stat(g.gl_pathv[i], &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		assert_true(st.st_size <= 400000);
	}
	globfree(&g);
	assert_int_equal(read_all(1, &e), 40 * BATCH);
	assert_int_equal(e, NJ_OK);
	bench_close(&b);
	open_it(NULL);
	assert_int_equal(read_all(1, &e), 40 * BATCH);
	for (uint64_t i = 0; i < 20; i++)
		end_some(1 + i * BATCH, 1);
	wait_files(n - 1);
	assert_int_equal(read_all(1, &e), 20 * BATCH);
	for (uint64_t i = 20; i < 40; i++)
		end_some(1 + i * BATCH, 1);
	bench_close(&b);
	assert_int_equal(count_files(), 0);
	assert_int_equal(notes_alive, 0);
}

/* One in eight stays: the files are copied together. */
static void
test_bounded(void **state)
{
	enum nj_err e;

	(void)state;
	open_it(NULL);
	add_session();
	for (uint64_t i = 0; i < 160; i++)
		put_some(1 + i * BATCH);
	assert_true(size_of_files() > 160 * 30000);
	for (uint64_t i = 0; i < 160; i++)
		if (i % 8)
			end_some(1 + i * BATCH, 1);
	for (int i = 0; i < 3000 && size_of_files() > 3 * 20 * 32000; i++)
		usleep(10000);
	assert_true(size_of_files() <= 3 * 20 * 32000);
	assert_int_equal(read_all(1, &e), 20 * BATCH);
	bench_close(&b);
	open_it(NULL);
	assert_int_equal(read_all(1, &e), 20 * BATCH);
	assert_int_equal(e, NJ_OK);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

static char faults[512];

static void
on_fault(void *arg, const struct view_fault *f)
{
	size_t n = strlen(faults);

	(void)arg;
	snprintf(faults + n, sizeof faults - n, "%s %llu;", f->code,
	    (unsigned long long)f->count);
}

static void
finds(const char *at, const char *want)
{
	struct view *v = NULL;

	if (view_open(at, &v, &why))
		fail_msg("%s", why.what);
	faults[0] = '\0';
	assert_int_equal(view_check(v, false, on_fault, NULL, &why), NJ_OK);
	assert_string_equal(faults, want);
	view_close(v);
}

static void
flip(const char *name, off_t at)
{
	uint8_t c;
	int fd = open(name, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 0x10;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

enum spoilt { FLIPPED, AWAY, CUT };

static void
spoil_first(enum spoilt how)
{
	struct stat st;
	glob_t g;

	assert_true(files_of(path, &g) > 0);
	if (how == AWAY) {
		assert_int_equal(unlink(g.gl_pathv[0]), 0);
	} else if (how == CUT) {
		assert_int_equal(stat(g.gl_pathv[0], &st), 0);
		assert_int_equal(truncate(g.gl_pathv[0], st.st_size - 1), 0);
	} else {
		flip(g.gl_pathv[0], 20000);
	}
	globfree(&g);
}

static void
test_damage(void **state)
{
	for (enum spoilt how = FLIPPED; how <= CUT; how++) {
		uint64_t deleted = 0, left;
		struct view *v = NULL;
		enum nj_err e;

		fresh(state);
		open_it(NULL);
		add_session();
		for (uint64_t i = 0; i < 20; i++)
			put_some(1 + i * BATCH);
		bench_close(&b);
		finds(path, "");
		spoil_first(how);
		finds(path, how == AWAY ? "bad-segment 12;" : "bad-segment 1;");
		assert_int_equal(view_open(path, &v, &why), NJ_OK);
		assert_int_equal(view_backup(v, copy, false, NULL, NULL, &why),
		    NJ_MALFORMED);
		view_close(v);
		if (how == FLIPPED) {
			open_it(NULL);
			assert_int_equal(read_all(1, &e), 0);
			assert_int_equal(e, NJ_MALFORMED);
		} else {
			assert_int_equal(
			    bench_open(&b, path, NULL, &why), NJ_MALFORMED);
			assert_non_null(strstr(
			    why.what, how == AWAY ? "missing" : "shorter"));
			assert_non_null(strstr(why.mend, "--repair"));
			b.store = NULL;
		}
		bench_close(&b);
		assert_int_equal(store_repair(path, &deleted, &why), NJ_OK);
		assert_int_equal(deleted, how == AWAY ? 12 : 1);
		finds(path, "");
		open_it(NULL);
		left = read_all(1, &e);
		assert_int_equal(e, NJ_OK);
		assert_int_equal(left, (20 - deleted) * BATCH);
		bench_close(&b);
	}
	assert_int_equal(notes_alive, 0);
}

/* The copy is one file, and has all. */
static void
test_backup(void **state)
{
	struct view *v = NULL;
	char *aside = NULL;
	enum nj_err e;
	glob_t g;

	(void)state;
	open_it(NULL);
	add_session();
	for (uint64_t i = 0; i < 20; i++)
		put_some(1 + i * BATCH);
	/* while the broker has it */
	assert_int_equal(view_open(path, &v, &why), NJ_OK);
	assert_int_equal(view_backup(v, copy, false, NULL, NULL, &why), NJ_OK);
	view_close(v);
	bench_close(&b);
	finds(copy, "");
	assert_int_equal(files_of(copy, &g), 0);
	globfree(&g);
	/* in the place of the other, whose files go with it */
	assert_true(count_files() > 0);
	assert_int_equal(store_set_aside(path, "old", &aside, &why), NJ_OK);
	assert_int_equal(count_files(), 0);
	finds(aside, "");
	assert_int_equal(rename(copy, path), 0);
	open_it(NULL);
	assert_int_equal(read_all(1, &e), 20 * BATCH);
	assert_int_equal(e, NJ_OK);
	put_some(1 + 20 * BATCH);
	assert_int_equal(read_all(1, &e), 21 * BATCH);
	bench_close(&b);
	free(aside);
	assert_int_equal(notes_alive, 0);
}

static enum nj_err
count_row(void *arg, const struct view_row *r)
{
	uint64_t *n = arg;

	assert_int_equal(r->seq, ++*n);
	return NJ_OK;
}

/* What a view began with it keeps. */
static void
test_view_keeps(void **state)
{
	struct view *v = NULL;
	uint64_t n = 0;

	(void)state;
	open_it(NULL);
	add_session();
	for (uint64_t i = 0; i < 40; i++)
		put_some(1 + i * BATCH);
	assert_int_equal(view_open(path, &v, &why), NJ_OK);
	for (uint64_t i = 0; i < 40; i++)
		end_some(1 + i * BATCH, 1);
	wait_files(1);
	assert_int_equal(
	    view_rows(v, VIEW_QUEUED, SLICE_NONE, count_row, &n, &why), NJ_OK);
	assert_int_equal(n, 40 * BATCH);
	view_close(v);
	bench_close(&b);
	assert_int_equal(notes_alive, 0);
}

/* Large rows of the schema before stay, and new ones come beside them. */
static void
test_older_schema(void **state)
{
	enum nj_err e;

	(void)state;
	bench_data_min = STORE_ONE_FILE;
	open_it(NULL);
	add_session();
	put_some(1);
	bench_close(&b);
	bench_edit(path,
	    "DROP INDEX seg_file; DROP TABLE file;"
	    "ALTER TABLE seg DROP COLUMN file;"
	    "ALTER TABLE seg DROP COLUMN at;"
	    "ALTER TABLE seg DROP COLUMN len;"
	    "ALTER TABLE seg DROP COLUMN sum; PRAGMA user_version = 5");
	finds(path, "");
	bench_data_min = 8192;
	open_it(NULL);
	assert_int_equal(count_files(), 0);
	put_some(1 + BATCH);
	assert_int_equal(count_files(), 1);
	assert_int_equal(read_all(1, &e), 2 * BATCH);
	end_some(1, 2);
	end_some(1 + BATCH, 2);
	assert_int_equal(read_all(1, &e), BATCH);
	bench_close(&b);
	finds(path, "");
	assert_int_equal(notes_alive, 0);
}

/* What a transaction that was not committed began is gone after the start. */
static void
test_left_behind(void **state)
{
	char name[160];
	FILE *f;

	(void)state;
	open_it(NULL);
	bench_close(&b);
	snprintf(name, sizeof name, "%s" DATA_TAIL "0000001", path);
	assert_non_null(f = fopen(name, "w"));
	fclose(f);
	open_it(NULL);
	assert_int_equal(count_files(), 0);
	/* nor is a link followed */
	assert_int_equal(symlink("/nowhere/at/all", name), 0);
	add_session();
	put_some(1);
	assert_int_equal(count_files(), 1);
	bench_close(&b);
}

static void
test_trouble(void **state)
{
	static const struct {
		int rc;
		enum store_state want;
	} rows[] = {
		{ SQLITE_FULL, STORE_FULL },
		{ SQLITE_IOERR_WRITE, STORE_FAILING },
	};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		enum nj_err e;
		struct store_batch *x;

		disk_reset(i + 1);
		open_it(DISK_VFS);
		add_session();
		put_some(1);
		disk_fail(rows[i].rc);
		x = bench_batch();
		bench_put(x, 101, 100);
		bench_submit(&b, x);
		bench_wait_state(&b, rows[i].want);
		disk_fail(0);
		bench_wait_state(&b, STORE_OK);
		assert_true(bench_wait(&b, b.ticket));
		put_some(201);
		assert_int_equal(read_all(1, &e), 300);
		assert_int_equal(e, NJ_OK);
		bench_close(&b);
	}
	assert_int_equal(notes_alive, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_come_and_go, fresh),
		cmocka_unit_test_setup(test_bounded, fresh),
		cmocka_unit_test_setup(test_damage, fresh),
		cmocka_unit_test_setup(test_backup, fresh),
		cmocka_unit_test_setup(test_view_keeps, fresh),
		cmocka_unit_test_setup(test_older_schema, fresh),
		cmocka_unit_test_setup(test_left_behind, fresh),
		cmocka_unit_test_setup(test_trouble, fresh),
	};

	return cmocka_run_group_tests_name(
	    "store data", tests, place_make, teardown_all);
}
