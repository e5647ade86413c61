/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/acl_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "auth/acl.h"
#include "auth/device_groups.h"
#include "auth/jwt.h"
#include "auth/rolebase.h"
#include "auth/roles_first.h"
#include "auth/suppose.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/secret.h"
#include "base/text.h"
#include "broker/rolekeep.h"
#include "cmd/cmd.h"
#include "cmd/lists.h"
#include "cmd/place.h"
#include "cmd/wiring_files.h"
#include "store/view.h"

/* What was found in the files, and who asks. */
struct asking {
	const struct explaining *x;
	struct supposed s;
	struct acl *acl;
	struct roles *roles;
	struct jwt token;
	struct buf groups;
	char *where;
	bool sure;
};

static void
asking_fini(struct asking *a)
{
	acl_unref(a->acl);
	roles_unref(a->roles);
	jwt_fini(&a->token);
	buf_fini(&a->groups);
	free(a->where);
}

static const struct conf_listener *
find_listener(const struct conf *c, const char *name)
{
	for (uint32_t i = 0; i < c->nlisteners; i++) {
		const struct conf_listener *l = &c->listeners[i];
		char port[8];

		(void)snprintf(port, sizeof port, "%u", l->port);
		if (!name || strcmp(name, port) == 0 ||
		    (l->unix_path && strcmp(name, l->unix_path) == 0))
			return l;
	}
	return NULL;
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool
same_rules(const struct conf *c)
{
	for (uint32_t i = 1; i < c->nlisteners; i++)
		if (!same_text(
			c->listeners[0].acl_file, c->listeners[i].acl_file) ||
		    !same_text(c->listeners[0].dynamic_security_file,
			c->listeners[i].dynamic_security_file))
			return false;
	return true;
}

/* What the broker would have; nothing is made. */
static enum nj_err
roles_of_file(const struct conf *c, const char *path, struct roles **out,
    struct nj_why *why)
{
	const char *first = c ? conf_first_password(c, path) : NULL;
	struct rolebase *rb = NULL;
	enum nj_err e = rolebase_open(path, &rb, why);

	if (e == NJ_NOTFOUND && first)
		return roles_first(first, out, why);
	if (!e)
		*out = rolebase_now(rb);
	rolebase_unref(rb);
	return e;
}

/* With persistence what the store has holds, if it has it yet. */
enum nj_err
acl_roles_of_conf(const struct conf *c, const char *path, struct roles **out,
    struct nj_why *why)
{
	char *store = c->persistence ? place_of_store(c) : NULL;
	struct view *v = NULL;
	enum nj_err e = NJ_NOTFOUND;

	if (store && access(store, F_OK) == 0 &&
	    !(e = view_open(store, &v, why)))
		e = rolekeep_look(v, path, out, why);
	view_close(v);
	free(store);
	return e == NJ_NOTFOUND ? roles_of_file(c, path, out, why) : e;
}

/* The token says who it is, in which groups, and what it may at most. */
static enum nj_err
take_token(struct asking *a, const struct conf *c,
    const struct conf_listener *l, struct nj_why *why)
{
	struct secret *text = NULL;
	struct jwk_set *keys = NULL;
	struct jwt_rules rules;
	enum nj_err e;

	if (!l->tokens) {
		why_set(why, "this listener takes no tokens");
		why_mend(why, "add 'jwt_key_file FILE'");
		return NJ_INVALID;
	}
	if (!(e = secret_from_file(a->x->token, &text, why)) &&
	    !(e = wiring_token_rules(c, l, &rules, &keys, why)))
		e = jwt_check(secret_bytes(text), &rules, (int64_t)time(NULL),
		    &a->token, why);
	secret_free(text);
	jwk_set_unref(keys);
	if (e)
		return e;
	if (a->s.user.n == 0)
		a->s.user = buf_slice(&a->token.name);
	if (!slice_eq(a->s.user, buf_slice(&a->token.name))) {
		why_set(why, "the token is of another user");
		return NJ_INVALID;
	}
	a->s.topics = buf_slice(&a->token.topics);
	a->s.has_topics = a->token.has_topics;
	return buf_put_slice(&a->groups, buf_slice(&a->token.groups));
}

/* A device's groups stand in its CA's folder. */
static enum nj_err
take_device(struct asking *a, const struct conf_listener *l, struct nj_why *why)
{
	struct slice id = slice_str(a->x->device);
	struct device_groups *g = NULL;
	char *path = lists_groups(l);
	enum nj_err e;

	if (!path) {
		why_set(why,
		    "the cafile of this listener is not in a CA's folder, so "
		    "its devices have no groups");
		return NJ_INVALID;
	}
	if (!(e = device_groups_new(path, &g, why)))
		e = device_groups_of(g, id, &a->groups);
	device_groups_unref(g);
	free(path);
	if (a->s.user.n == 0)
		a->s.user = id;
	return e;
}

static enum nj_err
take_listener(struct asking *a, const struct conf *c,
    const struct conf_listener *l, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	if (asprintf(&a->where, l->unix_path ? "unix %s" : "%s:%u",
		l->unix_path  ? l->unix_path
		    : l->host ? l->host
			      : "*",
		l->port) < 0) {
		a->where = NULL;
		return NJ_NOMEM;
	}
	a->s.listener = slice_str(a->where);
	if (l->acl_file && !a->x->acl_file)
		e = acl_load(l->acl_file, &a->acl, why);
	if (!e && l->dynamic_security_file && !a->x->roles_file)
		e = acl_roles_of_conf(
		    c, l->dynamic_security_file, &a->roles, why);
	if (!e && a->x->token)
		e = take_token(a, c, l, why);
	if (!e && a->x->device)
		e = take_device(a, l, why);
	return e;
}

/* What stands against the configuration is the business of --test-config. */
static enum nj_err
take_conf(struct asking *a, struct nj_why *why)
{
	const struct explaining *x = a->x;
	const struct conf_listener *l;
	struct conf_report report = { 0 };
	struct conf c = { 0 };
	enum nj_err e = conf_load(x->ask.conf, NULL, &c, &report);

	conf_report_free(&report);
	if (e == NJ_NOMEM)
		return e;
	if (e) {
		why_set(why, "%s cannot be used", x->ask.conf);
		why_mend(
		    why, "nightjar serve --test-config -c %s", x->ask.conf);
	} else if (!(l = find_listener(&c, x->listener))) {
		why_set(why, "%s has no listener %s", x->ask.conf,
		    x->listener ? x->listener : "");
		e = NJ_NOTFOUND;
	} else {
		e = take_listener(a, &c, l, why);
	}
	a->sure = x->listener || same_rules(&c);
	conf_free(&c);
	return e;
}

static enum nj_err
take_files(struct asking *a, struct nj_why *why)
{
	const struct explaining *x = a->x;
	enum nj_err e = NJ_OK;

	if (x->acl_file)
		e = acl_load(x->acl_file, &a->acl, why);
	if (!e && x->roles_file)
		e = roles_of_file(NULL, x->roles_file, &a->roles, why);
	if (!e && x->ask.conf)
		e = take_conf(a, why);
	if (!e && !x->ask.conf && (x->token || x->device)) {
		why_set(why, "--token and --device need -c FILE");
		e = NJ_INVALID;
	}
	for (unsigned i = 0; !e && i < x->groups.n; i++)
		e = buf_printf(&a->groups, "%s\n", x->groups.v[i]);
	a->s.groups = buf_slice(&a->groups);
	return e;
}

static enum nj_err
answer(struct asking *a, json_t *out)
{
	struct asker rules = { .acl = a->acl, .roles = a->roles };
	struct decision d;
	char text[640], where[160];
	bool may = suppose_decide(&a->s, &rules, &d);

	suppose_text(&a->s, may, &d, text, sizeof text);
	return json_object_set_new(out, "allowed", json_boolean(may)) ||
		json_object_set_new(out, "partly", json_boolean(d.each)) ||
		json_object_set_new(
		    out, "one_rule_set", json_boolean(a->sure)) ||
		json_object_set_new(out, "rule", json_string(d.text)) ||
		json_object_set_new(out, "listener",
		    json_string(
			text_esc(where, sizeof where, a->s.listener))) ||
		json_object_set_new(out, "text", json_string(text))
	    ? NJ_NOMEM
	    : NJ_OK;
}

static struct slice
given(const char *s)
{
	return s ? slice_str(s) : SLICE_NONE;
}

int
acl_explain_files(const struct explaining *x)
{
	struct asking a = {
		.x = x,
		.s = {
			.user = given(x->user),
			.client_id = given(x->client),
			.address = given(x->address),
			.listener = given(x->listener),
			.topic = slice_str(x->words.v[0]),
		},
		.sure = true,
	};
	int status = EXIT_CANNOT_SAY;
	json_t *out = json_object();
	struct nj_why why = { 0 };
	enum nj_err e = NJ_OK;

	if (!suppose_action(slice_str(x->action), &a.s.what)) {
		why_set(&why, "--action is publish, subscribe or receive");
		e = NJ_INVALID;
	}
	if (!e)
		e = suppose_check(&a.s, &why);
	if (!e)
		e = take_files(&a, &why);
	if (!e)
		e = answer(&a, out);
	if (e)
		say_why(&why, e);
	else
		status = acl_print_answer(x->ask.json, out);
	json_decref(out);
	asking_fini(&a);
	return status;
}
