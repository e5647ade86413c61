/* SPDX-License-Identifier: Apache-2.0
 * nightjar ca: makes the CA, and with it certificates for the server and for
 * devices.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cmd/ca.h"
#include "cmd/cmd.h"
#include "cmd/home.h"
#include "pki/ca.h"
#include "pki/crl.h"
#include "pki/explain.h"
#include "pki/fleet.h"
#include "pki/issue.h"
#include "pki/registry.h"

int
ca_parse(const struct flag *flags, size_t n, int argc, char **argv,
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

void
ca_day(int64_t t, char dst[16])
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
	ca_day(to, dst);
}

/*
 * ca init
 */

static void
say_where_the_key_is(const struct pki_ca *ca, const struct pki_ca_opts *o)
{
	if (!o->offline_root)
		printf("  key          %s/pki/ca.key (%s)\n", pki_ca_dir(ca),
		    o->key_uri && !o->issuing
			? "says where it is in the hardware module"
			: "encrypted");
	if (o->offline_root || o->issuing)
		printf("  issuing CA   %s/pki/issuing.crt, and issuing.key "
		       "(%s)\n",
		    pki_ca_dir(ca),
		    o->key_uri ? "says where it is in the hardware module"
			       : "encrypted");
}

static void
say_new_ca(
    const struct pki_ca *ca, const struct pki_ca_opts *o, const char *kept)
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
	say_where_the_key_is(ca, o);
	if (kept)
		printf("  passphrase   %s\n", kept);
	else
		printf("  passphrase   as you gave it; it is kept nowhere\n");
	printf("  fingerprint  SHA-256 %s\n", print);
	printf("Keep a copy of the folder pki and of the passphrase in two "
	       "safe places.\n");
}

/* "10.0.0.0/8" with a mask, as OpenSSL wants it. */
static bool
put_network(const char *text, struct buf *out, enum nj_err *e)
{
	char addr[INET6_ADDRSTRLEN], mask[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	unsigned char a[16], m[16] = { 0 };
	long bits = 0;
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;
	long most = family == AF_INET6 ? 128 : 32;
	size_t n = slash ? (size_t)(slash - text) : strlen(text);

	if (n >= sizeof(addr))
		return false;
	memcpy(addr, text, n);
	addr[n] = '\0';
	if (inet_pton(family, addr, a) != 1)
		return false;
	bits = most;
	if (slash && !text_to_long(slash + 1, 0, most, &bits))
		return false;
	for (long i = 0; i < bits; i++)
		m[i / 8] |= (unsigned char)(0x80 >> i % 8);
	if (!inet_ntop(family, m, mask, sizeof(mask)))
		return false;
	*e = buf_printf(out, ",permitted;IP:%s/%s", addr, mask);
	return true;
}

/* As X509V3_EXT_conf takes it; "" without any.  This machine itself is always
 * in, for the broker's own certificate. */
static enum nj_err
ca_constraints(
    const struct flag_list *words, struct buf *out, struct nj_why *why)
{
	static const char own[] = "permitted;DNS:localhost,permitted;IP:"
				  "127.0.0.0/255.0.0.0,permitted;IP:::1/"
				  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
	enum nj_err e;

	if (words->n == 0)
		return NJ_OK;
	e = buf_put_slice(out, slice_str(own));
	for (unsigned i = 0; !e && i < words->n; i++) {
		struct pki_names one = { 0 };

		if (put_network(words->v[i], out, &e))
			continue;
		if ((e = pki_names_add(&one, words->v[i], why)))
			return e;
		e = buf_printf(out, ",permitted;DNS:%s", one.v[0].text);
	}
	return e ? e : buf_put_u8(out, '\0');
}

static int
ca_init(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL, *name = NULL;
	struct flag_list constrain = { 0 };
	struct buf limits = { 0 };
	bool ask = false;
	long days = 0;
	struct pki_ca_opts o = { 0 };
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "name", 0, FLAG_TEXT, &name, "NAME",
		    "how the CA is called (common name)", 0, 0 },
		FLAG_DAYS(&days, "how long it is valid (7305: 20 years)"),
		{ "passphrase-file", 0, FLAG_TEXT, &file, "FILE",
		    "the first line encrypts the CA's key; a random one is "
		    "kept as DIR/ca.passphrase otherwise",
		    0, 0 },
		{ "pkcs11", 0, FLAG_TEXT, &o.key_uri, "URI",
		    "a key in a hardware module, pkcs11:token=...;object=...; "
		    "the passphrase is its PIN",
		    0, 0 },
		{ "ask-passphrase", 0, FLAG_SWITCH, &ask, NULL,
		    "ask for the passphrase and keep it nowhere", 0, 0 },
		{ "issuing", 0, FLAG_SWITCH, &o.issuing, NULL,
		    "a CA below the root issues", 0, 0 },
		{ "offline-root", 0, FLAG_TEXT, &o.offline_root, "DIR",
		    "the same, and the root's key goes to DIR, to be taken "
		    "away",
		    0, 0 },
		{ "constrain", 0, FLAG_LIST, &constrain, "NAME",
		    "the CA can vouch for this domain or network "
		    "(10.0.0.0/8) only; may be given often",
		    0, 0 },
	};
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	struct secret *pass = NULL;
	char *dir = NULL, *kept = NULL;
	enum nj_err e;
	int usage, taken = -1;

	usage = ca_parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar ca init [options]: makes a certificate authority");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	o.name = name;
	o.days = (unsigned)days;
	if ((e = ca_constraints(&constrain, &limits, &why)) ||
	    (e = home_find(dir_given, true, &dir, &why)) ||
	    (e = home_take(dir, &taken, &why)))
		goto out;
	if (buf_len(&limits) > 0)
		o.constraints = (const char *)buf_slice(&limits).p;
	if (pki_ca_exists(dir)) {
		/* Before a passphrase is asked for; pki_ca_init says it. */
		e = pki_ca_init(dir, &o, NULL, &ca, &why);
		goto out;
	}
	if ((e = home_new_passphrase(dir, file, ask, &pass, &kept, &why)) ||
	    (e = pki_ca_init(dir, &o, pass, &ca, &why)))
		goto out;
	say_new_ca(ca, &o, kept);
	if (o.offline_root)
		printf("The root's key and certificate are in %s: take it away "
		       "and keep it safe.\nIt is needed again with: nightjar "
		       "ca roll --offline-root DIR\n",
		    o.offline_root);
	if (o.constraints)
		printf("The name constraints are critical, as the standard "
		       "has it: mbedTLS, and so ESP32,\nrefuses such a CA.\n");
