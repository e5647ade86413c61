/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "conf/parse.h"

struct check {
	const struct conf *c;
	const struct conf_checkers *with;
	struct conf_report *report;
	struct conf_at at; /* of what is looked at now */
	struct slice word;
};

static void
tell(void *arg, bool fatal, const struct nj_why *why)
{
	struct check *k = arg;

	conf_report_add(
	    k->report, fatal, conf_place_of(k->c, k->at), k->word, NULL, why);
}

static void
look_at(struct check *k, const struct conf_at *at, const char *option,
    const char *value)
{
	const struct conf_opt *o = conf_opt_find(slice_str(option));

	k->at = at[conf_opt_index(o)];
	k->word = value ? slice_str(value) : SLICE_NONE;
}

/* True when it can be opened and read. */
static bool
readable(struct check *k, const char *path)
{
	struct nj_why why = { 0 };
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
		(void)close(fd);
		return true;
	}
	if (fd >= 0) {
		(void)close(fd);
		errno = EISDIR;
	}
	why_set(&why, "cannot read %s: %s", path, strerror(errno));
	why_mend(&why, "%s",
	    errno == ENOENT	  ? file_mend_path(path)
		: errno == EACCES ? "let the user that starts the broker "
				    "read it; see: namei -l PATH"
		: errno == EISDIR
		? "give the path of a file; a folder of CAs is for capath"
		: "give the path of a file");
	tell(k, true, &why);
	return false;
}

/* The same for a folder whose files are wanted. */
static void
check_folder(struct check *k, const char *path, int how)
{
	struct nj_why why = { 0 };
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		errno = ENOTDIR;
	else if (stat(path, &st) == 0 && access(path, how) == 0)
		return;
	why_set(&why, "cannot use the folder %s: %s", path, strerror(errno));
	why_mend(&why, "%s",
	    errno == ENOENT ? "create it"
		: errno == ENOTDIR
		? "give a folder; a file of CAs is for cafile"
		: "check the path and its rights");
	tell(k, true, &why);
}

/* The folder that a file is to be created in. */
static void
check_parent(struct check *k, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = NULL;

	if (slash)
		dir = slash == path ? strdup("/")
				    : strndup(path, (size_t)(slash - path));
	else
		dir = strdup(".");
	if (dir)
		check_folder(k, dir, W_OK | X_OK);
	free(dir);
}

static void
check_passphrase(struct check *k, const struct conf_listener *l)
{
	struct secret *s = NULL;
	struct nj_why why = { 0 };

	look_at(k, l->at, "keyfile_password_file", l->keyfile_password_file);
	if (secret_from_file(l->keyfile_password_file, &s, &why))
		tell(k, true, &why);
	secret_free(s);
}

/* The files of one listener, and what the TLS library says about them. */
struct tls_files {
	struct check *k;
	const struct conf_listener *l;
	struct {
		const char *option, *path;
		bool told; /* that it cannot be read */
	} v[6];
	size_t n;
};

static bool
ends_word(char c)
{
	return c == '\0' || strchr(" \t:,;.()'\"", c) != NULL;
}

/* Whether the text speaks of this path. */
static bool
names_path(const char *text, const char *path)
{
	size_t n = strlen(path);

	for (const char *p = text; (p = strstr(p, path)); p++)
		if ((p == text || ends_word(p[-1])) && ends_word(p[n]))
			return true;
	return false;
}

/* To the line of the file concerned, unless that it cannot be read was told
 * already. */
static void
tell_tls(void *arg, bool fatal, const struct nj_why *why)
{
	struct tls_files *f = arg;

	look_at(f->k, f->l->at, "certfile", f->l->certfile);
	for (size_t i = 0; i < f->n; i++) {
		if (!f->v[i].path || !names_path(why->what, f->v[i].path))
			continue;
		if (f->v[i].told)
			return;
		look_at(f->k, f->l->at, f->v[i].option, f->v[i].path);
		break;
	}
	tell(f->k, fatal, why);
}

static void
check_tls(struct check *k, const struct conf_listener *l)
{
	struct tls_files f = {
		.k = k,
		.l = l,
		.v = {
			{ "certfile", l->certfile, false },
			{ "keyfile", l->keyfile, false },
			{ "cafile", l->cafile, false },
			{ "crlfile", l->crlfile, false },
			{ "capath", l->capath, false },
			{ "keyfile_password_file", l->keyfile_password_file,
			    false },
		},
		.n = 6,
	};

	for (size_t i = 0; i < f.n; i++) {
		uint32_t before = k->report->faults;

		if (!f.v[i].path)
			continue;
		look_at(k, l->at, f.v[i].option, f.v[i].path);
		if (f.v[i].path == l->capath)
			check_folder(k, l->capath, R_OK | X_OK);
		else if (f.v[i].path == l->keyfile_password_file)
			check_passphrase(k, l);
		else
			(void)readable(k, f.v[i].path);
		f.v[i].told = k->report->faults != before;
	}
	if (l->certfile && l->keyfile && k->with && k->with->tls)
		k->with->tls(k->with->arg, l, tell_tls, &f);
}

static void
check_password_file(struct check *k, const struct conf_security *s)
{
	if (!s->password_file)
		return;
	look_at(k, s->at, "password_file", s->password_file);
	if (readable(k, s->password_file) && k->with && k->with->password_file)
		k->with->password_file(k->with->arg, s->password_file, tell, k);
}

