/* SPDX-License-Identifier: Apache-2.0
 * doctor_last - what the broker of this machine wrote down of those who did
 *               not get in.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cmd/doctor.h"

#define LIMIT	       20
#define RECORD_MS      5000 /* how long a busy broker may take to write */
#define RECORD_STEP_US (50 * 1000)

enum looked { LOOKED_FOUND, LOOKED_NOTHING, LOOKED_MUTE };

static void
when_text(long long ms, char dst[32])
{
	time_t at = (time_t)(ms / 1000);
	struct tm tm;

	if (!localtime_r(&at, &tm) ||
	    strftime(dst, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		(void)snprintf(dst, 32, "?");
}

static void
show_one(const json_t *f)
{
	char peer[TEXT_ESC], listener[TEXT_ESC], stage[64], by[16];
	char what[600], mend[500], last[32], first[32];
	long long count = ask_number(f, "count");

	when_text(ask_number(f, "last_ms"), last);
	when_text(ask_number(f, "first_ms"), first);
	printf("%s  %s on %s, %s: the %s refused\n", last,
	    ask_text(f, "peer", peer, sizeof peer),
	    ask_text(f, "listener", listener, sizeof listener),
	    ask_text(f, "stage", stage, sizeof stage),
	    ask_text(f, "refused_by", by, sizeof by));
	printf("    %s\n", ask_text(f, "what", what, sizeof what));
	if (ask_text(f, "mend", mend, sizeof mend)[0])
		printf("    to mend it: %s\n", mend);
	if (count > 1)
		printf("    (%lld times since %s)\n", count, first);
}

/* Who was refused for a full disk is one of many: it stands there first. */
static void
show_store(struct doctor *d, json_t *r)
{
	json_t *status = NULL;
	struct nj_why why = { 0 };
	char store[200];

	if (ask(&d->ask, "status", NULL, &status, &why))
		return;
	if (d->ask.json)
		(void)json_object_set(
		    r, "store", json_object_get(status, "store"));
	else if (ask_store_mend(status)[0])
		printf("The broker's store is %s.\n    to mend it: %s\n",
		    ask_store(status, store, sizeof store),
		    ask_store_mend(status));
	json_decref(status);
}

int
doctor_last(struct doctor *d)
{
	json_t *r = NULL, *list;
	struct nj_why why = { 0 };
	enum nj_err e = ask(&d->ask, "refused", NULL, &r, &why);
	size_t n;

	if (e) {
		say_why(&why, e);
		return EXIT_FAILED;
	}
	list = json_object_get(r, "refused");
	n = json_array_size(list);
	show_store(d, r);
	if (d->ask.json)
		ask_print_json(r);
	else if (n == 0)
		printf("The broker has refused nobody, and nobody it, since it "
		       "started.\n");
	else /* the newest last, where it is seen */
		while (n > 0)
			show_one(json_array_get(list, --n));
	json_decref(r);
	return EXIT_FINE;
}

/* Of this run, and of the port that we tried. */
static bool
is_ours(const struct doctor *d, const json_t *f)
{
	char listener[TEXT_ESC], port[32];

	(void)snprintf(port, sizeof port, "port %u", d->at.port);
	return ask_number(f, "last_ms") > d->started_ms &&
	    strcmp(ask_text(f, "listener", listener, sizeof listener), port) ==
	    0;
}

/* Our own looks at versions and the like leave traces. */
static bool
is_of_looking(const struct doctor *d, const char *what)
{
	return strstr(what, "closed the connection before") ||
	    strstr(what, "closed its connection") ||
	    strstr(what, "no shared TLS version") ||
	    (d->certfile && strstr(what, "the client sent no certificate"));
}

static void
say_entry(struct doctor *d, const json_t *f)
{
	struct nj_why broker = { 0 };
	char text[sizeof broker.what], by[16];

	why_set(&broker, "the broker writes: %s",
	    ask_text(f, "what", text, sizeof text));
	why_mend(&broker, "%s", ask_text(f, "mend", text, sizeof broker.mend));
	doctor_say(d, DOC_NOTE, SIDE_NONE, "its record", &broker);
	(void)ask_text(f, "refused_by", by, sizeof by);
	if (d->first_side == SIDE_BROKER && strcmp(by, "broker") == 0) {
		(void)ask_text(f, "what", text, sizeof text);
		why_set(&d->first, "%s", text);
		why_mend(&d->first, "%s", broker.mend);
	}
}

/* Whether it has written of it, not yet, or cannot be asked. */
static enum looked
look_once(struct doctor *d)
{
	char text[sizeof((struct nj_why *)0)->what];
	struct nj_why why = { 0 };
	json_t *r = NULL, *list;
	bool told = false;

	if (ask(&d->ask, "refused", NULL, &r, &why))
		return LOOKED_MUTE;
	list = json_object_get(r, "refused");
	for (size_t i = 0; i < json_array_size(list) && i < LIMIT && !told;
	     i++) {
		const json_t *f = json_array_get(list, i);

		if (!is_ours(d, f) ||
		    is_of_looking(d, ask_text(f, "what", text, sizeof text)))
			continue;
		say_entry(d, f);
		told = true;
	}
	json_decref(r);
	return told ? LOOKED_FOUND : LOOKED_NOTHING;
}

void
doctor_record(struct doctor *d)
{
	uint64_t end = clock_mono(&clock_system) + RECORD_MS;

	d->ask.timeout_s = d->ask.timeout_s ? d->ask.timeout_s : 5;
	/* its answer to us goes out before it writes down why */
	while (
	    look_once(d) == LOOKED_NOTHING && clock_mono(&clock_system) < end)
		(void)usleep(RECORD_STEP_US);
}
