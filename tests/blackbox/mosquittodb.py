# SPDX-License-Identifier: Apache-2.0
"""Writes Mosquitto's persistence file by hand, versions 5 and 6."""
import struct

import raw

MAGIC = b'\x00\xb5\x00mosquitto db'
CFG, MSG, ENTRY, RETAIN, SUB, CLIENT = range(1, 7)
NEVER = 0xffffffff


def chunk(kind, body):
    return struct.pack('>II', kind, len(body)) + body


def begin(version, ended=True):
    return MAGIC + struct.pack('>II', 0, version) + chunk(CFG, struct.pack('<QBB6x', 999, ended, 8))


def client(version, name, expiry=NEVER, until=0, user=b''):
    head = struct.pack('<q', until) + struct.pack('>IHH', expiry, 0, len(name))
    if version == 6:
        head += struct.pack('>HH4x', 1883, len(user))
    return chunk(CLIENT, head + name + (user if version == 6 else b''))


def message(number, topic, payload, qos=1, retain=False, until=0, source=b'', props=None):
    head = struct.pack('<Qq', number, until) + struct.pack(
        '>IHHHHHBB', len(payload), 0, len(source), 0, len(topic), 1883, qos, retain)
    return chunk(MSG, head + source + topic + payload + (raw.properties(props) if props else b''))


def entry(name, number, state, pid=0, qos=1, out=True, retain=False, dup=False, sub_id=0):
    head = struct.pack('<Q', number) + struct.pack('>HHBBBB', pid, len(name), qos, state,
                                                   retain << 4 | dup, out)
    props = raw.properties({'subscription_id': sub_id}) if sub_id else b''
    return chunk(ENTRY, head + name + props)


def retain(number):
    return chunk(RETAIN, struct.pack('<Q', number))


def sub(name, topic, qos=1, options=0, identifier=0):
    return chunk(SUB, struct.pack('>IHHBB2x', identifier, len(name), len(topic), qos, options)
                 + name + topic)
