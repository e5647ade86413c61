/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "conf/parse.h"

static bool
same_string(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* The row's value in two structs of its scope. */
static bool
same_value(const struct conf_opt *o, const void *a, const void *b)
{
	const char *x = (const char *)a + o->off;
	const char *y = (const char *)b + o->off;

	switch (o->type) {
	case CONF_T_BOOL:
		return *(const bool *)x == *(const bool *)y;
	case CONF_T_TRI:
	case CONF_T_ENUM:
		return *(const int *)x == *(const int *)y;
	case CONF_T_U32:
	case CONF_T_LIMIT:
	case CONF_T_SET:
		return memcmp(x, y, sizeof(uint32_t)) == 0;
	case CONF_T_SIZE:
	case CONF_T_DURATION:
		return *(const uint64_t *)x == *(const uint64_t *)y;
	case CONF_T_STRING:
	case CONF_T_PATH:
		return same_string(*(char *const *)x, *(char *const *)y);
	case CONF_T_FORM:
		break;
	}
	return true; /* compared by hand below */
}

static bool
needs_restart(const struct conf_opt *o)
{
	return !(o->flags & CONF_RELOAD);
}

static void
diff_scope(enum conf_scope scope, const void *a, const void *b,
    const struct conf_listener *l, conf_diff_fn *fn, void *arg)
{
	for (size_t i = 0; i < conf_table_n; i++) {
		const struct conf_opt *o = &conf_table[i];

		if (o->same_as || o->scope != scope || o->off == CONF_NOWHERE ||
		    same_value(o, a, b))
			continue;
		fn(arg, o, l, needs_restart(o));
	}
}

static bool
same_place(const struct conf_listener *a, const struct conf_listener *b)
{
	return a->port == b->port && same_string(a->host, b->host) &&
	    same_string(a->unix_path, b->unix_path) &&
	    same_string(a->bind_interface, b->bind_interface) &&
	    a->socket_domain == b->socket_domain;
}

static const struct conf_listener *
find_place(const struct conf *c, const struct conf_listener *l)
{
	for (uint32_t i = 0; i < c->nlisteners; i++)
		if (same_place(&c->listeners[i], l))
			return &c->listeners[i];
	return NULL;
}

/* Security rows count where they come into force: a listener can also get
 * another password file because per_listener_settings was changed. */
static void
diff_listener(const struct conf_listener *a, const struct conf_listener *b,
    bool per_listener, conf_diff_fn *fn, void *arg)
{
	diff_scope(CONF_LISTENER, a, b, b, fn, arg);
	if (per_listener)
		diff_scope(CONF_SECURITY, &a->own, &b->own, b, fn, arg);
}

void
conf_diff(
    const struct conf *old, const struct conf *new, conf_diff_fn *fn, void *arg)
{
	const struct conf_opt *listener = conf_opt_find(LIT("listener"));

	diff_scope(CONF_GLOBAL, old, new, NULL, fn, arg);
	diff_scope(
	    CONF_SECURITY, &old->security, &new->security, NULL, fn, arg);
	if (old->log_dests != new->log_dests ||
	    !same_string(old->log_file, new->log_file))
		fn(arg, conf_opt_find(LIT("log_dest")), NULL, false);
	for (uint32_t i = 0; i < new->nlisteners; i++) {
		const struct conf_listener *b = &new->listeners[i];
		const struct conf_listener *a = find_place(old, b);

		if (a)
			diff_listener(
			    a, b, new->per_listener_settings, fn, arg);
		else
			fn(arg, listener, b, true);
	}
	for (uint32_t i = 0; i < old->nlisteners; i++)
		if (!find_place(new, &old->listeners[i]))
			fn(arg, listener, &old->listeners[i], true);
}
