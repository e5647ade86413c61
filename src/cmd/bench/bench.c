/* SPDX-License-Identifier: Apache-2.0
 * bench - nightjar bench, a load generator for any MQTT broker: the options,
 *         and which run they ask for.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmd/bench/impl.h"
#include "cmd/cmd.h"

#define SPARE_FILES    64
#define OTHERS_DEFAULT 100000

struct choice {
	const char *name;
	int value;
};

static const struct choice modes[] = {
	{ "load", MODE_LOAD },
	{ "connect", MODE_CONNECT },
	{ "idle", MODE_IDLE },
	{ "subscribe", MODE_SUBSCRIBE },
	{ "storm", MODE_STORM },
	{ NULL, 0 },
};
static const struct choice patterns[] = {
	{ "pairs", PAIRS },
	{ "fan-in", FAN_IN },
	{ "fan-out", FAN_OUT },
	{ "wildcards", WILDCARDS },
	{ NULL, 0 },
};
static const struct choice kinds[] = {
	{ "exact", OTHERS_EXACT },
	{ "plus", OTHERS_PLUS },
	{ "hash", OTHERS_HASH },
	{ "mixed", OTHERS_MIXED },
	{ NULL, 0 },
};
static const struct choice versions[] = {
	{ "mqttv31", MQTT31 },
	{ "31", MQTT31 },
	{ "mqttv311", MQTT311 },
	{ "311", MQTT311 },
	{ "mqttv5", MQTT5 },
	{ "5", MQTT5 },
	{ NULL, 0 },
};

static enum nj_err
choose(const struct choice *from, const char *flag, const char *word, int *out,
    struct nj_why *why)
{
	char all[128] = "", esc[TEXT_ESC];
	size_t n = 0;

	for (const struct choice *c = from; c->name; c++) {
		if (strcmp(c->name, word) == 0) {
			*out = c->value;
			return NJ_OK;
		}
		n += (size_t)snprintf(
		    all + n, sizeof all - n, "%s%s", n ? ", " : "", c->name);
	}
	why_set(why, "--%s does not know '%s'", flag,
	    text_esc(esc, sizeof esc, slice_str(word)));
	why_mend(why, "it is one of %s", all);
	return NJ_INVALID;
}

static enum nj_err
check(struct opts *o, struct nj_why *why)
{
	int mode = 0, pattern = 0, kind = 0, ver = 0;
	enum nj_err e;

	if ((e = choose(modes, "mode", o->mode_name, &mode, why)) ||
	    (e = choose(patterns, "pattern", o->pattern_name, &pattern, why)) ||
	    (e = choose(kinds, "others-kind", o->kind_name, &kind, why)) ||
	    (e = choose(
		 versions, "protocol-version", o->version_name, &ver, why)))
		return e;
	o->mode = (enum mode)mode;
	o->pattern = (enum pattern)pattern;
	o->kind = (enum others_kind)kind;
	o->ver = (enum mqtt_ver)ver;
	if (o->mode == MODE_SUBSCRIBE && !o->others)
		o->others = OTHERS_DEFAULT;
	if (o->mode == MODE_CONNECT || o->mode == MODE_IDLE)
		o->others = 0;
	if (o->pattern == FAN_OUT)
		o->pubs = 1;
	if (o->pattern == FAN_IN)
		o->subs = 1;
	if (o->pattern == PAIRS)
		o->subs = o->pubs;
	if (o->sub_qos < 0)
		o->sub_qos = o->qos;
	if (!o->port)
		o->port = o->cafile || o->os_certs ? 8883 : 1883;
	if ((o->certfile != NULL) != (o->keyfile != NULL)) {
		why_set(why, "--cert and --key need each other");
		return NJ_INVALID;
	}
	if ((o->certfile || o->insecure || o->resume || o->tls_min ||
		o->ciphers) &&
	    !o->cafile && !o->os_certs) {
		why_set(why, "TLS options are given, but TLS is not used");
		why_mend(why, "add --cafile FILE");
		return NJ_INVALID;
	}
	if (o->tls_min && strcmp(o->tls_min, "1.2") != 0 &&
	    strcmp(o->tls_min, "1.3") != 0) {
		why_set(why, "--tls-version is 1.2 or 1.3");
		return NJ_INVALID;
	}
	for (unsigned i = 0; i < o->pids.n; i++) {
		long pid;

		if (text_to_long(o->pids.v[i], 1, INT32_MAX, &pid))
			continue;
		why_set(why, "--pid takes the number of a process");
		return NJ_INVALID;
	}
	return NJ_OK;
}

/* What a run needs that the machine may not give. */
static enum nj_err
check_files(struct bench *b)
{
	unsigned long need = SPARE_FILES + others_clients(&b->o) +
	    (unsigned long)(b->o.mode == MODE_LOAD ? b->o.pubs + b->o.subs
		    : b->o.mode == MODE_CONNECT	   ? b->o.concurrency
		    : b->o.mode == MODE_SUBSCRIBE  ? 0
						   : b->o.connections);
	unsigned long have = meter_files(need);

	if (have >= need)
		return NJ_OK;
	why_set(&b->why, "%lu connections need %lu open files; %lu are allowed",
	    need - SPARE_FILES, need, have);
	why_mend(
	    &b->why, "raise the hard limit: ulimit -Hn %lu, as root", need);
	return NJ_FULL;
}

