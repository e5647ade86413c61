/* SPDX-License-Identifier: Apache-2.0
 * nightjar doctor: tries to connect as a client would, step by step, and says
 * which side refuses, why, and what mends it.
 */
#include "cmd/doctor.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "cmd/cmd.h"
#include "pki/key.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
/* A clock that says less was never set: this program is younger. */
#define YEAR_MADE 2026
/* And no program is used for so long without a new one. */
#define YEARS_USED 15

static const char *const states[] = {
	[DOC_OK] = "ok",
	[DOC_NOTE] = "note",
	[DOC_DOUBT] = "doubt",
	[DOC_FAIL] = "FAILS",
};

static const char *const sides[] = {
	[SIDE_NONE] = "",
	[SIDE_HERE] = "client",
	[SIDE_BROKER] = "broker",
	[SIDE_BETWEEN] = "network",
};

static void
keep(struct doctor *d, enum doctor_state s, enum doctor_side side,
    const char *step, const struct nj_why *why)
{
	json_t *o;

	if (!d->steps)
		d->steps = json_array();
	if (json_array_size(d->steps) >= DOCTOR_STEPS_MAX)
		return;
	o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "step", step, "state",
	    states[s], "refused_by", sides[side], "what", why->what, "mend",
	    why->mend);
	if (o)
		(void)json_array_append_new(d->steps, o);
}

void
doctor_say(struct doctor *d, enum doctor_state s, enum doctor_side side,
    const char *step, const struct nj_why *why)
{
	d->count[s]++;
	if (s == DOC_FAIL && d->count[s] == 1) {
		d->first = *why;
		d->first_side = side;
	}
	keep(d, s, side, step, why);
	if (d->ask.json)
		return;
	printf("%-6s %-12s %s\n", states[s], step, why->what);
	if (s != DOC_OK && why->mend[0])
		printf("%-19s to mend it: %s\n", "", why->mend);
	(void)fflush(stdout);
}

void
doctor_fine(struct doctor *d, const char *step, const char *fmt, ...)
{
	struct nj_why why = { 0 };
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why.what, sizeof why.what, fmt, ap);
	va_end(ap);
	doctor_say(d, DOC_OK, SIDE_NONE, step, &why);
}

const char *
doctor_name(const struct doctor *d)
{
	return d->servername ? d->servername : d->at.host;
}

static void
say_first(const struct doctor *d)
{
	static const char *const who[] = {
		[SIDE_NONE] = "Found",
		[SIDE_HERE] = "This side, the client, refuses",
		[SIDE_BROKER] = "The broker refuses",
		[SIDE_BETWEEN] = "The connection does not come about",
	};

	printf("\n%s: %s.\n", who[d->first_side], d->first.what);
	if (d->first.mend[0])
		printf("To mend it: %s\n", d->first.mend);
}

int
doctor_verdict(struct doctor *d)
{
	bool bad = d->count[DOC_FAIL] > 0;

	if (d->ask.json) {
		json_t *o = json_pack("{s:O, s:s, s:s, s:s, s:s}", "steps",
		    d->steps ? d->steps : json_null(), "verdict",
		    bad			      ? "fails"
			: d->count[DOC_DOUBT] ? "doubtful"
					      : "fine",
		    "refused_by", sides[d->first_side], "what", d->first.what,
		    "mend", d->first.mend);

		ask_print_json(o);
		json_decref(o);
	} else if (bad) {
		say_first(d);
	} else {
		printf("\nEverything works%s.\n",
		    d->count[DOC_DOUBT] ? ", with the doubts above" : "");
	}
	return bad ? EXIT_FAILED : EXIT_FINE;
}

/* A clock that was never set makes every certificate wrong. */
static void
check_clock(struct doctor *d)
{
	time_t now = time(NULL);
	struct nj_why why = { 0 };
	struct tm tm;
	char day[32];

	if (!gmtime_r(&now, &tm) ||
	    strftime(day, sizeof day, "%Y-%m-%d %H:%M", &tm) == 0)
		return;
	if (tm.tm_year + 1900 > YEAR_MADE + YEARS_USED) {
		why_set(&why,
		    "this machine's clock says %s UTC, more than %d years "
		    "after this program was made: if that is wrong, "
		    "certificates look as if they had expired",
		    day, YEARS_USED);
		why_mend(&why, "timedatectl set-ntp true");
		doctor_say(d, DOC_FAIL, SIDE_HERE, "clock", &why);
		return;
	}
	if (tm.tm_year + 1900 >= YEAR_MADE) {
		doctor_fine(d, "clock", "this machine says %s UTC", day);
		return;
	}
	why_set(&why,
	    "this machine's clock says %s UTC, which is before this program "
	    "was made: certificates look as if they were not valid yet",
	    day);
	why_mend(&why, "timedatectl set-ntp true");
	doctor_say(d, DOC_FAIL, SIDE_HERE, "clock", &why);
}

