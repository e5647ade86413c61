# SPDX-License-Identifier: Apache-2.0
"""MQTT over WebSocket, plain and over TLS: real clients, and what must be
refused."""
import os
import shutil
import socket
import threading
import time

import pytest

import pahoc
import programs
from harness import HOST, PATIENCE, answers, free_port, wait_until
from proxyraw import Proxied, v1, v2
from raw import PUBLISH, Closed, Raw, connect_packet
from wsraw import (BINARY, CLOSE, CONT, KEY, PING, PONG, TEXT, RawWs, WsSocket, frame, http,
                   request)

each_version = pytest.mark.parametrize('version', ['3.1.1', '5.0'])
each_qos = pytest.mark.parametrize('qos', [0, 1, 2])
both = pytest.mark.parametrize('secure', [False, True], ids=['ws', 'wss'])
PAHO = {'3.1.1': pahoc.V311, '5.0': pahoc.V5}


class Site:
    def __init__(self, factory, pki, protocol='websockets'):
        tls = f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\n'
        self.brokers = {False: factory(f'protocol {protocol}\n'),
                        True: factory(f'protocol {protocol}\n' + tls)}
        self.pki = pki

    def port(self, secure):
        return self.brokers[secure].port

    def tls(self, secure):
        return pahoc.tls_context(self.pki.ca) if secure else None

    def raw(self, secure=False, **kw):
        return RawWs(self.port(secure), tls=self.tls(secure), **kw)


@pytest.fixture(scope='module')
def site(base_folder, pki):
    from conftest import Factory
    factory = Factory(base_folder)
    yield Site(factory, pki)
    factory.finish()


@pytest.fixture(scope='module')
def mixed(base_folder, pki):
    """Both on one port."""
    from conftest import Factory
    factory = Factory(base_folder)
    yield Site(factory, pki, 'mqtt+websockets')
    factory.finish()


@both
@each_version
@each_qos
def test_paho_python(site, topic, secure, version, qos):
    with pahoc.Client(site.port(secure), 'ws-paho', PAHO[version], tls=site.tls(secure),
                      transport='websockets') as c:
        assert c.subscribe(topic, qos) == [qos]
        for i in range(20):
            c.publish(topic, f'message {i}', qos)
        assert [c.message().payload for _ in range(20)] == [b'message %d' % i for i in range(20)]
        c.publish(topic, b'x' * 300000, qos)
        assert len(c.message().payload) == 300000


@both
@each_version
@each_qos
def test_mqttjs(site, topic, secure, version, qos):
    programs.mqttjs_round_trip(site.port(secure), version, qos, topic, 20,
                               [site.pki.ca] if secure else (), ws=True)


@both
@each_version
@each_qos
def test_paho_c(site, topic, secure, version, qos):
    programs.paho_c_round_trip(site.port(secure), version, qos, topic, 20,
                               [site.pki.ca] if secure else (), ws=True)


@both
def test_what_is_agreed_on(site, secure):
    """[MQTT-6.0.0-3], [MQTT-6.0.0-4]"""
    for offered, chosen in (('mqtt', 'mqtt'), ('mqttv3.1', 'mqttv3.1'),
                            ('x, mqttv3.1, mqtt', 'mqtt')):
        with site.raw(secure, text=request(offered, more=['Sec-WebSocket-Extensions: '
                                                          'permessage-deflate'])) as c:
            assert c.ws.answer.fields['sec-websocket-protocol'] == chosen
            assert 'sec-websocket-extensions' not in c.ws.answer.fields
            c.connect('agreed')


@both
def test_frames_and_packets_do_not_match(site, topic, secure):
    """[MQTT-6.0.0-2]: a packet in many fragments, many packets in one frame."""
    with site.raw(secure) as c:
        for b in connect_packet('fragments'):
            c.ws.sock.sendall(frame(BINARY, bytes([b]), fin=False) + frame(CONT, fin=False)
                              + frame(PING, b'between') + frame(CONT))
        assert c.recv().code == 0
        c.subscribe(topic)
        with site.raw(secure) as p:
            many = []
            p.send = many.append
            many.append(connect_packet('many'))
            for i in range(50):
                p.publish(topic, f'message {i}')
            p.ws.sock.sendall(frame(BINARY, b''.join(many)))
            p.recv()
            for i in range(50):
                assert c.message().payload == b'message %d' % i
    assert (PONG, b'between') in c.ws.controls


