/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/links.h"

#include <stddef.h>
#include <stdlib.h>

#include "wire/topic.h"

#define CONTAINER(ptr, type, field) \
	((type *)(void *)((char *)(ptr)-offsetof(type, field)))

struct link_certificate {
	struct authenticator a;
	bool required;
};

struct link_password_file {
	struct authenticator a;
	struct password_file *pf;
	struct workers *workers;
};

struct link_anonymous {
	struct authenticator a;
	bool any_name;
};

/* Names go into logs and into patterns of access rules: what could be read
 * as something else there is no name. */
static bool
cert_name_ok(struct slice name)
{
	if (name.n == 0 || name.n > MQTT_STRING_MAX || !utf8_ok(name))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];

		if (c < 0x20 || c == 0x7f || c == '+' || c == '#')
			return false;
	}
	return true;
}

static enum auth_result
certificate_start(struct authenticator *a, struct auth_request *r)
{
	const struct link_certificate *l =
	    CONTAINER(a, struct link_certificate, a);

	if (r->ask.cert_subject.n == 0 && r->ask.cert_name.n == 0)
		return l->required ? auth_deny(r, AUTH_R_NO_CERTIFICATE)
				   : AUTH_NOT_MINE;
	if (!cert_name_ok(r->ask.cert_name))
		return auth_deny(r, AUTH_R_BAD_NAME);
	return auth_allow(r, BY_CERTIFICATE, r->ask.cert_name);
}

static void
certificate_free(struct authenticator *a)
{
	free(CONTAINER(a, struct link_certificate, a));
}

enum nj_err
link_certificate_new(bool required, struct authenticator **out)
{
	struct link_certificate *l = calloc(1, sizeof *l);

	if (!l)
		return NJ_NOMEM;
	l->a = (struct authenticator){ "certificate", certificate_start,
		certificate_free };
	l->required = required;
	*out = (struct authenticator *)l; /* a comes first */
	return NJ_OK;
}

/* On a worker. */
static void
check_password(struct job *j)
{
	struct auth_request *r = CONTAINER(j, struct auth_request, job);
	const struct link_password_file *l = r->link_arg;
	enum auth_result result = password_file_check(
	    l->pf, r->ask.username, secret_bytes(r->password), &r->reason);

	if (result == AUTH_ALLOW)
		result = auth_allow(r, BY_PASSWORD, r->ask.username);
	auth_answer(r, result);
}

static enum auth_result
password_file_start(struct authenticator *a, struct auth_request *r)
{
	struct link_password_file *l =
	    CONTAINER(a, struct link_password_file, a);

	if (!r->ask.has_username)
		return AUTH_NOT_MINE;
	if (!r->password)
		return auth_deny(r, AUTH_R_NO_PASSWORD);
	if (secret_bytes(r->password).n == 0)
		return auth_deny(r, AUTH_R_EMPTY_PASSWORD);
	r->link_arg = l;
	r->job.run = check_password;
	/* Once it is queued, r is the worker's. */
	if (workers_submit(l->workers, &r->job))
		return auth_deny(r, AUTH_R_BUSY);
	return AUTH_LATER;
}

static void
password_file_free(struct authenticator *a)
{
	struct link_password_file *l =
	    CONTAINER(a, struct link_password_file, a);

	password_file_unref(l->pf);
	free(l);
}

enum nj_err
link_password_file_new(
    struct password_file *pf, struct workers *w, struct authenticator **out)
{
	struct link_password_file *l = calloc(1, sizeof *l);

	if (!l)
		return NJ_NOMEM;
	l->a = (struct authenticator){ "password file", password_file_start,
		password_file_free };
	l->pf = password_file_ref(pf);
	l->workers = w;
	*out = (struct authenticator *)l; /* a comes first */
	return NJ_OK;
}

static enum auth_result
anonymous_start(struct authenticator *a, struct auth_request *r)
{
	const struct link_anonymous *l = CONTAINER(a, struct link_anonymous, a);

	if (r->ask.has_username && !r->password)
		return auth_deny(r, AUTH_R_NO_PASSWORD);
	if (r->ask.has_username && !l->any_name)
		return AUTH_NOT_MINE;
	return auth_allow(r, BY_NOTHING, SLICE_NONE);
}

static void
anonymous_free(struct authenticator *a)
{
	free(CONTAINER(a, struct link_anonymous, a));
}

enum nj_err
link_anonymous_new(bool any_name, struct authenticator **out)
{
	struct link_anonymous *l = calloc(1, sizeof *l);

	if (!l)
		return NJ_NOMEM;
	l->a = (struct authenticator){ "anonymous", anonymous_start,
		anonymous_free };
	l->any_name = any_name;
	*out = (struct authenticator *)l; /* a comes first */
	return NJ_OK;
}
