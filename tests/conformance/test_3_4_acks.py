# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.4 to 3.7: PUBACK, PUBREC, PUBREL, PUBCOMP."""
import pytest

from clauses import clause
from kit import (CODES, MALFORMED, PROTOCOL_ERROR, Peer, ack, connected, mid_bytes, props_of, publish,
                 refused, subscribe, unsubscribe)
from raw import (PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK, packet)

pytestmark = pytest.mark.usefixtures('unharmed')

OWN = {PUBACK: 'MQTT-3.4.2-1', PUBREC: 'MQTT-3.5.2-1', PUBREL: 'MQTT-3.6.2-1', PUBCOMP: 'MQTT-3.7.2-1'}
NAMES = {PUBACK: 'PUBACK', PUBREC: 'PUBREC', PUBREL: 'PUBREL', PUBCOMP: 'PUBCOMP'}
KINDS = [pytest.param(k, id=NAMES[k], marks=clause(OWN[k])) for k in OWN]


@clause('MQTT-4.13.1-1')
@pytest.mark.parametrize('kind', KINDS)
def test_codes_that_are_none(broker, kind):
    """Each of the other values ends the connection."""
    for code in sorted(set(range(256)) - CODES[kind]):
        with connected(broker, 'codes') as c:
            c.send(ack(kind, 1, bytes([code])))
            refused(c, PROTOCOL_ERROR, MALFORMED)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('rest', [b'', b'\x00', props_of()])
def test_codes_that_are_some(broker, kind, rest):
    """Each good value is taken, with properties and without: here for an
    identifier that is not in use, which is no fault."""
    with connected(broker, 'codes') as c:
        for code in sorted(CODES[kind]):
            c.send(ack(kind, 9, bytes([code]) + rest) + packet(PINGREQ, 0, b''))
            p = c.recv()
            if kind == PUBREC and code < 0x80:
                assert (p.kind, p.mid, p.code) == (PUBREL, 9, 0x92)
                p = c.recv()
            if kind == PUBREL:
                assert (p.kind, p.mid, p.code) == (PUBCOMP, 9, 0x92)
                p = c.recv()
            assert p.kind == PINGRESP


@pytest.mark.parametrize('kind', KINDS)
def test_short_and_long_forms(broker, topic, kind):
    """Without a code, with it, with a property length of 0, and with properties:
    the exchange goes on with each."""
    forms = [b'', b'\x00', b'\x00\x00',
             b'\x00' + props_of(reason_string='why', user_property=[('a', 'b'), ('a', 'c')])]
    with connected(broker, 'forms', props={'receive_maximum': 1}) as c:
        c.subscribe((topic, 1 if kind == PUBACK else 2))
        for i, form in enumerate(forms):
            c.send(publish(topic, str(i).encode(), 2, mid=i + 1))
            c.wait_for(PUBREC)
            c.send(ack(PUBREL, i + 1, form if kind == PUBREL else b''))
            assert c.wait_for(PUBCOMP).code == 0
            m = c.recv()
            assert m.payload == str(i).encode()
            if m.qos == 1:
                c.send(ack(PUBACK, m.mid, form))
                continue
            c.send(ack(PUBREC, m.mid, form if kind == PUBREC else b''))
            assert c.expect(PUBREL).code == 0
            c.send(ack(PUBCOMP, m.mid, form if kind == PUBCOMP else b''))


@clause('MQTT-3.4.2-1', 'MQTT-3.5.2-1', 'MQTT-3.3.4-1')
def test_codes_of_the_broker(broker, topic):
    """Nobody listens, somebody does, and too large a message is refused in
    words of the table."""
    with connected(broker, 'codes') as c:
        assert c.publish_acked(topic, 'x', 1) == 0x10
        c.send(publish(topic, b'x', 2, mid=5))
        assert c.expect(PUBREC).code in (0, 0x10)
        c.subscribe(topic)
        assert c.publish_acked(topic, 'x', 1) == 0
        c.message()


