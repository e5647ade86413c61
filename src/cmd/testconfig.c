/* SPDX-License-Identifier: Apache-2.0
 * testconfig - nightjar serve --test-config: every fault of a configuration
 *              and of the files that it names, in one run; and
 *              --help-options, the option table in words.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "auth/acl.h"
#include "auth/cert_rules.h"
#include "auth/password_file.h"
#include "base/secret.h"
#include "cmd/acl_files.h"
#include "cmd/cmd.h"
#include "cmd/testconfig.h"
#include "cmd/wiring_files.h"
#include "conf/check.h"
#include "conf/manual.h"
#include "net/tls.h"
#include "pki/key.h"

#define STATUS_FAULTS 3
#define LINE_OUT      2048

/* What is told about a listener whose key stays shut. */
struct without_key {
	const char *keyfile;
	conf_tell_fn *tell;
	void *arg;
};

/* That the key cannot be read was told, with what to do about it. */
static void
tell_without_key(void *arg, bool fatal, const struct nj_why *why)
{
	const struct without_key *w = arg;

	if (!strstr(why->what, w->keyfile))
		w->tell(w->arg, fatal, why);
}

/* The passphrase from where the broker would have it; false when the key
 * cannot be looked into without, which is told. */
static bool
passphrase(const struct conf_listener *l, struct secret **out,
    conf_tell_fn *tell, void *tell_arg)
{
	struct nj_why why = { 0 };
	char prompt[512];

	if (!l->keyfile || !pki_key_is_encrypted(l->keyfile))
		return true;
	/* One that cannot be read is told by conf_check. */
	if (l->keyfile_password_file)
		return secret_from_file(l->keyfile_password_file, out, &why) ==
		    NJ_OK;
	(void)snprintf(
	    prompt, sizeof prompt, "Enter PEM pass phrase of %s: ", l->keyfile);
	if (isatty(STDIN_FILENO) && secret_from_tty(prompt, out) == NJ_OK)
		return true;
	why_set(&why,
	    "%s is encrypted: the broker will ask for its passphrase at a "
	    "terminal, and cannot start without one",
	    l->keyfile);
	why_mend(&why,
	    "add 'keyfile_password_file PATH' below its keyfile "
	    "line");
	tell(tell_arg, false, &why);
	return false;
}

static void
check_tls(void *arg, const struct conf_listener *l, conf_tell_fn *tell,
    void *tell_arg)
{
	struct without_key shut = { l->keyfile, tell, tell_arg };
	const struct conf *conf = arg;
	struct secret *pass = NULL;
	struct tls_server_opts o = {
		.certfile = l->certfile,
		.further = l->further_certificate,
		.keyfile = l->keyfile,
		.cafile = l->cafile,
		.capath = l->capath,
		.crlfile = l->crlfile,
		.refuse_exposed_key =
		    conf->refuse_exposed_files == CONF_EXPOSED_KEYS,
		.require_certificate = l->require_certificate,
		.min = l->tls_min == CONF_TLS_13 ? TLS_MIN_13 : TLS_MIN_12,
		.ciphers = l->ciphers,
		.ciphersuites = l->ciphersuites,
	};

	if (passphrase(l, &pass, tell, tell_arg)) {
		o.passphrase = pass;
		tls_server_check(&o, tell, tell_arg);
	} else {
		tls_server_check(&o, tell_without_key, &shut);
	}
	secret_free(pass);
}

/* Refused, or taken as it is and told of. */
static void
tell_exposed(const struct conf *c, const char *path, enum conf_exposed what,
    conf_tell_fn *tell, void *tell_arg)
{
	struct nj_why why = { 0 };

	if (wiring_check_exposed(c, path, what, &why))
		tell(tell_arg, true, &why);
	else if (wiring_is_exposed(c, path, &why))
		tell(tell_arg, false, &why);
}

static void
check_passwords(void *arg, const char *path, conf_tell_fn *tell, void *tell_arg)
{
	struct password_file *pf = NULL;
	struct password_file_info info = { 0 };
	struct nj_why why = { 0 };

	if (wiring_check_file(arg, path, &why)) {
		tell(tell_arg, true, &why);
		return;
	}
	if (password_file_load(path, &pf, &why)) {
		tell(tell_arg, true, &why);
		return;
	}
	password_file_info(pf, &info);
	tell_exposed(arg, path, CONF_EXPOSED_SECRETS, tell, tell_arg);
	if (info.users == 0) {
		why_set(&why, "%s has no users", path);
		why_mend(&why, "nightjar passwd %s USER", path);
		tell(tell_arg, false, &why);
	}
	if (info.weak) {
		why_set(&why, "%zu of the %zu users of %s have weak hashes",
		    info.weak, info.users, path);
		why_mend(&why,
		    "set their passwords again with 'nightjar "
		    "passwd'");
		tell(tell_arg, false, &why);
	}
	if (info.skipped) {
		why_set(&why, "%zu lines of %s have no colon and are skipped",
		    info.skipped, path);
		why_mend(&why, "delete them, or put a '#' in front");
		tell(tell_arg, false, &why);
	}
	password_file_unref(pf);
}

