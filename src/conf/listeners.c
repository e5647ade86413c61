/* SPDX-License-Identifier: Apache-2.0
 *
 * Making, copying and freeing what the rows of the table point into; what the
 * listeners of one thing have of another.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "conf/parse.h"

static bool
holds_string(const struct conf_opt *o, enum conf_scope scope)
{
	return !o->same_as && o->scope == scope && o->off != CONF_NOWHERE &&
	    (o->type == CONF_T_STRING || o->type == CONF_T_PATH);
}

static void
free_strings(enum conf_scope scope, void *base)
{
	for (size_t i = 0; i < conf_table_n; i++) {
		char **field;

		if (!holds_string(&conf_table[i], scope))
			continue;
		field = (char **)((char *)base + conf_table[i].off);
		free(*field);
		*field = NULL;
	}
}

/* Turns borrowed strings into own ones; on failure the rest is NULL, so that
 * free_strings is right in both cases. */
static enum nj_err
own_strings(enum conf_scope scope, void *base)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; i < conf_table_n; i++) {
		char **field;

		if (!holds_string(&conf_table[i], scope))
			continue;
		field = (char **)((char *)base + conf_table[i].off);
		if (*field && (e || !(*field = strdup(*field)))) {
			*field = NULL;
			e = NJ_NOMEM;
		}
	}
	return e;
}

/* Defaults are read like lines, so that they cannot mean something else. */
static enum nj_err
set_defaults(enum conf_scope scope, void *base)
{
	struct conf_report report = { 0 };
	struct parse p = { .report = &report, .file_name = "defaults" };

	for (size_t i = 0; i < conf_table_n && !p.failed; i++) {
		const struct conf_opt *o = &conf_table[i];

		if (o->same_as || o->scope != scope || o->off == CONF_NOWHERE ||
		    !o->def || o->type == CONF_T_FORM)
			continue;
		(void)value_read(&p, o,
		    (struct value){ slice_str(o->def), 1, 1 },
		    (char *)base + o->off, false);
	}
	assert(report.faults == 0);
	conf_report_free(&report);
	return p.failed;
}

static enum nj_err
security_init(struct conf_security *s)
{
	s->allow_anonymous = -1;
	return set_defaults(CONF_SECURITY, s);
}

enum nj_err
conf_defaults(struct conf *c)
{
	enum nj_err e;

	*c = (struct conf){ .log_facility = -1,
		.log_types = LOG_T_DEFAULT,
		.log_dests = LOG_D_STDERR };
	if ((e = set_defaults(CONF_GLOBAL, c)) ||
	    (e = security_init(&c->security)))
		return e;
	return listener_init(&c->base);
}

enum nj_err
listener_init(struct conf_listener *l)
{
	enum nj_err e;

	*l = (struct conf_listener){ .own_allow_anonymous = -1 };
	if ((e = set_defaults(CONF_LISTENER, l)))
		return e;
	return security_init(&l->own);
}

void
listener_fini(struct conf_listener *l)
{
	free_strings(CONF_LISTENER, l);
	free_strings(CONF_SECURITY, &l->own);
	free(l->host);
	free(l->unix_path);
	l->host = l->unix_path = NULL;
}

enum nj_err
listener_copy(const struct conf_listener *from, struct conf_listener *to)
{
	enum nj_err e, e2;

	*to = *from;
	to->host = to->unix_path = NULL;
	to->auto_id_prefix = to->password_file = to->acl_file = NULL;
	to->dynamic_security_file = to->dynamic_security_password_file = NULL;
	e = own_strings(CONF_LISTENER, to);
	e2 = own_strings(CONF_SECURITY, &to->own);
	if (!e && !e2 && from->host && !(to->host = strdup(from->host)))
		e = NJ_NOMEM;
	if (e || e2) {
		listener_fini(to);
		return NJ_NOMEM;
	}
	return NJ_OK;
}

struct conf_listener *
listener_add(struct parse *p, struct conf_at where)
{
	struct conf *c = p->c;
	struct conf_listener *v;

	if (c->nlisteners >= CONF_LISTENERS_MAX) {
		parse_fault_at(p, where, NULL, "more than %d listeners",
		    CONF_LISTENERS_MAX);
		return NULL;
	}
	v = reallocarray(c->listeners, c->nlisteners + 1, sizeof *v);
	if (!v) {
		p->failed = NJ_NOMEM;
		return NULL;
	}
	c->listeners = v;
	v += c->nlisteners;
	if ((p->failed = listener_init(v))) {
		listener_fini(v);
		return NULL;
	}
	c->nlisteners++;
	v->where = where;
	return v;
}

enum nj_err
conf_list_add(struct conf_list *l, const char *s)
{
	char **v, *copy;

	if (l->n >= CONF_LIST_MAX)
		return NJ_FULL;
	if (!(copy = strdup(s)))
		return NJ_NOMEM;
	v = reallocarray(l->v, l->n + 1, sizeof *v);
	if (!v) {
		free(copy);
		return NJ_NOMEM;
	}
	l->v = v;
	l->v[l->n++] = copy;
	return NJ_OK;
}

void
conf_list_free(struct conf_list *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct conf_list){ 0 };
}

void
conf_free(struct conf *c)
{
	for (uint32_t i = 0; i < c->nlisteners; i++)
		listener_fini(&c->listeners[i]);
	free(c->listeners);
	listener_fini(&c->base);
	free_strings(CONF_GLOBAL, c);
	free_strings(CONF_SECURITY, &c->security);
	free(c->log_file);
	conf_list_free(&c->files);
	plugin_free_all(c);
	*c = (struct conf){ 0 };
}

const char *
conf_first_password(const struct conf *c, const char *path)
{
	for (uint32_t i = 0; i < c->nlisteners; i++) {
		const struct conf_listener *l = &c->listeners[i];

		if (l->dynamic_security_file &&
		    l->dynamic_security_password_file &&
		    strcmp(l->dynamic_security_file, path) == 0)
			return l->dynamic_security_password_file;
	}
	return NULL;
}
