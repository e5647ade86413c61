# SPDX-License-Identifier: Apache-2.0
"""Real clients over plain TCP: every version, every QoS."""
import socket

import pytest

import pahoc
import programs
from harness import free_port
from raw import Raw, PUBCOMP, PUBLISH, PUBREC, PUBREL, packet, properties, string
from sockets import nodelay

VERSIONS = ['3.1', '3.1.1', '5.0']
PAHO = {name: level for level, name in pahoc.NAMES.items()}
each_version = pytest.mark.parametrize('version', VERSIONS)
each_qos = pytest.mark.parametrize('qos', [0, 1, 2])


@each_version
@each_qos
def test_mosquitto_clients(broker, topic, version, qos):
    programs.mosquitto_round_trip(broker.port, version, qos, topic, 20)


@each_version
@each_qos
def test_paho_python(broker, topic, version, qos):
    with pahoc.Client(broker.port, 'paho-python', PAHO[version]) as c:
        assert c.subscribe(topic, qos) == [qos]
        for i in range(20):
            c.publish(topic, f'message {i}', qos)
        for i in range(20):
            m = c.message()
            assert (m.topic, m.payload, m.qos) == (topic, b'message %d' % i, qos)
        c.none(0.1)


@each_version
@each_qos
def test_paho_c(broker, topic, version, qos):
    programs.paho_c_round_trip(broker.port, version, qos, topic, 20)


@each_version
@each_qos
def test_mqttjs(broker, topic, version, qos):
    programs.mqttjs_round_trip(broker.port, version, qos, topic, 20)


@pytest.mark.parametrize('publisher', VERSIONS)
@pytest.mark.parametrize('subscriber', VERSIONS)
def test_versions_meet(broker, topic, publisher, subscriber):
    """Who publishes with one version is heard by those of another."""
    with pahoc.Client(broker.port, 'hears', PAHO[subscriber]) as s, \
            pahoc.Client(broker.port, 'speaks', PAHO[publisher]) as p:
        s.subscribe(topic, 2)
        p.publish(topic, b'across', 2)
        m = s.message()
        assert (m.payload, m.qos) == (b'across', 2)


@pytest.mark.parametrize('published', [0, 1, 2])
@pytest.mark.parametrize('granted', [0, 1, 2])
def test_qos_is_the_lower_one(broker, topic, published, granted):
    """[MQTT-3.8.4-8]"""
    with Raw(broker.port) as c:
        c.connect('lower')
        assert c.subscribe(topic, qos=granted) == [granted]
        with Raw(broker.port) as p:
            p.connect('publisher')
            assert p.publish_acked(topic, b'x', published) == 0
            assert c.message().qos == min(published, granted)


