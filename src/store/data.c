/* SPDX-License-Identifier: Apache-2.0
 */
#include "store/data.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define LANES 4
#define STEP  (LANES * sizeof(uint64_t))

struct place
place_of(sqlite3_stmt *st, int at)
{
	return (struct place){
		.file = (uint64_t)sqlite3_column_int64(st, at + 1),
		.at = (uint64_t)sqlite3_column_int64(st, at + 2),
		.len = (uint64_t)sqlite3_column_int64(st, at + 3),
		.sum = (uint64_t)sqlite3_column_int64(st, at + 4),
	};
}

enum nj_err
place_check(const struct place *p)
{
	return p->file == 0 || p->file > INT64_MAX || p->at > INT64_MAX / 2 ||
		p->len == 0 || p->len > DATA_ROW_MAX
	    ? NJ_MALFORMED
	    : NJ_OK;
}

/* One to one in both: what differs in one word stays different. */
static uint64_t
mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

static uint64_t
word(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return le64toh(v);
}

/* Four lanes, as one would wait for its own multiplications. */
uint64_t
data_sum(uint64_t file, uint64_t at, struct slice bytes)
{
	uint64_t h[LANES] = { file, at, bytes.n, 1 };
	uint8_t last[STEP] = { 0 };
	const uint8_t *p = bytes.p;
	size_t n = bytes.n;

	for (; n >= STEP; n -= STEP, p += STEP)
		for (unsigned i = 0; i < LANES; i++)
			h[i] = mix(h[i], word(p + i * sizeof h[i]));
	if (n > 0)
		memcpy(last, p, n);
	for (unsigned i = 0; i < LANES; i++)
		h[i] = mix(h[i], word(last + i * sizeof h[i]));
	return mix(mix(mix(h[0], h[1]), h[2]), h[3]);
}

char *
data_name(const char *base, uint64_t no)
{
	char *name;

	return asprintf(&name, "%s" DATA_TAIL "%07llu", base,
		   (unsigned long long)no) < 0
	    ? NULL
	    : name;
}

static void
f_data(sqlite3_context *c, int n, sqlite3_value **v)
{
	const struct data_source *src = sqlite3_user_data(c);
	struct place p = {
		.file = (uint64_t)sqlite3_value_int64(v[1]),
		.at = (uint64_t)sqlite3_value_int64(v[2]),
		.len = (uint64_t)sqlite3_value_int64(v[3]),
		.sum = (uint64_t)sqlite3_value_int64(v[4]),
	};
	struct slice bytes = SLICE_NONE;
	enum nj_err e;

	(void)n;
	if (p.file == 0) {
		bytes = slice_of(sqlite3_value_blob(v[0]),
		    (size_t)sqlite3_value_bytes(v[0]));
		if (data_is_whole(&p, bytes))
			sqlite3_result_value(c, v[0]);
		else
			sqlite3_result_null(c);
		return;
	}
	switch (e = src->read(src->arg, &p, &bytes)) {
	case NJ_OK:
		sqlite3_result_blob(c, bytes.p, (int)bytes.n, SQLITE_TRANSIENT);
		break;
	case NJ_MALFORMED:
		sqlite3_result_null(c);
		break;
	default:
		sqlite3_result_error_code(
		    c, e == NJ_NOMEM ? SQLITE_NOMEM : SQLITE_IOERR_READ);
	}
}

enum nj_err
data_function(sqlite3 *db, struct data_source *src)
{
	return sqlite3_create_function(db, "nj_data", 5,
		   SQLITE_UTF8 | SQLITE_INNOCUOUS, src, f_data, NULL,
		   NULL) == SQLITE_OK
	    ? NJ_OK
	    : NJ_NOMEM;
}
