/* SPDX-License-Identifier: Apache-2.0
 * passwd - keeps the users of a password file, with the flags and the file
 *          form of mosquitto_passwd.  Lines it does not change stay as they
 *          are, byte for byte.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/base64.h"
#include "auth/password.h"
#include "auth/password_file.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/rand.h"
#include "base/secret.h"
#include "base/text.h"
#include "cmd/cmd.h"
#include "cmd/flags.h"
#include "wire/topic.h"

#define NEW_MODE 0600

struct task {
	bool batch, create, del, update;
	const char *hash;
	long iterations; /* 0: the kind's own */
	const char *path, *user;
	struct secret *password;
	struct password_cost cost;
	struct buf in, out; /* the file as it was and as it will be */
	mode_t mode;
	bool found;  /* the user was there */
	bool differ; /* the password was not repeated as it was */
};

static const struct {
	const char *name;
	enum password_kind kind;
} kinds[] = {
	{ "argon2id", PASSWORD_ARGON2ID },
	{ "sha512-pbkdf2", PASSWORD_PBKDF2 },
	{ "sha512", PASSWORD_SHA512 },
	{ "scram-sha-256", PASSWORD_SCRAM },
};

static void
usage(const struct flag *flags, size_t n)
{
	printf("usage: nightjar passwd [-H KIND] [-I N] [-c] FILE USER\n"
	       "       nightjar passwd [-H KIND] [-I N] [-c] -b FILE USER "
	       "PASSWORD\n"
	       "       nightjar passwd -D FILE USER\n"
	       "       nightjar passwd [-H KIND] [-I N] -U FILE\n\n");
	flags_help(flags, n);
	printf("\nThe password is asked for twice; when standard input is no "
	       "terminal, its first\nline is the password.\n");
}

/* Mosquitto's program takes flags in front only, so that a password may begin
 * with a dash. */
static int
first_word(int argc, char **argv)
{
	int i = 1;

	while (i < argc && argv[i][0] == '-' && argv[i][1] != '\0') {
		bool value = strcmp(argv[i], "-H") == 0 ||
		    strcmp(argv[i], "-I") == 0 ||
		    strcmp(argv[i], "--hash") == 0 ||
		    strcmp(argv[i], "--iterations") == 0;

		if (strcmp(argv[i], "--") == 0)
			return i + 1;
		i += value ? 2 : 1;
	}
	return i < argc ? i : argc;
}

static enum nj_err
choose_cost(struct task *t, struct nj_why *why)
{
	const char *name = t->hash ? t->hash : kinds[0].name;
	char esc[TEXT_ESC];

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(name, kinds[i].name) == 0)
			t->cost = password_default_cost(kinds[i].kind);
	if (t->cost.kind == 0) {
		why_set(why, "there is no kind of hash '%s'",
		    text_esc(esc, sizeof esc, slice_str(name)));
		why_mend(
		    why, "-H argon2id, sha512-pbkdf2, scram-sha-256 or sha512");
		return NJ_INVALID;
	}
	if (t->iterations == 0)
		return NJ_OK;
	if (t->cost.kind != PASSWORD_PBKDF2 && t->cost.kind != PASSWORD_SCRAM) {
		why_set(
		    why, "-I is for -H sha512-pbkdf2 and scram-sha-256 only");
		return NJ_INVALID;
	}
	t->cost.iterations = (uint32_t)t->iterations;
	return password_check_cost(&t->cost, why);
}

