# SPDX-License-Identifier: Apache-2.0
"""The ways from our clients to a broker: WebSocket, SOCKS5, SRV records, and
options from a file."""
import contextlib
import os
import socket
import struct
import subprocess
import sys

import pytest

from harness import HOST, MOSQUITTO, NIGHTJAR, free_port, wait_until
from peer import Peer, Program, start
from raw import PUBLISH, Closed
from socksproxy import Proxy
from wsraw import BINARY, CLOSE, CONT, PING, TEXT, frame

pytestmark = pytest.mark.ours


@pytest.fixture(scope='module')
def sites(base_folder, pki):
    """{(websocket, tls): broker}"""
    from conftest import Factory
    factory = Factory(base_folder)
    tls = f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\n'
    ws = 'protocol websockets\n'
    yield {(False, False): factory(), (True, False): factory(ws), (False, True): factory(tls),
           (True, True): factory(ws + tls)}
    factory.finish()


def run(name, *args, status=0, **kw):
    with Program([NIGHTJAR, name, *args], **kw) as p:
        return p.ends(status).decode(), p.text()


def where(pki, broker, ws, tls, host=HOST):
    return (['-h', host, '-p', str(broker.port)] + (['--ws'] if ws else []) +
            (['--cafile', pki.ca] if tls else []))


# -- WebSocket

@pytest.mark.parametrize('tls', [False, True], ids=['ws', 'wss'])
@pytest.mark.parametrize('version', ['mqttv31', 'mqttv311', 'mqttv5'])
@pytest.mark.parametrize('qos', ['0', '2'])
def test_websocket(sites, pki, topic, tls, version, qos):
    to = where(pki, sites[True, tls], True, tls) + ['-V', version, '-q', qos, '-t', topic]
    with Program([NIGHTJAR, 'sub', *to, '-C', '101', '-d', '-F', '%l']) as sub:
        sub.printed(b'Subscribed')
        run('pub', *to, '-l', stdin=b'line\n' * 100)
        run('pub', *to, '-s', stdin=b'x' * 300000)
        out = [x for x in sub.ends().splitlines() if x.isdigit()]
    assert out == [b'4'] * 100 + [b'300000']


@pytest.mark.parametrize('tls', [False, True], ids=['ws', 'wss'])
def test_websocket_by_url(sites, pki, topic, tls):
    url = f'ws{"s" * tls}://localhost:{sites[True, tls].port}/{topic}'
    more = ['--cafile', pki.ca] if tls else []
    run('pub', '-L', url, *more, '-m', 'x', '-r', '-q', '1')
    assert run('sub', '-L', url, *more, '-C', '1')[0] == 'x\n'
    run('pub', '-L', url, *more, '-n', '-r', '-q', '1')


@pytest.mark.skipif(not MOSQUITTO, reason='Mosquitto: the broker is not there')
def test_websocket_to_mosquitto(base_folder, topic):
    port, plain = free_port(), free_port()
    conf = os.path.join(base_folder, 'mosquitto-ws.conf')
    with open(conf, 'w', encoding='ascii') as f:
        f.write(f'user root\nlistener {plain} {HOST}\nlistener {port} {HOST}\nprotocol websockets\n'
                'allow_anonymous true\n')
    with subprocess.Popen([MOSQUITTO, '-c', conf], stderr=subprocess.DEVNULL) as broker:
        try:
            wait_until(lambda: socket.socket().connect_ex((HOST, port)) == 0, 'mosquitto listens')
            to = ['-h', HOST, '-p', str(port), '--ws', '-t', topic, '-q', '1', '-V', '5']
            run('pub', *to, '-r', '-s', stdin=b'y' * 100000)
            assert run('sub', *to, '-C', '1')[0] == 'y' * 100000 + '\n'
        finally:
            broker.kill()


def test_what_a_websocket_client_asks():
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '--ws', '-C', '1') as p:
        c = peer.take_ws()
        assert c.request.startswith('GET /mqtt HTTP/1.1\r\n')
        f = c.fields
        assert (f['host'], f['upgrade'], f['connection']) == (f'{HOST}:{peer.port}', 'websocket',
                                                              'upgrade')
        assert (f['sec-websocket-version'], f['sec-websocket-protocol']) == ('13', 'mqtt')
        assert 'sec-websocket-extensions' not in f and 'origin' not in f
        c.subscribed()
        c.publish('a', b'x')
        c.farewell()
        assert p.ends() == b'x\n'
        assert c.controls[-1] == (0x88, b'\x03\xe8')


