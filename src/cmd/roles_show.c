/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/roles_show.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cmd/ask.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const char *const defaults[] = { "publishClientSend",
	"publishClientReceive", "subscribe", "unsubscribe" };

bool
roles_is_default(const char *kind)
{
	for (size_t i = 0; i < COUNT(defaults); i++)
		if (strcmp(kind, defaults[i]) == 0)
			return true;
	return false;
}

static void
show_text(const json_t *o, const char *member, const char *label)
{
	char esc[TEXT_ESC];

	if (json_is_string(json_object_get(o, member)))
		printf(
		    "%-13s %s\n", label, ask_text(o, member, esc, sizeof esc));
}

/* Names in the order of asking, with the priority of those that have one. */
static void
show_names(
    const json_t *o, const char *list, const char *member, const char *label)
{
	const json_t *v = json_object_get(o, list);
	char esc[TEXT_ESC];

	if (!json_is_array(v))
		return;
	printf("%-13s %s", label, json_array_size(v) ? "" : "none");
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *one = json_array_get(v, i);

		printf("%s%s", i ? ", " : "",
		    ask_text(one, member, esc, sizeof esc));
		if (json_is_integer(json_object_get(one, "priority")))
			printf(" (priority %lld)", ask_number(one, "priority"));
	}
	printf("\n");
}

static void
show_user(const json_t *o)
{
	show_text(o, "username", "user:");
	show_text(o, "textname", "called:");
	show_text(o, "textdescription", "about:");
	printf("%-13s %s\n", "may log in:",
	    json_is_true(json_object_get(o, "disabled")) ? "no, it is disabled"
							 : "yes");
	if (json_object_get(o, "clientid"))
		show_text(o, "clientid", "client id:");
	else
		printf("%-13s %s\n", "client id:", "any");
	show_names(o, "roles", "rolename", "roles:");
	show_names(o, "groups", "groupname", "groups:");
	show_names(o, "connections", "address", "connected:");
}

static void
show_group(const json_t *o)
{
	show_text(o, "groupname", "group:");
	show_text(o, "textname", "called:");
	show_text(o, "textdescription", "about:");
	show_names(o, "roles", "rolename", "roles:");
	show_names(o, "clients", "username", "members:");
}

/* "    allow subscribePattern      a/#  (priority 3)" */
static void
show_rules(const json_t *v)
{
	char kind[TEXT_ESC], topic[TEXT_ESC];

	printf("%-13s %s\n", "rules:",
	    json_array_size(v) ? "in the order of asking, for each kind"
			       : "none");
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *u = json_array_get(v, i);

		printf("    %-5s %-20s %s",
		    json_is_true(json_object_get(u, "allow")) ? "allow"
							      : "deny",
		    ask_text(u, "acltype", kind, sizeof kind),
		    ask_text(u, "topic", topic, sizeof topic));
		if (ask_number(u, "priority"))
			printf("  (priority %lld)", ask_number(u, "priority"));
		printf("\n");
	}
}

static void
show_role(const json_t *o)
{
	show_text(o, "rolename", "role:");
	show_text(o, "textname", "called:");
	show_text(o, "textdescription", "about:");
	if (json_is_false(json_object_get(o, "allowwildcardsubs")))
		printf("%-13s %s\n",
		    "wildcards:", "not in subscriptions that it allows");
	show_rules(json_object_get(o, "acls"));
}

static void
show_defaults(const json_t *v)
{
	char esc[TEXT_ESC];

	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *u = json_array_get(v, i);

		printf("%-5s %s\n",
		    json_is_true(json_object_get(u, "allow")) ? "allow"
							      : "deny",
		    ask_text(u, "acltype", esc, sizeof esc));
	}
}

/* Names, or with --verbose one after another. */
static void
show_list(const json_t *v, void (*show)(const json_t *))
{
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *x = json_array_get(v, i);
		char esc[TEXT_ESC];

		if (json_is_string(x)) {
			printf("%s\n",
			    text_esc(esc, sizeof esc,
				slice_str(json_string_value(x))));
			continue;
		}
		if (i > 0)
			printf("\n");
		show(x);
	}
}

static void
show_counts(const json_t *o)
{
	printf("%lld users, %lld groups and %lld roles, changed %lld times.\n",
	    ask_number(o, "clientCount"), ask_number(o, "groupCount"),
	    ask_number(o, "roleCount"), ask_number(o, "changeIndex"));
}

static void
show_anonymous(const json_t *o)
{
	char esc[TEXT_ESC];
	const char *name = ask_text(o, "groupname", esc, sizeof esc);

	printf("%s\n", *name ? name : "There is none.");
}

void
roles_show(const json_t *data)
{
	static const struct {
		const char *one, *many;
		void (*show)(const json_t *);
	} kinds[] = {
		{ "client", "clients", show_user },
		{ "group", "groups", show_group },
		{ "role", "roles", show_role },
	};

	if (json_object_get(data, "changeIndex"))
		show_counts(data);
	if (json_object_get(data, "acls"))
		show_defaults(json_object_get(data, "acls"));
	for (size_t i = 0; i < COUNT(kinds); i++) {
		const json_t *one = json_object_get(data, kinds[i].one);

		/* getAnonymousGroup tells a name only */
		if (one && json_object_size(one) < 2 && i == 1)
			show_anonymous(one);
		else if (one)
			kinds[i].show(one);
		show_list(json_object_get(data, kinds[i].many), kinds[i].show);
	}
}
