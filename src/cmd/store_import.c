/* SPDX-License-Identifier: Apache-2.0
 *
 * nightjar store import: Mosquitto's mosquitto.db becomes a store.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cmd/flags.h"
#include "cmd/import.h"
#include "cmd/store.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* What a failed import leaves. */
static void
drop_store(const char *path)
{
	static const char *const tails[] = { "", "-wal", "-shm" };

	for (size_t i = 0; i < COUNT(tails); i++) {
		char *name = NULL;

		if (asprintf(&name, "%s%s", path, tails[i]) >= 0)
			(void)unlink(name);
		free(name);
	}
	store_forget_lock(path);
}

static enum nj_err
import(const char *from, const char *into, struct import_result *r,
    struct nj_why *why)
{
	bool was_there = access(into, F_OK) == 0;
	struct nj_why inner = { 0 };
	struct buf file = { 0 };
	enum nj_err e;

	if ((e = file_read(from, BUF_MAX - 1, &file, why)))
		return e;
	if ((e = import_mosquitto(buf_slice(&file), into,
		 clock_wall(&clock_system), r, &inner))) {
		why_set(why, "%s into %s: %s", from, into,
		    inner.what[0] ? inner.what : nj_strerror(e));
		if (inner.mend[0])
			why_mend(why, "%s", inner.mend);
		if (!was_there)
			drop_store(into);
	} else if (!was_there) {
		store_give_away(into);
	}
	buf_fini(&file);
	return e;
}

static void
tell(const char *from, const char *into, const struct import_result *r)
{
	bool any = false;

	printf("From %s (version %u) into %s:\n", from, r->version, into);
	for (unsigned i = 0; i < TOOK_KINDS; i++)
		printf("%10llu %s\n", (unsigned long long)r->took[i],
		    import_took_text[i]);
	for (unsigned i = 0; i < LEFT_REASONS; i++) {
		if (r->left[i] == 0)
			continue;
		if (!any)
			printf("Left:\n");
		any = true;
		printf("%10llu %s (the first at byte %zu)\n",
		    (unsigned long long)r->left[i], import_left_text[i],
		    r->left_at[i]);
	}
}

/* Of what is missing, the number where there is one. */
static void
warn(const struct import_result *r)
{
	bool any = false;

	for (unsigned i = 0; i < LACKS; i++) {
		if (r->lacks[i] == 0)
			continue;
		any = true;
		if (i == LACK_SETTINGS || i == LACK_END)
			(void)fprintf(stderr, "Warning: the file lacks %s.\n",
			    import_lack_text[i]);
		else
			(void)fprintf(stderr,
			    "Warning: the file lacks %llu %s.\n",
			    (unsigned long long)r->lacks[i],
			    import_lack_text[i]);
	}
	if (any)
		(void)fprintf(stderr,
		    "To mend it: end Mosquitto, copy the file when it has "
		    "ended, and import that into a new store.\n");
}

static enum nj_err
tell_json(const char *into, const struct import_result *r, struct nj_why *why)
{
	struct buf b = { 0 };
	const char *comma = "";
	enum nj_err e;

	e = buf_printf(&b, "{\"version\":%u", r->version);
	if (!e)
		e = store_put_json(&b, "into", slice_str(into));
	if (!e)
		e = buf_printf(&b, ",\"taken\":{");
	for (unsigned i = 0; i < TOOK_KINDS && !e; i++)
		e = buf_printf(&b, "%s\"%s\":%llu", i ? "," : "",
		    import_took_text[i], (unsigned long long)r->took[i]);
	if (!e)
		e = buf_printf(&b, "},\"left\":[");
	for (unsigned i = 0; i < LEFT_REASONS && !e; i++) {
		if (r->left[i] == 0)
			continue;
		e = buf_printf(&b,
		    "%s{\"what\":\"%s\",\"count\":%llu,\"offset\":%zu}", comma,
		    import_left_text[i], (unsigned long long)r->left[i],
		    r->left_at[i]);
		comma = ",";
	}
	if (!e)
		e = buf_printf(&b, "],\"lacks\":[");
	comma = "";
	for (unsigned i = 0; i < LACKS && !e; i++) {
		if (r->lacks[i] == 0)
			continue;
		e = buf_printf(&b, "%s{\"what\":\"%s\",\"count\":%llu}", comma,
		    import_lack_text[i], (unsigned long long)r->lacks[i]);
		comma = ",";
	}
	if (!e)
		e = buf_printf(&b, "]}\n");
	if (!e)
		e = store_flush(&b, why);
	buf_fini(&b);
	return e;
}

int
store_import_cmd(int argc, char **argv)
{
	const char *conf = NULL, *into = NULL;
	bool json = false;
	const struct flag flags[] = {
		{ "into", 0, FLAG_TEXT, &into, "PATH",
		    "the store to make: a new file", 0, 0 },
		{ "config-file", 'c', FLAG_TEXT, &conf, "FILE",
		    "or the broker's configuration: where it has its store", 0,
		    0 },
		{ "json", 0, FLAG_SWITCH, &json, NULL,
		    "what was taken and left as a JSON object", 0, 0 },
	};
	struct flag_list words = { .n = 0 };
	struct import_result r;
	struct nj_why why = { 0 };
	char *path = NULL;
	int status = EXIT_USAGE;
	enum nj_err e;

	e = flags_parse(flags, COUNT(flags), argc, argv, &words, &why);
	if (e == NJ_EOF) {
		printf("usage: nightjar store import MOSQUITTO.DB --into PATH "
		       "| -c FILE\n\n");
		flags_help(flags, COUNT(flags));
		return EXIT_FINE;
	}
	if (!e && words.n != 1) {
		why_set(&why, "give one file of Mosquitto's");
		e = NJ_INVALID;
	}
	if (!e && !(e = store_which(into, conf, &path, &why))) {
		status = EXIT_FAILED;
		if (!(e = import(words.v[0], path, &r, &why)) && json)
			e = tell_json(path, &r, &why);
		else if (!e)
			tell(words.v[0], path, &r);
		if (!e)
			warn(&r);
		if (!e)
			e = store_said(&why);
	}
	if (e)
		say_why(&why, e);
	free(path);
	return e ? status : EXIT_FINE;
}
