/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/wiring_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/jwt_link.h"
#include "auth/psk_file.h"
#include "auth/roles_first.h"
#include "base/daemon.h"
#include "base/file.h"
#include "base/log.h"

enum nj_err
wiring_check_file(const struct conf *c, const char *path, struct nj_why *why)
{
	return file_check_rules(path, c->allow_linked_files, true, why);
}

bool
wiring_is_exposed(const struct conf *c, const char *path, struct nj_why *why)
{
	return file_check_rules(path, c->allow_linked_files, false, why) !=
	    NJ_OK;
}

enum nj_err
wiring_check_exposed(const struct conf *c, const char *path,
    enum conf_exposed what, struct nj_why *why)
{
	enum nj_err e;

	if (c->refuse_exposed_files < (int)what)
		return NJ_OK;
	if ((e = file_check_rules(path, c->allow_linked_files, false, why)))
		why_mend(why,
		    "chmod 0600 %s and chown it to the user that serves, or "
		    "chmod 0640 and chgrp; or take it as it is: "
		    "refuse_exposed_files %s",
		    path, what == CONF_EXPOSED_SECRETS ? "false" : "secrets");
	return e;
}

enum nj_err
wiring_check_files(
    const struct conf *c, const struct conf_listener *l, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	if (l->password_file)
		e = wiring_check_file(c, l->password_file, why);
	if (!e && l->acl_file)
		e = wiring_check_file(c, l->acl_file, why);
	return e;
}

/* Refused, or taken as it is and told of. */
static enum nj_err
check_one_exposed(const struct conf *c, const char *path,
    enum conf_exposed what, struct nj_why *why)
{
	struct nj_why told = { 0 };
	enum nj_err e = path ? wiring_check_exposed(c, path, what, why) : NJ_OK;

	if (!e && path && wiring_is_exposed(c, path, &told))
		nj_log(LOG_T_WARNING, "Warning: %s.  To mend it: %s", told.what,
		    told.mend);
	return e;
}

enum nj_err
wiring_check_all_exposed(
    const struct conf *c, const struct conf_listener *l, struct nj_why *why)
{
	enum nj_err e =
	    check_one_exposed(c, l->password_file, CONF_EXPOSED_SECRETS, why);

	return e ? e
		 : check_one_exposed(c, l->acl_file, CONF_EXPOSED_RULES, why);
}

const char *
wiring_user(const struct conf *c)
{
	static const char *const usual[] = { "nightjar", "mosquitto",
		"nobody" };
	uid_t uid;
	gid_t gid;

	if (c->user)
		return c->user;
	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (daemon_find_user(usual[i], &uid, &gid, NULL) == NJ_OK)
			return usual[i];
	return NULL;
}

/* What was just made as root, for who serves and will write it anew. */
static enum nj_err
give_away(const struct conf *c, const char *path, struct nj_why *why)
{
	const char *user = geteuid() == 0 ? wiring_user(c) : NULL;
	struct stat st;
	enum nj_err e;
	uid_t uid;
	gid_t gid;
	int fd;

	if (!user)
		return NJ_OK;
	if ((e = daemon_find_user(user, &uid, &gid, why)))
		return e;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	/* nobody who may write its folder has put something else there */
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    st.st_nlink != 1 || fchown(fd, uid, gid) != 0) {
		why_set(why, "%s cannot be given to %s", path, user);
		why_mend(why, "chown %s %s", user, path);
		e = NJ_DENIED;
	}
	if (fd >= 0)
		(void)close(fd);
	return e;
}

enum nj_err
wiring_first_roles(const struct conf *c, const char *path, struct nj_why *why)
{
	const char *password = conf_first_password(c, path);
	struct buf text = { 0 };
	enum nj_err e;

	if (!(e = roles_first_text(password, &text, why)) &&
	    !(e = file_create(path, buf_slice(&text), 0600, why)))
		e = give_away(c, path, why);
	buf_wipe(&text);
	if (!e)
		nj_log(LOG_T_NOTICE,
		    "%s is made: its administrator is 'admin', with the "
		    "password in %s, which may be deleted",
		    path, password);
	return e;
}

