# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol: who is believed, what a header says, and what becomes of
connections whose header is missing, late, forged or broken."""
import re
import socket
import ssl
import time

import pytest

import passwords
import wsraw
from harness import HOST, answers, free_port, wait_until
from proxyraw import (CERT_CONN, CERT_SESS, LOCAL, PROXY, SIGNATURE, SSL, STREAM, TCP4, TCP6, UDP4,
                      UNSPEC, Proxied, ip4, ip6, tls, tlv, v1, v2, v2_checked, with_cert)
from raw import Raw, connect_packet, CONNACK

pytestmark = pytest.mark.ours

UNIX = b'/run/client'.ljust(108, b'\0') + bytes(108)
IDENTITY = ('enable_proxy_protocol 2\nrequire_certificate true\n'
            'use_identity_as_username true\n')


@pytest.fixture(scope='module')
def two(base_folder):
    """A broker with both versions, and a plain port; its ports by name."""
    from conftest import Factory
    factory = Factory(base_folder)
    ports = {'v2': free_port(), 'plain': free_port()}
    b = factory(f'enable_proxy_protocol 1\nlistener {ports["v2"]} {HOST}\n'
                f'enable_proxy_protocol 2\nlistener {ports["plain"]} {HOST}\n',
                extra_ports=list(ports.values()))
    ports['v1'] = b.port
    b.by_name = ports
    yield b
    factory.finish()


def good(version):
    return v1() if version == 'v1' else v2()


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_round_trip(two, topic, version):
    with Proxied(two.by_name[version], good(version)) as s, Raw(two.by_name['plain']) as p:
        s.connect('behind')
        p.connect('before')
        s.subscribe(topic, qos=1)
        p.publish_acked(topic, b'x', 1)
        assert s.message().payload == b'x'


@pytest.mark.parametrize('port,header,address', [
    ('v1', v1('198.51.100.7', 4711), '198.51.100.7:4711'),
    ('v1', v1('2001:db8::7', 4711, 'TCP6', '::1'), '[2001:db8::7]:4711'),
    ('v1', v1('::ffff:198.51.100.8', 4711, 'TCP6', '::1'), '198.51.100.8:4711'),
    ('v1', b'PROXY UNKNOWN\r\n', '127.0.0.1:'),
    ('v1', b'PROXY UNKNOWN \r\n', '127.0.0.1:'),
    ('v1', b'PROXY UNKNOWN some text\r\n', '127.0.0.1:'),
    ('v2', v2(ip4('198.51.100.7', 4711)), '198.51.100.7:4711'),
    ('v2', v2(ip6('2001:db8::7', 4711), family=TCP6), '[2001:db8::7]:4711'),
    ('v2', v2(UNIX, family=STREAM), 'unix /run/client'),
    ('v2', v2(bytes(216), family=STREAM), 'unix'),
    ('v2', v2(b'', command=LOCAL, family=UNSPEC), '127.0.0.1:'),
    ('v2', v2(fields=tlv(4, bytes(300)) + tlv(0xe0, b'?') + tlv(5, b'id')), '192.0.2.5:6275'),
    ('v2', v2_checked(), '192.0.2.5:6275'),
    ('v2', v2_checked(tls(cipher=b'x')), '192.0.2.5:6275'),
], ids=repr)
def test_address(two, port, header, address):
    """The client's address is the header's in the log."""
    start = two.log_size()
    with Proxied(two.by_name[port], header) as c:
        c.connect('where')
        c.ping()
    two.wait_log('New client connected from ' + re.escape(address) + r'\S* as where', start)


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('step', [1, 7])
def test_in_pieces(two, version, step):
    header = good(version) + connect_packet('pieces')
    with Proxied(two.by_name[version], b'') as c:
        for i in range(0, len(header), step):
            c.send(header[i:i + step])
        assert c.expect(CONNACK).code == 0
        c.ping()


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_together_with_connect(two, version):
    with Proxied(two.by_name[version], good(version), together=connect_packet('together')) as c:
        assert c.expect(CONNACK).code == 0


V4 = ip4()
BAD_V1 = {
    'mqtt': connect_packet('bare'),
    'version 2': v2(),
    'tls': b'\x16\x03\x01\x02\x00',
    'transport': b'PROXY TCP3 192.0.2.5 127.0.0.1 6275 1234\r\n',
    'small': b'proxy TCP4 192.0.2.5 127.0.0.1 6275 1234\r\n',
    'too long': b'PROXY UNKNOWN ' + b'x' * 200 + b'\r\n',
    'endless': b'PROXY UNKNOWN ' + b'x' * 100_000,
    'bare lf': b'PROXY TCP4 192.0.2.5 127.0.0.1 6275 1234\n',
    'one port': b'PROXY TCP4 192.0.2.5 127.0.0.1 6275\r\n',
    'no address': b'PROXY TCP4 \r\n',
    'port 0': b'PROXY TCP4 192.0.2.5 127.0.0.1 0 1234\r\n',
    'port 65536': b'PROXY TCP4 192.0.2.5 127.0.0.1 65536 1234\r\n',
    'more': b'PROXY TCP4 192.0.2.5 127.0.0.1 1 2 3\r\n',
    'source': b'PROXY TCP4 192.0.2.256 127.0.0.1 1 2\r\n',
    'mixed': b'PROXY TCP6 192.0.2.5 127.0.0.1 1 2\r\n',
}
BAD_V2 = {
    'mqtt': connect_packet('bare'),
    'version 1': v1(),
    'signature': b'\r\n\r\n\0\r\nQUIT\x0b' + b'\x21\x11\x00\x0c' + V4,
    'version 3': SIGNATURE + b'\x31\x11\x00\x0c' + V4,
    'command': v2(command=0x23),
    'unspecified': v2(family=UNSPEC),
    'udp': v2(family=UDP4),
    'family 4': v2(family=0x41),
    'short v4': v2(V4[:11]),
    'short v6': v2(ip6()[:35], family=TCP6),
    'short unix': v2(b'/path', family=STREAM),
    'empty v4': v2(b''),
    'longest': SIGNATURE + b'\x21\x11\xff\xff',
    'half a field': v2(fields=b'\x04\x00'),
    'field too long': v2(fields=b'\x04\x00\x02x'),
    'tls too short': v2(fields=tlv(0x20, b'\x01\0\0')),
    'tls field too long': v2(fields=tlv(0x20, b'\x01\0\0\0\0\x22\x00\x07abc')),
    'name twice': v2(fields=tlv(0x20, b'\x07\0\0\0\0' + tlv(0x22, b'a') + tlv(0x22, b'b'))),
    'checksum': v2_checked(wrong=1),
    'checksum of 3': v2(fields=tlv(3, b'abc')),
}


@pytest.mark.parametrize('version,name', [('v1', n) for n in BAD_V1] + [('v2', n) for n in BAD_V2])
def test_bad_header(two, version, name):
    """Refused at once with one line in the log and not a byte for the
    sender; nobody else notices."""
    header = (BAD_V1 if version == 'v1' else BAD_V2)[name]
    with Raw(two.by_name['plain']) as other:
        other.connect('other')
        start = two.log_size()
        with Proxied(two.by_name[version], b'') as c:
            me = f'Connection from 127.0.0.1:{c.sock.getsockname()[1]} '
            try:
                c.send(header)
            except OSError:
                pass
            assert c.closed() is None
            assert c.pending == b''
        two.wait_log('bad PROXY header: ', start)
        other.ping()
        lines = [x for x in two.log(start).splitlines() if me in x]
        assert len(lines) == 1, lines


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_broken_off(two, version):
    """Every length short of the whole."""
    for n in range(len(good(version))):
        with Proxied(two.by_name[version], good(version)[:n]):
            pass
    with Proxied(two.by_name[version], good(version)) as c:
        c.connect('after')
    assert two.alive()


def test_late_header(brokers):
    """The deadline is absolute, however busy the sender is."""
    b = brokers('connect_timeout 2\nenable_proxy_protocol 1\n')
    start = b.log_size()
    with Proxied(b.port, b'PROXY UNKNOWN ') as c:
        with pytest.raises(OSError):
            for _ in range(80):		# more would be too long a line
                c.send(b'x')
                time.sleep(0.1)
    b.wait_log('no PROXY header within 2000 ms', start)


def test_no_header_on_a_plain_port(two):
    """Who speaks PROXY where nobody asked is refused as any noise."""
    for header in (v1(), v2()):
        with Proxied(two.by_name['plain'], header) as c:
            assert c.closed() is None
    two.wait_log('a PROXY header to a listener without enable_proxy_protocol')


# -- who is believed --

def others_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(('192.0.2.1', 9))
            mine = s.getsockname()[0]
        except OSError:
            return None
    return None if mine.startswith('127.') else mine


def test_only_these_proxies(brokers):
    b = brokers('enable_proxy_protocol 2\nproxy_protocol_from 10.9.8.7 127.0.0.2/31\n')
    with Proxied(b.port, v2(), source='127.0.0.2') as c:
        c.connect('believed')
    start = b.log_size()
    with Proxied(b.port, v2(), source='127.0.0.1') as c:
        assert c.closed() is None
    b.wait_log('127.0.0.1:[0-9]+ refused: it may not speak for others.*proxy_protocol_from', start)


def test_only_this_machine_by_default(brokers):
    mine = others_address()
    if not mine:
        pytest.skip('no address but loopback')
    port = free_port()
    b = brokers(f'enable_proxy_protocol 2\nlistener {port} {mine}\nenable_proxy_protocol 2\n')
    start = b.log_size()
    with socket.create_connection((mine, port), 4) as s:
        s.sendall(v2() + connect_packet('forged'))
        with pytest.raises(ConnectionError):
            if not s.recv(1):
                raise ConnectionError
    b.wait_log(f'{re.escape(mine)}:[0-9]+ refused: it may not speak for others', start)
    b.wait_log('believed from this machine only')


def test_reload_of_the_list(brokers):
    b = brokers('enable_proxy_protocol 2\nproxy_protocol_from 10.9.8.7\n')
    with Proxied(b.port, v2()) as c:
        assert c.closed() is None
    with open(b.conf_path, encoding='utf-8') as f:
        text = f.read()
    b.write_conf(text.replace('10.9.8.7', '127.0.0.1'))
    start = b.log_size()
    b.hup()
    b.wait_log('Reloaded', start)
    with Proxied(b.port, v2()) as c:
        c.connect('believed')


# -- addresses in what they are for --

def refused_connections(port, header, n, until=None):
    """How many of n connections with this header were cut, or of fewer when so
    many were."""
    cut = 0
    for i in range(n):
        with Proxied(port, header) as c:
            try:
                c.connect(f'burst-{i}')
            except (AssertionError, OSError, Exception):  # pylint: disable=broad-except
                cut += 1
        if cut == until:
            break
    return cut


@pytest.mark.parametrize('version', [1, 2])
def test_connections_per_second_is_the_clients(brokers, version):
    b = brokers(f'connections_per_second 1\nenable_proxy_protocol {version}\n')
    mine, other = (v1('198.51.100.1'), v1('198.51.100.2')) if version == 1 else \
        (v2(ip4('198.51.100.1')), v2(ip4('198.51.100.2')))
    assert refused_connections(b.port, mine, 300, until=1) == 1
    assert refused_connections(b.port, other, 5) == 0


def test_failed_logins_are_the_clients(brokers, tmp_path):
    path = tmp_path / 'passwords'
    path.write_text(passwords.sha512('user', 'right'))
    path.chmod(0o600)
    tmp_path.chmod(0o755)
    b = brokers(f'failed_logins_per_minute 3\nenable_proxy_protocol 2\npassword_file {path}\n',
                anonymous=False)

    def login(source, password, want):
        with Proxied(b.port, v2(ip4(source))) as c:
            c.send(connect_packet('guess', username='user', password=password))
            assert c.expect(CONNACK).code == want
    for _ in range(4):
        login('198.51.100.1', 'wrong', 0x87)
    login('198.51.100.1', 'right', 0x9f)
    login('198.51.100.2', 'right', 0)


# -- TLS that ended at the proxy --

def test_tls_is_told(two):
    start = two.log_size()
    with Proxied(two.by_name['v2'], v2(fields=tls(cipher=b'pqrstuv\n'))) as c:
        c.connect('told')
    two.wait_log(r'New connection from 192.0.2.5:6275 on port \d+, by the proxy 127.0.0.1:\d+, '
                 r'TLS there: TLSv1.3 pqrstuv\\', start)


def test_require_tls(brokers):
    b = brokers('enable_proxy_protocol 2\nproxy_protocol_v2_require_tls true\n')
    with Proxied(b.port, v2(fields=tls())) as c:
        c.connect('safe')
    start = b.log_size()
    for header in (v2(), v2(fields=tls(client=0)), v2(b'', command=LOCAL, family=UNSPEC)):
        with Proxied(b.port, header) as c:
            assert c.closed() is None
    b.wait_log('192.0.2.5:6275 closed: it came to its proxy without TLS', start)


NO_CERT = {
    'no tls': b'',
    'no certificate': tls(),
    'not verified': with_cert(b'alice', verify=1),
    'not of this session': tls(SSL | CERT_CONN, cn=b'alice'),
    'no tls, yet a certificate': tls(CERT_CONN | CERT_SESS, cn=b'alice'),
}


@pytest.mark.parametrize('case', NO_CERT)
def test_require_certificate(brokers, case):
    b = brokers('enable_proxy_protocol 2\nrequire_certificate true\n')
    start = b.log_size()
    with Proxied(b.port, v2(fields=NO_CERT[case])) as c:
        assert c.closed() is None
    b.wait_log('192.0.2.5:6275 closed: its proxy had no certificate', start)
    with Proxied(b.port, v2(fields=with_cert(b'alice'))) as c:
        c.connect('certain')


def test_identity(brokers):
    b = brokers(IDENTITY, anonymous=False)
    with Proxied(b.port, v2(fields=with_cert(b'alice'))) as c:
        c.connect('device', username='none', password='pw')
    b.wait_log("New client connected from 192.0.2.5:6275 as device .*u'alice'")
    # a session is its owner's
    with Proxied(b.port, v2(fields=with_cert(b'alice'))) as c:
        c.connect('device', clean=False, props={'session_expiry': 60})
        with Proxied(b.port, v2(fields=with_cert(b'mallory'))) as m:
            m.connect('device', want=0x85)
        c.ping()


@pytest.mark.parametrize('name', [b'', b'a\0b', b'a\nb', b'#', b'+', b'\xff\xfe', None])
def test_bad_identity(brokers, name):
    b = brokers(IDENTITY, anonymous=False)
    with Proxied(b.port, v2(fields=tls(SSL | CERT_CONN | CERT_SESS, cn=name))) as c:
        c.send(connect_packet('device', username='alice', password='pw'))
        assert c.expect(CONNACK).code in (0x86, 0x87)


def test_identity_needs_a_good_certificate(brokers):
    """Without require_certificate too."""
    b = brokers('enable_proxy_protocol 2\nuse_identity_as_username true\n', anonymous=False)
    for fields in NO_CERT.values():
        with Proxied(b.port, v2(fields=fields)) as c:
            c.send(connect_packet('device', username='alice', password='pw'))
            assert c.expect(CONNACK).code in (0x86, 0x87)
    with Proxied(b.port, v2(fields=with_cert(b'alice'))) as c:
        c.connect('device')


# -- what stands behind the header --

def tls_conf(pki, extra=''):
    return f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\n{extra}'


def client_context(pki, cert=None):
    ctx = ssl.create_default_context(cafile=pki.ca)
    if cert:
        ctx.load_cert_chain(*cert)
    return ctx


@pytest.mark.parametrize('version', ['1', '2'])
def test_tls_behind_it(brokers, pki, version):
    b = brokers(tls_conf(pki, f'enable_proxy_protocol {version}\n'))
    header = v1() if version == '1' else v2()
    with Proxied(b.port, header, tls=client_context(pki)) as c:
        c.connect('inner')
    b.wait_log('New client connected from 192.0.2.5:6275 as inner')


def test_tls_here_counts(brokers, pki):
    """Where TLS ends at the broker, no header makes a certificate."""
    b = brokers(tls_conf(pki, f'cafile {pki.ca}\n{IDENTITY}'), anonymous=False)
    fields = with_cert(b'mallory')
    with Proxied(b.port, v2(fields=fields), tls=client_context(pki, pki.client)) as c:
        c.connect('inner')
    b.wait_log("as inner .*u'alice'")
    with pytest.raises((OSError, AssertionError, Exception)):
        with Proxied(b.port, v2(fields=fields), tls=client_context(pki)) as c:
            c.connect('inner')
    assert 'mallory' not in b.log()


@pytest.mark.parametrize('secure', [False, True])
def test_websocket_behind_it(brokers, pki, secure):
    b = brokers((tls_conf(pki) if secure else '') + 'protocol websockets\nenable_proxy_protocol 2\n')
    with Proxied(b.port, v2(), tls=client_context(pki) if secure else None) as c:
        c.sock = wsraw.WsSocket(c.sock, wsraw.request())
        c.sock.settimeout = lambda t: None
        c.connect('framed')
    b.wait_log('New client connected from 192.0.2.5:6275 as framed')


@pytest.mark.parametrize('framed', [False, True])
def test_either_behind_it(brokers, framed):
    """MQTT and WebSocket on one port."""
    b = brokers('protocol mqtt+websockets\nenable_proxy_protocol 2\n')
    with Proxied(b.port, v2()) as c:
        if framed:
            c.sock = wsraw.WsSocket(c.sock, wsraw.request())
            c.sock.settimeout = lambda t: None
        c.connect('either')
    b.wait_log('New client connected from 192.0.2.5:6275 as either')


def test_identity_as_clientid(brokers):
    """The certificate's name, on whatever shard, and not the one it claims."""
    b = brokers(IDENTITY + 'use_username_as_clientid true\n', anonymous=False)
    for name in ('alice', 'bert', 'clara', 'dora'):
        with Proxied(b.port, v2(fields=with_cert(name.encode()))) as c:
            c.connect('other', username='victim', password='x')
        b.wait_log(f"as {name} .*u'{name}'")