def test_websocket_fragments_and_pings():
    """A packet in pieces, a ping between them, several packets in a frame."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '--ws', '-C', '3') as p:
        c = peer.take_ws()
        c.subscribed()
        one = b'\x30\x05\x00\x01a\x00x'
        for i, byte in enumerate(one):
            c.plain.sendall(frame(CONT if i else BINARY, bytes([byte]), fin=i == len(one) - 1,
                                  mask=False))
            if i == 2:
                c.plain.sendall(frame(PING, b'hello', mask=False))
        c.plain.sendall(frame(BINARY, one + one, mask=False))
        c.farewell()
        assert p.ends() == b'x\n' * 3
        assert (0x8a, b'hello') in c.controls


@pytest.mark.parametrize('answer,word', [
    (lambda c: 'HTTP/1.1 403 Forbidden\r\n\r\n', '403'),
    (lambda c: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', '200'),
    (lambda c: c.answer(accept='AAAAAAAAAAAAAAAAAAAAAAAAAAA='), 'knowledge of our key'),
    (lambda c: c.answer(protocol='chat'), 'subprotocol'),
    (lambda c: c.answer().replace('Sec-WebSocket-Protocol: mqtt\r\n', ''), 'subprotocol'),
    (lambda c: c.answer(more='Sec-WebSocket-Extensions: permessage-deflate\r\n'), 'extension'),
    (lambda c: c.answer().replace('Upgrade: websocket\r\n', ''), 'does not upgrade'),
    (lambda c: c.answer(more=f'Sec-WebSocket-Accept: {c.accept_key}\r\n'), 'twice'),
    (lambda c: 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 'not HTTP'),
    (lambda c: 'HTTP/1.1 101 x\r\n' + 'X: y\r\n' * 3000, 'no HTTP'),
], ids=lambda v: v if isinstance(v, str) else '')
def test_websocket_refusals(answer, word):
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '--ws', '-m', 'x') as p:
        c = peer.take_ws(answer)
        with pytest.raises(Closed):	# without a byte of MQTT
            c.frame()
        p.ends(2)
        assert word in p.text() and 'To mend it' in p.text(), p.text()


@pytest.mark.parametrize('bad,code', [
    (frame(BINARY, b'x', mask=True), 1002), (frame(TEXT, b'x', mask=False), 1003),
    (frame(BINARY, b'x', mask=False, rsv=4), 1002), (frame(CONT, b'x', mask=False), 1002),
    (frame(PING, b'x' * 126, mask=False), 1002), (frame(3, b'', mask=False), 1002),
    (frame(BINARY, b'', mask=False) * 200, 1008),
    (b'\x82\x7f' + struct.pack('>Q', 1 << 63), 1002),
], ids=lambda v: '' if isinstance(v, bytes) else str(v))
def test_websocket_hostile_frames(bad, code):
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '--ws') as p:
        c = peer.take_ws()
        c.subscribed()
        c.plain.sendall(bad)
        with pytest.raises(Closed):
            while True:
                c.controls.append(c.frame())
        assert [x for x in c.controls if x[0] == 0x88] == [(0x88, struct.pack('>H', code))]
        p.ends(2)


@pytest.mark.parametrize('code,status', [(1000, 7), (1001, 7), (None, 7), (1011, 2)])
def test_websocket_close(code, status):
    with Peer() as peer, start(peer, 'rr', '-t', 'a', '-e', 'b', '-m', 'x', '--ws') as p:
        c = peer.take_ws()
        c.subscribed()
        c.expect(PUBLISH)
        c.plain.sendall(frame(CLOSE, struct.pack('>H', code) + b'gone away' if code else b'',
                              mask=False))
        assert c.frame() == (0x88, struct.pack('>H', code) if code else b'')
        p.ends(status)
        assert status == 7 or 'gone away' in p.text()


def test_not_a_websocket(sites, pki):
    for ws, tls, args in ((False, False, ['--ws']), (True, False, []), (False, True, ['--ws'])):
        b = sites[ws, tls]
        with Program([NIGHTJAR, 'pub', '-h', HOST, '-p', b.port, *args, '-t', 'a', '-m', 'x']) as p:
            assert p.status() != 0
            assert 'To mend it' in p.text()


# -- SOCKS5

@pytest.mark.parametrize('ws,tls', [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize('login', [None, 'anna:p%3Aw%40x%25', 'anna'])
def test_socks(sites, pki, topic, ws, tls, login):
    users = None if login is None else {'anna': 'p:w@x%' if ':' in login else ''}
    b = sites[ws, tls]
    with Proxy(users) as proxy:
        url = f'socks5h://{login + "@" if login else ""}{HOST}:{proxy.port}'
        to = where(pki, b, ws, tls, 'localhost') + ['--proxy', url, '-t', topic, '-q', '1']
        run('pub', *to, '-m', 'x', '-r')
        assert run('sub', *to, '-C', '1')[0] == 'x\n'
        run('pub', *to, '-n', '-r')
        assert set(proxy.asked) == {(3, 'localhost', b.port)}
        assert set(proxy.logins) == (set() if users is None else {tuple(*users.items())})


def test_socks_resolves_at_the_proxy(sites, topic):
    b = sites[False, False]
    with Proxy(names={'only.the.proxy.knows': HOST}) as proxy:
        run('pub', '-h', 'only.the.proxy.knows', '-p', str(b.port), '--proxy',
            f'socks5h://{HOST}:{proxy.port}',
            '-t', topic, '-m', 'x', '-q', '1')
        run('pub', '-h', HOST, '-p', str(b.port), '--proxy', f'socks5h://{HOST}:{proxy.port}',
            '-t', topic, '-m', 'x', '-q', '1')
        assert proxy.asked == [(3, 'only.the.proxy.knows', b.port), (1, HOST, b.port)]


@pytest.mark.parametrize('users,reply,url,word', [
    ({'a': 'b'}, 0, '{}', 'wants a login'), ({'a': 'b'}, 0, 'a:c@{}', 'refuses the user name'),
    (None, 2, '{}', 'does not allow'), (None, 5, '{}', 'nobody listening'),
    (None, 99, '{}', 'without a known reason'),
])
def test_socks_refusals(users, reply, url, word):
    with Proxy(users, reply) as proxy:
        _, err = run('pub', '-h', 'x', '--proxy', 'socks5h://' + url.format(f'{HOST}:{proxy.port}'),
                     '-t', 'a', '-m', 'x', status=1)
        assert word in err


@pytest.mark.parametrize('said', [b'HTTP/1.1 400 Bad\r\n', b'\x04\x00', b'\x05\x01', b'',
                                  b'\x05\x00\x05\x00\x00\x09'])
def test_socks_hostile(said):
    with Peer() as peer, Program([NIGHTJAR, 'pub', '-h', 'x', '--proxy', f'socks5h://{HOST}:{peer.port}',
                                  '-t', 'a', '-m', 'x']) as p:
        c = peer.take()
        c.fill(3, 5)
        with contextlib.suppress(OSError):	# it may be gone already
            c.send(said)
            c.sock.shutdown(socket.SHUT_WR)
        assert p.status() in (1, 2, 7)
        assert 'the proxy' in p.text()


@pytest.mark.parametrize('url', ['http://x', 'socks5h://', 'socks5h://a:b:c@x', 'socks5h://x:0',
                                 'socks5h://%41@x', 'socks5://x', 'socks5h://@x'])
def test_socks_urls(url):
    _, err = run('pub', '-h', 'x', '--proxy', url, '-t', 'a', '-m', 'x', status=1)
    assert '--proxy' in err


def test_proxy_login_is_hidden():
    """Other users do not see it in the list of processes."""
    with Peer() as peer, Program([NIGHTJAR, 'pub', '-h', 'x', '--proxy',
                                  f'socks5h://anna:secret@{HOST}:{peer.port}', '-t', 'a', '-m',
                                  'x']) as p:
        peer.take()
        with open(f'/proc/{p.process.pid}/cmdline', 'rb') as f:
            assert b'secret' not in f.read()


# -- SRV records

DNS = """
import socket, struct, sys
records = {line.split()[0]: [r.split() for r in line.split(None, 1)[1].strip().split(',')]
           for line in open(sys.argv[1])}