static enum nj_err
run(struct bench *b)
{
	struct load_result *load = NULL;
	struct storm_result *storm = NULL;
	struct subscribe_result subscribed = { 0 };
	enum nj_err e;

	if ((e = check_files(b)) || (e = bench_open(b)))
		return e;
	load = calloc(1, sizeof *load);
	storm = calloc(1, sizeof *storm);
	if (!load || !storm)
		e = NJ_NOMEM;
	else if (b->o.mode == MODE_LOAD)
		e = load_run(b, load);
	else if (b->o.mode == MODE_SUBSCRIBE)
		e = subscribe_run(b, &subscribed);
	else if (b->o.mode == MODE_CONNECT)
		e = connect_run(b, storm);
	else if (b->o.mode == MODE_IDLE)
		e = idle_run(b, storm);
	else
		e = storm_run(b, storm);
	if (!e && b->o.mode == MODE_LOAD)
		report_load(b, load);
	else if (!e && b->o.mode == MODE_SUBSCRIBE)
		report_subscribe(b, &subscribed);
	else if (!e)
		report_storm(b, storm);
	free(load);
	free(storm);
	return e;
}

static void
help(const struct flag *flags, size_t n)
{
	(void)printf("Usage: nightjar bench [OPTION]...\n\n"
		     "Loads an MQTT broker and measures it.\n\n");
	flags_help(flags, n);
}

#define DAY 86400L

