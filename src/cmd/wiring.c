/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/wiring.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "auth/acl.h"
#include "auth/cert_rules.h"
#include "auth/chain.h"
#include "auth/device_groups.h"
#include "auth/enroll_link.h"
#include "auth/password_file.h"
#include "auth/roles_link.h"
#include "base/clock.h"
#include "base/daemon.h"
#include "base/log.h"
#include "base/secret.h"
#include "cmd/lists.h"
#include "cmd/wiring_files.h"
#include "net/tls.h"
#include "net/tls_staple.h"
#include "pki/key.h"
#include "pki/signer.h"

#define BACKLOG 1024

/* "file:line: " of a listener, for errors. */
static void
prefix_place(
    const struct conf *c, const struct conf_listener *l, struct nj_why *why)
{
	if (l->where.line)
		why_prefix(
		    why, "%s:%u", conf_file_name(c, l->where), l->where.line);
}

/* "USER", "USER:GROUP", ":GROUP", or else the user who will serve. */
static enum nj_err
owner_of(const struct conf_listener *l, const char *user,
    struct listener_opts *o, struct nj_why *why)
{
	const char *text = l->unix_socket_owner ? l->unix_socket_owner : user;
	size_t n = text ? strcspn(text, ":") : 0;
	char *name;
	enum nj_err e = NJ_OK;

	if (!text || !l->unix_path)
		return NJ_OK;
	o->owned = true;
	o->uid = (uid_t)-1;
	o->gid = (gid_t)-1;
	if (!(name = strndup(text, n)))
		return NJ_NOMEM;
	if (n > 0)
		e = daemon_find_user(name, &o->uid, &o->gid, why);
	free(name);
	if (!e && text[n] && text[n + 1])
		e = daemon_find_group(text + n + 1, &o->gid, why);
	return e;
}

static enum nj_err
open_one(const struct conf_listener *l, const char *user, unsigned shards,
    struct listener *out, struct nj_why *why)
{
	struct listener_opts o = {
		.address = l->port ? l->host : l->unix_path,
		.port = l->port,
		.device = l->bind_interface,
		.family = l->socket_domain == CONF_IPV4 ? AF_INET
		    : l->socket_domain == CONF_IPV6	? AF_INET6
							: AF_UNSPEC,
		.backlog = BACKLOG,
		.mode = l->socket_mode,
	};
	enum nj_err e = owner_of(l, user, &o, why);

	return e ? e : listener_open(&o, shards, out, why);
}

enum nj_err
wiring_open(const struct conf *c, const char *user, unsigned shards,
    struct wiring *w, struct nj_why *why)
{
	enum nj_err e = NJ_NOMEM;

	*w = (struct wiring){ .shards = shards };
	if (tls_staples_new(&clock_system, &w->staples)) {
		why_set(why, "out of memory");
		return NJ_NOMEM;
	}
	w->listeners = calloc(c->nlisteners, sizeof *w->listeners);
	w->passphrases = calloc(c->nlisteners, sizeof(*w->passphrases));
	if (!w->listeners || !w->passphrases) {
		why_set(why, "out of memory");
		goto fail;
	}
	for (uint32_t i = 0; i < c->nlisteners; i++) {
		const struct conf_listener *l = &c->listeners[i];

		e = open_one(l, user, shards, &w->listeners[i], why);
		w->n = i + 1;
		if (e && c->local_only && l->host && strchr(l->host, ':')) {
			/* a machine without IPv6 still has a loopback */
			nj_log(LOG_T_INFORMATION, "%s", why->what);
			continue;
		}
		if (e) {
			prefix_place(c, l, why);
			goto fail;
		}
	}
	return NJ_OK;
fail:
	wiring_close(w);
	return e;
}

void
wiring_close(struct wiring *w)
{
	assert(w->n == 0 || w->passphrases);
	for (size_t i = 0; i < w->n; i++) {
		listener_close(&w->listeners[i]);
		secret_free(w->passphrases[i]);
	}
	free(w->listeners);
	free(w->passphrases);
	free(w->ca_dir);
	free(w->ca_list);
	tls_staples_free(w->staples);
	*w = (struct wiring){ 0 };
}

