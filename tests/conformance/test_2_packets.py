# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 2: the format of packets: fixed header, identifiers, properties."""
import pytest

from clauses import clause
from kit import (MALFORMED, NO_PROPS, PROTOCOL_ERROR, Peer, ack, connect_bytes, connect_refused,
                 connected, mid_bytes, props_of, publish, refused, subscribe, unsubscribe)
from raw import (AUTH, CONNACK, CONNECT, DISCONNECT, PINGREQ, PROPS, PUBACK, PUBCOMP, PUBLISH, PUBREC,
                 PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, connect_packet, packet, properties,
                 put_value, string, varint)

pytestmark = pytest.mark.usefixtures('unharmed')

# 2.1: what follows the first byte of each type, when all is well with it.
BODIES = {
    CONNACK: b'\0\0\0', PUBACK: mid_bytes(1), PUBREC: mid_bytes(1), PUBREL: mid_bytes(1),
    PUBCOMP: mid_bytes(1), SUBSCRIBE: subscribe(('t', 0))[2:], SUBACK: mid_bytes(1) + b'\0\0',
    UNSUBSCRIBE: unsubscribe('t')[2:], UNSUBACK: mid_bytes(1) + b'\0\0', PINGREQ: b'', 13: b'',
    DISCONNECT: b'', AUTH: b'', 0: b'',
}
WANTED = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}
NAMES = {CONNACK: 'CONNACK', PUBACK: 'PUBACK', PUBREC: 'PUBREC', PUBREL: 'PUBREL', PUBCOMP: 'PUBCOMP',
         SUBSCRIBE: 'SUBSCRIBE', SUBACK: 'SUBACK', UNSUBSCRIBE: 'UNSUBSCRIBE', UNSUBACK: 'UNSUBACK',
         PINGREQ: 'PINGREQ', 13: 'PINGRESP', DISCONNECT: 'DISCONNECT', AUTH: 'AUTH', 0: 'type 0'}
OWN = {PUBREL: 'MQTT-3.6.1-1', SUBSCRIBE: 'MQTT-3.8.1-1', UNSUBSCRIBE: 'MQTT-3.10.1-1',
       DISCONNECT: 'MQTT-3.14.1-1', AUTH: 'MQTT-3.15.1-1'}


