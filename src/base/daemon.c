/* SPDX-License-Identifier: Apache-2.0 */
#include "base/daemon.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The leak checker of a test build attaches to the process, which the kernel
 * only allows where it may be dumped. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEP_DUMPABLE true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(leak_sanitizer)
#define KEEP_DUMPABLE true
#endif
#endif
#ifndef KEEP_DUMPABLE
#define KEEP_DUMPABLE false
#endif

static int ready_fd = -1; /* the parent waits at the other end */
static int pid_fd = -1;
static char *pid_path;

/* Does not return: leaves with what the child says, or how it died. */
static void
await_child(pid_t child, int fd)
{
	char ok;
	int status = 0;
	ssize_t n;

	do
		n = read(fd, &ok, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0
		? WEXITSTATUS(status)
		: 1);
}

/* Puts /dev/null in the place of fds from first to last. */
static bool
to_null(int first, int last)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
	bool ok = null >= 0;

	for (int fd = first; ok && fd <= last; fd++)
		ok = dup2(null, fd) == fd;
	if (null > last)
		(void)close(null);
	return ok;
}

enum nj_err
daemon_background(struct nj_why *why)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) != 0) {
		why_set(
		    why, "cannot go into the background: %s", strerror(errno));
		return NJ_IO;
	}
	(void)fflush(NULL);
	child = fork();
	if (child < 0) {
		why_set(
		    why, "cannot go into the background: %s", strerror(errno));
		(void)close(fds[0]);
		(void)close(fds[1]);
		return NJ_IO;
	}
	if (child > 0) {
		(void)close(fds[1]);
		await_child(child, fds[0]);
	}
	(void)close(fds[0]);
	ready_fd = fds[1];
	(void)setsid();
	/* stdout and stderr stay until daemon_ready, for what goes wrong. */
	if (!to_null(STDIN_FILENO, STDIN_FILENO)) {
		why_set(why, "cannot open /dev/null: %s", strerror(errno));
		return NJ_IO;
	}
	return NJ_OK;
}

void
daemon_ready(void)
{
	if (ready_fd < 0)
		return;
	(void)to_null(STDOUT_FILENO, STDERR_FILENO);
	while (write(ready_fd, "", 1) < 0 && errno == EINTR)
		continue;
	(void)close(ready_fd);
	ready_fd = -1;
}

/* Locks the whole file; says who has it when another has. */
static enum nj_err
lock_pid(int fd, const char *path, struct nj_why *why)
{
	struct flock lk = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_SETLK, &lk) == 0)
		return NJ_OK;
	if (errno != EACCES && errno != EAGAIN) {
		why_set(
		    why, "cannot lock pid file %s: %s", path, strerror(errno));
		return NJ_IO;
	}
	if (fcntl(fd, F_GETLK, &lk) == 0 && lk.l_type != F_UNLCK &&
	    lk.l_pid > 0) {
		why_set(why, "process %ld is running already and holds %s",
		    (long)lk.l_pid, path);
		why_mend(why,
		    "stop it (kill %ld), or give this one another "
		    "pid_file",
		    (long)lk.l_pid);
	} else {
		why_set(why, "another process holds %s", path);
		why_mend(why, "stop it, or give this one another pid_file");
	}
	return NJ_BUSY;
}

static enum nj_err
put_pid(int fd, const char *path, struct nj_why *why)
{
	char text[32];
	struct stat st;
	int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		why_set(why, "pid file %s is not a regular file", path);
		why_mend(why, "choose another path for pid_file");
		return NJ_INVALID;
	}
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
		why_set(
		    why, "cannot write pid file %s: %s", path, strerror(errno));
		return NJ_IO;
	}
	return NJ_OK;
}

enum nj_err
daemon_pid_file(const char *path, struct nj_why *why)
{
	char *copy = strdup(path);
	int fd = -1;
	enum nj_err e = NJ_NOMEM;

	if (!copy)
		goto out;
	fd = open(path,
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK,
	    0644);
	if (fd < 0) {
		why_set(
		    why, "cannot open pid file %s: %s", path, strerror(errno));
		why_mend(why,
		    errno == ELOOP
			? "give the file itself, not a symbolic link"
			: "create its folder, writable for the broker");
		e = NJ_IO;
		goto out;
	}
	if ((e = lock_pid(fd, path, why)) || (e = put_pid(fd, path, why)))
		goto out;
	pid_fd = fd;
	pid_path = copy;
	fd = -1; /* moved */
	copy = NULL;
out:
	if (fd >= 0)
		(void)close(fd);
	free(copy);
	return e;
}

/* Only what is still ours; a folder we may not write any more leaves it, but
 * empty. */
