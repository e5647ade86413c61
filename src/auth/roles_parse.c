/* SPDX-License-Identifier: Apache-2.0
 * dynamic-security.json, read.  What cannot be meant is refused with its line,
 * rather than passed by: a rule that is not read might be one that denies.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/json_read.h"
#include "auth/roles_json.h"
#include "auth/roles_rows.h"
#include "base/text.h"
#include "wire/mqtt.h"
#include "wire/topic.h"

struct reading {
	struct roles *r;
	struct slice text;
	const char *path;
	struct nj_why *why;
	size_t *loose;
	/* where it is */
	const char *section;
	size_t at;
	bool rows; /* of a store; each by itself */
};

/* The text is JSON by now: finds the line of an entry of a list at its top. */
struct place {
	struct slice text;
	size_t at, line;
};

static void
skip_string(struct place *p)
{
	for (p->at++; p->at < p->text.n && p->text.p[p->at] != '"'; p->at++)
		if (p->text.p[p->at] == '\\')
			p->at++;
}

static size_t
line_of(struct slice text, const char *section, size_t entry)
{
	struct place p = { .text = text, .line = 1 };
	size_t n = strlen(section), seen = 0, depth = 0;
	bool inside = false;

	for (; p.at < text.n; p.at++) {
		uint8_t c = text.p[p.at];

		if (c == '\n')
			p.line++;
		if (inside && depth == 2 && seen == entry && c > ' ' &&
		    c != ',' && c != '[')
			return p.line;
		if (c == '"') {
			size_t from = p.at + 1;

			skip_string(&p);
			if (depth == 1 && p.at - from == n &&
			    strncasecmp(
				(const char *)text.p + from, section, n) == 0)
				inside = true;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			depth--;
		} else if (c == ',' && inside && depth == 1) {
			inside = false;
		} else if (c == ',' && inside && depth == 2) {
			seen++;
		}
	}
	return 1;
}

static enum nj_err
refuse(const struct reading *f, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	if (f->rows) {
		why_set(
		    f->why, "%s: one of its %s: %s", f->path, f->section, what);
		return NJ_MALFORMED;
	}
	why_set(f->why, "%s:%zu: entry %zu of \"%s\": %s", f->path,
	    line_of(f->text, f->section, f->at), f->at + 1, f->section, what);
	why_mend(f->why,
	    "correct the line, or take the entry out; nothing of the file is "
	    "used until then");
	return NJ_MALFORMED;
}

static enum nj_err
no_memory(const struct reading *f)
{
	why_set(f->why, "%s: out of memory", f->path);
	return NJ_NOMEM;
}

/* The name of an entry: there, no other's, and one that can be typed. */
static enum nj_err
take_name(const struct reading *f, const json_t *o, const char *member,
    const char **out)
{
	const char *name = NULL;

	if (!json_is_object(o))
		return refuse(f, "it is not an object");
	if (!(name = json_text(o, member)) || !*name)
		return refuse(f, "it has no %s", member);
	if (strlen(name) > MQTT_STRING_MAX || !utf8_ok(slice_str(name)))
		return refuse(f, "its %s cannot be one in MQTT", member);
	*out = name;
	return NJ_OK;
}

static enum nj_err
named_twice(const struct reading *f, const char *member, const char *name)
{
	char esc[TEXT_ESC];

	return refuse(f, "%s '%s' is there before", member,
	    text_esc(esc, sizeof esc, slice_str(name)));
}

static enum nj_err
take_texts(const struct reading *f, const json_t *o, char **textname,
    char **textdescription)
{
	if (roles_set_text(textname, json_text(o, "textname")) ||
	    roles_set_text(textdescription, json_text(o, "textdescription")))
		return no_memory(f);
	return NJ_OK;
}

static enum nj_err
take_list(const struct reading *f, const json_t *o, const char *member,
    const json_t **out)
{
	*out = json_member(o, member);
	if (*out && !json_is_array(*out))
		return refuse(f, "its \"%s\" is not a list", member);
	return NJ_OK;
}

/* Roles. */

