/* SPDX-License-Identifier: Apache-2.0
 * decode - packet bodies to structs.
 *
 * Owns:    nothing; everything borrows from body.
 * Threads: pure.
 * Errors:  NJ_TRUNCATED and NJ_MALFORMED: malformed packet; NJ_PROTOCOL:
 *          protocol error; rc_of (core) makes reason codes of them.  Bytes
 *          behind the last field are malformed.
 * Spec:    MQTT 5.0 chapter 3, MQTT 3.1.1, MQTT 3.1.
 */
#ifndef NJ_WIRE_DECODE_H
#define NJ_WIRE_DECODE_H

#include "wire/packet.h"

/* NJ_UNSUPPORTED: a protocol name or version that is not served
 * [MQTT-3.1.2-1], [-2].  out->version tells what was asked for wherever the
 * packet got that far, also on failure. */
NJ_MUST enum nj_err decode_connect(struct slice body, struct connect *out);
NJ_MUST enum nj_err
decode_connack(struct slice body, enum mqtt_ver v, struct connack *out);
/* The topic may be empty only together with a topic alias (5.0).  It is checked
 * as UTF-8, not as a name: topic_name_ok.  On failure *out is indeterminate. */
NJ_MUST enum nj_err decode_publish(
    uint8_t flags, struct slice body, enum mqtt_ver v, struct publish *out);
/* type says which of the four it is. */
NJ_MUST enum nj_err decode_ack(
    enum mqtt_type type, struct slice body, enum mqtt_ver v, struct ack *out);
/* Bytes of a PUBACK without code and properties. */
#define PUBACK_SHORT 4
/* The identifiers of the PUBACKs without a code that *in begins with, at most
 * max; they are taken off it.  Whatever else comes ends the row, what is
 * malformed too. */
size_t take_puback_row(struct slice *in, uint16_t *ids, size_t max);
/* Walks the list once, so that a bad entry is found before the first is acted
 * upon.  Filters of 5.0 are checked as UTF-8, not as filters; those of older
 * versions are filters, or the packet is a protocol error. */
NJ_MUST enum nj_err
decode_subscribe(struct slice body, enum mqtt_ver v, struct subscribe *out);
NJ_MUST enum nj_err
decode_unsubscribe(struct slice body, enum mqtt_ver v, struct subscribe *out);
/* The next entry of s->list; false at the end.  v and unsubscribe as they
 * were decoded. */
bool next_subscription(
    struct slice *list, enum mqtt_ver v, struct subscription *out);
bool next_unsubscription(struct slice *list, struct slice *filter);
NJ_MUST enum nj_err
decode_suback(struct slice body, enum mqtt_ver v, struct suback *out);
NJ_MUST enum nj_err
decode_unsuback(struct slice body, enum mqtt_ver v, struct suback *out);
NJ_MUST enum nj_err
decode_disconnect(struct slice body, enum mqtt_ver v, struct disconnect *out);
NJ_MUST enum nj_err decode_auth(struct slice body, struct disconnect *out);
/* PINGREQ, PINGRESP: empty bodies. */
NJ_MUST enum nj_err decode_empty(struct slice body);

#endif
