/* SPDX-License-Identifier: Apache-2.0
 * The option table, -D, -L, and what fits together.
 */
#include "rows.h"

#include <unistd.h>

#include "cmd/client_opts_table.h"

#define WORDS 16

/* Words to be written to, as argv may be. */
struct words {
	char text[WORDS][128];
	char *v[WORDS + 1];
	int n;
};

static void
put(struct words *w, const char *const *from)
{
	memset(w, 0, sizeof *w);
	for (; from[w->n]; w->n++) {
		(void)snprintf(w->text[w->n], 128, "%s", from[w->n]);
		w->v[w->n] = w->text[w->n];
	}
}

/* stderr is silenced: these are meant to complain. */
static enum nj_err
parse(struct cli *c, enum cli_prog prog, struct words *w)
{
	int keep = dup(STDERR_FILENO);
	enum nj_err e;

	assert_non_null(freopen("/dev/null", "w", stderr));
	e = cli_parse(c, prog, w->n, w->v);
	(void)fflush(stderr);
	dup2(keep, STDERR_FILENO);
	close(keep);
	return e;
}

struct row {
	enum cli_prog prog;
	const char *words[WORDS];
	enum nj_err want;
};

static void
accepted_and_refused(void **state)
{
	static const struct row rows[] = {
		{ CLI_PUB, { "pub", "-t", "a", "-m", "b" }, NJ_OK },
		{ CLI_PUB, { "pub", "-t", "a", "-m" }, NJ_INVALID },
		{ CLI_PUB, { "pub", "-t", "a", "-m", "b", "-n" }, NJ_INVALID },
		{ CLI_PUB, { "pub", "-t", "a", "-C", "1" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-C", "1" }, NJ_OK },
		{ CLI_SUB, { "sub", "-t", "a", "-C", "0" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-C", "1x" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-m", "b" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a/#/b" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-T", "b+" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-U", "" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-q", "3" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-k", "4" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-c" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-c", "-i", "x" }, NJ_OK },
		{ CLI_SUB, { "sub", "-t", "a", "-I", "y", "-i", "x" },
		    NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-P", "x" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-P", "x", "-V", "5" }, NJ_OK },
		{ CLI_SUB, { "sub", "-t", "a", "-V", "4" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "--insecure" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "--cert", "x" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "--tls-version", "tlsv1" },
		    NJ_INVALID },
		{ CLI_SUB,
		    { "sub", "-t", "a", "--tls-version", "tlsv1", "--cafile",
			"x", "--insecure" },
		    NJ_OK },
		{ CLI_SUB, { "sub", "-t", "a", "--psk", "aa" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "--will-qos", "1" },
		    NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "--will-topic", "w/+" },
		    NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "--will-topic", "w" }, NJ_OK },
		{ CLI_SUB, { "sub", "-t", "a", "--retain-as-published" },
		    NJ_INVALID },
		{ CLI_SUB,
		    { "sub", "-t", "a", "--retain-as-published", "-V", "5" },
		    NJ_OK },
		{ CLI_SUB, { "sub", "-t", "a", "--random-filter", "0" },
		    NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "--keyform", "engine" },
		    NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "$share/g/a" }, NJ_OK },
		{ CLI_SUB, { "sub", "-t", "$share//a" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-S", "-p", "1" }, NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-S", "-L", "mqtt://h/b" },
		    NJ_OK },
		{ CLI_SUB, { "sub", "-t", "a", "-S", "--unix", "x" },
		    NJ_INVALID },
		{ CLI_SUB,
		    { "sub", "-t", "a", "--proxy", "socks5h://h", "--unix",
			"x" },
		    NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "--retain-handling", "new" },
		    NJ_INVALID },
		{ CLI_SUB,
		    { "sub", "-t", "a", "--retain-handling", "new", "-V", "5" },
		    NJ_OK },
		{ CLI_SUB,
		    { "sub", "-t", "a", "--retain-handling", "3", "-V", "5" },
		    NJ_INVALID },
		{ CLI_SUB, { "sub", "-t", "a", "-w", "--message-rate", "--ws" },
		    NJ_OK },
		{ CLI_SUB, { "sub", "-t", "a", "-o" }, NJ_INVALID },
		{ CLI_RR, { "rr", "-t", "a", "-e", "b", "-m", "x" }, NJ_OK },
		{ CLI_RR, { "rr", "-t", "a", "-e", "b", "-l" }, NJ_INVALID },
		{ CLI_RR, { "rr", "-t", "a", "--latency", "-R", "-W", "1" },
		    NJ_OK },
		{ CLI_PUB, { "pub", "-t", "a", "-e", "b" }, NJ_INVALID },
		{ CLI_PUB, { "pub", "-D", "publish", "response-topic", "a/#" },
		    NJ_INVALID },
		{ CLI_PUB, { "pub", "-D", "publish", "content-type", "\xff" },
		    NJ_INVALID },
		{ CLI_PUB,
		    { "pub", "-D", "publish", "correlation-data", "\xff" },
		    NJ_OK },
		{ CLI_PUB, { "pub", "--nonsense" }, NJ_INVALID },
		{ CLI_PUB, { "pub", "word" }, NJ_INVALID },
		{ CLI_PUB, { "pub", "--repeat-delay", "-1" }, NJ_INVALID },
		{ CLI_PUB, { "pub", "-x", "4294967296" }, NJ_INVALID },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct words w;
		struct cli c;
		enum nj_err e;

		put(&w, rows[i].words);
		e = parse(&c, rows[i].prog, &w);
		if (e != rows[i].want) {
			for (int k = 0; k < w.n; k++)
				print_error("%s ", w.v[k]);
			print_error(": %s\n", nj_strerror(e));
			fail();
		}
		cli_fini(&c);
	}
}