/* What would not come back out of the file as it went in. */
static enum nj_err
check_user(const char *user, struct nj_why *why)
{
	struct slice s = slice_str(user);
	const char *fault = NULL;

	if (s.n == 0 || s.n > MQTT_STRING_MAX || !utf8_ok(s))
		fault = "is empty, longer than 65535 bytes, or not UTF-8";
	else if (s.p[0] == '#')
		fault = "begins with #, which makes the line a comment";
	else if (s.p[0] == ' ' || s.p[s.n - 1] == ' ')
		fault = "begins or ends with a blank";
	for (size_t i = 0; i < s.n && !fault; i++)
		if (s.p[i] == ':' || s.p[i] < 0x20 || s.p[i] == 0x7f)
			fault = "has a colon or a control character";
	if (!fault)
		return NJ_OK;
	why_set(why, "the user name %s", fault);
	return NJ_INVALID;
}

static enum nj_err
check_words(struct task *t, int n, char **words, struct nj_why *why)
{
	int want = t->update ? 1 : t->batch && !t->del ? 3 : 2;

	if (t->create + t->del + t->update > 1 || (t->update && t->batch)) {
		why_set(why,
		    "-c, -D and -U exclude each other, and -b goes "
		    "with the first two only");
		return NJ_INVALID;
	}
	if (n != want) {
		why_set(why, "FILE%s%s must be given, and nothing else",
		    want > 1 ? ", USER" : "", want > 2 ? " and PASSWORD" : "");
		why_mend(why, "--help shows how it is written");
		return NJ_INVALID;
	}
	t->path = words[0];
	t->user = want > 1 ? words[1] : NULL;
	if (strcmp(t->path, "-") == 0 && !t->create) {
		why_set(why,
		    "standard output can only be written: give -c "
		    "with the file -");
		return NJ_INVALID;
	}
	if (want == 3) {
		enum nj_err e = secret_new(slice_str(words[2]), &t->password);

		if (e)
			return e;
		/* ps shows it until here */
		secret_wipe(words[2], strlen(words[2]));
	}
	return t->user ? check_user(t->user, why) : NJ_OK;
}

/* One line of standard input, unbuffered, so that no copy is left behind.
 * NJ_EOF when there is none. */
