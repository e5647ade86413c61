/* SPDX-License-Identifier: Apache-2.0
 *
 * nightjar store salvage: what is left of a damaged store becomes the store.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/salvage_facts.h"
#include "cmd/store.h"
#include "store/salvage.h"
#include "store/view.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* In JSON. */
static const char *const names[SALVAGE_KINDS] = {
	[SALVAGE_SESSIONS] = "sessions",
	[SALVAGE_SUBS] = "subscriptions",
	[SALVAGE_RECEIVED] = "received",
	[SALVAGE_QUEUES] = "queued",
	[SALVAGE_SEGMENTS] = "segments",
	[SALVAGE_GONE] = "gone",
	[SALVAGE_MESSAGES] = "messages",
	[SALVAGE_RETAINED] = "retained",
	[SALVAGE_FACTS] = "facts",
};

static enum nj_err
tell_log(struct buf *b, const struct salvage *r)
{
	if (r->log_left == 0)
		return NJ_OK;
	return buf_printf(b,
	    "The log is damaged at %llu: the %llu bytes from there "
	    "on were not taken; %s.\n",
	    (unsigned long long)r->log_end, (unsigned long long)r->log_left,
	    r->log_lost ? "what was acknowledged in them is lost, and what was "
			  "deleted in them is there again"
			: "something acknowledged may be among them");
}

static enum nj_err
tell_pages(struct buf *b, const struct salvage *r, uint64_t none)
{
	enum nj_err e = NJ_OK;

	if (r->headless)
		e = buf_printf(b,
		    "The first page is damaged, which says where all else is: "
		    "that was seen from the others.  Whether the file was cut "
		    "short is not known.\n");
	if (!e && r->missing > 0)
		e = buf_printf(b,
		    "%llu damaged pages are missing: the file is cut "
		    "short.\n",
		    (unsigned long long)r->missing);
	if (!e && r->unknown > 0)
		e = buf_printf(b,
		    "Of %llu damaged pages it is not known what they had.\n",
		    (unsigned long long)r->unknown);
	if (!e && r->maps > 0)
		e = buf_printf(b, "%llu damaged pages said what others are.\n",
		    (unsigned long long)r->maps);
	if (!e && r->unplaced > 0)
		e = buf_printf(b,
		    "%llu whole pages could not be placed: what said whose "
		    "they are is damaged.  They are free, or what they have "
		    "is lost, too.\n",
		    (unsigned long long)r->unplaced);
	if (!e && none > r->unknown + r->maps + r->headless)
		e = buf_printf(b, "%llu damaged pages had nothing of this.\n",
		    (unsigned long long)(none - r->unknown - r->maps -
			r->headless));
	return e;
}

static enum nj_err
tell_plain(struct buf *b, const char *path, const struct salvage *r)
{
	uint64_t none = r->damaged;
	enum nj_err e;

	e = buf_printf(b,
	    "%s: %llu of %llu pages are damaged\n%10s %10s %10s %10s\n", path,
	    (unsigned long long)r->damaged, (unsigned long long)r->pages,
	    "kept", "pages lost", "in part", "without");
	for (unsigned i = 0; i < SALVAGE_KINDS && !e; i++) {
		e = buf_printf(b, "%10llu %10llu %10llu %10llu  %s\n",
		    (unsigned long long)r->of[i].kept,
		    (unsigned long long)r->of[i].damaged,
		    (unsigned long long)r->of[i].cut,
		    (unsigned long long)r->of[i].dropped, salvage_text[i]);
		none -= r->of[i].damaged;
	}
	if (!e)
		e = buf_printf(b,
		    "Pages lost: each had some to a hundred of these.  In "
		    "part: a part was on such a page, or in a data file that "
		    "is damaged.  Without: what they belong to is lost, so "
		    "they were left.\n");
	if (!e && !(e = tell_log(b, r)))
		e = tell_pages(b, r, none);
	return e;
}

static enum nj_err
tell_json(struct buf *b, const char *path, const struct salvage *r)
{
	enum nj_err e;

	e = buf_printf(b,
	    "{\"pages\":%llu,\"damaged\":%llu,\"missing\":%llu,"
	    "\"unknown\":%llu,\"maps\":%llu,\"unplaced\":%llu,"
	    "\"first_page\":%s,\"log\":{\"damaged_at\":%llu,"
	    "\"bytes_left\":%llu,\"acknowledged_lost\":%s},\"rows\":{",
	    (unsigned long long)r->pages, (unsigned long long)r->damaged,
	    (unsigned long long)r->missing, (unsigned long long)r->unknown,
	    (unsigned long long)r->maps, (unsigned long long)r->unplaced,
	    r->headless ? "false" : "true", (unsigned long long)r->log_end,
	    (unsigned long long)r->log_left, r->log_lost ? "true" : "false");
	for (unsigned i = 0; i < SALVAGE_KINDS && !e; i++)
		e = buf_printf(b,
		    "%s\"%s\":{\"kept\":%llu,\"pages_lost\":%llu,"
		    "\"in_part\":%llu,\"without\":%llu}",
		    i ? "," : "", names[i], (unsigned long long)r->of[i].kept,
		    (unsigned long long)r->of[i].damaged,
		    (unsigned long long)r->of[i].cut,
		    (unsigned long long)r->of[i].dropped);
	if (!e)
		e = buf_put_u8(b, '}');
	return e ? e : store_put_json(b, "path", slice_str(path));
}

