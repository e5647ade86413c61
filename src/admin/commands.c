/* SPDX-License-Identifier: Apache-2.0
 */
#include "admin/command.h"

#include <string.h>

#include "admin/handlers.h"
#include "base/text.h"

/* One row a command; their order is that of help. */
const struct admin_command admin_commands[] = {
	{ "version", admin_version, ADMIN_READS, "", "which program this is" },
	{ "status", admin_status, ADMIN_READS, "",
	    "how long it runs, and how much there is of what" },
	{ "help", admin_help, ADMIN_READS, "", "these commands" },
	{ "reload", admin_reload, ADMIN_CHANGES, "",
	    "reads the configuration and its files again, as SIGHUP does" },
	{ "clients list", admin_clients_list, ADMIN_READS,
	    "[user], [address], [serial], [online], [limit]",
	    "clients and sessions" },
	{ "clients show", admin_clients_show, ADMIN_READS, "id",
	    "one client, with its subscriptions" },
	{ "clients disconnect", admin_clients_disconnect, ADMIN_CHANGES,
	    "id | user | address | serial | fingerprint, [forget]",
	    "sends away all that match" },
	{ "dynsec", admin_dynsec, ADMIN_CHANGES, "commands, [listener]",
	    "commands to users, groups and roles, in the form of "
	    "dynamic security" },
	{ "dynsec import", admin_dynsec_import, ADMIN_CHANGES,
	    "file, [listener]",
	    "a file's users, groups and roles in place of those there are" },
	{ "dynsec export", admin_dynsec_export, ADMIN_READS, "[listener]",
	    "users, groups and roles as such a file, with password hashes" },
	{ "acl explain", admin_acl_explain, ADMIN_READS,
	    "topic, [action], [user], [client], [address], [listener], "
	    "[groups]",
	    "whether somebody may, and the rule that says so" },
	{ "refused", admin_refused, ADMIN_READS, "[limit]",
	    "who did not get in of late, and why" },
};

const size_t admin_commands_n = sizeof admin_commands / sizeof *admin_commands;

const struct admin_command *
admin_command_find(struct slice name)
{
	for (size_t i = 0; i < admin_commands_n; i++)
		if (slice_is(name, admin_commands[i].name))
			return &admin_commands[i];
	return NULL;
}

/* Arguments. */

static const json_t *
member(const struct admin_call *c, const char *name)
{
	const json_t *v = json_object_get(c->args, name);

	return json_is_null(v) ? NULL : v;
}

static enum nj_err
wrong(const char *name, const char *wanted, struct nj_why *why)
{
	why_set(why, "%s has to be %s", name, wanted);
	return NJ_INVALID;
}

enum nj_err
admin_text(const struct admin_call *c, const char *name, struct slice *out,
    struct nj_why *why)
{
	const json_t *v = member(c, name);
	struct slice s;

	if (!v)
		return NJ_OK;
	if (!json_is_string(v))
		return wrong(name, "text", why);
	s = slice_of(json_string_value(v), json_string_length(v));
	if (s.n > 0 && memchr(s.p, '\0', s.n))
		return wrong(name, "text without NUL", why);
	*out = s;
	return NJ_OK;
}

enum nj_err
admin_need_text(const struct admin_call *c, const char *name, struct slice *out,
    struct nj_why *why)
{
	struct slice s = SLICE_NONE;
	enum nj_err e = admin_text(c, name, &s, why);

	if (e)
		return e;
	if (s.n == 0) {
		why_set(why, "%s is missing", name);
		return NJ_INVALID;
	}
	*out = s;
	return NJ_OK;
}

enum nj_err
admin_flag(
    const struct admin_call *c, const char *name, bool *out, struct nj_why *why)
{
	const json_t *v = member(c, name);

	if (!v)
		return NJ_OK;
	if (!json_is_boolean(v))
		return wrong(name, "true or false", why);
	*out = json_is_true(v);
	return NJ_OK;
}

enum nj_err
admin_number(const struct admin_call *c, const char *name, int64_t min,
    int64_t max, int64_t *out, struct nj_why *why)
{
	const json_t *v = member(c, name);

	if (!v)
		return NJ_OK;
	if (!json_is_integer(v) || json_integer_value(v) < min ||
	    json_integer_value(v) > max) {
		why_set(why, "%s has to be a number from %lld to %lld", name,
		    (long long)min, (long long)max);
		return NJ_INVALID;
	}
	*out = json_integer_value(v);
	return NJ_OK;
}

/* Answers. */

enum nj_err
admin_set(json_t *object, const char *name, json_t *value)
{
	return json_object_set_new(object, name, value) ? NJ_NOMEM : NJ_OK;
}

json_t *
admin_string(struct slice s)
{
	char esc[TEXT_ESC];
	json_t *v;

	if (s.n == 0)
		return json_string("");
	if ((v = json_stringn((const char *)s.p, s.n)))
		return v;
	return json_string(text_esc(esc, sizeof esc, s));
}
