/* SPDX-License-Identifier: Apache-2.0
 * nightjar ca token, pending, approve, deny: letting devices in that have
 * nothing yet.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/ca.h"
#include "cmd/qr.h"
#include "conf/conf.h"
#include "pki/crl.h"
#include "pki/enrol.h"
#include "pki/fleet.h"
#include "pki/issue.h"
#include "pki/token.h"

#define EST_PORT  8885 /* of `nightjar up` */
#define MQTT_PORT 8883

struct token_flags {
	const char *dir, *expires, *at, *png, *remove;
	struct flag_list words, groups;
	long uses, days;
	bool again, approve, list, quiet, qr, mqtt;
};

/* "90s", "30m", "1h", "7d", "4w"; a bare number is of hours. */
static bool
take_span(const char *text, int64_t *out)
{
	static const struct {
		char unit;
		int64_t s;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', DAY },
		{ 'w', (int64_t)7 * DAY }, { 'y', (int64_t)365 * DAY },
		{ '\0', 3600 } };
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || n <= 0 || n > 1000000 || (*end && end[1]))
		return false;
	for (size_t i = 0; i < COUNT(units); i++)
		if (*end == units[i].unit) {
			*out = n * units[i].s;
			return *out <= PKI_TOKEN_TTL_MAX;
		}
	return false;
}

/* -- where devices ask ------------------------------------------------------ */

/* The port of the configuration's first listener for enrolment, 0: none. */
static uint16_t
configured_port(const char *dir, bool mqtt)
{
	const struct conf_args none = { 0 };
	char *path = pki_path(dir, "nightjar.conf");
	struct conf_report report = { 0 };
	struct conf c = { 0 };
	uint16_t port = 0;
	enum nj_err e;

	if (!path || access(path, R_OK) != 0) {
		free(path);
		return 0;
	}
	e = conf_load(path, &none, &c, &report);
	for (uint32_t i = 0; !e && port == 0 && i < c.nlisteners; i++)
		if ((mqtt ? c.listeners[i].enroll
			  : c.listeners[i].protocol == CONF_EST) &&
		    c.listeners[i].tls)
			port = c.listeners[i].port;
	if (e != NJ_NOMEM)
		conf_free(&c);
	conf_report_free(&report);
	free(path);
	return port;
}

/* What somebody asked for is best, then an address others can reach. */
static void
choose_host(const char *dir, char *dst, size_t size)
{
	struct pki_names extra = { 0 }, names = { 0 };
	const char *best = "localhost";

	if (pki_server_extra(dir, &extra, NULL) == NJ_OK && extra.n > 0) {
		best = extra.v[0].text;
	} else {
		pki_server_names(dir, &names);
		for (unsigned i = 0; i < names.n; i++)
			if (names.v[i].ip &&
			    strncmp(names.v[i].text, "127.", 4) != 0 &&
			    strcmp(names.v[i].text, "::1") != 0) {
				best = names.v[i].text;
				break;
			}
	}
	(void)snprintf(dst, size, "%s", best[0] == '*' ? "localhost" : best);
}

/* "HOST", "HOST:PORT", "[::1]:PORT" */
static bool
take_place(const char *at, struct pki_token_text *t)
{
	const char *colon = strrchr(at, ':');
	size_t n = strlen(at);
	long port;

	if (colon && (strchr(at, ':') == colon || at[0] == '[')) {
		if (colon[-(colon > at)] != ']' && at[0] == '[')
			colon = NULL;
		else if (!text_to_long(colon + 1, 1, 65535, &port))
			return false;
		else
			t->port = (uint16_t)port, n = (size_t)(colon - at);
	}
	if (n > 2 && at[0] == '[' && at[n - 1] == ']')
		at++, n -= 2;
	if (n == 0 || n >= sizeof t->host)
		return false;
	memcpy(t->host, at, n);
	t->host[n] = '\0';
	return true;
}

static enum nj_err
find_place(const char *dir, const char *at, bool mqtt, struct pki_token_text *t,
    struct nj_why *why)
{
	char esc[TEXT_ESC];

