/* SPDX-License-Identifier: Apache-2.0
 *
 * dynsec: commands of dynamic security, as clients give them on
 * $CONTROL/dynamic-security/v1, from the administrator.
 */
#include <stdlib.h>

#include "admin/handlers.h"
#include "auth/rolebase.h"
#include "broker/inspect.h"

static enum nj_err
take_answer(struct admin_call *c, struct slice text, struct nj_why *why)
{
	json_t *answer = json_loadb((const char *)text.p, text.n, 0, NULL);
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

enum nj_err
admin_dynsec(struct admin_call *c, struct nj_why *why)
{
	const json_t *commands = json_object_get(c->args, "commands");
	const struct rolebase_admin who = { .user = LIT("(administrator)") };
	struct slice listener = SLICE_NONE;
	struct rolebase *rb = NULL;
	struct buf answer = { 0 };
	json_t *request = NULL;
	char *text = NULL;
	enum nj_err e;

	if (!json_is_array(commands)) {
		why_set(why, "commands has to be a list");
		return NJ_INVALID;
	}
	if ((e = admin_text(c, "listener", &listener, why)) ||
	    (e = inspect_rolebase(
		 c->env->broker, listener, c->patience_ms, &rb))) {
		if (e == NJ_NOTFOUND) {
			why_set(why, "this broker keeps no users of its own");
			why_mend(why, "add 'dynamic_security_file PATH'");
		}
		return e;
	}
	e = NJ_NOMEM;
	if (!(request = json_pack("{s:O}", "commands", commands)) ||
	    !(text = json_dumps(request, JSON_COMPACT)))
		goto out;
	if (!(e = rolebase_run(rb, &who, slice_str(text), &answer)))
		e = take_answer(c, buf_slice(&answer), why);
out:
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	json_decref(request);
	buf_wipe(&answer);
	rolebase_unref(rb);
	return e;
}
