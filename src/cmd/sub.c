/* SPDX-License-Identifier: Apache-2.0
 * sub - nightjar sub, which is mosquitto_sub.
 */
#include "cmd/cmd.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "cmd/client_opts.h"
#include "cmd/format.h"
#include "cmd/print.h"
#include "wire/topic.h"

#define RECONNECT_S 1
#define BAD_OUTPUT  1
#define RATE_MS	    1000

struct sub {
	struct cli o;
	struct client *client;
	struct nj_why why;
	struct printer out;
	struct rng rng;
	long left;	   /* messages until -C is satisfied */
	uint64_t deadline; /* ms; 0: none */
	int signals;	   /* signalfd, -1: none yet */
	int status;
	bool leaving;
	bool broken_off;    /* by a signal or -W, as mosquitto_sub has it */
	uint64_t next_rate; /* ms; when --message-rate prints again */
	unsigned long came; /* since it last did */
};

/* No more messages; what was begun is ended, then DISCONNECT. */
static void
leave(struct sub *s, int status)
{
	if (s->leaving)
		return;
	s->leaving = true;
	s->status = status;
	client_hold(s->client);
}

static bool
filtered_out(const struct sub *s, struct slice topic)
{
	for (size_t i = 0; i < s->o.filter_out.n; i++)
		if (topic_matches(slice_str(s->o.filter_out.v[i]), topic))
			return true;
	return false;
}

/* An empty retained message removes the one that is there (MQTT 5.0 3.3.1.3). */
static void
remove_retained(struct sub *s, struct slice topic)
{
	struct publish p = { .topic = topic, .retain = true, .qos = 1 };
	enum nj_err e = client_publish(s->client, &p, NULL);

	if (e == NJ_FULL || e == NJ_UNSUPPORTED) {
		p.qos = 0;
		e = client_publish(s->client, &p, NULL);
	}
	if (e)
		cli_warn(&s->o,
		    "Warning: a retained message was not removed: "
		    "%s.",
		    nj_strerror(e));
}

static void
on_message(void *arg, const struct publish *p)
{
	struct sub *s = arg;

	s->came++;
	if (s->leaving || s->o.message_rate)
		return;
	if (s->o.retained_only && !p->retain) {
		leave(s, 0);
		return;
	}
	if (filtered_out(s, p->topic))
		return;
	if (s->o.remove_retained && p->retain)
		remove_retained(s, p->topic);
	if (s->o.no_retained && p->retain)
		return;
	if (s->o.random_filter < 100.0 &&
	    (double)(rng_next(&s->rng) % 1000000) >= s->o.random_filter * 1e4)
		return;
	if (!printer_message(&s->out, p))
		leave(s, BAD_OUTPUT);
	if (s->left > 0 && --s->left == 0)
		leave(s, 0);
}

static void
on_subscribed(
    void *arg, uint16_t id, struct slice codes, const struct props *props)
{
	struct sub *s = arg;
	size_t refused = 0;

	if (s->o.debug && !s->o.quiet) {
		(void)printf("Subscribed (mid: %u)", id);
		for (size_t i = 0; i < codes.n; i++)
			(void)printf("%s%u", i ? ", " : ": ", codes.p[i]);
		(void)putchar('\n');
	}
	for (size_t i = 0; i < codes.n; i++) {
		if (codes.p[i] < RC_UNSPECIFIED)
			continue;
		refused++;
		cli_warn(&s->o,
		    "Warning: subscription to '%s' was refused: "
		    "%s.",
		    s->o.topics.v[i],
		    client_reason(
			MQTT_SUBACK, (enum mqtt_ver)s->o.version, codes.p[i]));
	}
	if (refused == codes.n) {
		cli_warn(&s->o, "All subscription requests were denied.");
		leave(s, codes.p[0]);
	} else if (s->o.exit_after_sub) {
		leave(s, 0);
	}
}

static void
on_trace(void *arg, const char *line)
{
	struct sub *s = arg;

	cli_trace(s->client, line);
}