static enum nj_err
take_rule(const struct reading *f, struct role *x, const json_t *o)
{
	static const char *const known[] = { "acltype", "topic", "priority",
		"allow", NULL };
	const char *type = json_text(o, "acltype");
	const char *topic = json_text(o, "topic");
	const json_t *allow = json_member(o, "allow");
	const json_t *priority = json_member(o, "priority");
	enum rule_kind kind = type ? json_rule_kind(type) : RULE_KINDS;
	char *others = NULL, esc[TEXT_ESC];
	enum nj_err e;

	if (kind == RULE_KINDS)
		return refuse(f, "a rule has no acltype that is known");
	if (!topic || !topic_filter_ok(slice_str(topic)))
		return refuse(f, "a rule's topic '%s' is no topic filter",
		    topic ? text_esc(esc, sizeof esc, slice_str(topic)) : "");
	if ((allow && !json_is_boolean(allow)) ||
	    (priority && !json_is_number(priority)))
		return refuse(f, "a rule's allow or priority is not one");
	if (json_others(o, known, &others))
		return no_memory(f);
	e = role_add_rule(x, kind, topic, json_int(o, "priority", 0),
	    json_flag(o, "allow", false), others);
	free(others);
	if (e == NJ_FULL)
		return refuse(f, "it has more than %u rules", ROLES_RULES_MAX);
	return e ? no_memory(f) : NJ_OK;
}

static enum nj_err
fill_role(const struct reading *f, struct role *x, const json_t *o)
{
	static const char *const known[] = { "rolename", "textname",
		"textdescription", "allowwildcardsubs", "acls", NULL };
	const json_t *acls = NULL;
	enum nj_err e;

	if ((e = take_texts(f, o, &x->textname, &x->textdescription)) ||
	    (e = take_list(f, o, "acls", &acls)))
		return e;
	x->no_wildcard_subs = !json_flag(o, "allowwildcardsubs", true);
	for (size_t i = 0; i < json_array_size(acls) && !e; i++)
		e = take_rule(f, x, json_array_get(acls, i));
	if (!e && json_others(o, known, &x->extra))
		e = no_memory(f);
	return e;
}

static enum nj_err
take_role(const struct reading *f, const json_t *o)
{
	struct role *x = NULL;
	const char *name = NULL;
	enum nj_err e;

	if ((e = take_name(f, o, "rolename", &name)))
		return e;
	if (roles_role(f->r, slice_str(name)))
		return named_twice(f, "rolename", name);
	if (role_new(name, &x))
		return no_memory(f);
	if ((e = fill_role(f, x, o))) {
		role_unref(x);
		return e;
	}
	e = roles_put_role(f->r, &x);
	if (e == NJ_FULL)
		return refuse(
		    f, "there are more than %u roles", ROLES_ROLES_MAX);
	return e ? no_memory(f) : NJ_OK;
}

/* "roles" of a user or group. */
static enum nj_err
take_grants(const struct reading *f, const json_t *o, struct grants *g)
{
	const json_t *v = NULL;
	enum nj_err e = take_list(f, o, "roles", &v);

	for (size_t i = 0; i < json_array_size(v) && !e; i++) {
		const json_t *one = json_array_get(v, i);
		const char *name = json_text(one, "rolename");
		const struct role *x;

		if (!name)
			return refuse(f, "one of its roles has no rolename");
		if (!(x = roles_role(f->r, slice_str(name)))) {
			(*f->loose)++;
			continue;
		}
		e = grants_add(f->r, g, false, x->id,
		    json_int(one, "priority", GRANT_NO_PRIORITY));
		if (e == NJ_EXISTS) /* the first counts */
			e = NJ_OK;
		else if (e)
			e = no_memory(f);
	}
	return e;
}

/* Users. */

