/* SPDX-License-Identifier: Apache-2.0
 * pagesum - a checksum in the last bytes of each page of the database.
 *
 * SQLite leaves them alone (a "reserved" region of the file format), and whoever
 * reads the file without knowing of them reads it as ever.  It is the sum that
 * SQLite has for frames of its log, over the page without its own place: so that
 * of a page that goes to the log follows from the one that SQLite has just made
 * of it, in a few multiplications.  One that differs in one bit, or in one word,
 * has another sum; a page of zeros has none.
 *
 * Of page 1 what any program changes that copies the file or moves its log counts
 * as zero: the format's read and write version, the counters of changes and of
 * the schema, who wrote it last.
 *
 * Owns:    nothing.
 * Threads: any.
 * Spec:    https://www.sqlite.org/fileformat2.html#checksum_algorithm
 */
#ifndef NJ_STORE_PAGESUM_H
#define NJ_STORE_PAGESUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGESUM_BYTES 8 /* at the end of a page */
#define PAGE_LEAST    512u
#define PAGE_MOST     65536u

/* Two sums, each one of the other: a += x + b, b += y + a for words x, y. */
struct sum {
	uint32_t a, b;
};

/* n: a multiple of 8.  big: words are big-endian. */
struct sum sum_add(struct sum s, const uint8_t *p, size_t n, bool big);
/* As the log has one, big-endian. */
struct sum sum_get(const uint8_t *p);
void sum_put(uint8_t *p, struct sum s);

static inline bool
is_page_size(size_t n)
{
	return n >= PAGE_LEAST && n <= PAGE_MOST && (n & (n - 1)) == 0;
}

/* page: n bytes, is_page_size(). */
bool pagesum_ok(const uint8_t *page, size_t n);
void pagesum_set(uint8_t *page, size_t n);
bool pagesum_is_first(const uint8_t *page);

/* A frame of the log is a head, of which 8 bytes count, and a page; its sum goes
 * on with that of the frame before. */
struct framesum {
	size_t n;	   /* of a page */
	struct sum row[2]; /* what a page does to the sum before it */
	struct sum salt;   /* of an empty page */
};
void framesum_init(struct framesum *f, size_t n);

/*
 * Sets the sum of a page that is not the first, and returns that of its frame in
 * a log where the one before has the sum `before`.  SQLite has made `sum` of the
 * same page as it was, and of its own sum `was` of the frame before; both with
 * words that are little-endian.
 */
struct sum framesum_set(const struct framesum *f, const uint8_t head[8],
    uint8_t *page, struct sum was, struct sum sum, struct sum before);

#endif