static bool
facts_gone(const struct salvage *r)
{
	return r->facts_lost || r->facts_stale;
}

/* Also where nothing was made: which are missing is what the operator asks first. */
static enum nj_err
tell_facts(struct buf *b, const struct salvage *r, struct salvage_facts *f,
    const char *path, bool json)
{
	enum nj_err e;

	if (!facts_gone(r))
		return NJ_OK;
	if (json) {
		if ((e = buf_printf(b, ",\"users_and_roles\":")))
			return e;
		return salvage_facts_tell(f, true, b);
	}
	if (r->facts_stale &&
	    (e = buf_printf(b,
		 "Users, groups or roles changed in the part of the log that "
		 "is lost; these are older.\n")))
		return e;
	if ((e = salvage_facts_tell(f, false, b)) || !path)
		return e;
	return buf_printf(b,
	    "None of them is in the new store.  The broker does not start "
	    "with a dynamic_security_file that is older than this: let it say "
	    "what holds from now on.  What was found is in "
	    "%s.found-roles-1.json and so on, a file for each.\n",
	    path);
}

static enum nj_err
tell(const char *path, const struct salvage *r, struct salvage_facts *f,
    const char *old, bool json, struct nj_why *why)
{
	struct buf b = { 0 };
	enum nj_err e = json ? tell_json(&b, path, r) : tell_plain(&b, path, r);

	if (!e)
		e = tell_facts(&b, r, f, path, json);
	if (!e && json && old)
		e = store_put_json(&b, "old", slice_str(old));
	else if (!e && old)
		e = buf_printf(&b, "The damaged one is %s now.\n", old);
	if (!e && json)
		e = buf_printf(&b, "}\n");
	if (!e)
		e = store_flush(&b, why);
	buf_fini(&b);
	return e;
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

static enum nj_err
refused(const struct salvage *r, struct salvage_facts *f, bool json,
    struct nj_why *why)
{
	struct buf b = { 0 };
	struct nj_why none = { 0 };
	enum nj_err e = json ? NJ_OK : tell_facts(&b, r, f, NULL, false);

	if (!e)
		e = store_flush(&b, &none);
	buf_fini(&b);
	if (e)
		why_set(why, "%s", none.what[0] ? none.what : nj_strerror(e));
	return e ? e : NJ_DENIED;
}

static enum nj_err
salvage(const char *path, bool without, bool json, struct nj_why *why)
{
	struct salvage_facts *f = NULL;
	struct salvage_opts o = {
		.without_facts = without,
		.made = store_give_away,
		.fact = salvage_facts_take,
	};
	struct salvage r;
	char *old = NULL;
	enum nj_err e;

	if ((e = find(path, why)) || (e = salvage_facts_new(&f)))
		return e;
	o.arg = f;
	e = store_salvage(path, &o, &r, &old, why);
	if (e == NJ_DENIED && facts_gone(&r)) {
		e = refused(&r, f, json, why);
	} else if (!e) {
		enum nj_err told;

		store_give_away(path);
		if (facts_gone(&r))
			e = salvage_facts_write(f, path, store_give_away, why);
		/* what was done is told, whatever became of those */
		told = tell(path, &r, f, old, json, e ? NULL : why);
		e = e ? e : told;
	}
	salvage_facts_free(f);
	free(old);
	return e;
}

int
store_salvage_cmd(int argc, char **argv)
{
	struct store_call call = {
		.usage = "nightjar store salvage [--without-users-and-roles] "
			 "[--json] -c FILE | PATH",
		.failed = EXIT_FAILED,
	};
	bool without = false, json = false;
	const struct flag flags[] = {
		STORE_CONF(&call),
		{ "without-users-and-roles", 0, FLAG_SWITCH, &without, NULL,
		    "where they are damaged: go on, and take none of them", 0,
		    0 },
		{ "json", 0, FLAG_SWITCH, &json, NULL, "one JSON object", 0,
		    0 },
	};
	enum nj_err e =
	    store_call_parse(&call, flags, COUNT(flags), argc, argv);

	if (!e)
		e = salvage(call.path, without, json, &call.why);
	return store_call_end(&call, e);
}