	t->port = configured_port(dir, mqtt);
	if (t->port == 0 && mqtt && !at)
		fprintf(stderr,
		    "Note: no listener of %s/nightjar.conf has 'enroll "
		    "true'; the token says port %u.\n",
		    dir, (unsigned)MQTT_PORT);
	if (t->port == 0)
		t->port = mqtt ? MQTT_PORT : EST_PORT;
	choose_host(dir, t->host, sizeof t->host);
	if (!at || take_place(at, t))
		return NJ_OK;
	why_set(why, "'%s' is no HOST:PORT",
	    text_esc(esc, sizeof esc, slice_str(at)));
	why_mend(why, "write it like broker.example.org:%d", EST_PORT);
	return NJ_INVALID;
}

/* -- tokens ----------------------------------------------------------------- */

/* An ID, or the beginning of IDs with a '*' behind it. */
static enum nj_err
take_what(const char *word, struct pki_token *t, struct nj_why *why)
{
	size_t n = strlen(word);
	char id[PKI_ID_MAX + 2];
	enum nj_err e;

	if (n > 0 && n <= PKI_ID_MAX && word[n - 1] == '*') {
		/* what stands before it must be able to begin a name */
		(void)snprintf(id, sizeof id, "%.*s0", (int)n - 1, word);
		if ((e = pki_check_id(id, why)))
			return e;
	} else if ((e = pki_check_id(word, why))) {
		return e;
	}
	(void)snprintf(t->what, sizeof t->what, "%s", word);
	return NJ_OK;
}

struct live {
	const struct pki_revoked *gone;
	const char *id;
	int64_t now;
	bool found;
};

static bool
find_live(void *arg, const struct registry_entry *e)
{
	struct live *l = arg;

	if (strcmp(e->kind, "device") == 0 && strcmp(e->id, l->id) == 0 &&
	    e->not_after > l->now && !pki_revoked_has(l->gone, e->serial, NULL))
		l->found = true;
	return !l->found;
}

/* Said now rather than when the device stands there with its token. */
static enum nj_err
check_free(
    const struct pki_ca *ca, const struct pki_token *t, struct nj_why *why)
{
	struct live l = { .id = t->what, .now = (int64_t)time(NULL) };
	struct pki_revoked *gone = NULL;
	enum nj_err e;

	if (t->again || strchr(t->what, '*'))
		return NJ_OK;
	if ((e = pki_revoked_load(pki_ca_registry(ca), &gone, why)))
		return e;
	l.gone = gone;
	e = registry_each(pki_ca_registry(ca), find_live, &l, why);
	pki_revoked_free(gone);
	if (e || !l.found)
		return e;
	why_set(why, "'%s' has a valid certificate already", t->what);
	why_mend(why,
	    "revoke that with: nightjar ca revoke %s; or add --again to let "
	    "it have a second one",
	    t->what);
	return NJ_EXISTS;
}

static enum nj_err
fill(const struct token_flags *f, struct pki_token *t, struct nj_why *why)
{
	int64_t span = PKI_TOKEN_TTL_S;
	enum nj_err e;

	if (f->words.n != 1) {
		why_set(why, "one name is needed");
		why_mend(why,
		    "nightjar ca token ID, or for many: nightjar ca token "
		    "'sensor-*' --uses 100");
		return NJ_INVALID;
	}
	if ((e = take_what(f->words.v[0], t, why)))
		return e;
	if (f->groups.n > 0) {
		if ((e = fleet_groups(
			 f->groups.v, f->groups.n, t->groups, why)))
			return e;
		t->has_groups = true;
	}
	if (f->expires && !take_span(f->expires, &span)) {
		why_set(why,
		    "--expires takes a time like 30m, 1h, 7d; a year "
		    "at most");
		return NJ_INVALID;
	}
	t->expires = (int64_t)time(NULL) + span;
	t->uses = f->uses ? (unsigned)f->uses : 1;
	t->days = (unsigned)f->days;
	t->again = f->again;
	t->approve = f->approve;
	if (t->uses > 1 && !strchr(t->what, '*')) {
		why_set(why,
		    "--uses needs a name with '*' at its end: one "
		    "name is one device");
		why_mend(why, "nightjar ca token '%s-*' --uses %u", t->what,
		    t->uses);
		return NJ_INVALID;
	}
	return NJ_OK;
}