@pytest.mark.parametrize('size', [0, 1, 127, 128, 16383, 16384, 100_000, 1_000_000])
def test_payload_sizes(broker, topic, size):
    payload = bytes(i & 0xff for i in range(251)) * (size // 251 + 1)
    payload = payload[:size]
    with Raw(broker.port) as c:
        c.connect('sizes')
        c.subscribe(topic, qos=1)
        c.publish(topic, payload, 1)
        got = [c.recv(), c.recv()]
        message = next(p for p in got if p.kind == PUBLISH)
        assert message.payload == payload


@pytest.mark.parametrize('version', [4, 5])
def test_large_and_small_to_who_reads_late(broker, topic, version):
    """More than sockets hold, so that writes stop in the middle of payloads, with small
    packets between the large: all comes whole and in order."""
    sizes = [300_000, 10, 4096, 4095, 0, 200_000, 1, 5000] * 4
    with Raw(broker.port, version=version) as s, Raw(broker.port, version=version) as p:
        s.connect('late')
        s.subscribe(topic, qos=1)
        p.connect('early')
        for i, size in enumerate(sizes):
            p.publish_acked(topic, bytes([i]) * size, 1)
        for i, size in enumerate(sizes):
            m = s.recv()
            assert m.kind == PUBLISH and m.payload == bytes([i]) * size
            s.send(b'\x40\x02' + m.mid.to_bytes(2, 'big'))


@pytest.mark.parametrize('filter_, heard, unheard', [
    ('/+/x', ['/a/x', '//x', '/é/x'], ['/x', '/a/b/x', '/a/x/']),
    ('/#', ['', '/a', '/a/b/c', '//'], ['x', 'x/a']),
    ('/+', ['/a', '/', '/ '], ['', '/a/b']),
    ('/+/+/#', ['/a/b', '/a/b/c', '//'], ['/a', '']),
])
def test_wildcards(broker, topic, filter_, heard, unheard):
    """4.7.1.2 and 4.7.1.3; what "x/#" is under matches too."""
    with Raw(broker.port) as c:
        c.connect('wild')
        c.subscribe(topic + filter_, topic + '-end')
        for t in unheard + heard:
            c.publish(topic + t, 'x')
        c.publish(topic + '-end')
        got = []
        while not got or got[-1] != topic + '-end':
            got.append(c.message().topic)
        assert got[:-1] == [topic + t for t in heard]


def test_wildcards_do_not_match_dollar(broker):
    """[MQTT-4.7.2-1]"""
    with Raw(broker.port) as c:
        c.connect('dollar')
        c.subscribe('#', '+/blackbox')
        c.publish('$nobody/blackbox', 'hidden')
        c.publish('seen/blackbox', 'seen')
        assert c.message().topic == 'seen/blackbox'


def test_unsubscribe(broker, topic):
    with Raw(broker.port) as c:
        c.connect('unsub')
        c.subscribe(topic)
        assert c.unsubscribe(topic, topic + '/never') == [0x00, 0x11]
        c.publish(topic, 'x')
        c.silent()


def test_overlapping_subscriptions(broker, topic):
    """At least once, and never at more than the highest granted QoS."""
    with Raw(broker.port) as c:
        c.connect('overlap')
        c.subscribe((topic + '/#', 1), (topic + '/+', 0), (topic + '/a', 2))
        with Raw(broker.port) as p:
            p.connect('overlap-publisher')
            p.publish_acked(topic + '/a', 'x', 2)
        seen = c.gather()
        assert max(m.qos for m in seen) == 2
        assert all(m.topic == topic + '/a' for m in seen)


def test_resubscribing_replaces(broker, topic):
    """[MQTT-3.8.4-3]"""
    with Raw(broker.port) as c:
        c.connect('again')
        c.subscribe(topic, qos=0)
        c.subscribe(topic, qos=1)
        c.publish(topic, 'once', 1)
        kinds = sorted(c.recv().kind for _ in range(2))
        assert kinds == [3, 4]
        c.silent()


@pytest.mark.parametrize('qos', [0, 1, 2])
def test_order_and_count_under_load(broker, topic, qos):
    """300 messages from each of three publishers keep their order."""
    with pahoc.Client(broker.port, 'load-sub') as s:
        s.subscribe(topic + '/#', qos)
        clients = [pahoc.Client(broker.port, f'load-pub-{i}') for i in range(3)]
        infos = []
        for n in range(300):
            for i, p in enumerate(clients):
                p.paho.max_queued_messages_set(0)
                infos.append(p.paho.publish(f'{topic}/{i}', str(n), qos))
        got = {i: [] for i in range(3)}
        for _ in range(900):
            m = s.message()
            got[int(m.topic[-1])].append(int(m.payload))
        for i, p in enumerate(clients):
            assert got[i] == list(range(300))
            p.close()


def test_ipv6(brokers, topic):
    with socket.socket(socket.AF_INET6) as s:
        try:
            s.bind(('::1', 0))
        except OSError:
            pytest.skip('this machine has no IPv6 loopback')
    port = free_port()
    brokers(f'listener {port} ::1\n')
    with Raw(port, host='::1') as c:
        c.connect('six')
        c.subscribe(topic)
        c.publish(topic, 'x')
        assert c.message().payload == b'x'


@pytest.mark.parametrize('version', [4, 5])
@each_qos
def test_large_messages_in_pieces(broker, topic, version, qos):
    """A PUBLISH that comes in pieces, with small ones right before and behind it; retained, too."""
    props = [None, {'user_property': [('a', 'b')], 'correlation_data': b'xyz'}, {'message_expiry': 3600}][qos]
    with Raw(broker.port, version=version) as s, Raw(broker.port, version=version) as p:
        s.connect()
        s.subscribe(topic, qos=qos)
        p.connect()
        head = string(topic) + (b'\0\7' if qos else b'')
        small = packet(PUBLISH, 0, string(topic) + (properties(None) if version == 5 else b'') + b'small')
        head += properties(props) if version == 5 else b''
        for size, retain in ((40_000, 0), (70_000, 0), (300_000, 0), (300_000, 1), (1_100_000, 0)):
            payload = bytes(range(250)) * (size // 250)
            data = small + packet(PUBLISH, qos << 1 | retain, head + payload) + small
            for at in range(0, len(data), 90_001):
                p.send(data[at:at + 90_001])
            got = [s.message() for _ in range(3)]
            assert [len(m.payload) for m in got] == [5, size, 5]
            assert got[1].payload == payload and got[1].topic == topic
            if version == 5 and qos == 1:
                assert got[1].props['user_property'] == [('a', 'b')]
            if qos == 2:
                assert p.wait_for(PUBREC).mid == 7
                p.ack(PUBREL, 7)
                assert p.wait_for(PUBCOMP).mid == 7


@pytest.mark.parametrize('line, on', [('', True), ('set_tcp_nodelay true\n', True), ('set_tcp_nodelay false\n', False)])
def test_nodelay(brokers, line, on):
    """As the broker's kernel has it of the broker's end."""
    b = brokers(line)
    with Raw(b.port) as c:
        c.connect('asks')
        assert nodelay(b.pid, c.sock.getsockname()) == on


def test_nodelay_after_a_reload(brokers):
    b = brokers()
    with open(b.conf_path, encoding='utf-8') as f:
        text = f.read()
    for value in ('false', 'true'):
        b.write_conf(f'{text}set_tcp_nodelay {value}\n')
        b.reload()
        with Raw(b.port) as c:
            c.connect('asks')
            assert nodelay(b.pid, c.sock.getsockname()) == (value == 'true')
