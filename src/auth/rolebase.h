/* SPDX-License-Identifier: Apache-2.0
 * rolebase - the users, groups and roles of a running broker: the state that
 *            holds now, where it is kept, and the commands that change it.
 *
 * The commands are those of Mosquitto's $CONTROL/dynamic-security/v1 in JSON,
 * whoever gives them: a client there, or somebody at the administrative
 * socket.
 *
 * A change is one transaction: it is kept (in the store, or the file is written
 * anew, synced and renamed over the old one), then it holds, then it is
 * answered.
 *
 * Owns:    the state; reference counted itself.
 * Threads: rolebase_seen and rolebase_take: the shard they name, without
 *          locks.  All else: any thread that may wait, so no shard's.
 * Bounds:  ROLEBASE_FILE_MAX, ROLEBASE_COMMAND_MAX; roles.h.
 */
#ifndef NJ_AUTH_ROLEBASE_H
#define NJ_AUTH_ROLEBASE_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/roles.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define ROLEBASE_FILE_MAX    ((size_t)512 << 20)
#define ROLEBASE_COMMAND_MAX ((size_t)64 << 20)
#define ROLEBASE_TOPIC	     "$CONTROL/dynamic-security/v1"
#define ROLEBASE_RESPONSE    "$CONTROL/dynamic-security/v1/response"

struct rolebase;

/* Where states are kept: the file, or what it is moved to. */
struct rolebase_keeper {
	/* NJ_NOTFOUND, NJ_DENIED, NJ_MALFORMED with *why; NJ_EXISTS: the one
	 * that it loaded or saved last. */
	enum nj_err (*load)(void *arg, struct roles **out, struct nj_why *why);
	/* All or nothing, and durable when it returns.  was: the state that it
	 * has; NULL: now takes the place of whatever it has. */
	enum nj_err (*save)(void *arg, const struct roles *was,
	    const struct roles *now, struct nj_why *why);
	void (*free)(void *arg);
	void *arg;
};

/*
 * A file in the form of dynamic-security.json.  Refused, with its line where
 * it has one: a file that is missing, empty, malformed, a symbolic link, not a
 * plain file, or that others than its owner and group may read.
 */
NJ_MUST enum nj_err
rolebase_open(const char *path, struct rolebase **out, struct nj_why *why);
/* The same, but it will be moved: what is wrong with the file matters only if
 * there is nothing in the other place.  Nothing else may be asked of it until
 * then.  Where there is no file the state is that of roles_first.h, by
 * password_file; NULL: there is none. */
NJ_MUST enum nj_err rolebase_open_to_move(const char *path,
    const char *password_file, struct rolebase **out, struct nj_why *why);
/* States are kept there from now on.  What is there already holds; else the
 * state that holds is put there, the file's at first.  Takes to->arg, also when
 * it fails. */
NJ_MUST enum nj_err rolebase_move(
    struct rolebase *rb, const struct rolebase_keeper *to, struct nj_why *why);
bool rolebase_is_moved(struct rolebase *rb);
/* That place is gone: until it is moved again nothing can be changed. */
void rolebase_homeless(struct rolebase *rb);
/* The same from elsewhere; name is for what is said.  Takes keeper->arg, also
 * when it fails. */
NJ_MUST enum nj_err rolebase_new(const struct rolebase_keeper *keeper,
    const char *name, struct rolebase **out, struct nj_why *why);
struct rolebase *rolebase_ref(struct rolebase *rb);
void rolebase_unref(struct rolebase *rb); /* NULL is fine */
const char *rolebase_name(const struct rolebase *rb);

/* The state that holds: the caller's reference. */
struct roles *rolebase_now(struct rolebase *rb);

/* Another state holds; on the thread that made the change, before the change
 * is answered. */
typedef void rolebase_fn(void *arg);
/* Once: who is told, and how many shards look. */
NJ_MUST enum nj_err rolebase_watch(
    struct rolebase *rb, unsigned shards, rolebase_fn *fn, void *arg);
/* Nobody is told any more. */
void rolebase_unwatch(struct rolebase *rb);
/* The state as that shard knows it; it lives until its next rolebase_take. */
const struct roles *rolebase_seen(const struct rolebase *rb, unsigned shard);
/* Consumes the caller's reference on now; the reference on what it was is the
 * caller's. */
struct roles *
rolebase_take(struct rolebase *rb, unsigned shard, struct roles *now);

/* A client that is connected. */
struct rolebase_here {
	struct slice user, client_id, address;
};
/* In what order they stand. */
int rolebase_here_cmp(struct slice a, struct slice b);

/* Who gives commands, for the log; and for answers, who is connected as whom,
 * by user and client identifier. */
struct rolebase_admin {
	struct slice client_id, user;
	bool knows_here;
	const struct rolebase_here *here;
	size_t n_here;
};
/*
 * {"commands":[...]} in, {"responses":[...]} out, as Mosquitto's plugin
 * answers.  Whatever json is, there is an answer; an error only without
 * memory.
 */
NJ_MUST enum nj_err rolebase_run(struct rolebase *rb,
    const struct rolebase_admin *who, struct slice json, struct buf *answer);

/* A file's state in place of the one that holds: one transaction, and then it
 * holds.  The file is refused as rolebase_open does. */
NJ_MUST enum nj_err
rolebase_import(struct rolebase *rb, const char *path, struct nj_why *why);
/* The state that holds as such a file, with its password hashes. */
NJ_MUST enum nj_err rolebase_export(struct rolebase *rb, struct buf *out);

/* A reload, in two steps: reads what is kept, if something else than this
 * rolebase wrote it; and makes what was read hold, unless a command changed
 * and so wrote it since. */
NJ_MUST enum nj_err rolebase_reread(struct rolebase *rb, struct nj_why *why);
void rolebase_adopt(struct rolebase *rb);

#endif
