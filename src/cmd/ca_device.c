/* SPDX-License-Identifier: Apache-2.0
 * nightjar ca device: keys and certificates for devices, with what else they
 * need.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cmd/ca.h"
#include "cmd/ca_csv.h"
#include "cmd/home.h"
#include "cmd/package.h"
#include "pki/fleet.h"
#include "pki/issue.h"

/* What the command line says, and what comes of it. */
struct order {
	const char *dir, *file, *key_file, *p12, *p12_file, *host, *csv, *out;
	struct flag_list words, ips, groups, kits;
	bool again, ask;
	long days, port;
	char grouped[REGISTRY_GROUPS_MAX + 1];
	struct pki_names names;
	struct secret *pass, *p12_pass;
	struct package package;
	struct pki_ca *ca;
	char *to; /* where folders go */
};

static void
order_fini(struct order *o)
{
	secret_free(o->pass);
	secret_free(o->p12_pass);
	pki_ca_free(o->ca);
	free(o->to);
}

static void
say_new_device(const struct order *o, const char *id)
{
	printf("Made a certificate for the device '%s'. Copy this folder to "
	       "it, and to nowhere else:\n",
	    id);
	printf("  %s/%s\n", o->to, id);
	printf("    client.crt  its certificate, valid for %ld days\n",
	    o->days ? o->days : PKI_DEVICE_DAYS);
	printf("    client.key  its key%s\n",
	    o->pass ? ", encrypted with the passphrase you gave" : "");
	printf("    ca.crt      tells it the right server\n");
	if (o->grouped[0])
		printf("  in the groups %s\n", o->grouped);
	package_tell(&o->package);
}

static enum nj_err
take_secrets(struct order *o, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	if (o->ask)
		e = home_ask_twice(
		    "Passphrase for the device's key: ", &o->pass, why);
	else if (o->key_file)
		e = secret_from_file(o->key_file, &o->pass, why);
	if (!e && o->p12_file)
		e = secret_from_file(o->p12_file, &o->p12_pass, why);
	o->package.password = o->p12_pass ? o->p12_pass : o->pass;
	return e;
}

/* Where folders go: --out, which is made, or DIR/devices. */
static enum nj_err
take_out(struct order *o, struct nj_why *why)
{
	char *to, *real;
	enum nj_err e;

	to = o->out ? strdup(o->out) : pki_path(pki_ca_dir(o->ca), "devices");
	if (!to)
		return NJ_NOMEM;
	/* Others may pass through DIR/devices, to a folder that was given to
	 * them. */
	e = file_mkdir(to, o->out ? 0700 : 0711, why);
	if (!e && !(real = realpath(to, NULL)))
		e = NJ_IO;
	else if (!e)
		o->to = real;
	free(to);
	return e;
}

static enum nj_err
prepare(struct order *o, struct nj_why *why)
{
	enum nj_err e;

	if ((e = package_choose(
		 &o->package, o->p12, &o->kits, o->ask || o->key_file, why)) ||
	    (e = ca_add_addresses(&o->names, &o->ips, why)) ||
	    (e = fleet_groups(o->groups.v, o->groups.n, o->grouped, why)) ||
	    (e = ca_find(o->dir, &o->ca, why)) || (e = take_secrets(o, why)) ||
	    (e = take_out(o, why)))
		return e;
	if (o->package.n > 0)
		return package_find_broker(
		    &o->package, o->ca, o->host, o->port, why);
	return NJ_OK;
}

static void
fill_opts(struct order *o, struct batch_opts *b)
{
	*b = (struct batch_opts){ .out = o->to,
		.pass = o->pass,
		.again = o->again,
		.arg = &o->package };
	if (!package_is_empty(&o->package))
		b->fill = package_fill;
}

/*
 * One.
 */

