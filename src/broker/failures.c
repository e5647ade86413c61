/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/failures.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct failures {
	pthread_mutex_t lock;
	uint64_t turn; /* grows with each entry's use */
	struct {
		uint64_t used; /* 0: empty */
		struct failure f;
	} v[FAILURES_MAX];
};

static const char *const stages[] = {
	[FAILURE_CONNECTING] = "connecting",
	[FAILURE_PROXY] = "PROXY header",
	[FAILURE_TLS] = "TLS handshake",
	[FAILURE_WEBSOCKET] = "WebSocket upgrade",
	[FAILURE_CONNECT] = "CONNECT",
	[FAILURE_LOGIN] = "login",
	[FAILURE_ENROLMENT] = "enrolment",
};

const char *
failure_stage_name(enum failure_stage s)
{
	return (unsigned)s < sizeof stages / sizeof *stages ? stages[s] : "?";
}

/* By a phrase of the refusal. */
static const struct mend_row {
	const char *phrase, *mend;
} mends[] = {
	{ "no user name was given",
	    "give the client -u USER -P PASSWORD (nightjar passwd FILE USER "
	    "makes one), or a certificate; 'allow_anonymous true' lets "
	    "everybody in" },
	{ "takes no user name from it",
	    "'use_identity_as_username true' below the listener; "
	    "'allow_anonymous true' would let it in without a name" },
	{ "nothing that checks it",
	    "'password_file FILE' below the listener (nightjar passwd -c FILE "
	    "USER makes one), or leave the user name out where "
	    "'allow_anonymous true' is set" },
	{ "without a password", "give the client its password, too (-P)" },
	{ "the password is empty", "give the client its password (-P)" },
	{ "there is no such user",
	    "nightjar passwd FILE USER makes it; then reload the broker "
	    "(SIGHUP)" },
	{ "the password is wrong",
	    "give the client the right one, or set it anew: nightjar passwd "
	    "FILE USER, then reload the broker (SIGHUP)" },
	{ "no certificate to take its name",
	    "give the client a certificate: nightjar ca device ID (--cert, "
	    "--key)" },
	{ "no certificate, which would have to be",
	    "give the client a certificate: nightjar ca device ID --ip "
	    "ADDRESS (--cert, --key)" },
	{ "(peer_check cn_ip)",
	    "issue it for the address the client comes from, or remove the "
	    "peer_check line" },
	{ "(peer_check san_ip)",
	    "nightjar ca device ID --again --ip ADDRESS, or remove the "
	    "peer_check line" },
	{ "in the client's certificate",
	    "give it one with its name as common name: nightjar ca device "
	    "ID" },
	{ "too many logins are being checked",
	    "the client may try again in a moment" },
	{ "failed_logins_per_minute",
	    "wait a minute; look above for why they failed" },
	{ "only by an authentication method",
	    "use a client with SCRAM-SHA-256, or add password to "
	    "auth_methods" },
	{ "protocol version",
	    "use another version of MQTT (-V), or look at "
	    "accept_protocol_versions" },
	{ "its client identifier is not its own",
	    "give the client its certificate's name as id (-i), or none; or "
	    "'certificate_clientid any' below the listener" },
	{ "clientid_prefixes",
	    "choose a client id with such a prefix (-i), or look at "
	    "clientid_prefixes" },
	{ "use_username_as_clientid", "give the client -u USER" },
	{ "connections_per_second",
	    "let the client wait longer between its attempts" },
	{ "max_connections",
	    "close connections that are not needed, or raise the limit" },
	{ "PROXY header to a listener",
	    "add 'enable_proxy_protocol 2' below its listener line, or switch "
	    "it off in the proxy" },
	{ "one of version 1 came",
	    "write 'enable_proxy_protocol 1', or have the proxy send version "
	    "2 (HAProxy: send-proxy-v2)" },
	{ "one of version 2 came",
	    "write 'enable_proxy_protocol 2', or have the proxy send version "
	    "1 (HAProxy: send-proxy)" },
	{ "bad PROXY header",
	    "switch the PROXY protocol on in the proxy in front (send-proxy), "
	    "or remove enable_proxy_protocol" },
	{ "closed before its PROXY header",
	    "switch the PROXY protocol on in the proxy in front (send-proxy), "
	    "or remove enable_proxy_protocol" },
	{ "may not speak for others",
	    "if it is your proxy: proxy_protocol_from ADDRESS" },
	{ "TLS inside of TLS",
	    "leave the TLS options of the client out, or let the tunnel pass "
	    "on what it gets" },
	{ "TLS to a plain port",
	    "use the port of a TLS listener (8883 as a rule), or leave the "
	    "TLS options out" },
	{ "HTTP or WebSocket to an MQTT port",
	    "use the port of a listener with 'protocol websockets', or add "
	    "that line to this one" },
	{ "the store cannot be written",
	    "make room on its disk, or mend what the log says of the store; "
	    "'nightjar status' shows how it is" },
	{ "is revoked",
	    "give the device a new certificate: nightjar ca device ID "
	    "--again" },
};