static enum nj_err
bad(struct sub *s, const char *what, const char *mend)
{
	why_set(&s->why, "%s", what);
	why_mend(&s->why, "%s", mend);
	return NJ_INVALID;
}

static enum nj_err
check(struct sub *s)
{
	struct cli *o = &s->o;

	if (o->topics.n == 0 && o->unsubscribe_from.n == 0)
		return bad(s, "you must specify a topic to subscribe to",
		    "give -t TOPIC");
	if (o->no_retained && o->retained_only)
		return bad(s,
		    "combining '-R' and '--retained-only' makes no "
		    "sense",
		    "");
	if (o->format && format_check(o->format, &s->why))
		return NJ_INVALID;
	s->left = o->count;
	if (o->message_rate)
		o->watch = false;
	return NJ_OK;
}

static enum nj_err
subscribe(struct sub *s)
{
	const struct cli_list *t = &s->o.topics;
	struct subscription *subs;
	enum nj_err e;

	if (t->n == 0)
		return NJ_OK;
	if (!(subs = calloc(t->n, sizeof *subs)))
		return NJ_NOMEM;
	for (size_t i = 0; i < t->n; i++) {
		subs[i].filter = slice_str(t->v[i]);
		subs[i].qos = (uint8_t)s->o.qos;
		subs[i].retain_as_published = s->o.retain_as_published;
		subs[i].retain_handling = (uint8_t)s->o.retain_handling;
	}
	e = client_subscribe(
	    s->client, subs, t->n, cli_props(&s->o.subscribe), NULL);
	free(subs);
	return e;
}

static enum nj_err
unsubscribe(struct sub *s)
{
	const struct cli_list *t = &s->o.unsubscribe_from;
	struct slice *filters;
	enum nj_err e;

	if (t->n == 0)
		return NJ_OK;
	if (!(filters = calloc(t->n, sizeof *filters)))
		return NJ_NOMEM;
	for (size_t i = 0; i < t->n; i++)
		filters[i] = slice_str(t->v[i]);
	e = client_unsubscribe(
	    s->client, filters, t->n, cli_props(&s->o.unsubscribe), NULL);
	free(filters);
	return e;
}

/* While connected, the signals that end us are read; while connecting they
 * end us as they always do. */
