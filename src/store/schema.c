/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables, as the steps from each schema to the next: a new store takes
 * all of them, an older one those it lacks, each in one transaction.  A step
 * that was released is never changed.
 */
#include <stdio.h>

#include "store/impl.h"

static const char *const steps[] = {
	"CREATE TABLE session(id INTEGER PRIMARY KEY, client BLOB NOT NULL,"
	" user BLOB NOT NULL, mount BLOB NOT NULL, version INTEGER NOT NULL, "
	"expiry INTEGER NOT NULL,"
	" offline INTEGER NOT NULL, will INTEGER, will_delay INTEGER,"
	" will_expiry INTEGER,"
	/* the highest seq that the client may have been sent */
	" sent INTEGER NOT NULL DEFAULT 0) STRICT;"
	"CREATE TABLE sub(session INTEGER NOT NULL, filter BLOB NOT NULL,"
	" options INTEGER NOT NULL, share INTEGER NOT NULL,"
	" PRIMARY KEY(session, filter)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE received(session INTEGER NOT NULL, pid INTEGER NOT NULL,"
	" PRIMARY KEY(session, pid)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE queue(session INTEGER NOT NULL, seq INTEGER NOT NULL,"
	" pid INTEGER NOT NULL, flags INTEGER NOT NULL, ids BLOB,"
	" msg INTEGER NOT NULL, size INTEGER NOT NULL,"
	" PRIMARY KEY(session, seq)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE msg(id INTEGER PRIMARY KEY, refs INTEGER NOT NULL,"
	" topic_len INTEGER NOT NULL, payload_len INTEGER NOT NULL,"
	" flags INTEGER NOT NULL, expires INTEGER NOT NULL,"
	" bytes BLOB NOT NULL) STRICT;"
	"CREATE TABLE retained(topic BLOB PRIMARY KEY, ord INTEGER NOT NULL,"
	" msg INTEGER) STRICT, WITHOUT ROWID;"
	"CREATE INDEX retained_gone ON retained(ord) WHERE msg IS NULL;",

	/* What has expired is found without a walk over all messages.  Most
	 * have no expiry, and cost nothing here. */
	"CREATE INDEX msg_expires ON msg(expires) "
	"WHERE expires < 9223372036854775807;"
	/* wall clock, in seconds; 0: before this schema */
	"ALTER TABLE msg ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;",

	/* facts.h */
	"CREATE TABLE fact(space BLOB NOT NULL, kind INTEGER NOT NULL,"
	" name BLOB NOT NULL, value BLOB NOT NULL,"
	" PRIMARY KEY(space, kind, name)) STRICT, WITHOUT ROWID;",

	/* Entries first to first + n - 1 of a queue, with their messages, and
	 * those of them that are gone; segment.h.  The others, those of older
	 * schemas too, are rows of queue. */
	"CREATE TABLE seg(session INTEGER NOT NULL, first INTEGER NOT NULL,"
	" n INTEGER NOT NULL, size INTEGER NOT NULL, stored INTEGER NOT NULL,"
	" data BLOB NOT NULL, PRIMARY KEY(session, first)) STRICT, "
	"WITHOUT ROWID;"
	"CREATE TABLE gone(session INTEGER NOT NULL, first INTEGER NOT NULL,"
	" n INTEGER NOT NULL, bits BLOB NOT NULL,"
	" PRIMARY KEY(session, first)) STRICT, WITHOUT ROWID;",

	/* whose rules a session has while its client is away */
	"ALTER TABLE session ADD COLUMN who BLOB NOT NULL DEFAULT x'';",

	/* Where the bytes of a large segment are, if they are not in data, and
	 * the files that may be there; data.h.  Zeros take no room, so those
	 * behind data are read without it. */
	"ALTER TABLE seg ADD COLUMN file INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE seg ADD COLUMN at INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE seg ADD COLUMN len INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE seg ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX seg_file ON seg(file, at, len) WHERE file <> 0;"
	"CREATE TABLE file(no INTEGER PRIMARY KEY) STRICT;",
};

_Static_assert(sizeof steps / sizeof *steps == TABLES_SCHEMA,
    "one step leads to each schema of the tables");
_Static_assert(STORE_SCHEMA == PAGESUM_SCHEMA, "and one to that of pages");
_Static_assert(STORE_APPLICATION == 1315589489, "the pragma says the same");

static enum nj_err
take_step(struct store *s, unsigned to)
{
	char version[64];
	enum nj_err e;

	(void)snprintf(version, sizeof version, "PRAGMA user_version = %u", to);
	if ((e = sql_exec(s, "BEGIN IMMEDIATE")))
		return e;
	if (!(e = sql_exec(s, steps[to - 1])) &&
	    !(e = sql_exec(s, "PRAGMA application_id = 1315589489")) &&
	    !(e = sql_exec(s, version)) && !(e = sql_exec(s, "COMMIT")))
		return NJ_OK;
	if (!sqlite3_get_autocommit(s->db) && sql_exec(s, "ROLLBACK"))
		return NJ_IO;
	return e;
}

enum nj_err
schema_upgrade(struct store *s, unsigned from)
{
	enum nj_err e = NJ_OK;

	for (unsigned to = from + 1; to <= TABLES_SCHEMA && !e; to++)
		e = take_step(s, to);
	return e;
}
