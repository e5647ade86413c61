/* SPDX-License-Identifier: Apache-2.0
 * pub - nightjar pub, which is mosquitto_pub.
 */
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/client_opts.h"
#include "cmd/source.h"
#include "wire/topic.h"

struct pub {
	struct cli o;
	struct client *client;
	struct publish msg;
	struct buf text; /* the message, or lines not sent yet */
	struct nj_why why;
};

static void
on_published(void *arg, uint16_t id, uint8_t code, const struct props *props)
{
	struct pub *p = arg;

	if (code >= RC_UNSPECIFIED)
		cli_warn(&p->o, "Warning: Publish %u failed: %s.", id,
		    client_reason(MQTT_PUBACK, MQTT5, code));
}

static void
on_trace(void *arg, const char *line)
{
	struct pub *p = arg;

	cli_trace(p->client, line);
}

static enum nj_err
bad(struct pub *p, const char *what, const char *mend)
{
	why_set(&p->why, "%s", what);
	why_mend(&p->why, "%s", mend);
	return NJ_INVALID;
}

static enum nj_err
check(struct pub *p)
{
	struct cli *o = &p->o;
	const char *topic;
	bool alias = props_has(&o->publish.p, PROP_TOPIC_ALIAS);

	if (o->topics.n == 0 || o->source == SRC_NONE)
		return bad(p, "both topic and message must be supplied",
		    "give -t, and one of -m, -f, -l, -n and -s");
	/* As with other options, the last one counts. */
	topic = o->topics.v[o->topics.n - 1];
	if (!topic_name_ok(slice_str(topic)) && !(topic[0] == '\0' && alias))
		return bad(p, "invalid publish topic",
		    "a topic to publish to is not empty and has no + or #");
	if (o->repeat > 1 && o->source == SRC_LINES)
		return bad(p, "--repeat cannot be used with -l", "");
	p->msg = (struct publish){
		.topic = slice_str(topic),
		.qos = (uint8_t)o->qos,
		.retain = o->retain,
		.props = *cli_props(&o->publish),
	};
	return NJ_OK;
}

/* Sends one message, waiting for room as needed. */
static enum nj_err
send_one(struct pub *p, struct slice payload)
{
	enum nj_err e;

	p->msg.payload = payload;
	while ((e = client_publish(p->client, &p->msg, NULL)) == NJ_FULL)
		if ((e = client_step(p->client, -1, &p->why)))
			return e;
	return e ? cli_refused(&p->msg, e, &p->why) : NJ_OK;
}

static enum nj_err
pause_ms(struct pub *p, long ms)
{
	uint64_t now = clock_mono(&clock_system), end = now + (uint64_t)ms;
	enum nj_err e;

	for (; now < end; now = clock_mono(&clock_system))
		if ((e = client_step(p->client, (int)(end - now), &p->why)))
			return e;
	return NJ_OK;
}

static enum nj_err
send_repeated(struct pub *p)
{
	enum nj_err e;

	for (long i = 0; i < p->o.repeat; i++) {
		if (i > 0 && p->o.repeat_delay_ms > 0 &&
		    (e = pause_ms(p, p->o.repeat_delay_ms)))
			return e;
		if ((e = send_one(p, p->msg.payload)))
			return e;
	}
	return NJ_OK;
}

/* Sends the whole lines that have been read; at the end, what is left too. */
static enum nj_err
send_read_lines(struct pub *p, size_t *searched, bool end)
{
	struct slice all = buf_slice(&p->text);
	size_t from = 0;
	enum nj_err e;

	if (!all.p)
		return NJ_OK;
	for (;;) {
		const uint8_t *nl = *searched < all.n
		    ? memchr(all.p + *searched, '\n', all.n - *searched)
		    : NULL;
		size_t to = nl ? (size_t)(nl - all.p) : all.n;

		if (!nl && !(end && to > from))
			break;
		if ((e = send_one(p, slice_of(all.p + from, to - from))))
			return e;
		*searched = from = nl ? to + 1 : to;
	}
	buf_drain(&p->text, from);
	*searched = all.n - from;
	return NJ_OK;
}

static enum nj_err
send_lines(struct pub *p)
{
	size_t searched = 0;
	bool end = false;
	enum nj_err e;

	while (!end) {
		bool readable;

		if ((e = client_step_beside(
			 p->client, -1, STDIN_FILENO, &readable, &p->why)))
			return e;
		if (readable &&
		    ((e = source_read(&p->text, &end, &p->why)) ||
			(e = send_read_lines(p, &searched, end))))
			return e;
	}
	return NJ_OK;
}

/* Until the broker has answered for everything; then DISCONNECT. */
static enum nj_err
finish(struct pub *p)
{
	enum nj_err e;

	while (client_unanswered(p->client) > 0 || client_unsent(p->client) > 0)
		if ((e = client_step(p->client, -1, &p->why)))
			return e;
	if ((e = client_disconnect(
		 p->client, RC_SUCCESS, cli_props(&p->o.disconnect))))
		return e;
	while ((e = client_step(p->client, -1, &p->why)) == NJ_OK)
		;
	return e == NJ_EOF ? NJ_OK : e;
}

static enum nj_err
run(struct pub *p)
{
	static const struct client_events quiet = {
		.on_published = on_published,
	};
	static const struct client_events debug = {
		.on_published = on_published,
		.on_trace = on_trace,
	};
	enum nj_err e;

	if ((e = source_load(&p->o, &p->text, &p->msg.payload, &p->why)) ||
	    (e = cli_client(&p->o, p->o.debug ? &debug : &quiet, p, &p->client,
		 &p->why)) ||
	    (e = client_connect(p->client, CLI_CONNECT_MS, &p->why)))
		return e;
	e = p->o.source == SRC_LINES ? send_lines(p) : send_repeated(p);
	if (!e)
		return finish(p);
	/* What cannot be sent is no reason to go without a word. */
	if (client_connected(p->client))
		(void)!cli_goodbye(&p->o, p->client, RC_SUCCESS, NULL);
	return e;
}

int
cmd_pub(int argc, char **argv)
{
	struct pub p = { .why = { .what = "" } };
	enum nj_err e = cli_parse(&p.o, CLI_PUB, argc, argv);
	int status = e == NJ_EOF ? 0 : 1;

	if (e)
		goto out;
	if ((e = check(&p))) {
		cli_usage_error(&p.o, &p.why);
		goto out;
	}
	if ((e = run(&p)))
		cli_error(&p.o, &p.why);
	status = cli_status(p.client, e);
out:
	(void)fflush(stdout);
	client_free(p.client);
	buf_fini(&p.text);
	cli_fini(&p.o);
	return status;
}