static void
check_acl_file(struct check *k, const struct conf_security *s)
{
	if (!s->acl_file)
		return;
	look_at(k, s->at, "acl_file", s->acl_file);
	if (readable(k, s->acl_file) && k->with && k->with->acl_file)
		k->with->acl_file(k->with->arg, s->acl_file, tell, k);
}

static void
check_psk_file(struct check *k, const struct conf_listener *l)
{
	const struct conf_at *at =
	    k->c->per_listener_settings ? l->own.at : k->c->security.at;

	if (!l->psk_hint || !l->psk_file || !k->with || !k->with->psk_file)
		return;
	look_at(k, at, "psk_file", l->psk_file);
	k->with->psk_file(k->with->arg, l, tell, k);
}

static void
check_tokens(struct check *k, const struct conf_listener *l)
{
	const struct conf_security *s =
	    k->c->per_listener_settings ? &l->own : &k->c->security;

	if (!s->jwt_key_file || !k->with || !k->with->token_keys)
		return;
	look_at(k, s->at, "jwt_key_file", NULL);
	k->with->token_keys(k->with->arg, l, tell, k);
}

static void
check_cert_rules(struct check *k, const struct conf_listener *l)
{
	if (!l->certificate_rule || !k->with || !k->with->cert_rules)
		return;
	look_at(k, l->at, "certificate_rule", NULL);
	k->with->cert_rules(k->with->arg, l->certificate_rule, tell, k);
}

/* With persistence the file may be gone: the store may have what it said; and
 * with an administrator's first password it need not be there yet. */
static void
check_roles_at(struct check *k, const char *path)
{
	if ((k->c->persistence || conf_first_password(k->c, path) ||
		readable(k, path)) &&
	    k->with && k->with->dynamic_security_file)
		k->with->dynamic_security_file(k->with->arg, path, tell, k);
}

static void
check_dynamic_security(struct check *k, const struct conf_security *s)
{
	const char *path = s->dynamic_security_file;

	if (!path)
		return;
	look_at(k, s->at, "dynamic_security_file", path);
	check_roles_at(k, path);
}

/* Files of plugin_load, each once. */
static void
check_plugins(struct check *k)
{
	for (uint32_t i = 0; i < k->c->nplugins; i++) {
		const struct conf_plugin *x = &k->c->plugins[i];
		bool passwords, rules;

		if (!x->option || !x->file)
			continue;
		passwords = strcmp(x->option, "password_file") == 0;
		rules = strcmp(x->option, "acl_file") == 0;
		k->at = x->at;
		k->word = slice_str(x->file);
		if (!passwords && !rules) {
			check_roles_at(k, x->file);
			continue;
		}
		if (!readable(k, x->file) || !k->with)
			continue;
		if (passwords && k->with->password_file)
			k->with->password_file(k->with->arg, x->file, tell, k);
		else if (rules && k->with->acl_file)
			k->with->acl_file(k->with->arg, x->file, tell, k);
	}
}

static void
check_unix_path(struct check *k, const struct conf_listener *l)
{
	k->at = l->where;
	k->word = slice_str(l->unix_path);
	check_parent(k, l->unix_path);
}

static void
check_globals(struct check *k)
{
	const struct conf *c = k->c;
	struct nj_why why = { 0 };
	uid_t uid;
	gid_t gid;

	if (c->user && geteuid() == 0) {
		look_at(k, c->at, "user", c->user);
		if (daemon_find_user(c->user, &uid, &gid, &why))
			tell(k, true, &why);
	}
	if (c->pid_file) {
		look_at(k, c->at, "pid_file", c->pid_file);
		check_parent(k, c->pid_file);
	}
	if (c->admin_socket && !c->admin_socket_usual) {
		look_at(k, c->at, "admin_socket", c->admin_socket);
		check_parent(k, c->admin_socket);
	}
	if (c->admin_socket_group) {
		look_at(k, c->at, "admin_socket_group", c->admin_socket_group);
		if (daemon_find_group(c->admin_socket_group, &gid, &why))
			tell(k, true, &why);
	}
	if (c->log_file && (c->log_dests & LOG_D_FILE)) {
		look_at(k, c->at, "log_dest", c->log_file);
		check_parent(k, c->log_file);
	}
}

void
conf_check(const struct conf *c, const struct conf_checkers *with,
    struct conf_report *report)
{
	struct check k = { .c = c, .with = with, .report = report };

	check_globals(&k);
	if (!c->per_listener_settings) {
		check_password_file(&k, &c->security);
		check_acl_file(&k, &c->security);
	}
	check_dynamic_security(&k, &c->security);
	check_plugins(&k);
	for (uint32_t i = 0; i < c->nlisteners; i++) {
		const struct conf_listener *l = &c->listeners[i];

		if (c->per_listener_settings)
			check_password_file(&k, &l->own);
		check_dynamic_security(&k, &l->own);
		check_acl_file(&k, &l->own);
		if (i == 0 || c->per_listener_settings)
			check_tokens(&k, l);
		check_psk_file(&k, l);
		check_cert_rules(&k, l);
		if (l->unix_path)
			check_unix_path(&k, l);
		/* Those on loopback are copies of one. */
		if (!c->local_only || i == 0)
			check_tls(&k, l);
	}
}
