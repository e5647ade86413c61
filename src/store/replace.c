/* SPDX-License-Identifier: Apache-2.0
 *
 * A store gets another name, and a copy its place.
 *
 * Several files get other names then, and none of them may be missed: a store
 * without its log has lost what was acknowledged last, and an old log is taken
 * for a new file's.  So a copy is complete and on disk first, under a name that
 * says what it is for.  From then on the store is what the copy has, whoever is
 * cut off: what is left to do is done by the next that opens it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "store/impl.h"
#include "store/lock.h"
#include "store/pagesum.h"
#include "store/view_impl.h"

#define RESTORED "-restored"

/* In the header of a database. */
#define AT_OWNER 68

static char *
folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !slash	    ? strdup(".")
	    : slash == path ? strdup("/")
			    : strndup(path, (size_t)(slash - path));
}

bool
store_folder_stat(const char *path, struct stat *st)
{
	char *folder = folder_of(path);
	bool ok = folder && stat(folder, st) == 0;

	free(folder);
	return ok;
}

bool
store_owner_stat(const char *path, struct stat *st)
{
	static const char *const tails[] = { RESTORED, ".lock" };
	size_t n = strlen(path);

	for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
		size_t tail = strlen(tails[i]);
		char *store;
		bool is;

		if (n <= tail || strcmp(path + n - tail, tails[i]) != 0)
			continue;
		store = strndup(path, n - tail);
		is = store && lstat(store, st) == 0 && S_ISREG(st->st_mode) &&
		    st->st_uid != 0;
		free(store);
		if (is)
			return true;
	}
	return store_folder_stat(path, st);
}

static bool
is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* NJ_EXISTS: the other name has something already, which stays. */
static enum nj_err
rename_part(
    const char *path, const char *to, const char *part, struct nj_why *why)
{
	char *from = NULL, *dest = NULL;
	enum nj_err e = NJ_OK;

	if (asprintf(&from, "%s%s", path, part) < 0) {
		from = NULL;
		e = NJ_NOMEM;
	} else if (asprintf(&dest, "%s%s", to, part) < 0) {
		dest = NULL;
		e = NJ_NOMEM;
	} else if (is_there(from) && is_there(dest)) {
		why_set(why, "%s cannot be set aside: there is a file %s", from,
		    dest);
		e = NJ_EXISTS;
	} else if (rename(from, dest) && errno != ENOENT) {
		why_set(
		    why, "%s cannot be set aside: %s", from, strerror(errno));
		e = NJ_IO;
	}
	free(from);
	free(dest);
	return e;
}

/* The data files, by their names: the database may be damaged.  part: what is
 * behind the store's name in theirs. */
static enum nj_err
each_data(const char *path,
    enum nj_err (*each)(
	const char *path, const char *to, const char *part, struct nj_why *why),
    const char *to, struct nj_why *why)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t n = strlen(name), tail = strlen(DATA_TAIL);
	char *folder = folder_of(path);
	const struct dirent *d;
	enum nj_err e = NJ_OK;
	DIR *dir;

	if (!folder)
		return NJ_NOMEM;
	if (!(dir = opendir(folder))) {
		why_set(why, "%s: %s", folder, strerror(errno));
		e = errno == ENOENT ? NJ_OK : NJ_IO;
	}
	while (dir && !e && (errno = 0, d = readdir(dir))) {
		const char *part = d->d_name + n;

		if (strncmp(d->d_name, name, n) == 0 &&
		    strncmp(part, DATA_TAIL, tail) == 0 && part[tail] &&
		    strspn(part + tail, "0123456789") == strlen(part + tail))
			e = each(path, to, part, why);
	}
	if (dir && !e && errno) {
		why_set(why, "%s: %s", folder, strerror(errno));
		e = NJ_IO;
	}
	if (dir)
		closedir(dir);
	free(folder);
	return e;
}

static enum nj_err
is_one(const char *path, const char *to, const char *part, struct nj_why *why)
{
	(void)path;
	(void)to;
	(void)part;
	(void)why;
	return NJ_EXISTS;
}

bool
store_has_data(const char *path)
{
	struct nj_why why;

	return each_data(path, is_one, NULL, &why) == NJ_EXISTS;
}

