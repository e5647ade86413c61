/* SPDX-License-Identifier: Apache-2.0
 *
 * Each step runs in a child, because it cannot be taken back.
 */
#include "base/daemon.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static int
setup(void **state)
{
	(void)state;
	return snprintf(path, sizeof path, "/tmp/nightjar-%ld.pid",
		   (long)getpid()) > 0
	    ? 0
	    : -1;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	return 0;
}

/* Exit status of fn in a child. */
static int
in_child(int (*fn)(void))
{
	int status = 0;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The number after a label in /proc/self/status, in base 16. */
static unsigned long long
status_of(const char *label)
{
	char line[256];
	unsigned long long v = 99;
	FILE *f = fopen("/proc/self/status", "r");
	size_t n = strlen(label);

	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, label, n) == 0)
			v = strtoull(line + n, NULL, 16);
	if (f)
		(void)fclose(f);
	return v;
}

static int
drop(void)
{
	struct nj_why why = { 0 };
	bool root = geteuid() == 0;

	if (daemon_drop_rights("nobody", &why)) {
		(void)fprintf(stderr, "%s\n", why.what);
		return 1;
	}
	if (status_of("NoNewPrivs:") != 1 || status_of("CapEff:") != 0 ||
	    status_of("CapPrm:") != 0 || status_of("CapInh:") != 0)
		return 2;
	if (root && (getuid() == 0 || geteuid() == 0 || getgid() == 0))
		return 3;
	if (root && status_of("CapBnd:") != 0)
		return 4;
	if (setuid(0) == 0 && root)
		return 5;
	return 0;
}

static void
test_drop_rights(void **state)
{
	(void)state;
	assert_int_equal(in_child(drop), 0);
}

static int
drop_to_nobody_known(void)
{
	struct nj_why why = { 0 };

	/* Only root looks the user up at all. */
	if (geteuid() != 0)
		return 0;
	return daemon_drop_rights("no-such-user-here", &why) == NJ_NOTFOUND &&
		strstr(why.mend, "useradd")
	    ? 0
	    : 1;
}

static void
test_unknown_user(void **state)
{
	struct nj_why why = { 0 };
	uid_t uid = 1;
	gid_t gid = 1;

	(void)state;
	assert_int_equal(in_child(drop_to_nobody_known), 0);
	assert_int_equal(daemon_find_user("root", &uid, &gid, &why), NJ_OK);
	assert_int_equal(uid, 0);
	assert_int_equal(
	    daemon_find_user("no-such-user-here", &uid, &gid, &why),
	    NJ_NOTFOUND);
	assert_non_null(strstr(why.what, "no-such-user-here"));
}

static int
hold_again(void)
{
	struct nj_why why = { 0 };
	char holder[32];

	(void)snprintf(holder, sizeof holder, "process %ld", (long)getppid());
	if (daemon_pid_file(path, &why) != NJ_BUSY)
		return 1;
	return strstr(why.what, holder) ? 0 : 2;
}

static void
test_pid_file(void **state)
{
	struct nj_why why = { 0 };
	long pid = 0;
	FILE *f;

	(void)state;
	/* One left behind by a dead process is taken over. */
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs("123456789\n", f) >= 0);
	(void)fclose(f);
	assert_int_equal(daemon_pid_file(path, &why), NJ_OK);
	assert_int_equal(in_child(hold_again), 0);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld", &pid), 1);
	(void)fclose(f);
	assert_int_equal(pid, getpid());
	daemon_pid_file_remove();
	assert_int_equal(access(path, F_OK), -1);
	daemon_pid_file_remove(); /* twice does no harm */
}

static void
test_pid_file_refused(void **state)
{
	struct nj_why why = { 0 };

	(void)state;
	assert_int_equal(daemon_pid_file("/nonexistent/x.pid", &why), NJ_IO);
	assert_non_null(strstr(why.what, "/nonexistent/x.pid"));
	assert_int_equal(symlink("/tmp/nightjar-elsewhere", path), 0);
	assert_int_equal(daemon_pid_file(path, &why), NJ_IO);
	assert_int_equal(access("/tmp/nightjar-elsewhere", F_OK), -1);
	(void)unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(daemon_pid_file(path, &why), NJ_INVALID);
	(void)unlink(path);
}

static int
go_background(void)
{
	struct nj_why why = { 0 };

	if (daemon_background(&why))
		return 9;
	/* The child: its parent left, or leaves, with what comes now. */
	daemon_ready();
	_exit(getsid(0) == getpid() ? 0 : 5);
}

static int
go_background_and_fail(void)
{
	struct nj_why why = { 0 };

	if (daemon_background(&why))
		return 9;
	_exit(7);
}

static int
go_background_and_die(void)
{
	struct nj_why why = { 0 };

	if (daemon_background(&why))
		return 9;
	(void)raise(SIGKILL);
	return 8;
}

static void
test_background(void **state)
{
	(void)state;
	assert_int_equal(in_child(go_background), 0);
	assert_int_equal(in_child(go_background_and_fail), 7);
	assert_int_equal(in_child(go_background_and_die), 1);
}

static int
raise_files(void)
{
	struct rlimit rl;
	unsigned long now = 0;

	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		return 1;
	rl.rlim_cur = 64;
	if (rl.rlim_max > 4096)
		rl.rlim_max = 4096;
	if (setrlimit(RLIMIT_NOFILE, &rl) != 0)
		return 2;
	daemon_raise_files(&now);
	return now == rl.rlim_max ? 0 : 3;
}

static void
test_raise_files(void **state)
{
	(void)state;
	assert_int_equal(in_child(raise_files), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drop_rights),
		cmocka_unit_test(test_unknown_user),
		cmocka_unit_test(test_pid_file),
		cmocka_unit_test(test_pid_file_refused),
		cmocka_unit_test(test_background),
		cmocka_unit_test(test_raise_files),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
