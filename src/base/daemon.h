/* SPDX-License-Identifier: Apache-2.0
 * daemon - becoming a service: background, pid file, rights given up.
 *
 * Threads: the main thread, before any other is started.
 */
#ifndef NJ_BASE_DAEMON_H
#define NJ_BASE_DAEMON_H

#include <signal.h>
#include <sys/types.h>

#include "base/err.h"

/* fork, setsid, /dev/null; the parent leaves with 0 once the child calls
 * daemon_ready, or with the child's status when it dies first. */
NJ_MUST enum nj_err daemon_background(struct nj_why *why);
void daemon_ready(void);

/* Writes the pid; refuses when another live process holds it.  The lock is
 * held until exit. */
NJ_MUST enum nj_err daemon_pid_file(const char *path, struct nj_why *why);
void daemon_pid_file_remove(void);

/* Finds uid and gid; NJ_NOTFOUND with advice when there is no such user. */
NJ_MUST enum nj_err
daemon_find_user(const char *name, uid_t *uid, gid_t *gid, struct nj_why *why);
/* The same for a group. */
NJ_MUST enum nj_err
daemon_find_group(const char *name, gid_t *gid, struct nj_why *why);
/*
 * When root: sets groups, gid and uid for good, drops every capability, sets
 * NoNewPrivs, and checks that root cannot be had back.  Not root: NoNewPrivs
 * only.  In both cases the process is made undumpable.
 */
NJ_MUST enum nj_err daemon_drop_rights(const char *user, struct nj_why *why);
/*
 * For a process that only answers questions: it becomes the owner of the folder
 * (a path), gives up every capability and NoNewPrivs, cannot be looked into,
 * and the kernel ends it when it starts a program, or takes up a network
 * connection or a debugger (seccomp; where the kernel has it).  Ends with its
 * parent.
 */
NJ_MUST enum nj_err daemon_confine(const char *folder, struct nj_why *why);
/* The same for one that opens files for others: it becomes the user, and keeps
 * the right to read every file.  As root only. */
NJ_MUST enum nj_err daemon_confine_reader(const char *user, struct nj_why *why);
/* In a new process: what its parent had open is not its business; 0 to 2 and
 * fd stay. */
void daemon_close_all_but(int fd);
/* The same for one that is forked to answer questions on fd: under that name,
 * and what ends its parent ends it through fd, not by a signal. */
void daemon_be_helper(int fd, const char *name);
/* Raises the soft limit of open files to the hard one; *now is the result. */
void daemon_raise_files(unsigned long *now);
/* What mends that there are too few. */
#define DAEMON_MEND_FILES "let it open more files (LimitNOFILE, ulimit -n)"
/* *fd is readable while a signal of the set is pending.  Who has no descriptor left
 * for that has none for a client either. */
NJ_MUST enum nj_err
daemon_signals(const sigset_t *set, int *fd, struct nj_why *why);

#endif
