/* SPDX-License-Identifier: Apache-2.0
 * Runs a fuzz target once over each file that is named, or that stands in a
 * named folder: the seeds, and what once crashed it.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "fuzz.h"

#define INPUT_MAX ((size_t)16 << 20)

static unsigned ran;

/* In an allocation of just that size, so that reads past it are seen. */
static int
run_bytes(struct slice s)
{
	uint8_t *copy = malloc(s.n > 0 ? s.n : 1);

	if (!copy)
		return -1;
	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	(void)LLVMFuzzerTestOneInput(copy, s.n);
	free(copy);
	ran++;
	return 0;
}

static int
run_file(const char *path)
{
	struct buf b = { 0 };
	struct nj_why why = { 0 };
	int rc = -1;

	if (file_read(path, INPUT_MAX, &b, &why))
		(void)fprintf(stderr, "%s\n", why.what);
	else
		rc = run_bytes(buf_slice(&b));
	buf_fini(&b);
	return rc;
}

static int
run_dir(const char *path)
{
	struct dirent *d;
	DIR *dir = opendir(path);
	int rc = 0;

	if (!dir) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while ((d = readdir(dir)) && rc == 0) {
		char *file = NULL;

		if (d->d_name[0] == '.')
			continue;
		if (asprintf(&file, "%s/%s", path, d->d_name) < 0)
			rc = -1;
		else
			rc = run_file(file);
		free(file);
	}
	(void)closedir(dir);
	return rc;
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat st;
		bool is_dir = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);

		if ((is_dir ? run_dir : run_file)(argv[i]) != 0)
			return 1;
	}
	printf("%u inputs\n", ran);
	return ran > 0 ? 0 : 1;
}
