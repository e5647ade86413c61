/* SPDX-License-Identifier: Apache-2.0
 * doctor_mqtt - logins with each version of MQTT; one message there and back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/text.h"
#include "client/client.h"
#include "cmd/doctor.h"
#include "pki/cert.h"

#define LOGIN_MS 8000
#define ROUND_MS 4000
#define STEP_MS	 100

struct trial {
	struct doctor *d;
	struct client *client;
	char topic[256], payload[40], id[40];
	bool subscribed, published, received;
	uint8_t sub_code, pub_code;
};

static void
on_subscribed(
    void *arg, uint16_t id, struct slice codes, const struct props *props)
{
	struct trial *t = arg;

	(void)id;
	(void)props;
	t->subscribed = true;
	t->sub_code = codes.n > 0 ? codes.p[0] : 0x80;
}

static void
on_published(void *arg, uint16_t id, uint8_t code, const struct props *props)
{
	struct trial *t = arg;

	(void)id;
	(void)props;
	t->published = true;
	t->pub_code = code;
}

static void
on_message(void *arg, const struct publish *m)
{
	struct trial *t = arg;

	t->received |= slice_is(m->payload, t->payload);
}

static const struct client_events events = {
	.on_message = on_message,
	.on_published = on_published,
	.on_subscribed = on_subscribed,
};

static const struct mqtt_version {
	enum mqtt_ver v;
	const char *name, *option;
} versions[] = {
	{ MQTT5, "5.0", "mqttv5" },
	{ MQTT311, "3.1.1", "mqttv311" },
	{ MQTT31, "3.1", "mqttv31" },
};

#define VERSIONS (sizeof versions / sizeof *versions)

/* Who is known by a certificate may have an id of that name only, as a rule:
 * the broker is asked for one, and MQTT 3.1, which must have one, gets the
 * certificate's name with something behind it. */
static void
choose_id(struct trial *t, enum mqtt_ver v)
{
	const struct doctor *d = t->d;
	STACK_OF(X509) *chain = NULL;
	char cn[16] = "";

	if (d->id || !d->certfile)
		return;
	t->id[0] = '\0';
	if (v != MQTT31 || pki_chain_load(d->certfile, &chain, NULL))
		return;
	(void)X509_NAME_get_text_by_NID(
	    X509_get_subject_name(sk_X509_value(chain, 0)), NID_commonName, cn,
	    sizeof cn);
	(void)snprintf(t->id, sizeof t->id, "%s:doctor", cn);
	sk_X509_pop_free(chain, X509_free);
}

static enum nj_err
log_in(struct trial *t, enum mqtt_ver v, struct nj_why *why)
{
	const struct doctor *d = t->d;
	struct tls_client_opts tls = {
		.cafile = d->cafile,
		.capath = d->capath,
		.os_certs = !d->cafile && !d->capath && !d->psk,
		.certfile = d->certfile,
		.keyfile = d->keyfile,
		.passphrase = d->keypass,
		.insecure = d->insecure,
		.alpn = d->alpn	   ? d->alpn
		    : d->websocket ? "http/1.1"
				   : "mqtt",
		.psk_identity = d->psk_identity,
		.psk_hex = d->psk,
	};
	struct client_opts o = {
		.host = doctor_name(d),
		.port = d->at.port,
		.websocket = d->websocket,
		.tls = d->tls ? &tls : NULL,
		.version = v,
		.client_id = t->id,
		.username = d->user,
		.password = d->password,
		.keep_alive = 30,
		.events = &events,
		.arg = t,
	};
	enum nj_err e;
	int fd;

	choose_id(t, v);
	if (!doctor_dial(t->d, d->at.port, &fd, why))
		return NJ_IO;
	client_free(t->client);
	t->client = NULL;
	if ((e = client_new(&o, &t->client, why)))
		return e;
	return client_connect_fd(t->client, fd, LOGIN_MS, why);
}

static enum doctor_side
side_of(enum nj_err e, const struct nj_why *why)
{
	if (e == NJ_DENIED || e == NJ_EOF || why->by_peer)
		return SIDE_BROKER;
	return e == NJ_TLS || e == NJ_INVALID ? SIDE_HERE : SIDE_BETWEEN;
}