@clause('MQTT-2.1.3-1', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('kind', [
    pytest.param(k, id=NAMES[k], marks=[clause(OWN[k])] if k in OWN else []) for k in BODIES])
def test_reserved_flags(broker, kind):
    """All 15 other values of the flags, of each type; type 0 is reserved with
    any."""
    for flags in range(16):
        if flags != WANTED.get(kind, 0) or kind == 0:
            with connected(broker, 'flags') as c:
                c.send(packet(kind, flags, BODIES[kind]))
                refused(c, MALFORMED)


@clause('MQTT-2.1.3-1', 'MQTT-3.1.2-12', 'MQTT-3.1.4-1')
def test_reserved_flags_of_connect(broker):
    """Closed; a server may say 0x81 before [4.13.1], or nothing at all, as it
    does not know yet who speaks which version."""
    for flags in range(1, 16):
        with Peer(broker.port) as c:
            c.send(connect_bytes(fixed=flags))
            assert c.closed() in (None, MALFORMED)
            assert len(c.all) <= 1


@clause('MQTT-2.1.3-1')
def test_flags_of_publish_are_no_reserve(broker, topic):
    """Each good value of a PUBLISH's flags is taken."""
    with connected(broker, 'flags') as c:
        for flags in (0, 1, 2, 3, 4, 5, 0xa, 0xb, 0xc, 0xd):
            qos = flags >> 1 & 3
            p = c.answer_to(publish(topic, qos=qos, flags=flags, mid=flags + 1)
                            + (b'' if qos else packet(PINGREQ, 0, b'')))
            assert p.kind == {0: 13, 1: PUBACK, 2: PUBREC}[qos]


# 2.2.1: packet identifiers.

@clause('MQTT-2.2.1-2')
def test_no_identifier_at_qos_0(broker, topic):
    """To the broker: the payload begins behind the properties.  From it: the
    same, exactly."""
    with connected(broker, 'ids') as c:
        c.subscribe((topic, 2))
        c.publish(topic, b'\x00\x07payload')
        m = c.message()
        assert m.body == string(topic) + NO_PROPS + b'\x00\x07payload'


ZERO = {'PUBLISH QoS 1': publish(qos=1, mid=0), 'PUBLISH QoS 2': publish(qos=2, mid=0),
        'SUBSCRIBE': subscribe(('t', 0), mid=0), 'UNSUBSCRIBE': unsubscribe('t', mid=0)}


@clause('MQTT-2.2.1-3', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('what', ZERO)
def test_identifier_zero(broker, what):
    with connected(broker, 'ids') as c:
        c.send(ZERO[what])
        refused(c, MALFORMED, PROTOCOL_ERROR)


@pytest.mark.ours
@clause('MQTT-2.2.1-4', 'MQTT-4.3.2-1', 'MQTT-4.3.3-1')
@pytest.mark.parametrize('qos', [1, 2])
def test_identifiers_of_the_broker(brokers, topic, qos):
    """Non-zero and unused, also after they came round: one message stays
    unacknowledged while 66,000 others pass."""
    b = brokers('max_inflight_messages 0\nmax_queued_messages 0\nmax_output_bytes 100M\n')
    total = 66000 if qos == 1 else 3000
    with connected(b, 'sub') as s, connected(b, 'pub') as p:
        s.subscribe((topic, qos))
        open_ids = set()
        sent = 0
        while sent < total:
            p.send(b''.join(publish(topic, b'x', qos, mid=i + 1) for i in range(1000)))
            got = [s.expect(PUBLISH) for _ in range(1000)]
            for _ in range(1000):
                p.recv()
            if qos == 2:
                p.send(b''.join(ack(PUBREL, i + 1) for i in range(1000)))
                for _ in range(1000):
                    p.expect(PUBCOMP)
            for m in got:
                assert m.mid and m.mid not in open_ids and m.qos == qos
                open_ids.add(m.mid)
            first, rest = (got[0], got[1:]) if sent == 0 else (first, got)
            out = b''
            for m in rest:
                open_ids.discard(m.mid)
                out += ack(PUBACK, m.mid) if qos == 1 else ack(PUBREC, m.mid, b'\x80')
            s.send(out)
            sent += 1000
            del s.all[:], p.all[:]
        assert open_ids == {first.mid}


@clause('MQTT-2.2.1-5', 'MQTT-4.3.2-4', 'MQTT-4.3.3-4', 'MQTT-4.3.3-8', 'MQTT-4.3.3-11')
def test_acknowledgements_have_the_identifier(broker, topic):
    """Both ways, for identifiers of one and two bytes."""
    with connected(broker, 'ids', props={'receive_maximum': 100}) as c:
        for mid in (1, 255, 256, 0x1234, 65535):
            assert c.answer_to(publish(topic, qos=1, mid=mid)).body[:2] == mid_bytes(mid)
            p = c.answer_to(publish(topic, qos=2, mid=mid))
            assert (p.kind, p.body[:2]) == (PUBREC, mid_bytes(mid))
            p = c.answer_to(ack(PUBREL, mid))
            assert (p.kind, p.body) == (PUBCOMP, mid_bytes(mid))
        c.subscribe((topic, 2))
        for _ in range(3):
            c.publish_acked(topic, 'x', 2)
            m = c.expect(PUBLISH)
            p = c.answer_to(ack(PUBREC, m.mid))
            assert (p.kind, p.flags, p.body) == (PUBREL, 2, mid_bytes(m.mid))
            c.ack(PUBCOMP, m.mid)


@clause('MQTT-2.2.1-6', 'MQTT-3.8.4-2', 'MQTT-3.9.2-1', 'MQTT-3.10.4-5', 'MQTT-3.11.2-1')
def test_suback_and_unsuback_have_the_identifier(broker, topic):
    with connected(broker, 'ids') as c:
        for mid in (1, 255, 256, 0x1234, 65535):
            p = c.answer_to(subscribe((topic, 1), mid=mid))
            assert (p.kind, p.body) == (SUBACK, mid_bytes(mid) + NO_PROPS + b'\x01')
            p = c.answer_to(unsubscribe(topic, mid=mid))
            assert (p.kind, p.body) == (UNSUBACK, mid_bytes(mid) + NO_PROPS + b'\x00')
            p = c.answer_to(unsubscribe(topic, mid=mid))	# none is left
            assert (p.kind, p.body) == (UNSUBACK, mid_bytes(mid) + NO_PROPS + b'\x11')


# 2.2.2: properties.

@clause('MQTT-2.2.2-1')
def test_no_properties_are_a_length_of_zero(broker, topic):
    """As the broker writes them: the packets that have no property have a
    length of 0 where the format wants one."""
    with connected(broker, 'none') as c:
        assert c.answer_to(subscribe((topic, 0))).body == mid_bytes(1) + b'\x00\x00'
        c.publish(topic, 'x')
        assert c.message().body == string(topic) + b'\x00' + b'x'
        assert c.answer_to(unsubscribe(topic)).body == mid_bytes(1) + b'\x00\x00'


# Each without its property length, which is then taken for something else.
MISSING = {'PUBLISH': packet(PUBLISH, 0, string('t')),
           'PUBLISH QoS 1': packet(PUBLISH, 2, string('t') + mid_bytes(1)),
           'SUBSCRIBE': packet(SUBSCRIBE, 2, mid_bytes(1) + string('t') + b'\x00'),
           'SUBSCRIBE, nothing else': packet(SUBSCRIBE, 2, mid_bytes(1)),
           'UNSUBSCRIBE': packet(UNSUBSCRIBE, 2, mid_bytes(1) + string('t')),
           'UNSUBSCRIBE, nothing else': packet(UNSUBSCRIBE, 2, mid_bytes(1))}


@clause('MQTT-2.2.2-1', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('what', MISSING)
def test_no_property_length(broker, what):
    with connected(broker, 'missing') as c:
        c.send(MISSING[what])
        refused(c, MALFORMED, PROTOCOL_ERROR)


@clause('MQTT-2.2.2-1', 'MQTT-3.1.4-1')
@pytest.mark.parametrize('what', ['CONNECT', 'will'])
def test_no_property_length_in_connect(broker, what):
    data = connect_bytes(props=b'') if what == 'CONNECT' else \
        connect_bytes(flags=0x06, payload=string('c') + string('w') + string('p'))
    with Peer(broker.port) as c:
        c.send(data)
        connect_refused(c, MALFORMED, PROTOCOL_ERROR)


# Table 2-4, for what a client sends.
WHERE = {
    'CONNECT': {'session_expiry', 'auth_method', 'auth_data', 'request_problem', 'request_response',
                'receive_maximum', 'topic_alias_maximum', 'user_property', 'maximum_packet_size'},
    'will': {'payload_format', 'message_expiry', 'content_type', 'response_topic',
             'correlation_data', 'will_delay', 'user_property'},
    'PUBLISH': {'payload_format', 'message_expiry', 'content_type', 'response_topic',
                'correlation_data', 'subscription_id', 'topic_alias', 'user_property'},
    'PUBACK': {'reason_string', 'user_property'}, 'PUBREC': {'reason_string', 'user_property'},
    'PUBREL': {'reason_string', 'user_property'}, 'PUBCOMP': {'reason_string', 'user_property'},
    'SUBSCRIBE': {'subscription_id', 'user_property'}, 'UNSUBSCRIBE': {'user_property'},
    'DISCONNECT': {'session_expiry', 'server_reference', 'reason_string', 'user_property'},
    'AUTH': {'auth_method', 'auth_data', 'reason_string', 'user_property'},
}
VALUES = {'u8': 1, 'u16': 1, 'u32': 100000, 'var': 1, 'str': 'text', 'bin': b'data', 'pair': ('n', 'v')}


def prop(name, times=1):
    ident, kind = PROPS[name]
    return (varint(ident) + put_value(kind, VALUES[kind])) * times


def carrier(where, body):
    """A packet of that kind with these properties."""
    props = varint(len(body)) + body
    return {
        'CONNECT': lambda: connect_bytes(props=props),
        'will': lambda: connect_bytes(flags=0x06, payload=string('c') + props + string('w') + string('p')),
        'PUBLISH': lambda: publish('carrier', b'p', props=props),
        'PUBACK': lambda: ack(PUBACK, 1, b'\x00' + props),
        'PUBREC': lambda: ack(PUBREC, 1, b'\x00' + props),
        'PUBREL': lambda: ack(PUBREL, 1, b'\x00' + props),
        'PUBCOMP': lambda: ack(PUBCOMP, 1, b'\x00' + props),
        'SUBSCRIBE': lambda: subscribe(('carrier/t', 0), props=props),
        'UNSUBSCRIBE': lambda: unsubscribe('carrier/t', props=props),
        'DISCONNECT': lambda: packet(DISCONNECT, 0, b'\x00' + props),
        'AUTH': lambda: packet(AUTH, 0, b'\x18' + props),
    }[where]()


def carried(broker, where, body, code):
    """What becomes of a packet with these properties: refused with the code,
    or taken when that is 0."""
    with Peer(broker.port) as c:
        if where in ('CONNECT', 'will'):
            c.send(carrier(where, body))
            if code:
                connect_refused(c, code)
            else:
                assert c.expect(CONNACK).code == 0
            return
        c.connect('carrier')
        c.send(carrier(where, body))
        if code:
            refused(c, code)
        elif where == 'DISCONNECT':
            assert c.closed() is None
        else:
            c.send(packet(PINGREQ, 0, b''))
            while c.recv().kind != 13:
                pass


# A property that nobody has, below and above those there are.
UNKNOWN = [b'\x00\x01', b'\x04\x01', b'\x1b\x01', b'\x2b\x01', b'\x7f\x01', b'\xff\x01\x01']


@clause('MQTT-2.2.2-1', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('where', WHERE)
def test_property_where_it_may_not_be(broker, where):
    """2.2.2.2: an identifier that is not valid for its packet's type is a
    Malformed Packet; each of the 27 in each packet, and such as do not exist."""
    for name in PROPS:
        if name not in WHERE[where]:
            carried(broker, where, prop(name), MALFORMED)
    for body in UNKNOWN:
        carried(broker, where, body, MALFORMED)


@clause('MQTT-2.2.2-1')
@pytest.mark.parametrize('where', [w for w in WHERE if w != 'AUTH'])
def test_property_where_it_may_be(broker, where):
    """The other side: all are taken, alone and as a list in either order."""
    not_alone = {'auth_method', 'auth_data', 'subscription_id'} if where != 'SUBSCRIBE' else set()
    good = sorted(WHERE[where] - not_alone)
    if where == 'DISCONNECT':
        good.remove('session_expiry')	# only after a CONNECT with one
    for name in good:
        carried(broker, where, prop(name), 0)
    carried(broker, where, b''.join(map(prop, good)), 0)
    carried(broker, where, b''.join(map(prop, reversed(good))), 0)
    carried(broker, where, b'', 0)


@clause('MQTT-4.13.1-1')
@pytest.mark.parametrize('where', WHERE)
def test_property_twice(broker, where):
    """A Protocol Error for all but user properties, whether the value is the
    same or not."""
    for name in WHERE[where] - {'user_property'}:
        extra = prop('auth_method') if name == 'auth_data' else b''
        carried(broker, where, extra + prop(name, 2), PROTOCOL_ERROR)
    if where != 'AUTH':
        carried(broker, where, prop('user_property', 3), 0)


# 3.1.2.11, 3.1.3.2, 3.3.2.3, 3.8.2.1.2: values that a section forbids.
BAD_VALUES = {
    'request_problem 2': ('CONNECT', b'\x17\x02'), 'request_response 2': ('CONNECT', b'\x19\x02'),
    'receive_maximum 0': ('CONNECT', b'\x21\0\0'), 'maximum_packet_size 0': ('CONNECT', b'\x27\0\0\0\0'),
    'auth_data without method': ('CONNECT', b'\x16\0\1d'),
    'subscription_id 0': ('SUBSCRIBE', b'\x0b\x00'),
    'payload_format 2': ('PUBLISH', b'\x01\x02'), 'will payload_format 2': ('will', b'\x01\x02'),
    'response_topic with #': ('PUBLISH', b'\x08\0\3a/#'), 'response_topic with +': ('PUBLISH', b'\x08\0\3+/a'),
    'will response_topic with #': ('will', b'\x08\0\3a/#'),
}


@clause('MQTT-4.13.1-1')
@pytest.mark.parametrize('what', [
    pytest.param(w, marks=clause('MQTT-3.3.2-14') if 'response_topic' in w else []) for w in BAD_VALUES])
def test_property_with_a_forbidden_value(broker, what):
    where, body = BAD_VALUES[what]
    carried(broker, where, body, PROTOCOL_ERROR)


@clause('MQTT-4.13.1-1', 'MQTT-3.1.4-1')
@pytest.mark.parametrize('where', WHERE)
def test_property_cut_short(broker, where):
    """A value that reaches past the end of the list is malformed, wherever it
    is cut."""
    for name in WHERE[where]:
        whole = prop(name)
        for n in range(1, len(whole)):
            if n > 1 and PROPS[name][1] == 'var':
                continue
            carried(broker, where, whole[:n], MALFORMED)


@clause('MQTT-4.13.1-1', 'MQTT-3.1.4-1')
@pytest.mark.parametrize('where', WHERE)
def test_property_length_past_the_end(broker, where):
    body = prop('user_property')
    for more in (1, 1000, 100000):
        data = carrier(where, body)
        head = varint(len(body)) + body
        i = data.index(head, 2)
        rest = data[2:i] + varint(len(body) + more) + body
        if where in ('CONNECT', 'will', 'PUBLISH', 'SUBSCRIBE', 'UNSUBSCRIBE') and more == 1:
            continue	# it takes what follows for properties; tested as such elsewhere
        with Peer(broker.port) as c:
            if where in ('CONNECT', 'will'):
                c.send(packet(CONNECT, 0, rest + data[i + len(head):]))
                connect_refused(c, MALFORMED)
            else:
                c.connect('carrier')
                c.send(packet(data[0] >> 4, data[0] & 15, rest + data[i + len(head):]))
                refused(c, MALFORMED)


# What only a server may send, and what is longer or shorter than its format.
NOT_A_CLIENTS = {
    'CONNACK': packet(CONNACK, 0, b'\0\0\0'), 'SUBACK': packet(SUBACK, 0, mid_bytes(1) + b'\0\0'),
    'UNSUBACK': packet(UNSUBACK, 0, mid_bytes(1) + b'\0\0'), 'PINGRESP': packet(13, 0, b''),
}


@clause('MQTT-4.13.1-1')
@pytest.mark.parametrize('what', NOT_A_CLIENTS)
def test_packet_of_a_server(broker, what):
    with connected(broker, 'turned-round') as c:
        c.send(NOT_A_CLIENTS[what])
        refused(c, PROTOCOL_ERROR)


WRONG_LENGTHS = {
    'PINGREQ with a body': packet(PINGREQ, 0, b'x'),
    **{f'{NAMES[k]} {what}': packet(k, WANTED.get(k, 0), body)
       for k in (PUBACK, PUBREC, PUBREL, PUBCOMP)
       for what, body in (('empty', b''), ('of one byte', b'\0'), ('too long', b'\0\1\0\0x'))},
    'SUBSCRIBE empty': packet(SUBSCRIBE, 2, b''), 'SUBSCRIBE of one byte': packet(SUBSCRIBE, 2, b'\0'),
    'SUBSCRIBE without options': subscribe(('t', 0))[:1] + varint(6) + subscribe(('t', 0))[2:-1],
    'SUBSCRIBE filter cut': packet(SUBSCRIBE, 2, mid_bytes(1) + NO_PROPS + b'\0\5ab'),
    'UNSUBSCRIBE empty': packet(UNSUBSCRIBE, 2, b''),
    'UNSUBSCRIBE filter cut': packet(UNSUBSCRIBE, 2, mid_bytes(1) + NO_PROPS + b'\0\5ab'),
    'PUBLISH empty': packet(PUBLISH, 0, b''), 'PUBLISH topic cut': packet(PUBLISH, 0, b'\0\5ab'),
    'PUBLISH without its identifier': packet(PUBLISH, 2, string('t') + b'\0'),
    'DISCONNECT too long': packet(DISCONNECT, 0, b'\0\0x'),
}


@clause('MQTT-4.13.1-1')
@pytest.mark.parametrize('what', WRONG_LENGTHS)
def test_length_that_does_not_fit(broker, what):
    with connected(broker, 'lengths') as c:
        c.send(WRONG_LENGTHS[what])
        refused(c, MALFORMED)