static enum nj_err
take_password(const struct reading *f, const json_t *o, struct user *x)
{
	const char *text = json_text(o, "encoded_password");
	const char *salt = json_text(o, "salt");
	const char *hash = json_text(o, "password");
	const json_t *iterations = json_member(o, "iterations");
	char *made = NULL;
	struct password_hash h;
	struct nj_why why = { 0 };
	size_t at = 0;
	enum nj_err e = NJ_OK;

	/* Mosquitto: all three, or there is no password */
	if (!text && salt && hash && json_is_number(iterations)) {
		if (asprintf(&made, "$7$%lld$%s$%s",
			(long long)json_number_value(iterations), salt,
			hash) < 0)
			return no_memory(f);
		text = made;
	}
	if (text && password_parse(slice_str(text), &h, &at, &why))
		e = refuse(f, "its password is no hash: %s", why.what);
	else if (text && roles_set_text(&x->password, text))
		e = no_memory(f);
	free(made);
	return e;
}

/* "groups" of a row; in a file groups say who is in them. */
static enum nj_err
take_groups(const struct reading *f, const json_t *o, struct grants *g)
{
	const json_t *v = NULL;
	enum nj_err e = take_list(f, o, "groups", &v);

	for (size_t i = 0; i < json_array_size(v) && !e; i++) {
		const json_t *one = json_array_get(v, i);
		const char *name = json_text(one, "groupname");
		const struct group *x =
		    name ? roles_group(f->r, slice_str(name)) : NULL;

		if (!x)
			return refuse(f, "one of its groups is not there");
		if (grants_add(f->r, g, true, x->id,
			json_int(one, "priority", GRANT_NO_PRIORITY)))
			e = no_memory(f);
	}
	return e;
}

static enum nj_err
fill_user(const struct reading *f, struct user *x, const json_t *o)
{
	static const char *const in_rows[] = { "username", "clientid",
		"textname", "textdescription", "disabled", "password", "salt",
		"iterations", "encoded_password", "roles", "groups", NULL };
	static const char *const known[] = { "username", "clientid", "textname",
		"textdescription", "disabled", "password", "salt", "iterations",
		"encoded_password", "roles", NULL };
	const json_t *disabled = json_member(o, "disabled");
	const json_t *id = json_member(o, "clientid");
	enum nj_err e;

	/* a mistake here would let somebody in */
	if ((disabled && !json_is_boolean(disabled)) ||
	    (id && !json_is_string(id)))
		return refuse(f, "its disabled or clientid is not one");
	x->disabled = json_is_true(disabled);
	if (id && *json_string_value(id) &&
	    roles_set_text(&x->client_id, json_string_value(id)))
		return no_memory(f);
	if ((e = take_texts(f, o, &x->textname, &x->textdescription)) ||
	    (e = take_password(f, o, x)) ||
	    (e = take_grants(f, o, &x->roles)) ||
	    (f->rows && (e = take_groups(f, o, &x->groups))))
		return e;
	return json_others(o, f->rows ? in_rows : known, &x->extra)
	    ? no_memory(f)
	    : NJ_OK;
}

static enum nj_err
take_user(const struct reading *f, const json_t *o)
{
	struct user *x = NULL;
	const char *name = NULL;
	enum nj_err e;

	if ((e = take_name(f, o, "username", &name)))
		return e;
	if (roles_user(f->r, slice_str(name)))
		return named_twice(f, "username", name);
	if (user_new(name, &x))
		return no_memory(f);
	if ((e = fill_user(f, x, o))) {
		user_unref(x);
		return e;
	}
	e = roles_put_user(f->r, &x);
	if (e == NJ_FULL)
		return refuse(
		    f, "there are more than %u clients", ROLES_USERS_MAX);
	return e ? no_memory(f) : NJ_OK;
}

/* Groups. */

/* Nobody else has the state yet, so a user that only it holds may be changed
 * where it is. */
static enum nj_err
take_members(const struct reading *f, const json_t *o, uint32_t id)
{
	const json_t *v = NULL;
	enum nj_err e = take_list(f, o, "clients", &v);

	for (size_t i = 0; i < json_array_size(v) && !e; i++) {
		const json_t *one = json_array_get(v, i);
		const char *name = json_text(one, "username");
		struct user *u;

		if (!name)
			return refuse(f, "one of its clients has no username");
		if (!(u = roles_user(f->r, slice_str(name)))) {
			(*f->loose)++;
			continue;
		}
		e = grants_add(f->r, &u->groups, true, id,
		    json_int(one, "priority", GRANT_NO_PRIORITY));
		if (e == NJ_EXISTS)
			e = NJ_OK;
		else if (e)
			e = no_memory(f);
	}
	return e;
}

