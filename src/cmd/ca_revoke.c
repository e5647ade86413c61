/* SPDX-License-Identifier: Apache-2.0
 * nightjar ca revoke, nightjar ca crl: certificates taken back, and the list
 * that tells others of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmd/ca.h"
#include "cmd/home.h"
#include "pki/crl.h"
#include "pki/issue.h"

static void
say_one(void *arg, const char *id, const char *serial)
{
	unsigned *n = arg;

	printf("Revoked the certificate of '%s', serial %s.\n", id, serial);
	(*n)++;
}

static void
say_list(const char *dir)
{
	char *path = pki_crl_path(dir);
	char day[16];

	ca_day(pki_crl_until(dir), day);
	if (path)
		printf("  list  %s (valid until %s)\n", path, day);
	free(path);
}

/* A certificate that is not the CA's to use again is not its device's to
 * find. */
static enum nj_err
clear_away(struct pki_ca *ca, const char *id, struct nj_why *why)
{
	return pki_check_id(id, NULL)
	    ? NJ_OK
	    : pki_device_set_aside(pki_ca_dir(ca), id, why);
}

static enum nj_err
first_of(const char *path, X509 **out, struct nj_why *why)
{
	STACK_OF(X509) *chain = NULL;
	enum nj_err e = pki_chain_load(path, &chain, why);

	if (!e)
		*out = sk_X509_shift(chain);
	sk_X509_pop_free(chain, X509_free);
	return e;
}

static enum nj_err
check_words(const struct flag_list *words, const char *file, const char *reason,
    struct pki_revoke *o, struct nj_why *why)
{
	if (words->n > 1 || (words->n == 1) == (file != NULL)) {
		why_set(
		    why, "one name, one serial number or one --file is needed");
		why_mend(why,
		    "nightjar ca revoke ID; nightjar ca list shows the names");
		return NJ_INVALID;
	}
	o->what = words->n ? words->v[0] : NULL;
	o->reason = pki_reason_of(reason);
	if (o->reason >= 0)
		return NJ_OK;
	why_set(why, "'%s' is no reason", reason);
	why_mend(why, "it is one of: " PKI_REASONS);
	return NJ_INVALID;
}

static enum nj_err
revoke(struct pki_ca *ca, const struct pki_revoke *o, struct nj_why *why)
{
	unsigned *n = o->arg;
	char esc[TEXT_ESC];
	enum nj_err e = pki_revoke(ca, o, why);

	if (e == NJ_EXISTS) {
		printf("'%s' has no certificate that is valid and not "
		       "revoked already.\n",
		    o->what ? text_esc(esc, sizeof esc, slice_str(o->what))
			    : "The file");
		e = NJ_OK;
	}
	/* also where the list could not be written: it is revoked */
	if (o->what && *n > 0) {
		enum nj_err away = clear_away(ca, o->what, e ? NULL : why);

		e = e ? e : away;
	}
	if (e)
		return e;
	say_list(pki_ca_dir(ca));
	if (*n > 0)
		printf("A broker that runs with this CA disconnects it now "
		       "and refuses it from now on.\n");
	return NJ_OK;
}

int
ca_revoke(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL, *pass = NULL;
	const char *reason = "unspecified";
	struct flag_list words = { 0 };
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "file", 0, FLAG_TEXT, &file, "CERT",
		    "the certificate in this file", 0, 0 },
		{ "reason", 0, FLAG_TEXT, &reason, "REASON",
		    "one of: " PKI_REASONS, 0, 0 },
		FLAG_PASS(&pass),
	};
	unsigned n = 0;
	struct pki_revoke o = { .fn = say_one, .arg = &n };
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage;

	usage = ca_parse(flags, COUNT(flags), argc, argv, &words,
	    "nightjar ca revoke ID|SERIAL|--file CERT [options]: takes "
	    "certificates back; a broker\nthat runs throws out who uses "
	    "them");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if ((e = check_words(&words, file, reason, &o, &why))) {
		say_why(&why, e);
		return EXIT_USAGE;
	}
	if ((!file || !(e = first_of(file, &o.cert, &why))) &&
	    !(e = ca_find(dir_given, &ca, &why)) &&
	    !(e = home_unlock(ca, pass, &why)))
		e = revoke(ca, &o, &why);
	if (e)
		say_why(&why, e);
	X509_free(o.cert);
	pki_ca_free(ca);
	return e ? EXIT_FAILED : EXIT_FINE;
}

int
ca_crl(int argc, char **argv)
{
	const char *dir_given = NULL, *pass = NULL, *url = NULL;
	long days = 0;
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		FLAG_DAYS(&days, "how long it is valid (7)"),
		{ "url", 0, FLAG_TEXT, &url, "URL",
		    "certificates made from now on say that the list is "
		    "there (none: they do not)",
		    0, 0 },
		FLAG_PASS(&pass),
	};
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage;

	usage = ca_parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar ca crl [options]: renews the list of revoked "
	    "certificates");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if (!(e = ca_find(dir_given, &ca, &why)) &&
	    !(e = home_unlock(ca, pass, &why)) &&
	    (!url ||
		!(e = pki_crl_set_url(pki_ca_dir(ca),
		      strcmp(url, "none") == 0 ? NULL : url, &why))) &&
	    !(e = pki_crl_renew(ca, (unsigned)days, &why))) {
		printf("Renewed the list of revoked certificates.\n");
		say_list(pki_ca_dir(ca));
	}
	if (e)
		say_why(&why, e);
	pki_ca_free(ca);
	return e ? EXIT_FAILED : EXIT_FINE;
}