static size_t
psk_key(const void *arg, struct slice identity, uint8_t key[TLS_PSK_MAX],
    bool *known)
{
	_Static_assert(PSK_KEY_MAX == TLS_PSK_MAX, "the same keys");
	return psk_file_key(arg, identity, key, known);
}

static void
psk_done(const void *arg)
{
	psk_file_unref((struct psk_file *)(uintptr_t)arg);
}

enum nj_err
wiring_psk(const struct conf *c, const struct conf_listener *l,
    struct tls_psk *out, struct nj_why *why)
{
	struct psk_file *f = NULL;
	struct psk_file_info info;
	enum nj_err e;

	/* the keys stand there as they are */
	if ((e = file_check_rules(
		 l->psk_file, c->allow_linked_files, false, why)) ||
	    (e = psk_file_load(l->psk_file, &f, why)))
		return e;
	psk_file_info(f, &info);
	if (info.short_keys)
		nj_log(LOG_T_WARNING,
		    "Warning: %zu of the %zu keys of %s are shorter than %d "
		    "bytes and can be guessed. To mend it: openssl rand -hex "
		    "32",
		    info.short_keys, info.identities, l->psk_file,
		    PSK_KEY_SHORT);
	*out = (struct tls_psk){ psk_key, f, psk_done, l->psk_hint };
	return NJ_OK;
}

static const struct conf_security *
security_of(const struct conf *c, const struct conf_listener *l)
{
	return c->per_listener_settings ? &l->own : &c->security;
}

/* Public keys may be read by all, but not be written. */
static enum nj_err
load_keys(const struct conf *c, const char *paths, struct jwk_set *keys,
    struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	for (const char *p = paths; *p && !e;) {
		size_t n = strcspn(p, "\n");
		char *path = strndup(p, n);

		if (!path)
			return NJ_NOMEM;
		if (!(e = file_check_rules(
			  path, c->allow_linked_files, true, why)))
			e = jwk_set_load(keys, path, why);
		free(path);
		p += n + (p[n] == '\n');
	}
	return e;
}

enum nj_err
wiring_token_keys(
    const struct conf *c, const struct conf_listener *l, struct nj_why *why)
{
	const char *paths = security_of(c, l)->jwt_key_file;
	struct jwk_set *keys = NULL;
	enum nj_err e;

	if (!paths)
		return NJ_OK;
	if (!(e = jwk_set_new(&keys)))
		e = load_keys(c, paths, keys, why);
	jwk_set_unref(keys);
	return e;
}

enum nj_err
wiring_token_rules(const struct conf *c, const struct conf_listener *l,
    struct jwt_rules *out, struct jwk_set **keys, struct nj_why *why)
{
	const struct conf_security *s = security_of(c, l);
	enum nj_err e;

	if ((e = jwk_set_new(keys)) ||
	    (e = load_keys(c, s->jwt_key_file, *keys, why))) {
		if (e == NJ_NOMEM)
			why_set(why, "out of memory");
		jwk_set_unref(*keys);
		*keys = NULL;
		return e;
	}
	*out = (struct jwt_rules){
		.keys = *keys,
		.issuer = s->jwt_issuer,
		.audience = s->jwt_audience,
		.skew_s = s->jwt_leeway,
		.username =
		    s->jwt_username_claim ? s->jwt_username_claim : "sub",
		.client_id = s->jwt_clientid_claim,
		.groups = s->jwt_groups_claim,
		.topics = s->jwt_topics_claim,
	};
	return NJ_OK;
}

enum nj_err
wiring_tokens(const struct conf *c, const struct conf_listener *l,
    struct auth_chain *chain, struct workers *w, struct nj_why *why)
{
	struct jwk_set *keys = NULL;
	struct jwt_rules rules;
	enum nj_err e;

	if (!security_of(c, l)->jwt_key_file)
		return NJ_OK;
	if ((e = wiring_token_rules(c, l, &rules, &keys, why)))
		return e;
	if ((e = auth_add_jwt(chain, &rules, w)))
		why_set(why, "out of memory");
	jwk_set_unref(keys);
	return e;
}