static enum nj_err
show(const struct token_flags *f, const struct pki_token *t, const char *text,
    struct nj_why *why)
{
	bool tty = isatty(STDOUT_FILENO) == 1;
	char when[32] = "";
	time_t at = (time_t)t->expires;
	struct tm tm;
	enum nj_err e;

	if (f->png && (e = qr_png(text, f->png, why)))
		return e;
	if (f->quiet) {
		printf("%s\n", text);
		return NJ_OK;
	}
	if (localtime_r(&at, &tm))
		(void)strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
	if (t->uses > 1)
		printf("A token for %u devices named '%s', until %s.\n",
		    t->uses, t->what, when);
	else
		printf("A token for '%s', for one use, until %s.\n", t->what,
		    when);
	printf("It is shown only now, and whoever has it can be that "
	       "device.  On the device:\n\n"
	       "    nightjar enroll %s%s%s\n\n",
	    f->mqtt ? "--mqtt " : "", text,
	    strchr(t->what, '*') ? " --id ID" : "");
	if (f->png)
		printf("The QR code is in %s.\n", f->png);
	if (f->qr || (tty && !f->png && qr_works()))
		return qr_print(text, stdout, why);
	return NJ_OK;
}

static enum nj_err
make(struct pki_ca *ca, const struct token_flags *f, struct nj_why *why)
{
	const char *dir = pki_ca_dir(ca);
	struct pki_token_text text = { 0 };
	struct pki_token t = { 0 };
	char all[PKI_TOKEN_MAX + 1];
	enum nj_err e;

	if ((e = fill(f, &t, why)) || (e = check_free(ca, &t, why)) ||
	    (e = find_place(dir, f->at, f->mqtt, &text, why)) ||
	    (e = pki_spki_sha256(pki_ca_root(ca), text.pin)) ||
	    (e = pki_token_make(dir, &t, text.secret, why)) ||
	    (e = pki_token_print(&text, all)))
		return e;
	return show(f, &t, all, why);
}

static bool
list_one(void *arg, const struct pki_token *t)
{
	unsigned *n = arg;
	char end[16];

	if ((*n)++ == 0)
		printf("%-32s %-24s %-10s %-6s %-5s %s\n", "NAME", "FOR",
		    "UNTIL", "USES", "TRIES", "GROUPS");
	ca_day(t->expires, end);
	printf("%-32s %-24s %-10s %-6u %-5u %s%s\n", t->name, t->what, end,
	    t->uses, t->tries, t->groups, t->approve ? " (approval)" : "");
	return true;
}