/* The database, its log or data files: what may have messages. */
static bool
is_any(const char *path)
{
	char *log = NULL;
	bool is = is_there(path) || store_has_data(path);

	if (!is && asprintf(&log, "%s-wal", path) >= 0) {
		is = is_there(log);
		free(log);
	}
	return is;
}

static enum nj_err
rename_all(const char *path, const char *to, struct nj_why *why)
{
	static const char *const parts[] = { "-journal", "-wal", "-shm", "" };
	/* the file itself last: until then it is found damaged again */
	enum nj_err e = each_data(path, rename_part, to, why);

	for (size_t i = 0; i < sizeof parts / sizeof *parts && !e; i++)
		e = rename_part(path, to, parts[i], why);
	return e;
}

static enum nj_err
set_aside(const char *path, const char *word, struct timespec when, char **to,
    struct nj_why *why)
{
	char *done = NULL, more[16] = "";
	enum nj_err e;

	/* until there is a name that nothing has */
	for (unsigned n = 1;; n++) {
		if (asprintf(to, "%s.%s-%lld.%09ld%s", path, word,
			(long long)when.tv_sec, when.tv_nsec, more) < 0) {
			*to = NULL;
			e = NJ_NOMEM;
			break;
		}
		e = is_there(*to) ? NJ_EXISTS : rename_all(path, *to, why);
		if (e != NJ_EXISTS)
			break;
		/* who was cut off got as far as this */
		if (!is_there(path) && is_there(*to)) {
			free(done);
			done = *to;
		} else {
			free(*to);
		}
		(void)snprintf(more, sizeof more, ".%u", n);
	}
	if (e || (done && !is_there(*to))) {
		free(*to);
		*to = e ? NULL : done;
		done = e ? done : NULL;
	}
	free(done);
	return e;
}

enum nj_err
store_set_aside(
    const char *path, const char *word, char **to, struct nj_why *why)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return set_aside(path, word, now, to, why);
}

bool
restore_pending(const char *path)
{
	char *from = NULL;
	bool is;

	if (asprintf(&from, "%s" RESTORED, path) < 0)
		return false;
	is = is_there(from);
	free(from);
	return is;
}

bool
store_is_there(const char *path)
{
	return is_there(path) || restore_pending(path);
}

void
store_forget_lock(const char *store)
{
	char *path = NULL;
	int fd = -1;

	if (store_is_there(store) || asprintf(&path, "%s.lock", store) < 0)
		return;
	if (access(path, F_OK) == 0 && store_lock(store, &fd, NULL) == NJ_OK) {
		if (!store_is_there(store))
			(void)unlink(path);
		close(fd);
	}
	free(path);
}

static enum nj_err
failed(const char *doing, const char *path, struct nj_why *why)
{
	why_set(why, "%s %s: %s", doing, path, strerror(errno));
	return errno == ENOSPC ? NJ_FULL : NJ_IO;
}

/* What makes place has the time of the copy in its name: the same, whoever goes
 * on with it. */
static enum nj_err
make_place(
    const char *path, struct timespec when, char **old, struct nj_why *why)
{
	enum nj_err e = set_aside(path, "replaced", when, old, why);

	if (!e && !file_sync_folder(path))
		e = failed("syncing the folder of", path, why);
	/* there was none */
	if (*old && (e || !is_any(*old))) {
		free(*old);
		*old = NULL;
	}
	return e;
}

/* Whoever may put a file there could as well have changed the store. */
static bool
may_own(const char *path, uid_t uid)
{
	struct stat st;

	return uid == geteuid() ||
	    (store_folder_stat(path, &st) && uid == st.st_uid) ||
	    (lstat(path, &st) == 0 && uid == st.st_uid);
}

static bool
is_ours(int fd)
{
	uint8_t h[AT_OWNER + 4];

	return pread(fd, h, sizeof h, 0) == (ssize_t)sizeof h &&
	    pagesum_is_first(h) &&
	    ((uint32_t)h[AT_OWNER] << 24 | (uint32_t)h[AT_OWNER + 1] << 16 |
		(uint32_t)h[AT_OWNER + 2] << 8 | h[AT_OWNER + 3]) ==
	    STORE_APPLICATION;
}

/* Only what a restore left takes the store's place.  No damage of the store: that
 * is not set aside for it. */
