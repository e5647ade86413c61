/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/place.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/mosquitto.h"

#define MOSQUITTOS "mosquitto.db"

const char *
place_folder(const struct conf *c)
{
	const char *dir = c->persistence_location;

	return dir && *dir ? dir : ".";
}

static char *
in_folder(const struct conf *c, const char *file, const char *tail)
{
	const char *dir = place_folder(c);
	char *path;

	if (asprintf(&path, "%s%s%s%s", dir,
		dir[strlen(dir) - 1] == '/' ? "" : "/", file, tail) < 0)
		return NULL;
	return path;
}

static bool
is_mosquittos(const char *path)
{
	uint8_t head[MOSQ_MAGIC_SIZE];
	/* whatever it is: nobody may be at the other end of a pipe */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is = fd >= 0 && read(fd, head, sizeof head) == sizeof head &&
	    mosq_is(slice_of(head, sizeof head));

	if (fd >= 0)
		close(fd);
	return is;
}

char *
place_of_store(const struct conf *c)
{
	const char *file =
	    c->persistence_file ? c->persistence_file : "nightjar.db";
	char *path = in_folder(c, file, "");

	if (!path || !is_mosquittos(path))
		return path;
	free(path);
	return in_folder(c, file, ".nightjar");
}

char *
place_of_mosquittos(const struct conf *c)
{
	const char *const names[] = { c->persistence_file, MOSQUITTOS };

	for (unsigned i = 0; i < 2; i++) {
		char *path = names[i] ? in_folder(c, names[i], "") : NULL;

		if (path && is_mosquittos(path))
			return path;
		free(path);
	}
	return NULL;
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
