/* SPDX-License-Identifier: Apache-2.0
 *
 * What the lines together mean: which ports are opened and who is let in where.
 * What contradicts itself on a listener is contradict.c's.  The rule for doubt:
 * never open a port, or let somebody in, that the file does not clearly ask for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/parse.h"

/* Options above any listener line, with no port of their own. */
static void
check_orphans(struct parse *p)
{
	const struct conf_listener *base = &p->c->base;
	bool local = p->c->nlisteners == 0;

	for (size_t i = 0; i < conf_table_n; i++) {
		const struct conf_opt *o = &conf_table[i];
		bool hard = o->flags & (CONF_TLS | CONF_RESTRICTS);
		struct conf_at at =
		    o->scope == CONF_SECURITY ? base->own.at[i] : base->at[i];

		if (at.line == 0 || (o->scope == CONF_SECURITY && local))
			continue;
		if (o->flags & CONF_TLS)
			parse_fault_at(p, at,
			    "put it below a line 'listener 8883'",
			    "%s has no listener to apply to: no port is "
			    "opened for it",
			    o->name);
		else if (!local && (hard || o->scope == CONF_SECURITY))
			parse_fault_at(p, at,
			    "put it below the listener line that it is about",
			    "%s stands above the first listener and so "
			    "would apply to none",
			    o->name);
		else if (!local)
			parse_warn_at(p, at,
			    "put it below the listener line that it is about",
			    "%s stands above the first listener and so "
			    "applies to none",
			    o->name);
	}
}

/* The default listener becomes the first of all. */
static void
open_default(struct parse *p)
{
	struct conf *c = p->c;
	struct conf_listener *l = listener_add(p, c->base.where), moved;

	if (!l)
		return;
	listener_fini(l);
	if ((p->failed = listener_copy(&c->base, l))) {
		c->nlisteners--;
		return;
	}
	/* port was given, but not readable: told already */
	if (l->port == 0 && conf_given(l, "port").line == 0)
		l->port = 1883;
	moved = *l;
	memmove(c->listeners + 1, c->listeners,
	    (c->nlisteners - 1) * sizeof *c->listeners);
	c->listeners[0] = moved;
}

static void
open_local(struct parse *p, uint16_t port, const char *host)
{
	struct conf *c = p->c;
	struct conf_listener *l = listener_add(p, (struct conf_at){ 0 });

	if (!l)
		return;
	listener_fini(l);
	if ((p->failed = listener_copy(&c->base, l))) {
		c->nlisteners--;
		return;
	}
	l->port = port;
	(void)value_string(p, &l->host, slice_str(host));
}

static void
open_locals(struct parse *p, const struct conf_args *args)
{
	uint32_t n = args && args->nports > 0 ? args->nports : 1;
	int domain = p->c->base.socket_domain;

	p->c->local_only = true;
	for (uint32_t i = 0; i < n && !p->failed; i++) {
		uint16_t port =
		    args && args->nports > 0 ? args->ports[i] : 1883;

		if (domain != CONF_IPV6)
			open_local(p, port, "127.0.0.1");
		if (domain != CONF_IPV4 && !p->failed)
			open_local(p, port, "::1");
	}
}

static void
open_ports(struct parse *p, const struct conf_args *args)
{
	struct conf *c = p->c;

	if (conf_given(&c->base, "port").line ||
	    conf_given(&c->base, "bind_address").line)
		open_default(p);
	else
		check_orphans(p);
	if (p->failed)
		return;
	if (c->nlisteners == 0)
		open_locals(p, args);
	else if (args && args->nports > 0)
		parse_warn_at(p, (struct conf_at){ 0 },
		    "write 'listener PORT' into the file",
		    "-p is ignored, because the configuration opens "
		    "listeners");
}

/* Octal digits; 0: it is none. */
static unsigned
mode_of(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 8);

	return text[0] < '0' || text[0] > '7' || *end || n > 0777 ? 0
								  : (unsigned)n;
}

/* A file of users and roles, and what stands beside that. */
static void
resolve_roles(const struct conf *c, const struct conf_security *s,
    struct conf_listener *l)
{
	if (l->plugin_dynamic_security_file) {
		l->dynamic_security_file = l->plugin_dynamic_security_file;
		l->dynamic_security_password_file =
		    l->plugin_dynamic_security_password_file;
		return;
	}
	if (!s->dynamic_security_file)
		s = &c->security; /* global_plugin */
	l->dynamic_security_file = s->dynamic_security_file;
	l->dynamic_security_password_file = s->dynamic_security_password_file;
}

