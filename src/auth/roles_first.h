/* SPDX-License-Identifier: Apache-2.0
 * roles_first - the users, groups and roles of a broker that has none yet:
 *               what Mosquitto 2.1 makes for plugin_opt_password_init_file.
 *
 * One user, "admin", who may change users, groups and roles and read the rest;
 * a group for clients without a user name, which may nothing; and the roles
 * that Mosquitto's have, by their names.
 *
 * Threads: any that may wait: it derives a hash.
 */
#ifndef NJ_AUTH_ROLES_FIRST_H
#define NJ_AUTH_ROLES_FIRST_H

#include "auth/roles.h"
#include "base/buf.h"

/* As dynamic-security.json.  The password is the first line of the file,
 * without blanks at its end; a file that others can read is refused. */
NJ_MUST enum nj_err roles_first_text(
    const char *password_file, struct buf *out, struct nj_why *why);
NJ_MUST enum nj_err
roles_first(const char *password_file, struct roles **out, struct nj_why *why);

#endif