def test_over_a_unix_socket(brokers, tmp_path):
    path = tmp_path / 'mqtt.sock'
    tmp_path.chmod(0o777)
    b = brokers(f'listener 0 {path}\nenable_proxy_protocol 2\n')
    wait_until(lambda: answers(path), 'the socket')
    with Proxied(None, v2(), path=str(path)) as c:
        c.connect('local')
    b.wait_log('New client connected from 192.0.2.5:6275 as local')


# -- the rest --

def quiet(brokers, version):
    """A broker with the log that operators have."""
    port = free_port()
    b = brokers(f'listener {port} {HOST}\nenable_proxy_protocol {version}\n'
                f'allow_anonymous true\n', anonymous=False, listener=False, port=port)
    with open(b.conf_path, encoding='utf-8') as f:
        text = f.read()
    b.write_conf(text.replace('log_type all\n', ''))
    start = b.log_size()
    b.hup()
    b.wait_log('Reloaded', start)
    return b


def test_health_checks_are_quiet(brokers):
    b = quiet(brokers, 2)
    start = b.log_size()
    for _ in range(3):
        with Proxied(b.port, v2(b'', command=LOCAL, family=UNSPEC)):
            pass
    for _ in range(3):
        # gone before it is looked at, as HAProxy does it
        s = socket.create_connection((HOST, b.port), 5)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        s.close()
    with Proxied(b.port, v2()) as c:
        c.connect('after')
    b.wait_log('as after', start)
    assert not re.search('127.0.0.1:[0-9]+ (closed|refused: it may not)', b.log(start))


