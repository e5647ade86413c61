/* SPDX-License-Identifier: Apache-2.0
 *
 * Logs as they are found, a letter a frame, and whether something was lost that
 * had been on disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "disk.h"
#include "store/walcheck.h"

#define HEADER	  32
#define FRAME	  24
#define PAGES_MAX 65536u
#define SECTOR	  512u

#define PATH "/walcheck"
#define LOG  "/walcheck-wal"

static const uint32_t pages[] = { 512, 4096, 65536 };

struct log {
	sqlite3_file *f;
	uint32_t page; /* bytes */
	bool big;      /* numbers that are summed up */
	uint32_t a, b; /* sum */
	uint32_t salt;
	sqlite3_int64 at;
};

static void
put(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t
word(const struct log *l, const uint8_t *p)
{
	return l->big ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
		(uint32_t)p[2] << 8 | p[3]
		      : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 |
		(uint32_t)p[1] << 8 | p[0];
}

static void
add(struct log *l, const uint8_t *p, size_t n)
{
	for (; n > 0; n -= 8, p += 8) {
		l->a += word(l, p) + l->b;
		l->b += word(l, p + 4) + l->a;
	}
}

static void
append(struct log *l, const uint8_t *p, size_t n)
{
	assert_int_equal(
	    l->f->pMethods->xWrite(l->f, p, (int)n, l->at), SQLITE_OK);
	l->at += (sqlite3_int64)n;
}

static void
header(struct log *l)
{
	uint8_t h[HEADER] = { 0 };

	put(h, l->big ? 0x377f0683 : 0x377f0682);
	put(h + 4, 3007000);
	put(h + 8, l->page);
	put(h + 12, 7);
	put(h + 16, l->salt);
	put(h + 20, ~l->salt);
	l->a = l->b = 0;
	add(l, h, FRAME);
	put(h + 24, l->a);
	put(h + 28, l->b);
	append(l, h, sizeof h);
}

/* A whole one, and then what became of it. */
static void
frame(struct log *l, uint32_t number, bool commit, char flaw)
{
	static uint8_t f[FRAME + PAGES_MAX];
	uint8_t *page = f + FRAME;

	for (uint32_t i = 0; i < l->page; i++)
		page[i] = (uint8_t)(number * 31 + i / 7);
	put(f, number);
	put(f + 4, commit ? 100 + number : 0);
	put(f + 8, l->salt);
	put(f + 12, ~l->salt);
	add(l, f, 8);
	add(l, page, l->page);
	put(f + 16, l->a);
	put(f + 20, l->b);
	if (flaw == '!')
		page[l->page / 2] ^= 4;
	else if (flaw == '#')
		f[9] ^= 4;
	else if (flaw == '$')
		f[17] ^= 4;
	else if (flaw == '~')
		memset(page + l->page - SECTOR, 0, SECTOR);
	append(l, f, FRAME + (flaw == '<' ? l->page / 2 : l->page));
}

/*
 * f: a frame; C: the last one of a transaction.  Behind them: ! a bit of the page
 * is another one, # of the frame's salt, $ of its sum; ~ a sector of it was not
 * written; < the log ends within it.  / what follows was left there by the log
 * before this one.
 */
static void
write_log(const char *frames, uint32_t page, bool big)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(DISK_VFS);
	struct log l = { .page = page, .big = big, .salt = 77 };
	uint32_t number = 1;
	int flags = 0;

	l.f = calloc(1, (size_t)vfs->szOsFile);
	assert_non_null(l.f);
	assert_int_equal(
	    vfs->xOpen(vfs, LOG, l.f,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_WAL,
		&flags),
	    SQLITE_OK);
	header(&l);
	for (const char *at = frames; *at; at++) {
		if (*at == '/') {
			l.salt--;
			l.a ^= 12345;
		} else if (*at == 'f' || *at == 'C') {
			frame(&l, number++, *at == 'C', at[1]);
		}
	}
	l.f->pMethods->xClose(l.f);
	free(l.f);
}

