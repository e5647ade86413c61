# SPDX-License-Identifier: Apache-2.0
"""Hostile peers.  In every case the broker stays up, its memory is as
before, others are served as before, and the peer gets the right answer."""
import contextlib
import os
import random
import socket
import ssl
import struct
import threading
import time

import pytest

import pahoc
from harness import HOST, REFERENCE, wait_until
from raw import (CONNACK, CONNECT, DISCONNECT, PINGREQ, PUBACK, PUBLISH, PUBREC, PUBREL, SUBSCRIBE,
                 UNSUBSCRIBE, Closed, Raw, connect_packet, packet, properties, string, varint)

MALFORMED, PROTOCOL = 0x81, 0x82
REFUSED = (MALFORMED, PROTOCOL, None)


class Bystander(threading.Thread):
    """A client that times its own round trips while others misbehave."""

    def __init__(self, port, tls=None, client_id='bystander'):
        super().__init__(daemon=True)
        self.client = Raw(port, tls=tls)
        self.client.connect(client_id)
        self.client.subscribe('bystander/' + client_id)
        self.topic = 'bystander/' + client_id
        self.times, self.error = [], None
        self.done = threading.Event()

    def run(self):
        try:
            while not self.done.is_set():
                began = time.monotonic()
                self.client.publish(self.topic, 'x')
                self.client.message()
                self.times.append(time.monotonic() - began)
                self.done.wait(0.01)
        except Exception as e:  # pylint: disable=broad-except
            self.error = e

    def __enter__(self):
        self.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *exc):
        self.done.set()
        self.join(20)
        self.client.close()

    def check(self, limit=1.0):
        """Nobody was locked out: with sanitizers and on a busy machine a
        round trip takes milliseconds, so a second means blocked."""
        assert self.error is None, self.error
        assert len(self.times) > 10
        worst = sorted(self.times)[int(len(self.times) * 0.99)]
        assert worst < limit, f'99% of round trips within {worst:.3f} s'


def publish_packet(topic=b't', qos=0, flags=None, mid=1, props=b'\x00', payload=b''):
    return packet(PUBLISH, qos << 1 if flags is None else flags,
                  string(topic) + (struct.pack('>H', mid) if qos else b'') + props + payload)


def subscribe_packet(*filters, mid=1, props=b'\x00', flags=2):
    return packet(SUBSCRIBE, flags, struct.pack('>H', mid) + props
                  + b''.join(string(f) + bytes([o]) for f, o in filters))


# Sent as the first bytes of a connection.
FIRST = {
    'remaining length of 5 bytes': b'\x10\xff\xff\xff\xff\x01',
    'remaining length of 256 MiB': b'\x10\xff\xff\xff\x7f' + b'x' * 100,
    'PUBLISH first': publish_packet(),
    'huge PUBLISH first': b'\x30\xff\xff\xff\x7f' + b'x' * 1000,
    'SUBSCRIBE first': subscribe_packet(('t', 0)),
    'PINGREQ first': b'\xc0\x00',
    'DISCONNECT first': b'\xe0\x00',
    'CONNACK first': packet(CONNACK, 0, b'\0\0\0'),
    'packet type 0': b'\x00\x00',
    'AUTH first': b'\xf0\x00',
    'CONNECT with flags': b'\x11' + connect_packet('x')[1:],
    'CONNECT empty': packet(CONNECT, 0, b''),
    'CONNECT reserved flag': connect_packet('x').replace(b'MQTT\x05\x02', b'MQTT\x05\x03'),
    'CONNECT will QoS without will': connect_packet('x').replace(b'MQTT\x05\x02', b'MQTT\x05\x0a'),
    'CONNECT other protocol': connect_packet('x').replace(b'MQTT', b'HTTP'),
    'CONNECT trailing bytes': packet(CONNECT, 0, connect_packet('x')[2:] + b'junk'),
    'CONNECT id with NUL': connect_packet(b'a\x00b'),
    'CONNECT id not UTF-8': connect_packet(b'\xff\xfe'),
    'CONNECT overlong UTF-8': connect_packet(b'\xc0\xaf'),
    'CONNECT surrogate': connect_packet(b'\xed\xa0\x80'),
    'HTTP': b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
    'TLS ClientHello start': b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'x' * 600,
    'zeros': b'\x00' * 1000,
    'text': b'hello, broker\n' * 100,
}