/* Every option that is listed as not supported is refused with words, and
 * every other one is described. */
static void
whole_table(void **state)
{
	for (size_t i = 0; i < cli_opts_n; i++) {
		const struct cli_opt *o = &cli_opts[i];
		struct cli c = { .prog = o->progs & CLI_PUB ? CLI_PUB
			    : o->progs & CLI_SUB	    ? CLI_SUB
							    : CLI_RR };
		struct nj_why why = { .what = "" };
		char name[64];
		char *argv[] = { name, NULL };

		assert_true(o->letter || o->name);
		assert_non_null(o->help);
		(void)snprintf(
		    name, sizeof name, "%s", o->name ? o->name : o->letter);
		if (o->kind != CLI_REFUSE && !o->value)
			continue;
		assert_int_equal(cli_take(&c, 1, argv, &why), 0);
		assert_true(why.what[0] != '\0');
		if (o->kind == CLI_REFUSE)
			assert_string_equal(why.mend, o->help);
	}
}

static void
nearest_name(void **state)
{
	struct cli c = { .prog = CLI_PUB, .self = "pub" };
	struct nj_why why = { .what = "" };
	char word[] = "--cafle";
	char *argv[] = { word, NULL };

	assert_int_equal(cli_take(&c, 1, argv, &why), 0);
	assert_string_equal(why.mend, "did you mean --cafile?");
}

static void
secrets_leave_argv(void **state)
{
	static const char *const words[] = { "pub", "-t", "a", "-n", "-u", "u",
		"-P", "secret", NULL };
	struct words w;
	struct cli c;

	put(&w, words);
	assert_int_equal(parse(&c, CLI_PUB, &w), NJ_OK);
	assert_true(slice_is(secret_bytes(c.password), "secret"));
	assert_string_equal(w.v[7], "******");
	cli_fini(&c);
}

