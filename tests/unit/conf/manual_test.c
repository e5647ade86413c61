/* SPDX-License-Identifier: Apache-2.0
 *
 * man/nightjar.conf.5 in the tree is what the option table says today; after
 * a change of the table, tools/gen-conf-man writes it anew.
 */
#include "conf/manual.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/table.h"

static char *
written(void (*write)(FILE *to), size_t *n)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, n);

	assert_non_null(f);
	write(f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void
test_page_is_current(void **state)
{
	size_t n = 0, got;
	char *want = written(conf_man_write, &n);
	char *text = malloc(n + 2);
	FILE *f = fopen(PAGE, "r");

	(void)state;
	assert_non_null(text);
	if (!f)
		fail_msg("%s is not there: run tools/gen-conf-man", PAGE);
	got = fread(text, 1, n + 1, f);
	(void)fclose(f);
	if (got != n || memcmp(text, want, n) != 0)
		fail_msg("%s is not what the table says: run "
			 "tools/gen-conf-man",
		    PAGE);
	free(text);
	free(want);
}

static void
test_help_names_every_option(void **state)
{
	size_t n = 0;
	char *text = written(conf_help_write, &n);

	(void)state;
	for (size_t i = 0; i < conf_table_n; i++)
		if (!strstr(text, conf_table[i].name))
			fail_msg("no %s", conf_table[i].name);
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");

		assert_true(len <= 80);
		line += len + (line[len] == '\n');
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_is_current),
		cmocka_unit_test(test_help_names_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