void
daemon_pid_file_remove(void)
{
	struct stat mine, there;

	if (pid_fd < 0)
		return;
	if (fstat(pid_fd, &mine) == 0 && lstat(pid_path, &there) == 0 &&
	    mine.st_ino == there.st_ino && mine.st_dev == there.st_dev &&
	    unlink(pid_path) != 0)
		(void)!ftruncate(pid_fd, 0);
	(void)close(pid_fd);
	free(pid_path);
	pid_fd = -1;
	pid_path = NULL;
}

enum nj_err
daemon_find_user(const char *name, uid_t *uid, gid_t *gid, struct nj_why *why)
{
	struct passwd pw, *found = NULL;
	size_t size = 4096;
	char *buf = NULL;
	int err = ERANGE;

	while (err == ERANGE && size <= (1u << 20)) {
		char *more = realloc(buf, size);

		if (!more) {
			free(buf);
			return NJ_NOMEM;
		}
		buf = more;
		err = getpwnam_r(name, &pw, buf, size, &found);
		size *= 2;
	}
	if (found) {
		*uid = pw.pw_uid;
		*gid = pw.pw_gid;
		free(buf);
		return NJ_OK;
	}
	free(buf);
	why_set(why, "there is no user '%s' on this machine", name);
	why_mend(why,
	    "useradd --system --no-create-home --shell /usr/sbin/nologin %s, "
	    "or name another with 'user'",
	    name);
	return NJ_NOTFOUND;
}

enum nj_err
daemon_find_group(const char *name, gid_t *gid, struct nj_why *why)
{
	struct group gr, *found = NULL;
	size_t size = 4096;
	char *buf = NULL;
	int err = ERANGE;

	while (err == ERANGE && size <= (1u << 20)) {
		char *more = realloc(buf, size);

		if (!more) {
			free(buf);
			return NJ_NOMEM;
		}
		buf = more;
		err = getgrnam_r(name, &gr, buf, size, &found);
		size *= 2;
	}
	if (found)
		*gid = gr.gr_gid;
	free(buf);
	if (found)
		return NJ_OK;
	why_set(why, "there is no group '%s' on this machine", name);
	why_mend(why, "groupadd --system %s, or name another", name);
	return NJ_NOTFOUND;
}

static enum nj_err
cannot(struct nj_why *why, const char *what, const char *user)
{
	why_set(why, "cannot %s of user '%s': %s", what, user, strerror(errno));
	why_mend(why,
	    "start as that user, or as root with CAP_SETUID and "
	    "CAP_SETGID");
	return NJ_DENIED;
}

static enum nj_err
become(const char *user, struct nj_why *why)
{
	uid_t uid = 0;
	gid_t gid = 0;
	enum nj_err e;

	if ((e = daemon_find_user(user, &uid, &gid, why)))
		return e;
	/* The bounding set can only be lowered while still root; without
	 * NoNewPrivs below it would matter, with it it is a second wall. */
	capng_clear(CAPNG_SELECT_BOTH);
	(void)capng_apply(CAPNG_SELECT_BOUNDS);
	if (initgroups(user, gid) != 0)
		return cannot(why, "take on the groups", user);
	if (setresgid(gid, gid, gid) != 0)
		return cannot(why, "take on the group", user);
	if (setresuid(uid, uid, uid) != 0)
		return cannot(why, "take on the identity", user);
	if (uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
		why_set(
		    why, "root could be had back after becoming '%s'", user);
		return NJ_DENIED;
	}
	return NJ_OK;
}

enum nj_err
daemon_drop_rights(const char *user, struct nj_why *why)
{
	enum nj_err e;

	if (geteuid() == 0 && (e = become(user, why)))
		return e;
	/* Also for 'user root', and for a service that was started with
	 * capabilities to bind low ports. */
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
		why_set(why, "cannot give up capabilities");
		return NJ_DENIED;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		why_set(why, "cannot set NoNewPrivs: %s", strerror(errno));
		return NJ_DENIED;
	}
	if (!KEEP_DUMPABLE && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
		why_set(why,
		    "cannot keep others from reading this process: "
		    "%s",
		    strerror(errno));
		return NJ_DENIED;
	}
	return NJ_OK;
}

void
daemon_raise_files(unsigned long *now)
{
	struct rlimit rl;

	*now = 1024;
	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		return;
	if (rl.rlim_cur < rl.rlim_max) {
		struct rlimit up = { .rlim_cur = rl.rlim_max,
			.rlim_max = rl.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &up) == 0)
			rl = up;
	}
	*now = rl.rlim_cur;
}

enum nj_err
daemon_signals(const sigset_t *set, int *fd, struct nj_why *why)
{
	*fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (*fd >= 0)
		return NJ_OK;
	why_set(why, "signals cannot be waited for: %s", strerror(errno));
	if (errno == EMFILE || errno == ENFILE)
		why_mend(why, DAEMON_MEND_FILES);
	return NJ_IO;
}