static bool
has_certificate(const struct order *o, const char *id)
{
	char *path = NULL;
	struct stat st;
	bool yes;

	if (asprintf(&path, "%s/%s/client.crt", o->to, id) < 0)
		return false;
	yes = lstat(path, &st) == 0;
	free(path);
	return yes;
}

/* It has its certificate, and --p12 or --for ask for more. */
static enum nj_err
add_to_device(struct order *o, const char *id, struct nj_why *why)
{
	char *folder = pki_path(o->to, id);
	enum nj_err e;

	if (!folder)
		return NJ_NOMEM;
	printf("'%s' has its certificate already; it stays, and what was "
	       "asked for is added to\n  %s\n",
	    id, folder);
	e = package_add(&o->package, o->ca, folder, id, o->pass, why);
	if (!e)
		package_tell(&o->package);
	free(folder);
	return e;
}

static enum nj_err
make_one(struct order *o, struct nj_why *why)
{
	struct batch_item item = { .id = o->words.v[0],
		.days = (unsigned)o->days,
		.names = &o->names,
		.groups = o->groups.n ? o->grouped : NULL };
	struct batch_result result;
	struct batch_opts b;
	enum nj_err e;

	if ((e = pki_check_id(item.id, why)) || (e = prepare(o, why)))
		return e;
	if (has_certificate(o, item.id) && !o->again &&
	    !package_is_empty(&o->package))
		return add_to_device(o, item.id, why);
	fill_opts(o, &b);
	if ((e = home_unlock(o->ca, o->file, why)) ||
	    (e = batch_run(o->ca, &item, 1, &b, &result, why)))
		return e;
	say_new_device(o, item.id);
	return NJ_OK;
}

/*
 * Many.
 */

static void
say_progress(void *arg, size_t done, size_t of)
{
	(void)arg;
	(void)fprintf(
	    stderr, "\r%zu of %zu%s", done, of, done == of ? "\n" : "");
	(void)fflush(stderr);
}

static void
say_batch(const struct order *o, const struct batch_result *r)
{
	printf("Made %zu certificates in %s", r->made, o->to);
	if (r->finished)
		printf(", finished %zu that an interruption left", r->finished);
	if (r->kept)
		printf(", left %zu that were there", r->kept);
	printf(".\nEach folder has all that its device needs, and its key: "
	       "copy it there and to nowhere else.\n");
	package_tell(&o->package);
}

static enum nj_err
make_many(struct order *o, struct nj_why *why)
{
	struct ca_csv csv = { .days = (unsigned)o->days,
		.groups = o->groups.n ? o->grouped : NULL };
	struct batch_result result = { 0 };
	struct batch_opts b;
	enum nj_err e;

	if ((e = prepare(o, why)) || (e = ca_csv_load(&csv, o->csv, why)))
		goto out;
	fill_opts(o, &b);
	b.keep = true;
	b.progress = isatty(STDERR_FILENO) ? say_progress : NULL;
	if ((e = home_unlock(o->ca, o->file, why)))
		goto out;
	e = batch_run(o->ca, csv.items, csv.n, &b, &result, why);
	if (!e)
		say_batch(o, &result);
	else if (result.made + result.finished > 0)
		printf("%zu were made before that; the same line goes on "
		       "behind them.\n",
		    result.made + result.finished);
out:
	ca_csv_fini(&csv);
	return e;
}

/* 0, or 2 after saying what was wrong. */
static int
check_order(const struct order *o)
{
	struct nj_why why = { 0 };

	if (o->csv && o->words.n > 0) {
		why_set(&why, "--batch makes the devices of its file alone");
		why_mend(&why, "put '%s' into the file", o->words.v[0]);
	} else if (o->csv && !o->out) {
		why_set(&why, "--batch needs a folder for what it makes");
		why_mend(&why, "add --out DIR");
	} else if (o->csv && o->ips.n > 0) {
		why_set(&why, "--ip is of one device");
		why_mend(&why, "put addresses into the column ip of the file");
	} else if (!o->csv && o->words.n != 1) {
		why_set(&why, "one device's name is needed");
		why_mend(&why, "nightjar ca device ID");
	} else if (o->ask && o->key_file) {
		why_set(&why,
		    "--passphrase asks for what --key-passphrase-file gives");
		why_mend(&why, "leave one of them away");
	} else {
		return 0;
	}
	say_why(&why, NJ_INVALID);
	return EXIT_USAGE;
}

