/* SPDX-License-Identifier: Apache-2.0
 * nightjar ca: makes the CA, and with it certificates for the server and for
 * devices.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cmd/cmd.h"
#include "cmd/flags.h"
#include "cmd/home.h"
#include "pki/ca.h"
#include "pki/explain.h"
#include "pki/issue.h"
#include "pki/registry.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define DAY	 86400

#define FLAG_DIR(dst)                                                         \
	{                                                                     \
		"dir", 0, FLAG_TEXT, dst, "DIR", "the folder of the CA", 0, 0 \
	}
#define FLAG_DAYS(dst, text)                                               \
	{                                                                  \
		"days", 0, FLAG_NUMBER, dst, "DAYS", text, 1, PKI_DAYS_MAX \
	}
#define FLAG_PASS(dst)                                        \
	{                                                     \
		"passphrase-file", 0, FLAG_TEXT, dst, "FILE", \
		    "the first line opens the CA's key", 0, 0 \
	}

/* 0, or 2 after saying what was wrong; -1 after printing the help. */
static int
parse(const struct flag *flags, size_t n, int argc, char **argv,
    struct flag_list *rest, const char *usage)
{
	struct nj_why why = { 0 };
	enum nj_err e = flags_parse(flags, n, argc, argv, rest, &why);

	if (e == NJ_EOF) {
		printf("%s\n\n", usage);
		flags_help(flags, n);
		return -1;
	}
	if (e) {
		say_why(&why, e);
		return EXIT_USAGE;
	}
	return 0;
}

static void
day_of(int64_t t, char dst[16])
{
	time_t at = (time_t)t;
	struct tm tm;

	if (!gmtime_r(&at, &tm) || strftime(dst, 16, "%Y-%m-%d", &tm) == 0)
		(void)snprintf(dst, 16, "?");
}

static void
end_of(X509 *x, char dst[16])
{
	int64_t from, to = 0;

	(void)pki_cert_dates(x, &from, &to);
	day_of(to, dst);
}

/*
 * ca init
 */

static void
say_new_ca(const struct pki_ca *ca, const char *kept)
{
	X509 *root = pki_ca_root(ca);
	char name[TEXT_ESC], print[96], end[16];

	pki_short_name(root, name, sizeof(name));
	pki_fingerprint(root, print);
	end_of(root, end);
	printf("Made the CA '%s', valid until %s.\n", name, end);
	printf("  certificate  %s/pki/ca.crt (clients need it to know the "
	       "server)\n",
	    pki_ca_dir(ca));
	printf("  key          %s/pki/ca.key (encrypted)\n", pki_ca_dir(ca));
	if (kept)
		printf("  passphrase   %s\n", kept);
	else
		printf("  passphrase   as you gave it; it is kept nowhere\n");
	printf("  fingerprint  SHA-256 %s\n", print);
	printf("Keep a copy of the folder pki and of the passphrase in two "
	       "safe places.\n");
}

static int
ca_init(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL, *name = NULL;
	bool ask = false;
	long days = 0;
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "name", 0, FLAG_TEXT, &name, "NAME",
		    "how the CA is called (common name)", 0, 0 },
		FLAG_DAYS(&days, "how long it is valid (7305: 20 years)"),
		{ "passphrase-file", 0, FLAG_TEXT, &file, "FILE",
		    "the first line encrypts the CA's key; a random one is "
		    "kept as DIR/ca.passphrase otherwise",
		    0, 0 },
		{ "ask-passphrase", 0, FLAG_SWITCH, &ask, NULL,
		    "ask for the passphrase and keep it nowhere", 0, 0 },
	};
	struct pki_ca_opts o = { 0 };
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	struct secret *pass = NULL;
	char *dir = NULL, *kept = NULL;
	enum nj_err e;
	int usage;

	usage = parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar ca init [options]: makes a certificate authority");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	o.name = name;
	o.days = (unsigned)days;
	if ((e = home_find(dir_given, true, &dir, &why)))
		goto out;
	if (pki_ca_exists(dir)) {
		/* Before a passphrase is asked for; pki_ca_init says it. */
		e = pki_ca_init(dir, &o, NULL, &ca, &why);
		goto out;
	}
	if ((e = home_new_passphrase(dir, file, ask, &pass, &kept, &why)) ||
	    (e = pki_ca_init(dir, &o, pass, &ca, &why)))
		goto out;
	say_new_ca(ca, kept);
out:
	if (e)
		say_why(&why, e);
	pki_ca_free(ca);
	secret_free(pass);
	free(kept);
	free(dir);
	return e ? EXIT_FAILED : EXIT_FINE;
}

/* Finds and opens the CA; its key stays locked. */
static enum nj_err
open_ca(const char *dir_given, struct pki_ca **out, struct nj_why *why)
{
	char *dir = NULL;
	enum nj_err e;

	if ((e = home_find(dir_given, false, &dir, why)))
		return e;
	e = pki_ca_open(dir, out, why);
	free(dir);
	return e;
}

