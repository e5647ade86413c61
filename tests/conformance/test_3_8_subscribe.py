# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK."""
import pytest

from clauses import clause
from harness import REFERENCE
from kit import (MALFORMED, NO_PROPS, PROTOCOL_ERROR, Peer, ack, connected, gone, mid_bytes, props_of,
                 publish, refused, subscribe, unsubscribe)
from raw import (PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK,
                 UNSUBSCRIBE, packet, string)

pytestmark = pytest.mark.usefixtures('unharmed')

NO_LOCAL, RAP = 0x04, 0x08


# 3.8.3: the payload.

@clause('MQTT-3.8.3-2', 'MQTT-3.8.3-3', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('props', [NO_PROPS, props_of(subscription_id=1)])
def test_subscribe_to_nothing(broker, props):
    with connected(broker, 'nothing') as c:
        c.send(subscribe(props=props))
        refused(c, PROTOCOL_ERROR)


@clause('MQTT-3.10.3-2', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('props', [NO_PROPS, props_of(user_property=('a', 'b'))])
def test_unsubscribe_from_nothing(broker, props):
    with connected(broker, 'nothing') as c:
        c.send(unsubscribe(props=props))
        refused(c, PROTOCOL_ERROR)


@clause('MQTT-3.8.3-5', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('bits', [0x40, 0x80, 0xc0])
def test_reserved_options(broker, topic, bits):
    """In the first entry and in a later one; nothing of the packet is done."""
    for filters in ([(topic, bits)], [(topic, bits | 1)], [(topic + '/1', 0), (topic + '/2', bits)]):
        with connected(broker, 'reserved', props={'session_expiry': 30}) as c:
            c.send(subscribe(*filters))
            refused(c, MALFORMED)
        with connected(broker, 'reserved', clean=False) as c:
            assert c.all[0].body[0] == 1
            assert c.unsubscribe(filters[0][0]) == [0x11]
            c.disconnect()


@clause('MQTT-4.13.1-1')
@pytest.mark.parametrize('options', [0x03, 0x30, 0x33, 0x3c])
def test_options_that_are_none(broker, topic, options):
    """QoS 3 and Retain Handling 3 are Protocol Errors."""
    with connected(broker, 'options') as c:
        c.send(subscribe((topic, options)))
        refused(c, PROTOCOL_ERROR, MALFORMED)


@clause('MQTT-3.8.3-5')
def test_options_that_are_some(broker, topic):
    with connected(broker, 'options') as c:
        for options in range(0x30):
            if options & 3 != 3:
                p = c.answer_to(subscribe((topic, options), mid=options + 1))
                assert p.body == mid_bytes(options + 1) + NO_PROPS + bytes([options & 3])


@clause('MQTT-3.8.3-4', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('options', [NO_LOCAL, NO_LOCAL | 1, NO_LOCAL | RAP | 0x10])
def test_no_local_and_shared(broker, topic, options):
    for filters in ([(f'$share/g/{topic}', options)], [(topic, 0), (f'$share/g/{topic}', options)]):
        with connected(broker, 'no-local') as c:
            c.send(subscribe(*filters))
            refused(c, PROTOCOL_ERROR)


@clause('MQTT-3.8.3-3')
@pytest.mark.parametrize('options', [0, NO_LOCAL])
def test_no_local(broker, topic, options):
    """The standard's own 3.8.3-3: not to the client that published it, but to
    others with the same option."""
    with connected(broker, 'own') as c, connected(broker, 'another') as other:
        c.subscribe((topic, 1 | options))
        other.subscribe((topic, 1 | options))
        c.publish_acked(topic, 'x', 1)
        assert other.message().payload == b'x'
        if not options:
            assert c.message().payload == b'x'
        other.publish_acked(topic, 'y', 1)
        assert c.message().payload == b'y'
        assert options or other.message().payload == b'y'
        c.silent(0.05)


@clause('MQTT-3.8.3-1', 'MQTT-3.10.3-1')
def test_filters_are_packed_contiguously(broker, topic):
    """Many, of all lengths, one behind the other."""
    names = [f'{topic}/' + 'é' * i for i in range(50)]
    with connected(broker, 'packed') as c:
        assert c.subscribe(*[(n, i % 3) for i, n in enumerate(names)]) == [i % 3 for i in range(50)]
        for n in names:
            c.publish(n, n)
        assert [m[0] for m in c.messages(50)] == names
        assert c.unsubscribe(*names, *names) == [0] * 50 + [0x11] * 50


# 3.8.4: what is done.

@clause('MQTT-3.8.4-1', 'MQTT-3.8.4-6', 'MQTT-3.8.4-7', 'MQTT-3.9.3-1', 'MQTT-3.9.3-2')
def test_a_code_for_each_filter(broker, topic):
    """In the order of the filters; the QoS that is granted."""
    with connected(broker, 'codes') as c:
        p = c.answer_to(subscribe((topic, 2), (topic + '/#', 0), (topic + '/+/x', 1), ('$share/g/' + topic, 1),
                                  mid=0x0203))
        assert (p.kind, p.body) == (SUBACK, b'\x02\x03\x00' + b'\x02\x00\x01\x01')
        for options in range(3):
            p = c.answer_to(subscribe((topic, options)))
            assert p.body == b'\x00\x01\x00' + bytes([options])


@pytest.mark.ours
@clause('MQTT-3.8.4-6', 'MQTT-3.8.4-7', 'MQTT-3.8.4-5', 'MQTT-3.9.3-1', 'MQTT-3.9.3-2')
def test_a_code_for_each_filter_that_fails(brokers, topic):
    """Those that fail stand among those that do not, and the others work."""
    b = brokers('max_subscriptions_per_client 3\n')
    with connected(b, 'codes') as c:
        assert c.subscribe((topic, 1), ('a/#/b', 1), (topic + '/2', 2), ('$share/+/x', 0), ('a+', 0),
                           (topic + '/3', 0), (topic + '/4', 0), (topic, 2)) == \
            [1, 0x8f, 2, 0x8f, 0x8f, 0, 0x97, 2]
        for name in ('', '/2', '/3', '/4'):
            c.publish(topic + name, name)
        assert [m[0] for m in c.messages(3)] == [topic, topic + '/2', topic + '/3']
        c.silent(0.05)


@clause('MQTT-3.8.4-3', 'MQTT-3.8.4-5')
@pytest.mark.parametrize('how', ['two packets', 'one packet'])
def test_replaced(broker, topic, how):
    """The same filter again: one subscription, with the new options and the new
    identifier."""
    with connected(broker, 'replaced') as c:
        if how == 'one packet':
            assert c.subscribe((topic, 0), (topic, 2), (topic, 1 | RAP)) == [0, 2, 1]
        else:
            c.subscribe((topic, 0), props={'subscription_id': 1})
            c.subscribe((topic, 2), props={'subscription_id': 2})
            c.subscribe((topic, 1 | RAP))
        c.publish_acked(topic, 'x', 2, retain=True)
        m = c.message()
        assert (m.payload, m.qos, m.props) == (b'x', 1, {})
        c.publish_acked(topic, '', 1, retain=True)
        m = c.message()
        assert m.retain and m.payload == b''
        c.silent(0.05)
        assert c.unsubscribe(topic, topic) == [0, 0x11]


@clause('MQTT-3.8.4-3')
def test_replaced_in_a_resumed_session(broker, topic):
    with connected(broker, 'resumed', props={'session_expiry': 30}) as c:
        c.subscribe((topic, 0), props={'subscription_id': 1})
    with connected(broker, 'resumed', clean=False) as c:
        c.subscribe((topic, 1), props={'subscription_id': 9})
        c.publish_acked(topic, 'x', 1)
        m = c.message()
        assert (m.qos, m.props) == (1, {'subscription_id': [9]})
        c.silent(0.05)
        c.disconnect()


@clause('MQTT-3.8.4-4', 'MQTT-3.8.4-3')
@pytest.mark.parametrize('qos', [1, 2])
def test_nothing_is_lost_while_replacing(broker, topic, qos):
    """A stream of messages, and a SUBSCRIBE between any two of them; retained
    ones are sent again each time (Retain Handling 0)."""
    n = 40
    with connected(broker, 'stream', props={'receive_maximum': 100}) as c, connected(broker, 'pub') as p:
        p.publish_acked(topic + '/kept', 'kept', 1, retain=True)
        c.subscribe((topic + '/#', qos))
        for i in range(n):
            p.send(publish(topic, str(i).encode(), 1, mid=i + 1))
            c.send(subscribe((topic + '/#', qos), mid=i + 1))
        got, acks = [], 0
        while len([g for g in got if g != b'kept']) < n or acks < n or got.count(b'kept') < n + 1:
            m = c.recv()
            if m.kind == SUBACK:
                acks += 1
            else:
                assert m.kind == PUBLISH and m.retain == (m.payload == b'kept')
                got.append(m.payload)
                c.ack(PUBACK, m.mid)
        assert [g for g in got if g != b'kept'] == [str(i).encode() for i in range(n)]
        assert got.count(b'kept') == n + 1
        for _ in range(n):
            p.expect(PUBACK)
        p.publish_acked(topic + '/kept', '', 1, retain=True)


@clause('MQTT-3.8.4-5', 'MQTT-3.10.4-6')
def test_many_filters_are_a_sequence(broker, topic):
    """The order of the entries is the order in which they are done: retained
    messages come accordingly; one SUBACK, one UNSUBACK."""
    with connected(broker, 'sequence') as c:
        for name in 'abc':
            c.publish_acked(f'{topic}/{name}', name, 1, retain=True)
        c.send(subscribe((topic + '/c', 0), (topic + '/a', 0), (topic + '/b', 0), (topic + '/c', 0)))
        p = c.expect(SUBACK)
        assert p.codes == [0, 0, 0, 0]
        got = [c.recv().payload for _ in range(3)]
        assert got in ([b'c', b'a', b'b'], [b'a', b'b', b'c'])
        if got == [b'c', b'a', b'b']:
            assert c.recv().payload == b'c'
        c.silent(0.03)
        p = c.answer_to(unsubscribe(topic + '/a', topic + '/a', topic + '/b', topic + '/nope'))
        assert (p.kind, p.codes) == (UNSUBACK, [0, 0x11, 0, 0x11])
        for name in 'abc':
            c.publish(f'{topic}/{name}', '', retain=True)
        assert c.message().topic == topic + '/c'
        c.silent(0.05)


@clause('MQTT-3.8.4-8')
@pytest.mark.parametrize('granted', [0, 1, 2])
@pytest.mark.parametrize('sent', [0, 1, 2])
@pytest.mark.parametrize('how', ['live', 'retained'])
def test_qos_is_the_smaller(broker, topic, how, sent, granted):
    with connected(broker, 'smaller') as c:
        if how == 'live':
            assert c.subscribe((topic, granted)) == [granted]
        c.publish_acked(topic, 'x', sent, retain=how == 'retained')
        if how == 'retained':
            c.subscribe((topic, granted))
        m = c.message()
        assert m.qos == min(sent, granted)
        c.publish(topic, '', retain=True)


# UNSUBSCRIBE.

@clause('MQTT-3.10.4-1', 'MQTT-3.10.4-2', 'MQTT-3.10.4-4')
def test_unsubscribed(broker, topic):
    """Nothing new comes after the UNSUBACK."""
    with connected(broker, 'un') as c, connected(broker, 'pub') as p:
        c.subscribe((topic, 1), (topic + '/#', 1), (topic + '/b', 1))
        assert c.unsubscribe(topic + '/#') == [0]
        for name in ('', '/a', '/b'):
            p.publish_acked(topic + name, name, 1)
        assert c.messages(2) == [(topic, b''), (topic + '/b', b'/b')]
        assert c.unsubscribe(topic, topic + '/b') == [0, 0]
        for name in ('', '/a', '/b'):
            assert p.publish_acked(topic + name, name, 1) == 0x10
        c.silent(0.05)


@clause('MQTT-3.10.4-1', 'MQTT-3.10.4-5', 'MQTT-3.11.3-2')
def test_filters_are_compared_by_character(broker, topic):
    """What matches a filter, or looks like it, is not that filter."""
    with connected(broker, 'compare') as c:
        c.subscribe(topic + '/+', topic + '/a')
        others = [topic + '/#', topic + '/b', topic + '/A', topic + '/+/', topic + '/', '+/' + topic, '#',
                  '$share/g/' + topic + '/+']
        assert c.unsubscribe(*others) == [0x11] * len(others)
        c.publish(topic + '/a', 'x')
        assert c.message().payload == b'x'
        assert c.unsubscribe(topic + '/+', topic + '/a') == [0, 0]


@clause('MQTT-3.10.4-3')
@pytest.mark.parametrize('qos', [1, 2])
def test_delivery_is_completed_after_unsubscribe(broker, topic, qos):
    """What was sent already is finished, also over another connection."""
    with connected(broker, 'complete', props={'session_expiry': 60}) as c:
        c.subscribe((topic, qos))
        c.publish_acked(topic, 'x', 2)
        c.publish_acked(topic, 'y', 2)
        first, second = c.expect(PUBLISH), c.expect(PUBLISH)
        assert c.unsubscribe(topic) == [0]
        if qos == 1:
            c.ack(PUBACK, first.mid)
        else:
            c.ack(PUBREC, first.mid)
            assert c.expect(PUBREL).mid == first.mid
            c.ack(PUBCOMP, first.mid)
        c.ping()
    with connected(broker, 'complete', clean=False) as c:
        m = c.message()
        assert (m.payload, m.dup, m.mid, m.qos) == (b'y', True, second.mid, qos)
        c.silent(0.05)
        c.disconnect()


@clause('MQTT-3.10.4-4', 'MQTT-3.10.4-5', 'MQTT-3.10.4-6', 'MQTT-3.11.3-1', 'MQTT-3.11.3-2', 'MQTT-3.11.2-1')
def test_unsuback(broker, topic):
    """One, with a code for each filter in their order, also where nothing was
    subscribed."""
    with connected(broker, 'unsuback') as c:
        assert c.answer_to(unsubscribe(topic, mid=0x0102)).body == b'\x01\x02\x00\x11'
        c.subscribe(topic, '$share/g/' + topic)
        p = c.answer_to(unsubscribe('x', topic, 'y', '$share/g/' + topic, topic, mid=0x0304))
        assert (p.kind, p.body) == (UNSUBACK, b'\x03\x04\x00' + b'\x11\x00\x11\x00\x11')
        c.silent(0.03)


@pytest.mark.ours
@clause('MQTT-3.11.3-2')
def test_unsuback_for_what_is_no_filter(broker):
    with connected(broker, 'unsuback') as c:
        assert c.unsubscribe('a/#/b', 'a+', '$share/g', 'fine') == [0x8f, 0x8f, 0x8f, 0x11]
