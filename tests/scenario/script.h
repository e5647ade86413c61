/* SPDX-License-Identifier: Apache-2.0
 * script - one scenario: its clients, and the step that is being played.
 *
 * A file holds scenarios, each begun by a line "== title".  A line is one
 * step: words, "quoted" where they hold blanks, \" \\ \n and \xHH inside.
 * Lines that begin with # are comments.  README.md lists the steps.
 *
 * Threads: one.
 */
#ifndef NJ_TESTS_SCENARIO_SCRIPT_H
#define NJ_TESTS_SCENARIO_SCRIPT_H

#include <stdio.h>

#include "peer.h"

#define PEERS	16
#define WORDS	48
#define NAMES	32
#define NAME_IS 16

/* Some words of a line, and which of them the step has looked at. */
struct words {
	char *v[WORDS];
	bool used[WORDS];
	unsigned n;
};

struct script {
	struct world world;
	struct peer peers[PEERS];
	unsigned n_peers;
	bool dribble;
	/* packet identifiers that have a name */
	struct {
		char name[NAME_IS];
		uint16_t id;
	} names[NAMES];
	unsigned n_names;
	struct words said;   /* in front of -> */
	struct words wanted; /* behind it */
	bool has_wanted;
	char why[512]; /* of the step that failed */
};

void script_init(struct script *s, unsigned shards, bool dribble);
void script_fini(struct script *s);
/* Plays one line (which it cuts up); false: s->why says what was wrong. */
bool script_line(struct script *s, char *line);
/* Notes why and returns false. */
bool script_fail(struct script *s, const char *fmt, ...) NJ_PRINTF(2, 3);
/* Turns until nothing moves any more. */
void script_settle(struct script *s);
/* Starts the broker if it does not run. */
bool script_running(struct script *s);

/* The value of name=value, or NULL. */
const char *words_opt(struct words *w, const char *name);
/* The same as a number. */
long words_num(struct words *w, const char *name, long otherwise);
/* Whether the bare word stands there. */
bool words_flag(struct words *w, const char *name);
/* The next word nobody looked at that has no '='; NULL at the end. */
const char *words_next(struct words *w);
/* The next word as a number; false: there is none, or it is not one. */
bool words_next_num(struct words *w, long *out);

/* A packet identifier: a number, or a name given earlier. */
bool script_id(struct script *s, const char *text, uint16_t *out);
bool script_name_id(struct script *s, const char *name, uint16_t id);

/* What a client does, and what it expects; steps.c and expect.c. */
bool step_peer(struct script *s, struct peer *p, const char *verb);
bool step_expect(struct script *s, struct peer *p);
/* Whether the words wanted begin with "nothing", or there is nothing to wait
 * for. */
bool wants_nothing(struct script *s);
bool expect_closed(struct script *s, struct peer *p);
bool expect_disconnect(struct script *s, struct peer *p, long code);
/* method= and data=, which must be absent when they are not named. */
bool auth_is(struct script *s, const struct props *p, struct words *w);
bool take_or_fail(
    struct script *s, struct peer *p, unsigned type, struct frame *out);

#endif