static void
urls(void **state)
{
	static const struct {
		const char *url, *host, *user, *password, *topic;
		long port;
		bool tls;
	} rows[] = {
		{ "mqtt://h/t", "h", NULL, NULL, "t", 0, false },
		{ "mqtt://h:1884/a/b", "h", NULL, NULL, "a/b", 1884, false },
		{ "mqtts://h/t", "h", NULL, NULL, "t", 8883, true },
		{ "mqtts://h:1/t", "h", NULL, NULL, "t", 1, true },
		{ "mqtt://u@h/t", "h", "u", NULL, "t", 0, false },
		{ "mqtt://u:p@h/t", "h", "u", "p", "t", 0, false },
		{ "mqtt://u:p@q:r@h:5/t", "h", "u", "p@q:r", "t", 5, false },
		{ "mqtt://[::1]:7/t", "::1", NULL, NULL, "t", 7, false },
		{ "mqtt://[::1]/t", "::1", NULL, NULL, "t", 0, false },
		{ "ws://h/t", "h", NULL, NULL, "t", 0, false },
		{ "wss://h/t", "h", NULL, NULL, "t", 8883, true },
		{ "WSS://h:8884/t", "h", NULL, NULL, "t", 8884, true },
		{ "mqtt://h", NULL, NULL, NULL, NULL, 0, false },
		{ "mqtt://h/", NULL, NULL, NULL, NULL, 0, false },
		{ "mqtt:///t", NULL, NULL, NULL, NULL, 0, false },
		{ "mqtt://h:x/t", NULL, NULL, NULL, NULL, 0, false },
		{ "mqtt://[::1/t", NULL, NULL, NULL, NULL, 0, false },
		{ "http://h/t", NULL, NULL, NULL, NULL, 0, false },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct cli c = { .url = rows[i].url };
		struct nj_why why = { .what = "" };
		enum nj_err e = cli_url(&c, &why);

		if ((e == NJ_OK) != (rows[i].host != NULL)) {
			print_error("%s: %s\n", rows[i].url, why.what);
			fail();
		}
		if (!e) {
			assert_string_equal(c.host, rows[i].host);
			assert_string_equal(c.topics.v[0], rows[i].topic);
			assert_int_equal(c.port, rows[i].port);
			assert_int_equal(c.use_tls, rows[i].tls);
			assert_int_equal(c.websocket,
			    rows[i].url[0] == 'w' || rows[i].url[0] == 'W');
			assert_int_equal(c.user != NULL, rows[i].user != NULL);
			assert_int_equal(
			    c.password != NULL, rows[i].password != NULL);
		}
		if (!e && rows[i].user)
			assert_string_equal(c.user, rows[i].user);
		if (!e && rows[i].password)
			assert_true(slice_is(
			    secret_bytes(c.password), rows[i].password));
		cli_fini(&c);
	}
}

static void
proxies(void **state)
{
	static const struct {
		const char *url, *host, *user, *password;
		uint16_t port;
	} rows[] = {
		{ "socks5h://h", "h", NULL, NULL, 1080 },
		{ "socks5h://h:9/", "h", NULL, NULL, 9 },
		{ "socks5h://[::1]:9", "::1", NULL, NULL, 9 },
		{ "socks5h://u@h", "h", "u", NULL, 1080 },
		{ "socks5h://u%40x:p%3a%25@h:9", "h", "u@x", "p:%", 9 },
		{ "socks5h://u:@h", "h", "u", "", 1080 },
		{ "socks5h://", NULL, NULL, NULL, 0 },
		{ "socks5h://:p@h", NULL, NULL, NULL, 0 },
		{ "socks5h://u:p:q@h", NULL, NULL, NULL, 0 },
		{ "socks5h://u%20@h", NULL, NULL, NULL, 0 },
		{ "socks5h://u%4@h", NULL, NULL, NULL, 0 },
		{ "socks5h://h:70000", NULL, NULL, NULL, 0 },
		{ "socks5://h", NULL, NULL, NULL, 0 },
		{ "", NULL, NULL, NULL, 0 },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct cli c = { .prog = CLI_PUB };
		struct nj_why why = { .what = "" };
		enum nj_err e = cli_proxy(&c, rows[i].url, &why);
		const char *user = c.proxy.user;

		if ((e == NJ_OK) != (rows[i].host != NULL)) {
			print_error("%s: %s\n", rows[i].url, why.what);
			fail();
		} else if (!e) {
			assert_string_equal(c.proxy.host, rows[i].host);
			assert_int_equal(c.proxy.port, rows[i].port);
			assert_true(rows[i].user
				? strcmp(user, rows[i].user) == 0
				: !user);
			assert_int_equal(
			    c.proxy.password != NULL, rows[i].password != NULL);
		}
		cli_fini(&c);
	}
}

