/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>

#include "base/mailbox.h"

#define SENDERS 4
#define LETTERS 50000

static void
mailbox_keeps_order(void **state)
{
	struct mailbox m;
	struct letter l[10];

	(void)state;
	assert_int_equal(mailbox_init(&m), NJ_OK);
	assert_null(mailbox_take(&m));
	for (unsigned round = 0; round < 5; round++) {
		/* one at a time, and several */
		for (unsigned n = 1; n <= 10; n++) {
			for (unsigned i = 0; i < n; i++) {
				l[i].kind = i;
				mailbox_post(&m, &l[i]);
			}
			assert_int_equal(mailbox_depth(&m), n);
			for (unsigned i = 0; i < n; i++)
				assert_ptr_equal(mailbox_take(&m), &l[i]);
			assert_null(mailbox_take(&m));
			assert_int_equal(mailbox_depth(&m), 0);
		}
	}
	/* a letter can be posted again once it was taken */
	mailbox_post(&m, &l[0]);
	assert_ptr_equal(mailbox_take(&m), &l[0]);
	mailbox_post(&m, &l[0]);
	mailbox_post(&m, &l[1]);
	assert_ptr_equal(mailbox_take(&m), &l[0]);
	mailbox_post(&m, &l[0]);
	assert_ptr_equal(mailbox_take(&m), &l[1]);
	assert_ptr_equal(mailbox_take(&m), &l[0]);
	assert_null(mailbox_take(&m));
	mailbox_fini(&m);
}

static bool
rings(const struct mailbox *m)
{
	struct pollfd p = { .fd = m->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void
mailbox_wakes_only_sleepers(void **state)
{
	struct mailbox m;
	struct letter a, b, c;

	(void)state;
	assert_int_equal(mailbox_init(&m), NJ_OK);
	mailbox_post(&m, &a);
	assert_false(rings(&m));
	assert_false(mailbox_sleep(&m));
	assert_ptr_equal(mailbox_take(&m), &a);
	assert_true(mailbox_sleep(&m));
	assert_false(rings(&m));
	mailbox_post(&m, &b);
	assert_true(rings(&m));
	mailbox_post(&m, &c);
	mailbox_awake(&m);
	assert_false(rings(&m)); /* one ring for both */
	assert_ptr_equal(mailbox_take(&m), &b);
	assert_ptr_equal(mailbox_take(&m), &c);
	/* woken by something else: nothing to read */
	assert_true(mailbox_sleep(&m));
	mailbox_awake(&m);
	mailbox_post(&m, &a);
	assert_false(rings(&m));
	assert_ptr_equal(mailbox_take(&m), &a);
	mailbox_fini(&m);
}

struct numbered {
	struct letter letter;
	unsigned sender, number;
};

struct sender {
	struct mailbox *to;
	unsigned number;
	pthread_t thread;
	struct numbered *letters;
};

static void *
send_all(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < LETTERS; i++) {
		s->letters[i].sender = s->number;
		s->letters[i].number = i;
		mailbox_post(s->to, &s->letters[i].letter);
		if (i % 1024 == 0)
			(void)poll(NULL, 0, 1); /* lets the box run dry */
	}
	return NULL;
}

static unsigned
take_all(struct mailbox *m, unsigned *next)
{
	struct letter *l;
	unsigned n = 0;

	for (; (l = mailbox_take(m)); n++) {
		struct numbered *at = (struct numbered *)(void *)l;

		assert_int_equal(at->number, next[at->sender]);
		next[at->sender]++;
	}
	return n;
}

static void
mailbox_stress(void **state)
{
	static struct sender s[SENDERS];
	unsigned next[SENDERS] = { 0 }, got = 0, waits = 0;
	struct mailbox m;

	(void)state;
	assert_int_equal(mailbox_init(&m), NJ_OK);
	for (unsigned i = 0; i < SENDERS; i++) {
		s[i].to = &m;
		s[i].number = i;
		s[i].letters = calloc(LETTERS, sizeof(struct numbered));
		assert_non_null(s[i].letters);
		assert_int_equal(
		    pthread_create(&s[i].thread, NULL, send_all, &s[i]), 0);
	}
	while (got < SENDERS * LETTERS) {
		struct pollfd p = { .fd = m.fd, .events = POLLIN };

		got += take_all(&m, next);
		if (got == SENDERS * LETTERS || !mailbox_sleep(&m))
			continue;
		waits++;
		/* A lost wake would let this time out. */
		assert_int_equal(poll(&p, 1, 60000), 1);
		mailbox_awake(&m);
	}
	for (unsigned i = 0; i < SENDERS; i++) {
		assert_int_equal(pthread_join(s[i].thread, NULL), 0);
		assert_int_equal(next[i], LETTERS);
		free(s[i].letters);
	}
	assert_true(waits > 0);
	assert_null(mailbox_take(&m));
	assert_int_equal(mailbox_depth(&m), 0);
	mailbox_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mailbox_keeps_order),
		cmocka_unit_test(mailbox_wakes_only_sleepers),
		cmocka_unit_test(mailbox_stress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
