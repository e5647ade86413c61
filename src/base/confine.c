/* SPDX-License-Identifier: Apache-2.0
 * confine - what is left to a process that holds a key and answers questions.
 */
#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/daemon.h"

/* The leak checker of a test build starts a thread that looks into the process
 * when it ends. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECKED_BUILD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define CHECKED_BUILD 1
#endif
#endif
#ifndef CHECKED_BUILD
#define CHECKED_BUILD 0
#endif

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0 /* no filter is known for it */
#endif

#define KILL(nr)                                         \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), \
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

/* What it has no use for, and whoever took it over would. */
static const struct sock_filter filter[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#if defined(__x86_64__)
	/* the x32 numbers are the same calls under other names */
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
#endif
	KILL(SYS_execve),
	KILL(SYS_execveat),
	KILL(SYS_socket),
	KILL(SYS_connect),
	KILL(SYS_bind),
	KILL(SYS_listen),
	KILL(SYS_accept),
	KILL(SYS_accept4),
	KILL(SYS_ptrace),
	KILL(SYS_process_vm_readv),
	KILL(SYS_process_vm_writev),
	KILL(SYS_clone3),
	KILL(SYS_clone),
#if defined(__x86_64__)
	KILL(SYS_fork),
	KILL(SYS_vfork),
#endif
	KILL(SYS_mount),
	KILL(SYS_chroot),
	KILL(SYS_setns),
	KILL(SYS_unshare),
	KILL(SYS_init_module),
	KILL(SYS_finit_module),
	KILL(SYS_kexec_load),
	KILL(SYS_bpf),
	KILL(SYS_perf_event_open),
	KILL(SYS_userfaultfd),
	KILL(SYS_keyctl),
	KILL(SYS_add_key),
	KILL(SYS_request_key),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

void
daemon_close_all_but(int fd)
{
	if (fd > 3)
		(void)close_range(3, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, ~0U, 0);
}

void
daemon_be_helper(int fd, const char *name)
{
	static const int theirs[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1,
		SIGUSR2 };

	for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
		(void)signal(theirs[i], SIG_IGN);
	daemon_close_all_but(fd);
	(void)prctl(PR_SET_NAME, name);
}

static void
filter_calls(void)
{
	const struct sock_fprog prog = {
		.len = sizeof filter / sizeof *filter,
		.filter = (struct sock_filter *)(uintptr_t)filter,
	};

	/* a kernel without it has the other walls */
	if (ARCH != 0 && !CHECKED_BUILD)
		(void)prctl(
		    PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0UL, 0UL);
}

static enum nj_err
become_owner(const char *folder, struct nj_why *why)
{
	struct stat st;

	if (stat(folder, &st) != 0) {
		why_set(
		    why, "cannot look at '%s': %s", folder, strerror(errno));
		return NJ_IO;
	}
	if (geteuid() != 0)
		return NJ_OK;
	if (setgroups(0, NULL) != 0 ||
	    setresgid(st.st_gid, st.st_gid, st.st_gid) != 0 ||
	    setresuid(st.st_uid, st.st_uid, st.st_uid) != 0) {
		why_set(why, "cannot become the owner of '%s': %s", folder,
		    strerror(errno));
		return NJ_DENIED;
	}
	return NJ_OK;
}

enum nj_err
daemon_confine(const char *folder, struct nj_why *why)
{
	enum nj_err e;

	if ((e = become_owner(folder, why)))
		return e;
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 ||
	    (!CHECKED_BUILD && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)) {
		why_set(why, "the signer cannot give up its rights: %s",
		    strerror(errno));
		return NJ_DENIED;
	}
	filter_calls();
	return NJ_OK;
}

/* Not every container has the one that is for reading alone. */
static bool
keep_one_right(uid_t uid, gid_t gid)
{
	static const unsigned rights[] = { CAP_DAC_READ_SEARCH,
		CAP_DAC_OVERRIDE };
	size_t i = 0;

	if (capng_get_caps_process() != 0)
		return false;
	while (i < 2 && !capng_have_capability(CAPNG_PERMITTED, rights[i]))
		i++;
	if (i == 2)
		return false;
	capng_clear(CAPNG_SELECT_BOTH);
	return capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
		   rights[i]) == 0 &&
	    capng_change_id((int)uid, (int)gid, CAPNG_DROP_SUPP_GRP) == 0;
}

enum nj_err
daemon_confine_reader(const char *user, struct nj_why *why)
{
	const struct rlimit none = { 0 };
	uid_t uid;
	gid_t gid;
	enum nj_err e;

	if ((e = daemon_find_user(user, &uid, &gid, why)))
		return e;
	if (!keep_one_right(uid, gid) || setrlimit(RLIMIT_FSIZE, &none) != 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
		why_set(why, "the right to read files cannot be kept: %s",
		    strerror(errno));
		return NJ_DENIED;
	}
	filter_calls();
	return NJ_OK;
}