out:
	if (e)
		say_why(&why, e);
	home_release(taken);
	buf_fini(&limits);
	pki_ca_free(ca);
	secret_free(pass);
	free(kept);
	free(dir);
	return e ? EXIT_FAILED : EXIT_FINE;
}

enum nj_err
ca_find(const char *dir_given, struct pki_ca **out, struct nj_why *why)
{
	char *dir = NULL;
	enum nj_err e;

	if ((e = home_find(dir_given, false, &dir, why)))
		return e;
	e = pki_ca_open(dir, out, why);
	free(dir);
	return e;
}

enum nj_err
ca_add_names(
    struct pki_names *names, const struct flag_list *words, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	for (unsigned i = 0; !e && i < words->n; i++)
		e = pki_names_add(names, words->v[i], why);
	return e;
}

enum nj_err
ca_add_addresses(
    struct pki_names *names, const struct flag_list *ips, struct nj_why *why)
{
	enum nj_err e = ca_add_names(names, ips, why);

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
	if (pki_server_has_rsa(dir))
		printf("  further_certificate  %s/server/server-rsa.crt "
		       "%s/server/server-rsa.key\n",
		    dir, dir);
	printf("  cafile    %s/pki/ca.crt\n", dir);
	printf("A broker that is running takes them by itself.\n");
}

/* Names that were asked for are remembered, so that `up` keeps them when it
 * renews the certificate. */
static enum nj_err
server_names(const struct pki_ca *ca, const struct flag_list *words,
    const struct flag_list *ips, struct pki_names *names, struct nj_why *why)
{
	const char *dir = pki_ca_dir(ca);
	struct pki_names extra = { 0 };
	enum nj_err e;

	if ((e = pki_server_extra(dir, &extra, why)) ||
	    (e = ca_add_names(&extra, words, why)) ||
	    (e = ca_add_names(&extra, ips, why)))
		return e;
	for (unsigned i = 0; i < extra.n; i++) {
		if (pki_ca_permits(ca, &extra.v[i]))
			continue;
		why_set(why, "the CA's name constraints do not permit '%s'",
		    extra.v[i].text);
		why_mend(why, "see them with: nightjar inspect '%s/pki/ca.crt'",
		    dir);
		return NJ_DENIED;
	}
	if (words->n + ips->n > 0 &&
	    (e = pki_server_set_extra(dir, &extra, why)))
		return e;
	pki_names_collect(names);
	pki_names_collect_dns(names);
	pki_ca_filter(ca, names);
	for (unsigned i = 0; !e && i < extra.n; i++)
		e = pki_names_add(names, extra.v[i].text, why);
	return e;
}

static int
ca_server(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL;
	struct flag_list words = { 0 }, ips = { 0 };
	bool rsa = false;
	long days = 0;
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "name", 0, FLAG_LIST, &words, "NAME",
		    "a further host name; may be given often", 0, 0 },
		{ "ip", 0, FLAG_LIST, &ips, "ADDRESS",
		    "a further address; may be given often", 0, 0 },
		FLAG_DAYS(&days, "how long it is valid (397)"),
		{ "rsa", 0, FLAG_SWITCH, &rsa, NULL,
		    "from now on one with an RSA key too, for old clients", 0,
		    0 },
		FLAG_PASS(&file),
	};
	struct pki_names names = { 0 };
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage;

	usage = ca_parse(flags, COUNT(flags), argc, argv, &words,
	    "nightjar ca server [NAME|ADDRESS...] [options]: makes the "
	    "server's certificate, with\nall names and addresses of this "
	    "machine and those given");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if ((e = ca_find(dir_given, &ca, &why)) ||
	    (e = home_unlock(ca, file, &why)) ||
	    (e = server_names(ca, &words, &ips, &names, &why)) ||
	    (rsa && (e = pki_server_add_rsa(pki_ca_dir(ca), &why))) ||
	    (e = pki_server_issue(ca, &names, (unsigned)days, &why)))
		say_why(&why, e);
	else
		say_new_server(ca, &names);
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
	const struct fleet *fleet; /* for groups */
	const struct pki_revoked *revoked;
};

