/* SPDX-License-Identifier: Apache-2.0
 * The options, and those few whose value is more than a word or a number.
 */
#include "cmd/client_opts_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define REPEAT_DELAY_MAX_S 86400.0

enum nj_err
cli_list_add(struct cli_list *l, const char *s)
{
	if (l->n == CLI_LIST_MAX)
		return NJ_FULL;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 8;
		const char **v = realloc(l->v, cap * sizeof *v);

		if (!v)
			return NJ_NOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = s;
	return NJ_OK;
}

char *
cli_own(struct cli *c, const char *s, size_t n)
{
	char *copy = strndup(s, n);

	if (copy && cli_list_add(&c->owned, copy)) {
		free(copy);
		return NULL;
	}
	return copy;
}

/* The value is gone from the process list. */
static int
take_secret(struct secret **dst, char *arg, struct nj_why *why)
{
	size_t n = strlen(arg);

	secret_free(*dst);
	*dst = NULL;
	if (secret_new(slice_of(arg, n), dst)) {
		why_set(why, "the secret cannot be kept");
		return -1;
	}
	memset(arg, '*', n);
	return 1;
}

static int
opt_password(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	return take_secret(&c->password, args[0], why);
}

static int
opt_psk(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	c->tls.psk_hex = cli_own(c, args[0], strlen(args[0]));
	memset(args[0], '*', strlen(args[0]));
	return c->tls.psk_hex ? 1 : -1;
}

/* A login in it is gone from the process list. */
static int
opt_proxy(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	if (cli_proxy(c, args[0], why))
		return -1;
	if (c->proxy.user)
		memset(args[0], '*', strlen(args[0]));
	return 1;
}

static int
opt_version(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	static const struct {
		const char *name;
		enum mqtt_ver v;
	} names[] = {
		{ "mqttv31", MQTT31 },
		{ "31", MQTT31 },
		{ "mqttv311", MQTT311 },
		{ "311", MQTT311 },
		{ "mqttv5", MQTT5 },
		{ "5", MQTT5 },
	};
	char esc[TEXT_ESC];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcmp(args[0], names[i].name) == 0) {
			c->version = (long)names[i].v;
			return 1;
		}
	}
	why_set(why, "invalid protocol version \"%s\"",
	    text_esc(esc, sizeof esc, slice_str(args[0])));
	why_mend(why, "it is one of mqttv31, mqttv311 and mqttv5");
	return -1;
}

static int
opt_session_expiry(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	long v;

	if (strcmp(args[0], "∞") == 0) {
		c->session_expiry = UINT32_MAX;
		return 1;
	}
	if (!text_to_long(args[0], -1, UINT32_MAX, &v)) {
		why_set(why,
		    "session expiry interval is not a number of "
		    "seconds that MQTT can carry");
		why_mend(why,
		    "0 to 4294967294, or -1 for a session that does "
		    "not expire");
		return -1;
	}
	c->session_expiry = v < 0 ? UINT32_MAX : v;
	return 1;
}

static int
opt_tls_version(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	char esc[TEXT_ESC];

	c->tls_modifier = true;
	if (strcmp(args[0], "tlsv1.3") == 0) {
		c->tls.min = TLS_MIN_13;
	} else if (strcmp(args[0], "tlsv1.2") == 0) {
		c->tls.min = TLS_MIN_12;
	} else if (strcmp(args[0], "tlsv1.1") == 0 ||
	    strcmp(args[0], "tlsv1") == 0) {
		c->tls.min = TLS_MIN_12;
		cli_warn(c,
		    "Warning: %s was retired in 2021 (RFC 8996); TLS "
		    "1.2 is the least that is spoken.",
		    args[0]);
	} else {
		why_set(why, "invalid TLS version \"%s\"",
		    text_esc(esc, sizeof esc, slice_str(args[0])));
		why_mend(why, "it is tlsv1.2 or tlsv1.3");
		return -1;
	}
	return 1;
}

/* TLS options come in two kinds: those that turn it on, and those that only
 * change it. */
static int
opt_tls_text(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	memcpy((char *)c + o->off, &args[0], sizeof args[0]);
	if (o->max)
		c->use_tls = true;
	else
		c->tls_modifier = true;
	return 1;
}

