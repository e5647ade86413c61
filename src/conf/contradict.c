/* SPDX-License-Identifier: Apache-2.0
 *
 * What contradicts itself on one listener, and what lets in more than it looks.
 */
#include <string.h>
#include <strings.h>

#include "base/cidr.h"
#include "base/text.h"
#include "conf/parse.h"

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
	if (o == conf_row("use_subject_as_username"))
		return l->proxy_protocol; /* told by check_proxy */
	return l->proxy_protocol == 2 &&
	    (o == conf_row("require_certificate") ||
		o == conf_row("certificate_rule") ||
		(o == conf_row("peer_check") &&
		    l->peer_check == CONF_PEER_CN_IP) ||
		o == conf_row("use_identity_as_username"));
}

static void
check_tls_plain(struct parse *p, const struct conf_listener *l)
{
	const char *missing = l->certfile ? "keyfile"
	    : l->keyfile		  ? "certfile"
					  : NULL;

	if (missing) {
		parse_fault_at(p,
		    conf_given(l, l->certfile ? "certfile" : "keyfile"),
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
	struct conf_at at = conf_given(l, "certificate_or_password");

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
		parse_fault_at(p, conf_given(l, "certificate_rule"),
		    "keep one of them; 'use_identity_as_username true' is "
		    "'certificate_rule ca any cn'",
		    "certificate_rule and %s both say where the user name is",
		    l->use_identity_as_username ? "use_identity_as_username"
						: "use_subject_as_username");
	if (l->peer_check != CONF_PEER_ANY && !l->require_certificate)
		parse_fault_at(p, conf_given(l, "peer_check"),
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
		parse_fault_at(p, conf_given(l, "psk_hint"),
		    "add 'psk_file PATH' with lines identity:hexkey",
		    "psk_hint without psk_file: no client would have a key");
	if (l->require_certificate)
		parse_fault_at(p, conf_given(l, "require_certificate"),
		    "delete one of the two",
		    "require_certificate with psk_hint: who has a shared key "
		    "has no certificate");
	if (l->use_subject_as_username)
		parse_fault_at(p, conf_given(l, "use_subject_as_username"),
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
		parse_fault_at(p, conf_given(l, "require_certificate"),
		    "add 'cafile PATH' with the CA of the clients",
		    "require_certificate without cafile or capath: no client "
		    "certificate could be checked");
	if (l->crlfile && !cas)
		parse_fault_at(p, conf_given(l, "crlfile"),
		    "add 'cafile PATH' with the CA of the clients",
		    "crlfile without cafile or capath: no client certificate "
		    "could be checked");
	if (!l->require_certificate && l->cert_names && !cas && !l->psk_hint)
		parse_fault_at(p,
		    conf_given(l,
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
		parse_warn_at(p, conf_given(l, "use_subject_as_username"),
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
		if (conf_given(l, v[i]).line)
			parse_fault_at(p, conf_given(l, v[i]),
			    "delete this line",
			    l->unix_path
				? "%s is about networks, and this listener is "
				  "a Unix socket"
				: "%s is about Unix sockets, and this "
				  "listener has a port",
			    v[i]);
	if (l->unix_socket_mode && l->socket_mode == 0)
		parse_fault_at(p, conf_given(l, "unix_socket_mode"),
		    "write octal digits, such as 0660 or 0666",
		    "unix_socket_mode is not from 0001 to 0777");
	else if (l->unix_path && (l->socket_mode & 0222) == 0)
		parse_warn_at(p, conf_given(l, "unix_socket_mode"),
		    "add the right to write: 0660",
		    "nobody but root may connect with this mode");
}

bool
conf_is_local(const struct conf_listener *l)
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
		parse_fault_at(p, conf_given(l, "proxy_protocol_from"),
		    "write addresses or networks: 10.0.0.7 192.168.1.0/24",
		    "'%s' is no address and no network (or has bits behind "
		    "its prefix)",
		    text_esc(esc, sizeof esc, bad));
	if (l->proxy_protocol == 0 && l->proxy_from)
		parse_fault_at(p, conf_given(l, "proxy_protocol_from"),
		    "add 'enable_proxy_protocol 2', or delete this line",
		    "proxy_protocol_from without enable_proxy_protocol: this "
		    "listener expects no PROXY header");
	if (l->proxy_protocol && l->use_subject_as_username && !l->tls)
		parse_fault_at(p, conf_given(l, "use_subject_as_username"),
		    "use use_identity_as_username, or let TLS end here, with "
		    "certfile and keyfile",
		    "use_subject_as_username cannot be served: a PROXY header "
		    "tells the name in a certificate, not its subject");
	if (l->proxy_protocol != 2 && l->proxy_require_tls)
		parse_fault_at(p,
		    conf_given(l, "proxy_protocol_v2_require_tls"),
		    "add 'enable_proxy_protocol 2', or delete this line",
		    "proxy_protocol_v2_require_tls without "
		    "'enable_proxy_protocol 2': nobody would tell of TLS");
	else if (l->proxy_require_tls && l->tls)
		parse_warn_at(p, conf_given(l, "proxy_protocol_v2_require_tls"),
		    "delete this line, or let the proxy end TLS and delete "
		    "certfile and keyfile",
		    "proxy_protocol_v2_require_tls is without effect: TLS "
		    "ends at this listener, and everybody needs it");
	if (l->proxy_protocol && !l->proxy_from && !conf_is_local(l))
		parse_warn_at(p, conf_given(l, "enable_proxy_protocol"),
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
		if (conf_broken(&v[k]) || !same_address(&v[k], &v[i]))
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
			parse_warn_at(p, conf_given(l, "websockets_origin"),
			    odd, "no browser sends the origin '%s'",
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
		parse_warn_at(p, conf_given(l, "websockets_origin"),
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
		parse_fault_at(p, conf_given(l, "mount_point"),
		    "write the beginning of a topic, such as 'site-1/'",
		    "mount_point begins as shared subscriptions do");
	else if (strpbrk(m, "+#"))
		parse_fault_at(p, conf_given(l, "mount_point"),
		    "write the beginning of a topic, such as 'site-1/'",
		    "mount_point has a wildcard in it");
	else if (m[strlen(m) - 1] != '/')
		parse_warn_at(p, conf_given(l, "mount_point"),
		    "end it with '/', unless that is what you want",
		    "topics get the prefix as it stands: 'a' becomes '%sa', "
		    "and filters that begin with a wildcard cannot be served",
		    text_esc(esc, sizeof esc, slice_str(m)));
}

/* Certificates for devices over MQTT. */
static void
check_enroll(struct parse *p, const struct conf_listener *l)
{
	struct conf_at at = conf_given(l, "enroll");

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

void
check_listener(struct parse *p, uint32_t i)
{
	const struct conf_listener *l = &p->c->listeners[i];

	if (conf_broken(l))
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
		parse_fault_at(p, conf_given(l, "response_information"),
		    "write the beginning of a topic, such as 'response'",
		    "response_information has a wildcard in it");
	check_mount(p, l);
	check_enroll(p, l);
	check_pages(p, l);
}