def name(n):
    return b''.join(bytes([len(p)]) + p.encode() for p in n.rstrip('.').split('.') if p) + b'\\0'
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[2], 53))
print('ready', flush=True)
while True:
    q, who = s.recvfrom(4096)
    at, labels = 12, []
    while q[at]:
        labels.append(q[at + 1:at + 1 + q[at]].decode().lower())
        at += 1 + q[at]
    kind = struct.unpack('>H', q[at + 1:at + 3])[0]
    found = records.get('.'.join(labels), []) if kind == 33 else []
    if kind == 1 and labels[-1] == 'test':
        found = [None]
    out = q[:2] + struct.pack('>HHHHH', 0x8180 | (0 if found else 3), 1, len(found), 0, 0) + q[12:at + 5]
    for r in found:
        data = bytes([127, 0, 0, 1]) if r is None else \
            struct.pack('>HHH', *map(int, r[:3])) + name(r[3])
        out += b'\\xc0\\x0c' + struct.pack('>HHIH', kind, 1, 60, len(data)) + data
    s.sendto(out, who)
"""
SCRIPT = """
mount --bind "$1/resolv.conf" /etc/resolv.conf || exit 99
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf || exit 99
folder=$1 python=$2 address=$3; shift 3
"$python" "$folder/dns.py" "$folder/records" "$address" > "$folder/ready" & dns=$!
for i in $(seq 100); do grep -q ready "$folder/ready" && break; sleep 0.05; done
"$@"; status=$?
kill $dns; exit $status
"""


@pytest.fixture
def with_dns(tmp_path):
    """Runs a command in a namespace whose DNS has these records."""
    if subprocess.run(['unshare', '-m', 'true'], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip('mount namespaces are not allowed here')
    (tmp_path / 'dns.py').write_text(DNS, encoding='utf-8')
    # One of our own, so that two runs at once do not meet.
    address = f'127.53.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}'
    (tmp_path / 'resolv.conf').write_text(f'nameserver {address}\nsearch home.test\n',
                                          encoding='utf-8')
    (tmp_path / 'nsswitch.conf').write_text('hosts: files dns\n', encoding='utf-8')

    def go(records, argv, status=0):
        (tmp_path / 'records').write_text(''.join(f'{k} {v}\n' for k, v in records.items()),
                                          encoding='utf-8')
        with Program(['unshare', '-m', 'sh', '-c', SCRIPT, 'sh', tmp_path, sys.executable,
                      address, *argv]) as p:
            got = p.status()
            if got == 99:
                pytest.skip('bind mounts are not allowed here')
            assert got == status, p.text()
            return p.out.decode(), p.text()
    return go


def test_srv(sites, with_dns, topic):
    """By priority: what nobody listens on is passed over."""
    b, none = sites[False, False], free_port()
    records = {'_mqtt._tcp.example.test':
               f'20 0 {b.port} second.test,10 5 {none} first.test,10 0 {none} first.test'}
    argv = [NIGHTJAR, 'pub', '-S', '-t', topic, '-m', 'x', '-q', '1', '-d']
    with_dns(records, [*argv, '-h', 'example.test'])
    # Without -h the domain is this machine's.
    with_dns({'_mqtt._tcp.home.test': f'1 1 {b.port} any.test'}, argv)
    _, err = with_dns({}, [*argv, '-h', 'example.test'], status=1)
    assert 'no SRV record' in err
    _, err = with_dns({'_mqtt._tcp.example.test': '0 0 0 .'}, [*argv, '-h', 'example.test'], status=1)
    assert 'no MQTT broker' in err


def test_srv_with_tls(sites, with_dns, topic, pki):
    """The certificate must name the domain, whatever DNS says the target is."""
    b = sites[False, True]
    argv = [NIGHTJAR, 'pub', '-S', '--cafile', pki.ca, '-t', topic, '-m', 'x', '-q', '1', '-h']
    record = f'1 1 {b.port} target.test'
    with_dns({'_secure-mqtt._tcp.localhost': record}, [*argv, 'localhost'])
    record = f'1 1 {b.port} localhost'
    _, err = with_dns({'_secure-mqtt._tcp.example.test': record}, [*argv, 'example.test'], status=8)
    assert 'example.test' in err


def test_srv_through_a_proxy(sites, with_dns, topic):
    b = sites[False, False]
    with Proxy(names={'only.the.proxy.knows': HOST}) as proxy:
        with_dns({'_mqtt._tcp.example.test': f'1 1 {b.port} only.the.proxy.knows'},
                 [NIGHTJAR, 'pub', '-S', '-h', 'example.test', '-t', topic, '-m', 'x', '-q', '1',
                  '--proxy', f'socks5h://{HOST}:{proxy.port}'])
        assert proxy.asked == [(3, 'only.the.proxy.knows', b.port)]


# -- options from a file

def test_options_file(sites, topic, tmp_path):
    b = sites[False, False]
    path = tmp_path / 'options'
    path.write_text(f'# a comment\n-h {HOST}\n-p {b.port}\n-t {topic}\n-V mqttv5\n'
                    '-D publish user-property name with spaces in its value\n', encoding='utf-8')
    # It stands for the default file, which is not read then.
    (tmp_path / 'mosquitto_pub').write_text('--nonsense\n', encoding='utf-8')
    env = {'XDG_CONFIG_HOME': str(tmp_path)}
    run('pub', '-o', str(path), '-m', '-o', '-r', '-q', '1', env=env)
    run('pub', '-m', 'x', '-t', topic, env=env, status=1)
    out = run('sub', '-F', '%p %P', '-C', '1', '-h', HOST, '-p', str(b.port), '-t', topic, '-V', '5')[0]
    assert out == '-o name:with spaces in its value\n'
    run('pub', '-o', str(path), '-n', '-r', '-q', '1')


@pytest.mark.parametrize('args', [['-o'], ['-o', '/nonexistent'], ['-o', '/dev/null', '-o', '/dev/null']])
def test_options_file_mistakes(args):
    _, err = run('pub', '-h', HOST, '-t', 'a', '-m', 'x', *args, status=1)
    assert 'Error' in err


def test_options_file_in_a_file(tmp_path):
    path = tmp_path / 'options'
    path.write_text('-o /etc/passwd\n', encoding='utf-8')
    assert 'cannot stand in a file' in run('sub', '-o', str(path), '-t', 'a', status=1)[1]