static void
check_rules(void *arg, const char *path, conf_tell_fn *tell, void *tell_arg)
{
	struct acl *a = NULL;
	struct acl_info info;
	struct nj_why why = { 0 };

	if (wiring_check_file(arg, path, &why)) {
		tell(tell_arg, true, &why);
		return;
	}
	if (acl_load(path, &a, &why)) {
		tell(tell_arg, true, &why);
		return;
	}
	acl_info(a, &info);
	tell_exposed(arg, path, CONF_EXPOSED_RULES, tell, tell_arg);
	if (info.rules == 0) {
		why_set(
		    &why, "%s has no rules, so nobody may do anything", path);
		why_mend(&why, "write 'topic readwrite #', or rules");
		tell(tell_arg, false, &why);
	}
	if (info.plain_patterns) {
		why_set(&why,
		    "%zu patterns of %s have neither %%c nor %%u: they are "
		    "for every client",
		    info.plain_patterns, path);
		why_mend(&why, "nothing, if that is meant");
		tell(tell_arg, false, &why);
	}
	acl_unref(a);
}

static void
check_psk(void *arg, const struct conf_listener *l, conf_tell_fn *tell,
    void *tell_arg)
{
	struct tls_psk psk;
	struct nj_why why = { 0 };

	if (wiring_psk(arg, l, &psk, &why))
		tell(tell_arg, true, &why);
	else
		psk.unref(psk.arg);
}

static void
check_tokens(void *arg, const struct conf_listener *l, conf_tell_fn *tell,
    void *tell_arg)
{
	struct nj_why why = { 0 };

	if (wiring_token_keys(arg, l, &why))
		tell(tell_arg, true, &why);
}

static void
check_cert_rules(
    void *arg, const char *text, conf_tell_fn *tell, void *tell_arg)
{
	struct cert_rules *r = NULL;
	struct nj_why why = { 0 };

	(void)arg;
	if (cert_rules_parse(text, &r, &why))
		tell(tell_arg, true, &why);
	cert_rules_unref(r);
}

static void
check_roles(void *arg, const char *path, conf_tell_fn *tell, void *tell_arg)
{
	struct roles *r = NULL;
	struct roles_info info;
	struct nj_why why = { 0 };

	if (acl_roles_of_conf(arg, path, &r, &why)) {
		tell(tell_arg, true, &why);
		return;
	}
	roles_info(r, &info);
	if (info.users == 0) {
		why_set(&why, "%s has no clients, so nobody can log in by it",
		    path);
		why_mend(
		    &why, "make one: mosquitto_ctrl dynsec init FILE ADMIN");
		tell(tell_arg, false, &why);
	}
	roles_unref(r);
}

static void
print(const struct conf_report *r)
{
	char line[LINE_OUT];

	for (uint32_t i = 0; i < r->n; i++)
		fprintf(stderr, "%s\n",
		    conf_finding_text(&r->v[i], line, sizeof line));
	if (r->n < r->faults + r->warnings)
		fprintf(
		    stderr, "and %u more\n", r->faults + r->warnings - r->n);
}

struct conf_checkers
config_checkers(struct conf *c)
{
	return (struct conf_checkers){
		.tls = check_tls,
		.password_file = check_passwords,
		.acl_file = check_rules,
		.psk_file = check_psk,
		.token_keys = check_tokens,
		.dynamic_security_file = check_roles,
		.cert_rules = check_cert_rules,
		.arg = c,
	};
}

int
cmd_test_config(const char *path, const struct conf_args *args)
{
	struct conf_report report = { 0 };
	struct conf_checkers with;
	int status = 0;
	struct conf c;

	if (conf_load(path, args, &c, &report) == NJ_NOMEM) {
		fprintf(stderr, "nightjar: out of memory\n");
		conf_report_free(&report);
		return 1;
	}
	with = config_checkers(&c);
	conf_check(&c, &with, &report);
	print(&report);
	if (report.faults) {
		fprintf(stderr,
		    "%u error%s, %u warning%s: %s cannot be "
		    "served.\n",
		    report.faults, report.faults == 1 ? "" : "s",
		    report.warnings, report.warnings == 1 ? "" : "s",
		    path ? path : "this");
		status = STATUS_FAULTS;
	} else {
		printf("%s is OK%s.\n", path ? path : "The configuration",
		    report.warnings ? ", with the warnings above" : "");
	}
	conf_report_free(&report);
	conf_free(&c);
	return status;
}

int
cmd_help_options(void)
{
	conf_help_write(stdout);
	return ferror(stdout) || fflush(stdout) != 0;
}