static enum nj_err
take_group(const struct reading *f, const json_t *o)
{
	static const char *const known[] = { "groupname", "textname",
		"textdescription", "roles", "clients", NULL };
	struct group *x = NULL;
	const char *name = NULL;
	enum nj_err e;

	if ((e = take_name(f, o, "groupname", &name)))
		return e;
	if (roles_group(f->r, slice_str(name)))
		return named_twice(f, "groupname", name);
	if (group_new(name, &x))
		return no_memory(f);
	if ((e = take_texts(f, o, &x->textname, &x->textdescription)) ||
	    (e = take_grants(f, o, &x->roles)) ||
	    (e = json_others(o, known, &x->extra) ? no_memory(f) : NJ_OK)) {
		group_unref(x);
		return e;
	}
	e = roles_put_group(f->r, &x);
	if (e == NJ_FULL)
		return refuse(
		    f, "there are more than %u groups", ROLES_GROUPS_MAX);
	if (e)
		return no_memory(f);
	return take_members(f, o, roles_group(f->r, slice_str(name))->id);
}

/* The whole. */

static enum nj_err
malformed(const struct reading *f, const char *what)
{
	if (f->rows) {
		why_set(f->why, "%s: %s", f->path, what);
		return NJ_MALFORMED;
	}
	why_set(f->why, "%s:1: %s", f->path, what);
	why_mend(f->why,
	    "it must be as 'mosquitto_ctrl dynsec init FILE ADMIN' makes it");
	return NJ_MALFORMED;
}

static enum nj_err
take_section(struct reading *f, const json_t *root, const char *section,
    enum nj_err (*take)(const struct reading *f, const json_t *o))
{
	const json_t *v = json_member(root, section);
	char what[80];
	enum nj_err e = NJ_OK;

	if (v && !json_is_array(v)) {
		snprintf(what, sizeof what, "\"%s\" is not a list", section);
		return malformed(f, what);
	}
	f->section = section;
	for (f->at = 0; f->at < json_array_size(v) && !e; f->at++)
		if ((e = take(f, json_array_get(v, f->at))))
			break;
	return e;
}

static enum nj_err
take_defaults(const struct reading *f, const json_t *root)
{
	static const char *const names[ROLES_ACTIONS] = { "publishClientSend",
		"publishClientReceive", "subscribe", "unsubscribe" };
	const json_t *o = json_member(root, "defaultACLAccess");

	if (o && !json_is_object(o))
		return malformed(f, "\"defaultACLAccess\" is not an object");
	for (int i = 0; i < ROLES_ACTIONS; i++) {
		const json_t *v = json_member(o, names[i]);

		if (v && !json_is_boolean(v))
			return malformed(f,
			    "a member of \"defaultACLAccess\" is not true or "
			    "false");
		f->r->by_default[i] = json_is_true(v);
	}
	return NJ_OK;
}

static enum nj_err
take_anonymous(const struct reading *f, const json_t *root)
{
	const json_t *v = json_member(root, "anonymousGroup");
	const char *name = json_string_value(v);

	if (v && !name)
		return malformed(f, "\"anonymousGroup\" is not a name");
	if (name && *name &&
	    !(f->r->anonymous = roles_group(f->r, slice_str(name))))
		return malformed(f,
		    "\"anonymousGroup\" is the name of no group that is there");
	return NJ_OK;
}

/* What most users' passwords cost: an unknown one shall take as long. */
static void
find_common(struct roles *r)
{
	struct cow_at at = { 0 };
	const struct user *u;
	struct password_hash h;
	size_t fault, votes = 0;

	while ((u = cowmap_next(&r->users, &at))) {
		if (!u->password ||
		    password_parse(slice_str(u->password), &h, &fault, NULL))
			continue;
		if (votes == 0)
			r->common = h.cost;
		if (memcmp(&r->common, &h.cost, sizeof h.cost) == 0)
			votes++;
		else
			votes--;
	}
}