/* Each version; the index of the first that is let in, or VERSIONS. */
static size_t
try_versions(struct trial *t)
{
	struct nj_why why[VERSIONS] = { { .what = "" } };
	enum nj_err e[VERSIONS] = { NJ_OK };
	const struct doctor *d = t->d;
	size_t good = VERSIONS, bad = VERSIONS;
	char yes[32] = "";

	for (size_t i = 0; i < VERSIONS; i++) {
		size_t n = strlen(yes);

		if (d->version && strcmp(d->version, versions[i].option) != 0)
			continue;
		e[i] = log_in(t, versions[i].v, &why[i]);
		if (e[i]) {
			bad = bad == VERSIONS ? i : bad;
			continue;
		}
		good = good == VERSIONS ? i : good;
		(void)snprintf(yes + n, sizeof yes - n, "%s%s", n ? ", " : "",
		    versions[i].name);
		(void)!client_disconnect(t->client, RC_SUCCESS, NULL);
		(void)!client_step(t->client, STEP_MS, NULL);
	}
	if (good < VERSIONS)
		doctor_fine(t->d, "login", "MQTT %s: the broker lets %s in",
		    yes, d->user ? d->user : "this client");
	for (size_t i = 0; i < VERSIONS; i++)
		if (e[i] && (good < VERSIONS || i == bad)) {
			if (good < VERSIONS)
				why_prefix(
				    &why[i], "MQTT %s", versions[i].name);
			doctor_say(t->d, good < VERSIONS ? DOC_NOTE : DOC_FAIL,
			    side_of(e[i], &why[i]), "login", &why[i]);
		}
	return good;
}

static enum nj_err
await(struct trial *t, const bool *flag, struct nj_why *why)
{
	uint64_t end = clock_mono(&clock_system) + ROUND_MS;
	enum nj_err e = NJ_OK;

	while (!*flag && !e) {
		if (clock_mono(&clock_system) >= end)
			return NJ_TIMEOUT;
		e = client_step(t->client, STEP_MS, why);
	}
	return e;
}

static void
not_allowed(
    struct trial *t, const char *verb, const char *right, const char *code)
{
	char topic[TEXT_ESC];
	struct nj_why why = { 0 };

	(void)text_esc(topic, sizeof topic, slice_str(t->topic));
	why_set(&why, "the broker does not let this client %s '%s': %s", verb,
	    topic, code);
	why_mend(&why,
	    "add to its acl_file, below 'user %s': topic %s %s; or try "
	    "another topic with -t",
	    t->d->user ? t->d->user : "NAME", right, topic);
	doctor_say(t->d, DOC_FAIL, SIDE_BROKER, verb, &why);
}

static void
lost(struct trial *t, const char *step, enum nj_err e, struct nj_why *why)
{
	if (e == NJ_TIMEOUT)
		why_set(why, "the broker did not answer within %d seconds",
		    ROUND_MS / 1000);
	doctor_say(t->d, DOC_FAIL, SIDE_BROKER, step, why);
}

static void
round_trip(struct trial *t, enum mqtt_ver v)
{
	struct subscription s = { .filter = slice_str(t->topic), .qos = 1 };
	struct publish m = { .qos = 1,
		.topic = slice_str(t->topic),
		.payload = slice_str(t->payload) };
	struct nj_why why = { 0 };
	enum nj_err e;

	if ((e = client_subscribe(t->client, &s, 1, NULL, NULL)) ||
	    (e = await(t, &t->subscribed, &why))) {
		lost(t, "subscribe", e, &why);
		return;
	}
	if (t->sub_code >= 0x80) {
		not_allowed(t, "subscribe", "read",
		    client_reason(MQTT_SUBACK, v, t->sub_code));
		return;
	}
	doctor_fine(t->d, "subscribe", "to %s: granted", t->topic);
	if ((e = client_publish(t->client, &m, NULL)) ||
	    (e = await(t, &t->published, &why))) {
		lost(t, "publish", e, &why);
		return;
	}
	if (t->pub_code >= 0x80) {
		not_allowed(t, "publish", "write",
		    client_reason(MQTT_PUBACK, v, t->pub_code));
		return;
	}
	if ((e = await(t, &t->received, &why))) {
		if (e != NJ_TIMEOUT) {
			lost(t, "publish", e, &why);
			return;
		}
		not_allowed(t, "publish", "readwrite",
		    "the message was taken and did not come back");
		return;
	}
	doctor_fine(t->d, "publish", "and the message came back");
}

void
doctor_login(struct doctor *d)
{
	struct trial t = { .d = d };
	struct nj_why why = { 0 };
	uint64_t r[2];
	size_t i;

	rand_bytes(r, sizeof r);
	(void)snprintf(
	    t.payload, sizeof t.payload, "%016llx", (unsigned long long)r[0]);
	(void)snprintf(t.id, sizeof t.id, "nj-doctor-%08llx",
	    (unsigned long long)r[1] & 0xffffffffULL);
	if (d->id)
		(void)snprintf(t.id, sizeof t.id, "%s", d->id);
	(void)snprintf(t.topic, sizeof t.topic, "%s%s",
	    d->topic ? d->topic : "nightjar/doctor/",
	    d->topic ? "" : t.payload);
	i = try_versions(&t);
	if (i < VERSIONS && log_in(&t, versions[i].v, &why) == NJ_OK) {
		round_trip(&t, versions[i].v);
		if (client_connected(t.client)) {
			(void)!client_disconnect(t.client, RC_SUCCESS, NULL);
			(void)!client_step(t.client, STEP_MS, NULL);
		}
	}
	client_free(t.client);
}
