/* SPDX-License-Identifier: Apache-2.0
 * dynsec - the commands of $CONTROL/dynamic-security/v1: a state of roles and
 *          a list of commands in, the next state and the answers out.
 *
 * Texts of answers are those of Mosquitto's plugin.  A command is done whole
 * or not at all.
 *
 * Owns:    the state it works on and the answers; see rolebase.c.
 * Threads: one owner; slow where it makes a password's hash.
 * Bounds:  ROLEBASE_COMMAND_MAX.
 */
#ifndef NJ_AUTH_DYNSEC_H
#define NJ_AUTH_DYNSEC_H

#include <jansson.h>

#include "auth/rolebase.h"
#include "auth/roles_edit.h"

struct dynsec {
	const struct rolebase_admin *who;
	struct roles *now; /* one reference; replaced by what changes it */
	bool own;	   /* now is a draft that nobody else has seen */
	json_t *responses;
	json_t *changes; /* those of the responses that tell of a change */
};

/* NJ_NOMEM, or there is an answer. */
NJ_MUST enum nj_err dynsec_run(struct dynsec *d, struct slice json);
/* What changed something did not hold after all. */
void dynsec_failed(struct dynsec *d);
NJ_MUST enum nj_err dynsec_answer(struct dynsec *d, struct buf *out);
void dynsec_fini(struct dynsec *d);

/* What follows is for dynsec_*.c. */

#define DYNSEC_INTERNAL "Internal error"

/* A command that changes r, a draft; NULL, or what the answer says.  With an
 * error there is no change, or the command is a careful one, whose draft is
 * thrown away then. */
typedef const char *dynsec_change_fn(struct roles *r, const json_t *cmd);
/* One that asks: *data is what the answer has of that name. */
typedef const char *
dynsec_read_fn(const struct roles *r, const json_t *cmd, json_t *data);

/* The name that a command has to have; NULL, or what is wrong with it. */
const char *dynsec_user_name(const json_t *cmd, const char **out);
const char *dynsec_group_name(const json_t *cmd, const char **out);
const char *dynsec_role_name(const json_t *cmd, const char **out);
/* A string member that has to be there; NULL, or missing, or invalid. */
const char *dynsec_name(const json_t *cmd, const char *member,
    const char *missing, const char *invalid, const char **out);
/* One that may be there; NULL, or bad. */
const char *dynsec_optional(
    const json_t *cmd, const char *member, const char *bad, const char **out);
/* textname and textdescription of a new one. */
const char *
dynsec_texts(const json_t *cmd, char **textname, char **textdescription);
/* The same where others are replaced, and what is no string is passed by. */
const char *
dynsec_new_texts(const json_t *cmd, char **textname, char **textdescription);
/* Valid UTF-8 without control characters, as Mosquitto has it. */
bool dynsec_text_ok(const char *s);
/* "roles"; *given says whether there is a list. */
const char *dynsec_roles_list(const struct roles *r, const json_t *cmd,
    const char *bad, struct grants *out, bool *given);
/* Of `total` things those that are asked for, into data as that member. */
typedef json_t *dynsec_item_fn(const void *arg, size_t i, bool verbose);
const char *dynsec_list(const json_t *cmd, json_t *data, const char *member,
    size_t total, dynsec_item_fn *item, const void *arg);

dynsec_change_fn dynsec_create_client, dynsec_delete_client,
    dynsec_modify_client, dynsec_set_password, dynsec_set_id,
    dynsec_enable_client, dynsec_disable_client, dynsec_add_client_role,
    dynsec_remove_client_role;
dynsec_read_fn dynsec_get_client, dynsec_list_clients;
dynsec_change_fn dynsec_create_group, dynsec_delete_group, dynsec_modify_group,
    dynsec_add_group_client, dynsec_remove_group_client, dynsec_add_group_role,
    dynsec_remove_group_role, dynsec_set_anonymous;
dynsec_read_fn dynsec_get_group, dynsec_list_groups, dynsec_get_anonymous;
dynsec_change_fn dynsec_create_role, dynsec_delete_role, dynsec_modify_role,
    dynsec_add_rule, dynsec_remove_rule;
dynsec_read_fn dynsec_get_role, dynsec_list_roles;

#endif
