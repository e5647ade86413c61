/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/roles_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cmd/ask.h"
#include "cmd/cmd.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static int
help(const char *usage, const struct flag *flags, size_t n)
{
	printf("%s\n\n", usage);
	flags_help(flags, n);
	return EXIT_FINE;
}

static int
failed(const struct nj_why *why, enum nj_err e)
{
	say_why(why, e);
	return EXIT_FAILED;
}

static void
show_import(const json_t *r)
{
	printf("%lld users, %lld groups and %lld roles are in force.\n",
	    ask_number(r, "users"), ask_number(r, "groups"),
	    ask_number(r, "roles"));
}

int
roles_import(int argc, char **argv)
{
	struct ask_opts o = { 0 };
	const char *listener = NULL;
	struct flag_list words = { 0 };
	const struct flag flags[] = {
		ASK_FLAGS(&o),
		{ "listener", 0, FLAG_TEXT, &listener, "PORT",
		    "the users of this listener, where others have others", 0,
		    0 },
	};
	struct nj_why why = { 0 };
	enum nj_err e =
	    flags_parse(flags, COUNT(flags), argc, argv, &words, &why);
	char *path;
	int status;

	if (e == NJ_EOF)
		return help(
		    "nightjar role import FILE [options]: " ROLES_IMPORT_HELP
		    ".\nThe broker reads it, so it has to be allowed to.  Who "
		    "is not in it any more is disconnected.",
		    flags, COUNT(flags));
	if (!e && words.n != 1) {
		why_set(&why, "one file is wanted here");
		why_mend(&why, "nightjar role import --help");
		e = NJ_INVALID;
	}
	if (e) {
		say_why(&why, e);
		return EXIT_USAGE;
	}
	/* the broker has another working folder */
	if (!(path = realpath(words.v[0], NULL))) {
		why_set(&why, "there is no file %s", words.v[0]);
		return failed(&why, NJ_NOTFOUND);
	}
	status = ask_and_print(&o, "dynsec import",
	    ask_args("file", path, "listener", listener, (char *)NULL),
	    show_import);
	free(path);
	return status;
}

static int
put_text(const struct slice *text, const char *output)
{
	struct nj_why why = { 0 };
	enum nj_err e;

	if (!output)
		return fwrite(text->p, 1, text->n, stdout) == text->n &&
			fflush(stdout) == 0
		    ? EXIT_FINE
		    : EXIT_FAILED;
	e = file_write(output, *text, 0600, &why);
	return e ? failed(&why, e) : EXIT_FINE;
}

int
roles_export(int argc, char **argv)
{
	struct ask_opts o = { 0 };
	const char *listener = NULL, *output = NULL;
	struct flag_list words = { 0 };
	const struct flag flags[] = {
		ASK_FLAGS(&o),
		{ "listener", 0, FLAG_TEXT, &listener, "PORT",
		    "the users of this listener, where others have others", 0,
		    0 },
		{ "output", 'o', FLAG_TEXT, &output, "FILE",
		    "write it there, with mode 0600", 0, 0 },
	};
	struct nj_why why = { 0 };
	enum nj_err e =
	    flags_parse(flags, COUNT(flags), argc, argv, &words, &why);
	json_t *result = NULL;
	const json_t *v;
	struct slice text;
	int status;

	if (e == NJ_EOF)
		return help("nightjar role export [options]: " ROLES_EXPORT_HELP
			    ", with the hashes of passwords",
		    flags, COUNT(flags));
	if (!e && words.n > 0) {
		why_set(&why, "no word is wanted here: --output FILE");
		e = NJ_INVALID;
	}
	if (e) {
		say_why(&why, e);
		return EXIT_USAGE;
	}
	if ((e = ask(&o, "dynsec export",
		 ask_args("listener", listener, (char *)NULL), &result, &why)))
		return failed(&why, e);
	v = json_object_get(result, "text");
	text = slice_of(json_string_value(v), json_string_length(v));
	status = put_text(&text, output);
	json_decref(result);
	return status;
}
