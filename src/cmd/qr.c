/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/qr.h"

#include <png.h>
#include <qrencode.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"

#define QUIET 4 /* dots of margin that the standard asks for */
#define DOT   8 /* pixels a dot */

bool
qr_works(void)
{
	return true;
}

static QRcode *
encode(const char *text, struct nj_why *why)
{
	QRcode *q = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);

	if (!q)
		why_set(why, "the QR code could not be made");
	return q;
}

static bool
dark(const QRcode *q, int x, int y)
{
	return x >= 0 && y >= 0 && x < q->width && y < q->width &&
	    (q->data[y * q->width + x] & 1);
}

enum nj_err
qr_print(const char *text, FILE *to, struct nj_why *why)
{
	/* upper and lower dot dark or not; black on white by their colours */
	static const char *const cells[] = { " ", "\xe2\x96\x84",
		"\xe2\x96\x80", "\xe2\x96\x88" };
	QRcode *q = encode(text, why);

	if (!q)
		return NJ_TOOBIG;
	for (int y = -QUIET; y < q->width + QUIET; y += 2) {
		(void)fputs("\033[30;107m", to);
		for (int x = -QUIET; x < q->width + QUIET; x++)
			(void)fputs(
			    cells[dark(q, x, y) * 2 + dark(q, x, y + 1)], to);
		(void)fputs("\033[0m\n", to);
	}
	QRcode_free(q);
	return NJ_OK;
}

enum nj_err
qr_png(const char *text, const char *path, struct nj_why *why)
{
	QRcode *q = encode(text, why);
	png_image image = { .version = PNG_IMAGE_VERSION,
		.format = PNG_FORMAT_GRAY };
	png_alloc_size_t size = 0;
	uint8_t *pixels = NULL, *file = NULL;
	enum nj_err e = NJ_NOMEM;
	unsigned side;

	if (!q)
		return NJ_TOOBIG;
	side = (unsigned)(q->width + 2 * QUIET) * DOT;
	image.width = image.height = side;
	if (!(pixels = malloc((size_t)side * side)))
		goto out;
	for (unsigned y = 0; y < side; y++)
		for (unsigned x = 0; x < side; x++)
			pixels[y * side + x] = dark(q, (int)(x / DOT) - QUIET,
						   (int)(y / DOT) - QUIET)
			    ? 0
			    : 255;
	if (!png_image_write_get_memory_size(
		image, size, 0, pixels, (int)side, NULL) ||
	    !(file = malloc(size)) ||
	    !png_image_write_to_memory(
		&image, file, &size, 0, pixels, (int)side, NULL)) {
		why_set(why, "the PNG could not be made");
		goto out;
	}
	e = file_write(path, slice_of(file, size), 0600, why);
out:
	free(file);
	free(pixels);
	QRcode_free(q);
	return e;
}
