/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *
place_of_store(const struct conf *c)
{
	const char *dir = c->persistence_location, *slash = "";
	char *path;

	if (!dir)
		dir = "";
	else if (*dir && dir[strlen(dir) - 1] != '/')
		slash = "/";
	if (asprintf(&path, "%s%s%s", dir, slash, c->persistence_file) < 0)
		return NULL;
	return path;
}

enum nj_err
place_from_file(const char *conf, char **out, struct nj_why *why)
{
	struct conf_report report = { 0 };
	struct conf c;
	enum nj_err e = conf_load(conf, NULL, &c, &report);

	if (e == NJ_NOMEM)
		return e;
	if (e) {
		why_set(why, "%s has faults, and may mean another store", conf);
		why_mend(why, "nightjar serve -c %s --test-config", conf);
	} else if (!c.persistence) {
		why_set(why, "%s says 'persistence false': there is no store",
		    conf);
		why_mend(why, "give the store's path");
		e = NJ_INVALID;
	} else if (!(*out = place_of_store(&c))) {
		e = NJ_NOMEM;
	}
	conf_free(&c);
	conf_report_free(&report);
	return e;
}
