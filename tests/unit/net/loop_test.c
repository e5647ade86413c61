/* SPDX-License-Identifier: Apache-2.0
 * The loop: what is called, what is not called any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"

struct end {
	struct watch w; /* first */
	struct loop *loop;
	struct end *victim; /* removed, and freed, by the first call */
	unsigned ready;
	int calls;
	bool breaks;
};

static void
on_ready(struct watch *w, unsigned ready)
{
	struct end *e = (struct end *)w;

	e->calls++;
	e->ready = ready;
	if (e->breaks)
		loop_break(e->loop);
	if (e->victim && e->victim->calls == 0) {
		loop_del(e->loop, &e->victim->w);
		free(e->victim);
		e->victim = NULL;
	}
}

static struct end *
end_new(struct loop *l, int fd, unsigned want)
{
	struct end *e = calloc(1, sizeof *e);

	assert_non_null(e);
	e->loop = l;
	e->w = (struct watch){ .fd = fd, .want = want, .fn = on_ready };
	assert_int_equal(loop_add(l, &e->w), NJ_OK);
	return e;
}

static void
readiness(void **state)
{
	struct loop *l = NULL;
	struct end *e;
	int fd[2];

	assert_int_equal(loop_new(&l), NJ_OK);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	e = end_new(l, fd[0], LOOP_IN);
	assert_int_equal(loop_turn(l, 0), 0);
	assert_int_equal(write(fd[1], "x", 1), 1);
	/* Level triggered: again until it is read. */
	assert_int_equal(loop_turn(l, 0), 1);
	assert_int_equal(loop_turn(l, 0), 1);
	assert_int_equal(e->calls, 2);
	assert_int_equal(e->ready, LOOP_IN);
	assert_int_equal(loop_want(l, &e->w, LOOP_OUT), NJ_OK);
	assert_int_equal(loop_turn(l, 0), 1);
	assert_int_equal(e->ready, LOOP_OUT);
	assert_int_equal(loop_want(l, &e->w, 0), NJ_OK);
	assert_int_equal(loop_turn(l, 0), 0);
	/* A hang-up is told without being asked for. */
	(void)close(fd[1]);
	assert_int_equal(loop_turn(l, 0), 1);
	assert_true(e->ready & LOOP_HUP);
	assert_false(e->ready & LOOP_GONE);
	assert_int_equal(loop_want(l, &e->w, LOOP_IN), NJ_OK);
	assert_int_equal(loop_turn(l, 0), 1);
	assert_true(e->ready & LOOP_GONE);
	loop_del(l, &e->w);
	assert_int_equal(e->w.fd, -1);
	loop_del(l, &e->w);
	assert_int_equal(loop_turn(l, 0), 0);
	(void)close(fd[0]);
	free(e);
	loop_free(l);
	loop_free(NULL);
}

/* Once for what is new, and anew when the watch is told what it wants. */
static void
edges(void **state)
{
	struct loop *l = NULL;
	struct end *e;
	int fd[2];

	assert_int_equal(loop_new(&l), NJ_OK);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	e = end_new(l, fd[0], LOOP_IN | LOOP_EDGE);
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_int_equal(loop_turn(l, 0), 1);
	assert_int_equal(loop_turn(l, 0), 0);
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_int_equal(loop_turn(l, 0), 1);
	assert_int_equal(loop_turn(l, 0), 0);
	assert_int_equal(e->ready, LOOP_IN);
	assert_int_equal(shutdown(fd[1], SHUT_WR), 0);
	assert_int_equal(loop_turn(l, 0), 1);
	assert_true(e->ready & LOOP_GONE);
	assert_int_equal(loop_turn(l, 0), 0);
	assert_int_equal(loop_want(l, &e->w, LOOP_IN), NJ_OK);
	assert_int_equal(loop_turn(l, 0), 1);
	assert_int_equal(loop_turn(l, 0), 1);
	loop_del(l, &e->w);
	(void)close(fd[0]);
	(void)close(fd[1]);
	free(e);
	loop_free(l);
}

