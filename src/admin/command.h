/* SPDX-License-Identifier: Apache-2.0
 * command - what the administrative socket answers: one row a command.
 *
 * To add one: write a function of type admin_fn in a file of this folder, name
 * it in handlers.h and add its row to the table in commands.c.  What it works
 * on and this folder cannot reach is a member of struct admin_env, which
 * cmd/ fills in.
 *
 * Threads: a command runs on the thread of the connection that asked; several
 *          run at once.  It must not block for longer than `patience_ms`, but
 *          where its row says slow.  Never a shard's thread: what shards know
 *          is asked with broker/call.h.
 */
#ifndef NJ_ADMIN_COMMAND_H
#define NJ_ADMIN_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/slice.h"

struct broker;
struct tls_staples;

/* What commands work on; whatever is NULL is not there to be asked. */
struct admin_env {
	struct broker *broker;
	struct tls_staples *staples; /* what CAs say of our certificates */
	/* What SIGHUP does; done when it returns. */
	enum nj_err (*reload)(
	    void *arg, unsigned timeout_ms, struct nj_why *why);
	void *reload_arg;
};

struct admin_call {
	const struct admin_env *env;
	const json_t *args; /* an object */
	json_t *result;	    /* an object, to be filled */
	unsigned patience_ms;
	uid_t uid; /* who asks */
	pid_t pid;
};

/* Anything but NJ_OK is an answer, too: *why is what the asker reads. */
typedef enum nj_err admin_fn(struct admin_call *c, struct nj_why *why);

enum admin_kind {
	ADMIN_READS,  /* changes nothing */
	ADMIN_CHANGES /* each use is a line in the log */
};

struct admin_command {
	const char *name; /* "clients list" */
	admin_fn *fn;
	enum admin_kind kind;
	const char *args; /* for people: "id, [user]"; "" */
	const char *help; /* one line */
};

extern const struct admin_command admin_commands[];
extern const size_t admin_commands_n;

/* NULL when there is none of that name. */
const struct admin_command *admin_command_find(struct slice name);

/* Members of args.  Absent (and null) is NJ_OK and leaves *out alone; another
 * type, or text with a NUL in it, is NJ_INVALID with *why. */
NJ_MUST enum nj_err admin_text(const struct admin_call *c, const char *name,
    struct slice *out, struct nj_why *why);
NJ_MUST enum nj_err admin_flag(const struct admin_call *c, const char *name,
    bool *out, struct nj_why *why);
NJ_MUST enum nj_err admin_number(const struct admin_call *c, const char *name,
    int64_t min, int64_t max, int64_t *out, struct nj_why *why);
/* The same, but absent or empty is NJ_INVALID. */
NJ_MUST enum nj_err admin_need_text(const struct admin_call *c,
    const char *name, struct slice *out, struct nj_why *why);

/* Sets a member of an object or says NJ_NOMEM; the value is taken over, also
 * when it is NULL for want of memory.  A string of bytes that are not UTF-8 is
 * written with \xHH. */
NJ_MUST enum nj_err admin_set(json_t *object, const char *name, json_t *value);
json_t *admin_string(struct slice s);

#endif
