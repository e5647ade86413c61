/* SPDX-License-Identifier: Apache-2.0
 * topic - topic names and filters: what is valid, what matches.
 *
 * Threads: pure; iterative, linear in the bytes.
 * Bounds:  TOPIC_LEVELS_MAX levels, to bound matching (a named refusal, not
 *          the standard's); 65,535 bytes by the encoding.
 * Spec:    MQTT 5.0 1.5.4, 4.7, 4.8.2.
 */
#ifndef NJ_WIRE_TOPIC_H
#define NJ_WIRE_TOPIC_H

#include <stdbool.h>

#include "base/slice.h"

#define TOPIC_LEVELS_MAX 201 /* 200 separators, as Mosquitto */

/* Well-formed UTF-8 without U+0000 and surrogates [MQTT-1.5.4-1], [-2]. */
bool utf8_ok(struct slice s);
/* A name to publish to: not empty [MQTT-4.7.3-1], no wildcard
 * [MQTT-3.3.2-2], valid UTF-8, not too deep. */
bool topic_name_ok(struct slice s);
/* True for nearly every topic name that is one: ASCII, neither very short nor
 * long; others need topic_name_ok. */
bool topic_is_plain(struct slice s);
/* A filter: as above, wildcards only as whole levels, # only last
 * [MQTT-4.7.1-1], [-2]. */
bool topic_filter_ok(struct slice s);
/* $ topics never match a filter that starts with a wildcard [MQTT-4.7.2-1].
 * Both must be valid. */
bool topic_matches(struct slice filter, struct slice name);
/* Whether something could match both; for authorization. */
bool topic_filters_overlap(struct slice a, struct slice b);
/*
 * "$share/group/filter" (4.8.2).  NJ_NOTFOUND: not a shared subscription.
 * NJ_MALFORMED: begins like one, but the group is empty or has a wildcard or
 * the filter is missing or invalid [MQTT-4.8.2-1], [-2].
 */
NJ_MUST enum nj_err
topic_share(struct slice s, struct slice *group, struct slice *filter);
/* Cuts the next level off *rest; false when none is left.  "" has one empty
 * level, "a/" has two.  Start with *more = true. */
bool topic_next(struct slice *rest, bool *more, struct slice *level);

#endif
