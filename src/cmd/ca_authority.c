/* SPDX-License-Identifier: Apache-2.0
 * nightjar ca request, install, import and roll: CAs that are not made from
 * nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/ca.h"
#include "cmd/home.h"
#include "pki/authority.h"
#include "pki/crl.h"
#include "pki/explain.h"
#include "pki/key.h"

static int
end(struct nj_why *why, enum nj_err e)
{
	if (e)
		say_why(why, e);
	return e ? EXIT_FAILED : EXIT_FINE;
}

static int
usage_of(int usage)
{
	return usage > 0 ? usage : EXIT_FINE;
}

/*
 * ca request, ca install
 */

int
ca_request(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL, *name = NULL;
	bool ask = false;
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "name", 0, FLAG_TEXT, &name, "NAME",
		    "how the CA is to be called (common name)", 0, 0 },
		{ "passphrase-file", 0, FLAG_TEXT, &file, "FILE",
		    "the first line encrypts its key; a random one is kept as "
		    "DIR/ca.passphrase otherwise",
		    0, 0 },
		{ "ask-passphrase", 0, FLAG_SWITCH, &ask, NULL,
		    "ask for the passphrase and keep it nowhere", 0, 0 },
	};
	struct secret *pass = NULL;
	struct nj_why why = { 0 };
	char *dir = NULL, *kept = NULL;
	enum nj_err e;
	int usage, taken = -1;

	usage = ca_parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar ca request [options]: a key, and a request for the "
	    "certificate of a CA\nthat issues below your company's own");
	if (usage)
		return usage_of(usage);
	if (!(e = home_find(dir_given, true, &dir, &why)) &&
	    !(e = home_take(dir, &taken, &why)) &&
	    !(e = home_new_passphrase(dir, file, ask, &pass, &kept, &why)) &&
	    !(e = authority_request(dir, name, pass, &why))) {
		printf("Made a key and a request for its certificate:\n"
		       "  %s/pki/issuing.csr\n"
		       "Have it signed as a CA that issues (basicConstraints "
		       "CA:TRUE, pathlen 0 at least;\nkeyUsage keyCertSign, "
		       "cRLSign), then:\n"
		       "  nightjar ca install CERTIFICATE [--root ROOT]\n",
		    dir);
		if (kept)
			printf("The passphrase of the key is in %s\n", kept);
	}
	secret_free(pass);
	free(kept);
	home_release(taken);
	free(dir);
	return end(&why, e);
}

static void
say_ca(const struct pki_ca *ca, const char *verb)
{
	char name[TEXT_ESC], root[TEXT_ESC], print[96];

	pki_short_name(pki_ca_issuer(ca), name, sizeof(name));
	pki_short_name(pki_ca_root(ca), root, sizeof(root));
	pki_fingerprint(pki_ca_root(ca), print);
	printf("%s '%s'", verb, name);
	if (pki_ca_issuer(ca) != pki_ca_root(ca))
		printf(", below the root '%s'", root);
	printf(".\n  clients need   %s/pki/ca.crt\n"
	       "  fingerprint    SHA-256 %s\n",
	    pki_ca_dir(ca), print);
}

int
ca_install(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL, *root = NULL;
	struct flag_list words = { 0 };
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "root", 0, FLAG_TEXT, &root, "FILE",
		    "the root's certificate, and what is between, if CERT has "
		    "them not",
		    0, 0 },
		FLAG_PASS(&file),
	};
	struct secret *pass = NULL;
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	char *dir = NULL;
	enum nj_err e;
	int usage, taken = -1;

	usage = ca_parse(flags, COUNT(flags), argc, argv, &words,
	    "nightjar ca install CERT [options]: the certificate that came for "
	    "a request");
	if (usage)
		return usage_of(usage);
	if (words.n != 1) {
		why_set(&why, "the file with the certificate is needed");
		why_mend(&why, "nightjar ca install CERT");
		say_why(&why, NJ_INVALID);
		return EXIT_USAGE;
	}
	if (!(e = home_find(dir_given, false, &dir, &why)) &&
	    !(e = home_take(dir, &taken, &why)) &&
	    !(e = home_passphrase(dir, file, &pass, &why)) &&
	    !(e = authority_install(dir, words.v[0], root, pass, &why)) &&
	    !(e = pki_ca_open(dir, &ca, &why)))
		say_ca(ca, "From now on certificates are issued by");
	pki_ca_free(ca);
	secret_free(pass);
	home_release(taken);
	free(dir);
	return end(&why, e);
}

