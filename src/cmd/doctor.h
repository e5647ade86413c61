/* SPDX-License-Identifier: Apache-2.0
 * doctor - the steps of `nightjar doctor`, one file a kind.
 *
 * Owns:    struct doctor: what its steps found.
 * Threads: the main thread.
 * Bounds:  DOCTOR_STEPS_MAX steps are kept for JSON and the verdict.
 */
#ifndef NJ_CMD_DOCTOR_H
#define NJ_CMD_DOCTOR_H

#include <jansson.h>

#include "base/secret.h"
#include "cmd/ask.h"
#include "cmd/target.h"
#include "net/tls_probe.h"
#include "pki/items.h"

#define DOCTOR_STEPS_MAX 256

enum doctor_state { DOC_OK, DOC_NOTE, DOC_DOUBT, DOC_FAIL };
/* Who said no. */
enum doctor_side { SIDE_NONE, SIDE_HERE, SIDE_BROKER, SIDE_BETWEEN };

/* What a port speaks. */
enum doctor_speaks {
	SPEAKS_NOTHING, /* it hears, and does not answer anything we know */
	SPEAKS_TLS,
	SPEAKS_MQTT,
	SPEAKS_HTTP,
	SPEAKS_PROXY, /* it waits for a PROXY header */
	SPEAKS_OTHER  /* SSH, mail ... */
};

struct doctor {
	/* asked for */
	struct target at;
	const char *cafile, *capath, *certfile, *keyfile, *keypass_file;
	const char *user, *id, *topic, *servername, *alpn;
	const char *psk, *psk_identity, *version;
	bool has_target, websocket, no_tls, insecure, last;
	bool host_is_url; /* given with -h */
	struct secret *password, *keypass;
	struct ask_opts ask;
	/* found */
	enum doctor_speaks speaks;
	bool local;	    /* the broker is on this machine */
	bool tls;	    /* so we go on with it */
	bool cert_bad;	    /* its certificate: nothing secret is sent */
	bool wants_cert;    /* it asked for a certificate */
	int64_t started_ms; /* Unix time of the first real attempt */
	json_t *steps;
	unsigned count[DOC_FAIL + 1];
	struct nj_why first; /* the first failure */
	enum doctor_side first_side;
};

/* One step: printed at once, or kept for --json.  *why's mend is told with
 * what does not go well. */
void doctor_say(struct doctor *d, enum doctor_state s, enum doctor_side side,
    const char *step, const struct nj_why *why);
void doctor_fine(struct doctor *d, const char *step, const char *fmt, ...)
    NJ_PRINTF(3, 4);
/* The last word; the exit status. */
int doctor_verdict(struct doctor *d);
/* The name that the certificate has to carry. */
const char *doctor_name(const struct doctor *d);
/* A connection, or a step that says why not. */
bool doctor_dial(struct doctor *d, uint16_t port, int *fd, struct nj_why *why);

/* doctor_net.c: names, TCP, what the port speaks.  False: no use to go on. */
bool doctor_reach(struct doctor *d);
/* doctor_tls.c: versions, certificates, client certificate, ALPN. */
bool doctor_tls(struct doctor *d);
/* Files that were given, before anything is sent. */
bool doctor_own_files(struct doctor *d);
/* doctor_mqtt.c: logins, subscribe, publish. */
void doctor_login(struct doctor *d);
/* doctor_conf.c: the configuration of the broker of this machine. */
void doctor_conf(struct doctor *d);
/* given, or where such a configuration usually is; the caller frees it.  NULL:
 * none was found. */
NJ_MUST char *doctor_find_conf(const char *given);
/* doctor_last.c: the broker's own record.  What it wrote of this run, as
 * steps; all of it, printed. */
void doctor_record(struct doctor *d);
int doctor_last(struct doctor *d);

#endif
