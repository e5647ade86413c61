# SPDX-License-Identifier: Apache-2.0
"""The $SYS tree."""
import pytest

from harness import wait_until
from raw import Raw

PREFIX = '$SYS/broker/'
NUMBERS = ['clients/total', 'clients/connected', 'messages/received', 'messages/sent',
           'bytes/received', 'bytes/sent', 'subscriptions/count', 'retained messages/count',
           'publish/messages/received', 'publish/messages/sent', 'publish/messages/dropped',
           'publish/messages/expired']


@pytest.fixture
def sysbroker(brokers):
    return brokers('sys_interval 1\n')




def value(port, name):
    """One value, freshly published (not the retained one)."""
    with Raw(port) as c:
        c.connect('sys-value')
        c.subscribe(PREFIX + name)
        m = c.message()
        try:
            while m.retain:
                m = c.message(2.5)
        except TimeoutError:
            pass		# published only when it changes
        return m.payload.decode()


def wait_for_value(port, name, enough):
    """Until a value is enough, of those that come with each interval."""
    with Raw(port) as c:
        c.connect('sys-waits')
        c.subscribe(PREFIX + name)
        wait_until(lambda: enough(int(c.message().payload)), f'{name} is enough')


def test_tree(sysbroker):
    with Raw(sysbroker.port) as c:
        c.connect('sys')
        c.subscribe('$SYS/#')
        seen = {}
        while not set(NUMBERS) <= set(seen) or 'version' not in seen or 'uptime' not in seen:
            m = c.message()
            seen[m.topic[len(PREFIX):]] = m.payload.decode()
    for name in NUMBERS:
        assert float(seen[name]) >= 0, name
    assert 'seconds' in seen['uptime']
    assert seen['version']


def test_counts_clients(sysbroker):
    clients = []
    for i in range(5):
        c = Raw(sysbroker.port)
        c.connect(f'counted-{i}')
        clients.append(c)
    wait_for_value(sysbroker.port, 'clients/connected', lambda n: n >= 5)
    for c in clients:
        c.close()


def test_counts_messages(sysbroker):
    before = int(value(sysbroker.port, 'publish/messages/received'))
    with Raw(sysbroker.port) as c:
        c.connect('hundred')
        for _ in range(100):
            c.publish('count/me', 'x')
        c.ping()
    wait_for_value(sysbroker.port, 'publish/messages/received', lambda n: n - before >= 100)


def test_hash_does_not_match(sysbroker):
    """[MQTT-4.7.2-1]"""
    with Raw(sysbroker.port) as c:
        c.connect('hash')
        c.subscribe('#', '+/broker/uptime')
        c.silent(2)


@pytest.mark.ours
def test_clients_may_not_write(sysbroker):
    """Nobody forges what the broker says about itself."""
    with Raw(sysbroker.port) as c:
        c.connect('forger')
        c.publish(PREFIX + 'version', 'forged', 1, retain=True)
        p = c.recv()
        assert p.code >= 0x80
    assert value(sysbroker.port, 'version') != 'forged'


def test_off(brokers):
    b = brokers('sys_interval 0\n')
    with Raw(b.port) as c:
        c.connect('off')
        c.subscribe(PREFIX + 'uptime')
        c.silent(1.5)


def test_other_dollar_topics_are_harmless(sysbroker):
    """CVE-2018-12543: any $ topic, no assertion."""
    for t in ('$', '$S', '$SYS', '$SYSTEM/x', '$share', '$CONTROL/x', '$nightjar/x', '$/a'):
        with Raw(sysbroker.port) as c:
            c.connect('dollars')
            c.publish(t, 'x', retain=True)
            try:
                c.ping()
            except Exception:  # pylint: disable=broad-except
                pass		# refused is fine, too
    assert sysbroker.alive()
