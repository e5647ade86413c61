/* SPDX-License-Identifier: Apache-2.0
 *
 * What the lines together mean: which ports are opened, who is let in where,
 * and what contradicts itself.  The rule for doubt: never open a port, or let
 * somebody in, that the file does not clearly ask for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cidr.h"
#include "base/log.h"
#include "base/text.h"
#include "conf/parse.h"

static const struct conf_opt *
row(const char *name)
{
	return conf_opt_find(slice_str(name));
}

static struct conf_at
at_of(const struct conf_at *at, const char *name)
{
	return at[conf_opt_index(row(name))];
}

/* Where the option was given to this listener; line 0: it was not. */
static struct conf_at
given(const struct conf_listener *l, const char *name)
{
	return at_of(l->at, name);
}

/* A listener line that was refused: its faults are told already. */
static bool
broken(const struct conf_listener *l)
{
	return l->port == 0 && !l->unix_path;
}

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
	if (l->port == 0 && given(l, "port").line == 0)
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

	if (given(&c->base, "port").line ||
	    given(&c->base, "bind_address").line)
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

/* True when what was written asks for something; "false" and the like do
 * not. */
static bool
asks(const struct conf_listener *l, const struct conf_opt *o)
{
	if (o->off != CONF_NOWHERE && o->type == CONF_T_BOOL)
		return *(const bool *)((const char *)l + o->off);
	if (o->off != CONF_NOWHERE && o->type == CONF_T_ENUM)
		return *(const int *)((const char *)l + o->off) != 0;
	return o->off != CONF_NOWHERE;
}

/* What a PROXY header of version 2 says about TLS is enough for these. */
static bool
by_proxy(const struct conf_listener *l, const struct conf_opt *o)
{
	if (o == row("use_subject_as_username"))
		return l->proxy_protocol; /* told by check_proxy */
	return l->proxy_protocol == 2 &&
	    (o == row("require_certificate") || o == row("certificate_rule") ||
		(o == row("peer_check") && l->peer_check == CONF_PEER_CN_IP) ||
		o == row("use_identity_as_username"));
}

static void
check_tls_plain(struct parse *p, const struct conf_listener *l)
{
	const char *missing = l->certfile ? "keyfile"
	    : l->keyfile		  ? "certfile"
					  : NULL;

	if (missing) {
		parse_fault_at(p,
		    given(l, l->certfile ? "certfile" : "keyfile"),
		    "give both: certfile and keyfile; "
		    "'nightjar ca server' makes them",
		    "this listener has %s without %s",
		    l->certfile ? "certfile" : "keyfile", missing);
		return;
	}
	for (size_t i = 0; i < conf_table_n; i++) {
		const struct conf_opt *o = &conf_table[i];

		if (o->same_as || !(o->flags & CONF_TLS) ||
		    o->scope != CONF_LISTENER || l->at[i].line == 0 ||
		    !asks(l, o) || by_proxy(l, o))
			continue;
		parse_fault_at(p, l->at[i],
		    "add certfile and keyfile ('nightjar ca server' makes "
		    "them), or delete this line",
		    "%s is about TLS, but this listener has no certfile and "
		    "keyfile and would speak plain text",
		    o->name);
	}
}

static void
check_either(struct parse *p, const struct conf_listener *l)
{
	struct conf_at at = given(l, "certificate_or_password");

	if (l->require_certificate)
		parse_fault_at(p, at, "delete one of the two",
		    "certificate_or_password with require_certificate: no "
		    "client would get as far as its password");
	if (!l->password_file && !l->dynamic_security_file && !l->tokens)
		parse_fault_at(p, at,
		    "add 'password_file PATH' (nightjar passwd -c PATH USER)",
		    "certificate_or_password without password_file: there is "
		    "no password to log in with");
	if (!l->cert_names)
		parse_fault_at(p, at,
		    "add 'use_identity_as_username true', or delete this line",
		    "certificate_or_password without "
		    "use_identity_as_username: no certificate says who its "
		    "client is");
}

/* What is asked of the names in certificates. */
static void
check_cert_names(struct parse *p, const struct conf_listener *l)
{
	if (l->certificate_rule &&
	    (l->use_identity_as_username || l->use_subject_as_username))
		parse_fault_at(p, given(l, "certificate_rule"),
		    "keep one of them; 'use_identity_as_username true' is "
		    "'certificate_rule ca any cn'",
		    "certificate_rule and %s both say where the user name is",
		    l->use_identity_as_username ? "use_identity_as_username"
						: "use_subject_as_username");
	if (l->peer_check != CONF_PEER_ANY && !l->require_certificate)
		parse_fault_at(p, given(l, "peer_check"),
		    "add 'require_certificate true'",
		    "peer_check without require_certificate: there would be "
		    "clients whose address nothing can be checked with");
}

