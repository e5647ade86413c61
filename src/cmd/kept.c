/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/kept.h"

#include <stdlib.h>
#include <string.h>

#include "base/daemon.h"
#include "base/keeper.h"
#include "cmd/lists.h"
#include "pki/ca.h"

/* Paths among words and lines, as further_certificate has them. */
static enum nj_err
add_words(struct keeper_paths *p, const char *text)
{
	char *copy = text ? strdup(text) : NULL, *rest = NULL;
	enum nj_err e = text && !copy ? NJ_NOMEM : NJ_OK;

	for (char *w = copy ? strtok_r(copy, " \t\n", &rest) : NULL; w && !e;
	     w = strtok_r(NULL, " \t\n", &rest))
		if (strchr(w, '/'))
			e = keeper_add(p, w);
	free(copy);
	return e;
}

/* Under the name that the file has, and under the one that it is found by who
 * cannot look there. */
static enum nj_err
add_beside(struct keeper_paths *p, const char *cafile, const char *rest)
{
	static const char tail[] = "/pki/ca.crt";
	char *dir = cafile ? strdup(cafile) : NULL, *path = NULL;
	size_t n = dir ? strlen(dir) : 0;
	enum nj_err e = NJ_OK;

	if (n >= sizeof tail &&
	    strcmp(dir + n - (sizeof tail - 1), tail) == 0) {
		dir[n - (sizeof tail - 1)] = '\0';
		if ((path = pki_path(dir, rest)))
			e = keeper_add(p, path);
	}
	free(path);
	free(dir);
	return e;
}

static enum nj_err
add_listener(struct keeper_paths *p, const struct conf_listener *l)
{
	const char *const paths[] = { l->certfile, l->keyfile, l->cafile,
		l->crlfile, l->keyfile_password_file, l->password_file,
		l->acl_file, l->psk_file };
	char *own = lists_own(l), *groups = lists_groups(l);
	enum nj_err e = NJ_OK;

	for (size_t i = 0; i < sizeof paths / sizeof *paths && !e; i++)
		e = keeper_add(p, paths[i]);
	if (!e && !(e = keeper_add(p, own)) && !(e = keeper_add(p, groups)) &&
	    !(e = add_beside(p, l->cafile, "crl/ca.crl")) &&
	    !(e = add_beside(p, l->cafile, "groups")) &&
	    !(e = add_words(p, l->further_certificate)) &&
	    !(e = add_words(p, l->certificate_rule)))
		e = add_words(p, l->own.jwt_key_file);
	free(groups);
	free(own);
	return e;
}

/* Our own CA's, as sign_wire and its like name them. */
static enum nj_err
add_ca(struct keeper_paths *p, const char *given)
{
	static const char *const rest[] = { "pki/ca.crt", "crl/ca.crl" };
	char *dir = given ? realpath(given, NULL) : NULL;
	enum nj_err e = NJ_OK;

	for (size_t i = 0; dir && !e && i < sizeof rest / sizeof *rest; i++) {
		char *path = pki_path(dir, rest[i]);

		e = path ? keeper_add(p, path) : NJ_NOMEM;
		free(path);
	}
	free(dir);
	return e;
}

static enum nj_err
add_all(struct keeper_paths *p, const struct conf *c)
{
	enum nj_err e = add_words(p, c->security.jwt_key_file);

	for (size_t i = 0; i < c->files.n && !e; i++)
		e = keeper_add(p, c->files.v[i]);
	for (uint32_t i = 0; i < c->nlisteners && !e; i++)
		e = add_listener(p, &c->listeners[i]);
	return e ? e : add_ca(p, c->ca_dir);
}

enum nj_err
kept_start(const struct conf *c, const char *user, struct nj_why *why)
{
	struct keeper_paths p = { 0 };
	uid_t uid = 0;
	gid_t gid = 0;
	enum nj_err e;

	if (daemon_find_user(user, &uid, &gid, why) != NJ_OK || uid == 0)
		return NJ_OK; /* who drops root says what is wrong */
	if ((e = add_all(&p, c)) == NJ_FULL)
		why_set(why, "the configuration names more than %d files",
		    KEEPER_MAX);
	else if (e)
		why_set(why, "%s", nj_strerror(e));
	else
		e = keeper_start(&p, user, why);
	keeper_paths_fini(&p);
	return e;
}