/*
 * ca import
 */

/* Of the key that is brought: from its file, or asked for. */
static enum nj_err
pass_of_import(
    const char *key, const char *file, struct secret **out, struct nj_why *why)
{
	enum nj_err e;

	if (file)
		return secret_from_file(file, out, why);
	if (!pki_key_is_encrypted(key))
		return NJ_OK;
	if ((e = secret_from_tty("Passphrase of the key: ", out))) {
		why_set(why, "the key '%s' is encrypted", key);
		why_mend(
		    why, "give its passphrase with --key-passphrase-file FILE");
	}
	return e;
}

static void
tell_doubt(void *arg, const struct nj_why *why)
{
	(void)arg;
	printf("  mind: %s\n", why->what);
	if (why->mend[0])
		printf("        %s\n", why->mend);
}

int
ca_import(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL, *key_file = NULL;
	struct authority_import in = { 0 };
	bool ask = false;
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "cert", 0, FLAG_TEXT, &in.cert, "FILE",
		    "the CA's certificate, with those above it", 0, 0 },
		{ "key", 0, FLAG_TEXT, &in.key, "FILE", "its key", 0, 0 },
		{ "key-passphrase-file", 0, FLAG_TEXT, &key_file, "FILE",
		    "the first line opens that key", 0, 0 },
		{ "root", 0, FLAG_TEXT, &in.root, "FILE",
		    "the root's certificate, and what is between", 0, 0 },
		{ "passphrase-file", 0, FLAG_TEXT, &file, "FILE",
		    "the first line encrypts the key here; a random one is "
		    "kept as DIR/ca.passphrase otherwise",
		    0, 0 },
		{ "ask-passphrase", 0, FLAG_SWITCH, &ask, NULL,
		    "ask for that passphrase and keep it nowhere", 0, 0 },
	};
	struct secret *pass = NULL, *key_pass = NULL;
	char *dir = NULL, *kept = NULL;
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage, taken = -1;

	usage = ca_parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar ca import --cert FILE --key FILE [options]: goes on with "
	    "a CA that was\nmade elsewhere, if it is sound");
	if (usage)
		return usage_of(usage);
	if (!in.cert || !in.key) {
		why_set(&why, "a CA's certificate and its key are needed");
		why_mend(&why, "nightjar ca import --cert FILE --key FILE");
		say_why(&why, NJ_INVALID);
		return EXIT_USAGE;
	}
	if (!(e = home_find(dir_given, true, &dir, &why)) &&
	    !(e = home_take(dir, &taken, &why)) &&
	    !(e = pass_of_import(in.key, key_file, &key_pass, &why)) &&
	    !(e = home_new_passphrase(dir, file, ask, &pass, &kept, &why))) {
		in.key_pass = key_pass;
		e = authority_import(dir, &in, pass, &why);
	}
	if (!e && !(e = pki_ca_open(dir, &ca, &why))) {
		say_ca(ca, "Goes on with the CA");
		if (kept)
			printf("  passphrase     %s\n", kept);
		pki_doubts(
		    pki_ca_issuer(ca), PKI_USE_CA, "the CA", tell_doubt, NULL);
		printf("What it issued before is believed, but is not in the "
		       "registry: devices by these\ncertificates are in no "
		       "group, and to take one back: nightjar ca revoke --file "
		       "CERT\nDestroy the key '%s' where it is not "
		       "needed.\n",
		    in.key);
	}
	pki_ca_free(ca);
	secret_free(key_pass);
	secret_free(pass);
	free(kept);
	home_release(taken);
	free(dir);
	return end(&why, e);
}

/*
 * ca roll
 */

struct roll {
	const char *dir, *file, *name, *offline, *new_root;
	bool now, finish, force, root;
	long days;
};

