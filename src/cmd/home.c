/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/home.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"

#define PASSPHRASE_CHARS 32 /* of 62: 190 bits */
#define PASSPHRASE_LEAST 8

static const char *
home_of_user(void)
{
	const char *home = getenv("HOME");
	const struct passwd *pw;

	if (home && home[0] == '/')
		return home;
	pw = getpwuid(geteuid());
	return pw ? pw->pw_dir : NULL;
}

static char *
usual_dir(void)
{
	const char *xdg = getenv("XDG_DATA_HOME");
	const char *home;

	if (geteuid() == 0)
		return strdup(HOME_ROOT);
	if (xdg && xdg[0] == '/') /* the specification: others are ignored */
		return pki_path(xdg, "nightjar");
	home = home_of_user();
	return home ? pki_path(home, ".local/share/nightjar") : NULL;
}

/* Paths go into configuration lines, where a line end would end them. */
static enum nj_err
check_path(const char *dir, struct nj_why *why)
{
	char safe[TEXT_ESC];

	if (dir[0] && !dir[strcspn(dir, "\r\n")])
		return NJ_OK;
	text_esc(safe, sizeof(safe), slice_str(dir));
	why_set(why, "'%s' cannot be the folder", safe);
	why_mend(why, "give a path without line ends: --dir DIR");
	return NJ_INVALID;
}

enum nj_err
home_find(const char *given, bool make, char **out, struct nj_why *why)
{
	char *dir = given ? strdup(given) : usual_dir();
	enum nj_err e = NJ_OK;
	char *real;

	if (!dir) {
		why_set(why, "this user has no home folder");
		why_mend(why, "give a folder with --dir DIR");
		return NJ_NOTFOUND;
	}
	e = check_path(dir, why);
	/* Others pass through root's to what is given to them; keys have
	 * closed folders of their own. */
	if (!e && make)
		e = file_mkdir(dir, geteuid() == 0 ? 0755 : 0700, why);
	if (!e && !(real = realpath(dir, NULL))) {
		e = errno == ENOENT ? NJ_NOTFOUND : NJ_IO;
		why_set(why, "cannot use the folder '%s': %s", dir,
		    strerror(errno));
		if (e == NJ_NOTFOUND)
			why_mend(why,
			    "make the CA first, with: nightjar up, "
			    "or: nightjar ca init");
	} else if (!e) {
		*out = real;
	}
	free(dir);
	return e;
}

enum nj_err
home_take(const char *dir, int *out, struct nj_why *why)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		why_set(why, "cannot use the folder '%s': %s", dir,
		    strerror(errno));
		return NJ_IO;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		*out = fd;
		return NJ_OK;
	}
	why_set(why,
	    errno == EWOULDBLOCK
		? "another nightjar makes or replaces the CA in '%s' just now"
		: "the folder '%s' cannot be locked",
	    dir);
	why_mend(why,
	    "wait until it has ended, and look what it did: nightjar ca list");
	(void)close(fd);
	return NJ_BUSY;
}

