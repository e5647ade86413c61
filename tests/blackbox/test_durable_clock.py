# SPDX-License-Identifier: Apache-2.0
"""The calendar is another after a restart than it was: set back, or not set at all by a
machine without a clock of its own."""
import time

import pytest

from durable import CONF, client, on_disk
from harness import preload
from raw import Raw

pytestmark = pytest.mark.ours


@pytest.fixture(params=[1, 4], ids=lambda n: f'{n}-shards')
def broker(request, brokers):
    return brokers(CONF + f'threads {request.param}\n')


def start(broker, monkeypatch, days):
    """It is killed, and a broker with another calendar takes its place."""
    broker.kill()
    with monkeypatch.context() as m:
        for name, value in preload(days).items():
            m.setenv(name, value)
        broker.start()


@pytest.mark.parametrize('days', [-1, -10000])
def test_nothing_lives_longer(broker, monkeypatch, days):
    """What is left of an expiry is never more than there was [MQTT-3.3.2-6], and clocks of
    sessions and wills run on [MQTT-3.1.2-23]."""
    with client(broker, 'long') as s:
        s.subscribe('a', qos=1)
        s.subscribe('will/+', qos=1)
        s.disconnect()
    with client(broker, 'short', expiry=2) as s:
        s.disconnect()
    client(broker, 'gone', will=('will/gone', b'', 1, False, {'will_delay': 2})).close()
    with Raw(broker.port) as p:
        p.connect('pub')
        p.publish_acked('a', b'', props={'message_expiry': 100})
        p.publish_acked('kept', b'x', retain=True, props={'message_expiry': 100})
        p.publish_acked('stays', b'x', retain=True)
    on_disk(broker)
    start(broker, monkeypatch, days)
    with Raw(broker.port) as r:
        r.connect('reader')
        r.subscribe('#', qos=1)
        got = {m.topic: m.props.get('message_expiry') for m in (r.message(), r.message())}
    assert got['stays'] is None and 0 < got['kept'] <= 100
    with client(broker, 'long') as s:
        assert s.session_present
        assert 0 < s.message().props['message_expiry'] <= 100
        assert s.message().topic == 'will/gone'
    time.sleep(2)
    with client(broker, 'short', expiry=0) as s:
        assert not s.session_present


DAY = 86400


def test_the_machine_was_off(broker, monkeypatch):
    """All the time that it was down counts, also what was before the machine started."""
    with client(broker, 'watch') as s:
        s.subscribe('will/+', qos=1)
        s.disconnect()
    for name, days in ('over', 1000), ('stays', 3000):
        with client(broker, name, expiry=days * DAY) as s:
            s.disconnect()
    for name, days in ('due', 1000), ('later', 3000):
        client(broker, name, will=(f'will/{name}', b'', 1, False, {'will_delay': days * DAY})).close()
    on_disk(broker)
    start(broker, monkeypatch, 2000)
    with client(broker, 'over', expiry=0) as s:
        assert not s.session_present
    with client(broker, 'stays', expiry=0) as s:
        assert s.session_present
    with client(broker, 'watch') as s:
        assert s.session_present and s.message().topic == 'will/due'
        s.silent(0.1)


def test_forward_again(broker, monkeypatch):
    """What was kept meanwhile counts from the day it had."""
    start(broker, monkeypatch, -1)
    with client(broker, 'day', expiry=3600) as s:
        s.disconnect()
    with client(broker, 'ever') as s:
        s.disconnect()
    with Raw(broker.port) as p:
        p.connect('pub')
        p.publish_acked('day', b'x', retain=True, props={'message_expiry': 3600})
        p.publish_acked('ever', b'x', retain=True)
    on_disk(broker)
    start(broker, monkeypatch, 0)
    with client(broker, 'day') as s:
        assert not s.session_present
    with client(broker, 'ever') as s:
        assert s.session_present
    with Raw(broker.port) as r:
        r.connect('reader')
        r.subscribe('#', qos=1)
        assert r.message().topic == 'ever'
        r.silent(0.1)