static void
tell_leftover(void *arg, const char *kind, const char *id, int64_t until)
{
	size_t *shown = arg;
	char day[16];

	if (++*shown == 21)
		printf("  ...\n");
	if (*shown > 20)
		return;
	ca_day(until, day);
	printf("  %-7s %-24s until %s\n", kind, id, day);
}

static enum nj_err
announce(struct pki_ca *ca, const struct roll *o, const struct secret *pass,
    struct nj_why *why)
{
	enum nj_err e;

	e = authority_announce(ca, o->name, (unsigned)o->days, pass, why);
	if (!e)
		printf("Made a successor of the CA; %s/pki/ca.crt now has "
		       "both.\nGive it to the clients in the time to come; "
		       "nothing else has changed.  Then:\n"
		       "  nightjar ca roll --switch\n",
		    pki_ca_dir(ca));
	return e;
}

static enum nj_err
switch_over(struct pki_ca *ca, const struct secret *pass, struct nj_why *why)
{
	enum nj_err e = authority_switch(ca, pass, why);

	if (!e)
		printf(
		    "The successor issues from now on, and both are "
		    "trusted.  Clients that know only the\nold one still "
		    "believe the server, by a certificate in between.  "
		    "Next:\n"
		    "  nightjar ca server              (its certificate by "
		    "the new CA)\n"
		    "  nightjar ca device ID --again   (or renew), for every "
		    "device\n"
		    "  nightjar ca roll --finish       (the old CA is "
		    "trusted no more)\n");
	return e;
}

static enum nj_err
finish(struct pki_ca *ca, const struct roll *o, const struct secret *pass,
    struct nj_why *why)
{
	size_t n = 0, shown = 0;
	enum nj_err e;

	if ((e = authority_leftovers(ca, tell_leftover, &shown, &n, why)))
		return e;
	if (n > 0 && !o->force) {
		why_set(why,
		    "%zu certificates of the old CA still hold, and would be "
		    "refused",
		    n);
		why_mend(why,
		    "give these a new one (nightjar ca device ID --again, "
		    "nightjar ca server), or end them with --force");
		return NJ_BUSY;
	}
	if (!(e = authority_finish(ca, pass, why)))
		printf(
		    "The old CA is no longer in %s/pki/ca.crt, and its key "
		    "is destroyed.\nA broker that runs with this file reads it "
		    "by itself; give it to the others.\n",
		    pki_ca_dir(ca));
	return e;
}

static enum nj_err
reissue(struct pki_ca *ca, const struct roll *o, const struct secret *pass,
    struct nj_why *why)
{
	enum nj_err e = authority_reissue(ca, o->offline, pass, pass, why);

	if (!e)
		printf("Another CA below the same root issues from now on; "
		       "clients need nothing new.\nTake '%s' away again.  "
		       "When all have certificates of the new one: nightjar ca "
		       "roll --finish\n",
		    o->offline);
	return e;
}

/* The successor of a root above the CA that issues. */
static enum nj_err
announce_root(struct pki_ca *ca, const struct roll *o,
    const struct secret *pass, struct nj_why *why)
{
	const struct authority_root a = { .name = o->name,
		.days = (unsigned)o->days,
		.old_dir = o->offline,
		.old_pass = pass,
		.new_dir = o->new_root };
	enum nj_err e = authority_announce_root(ca, &a, pass, why);

	if (e)
		return e;
	printf("Made a successor of the root, and a CA below it; %s/pki/ca.crt "
	       "now has both roots.\n",
	    pki_ca_dir(ca));
	if (o->new_root)
		printf("The new root's key is in %s: take it away and keep it "
		       "safe.\n",
		    o->new_root);
	if (o->offline)
		printf("Take '%s' away again: it is not needed any more.\n",
		    o->offline);
	printf("Give ca.crt to the clients in the time to come (devices that "
	       "enrol or renew get it by\nthemselves); nothing else has "
	       "changed.  Then:\n  nightjar ca roll --switch\n");
	return NJ_OK;
}