/* Passphrase of an encrypted key: from its file, or asked once. */
static enum nj_err
passphrase_of(
    const struct conf_listener *l, struct secret **at, struct nj_why *why)
{
	char prompt[512];
	enum nj_err e;

	if (l->keyfile_password_file) {
		struct secret *s = NULL;

		if ((e = secret_from_file(l->keyfile_password_file, &s, why)))
			return e;
		secret_free(*at);
		*at = s;
		return NJ_OK;
	}
	if (*at || !l->keyfile || !pki_key_is_encrypted(l->keyfile))
		return NJ_OK;
	snprintf(
	    prompt, sizeof prompt, "Enter PEM pass phrase of %s: ", l->keyfile);
	if ((e = secret_from_tty(prompt, at))) {
		why_set(why,
		    "%s is encrypted and there is no terminal to ask "
		    "for its passphrase",
		    l->keyfile);
		why_mend(why,
		    "add 'keyfile_password_file FILE' below its "
		    "keyfile line, or use a key without a passphrase: "
		    "nightjar ca server");
	}
	return e;
}

static void
told(void *arg, const struct nj_why *why)
{
	(void)arg;
	nj_log(LOG_T_WARNING, "Warning: %s%s%s", why->what,
	    why->mend[0] ? ".  To mend it: " : "", why->mend);
}

static enum nj_err
load_tls(const struct conf *c, const struct conf_listener *l, struct wiring *w,
    size_t i, const struct cert_rules *rules, bool groups,
    const struct tls_server *old, struct tls_server **out, struct nj_why *why)
{
	struct tls_server_opts o = {
		.certfile = l->certfile,
		.further = l->further_certificate,
		.refuse_exposed_key =
		    c->refuse_exposed_files == CONF_EXPOSED_KEYS,
		.keyfile = l->keyfile,
		.cafile = l->cafile,
		.capath = l->capath,
		.crlfile = l->crlfile,
		/* who enrols has none; the others are told at CONNECT */
		.require_certificate = l->require_certificate && !l->enroll,
		.want_certificate = l->cert_names || l->enroll,
		.want_issuers = (groups && l->capath) ||
		    (rules && cert_rules_want_issuers(rules)),
		.spare_browsers = l->certificate_or_password,
		.min = l->tls_min == CONF_TLS_13 ? TLS_MIN_13 : TLS_MIN_12,
		.ciphers = l->ciphers,
		.ciphersuites = l->ciphersuites,
		.staples = l->ocsp_stapling ? w->staples : NULL,
		.tickets = c->tls_tickets,
		.ticket_rotate_s = 12 * 3600,
		.previous = old,
	};
	struct tls_psk psk;
	bool est = l->protocol == CONF_EST;
	char *own, *ca = NULL;
	enum nj_err e;

	if ((e = passphrase_of(l, &w->passphrases[i], why)))
		return e;
	o.passphrase = w->passphrases[i];
	own = lists_own(l);
	o.own_list = own;
	if (l->enroll && !l->crlfile)
		o.grace_s = ENROL_GRACE_DAYS * 86400;
	if (est) {
		/* who renews shows what he has; others have nothing yet */
		o.want_certificate = true;
		o.tickets = 0;
		if (!l->crlfile)
			o.grace_s = ENROL_GRACE_DAYS * 86400;
		if (!l->cafile && !l->capath && w->ca_dir) {
			ca = pki_path(w->ca_dir, "pki/ca.crt");
			o.cafile = ca;
			o.own_list = w->ca_list;
		}
	}
	if (l->psk_hint && !(e = wiring_psk(c, l, &psk, why)))
		o.psk = &psk;
	if (!e)
		e = tls_server_new(&o, w->shards, out, why);
	free(ca);
	free(own);
	if (e && o.psk)
		psk.unref(psk.arg);
	if (e)
		return e;
	tls_server_warnings(*out, told, NULL);
	return NJ_OK;
}

/* SCRAM is offered where somebody can use it. */
static enum nj_err
add_users(const struct conf_listener *l, struct auth_chain *chain,
    struct password_file *pf, struct workers *workers)
{
	bool plain = l->auth_methods & CONF_AUTH_PASSWORD;
	struct password_file_info info;
	enum nj_err e = NJ_OK;

