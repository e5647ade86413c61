/* SPDX-License-Identifier: Apache-2.0
 * acl_files - nightjar acl explain, as far as both ways share it, and against
 *             files: what a broker that serves a configuration would say.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_ACL_FILES_H
#define NJ_CMD_ACL_FILES_H

#include "auth/roles.h"
#include "cmd/ask.h"
#include "conf/conf.h"

/* As grep's: what was asked is no. */
enum { EXIT_MAY = 0, EXIT_MAY_NOT = 1, EXIT_CANNOT_SAY = 2 };

struct explaining {
	struct ask_opts ask;
	const char *user, *client, *address, *listener, *action;
	const char *acl_file, *roles_file, *token, *device;
	bool live;
	struct flag_list groups, words;
};

/* What is known of the answer, whoever gave it; the exit status. */
int acl_print_answer(bool json, const json_t *r);
int acl_explain_files(const struct explaining *x);
/* The users, groups and roles that a broker would have which serves this
 * configuration. */
NJ_MUST enum nj_err acl_roles_of_conf(const struct conf *c, const char *path,
    struct roles **out, struct nj_why *why);

#endif
