/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cidr.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static void
map_text(const char *text, uint8_t addr[CIDR_BYTES])
{
	uint8_t raw[16];
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	assert_int_equal(inet_pton(family, text, raw), 1);
	cidr_map(slice_of(raw, family == AF_INET6 ? 16 : 4), addr);
}

static void
lists(void **state)
{
	const struct {
		const char *list, *addr;
		bool want;
	} rows[] = {
		{ "", "10.0.0.1", false },
		{ "10.0.0.1", "10.0.0.1", true },
		{ "10.0.0.1", "10.0.0.2", false },
		{ "10.0.0.0/8", "10.255.255.255", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.0.0.0/31", "10.0.0.1", true },
		{ "10.0.0.0/31", "10.0.0.2", false },
		{ "10.64.0.0/10", "10.127.0.1", true },
		{ "10.64.0.0/10", "10.128.0.1", false },
		{ "0.0.0.0/0", "203.0.113.7", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "2001:db8::1", true },
		{ "::/0", "10.0.0.1", true },
		{ "10.0.0.1", "::ffff:10.0.0.1", true },
		{ "::ffff:10.0.0.1", "10.0.0.1", true },
		{ "2001:db8::/32", "2001:db8:ffff::1", true },
		{ "2001:db8::/32", "2001:db9::", false },
		{ "192.0.2.1, 10.0.0.1\n2001:db8::1", "10.0.0.1", true },
		{ "192.0.2.1, 10.0.0.1\n2001:db8::1", "2001:db8::1", true },
		{ "192.0.2.1, 10.0.0.1\n2001:db8::1", "::1", false },
	};
	uint8_t addr[CIDR_BYTES];

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		map_text(rows[i].addr, addr);
		if (cidr_list_has(rows[i].list, addr) == rows[i].want)
			continue;
		print_error("%s in '%s'\n", rows[i].addr, rows[i].list);
		fail();
	}
}

static void
faults(void **state)
{
	const struct {
		const char *list, *fault;
	} rows[] = {
		{ "", "" },
		{ "10.0.0.1 ::1\t10.0.0.0/8,\n", "" },
		{ "10.0.0.1 localhost", "localhost" },
		{ "10.0.0", "10.0.0" },
		{ "10.0.0.1/8", "10.0.0.1/8" },
		{ "10.0.0.0/33", "10.0.0.0/33" },
		{ "10.0.0.0/", "10.0.0.0/" },
		{ "10.0.0.0/-1", "10.0.0.0/-1" },
		{ "10.0.0.0/08", "10.0.0.0/08" },
		{ "10.0.0.0/0008", "10.0.0.0/0008" },
		{ "/8", "/8" },
		{ "::/129", "::/129" },
		{ "2001:db8::1/32", "2001:db8::1/32" },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
		    "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		if (slice_is(cidr_list_fault(rows[i].list), rows[i].fault))
			continue;
		print_error("'%s'\n", rows[i].list);
		fail();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test(faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