/* Keys instead of certificates. */
static void
check_psk(struct parse *p, const struct conf_listener *l)
{
	if (!l->psk_hint)
		return;
	if (!l->psk_file)
		parse_fault_at(p, given(l, "psk_hint"),
		    "add 'psk_file PATH' with lines identity:hexkey",
		    "psk_hint without psk_file: no client would have a key");
	if (l->require_certificate)
		parse_fault_at(p, given(l, "require_certificate"),
		    "delete one of the two",
		    "require_certificate with psk_hint: who has a shared key "
		    "has no certificate");
	if (l->use_subject_as_username)
		parse_fault_at(p, given(l, "use_subject_as_username"),
		    "use use_identity_as_username",
		    "use_subject_as_username with psk_hint: who has a shared "
		    "key has an identity, and no subject");
}

static void
check_tls(struct parse *p, const struct conf_listener *l)
{
	bool cas = l->cafile || l->capath;

	check_cert_names(p, l);
	check_psk(p, l);
	if (!l->tls) {
		check_tls_plain(p, l);
		return;
	}
	if (l->require_certificate && !cas)
		parse_fault_at(p, given(l, "require_certificate"),
		    "add 'cafile PATH' with the CA of the clients",
		    "require_certificate without cafile or capath: no client "
		    "certificate could be checked");
	if (l->crlfile && !cas)
		parse_fault_at(p, given(l, "crlfile"),
		    "add 'cafile PATH' with the CA of the clients",
		    "crlfile without cafile or capath: no client certificate "
		    "could be checked");
	if (!l->require_certificate && l->cert_names && !cas && !l->psk_hint)
		parse_fault_at(p,
		    given(l,
			l->certificate_rule ? "certificate_rule"
			    : l->use_identity_as_username
			    ? "use_identity_as_username"
			    : "use_subject_as_username"),
		    "add 'cafile PATH' and 'require_certificate true'",
		    "the user name is to come from client certificates, but "
		    "there is no cafile or capath to check them with");
	if (l->certificate_or_password)
		check_either(p, l);
	if (l->use_identity_as_username && l->use_subject_as_username)
		parse_warn_at(p, given(l, "use_subject_as_username"),
		    "delete one of the two",
		    "use_identity_as_username is given too, and counts");
}

static void
check_unix(struct parse *p, const struct conf_listener *l)
{
	const char *const of_paths[] = { "unix_socket_mode",
		"unix_socket_owner" };
	const char *const of_ports[] = { "bind_interface", "socket_domain" };
	const char *const *v = l->unix_path ? of_ports : of_paths;

	for (int i = 0; i < 2; i++)
		if (given(l, v[i]).line)
			parse_fault_at(p, given(l, v[i]), "delete this line",
			    l->unix_path
				? "%s is about networks, and this listener is "
				  "a Unix socket"
				: "%s is about Unix sockets, and this "
				  "listener has a port",
			    v[i]);
	if (l->unix_socket_mode && mode_of(l->unix_socket_mode) == 0)
		parse_fault_at(p, given(l, "unix_socket_mode"),
		    "write octal digits, such as 0660 or 0666",
		    "unix_socket_mode is not from 0001 to 0777");
	else if (l->unix_path && (l->socket_mode & 0222) == 0)
		parse_warn_at(p, given(l, "unix_socket_mode"),
		    "add the right to write: 0660",
		    "nobody but root may connect with this mode");
}

static bool
on_loopback(const struct conf_listener *l)
{
	return l->unix_path ||
	    (l->host &&
		(strncmp(l->host, "127.", 4) == 0 ||
		    strcmp(l->host, "::1") == 0 ||
		    strcmp(l->host, "localhost") == 0));
}

