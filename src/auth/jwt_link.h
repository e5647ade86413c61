/* SPDX-License-Identifier: Apache-2.0
 * jwt_link - JSON Web Tokens in a chain of authenticators.
 *
 * Threads: as chain.h has it; tokens are checked on workers.
 */
#ifndef NJ_AUTH_JWT_LINK_H
#define NJ_AUTH_JWT_LINK_H

#include "auth/chain.h"
#include "auth/jwt.h"

#define JWT_METHOD "JWT"

/* Takes a reference on the keys and copies the strings. */
NJ_MUST enum nj_err auth_add_jwt(
    struct auth_chain *c, const struct jwt_rules *rules, struct workers *w);

#endif