static int
opt_insecure(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	c->tls.insecure = true;
	c->tls_modifier = true;
	return 0;
}

static int
opt_os_certs(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	c->tls.os_certs = true;
	c->use_tls = true;
	return 0;
}

static int
opt_keyform(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	if (strcmp(args[0], "pem") != 0) {
		why_set(why, "--keyform knows only \"pem\"");
		why_mend(why, "keys in an engine are not supported");
		return -1;
	}
	c->keyform = args[0];
	return 1;
}

static int
take_source(struct cli *c, enum cli_source s, struct nj_why *why)
{
	if (c->source != SRC_NONE) {
		why_set(why, "only one type of message can be sent at once");
		why_mend(why, "use one of -f, -l, -m, -n and -s");
		return -1;
	}
	c->source = s;
	return 0;
}

static int
opt_message(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	c->message = args[0];
	return take_source(c, SRC_TEXT, why) ? -1 : 1;
}

static int
opt_file(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	c->file = args[0];
	return take_source(c, SRC_FILE, why) ? -1 : 1;
}

static int
opt_source(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	return take_source(c, (enum cli_source)o->min, why);
}

static int
opt_decimal(const char *s, double min, double max, double *out)
{
	char *end;
	double d = strtod(s, &end);

	if (end == s || *end != '\0' || !isfinite(d) || d < min || d > max)
		return -1;
	*out = d;
	return 1;
}

/* By name, or by its number in SUBSCRIBE. */
static int
opt_retain_handling(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	static const char *const names[] = { "always", "new", "never" };
	char esc[TEXT_ESC];

	for (long i = 0; i < 3; i++) {
		char digit[2] = { (char)('0' + i), '\0' };

		if (strcmp(args[0], names[i]) == 0 ||
		    strcmp(args[0], digit) == 0) {
			c->retain_handling = i;
			return 1;
		}
	}
	why_set(why, "unknown value '%s' for --retain-handling",
	    text_esc(esc, sizeof esc, slice_str(args[0])));
	why_mend(why, "it is one of always, new and never");
	return -1;
}

static int
opt_repeat_delay(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	double d;

	if (opt_decimal(args[0], 0, REPEAT_DELAY_MAX_S, &d) < 0) {
		why_set(
		    why, "--repeat-delay is a number of seconds, 0 or more");
		return -1;
	}
	c->repeat_delay_ms = (long)(d * 1000.0);
	return 1;
}

static int
opt_random_filter(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	if (opt_decimal(args[0], 0.1, 100.0, &c->random_filter) < 0) {
		why_set(why,
		    "--random-filter is a percentage between 0.1 and "
		    "100.0");
		return -1;
	}
	return 1;
}

static int
opt_property(struct cli *c, const struct cli_opt *o, int n, char **args,
    struct nj_why *why)
{
	int used;

	return cli_property(c, n, args, &used, why) ? -1 : used;
}

#define AT(member) offsetof(struct cli, member)
#define ALL	   (CLI_PUB | CLI_SUB | CLI_RR)
#define TURNS_ON   1