/* What is of no one in particular. */
static enum nj_err
take_rest(const struct reading *f, const json_t *root)
{
	static const char *const known[] = { "defaultACLAccess", "clients",
		"groups", "roles", "anonymousGroup", "changeIndex", NULL };
	const json_t *index = json_member(root, "changeIndex");
	enum nj_err e;

	if (json_is_integer(index) && json_integer_value(index) > 0)
		f->r->changes = (uint64_t)json_integer_value(index);
	if ((e = take_defaults(f, root)) || (e = take_anonymous(f, root)))
		return e;
	find_common(f->r);
	if (json_others(root, known, &f->r->extra) || roles_seal(f->r))
		return no_memory(f);
	return NJ_OK;
}

static enum nj_err
take_all(struct reading *f, const json_t *root)
{
	enum nj_err e;

	if (!json_is_object(root))
		return malformed(f, "it is not a JSON object");
	if ((e = take_section(f, root, "roles", take_role)) ||
	    (e = take_section(f, root, "clients", take_user)) ||
	    (e = take_section(f, root, "groups", take_group)))
		return e;
	return take_rest(f, root);
}

enum nj_err
roles_parse(struct slice text, const char *path, struct roles **out,
    size_t *loose, struct nj_why *why)
{
	struct reading f = {
		.text = text, .path = path, .why = why, .loose = loose
	};
	json_error_t fault;
	json_t *root;
	enum nj_err e;

	*loose = 0;
	if (text.n == 0)
		return malformed(&f, "the file is empty");
	root = json_read(text, JSON_REJECT_DUPLICATES, &fault);
	if (!root) {
		char esc[TEXT_ESC];

		why_set(why, "%s:%d: column %d: it is no JSON: %s", path,
		    fault.line, fault.column,
		    text_esc(esc, sizeof esc, slice_str(fault.text)));
		why_mend(why,
		    "correct the line; nothing of the file is used "
		    "until then");
		return NJ_MALFORMED;
	}
	if ((e = roles_new(&f.r)) == NJ_OK && (e = take_all(&f, root)) == NJ_OK)
		*out = f.r;
	else
		roles_unref(f.r);
	json_decref(root);
	return e;
}

/* Rows. */

struct roles_reader {
	struct reading f;
	size_t loose;
	bool rest; /* it was there, and is the last */
	char *from;
};

enum nj_err
roles_reader_new(const char *from, struct roles_reader **out)
{
	struct roles_reader *x = calloc(1, sizeof *x);
	enum nj_err e = NJ_NOMEM;

	if (!x || !(x->from = strdup(from)) || (e = roles_new(&x->f.r))) {
		roles_reader_free(x);
		return e;
	}
	x->f.path = x->from;
	x->f.loose = &x->loose;
	x->f.rows = true;
	*out = x;
	return NJ_OK;
}

void
roles_reader_free(struct roles_reader *x)
{
	if (!x)
		return;
	roles_unref(x->f.r);
	free(x->from);
	free(x);
}

enum nj_err
roles_reader_take(struct roles_reader *x, enum roles_row kind,
    struct slice text, struct nj_why *why)
{
	struct reading *f = &x->f;
	json_t *o = json_read(text, JSON_REJECT_DUPLICATES, NULL);
	enum nj_err e;

	f->why = why;
	if (!o || x->rest) {
		json_decref(o);
		return malformed(f,
		    "a row of its users, groups and roles is "
		    "not what was written");
	}
	switch (kind) {
	case ROLES_ROW_ROLE:
		f->section = "roles";
		e = take_role(f, o);
		break;
	case ROLES_ROW_GROUP:
		f->section = "groups";
		e = take_group(f, o);
		break;
	case ROLES_ROW_USER:
		f->section = "clients";
		e = take_user(f, o);
		break;
	default:
		x->rest = true;
		e = take_rest(f, o);
		break;
	}
	json_decref(o);
	return e;
}

enum nj_err
roles_reader_end(struct roles_reader *x, struct roles **out)
{
	if (!x->rest)
		return NJ_MALFORMED;
	*out = roles_ref(x->f.r);
	return NJ_OK;
}