def test_health_checks_of_version_1_are_quiet(brokers):
    """There the proxy names itself."""
    b = quiet(brokers, 1)
    start = b.log_size()
    for _ in range(3):
        with Proxied(b.port, b'') as c:
            c.send(v1('127.0.0.1', c.sock.getsockname()[1]))
    with Proxied(b.port, v1()) as c:
        c.connect('after')
    b.wait_log('as after', start)
    assert not re.search('127.0.0.1:[0-9]+ closed', b.log(start))


def test_storm_of_headers(two, topic):
    """Thousands of halves and whole ones; others go on, memory stays."""
    with Raw(two.by_name['plain']) as other:
        other.connect('calm')
        other.subscribe(topic)
        before = two.rss_kib()
        open_ones = []
        for i in range(400):
            s = socket.create_connection((HOST, two.by_name['v2']), 5)
            s.sendall(v2()[:1 + i % 27] if i % 2 else SIGNATURE + b'\x21\x11\x1f\xf0')
            open_ones.append(s)
            if i % 50 == 0:
                other.publish(topic, b'x')
                assert other.message().payload == b'x'
        if not two.sanitized():
            assert two.rss_kib() - before < 8192
        for s in open_ones:
            s.close()
        other.ping()


BAD_CONF = {
    'proxy_protocol_v2_require_tls true': 'proxy_protocol_v2_require_tls without',
    'enable_proxy_protocol 1\nproxy_protocol_v2_require_tls true': 'proxy_protocol_v2_require_tls',
    'enable_proxy_protocol 0': 'enable_proxy_protocol',
    'enable_proxy_protocol 3': 'enable_proxy_protocol',
    'enable_proxy_protocol 1\nrequire_certificate true': 'require_certificate is about TLS',
    'enable_proxy_protocol 2\nuse_subject_as_username true': 'use_subject_as_username',
    'proxy_protocol_from 10.0.0.1': 'proxy_protocol_from without',
    'enable_proxy_protocol 2\nproxy_protocol_from proxy.example': 'proxy.example',
    'enable_proxy_protocol 2\nproxy_protocol_from 10.0.0.1/8': '10.0.0.1/8',
}


@pytest.mark.parametrize('conf', BAD_CONF)
def test_bad_configuration(brokers, conf):
    brokers(conf + '\n', start=False).refuses(re.escape(BAD_CONF[conf]))


def test_version_is_the_commands(two):
    """The command and the version share a byte."""
    assert PROXY >> 4 == 2
    with Proxied(two.by_name['v2'], v2(family=TCP4)) as c:
        c.connect('v2')
