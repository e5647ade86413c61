/* SPDX-License-Identifier: Apache-2.0
 * roles_link - users of a rolebase prove by their password who they are.
 *
 * Threads: as chain.h; a question is put to the state that holds when it is
 *          asked.
 */
#ifndef NJ_AUTH_ROLES_LINK_H
#define NJ_AUTH_ROLES_LINK_H

#include "auth/chain.h"
#include "auth/rolebase.h"

/* Takes a reference on rb; hashing runs on w.  last: no link behind knows
 * passwords, so that who is unknown here takes as long as who is not. */
NJ_MUST enum nj_err auth_add_roles(
    struct auth_chain *c, struct rolebase *rb, struct workers *w, bool last);

#endif
