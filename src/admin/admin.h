/* SPDX-License-Identifier: Apache-2.0
 * admin - the administrative socket: a person, or a program of this machine,
 *         asks a running broker, one line of JSON for one line of JSON.
 *
 *   {"command": "clients show", "args": {"id": "pump-7"}}
 *   {"ok": true, "result": {...}}
 *   {"ok": false, "code": "not-found", "error": "...", "mend": "..."}
 *
 * Whoever may use it may do everything, so the path is its owner's alone, and
 * besides the kernel is asked who connects: root, the user the broker serves
 * as, and members of one group if one was named.
 *
 * Owns:    the path, the thread that accepts, one thread a connection.
 * Threads: admin_open and admin_free the main thread, as the listeners;
 *          admin_start after rights were dropped; admin_stop before the
 *          broker's shards end, because commands ask them.
 * Bounds:  ADMIN_CONNS connections at once, ADMIN_REQUEST_MAX and
 *          ADMIN_ANSWER_MAX bytes, ADMIN_IDLE_MS for a whole request and as
 *          much for the answer to be taken.
 */
#ifndef NJ_ADMIN_ADMIN_H
#define NJ_ADMIN_ADMIN_H

#include <sys/types.h>

#include "admin/command.h"
#include "base/err.h"

#define ADMIN_CONNS	  16
#define ADMIN_REQUEST_MAX ((size_t)1 << 20)
#define ADMIN_ANSWER_MAX  ((size_t)64 << 20)
#define ADMIN_IDLE_MS	  10000
#define ADMIN_PATIENCE_MS 5000 /* admin_call.patience_ms */
#define ADMIN_MODE	  0600
#define ADMIN_MODE_GROUP  0660 /* where a group was named */

struct admin_opts {
	const char *path;
	unsigned mode;	  /* 0: as above */
	uid_t uid;	  /* whose the path is; (uid_t)-1: ours */
	gid_t gid;	  /* the same; (gid_t)-1 */
	bool gid_may_ask; /* its members, too */
};

struct admin;

NJ_MUST enum nj_err
admin_open(const struct admin_opts *o, struct admin **out, struct nj_why *why);
/* *env is copied; what it points to outlives admin_stop. */
NJ_MUST enum nj_err
admin_start(struct admin *a, const struct admin_env *env, struct nj_why *why);
/* No command runs any more when it returns.  NULL is fine. */
void admin_stop(struct admin *a);
/* Removes the path, too. */
void admin_free(struct admin *a);

/* One request line to one answer line, without its '\n'; for tests.  The
 * caller frees it; NULL without memory. */
char *admin_answer(
    const struct admin_env *env, struct slice line, uid_t uid, pid_t pid);

#endif