static void
check_proxy(struct parse *p, const struct conf_listener *l)
{
	struct slice bad =
	    l->proxy_from ? cidr_list_fault(l->proxy_from) : SLICE_NONE;
	char esc[TEXT_ESC];

	if (bad.n > 0)
		parse_fault_at(p, given(l, "proxy_protocol_from"),
		    "write addresses or networks: 10.0.0.7 192.168.1.0/24",
		    "'%s' is no address and no network (or has bits behind "
		    "its prefix)",
		    text_esc(esc, sizeof esc, bad));
	if (l->proxy_protocol == 0 && l->proxy_from)
		parse_fault_at(p, given(l, "proxy_protocol_from"),
		    "add 'enable_proxy_protocol 2', or delete this line",
		    "proxy_protocol_from without enable_proxy_protocol: this "
		    "listener expects no PROXY header");
	if (l->proxy_protocol && l->use_subject_as_username && !l->tls)
		parse_fault_at(p, given(l, "use_subject_as_username"),
		    "use use_identity_as_username, or let TLS end here, with "
		    "certfile and keyfile",
		    "use_subject_as_username cannot be served: a PROXY header "
		    "tells the name in a certificate, not its subject");
	if (l->proxy_protocol != 2 && l->proxy_require_tls)
		parse_fault_at(p, given(l, "proxy_protocol_v2_require_tls"),
		    "add 'enable_proxy_protocol 2', or delete this line",
		    "proxy_protocol_v2_require_tls without "
		    "'enable_proxy_protocol 2': nobody would tell of TLS");
	else if (l->proxy_require_tls && l->tls)
		parse_warn_at(p, given(l, "proxy_protocol_v2_require_tls"),
		    "delete this line, or let the proxy end TLS and delete "
		    "certfile and keyfile",
		    "proxy_protocol_v2_require_tls is without effect: TLS "
		    "ends at this listener, and everybody needs it");
	if (l->proxy_protocol && !l->proxy_from && !on_loopback(l))
		parse_warn_at(p, given(l, "enable_proxy_protocol"),
		    "add 'proxy_protocol_from ADDRESS' with the address of "
		    "the proxy, if it is on another machine",
		    "PROXY headers are believed from this machine only");
}

/* Configurations that were fine with an old Mosquitto let nobody in. */
static void
check_anyone(struct parse *p, const struct conf_listener *l)
{
	if (l->allow_anonymous || l->password_file || l->cert_names ||
	    l->dynamic_security_file || l->tokens || l->enroll)
		return;
	parse_warn_at(p, l->where,
	    l->require_certificate
		? "add 'use_identity_as_username true', so that a "
		  "certificate says who its client is"
		: "add 'password_file PATH' (nightjar passwd -c PATH USER), "
		  "or 'require_certificate true' with "
		  "'use_identity_as_username true', or 'allow_anonymous true'",
	    "nobody can log in on this listener: anonymous clients are not "
	    "allowed, and there is no password_file%s",
	    l->require_certificate ? " and no user name from certificates"
				   : "");
}

