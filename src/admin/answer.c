/* SPDX-License-Identifier: Apache-2.0
 *
 * From a line of JSON to a command, and back.
 */
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "auth/json_read.h"
#include "base/log.h"
#include "base/text.h"

static const char *
code_of(enum nj_err e)
{
	switch (e) {
	case NJ_INVALID:
	case NJ_MALFORMED:
		return "invalid";
	case NJ_NOTFOUND:
		return "not-found";
	case NJ_EXISTS:
		return "exists";
	case NJ_DENIED:
		return "denied";
	case NJ_UNSUPPORTED:
		return "unsupported";
	case NJ_TIMEOUT:
		return "timeout";
	case NJ_FULL:
	case NJ_BUSY:
		return "busy";
	case NJ_TOOBIG:
		return "too-big";
	default:
		return "failed";
	}
}

static json_t *
refusal(enum nj_err e, const struct nj_why *why)
{
	json_t *o = json_object();
	const char *what = why->what[0] ? why->what : nj_strerror(e);

	if (admin_set(o, "ok", json_false()) ||
	    admin_set(o, "code", json_string(code_of(e))) ||
	    admin_set(o, "error", admin_string(slice_str(what))) ||
	    (why->mend[0] &&
		admin_set(o, "mend", admin_string(slice_str(why->mend))))) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* Its name and whom it is about: what else there is may be a secret. */
static void
log_change(const struct admin_command *k, const struct admin_call *c)
{
	static const char *const about[] = { "id", "user", "username", "group",
		"groupname", "role", "rolename", "client", "serial", "name" };
	char line[512], esc[TEXT_ESC];
	size_t n = 0;

	line[0] = '\0';
	for (size_t i = 0; i < sizeof about / sizeof *about; i++) {
		const char *v =
		    json_string_value(json_object_get(c->args, about[i]));
		int k2 = v
		    ? snprintf(line + n, sizeof line - n, " %s '%s'", about[i],
			  text_esc(esc, sizeof esc, slice_str(v)))
		    : 0;

		if (k2 > 0 && (size_t)k2 < sizeof line - n)
			n += (size_t)k2;
	}
	line[n] = '\0';
	nj_log(LOG_T_NOTICE, "Administrator (user %lu, process %ld): %s%s",
	    (unsigned long)c->uid, (long)c->pid, k->name, line);
}

static enum nj_err
unknown(struct slice name, struct nj_why *why)
{
	char esc[TEXT_ESC];

	why_set(
	    why, "there is no command '%s'", text_esc(esc, sizeof esc, name));
	why_mend(why, "'help' lists them; is the broker older than nightjar?");
	return NJ_NOTFOUND;
}

static enum nj_err
dispatch(const json_t *request, struct admin_call *c, struct nj_why *why)
{
	const json_t *name = json_object_get(request, "command");
	const json_t *args = json_object_get(request, "args");
	const struct admin_command *k;
	struct slice word;
	json_t *none = NULL;
	enum nj_err e;

	if (!json_is_string(name) || (args && !json_is_object(args))) {
		why_set(
		    why, "a request is {\"command\": NAME, \"args\": {...}}");
		return NJ_INVALID;
	}
	word = slice_of(json_string_value(name), json_string_length(name));
	if (!(k = admin_command_find(word)))
		return unknown(word, why);
	if (!args && !(args = none = json_object()))
		return NJ_NOMEM;
	c->args = args;
	if (k->kind == ADMIN_CHANGES)
		log_change(k, c);
	e = k->fn(c, why);
	json_decref(none);
	return e;
}

static enum nj_err
run(const struct admin_env *env, struct slice line, uid_t uid, pid_t pid,
    json_t **result, struct nj_why *why)
{
	struct admin_call c = {
		.env = env,
		.patience_ms = ADMIN_PATIENCE_MS,
		.uid = uid,
		.pid = pid,
	};
	json_error_t err;
	json_t *request = json_read(line, JSON_REJECT_DUPLICATES, &err);
	enum nj_err e;

	if (!request) {
		why_set(why, "not JSON: %s", err.text);
		return NJ_MALFORMED;
	}
	if (!(c.result = json_object())) {
		json_decref(request);
		return NJ_NOMEM;
	}
	e = dispatch(request, &c, why);
	json_decref(request);
	if (e)
		json_decref(c.result);
	else
		*result = c.result;
	return e;
}

char *
admin_answer(
    const struct admin_env *env, struct slice line, uid_t uid, pid_t pid)
{
	struct nj_why why = { 0 };
	json_t *result = NULL, *o = NULL;
	enum nj_err e = run(env, line, uid, pid, &result, &why);
	char *text = NULL;

	if (e) {
		o = refusal(e, &why);
	} else if ((o = json_object()) && admin_set(o, "ok", json_true())) {
		json_decref(result);
	} else if (admin_set(o, "result", result)) {
		json_decref(o);
		o = NULL;
	}
	if (o)
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}