int
ca_token(int argc, char **argv)
{
	struct token_flags f = { 0 };
	const struct flag flags[] = {
		FLAG_DIR(&f.dir),
		{ "group", 0, FLAG_LIST, &f.groups, "GROUP",
		    "a group of the devices; may be given often", 0, 0 },
		{ "expires", 0, FLAG_TEXT, &f.expires, "TIME",
		    "how long it is good (1h): 30m, 8h, 7d, ...", 0, 0 },
		{ "ttl", 0, FLAG_TEXT, &f.expires, "TIME",
		    "the same as --expires", 0, 0 },
		{ "uses", 0, FLAG_NUMBER, &f.uses, "N",
		    "for so many devices; ID must end in '*'", 1,
		    PKI_TOKEN_USES_MAX },
		{ "days", 0, FLAG_NUMBER, &f.days, "DAYS",
		    "how long the certificates are valid (365)", 1,
		    ENROL_DAYS_MAX },
		{ "at", 0, FLAG_TEXT, &f.at, "HOST:PORT",
		    "where devices reach the listener for enrolment", 0, 0 },
		{ "approve", 0, FLAG_SWITCH, &f.approve, NULL,
		    "each one waits for: nightjar ca approve", 0, 0 },
		{ "again", 0, FLAG_SWITCH, &f.again, NULL,
		    "although it has a valid certificate", 0, 0 },
		{ "mqtt", 0, FLAG_SWITCH, &f.mqtt, NULL,
		    "for a device that asks over MQTT (enroll true)", 0, 0 },
		{ "qr", 0, FLAG_SWITCH, &f.qr, NULL,
		    "as a QR code in the terminal, also where this is none", 0,
		    0 },
		{ "png", 0, FLAG_TEXT, &f.png, "FILE",
		    "the QR code as a picture", 0, 0 },
		{ "quiet", 'q', FLAG_SWITCH, &f.quiet, NULL,
		    "print the token and nothing else", 0, 0 },
		{ "list", 0, FLAG_SWITCH, &f.list, NULL,
		    "show the tokens that are still good for something", 0, 0 },
		{ "remove", 0, FLAG_TEXT, &f.remove, "NAME",
		    "forget the token of that name", 0, 0 },
	};
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	unsigned n = 0;
	enum nj_err e;
	int usage;

	usage = ca_parse(flags, COUNT(flags), argc, argv, &f.words,
	    "nightjar ca token ID [options]: lets a device ask for its "
	    "certificate by itself");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if ((e = ca_find(f.dir, &ca, &why)))
		goto out;
	if (f.remove) {
		if (!(e = pki_token_remove(pki_ca_dir(ca), f.remove, &why)))
			printf("Forgot the token %s.\n", f.remove);
	} else if (f.list) {
		e = pki_token_each(pki_ca_dir(ca), list_one, &n, &why);
		if (!e && n == 0)
			printf("No tokens.\n");
	} else {
		e = make(ca, &f, &why);
	}
out:
	if (e)
		say_why(&why, e);
	pki_ca_free(ca);
	return e ? e == NJ_INVALID ? EXIT_USAGE : EXIT_FAILED : EXIT_FINE;
}

/* -- approval --------------------------------------------------------------- */

static bool
show_pending(void *arg, const struct pending *p)
{
	static const char *const states[] = { "waits", "approved", "denied" };
	unsigned *n = arg;
	char day[16];

	if ((*n)++ == 0)
		printf("%-24s %-10s %-9s %-24s %s\n", "ID", "SINCE", "STATE",
		    "FROM", "KEY (SHA-256)");
	ca_day(p->since, day);
	printf("%-24s %-10s %-9s %-24s %.32s\n", p->id, day,
	    states[p->state <= PENDING_DENIED ? p->state : 0], p->from,
	    p->spki);
	return true;
}

int
ca_pending(int argc, char **argv)
{
	const char *dir = NULL;
	const struct flag flags[] = { FLAG_DIR(&dir) };
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	unsigned n = 0;
	enum nj_err e;
	int usage;

	usage = ca_parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar ca pending [options]: devices that wait for approval");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if (!(e = ca_find(dir, &ca, &why)) &&
	    !(e = pending_each(pki_ca_dir(ca), show_pending, &n, &why)) &&
	    n == 0)
		printf("Nothing waits.\n");
	if (e)
		say_why(&why, e);
	pki_ca_free(ca);
	return e ? EXIT_FAILED : EXIT_FINE;
}

static int
decide(int argc, char **argv, bool yes, const char *help)
{
	const char *dir = NULL;
	struct flag_list words = { 0 };
	const struct flag flags[] = { FLAG_DIR(&dir) };
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage;

	usage = ca_parse(flags, COUNT(flags), argc, argv, &words, help);
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if (words.n != 1) {
		why_set(&why, "one device's name is needed");
		why_mend(&why, "nightjar ca pending shows those that wait");
		say_why(&why, NJ_INVALID);
		return EXIT_USAGE;
	}
	if (!(e = ca_find(dir, &ca, &why)) &&
	    !(e = pending_decide(pki_ca_dir(ca), words.v[0], yes, &why)))
		printf("%s '%s'. It hears of it when it asks the next time.\n",
		    yes ? "Approved" : "Denied", words.v[0]);
	if (e)
		say_why(&why, e);
	pki_ca_free(ca);
	return e ? EXIT_FAILED : EXIT_FINE;
}

int
ca_approve(int argc, char **argv)
{
	return decide(argc, argv, true,
	    "nightjar ca approve ID [options]: lets a waiting device in");
}

int
ca_deny(int argc, char **argv)
{
	return decide(argc, argv, false,
	    "nightjar ca deny ID [options]: turns a waiting device away");
}