static void
properties(void **state)
{
	static const struct {
		const char *args[5];
		int used; /* 0: refused */
	} rows[] = {
		{ { "publish", "content-type", "x" }, 3 },
		{ { "PUBLISH", "topic-alias", "1", "-q" }, 3 },
		{ { "connect", "user-property", "k", "v" }, 4 },
		{ { "connect", "user-property", "k" }, 0 },
		{ { "connect", "content-type", "x" }, 0 },
		{ { "publish", "topic-alias", "0" }, 0 },
		{ { "publish", "topic-alias", "65536" }, 0 },
		{ { "publish", "payload-format-indicator", "2" }, 0 },
		{ { "will", "will-delay-interval", "4294967295" }, 3 },
		{ { "puback", "user-property", "k", "v" }, 0 },
		{ { "publish", "nonsense", "x" }, 0 },
		{ { "publish", "content-type" }, 0 },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct cli c = { .prog = CLI_PUB };
		struct nj_why why = { .what = "" };
		char *args[5] = { NULL };
		int n = 0, used = 0;
		enum nj_err e;

		for (; rows[i].args[n]; n++)
			assert_non_null(args[n] = strdup(rows[i].args[n]));
		e = cli_property(&c, n, args, &used, &why);
		if ((e ? 0 : used) != rows[i].used || (e && !why.what[0])) {
			print_error("%s %s: %s\n", rows[i].args[0],
			    rows[i].args[1], why.what);
			fail();
		}
		while (n > 0)
			free(args[--n]);
		cli_fini(&c);
	}
}

static void
defaults_file(void **state)
{
	static const char *const words[] = { "pub", "-m", "b", "-q", "2",
		NULL };
	char dir[] = "/tmp/nightjar-opts-XXXXXX", path[128];
	struct words w;
	struct cli c;
	FILE *f;

	assert_non_null(mkdtemp(dir));
	setenv("XDG_CONFIG_HOME", dir, 1);
	(void)snprintf(path, sizeof path, "%s/mosquitto_pub", dir);
	assert_non_null(f = fopen(path, "w"));
	(void)fputs("# comment\n\n-h example.org\r\n-q 1\n-t with a space\n"
		    "-D publish user-property k v w\n-d\n",
	    f);
	(void)fclose(f);
	put(&w, words);
	assert_int_equal(parse(&c, CLI_PUB, &w), NJ_OK);
	assert_string_equal(c.host, "example.org");
	assert_int_equal(c.qos, 2); /* the command line wins */
	assert_string_equal(c.topics.v[0], "with a space");
	assert_true(c.debug);
	assert_int_equal(c.version, MQTT5);
	assert_true(
	    slice_eq(buf_slice(&c.publish.extra), LIT("\x26\0\1k\0\3v w")));
	cli_fini(&c);
	assert_non_null(f = fopen(path, "w"));
	(void)fputs("--nonsense\n", f);
	(void)fclose(f);
	put(&w, words);
	assert_int_equal(parse(&c, CLI_PUB, &w), NJ_INVALID);
	cli_fini(&c);
	(void)unlink(path);
	(void)rmdir(dir);
}

static int
no_defaults(void **state)
{
	return setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(accepted_and_refused, no_defaults),
		cmocka_unit_test(whole_table),
		cmocka_unit_test(nearest_name),
		cmocka_unit_test_setup(secrets_leave_argv, no_defaults),
		cmocka_unit_test(urls),
		cmocka_unit_test(proxies),
		cmocka_unit_test(properties),
		cmocka_unit_test(defaults_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
