/* SPDX-License-Identifier: Apache-2.0
 * nightjar ca device: keys and certificates for devices.
 */
#include <stdio.h>
#include <string.h>

#include "cmd/ca.h"
#include "cmd/home.h"
#include "pki/fleet.h"
#include "pki/issue.h"

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

int
ca_device(int argc, char **argv)
{
	const char *dir_given = NULL, *file = NULL, *key_file = NULL;
	struct flag_list words = { 0 }, ips = { 0 }, groups = { 0 };
	char grouped[REGISTRY_GROUPS_MAX + 1];
	struct pki_device_opts o = { 0 };
	long days = 0;
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "ip", 0, FLAG_LIST, &ips, "ADDRESS",
		    "an address the device has; may be given often", 0, 0 },
		{ "group", 'g', FLAG_LIST, &groups, "GROUP",
		    "a group it belongs to, for topic rules; may be given "
		    "often, or several with commas",
		    0, 0 },
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

	usage = ca_parse(flags, COUNT(flags), argc, argv, &words,
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
		e = ca_add_addresses(&names, &ips, &why);
	if (!e && groups.n > 0) {
		e = fleet_groups(groups.v, groups.n, grouped, &why);
		o.groups = grouped;
	}
	if (!e)
		e = ca_find(dir_given, &ca, &why);
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