static enum nj_err
check_restored(
    const char *from, const char *path, struct stat *st, struct nj_why *why)
{
	int fd = open(
	    from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	const char *wrong = NULL;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return failed("opening", from, why);
	if (!S_ISREG(st->st_mode))
		wrong = "it is not a regular file";
	else if (!may_own(path, st->st_uid))
		wrong = "another user's than the store's folder and the store";
	else if (fd < 0)
		wrong = strerror(errno);
	else if (fstat(fd, st) || !S_ISREG(st->st_mode) ||
	    !may_own(path, st->st_uid) || !is_ours(fd))
		wrong = "it is not a store of nightjar";
	if (wrong) {
		why_set(why,
		    "%s would become the store, as what a restore left that "
		    "was cut off, but: %s",
		    from, wrong);
		why_mend(why,
		    "move it away, and restore again if the store is not "
		    "there; or, if it is what you restored, chown it as the "
		    "folder is");
	}
	if (fd >= 0)
		close(fd);
	return wrong ? NJ_DENIED : NJ_OK;
}

/* Makes place for the copy, if there is one: *is. */
static enum nj_err
make_place_for(const char *from, const char *path, bool *is, char **old,
    struct nj_why *why)
{
	struct stat st;
	enum nj_err e;

	*old = NULL;
	*is = lstat(from, &st) == 0;
	if (!*is)
		return errno == ENOENT ? NJ_OK
				       : failed("looking for", from, why);
	if ((e = check_restored(from, path, &st, why)))
		return e;
	return make_place(path, st.st_mtim, old, why);
}

enum nj_err
restore_finish(const char *path, char **old, struct nj_why *why)
{
	char *from = NULL;
	bool is;
	enum nj_err e;

	*old = NULL;
	if (asprintf(&from, "%s" RESTORED, path) < 0)
		return NJ_NOMEM;
	if (!(e = make_place_for(from, path, &is, old, why)) && is) {
		if (rename(from, path))
			e = failed("giving its name to", from, why);
		else if (!file_sync_folder(path))
			e = failed("syncing the folder of", path, why);
	}
	free(from);
	return e;
}

/* After a failure: what the next start does is not what its words say. */
static void
tell_pending(const char *from, const char *path, struct nj_why *why)
{
	struct stat st;
	size_t n;

	if (lstat(from, &st) || check_restored(from, path, &st, NULL))
		return;
	n = strlen(why->what);
	(void)snprintf(why->what + n, sizeof why->what - n,
	    "; a restore of it is pending, which the broker goes on with when "
	    "it starts");
}

enum nj_err
restore_locked(struct view *v, const char *path, void (*made)(const char *copy),
    char **old, struct nj_why *why)
{
	char *copy = NULL, *before;
	bool was;
	enum nj_err e;

	if (asprintf(&copy, "%s" RESTORED, path) < 0)
		return NJ_NOMEM;
	/* what one that was cut off began, before its copy and time are gone:
	 * all that the old store has gets the same name */
	if (!(e = make_place_for(copy, path, &was, &before, why)) &&
	    !(e = view_copy(v, copy, true, true, NULL, NULL, why))) {
		made(copy);
		e = restore_finish(path, old, why);
		if (!*old) {
			*old = before;
			before = NULL;
		}
	}
	if (e)
		tell_pending(copy, path, why);
	free(before);
	free(copy);
	return e;
}

static enum nj_err
may_replace(const char *path, bool force, struct nj_why *why)
{
	if (!force && store_is_there(path)) {
		why_set(why, "there is a store %s%s", path,
		    restore_pending(path) ? ", and a restore of it is pending"
					  : "");
		why_mend(why,
		    "--force gives it another name and puts the copy "
		    "in its place");
		return NJ_EXISTS;
	}
	return NJ_OK;
}

enum nj_err
view_restore(struct view *v, const char *path, bool force,
    void (*made)(const char *copy), char **old, struct nj_why *why)
{
	int lock = -1;
	enum nj_err e;

	*old = NULL;
	/* before it is locked, which leaves a file */
	if ((e = may_replace(path, force, why)) ||
	    (e = store_lock(path, &lock, why)))
		return e;
	if (!(e = may_replace(path, force, why)))
		e = restore_locked(v, path, made, old, why);
	close(lock);
	if (e)
		store_forget_lock(path);
	return e;
}
