/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/source.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define STDIN_CHUNK (64 * 1024)

enum nj_err
source_read(struct buf *text, bool *end, struct nj_why *why)
{
	uint8_t *at;
	ssize_t n;
	enum nj_err e;

	if (buf_len(text) > MQTT_VARINT_MAX) {
		why_set(
		    why, "standard input has more than a message can carry");
		return NJ_TOOBIG;
	}
	if ((e = buf_reserve(text, STDIN_CHUNK, &at)))
		return e;
	do
		n = read(STDIN_FILENO, at, STDIN_CHUNK);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		why_set(why, "standard input: %s", strerror(errno));
		return NJ_IO;
	}
	buf_commit(text, (size_t)n);
	*end = n == 0;
	return NJ_OK;
}

static enum nj_err
load_stdin(struct buf *text, struct slice *payload, struct nj_why *why)
{
	bool end = false;
	enum nj_err e = NJ_OK;

	while (!e && !end)
		e = source_read(text, &end, why);
	*payload = buf_slice(text);
	if (!e && payload->n == 0) {
		why_set(why, "standard input is empty");
		why_mend(why, "an empty message is sent with -n");
		e = NJ_INVALID;
	}
	return e;
}

enum nj_err
source_load(const struct cli *o, struct buf *text, struct slice *payload,
    struct nj_why *why)
{
	enum nj_err e;

	switch (o->source) {
	case SRC_TEXT:
		*payload = slice_str(o->message);
		return NJ_OK;
	case SRC_FILE:
		e = file_read(o->file, MQTT_VARINT_MAX, text, why);
		*payload = buf_slice(text);
		return e;
	case SRC_STDIN:
		return load_stdin(text, payload, why);
	default:
		return NJ_OK;
	}
}
