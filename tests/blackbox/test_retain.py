# SPDX-License-Identifier: Apache-2.0
"""Retained messages: kept, cleared, handled as the subscriber asks."""
import time

import pytest

import pahoc
import programs
from harness import paced
from raw import Raw

RETAIN_AS_PUBLISHED = 0x08
HANDLING_NEW_ONLY, HANDLING_NEVER = 0x10, 0x20


@pytest.fixture
def client(broker):
    with Raw(broker.port) as c:
        c.connect('retainer')
        yield c


def heard(c, least=0):
    return c.gather(least, 0.3)


@pytest.mark.parametrize('qos', [0, 1, 2])
def test_kept_for_later_subscribers(broker, client, topic, qos):
    """[MQTT-3.3.1-5], [-6]; the flag is set [MQTT-3.3.1-8]."""
    client.publish_acked(topic, 'state', qos, retain=True)
    client.ping()
    with Raw(broker.port) as c:
        c.connect('later')
        c.subscribe(topic, qos=2)
        m = c.message()
        assert (m.payload, m.retain, m.qos) == (b'state', True, qos)
        c.silent(0.2)


@pytest.mark.ours
def test_flag_is_clear_for_present_subscribers(client, topic):
    """[MQTT-3.3.1-12], unless asked for [MQTT-3.3.1-13]."""
    client.subscribe(topic)
    client.publish(topic, 'a', retain=True)
    assert not client.message().retain
    client.subscribe((topic, RETAIN_AS_PUBLISHED | HANDLING_NEVER))
    client.publish(topic, 'b', retain=True)
    assert client.message().retain
    client.publish(topic, 'c')
    assert not client.message().retain


def test_last_one_wins(broker, client, topic):
    for i in range(5):
        client.publish(topic, str(i), retain=True)
    client.subscribe(topic)
    assert [m.payload for m in heard(client, 1)] == [b'4']


def test_empty_payload_clears(client, topic):
    """[MQTT-3.3.1-6], [-7]"""
    client.publish(topic, 'x', retain=True)
    client.publish(topic, '', retain=True)
    client.subscribe(topic)
    assert heard(client) == []


def test_without_flag_nothing_changes(client, topic):
    """[MQTT-3.3.1-8]"""
    client.publish(topic, 'kept', retain=True)
    client.publish(topic, 'passing')
    client.subscribe(topic)
    assert [m.payload for m in heard(client, 1)] == [b'kept']


def test_wildcard_subscriber_gets_all(client, topic):
    wanted = set()
    for t in ('/a', '/b', '/b/c', '/b/c/d', '/é'):
        client.publish(topic + t, t, retain=True)
        wanted.add(topic + t)
    client.publish(topic + 'beside', 'x', retain=True)
    client.subscribe(topic + '/#')
    assert {m.topic for m in heard(client, len(wanted))} == wanted
    client.unsubscribe(topic + '/#')
    client.subscribe(topic + '/+')
    assert {m.topic for m in heard(client, 3)} == {topic + t for t in ('/a', '/b', '/é')}
    client.unsubscribe(topic + '/+')
    client.subscribe(topic + '/+/c/#')
    assert {m.topic for m in heard(client, 2)} == {topic + t for t in ('/b/c', '/b/c/d')}


def test_handling(broker, client, topic):
    """[MQTT-3.3.1-9], [-10], [-11]"""
    client.publish(topic, 'x', retain=True)
    client.subscribe((topic, HANDLING_NEVER))
    assert heard(client) == []
    client.subscribe((topic, HANDLING_NEW_ONLY))	# it exists already
    assert heard(client) == []
    client.unsubscribe(topic)
    client.subscribe((topic, HANDLING_NEW_ONLY))
    assert len(heard(client, 1)) == 1
    client.subscribe(topic)
    assert len(heard(client, 1)) == 1


@paced
def test_properties_and_expiry(broker, client, topic, pace):
    client.publish(topic, 'x', retain=True,
                   props={'message_expiry': 2 * pace, 'content_type': 'a/b', 'user_property': [('k', 'v')]})
    client.subscribe(topic)
    m = client.message()
    assert m.props['content_type'] == 'a/b' and m.props['user_property'] == [('k', 'v')]
    assert 0 < m.props['message_expiry'] <= 2 * pace
    client.unsubscribe(topic)
    time.sleep(2 * pace + 0.6)
    client.subscribe(topic)
    assert heard(client) == []


def test_mosquitto_clients(broker, topic):
    p = programs.run(['mosquitto_pub', '-p', str(broker.port), '-t', topic, '-m', 'here', '-r',
                      '-q', '1'])
    assert p.returncode == 0, p.stdout
    p = programs.run(['mosquitto_sub', '-p', str(broker.port), '-t', topic, '-C', '1', '-W', '60',
                      '-F', '%r %p'])
    assert p.stdout.strip() == '1 here'


def test_paho(broker, topic):
    with pahoc.Client(broker.port, 'paho-r', pahoc.V311) as c:
        c.publish(topic, b'state', 1, retain=True)
        c.subscribe(topic)
        m = c.message()
        assert m.retain and m.payload == b'state'


def test_not_available(brokers, topic):
    """retain_available false: announced, and 0x9A [MQTT-3.2.2-14]."""
    b = brokers('retain_available false\n')
    with Raw(b.port) as c:
        assert c.connect('r').props['retain_available'] == 0
        c.publish(topic, 'x', 1, retain=True)
        assert c.closed() == 0x9a


def test_will_retain_not_available(brokers, topic):
    b = brokers('retain_available false\n')
    with Raw(b.port) as c:
        c.connect('r', will=(topic, 'x', 0, True), want=0x9a)