/* Each of two ready watches would remove the other: only one is called, and
 * the other is not touched any more (its memory is gone). */
static void
removed_in_the_same_turn(void **state)
{
	struct loop *l = NULL;
	struct end *e[2];
	int fd[2][2], first;

	assert_int_equal(loop_new(&l), NJ_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd[i]), 0);
		e[i] = end_new(l, fd[i][0], LOOP_IN);
		assert_int_equal(write(fd[i][1], "x", 1), 1);
	}
	e[0]->victim = e[1];
	e[1]->victim = e[0];
	assert_int_equal(loop_turn(l, 0), 2);
	assert_int_equal(loop_turn(l, 0), 1);
	/* Which came first is the kernel's choice: it reads from the rest. */
	first = recv(fd[0][0], (char[2]){ 0 }, 1, MSG_DONTWAIT) == 1 &&
		loop_wait(l, 0) == 0
	    ? 0
	    : 1;
	free(e[first]);
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < 2; k++)
			(void)close(fd[i][k]);
	loop_free(l);
}

/* Who was not called is called in the next turn, and nobody is forgotten. */
static void
broken_off(void **state)
{
	struct loop *l = NULL;
	struct end *e[3];
	int fd[3][2], calls = 0;

	assert_int_equal(loop_new(&l), NJ_OK);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd[i]), 0);
		e[i] = end_new(l, fd[i][0], LOOP_IN);
		e[i]->breaks = true;
		assert_int_equal(write(fd[i][1], "x", 1), 1);
	}
	for (int turn = 1; turn <= 3; turn++) {
		assert_int_equal(loop_turn(l, 0), 4 - turn);
		calls = 0;
		for (int i = 0; i < 3; i++) {
			calls += e[i]->calls;
			if (e[i]->calls > 0)
				loop_del(l, &e[i]->w);
		}
		assert_int_equal(calls, turn);
	}
	for (int i = 0; i < 3; i++) {
		free(e[i]);
		(void)close(fd[i][0]);
		(void)close(fd[i][1]);
	}
	loop_free(l);
}

/* What is left of a batch is called later, but for what was removed meanwhile;
 * another loop hears that there is something. */
static void
one_by_one(void **state)
{
	struct loop *outer = NULL, *l = NULL;
	struct end *nested, *e[3];
	int fd[3][2], calls = 0;

	assert_int_equal(loop_new(&outer), NJ_OK);
	assert_int_equal(loop_new(&l), NJ_OK);
	nested = end_new(outer, loop_fd(l), LOOP_IN);
	assert_int_equal(loop_turn(outer, 0), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd[i]), 0);
		e[i] = end_new(l, fd[i][0], LOOP_IN);
		assert_int_equal(write(fd[i][1], "x", 1), 1);
	}
	assert_int_equal(loop_turn(outer, 0), 1);
	assert_int_equal(nested->calls, 1);
	assert_false(loop_next(l));
	assert_int_equal(loop_wait(l, 0), 3);
	assert_true(loop_next(l));
	for (int i = 0; i < 3; i++)
		calls += e[i]->calls;
	assert_int_equal(calls, 1);
	for (int i = 0; i < 3; i++)
		if (e[i]->calls == 0) {
			loop_del(l, &e[i]->w);
			break;
		}
	assert_true(loop_next(l));
	assert_false(loop_next(l));
	for (int i = 0; i < 3; i++) {
		loop_del(l, &e[i]->w);
		calls += e[i]->calls;
		free(e[i]);
		(void)close(fd[i][0]);
		(void)close(fd[i][1]);
	}
	assert_int_equal(calls, 1 + 2);
	assert_int_equal(loop_turn(outer, 0), 0);
	loop_free(l);
	free(nested);
	loop_free(outer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readiness),
		cmocka_unit_test(edges),
		cmocka_unit_test(removed_in_the_same_turn),
		cmocka_unit_test(broken_off),
		cmocka_unit_test(one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