/* clang-format off */
static int
bench_main(struct bench *b, int argc, char **argv)
{
	struct opts *o = &b->o;
	const struct flag flags[] = {
		{ "host", 'H', FLAG_TEXT, &o->host, "HOST", "the broker; 127.0.0.1 when not given", 0, 0 },
		{ "port", 'p', FLAG_NUMBER, &o->port, "PORT", "1883, or 8883 with TLS", 1, 65535 },
		{ "unix", 0, FLAG_TEXT, &o->unix_path, "PATH", "connect to a Unix socket", 0, 0 },
		{ "mode", 0, FLAG_TEXT, &o->mode_name, "MODE", "load, connect (handshakes), idle (memory), storm (all are lost and come back at once) or subscribe", 0, 0 },
		{ "pattern", 0, FLAG_TEXT, &o->pattern_name, "NAME", "pairs, fan-in, fan-out or wildcards", 0, 0 },
		{ "pubs", 0, FLAG_NUMBER, &o->pubs, "N", "publishers; 10 when not given", 1, 1000000 },
		{ "subs", 0, FLAG_NUMBER, &o->subs, "N", "subscribers of fan-out and wildcards", 1, 1000000 },
		{ "qos", 'q', FLAG_NUMBER, &o->qos, "QOS", "0, 1 or 2", 0, 2 },
		{ "sub-qos", 0, FLAG_NUMBER, &o->sub_qos, "QOS", "of the subscriptions; as --qos", 0, 2 },
		{ "size", 's', FLAG_NUMBER, &o->size, "BYTES", "of a payload; 64 when not given", HEADER_SIZE, 64L * 1024 * 1024 },
		{ "window", 'w', FLAG_NUMBER, &o->window, "N", "messages of a publisher under way at once; 1000", 1, 1000000 },
		{ "retain", 0, FLAG_SWITCH, &o->retain, NULL, "every message is retained", 0, 0 },
		{ "new-topics", 0, FLAG_SWITCH, &o->new_topics, NULL, "every message has a topic of its own", 0, 0 },
		{ "rate", 'r', FLAG_NUMBER, &o->rate, "N", "messages a second of all publishers, instead of a window", 1, 100000000 },
		{ "duration", 'd', FLAG_NUMBER, &o->duration, "SECONDS", "to measure; 5 when not given", 1, DAY },
		{ "warmup", 0, FLAG_NUMBER, &o->warmup, "SECONDS", "before that; 1 when not given", 0, DAY },
		{ "count", 'n', FLAG_NUMBER, &o->count, "N", "messages of each publisher, then end (with --warmup 0)", 0, INT64_MAX },
		{ "connections", 'c', FLAG_NUMBER, &o->connections, "N", "for --mode idle and storm; 1000", 1, 4000000 },
		{ "concurrency", 0, FLAG_NUMBER, &o->concurrency, "N", "connections being opened at once; 50", 1, 100000 },
		{ "others", 0, FLAG_NUMBER, &o->others, "N", "subscriptions that nothing is published to; 100000 for --mode subscribe", 0, 100000000 },
		{ "others-kind", 0, FLAG_TEXT, &o->kind_name, "KIND", "exact, plus, hash or mixed (when not given)", 0, 0 },
		{ "others-each", 0, FLAG_NUMBER, &o->others_each, "N", "of them a client has; 1000", 1, 100000000 },
		{ "settle", 0, FLAG_NUMBER, &o->settle, "SECONDS", "between opening and reading the memory, or the storm; 2", 0, DAY },
		{ "on-input", 0, FLAG_SWITCH, &o->on_input, NULL, "say \"connected\" and wait for a line before the storm", 0, 0 },
		{ "protocol-version", 'V', FLAG_TEXT, &o->version_name, "VERSION", "mqttv31, mqttv311 (when not given) or mqttv5", 0, 0 },
		{ "session-expiry", 0, FLAG_NUMBER, &o->session_expiry, "SECONDS", "sessions stay so long after their clients; MQTT 5", 0, UINT32_MAX },
		{ "username", 'u', FLAG_TEXT, &o->user, "NAME", "user name", 0, 0 },
		{ "password-file", 0, FLAG_TEXT, &o->password_file, "FILE", "its first line is the password", 0, 0 },
		{ "id-prefix", 0, FLAG_TEXT, &o->id_prefix, "TEXT", "of the client ids", 0, 0 },
		{ "topic", 't', FLAG_TEXT, &o->topic, "PREFIX", "of the topics", 0, 0 },
		{ "cafile", 0, FLAG_TEXT, &o->cafile, "FILE", "trusted CAs; turns TLS on", 0, 0 },
		{ "cert", 0, FLAG_TEXT, &o->certfile, "FILE", "client certificate", 0, 0 },
		{ "key", 0, FLAG_TEXT, &o->keyfile, "FILE", "its private key", 0, 0 },
		{ "ciphers", 0, FLAG_TEXT, &o->ciphers, "LIST", "TLS 1.2 ciphers", 0, 0 },
		{ "tls-version", 0, FLAG_TEXT, &o->tls_min, "VERSION", "1.2 or 1.3, that one only", 0, 0 },
		{ "tls-use-os-certs", 0, FLAG_SWITCH, &o->os_certs, NULL, "trust the CAs of this system; turns TLS on", 0, 0 },
		{ "insecure", 0, FLAG_SWITCH, &o->insecure, NULL, "do not check the broker's name", 0, 0 },
		{ "websockets", 0, FLAG_SWITCH, &o->websockets, NULL, "MQTT over WebSocket, at /mqtt", 0, 0 },
		{ "resume", 0, FLAG_SWITCH, &o->resume, NULL, "resume TLS sessions", 0, 0 },
		{ "pid", 0, FLAG_LIST, &o->pids, "PID", "of the broker, to read its CPU time and memory (may be repeated)", 0, 0 },
		{ "json", 'j', FLAG_SWITCH, &o->json, NULL, "one line of JSON", 0, 0 },
	};
	const size_t n = sizeof flags / sizeof *flags;
	enum nj_err e = flags_parse(flags, n, argc, argv, NULL, &b->why);

	if (e == NJ_EOF) {
		help(flags, n);
		return EXIT_FINE;
	}
	if (e || (e = check(o, &b->why))) {
		say_why(&b->why, e);
		return EXIT_USAGE;
	}
	if ((e = run(b))) {
		say_why(&b->why, e);
		return EXIT_FAILED;
	}
	return EXIT_FINE;
}
/* clang-format on */

int
cmd_bench(int argc, char **argv)
{
	struct bench b = {
		.o = {
			.host = "127.0.0.1",
			.mode_name = "load",
			.pattern_name = "pairs",
			.version_name = "mqttv311",
			.kind_name = "mixed",
			.others_each = 1000,
			.id_prefix = "bench-",
			.topic = "bench",
			.pubs = 10,
			.subs = 10,
			.sub_qos = -1,
			.size = 64,
			.window = 1000,
			.duration = 5,
			.warmup = 1,
			.connections = 1000,
			.concurrency = 50,
			.settle = 2,
		},
	};
	int status = bench_main(&b, argc, argv);

	(void)fflush(stdout);
	bench_close(&b);
	return status;
}