@pytest.mark.parametrize('what', FIRST)
def test_first_bytes(broker, what):
    """Everything but a good CONNECT ends the connection [MQTT-3.1.0-1]."""
    with Raw(broker.port) as c:
        c.send(FIRST[what])
        with contextlib.suppress(OSError):
            c.sock.shutdown(socket.SHUT_WR)
        try:
            assert c.closed() != 0
        except AssertionError as e:
            assert 'ends inside' in str(e) or 'CONNACK' in str(e)	# a 3.x CONNACK
    assert broker.alive()


# Sent after a good CONNECT of 5.0; with the answers that are right.
AFTER = {
    'second CONNECT': (connect_packet('x'), REFUSED),
    'CONNACK': (packet(CONNACK, 0, b'\0\0\0'), REFUSED),
    'SUBACK': (packet(9, 0, b'\0\1\0\0'), REFUSED),
    'PINGRESP': (b'\xd0\x00', REFUSED),
    'packet type 0': (b'\x00\x00', REFUSED),
    'over-long length': (b'\x30\xff\xff\xff\xff\x01', REFUSED),
    'PINGREQ with body': (b'\xc0\x01x', REFUSED),
    'PINGREQ with flags': (b'\xc1\x00', REFUSED),
    'SUBSCRIBE flags 0': (subscribe_packet(('t', 0), flags=0), REFUSED),
    'SUBSCRIBE empty': (subscribe_packet(), REFUSED),
    'SUBSCRIBE id 0': (subscribe_packet(('t', 0), mid=0), REFUSED),
    'SUBSCRIBE QoS 3': (subscribe_packet(('t', 3)), REFUSED),
    'SUBSCRIBE reserved bits': (subscribe_packet(('t', 0xc0)), REFUSED),
    'SUBSCRIBE retain handling 3': (subscribe_packet(('t', 0x30)), REFUSED),
    'SUBSCRIBE id property 0': (subscribe_packet(('t', 0), props=b'\x02\x0b\x00'), REFUSED),
    'SUBSCRIBE bad filter': (subscribe_packet(('a/#/b', 0)), (0x8f,) + REFUSED),
    'SUBSCRIBE bad plus': (subscribe_packet(('a+/b', 0)), (0x8f,) + REFUSED),
    'SUBSCRIBE empty filter': (subscribe_packet(('', 0)), (0x8f,) + REFUSED),
    'SUBSCRIBE NUL in filter': (subscribe_packet((b'a\x00', 0)), (0x8f,) + REFUSED),
    'UNSUBSCRIBE empty': (packet(UNSUBSCRIBE, 2, b'\0\1\0'), REFUSED),
    'UNSUBSCRIBE flags 0': (packet(UNSUBSCRIBE, 0, b'\0\1\0' + string('t')), REFUSED),
    'PUBLISH QoS 3': (publish_packet(qos=3), REFUSED),
    'PUBLISH DUP at QoS 0': (publish_packet(flags=8), REFUSED),
    'PUBLISH id 0': (publish_packet(qos=1, mid=0), REFUSED),
    'PUBLISH empty topic': (publish_packet(b''), REFUSED),
    'PUBLISH topic with #': (publish_packet(b'a/#'), (0x90,) + REFUSED),
    'PUBLISH topic with +': (publish_packet(b'a/+'), (0x90,) + REFUSED),
    'PUBLISH NUL in topic': (publish_packet(b'a\x00b'), (0x90,) + REFUSED),
    'PUBLISH not UTF-8': (publish_packet(b'\xff'), (0x90,) + REFUSED),
    'PUBLISH surrogate': (publish_packet(b'\xed\xa0\x80'), (0x90,) + REFUSED),
    'PUBLISH overlong': (publish_packet(b'\xc0\x80'), (0x90,) + REFUSED),
    'PUBLISH truncated topic': (packet(PUBLISH, 0, b'\x00\x10abc'), REFUSED),
    'PUBLISH truncated properties': (packet(PUBLISH, 0, b'\x00\x01a\x7f\x01'), REFUSED),
    'PUBLISH unknown property': (publish_packet(props=b'\x02\x7f\x00'), REFUSED),
    'PUBLISH property of CONNECT': (publish_packet(props=properties({'session_expiry': 1})), REFUSED),
    'PUBLISH property twice': (publish_packet(props=properties({'message_expiry': [1, 2]})), REFUSED),
    'PUBLISH format 2': (publish_packet(props=properties({'payload_format': 2})), REFUSED),
    'PUBLISH subscription id': (publish_packet(props=properties({'subscription_id': 1})), REFUSED),
    'PUBLISH wildcard response topic': (publish_packet(props=properties({'response_topic': 'a/#'})),
                                        (0x90,) + REFUSED),
    'PUBREL flags 0': (packet(PUBREL, 0, b'\0\1'), REFUSED),
    'PUBACK empty': (packet(PUBACK, 0, b''), REFUSED),
    'PUBREC bad code': (packet(PUBREC, 0, b'\0\1\x77'), REFUSED),
    'DISCONNECT flags': (b'\xe1\x00', REFUSED),
    'AUTH without method': (packet(15, 0, b'\x18\x00'), REFUSED),
}
# Mosquitto 2.0 lets these pass.
LENIENT = ('PUBLISH DUP at QoS 0', 'PUBLISH subscription id', 'PINGREQ with body', 'PINGREQ with flags', 'PUBREC bad code', 'SUBSCRIBE id property 0',
           'PUBLISH id 0', 'SUBSCRIBE id 0', 'DISCONNECT flags', 'SUBACK', 'PINGRESP', 'AUTH without method',
           'PUBLISH format 2', 'PUBLISH surrogate', 'PUBLISH wildcard response topic')


