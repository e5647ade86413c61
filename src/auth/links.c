/* SPDX-License-Identifier: Apache-2.0
 * The authenticators that are built in.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "auth/chain.h"
#include "auth/password_file.h"
#include "base/text.h"
#include "wire/topic.h"

/* What every built-in link needs; a comes first. */
struct link {
	struct authenticator a;
	bool with_name;		  /* anonymous */
	bool if_any;		  /* certificate */
	struct password_file *pf; /* password file: one reference */
	struct workers *workers;  /* password file */
};

static struct link *
link_of(struct authenticator *a)
{
	return (struct link *)(void *)a;
}

static void
link_free(struct authenticator *a)
{
	password_file_unref(link_of(a)->pf);
	free(link_of(a));
}

static enum nj_err
add_link(struct auth_chain *c, const struct link *what)
{
	struct link *l = malloc(sizeof *l);
	struct authenticator *a = (struct authenticator *)(void *)l;

	if (!l)
		return NJ_NOMEM;
	*l = *what;
	if (l->pf)
		(void)password_file_ref(l->pf);
	return auth_chain_add(c, &a);
}

/* Names go into logs and into patterns of access rules: what could be read
 * as something else there is no name. */
static bool
cert_name_ok(struct slice name)
{
	if (name.n > MQTT_STRING_MAX || !utf8_ok(name))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];

		if (c < 0x20 || c == 0x7f || strchr("+#*", c))
			return false;
		/* C1 controls */
		if (c == 0xc2 && i + 1 < name.n && name.p[i + 1] < 0xa0)
			return false;
	}
	return true;
}

static enum auth_result
certificate_start(struct authenticator *a, struct auth_request *r)
{
	char name[TEXT_ESC];

	if (r->cert_name.n == 0 && link_of(a)->if_any)
		return AUTH_NOT_MINE;
	if (r->cert_name.n == 0 && r->has_cert)
		return auth_deny(r, AUTH_R_NAMELESS,
		    "its subject is \"%s\"; see certificate_rule",
		    text_esc(name, sizeof name, r->cert_subject));
	if (r->cert_name.n == 0)
		return auth_deny(r, AUTH_R_NO_CERTIFICATE,
		    "give the client one: nightjar ca device NAME");
	if (!cert_name_ok(r->cert_name))
		return auth_deny(r, AUTH_R_BAD_NAME, "it is \"%s\"",
		    text_esc(name, sizeof name, r->cert_name));
	return auth_allow_certified(r, r->cert_name);
}

enum nj_err
auth_add_certificate(struct auth_chain *c, bool if_any)
{
	const struct link l = {
		.a = { .name = "certificate",
		    .start = certificate_start,
		    .free = link_free },
		.if_any = if_any,
	};

	return add_link(c, &l);
}

/* What files, shells and forms leave around a word. */
static bool
is_wrapped(struct slice s)
{
	static const char odd[] = " \t\r\n\"'";

	return s.n > 0 &&
	    ((s.p[0] && strchr(odd, s.p[0])) ||
		(s.p[s.n - 1] && strchr(odd, s.p[s.n - 1])));
}

static enum auth_result
explain(struct auth_request *r, const struct link *l, enum auth_reason why)
{
	const char *path = password_file_path(l->pf);
	char user[TEXT_ESC];

	switch (why) {
	case AUTH_R_UNKNOWN_USER:
		if (is_wrapped(r->username))
			return auth_deny(r, why,
			    "look where the client has it from: there is a "
			    "blank, a line end or a quotation mark at an end "
			    "of it");
		return auth_deny(r, why, "nightjar passwd %s %s, then reload",
		    path, text_word(user, sizeof user, r->username, "USER"));
	case AUTH_R_WRONG_PASSWORD:
		if (r->password && is_wrapped(secret_bytes(r->password)))
			return auth_deny(r, why,
			    "look where the client has it from: there is a "
			    "blank, a line end or a quotation mark at an end "
			    "of it");
		return auth_deny(r, why, "nightjar passwd %s %s, then reload",
		    path, text_word(user, sizeof user, r->username, "USER"));
	case AUTH_R_EMPTY_PASSWORD:
		return auth_deny(r, why, "nightjar passwd %s %s, then reload",
		    path, text_word(user, sizeof user, r->username, "USER"));
	default:
		return auth_deny(r, why, NULL);
	}
}

/* On a worker. */
static void
check_password(struct job *j)
{
	struct auth_request *r =
	    (void *)((char *)j - offsetof(struct auth_request, job));
	const struct link *l = r->link_arg;
	enum auth_reason why = AUTH_R_NONE;
	enum auth_result result;

	if (atomic_load(&r->unwanted)) {
		auth_answer(r, auth_deny(r, AUTH_R_BUSY, NULL));
		return;
	}
	result = password_file_check(
	    l->pf, r->username, secret_bytes(r->password), &why);
	if (result == AUTH_ALLOW)
		result = auth_allow(r, r->username);
	else
		(void)explain(r, l, why);
	auth_answer(r, result);
}

static enum auth_result
no_password(struct auth_request *r)
{
	return auth_deny(
	    r, AUTH_R_NO_PASSWORD, "give the client its password (-P)");
}

static enum auth_result
password_file_start(struct authenticator *a, struct auth_request *r)
{
	struct link *l = link_of(a);

	if (!r->has_username)
		return AUTH_NOT_MINE;
	if (!r->password)
		return no_password(r);
	if (secret_bytes(r->password).n == 0)
		return explain(r, l, AUTH_R_EMPTY_PASSWORD);
	/* whose it is need not be slowed down by who tries to guess it */
	if (password_file_recalls(
		l->pf, r->username, secret_bytes(r->password)) &&
	    (!r->pressed || r->at_home))
		return auth_allow(r, r->username);
	if (r->pressed)
		return auth_deny(r, AUTH_R_PRESSED, NULL);
	r->link_arg = l;
	r->job.run = check_password;
	/* Once it is queued, r is the worker's. */
	if (workers_submit(l->workers, &r->job))
		return auth_deny(r, AUTH_R_BUSY, NULL);
	return AUTH_LATER;
}

static const char *
password_objection(const struct authenticator *a,
    const struct authenticator *was, const struct principal *who)
{
	return password_file_objection(
	    ((const struct link *)(const void *)a)->pf,
	    ((const struct link *)(const void *)was)->pf, who->name);
}

enum nj_err
auth_add_password_file(
    struct auth_chain *c, struct password_file *pf, struct workers *w)
{
	const struct link l = {
		.a = { .name = "password file",
		    .start = password_file_start,
		    .free = link_free,
		    .objection = password_objection },
		.pf = pf,
		.workers = w,
	};

	return add_link(c, &l);
}

static enum auth_result
anonymous_start(struct authenticator *a, struct auth_request *r)
{
	/* where nobody checks passwords a name is a claim, with one or not */
	if (r->has_username && !link_of(a)->with_name)
		return r->password ? AUTH_NOT_MINE : no_password(r);
	return auth_allow(r, SLICE_NONE);
}

static const char *
anonymous_objection(const struct authenticator *a,
    const struct authenticator *was, const struct principal *who)
{
	(void)was;
	return who->claimed.n > 0 &&
		!((const struct link *)(const void *)a)->with_name
	    ? "its user name is checked by now"
	    : NULL;
}

enum nj_err
auth_add_anonymous(struct auth_chain *c, bool with_name)
{
	const struct link l = {
		.a = { .name = "anonymous",
		    .start = anonymous_start,
		    .free = link_free,
		    .objection = anonymous_objection },
		.with_name = with_name,
	};

	return add_link(c, &l);
}
