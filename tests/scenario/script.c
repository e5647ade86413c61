/* SPDX-License-Identifier: Apache-2.0
 */
#include "script.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "broker/fence.h"

/* A scenario that never comes to rest is broken. */
#define TURNS_MAX 20000

bool
script_fail(struct script *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, sizeof s->why, fmt, ap);
	va_end(ap);
	return false;
}

void
script_init(struct script *s, unsigned shards, bool dribble)
{
	memset(s, 0, sizeof *s);
	world_init(&s->world, shards);
	s->dribble = dribble;
}

void
script_fini(struct script *s)
{
	for (unsigned i = 0; i < s->n_peers; i++)
		peer_close(&s->peers[i]);
	world_fini(&s->world);
}

bool
script_running(struct script *s)
{
	enum nj_err e;

	if (s->world.broker)
		return true;
	if ((e = world_start(&s->world)))
		return script_fail(
		    s, "the broker does not start: %s", nj_strerror(e));
	world_turn(&s->world);
	return true;
}

void
script_settle(struct script *s)
{
	/* a letter may make another: some idle turns before it is believed */
	unsigned idle = 0, enough = 4 * s->world.opts.shards + 4;

	for (unsigned i = 0; idle < enough && i < TURNS_MAX; i++) {
		size_t moved = 0;

		world_turn(&s->world);
		for (unsigned k = 0; k < s->n_peers; k++)
			moved += peer_read(&s->peers[k]);
		idle = moved ? 0 : idle + 1;
	}
}

/* Words. */

static char
escape(char **from)
{
	char hex[3] = "", c = *(*from)++;

	if (c == 'n')
		return '\n';
	if (c != 'x' || !(*from)[0] || !(*from)[1])
		return c;
	hex[0] = *(*from)++;
	hex[1] = *(*from)++;
	return (char)strtoul(hex, NULL, 16);
}

/* Cuts the next word off; NULL at the end. */
static char *
cut(char **line)
{
	char *at = *line + strspn(*line, " \t"), *word = at, *to = at;
	bool quoted = false;

	if (!*at)
		return NULL;
	while (*at && (quoted || !strchr(" \t", *at))) {
		char c = *at++;

		if (c == '"')
			quoted = !quoted;
		else if (c == '\\' && *at)
			*to++ = escape(&at);
		else
			*to++ = c;
	}
	*line = *at ? at + 1 : at;
	*to = '\0';
	return word;
}

const char *
words_opt(struct words *w, const char *name)
{
	size_t n = strlen(name);

	for (unsigned i = 0; i < w->n; i++)
		if (strncmp(w->v[i], name, n) == 0 && w->v[i][n] == '=') {
			w->used[i] = true;
			return w->v[i] + n + 1;
		}
	return NULL;
}

long
words_num(struct words *w, const char *name, long otherwise)
{
	const char *v = words_opt(w, name);

	return v ? strtol(v, NULL, 0) : otherwise;
}

bool
words_flag(struct words *w, const char *name)
{
	for (unsigned i = 0; i < w->n; i++)
		if (!w->used[i] && strcmp(w->v[i], name) == 0) {
			w->used[i] = true;
			return true;
		}
	return false;
}

const char *
words_next(struct words *w)
{
	for (unsigned i = 0; i < w->n; i++)
		if (!w->used[i] && !strchr(w->v[i], '=')) {
			w->used[i] = true;
			return w->v[i];
		}
	return NULL;
}

bool
words_next_num(struct words *w, long *out)
{
	const char *v = words_next(w);
	char *end;

	if (!v)
		return false;
	*out = strtol(v, &end, 0);
	return *end == '\0';
}

static bool
all_used(struct script *s, const struct words *w)
{
	for (unsigned i = 0; i < w->n; i++)
		if (!w->used[i])
			return script_fail(s, "what is '%s'?", w->v[i]);
	return true;
}

static bool
split(struct script *s, char *line)
{
	struct words *to = &s->said;
	char *word;

	s->said.n = s->wanted.n = 0;
	s->has_wanted = false;
	memset(s->said.used, 0, sizeof s->said.used);
	memset(s->wanted.used, 0, sizeof s->wanted.used);
	while ((word = cut(&line))) {
		if (strcmp(word, "->") == 0 && !s->has_wanted) {
			to = &s->wanted;
			s->has_wanted = true;
			continue;
		}
		if (to->n == WORDS)
			return script_fail(s, "more than %d words", WORDS);
		to->v[to->n++] = word;
	}
	return true;
}

/* Packet identifiers. */

bool
script_id(struct script *s, const char *text, uint16_t *out)
{
	char *end;
	unsigned long v = strtoul(text, &end, 0);

	if (end != text && *end == '\0') {
		*out = (uint16_t)v;
		return true;
	}
	for (unsigned i = 0; i < s->n_names; i++)
		if (strcmp(s->names[i].name, text) == 0) {
			*out = s->names[i].id;
			return true;
		}
	return script_fail(s, "no packet identifier is called '%s'", text);
}

bool
script_name_id(struct script *s, const char *name, uint16_t id)
{
	unsigned i;

	for (i = 0; i < s->n_names; i++)
		if (strcmp(s->names[i].name, name) == 0)
			break;
	if (i == NAMES)
		return script_fail(s, "too many names");
	if (i == s->n_names)
		s->n_names++;
	snprintf(s->names[i].name, NAME_IS, "%s", name);
	s->names[i].id = id;
	return true;
}

/* Steps of the world. */

