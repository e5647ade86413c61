/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pki/signer.h"

#define NUMBER sizeof(uint32_t)

/* result, then id, what and mend, each with its length */
static const uint8_t waits[] = { ENROL_WAIT, 0, 1, 'a', 0, 1, 'b', 0, 1, 'c' };
static const uint8_t fine[] = { ENROL_OK, 0, 1, 'd', 0, 0, 0, 0 };

static void
say(int fd, uint32_t number, const uint8_t *answer, size_t n)
{
	uint8_t text[64];

	memcpy(text, &number, NUMBER);
	memcpy(text + NUMBER, answer, n);
	(void)!send(fd, text, NUMBER + n, MSG_NOSIGNAL);
}

/* A signer that answers the question before once more, then the one it was
 * asked; and ends after the second. */
static void *
late_one(void *arg)
{
	const int *fd = arg;
	uint8_t q[64];
	uint32_t number;

	for (int i = 0; i < 2; i++) {
		if (recv(*fd, q, sizeof q, 0) <= (ssize_t)NUMBER)
			break;
		memcpy(&number, q, NUMBER);
		say(*fd, number - 1, waits, sizeof waits);
		say(*fd, number, fine, sizeof fine);
	}
	(void)close(*fd);
	return NULL;
}

/* Who asks; who answers, on fd, is a thread. */
struct pair {
	struct signer *s;
	pthread_t thread;
	int fd;
};

static void
begin(struct pair *p, void *(*answers)(void *))
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	p->fd = fds[1];
	assert_int_equal(signer_new(fds[0], &p->s), NJ_OK);
	assert_int_equal(pthread_create(&p->thread, NULL, answers, &p->fd), 0);
}

/* An answer that comes too late is not taken for another's. */
static void
answers_have_numbers(void **state)
{
	struct signer_answer a;
	struct pair p;

	(void)state;
	begin(&p, late_one);
	for (int i = 0; i < 2; i++) {
		signer_cas(p.s, &a);
		assert_int_equal(a.result, ENROL_OK);
		assert_string_equal(a.id, "d");
		buf_fini(&a.certs);
	}
	assert_int_equal(pthread_join(p.thread, NULL), 0);
	signer_cas(p.s, &a);
	assert_int_equal(a.result, ENROL_FAILED);
	assert_non_null(strstr(a.why.what, "does not answer"));
	buf_fini(&a.certs);
	signer_free(p.s);
}

/* The patience of who asks is over at once. */
static bool impatient;

int __real_poll(struct pollfd *v, nfds_t n, int ms);
int __wrap_poll(struct pollfd *v, nfds_t n, int ms);

int
__wrap_poll(struct pollfd *v, nfds_t n, int ms)
{
	return __real_poll(v, n, impatient ? 0 : ms);
}

/* What was done about the server's certificate is heard by the next who asks for
 * that, when the answer came too late for the one before. */
static void
a_late_answer_is_not_lost(void **state)
{
	struct signer_answer a;
	struct signer *s = NULL;
	uint8_t q[64];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	assert_int_equal(signer_new(fds[0], &s), NJ_OK);
	impatient = true;
	signer_server(s, &a);
	assert_int_equal(a.result, ENROL_FAILED);
	signer_server(s, &a); /* nor does it come to that */
	assert_int_equal(a.result, ENROL_FAILED);
	assert_int_equal(recv(fds[1], q, sizeof q, 0), NUMBER + 1);
	say(fds[1], 1, fine, sizeof fine);
	signer_cas(s, &a); /* another's question is none of it */
	assert_int_equal(a.result, ENROL_FAILED);
	assert_int_equal(recv(fds[1], q, sizeof q, 0), NUMBER + 1);
	say(fds[1], 2, waits, sizeof waits);
	signer_server(s, &a);
	assert_int_equal(a.result, ENROL_OK);
	assert_string_equal(a.id, "d");
	buf_fini(&a.certs);
	signer_server(s, &a); /* it is told once */
	assert_int_equal(a.result, ENROL_FAILED);
	assert_int_equal(recv(fds[1], q, sizeof q, 0), NUMBER + 1);
	say(fds[1], 3, waits, sizeof waits);
	impatient = false;
	signer_server(s, &a);
	assert_int_equal(a.result, ENROL_WAIT);
	buf_fini(&a.certs);
	signer_free(s);
	(void)close(fds[1]);
}

/* The two sides know each other's form. */
static void *
serve(void *arg)
{
	const int *fd = arg;
	const struct signer_side side = { .clock = &clock_system,
		.addresses = -1 };
	const struct pki_ca_opts o = { .name = "Home" };
	struct secret *pass = rough_secret("correct horse");
	struct pki_ca *ca = NULL;
	char dir[64];

	rough_mkdir(dir);
	if (pki_ca_init(dir, &o, pass, &ca, NULL) == NJ_OK)
		signer_serve(&ca, *fd, &side);
	(void)close(*fd);
	pki_ca_free(ca);
	secret_free(pass);
	rough_rmdir(dir);
	return NULL;
}

static void
both_sides(void **state)
{
	struct signer_answer a;
	struct pair p;

	(void)state;
	begin(&p, serve);
	for (int i = 0; i < 3; i++) {
		signer_cas(p.s, &a);
		assert_int_equal(a.result, ENROL_OK);
		assert_true(buf_len(&a.certs) > 200);
		buf_fini(&a.certs);
		signer_look(p.s, LIT("no token"), LIT("x"), &a);
		assert_int_equal(a.result, ENROL_DENIED);
		buf_fini(&a.certs);
	}
	signer_free(p.s); /* which ends it */
	assert_int_equal(pthread_join(p.thread, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_have_numbers),
		cmocka_unit_test(a_late_answer_is_not_lost),
		cmocka_unit_test(both_sides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