static const char *
state_of(const struct listing *l, const struct registry_entry *e)
{
	if (pki_revoked_has(l->revoked, e->serial, NULL))
		return "revoked";
	if (e->not_after <= l->now)
		return "expired";
	if (e->not_after - l->now < (int64_t)30 * DAY)
		return "expiring";
	return "valid";
}

static const char *
groups_of(const struct listing *l, const struct registry_entry *e)
{
	const struct fleet_device *d = NULL;

	if (strcmp(e->kind, "device") == 0)
		d = fleet_find(l->fleet, slice_str(e->id));
	return d ? d->groups : "";
}

/* "a,b" as ["a","b"]. */
static void
print_groups(const char *groups)
{
	printf(",\"groups\":[");
	while (*groups) {
		int n = (int)strcspn(groups, ",");

		printf("\"%.*s\"%s", n, groups, groups[n] ? "," : "");
		groups += n + (groups[n] == ',');
	}
	printf("]");
}

static void
list_as_json(const struct listing *l, const struct registry_entry *e)
{
	/* Nothing in an entry needs escaping: pki_check_id, names of hosts,
	 * digits. */
	printf("%s\n  {\"kind\":\"%s\",\"id\":\"%s\",\"serial\":\"%s\","
	       "\"issued\":%" PRId64 ",\"not_after\":%" PRId64
	       ",\"state\":\"%s\",\"spki_sha256\":\"%s\"",
	    l->shown ? "," : "", e->kind, e->id, e->serial, e->issued,
	    e->not_after, state_of(l, e), e->spki);
	if (strcmp(e->kind, "device") == 0)
		print_groups(groups_of(l, e));
	printf("}");
}

static bool
list_one(void *arg, const struct registry_entry *e)
{
	struct listing *l = arg;
	char end[16];

	if (strcmp(e->kind, "groups") == 0 || strcmp(e->kind, "revoked") == 0)
		return true; /* no certificate */
	if (l->expiring >= 0 &&
	    (e->not_after - l->now > (int64_t)l->expiring * DAY ||
		pki_revoked_has(l->revoked, e->serial, NULL)))
		return true;
	if (l->json) {
		list_as_json(l, e);
	} else {
		if (l->shown == 0)
			printf("%-7s %-24s %-10s %-9s %-32s %s\n", "KIND", "ID",
			    "UNTIL", "STATE", "SERIAL", "GROUPS");
		ca_day(e->not_after, end);
		printf("%-7s %-24s %-10s %-9s %-32s%s%s\n", e->kind, e->id, end,
		    state_of(l, e), e->serial, groups_of(l, e)[0] ? " " : "",
		    groups_of(l, e));
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
	struct pki_revoked *revoked = NULL;
	struct fleet *fleet = NULL;
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage;

	usage = ca_parse(flags, COUNT(flags), argc, argv, NULL,
	    "nightjar ca list [options]: every certificate the CA has "
	    "issued");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	if ((e = ca_find(dir_given, &ca, &why)) ||
	    (e = fleet_load(pki_ca_registry(ca), &fleet, &why)) ||
	    (e = pki_revoked_load(pki_ca_registry(ca), &revoked, &why)))
		goto out;
	l.fleet = fleet;
	l.revoked = revoked;
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
	pki_revoked_free(revoked);
	fleet_unref(fleet);
	pki_ca_free(ca);
	return e ? EXIT_FAILED : EXIT_FINE;
}

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "init", ca_init, "make a certificate authority" },
	{ "request", ca_request, "ask a company's CA for one below it" },
	{ "install", ca_install, "take the certificate that came for that" },
	{ "import", ca_import, "go on with a CA made elsewhere" },
	{ "roll", ca_roll, "replace the CA, both trusted meanwhile" },
	{ "server", ca_server, "make the server's key and certificate" },
	{ "device", ca_device, "make a device's key and certificate" },
	{ "group", ca_group, "put a device into groups, for topic rules" },
	{ "revoke", ca_revoke,
	    "take certificates back: clients with them are thrown out" },
	{ "crl", ca_crl, "renew the list of what was taken back" },
	{ "token", ca_token, "let a device ask for its certificate by itself" },
	{ "pending", ca_pending, "show devices that wait for approval" },
	{ "approve", ca_approve, "let one of them in" },
	{ "deny", ca_deny, "turn one of them away" },
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
	why_mend(&why,
	    "it is one of: init, request, install, import, roll, server, "
	    "device, group, revoke, crl, token, pending, approve, deny, "
	    "list");
	say_why(&why, NJ_INVALID);
	return EXIT_USAGE;
}
