/* SPDX-License-Identifier: Apache-2.0
 *
 * nightjar store salvage: what is left of a damaged store becomes the store.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/store.h"
#include "store/salvage.h"
#include "store/view.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
tell(const char *path, const struct salvage *r, const char *old)
{
	uint64_t none = r->damaged;

	printf("%s: %llu of %llu pages are damaged\n", path,
	    (unsigned long long)r->damaged, (unsigned long long)r->pages);
	printf("%10s %10s %10s %10s\n", "kept", "pages lost", "in part",
	    "without");
	for (unsigned i = 0; i < SALVAGE_KINDS; i++) {
		printf("%10llu %10llu %10llu %10llu  %s\n",
		    (unsigned long long)r->of[i].kept,
		    (unsigned long long)r->of[i].damaged,
		    (unsigned long long)r->of[i].cut,
		    (unsigned long long)r->of[i].dropped, salvage_text[i]);
		none -= r->of[i].damaged;
	}
	printf("Pages lost: each had some to a hundred of these.  In part: a "
	       "part was on such a page, or in a data file that is damaged.  "
	       "Without: what they belong to is lost, so they were left.\n");
	if (r->log_left > 0)
		printf("The log is damaged at %llu: the %llu bytes from there "
		       "on were not taken; %s.\n",
		    (unsigned long long)r->log_end,
		    (unsigned long long)r->log_left,
		    r->log_lost ? "what was acknowledged in them is lost"
				: "something acknowledged may be among them");
	if (r->missing > 0)
		printf("%llu damaged pages are missing: the file is cut "
		       "short.\n",
		    (unsigned long long)r->missing);
	if (r->unknown > 0)
		printf("Of %llu damaged pages it is not known what they had.\n",
		    (unsigned long long)r->unknown);
	if (r->maps > 0)
		printf("%llu damaged pages said what others are.\n",
		    (unsigned long long)r->maps);
	if (r->unplaced > 0)
		printf("%llu whole pages could not be placed: what said whose "
		       "they are is damaged.  They are free, or what they have "
		       "is lost, too.\n",
		    (unsigned long long)r->unplaced);
	if (none > r->unknown + r->maps)
		printf("%llu damaged pages had nothing of this.\n",
		    (unsigned long long)(none - r->unknown - r->maps));
	if (old)
		printf("The damaged one is %s now.\n", old);
}

/* Before it is locked, which leaves a file. */
static enum nj_err
find(const char *path, struct nj_why *why)
{
	if (store_is_there(path))
		return NJ_OK;
	why_set(why, "cannot open %s: there is no store", path);
	why_mend(
	    why, "give the store's path, or -c and the broker's configuration");
	return NJ_NOTFOUND;
}

int
store_salvage_cmd(int argc, char **argv)
{
	struct store_call call = {
		.usage = "nightjar store salvage -c FILE | PATH",
		.failed = EXIT_FAILED,
	};
	const struct flag flags[] = { STORE_CONF(&call) };
	struct salvage r;
	char *old = NULL;
	enum nj_err e =
	    store_call_parse(&call, flags, COUNT(flags), argc, argv);

	if (!e && !(e = find(call.path, &call.why)) &&
	    !(e = store_salvage(
		  call.path, store_give_away, &r, &old, &call.why))) {
		store_give_away(call.path);
		tell(call.path, &r, old);
	}
	free(old);
	return store_call_end(&call, e);
}