static bool
same_host(const char *a, const char *b)
{
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static bool
same_address(const struct conf_listener *a, const struct conf_listener *b)
{
	if (a->port == 0 || b->port == 0)
		return a->port == b->port && a->unix_path && b->unix_path &&
		    strcmp(a->unix_path, b->unix_path) == 0;
	return a->port == b->port && same_host(a->host, b->host) &&
	    same_host(a->bind_interface, b->bind_interface) &&
	    (a->socket_domain == b->socket_domain ||
		a->socket_domain == CONF_ANY || b->socket_domain == CONF_ANY);
}

static void
check_twins(struct parse *p, uint32_t i)
{
	const struct conf_listener *v = p->c->listeners;

	for (uint32_t k = 0; k < i; k++) {
		if (broken(&v[k]) || !same_address(&v[k], &v[i]))
			continue;
		parse_fault_at(p, v[i].where,
		    "delete one of the two, or give it another port",
		    "line %u opens the same address already", v[k].where.line);
		return;
	}
}

/* Origins are compared as they are written, and browsers write them in one
 * way. */
static const char *
odd_origin(const char *o, size_t n)
{
	size_t scheme = strncasecmp(o, "https://", 8) == 0 ? 8
	    : strncasecmp(o, "http://", 7) == 0		   ? 7
							   : 0;

	if (n == 4 && strncmp(o, "null", 4) == 0)
		return NULL;
	if (memchr(o, '*', n))
		return "'*' is no pattern here: list the origins, or delete "
		       "the line to let in all";
	if (scheme == 0 || n <= scheme)
		return "an origin begins with https:// or http://";
	if (memchr(o + scheme, '/', n - scheme))
		return "an origin ends with its host or port, without '/'";
	if ((scheme == 8 && strncmp(o + n - 4, ":443", 4) == 0) ||
	    (scheme == 7 && strncmp(o + n - 3, ":80", 3) == 0))
		return "browsers leave out the port that a scheme has by "
		       "itself";
	return NULL;
}

static void
check_origins(struct parse *p, const struct conf_listener *l)
{
	char esc[TEXT_ESC];
	const char *o = l->websockets_origin, *odd;

	for (size_t n; *o; o += n + (o[n] == '\n')) {
		n = strcspn(o, "\n");
		if ((odd = odd_origin(o, n)))
			parse_warn_at(p, given(l, "websockets_origin"), odd,
			    "no browser sends the origin '%s'",
			    text_esc(esc, sizeof esc, slice_of(o, n)));
	}
}

/* What web pages may do on this listener. */
static void
check_pages(struct parse *p, const struct conf_listener *l)
{
	bool ws = l->protocol == CONF_WEBSOCKETS ||
	    l->protocol == CONF_MQTT_WEBSOCKETS;

	if (l->websockets_origin && !ws)
		parse_warn_at(p, given(l, "websockets_origin"),
		    "add 'protocol websockets', or delete this line",
		    "websockets_origin is without effect: this listener does "
		    "not speak WebSocket");
	else if (l->websockets_origin)
		check_origins(p, l);
	else if (ws && l->tls && l->cert_names && !l->certificate_or_password)
		parse_warn_at(p, l->where,
		    "add 'websockets_origin https://THE-PAGES-HOST'",
		    "any web page that somebody with a client certificate "
		    "opens can connect here as its owner: browsers show the "
		    "certificate for every page");
}

static void
check_mount(struct parse *p, const struct conf_listener *l)
{
	const char *m = l->mount_point;
	char esc[TEXT_ESC];

	if (!m)
		return;
	if (strncmp(m, "$share/", 7) == 0)
		parse_fault_at(p, given(l, "mount_point"),
		    "write the beginning of a topic, such as 'site-1/'",
		    "mount_point begins as shared subscriptions do");
	else if (strpbrk(m, "+#"))
		parse_fault_at(p, given(l, "mount_point"),
		    "write the beginning of a topic, such as 'site-1/'",
		    "mount_point has a wildcard in it");
	else if (m[strlen(m) - 1] != '/')
		parse_warn_at(p, given(l, "mount_point"),
		    "end it with '/', unless that is what you want",
		    "topics get the prefix as it stands: 'a' becomes '%sa', "
		    "and filters that begin with a wildcard cannot be served",
		    text_esc(esc, sizeof esc, slice_str(m)));
}

/* Certificates for devices over MQTT. */
static void
check_enroll(struct parse *p, const struct conf_listener *l)
{
	struct conf_at at = given(l, "enroll");

	if (!l->enroll)
		return;
	if (l->protocol == CONF_EST)
		parse_fault_at(p, at, "delete one of the two",
		    "enroll is about MQTT, and 'protocol est' speaks none");
	if (l->mount_point)
		parse_fault_at(p, at, "use another listener for one of them",
		    "enroll with mount_point: the topics of enrolment would "
		    "not be found");
	if (l->tls && !l->certfile)
		parse_fault_at(p, at,
		    "add certfile and keyfile ('nightjar ca server' makes "
		    "them)",
		    "enroll on a listener with shared keys only: no device "
		    "could tell whom it gives its token");
	if (!l->cafile && !l->capath)
		parse_warn_at(p, at,
		    "add 'cafile DIR/pki/ca.crt', the one of Nightjar's CA",
		    "no certificate can be renewed here: there is no cafile");
	else if (l->crlfile)
		parse_warn_at(p, at, "delete the crlfile line, if it is ours",
		    "certificates that have ended cannot be renewed here: "
		    "with a crlfile, dates are strict");
}

static void
check_listener(struct parse *p, uint32_t i)
{
	const struct conf_listener *l = &p->c->listeners[i];

	if (broken(l))
		return;
	check_tls(p, l);
	check_unix(p, l);
	check_proxy(p, l);
	check_twins(p, i);
	if (l->port == 8883 && !l->tls && !l->certfile && !l->keyfile)
		parse_warn_at(p, l->where,
		    "add certfile and keyfile ('nightjar ca server' makes "
		    "them)",
		    "port 8883 is for TLS by custom, and this listener "
		    "speaks plain text");
	if (l->protocol != CONF_HTTP_API && l->protocol != CONF_EST)
		check_anyone(p, l);
	if (l->response_information && strpbrk(l->response_information, "+#"))
		parse_fault_at(p, given(l, "response_information"),
		    "write the beginning of a topic, such as 'response'",
		    "response_information has a wildcard in it");
	check_mount(p, l);
	check_enroll(p, l);
	check_pages(p, l);
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
		parse_fault_at(p, at_of(c->at, "admin_socket_mode"),
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
		parse_warn_at(p, at_of(c->at, "user"),
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
		    at_of(s->at, "dynamic_security_password_file"),
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
	parse_warn_at(p, at_of(c->security.at, "psk_file"),
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