@pytest.mark.parametrize('what', AFTER)
def test_after_connect(broker, what):
    if REFERENCE and what in LENIENT:
        pytest.skip('Mosquitto is lenient here')
    data, wanted = AFTER[what]
    with Raw(broker.port) as c:
        c.connect('abuser')
        c.send(data)
        try:
            while True:
                p = c.recv()
                if p.kind == 9:		# a SUBACK may carry the refusal
                    assert p.codes[0] in wanted
                    return
                if p.kind in (DISCONNECT, PUBACK, PUBREC):
                    assert p.code in wanted, hex(p.code)
                    if p.kind != DISCONNECT:
                        return
        except Closed:
            assert None in wanted
    assert broker.alive()


def test_every_truncation(broker):
    """Each prefix of good packets, with the length made to fit: refused or
    taken, never a crash."""
    whole = [
        connect_packet('trunc', props={'session_expiry': 9, 'user_property': [('a', 'b')]},
                       will=('w', b'p', 1, True, {'will_delay': 3, 'content_type': 'x'}),
                       username='u', password='p'),
        publish_packet(b'trunc/t', 2, props=properties(
            {'message_expiry': 5, 'correlation_data': b'123', 'user_property': [('k', 'v')]}),
            payload=b'hello'),
        subscribe_packet(('trunc/#', 1), ('$share/g/x', 2), props=properties({'subscription_id': 300})),
    ]
    for data in whole:
        body = data[2:]
        for n in range(len(body)):
            with Raw(broker.port) as c:
                if data is not whole[0]:
                    c.connect('trunc')
                with contextlib.suppress(OSError):
                    c.send(bytes([data[0]]) + varint(n) + body[:n])
                    c.send(b'\xe0\x00')
                with contextlib.suppress(AssertionError):
                    c.closed()
    assert broker.alive()


def test_random_bytes(broker):
    """A thousand connections of noise, seeded so that it can be repeated."""
    rng = random.Random(20)
    for i in range(1000):
        with Raw(broker.port) as c, contextlib.suppress(OSError):
            if i % 2:
                c.send(connect_packet(f'noise-{i}'))
            c.send(bytes([rng.choice([0x10, 0x30, 0x32, 0x34, 0x62, 0x82, 0xa2, rng.randrange(256)])])
                   + varint(rng.randrange(40)) + rng.randbytes(40))
    with Raw(broker.port) as c:
        c.connect('after-noise')


def test_many_user_properties(broker):
    """As many as fit: bounded work, an answer, nobody disturbed."""
    props = properties({'user_property': [('k', 'v')] * 10000})
    with Bystander(broker.port) as by:
        with Raw(broker.port) as c:
            c.connect('props')
            for _ in range(10):
                with contextlib.suppress(OSError):
                    c.send(publish_packet(b'props', props=props))
            with contextlib.suppress(Closed, OSError, AssertionError):
                c.ping()
    by.check()


def test_one_byte_writes(broker, topic):
    with Raw(broker.port) as c:
        for b in connect_packet('slowly') + subscribe_packet((topic, 1)) + \
                publish_packet(topic, 1, payload=b'by bytes'):
            c.send(bytes([b]))
        kinds = [c.recv().kind for _ in range(4)]
        assert kinds[:2] == [2, 9] and sorted(kinds[2:]) == [3, 4]


def test_thousand_packets_in_one_write(broker, topic):
    with Raw(broker.port) as c:
        c.connect('bulk')
        c.subscribe(topic)
        c.send(b''.join(publish_packet(topic, payload=str(i).encode()) for i in range(1000)))
        assert [int(c.message().payload) for _ in range(1000)] == list(range(1000))


@pytest.mark.parametrize('name', ['/' * 65400, 'a/' * 32700, 'x' * 65500],
                         ids=['slashes', 'levels', 'one level'])
