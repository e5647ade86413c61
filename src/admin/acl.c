/* SPDX-License-Identifier: Apache-2.0
 *
 * acl explain.
 */
#include "admin/handlers.h"
#include "base/buf.h"
#include "broker/explain.h"

/* An array of names, each ended by '\n'. */
static enum nj_err
take_groups(const struct admin_call *c, struct buf *out, struct nj_why *why)
{
	const json_t *v = json_object_get(c->args, "groups");
	enum nj_err e = NJ_OK;

	if (v && !json_is_array(v)) {
		why_set(why, "groups has to be a list");
		return NJ_INVALID;
	}
	for (size_t i = 0; !e && i < json_array_size(v); i++) {
		const char *name = json_string_value(json_array_get(v, i));

		if (name)
			e = buf_printf(out, "%s\n", name);
	}
	return e;
}

static enum nj_err
take_supposed(
    const struct admin_call *c, struct supposed *s, struct nj_why *why)
{
	struct slice action = LIT("publish");
	enum nj_err e;

	if ((e = admin_text(c, "user", &s->user, why)) ||
	    (e = admin_text(c, "client", &s->client_id, why)) ||
	    (e = admin_text(c, "address", &s->address, why)) ||
	    (e = admin_text(c, "listener", &s->listener, why)) ||
	    (e = admin_text(c, "action", &action, why)) ||
	    (e = admin_need_text(c, "topic", &s->topic, why)))
		return e;
	if (!suppose_action(action, &s->what)) {
		why_set(why, "action is publish, subscribe or receive");
		return NJ_INVALID;
	}
	return NJ_OK;
}

enum nj_err
admin_acl_explain(struct admin_call *c, struct nj_why *why)
{
	struct explained x = { 0 };
	struct supposed s = { 0 };
	struct buf groups = { 0 };
	enum nj_err e;

	if ((e = take_supposed(c, &s, why)) ||
	    (e = take_groups(c, &groups, why)))
		goto out;
	s.groups = buf_slice(&groups);
	if ((e = explain(c->env->broker, &s, c->patience_ms, &x, why)))
		goto out;
	if (admin_set(c->result, "allowed", json_boolean(x.may)) ||
	    admin_set(c->result, "partly", json_boolean(x.each)) ||
	    admin_set(c->result, "granted", json_boolean(x.granted)) ||
	    admin_set(c->result, "connected_client", json_boolean(x.here)) ||
	    admin_set(c->result, "one_rule_set", json_boolean(x.sure)) ||
	    admin_set(c->result, "user", admin_string(slice_str(x.user))) ||
	    admin_set(
		c->result, "listener", admin_string(slice_str(x.listener))) ||
	    admin_set(c->result, "rule", admin_string(slice_str(x.rule))) ||
	    admin_set(c->result, "text", admin_string(slice_str(x.text))))
		e = NJ_NOMEM;
out:
	buf_fini(&groups);
	return e;
}
