/* SPDX-License-Identifier: Apache-2.0
 *
 * One row an option.  Order is the order of the manual page; standing is
 * what Nightjar does with it today.
 */
#include "conf/table.h"

#include "conf/conf.h"
#include "conf/table_words.h"

#define G(field) offsetof(struct conf, field)
#define L(field) offsetof(struct conf_listener, field)
#define S(field) offsetof(struct conf_security, field)
#define NO	 CONF_NOWHERE

/* The last arguments name what else a row has: .min, .max, .words, .args,
 * .note, .mend. */
#define OPT(scope_, name_, type_, off_, standing_, flags_, def_, help_, ...)   \
	{                                                                      \
		.name = name_, .scope = CONF_##scope_, .type = CONF_T_##type_, \
		.off = off_, .standing = CONF_##standing_, .flags = flags_,    \
		.def = def_, .help = help_, __VA_ARGS__                        \
	}
/* Another name of a row. */
#define SAME(name_, as_, flags_)                                      \
	{                                                             \
		.name = (name_), .same_as = (as_), .flags = (flags_), \
		.off = NO                                             \
	}
#define BRIDGE(name_, type_, def_, help_, ...)                              \
	OPT(BRIDGE, name_, type_, NO, LATER_STOPS, CONF_QUIET, def_, help_, \
	    __VA_ARGS__)

#define R    CONF_RELOAD
#define OURS CONF_OURS
#define TLSF (CONF_RELOAD | CONF_TLS)

