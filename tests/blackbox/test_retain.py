# SPDX-License-Identifier: Apache-2.0
"""Retained messages: kept, cleared, handled as the subscriber asks."""
import time

import pytest

import pahoc
import programs
from harness import paced
from raw import SUBACK, Raw

NO_LOCAL, RETAIN_AS_PUBLISHED = 0x04, 0x08
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


N_MANY = 120
SMALL_QUEUE = 'max_queued_messages 20\nmax_inflight_messages 5\n'


@pytest.fixture(params=[(1, 'memory'), (4, 'store')], ids=str)
def much(brokers, request):
    """A broker with more retained messages than a queue has room for."""
    threads, where = request.param
    b = brokers(SMALL_QUEUE + f'threads {threads}\n'
                + ('persistence true\npersistence_location store\n' if where == 'store' else ''))
    with Raw(b.port) as c:
        c.connect('fills')
        for i in range(N_MANY):
            c.publish_acked(f'much/{i}', str(i), 2, retain=True)
    return b


@pytest.mark.ours
@pytest.mark.parametrize('qos', [1, 2])
def test_more_than_a_queue_holds(much, qos):
    """[MQTT-3.3.1-9]: all of them; and what comes meanwhile, of everybody and
    of other subscriptions, is not kept out by them."""
    topics = [f'much/{i}' for i in range(N_MANY)]
    with Raw(much.port) as c, Raw(much.port) as other:
        c.connect('reads', props={'session_expiry': 600})
        other.connect('speaks')
        for ident, f in enumerate(['much/+', 'much/#', 'later'], 1):
            c.send_subscribe(f, qos=qos, props={'subscription_id': ident})
        for _ in range(3):
            c.wait_for(SUBACK)
        other.publish_acked('later', 'now', 1)
        c.ping()
        got = c.gather(2 * N_MANY + 1, 0.5)
    by_id = {i: [m.topic for m in got if m.props['subscription_id'] == [i]] for i in (1, 2, 3)}
    assert sorted(by_id[1]) == sorted(by_id[2]) == sorted(topics)
    assert by_id[3] == ['later']


@pytest.mark.ours
def test_unsubscribed_while_more_waits(much):
    """[MQTT-3.10.4-2], [MQTT-3.8.4-3]"""
    with Raw(much.port) as c:
        c.connect('goes')
        c.subscribe('much/+', qos=1, props={'subscription_id': 1})
        c.subscribe('much/#', qos=1, props={'subscription_id': 2})
        c.subscribe(('much/#', 1 | HANDLING_NEVER), props={'subscription_id': 3})
        assert c.unsubscribe('much/+') == [0]
        ids = []
        while ids.count([3]) < N_MANY:
            ids.append(c.message().props['subscription_id'])
        ids += [m.props['subscription_id'] for m in c.gather(0, 0.5)]
        assert ids.count([1]) <= 15 and ids.count([2]) == 0
        assert ids.count([3]) == N_MANY
        # nor is anything left of it for a client that is gone
        c.send_subscribe('much/#', qos=1)
        c.wait_for(SUBACK)
    with Raw(much.port) as c:
        c.connect('goes', clean=False)
        c.silent()


@pytest.mark.ours
def test_own_with_no_local(brokers, topic):
    """[MQTT-3.8.3-3]: nobody is told what he said himself, also not later."""
    b = brokers('persistence true\npersistence_location store\n')
    for again in (False, True):
        with Raw(b.port) as c, Raw(b.port) as other:
            c.connect('own')
            if not again:
                other.connect('other')
                c.publish_acked(topic + '/own', 'x', 1, retain=True)
                other.publish_acked(topic + '/other', 'x', 1, retain=True)
            c.subscribe((topic + '/+', NO_LOCAL))
            assert [m.topic for m in c.gather(1)] == [topic + '/other']
            c.subscribe(topic + '/+')
            assert len(c.gather(2)) == 2
        if not again:
            b.stop()
            b.start()
