/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "auth/peer_check.h"

#define V4	 "\300\0\2\5" /* 192.0.2.5 */
#define MAPPED	 "\0\0\0\0\0\0\0\0\0\0\377\377" V4
#define DOC6	 "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define ADDR4	 LIT(V4)
#define ADDR_MAP LIT(MAPPED)
#define ADDR6	 LIT(DOC6)

static void
common_name(void **state)
{
	const struct {
		const char *why;
		struct slice cn, addr;
		bool want;
	} rows[] = {
		{ "the same", LIT("192.0.2.5"), ADDR4, true },
		{ "client by IPv6 socket", LIT("192.0.2.5"), ADDR_MAP, true },
		{ "mapped in the name", LIT("::ffff:192.0.2.5"), ADDR4, true },
		{ "hexadecimal", LIT("::ffff:c000:205"), ADDR4, true },
		{ "compatible is not mapped", LIT("::192.0.2.5"), ADDR4,
		    false },
		{ "another", LIT("192.0.2.6"), ADDR4, false },
		{ "leading zero", LIT("192.0.2.05"), ADDR4, false },
		{ "more behind", LIT("192.0.2.5 "), ADDR4, false },
		{ "NUL", LIT("192.0.2.5\0x"), ADDR4, false },
		{ "number", LIT("3221225989"), ADDR4, false },
		{ "network", LIT("192.0.2.5/32"), ADDR4, false },
		{ "IPv6", LIT("2001:db8::1"), ADDR6, true },
		{ "IPv6 at length", LIT("2001:0DB8:0:0:0:0:0:1"), ADDR6, true },
		{ "zone", LIT("2001:db8::1%lo"), ADDR6, false },
		{ "brackets", LIT("[2001:db8::1]"), ADDR6, false },
		{ "empty", LIT(""), ADDR4, false },
		{ "no address", LIT("192.0.2.5"), SLICE_NONE, false },
		{ "long",
		    LIT("0000:0000:0000:0000:0000:0000:0000:0000:0000:00"),
		    ADDR6, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_int(rows[i].why, peer_check_cn(rows[i].cn, rows[i].addr),
		    rows[i].want);
}

static void
alternative_names(void **state)
{
	const struct {
		const char *why;
		struct slice ips, addr;
		bool want;
	} rows[] = {
		{ "none", SLICE_NONE, ADDR4, false },
		{ "the same", LIT("\4" V4), ADDR4, true },
		{ "mapped client", LIT("\4" V4), ADDR_MAP, true },
		{ "mapped name", LIT("\x10" MAPPED), ADDR4, true },
		{ "the second", LIT("\x10" DOC6 "\4" V4), ADDR4, true },
		{ "another", LIT("\x10" DOC6), ADDR4, false },
		{ "IPv6", LIT("\4" V4 "\x10" DOC6), ADDR6, true },
		{ "cut", LIT("\4\300\0\2"), ADDR4, false },
		{ "no address", LIT("\0"), SLICE_NONE, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_int(rows[i].why,
		    peer_check_san(rows[i].ips, rows[i].addr), rows[i].want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(common_name),
		cmocka_unit_test(alternative_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
