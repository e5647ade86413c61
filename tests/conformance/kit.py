# SPDX-License-Identifier: Apache-2.0
"""What the tests by clause share: a peer that holds every packet of the broker
against the format of its type, and words for common expectations."""
import os
import struct

import pytest

from harness import REFERENCE
from raw import (AUTH, CONNACK, CONNECT, DISCONNECT, PINGRESP, PROPS, PUBACK, PUBCOMP, PUBLISH,
                 PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, Closed, Raw, Reader,
                 connect_packet, packet, properties, string, varint)

MALFORMED, PROTOCOL_ERROR = 0x81, 0x82
NO_PROPS = b'\x00'

# Sections 3.2.2.2, 3.4.2.1, ... 3.15.2.1: what each packet may say.
CODES = {
    CONNACK: {0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90,
              0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f},
    PUBACK: {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    PUBREC: {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    PUBREL: {0, 0x92},
    PUBCOMP: {0, 0x92},
    SUBACK: {0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2},
    UNSUBACK: {0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91},
    # 0x04 and 0x00 are a client's only; see 3.14.2.1, column "sent by".
    DISCONNECT: {0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93,
                 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0,
                 0xa1, 0xa2},
    AUTH: {0, 0x18, 0x19},
}
_ANSWER = {'reason_string', 'user_property'}
# Table 2-4, for what a server sends: no session expiry in its DISCONNECT
# [MQTT-3.14.2-2].
ALLOWED = {
    CONNACK: _ANSWER | {'session_expiry', 'assigned_client_id', 'server_keep_alive', 'auth_method',
                        'auth_data', 'response_info', 'server_reference', 'receive_maximum',
                        'topic_alias_maximum', 'maximum_qos', 'retain_available',
                        'maximum_packet_size', 'wildcard_available', 'subscription_ids_available',
                        'shared_available'},
    PUBLISH: {'payload_format', 'message_expiry', 'content_type', 'response_topic',
              'correlation_data', 'subscription_id', 'topic_alias', 'user_property'},
    PUBACK: _ANSWER, PUBREC: _ANSWER, PUBREL: _ANSWER, PUBCOMP: _ANSWER,
    SUBACK: _ANSWER, UNSUBACK: _ANSWER,
    DISCONNECT: _ANSWER | {'server_reference'},
    AUTH: _ANSWER | {'auth_method', 'auth_data'},
}
FLAGS = {PUBREL: 2}


class Peer(Raw):
    """A raw client that believes nothing: each packet of the broker must have
    the format of its type, and must not be larger than was asked for."""
    max_packet = None

    def __init__(self, port, version=5, **kw):
        super().__init__(port, version=version, **kw)
        self.all = []

    def _recv(self, timeout):
        self.fill(2, timeout)
        while True:
            size = _length(self.pending)
            if size is not None:
                break
            self.fill(len(self.pending) + 1, timeout)
        p = super()._recv(timeout)
        encoded = varint(len(p.body))
        assert size == len(encoded), 'a remaining length in more bytes than needed'
        p.size = 1 + len(encoded) + len(p.body)
        assert self.max_packet is None or p.size <= self.max_packet, f'{p} is too large'
        self.all.append(p)
        if self.version == 5:
            _check_5(p)
        return p

    def connect(self, client_id='', want=0, **kw):
        self.max_packet = (kw.get('props') or {}).get('maximum_packet_size') \
            if self.version == 5 else None
        return super().connect(client_id, want=want, **kw)

    def publish_acked(self, topic, payload=b'', qos=1, **kw):
        """At QoS 0 a ping says that the broker has it: other connections may
        be heard before this one."""
        code = super().publish_acked(topic, payload, qos, **kw)
        if qos == 0:
            self.ping()
        return code

    def answer_to(self, data):
        """Sends bytes and takes the next packet."""
        self.send(data)
        return self.recv()

    def messages(self, n):
        """n messages, each acknowledged: [(topic, payload)]."""
        return [(m.topic, m.payload) for m in (self.message() for _ in range(n))]


def _length(data):
    """Bytes of the remaining length, or None while it is not whole."""
    for n in range(1, 5):
        if len(data) <= n:
            return None
        if not data[n] & 0x80:
            return n
    raise AssertionError('a remaining length of more than four bytes')


def _check_props(kind, data):
    """Takes properties that a packet of this kind may have."""
    before = len(data)
    r = Reader(data)
    size = r.var()
    assert before - len(r.data) == len(varint(size)), 'a property length in too many bytes'
    found = Reader(data).props()	# which asserts that none stands twice
    assert set(found) <= ALLOWED[kind], f'{set(found) - ALLOWED[kind]} in packet type {kind}'
    r.take(size)
    return r.data


def _check_5(p):
    """The format of sections 3.2 to 3.15."""
    body = p.body
    if p.kind == PUBLISH:
        assert p.qos < 3 and not (p.dup and p.qos == 0)
        assert p.qos == 0 or p.mid
        r = Reader(body)
        topic = r.bin().decode()
        assert '\0' not in topic and '+' not in topic and '#' not in topic
        r.take(2 if p.qos else 0)
        _check_props(PUBLISH, r.data)
        assert topic or 'topic_alias' in p.props
        assert p.props.get('topic_alias') != 0
        return
    assert p.flags == FLAGS.get(p.kind, 0), f'{p}: reserved flags'
    if p.kind == CONNACK:
        assert body[0] in (0, 1) and not (body[0] and body[1])
        assert body[1] in CODES[CONNACK], f'{p}: code'
        assert _check_props(CONNACK, body[2:]) == b''
    elif p.kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
        assert p.mid and p.code in CODES[p.kind], f'{p}: code'
        assert len(body) < 4 or _check_props(p.kind, body[3:]) == b''
    elif p.kind in (SUBACK, UNSUBACK):
        codes = _check_props(p.kind, body[2:])
        assert p.mid and codes and set(codes) <= CODES[p.kind], f'{p}: codes'
    elif p.kind in (DISCONNECT, AUTH):
        assert p.code in CODES[p.kind], f'{p}: code'
        assert len(body) < 2 or _check_props(p.kind, body[1:]) == b''
    else:
        assert p.kind == PINGRESP and body == b'', f'{p} is not a packet of a server'


def mid_bytes(mid):
    return struct.pack('>H', mid)


def publish(topic=b't', payload=b'', qos=0, flags=None, mid=1, props=NO_PROPS):
    """Bytes of a PUBLISH; props are bytes, as they stand with their length."""
    return packet(PUBLISH, qos << 1 if flags is None else flags,
                  string(topic) + (mid_bytes(mid) if qos else b'') + props + payload)


def subscribe(*filters, mid=1, props=NO_PROPS, flags=2):
    """filters: (name, option byte)."""
    return packet(SUBSCRIBE, flags, mid_bytes(mid) + props
                  + b''.join(string(f) + bytes([o]) for f, o in filters))


def unsubscribe(*filters, mid=1, props=NO_PROPS, flags=2):
    return packet(UNSUBSCRIBE, flags, mid_bytes(mid) + props + b''.join(map(string, filters)))


def ack(kind, mid, rest=b''):
    return packet(kind, 2 if kind == PUBREL else 0, mid_bytes(mid) + rest)


def connect_bytes(name=b'MQTT', level=5, flags=0x02, keepalive=60, props=NO_PROPS,
                  payload=string('c'), fixed=0):
    """A CONNECT in which everything can be wrong."""
    return packet(CONNECT, fixed, string(name) + bytes([level, flags]) + mid_bytes(keepalive)
                  + props + payload)


def props_of(**kw):
    return properties(kw)


def ended(c):
    """The connection has an end, and nothing comes before it."""
    try:
        p = c.recv()
    except Closed:
        return
    raise AssertionError(f'wanted the end of the connection, got {p}')


def last_word(c, kind):
    """A packet of the kind; Mosquitto may leave it out, as the standard allows,
    Nightjar may not."""
    try:
        return c.expect(kind)
    except Closed:
        if REFERENCE:
            pytest.skip('Mosquitto just closes')
        raise


def refused(c, *codes):
    """DISCONNECT with one of the codes, and then nothing but the end
    [MQTT-4.13.1-1], [MQTT-3.14.4-1], [-2]."""
    p = last_word(c, DISCONNECT)
    assert p.code in codes, f'DISCONNECT {p.code:#x} {p.props}, wanted {[hex(x) for x in codes]}'
    ended(c)
    return p


def connect_refused(c, *codes):
    """CONNACK with one of the codes, and then the end [MQTT-3.2.2-6], [-7]."""
    p = last_word(c, CONNACK)
    assert p.code in codes, f'CONNACK {p.code:#x} {p.props}, wanted {[hex(x) for x in codes]}'
    assert p.body[0] == 0
    ended(c)
    return p


def connected(broker, client_id='', **kw):
    """A connected Peer, for `with`."""
    c = Peer(broker.port)
    try:
        c.connect(client_id, **kw)
    except BaseException:
        c.close()
        raise
    return c


def gone(broker, client_id):
    """Ends a client's session, wherever it is."""
    with connected(broker, client_id) as c:
        c.disconnect()


class Witness:
    """Another client, with a subscription of its own and one to everything
    under test: what is refused must not reach it, nor must it be disturbed."""

    def __init__(self, port):
        self.port = port
        self.n = 0
        self.c = None

    def start(self):
        self.stop()
        self.c = Peer(self.port)
        self.c.connect('witness')
        self.c.subscribe('witness')

    def stop(self):
        if self.c:
            self.c.close()
        self.c = None

    def check(self):
        self.n += 1
        self.c.publish('witness', str(self.n))
        p = self.c.message()
        assert (p.topic, p.payload) == ('witness', str(self.n).encode())


all_versions = pytest.mark.parametrize('version', [5, 4, 3])


def password_file(folder):
    """One with a user, whose password nobody here knows."""
    path = os.path.join(str(folder), 'one-user.passwd')
    with open(path, 'w', encoding='ascii') as f:
        f.write('''somebody:$7$1000$J+eoxSAVxHZalpMN$ZAmcwccmUALMUz1nrCQxP9AhbhDp33YxRS8brq0Q/x18TJmL3y/4GLPlA75kF1qOmsZ2gWis/9EnbtZg4nai/A==
''')
    os.chmod(path, 0o600)
    return path