@pytest.mark.ours
@clause('MQTT-3.4.2-1', 'MQTT-3.5.2-1', 'MQTT-4.3.3-9')
@pytest.mark.parametrize('qos', [1, 2])
def test_refusals_of_the_broker(brokers, topic, qos):
    """0x97 for a message beyond a limit; the connection goes on.  After a PUBREC
    of 0x80 or above the identifier means a new message."""
    b = brokers('message_size_limit 10\nmax_retained_messages 1\nsys_interval 0\n')
    with connected(b, 'refused') as c:
        c.subscribe((topic, 0), (topic + '/2', 0))
        assert c.publish_acked(topic, b'x' * 13, qos, mid=5) == 0x97
        for _ in range(2):
            assert c.publish_acked(topic, b'x' * 10, qos, mid=5) == 0
            assert c.message().payload == b'x' * 10
        assert c.publish_acked(topic, 'kept', qos, mid=6, retain=True) == 0
        c.message()
        assert c.publish_acked(topic + '/2', 'too many', qos, mid=7, retain=True) == 0x97
        if qos == 2:
            c.ack(PUBREL, 7)
            assert c.expect(PUBCOMP).code == 0x92
        c.silent(0.05)


@clause('MQTT-3.6.2-1', 'MQTT-3.7.2-1', 'MQTT-3.6.1-1')
def test_identifier_not_found(broker):
    """0x92, and nothing worse: PUBREL for a PUBREC, PUBCOMP for a PUBREL that
    belong to nothing; the bytes are those of the format."""
    with connected(broker, 'unknown') as c:
        p = c.answer_to(ack(PUBREC, 0x1234))
        assert (p.kind, p.flags, p.body) == (PUBREL, 2, b'\x12\x34\x92')
        p = c.answer_to(ack(PUBREL, 0x1234))
        assert (p.kind, p.flags, p.body) == (PUBCOMP, 0, b'\x12\x34\x92')
        c.ack(PUBACK, 0x1234)
        c.ack(PUBCOMP, 0x1234)
        c.ping()


LIMITED = {
    'PUBACK': (PUBACK, 'MQTT-3.4.2-2', 'MQTT-3.4.2-3'), 'PUBREC': (PUBREC, 'MQTT-3.5.2-2', 'MQTT-3.5.2-3'),
    'PUBREL': (PUBREL, 'MQTT-3.6.2-2', 'MQTT-3.6.2-3'), 'PUBCOMP': (PUBCOMP, 'MQTT-3.7.2-2', 'MQTT-3.7.2-3'),
    'SUBACK': (SUBACK, 'MQTT-3.9.2-2'), 'UNSUBACK': (UNSUBACK, 'MQTT-3.11.2-2'),
}


@pytest.mark.ours
@clause('MQTT-3.1.2-24')
@pytest.mark.parametrize('name', [pytest.param(n, marks=clause(*LIMITED[n][1:])) for n in LIMITED])
def test_reason_and_maximum_packet_size(brokers, topic, name):
    """The answer that says no comes with whatever properties there is room for,
    and with none where there is not: at each size from that of the bare
    answer on, it comes, is no larger, and says the same."""
    kind = LIMITED[name][0]
    b = brokers('message_size_limit 10\nmax_topic_alias 0\nmax_inflight_messages 0\n'
                'max_packet_size 268435460\n')
    ask = {PUBACK: publish(topic, b'x' * 11, 1), PUBREC: publish(topic, b'x' * 11, 2),
           PUBREL: ack(PUBREC, 1), PUBCOMP: ack(PUBREL, 1), SUBACK: subscribe(('a/#/b', 0)),
           UNSUBACK: unsubscribe('a/#/b')}[kind]
    codes = set()
    for limit in [5, 6, 7, 8, 10, 15, 20, 30, 50, 100, 1000]:
        with Peer(b.port) as c:
            c.connect('limited', props={'maximum_packet_size': limit, 'request_problem': 1})
            p = c.answer_to(ask)		# Peer looks at the size
            if p.kind != kind:
                assert limit < 6 and p.kind == 14 and p.code == 0x95
                continue
            codes.add(p.codes[0] if kind in (SUBACK, UNSUBACK) else p.code)
    assert len(codes) == 1 and codes < {0x8f, 0x92, 0x97}