static int
examine(struct doctor *d)
{
	bool reached;

	check_clock(d);
	reached = doctor_own_files(d) && doctor_reach(d);
	/* What the broker writes of our knocking so far says nothing. */
	d->started_ms = clock_wall(&clock_system);
	(void)usleep(2 * 1000); /* its clock has no finer steps */
	if (reached && (!d->tls || doctor_tls(d)))
		doctor_login(d);
	if (d->local && d->count[DOC_FAIL] > 0 && d->first_side == SIDE_BROKER)
		doctor_record(d);
	return doctor_verdict(d);
}

/* -- options ------------------------------------------------------------- */

/* "-h HOST" as the clients take it, beside "-h" for help. */
static const char *
take_host(int *argc, char **argv)
{
	for (int i = 1; i + 1 < *argc; i++) {
		const char *host = argv[i + 1];

		if (strcmp(argv[i], "-h") != 0 || host[0] == '-')
			continue;
		memmove(argv + i, argv + i + 2,
		    (size_t)(*argc - i - 1) * sizeof *argv);
		*argc -= 2;
		return host;
	}
	return NULL;
}

/* The value of -P is gone from the process list. */
static enum nj_err
take_password(
    struct doctor *d, const char *given, const char *file, struct nj_why *why)
{
	size_t n = given ? strlen(given) : 0;
	enum nj_err e;

	if (file)
		return secret_from_file(file, &d->password, why);
	if (!given)
		return NJ_OK;
	if (!(e = secret_new(slice_of(given, n), &d->password)))
		memset((char *)(uintptr_t)given, '*', n);
	return e;
}

static enum nj_err
take_keypass(struct doctor *d, struct nj_why *why)
{
	char prompt[TEXT_ESC + 32];

	if (d->keypass_file)
		return secret_from_file(d->keypass_file, &d->keypass, why);
	if (!d->keyfile || !pki_key_is_encrypted(d->keyfile) ||
	    !isatty(STDIN_FILENO))
		return NJ_OK;
	(void)snprintf(
	    prompt, sizeof prompt, "Passphrase of %.150s: ", d->keyfile);
	return secret_from_tty(prompt, &d->keypass);
}

static enum nj_err
take_target(struct doctor *d, const struct flag_list *words, const char *host,
    long port, struct nj_why *why)
{
	enum nj_err e;

	if (words->n + (host != NULL) > 1) {
		why_set(why, "one HOST:PORT at a time");
		return NJ_INVALID;
	}
	if (words->n == 0 && !host && port == 0)
		return NJ_OK;
	d->host_is_url = host && strstr(host, "://");
	if (!host)
		host = words->n ? words->v[0] : "localhost";
	if ((e = target_parse(host, &d->at, why)))
		return e;
	d->has_target = true;
	if (port)
		d->at.port = (uint16_t)port;
	d->websocket |= d->at.websocket;
	if (d->at.has_scheme && !d->at.tls)
		d->no_tls = true;
	if (!d->at.port)
		d->at.port = d->no_tls ? 1883 : 8883;
	return NJ_OK;
}

static enum nj_err
check_pairs(const struct doctor *d, struct nj_why *why)
{
	if (!d->certfile != !d->keyfile)
		why_set(why, "--cert and --key belong together");
	else if (!d->psk != !d->psk_identity)
		why_set(why, "--psk and --psk-identity belong together");
	else
		return NJ_OK;
	why_mend(why, "give both, as the client does");
	return NJ_INVALID;
}

