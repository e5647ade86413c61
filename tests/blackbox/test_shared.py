# SPDX-License-Identifier: Apache-2.0
"""Shared subscriptions, MQTT 5.0 4.8.2."""
import collections
import contextlib

import pytest

import pahoc
from harness import wait_until
from raw import PUBLISH, Closed, Raw, packet, properties, string, SUBACK, SUBSCRIBE

NO_LOCAL = 0x04


def collect(clients, count):
    """Who got what, until `count` messages came."""
    got = collections.defaultdict(list)

    def came():
        for i, c in enumerate(clients):
            with contextlib.suppress(TimeoutError):
                m = c.message(0.02)
                got[i].append(int(m.payload))
        return sum(map(len, got.values())) >= count
    wait_until(came, f'{count} messages')
    return got


def members(port, topic, n, qos=1, group='g'):
    out = []
    for i in range(n):
        c = Raw(port)
        c.connect(f'member-{group}-{i}')
        assert c.subscribe(f'$share/{group}/{topic}', qos=qos) == [qos]
        out.append(c)
    return out


@pytest.mark.parametrize('qos', [0, 1, 2])
def test_each_message_to_one_member(broker, topic, qos):
    """[MQTT-4.8.2-4]"""
    clients = members(broker.port, topic, 3, qos, f'g{qos}')
    with Raw(broker.port) as p:
        p.connect('shared-pub')
        for i in range(60):
            p.publish_acked(topic, str(i), qos)
    got = collect(clients, 60)
    assert sorted(sum(got.values(), [])) == list(range(60))
    assert all(len(v) >= 5 for v in got.values()) and len(got) == 3
    assert all(v == sorted(v) for v in got.values())
    for c in clients:
        c.silent(0.1)
        c.close()


def test_groups_are_apart(broker, topic):
    """Each group, and an ordinary subscriber, gets every message."""
    a, b = members(broker.port, topic, 1, group='a'), members(broker.port, topic, 1, group='b')
    with Raw(broker.port) as plain:
        plain.connect('plain')
        plain.subscribe(topic, qos=1)
        for i in range(10):
            plain.publish(topic, str(i))
        for c in (*a, *b, plain):
            assert [int(c.message().payload) for _ in range(10)] == list(range(10))
    for c in (*a, *b):
        c.close()


def test_member_leaves(broker, topic):
    clients = members(broker.port, topic, 2, group='leave')
    clients[0].unsubscribe(f'$share/leave/{topic}')
    with Raw(broker.port) as p:
        p.connect('leave-pub')
        for i in range(20):
            p.publish_acked(topic, str(i), 1)
    assert [int(clients[1].message().payload) for _ in range(20)] == list(range(20))
    clients[0].silent(0.2)
    for c in clients:
        c.close()


def test_unacknowledged_goes_to_another(broker, topic):
    """A member that dies with messages unacknowledged and no session left:
    none of what was sent later is lost."""
    clients = members(broker.port, topic, 2, group='dies')
    clients[0].vanish()
    with Raw(broker.port) as p:
        p.connect('dies-pub')
        p.ping()
        for i in range(20):
            p.publish_acked(topic, str(i), 1)
    got = collect(clients[1:], 19)
    assert len(got[0]) >= 19
    clients[1].close()


def test_wildcards(broker, topic):
    clients = members(broker.port, topic + '/+/x', 2, group='w')
    with Raw(broker.port) as p:
        p.connect('w-pub')
        for i in range(20):
            p.publish_acked(f'{topic}/{i}/x', str(i), 1)
    got = collect(clients, 20)
    assert sorted(sum(got.values(), [])) == list(range(20))
    for c in clients:
        c.close()


@pytest.mark.ours
def test_no_retained_messages(broker, topic):
    """[MQTT-3.3.1-9] ff.: none are sent for shared subscriptions (4.8.2)."""
    with Raw(broker.port) as c:
        c.connect('sr')
        c.publish(topic, 'state', retain=True)
        c.subscribe('$share/sr/' + topic)
        c.silent()
        c.publish(topic, '', retain=True)


@pytest.mark.ours
def test_no_local_is_a_protocol_error(broker, topic):
    """[MQTT-3.8.3-4]"""
    with Raw(broker.port) as c:
        c.connect('nl')
        c.send(packet(SUBSCRIBE, 2, b'\0\1' + properties(None)
                      + string('$share/nl/' + topic) + bytes([NO_LOCAL])))
        assert c.closed() in (0x82, None)


@pytest.mark.ours
@pytest.mark.parametrize('bad', ['$share/', '$share/g', '$share/g/', '$share//t',
                                 '$share/+/t', '$share/g#/t', '$share/a+b/t'])
def test_malformed_filters(broker, bad):
    """[MQTT-4.8.2-1], [-2]: refused, and the broker serves on."""
    with Raw(broker.port) as c:
        c.connect('malformed')
        c.send(packet(SUBSCRIBE, 2, b'\0\1' + properties(None) + string(bad) + b'\0'))
        try:
            p = c.recv()
            code = p.codes[0] if p.kind == SUBACK else p.code
        except Closed:
            code = None
        assert code in (0x8f, 0x82, 0x81, None)
    with Raw(broker.port) as c:
        c.connect('after')


def test_shared_and_plain_unsubscribe_apart(broker, topic):
    with Raw(broker.port) as c:
        c.connect('apart')
        c.subscribe(topic, '$share/apart/' + topic, qos=0)
        assert c.unsubscribe(topic) == [0]
        c.publish(topic, 'x')
        assert c.message().payload == b'x'
        assert c.unsubscribe(topic, '$share/apart/' + topic) == [0x11, 0]
        c.publish(topic, 'y')
        c.silent()


def test_announced(broker):
    with Raw(broker.port) as c:
        assert c.connect('announce').props.get('shared_available', 1) == 1


def test_paho_members(broker, topic):
    with pahoc.Client(broker.port, 'pm1') as a, pahoc.Client(broker.port, 'pm2') as b, \
            pahoc.Client(broker.port, 'pmp') as p:
        a.subscribe('$share/paho/' + topic, 1)
        b.subscribe('$share/paho/' + topic, 1)
        for i in range(10):
            p.publish(topic, str(i), 1)
        got = []
        while len(got) < 10:
            for c in (a, b):
                while not c.messages.empty():
                    got.append(int(c.message().payload))
        assert sorted(got) == list(range(10))


@pytest.mark.ours
def test_offline_members_do_not_hold_messages(broker, topic):
    """With one member connected, an offline one takes nothing away."""
    with Raw(broker.port) as c:
        c.connect('off', props={'session_expiry': 60})
        c.subscribe('$share/off/' + topic, qos=1)
        c.disconnect()
    with Raw(broker.port) as c:
        c.connect('on')
        c.subscribe('$share/off/' + topic, qos=1)
        with Raw(broker.port) as p:
            p.connect('off-pub')
            for i in range(10):
                p.publish_acked(topic, str(i), 1)
        assert [c.expect(PUBLISH).payload for _ in range(10)] == [b'%d' % i for i in range(10)]
