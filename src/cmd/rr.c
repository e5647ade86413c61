/* SPDX-License-Identifier: Apache-2.0
 * rr - nightjar rr, which is mosquitto_rr: a request, and the first response
 *      to it (MQTT 5.0 4.10).
 */
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cmd/client_opts.h"
#include "cmd/format.h"
#include "cmd/print.h"
#include "cmd/source.h"
#include "wire/topic.h"

#define BAD_OUTPUT 1
#define NS_A_S	   1000000000L

struct rr {
	struct cli o;
	struct client *client;
	struct printer out;
	struct publish request;
	struct buf text; /* its payload */
	struct nj_why why;
	struct timespec sent, received;
	uint64_t deadline; /* ms; 0: none */
	int status;
	bool ready;    /* the response topic is subscribed to */
	bool leaving;  /* answered, or nothing will be */
	bool answered; /* received is set */
	bool timed_out;
};

static void
leave(struct rr *r, int status)
{
	if (r->leaving)
		return;
	r->leaving = true;
	r->status = status;
	client_hold(r->client);
}

/* The response to somebody else's request says so; responders that know
 * nothing of correlation data say nothing. */
static bool
is_response(const struct rr *r, const struct publish *p)
{
	const struct props *asked = &r->request.props;

	if (p->retain && r->o.no_retained)
		return false;
	return !props_has(asked, PROP_CORRELATION_DATA) ||
	    !props_has(&p->props, PROP_CORRELATION_DATA) ||
	    slice_eq(asked->correlation_data, p->props.correlation_data);
}

static void
on_message(void *arg, const struct publish *p)
{
	struct rr *r = arg;

	if (r->leaving || !is_response(r, p))
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &r->received);
	r->answered = true;
	leave(r,
	    printer_message(&r->out, p) && fflush(stdout) == 0 ? 0
							       : BAD_OUTPUT);
}

static void
on_subscribed(
    void *arg, uint16_t id, struct slice codes, const struct props *props)
{
	struct rr *r = arg;

	if (codes.p[0] < RC_UNSPECIFIED) {
		r->ready = true;
		return;
	}
	cli_warn(&r->o, "Error: subscription to '%s' was refused: %s.",
	    r->o.response_topic,
	    client_reason(
		MQTT_SUBACK, (enum mqtt_ver)r->o.version, codes.p[0]));
	leave(r, codes.p[0]);
}

static void
on_published(void *arg, uint16_t id, uint8_t code, const struct props *props)
{
	struct rr *r = arg;

	if (code < RC_UNSPECIFIED)
		return;
	cli_warn(&r->o, "Error: the request was refused: %s.",
	    client_reason(MQTT_PUBACK, MQTT5, code));
	leave(r, code);
}

static void
on_trace(void *arg, const char *line)
{
	struct rr *r = arg;

	cli_trace(r->client, line);
}

static enum nj_err
bad(struct rr *r, const char *what, const char *mend)
{
	why_set(&r->why, "%s", what);
	why_mend(&r->why, "%s", mend);
	return NJ_INVALID;
}

static enum nj_err
check(struct rr *r)
{
	struct cli *o = &r->o;
	const char *topic;

	if (o->topics.n == 0 || o->source == SRC_NONE || !o->response_topic)
		return bad(r,
		    "all of topic, message, and response topic must be "
		    "supplied",
		    "give -t, -e, and one of -m, -f, -n and -s");
	/* As with other options, the last one counts. */
	topic = o->topics.v[o->topics.n - 1];
	if (!topic_name_ok(slice_str(topic)))
		return bad(r, "invalid publish topic",
		    "a topic to publish to is not empty and has no + or #");
	/* [MQTT-3.3.2-14] */
	if (!topic_name_ok(slice_str(o->response_topic)))
		return bad(r, "invalid response topic",
		    "it is not empty and has no + or #");
	if (props_has(&o->publish.p, PROP_RESPONSE_TOPIC))
		return bad(r, "the response topic is given twice",
		    "-e says it; leave out -D publish response-topic");
	if (o->format && format_check(o->format, &r->why))
		return NJ_INVALID;
	r->request = (struct publish){
		.topic = slice_str(topic),
		.qos = (uint8_t)o->qos,
		.retain = o->retain,
		.props = *cli_props(&o->publish),
	};
	r->request.props.response_topic = slice_str(o->response_topic);
	r->request.props.seen |= PROP_BIT(PROP_RESPONSE_TOPIC);
	return NJ_OK;
}

/* Milliseconds until -W is over; -1: never. */
static int
left_ms(const struct rr *r)
{
	uint64_t now = clock_mono(&clock_system);

	if (r->deadline == 0)
		return -1;
	if (r->deadline <= now)
		return 0;
	return r->deadline - now > INT32_MAX ? INT32_MAX
					     : (int)(r->deadline - now);
}