static enum nj_err
add_names(
    struct pki_names *names, const struct flag_list *words, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	for (unsigned i = 0; !e && i < words->n; i++)
		e = pki_names_add(names, words->v[i], why);
	return e;
}

static enum nj_err
add_addresses(
    struct pki_names *names, const struct flag_list *ips, struct nj_why *why)
{
	enum nj_err e = add_names(names, ips, why);

	for (unsigned i = 0; !e && i < names->n; i++) {
		if (names->v[i].ip)
			continue;
		why_set(why, "'%s' is not an address", names->v[i].text);
		why_mend(why, "--ip takes one like 192.168.1.20 or fd00::7");
		e = NJ_INVALID;
	}
	return e;
}

/*
 * ca server
 */

static void
say_new_server(const struct pki_ca *ca, const struct pki_names *names)
{
	const char *dir = pki_ca_dir(ca);

	printf("Made the server's certificate, valid for:\n ");
	for (unsigned i = 0; i < names->n; i++)
		printf(" %s", names->v[i].text);
	printf("\n  certfile  %s/server/server.crt\n", dir);
	printf("  keyfile   %s/server/server.key\n", dir);
	printf("  cafile    %s/pki/ca.crt\n", dir);
	printf("A broker that is running reads them when it is started "
	       "again.\n");
}

/* Names that were asked for are remembered, so that `up` keeps them when it
 * renews the certificate. */
static enum nj_err
server_names(const char *dir, const struct flag_list *words,
    const struct flag_list *ips, struct pki_names *names, struct nj_why *why)
{
	struct pki_names extra = { 0 };
	enum nj_err e;

	if ((e = pki_server_extra(dir, &extra, why)) ||
	    (e = add_names(&extra, words, why)) ||
	    (e = add_names(&extra, ips, why)))
		return e;
	if (words->n + ips->n > 0 &&
	    (e = pki_server_set_extra(dir, &extra, why)))
		return e;
	pki_names_collect(names);
	pki_names_collect_dns(names);
	for (unsigned i = 0; !e && i < extra.n; i++)
		e = pki_names_add(names, extra.v[i].text, why);
	return e;
}

static int
ca_server(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL;
	struct flag_list words = { 0 }, ips = { 0 };
	long days = 0;
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "name", 0, FLAG_LIST, &words, "NAME",
		    "a further host name; may be given often", 0, 0 },
		{ "ip", 0, FLAG_LIST, &ips, "ADDRESS",
		    "a further address; may be given often", 0, 0 },
		FLAG_DAYS(&days, "how long it is valid (397)"),
		FLAG_PASS(&file),
	};
	struct pki_names names = { 0 };
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage;

	usage = parse(flags, COUNT(flags), argc, argv, &words,
	    "nightjar ca server [NAME|ADDRESS...] [options]: makes the "
	    "server's certificate, with\nall names and addresses of this "
	    "machine and those given");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if ((e = open_ca(dir_given, &ca, &why)) ||
	    (e = home_unlock(ca, file, &why)) ||
	    (e = server_names(pki_ca_dir(ca), &words, &ips, &names, &why)) ||
	    (e = pki_server_issue(ca, &names, (unsigned)days, &why)))
		say_why(&why, e);
	else
		say_new_server(ca, &names);
	pki_ca_free(ca);
	return e ? EXIT_FAILED : EXIT_FINE;
}

/*
 * ca device
 */

static void
say_new_device(const struct pki_ca *ca, const struct pki_device_opts *o)
{
	const char *dir = pki_ca_dir(ca);

	printf("Made a certificate for the device '%s'. Copy this folder to "
	       "it, and to nowhere else:\n",
	    o->id);
	printf("  %s/devices/%s\n", dir, o->id);
	printf("    client.crt  its certificate, valid for %u days\n",
	    o->days ? o->days : PKI_DEVICE_DAYS);
	printf("    client.key  its key%s\n",
	    o->pass ? ", encrypted with the passphrase you gave" : "");
	printf("    ca.crt      tells it the right server\n");
}