static enum nj_err
out_of_turn(const char *what, const char *mend, struct nj_why *why)
{
	why_set(why, "%s", what);
	why_mend(why, "%s", mend);
	return NJ_INVALID;
}

static enum nj_err
roll(const struct roll *o, struct nj_why *why)
{
	struct secret *pass = NULL;
	struct pki_ca *ca = NULL;
	enum authority_stage stage;
	char *dir = NULL;
	enum nj_err e;
	int taken = -1;

	if ((e = home_find(o->dir, false, &dir, why)) ||
	    (e = home_take(dir, &taken, why)) ||
	    (e = pki_ca_open(dir, &ca, why)) ||
	    (e = home_passphrase(pki_ca_dir(ca), o->file, &pass, why)) ||
	    (e = pki_ca_unlock(ca, pass, why)))
		goto out;
	stage = authority_stage(ca);
	if (o->finish)
		e = stage == ROLL_SWITCHED
		    ? finish(ca, o, pass, why)
		    : out_of_turn("there is no old CA to give up",
			  "nightjar ca roll begins with another", why);
	else if (o->now)
		e = stage == ROLL_NONE
		    ? out_of_turn("there is no successor yet",
			  "make it with: nightjar ca roll", why)
		    : switch_over(ca, pass, why);
	else if (stage != ROLL_NONE)
		e = out_of_turn("a roll-over is under way",
		    stage == ROLL_ANNOUNCED
			? "go on with: nightjar ca roll --switch"
			: "go on with: nightjar ca roll --finish",
		    why);
	else if (o->root)
		e = announce_root(ca, o, pass, why);
	else
		e = o->offline ? reissue(ca, o, pass, why)
			       : announce(ca, o, pass, why);
out:
	home_release(taken);
	secret_free(pass);
	pki_ca_free(ca);
	free(dir);
	return e;
}

/* The list of revoked certificates is signed by whoever issues. */
static void
renew_list(const struct roll *o)
{
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;

	if (!(e = ca_find(o->dir, &ca, &why)) &&
	    pki_crl_until(pki_ca_dir(ca)) != 0 &&
	    !(e = home_unlock(ca, o->file, &why)))
		e = pki_crl_renew(ca, 0, &why);
	if (e) {
		why_prefix(&why, "the list of revoked certificates stays old");
		say_why(&why, e);
	}
	pki_ca_free(ca);
}

int
ca_roll(int argc, char **argv)
{
	struct roll o = { 0 };
	const struct flag flags[] = {
		FLAG_DIR(&o.dir),
		{ "name", 0, FLAG_TEXT, &o.name, "NAME",
		    "how the successor is called", 0, 0 },
		FLAG_DAYS(&o.days, "how long the successor is valid (7305)"),
		{ "switch", 0, FLAG_SWITCH, &o.now, NULL,
		    "the successor issues from now on; both are trusted", 0,
		    0 },
		{ "finish", 0, FLAG_SWITCH, &o.finish, NULL,
		    "the old one is trusted no more", 0, 0 },
		{ "force", 0, FLAG_SWITCH, &o.force, NULL,
		    "with --finish, although certificates of it still hold", 0,
		    0 },
		{ "offline-root", 0, FLAG_TEXT, &o.offline, "DIR",
		    "where an issuing CA is below a root: another one, by the "
		    "root's key in DIR; with --root, where that key is now",
		    0, 0 },
		{ "root", 0, FLAG_SWITCH, &o.root, NULL,
		    "where an issuing CA is below a root: a successor of that "
		    "root",
		    0, 0 },
		{ "new-root", 0, FLAG_TEXT, &o.new_root, "DIR",
		    "with --root: the new root's key goes to DIR, to be taken "
		    "away",
		    0, 0 },
		FLAG_PASS(&o.file),
	};
	struct nj_why why = { 0 };
	enum nj_err e;
	int usage;

	usage = ca_parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar ca roll [options]: replaces the CA in three steps: "
	    "without an option the\nsuccessor is made and told of; --switch; "
	    "--finish");
	if (usage)
		return usage_of(usage);
	if (!(e = roll(&o, &why)))
		renew_list(&o);
	return end(&why, e);
}