void
home_release(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

enum nj_err
home_ask_twice(const char *prompt, struct secret **out, struct nj_why *why)
{
	struct secret *a = NULL, *b = NULL;
	enum nj_err e;

	e = secret_from_tty(prompt, &a);
	if (e) {
		why_set(why, "there is no terminal to ask for a passphrase");
		why_mend(
		    why, "give it with an option, in a file; --help tells it");
		return e;
	}
	if (secret_bytes(a).n < PASSPHRASE_LEAST) {
		why_set(why, "a passphrase needs at least %d characters",
		    PASSPHRASE_LEAST);
		e = NJ_INVALID;
		goto out;
	}
	if ((e = secret_from_tty("The same once more: ", &b)))
		goto out;
	if (!secret_eq(secret_bytes(a), secret_bytes(b))) {
		why_set(why, "the two passphrases differ");
		e = NJ_INVALID;
		goto out;
	}
	*out = a;
	a = NULL;
out:
	secret_free(b);
	secret_free(a);
	return e;
}

/* One that is there already was left by an interrupted start, and is used. */
static enum nj_err
random_kept(const char *path, struct secret **out, struct nj_why *why)
{
	struct secret *s = NULL;
	struct buf line = { 0 };
	enum nj_err e;

	if (access(path, F_OK) == 0)
		return secret_from_file(path, out, why);
	if ((e = secret_random(PASSPHRASE_CHARS, &s)))
		return e;
	if ((e = buf_put_slice(&line, secret_bytes(s))) ||
	    (e = buf_put_u8(&line, '\n')) ||
	    (e = file_create(path, buf_slice(&line), 0600, why)))
		goto out;
	*out = s;
	s = NULL;
out:
	buf_wipe(&line);
	secret_free(s);
	return e;
}

enum nj_err
home_new_passphrase(const char *dir, const char *file, bool ask,
    struct secret **out, char **kept, struct nj_why *why)
{
	char *path;
	enum nj_err e;

	*kept = NULL;
	if (ask)
		return home_ask_twice("Passphrase for the new CA: ", out, why);
	path = file ? strdup(file) : pki_path(dir, "ca.passphrase");
	if (!path)
		return NJ_NOMEM;
	e = file ? secret_from_file(path, out, why)
		 : random_kept(path, out, why);
	if (e)
		free(path);
	else
		*kept = path;
	return e;
}

static enum nj_err
by_asking(const char *dir, struct secret **out, struct nj_why *why)
{
	enum nj_err e = secret_from_tty("Passphrase of the CA: ", out);

	if (e == NJ_UNSUPPORTED) {
		why_set(why,
		    "the key of the CA is locked, and there is no "
		    "terminal to ask for its passphrase");
		why_mend(why,
		    "give it with --passphrase-file FILE, or keep it "
		    "as %s/ca.passphrase",
		    dir);
	}
	return e;
}

/* The file that has it; NULL: none.  The caller frees it. */
static char *
passphrase_file(const char *dir, const char *file)
{
	const char *creds = getenv("CREDENTIALS_DIRECTORY");
	char *path = file ? strdup(file) : NULL;

	if (!path && creds && (path = pki_path(creds, HOME_CREDENTIAL)) &&
	    access(path, F_OK) != 0) {
		free(path);
		path = NULL;
	}
	if (!path && (path = pki_path(dir, "ca.passphrase")) &&
	    access(path, F_OK) != 0) {
		free(path);
		path = NULL;
	}
	return path;
}

/* *from: the file it came from, NULL: it was asked for. */
static enum nj_err
find_passphrase(const char *dir, const char *file, struct secret **out,
    char **from, struct nj_why *why)
{
	*from = passphrase_file(dir, file);
	return *from ? secret_from_file(*from, out, why)
		     : by_asking(dir, out, why);
}

enum nj_err
home_passphrase_kept(
    const char *dir, const char *file, struct secret **out, struct nj_why *why)
{
	char *path = passphrase_file(dir, file);
	enum nj_err e = NJ_NOTFOUND;

	if (path) {
		e = secret_from_file(path, out, why);
	} else {
		why_set(why, "the passphrase of the CA is kept nowhere");
		why_mend(why,
		    "keep it as %s/ca.passphrase, or name its file with "
		    "ca_passphrase_file",
		    dir);
	}
	free(path);
	return e;
}

enum nj_err
home_passphrase(
    const char *dir, const char *file, struct secret **out, struct nj_why *why)
{
	char *from = NULL;
	enum nj_err e = find_passphrase(dir, file, out, &from, why);

	free(from);
	return e;
}

enum nj_err
home_unlock(struct pki_ca *ca, const char *file, struct nj_why *why)
{
	struct secret *pass = NULL;
	char *from = NULL;
	enum nj_err e;

	if (!(e = find_passphrase(pki_ca_dir(ca), file, &pass, &from, why)) &&
	    (e = pki_ca_unlock(ca, pass, why)) && from)
		why_prefix(why, "with the passphrase in '%s'", from);
	secret_free(pass);
	free(from);
	return e;
}