def test_deep_topics(broker, name):
    """65,400 levels (CVE-2019-11779): refused or served, no recursion."""
    with Raw(broker.port) as c:
        c.connect('deep')
        with contextlib.suppress(Closed, OSError, AssertionError):
            c.send(subscribe_packet((name, 0), (name[:-2] + '/#', 0)))
            c.publish(name, 'x')
            c.publish(name, 'x', retain=True)
            c.publish(name, '', retain=True)
            c.ping()
    with Raw(broker.port) as c:
        c.connect('after-deep')
        c.ping()


def test_many_wildcards(broker):
    """Filters made to cost: the work is bounded, others do not feel it."""
    with Bystander(broker.port) as by:
        with Raw(broker.port) as c:
            c.connect('wild')
            for i in range(40):
                c.subscribe(*['+/' * n + f'{i}/#' for n in range(1, 26)])
            for _ in range(20):
                c.publish('/'.join('abcdefghijklmnopqrstuvwxyz'), 'x')
            c.publish('/'.join(str(n) for n in range(26)), 'x')
            with contextlib.suppress(Closed):
                c.ping()
    by.check()


def test_qos2_without_pubrel(broker, topic):
    """Identifiers reused and never released (CVE-2023-28366): capped."""
    with Raw(broker.port) as c:
        c.connect('norel')
        with contextlib.suppress(OSError):
            for i in range(3000):
                c.publish(topic, b'x' * 100, 2, mid=i % 65535 + 1)
                c.publish(topic, b'x' * 100, 2, dup=True, mid=i % 65535 + 1)
        with contextlib.suppress(OSError, Closed):
            while True:
                c.recv(1)
    assert broker.alive()


def test_flood_without_reading(broker):
    """PINGREQ and SUBSCRIBE by the thousand from a peer that never reads:
    what waits to be written is bounded."""
    before = broker.rss_kib()
    with Bystander(broker.port) as by:
        with Raw(broker.port, rcvbuf=4096) as c:
            c.connect('flood')
            c.sock.settimeout(2)
            with contextlib.suppress(OSError):
                for _ in range(300):
                    c.send(packet(PINGREQ, 0, b'') * 1000)
                    c.send(subscribe_packet(('flood/t', 0)) * 300)
    by.check()
    if not broker.sanitized():
        assert broker.rss_kib() - before < 20 * 1024


@pytest.mark.parametrize('qos', [0, 1])
def test_stalled_reader(brokers, topic, qos):
    """A subscriber that stops reading loses QoS 0 first and is disconnected
    in the end; the others get all, in time."""
    conf = 'max_queued_messages 1000\n'
    if not REFERENCE:
        conf += 'slow_reader_timeout 3\nmax_output_bytes 1000000\n'
    b = brokers(conf)
    with Raw(b.port, rcvbuf=4096) as stalled, Raw(b.port) as reader, Raw(b.port) as p:
        stalled.connect('stalled')
        stalled.subscribe(topic, qos=qos)
        reader.connect('reader')
        reader.subscribe(topic, qos=0)
        p.connect('pub')
        before = b.rss_kib()
        with Bystander(b.port) as by:
            for i in range(600):
                p.publish(topic, struct.pack('>I', i) + b'x' * 20000)
                assert struct.unpack('>I', reader.message().payload[:4])[0] == i
        by.check()
        if not b.sanitized():
            assert b.rss_kib() - before < 30 * 1024
        if not REFERENCE:
            b.wait_log('stalled.*(slow|read|taken|behind)|(slow|read|behind).*stalled')


def test_one_byte_a_second(brokers):
    """A CONNECT that trickles in meets the deadline, and only it does."""
    conf = '' if REFERENCE else 'connect_timeout 2\n'
    b = brokers(conf)
    data = connect_packet('trickle-client-with-a-long-name')
    with Bystander(b.port) as by, Raw(b.port) as c:
        began = time.monotonic()
        try:
            for byte in data[:8]:
                c.send(bytes([byte]))
                time.sleep(1)
            c.recv(1)
        except (OSError, Closed):
            pass
        else:
            assert REFERENCE
        took = time.monotonic() - began
        assert REFERENCE or 1.5 <= took <= 7
    by.check()


def test_silent_connections(brokers):
    """500 connections that say nothing are gone after the deadline."""
    b = brokers('' if REFERENCE else 'connect_timeout 2\n')
    socks = []
    with Bystander(b.port) as by:
        for _ in range(500):
            socks.append(socket.create_connection((HOST, b.port), 10))
        if not REFERENCE:
            for s in socks:
                s.settimeout(15)
                with contextlib.suppress(ConnectionError):
                    assert s.recv(1) == b''
    by.check()
    for s in socks:
        s.close()