static void
usage(const struct flag *flags, size_t n)
{
	printf("nightjar doctor [HOST:PORT] [options]: tries to connect as a "
	       "client with the same\noptions would, step by step, and says "
	       "who refuses, why, and what mends it;\nwithout HOST:PORT: looks "
	       "at the configuration of the broker of this machine\n\n");
	flags_help(flags, n);
	printf("\nIt exits with 0 when all is well, 1 when something is not, "
	       "2 when it was asked wrongly.\n");
}

static int
run(struct doctor *d)
{
	if (d->last)
		return doctor_last(d);
	if (d->has_target)
		return examine(d);
	doctor_conf(d);
	return doctor_verdict(d);
}

int
cmd_doctor(int argc, char **argv)
{
	const char *password = NULL, *password_file = NULL;
	const char *host = take_host(&argc, argv);
	struct doctor d = { .ask = { .json = false } };
	struct flag_list words = { 0 };
	long port = 0;
	const struct flag flags[] = {
		{ "port", 'p', FLAG_NUMBER, &port, "PORT", "the broker's port",
		    1, UINT16_MAX },
		{ "cafile", 0, FLAG_TEXT, &d.cafile, "FILE",
		    "the CA of the broker's certificate", 0, 0 },
		{ "capath", 0, FLAG_TEXT, &d.capath, "DIR", "a folder of CAs",
		    0, 0 },
		{ "cert", 0, FLAG_TEXT, &d.certfile, "FILE",
		    "the client's certificate", 0, 0 },
		{ "key", 0, FLAG_TEXT, &d.keyfile, "FILE", "and its key", 0,
		    0 },
		{ "keypass-file", 0, FLAG_TEXT, &d.keypass_file, "FILE",
		    "the first line opens the key", 0, 0 },
		{ "username", 'u', FLAG_TEXT, &d.user, "USER", "the login", 0,
		    0 },
		{ "pw", 'P', FLAG_TEXT, &password, "PASSWORD",
		    "and its password", 0, 0 },
		{ "password-file", 0, FLAG_TEXT, &password_file, "FILE",
		    "the password is its first line", 0, 0 },
		{ "id", 'i', FLAG_TEXT, &d.id, "ID",
		    "the client id; who is connected with it is thrown out", 0,
		    0 },
		{ "protocol-version", 'V', FLAG_TEXT, &d.version, "VERSION",
		    "try only mqttv5, mqttv311 or mqttv31", 0, 0 },
		{ "topic", 't', FLAG_TEXT, &d.topic, "TOPIC",
		    "what to subscribe and publish to "
		    "(nightjar/doctor/...)",
		    0, 0 },
		{ "servername", 0, FLAG_TEXT, &d.servername, "NAME",
		    "the name to ask for and to find in the certificate", 0,
		    0 },
		{ "tls-alpn", 0, FLAG_TEXT, &d.alpn, "NAME",
		    "the protocol to ask for", 0, 0 },
		{ "psk", 0, FLAG_TEXT, &d.psk, "HEX", "a pre-shared key", 0,
		    0 },
		{ "psk-identity", 0, FLAG_TEXT, &d.psk_identity, "NAME",
		    "and whose it is", 0, 0 },
		{ "ws", 0, FLAG_SWITCH, &d.websocket, NULL, "over WebSocket", 0,
		    0 },
		{ "no-tls", 0, FLAG_SWITCH, &d.no_tls, NULL, "without TLS", 0,
		    0 },
		{ "insecure", 0, FLAG_SWITCH, &d.insecure, NULL,
		    "go on when the name does not fit, as a client with "
		    "--insecure does",
		    0, 0 },
		{ "last", 0, FLAG_SWITCH, &d.last, NULL,
		    "what the broker of this machine refused of late", 0, 0 },
		ASK_FLAGS(&d.ask),
	};
	struct nj_why why = { 0 };
	int status = EXIT_USAGE;
	enum nj_err e =
	    flags_parse(flags, COUNT(flags), argc, argv, &words, &why);

	if (e == NJ_EOF) {
		usage(flags, COUNT(flags));
		return EXIT_FINE;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (e || (e = take_target(&d, &words, host, port, &why)) ||
	    (e = check_pairs(&d, &why)) ||
	    (e = take_password(&d, password, password_file, &why)) ||
	    (e = take_keypass(&d, &why)))
		say_why(&why, e);
	else
		status = run(&d);
	json_decref(d.steps);
	secret_free(d.password);
	secret_free(d.keypass);
	return status;
}
