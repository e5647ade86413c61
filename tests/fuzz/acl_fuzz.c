/* SPDX-License-Identifier: Apache-2.0
 * acl_fuzz - a topic, a subscription, then an acl_file.  What a subscription
 *            is said to bring is what each of its messages is allowed.
 */
#include "fuzz.h"

#include "auth/acl.h"
#include "wire/topic.h"

static struct slice
take_line(struct slice *text)
{
	const uint8_t *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
	size_t n = end ? (size_t)(end - text->p) : text->n;
	struct slice line = slice_of(text->p, n);

	n += end != NULL;
	*text = slice_of(text->p + n, text->n - n);
	return line;
}

static void
ask(const struct acl *a, const struct acl_asker *who, struct slice topic,
    struct slice filter)
{
	const char *rule = NULL;
	enum acl_cover c;
	bool may;

	if (!topic_name_ok(topic))
		return;
	may = acl_allows(a, who, false, topic, &rule);
	HOLDS(rule != NULL);
	(void)acl_allows(a, who, true, topic, &rule);
	if (!topic_filter_ok(filter))
		return;
	c = acl_covers(a, who, filter, &rule);
	HOLDS(rule != NULL);
	if (topic_matches(filter, topic)) {
		HOLDS(c != ACL_ALWAYS || may);
		HOLDS(c != ACL_NEVER || !may);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);
	struct slice topic = take_line(&text), filter = take_line(&text);
	struct slice name = take_line(&text);
	struct nj_why why = { 0 };
	struct acl *a = NULL;

	if (acl_parse(text, "f", &a, &why)) {
		HOLDS(why.what[0] && why.mend[0]);
		return 0;
	}
	ask(a, &(struct acl_asker){ .user = name, .client_id = LIT("id") },
	    topic, filter);
	ask(a, &(struct acl_asker){ .client_id = name, .groups = name }, topic,
	    filter);
	acl_unref(a);
	return 0;
}
