/* SPDX-License-Identifier: Apache-2.0
 * check - opens every file that a configuration names, and says all that is
 *         wrong with them in one run.
 *
 * Threads: one; nothing is kept.
 * Note:    certificates, password and ACL files are looked at by functions that
 *          the caller hands in, because they live in higher layers.
 */
#ifndef NJ_CONF_CHECK_H
#define NJ_CONF_CHECK_H

#include "conf/conf.h"

typedef void conf_tell_fn(void *arg, bool fatal, const struct nj_why *why);

struct conf_checkers {
	/* Certificates, keys, CAs and CRLs of a listener with l->tls. */
	void (*tls)(void *arg, const struct conf_listener *l,
	    conf_tell_fn *tell, void *tell_arg);
	void (*password_file)(
	    void *arg, const char *path, conf_tell_fn *tell, void *tell_arg);
	void (*acl_file)(
	    void *arg, const char *path, conf_tell_fn *tell, void *tell_arg);
	/* Of a listener with psk_hint. */
	void (*psk_file)(void *arg, const struct conf_listener *l,
	    conf_tell_fn *tell, void *tell_arg);
	/* Of a listener that takes tokens. */
	void (*token_keys)(void *arg, const struct conf_listener *l,
	    conf_tell_fn *tell, void *tell_arg);
	void (*dynamic_security_file)(
	    void *arg, const char *path, conf_tell_fn *tell, void *tell_arg);
	/* What certificate_rule says, and the CAs that it names. */
	void (*cert_rules)(
	    void *arg, const char *text, conf_tell_fn *tell, void *tell_arg);
	void *arg;
};

/* Adds to the report; each checker may be NULL, then the file only has to
 * be readable. */
void conf_check(const struct conf *c, const struct conf_checkers *with,
    struct conf_report *report);

#endif