static int
ca_device(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL, *key_file = NULL;
	struct flag_list words = { 0 }, ips = { 0 };
	struct pki_device_opts o = { 0 };
	long days = 0;
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "ip", 0, FLAG_LIST, &ips, "ADDRESS",
		    "an address the device has; may be given often", 0, 0 },
		FLAG_DAYS(&days, "how long it is valid (365)"),
		{ "again", 0, FLAG_SWITCH, &o.again, NULL,
		    "a new key and certificate in place of the old", 0, 0 },
		{ "key-passphrase-file", 0, FLAG_TEXT, &key_file, "FILE",
		    "the first line encrypts the device's key", 0, 0 },
		FLAG_PASS(&file),
	};
	struct pki_names names = { 0 };
	struct nj_why why = { 0 };
	struct secret *pass = NULL;
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage;

	usage = parse(flags, COUNT(flags), argc, argv, &words,
	    "nightjar ca device ID [options]: makes a key and certificate "
	    "for a device");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if (words.n != 1) {
		why_set(&why, "one device's name is needed");
		why_mend(&why, "nightjar ca device ID");
		say_why(&why, NJ_INVALID);
		return EXIT_USAGE;
	}
	o.id = words.v[0];
	o.days = (unsigned)days;
	o.names = &names;
	e = pki_check_id(o.id, &why);
	if (!e)
		e = add_addresses(&names, &ips, &why);
	if (!e)
		e = open_ca(dir_given, &ca, &why);
	if (!e && key_file)
		e = secret_from_file(key_file, &pass, &why);
	if (!e)
		e = home_unlock(ca, file, &why);
	o.pass = pass;
	if (!e)
		e = pki_device_issue(ca, &o, &why);
	if (e)
		say_why(&why, e);
	else
		say_new_device(ca, &o);
	secret_free(pass);
	pki_ca_free(ca);
	return e ? EXIT_FAILED : EXIT_FINE;
}

/*
 * ca list
 */

struct listing {
	bool json;
	long expiring; /* days; -1: all */
	int64_t now;
	unsigned shown;
};

static const char *
state_of(const struct listing *l, int64_t not_after)
{
	if (not_after <= l->now)
		return "expired";
	if (not_after - l->now < (int64_t)30 * DAY)
		return "expiring";
	return "valid";
}

static bool
list_one(void *arg, const struct registry_entry *e)
{
	struct listing *l = arg;
	const char *state = state_of(l, e->not_after);
	char end[16];

	if (l->expiring >= 0 &&
	    e->not_after - l->now > (int64_t)l->expiring * DAY)
		return true;
	if (l->json) {
		/* Nothing in an entry needs escaping: pki_check_id, names of
		 * hosts, digits. */
		printf("%s\n  {\"kind\":\"%s\",\"id\":\"%s\",\"serial\":\"%s\","
		       "\"issued\":%" PRId64 ",\"not_after\":%" PRId64
		       ",\"state\":\"%s\",\"spki_sha256\":\"%s\"}",
		    l->shown ? "," : "", e->kind, e->id, e->serial, e->issued,
		    e->not_after, state, e->spki);
	} else {
		if (l->shown == 0)
			printf("%-7s %-24s %-10s %-9s %s\n", "KIND", "ID",
			    "UNTIL", "STATE", "SERIAL");
		day_of(e->not_after, end);
		printf("%-7s %-24s %-10s %-9s %s\n", e->kind, e->id, end, state,
		    e->serial);
	}
	l->shown++;
	return true;
}

static int
ca_list(int argc, char **argv)
{
	struct listing l = { .expiring = -1, .now = (int64_t)time(NULL) };
	const char *dir_given = NULL;
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "expiring", 0, FLAG_NUMBER, &l.expiring, "DAYS",
		    "only what ends within so many days", 0, PKI_DAYS_MAX },
		{ "json", 0, FLAG_SWITCH, &l.json, NULL,
		    "as JSON, times in Unix seconds", 0, 0 },
	};
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage;

	usage = parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar ca list [options]: every certificate the CA has "
	    "issued");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if ((e = open_ca(dir_given, &ca, &why)))
		goto out;
	if (l.json)
		printf("[");
	e = registry_each(pki_ca_registry(ca), list_one, &l, &why);
	if (l.json)
		printf("%s]\n", l.shown ? "\n" : "");
	else if (l.shown == 0)
		printf("Nothing%s.\n", l.expiring >= 0 ? " ends so soon" : "");
out:
	if (e)
		say_why(&why, e);
	pki_ca_free(ca);
	return e ? EXIT_FAILED : EXIT_FINE;
}

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "init", ca_init, "make a certificate authority" },
	{ "server", ca_server, "make the server's key and certificate" },
	{ "device", ca_device, "make a device's key and certificate" },
	{ "list", ca_list, "show every certificate it has issued" },
};

static void
help(FILE *to)
{
	(void)fprintf(to, "nightjar ca VERB [options]\n\n");
	for (size_t i = 0; i < COUNT(verbs); i++)
		(void)fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].help);
	(void)fprintf(to,
	    "\nnightjar ca VERB --help shows its options; "
	    "`nightjar up` does all of this by itself.\n");
}

int
cmd_ca(int argc, char **argv)
{
	struct nj_why why = { 0 };
	char safe[TEXT_ESC];

	if (argc < 2) {
		help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		help(stdout);
		return EXIT_FINE;
	}
	for (size_t i = 0; i < COUNT(verbs); i++) {
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	}
	text_esc(safe, sizeof(safe), slice_str(argv[1]));
	why_set(&why, "there is no 'nightjar ca %s'", safe);
	why_mend(&why, "it is one of: init, server, device, list");
	say_why(&why, NJ_INVALID);
	return EXIT_USAGE;
}
