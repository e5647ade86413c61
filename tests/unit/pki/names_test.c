/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "pki/names.h"

static void
accepts(void **state)
{
	static const struct {
		const char *in, *want; /* NULL: refused */
		bool ip;
	} rows[] = {
		{ "box", "box", false },
		{ "Box.LAN", "box.lan", false },
		{ "my_box", "my_box", false },
		{ "*.example.org", "*.example.org", false },
		{ "192.168.1.20", "192.168.1.20", true },
		{ "FD00:0::2", "fd00::2", true },
		{ "::1", "::1", true },
		{ "", NULL, false },
		{ ".", NULL, false },
		{ "a..b", NULL, false },
		{ "-a", NULL, false },
		{ "a-", NULL, false },
		{ "*", NULL, false },
		{ "*.org", NULL, false },
		{ "a.*.org", NULL, false },
		{ "a b", NULL, false },
		{ "a,DNS:b", NULL, false },
		{ "a\nb", NULL, false },
		{ "box:8883", NULL, false },
		{ "10.0.1", NULL, false },
		{ "10.0.0.256", NULL, false },
		{ "host/x", NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct pki_names s = { 0 };
		struct nj_why why = { 0 };
		enum nj_err e = pki_names_add(&s, rows[i].in, &why);

		if ((e == NJ_OK) != (rows[i].want != NULL) ||
		    (rows[i].want &&
			(strcmp(s.v[0].text, rows[i].want) != 0 ||
			    s.v[0].ip != rows[i].ip)))
			fail_msg("'%s': %d '%s'", rows[i].in, (int)e,
			    s.n ? s.v[0].text : "");
	}
}

static void
long_names(void **state)
{
	struct pki_names s = { 0 };
	char label[80], name[300] = "";

	(void)state;
	memset(label, 'a', sizeof(label));
	label[63] = '\0';
	assert_int_equal(pki_names_add(&s, label, NULL), NJ_OK);
	label[63] = 'a';
	label[64] = '\0';
	assert_int_equal(pki_names_add(&s, label, NULL), NJ_INVALID);
	for (size_t i = 0; i < 253; i++)
		name[i] = i % 50 == 49 ? '.' : 'b';
	assert_int_equal(pki_names_add(&s, name, NULL), NJ_OK);
	name[253] = 'b';
	assert_int_equal(pki_names_add(&s, name, NULL), NJ_INVALID);
}

static void
no_doubles_and_a_bound(void **state)
{
	struct pki_names s = { 0 };
	struct nj_why why = { 0 };
	char name[32];

	(void)state;
	assert_int_equal(pki_names_add(&s, "box", NULL), NJ_OK);
	assert_int_equal(pki_names_add(&s, "BOX", NULL), NJ_OK);
	assert_int_equal(s.n, 1);
	for (unsigned i = 1; i < PKI_NAMES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "h%u", i);
		assert_int_equal(pki_names_add(&s, name, &why), NJ_OK);
	}
	assert_int_equal(pki_names_add(&s, "one-more", &why), NJ_FULL);
	assert_int_equal(pki_names_add(&s, "h1", &why), NJ_OK);
}

static void
hosts_file(void **state)
{
	static const char text[] = "# a comment with box in it\n"
				   "127.0.0.1\tlocalhost\n"
				   "127.0.1.1  box.lan box   # ours\n"
				   "10.0.0.9 other.lan other\n"
				   "10.0.0.8 boxer\n"
				   "192.168.1.20 broker.home BOX\r\n"
				   "192.168.1.21 bad..name box\n"
				   "\n"
				   "10.0.0.1";
	struct pki_names s = { 0 };
	char dir[64];

	(void)state;
	rough_mkdir(dir);
	assert_int_equal(
	    file_write(rough_path(dir, "hosts"), slice_str(text), 0644, NULL),
	    NJ_OK);
	pki_names_from_hosts(&s, rough_path(dir, "hosts"), "box");
	assert_int_equal(s.n, 3);
	assert_string_equal(s.v[0].text, "box.lan");
	assert_string_equal(s.v[1].text, "box");
	assert_string_equal(s.v[2].text, "broker.home");
	s.n = 0;
	pki_names_from_hosts(&s, rough_path(dir, "absent"), "box");
	assert_int_equal(s.n, 0);
	rough_rmdir(dir);
}

static void
this_machine(void **state)
{
	struct pki_names s = { 0 };

	(void)state;
	pki_names_collect(&s);
	assert_true(pki_names_has(&s, "localhost"));
	assert_true(pki_names_has(&s, "127.0.0.1"));
	assert_true(pki_names_has(&s, "::1"));
	for (unsigned i = 0; i < s.n; i++) {
		assert_int_not_equal(strncmp(s.v[i].text, "fe80:", 5), 0);
		assert_int_not_equal(strncmp(s.v[i].text, "169.254.", 8), 0);
	}
	assert_true(pki_names_skip_interface("docker0"));
	assert_true(pki_names_skip_interface("veth12ab"));
	assert_true(pki_names_skip_interface("br-0123"));
	assert_false(pki_names_skip_interface("br0"));
	assert_false(pki_names_skip_interface("eth0"));
}

static void
of_a_certificate(void **state)
{
	const struct rough r = {
		.san = "DNS:box.lan,IP:10.0.0.1,IP:::1,URI:urn:x,email:a@b.c"
	};
	X509 *x = rough_cert(&r, NULL);
	struct pki_names s;

	(void)state;
	pki_names_of(x, &s);
	assert_int_equal(s.n, 3);
	assert_true(pki_names_has(&s, "box.lan"));
	assert_true(pki_names_has(&s, "10.0.0.1"));
	assert_true(pki_names_has(&s, "::1"));
	X509_free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts),
		cmocka_unit_test(long_names),
		cmocka_unit_test(no_doubles_and_a_bound),
		cmocka_unit_test(hosts_file),
		cmocka_unit_test(this_machine),
		cmocka_unit_test(of_a_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
