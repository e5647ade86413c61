/* SPDX-License-Identifier: Apache-2.0
 * wiring_files - the files that decide who comes in: whether they may be
 *                believed at all, and what is read from them for a listener.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_WIRING_FILES_H
#define NJ_CMD_WIRING_FILES_H

#include "auth/chain.h"
#include "auth/jwk.h"
#include "auth/jwt.h"
#include "conf/conf.h"
#include "net/tls.h"

/* NJ_DENIED and the like for a password_file or acl_file that is a symbolic
 * link, no file, or can be written by every user. */
NJ_MUST enum nj_err wiring_check_files(
    const struct conf *c, const struct conf_listener *l, struct nj_why *why);
/* One of them. */
NJ_MUST enum nj_err
wiring_check_file(const struct conf *c, const char *path, struct nj_why *why);
/* The same for those that every user can read, to be asked when it is known
 * that they are well formed: refused, or told of (refuse_exposed_files). */
NJ_MUST enum nj_err wiring_check_all_exposed(
    const struct conf *c, const struct conf_listener *l, struct nj_why *why);
/* One of them; tells nothing. */
NJ_MUST enum nj_err wiring_check_exposed(const struct conf *c, const char *path,
    enum conf_exposed what, struct nj_why *why);
/* Whether every user can read it, whatever is configured. */
bool
wiring_is_exposed(const struct conf *c, const char *path, struct nj_why *why);
/* Whom to serve as when root; NULL: nobody of the usual ones is there. */
const char *wiring_user(const struct conf *c);
/* A dynamic_security_file where none is, by its dynamic_security_password_file,
 * for who serves. */
NJ_MUST enum nj_err
wiring_first_roles(const struct conf *c, const char *path, struct nj_why *why);
/* Its psk_file: out->arg is a reference, dropped by out->unref. */
NJ_MUST enum nj_err wiring_psk(const struct conf *c,
    const struct conf_listener *l, struct tls_psk *out, struct nj_why *why);
/* How a listener that takes tokens reads them; *keys, which the rules borrow,
 * is the caller's. */
NJ_MUST enum nj_err
wiring_token_rules(const struct conf *c, const struct conf_listener *l,
    struct jwt_rules *out, struct jwk_set **keys, struct nj_why *why);
/* A link for tokens, where the listener takes them. */
NJ_MUST enum nj_err
wiring_tokens(const struct conf *c, const struct conf_listener *l,
    struct auth_chain *chain, struct workers *w, struct nj_why *why);
/* The keys of that, for --test-config. */
NJ_MUST enum nj_err wiring_token_keys(
    const struct conf *c, const struct conf_listener *l, struct nj_why *why);

#endif