static const struct row {
	const char *frames;
	int bad; /* which frame; -1: nothing is lost that was on disk */
} rows[] = {
	{ "", -1 },
	{ "CCCC", -1 },
	{ "fCffCfC", -1 },
	{ "fCff", -1 },
	/* the last transaction, or its end, or the end of the one before */
	{ "fCf!C", -1 },
	{ "fCfC!", -1 },
	{ "fC!fC", -1 },
	{ "fCf~C", -1 },
	{ "fCfC~", -1 },
	{ "fCfC<", -1 },
	{ "fCf<", -1 },
	{ "f~fC~", -1 },
	/* before that: another was written behind it, which waited for it */
	{ "f!CfC", 0 },
	{ "fC!fCfC", 1 },
	{ "fCf!CfC", 2 },
	{ "fCf~CfC", 2 },
	{ "fCf~f~CfC", 2 },
	{ "fC#fCfC", 1 },
	{ "fC#fCff", 1 },
	{ "fCf!Cf~C", -1 },
	/* the sum is what the next one stands on */
	{ "f$fCfC", 0 },
	{ "fC$fCfC", 1 },
	{ "C$CCC", 0 },
	{ "C$CC", -1 },
	/* each is one page */
	{ "C!", -1 },
	{ "C!C", -1 },
	{ "C!CC", 0 },
	{ "CCC!CC", 2 },
	{ "CCCC!C", -1 },
	{ "CCCCC~", -1 },
	{ "CC~CC~", -1 },
	{ "CC~CCC~", 1 },
	/* two are damaged: the last place says where it begins */
	{ "C!CC!CC", 0 },
	{ "f!f!f!CC", 0 },
	/* it began again from its start, older frames stand behind */
	{ "/CCCC", -1 },
	{ "C/CCCC", -1 },
	{ "fCfC/fCCC", -1 },
	{ "fC/fCfCf", -1 },
	{ "fCf/fCfC", -1 },
	{ "fCf~/CfCfC", -1 },
	{ "fCfC!/fCfC", -1 },
	{ "fC!fC/fCfC", -1 },
	{ "fC!fCfC/CfCfC", 1 },
	{ "C!CC/CCCC", 0 },
	{ "C!C/CCCC", -1 },
	{ "CCC/C!CCC", -1 },
	{ "CCC//CC/CC", -1 },
	{ "CCC/CCCC<", -1 },
};

static void
test_rows(void **st)
{
	(void)st;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		for (unsigned k = 0; k < 6; k++) {
			uint32_t page = pages[k / 2];
			struct nj_why why = { .what = "" };
			char at[40];
			enum nj_err e;

			disk_reset(1);
			write_log(rows[i].frames, page, k % 2);
			e = walcheck(DISK_VFS, PATH, &why);
			if (e != (rows[i].bad < 0 ? NJ_OK : NJ_MALFORMED))
				fail_msg("%s, pages of %u: %s", rows[i].frames,
				    page, e ? why.what : "nothing found");
			snprintf(at, sizeof at, "damaged at %u:",
			    HEADER + (unsigned)rows[i].bad * (FRAME + page));
			if (e && !strstr(why.what, at))
				fail_msg("%s: %s, not %s", rows[i].frames,
				    why.what, at);
		}
}

/* What cannot be read is no damage: its store would be set aside. */
static void
test_cannot_be_read(void **st)
{
	static const char *const logs[] = { "fCfC", "CCCC", "CC/CCCC", "C!CC" };

	(void)st;
	for (unsigned i = 0; i < sizeof logs / sizeof *logs; i++)
		/* the header, and SQLite says so, or a frame */
		for (uint64_t at = 1;; at++) {
			struct nj_why why = { .what = "" };
			enum nj_err e;

			disk_reset(1);
			write_log(logs[i], 4096, false);
			disk_fault(DISK_READ, at, 1000);
			e = walcheck(DISK_VFS, PATH, &why);
			if (disk_called(DISK_READ) < at)
				break;
			assert_int_equal(e, at == 1 ? NJ_OK : NJ_IO);
			if (e)
				assert_non_null(strstr(why.what, "be read"));
		}
	disk_fault(DISK_CALLS, 0, 0);
}

static void
test_no_log(void **st)
{
	struct nj_why why = { .what = "" };

	(void)st;
	disk_reset(1);
	assert_int_equal(walcheck(DISK_VFS, PATH, &why), NJ_OK);
	/* its first bytes, of which SQLite takes none then, and nothing whole is
	 * behind */
	write_log("C!", 4096, false);
	assert_true(disk_damage(LOG, 20));
	assert_int_equal(walcheck(DISK_VFS, PATH, &why), NJ_OK);
	write_log("C!CC", 4096, false);
	assert_true(disk_damage(LOG, 20));
	assert_int_equal(walcheck(DISK_VFS, PATH, &why), NJ_MALFORMED);
	assert_non_null(strstr(why.what, "damaged at 32"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_cannot_be_read),
		cmocka_unit_test(test_no_log),
	};
	int rc = cmocka_run_group_tests_name("log check", tests, NULL, NULL);

	disk_fini();
	return rc;
}