def client_hello():
    """The first flight of a real TLS client."""
    ctx = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ctx.wrap_bio(incoming, outgoing, server_hostname='localhost')
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize('stage', ['connected', 'half a ClientHello', 'whole ClientHello'])
def test_thousand_vanish_in_the_handshake(brokers, pki, stage):
    """1,000 clients begin a TLS handshake and go: memory is as it was, and
    those already there keep their latency."""
    crt, key = pki.server
    b = brokers(f'certfile {crt}\nkeyfile {key}\n')
    hello = client_hello()
    data = {'connected': b'', 'half a ClientHello': hello[:len(hello) // 2],
            'whole ClientHello': hello}[stage]

    def storm():
        for _ in range(4):
            socks = []
            for _ in range(250):
                s = socket.create_connection((HOST, b.port), 20)
                if data:
                    s.sendall(data)
                socks.append(s)
            for i, s in enumerate(socks):
                if i % 2:		# half of them with a reset
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                s.close()

    storm()		# what is allocated once is allocated now
    time.sleep(0.5)
    before, fds = b.rss_kib(), open_files(b.pid)
    with Bystander(b.port, tls=pahoc.tls_context(pki.ca)) as by:
        storm()
    by.check()
    wait_until(lambda: open_files(b.pid) <= fds + 2, 'their descriptors are closed')
    if not b.sanitized():
        assert b.rss_kib() - before < 6 * 1024
    with Raw(b.port, tls=pahoc.tls_context(pki.ca)) as c:
        c.connect('after')


def open_files(pid):
    return len(os.listdir(f'/proc/{pid}/fd'))


def test_handshake_deadline(brokers, pki):
    """A client that stalls inside the TLS handshake is closed."""
    if REFERENCE:
        pytest.skip('Mosquitto has no such deadline')
    crt, key = pki.server
    b = brokers(f'certfile {crt}\nkeyfile {key}\nhandshake_timeout 2\nconnect_timeout 2\n')
    hello = client_hello()
    for data in (b'', hello[:1], hello[:100], hello):
        with socket.create_connection((HOST, b.port), 10) as s:
            s.sendall(data)
            s.settimeout(12)
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while s.recv(4096):
                    pass
            assert time.monotonic() - began < 8
    ctx = pahoc.tls_context(pki.ca)
    with Raw(b.port, tls=ctx) as c:		# TLS done, no CONNECT
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert c.sock.recv(1) == b''


def test_garbage_on_the_tls_port(brokers, pki):
    crt, key = pki.server
    b = brokers(f'certfile {crt}\nkeyfile {key}\n')
    rng = random.Random(7)
    for i in range(200):
        with socket.create_connection((HOST, b.port), 10) as s, contextlib.suppress(OSError):
            head = b'\x16\x03\x01' if i % 2 else b''
            s.sendall(head + rng.randbytes(rng.randrange(1, 600)))
    with Raw(b.port, tls=pahoc.tls_context(pki.ca)) as c:
        c.connect('after')


def test_publisher_dies_in_the_middle(broker, topic):
    """Half a PUBLISH and a reset: nobody hears a half."""
    with Raw(broker.port) as s:
        s.connect('hears')
        s.subscribe(topic)
        for _ in range(20):
            with Raw(broker.port) as p:
                p.connect('dies')
                data = publish_packet(topic, payload=b'y' * 5000)
                p.send(data[:3000])
                p.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        with Raw(broker.port) as p:
            p.connect('lives')
            p.publish(topic, 'whole')
        assert s.message().payload == b'whole'


def test_connection_churn(broker, topic):
    """Connect, subscribe, drop, with takeovers in between; afterwards the
    broker serves as before."""
    def churn(n):
        for i in range(60):
            with contextlib.suppress(OSError, Closed, AssertionError), Raw(broker.port) as c:
                c.send(connect_packet(f'churn-{(n + i) % 5}', clean=bool(i % 2),
                                      props={'session_expiry': i % 3},
                                      will=(topic, b'will', 1, False, {'will_delay': i % 2})))
                c.send(subscribe_packet((topic + '/#', 2), ('$share/churn/' + topic, 1)))
                c.send(publish_packet(topic, 2, mid=i + 1, payload=b'x'))
                if i % 4 == 0:
                    c.recv(0.05)
    threads = [threading.Thread(target=churn, args=(n,)) for n in range(6)]
    with Bystander(broker.port) as by:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    by.check()
    with Raw(broker.port) as c:
        c.connect('after-churn')
        c.ping()