const char *
failure_advice(const char *what)
{
	static const char *const verbs[] = { "nightjar ", "give ", "set ",
		"add ", "use ", "look ", "raise ", "connect to " };
	const char *p = what;

	/* a name in front may look like advice */
	for (const char *q = what; (q = strstr(q, "': ")); q++)
		p = q;
	while ((p = strstr(p, "; "))) {
		p += 2;
		for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
			if (strncmp(p, verbs[i], strlen(verbs[i])) == 0)
				return p;
	}
	return NULL;
}

const char *
failure_mend(const char *what)
{
	for (size_t i = 0; i < sizeof mends / sizeof *mends; i++)
		if (strstr(what, mends[i].phrase))
			return mends[i].mend;
	return "";
}

enum nj_err
failures_new(struct failures **out)
{
	struct failures *f = calloc(1, sizeof *f);

	if (!f)
		return NJ_NOMEM;
	if (pthread_mutex_init(&f->lock, NULL) != 0) {
		free(f);
		return NJ_NOMEM;
	}
	*out = f;
	return NJ_OK;
}

void
failures_free(struct failures *f)
{
	if (!f)
		return;
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Without its port. */
static size_t
address_len(const char *peer)
{
	const char *colon = strrchr(peer, ':');

	return colon ? (size_t)(colon - peer) : strlen(peer);
}

static bool
is_again(const struct failure *a, const struct failure *b)
{
	size_t n = address_len(a->peer);

	return a->stage == b->stage && n == address_len(b->peer) &&
	    memcmp(a->peer, b->peer, n) == 0 &&
	    strcmp(a->listener, b->listener) == 0 &&
	    strncmp(a->what, b->what, strlen(a->what)) == 0;
}

static void
fill_mend(struct failure *e)
{
	const char *advice = failure_advice(e->what), *mend = e->mend;

	if (!mend[0])
		mend = advice ? advice : failure_mend(e->what);
	if (mend != e->mend)
		(void)snprintf(e->mend, sizeof e->mend, "%s", mend);
	if (advice && mend == advice)
		e->what[advice - e->what - 2] = '\0';
}

void
failures_add(struct failures *f, const struct failure *one, int64_t now)
{
	size_t at = 0;
	struct failure *e;

	(void)pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < FAILURES_MAX; i++) {
		if (f->v[i].used && is_again(&f->v[i].f, one)) {
			at = i;
			break;
		}
		if (f->v[i].used < f->v[at].used)
			at = i;
	}
	e = &f->v[at].f;
	if (f->v[at].used && is_again(e, one)) {
		memcpy(e->peer, one->peer, sizeof e->peer);
		e->count += e->count < UINT32_MAX;
	} else {
		*e = *one;
		e->count = 1;
		e->first_ms = now;
		fill_mend(e);
	}
	e->last_ms = now;
	f->v[at].used = ++f->turn;
	(void)pthread_mutex_unlock(&f->lock);
}

unsigned
failures_copy(const struct failures *cf, struct failure *dst, unsigned max)
{
	struct failures *f = (struct failures *)(uintptr_t)cf;
	uint64_t below = UINT64_MAX;
	unsigned n = 0;

	(void)pthread_mutex_lock(&f->lock);
	while (n < max) {
		size_t at = FAILURES_MAX;

		for (size_t i = 0; i < FAILURES_MAX; i++)
			if (f->v[i].used && f->v[i].used < below &&
			    (at == FAILURES_MAX ||
				f->v[i].used > f->v[at].used))
				at = i;
		if (at == FAILURES_MAX)
			break;
		below = f->v[at].used;
		dst[n++] = f->v[at].f;
	}
	(void)pthread_mutex_unlock(&f->lock);
	return n;
}