	password_file_info(pf, &info);
	if (!plain && info.scram == 0)
		nj_log(LOG_T_WARNING,
		    "Warning: auth_methods takes no plain passwords, and no "
		    "user of %s has a verifier for SCRAM-SHA-256: nobody can "
		    "log in with a password.  To mend it: nightjar passwd -H "
		    "scram-sha-256 %s USER",
		    l->password_file, l->password_file);
	if ((l->auth_methods & CONF_AUTH_SCRAM) && (info.scram > 0 || !plain))
		e = auth_add_scram(chain, pf, !plain);
	if (!e && plain)
		e = auth_add_password_file(chain, pf, workers);
	return e;
}

/* In the order in which they are asked. */
static enum nj_err
add_links(const struct conf *c, const struct conf_listener *l,
    struct auth_chain *chain, struct password_file *pf, struct rolebase *rb,
    struct workers *workers, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	if (l->cert_names)
		e = auth_add_certificate(chain, l->certificate_or_password);
	if (e || (l->cert_names && !l->certificate_or_password))
		return e;
	e = wiring_tokens(c, l, chain, workers, why);
	if (!e && rb)
		e = auth_add_roles(chain, rb, workers, pf == NULL);
	if (!e && pf)
		e = add_users(l, chain, pf, workers);
	if (e == NJ_OK && l->allow_anonymous)
		e = auth_add_anonymous(
		    chain, pf == NULL && rb == NULL && !l->tokens);
	return e;
}

/* Of those who come to enrol, and of nobody else. */
static enum nj_err
build_enroll_chain(const struct wiring *w, struct port_opts *p)
{
	enum nj_err e = auth_chain_new(&p->enroll_chain);

	return e ? e
		 : auth_add_enrolment(
		       p->enroll_chain, w->est.signer, w->est.workers);
}

static enum nj_err
build_chain(const struct conf *c, const struct conf_listener *l,
    struct rolebase *rb, struct workers *workers, struct auth_chain **out,
    struct nj_why *why)
{
	struct auth_chain *chain = NULL;
	struct password_file *pf = NULL;
	enum nj_err e;

	if (l->password_file &&
	    (e = password_file_load(l->password_file, &pf, why)))
		return e;
	if ((e = auth_chain_new(&chain)) ||
	    (e = add_links(c, l, chain, pf, rb, workers, why))) {
		if (e == NJ_NOMEM)
			why_set(why, "out of memory");
		auth_chain_unref(chain);
	} else {
		*out = chain;
	}
	password_file_unref(pf);
	return e;
}

static struct rolebase *
find_rolebase(const struct port_opts *v, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].roles && strcmp(rolebase_name(v[i].roles), path) == 0)
			return v[i].roles;
	return NULL;
}

/* A file that is not there yet is made first, where it is said how. */
static enum nj_err
open_roles(const struct conf *c, const char *path, struct rolebase **out,
    struct nj_why *why)
{
	enum nj_err e = rolebase_open(path, out, why);

	if (e != NJ_NOTFOUND || !conf_first_password(c, path))
		return e;
	e = wiring_first_roles(c, path, why);
	return e ? e : rolebase_open(path, out, why);
}

/* Listeners that name the same file have the same users; a reload goes on with
 * those there are, and reads the file if somebody else wrote it.  With
 * persistence the store has them: rolekeep.h. */
static enum nj_err
find_roles(const struct conf *c, const char *path, struct port_opts *v,
    size_t i, const struct port_opts *old, size_t n_old, struct nj_why *why)
{
	struct rolebase *rb;
	enum nj_err e;

	if (!path)
		return NJ_OK;
	if (!(rb = find_rolebase(v, i, path))) {
		if (!(rb = find_rolebase(old, n_old, path)))
			return c->persistence
			    ? rolebase_open_to_move(path,
				  conf_first_password(c, path), &v[i].roles,
				  why)
			    : open_roles(c, path, &v[i].roles, why);
		if ((e = rolebase_reread(rb, why)))
			return e;
	}
	v[i].roles = rolebase_ref(rb);
	return NJ_OK;
}

void
wiring_adopt(const struct port_opts *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].roles)
			rolebase_adopt(v[i].roles);
}

/* Topic rules.  Where nothing proves a user name, a rule for one is for
 * whoever says it, as with Mosquitto. */
