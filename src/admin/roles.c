/* SPDX-License-Identifier: Apache-2.0
 *
 * dynsec: commands of dynamic security, as clients give them on
 * $CONTROL/dynamic-security/v1, from the administrator; dynsec import and
 * export: all of it from a file, and as one.
 */
#include <stdlib.h>

#include "admin/handlers.h"
#include "auth/json_read.h"
#include "auth/rolebase.h"
#include "broker/inspect.h"
#include "broker/present.h"

static enum nj_err
take_answer(struct admin_call *c, struct slice text, struct nj_why *why)
{
	json_t *answer = json_read(text, 0, NULL);
	json_t *list = json_object_get(answer, "responses");
	enum nj_err e;

	if (!json_is_array(list)) {
		why_set(why, "there is no answer to these commands");
		json_decref(answer);
		return NJ_IO;
	}
	e = admin_set(c->result, "responses", json_incref(list));
	json_decref(answer);
	return e;
}

/* The users of the listener that is named, or of the only ones there are. */
static enum nj_err
find_users(struct admin_call *c, struct rolebase **out, struct nj_why *why)
{
	struct slice listener = SLICE_NONE;
	enum nj_err e = admin_text(c, "listener", &listener, why);

	if (e)
		return e;
	e = inspect_rolebase(c->env->broker, listener, c->patience_ms, out);
	if (e == NJ_NOTFOUND) {
		why_set(why, "this broker keeps no users of its own");
		why_mend(why, "add 'dynamic_security_file PATH'");
	}
	return e;
}

enum nj_err
admin_dynsec_import(struct admin_call *c, struct nj_why *why)
{
	struct slice file = SLICE_NONE;
	struct rolebase *rb = NULL;
	struct roles_info info;
	struct roles *r;
	enum nj_err e;

	if ((e = admin_need_text(c, "file", &file, why)) ||
	    (e = find_users(c, &rb, why)))
		return e;
	/* JSON's text ends in NUL */
	e = rolebase_import(rb, (const char *)file.p, why);
	if (!e) {
		r = rolebase_now(rb);
		roles_info(r, &info);
		roles_unref(r);
		if (admin_set(c->result, "users",
			json_integer((json_int_t)info.users)) ||
		    admin_set(c->result, "groups",
			json_integer((json_int_t)info.groups)) ||
		    admin_set(c->result, "roles",
			json_integer((json_int_t)info.roles)))
			e = NJ_NOMEM;
	}
	rolebase_unref(rb);
	return e;
}

enum nj_err
admin_dynsec_export(struct admin_call *c, struct nj_why *why)
{
	struct rolebase *rb = NULL;
	struct buf text = { 0 };
	json_t *v = NULL;
	enum nj_err e;

	if ((e = find_users(c, &rb, why)))
		return e;
	if (!(e = rolebase_export(rb, &text))) {
		struct slice s = buf_slice(&text);

		v = json_stringn((const char *)s.p, s.n);
		e = admin_set(c->result, "text", v);
	}
	buf_wipe(&text);
	rolebase_unref(rb);
	return e;
}

enum nj_err
admin_dynsec(struct admin_call *c, struct nj_why *why)
{
	const json_t *commands = json_object_get(c->args, "commands");
	struct rolebase_admin who = { .user = LIT("(administrator)") };
	struct present present = { 0 };
	struct rolebase *rb = NULL;
	struct buf answer = { 0 };
	json_t *request = NULL;
	char *text = NULL;
	enum nj_err e;

	if (!json_is_array(commands)) {
		why_set(why, "commands has to be a list");
		return NJ_INVALID;
	}
	if ((e = find_users(c, &rb, why)))
		return e;
	e = NJ_NOMEM;
	if (!(request = json_pack("{s:O}", "commands", commands)) ||
	    !(text = json_dumps(request, JSON_COMPACT)))
		goto out;
	present_look(&present, c->env->broker, slice_str(text), &who);
	if (!(e = rolebase_run(rb, &who, slice_str(text), &answer)))
		e = take_answer(c, buf_slice(&answer), why);
out:
	present_fini(&present);
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	json_decref(request);
	buf_wipe(&answer);
	rolebase_unref(rb);
	return e;
}
