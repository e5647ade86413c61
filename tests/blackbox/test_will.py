# SPDX-License-Identifier: Apache-2.0
"""Wills: when they are published, when not, and when later."""
import time

import pytest

import pahoc
from harness import paced
from raw import DISCONNECT, Raw, connect_packet, packet


@pytest.fixture
def watcher(broker, topic):
    with Raw(broker.port) as w:
        w.connect('watcher')
        w.subscribe(topic + '/#', qos=2)
        yield w


@pytest.mark.parametrize('version', [4, 5])
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_published_when_the_connection_breaks(broker, topic, watcher, version, qos):
    """[MQTT-3.1.2-8]"""
    with Raw(broker.port, version=version) as c:
        c.connect('doomed', will=(topic, 'gone', qos))
    m = watcher.message()
    assert (m.payload, m.qos, m.retain) == (b'gone', qos, False)


def test_paho_will(broker, topic, watcher):
    c = pahoc.Client(broker.port, 'paho-doomed', pahoc.V311, will=(topic, b'paho gone', 1))
    c.drop()
    assert watcher.message().payload == b'paho gone'


def test_not_after_disconnect(broker, topic, watcher):
    """[MQTT-3.14.4-3]"""
    with Raw(broker.port) as c:
        c.connect('polite', will=(topic, 'no', 1))
        c.disconnect()
    watcher.silent()


def test_disconnect_with_will(broker, topic, watcher):
    """DISCONNECT 0x04 asks for it (3.14.2.1)."""
    with Raw(broker.port) as c:
        c.connect('asks', will=(topic, 'asked', 1))
        c.disconnect(0x04)
    assert watcher.message().payload == b'asked'


@pytest.mark.ours
def test_after_protocol_error(broker, topic, watcher):
    with Raw(broker.port) as c:
        c.connect('wrong', will=(topic, 'wrong', 1))
        c.send(connect_packet('wrong'))		# a second CONNECT [MQTT-3.1.0-2]
        c.closed()
    assert watcher.message().payload == b'wrong'


def test_after_keep_alive(broker, topic, watcher):
    with Raw(broker.port) as c:
        c.connect('silent', keepalive=1, will=(topic, 'asleep', 1))
        assert watcher.message().payload == b'asleep'


def test_retained(broker, topic, watcher):
    """[MQTT-3.1.2-15]"""
    with Raw(broker.port) as c:
        c.connect('retains', will=(topic, 'state', 1, True))
    assert watcher.message().payload == b'state'
    with Raw(broker.port) as late:
        late.connect('late')
        late.subscribe(topic)
        m = late.message()
        assert m.retain and m.payload == b'state'
        late.publish(topic, '', retain=True)


def test_properties(broker, topic, watcher):
    props = {'payload_format': 1, 'content_type': 'text/plain', 'response_topic': 'r',
             'correlation_data': b'c', 'message_expiry': 100, 'user_property': [('a', 'b'), ('a', 'c')]}
    with Raw(broker.port) as c:
        c.connect('detailed', will=(topic, 'x', 1, False, props))
    got = watcher.message().props
    assert 40 <= got.pop('message_expiry') <= 100
    props.pop('message_expiry')
    assert got == props


@paced
def test_delayed(broker, topic, watcher, pace):
    with Raw(broker.port) as c:
        c.connect('delayed', props={'session_expiry': 60},
                  will=(topic, 'later', 1, False, {'will_delay': 2 * pace}))
        began = time.monotonic()
    watcher.silent(pace)
    assert watcher.message().payload == b'later'
    assert time.monotonic() - began >= 1.5 * pace


def test_delay_ends_with_the_session(broker, topic, watcher):
    """[MQTT-3.1.3-9]: whichever comes first."""
    with Raw(broker.port) as c:
        c.connect('ends', props={'session_expiry': 1},
                  will=(topic, 'session over', 1, False, {'will_delay': 600}))
    assert watcher.message().payload == b'session over'


@paced
def test_reconnecting_cancels_the_delay(broker, topic, watcher, pace):
    """[MQTT-3.1.3-9]"""
    with Raw(broker.port) as c:
        c.connect('returns', props={'session_expiry': 60},
                  will=(topic, 'never', 1, False, {'will_delay': pace}))
    with Raw(broker.port) as c:
        assert c.connect('returns', clean=False, props={'session_expiry': 60}).session_present
        watcher.silent(pace + 1)
        c.disconnect()


@pytest.mark.ours
def test_takeover_with_new_session_publishes(broker, topic, watcher):
    """3.1.4: a clean start ends the old session, and so its will's delay."""
    with Raw(broker.port) as old, Raw(broker.port) as new:
        old.connect('replaced', props={'session_expiry': 60},
                    will=(topic, 'replaced', 1, False, {'will_delay': 600}))
        new.connect('replaced', clean=True)
        assert watcher.message().payload == b'replaced'


@pytest.mark.parametrize('bad', ['a/#', '+', ''])
def test_bad_topic_is_refused(broker, bad):
    with Raw(broker.port) as c:
        c.send(connect_packet('bad-will', will=(bad, 'x', 0)))
        assert c.closed() not in (0,)


def test_will_qos_3_is_malformed(broker):
    """[MQTT-3.1.2-12]"""
    with Raw(broker.port) as c:
        c.send(connect_packet('bad-qos', will=('t', 'x', 3)))
        assert c.closed() in (0x81, None)


def test_normal_disconnect_3(broker, topic, watcher):
    with Raw(broker.port, version=4) as c:
        c.connect('polite3', will=(topic, 'no', 1))
        c.send(packet(DISCONNECT, 0, b''))
    watcher.silent()