static const char usage_text[] =
    "nightjar ca device ID [options]: makes a key and certificate for a "
    "device, and with\n--p12 and --for what else it needs\n"
    "nightjar ca device --batch FILE --out DIR [options]: for many, from a "
    "file of lines\nID,GROUPS,ADDRESS,DAYS or with a first line that names "
    "the columns";

int
ca_device(int argc, char **argv)
{
	struct order *o = calloc(1, sizeof(*o));
	const struct flag flags[] = {
		FLAG_DIR(o ? &o->dir : NULL),
		{ "ip", 0, FLAG_LIST, o ? &o->ips : NULL, "ADDRESS",
		    "an address the device has; may be given often", 0, 0 },
		{ "group", 'g', FLAG_LIST, o ? &o->groups : NULL, "GROUP",
		    "a group it belongs to, for topic rules; may be given "
		    "often, or several with commas",
		    0, 0 },
		FLAG_DAYS(o ? &o->days : NULL, "how long it is valid (365)"),
		{ "again", 0, FLAG_SWITCH, o ? &o->again : NULL, NULL,
		    "a new key and certificate in place of the old", 0, 0 },
		{ "passphrase", 0, FLAG_SWITCH, o ? &o->ask : NULL, NULL,
		    "ask for a passphrase that encrypts the device's key", 0,
		    0 },
		{ "key-passphrase-file", 0, FLAG_TEXT, o ? &o->key_file : NULL,
		    "FILE", "the first line encrypts the device's key", 0, 0 },
		{ "p12", 0, FLAG_TEXT, o ? &o->p12 : NULL, "FORM",
		    "a PKCS#12 file too: modern, android, java", 0, 0 },
		{ "p12-password-file", 0, FLAG_TEXT, o ? &o->p12_file : NULL,
		    "FILE",
		    "the first line is its password; the key's passphrase, or "
		    "a random one kept beside it, otherwise",
		    0, 0 },
		{ "for", 0, FLAG_LIST, o ? &o->kits : NULL, "PLATFORM",
		    "a complete program for mosquitto, python, node, java, "
		    "go, esp32, arduino, browser, homeassistant; may be given "
		    "often",
		    0, 0 },
		{ "host", 0, FLAG_TEXT, o ? &o->host : NULL, "NAME",
		    "where the program finds the broker (the first name of its "
		    "certificate)",
		    0, 0 },
		{ "port", 0, FLAG_NUMBER, o ? &o->port : NULL, "PORT",
		    "its port (that of nightjar.conf, or 8883)", 1, 65535 },
		{ "batch", 0, FLAG_TEXT, o ? &o->csv : NULL, "FILE",
		    "a device for every line of this file (CSV)", 0, 0 },
		{ "out", 0, FLAG_TEXT, o ? &o->out : NULL, "DIR",
		    "where the devices' folders go (DIR/devices)", 0, 0 },
		FLAG_PASS(o ? &o->file : NULL),
	};
	struct nj_why why = { 0 };
	enum nj_err e = NJ_NOMEM;
	int status = 0;

	if (o)
		status = ca_parse(
		    flags, COUNT(flags), argc, argv, &o->words, usage_text);
	if (o && !status && !(status = check_order(o)))
		e = o->csv ? make_many(o, &why) : make_one(o, &why);
	if (!status && e)
		say_why(&why, e);
	if (o)
		order_fini(o);
	free(o);
	if (status)
		return status > 0 ? status : EXIT_FINE;
	return e ? EXIT_FAILED : EXIT_FINE;
}
