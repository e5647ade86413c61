/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/enroll_mqtt.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "auth/enrolling.h"
#include "base/text.h"
#include "client/client.h"

#define STEP_MS	   200
#define FORM	   "/p7"
#define KEEP_ALIVE 30

struct talk {
	struct https_result *out;
	bool answered, refused;
	enum nj_err e;
};

static bool
ends_with(struct slice s, const char *tail)
{
	size_t n = strlen(tail);

	return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

/* "202 The request waits...", "Retry-After: 30" */
static struct slice
take_words(struct slice body, struct https_result *out)
{
	static const char retry[] = "\nRetry-After: ";
	char text[512], word[4] = "", *at;
	size_t n = body.n < sizeof text ? body.n : sizeof text - 1;
	long v;

	if (n > 0)
		memcpy(text, body.p, n);
	text[n] = '\0';
	memcpy(word, text, 3);
	if (!text_to_long(word, 100, 599, &v) || n < 4)
		return body;
	out->status = (unsigned)v;
	if ((at = strstr(text, retry))) {
		at += sizeof retry - 1;
		at[strcspn(at, "\n")] = '\0';
		if (text_to_long(at, 0, 3600, &v))
			out->retry_after = (unsigned)v;
	}
	return slice_of(body.p + 4, body.n - 4);
}

static void
on_message(void *arg, const struct publish *p)
{
	struct slice body = p->payload;
	struct talk *t = arg;

	if (t->answered || !slice_has_prefix(p->topic, LIT(ENROLLING_REPLY)))
		return;
	t->answered = true;
	t->out->status = 200;
	if (!ends_with(p->topic, "/ok")) {
		t->out->status = 500;
		body = take_words(body, t->out);
	}
	t->e = body.n > HTTPS_BODY_MAX ? NJ_TOOBIG
				       : buf_put_slice(&t->out->body, body);
}

static void
on_published(void *arg, uint16_t id, uint8_t code, const struct props *props)
{
	struct talk *t = arg;

	(void)id;
	(void)props;
	t->refused |= code >= 0x80;
}

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum nj_err
talk(struct client *c, struct talk *t, const struct enroll_mqtt *o,
    const char *op, struct slice request, struct nj_why *why)
{
	int64_t end = now_ms() + o->timeout_ms;
	char topic[64];
	struct publish p = { .qos = 1, .payload = request };
	enum nj_err e;

	(void)snprintf(topic, sizeof topic, ENROLLING_TOPIC "%s" FORM, op);
	p.topic = slice_str(topic);
	e = client_connect(c, o->timeout_ms, why);
	if (e == NJ_DENIED && o->token) {
		why_set(why,
		    "%s:%u did not take the token: it is unknown, used up, too "
		    "old or for another name",
		    o->host, (unsigned)o->port);
		why_mend(why,
		    "the broker's log says which; another one is made with: "
		    "nightjar ca token ID --mqtt");
	}
	if (e || (e = client_publish(c, &p, NULL)))
		return e;
	while (!t->answered) {
		if (t->refused || now_ms() > end) {
			why_set(why, "%s:%u %s", o->host, (unsigned)o->port,
			    t->refused ? "does not enrol devices by MQTT"
				       : "did not answer in time");
			why_mend(why,
			    "the broker needs a listener with 'enroll true'");
			return t->refused ? NJ_INVALID : NJ_TIMEOUT;
		}
		if ((e = client_step(c, STEP_MS, why)))
			return e;
	}
	return t->e;
}

static void
hang_up(struct client *c)
{
	struct nj_why ignored;

	if (client_connected(c) && client_disconnect(c, 0, NULL) == NJ_OK)
		for (int i = 0; i < 5; i++)
			if (client_step(c, STEP_MS, &ignored))
				break;
}

enum nj_err
enroll_mqtt_ask(const struct enroll_mqtt *o, const char *op,
    struct slice request, struct https_result *out, struct nj_why *why)
{
	static const struct client_events events = { .on_message = on_message,
		.on_published = on_published };
	const struct tls_client_opts tls = { .alpn = "mqtt",
		.cafile = o->cafile,
		.unverified = !o->cafile,
		.certfile = o->certfile,
		.keyfile = o->keyfile };
	struct talk t = { .out = out };
	struct client_opts opts = { .host = o->host,
		.port = o->port,
		.tls = &tls,
		.version = MQTT5,
		.keep_alive = KEEP_ALIVE,
		.username = o->user,
		.events = &events,
		.arg = &t };
	struct secret *password = NULL;
	struct client *c = NULL;
	enum nj_err e = NJ_OK;

	*out = (struct https_result){ 0 };
	if (o->token)
		e = secret_new(slice_str(o->token), &password);
	opts.password = password;
	if (!e && !(e = client_new(&opts, &c, why))) {
		e = talk(c, &t, o, op, request, why);
		hang_up(c);
	}
	client_free(c);
	secret_free(password);
	if (e)
		buf_fini(&out->body);
	return e;
}
