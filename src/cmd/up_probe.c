/* SPDX-License-Identifier: Apache-2.0
 * The self test of `nightjar up`: what a first client would do, over TLS with
 * the first client's certificate.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rand.h"
#include "client/client.h"
#include "cmd/up.h"

#define PATIENCE_MS 5000
#define STEP_MS	    200

struct up_probe {
	struct client *client;
	pthread_t thread;
	bool started;
	atomic_bool stop;
	char topic[64], payload[40];
	bool subscribed, refused, received;
	double sent_ms, received_ms;
	struct up_result result;
	void (*done)(void *arg, const struct up_result *r);
	void *arg;
};

static double
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
on_subscribed(
    void *arg, uint16_t id, struct slice codes, const struct props *props)
{
	struct up_probe *p = arg;

	(void)id;
	(void)props;
	p->subscribed = true;
	p->refused = codes.n < 1 || codes.p[0] >= 0x80;
}

static void
on_message(void *arg, const struct publish *m)
{
	struct up_probe *p = arg;

	if (slice_is(m->topic, p->topic) && slice_is(m->payload, p->payload)) {
		p->received_ms = now_ms();
		p->received = true;
	}
}

enum nj_err
up_probe_new(const struct up *u, struct up_probe **out, struct nj_why *why)
{
	static const struct client_events events = { .on_message = on_message,
		.on_subscribed = on_subscribed };
	struct tls_client_opts tls = { .alpn = "mqtt" };
	struct client_opts o = { .host = u->host,
		.port = (uint16_t)u->port,
		.tls = &tls,
		.version = MQTT5,
		.keep_alive = 30,
		.events = &events };
	char *ca = NULL, *crt = NULL, *key = NULL;
	struct up_probe *p = NULL;
	enum nj_err e = NJ_NOMEM;
	uint64_t r[2];

	if (!(p = calloc(1, sizeof(*p))) ||
	    !(ca = up_device_path(u, "ca.crt")) ||
	    !(crt = up_device_path(u, "client.crt")) ||
	    !(key = up_device_path(u, "client.key")))
		goto out;
	rand_bytes(r, sizeof(r));
	(void)snprintf(p->topic, sizeof(p->topic), "nightjar/selftest/%016llx",
	    (unsigned long long)r[0]);
	(void)snprintf(p->payload, sizeof(p->payload), "%016llx",
	    (unsigned long long)r[1]);
	tls.cafile = ca;
	tls.certfile = crt;
	tls.keyfile = key;
	o.arg = p;
	if ((e = client_new(&o, &p->client, why)))
		goto out;
	*out = p;
	p = NULL;
out:
	free(key);
	free(crt);
	free(ca);
	up_probe_free(p);
	return e;
}

/* Steps until the flag is set. */
static enum nj_err
step_until(
    struct up_probe *p, const bool *flag, const char *what, struct nj_why *why)
{
	double end = now_ms() + PATIENCE_MS;
	enum nj_err e;

	while (!*flag) {
		if (atomic_load(&p->stop) || now_ms() > end) {
			why_set(why, "%s did not come within %d seconds", what,
			    PATIENCE_MS / 1000);
			return NJ_TIMEOUT;
		}
		if ((e = client_step(p->client, STEP_MS, why)))
			return e;
	}
	return NJ_OK;
}

static enum nj_err
send_and_receive(struct up_probe *p, struct nj_why *why)
{
	const struct subscription sub = { .filter = slice_str(p->topic),
		.qos = 1 };
	const struct publish m = { .qos = 1,
		.topic = slice_str(p->topic),
		.payload = slice_str(p->payload) };
	enum nj_err e;

	if ((e = client_subscribe(p->client, &sub, 1, NULL, NULL)) ||
	    (e = step_until(p, &p->subscribed, "the answer to SUBSCRIBE", why)))
		return e;
	if (p->refused) {
		why_set(
		    why, "the broker refused the subscription to %s", p->topic);
		return NJ_DENIED;
	}
	p->sent_ms = now_ms();
	if ((e = client_publish(p->client, &m, NULL)))
		return e;
	return step_until(p, &p->received, "the message that was sent", why);
}

/* Ends the connection; the client is not needed any more. */
static void
hang_up(struct up_probe *p)
{
	double end = now_ms() + PATIENCE_MS;

	if (client_disconnect(p->client, 0, NULL) == NJ_OK) {
		while (!atomic_load(&p->stop) && now_ms() < end) {
			if (client_step(p->client, STEP_MS, NULL))
				break;
		}
	}
	client_free(p->client);
	p->client = NULL;
}

static void *
probe_main(void *arg)
{
	struct up_probe *p = arg;
	struct up_result *r = &p->result;
	double begun = now_ms();
	const struct tls_peer *peer;
	enum nj_err e;

	e = client_connect(p->client, PATIENCE_MS, &r->why);
	r->handshake_ms = now_ms() - begun;
	if (!e && (peer = client_tls(p->client))) {
		memcpy(r->version, peer->version, sizeof(r->version));
		memcpy(r->cipher, peer->cipher, sizeof(r->cipher));
	}
	if (!e)
		e = send_and_receive(p, &r->why);
	if (e && r->why.what[0] == '\0')
		why_set(&r->why, "%s", nj_strerror(e));
	r->ok = e == NJ_OK;
	r->ms = p->received_ms - p->sent_ms;
	hang_up(p);
	if (!atomic_load(&p->stop))
		p->done(p->arg, r);
	return NULL;
}

enum nj_err
up_probe_start(struct up_probe *p,
    void (*done)(void *arg, const struct up_result *r), void *arg)
{
	sigset_t all, old;
	int failed;

	p->done = done;
	p->arg = arg;
	/* Signals are for the broker's main thread. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	failed = pthread_create(&p->thread, NULL, probe_main, p);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	p->started = failed == 0;
	return failed ? NJ_NOMEM : NJ_OK;
}

void
up_probe_free(struct up_probe *p)
{
	if (!p)
		return;
	atomic_store(&p->stop, true);
	if (p->started)
		(void)pthread_join(p->thread, NULL);
	client_free(p->client);
	free(p);
}
