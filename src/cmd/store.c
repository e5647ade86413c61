/* SPDX-License-Identifier: Apache-2.0
 * store - nightjar store: looks into what the broker keeps on disk, copies
 *         it, and takes over what Mosquitto kept.
 */
#include "cmd/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auth/base64.h"
#include "base/text.h"
#include "cmd/cmd.h"
#include "cmd/flags.h"
#include "cmd/json.h"
#include "cmd/place.h"
#include "wire/topic.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum nj_err
store_which(const char *given, const char *conf, char **out, struct nj_why *why)
{
	if (!given == !conf) {
		why_set(why,
		    given ? "give the store's path or -c, not both"
			  : "which store?");
		why_mend(why,
		    "give its path, or the broker's configuration with -c "
		    "FILE");
		return NJ_INVALID;
	}
	if (conf)
		return place_from_file(conf, out, why);
	return (*out = strdup(given)) ? NJ_OK : NJ_NOMEM;
}

enum nj_err
store_said(struct nj_why *why)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return NJ_OK;
	why_set(why, "it is done, but cannot be told on standard output: %s",
	    strerror(errno));
	return NJ_IO;
}

static enum nj_err
take_words(struct store_call *c, const struct flag_list *words)
{
	unsigned n = (c->conf ? 0 : 1) + (c->other ? 1 : 0);

	if (!c->other) {
		if (words->n <= 1)
			return store_which(words->n ? words->v[0] : NULL,
			    c->conf, &c->path, &c->why);
		why_set(&c->why, "one store at a time");
		return NJ_INVALID;
	}
	if (words->n != n) {
		why_set(&c->why,
		    c->conf ? "give %s, and nothing else"
			    : "give %s and the store's path",
		    c->other);
		why_mend(&c->why, "see --help");
		return NJ_INVALID;
	}
	c->word = words->v[c->other_first ? 0 : n - 1];
	return store_which(c->conf ? NULL
		: c->other_first   ? words->v[1]
				   : words->v[0],
	    c->conf, &c->path, &c->why);
}

enum nj_err
store_call_parse(struct store_call *c, const struct flag *flags, size_t n,
    int argc, char **argv)
{
	struct flag_list words = { .n = 0 };
	int failed = c->failed;
	enum nj_err e;

	c->failed = EXIT_USAGE;
	e = flags_parse(flags, n, argc, argv, &words, &c->why);
	if (e == NJ_EOF) {
		printf("usage: %s\n\n", c->usage);
		flags_help(flags, n);
		if (c->notes)
			printf("\n%s\n", c->notes);
		return e;
	}
	if (!e && !(e = take_words(c, &words)))
		c->failed = failed;
	return e;
}

int
store_call_end(struct store_call *c, enum nj_err e)
{
	/* only --help */
	if (e == NJ_EOF && !c->path)
		e = NJ_OK;
	if (!e)
		e = store_said(&c->why);
	if (e)
		say_why(&c->why, e);
	free(c->path);
	return e ? c->failed : EXIT_FINE;
}

const char *
store_time(char dst[32], int64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(dst, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
		(void)snprintf(dst, 32, "%lld", (long long)seconds);
	return dst;
}

enum nj_err
store_put_text(struct buf *b, struct slice s)
{
	uint8_t *at;
	size_t before;
	enum nj_err e;

	if (s.n > (BUF_MAX - 3) / 4)
		return NJ_TOOBIG;
	if ((e = buf_put_u8(b, '"')))
		return e;
	/* text_esc knows no quotes: the pieces between them */
	while (s.n > 0) {
		const uint8_t *quote = memchr(s.p, '"', s.n);
		size_t n = quote ? (size_t)(quote - s.p) : s.n;

		before = n * 4 + 1;
		if ((e = buf_reserve(b, before, &at)))
			return e;
		text_esc((char *)at, before, slice_of(s.p, n));
		buf_commit(b, strlen((const char *)at));
		if (quote && (e = buf_put(b, "\\\"", 2)))
			return e;
		s.p += n + (quote != NULL);
		s.n -= n + (quote != NULL);
	}
	return buf_put_u8(b, '"');
}

enum nj_err
store_put_json(struct buf *b, const char *name, struct slice s)
{
	uint8_t *at;
	enum nj_err e;

	if (utf8_ok(s)) {
		if ((e = buf_printf(b, ",\"%s\":", name)))
			return e;
		return json_put_str(b, s);
	}
	if ((e = buf_printf(b, ",\"%s_base64\":\"", name)) ||
	    (e = buf_reserve(b, BASE64_SIZE(s.n), &at)))
		return e;
	buf_commit(b, base64_encode((char *)at, s, true));
	return buf_put_u8(b, '"');
}

enum nj_err
store_flush(struct buf *b, struct nj_why *why)
{
	struct slice s = buf_slice(b);

	if (s.p && s.n > 0 && fwrite(s.p, 1, s.n, stdout) != s.n) {
		why_set(why, "cannot write to standard output: %s",
		    strerror(errno));
		return NJ_IO;
	}
	buf_truncate(b, 0);
	return NJ_OK;
}

static void
give_away(const char *path)
{
	struct stat st, now;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	/* only what root has made */
	if (fd >= 0 && geteuid() == 0 && fstat(fd, &now) == 0 &&
	    now.st_uid == 0 && store_owner_stat(path, &st) &&
	    fchown(fd, st.st_uid, st.st_gid))
		(void)fprintf(stderr,
		    "nightjar: %s could not be given to user id %ld: %s\n",
		    path, (long)st.st_uid, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
}

void
store_give_away(const char *path)
{
	char *lock = NULL;

	give_away(path);
	if (asprintf(&lock, "%s.lock", path) >= 0)
		give_away(lock);
	free(lock);
}

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "check", store_check_cmd, "is it whole? --repair mends its rows" },
	{ "stats", store_stats_cmd, "how much of what is in it" },
	{ "backup", store_backup_cmd, "copies it, while the broker runs too" },
	{ "restore", store_restore_cmd, "puts a copy in the store's place" },
	{ "salvage", store_salvage_cmd,
	    "makes a store of what damaged pages have left of one" },
	{ "dump", store_dump_cmd,
	    "prints sessions, subscriptions and messages" },
	{ "import", store_import_cmd, "takes over Mosquitto's mosquitto.db" },
};

static void
help(FILE *to)
{
	(void)fprintf(to, "nightjar store VERB [options]\n\n");
	for (size_t i = 0; i < COUNT(verbs); i++)
		(void)fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].help);
	(void)fprintf(to, "\nnightjar store VERB --help shows its options.\n");
}

int
cmd_store(int argc, char **argv)
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
	for (size_t i = 0; i < COUNT(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	text_esc(safe, sizeof safe, slice_str(argv[1]));
	why_set(&why, "there is no 'nightjar store %s'", safe);
	why_mend(&why,
	    "it is one of: check, stats, backup, restore, salvage, "
	    "dump, import");
	say_why(&why, NJ_INVALID);
	return EXIT_USAGE;
}