/* "+90s" or "+1500ms". */
static bool
step_clock(struct script *s)
{
	const char *by = words_next(&s->said);
	char *unit = NULL;
	unsigned long long n;

	if (!by || *by != '+')
		return script_fail(s, "clock +Ns or +Nms");
	n = strtoull(by + 1, &unit, 10);
	if (strcmp(unit, "s") == 0)
		n *= 1000;
	else if (strcmp(unit, "ms") != 0)
		return script_fail(s, "clock +Ns or +Nms");
	if (!script_running(s))
		return false;
	s->world.now += n;
	/* what was retired is freed by now, as it would be in real time */
	fence_barrier(s->world.broker);
	script_settle(s);
	return true;
}

static bool
step_set(struct script *s)
{
	const char *name = words_next(&s->said);
	const char *value = words_next(&s->said);

	if (!name || !value || !world_set(&s->world, name, value))
		return script_fail(s, "there is no setting '%s'", name);
	return true;
}

static bool
step_reload(struct script *s)
{
	enum nj_err e;

	if (!script_running(s))
		return false;
	if ((e = world_reload(&s->world)))
		return script_fail(s, "reload: %s", nj_strerror(e));
	script_settle(s);
	return true;
}

static bool
step_answer(struct script *s)
{
	enum auth_result result = AUTH_DENY;

	if (words_flag(&s->said, "allow"))
		result = AUTH_ALLOW;
	else if (words_flag(&s->said, "continue"))
		result = AUTH_CONTINUE;
	else if (!words_flag(&s->said, "deny"))
		return script_fail(s, "answer allow, deny or continue");
	if (!world_answer(&s->world, result))
		return script_fail(s, "no login waits");
	script_settle(s);
	return true;
}

static bool
step_stop(struct script *s)
{
	world_stop(&s->world);
	for (unsigned i = 0; i < s->n_peers; i++)
		(void)peer_read(&s->peers[i]);
	return true;
}

static uint64_t
sum(const struct broker *b, size_t at)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < b->n; i++)
		all += count_get((const uint64_t *)(const void
			*)((const char *)&b->shards[i] + at));
	return all;
}

/* check NAME NUMBER: what the broker itself counts. */
static bool
step_check(struct script *s)
{
	static const struct {
		const char *name;
		size_t at;
	} cells[] = {
		{ "sent", offsetof(struct shard, home.counts.sent) },
		{ "dropped", offsetof(struct shard, home.counts.dropped) },
		{ "queued", offsetof(struct shard, home.counts.queued) },
		{ "expired", offsetof(struct shard, home.counts.expired) },
		{ "connected", offsetof(struct shard, counts.connected) },
		{ "sockets", offsetof(struct shard, counts.sockets) },
		{ "slow", offsetof(struct shard, counts.slow_dropped) },
		{ "members", offsetof(struct shard, groups.members) },
	};
	const char *name = words_next(&s->said);
	struct broker *b = s->world.broker;
	struct index_stats ix;
	uint64_t is = UINT64_MAX;
	long want;

	if (!name || !words_next_num(&s->said, &want) || !b)
		return script_fail(s, "check NAME NUMBER");
	index_stats(b->index, &ix);
	if (strcmp(name, "conns") == 0)
		is = atomic_load(&b->conns);
	else if (strcmp(name, "pending") == 0)
		is = atomic_load(&b->pending);
	else if (strcmp(name, "sessions") == 0)
		is = atomic_load(&b->sessions);
	else if (strcmp(name, "retained") == 0)
		is = retain_count(b->retain);
	else if (strcmp(name, "subscriptions") == 0)
		is = ix.subscriptions;
	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
		if (strcmp(name, cells[i].name) == 0)
			is = sum(b, cells[i].at);
	if (is != (uint64_t)want)
		return script_fail(
		    s, "%s is %lld, not %ld", name, (long long)is, want);
	return true;
}

static bool
step_nothing(struct script *s)
{
	(void)words_next(&s->said);
	script_settle(s);
	return true;
}

static struct peer *
peer_of(struct script *s, const char *name)
{
	struct peer *p;

	for (unsigned i = 0; i < s->n_peers; i++)
		if (strcmp(s->peers[i].name, name) == 0)
			return &s->peers[i];
	if (s->n_peers == PEERS)
		return NULL;
	p = &s->peers[s->n_peers++];
	snprintf(p->name, sizeof p->name, "%s", name);
	p->fd = -1;
	p->dribble = s->dribble;
	return p;
}

bool
script_line(struct script *s, char *line)
{
	static const struct {
		const char *verb;
		bool (*fn)(struct script *s);
	} steps[] = {
		{ "set", step_set },
		{ "clock", step_clock },
		{ "reload", step_reload },
		{ "answer", step_answer },
		{ "stop", step_stop },
		{ "check", step_check },
		{ "settle", step_nothing },
	};
	const char *verb;
	struct peer *p;

	if (!split(s, line))
		return false;
	if (!(verb = words_next(&s->said)))
		return true;
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		if (strcmp(verb, steps[i].verb) == 0)
			return steps[i].fn(s) && all_used(s, &s->said);
	if (!script_running(s))
		return false;
	if (!(p = peer_of(s, verb)))
		return script_fail(s, "more than %d clients", PEERS);
	if (!(verb = words_next(&s->said)))
		return script_fail(s, "what does %s do?", p->name);
	return step_peer(s, p, verb) && all_used(s, &s->said) &&
	    all_used(s, &s->wanted);
}