const struct conf_opt conf_table[] = {
	/* ---- listeners ---- */
	OPT(LISTENER, "listener", FORM, NO, WORKS, 0, NULL,
	    "open a port; what follows up to the next listener is about it",
	    .args = "PORT [ADDRESS | UNIX-PATH]", .min = 0, .max = 65535),
	OPT(LISTENER, "port", FORM, L(port), WORKS, CONF_OLD, NULL,
	    "port of the default listener; write listener instead",
	    .args = "PORT", .min = 1, .max = 65535),
	OPT(LISTENER, "bind_address", FORM, L(host), WORKS, CONF_OLD, NULL,
	    "address of the default listener; write listener instead",
	    .args = "ADDRESS"),
	OPT(LISTENER, "protocol", ENUM, L(protocol), WORKS, 0, "mqtt",
	    "what is spoken on this listener; mqtt+websockets: both, as each "
	    "client's first bytes (or its ALPN protocol, mqtt or http/1.1) "
	    "say; est: no MQTT, but certificates for devices, over HTTPS "
	    "(RFC 7030), with tokens of 'nightjar ca token'; and the CA's "
	    "certificate and revocation list, /ca.crt and /ca.crl, also over "
	    "plain HTTP",
	    .words = protocols),
	OPT(LISTENER, "bind_interface", STRING, L(bind_interface), WORKS,
	    CONF_RESTRICTS, NULL,
	    "listen on the addresses of this network interface only, and "
	    "accept what comes in by it, or from this machine"),
	OPT(LISTENER, "socket_domain", ENUM, L(socket_domain), WORKS, 0, NULL,
	    "only IPv4 or only IPv6; both when not given", .words = domains),
	OPT(LISTENER, "unix_socket_mode", STRING, L(unix_socket_mode), WORKS,
	    CONF_RESTRICTS | OURS, "0660",
	    "who may connect to the path of a Unix socket, as chmod(1) has it "
	    "in octal digits; to connect is to write",
	    .args = "MODE", .max = 5),
	OPT(LISTENER, "unix_socket_owner", STRING, L(unix_socket_owner), WORKS,
	    CONF_RESTRICTS | OURS, NULL,
	    "whose that path is; when not given the user's who serves, and "
	    "its group's",
	    .args = "USER[:GROUP]", .max = 255),
	OPT(LISTENER, "max_connections", LIMIT, L(max_connections), WORKS,
	    R | CONF_RESTRICTS, "-1",
	    "clients connected to this listener at once; -1: no limit"),
	OPT(LISTENER, "mount_point", STRING, L(mount_point), WORKS,
	    R | CONF_RESTRICTS, NULL,
	    "put before every topic of this listener's clients, who do not "
	    "see it: they have only the topics that begin so; mostly ends in "
	    "'/'",
	    .args = "PREFIX", .max = 1024),
	OPT(LISTENER, "use_username_as_clientid", BOOL,
	    L(use_username_as_clientid), WORKS, R, "false",
	    "the client id is the user name, whatever the client asks for"),
	OPT(LISTENER, "max_qos", U32, L(max_qos), WORKS, R | CONF_RESTRICTS,
	    "2", "highest QoS that clients may use", .min = 0, .max = 2),
	SAME("maximum_qos", "max_qos", 0),
	OPT(LISTENER, "max_topic_alias", U32, L(max_topic_alias), WORKS, R,
	    "10", "topic aliases a client may define (MQTT 5)", .max = 65535),
	OPT(LISTENER, "max_topic_alias_broker", U32, L(max_topic_alias_broker),
	    WORKS, R, "10", "topic aliases used towards a client (MQTT 5)",
	    .max = 65535),
	OPT(LISTENER, "accept_protocol_versions", SET,
	    L(accept_protocol_versions), WORKS, R | CONF_RESTRICTS | CONF_MANY,
	    "3,4,5", "MQTT versions served: 3 is 3.1, 4 is 3.1.1, 5 is 5.0",
	    .words = versions, .args = "VERSION[,VERSION...]"),
	OPT(LISTENER, "enable_proxy_protocol", U32, L(proxy_protocol), WORKS,
	    R | CONF_RESTRICTS, NULL,
	    "every connection begins with the PROXY header of a load "
	    "balancer, version 1 or 2, which says where its client is; with "
	    "version 2 also what the proxy knows of TLS: require_certificate "
	    "and use_identity_as_username then go by that, if this listener "
	    "has no certfile",
	    .min = 1, .max = 2),
	OPT(LISTENER, "proxy_protocol_v2_require_tls", BOOL,
	    L(proxy_require_tls), WORKS, R | CONF_RESTRICTS, "false",
	    "refuse clients that came to the proxy without TLS"),
	OPT(LISTENER, "proxy_protocol_from", STRING, L(proxy_from), WORKS,
	    R | CONF_RESTRICTS | CONF_REPEAT | OURS, NULL,
	    "addresses and networks (10.0.0.0/8) of the proxies whose PROXY "
	    "header is believed; others are refused; may be repeated; when "
	    "not given only this machine, for a header can claim any address "
	    "and any certificate.  Whoever may use a Unix socket is believed",
	    .args = "ADDRESS[/BITS] [ADDRESS[/BITS]...]"),
	OPT(GLOBAL, "packet_buffer_size", U32, NO, IGNORED, 0, NULL,
	    "read buffer of a connection", .min = 0, .max = INT32_MAX,
	    .note = "buffers grow as bytes arrive and need no setting here",
	    .mend = "delete this line"),

	/* ---- TLS ---- */
	OPT(LISTENER, "certfile", PATH, L(certfile), WORKS, TLSF | CONF_FILE,
	    NULL,
	    "the server's certificate and its chain, PEM; with keyfile this "
	    "turns TLS on"),
	OPT(LISTENER, "keyfile", PATH, L(keyfile), WORKS, TLSF | CONF_FILE,
	    NULL,
	    "private key of certfile, PEM; may be encrypted.  One that others "
	    "can read is only warned about, unless refuse_exposed_files is "
	    "all: Mosquitto never looked, and whoever could read it has had "
	    "it, so that refusing would cut off a fleet and mend nothing; a "
	    "new key does"),
	OPT(LISTENER, "keyfile_password_file", PATH, L(keyfile_password_file),
	    WORKS, TLSF | CONF_FILE | OURS, NULL,
	    "file whose first line is the passphrase of keyfile; a name "
	    "without '/' is looked up among systemd's credentials; without "
	    "it the passphrase is asked for at the terminal"),
	OPT(LISTENER, "cafile", PATH, L(cafile), WORKS, TLSF | CONF_FILE, NULL,
	    "CAs that client certificates may come from, PEM"),
	OPT(LISTENER, "capath", PATH, L(capath), WORKS, TLSF, NULL,
	    "folder of such CAs, one a file, named by openssl rehash"),
	OPT(LISTENER, "crlfile", PATH, L(crlfile), WORKS,
	    TLSF | CONF_FILE | CONF_RESTRICTS, NULL,
	    "revoked client certificates, PEM"),
	OPT(LISTENER, "require_certificate", BOOL, L(require_certificate),
	    WORKS, TLSF | CONF_RESTRICTS, "false",
	    "let in only clients with a certificate from cafile or capath"),
	OPT(LISTENER, "use_identity_as_username", BOOL,
	    L(use_identity_as_username), WORKS, TLSF, "false",
	    "the user name is the CN of the client's certificate"),
	OPT(LISTENER, "use_subject_as_username", BOOL,
	    L(use_subject_as_username), WORKS, TLSF, "false",
	    "the user name is the whole subject of the client's certificate"),
	OPT(LISTENER, "further_certificate", STRING, L(further_certificate),
	    WORKS, TLSF | CONF_REPEAT | OURS, NULL,
	    "a certificate beside that of certfile, and its key, without "
	    "blanks in the paths; may be repeated.  It is shown to clients "
	    "that ask for one of its names (SNI), and, if its key is of "
	    "another kind, RSA beside EC, to those that know only that one.  "
	    "An encrypted key has the passphrase of keyfile",
	    .args = "CERTFILE KEYFILE"),
	OPT(LISTENER, "ocsp_stapling", BOOL, L(ocsp_stapling), WORKS,
	    TLSF | OURS, "true",
	    "where the server's certificate names an OCSP responder of its CA "
	    "(http), ask it, and show its answer to clients that want it; "
	    "false: it is not asked"),
	OPT(LISTENER, "certificate_rule", STRING, L(certificate_rule), WORKS,
	    TLSF | CONF_RESTRICTS | CONF_REPEAT | OURS, NULL,
	    "where the user name stands in a client's certificate; may be "
	    "repeated.  'key SHA256 NAME': whoever has this very key (its "
	    "SHA-256, as nightjar inspect and nightjar ca list --json have it) "
	    "is NAME.  'ca FILE FIELD "
	    "[begins PREFIX]': in certificates that this CA stands behind, "
	    "the field cn, subject, san_uri, san_dns, san_email, or device, "
	    "which is the ID that nightjar ca device gave; FILE is the CA's "
	    "certificate, its key's SHA-256, or 'any' for all of cafile and "
	    "capath.  Known keys come first, then the first rule that gives "
	    "a name; with PREFIX one that begins so.  Who gets no name from "
	    "them has none",
	    .args =
		"key SHA256 NAME | ca FILE|SHA256|any FIELD [begins PREFIX]"),
	OPT(LISTENER, "certificate_clientid", ENUM, L(certificate_clientid),
	    WORKS, R | OURS, "auto",
	    "which client ids a client named by its certificate may have.  "
	    "own: its user name, or one that begins with it and ':' or '/'; "
	    "same: its user name; any; auto: own where certificate_rule "
	    "names the client and for devices of a Nightjar CA, else any, as "
	    "Mosquitto has it.  A client without an id is given one of its "
	    "own.  Nobody gets at another user's session in any case",
	    .words = cert_ids),
	OPT(LISTENER, "peer_check", ENUM, L(peer_check), WORKS,
	    TLSF | CONF_RESTRICTS | OURS, "none",
	    "let a client in only from the address that its certificate was "
	    "made for: cn_ip: its common name is that IP address; san_ip: one "
	    "of its alternative names of the kind IP address is.  With a "
	    "PROXY header the address is the one it tells.  Mind: a client "
	    "behind NAT comes from the address of its router, one with DHCP "
	    "from another address some day, one with IPv6 and privacy "
	    "addresses tomorrow, one that has both IPv4 and IPv6 from either",
	    .words = peer_checks),
	OPT(LISTENER, "certificate_or_password", BOOL,
	    L(certificate_or_password), WORKS, TLSF | OURS, "false",
	    "with one of the two above: who has no certificate may log in "
	    "with a user and password of password_file.  Web pages need these "
	    "in any case, and their browsers are not asked for a certificate: "
	    "they would show it for every page, or not connect at all"),
	OPT(LISTENER, "enroll", BOOL, L(enroll), WORKS, TLSF | OURS, "false",
	    "devices may get and renew their certificate over MQTT here.  Who "
	    "has none comes with its name as user name and a token of "
	    "'nightjar ca token' as password, also where a certificate is "
	    "required, and may do nothing else; one of our own CA may renew "
	    "for 30 days after its end, unless there is a crlfile.  "
	    "See nightjar-enroll(1)"),
	OPT(LISTENER, "tls_version", ENUM, L(tls_min), WORKS, TLSF, "tlsv1.2",
	    "the least TLS version that is served", .words = tls_versions),
	OPT(LISTENER, "ciphers", STRING, L(ciphers), WORKS, TLSF, NULL,
	    "cipher list of TLS 1.2, in OpenSSL's notation"),
	OPT(LISTENER, "ciphers_tls1.3", STRING, L(ciphersuites), WORKS, TLSF,
	    NULL, "cipher suites of TLS 1.3, in OpenSSL's notation"),
	OPT(LISTENER, "psk_hint", STRING, L(psk_hint), WORKS,
	    TLSF | CONF_RESTRICTS, NULL,
	    "let clients in by a key that they share with the broker, from "
	    "psk_file; without certfile only them.  Clients of TLS 1.2 are "
	    "told this hint.  With use_identity_as_username their user name "
	    "is the identity that the key belongs to",
	    .max = 127),
	OPT(SECURITY, "psk_file", PATH, S(psk_file), WORKS,
	    R | CONF_FILE | CONF_RESTRICTS | CONF_ONCE, NULL,
	    "identities and keys for psk_hint, one a line: identity:hexkey"),
	OPT(LISTENER, "disable_client_cert_date_checks", BOOL, NO, LATER,
	    CONF_TLS, "false", "accept client certificates that have expired",
	    .note = "expired client certificates are refused in any case",
	    .mend = "renew them, or delete this line"),
	OPT(LISTENER, "dhparamfile", PATH, NO, IGNORED, 0, NULL,
	    "Diffie-Hellman parameters",
	    .note = "key exchange is by elliptic curves only and needs no "
		    "parameters",
	    .mend = "delete this line"),
	OPT(LISTENER, "tls_engine", STRING, NO, REFUSED, CONF_TLS, NULL,
	    "OpenSSL engine to use",
	    .note = "OpenSSL 3 has put an end to engines, and they are not "
		    "loaded here",
	    .mend = "use a key file in PEM form"),
	OPT(LISTENER, "tls_engine_kpass_sha1", STRING, NO, REFUSED, CONF_TLS,
	    NULL, "hash of the engine's password",
	    .note = "OpenSSL 3 has put an end to engines, and they are not "
		    "loaded here",
	    .mend = "use 'keyfile_password_file' for an encrypted key"),
	OPT(LISTENER, "tls_keyform", ENUM, NO, WORKS, CONF_TLS, "pem",
	    "form of keyfile", .words = keyforms),

	/* ---- who may come in ---- */
	OPT(GLOBAL, "per_listener_settings", BOOL, G(per_listener_settings),
	    WORKS, CONF_OLD, "false",
	    "the options of this section are about the listener above them"),
	OPT(SECURITY, "allow_anonymous", TRI, S(allow_anonymous), WORKS, R,
	    NULL,
	    "let clients in without a user name; false, except on loopback "
	    "when the file opens no listener and names no password_file"),
	OPT(LISTENER, "listener_allow_anonymous", TRI, L(own_allow_anonymous),
	    WORKS, R, NULL, "allow_anonymous for this listener alone"),
	OPT(SECURITY, "password_file", PATH, S(password_file), WORKS,
	    R | CONF_FILE | CONF_RESTRICTS, NULL,
	    "users and password hashes, written by nightjar passwd.  A reload "
	    "disconnects clients whose user is gone or has another hash"),
	OPT(LISTENER, "auth_methods", SET, L(auth_methods), WORKS,
	    R | CONF_RESTRICTS | CONF_MANY | OURS, "password,SCRAM-SHA-256",
	    "how users of the password file may log in: by sending the "
	    "password, or by proving that they know it (enhanced "
	    "authentication of MQTT 5; only users with such a verifier: "
	    "nightjar passwd -H scram-sha-256)",
	    .words = auth_methods, .args = "METHOD[,METHOD...]"),
	OPT(SECURITY, "jwt_key_file", STRING, S(jwt_key_file), WORKS,
	    R | CONF_RESTRICTS | CONF_REPEAT | OURS, NULL,
	    "let clients in by JSON Web Tokens that these keys signed (RS256, "
	    "ES256 or EdDSA): public keys or certificates as PEM, or a JSON "
	    "Web Key Set; may be repeated; read again at a reload.  A client "
	    "gives its token as password, with the token's user name or an "
	    "empty one, or by the authentication method JWT (MQTT 5), which "
	    "can also bring the next token in time: when a token ends the "
	    "client is disconnected",
	    .args = "PATH"),
	OPT(SECURITY, "jwt_issuer", STRING, S(jwt_issuer), WORKS,
	    R | CONF_RESTRICTS | OURS, NULL,
	    "take only tokens whose claim iss is this"),
	OPT(SECURITY, "jwt_audience", STRING, S(jwt_audience), WORKS,
	    R | CONF_RESTRICTS | OURS, NULL,
	    "take only tokens whose claim aud is or has this; without this "
	    "option only tokens without aud"),
	OPT(SECURITY, "jwt_leeway", U32, S(jwt_leeway), WORKS, R | OURS, "30",
	    "seconds that the issuer's clock may differ from ours", .min = 0,
	    .max = 300),
	OPT(SECURITY, "jwt_username_claim", STRING, S(jwt_username_claim),
	    WORKS, R | OURS, "sub", "the claim that is the user name"),
	OPT(SECURITY, "jwt_clientid_claim", STRING, S(jwt_clientid_claim),
	    WORKS, R | CONF_RESTRICTS | OURS, NULL,
	    "the claim that the client id has to be equal to"),
	OPT(SECURITY, "jwt_groups_claim", STRING, S(jwt_groups_claim), WORKS,
	    R | OURS, NULL,
	    "the claim that lists the groups the client is in, a list or a "
	    "text with blanks between"),
	OPT(SECURITY, "jwt_topics_claim", STRING, S(jwt_topics_claim), WORKS,
	    R | CONF_RESTRICTS | OURS, NULL,
	    "the claim that limits what the client may use, an object with "
	    "the lists publish and subscribe of topic filters; it takes away "
	    "of what acl_file and roles leave, and gives nothing.  Tokens "
	    "without it are not limited so"),
	OPT(SECURITY, "acl_file", PATH, S(acl_file), WORKS,
	    R | CONF_FILE | CONF_RESTRICTS | CONF_ONCE, NULL,
	    "which user and which client may read and write which topics; "
	    "what it does not allow is denied (nightjar-acl(5))"),
	OPT(GLOBAL, "allow_linked_files", BOOL, G(allow_linked_files), WORKS,
	    R | OURS, "false",
	    "password_file, acl_file and psk_file may be symbolic links, as "
	    "Kubernetes makes them; otherwise they are refused, for whoever "
	    "can put a link there could let himself in"),
	OPT(GLOBAL, "refuse_exposed_files", ENUM, G(refuse_exposed_files),
	    WORKS, R | OURS, "true",
	    "which files are refused, at the start and at a reload, that "
	    "every user of the machine can read: true: a password_file and "
	    "an acl_file; secrets: a password_file; false: neither, as with "
	    "Mosquitto; all: a keyfile, too.  What is taken so is warned "
	    "about, and what its group can read is no matter.  A psk_file "
	    "and a dynamic_security_file are refused in any case, and so is "
	    "what every user can write",
	    .words = exposed),
	OPT(SECURITY, "dynamic_security_file", PATH, S(dynamic_security_file),
	    WORKS, R | CONF_FILE | CONF_RESTRICTS | CONF_ONCE | OURS, NULL,
	    "users, groups and roles that are changed while the broker runs: "
	    "Mosquitto's dynamic-security.json (nightjar-dynsec(7))"),
	OPT(SECURITY, "dynamic_security_password_file", PATH,
	    S(dynamic_security_password_file), WORKS, R | CONF_ONCE | OURS,
	    NULL,
	    "where there is no dynamic_security_file yet it is made, with the "
	    "user 'admin', whose password is the first line of this one, and "
	    "the roles of Mosquitto 2.1; afterwards it is not read any more "
	    "and may be deleted.  It is refused when others can read it"),
	OPT(GLOBAL, "acl_deny_subscribe", BOOL, G(acl_deny_subscribe), WORKS,
	    R | OURS, "true",
	    "refuse a subscription of which the acl_file lets nothing "
	    "through; false: grant it and deliver nothing, as Mosquitto "
	    "does"),
	OPT(GLOBAL, "acl_deny_disconnect", BOOL, G(acl_deny_disconnect), WORKS,
	    R | OURS, "false",
	    "disconnect MQTT 3 clients that publish what they may not; false: "
	    "their message is acknowledged, which the protocol wants, and "
	    "dropped.  MQTT 5 clients are told with 0x87"),
	OPT(SECURITY, "allow_zero_length_clientid", BOOL,
	    S(allow_zero_length_clientid), WORKS, R, "true",
	    "let clients in without a client id and give them one"),
	OPT(SECURITY, "auto_id_prefix", STRING, S(auto_id_prefix), WORKS,
	    R | CONF_OLD, "auto-", "how such a client id begins", .max = 50),
	OPT(LISTENER, "listener_auto_id_prefix", STRING, L(own_auto_id_prefix),
	    WORKS, R, NULL, "auto_id_prefix for this listener alone",
	    .max = 50),
	OPT(GLOBAL, "clientid_prefixes", STRING, G(clientid_prefixes), WORKS,
	    R | CONF_OLD | CONF_RESTRICTS, NULL,
	    "let in only client ids that begin so, those that the broker gives "
	    "too"),
	OPT(GLOBAL, "check_retain_source", BOOL, G(check_retain_source), WORKS,
	    R, "true",
	    "deliver a retained message only while its sender may still "
	    "publish to the topic"),
	OPT(PLUGIN, "plugin", FORM, NO, LATER_STOPS, CONF_RESTRICTS, NULL,
	    "a plug-in of Mosquitto's that is built in here: "
	    "mosquitto_dynamic_security.so, mosquitto_acl_file.so or "
	    "mosquitto_password_file.so, with its file in the line below it; "
	    "mosquitto_persist_sqlite.so is persistence true",
	    .args = "PATH", .note = "other plug-ins are not loaded yet"),
	SAME("auth_plugin", "plugin", CONF_OLD),
	OPT(PLUGIN, "plugin_opt_*", FORM, NO, LATER_STOPS,
	    CONF_PREFIX | CONF_QUIET, NULL,
	    "option of the plug-in above: plugin_opt_config_file is "
	    "dynamic_security_file, plugin_opt_password_init_file for its "
	    "dynamic_security_password_file, plugin_opt_acl_file and "
	    "plugin_opt_password_file are the options of these names",
	    .args = "VALUE"),
	SAME("auth_opt_*", "plugin_opt_*", CONF_OLD | CONF_PREFIX),
	OPT(PLUGIN, "global_plugin", FORM, NO, LATER_STOPS, CONF_RESTRICTS,
	    NULL, "the same for all listeners, with per_listener_settings, too",
	    .args = "PATH", .note = "other plug-ins are not loaded yet"),
	OPT(PLUGIN, "plugin_load", FORM, NO, LATER_STOPS, CONF_RESTRICTS, NULL,
	    "the same under a name, for those listeners that say plugin_use",
	    .args = "NAME PATH", .note = "other plug-ins are not loaded yet"),
	OPT(LISTENER, "plugin_use", STRING, L(plugin_use), WORKS,
	    R | CONF_RESTRICTS | CONF_REPEAT, NULL,
	    "this listener has the plug-in that plugin_load gave this name; "
	    "more than one line may stand here",
	    .args = "NAME"),
	OPT(PLUGIN, "auth_plugin_deny_special_chars", BOOL, NO, IGNORED, 0,
	    NULL,
	    "keep names with + and # away from the plug-in: no plug-in that "
	    "is built in takes them for wildcards",
	    .note = "it is about other plug-ins than Mosquitto's own; in those "
		    "that are built in here, names with + and # are no "
		    "wildcards in any case",
	    .mend = "delete this line"),

	/* ---- limits of one client ---- */
	OPT(GLOBAL, "max_inflight_messages", U32, G(max_inflight_messages),
	    WORKS, R, "20",
	    "QoS 1 and 2 messages under way to a client; 0: 65535",
	    .min = INT32_MIN, .max = 65535),
	OPT(GLOBAL, "max_inflight_bytes", SIZE, G(max_inflight_bytes), WORKS, R,
	    "0", "their bytes; 0: no limit", .min = INT32_MIN,
	    .max = INT64_MAX),
	OPT(GLOBAL, "max_queued_messages", U32, G(max_queued_messages), WORKS,
	    R, "1000",
	    "messages that wait for a client beyond those; 0: no limit",
	    .min = INT32_MIN, .max = INT32_MAX),
	OPT(GLOBAL, "max_queued_bytes", SIZE, G(max_queued_bytes), WORKS, R,
	    "0", "their bytes; 0: no limit", .min = INT32_MIN,
	    .max = INT64_MAX),
	OPT(GLOBAL, "queue_full_policy", ENUM, G(queue_full_policy), WORKS,
	    R | OURS, "newest",
	    "what is dropped when a client's queue is full: the newest "
	    "message, the oldest, or the newest with the publisher of QoS 1 "
	    "and 2 being refused (0x97; MQTT 3 clients are disconnected) "
	    "before anybody gets it; what is under way by then is kept",
	    .words = queue_full),
	OPT(GLOBAL, "max_packet_size", SIZE, G(max_packet_size), WORKS, R,
	    "2000000", "largest packet taken from a client", .min = 20,
	    .max = INT32_MAX),
	OPT(GLOBAL, "message_size_limit", SIZE, G(message_size_limit), WORKS,
	    R | CONF_OLD, "0", "largest payload; 0: as max_packet_size gives",
	    .min = 0, .max = 268435455),
	OPT(GLOBAL, "max_keepalive", U32, G(max_keepalive), WORKS, R, "0",
	    "longest keep alive a client may ask for, in seconds; 0: any",
	    .min = 0, .max = 65535),
	OPT(LISTENER, "response_information", STRING, L(response_information),
	    WORKS, R | OURS, NULL,
	    "topic under which a client that asks for response information "
	    "may take answers: this, '/' and its client id",
	    .max = 1000),
	OPT(GLOBAL, "queue_qos0_messages", BOOL, G(queue_qos0_messages), WORKS,
	    R, "false", "keep QoS 0 messages too for clients that are away"),
	OPT(GLOBAL, "upgrade_outgoing_qos", BOOL, G(upgrade_outgoing_qos),
	    WORKS, R, "false",
	    "deliver with the subscription's QoS, not the message's"),
	OPT(GLOBAL, "max_subscriptions_per_client", U32,
	    G(max_subscriptions_per_client), WORKS, R | OURS, "10000",
	    "subscriptions of a session; 0: no limit", .min = 0,
	    .max = INT32_MAX),
	OPT(GLOBAL, "max_output_bytes", SIZE, G(max_output_bytes), WORKS,
	    R | OURS, "1M",
	    "unsent bytes for one client; beyond, its QoS 0 is dropped",
	    .min = 4096, .max = INT64_MAX),
	OPT(GLOBAL, "slow_reader_timeout", U32, G(slow_reader_timeout), WORKS,
	    R | OURS, "60",
	    "seconds until a client that takes none of its output is "
	    "disconnected",
	    .min = 1, .max = 86400),

	/* ---- limits of the broker ---- */
	OPT(GLOBAL, "memory_limit", SIZE, G(memory_limit), WORKS, R, "0",
	    "bytes of heap, beyond which work is refused; 0: no limit",
	    .min = 0, .max = INT64_MAX),
	OPT(GLOBAL, "global_max_clients", LIMIT, G(global_max_clients), WORKS,
	    R, "1000000", "sessions, connected or not; -1: no limit"),
	OPT(GLOBAL, "evict_offline_sessions", BOOL, G(evict_offline_sessions),
	    WORKS, R | OURS, "true",
	    "when global_max_clients is reached, the session whose client is "
	    "away longest makes place; false: new clients are refused"),
	OPT(GLOBAL, "max_offline_sessions_per_user", U32,
	    G(max_offline_sessions_per_user), WORKS, R | OURS, "100000",
	    "sessions of one user whose clients are away; beyond, the one that "
	    "is away longest is dropped; who has no user name is told apart "
	    "by client id; 0: no limit",
	    .min = 0, .max = INT32_MAX),
	OPT(GLOBAL, "max_wills_per_minute", U32, G(max_wills_per_minute), WORKS,
	    R | OURS, "60",
	    "wills of one client that are sent within a minute; beyond, it may "
	    "not connect with a will; 0: no limit",
	    .min = 0, .max = 60000),
	OPT(GLOBAL, "max_match_work", U32, G(max_match_work), WORKS, R | OURS,
	    "100000",
	    "nodes of the tree of subscriptions that one message may lead to; "
	    "beyond, it is refused; 0: no limit",
	    .min = 0, .max = INT32_MAX),
	OPT(GLOBAL, "global_max_connections", LIMIT, G(global_max_connections),
	    WORKS, R, "-1",
	    "connections at once; -1: as many as there are descriptors"),
	OPT(GLOBAL, "max_pending_connections", U32, G(max_pending_connections),
	    WORKS, R | OURS, "10000",
	    "connections that have not sent CONNECT yet", .min = 1,
	    .max = INT32_MAX),
	OPT(GLOBAL, "connections_per_second", U32, G(connections_per_second),
	    WORKS, OURS, "0",
	    "new connections from one address, ten times as many at once; "
	    "loopback is not counted; 0: no limit",
	    .min = 0, .max = 1000000),
	OPT(GLOBAL, "failed_logins_per_minute", U32,
	    G(failed_logins_per_minute), WORKS, OURS, "60",
	    "failed logins from one address before it has to wait; loopback "
	    "is not counted; 0: no limit",
	    .min = 0, .max = 60000),
	OPT(GLOBAL, "failed_logins_per_user", U32, G(failed_logins_per_user),
	    WORKS, OURS, "60",
	    "wrong passwords for one user name a minute, wherever they come "
	    "from, before further ones are not looked at for a while, twice "
	    "as long each time and a minute at most; who logged in before "
	    "with the right one still comes in; 0: no limit",
	    .min = 0, .max = 60000),
	OPT(GLOBAL, "handshake_timeout", U32, G(handshake_timeout), WORKS,
	    R | OURS, "10", "seconds a TLS handshake may take", .min = 1,
	    .max = 3600),
	OPT(GLOBAL, "connect_timeout", U32, G(connect_timeout), WORKS, R | OURS,
	    "5", "seconds then until CONNECT is there", .min = 1, .max = 3600),
	OPT(GLOBAL, "handshakes_per_turn", U32, G(handshakes_per_turn), WORKS,
	    R | OURS, "1",
	    "TLS handshakes a thread works on before it looks after the "
	    "connected clients again",
	    .min = 1, .max = 1000),
	OPT(GLOBAL, "tls_tickets", U32, G(tls_tickets), WORKS, OURS, "1",
	    "session tickets for each TLS handshake; 0: no resumption",
	    .min = 0, .max = 2),
	OPT(GLOBAL, "retain_available", BOOL, G(retain_available), WORKS, R,
	    "true", "keep retained messages"),
	OPT(GLOBAL, "max_retained_messages", U32, G(max_retained_messages),
	    WORKS, R | OURS, "1000000", "retained messages kept; 0: no limit",
	    .min = 0, .max = INT32_MAX),
	OPT(GLOBAL, "max_retained_bytes", SIZE, G(max_retained_bytes), WORKS,
	    R | OURS, "1G", "their bytes; 0: no limit", .min = 0,
	    .max = INT64_MAX),
	OPT(GLOBAL, "max_retained_messages_per_user", U32,
	    G(max_retained_messages_per_user), WORKS, OURS, "100000",
	    "retained messages of one user; who has no user name is told "
	    "apart by client id; 0: no limit",
	    .min = 0, .max = INT32_MAX),
	OPT(GLOBAL, "retain_expiry_interval", U32, G(retain_expiry_interval),
	    IGNORED, R, "0",
	    "minutes between sweeps for expired retained messages", .min = 0,
	    .max = 527040,
	    .note = "expired retained messages are dropped within seconds",
	    .mend = "delete this line"),
	OPT(GLOBAL, "persistent_client_expiration", DURATION,
	    G(persistent_client_expiration), WORKS, R, NULL,
	    "forget sessions of clients that stay away for so long: a number "
	    "and s, h, d, w, m (30 days) or y"),
	OPT(GLOBAL, "set_tcp_nodelay", BOOL, G(set_tcp_nodelay), WORKS, R,
	    "true",
	    "send at once; on by default, since the output of a turn is "
	    "gathered anyway"),
	OPT(GLOBAL, "threads", U32, G(threads), WORKS, OURS, "0",
	    "threads that serve clients; 0: one for each CPU that the "
	    "process may use",
	    .min = 0, .max = 256),
	OPT(GLOBAL, "allow_duplicate_messages", BOOL, NO, IGNORED, CONF_OLD,
	    "true", "overlapping subscriptions each get a copy",
	    .note = "every matching subscription is served as MQTT says",
	    .mend = "delete this line"),
	OPT(GLOBAL, "retry_interval", STRING, NO, IGNORED, CONF_OLD, NULL,
	    "seconds until a message is sent again",
	    .note = "MQTT sends again when a client reconnects, and only "
		    "then",
	    .mend = "delete this line"),

	/* ---- our own CA ---- */
	OPT(GLOBAL, "ca_dir", PATH, G(ca_dir), WORKS, OURS, NULL,
	    "the folder of Nightjar's own CA, for listeners with 'protocol "
	    "est' or 'enroll'; without it, the one whose pki/ca.crt a cafile "
	    "names.  Its "
	    "key is opened by a process of its own"),
	OPT(GLOBAL, "ca_passphrase_file", PATH, G(ca_passphrase_file), WORKS,
	    OURS, NULL,
	    "file whose first line opens the CA's key; without it the systemd "
	    "credential nightjar-ca-passphrase, and then DIR/ca.passphrase"),

	/* ---- persistence ---- */
	OPT(GLOBAL, "persistence", BOOL, G(persistence), WORKS, 0, "false",
	    "keep sessions, subscriptions, queued and retained messages and "
	    "wills on disk; what is acknowledged is there"),
	SAME("retained_persistence", "persistence", CONF_OLD),
	OPT(GLOBAL, "persistence_location", PATH, G(persistence_location),
	    WORKS, CONF_ONCE, NULL,
	    "folder for that; where the broker is started, when not given. "
	    "MOSQUITTO_PERSISTENCE_LOCATION in the environment wins"),
	OPT(GLOBAL, "persistence_file", PATH, G(persistence_file), WORKS,
	    CONF_ONCE, "nightjar.db",
	    "file for that; beside one of this name that is Mosquitto's, the "
	    "name and .nightjar"),
	OPT(GLOBAL, "persistence_on_damage", ENUM, G(persistence_on_damage),
	    WORKS, OURS, "stop",
	    "what to do at the start with a file that is damaged, or another "
	    "program's: stop, or set it aside under another name and start "
	    "empty",
	    .words = on_damage),
	OPT(GLOBAL, "autosave_interval", U32, G(autosave_interval), IGNORED,
	    CONF_QUIET, "1800",
	    "without effect: what is acknowledged is on disk already",
	    .min = INT32_MIN, .max = INT32_MAX),
	OPT(GLOBAL, "autosave_on_changes", BOOL, G(autosave_on_changes),
	    IGNORED, CONF_QUIET, "false",
	    "without effect, as autosave_interval"),

	/* ---- process ---- */
	OPT(GLOBAL, "user", STRING, G(user), WORKS, CONF_ONCE, NULL,
	    "serve as this user when started as root; not given: nightjar, "
	    "else mosquitto, else nobody"),
	OPT(GLOBAL, "pid_file", PATH, G(pid_file), WORKS, CONF_ONCE, NULL,
	    "write the process id here"),
	OPT(GLOBAL, "admin_socket", PATH, G(admin_socket), WORKS,
	    CONF_ONCE | OURS, NULL,
	    "path of the Unix socket by which 'nightjar status', 'clients' and "
	    "the like speak to this broker; none: there is none.  Not given: "
	    "admin.sock in systemd's RuntimeDirectory, else in "
	    "persistence_location, else none",
	    .args = "PATH | none"),
	OPT(GLOBAL, "admin_socket_mode", STRING, G(admin_socket_mode), WORKS,
	    CONF_ONCE | OURS | CONF_RESTRICTS, NULL,
	    "the mode of that path in octal digits; not given: 0600, with "
	    "admin_socket_group 0660.  Whatever it is, only root, the user "
	    "who serves and that group are answered",
	    .args = "MODE", .max = 5),
	OPT(GLOBAL, "admin_socket_group", STRING, G(admin_socket_group), WORKS,
	    CONF_ONCE | OURS, NULL,
	    "members of this group of the machine may administer the broker, "
	    "too",
	    .args = "GROUP", .max = 255),
	OPT(GLOBAL, "include_dir", FORM, NO, WORKS, 0, NULL,
	    "read every file of this folder that ends in .conf, in order of "
	    "their names",
	    .args = "FOLDER"),
	OPT(GLOBAL, "sys_interval", U32, G(sys_interval), WORKS, R, "10",
	    "seconds between updates of $SYS/broker/; 0: none", .min = 0,
	    .max = 65535),
	OPT(GLOBAL, "enable_control_api", BOOL, G(control_api), WORKS, R,
	    "false",
	    "answer listListeners and listPlugins on $CONTROL/broker/v1, as "
	    "'mosquitto_ctrl broker' of Mosquitto 2.1 asks: to those whom a "
	    "role, or a rule of the acl_file that names $CONTROL, lets "
	    "publish there and read $CONTROL/broker/v1/response"),

	/* ---- log ---- */
	OPT(GLOBAL, "log_dest", FORM, G(log_dests), WORKS, R, "stderr",
	    "where the log goes; may be repeated; syslog with -d when not "
	    "given",
	    .words = log_dests,
	    .args = "stderr | stdout | syslog | topic | none | file PATH"),
	OPT(GLOBAL, "log_type", SET, G(log_types), WORKS, R, NULL,
	    "what is logged; may be repeated; error, warning, notice and "
	    "information when not given",
	    .words = log_types),
	OPT(GLOBAL, "log_timestamp", BOOL, G(log_timestamp), WORKS, R, "true",
	    "begin each line with the time"),
	OPT(GLOBAL, "log_timestamp_format", STRING, G(log_timestamp_format),
	    WORKS, R | CONF_ONCE, NULL,
	    "its form, as strftime(3) has it; not given: seconds since 1970",
	    .args = "FORMAT"),
	OPT(GLOBAL, "log_facility", U32, G(log_facility), WORKS, R, NULL,
	    "syslog's local0 to local7; not given: daemon", .min = 0, .max = 7),
	OPT(GLOBAL, "connection_messages", BOOL, G(connection_messages), WORKS,
	    R, "true",
	    "log every connect and disconnect; who is refused is told of in "
	    "any case"),

	/* ---- WebSockets and HTTP ---- */
	OPT(LISTENER, "websockets_origin", STRING, L(websockets_origin), WORKS,
	    R | CONF_RESTRICTS | CONF_REPEAT, NULL,
	    "origin of web pages that may connect, as browsers send it "
	    "(https://example.org); may be repeated; any when not given.  "
	    "Clients that send no Origin are let in",
	    .max = 256),
	OPT(GLOBAL, "websockets_headers_size", U32, G(websockets_headers_size),
	    WORKS, R, "0",
	    "most bytes of a WebSocket client's request; 0: 8192", .min = 0,
	    .max = 65535),
	OPT(LISTENER, "http_dir", PATH, NO, LATER_STOPS, 0, NULL,
	    "folder of files to serve over HTTP",
	    .note = "files are not served over HTTP yet",
	    .mend = "delete this line, or serve them with a web server"),
	OPT(GLOBAL, "websockets_log_level", U32, NO, IGNORED, 0, NULL,
	    "log level of libwebsockets", .min = INT32_MIN, .max = INT32_MAX,
	    .note = "libwebsockets is not used here",
	    .mend = "delete this line; see log_type"),

	/* ---- bridges ---- */
	OPT(BRIDGE, "connection", FORM, NO, LATER_STOPS, 0, NULL,
	    "begin a bridge to another broker; what follows is about it",
	    .args = "NAME",
	    .note = "bridges are not served yet, so its topics would silently "
		    "not flow",
	    .mend = "take the bridge out of this file, or run it from the "
		    "other broker"),
	BRIDGE("address", FORM, NULL, "broker to connect to",
	    .args = "HOST[:PORT] [HOST[:PORT]...]"),
	SAME("addresses", "address", 0),
	BRIDGE("topic", FORM, NULL, "what flows, and which way",
	    .args = "PATTERN [out | in | both [QOS [LOCAL [REMOTE]]]]"),
	BRIDGE("remote_clientid", STRING, NULL, "client id there"),
	SAME("clientid", "remote_clientid", CONF_OLD),
	BRIDGE("remote_username", STRING, NULL, "user name there"),
	SAME("username", "remote_username", CONF_OLD),
	BRIDGE("remote_password", STRING, NULL, "password there"),
	SAME("password", "remote_password", CONF_OLD),
	BRIDGE("local_clientid", STRING, NULL, "client id here"),
	BRIDGE("local_username", STRING, NULL, "user name here"),
	BRIDGE("local_password", STRING, NULL, "password here"),
	BRIDGE("cleansession", BOOL, "false", "begin without state there"),
	BRIDGE("local_cleansession", BOOL, NULL, "begin without state here"),
	BRIDGE("keepalive_interval", U32, "60", "seconds between pings",
	    .min = 0, .max = 65535),
	BRIDGE("start_type", ENUM, "automatic", "when to connect",
	    .words = start_types),
	BRIDGE("restart_timeout", FORM, NULL,
	    "seconds to wait before connecting again",
	    .args = "SECONDS | BASE CAP [STABLE]"),
	BRIDGE("idle_timeout", U32, "60",
	    "seconds until a lazy bridge disconnects", .max = INT32_MAX),
	BRIDGE("threshold", U32, "10",
	    "messages that make a lazy bridge connect", .max = INT32_MAX),
	BRIDGE("round_robin", BOOL, "false", "use the addresses in turn"),
	BRIDGE("try_private", BOOL, "true", "tell the peer it is a bridge"),
	BRIDGE(
	    "notifications", BOOL, "true", "publish whether the bridge is up"),
	BRIDGE("notifications_local_only", BOOL, "false", "only here"),
	BRIDGE("notification_topic", STRING, NULL, "topic for that"),
	BRIDGE("bridge_protocol_version", ENUM, "mqttv311", "MQTT version",
	    .words = bridge_versions),
	BRIDGE("bridge_cafile", PATH, NULL, "CAs of the peer, PEM"),
	BRIDGE("bridge_capath", PATH, NULL, "folder of them"),
	BRIDGE("bridge_certfile", PATH, NULL, "our certificate"),
	BRIDGE("bridge_keyfile", PATH, NULL, "its key"),
	BRIDGE(
	    "bridge_insecure", BOOL, "false", "do not check the peer's name"),
	BRIDGE("bridge_tls_version", STRING, NULL, "TLS version"),
	BRIDGE("bridge_alpn", STRING, NULL, "ALPN name to ask for"),
	BRIDGE("bridge_identity", STRING, NULL, "PSK identity"),
	BRIDGE("bridge_psk", STRING, NULL, "PSK, hexadecimal"),
	BRIDGE("bridge_attempt_unsubscribe", BOOL, "true",
	    "unsubscribe from topics that only flow out"),
	BRIDGE("bridge_outgoing_retain", BOOL, "true", "keep the retain flag"),
	BRIDGE("bridge_max_packet_size", U32, "0", "largest packet sent",
	    .max = INT32_MAX),
	BRIDGE("bridge_bind_address", STRING, NULL, "own address to use"),
	BRIDGE("bridge_require_ocsp", BOOL, "false",
	    "insist on a stapled OCSP answer"),
	BRIDGE("bridge_tls_use_os_certs", BOOL, "false",
	    "trust the CAs of the system"),
	BRIDGE("bridge_ciphers", STRING, NULL, "cipher list of TLS 1.2"),
	BRIDGE("bridge_ciphers_tls1.3", STRING, NULL, "suites of TLS 1.3"),
	BRIDGE("bridge_receive_maximum", U32, NULL, "inflight window", .min = 1,
	    .max = 65535),
	BRIDGE("bridge_session_expiry_interval", U32, NULL, "seconds",
	    .min = -1, .max = UINT32_MAX),
	BRIDGE("bridge_max_topic_alias", U32, NULL, "topic aliases", .min = 0,
	    .max = 65535),
	BRIDGE("bridge_reload_type", ENUM, "lazy",
	    "reload at once, or when "
	    "the bridge next connects",
	    .words = reload_types),
	BRIDGE("bridge_tcp_keepalive", FORM, NULL, "TCP keep alive",
	    .args = "IDLE INTERVAL COUNT"),
	BRIDGE("bridge_tcp_user_timeout", U32, NULL, "milliseconds", .min = 0,
	    .max = INT32_MAX),

/* ---- names from Mosquitto 1.x ---- */
#define GONE(name_)                                                  \
	OPT(GLOBAL, name_, STRING, NO, IGNORED, CONF_OLD, NULL,      \
	    "of Mosquitto 1.x; nothing now",                         \
	    .note = "has meant nothing since the early versions of " \
		    "Mosquitto",                                     \
	    .mend = "delete this line")
	GONE("store_clean_interval"),
	GONE("max_log_entries"),
	GONE("trace_level"),
	GONE("trace_output"),
	GONE("ffdc_output"),
};

const size_t conf_table_n = sizeof conf_table / sizeof *conf_table;
_Static_assert(
    sizeof conf_table / sizeof *conf_table <= CONF_OPTS_MAX, "CONF_OPTS_MAX");
