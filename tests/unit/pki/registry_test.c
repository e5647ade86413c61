/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "pki/registry.h"

static char dir[64];
static const char *path;

static int
setup(void **state)
{
	static char p[128];

	(void)state;
	rough_mkdir(dir);
	(void)snprintf(p, sizeof(p), "%s/registry", dir);
	path = p;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rough_rmdir(dir);
	return 0;
}

static struct registry_entry
entry(unsigned i)
{
	struct registry_entry e = { .kind = "device",
		.serial = "0123456789ABCDEF0123456789ABCDEF",
		.issued = 1700000000,
		.not_after = 1731536000,
		.spki = "0123456789abcdef0123456789abcdef"
			"0123456789abcdef0123456789abcdef" };

	(void)snprintf(e.id, sizeof(e.id), "dev%u", i);
	return e;
}

static void
append(unsigned from, unsigned n, bool create)
{
	struct registry *r = NULL;
	struct nj_why why = { 0 };

	if (registry_open(path, create, &r, &why))
		fail_msg("%s", why.what);
	for (unsigned i = from; i < from + n; i++) {
		struct registry_entry e = entry(i);

		assert_int_equal(registry_append(r, &e, &why), NJ_OK);
	}
	registry_close(r);
}

struct count {
	unsigned n;
	char last[PKI_ID_MAX + 1];
};

static bool
count_one(void *arg, const struct registry_entry *e)
{
	struct count *c = arg;
	struct registry_entry want = entry(c->n);

	assert_string_equal(e->id, want.id);
	assert_string_equal(e->kind, want.kind);
	assert_string_equal(e->serial, want.serial);
	assert_string_equal(e->spki, want.spki);
	assert_int_equal(e->issued, want.issued);
	assert_int_equal(e->not_after, want.not_after);
	c->n++;
	return true;
}

/* The whole file, in memory of its own; the caller frees it. */
static char *
read_copy(size_t *n)
{
	struct buf all = { 0 };
	char *copy;

	assert_int_equal(file_read(path, 65536, &all, NULL), NJ_OK);
	*n = buf_len(&all);
	copy = malloc(*n + 1);
	if (!copy || !all.p)
		abort();
	memcpy(copy, buf_slice(&all).p, *n);
	copy[*n] = '\0';
	buf_fini(&all);
	return copy;
}

static enum nj_err
read_all(unsigned *n)
{
	struct count c = { 0 };
	struct nj_why why = { 0 };
	enum nj_err e = registry_each(path, count_one, &c, &why);

	*n = c.n;
	return e;
}

static void
append_and_read(void **state)
{
	struct registry *r = NULL;
	struct nj_why why = { 0 };
	unsigned n;

	(void)state;
	append(0, 3, true);
	append(3, 2, false);
	assert_int_equal(read_all(&n), NJ_OK);
	assert_int_equal(n, 5);
	assert_int_equal(rough_mode(path), 0600);
	assert_int_equal(registry_open(path, true, &r, &why), NJ_EXISTS);
	assert_null(r);
}

/* A crash may leave any prefix of what was written last: what came before is
 * kept whole, and the next entry stands where the torn one began. */
static void
every_truncation(void **state)
{
	struct buf all = { 0 };
	struct slice s;
	size_t whole;
	unsigned n;

	(void)state;
	append(0, 2, true);
	assert_int_equal(file_read(path, 4096, &all, NULL), NJ_OK);
	whole = buf_len(&all);
	append(2, 1, false);
	buf_fini(&all);
	assert_int_equal(file_read(path, 4096, &all, NULL), NJ_OK);
	s = buf_slice(&all);
	for (size_t cut = whole; cut < s.n; cut++) {
		assert_int_equal(
		    file_write(path, slice_of(s.p, cut), 0600, NULL), NJ_OK);
		assert_int_equal(read_all(&n), NJ_OK);
		assert_int_equal(n, 2);
		append(2, 1, false);
		assert_int_equal(read_all(&n), NJ_OK);
		assert_int_equal(n, 3);
	}
	buf_fini(&all);
}

/* File systems may also lengthen a file and not write its end: NUL bytes. */
static void
unwritten_blocks(void **state)
{
	static const char nul[200];
	unsigned n;
	int fd;

	(void)state;
	append(0, 2, true);
	fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, nul, sizeof(nul)), sizeof(nul));
	(void)close(fd);
	assert_int_equal(read_all(&n), NJ_OK);
	assert_int_equal(n, 2);
	append(2, 1, false);
	assert_int_equal(read_all(&n), NJ_OK);
	assert_int_equal(n, 3);
}