static bool
over(struct rr *r)
{
	r->timed_out = r->deadline != 0 && left_ms(r) == 0;
	return r->timed_out;
}

static enum nj_err
connect_in_time(struct rr *r)
{
	int left = left_ms(r);
	enum nj_err e;

	if (left < 0 || left > CLI_CONNECT_MS)
		left = CLI_CONNECT_MS;
	e = client_connect(r->client, left, &r->why);
	return e == NJ_TIMEOUT && over(r) ? NJ_OK : e;
}

static enum nj_err
subscribe(struct rr *r)
{
	struct subscription sub = {
		.filter = slice_str(r->o.response_topic),
		.qos = (uint8_t)r->o.qos,
		.retain_handling = (uint8_t)r->o.retain_handling,
		.retain_as_published = r->o.retain_as_published,
	};
	enum nj_err e = client_subscribe(
	    r->client, &sub, 1, cli_props(&r->o.subscribe), NULL);

	if (e)
		cli_not_subscribed(e, &r->why);
	return e;
}

/* Until that is so, or there is nothing to wait for any more. */
static enum nj_err
wait_for(struct rr *r, const bool *what)
{
	enum nj_err e;

	while (!*what && !r->leaving) {
		if (over(r))
			return NJ_OK;
		if ((e = client_step(r->client, left_ms(r), &r->why)))
			return e;
	}
	return NJ_OK;
}

static enum nj_err
ask(struct rr *r)
{
	enum nj_err e;

	(void)clock_gettime(CLOCK_MONOTONIC, &r->sent);
	e = client_publish(r->client, &r->request, NULL);
	return e ? cli_refused(&r->request, e, &r->why) : NJ_OK;
}

static void
tell_latency(const struct rr *r)
{
	long s = (long)(r->received.tv_sec - r->sent.tv_sec);
	long ns = r->received.tv_nsec - r->sent.tv_nsec;

	if (ns < 0) {
		s--;
		ns += NS_A_S;
	}
	if (s > 0)
		(void)printf("Latency: %ld.%09ld\n", s, ns);
	else if (ns < 1000)
		(void)printf("Latency: %ldns\n", ns);
	else if (ns < 1000000)
		(void)printf("Latency: %fµs\n", (double)ns / 1e3);
	else
		(void)printf("Latency: %fms\n", (double)ns / 1e6);
}

static enum nj_err
converse(struct rr *r)
{
	enum nj_err e;

	if ((e = connect_in_time(r)) || r->timed_out)
		return e;
	if ((e = subscribe(r)) || (e = wait_for(r, &r->ready)) ||
	    (r->ready && !r->leaving && !r->timed_out &&
		((e = ask(r)) || (e = wait_for(r, &r->answered))))) {
		if (client_connected(r->client))
			(void)!cli_goodbye(&r->o, r->client, RC_SUCCESS, NULL);
		return e;
	}
	if (r->answered && r->o.latency)
		tell_latency(r);
	return cli_goodbye(&r->o, r->client,
	    r->timed_out ? RC_DISCONNECT_WITH_WILL : RC_SUCCESS, &r->why);
}

static enum nj_err
run(struct rr *r)
{
	static const struct client_events quiet = {
		.on_message = on_message,
		.on_subscribed = on_subscribed,
		.on_published = on_published,
	};
	static const struct client_events debug = {
		.on_message = on_message,
		.on_subscribed = on_subscribed,
		.on_published = on_published,
		.on_trace = on_trace,
	};
	enum nj_err e;

	if ((e = source_load(&r->o, &r->text, &r->request.payload, &r->why)) ||
	    (e = cli_client(
		 &r->o, r->o.debug ? &debug : &quiet, r, &r->client, &r->why)))
		return e;
	if (r->o.timeout_s > 0)
		r->deadline =
		    clock_mono(&clock_system) + (uint64_t)r->o.timeout_s * 1000;
	return converse(r);
}

int
cmd_rr(int argc, char **argv)
{
	struct rr r = { .why = { .what = "" } };
	enum nj_err e = cli_parse(&r.o, CLI_RR, argc, argv);
	int status = e == NJ_EOF ? 0 : 1;

	printer_init(&r.out, &r.o);
	if (e)
		goto out;
	if ((e = check(&r))) {
		cli_usage_error(&r.o, &r.why);
		goto out;
	}
	e = run(&r);
	if (r.timed_out) {
		cli_warn(&r.o, "Timed out");
		status = CLI_EXIT_TIMEOUT;
	} else if (r.leaving) {
		/* How it said goodbye changes nothing. */
		status = r.status;
	} else {
		if (e)
			cli_error(&r.o, &r.why);
		status = cli_status(r.client, e);
	}
out:
	(void)fflush(stdout);
	client_free(r.client);
	printer_fini(&r.out);
	buf_fini(&r.text);
	cli_fini(&r.o);
	return status;
}