@both
@pytest.mark.parametrize('size', [0, 1, 100, 124, 126, 16384, 65536, 100_000, 1_000_000])
def test_payload_sizes(site, topic, secure, size):
    payload = (bytes(i & 0xff for i in range(251)) * (size // 251 + 1))[:size]
    with site.raw(secure) as c:
        c.connect('sizes')
        c.subscribe(topic, qos=1)
        c.publish(topic, payload, 1)
        got = [c.recv(), c.recv()]
        assert next(p for p in got if p.kind == PUBLISH).payload == payload
        assert all(n > 1 for n in c.ws.sizes)


def test_request_and_connect_in_one(site):
    """The client does not wait for the answer."""
    with Raw(site.port(False)) as c:
        c.send(request() + frame(BINARY, connect_packet('hasty')))
        got = b''
        while b'\x82\x13' not in got and len(got) < 140:
            got += c.sock.recv(4096)
        assert got.startswith(b'HTTP/1.1 101')


@both
def test_ping_and_close(site, secure):
    with site.raw(secure) as c:
        c.connect('pings')
        for payload in (b'', b'hello', b'x' * 125):
            c.ws.sock.sendall(frame(PING, payload))
            assert c.ws.frame() == (PONG, payload)
        c.ws.sock.sendall(frame(PONG, b'unasked'))
        c.ping()
        c.ws.sock.sendall(frame(CLOSE, b'\x0f\xa0bye'))
        assert c.ws.frame() == (CLOSE, b'\x0f\xa0')
        with pytest.raises(ConnectionError):
            c.ws.frame()


def test_pings_are_no_life(brokers):
    """Keep alive is MQTT's: who only pings is gone after 1.5 of it."""
    b = brokers('protocol websockets\n')
    with RawWs(b.port) as c:
        c.connect('alive', keepalive=1)
        start = b.log_size()

        def gone():
            try:
                c.ws.sock.sendall(frame(PING))
            except OSError:
                return True
            return 'keep alive' in b.log(start)
        wait_until(gone, 'the client is dropped')


@both
def test_the_broker_says_goodbye(site, secure):
    """DISCONNECT of MQTT, then a Close, then the end."""
    with site.raw(secure) as old, site.raw(secure) as new:
        old.connect('twice')
        new.connect('twice')
        assert old.closed() == 0x8e
        assert old.ws.close_code() == 1000


@both
@pytest.mark.parametrize('bytes_, code, why', [
    (frame(BINARY, b'\xc0\0', mask=False), 1002, 'not masked'),
    (frame(BINARY, b'\xc0\0', rsv=4), 1002, 'reserved'),
    (frame(BINARY, b'\xc0\0', rsv=1), 1002, 'reserved'),
    (frame(TEXT, b'\xc0\0'), 1003, 'text'),
    (frame(3), 1002, 'does not exist'),
    (frame(CONT), 1002, 'continues'),
    (frame(PING, b'x' * 126), 1002, '125'),
    (frame(PING, fin=False), 1002, 'fragmented'),
    (frame(BINARY, fin=False) + frame(BINARY), 1002, 'inside'),
    (frame(BINARY, length=1 << 63), 1002, r'2\^63'),
    (frame(BINARY, length=(1 << 63) - 1), 1009, 'long'),
    (frame(BINARY, length=1 << 29), 1009, 'long'),
    (frame(CLOSE, b'\x03\xed'), 1002, 'code'),
    (frame(CLOSE, b'\x03\xe8\xff'), 1007, 'UTF-8'),
    (frame(BINARY, fin=False) + 200 * frame(CONT, fin=False), 1008, 'without a byte'),
    (20000 * frame(PING), 1008, 'flood'),
], ids=['unmasked', 'rsv1', 'rsv3', 'text', 'opcode', 'continuation', 'long-ping', 'cut-ping',
        'nested', '2-63', 'huge', 'large', 'code', 'utf8', 'empties', 'pings'])
def test_bad_frames(site, secure, bytes_, code, why):
    """[MQTT-6.0.0-1] and RFC 6455 5 and 7."""
    b = site.brokers[secure]
    start = b.log_size()
    with site.raw(secure) as c:
        c.connect('bad')
        try:
            c.ws.sock.sendall(bytes_)
            assert c.ws.close_code() == code
            with pytest.raises(ConnectionError):
                while True:
                    c.ws.frame()
        except ConnectionError:
            assert why == 'flood'   # it may be answered by a reset
    b.wait_log(r'Client bad disconnected: WebSocket: .*' + why, start)


def test_what_was_said_before_a_close_counts(site, topic):
    b = site.brokers[False]
    with site.raw() as c, site.raw() as p:
        c.connect('hears')
        c.subscribe(topic)
        p.connect('leaves')
        start = b.log_size()
        packets = []
        p.send = packets.append
        p.publish(topic, 'last words', 1)
        p.ws.sock.sendall(frame(BINARY, packets[0]) + frame(CLOSE, b'\x03\xe8'))
        assert c.message().payload == b'last words'
        assert p.ws.close_code() == 1000
    b.wait_log('Client leaves disconnected: closed its connection', start)


def test_mqtt_before_a_fault_counts(site, topic):
    with site.raw() as c, site.raw() as p:
        c.connect('hears')
        c.subscribe(topic)
        p.connect('speaks')
        packets = []
        p.send = packets.append
        p.publish(topic, 'last words')
        p.ws.sock.sendall(frame(BINARY, packets[0]) + frame(TEXT))
        assert c.message().payload == b'last words'
        assert p.ws.close_code() == 1003


@both
@pytest.mark.parametrize('text, status, why', [
    (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 426, 'HTTP request without WebSocket upgrade'),
    (request(version='8'), 426, 'version'),
    (request(protocol=None), 400, 'subprotocol'),
    (request(protocol='chat'), 400, 'subprotocol'),
    (request(first='POST /mqtt HTTP/1.1'), 405, 'GET'),
    (request(first='GET /mqtt HTTP/1.0'), 505, 'HTTP/1.1'),
    (request(more=['Transfer-Encoding: chunked']), 400, 'body'),
    (request(more=['Content-Length: 10']), 400, 'body'),
    (request(more=['Host: other']), 400, 'twice'),
    (request(more=['X-A: b', ' folded']), 400, 'folded'),
    (request(more=['X: ' + 'y' * 9000]), 431, 'websockets_headers_size'),
    (request(more=['X: y'] * 100), 431, '64'),
    (b'GET / HTTP/1.1\nHost: x\n\n', 400, 'CRLF'),
    (request(more=['Upgrade: websocket']), 400, 'twice'),
    (request(more=[f'Sec-WebSocket-Key: {KEY}']), 400, 'twice'),
    (request(more=['X: a\0b']), 400, 'control'),
    (request(first='GET /mqtt HTTP/2.0'), 505, 'HTTP/1.1'),
    (request(first='GET /mqtt HTTP/1.1\r\n folded: x'), 400, 'folded'),
], ids=['page', 'version', 'no-subprotocol', 'subprotocol', 'post', 'http10', 'chunked', 'body',
        'hosts', 'folded', 'long', 'many', 'lf', 'upgrades', 'keys', 'nul', 'http2', 'folded-first'])
def test_bad_requests(site, secure, text, status, why):
    b = site.brokers[secure]
    start = b.log_size()
    answer = http(b.port, text, site.tls(secure))
    assert answer.status == status
    assert answer.fields['connection'] == 'close'
    assert len(answer.body) == int(answer.fields['content-length'])
    if status == 426:
        assert answer.fields['upgrade'] == 'websocket'
        assert answer.fields['sec-websocket-version'] == '13'
    b.wait_log(r'WebSocket upgrade failed: .*' + why, start)


def test_strangers(site, pki):
    """Who does not speak HTTP at all is explained."""
    b = site.brokers[False]
    start = b.log_size()
    with Raw(b.port) as c:
        c.send(connect_packet('plain'))
        assert c.closed() is None
    b.wait_log('MQTT without WebSocket to a WebSocket port', start)
    with pytest.raises(OSError):
        RawWs(b.port, tls=pahoc.tls_context(pki.ca))
    b.wait_log('TLS to a plain WebSocket port', start)
    for data, why in ((b'\r\n', '0x0d'), (b'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n',
                                         'PROXY protocol header')):
        with Raw(b.port) as c:
            c.send(data)
            assert c.closed() is None
        b.wait_log(why, start)
    with Raw(site.port(True)) as c:
        c.send(request())
        assert c.closed() is None
    site.brokers[True].wait_log('TLS handshake failed')


def test_origins(brokers):
    b = brokers('protocol websockets\nwebsockets_origin https://good.example\n'
                'websockets_origin https://other.example:8443\n')
    for origin in ('https://good.example', 'HTTPS://Good.Example', 'https://other.example:8443',
                   None):
        with RawWs(b.port, text=request(origin=origin)) as c:
            c.connect('origin')
    for origin in ('http://good.example', 'https://good.example.evil', 'https://good.example:8443',
                   'https://good.exampl', 'null'):
        start = b.log_size()
        assert http(b.port, request(origin=origin)).status == 403
        b.wait_log(f'Origin {origin} is not allowed by websockets_origin', start)
    # a reload brings other origins, and leaves who is connected alone
    with RawWs(b.port) as c:
        c.connect('stays')
        with open(b.conf_path, encoding='utf-8') as f:
            text = f.read()
        b.write_conf(text.replace('https://good.example', 'https://new.example'))
        start = b.log_size()
        b.hup()
        wait_until(lambda: http_status(b.port, 'https://new.example') == 101, 'the new origin')
        assert http(b.port, request(origin='https://good.example')).status == 403
        c.ping()


def http_status(port, origin):
    try:
        with RawWs(port, text=request(origin=origin)):
            return 101
    except AssertionError as e:
        return int(str(e).split()[0])


def test_certificate_is_the_user(brokers, pki):
    b = brokers(f'protocol websockets\ncertfile {pki.server[0]}\nkeyfile {pki.server[1]}\n'
                f'cafile {pki.ca}\nrequire_certificate true\nuse_identity_as_username true\n',
                anonymous=False)
    with RawWs(b.port, tls=pahoc.tls_context(pki.ca, *pki.client)) as c:
        c.connect('mutual')
    b.wait_log(r"alice")
    with pytest.raises((OSError, Closed)):
        RawWs(b.port, tls=pahoc.tls_context(pki.ca))


def test_half_requests_are_not_waited_for(brokers):
    b = brokers('protocol websockets\nhandshake_timeout 1\n')
    with Raw(b.port) as c:
        c.send(request()[:-2])
        assert c.closed() is None
    b.wait_log('no WebSocket upgrade within 1000 ms')


def test_close_says_why(brokers):
    """RFC 6455 7.4.1: what DISCONNECT has a reason code for, for 3.1.1 too."""
    b = brokers('protocol websockets\nmax_packet_size 1000\n')
    for version in (4, 5):
        with RawWs(b.port, version=version) as c:
            c.connect('large')
            c.publish('t', 'x' * 2000)
            assert c.ws.close_code() == 1009
        with RawWs(b.port, version=version) as c:
            c.connect('wrong')
            c.send(b'\xf5\0')
            assert c.ws.close_code() == 1002
        with RawWs(b.port, version=version) as c:
            c.connect('late', keepalive=1)
            assert c.ws.close_code() == 1008
        with RawWs(b.port, version=version) as c:
            c.connect('leaves')
            c.send(b'\xe0\0')
            assert c.ws.close_code() == 1000
    impatient = brokers('protocol websockets\nconnect_timeout 1\n')
    with RawWs(impatient.port) as c:
        assert c.ws.close_code() == 1008    # no CONNECT


@both
def test_broker_goes_away(brokers, pki, secure):
    tls = f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\n' if secure else ''
    b = brokers('protocol websockets\n' + tls)
    context = pahoc.tls_context(pki.ca) if secure else None
    with RawWs(b.port, tls=context, version=4) as old, RawWs(b.port, tls=context) as c, \
            RawWs(b.port, tls=context) as silent:
        old.connect('old')
        c.connect('new')
        b.process.terminate()
        assert old.ws.close_code() == 1001
        assert c.closed() == 0x8b
        assert c.ws.close_code() == 1001
        assert silent.ws.close_code() == 1001


def test_refused_login(brokers):
    b = brokers('protocol websockets\n', anonymous=False)
    with RawWs(b.port) as c:
        c.send(connect_packet('nobody'))
        assert c.recv().code >= 0x80
        assert c.ws.close_code() == 1008


@pytest.mark.parametrize('size, most', [(1024, 1024), (0, 8192), (40000, 40000)])
def test_headers_size(brokers, size, most):
    b = brokers('protocol websockets\n' f'websockets_headers_size {size}\n')
    empty = len(request(more=['X: ']))
    with RawWs(b.port, text=request(more=['X: ' + 'x' * (most - empty)])) as c:
        c.connect('fits')
    assert http(b.port, request(more=['X: ' + 'x' * (most - empty + 1)])).status == 431


def test_request_byte_by_byte(brokers):
    """Costs what it costs at once: 60 KB in bytes, while another is served."""
    b = brokers('protocol websockets\n' 'websockets_headers_size 65535\n')
    text = request(more=[f'X-{i}: ' + 'x' * 1000 for i in range(50)])
    with Raw(b.port) as c, RawWs(b.port) as other:
        other.connect('other')
        for i, byte in enumerate(text):
            c.send(bytes([byte]))
            if i % 10000 == 0:
                other.ping()
        c.ws = c.sock = WsSocket(c.sock, b'')
        c.connect('slow')


# -- one port for both ---------------------------------------------------------

@both
@pytest.mark.parametrize('ws', [False, True], ids=['mqtt', 'websocket'])
@each_version
def test_either_on_one_port(mixed, topic, secure, ws, version):
    with pahoc.Client(mixed.port(secure), 'either', PAHO[version], tls=mixed.tls(secure),
                      transport='websockets' if ws else 'tcp') as c:
        assert c.subscribe(topic, 1) == [1]
        c.publish(topic, b'x' * 100000, 1)
        assert c.message().payload == b'x' * 100000
    programs.mqttjs_round_trip(mixed.port(secure), version, 2, topic, 20,
                               [mixed.pki.ca] if secure else (), ws=ws)


@both
def test_first_bytes_one_by_one(mixed, topic, secure):
    """Whatever comes in pieces of a byte, the first of them decides."""
    with Raw(mixed.port(secure), tls=mixed.tls(secure)) as m, \
            Raw(mixed.port(secure), tls=mixed.tls(secure)) as w:
        for byte in connect_packet('bytes-mqtt'):
            m.sock.sendall(bytes([byte]))
        assert m.recv().code == 0
        for byte in request():
            w.sock.sendall(bytes([byte]))
        w.ws = w.sock = WsSocket(w.sock, b'')
        for byte in connect_packet('bytes-ws'):
            w.ws.sock.sendall(frame(BINARY, bytes([byte])))
        assert w.recv().code == 0
        for c in (m, w):
            c.subscribe(topic)
        m.publish(topic, 'from mqtt')
        assert [c.message().payload for c in (m, w)] == [b'from mqtt'] * 2
        w.publish(topic, 'from ws')
        assert [c.message().payload for c in (m, w)] == [b'from ws'] * 2
        m.send(b'\xe0\0')
        assert m.closed() is None


def test_alpn_decides(mixed):
    def context(*protocols):
        tls = pahoc.tls_context(mixed.pki.ca)
        tls.set_alpn_protocols(list(protocols))
        return tls
    b = mixed.brokers[True]
    for protocols in (('mqtt',), ('http/1.1', 'mqtt'), ()):
        with Raw(b.port, tls=context(*protocols)) as c:
            c.connect('by-alpn')
            c.ping()
    with RawWs(b.port, tls=context('http/1.1')) as c:
        c.connect('by-alpn')
        c.ping()
    # what was agreed on is what must be spoken
    start = b.log_size()
    with Raw(b.port, tls=context('http/1.1')) as c:
        c.send(connect_packet('x'))
        assert c.closed() is None
    b.wait_log('agreed on http/1.1 by ALPN', start)
    with Raw(b.port, tls=context('mqtt')) as c:
        c.send(request())
        assert c.closed() is None
    b.wait_log('HTTP or WebSocket to an MQTT port', start)


@both
def test_strangers_to_both(mixed, secure):
    b = mixed.brokers[secure]
    start = b.log_size()
    assert http(b.port, b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', mixed.tls(secure)).status == 426
    b.wait_log('HTTP request without WebSocket upgrade', start)
    for bytes_, why in ((b'\x20\0', '0x20|CONNECT'), (b'\r\n', 'not MQTT|0x0d'),
                        (b'\x10\xff\xff\xff\xff', 'fixed header')):
        start = b.log_size()
        with Raw(b.port, tls=mixed.tls(secure)) as c:
            c.send(bytes_)
            assert c.closed() is None
        b.wait_log(why, start)
    start = b.log_size()
    if secure:
        with Raw(b.port) as c:
            c.send(connect_packet('plain'))
            assert c.closed() is None
        b.wait_log('plain MQTT on a TLS port', start)
    else:
        with pytest.raises(OSError):
            Raw(b.port, tls=pahoc.tls_context(mixed.pki.ca))
        b.wait_log('TLS to a plain port', start)


def test_who_says_nothing(brokers):
    b = brokers('protocol mqtt+websockets\n' 'handshake_timeout 1\nconnect_timeout 1\n')
    with Raw(b.port) as silent, Raw(b.port) as half, Raw(b.port) as mqtt:
        half.send(b'GET / HT')
        mqtt.send(connect_packet('x')[:1])
        for c in (silent, half, mqtt):
            assert c.closed() is None
    b.wait_log('no CONNECT or WebSocket upgrade within 1000 ms')
    b.wait_log('no CONNECT within 1000 ms')


def test_origins_of_both(brokers):
    """The list is about pages; MQTT itself has none."""
    b = brokers('protocol mqtt+websockets\nwebsockets_origin https://good.example\n')
    with Raw(b.port) as c:
        c.connect('mqtt')
    with RawWs(b.port, text=request(origin='https://good.example')) as c:
        c.connect('good')
    assert http(b.port, request(origin='https://bad.example')).status == 403


def test_null_origin(brokers):
    """Pages from files have the origin null, which can be listed too."""
    b = brokers('protocol websockets\nwebsockets_origin null\n')
    with RawWs(b.port, text=request(origin='null')) as c:
        c.connect('file')
    assert http(b.port, request(origin='https://null')).status == 403


def test_no_compression(site):
    for offer in ('permessage-deflate', 'permessage-deflate; client_max_window_bits, x-webkit',
                  'x-webkit-deflate-frame'):
        with site.raw(text=request(more=[f'Sec-WebSocket-Extensions: {offer}'])) as c:
            assert 'sec-websocket-extensions' not in c.ws.answer.fields
            c.connect('plain')
            c.ws.sock.sendall(frame(BINARY, b'\xc0\0', rsv=4))
            assert c.ws.close_code() == 1002


def test_many_at_once(brokers, pki, tmp_path):
    """All four ways in on four shards: clients come, send to all, go, and come
    again, while the configuration is read anew."""
    for path in pki.server:     # the broker reads them again without root's rights
        shutil.copy(path, tmp_path)
        (tmp_path / os.path.basename(path)).chmod(0o644)
    cert, key = (tmp_path / os.path.basename(path) for path in pki.server)
    tls = f'certfile {cert}\nkeyfile {key}\n'
    second = free_port()
    b = brokers(f'protocol mqtt+websockets\nlistener {second} {HOST}\nprotocol mqtt+websockets\n'
                + tls, extra_ports=[second])
    context = pahoc.tls_context(pki.ca)
    clients, rounds, each = 16, 3, 15
    failed = []

    def one(i, lap):
        secure, ws = i & 1, i & 2
        kind = RawWs if ws else Raw
        with kind(second if secure else b.port, tls=context if secure else None) as c:
            c.connect(f'many-{i}')
            c.subscribe(f'many/{i}/#')
            for n in range(each):
                c.publish_acked(f'many/{(i + n) % clients}/{lap}', f'{i} {n}', qos=n % 3)

    def run(i):
        try:
            for lap in range(rounds):
                one(i, lap)
        except Exception as e:  # pylint: disable=broad-except
            failed.append((i, repr(e)))
    threads = [threading.Thread(target=run, args=(i,)) for i in range(clients)]
    for t in threads:
        t.start()
    for _ in range(3):
        time.sleep(0.2)
        b.hup()
    for t in threads:
        t.join()
    assert not failed
    assert 'Reload failed' not in b.log()
    with RawWs(second, tls=context) as c:
        c.connect('after')
        c.ping()


@both
@pytest.mark.parametrize('header', [v1(), v2()], ids=['v1', 'v2'])
def test_either_behind_a_proxy(brokers, pki, secure, header):
    tls = f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\n' if secure else ''
    b = brokers(f'protocol mqtt+websockets\nenable_proxy_protocol {1 if header[:1] == b"P" else 2}\n'
                + tls)
    context = pahoc.tls_context(pki.ca) if secure else None
    for name in ('bare', 'framed'):
        with Proxied(b.port, header, tls=context) as c:
            if name == 'framed':
                c.ws = c.sock = WsSocket(c.sock, request())
            c.connect(name)
            c.ping()
        b.wait_log(f'New client connected from 192.0.2.5:6275 as {name}')


@pytest.mark.parametrize('protocol', ['websockets', 'mqtt+websockets'])
def test_over_a_unix_socket(brokers, tmp_path, protocol):
    """As a web server in front would."""
    tmp_path.chmod(0o777)
    path = tmp_path / 'mqtt.sock'
    b = brokers(f'listener 0 {path}\nprotocol {protocol}\n')
    wait_until(lambda: answers(path), 'the socket')
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(str(path))
    with Raw(b.port) as c:
        c.sock.close()
        c.ws = c.sock = WsSocket(sock, request())
        c.connect('by-path')
        c.ping()
        b.process.terminate()
        assert c.closed() == 0x8b
        assert c.ws.close_code() == 1001