/* clang-format off */
const struct cli_opt cli_opts[] = {
	{ "-A", NULL, ALL, CLI_TEXT, AT(bind_address), 0, 0, NULL,
	    "ADDRESS", "connect from this local address or host" },
	{ "-c", "--disable-clean-session", ALL, CLI_ON, AT(persistent), 0, 0, NULL,
	    NULL, "keep the session at the broker; needs -i" },
	{ "-C", NULL, CLI_SUB, CLI_NUMBER, AT(count), 1, INT32_MAX, NULL,
	    "N", "leave after N messages" },
	{ "-d", "--debug", ALL, CLI_ON, AT(debug), 0, 0, NULL,
	    NULL, "print each packet" },
	{ "-D", "--property", ALL, CLI_FN, 0, 2, 4, opt_property,
	    "PACKET NAME VALUE...", "an MQTT 5 property, for connect, publish, subscribe, "
	    "unsubscribe, disconnect or will" },
	{ "-e", NULL, CLI_RR, CLI_TEXT, AT(response_topic), 0, 0, NULL,
	    "TOPIC", "where the response is to be sent" },
	{ "-E", NULL, CLI_SUB, CLI_ON, AT(exit_after_sub), 0, 0, NULL,
	    NULL, "leave once the broker has answered the subscriptions" },
	{ "-f", "--file", CLI_PUB | CLI_RR, CLI_FN, 0, 0, 0, opt_file,
	    "FILE", "send the contents of a file" },
	{ "-F", NULL, CLI_SUB | CLI_RR, CLI_TEXT, AT(format), 0, 0, NULL,
	    "FORMAT", "how to print a message" },
	{ "-h", "--host", ALL, CLI_TEXT, AT(host), 0, 0, NULL,
	    "HOST", "the broker; localhost when not given" },
	{ "-i", "--id", ALL, CLI_TEXT, AT(id), 0, 0, NULL,
	    "ID", "client id" },
	{ "-I", "--id-prefix", ALL, CLI_TEXT, AT(id_prefix), 0, 0, NULL,
	    "PREFIX", "client id: this and the process id" },
	{ "-k", "--keepalive", ALL, CLI_NUMBER, AT(keep_alive), 5, 65535, NULL,
	    "SECONDS", "keep alive; 60 when not given" },
	{ "-l", "--stdin-line", CLI_PUB, CLI_FN, 0, SRC_LINES, 0, opt_source,
	    NULL, "send each line of standard input" },
	{ "-L", "--url", ALL, CLI_TEXT, AT(url), 0, 0, NULL,
	    "URL", "mqtt(s)://[user[:password]@]host[:port]/topic; or ws(s)://" },
	{ "-m", "--message", CLI_PUB | CLI_RR, CLI_FN, 0, 0, 0, opt_message,
	    "TEXT", "the message" },
	{ "-M", NULL, ALL, CLI_NUMBER, AT(max_inflight), 1, 65535, NULL,
	    "N", "QoS 1 and 2 messages in flight at once; 20 when not given" },
	{ "-n", "--null-message", CLI_PUB | CLI_RR, CLI_FN, 0, SRC_NULL, 0, opt_source,
	    NULL, "send an empty message" },
	{ "-N", NULL, CLI_SUB | CLI_RR, CLI_ON, AT(no_eol), 0, 0, NULL,
	    NULL, "no end of line after a message" },
	{ "-o", NULL, ALL, CLI_TEXT, AT(options_file), 0, 0, NULL,
	    "FILE", "read options from this file instead of the default one" },
	{ "-p", "--port", ALL, CLI_NUMBER, AT(port), 1, 65535, NULL,
	    "PORT", "1883, or 8883 with TLS, when not given" },
	{ "-P", "--pw", ALL, CLI_FN, 0, 0, 0, opt_password,
	    "PASSWORD", "for -u" },
	{ "-q", "--qos", ALL, CLI_NUMBER, AT(qos), 0, 2, NULL,
	    "QOS", "0, 1 or 2" },
	{ "-r", "--retain", CLI_PUB | CLI_RR, CLI_ON, AT(retain), 0, 0, NULL,
	    NULL, "the broker keeps the message for later subscribers" },
	{ "-R", NULL, CLI_SUB | CLI_RR, CLI_ON, AT(no_retained), 0, 0, NULL,
	    NULL, "do not print retained messages" },
	{ "-s", "--stdin-file", CLI_PUB | CLI_RR, CLI_FN, 0, SRC_STDIN, 0, opt_source,
	    NULL, "send all of standard input as one message" },
	{ "-S", NULL, ALL, CLI_ON, AT(srv), 0, 0, NULL,
	    NULL, "look up SRV records of the host to find the broker" },
	{ "-t", "--topic", ALL, CLI_LIST, AT(topics), 0, 0, NULL,
	    "TOPIC", "where to publish, or what to subscribe to (may be repeated)" },
	{ "-T", "--filter-out", CLI_SUB, CLI_LIST, AT(filter_out), 0, 0, NULL,
	    "FILTER", "do not print what matches (may be repeated)" },
	{ "-u", "--username", ALL, CLI_TEXT, AT(user), 0, 0, NULL,
	    "NAME", "user name" },
	{ "-U", "--unsubscribe", CLI_SUB, CLI_LIST, AT(unsubscribe_from), 0, 0, NULL,
	    "FILTER", "unsubscribe from this (may be repeated)" },
	{ "-v", "--verbose", CLI_SUB | CLI_RR, CLI_ON, AT(verbose), 0, 0, NULL,
	    NULL, "print the topic in front of the message" },
	{ "-V", "--protocol-version", ALL, CLI_FN, 0, 0, 0, opt_version,
	    "VERSION", "mqttv31, mqttv311 or mqttv5; when not given mqttv311, of rr mqttv5" },
	{ "-w", "--watch", CLI_SUB, CLI_ON, AT(watch), 0, 0, NULL,
	    NULL, "each topic has its own line of the screen" },
	{ "-W", NULL, CLI_SUB | CLI_RR, CLI_NUMBER, AT(timeout_s), 1, INT32_MAX, NULL,
	    "SECONDS", "leave after this time, with status 27" },
	{ "-x", NULL, ALL, CLI_FN, 0, 0, 0, opt_session_expiry,
	    "SECONDS", "how long the broker keeps the session (MQTT 5); -1: for ever" },
	{ NULL, "--auth-method", ALL, CLI_TEXT, AT(auth_method), 0, 0, NULL,
	    "METHOD", "SCRAM-SHA-256: prove that we know the password instead of sending it (MQTT 5)" },
	{ NULL, "--cafile", ALL, CLI_FN, AT(tls.cafile), 0, TURNS_ON, opt_tls_text,
	    "FILE", "trusted CAs; turns TLS on" },
	{ NULL, "--capath", ALL, CLI_FN, AT(tls.capath), 0, TURNS_ON, opt_tls_text,
	    "DIR", "trusted CAs, one a file; turns TLS on" },
	{ NULL, "--cert", ALL, CLI_FN, AT(tls.certfile), 0, TURNS_ON, opt_tls_text,
	    "FILE", "our certificate, for brokers that ask for one" },
	{ NULL, "--ciphers", ALL, CLI_FN, AT(tls.ciphers), 0, 0, opt_tls_text,
	    "LIST", "TLS 1.2 ciphers, as openssl-ciphers(1) writes them" },
	{ NULL, "--insecure", ALL, CLI_FN, 0, 0, 0, opt_insecure,
	    NULL, "do not check the broker's name against its certificate" },
	{ NULL, "--key", ALL, CLI_FN, AT(tls.keyfile), 0, TURNS_ON, opt_tls_text,
	    "FILE", "private key of --cert" },
	{ NULL, "--keyform", ALL, CLI_FN, 0, 0, 0, opt_keyform,
	    "pem", "the form of --key" },
	{ NULL, "--keypass-file", ALL, CLI_TEXT, AT(keypass_file), 0, 0, NULL,
	    "FILE", "passphrase of --key; else it is asked for" },
	{ NULL, "--latency", CLI_RR, CLI_ON, AT(latency), 0, 0, NULL,
	    NULL, "print how long the response took" },
	{ NULL, "--message-rate", CLI_SUB, CLI_ON, AT(message_rate), 0, 0, NULL,
	    NULL, "print each second how many messages came, instead of them" },
	{ NULL, "--no-tls", ALL, CLI_ON, AT(no_tls), 0, 0, NULL,
	    NULL, "no TLS, whatever else says so" },
	{ NULL, "--nodelay", ALL, CLI_ON, AT(nodelay), 0, 0, NULL,
	    NULL, "TCP_NODELAY, which is always on" },
	{ NULL, "--pretty", CLI_SUB | CLI_RR, CLI_ON, AT(pretty), 0, 0, NULL,
	    NULL, "print JSON over several lines" },
	{ NULL, "--proxy", ALL, CLI_FN, 0, 0, 0, opt_proxy,
	    "URL", "connect through a SOCKS5 proxy: socks5h://[user[:password]@]host[:port]" },
	{ NULL, "--psk", ALL, CLI_FN, 0, 0, 0, opt_psk,
	    "HEX", "pre-shared key; turns TLS on" },
	{ NULL, "--psk-identity", ALL, CLI_FN, AT(tls.psk_identity), 0, 0, opt_tls_text,
	    "NAME", "whose key --psk is" },
	{ NULL, "--quiet", ALL, CLI_ON, AT(quiet), 0, 0, NULL,
	    NULL, "no messages about errors" },
	{ NULL, "--random-filter", CLI_SUB, CLI_FN, 0, 0, 0, opt_random_filter,
	    "PERCENT", "print this share of the messages" },
	{ NULL, "--reauth", ALL, CLI_NUMBER, AT(reauth_s), 1, INT32_MAX, NULL,
	    "SECONDS", "authenticate again this often, with --auth-method" },
	{ NULL, "--remove-retained", CLI_SUB, CLI_ON, AT(remove_retained), 0, 0, NULL,
	    NULL, "remove retained messages that arrive from the broker" },
	{ NULL, "--repeat", CLI_PUB, CLI_NUMBER, AT(repeat), 1, INT32_MAX, NULL,
	    "N", "send the message N times" },
	{ NULL, "--repeat-delay", CLI_PUB, CLI_FN, 0, 0, 0, opt_repeat_delay,
	    "SECONDS", "between repeated messages" },
	{ NULL, "--retain-as-published", CLI_SUB | CLI_RR, CLI_ON, AT(retain_as_published), 0, 0, NULL,
	    NULL, "messages arrive with the retain flag they were sent with (MQTT 5)" },
	{ NULL, "--retain-handling", CLI_SUB | CLI_RR, CLI_FN, 0, 0, 0, opt_retain_handling,
	    "WHEN", "retained messages: always, new (for new subscriptions) or never (MQTT 5)" },
	{ NULL, "--retained-only", CLI_SUB, CLI_ON, AT(retained_only), 0, 0, NULL,
	    NULL, "print retained messages only, and leave at the first that is not" },
	{ NULL, "--tls-alpn", ALL, CLI_FN, AT(tls.alpn), 0, 0, opt_tls_text,
	    "NAME", "protocol to ask for" },
	{ NULL, "--tls-keylog", ALL, CLI_FN, AT(tls.keylog), 0, 0, opt_tls_text,
	    "FILE", "append the secrets of the connection, to decrypt a capture of it" },
	{ NULL, "--tls-use-os-certs", ALL, CLI_FN, 0, 0, 0, opt_os_certs,
	    NULL, "trust the CAs of this system; turns TLS on" },
	{ NULL, "--tls-version", ALL, CLI_FN, 0, 0, 0, opt_tls_version,
	    "VERSION", "the least to speak: tlsv1.2 or tlsv1.3" },
	{ NULL, "--unix", ALL, CLI_TEXT, AT(unix_path), 0, 0, NULL,
	    "PATH", "connect to a Unix socket" },
	{ NULL, "--will-payload", ALL, CLI_TEXT, AT(will_payload), 0, 0, NULL,
	    "TEXT", "of the will" },
	{ NULL, "--will-qos", ALL, CLI_NUMBER, AT(will_qos), 0, 2, NULL,
	    "QOS", "of the will" },
	{ NULL, "--will-retain", ALL, CLI_ON, AT(will_retain), 0, 0, NULL,
	    NULL, "the will is retained" },
	{ NULL, "--will-topic", ALL, CLI_TEXT, AT(will_topic), 0, 0, NULL,
	    "TOPIC", "what the broker publishes for us when we vanish" },
	{ NULL, "--ws", ALL, CLI_ON, AT(websocket), 0, 0, NULL,
	    NULL, "connect over WebSocket" },
	{ NULL, "--help", ALL, CLI_ON, AT(help), 0, 0, NULL,
	    NULL, "this list" },
	{ NULL, "--version", ALL, CLI_ON, AT(show_version), 0, 0, NULL,
	    NULL, "the version" },
	{ NULL, "--tls-engine", ALL, CLI_REFUSE, 0, 0, 0, NULL,
	    NULL, "OpenSSL 3 has deprecated engines, and they are not used; give --key a key in a file" },
	{ NULL, "--tls-engine-kpass-sha1", ALL, CLI_REFUSE, 0, 0, 0, NULL,
	    NULL, "OpenSSL 3 has deprecated engines, and they are not used; give --key a key in a file" },
};
/* clang-format on */

const size_t cli_opts_n = sizeof cli_opts / sizeof *cli_opts;