static enum nj_err
load_acl(const struct conf_listener *l, struct acl **out, struct nj_why *why)
{
	struct acl_info info;
	enum nj_err e;

	if (!l->acl_file)
		return NJ_OK;
	if ((e = acl_load(l->acl_file, out, why)))
		return e;
	acl_info(*out, &info);
	if (info.users > 0 && l->allow_anonymous && !l->password_file &&
	    !l->cert_names)
		nj_log(LOG_T_WARNING,
		    "Warning: %s has rules for users, and nothing proves user "
		    "names on port %u: whoever says a name has its rights. "
		    "Add 'password_file FILE'.",
		    l->acl_file, l->port);
	return NJ_OK;
}

static const enum cert_id cert_ids[] = {
	[CONF_CERT_ID_AUTO] = CERT_ID_AUTO,
	[CONF_CERT_ID_OWN] = CERT_ID_OWN,
	[CONF_CERT_ID_SAME] = CERT_ID_SAME,
	[CONF_CERT_ID_ANY] = CERT_ID_ANY,
};

/* Of the devices of our own CA, if the clients here are those. */
static enum nj_err
load_groups(const struct conf_listener *l, struct device_groups **out,
    struct nj_why *why)
{
	char *path = lists_groups(l);
	enum nj_err e = NJ_OK;

	if (path)
		e = device_groups_new(path, out, why);
	free(path);
	return e;
}

static void
fill_port(const struct conf *c, const struct conf_listener *l,
    struct listener *at, const struct est_opts *est, struct port_opts *p)
{
	*p = (struct port_opts){
		.listener = at,
		.identity = l->use_subject_as_username ? CERT_IDENTITY_SUBJECT
		    : l->use_identity_as_username      ? CERT_IDENTITY_CN
						       : CERT_IDENTITY_NONE,
		.other_cas = l->capath != NULL,
		.cert_id = cert_ids[l->certificate_clientid],
		.require_cert = l->require_certificate,
		.peer_check = l->peer_check == CONF_PEER_CN_IP
		    ? PEER_CHECK_CN_IP
		    : l->peer_check == CONF_PEER_SAN_IP ? PEER_CHECK_SAN_IP
							: PEER_CHECK_NONE,
		.cert_not_of_pages = l->certificate_or_password,
		.use_username_as_clientid = l->use_username_as_clientid,
		.allow_zero_length_clientid = l->allow_zero_length_clientid,
		.auto_id_prefix = l->auto_id_prefix ? l->auto_id_prefix : "",
		.clientid_prefixes = c->clientid_prefixes,
		.websockets = l->protocol == CONF_WEBSOCKETS ||
		    l->protocol == CONF_MQTT_WEBSOCKETS,
		.mqtt_too = l->protocol == CONF_MQTT_WEBSOCKETS,
		.ws_origins = l->websockets_origin,
		.mount_point = l->mount_point,
		.est = l->protocol == CONF_EST ? est : NULL,
		.enroll = l->enroll ? est : NULL,
		.enroll_else_cert = l->enroll && l->require_certificate,
		.proxy = (uint8_t)l->proxy_protocol,
		.proxy_tls = l->proxy_require_tls,
		.proxy_cert = l->require_certificate,
		.proxy_from = l->proxy_from,
		.response_information = l->response_information,
		.max_connections = l->max_connections,
		.max_qos = (uint8_t)l->max_qos,
		.versions = (uint8_t)l->accept_protocol_versions,
		.max_topic_alias = (uint16_t)l->max_topic_alias,
		.max_topic_alias_broker = (uint16_t)l->max_topic_alias_broker,
	};
}

/* Listeners of one file have one set of rules in memory. */
static bool
share_acl(const struct conf *c, struct port_opts *v, uint32_t i)
{
	const char *path = c->listeners[i].acl_file;

	for (uint32_t k = 0; path && k < i; k++)
		if (v[k].acl && strcmp(c->listeners[k].acl_file, path) == 0) {
			v[i].acl = acl_ref(v[k].acl);
			return true;
		}
	return false;
}

