/* SPDX-License-Identifier: Apache-2.0
 * encode - structs to packets, appended whole to a buffer or not at all.
 *
 * Owns:    nothing.
 * Threads: pure.
 * Errors:  NJ_NOMEM; NJ_TOOBIG when a string or the packet is beyond what the
 *          protocol can carry.  Properties are left out below 5.0; a code of
 *          0 without properties takes the short form.
 * Spec:    MQTT 5.0 chapter 3.
 */
#ifndef NJ_WIRE_ENCODE_H
#define NJ_WIRE_ENCODE_H

#include "base/buf.h"
#include "wire/packet.h"

NJ_MUST enum nj_err encode_connect(struct buf *b, const struct connect *c);
NJ_MUST enum nj_err
encode_connack(struct buf *b, enum mqtt_ver v, const struct connack *c);
NJ_MUST enum nj_err
encode_publish(struct buf *b, enum mqtt_ver v, const struct publish *p);
NJ_MUST enum nj_err encode_ack(
    struct buf *b, enum mqtt_type type, enum mqtt_ver v, const struct ack *a);
NJ_MUST enum nj_err
encode_subscribe(struct buf *b, enum mqtt_ver v, uint16_t id,
    const struct props *props, const struct subscription *subs, size_t n);
NJ_MUST enum nj_err
encode_unsubscribe(struct buf *b, enum mqtt_ver v, uint16_t id,
    const struct props *props, const struct slice *filters, size_t n);
NJ_MUST enum nj_err
encode_suback(struct buf *b, enum mqtt_ver v, const struct suback *s);
NJ_MUST enum nj_err
encode_unsuback(struct buf *b, enum mqtt_ver v, const struct suback *s);
NJ_MUST enum nj_err
encode_disconnect(struct buf *b, enum mqtt_ver v, const struct disconnect *d);
NJ_MUST enum nj_err encode_auth(struct buf *b, const struct disconnect *d);
NJ_MUST enum nj_err encode_ping(struct buf *b, enum mqtt_type type);

#endif
