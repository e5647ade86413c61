/* SPDX-License-Identifier: Apache-2.0
 *
 * nightjar store restore: a copy becomes the store again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/store.h"
#include "store/lock.h"
#include "store/store.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
on_fault(void *arg, const struct view_fault *f)
{
	struct nj_why *why = arg;

	/* who may read the copy says nothing of what is in it */
	if (strcmp(f->code, "exposed") != 0 && !why->what[0]) {
		why_set(why, "%s", f->text);
		why_mend(why,
		    "use another copy, or mend this one: nightjar "
		    "store check --repair");
	}
}

static enum nj_err
check_copy(struct view *v, const char *from, struct nj_why *why)
{
	struct nj_why fault = { 0 };
	enum nj_err e = view_check(v, true, on_fault, &fault, why);

	if (e || !fault.what[0])
		return e;
	why_set(why, "%s: %s", from, fault.what);
	why_mend(why, "%s", fault.mend);
	return NJ_MALFORMED;
}

/* Where the database itself was not there, what else was may have messages. */
static void
say_old(const char *old)
{
	if (old && access(old, F_OK) == 0)
		printf("The old one is %s now.\n", old);
	else if (old)
		printf("There was no old one, but files of one, its log or "
		       "data files: they are %s-* now.\n",
		    old);
}

static enum nj_err
restore(const char *from, const char *to, bool force, struct nj_why *why)
{
	struct view *v = NULL;
	char *old = NULL;
	enum nj_err e;

	if (store_locked(to)) {
		why_set(why, "a broker has %s open", to);
		why_mend(why, "end it first");
		return NJ_BUSY;
	}
	if (!(e = view_open(from, &v, why)) && !(e = check_copy(v, from, why)))
		e = view_restore(v, to, force, store_give_away, &old, why);
	view_close(v);
	/* what was made beside a store that is there has its owner */
	if (!e || access(to, F_OK) != 0)
		store_give_away(to);
	if (!e)
		printf("%s is what %s has\n", to, from);
	say_old(old);
	free(old);
	return e;
}

int
store_restore_cmd(int argc, char **argv)
{
	struct store_call call = {
		.usage = "nightjar store restore [--force] COPY -c FILE\n"
			 "       nightjar store restore [--force] COPY PATH",
		.other = "the copy",
		.other_first = true,
		.failed = EXIT_FAILED,
	};
	bool force = false;
	const struct flag flags[] = {
		STORE_CONF(&call),
		{ "force", 0, FLAG_SWITCH, &force, NULL,
		    "in place of a store that is there", 0, 0 },
	};
	enum nj_err e =
	    store_call_parse(&call, flags, COUNT(flags), argc, argv);

	if (!e)
		e = restore(call.word, call.path, force, &call.why);
	return store_call_end(&call, e);
}
