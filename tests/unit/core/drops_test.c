/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "core/session.h"

#define SAYS "Outgoing messages are being dropped for "

struct place {
	struct index *ix;
	struct home h;
	char said[8192];
	unsigned lines;
};

static void
on_line(void *arg, enum log_type type, const char *line)
{
	struct place *x = arg;
	size_t n = strlen(x->said);

	assert_int_equal(type, LOG_T_NOTICE);
	(void)snprintf(x->said + n, sizeof x->said - n, "%s\n", line);
	x->lines++;
}

static void
listen_to(struct place *x, unsigned types)
{
	const struct log_opts o = { .types = types,
		.dests = LOG_D_TOPIC,
		.on_line = on_line,
		.arg = x };
	struct nj_why why = { 0 };

	assert_int_equal(log_start(&o, &why), NJ_OK);
}

static void
begin(struct place *x, unsigned types)
{
	*x = (struct place){ 0 };
	assert_int_equal(
	    index_new(&(struct index_opts){ .shards = 1 }, &x->ix), NJ_OK);
	home_init(&x->h, 0, x->ix);
	x->h.limits = (struct session_limits){ .max_queued = 7 };
	listen_to(x, types);
}

/* What was said since it was asked last. */
static const char *
said(struct place *x)
{
	static char copy[sizeof x->said];

	log_stop();
	memcpy(copy, x->said, sizeof copy);
	x->said[0] = 0;
	x->lines = 0;
	listen_to(x, LOG_T_ALL);
	return copy;
}

static void
later(struct place *x, uint64_t ms)
{
	x->h.now_ms += ms;
	(void)timers_run(&x->h.timers, x->h.now_ms, 10);
}

static void
finish(struct place *x)
{
	home_fini(&x->h);
	index_free(x->ix);
	log_stop();
}

static struct session *
a_session(struct place *x, const char *id)
{
	struct session *s;

	assert_int_equal(session_new(&x->h, slice_str(id), &s), NJ_OK);
	return s;
}

static void
first_at_once_then_a_number(void **state)
{
	struct place x;
	struct session *s;

	(void)state;
	begin(&x, LOG_T_ALL);
	s = a_session(&x, "a\nb");
	for (unsigned i = 0; i < 1000; i++)
		session_dropped(s, DROP_MESSAGES);
	assert_string_equal(said(&x),
	    SAYS "client a\\x0ab: its queue has as many as it may "
		 "(max_queued_messages 7).  To mend it: bring that client "
		 "back, end its session, or raise the limit.\n");
	later(&x, DROPS_EVERY_MS - 1);
	assert_string_equal(said(&x), "");
	later(&x, 1);
	assert_non_null(strstr(said(&x), "client a\\x0ab: 999 more in 10 s, "));
	/* its name is known when it has gone */
	session_dropped(s, DROP_MESSAGES);
	session_dropped(s, DROP_MESSAGES);
	assert_string_equal(said(&x), "");
	session_free(s);
	later(&x, DROPS_EVERY_MS);
	assert_non_null(strstr(said(&x), "client a\\x0ab: 2 more in 10 s, "));
	/* nothing more: the clock need not run for it */
	later(&x, DROPS_EVERY_MS);
	assert_string_equal(said(&x), "");
	assert_null(timers_first(&x.h.timers));
	assert_int_equal(x.h.counts.dropped, 1002);
	finish(&x);
}

static void
many_clients_few_lines(void **state)
{
	struct session *s[100];
	char id[8];
	struct place x;

	(void)state;
	begin(&x, LOG_T_ALL);
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(id, sizeof id, "c%u", i);
		s[i] = a_session(&x, id);
		session_dropped(s[i], DROP_BYTES);
		session_dropped(s[i], DROP_BYTES);
	}
	log_stop();
	assert_int_equal(x.lines, DROPS_TOLD);
	(void)said(&x);
	later(&x, DROPS_EVERY_MS);
	log_stop();
	assert_int_equal(x.lines, DROPS_TOLD + 1);
	assert_non_null(strstr(x.said, SAYS "other clients: 184 in 10 s.\n"));
	listen_to(&x, LOG_T_ALL);
	/* what goes on has its place, what comes anew has one of the others' */
	(void)said(&x);
	session_dropped(s[3], DROP_BYTES);
	later(&x, DROPS_EVERY_MS);
	session_dropped(s[99], DROP_BYTES);
	assert_non_null(strstr(said(&x), SAYS "client c99: "));
	for (unsigned i = 0; i < 100; i++)
		session_free(s[i]);
	assert_int_equal(x.h.counts.dropped, 202);
	finish(&x);
}

static void
each_cause_is_told(void **state)
{
	static const struct {
		enum drop_cause cause;
		const char *says;
	} rows[] = {
		{ DROP_MESSAGES, "(max_queued_messages 7)" },
		{ DROP_BYTES, "(max_queued_bytes)" },
		{ DROP_OUTPUT, "(max_output_bytes 11)" },
		{ DROP_SIZE, "(its Maximum Packet Size 13)" },
		{ DROP_RIGHT, "may not read" },
		{ DROP_ONCE, "once at most" },
		{ DROP_MEMORY, "out of memory" },
	};
	struct link l = { .soft = 11, .max_packet = 13 };
	struct session *s;
	struct place x;

	(void)state;
	begin(&x, LOG_T_ALL);
	s = a_session(&x, "c");
	s->link = &l;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *line;

		session_dropped(s, rows[i].cause);
		line = said(&x);
		assert_non_null(strstr(line, rows[i].says));
		assert_non_null(strstr(line, "To mend it: "));
	}
	home_dropped(&x.h, DROP_WORK, slice_str("t"));
	assert_non_null(strstr(said(&x), SAYS "topic t: "));
	s->link = NULL;
	session_free(s);
	finish(&x);
}

/* Who does not want to know pays for counting only. */
static void
not_told_where_off(void **state)
{
	struct session *s;
	struct place x;

	(void)state;
	begin(&x, LOG_T_ALL & ~(unsigned)LOG_T_NOTICE);
	s = a_session(&x, "c");
	session_dropped(s, DROP_MESSAGES);
	assert_int_equal(x.h.counts.dropped, 1);
	assert_int_equal(x.h.drops.n, 0);
	assert_string_equal(said(&x), "");
	session_free(s);
	finish(&x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_at_once_then_a_number),
		cmocka_unit_test(many_clients_few_lines),
		cmocka_unit_test(each_cause_is_told),
		cmocka_unit_test(not_told_where_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