static enum nj_err
line_of_stdin(struct secret **out)
{
	struct buf b = { 0 };
	uint8_t c = 0;
	ssize_t got;
	enum nj_err e = NJ_OK;

	/* all of it at once, as growing would leave pieces */
	if ((e = buf_grow(&b, SECRET_MAX)))
		return e;
	while ((got = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') {
		if (buf_len(&b) == SECRET_MAX) {
			e = NJ_TOOBIG;
			break;
		}
		if ((e = buf_put_u8(&b, c)))
			break;
	}
	if (!e && got < 0)
		e = NJ_IO;
	if (!e && got == 0 && buf_len(&b) == 0)
		e = NJ_EOF;
	if (!e)
		e = secret_new(buf_slice(&b), out);
	buf_wipe(&b);
	return e;
}

static enum nj_err
ask_twice(struct task *t, struct nj_why *why)
{
	bool tty = isatty(STDIN_FILENO);
	struct secret *one = NULL, *two = NULL;
	enum nj_err e;

	e = tty ? secret_from_tty("Password: ", &one) : line_of_stdin(&one);
	if (e) {
		why_set(why, "no password was given");
		goto out;
	}
	e = tty ? secret_from_tty("Reenter password: ", &two)
		: line_of_stdin(&two);
	if (e == NJ_EOF && !tty) {
		e = NJ_OK; /* one line is enough where nobody mistypes */
	} else if (e) {
		why_set(why, "the password was not repeated");
		goto out;
	} else if (!secret_eq(secret_bytes(one), secret_bytes(two))) {
		why_set(why, "the two passwords are not the same");
		t->differ = true;
		e = NJ_INVALID;
		goto out;
	}
	t->password = one;
	one = NULL;
out:
	secret_free(one);
	secret_free(two);
	return e;
}

static enum nj_err
get_password(struct task *t, struct nj_why *why)
{
	enum nj_err e;

	if (!t->password && (e = ask_twice(t, why)))
		return e;
	if (secret_bytes(t->password).n == 0) {
		why_set(why, "the password is empty");
		return NJ_INVALID;
	}
	return NJ_OK;
}

/* SASLprep must have nothing to do, so that every client means the same. */
static enum nj_err
check_scram(struct slice user, struct slice password, struct nj_why *why)
{
	bool name = scram_prepared(user) != NJ_OK;

	if (!name && scram_prepared(password) == NJ_OK)
		return NJ_OK;
	why_set(why,
	    "the %s has a control character, or one that SCRAM would have "
	    "rewritten (RFC 4013)",
	    name ? "user name" : "password");
	why_mend(why,
	    "use letters, digits and signs of plain Latin, Greek, Cyrillic, "
	    "Japanese, Chinese or Korean, or another kind of hash");
	return NJ_INVALID;
}

/* The first verifier of a file brings along what the salts of strangers are
 * made of. */
static enum nj_err
put_secret(struct task *t)
{
	uint8_t secret[PASSWORD_FILE_SECRET];
	char text[BASE64_SIZE(PASSWORD_FILE_SECRET) + 1];
	struct slice line = LIT(PASSWORD_FILE_SECRET_LINE);
	struct slice in = buf_slice(&t->in), out = buf_slice(&t->out);
	enum nj_err e;

	if (t->cost.kind != PASSWORD_SCRAM ||
	    (in.n > 0 && memmem(in.p, in.n, line.p, line.n)) ||
	    (out.n > 0 && memmem(out.p, out.n, line.p, line.n)))
		return NJ_OK;
	rand_bytes(secret, sizeof secret);
	text[base64_encode(text, slice_of(secret, sizeof secret), true)] = '\0';
	e = buf_printf(&t->out, PASSWORD_FILE_SECRET_LINE " %s\n", text);
	secret_wipe(secret, sizeof secret);
	secret_wipe(text, sizeof text);
	return e;
}

static enum nj_err
put_user(struct task *t, struct slice user, struct slice password,
    struct nj_why *why)
{
	char hash[PASSWORD_TEXT_MAX];
	enum nj_err e;

	if (t->cost.kind == PASSWORD_SCRAM &&
	    (e = check_scram(user, password, why)))
		return e;
	if ((e = password_make(&t->cost, password, hash)) ||
	    (e = put_secret(t)) || (e = buf_put_slice(&t->out, user)) ||
	    (e = buf_put_u8(&t->out, ':')) ||
	    (e = buf_put_slice(&t->out, slice_str(hash))) ||
	    (e = buf_put_u8(&t->out, '\n')))
		why_set(why, "cannot make the hash: %s", nj_strerror(e));
	return e;
}

/* A line with its end; false when none is left. */
static bool
take_line(struct slice *rest, struct slice *line)
{
	const uint8_t *lf;
	size_t n;

	if (!rest->p || rest->n == 0)
		return false;
	lf = memchr(rest->p, '\n', rest->n);
	n = lf ? (size_t)(lf - rest->p) + 1 : rest->n;
	*line = slice_of(rest->p, n);
	rest->p += n;
	rest->n -= n;
	return true;
}

/* user:password; false for comments and lines without a colon. */
static bool
split_line(struct slice line, struct slice *user, struct slice *rest)
{
	const uint8_t *colon = memchr(line.p, ':', line.n);
	size_t n;

	if (!colon || line.p[0] == '#')
		return false;
	while (line.n > 0 &&
	    (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
		line.n--;
	n = (size_t)(colon - line.p);
	*rest = slice_of(colon + 1, line.n - n - 1);
	while (n > 0 && line.p[0] == ' ') {
		line.p++;
		n--;
	}
	while (n > 0 && line.p[n - 1] == ' ')
		n--;
	*user = slice_of(line.p, n);
	return true;
}

/* Without -H, who logs in by SCRAM can do so with the new password too. */
static void
keep_kind(struct task *t, struct slice old)
{
	if (!t->hash && slice_has_prefix(old, LIT(SCRAM_METHOD "$")))
		t->cost = password_default_cost(PASSWORD_SCRAM);
}

/* The line is what would be made anew: with another salt it would throw out
 * who is connected, at the next reload, though his password is the same. */
static bool
is_the_same(const struct task *t, struct slice old)
{
	struct password_hash h;
	size_t at;

	return password_parse(old, &h, &at, NULL) == NJ_OK &&
	    memcmp(&h.cost, &t->cost, sizeof h.cost) == 0 &&
	    password_verify(&h, secret_bytes(t->password)) == NJ_OK;
}

/* Editors of Windows put a byte order mark in front. */
static struct slice
text_of(const struct task *t)
{
	struct slice s = buf_slice(&t->in);

	return slice_has_prefix(s, LIT("\xef\xbb\xbf"))
	    ? slice_of(s.p + 3, s.n - 3)
	    : s;
}

static enum nj_err
edit_user(struct task *t, struct nj_why *why)
{
	struct slice rest = text_of(t), line, user, old;
	enum nj_err e = NJ_OK;

	while (!e && take_line(&rest, &line)) {
		bool is_it =
		    split_line(line, &user, &old) && slice_is(user, t->user);

		if (!is_it)
			e = buf_put_slice(&t->out, line);
		else if (!t->del && !t->found) {
			keep_kind(t, old);
			e = is_the_same(t, old)
			    ? buf_put_slice(&t->out, line)
			    : put_user(t, slice_str(t->user),
				  secret_bytes(t->password), why);
		}
		t->found |= is_it;
	}
	if (e || t->found)
		return e;
	if (t->del) {
		why_set(why, "%s has no user %s", t->path, t->user);
		return NJ_NOTFOUND;
	}
	line = buf_slice(&t->out);
	if (line.p && line.n > 0 && line.p[line.n - 1] != '\n' &&
	    (e = buf_put_u8(&t->out, '\n')))
		return e;
	return put_user(t, slice_str(t->user), secret_bytes(t->password), why);
}

static enum nj_err
hash_plaintext(struct task *t, struct nj_why *why)
{
	struct slice rest = text_of(t), line, user, old;
	enum nj_err e = NJ_OK;

	for (size_t no = 1; !e && take_line(&rest, &line); no++) {
		struct password_hash h;
		size_t at;

		if (!split_line(line, &user, &old) ||
		    password_parse(old, &h, &at, NULL) != NJ_UNSUPPORTED) {
			e = buf_put_slice(&t->out, line);
			continue;
		}
		if (user.n == 0 || old.n == 0) {
			why_set(why, "%s, line %zu: the %s is empty", t->path,
			    no, user.n == 0 ? "user name" : "password");
			return NJ_INVALID;
		}
		e = put_user(t, user, old, why);
	}
	return e;
}

/* The file behind links, so that a rename does not replace a link. */
static enum nj_err
read_old(struct task *t, char **real, struct nj_why *why)
{
	struct stat st;
	enum nj_err e;

	if (!(*real = realpath(t->path, NULL)) && errno == ENOMEM)
		return NJ_NOMEM;
	if (*real && stat(*real, &st) == 0)
		t->mode = st.st_mode & 0777;
	if (t->create) /* overwrites */
		return *real || (*real = strdup(t->path)) ? NJ_OK : NJ_NOMEM;
	if (!*real) {
		why_set(why, "there is no password file %s", t->path);
		why_mend(why, "make one: nightjar passwd -c %s %s", t->path,
		    t->user ? t->user : "USER");
		return NJ_NOTFOUND;
	}
	e = file_read(*real, PASSWORD_FILE_MAX, &t->in, why);
	return e;
}

/* Other lines may be such that the broker would not start. */
static void
warn_of_rest(const struct task *t)
{
	struct password_file *pf = NULL;
	struct nj_why why = { 0 };

	if (password_file_parse(buf_slice(&t->out), t->path, &pf, &why)) {
		(void)fprintf(stderr,
		    "nightjar: the broker will refuse this file: %s\n",
		    why.what);
		if (why.mend[0])
			(void)fprintf(stderr, "  to mend it: %s\n", why.mend);
	}
	password_file_unref(pf);
}

static void
tell(const struct task *t)
{
	if (t->update)
		printf("Hashed the plaintext passwords of %s\n", t->path);
	else
		printf("%s user %s\n",
		    t->del	   ? "Deleted"
			: t->found ? "Updated password for"
				   : "Added password for",
		    t->user);
}

static enum nj_err
run(struct task *t, struct nj_why *why)
{
	bool to_stdout = strcmp(t->path, "-") == 0;
	struct slice out;
	char *real = NULL;
	enum nj_err e;

	if (!to_stdout && (e = read_old(t, &real, why)))
		goto out;
	if (!t->del && !t->update && (e = get_password(t, why)))
		goto out;
	if ((e = t->update ? hash_plaintext(t, why) : edit_user(t, why)))
		goto out;
	out = buf_slice(&t->out);
	if (to_stdout) {
		if (fwrite(out.p, 1, out.n, stdout) != out.n ||
		    fflush(stdout) != 0)
			e = NJ_IO;
		goto out;
	}
	if ((e = file_write(real, out, t->mode, why)))
		goto out;
	tell(t);
	warn_of_rest(t);
out:
	free(real);
	return e;
}

/* Scripts know Mosquitto's program by these: 1, and 2 for passwords that are
 * not the same. */
static int
status_of(const struct task *t, const char *called, int ours)
{
	const char *name = strrchr(called, '/');

	if (strcmp(name ? name + 1 : called, "mosquitto_passwd") != 0 ||
	    ours == EXIT_FINE)
		return ours;
	return t->differ ? 2 : 1;
}

int
cmd_passwd(int argc, char **argv)
{
	struct task t = { .mode = NEW_MODE };
	const struct flag flags[] = {
		{ "batch", 'b', FLAG_SWITCH, &t.batch, NULL,
		    "the password is the last word, for all to see in ps", 0,
		    0 },
		{ "create", 'c', FLAG_SWITCH, &t.create, NULL,
		    "makes FILE, in place of an old one; - is standard output",
		    0, 0 },
		{ "delete", 'D', FLAG_SWITCH, &t.del, NULL, "deletes the user",
		    0, 0 },
		{ "update", 'U', FLAG_SWITCH, &t.update, NULL,
		    "hashes all plaintext passwords of FILE", 0, 0 },
		{ "hash", 'H', FLAG_TEXT, &t.hash, "KIND",
		    "argon2id (default), sha512-pbkdf2, scram-sha-256, sha512 "
		    "(weak)",
		    0, 0 },
		{ "iterations", 'I', FLAG_NUMBER, &t.iterations, "N",
		    "of sha512-pbkdf2 (210000 when not given) and "
		    "scram-sha-256 "
		    "(32768)",
		    1, PASSWORD_PBKDF2_ITERATIONS_MAX },
	};
	const size_t n = sizeof flags / sizeof *flags;
	int first = first_word(argc, argv), status = EXIT_FINE;
	struct nj_why why = { 0 };
	enum nj_err e;

	if ((e = flags_parse(flags, n, first, argv, NULL, &why)) == NJ_EOF) {
		usage(flags, n);
		return EXIT_FINE;
	}
	if (e || (e = choose_cost(&t, &why)) ||
	    (e = check_words(&t, argc - first, argv + first, &why)))
		status = EXIT_USAGE;
	else if ((e = run(&t, &why)))
		status = EXIT_FAILED;
	if (e)
		say_why(&why, e);
	secret_free(t.password);
	buf_wipe(&t.in);
	buf_wipe(&t.out);
	return status_of(&t, argv[0], status);
}
