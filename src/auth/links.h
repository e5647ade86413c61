/* SPDX-License-Identifier: Apache-2.0
 * links - the authenticators that are built in.
 *
 * In the order in which a listener's chain has them.  In all of them a user
 * name without a password is refused: nobody vouches for it.
 *
 * Threads: built on one thread; then as struct authenticator.
 */
#ifndef NJ_AUTH_LINKS_H
#define NJ_AUTH_LINKS_H

#include "auth/chain.h"
#include "auth/password_file.h"

/* The verified certificate's name is the client's; its user name and password
 * are not looked at.  Without a certificate: AUTH_DENY when required, else the
 * next link is asked. */
NJ_MUST enum nj_err link_certificate_new(bool required,
    struct authenticator **out);
/* Adds its own reference to pf; checks on w, which must outlive it.  A client
 * without a user name is the next link's. */
NJ_MUST enum nj_err link_password_file_new(struct password_file *pf,
    struct workers *w, struct authenticator **out);
/*
 * Lets in who gives no user name; with any_name (when no other link checks
 * passwords) also who gives one with a password, as a claim that no rule may
 * rely on.
 */
NJ_MUST enum nj_err link_anonymous_new(bool any_name,
    struct authenticator **out);

#endif