enum nj_err
wiring_ports(const struct conf *c, struct wiring *w, struct workers *workers,
    const struct port_opts *old, struct port_opts **out, struct nj_why *why)
{
	struct port_opts *v = calloc(c->nlisteners, sizeof *v);
	enum nj_err e = NJ_OK;

	if (!v) {
		why_set(why, "out of memory");
		return NJ_NOMEM;
	}
	for (uint32_t i = 0; i < c->nlisteners && !e; i++) {
		const struct conf_listener *l = &c->listeners[i];

		fill_port(c, l, &w->listeners[i], &w->est, &v[i]);
		e = wiring_check_files(c, l, why);
		if (!e && l->certificate_rule)
			e = cert_rules_parse(
			    l->certificate_rule, &v[i].cert_rules, why);
		if (!e && l->tls)
			e = load_groups(l, &v[i].groups, why);
		if (!e && l->tls)
			e = load_tls(c, l, w, i, v[i].cert_rules,
			    v[i].groups != NULL, old ? old[i].tls : NULL,
			    &v[i].tls, why);
		if (!e)
			e = find_roles(c, l->dynamic_security_file, v, i, old,
			    old ? w->n : 0, why);
		if (!e)
			e = build_chain(
			    c, l, v[i].roles, workers, &v[i].chain, why);
		if (!e && l->enroll)
			e = build_enroll_chain(w, &v[i]);
		if (!e)
			e = share_acl(c, v, i) ? NJ_OK
					       : load_acl(l, &v[i].acl, why);
		/* last: what is malformed is told with its line */
		if (!e)
			e = wiring_check_all_exposed(c, l, why);
		if (e)
			prefix_place(c, l, why);
	}
	if (e) {
		wiring_ports_free(v, c->nlisteners);
		return e;
	}
	*out = v;
	return NJ_OK;
}

void
wiring_ports_free(struct port_opts *v, size_t n)
{
	for (size_t i = 0; v && i < n; i++) {
		if (v[i].tls)
			tls_server_unref(v[i].tls);
		auth_chain_unref(v[i].chain);
		auth_chain_unref(v[i].enroll_chain);
		acl_unref(v[i].acl);
		rolebase_unref(v[i].roles);
		cert_rules_unref(v[i].cert_rules);
		device_groups_unref(v[i].groups);
	}
	free(v);
}

static uint32_t
clamp32(uint64_t v)
{
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

void
wiring_limits(const struct conf *c, struct broker_limits *out)
{
	*out = (struct broker_limits){
		.session = {
			.max_inflight = (uint16_t)c->max_inflight_messages,
			.max_inflight_bytes = c->max_inflight_bytes,
			.max_queued = c->max_queued_messages,
			.max_queued_bytes = c->max_queued_bytes,
			.drop_policy =
			    (enum drop_policy)c->queue_full_policy,
			.queue_qos0 = c->queue_qos0_messages,
			.upgrade_qos = c->upgrade_outgoing_qos,
			.max_subscriptions = c->max_subscriptions_per_client,
		},
		.memory = c->memory_limit,
		.max_packet_size = clamp32(c->max_packet_size),
		.message_size_limit = clamp32(c->message_size_limit),		.max_keepalive = (uint16_t)c->max_keepalive,
		.ws_head_max = c->websockets_headers_size,
		.receive_max = (uint16_t)c->max_inflight_messages,
		.deny_subscribe = c->acl_deny_subscribe,
		.deny_ends = c->acl_deny_disconnect,
		.check_source = c->check_retain_source,
		.retain_available = c->retain_available,
		.nodelay = c->set_tcp_nodelay,
		.log_connections = c->connection_messages,
		.client_expiration_s = c->persistent_client_expiration ?
		    clamp32(c->persistent_client_expiration) :
		    MQTT_EXPIRY_NEVER,
		.max_connections = c->global_max_connections,
		.max_pending = c->max_pending_connections,
		.max_sessions = c->global_max_clients,
		.max_waiting_per_user = c->max_offline_sessions_per_user,
		.evict_sessions = c->evict_offline_sessions,
		.max_wills_per_minute = c->max_wills_per_minute,
		.max_match_work = c->max_match_work,
		.connect_timeout_ms = c->connect_timeout * 1000,
		.handshake_timeout_ms = c->handshake_timeout * 1000,
		.write_timeout_ms = c->slow_reader_timeout * 1000,
		.handshake_budget = c->handshakes_per_turn,
		.out_soft = clamp32(c->max_output_bytes),
		.sys_interval_s = c->sys_interval,
		.control_api = c->control_api,
	};
}