/* What holds on this listener, whichever of the lines says so. */
static void
resolve(struct conf *c, struct conf_listener *l)
{
	const struct conf_security *s =
	    c->per_listener_settings ? &l->own : &c->security;

	l->tls = (l->certfile && l->keyfile) ||
	    (l->psk_hint && !l->certfile && !l->keyfile);
	l->socket_mode = l->unix_socket_mode ? mode_of(l->unix_socket_mode) : 0;
	l->cert_names = (l->tls || l->proxy_protocol == 2) &&
	    (l->use_identity_as_username || l->use_subject_as_username ||
		l->certificate_rule);
	l->password_file = s->password_file;
	l->acl_file = s->acl_file;
	l->psk_file = s->psk_file;
	l->tokens = s->jwt_key_file != NULL;
	if (l->plugin_password_file)
		l->password_file = l->plugin_password_file;
	if (l->plugin_acl_file)
		l->acl_file = l->plugin_acl_file;
	/* global_plugin */
	if (!l->password_file)
		l->password_file = c->security.password_file;
	if (!l->acl_file)
		l->acl_file = c->security.acl_file;
	resolve_roles(c, s, l);
	l->allow_zero_length_clientid = s->allow_zero_length_clientid;
	l->auto_id_prefix = l->own_auto_id_prefix ? l->own_auto_id_prefix
	    : s->auto_id_prefix			  ? s->auto_id_prefix
						  : "";
	if (l->own_allow_anonymous >= 0)
		l->allow_anonymous = l->own_allow_anonymous;
	else if (s->allow_anonymous >= 0)
		l->allow_anonymous = s->allow_anonymous;
	else
		l->allow_anonymous = c->local_only && !l->password_file &&
		    !l->acl_file && !l->dynamic_security_file && !s->psk_file &&
		    !s->jwt_key_file;
}

static void
from_environment(struct parse *p)
{
	const char *dir =
	    p->src->env(p->src->arg, "MOSQUITTO_PERSISTENCE_LOCATION");

	if (dir && *dir)
		(void)value_string(
		    p, &p->c->persistence_location, slice_str(dir));
}

/* The first folder of systemd's RuntimeDirectory, or where the state is. */
static void
find_admin_socket(struct parse *p)
{
	const char *run = p->src->env(p->src->arg, "RUNTIME_DIRECTORY");
	struct conf *c = p->c;
	int n;

	if (c->admin_socket) {
		if (strcmp(c->admin_socket, "none") == 0) {
			free(c->admin_socket);
			c->admin_socket = NULL;
		}
		return;
	}
	if (run && *run == '/')
		n = asprintf(&c->admin_socket, "%.*s/admin.sock",
		    (int)strcspn(run, ":"), run);
	else if (c->persistence_location && *c->persistence_location)
		n = asprintf(
		    &c->admin_socket, "%s/admin.sock", c->persistence_location);
	else
		return;
	if (n < 0) {
		c->admin_socket = NULL;
		p->failed = NJ_NOMEM;
	}
	c->admin_socket_usual = true;
}

static void
check_admin_mode(struct parse *p)
{
	const struct conf *c = p->c;

	if (c->admin_socket_mode && mode_of(c->admin_socket_mode) == 0)
		parse_fault_at(p, conf_at_of(c->at, "admin_socket_mode"),
		    "write octal digits, such as 0600 or 0660",
		    "admin_socket_mode is not from 0001 to 0777");
}

/* "keyfile_password_file NAME" is one of systemd's credentials. */
static void
find_credential(struct parse *p, struct conf_listener *l)
{
	const char *dir = p->src->env(p->src->arg, "CREDENTIALS_DIRECTORY");
	char *path = NULL;

	if (!l->keyfile_password_file ||
	    strchr(l->keyfile_password_file, '/') || !dir || !*dir)
		return;
	if (asprintf(&path, "%s/%s", dir, l->keyfile_password_file) < 0) {
		p->failed = NJ_NOMEM;
		return;
	}
	free(l->keyfile_password_file);
	l->keyfile_password_file = path;
}

static void
finish_globals(struct parse *p, const struct conf_args *args)
{
	struct conf *c = p->c;

	from_environment(p);
	find_admin_socket(p);
	check_admin_mode(p);
	if (c->max_inflight_messages == 0)
		c->max_inflight_messages = 65535;
	if (args && args->verbose)
		c->log_types = LOG_T_ALL;
	if (c->user && strcmp(c->user, "root") == 0)
		parse_warn_at(p, conf_at_of(c->at, "user"),
		    "delete this line: a user without rights is used then",
		    "a broker that runs as root puts the whole machine at "
		    "risk");
}

/* Of a file that is never made. */
static void
check_first_password(struct parse *p, const struct conf_security *s)
{
	if (s->dynamic_security_password_file && !s->dynamic_security_file)
		parse_fault_at(p,
		    conf_at_of(s->at, "dynamic_security_password_file"),
		    "add 'dynamic_security_file PATH', or delete this line",
		    "dynamic_security_password_file without "
		    "dynamic_security_file: it would make nobody");
}

/* Keys that nobody is asked for. */
static void
check_idle_psk(struct parse *p)
{
	const struct conf *c = p->c;

	if (!c->security.psk_file)
		return;
	for (uint32_t i = 0; i < c->nlisteners; i++)
		if (c->listeners[i].psk_hint)
			return;
	parse_warn_at(p, conf_at_of(c->security.at, "psk_file"),
	    "add 'psk_hint HINT' to a listener, or delete this line",
	    "psk_file without effect: no listener has psk_hint");
}

void
conf_finish(struct parse *p, const struct conf_args *args)
{
	finish_globals(p, args);
	if (p->failed)
		return;
	open_ports(p, args);
	check_first_password(p, &p->c->security);
	for (uint32_t i = 0; i < p->c->nlisteners && !p->failed; i++) {
		check_first_password(p, &p->c->listeners[i].own);
		plugin_resolve(p, &p->c->listeners[i]);
		resolve(p->c, &p->c->listeners[i]);
		find_credential(p, &p->c->listeners[i]);
		if (!p->failed && !p->c->local_only)
			check_listener(p, i);
	}
	if (p->failed)
		return;
	check_idle_psk(p);
	plugin_check_idle(p);
}
