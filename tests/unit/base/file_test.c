/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/secret.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static char dir[] = "/tmp/nightjar-file-XXXXXX";

static const char *
in_dir(const char *name)
{
	static char path[8][128];
	static unsigned at;
	char *p = path[at++ % 8];

	(void)snprintf(p, sizeof path[0], "%s/%s", dir, name);
	return p;
}

static mode_t
mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static unsigned
entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n - 2;
}

static void
expect(const char *path, const char *text)
{
	struct buf b = { 0 };

	assert_int_equal(file_read(path, 1000, &b, NULL), NJ_OK);
	assert_true(slice_is(buf_slice(&b), text));
	buf_fini(&b);
}

static void
file_writes_whole(void **state)
{
	const char *path = in_dir("w");
	struct nj_why why = { 0 };

	(void)state;
	assert_int_equal(file_write(path, LIT("one"), 0640, &why), NJ_OK);
	expect(path, "one");
	assert_int_equal(mode_of(path), 0640);
	assert_int_equal(file_write(path, LIT(""), 0600, &why), NJ_OK);
	expect(path, "");
	assert_int_equal(mode_of(path), 0600);
	assert_int_equal(file_write(path, LIT("two"), 0600, &why), NJ_OK);
	assert_int_equal(
	    file_create(path, LIT("three"), 0600, &why), NJ_EXISTS);
	assert_non_null(strstr(why.what, path));
	expect(path, "two");
	assert_int_equal(
	    file_create(in_dir("c"), LIT("new"), 0600, &why), NJ_OK);
	expect(in_dir("c"), "new");
	assert_int_equal(unlink(in_dir("c")), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(entries(dir), 0); /* nothing half-made is left */
	assert_int_equal(
	    file_write(in_dir("no/such"), LIT("x"), 0600, &why), NJ_NOTFOUND);
	assert_true(why.mend[0] != '\0');
}

/* A link is replaced, not written through. */
static void
file_write_replaces_links(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(
	    file_write(in_dir("victim"), LIT("old"), 0600, NULL), NJ_OK);
	assert_int_equal(symlink(in_dir("victim"), in_dir("link")), 0);
	assert_int_equal(
	    file_write(in_dir("link"), LIT("new"), 0600, NULL), NJ_OK);
	expect(in_dir("victim"), "old");
	expect(in_dir("link"), "new");
	assert_int_equal(lstat(in_dir("link"), &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(unlink(in_dir("victim")), 0);
	assert_int_equal(unlink(in_dir("link")), 0);
}

static void
file_read_bounds(void **state)
{
	const struct {
		size_t size, max;
		enum nj_err want;
	} rows[] = {
		{ 0, 0, NJ_OK },
		{ 1, 0, NJ_TOOBIG },
		{ 100, 100, NJ_OK },
		{ 101, 100, NJ_TOOBIG },
		{ 16384, 16384, NJ_OK },
		{ 40000, 40000, NJ_OK },
		{ 40000, 39999, NJ_TOOBIG },
		{ 40000, SIZE_MAX, NJ_OK },
	};
	static uint8_t bytes[40000];
	struct nj_why why = { 0 };
	struct buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		assert_int_equal(buf_put_u8(&b, 'k'), NJ_OK);
		assert_int_equal(file_write(in_dir("r"),
				     slice_of(bytes, rows[i].size), 0600, &why),
		    NJ_OK);
		assert_int_equal(file_read(in_dir("r"), rows[i].max, &b, &why),
		    rows[i].want);
		assert_int_equal(
		    buf_len(&b), 1 + (rows[i].want ? 0 : rows[i].size));
		assert_int_equal(buf_slice(&b).p[0], 'k');
		buf_fini(&b);
	}
	assert_int_equal(unlink(in_dir("r")), 0);
	assert_int_equal(file_read(in_dir("r"), 1, &b, &why), NJ_NOTFOUND);
	assert_int_equal(file_read(dir, 1, &b, &why), NJ_IO);
	buf_fini(&b);
}

/* Nobody is waited for any longer. */
static bool impatient;
static int waited; /* ms, the last time */

int __real_poll(struct pollfd *v, nfds_t n, int ms);
int __wrap_poll(struct pollfd *v, nfds_t n, int ms);

int
__wrap_poll(struct pollfd *v, nfds_t n, int ms)
{
	waited = ms;
	return __real_poll(v, n, impatient ? 0 : ms);
}

/* A pipe's other end may never write, whether somebody holds it or not. */
static void
pipes_are_not_waited_for_without_end(void **state)
{
	const char *path = in_dir("pipe");
	struct nj_why why = { 0 };
	struct buf b = { 0 };
	int fd, nobody;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	impatient = true;
	assert_int_equal(file_read(path, 1000, &b, &why), NJ_IO);
	assert_non_null(strstr(why.what, "nobody writes to it"));
	nobody = waited;
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(file_read(path, 1000, &b, &why), NJ_IO);
	assert_non_null(strstr(why.what, "has written nothing for"));
	assert_true(why.mend[0]);
	assert_true(waited > nobody);
	/* nor when it began to write */
	assert_int_equal(write(fd, "some", 4), 4);
	assert_int_equal(file_read(path, 1000, &b, &why), NJ_IO);
	assert_non_null(strstr(why.what, "has written nothing for"));
	assert_int_equal(buf_len(&b), 0);
	impatient = false;
	(void)close(fd);
	(void)unlink(path);
	buf_fini(&b);
}

static void
file_mkdir_makes_parents(void **state)
{
	struct nj_why why = { 0 };

	(void)state;
	assert_int_equal(file_mkdir(in_dir("a/b//c/"), 0700, &why), NJ_OK);
	assert_int_equal(mode_of(in_dir("a")), 0700);
	assert_int_equal(mode_of(in_dir("a/b/c")), 0700);
	assert_int_equal(file_mkdir(in_dir("a/b"), 0700, &why), NJ_OK);
	assert_int_equal(file_mkdir("/", 0700, &why), NJ_OK);
	assert_int_equal(file_write(in_dir("a/f"), LIT(""), 0600, &why), NJ_OK);
	assert_int_equal(file_mkdir(in_dir("a/f"), 0700, &why), NJ_IO);
	assert_int_equal(file_mkdir(in_dir("a/f/g"), 0700, &why), NJ_IO);
	assert_int_equal(unlink(in_dir("a/f")), 0);
	assert_int_equal(rmdir(in_dir("a/b/c")), 0);
	assert_int_equal(rmdir(in_dir("a/b")), 0);
	assert_int_equal(rmdir(in_dir("a")), 0);
}

static void
private_means_private(void **state)
{
	const struct {
		mode_t mode;
		enum nj_err want;
	} rows[] = {
		{ 0600, NJ_OK },
		{ 0400, NJ_OK },
		{ 0640, NJ_DENIED },
		{ 0604, NJ_DENIED },
		{ 0620, NJ_DENIED },
		{ 0666, NJ_DENIED },
	};
	const char *path = in_dir("p");
	struct nj_why why = { 0 };

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct secret *s = NULL;

		assert_int_equal(
		    file_write(path, LIT("key\r\nmore"), rows[i].mode, NULL),
		    NJ_OK);
		assert_int_equal(file_check_private(path, &why), rows[i].want);
		assert_int_equal(
		    secret_from_file(path, &s, &why), rows[i].want);
		if (rows[i].want) {
			assert_null(s);
			assert_non_null(strstr(why.mend, "chmod"));
		} else {
			assert_true(slice_is(secret_bytes(s), "key"));
		}
		secret_free(s);
	}
	assert_int_equal(file_write(path, LIT("key"), 0600, NULL), NJ_OK);
	assert_int_equal(symlink(path, in_dir("l")), 0);
	assert_int_equal(file_check_private(in_dir("l"), &why), NJ_DENIED);
	assert_int_equal(file_check_private(in_dir("none"), &why), NJ_NOTFOUND);
	assert_int_equal(unlink(in_dir("l")), 0);
	assert_int_equal(unlink(path), 0);
}

static void
secret_reads_the_first_line(void **state)
{
	static char wide[SECRET_MAX + 2];
	const struct {
		struct slice in;
		enum nj_err want;
		struct slice line;
	} rows[] = {
		{ LIT("pw"), NJ_OK, LIT("pw") },
		{ LIT("pw\n"), NJ_OK, LIT("pw") },
		{ LIT("pw\nnext\n"), NJ_OK, LIT("pw") },
		{ LIT("p w \n"), NJ_OK, LIT("p w ") },
		{ LIT("a\0b\n"), NJ_OK, LIT("a\0b") },
		{ LIT(""), NJ_INVALID, LIT("") },
		{ LIT("\npw"), NJ_INVALID, LIT("") },
		{ { (uint8_t *)wide, SECRET_MAX }, NJ_OK,
		    { (uint8_t *)wide, SECRET_MAX } },
		{ { (uint8_t *)wide, SECRET_MAX + 1 }, NJ_TOOBIG, LIT("") },
	};

	(void)state;
	memset(wide, 'x', sizeof wide);
	for (size_t i = 0; i < LEN(rows); i++) {
		struct secret *s = NULL;
		struct nj_why why = { 0 };

		assert_int_equal(
		    file_write(in_dir("s"), rows[i].in, 0600, NULL), NJ_OK);
		assert_int_equal(
		    secret_from_file(in_dir("s"), &s, &why), rows[i].want);
		if (!rows[i].want)
			assert_true(slice_eq(secret_bytes(s), rows[i].line));
		else
			assert_true(why.what[0] != '\0');
		secret_free(s);
	}
	assert_int_equal(unlink(in_dir("s")), 0);
}

static void
a_part_of_a_file(void **state)
{
	static const struct {
		size_t n;
		off_t at;
		enum nj_err want;
		const char *text;
	} rows[] = {
		{ 10, 0, NJ_OK, "0123456789" },
		{ 3, 7, NJ_OK, "789" },
		{ 0, 10, NJ_OK, "" },
		{ 0, 11, NJ_OK, "" },
		{ 4, 7, NJ_EOF, NULL },
		{ 1, 10, NJ_EOF, NULL },
		{ 1, 99, NJ_EOF, NULL },
	};
	int fd, ends[2];

	(void)state;
	assert_int_equal(
	    file_write(in_dir("part"), LIT("0123456789"), 0600, NULL), NJ_OK);
	assert_true((fd = open(in_dir("part"), O_RDONLY | O_CLOEXEC)) >= 0);
	for (size_t i = 0; i < LEN(rows); i++) {
		char to[16] = "";

		errno = 0;
		assert_int_equal(
		    file_read_at(fd, to, rows[i].n, rows[i].at), rows[i].want);
		if (rows[i].want == NJ_OK)
			assert_string_equal(to, rows[i].text);
		else
			assert_int_equal(errno, EIO);
	}
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(in_dir("part")), 0);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(file_read_at(ends[0], (char[1]){ 0 }, 1, 0), NJ_IO);
	assert_int_equal(errno, ESPIPE);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* Pages that come again are each one secret's, and hold nothing of the last,
 * which was longer. */
static void
more_secrets_than_are_kept_for(void)
{
	struct secret *all[20];
	char want[16];

	for (int len = 9; len > 0; len -= 4) {
		for (size_t i = 0; i < LEN(all); i++) {
			(void)snprintf(want, sizeof want, "%0*zu", len, i + 10);
			assert_int_equal(
			    secret_new(slice_str(want), &all[i]), NJ_OK);
			for (size_t k = strlen(want); k < 1000; k++)
				assert_int_equal(secret_bytes(all[i]).p[k], 0);
		}
		for (size_t i = 0; i < LEN(all); i++) {
			(void)snprintf(want, sizeof want, "%0*zu", len, i + 10);
			assert_true(slice_is(secret_bytes(all[i]), want));
			secret_free(all[i]);
		}
	}
}

static void
secrets_are_kept(void **state)
{
	struct secret *s = NULL;
	uint8_t wiped[8] = "secret!";

	(void)state;
	assert_int_equal(secret_new(LIT("abc"), &s), NJ_OK);
	assert_true(slice_is(secret_bytes(s), "abc"));
	secret_free(s);
	assert_int_equal(secret_new(LIT(""), &s), NJ_OK);
	assert_int_equal(secret_bytes(s).n, 0);
	secret_free(s);
	secret_free(NULL);
	assert_int_equal(
	    secret_new(slice_of("", SECRET_MAX + 1), &s), NJ_TOOBIG);
	assert_int_equal(secret_random(SECRET_MAX + 1, &s), NJ_TOOBIG);
	assert_int_equal(secret_random(5000, &s), NJ_OK);
	assert_int_equal(secret_bytes(s).n, 5000);
	for (size_t i = 0; i < 5000; i++) {
		uint8_t c = secret_bytes(s).p[i];

		assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		    (c >= 'A' && c <= 'Z'));
	}
	secret_free(s);
	more_secrets_than_are_kept_for();
	secret_wipe(wiped, sizeof wiped);
	assert_memory_equal(wiped, "\0\0\0\0\0\0\0", 8);
	assert_true(secret_eq(LIT("same"), LIT("same")));
	assert_true(secret_eq(LIT(""), SLICE_NONE));
	assert_false(secret_eq(LIT("same"), LIT("samf")));
	assert_false(secret_eq(LIT("same"), LIT("same+")));
	assert_false(secret_eq(LIT(""), LIT("x")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_writes_whole),
		cmocka_unit_test(file_write_replaces_links),
		cmocka_unit_test(file_read_bounds),
		cmocka_unit_test(pipes_are_not_waited_for_without_end),
		cmocka_unit_test(file_mkdir_makes_parents),
		cmocka_unit_test(private_means_private),
		cmocka_unit_test(secret_reads_the_first_line),
		cmocka_unit_test(a_part_of_a_file),
		cmocka_unit_test(secrets_are_kept),
	};
	int failed;

	(void)umask(022);
	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(dir);
	return failed;
}
