/* SPDX-License-Identifier: Apache-2.0
 * client_opts - the options of pub, sub and rr, as mosquitto_pub, mosquitto_sub
 *               and mosquitto_rr take them.
 *
 * Owns:    see struct cli; strings point into argv or into its own memory.
 * Threads: the main thread.
 * Bounds:  CLI_LIST_MAX topics of each kind.
 */
#ifndef NJ_CMD_CLIENT_OPTS_H
#define NJ_CMD_CLIENT_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "client/client.h"

#define CLI_LIST_MAX 4096

enum cli_prog { CLI_PUB = 1, CLI_SUB = 2, CLI_RR = 4 };

enum cli_tls { CLI_TLS_AUTO, CLI_TLS_NEVER };

/* How pub gets what it sends. */
enum cli_source {
	SRC_NONE,
	SRC_TEXT,
	SRC_FILE,
	SRC_LINES,
	SRC_STDIN,
	SRC_NULL
};

struct cli_list {
	const char **v;
	size_t n, cap;
};

/* Properties for one kind of packet; extra holds the user properties. */
struct cli_props {
	struct props p;
	struct buf extra;
};

struct cli {
	enum cli_prog prog;
	const char *self;      /* "nightjar pub", "mosquitto_pub", ... */
	struct cli_list owned; /* strings made here */

	/* the connection */
	const char *host, *unix_path, *bind_address, *url, *options_file;
	long port; /* 0: the default */
	const char *user, *id, *id_prefix;
	struct secret *password;
	const char *auth_method; /* NULL: none */
	long reauth_s;
	long keep_alive, version, max_inflight;
	bool persistent, debug, quiet, nodelay, websocket, srv;
	struct socks_opts proxy; /* host NULL: none */
	struct secret *proxy_password;
	int64_t session_expiry; /* -1: not given */

	/* TLS */
	bool no_tls, use_tls;
	bool tls_modifier; /* an option that means something only with TLS */
	struct tls_client_opts tls;
	const char *keypass_file, *keyform;
	struct secret *keypass;

	/* the will */
	const char *will_topic, *will_payload;
	long will_qos;
	bool will_retain;

	/* what -D gives */
	struct cli_props connect, publish, subscribe, unsubscribe, disconnect,
	    will;
	bool any_property;

	/* topics */
	struct cli_list topics, filter_out, unsubscribe_from;
	long qos;

	/* pub */
	enum cli_source source;
	const char *message, *file;
	bool retain;
	long repeat;
	long repeat_delay_ms;

	/* sub */
	long count, timeout_s;
	const char *format;
	bool verbose, no_eol, no_retained, retained_only, remove_retained;
	bool retain_as_published, exit_after_sub, pretty;
	long retain_handling;
	double random_filter; /* percent */
	bool watch, message_rate;

	/* rr */
	const char *response_topic;
	bool latency;

	bool help, show_version;
};

/*
 * The defaults file, then argv[1..].  NJ_EOF: --help or --version was answered
 * on stdout.  NJ_INVALID: the fault and where to look were said on stderr.
 */
NJ_MUST enum nj_err
cli_parse(struct cli *c, enum cli_prog prog, int argc, char **argv);
void cli_fini(struct cli *c);

/* One occurrence of an option; argv[0] is its name.  How many words it took,
 * or 0 with why.  For the parser and its tests. */
int cli_take(struct cli *c, int argc, char **argv, struct nj_why *why);

/* One entry of -D: args are command, identifier, value [, value]; *used says
 * how many of the n there are belong to it. */
NJ_MUST enum nj_err
cli_property(struct cli *c, int n, char **args, int *used, struct nj_why *why);
/* The properties with their user properties, ready to be encoded. */
const struct props *cli_props(struct cli_props *p);

/* "Error: ..." and the mend below it, on stderr. */
void cli_error(const struct cli *c, const struct nj_why *why);
/* The same for a mistake of usage, which --quiet does not hide. */
void cli_usage_error(struct cli *c, const struct nj_why *why);
/* A line on stderr unless --quiet. */
void cli_warn(const struct cli *c, const char *fmt, ...) NJ_PRINTF(2, 3);

/* A client as the options want it. */
NJ_MUST enum nj_err cli_client(struct cli *c, const struct client_events *ev,
    void *arg, struct client **out, struct nj_why *why);
/* Brings to its end what is begun, and says goodbye; for a bounded time. */
NJ_MUST enum nj_err cli_goodbye(
    struct cli *c, struct client *client, uint8_t code, struct nj_why *why);
/* Says why client_publish refused p; returns e. */
enum nj_err
cli_refused(const struct publish *p, enum nj_err e, struct nj_why *why);
/* Says why client_subscribe or client_unsubscribe refused. */
void cli_not_subscribed(enum nj_err e, struct nj_why *why);
/* What mosquitto's programs exit with. */
int cli_status(const struct client *c, enum nj_err e);
/* For client_events.on_trace with -d: "Client ID line" on stdout. */
void cli_trace(const struct client *c, const char *line);

#define CLI_CONNECT_MS 60000
enum { CLI_EXIT_TIMEOUT = 27 };

#endif