/* Any changed byte, in any place, is found, the last line's included. */
static void
every_flip(void **state)
{
	unsigned n;
	size_t len;
	char *all;

	(void)state;
	append(0, 3, true);
	all = read_copy(&len);
	for (size_t i = 0; i + 1 < len; i++) {
		struct registry *r = NULL;
		struct nj_why why = { 0 };

		all[i] ^= 0x01;
		assert_int_equal(
		    file_write(path, slice_of(all, len), 0600, NULL), NJ_OK);
		if (read_all(&n) != NJ_INVALID)
			fail_msg("byte %zu", i);
		assert_int_equal(
		    registry_open(path, false, &r, &why), NJ_INVALID);
		assert_non_null(strstr(why.mend, "backup"));
		all[i] ^= 0x01;
	}
	free(all);
}

static void
missing_line(void **state)
{
	char *all, *second, *third;
	unsigned n;
	size_t len;

	(void)state;
	append(0, 3, true);
	all = read_copy(&len);
	second = strchr(strchr(all, '\n') + 1, '\n') + 1;
	third = strchr(second, '\n') + 1;
	memmove(second, third, strlen(third) + 1);
	assert_int_equal(file_write(path, slice_str(all), 0600, NULL), NJ_OK);
	assert_int_equal(read_all(&n), NJ_INVALID);
	free(all);
}

/* A disk that is full in the middle of a line: refused, and nothing of it
 * stays. */
static void
full_disk(void **state)
{
	struct rlimit limit, old;
	struct registry_entry e = entry(1);
	struct registry *r = NULL;
	struct nj_why why = { 0 };
	struct stat st;
	unsigned n;

	(void)state;
	append(0, 1, true);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(registry_open(path, false, &r, &why), NJ_OK);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = (rlim_t)st.st_size + 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(registry_append(r, &e, &why), NJ_IO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(read_all(&n), NJ_OK);
	assert_int_equal(n, 1);
	assert_int_equal(registry_append(r, &e, &why), NJ_OK);
	registry_close(r);
	assert_int_equal(read_all(&n), NJ_OK);
	assert_int_equal(n, 2);
}

/* Two processes that issue at once take turns: no line is lost. */
static void
two_writers(void **state)
{
	unsigned lines = 0;
	pid_t pids[2];
	size_t len;
	char *all;

	(void)state;
	append(0, 0, true);
	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			for (int k = 0; k < 20; k++) {
				struct registry_entry e = entry(7);
				struct registry *r = NULL;

				if (registry_open(path, false, &r, NULL) ||
				    registry_append(r, &e, NULL))
					_exit(1);
				registry_close(r);
			}
			_exit(0);
		}
	}
	for (int i = 0; i < 2; i++) {
		int status = -1;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	all = read_copy(&len);
	for (size_t i = 0; i < len; i++)
		lines += all[i] == '\n';
	free(all);
	assert_int_equal(lines, 41);
}

/* Several lines of one write, of which a later block is there and an earlier
 * one is not: nobody has their certificates, so what stands before the hole is
 * kept and the rest goes.  Without a hole it is damage. */
static void
hole_in_a_batch(void **state)
{
	struct registry_entry v[20];
	struct registry *r = NULL;
	char *all, *line;
	size_t len;
	unsigned n;

	(void)state;
	append(0, 2, true);
	for (unsigned i = 0; i < 20; i++) {
		v[i] = entry(2 + i);
		v[i].has_groups = true;
		(void)snprintf(v[i].groups, sizeof(v[i].groups), "a,b%u", i);
	}
	assert_int_equal(registry_open(path, false, &r, NULL), NJ_OK);
	assert_int_equal(registry_append_all(r, v, 20, NULL), NJ_OK);
	registry_close(r);
	assert_int_equal(read_all(&n), NJ_OK);
	assert_int_equal(n, 22);

	all = read_copy(&len);
	line = strstr(all, "device dev9 ");
	assert_non_null(line);
	line[8] = 'X';
	assert_int_equal(
	    file_write(path, slice_of(all, len), 0600, NULL), NJ_OK);
	assert_int_equal(read_all(&n), NJ_INVALID);
	memset(line, 0, 600);
	assert_int_equal(
	    file_write(path, slice_of(all, len), 0600, NULL), NJ_OK);
	free(all);
	assert_int_equal(read_all(&n), NJ_OK);
	assert_int_equal(n, 9);
	append(9, 3, false);
	assert_int_equal(read_all(&n), NJ_OK);
	assert_int_equal(n, 12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    append_and_read, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    every_truncation, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    unwritten_blocks, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    hole_in_a_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(every_flip, setup, teardown),
		cmocka_unit_test_setup_teardown(missing_line, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(two_writers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
