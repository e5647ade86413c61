/* SPDX-License-Identifier: Apache-2.0
 * nightjar ca group: which groups a device is in, without a new certificate.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/ca.h"
#include "pki/fleet.h"

struct change {
	bool none;
	struct flag_list set, add, remove;
};

static bool
is_listed(const struct flag_list *l, const char *word, size_t n)
{
	for (unsigned i = 0; i < l->n; i++)
		if (strlen(l->v[i]) == n && memcmp(l->v[i], word, n) == 0)
			return true;
	return false;
}

/* What is left of the groups that it has, each as a word in text. */
static void
keep(const char *groups, const struct flag_list *remove, char *text,
    struct flag_list *out)
{
	while (*groups) {
		size_t n = strcspn(groups, ",");

		if (!is_listed(remove, groups, n) && out->n < FLAG_LIST_MAX) {
			memcpy(text, groups, n);
			text[n] = '\0';
			out->v[out->n++] = text;
			text += n + 1;
		}
		groups += n + (groups[n] == ',');
	}
}

static enum nj_err
changed(const struct fleet_device *d, const struct change *c,
    char dst[REGISTRY_GROUPS_MAX + 1], struct nj_why *why)
{
	char text[REGISTRY_GROUPS_MAX + 1];
	struct flag_list words = { 0 };

	if (c->set.n > 0 || c->none)
		return fleet_groups(c->set.v, c->set.n, dst, why);
	keep(d->groups, &c->remove, text, &words);
	for (unsigned i = 0; i < c->add.n && words.n < FLAG_LIST_MAX; i++)
		words.v[words.n++] = c->add.v[i];
	return fleet_groups(words.v, words.n, dst, why);
}

static enum nj_err
write_down(
    const char *path, const char *id, const char *groups, struct nj_why *why)
{
	struct registry_entry e = { .kind = "groups",
		.serial = "0",
		.issued = (int64_t)time(NULL),
		.spki = "-",
		.has_groups = true };
	struct registry *r = NULL;
	enum nj_err err;

	(void)snprintf(e.id, sizeof(e.id), "%s", id);
	(void)snprintf(e.groups, sizeof(e.groups), "%s", groups);
	if ((err = registry_open(path, false, &r, why)))
		return err;
	err = registry_append(r, &e, why);
	registry_close(r);
	return err;
}

static enum nj_err
regroup(struct pki_ca *ca, const char *id, const struct change *c,
    struct nj_why *why)
{
	const char *path = pki_ca_registry(ca);
	const struct fleet_device *d;
	char groups[REGISTRY_GROUPS_MAX + 1];
	struct fleet *f = NULL;
	enum nj_err e;

	if ((e = pki_check_id(id, why)) || (e = fleet_load(path, &f, why)))
		return e;
	if (!(d = fleet_find(f, slice_str(id)))) {
		e = NJ_NOTFOUND;
		why_set(
		    why, "no device '%s' was ever issued a certificate", id);
		why_mend(why,
		    "see their names with: nightjar ca list; or make it: "
		    "nightjar ca device %s --group GROUP",
		    id);
		goto out;
	}
	if ((e = changed(d, c, groups, why)))
		goto out;
	if (strcmp(groups, d->groups) != 0 &&
	    (e = write_down(path, id, groups, why)))
		goto out;
	fleet_unref(f);
	f = NULL;
	/* Also where nothing changed: a crash may have come before it. */
	if ((e = fleet_load(path, &f, why)) ||
	    (e = fleet_export(f, pki_ca_dir(ca), why)))
		goto out;
	printf("'%s' is in %s%s.\n", id, groups[0] ? "" : "no group", groups);
out:
	fleet_unref(f);
	return e;
}

int
ca_group(int argc, char **argv)
{
	struct flag_list words = { 0 };
	const char *dir_given = NULL;
	struct change c = { 0 };
	const struct flag flags[] = {
		FLAG_DIR(&dir_given),
		{ "add", 0, FLAG_LIST, &c.add, "GROUP",
		    "one more; may be given often", 0, 0 },
		{ "remove", 0, FLAG_LIST, &c.remove, "GROUP",
		    "one less; may be given often", 0, 0 },
		{ "none", 0, FLAG_SWITCH, &c.none, NULL, "out of all groups", 0,
		    0 },
	};
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;
	int usage;

	usage = ca_parse(flags, COUNT(flags), argc, argv, &words,
	    "nightjar ca group ID [GROUP...] [options]: puts a device into "
	    "these groups, in place\nof those it is in; topic rules follow at "
	    "once, its certificate stays as it is");
	if (usage)
		return usage > 0 ? usage : EXIT_FINE;
	for (unsigned i = 1; i < words.n; i++)
		c.set.v[c.set.n++] = words.v[i];
	if (words.n < 1 ||
	    c.set.n + c.add.n + c.remove.n + (unsigned)c.none == 0) {
		why_set(&why, "a device's name and its groups are needed");
		why_mend(&why,
		    "nightjar ca group ID GROUP..., or ID --add GROUP, or ID "
		    "--none");
		say_why(&why, NJ_INVALID);
		return EXIT_USAGE;
	}
	if ((e = ca_find(dir_given, &ca, &why)) ||
	    (e = regroup(ca, words.v[0], &c, &why)))
		say_why(&why, e);
	pki_ca_free(ca);
	return e ? EXIT_FAILED : EXIT_FINE;
}