static void
hold_signals(struct sub *s, bool hold)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	if (s->signals < 0)
		s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	(void)sigprocmask(
	    hold && s->signals >= 0 ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static enum nj_err
start(struct sub *s)
{
	enum nj_err e;

	if ((e = client_connect(s->client, CLI_CONNECT_MS, &s->why)))
		return e;
	hold_signals(s, true);
	if (s->o.timeout_s > 0 && s->deadline == 0)
		s->deadline =
		    clock_mono(&clock_system) + (uint64_t)s->o.timeout_s * 1000;
	if ((e = subscribe(s)) || (e = unsubscribe(s)))
		cli_not_subscribed(e, &s->why);
	if (e && client_connected(s->client))
		(void)!cli_goodbye(&s->o, s->client, RC_SUCCESS, NULL);
	return e;
}

/* Milliseconds until -W is over; -1: never. */
static int
left_ms(const struct sub *s)
{
	uint64_t now = clock_mono(&clock_system);

	if (s->deadline == 0)
		return -1;
	if (s->deadline <= now)
		return 0;
	return s->deadline - now > INT32_MAX ? INT32_MAX
					     : (int)(s->deadline - now);
}

/* The same, or until the next rate is to be printed. */
static int
turn_ms(const struct sub *s)
{
	uint64_t now = clock_mono(&clock_system);
	int left = left_ms(s), rate;

	if (!s->o.message_rate)
		return left;
	rate = s->next_rate > now ? (int)(s->next_rate - now) : 0;
	return left < 0 || rate < left ? rate : left;
}

static void
tell_rate(struct sub *s)
{
	uint64_t now = clock_mono(&clock_system);

	if (now < s->next_rate)
		return;
	(void)printf("%lu msgs/s\n", s->came);
	s->came = 0;
	s->next_rate = now + RATE_MS;
}

static enum nj_err
one_turn(struct sub *s)
{
	bool told = false;
	enum nj_err e;

	e = client_step_beside(
	    s->client, turn_ms(s), s->signals, &told, &s->why);
	if (s->o.message_rate)
		tell_rate(s);
	if (fflush(stdout) != 0 && !e)
		leave(s, BAD_OUTPUT);
	if (e)
		return e;
	if (told) {
		s->broken_off = true;
		leave(s, 0);
	}
	if (s->deadline && left_ms(s) == 0 && !s->leaving) {
		s->broken_off = true;
		cli_warn(&s->o, "Timed out");
		leave(s, CLI_EXIT_TIMEOUT);
	}
	return NJ_OK;
}

/* Whether trying again may help. */
static bool
passing(const struct sub *s, enum nj_err e)
{
	uint8_t code = client_code(s->client);

	if (e == NJ_DENIED)
		return code == RC_SERVER_SHUTTING_DOWN ||
		    code == RC_SERVER_BUSY || code == RC_SERVER_UNAVAILABLE ||
		    code == RC_KEEP_ALIVE_TIMEOUT;
	return e == NJ_EOF || e == NJ_IO || e == NJ_TIMEOUT ||
	    e == NJ_NOTFOUND || e == NJ_TLS;
}

/* After the connection was lost: until there is one again. */
static enum nj_err
come_back(struct sub *s)
{
	enum nj_err e;

	cli_warn(&s->o, "Warning: %s; trying again.", s->why.what);
	hold_signals(s, false);
	do {
		if (s->deadline && left_ms(s) == 0) {
			cli_warn(&s->o, "Timed out");
			return NJ_TIMEOUT;
		}
		(void)sleep(RECONNECT_S);
		e = start(s);
	} while (e && passing(s, e));
	return e;
}

static enum nj_err
run(struct sub *s)
{
	enum nj_err e;

	printer_start(&s->out);
	if ((e = start(s)))
		return e;
	s->next_rate = clock_mono(&clock_system) + RATE_MS;
	while (!s->leaving) {
		if (!(e = one_turn(s)))
			continue;
		if (s->leaving || !passing(s, e))
			return e;
		if ((e = come_back(s)) == NJ_TIMEOUT && s->deadline &&
		    left_ms(s) == 0) {
			s->status = CLI_EXIT_TIMEOUT;
			return NJ_OK;
		}
		if (e)
			return e;
	}
	return cli_goodbye(&s->o, s->client,
	    s->broken_off ? RC_DISCONNECT_WITH_WILL : RC_SUCCESS, &s->why);
}

int
cmd_sub(int argc, char **argv)
{
	static const struct client_events quiet = {
		.on_message = on_message,
		.on_subscribed = on_subscribed,
	};
	static const struct client_events debug = {
		.on_message = on_message,
		.on_subscribed = on_subscribed,
		.on_trace = on_trace,
	};
	struct sub s = { .signals = -1 };
	enum nj_err e = cli_parse(&s.o, CLI_SUB, argc, argv);
	int status = e == NJ_EOF ? 0 : 1;

	printer_init(&s.out, &s.o);
	if (e)
		goto out;
	if ((e = check(&s))) {
		cli_usage_error(&s.o, &s.why);
		goto out;
	}
	rand_bytes(&s.rng.s, sizeof s.rng.s);
	rng_seed(&s.rng, s.rng.s);
	e = cli_client(
	    &s.o, s.o.debug ? &debug : &quiet, &s, &s.client, &s.why);
	if (!e)
		e = run(&s);
	if (e)
		cli_error(&s.o, &s.why);
	status = s.status ? s.status : cli_status(s.client, e);
out:
	(void)fflush(stdout);
	client_free(s.client);
	if (s.signals >= 0)
		(void)close(s.signals);
	printer_fini(&s.out);
	cli_fini(&s.o);
	return status;
}
