# SPDX-License-Identifier: Apache-2.0
"""Options of TLS and of our CA that nothing else asks for by name."""
import contextlib
import os
import shutil
import signal
import socket
import ssl

import pytest

import pahoc
from conftest import new_folder
from harness import HOST, built, free_port, wait_until
from madecerts import Maker, shows
from raw import Closed, Raw, connect_packet
from test_revoke import Ca

pytestmark = pytest.mark.ours

BOTH = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(name='ca', scope='module')
def _ca(base_folder):
    ca = Maker(new_folder(base_folder, 'ca-'), 'CA')
    ca.server = ca.issue('/CN=server', 'DNS:localhost', usage='serverAuth')
    ca.device = ca.issue('/CN=dev')
    ca.conf = f'certfile {ca.server[0]}\nkeyfile {ca.server[1]}\n'
    ca.asks = f'{ca.conf}cafile {ca.crt}\nrequire_certificate true\n'
    return ca


def hello():
    """A whole ClientHello."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(into, out, server_hostname='localhost')
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def stands_still(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        return f.read().split()[2] == 'T'


N = 40


@pytest.mark.parametrize('line, least, most', [
    ('', N * 3 // 4, None),
    ('handshakes_per_turn 1\n', N * 3 // 4, None),
    ('handshakes_per_turn 10\n', 4, N // 2),
    ('handshakes_per_turn 1000\n', 1, N // 4),
])
def test_handshakes_per_turn(brokers, ca, monkeypatch, tmp_path, line, least, most):
    """So many hellos are answered before the loop asks what else has come."""
    turns = str(tmp_path / 'turns')
    with open(turns, 'wb'):
        os.chmod(turns, 0o666)
    monkeypatch.setenv('LD_PRELOAD', built('tests', 'blackbox', 'libturncount.so'))
    monkeypatch.setenv('NJ_TURNS', turns)
    monkeypatch.setenv('ASAN_OPTIONS', os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0')
    b = brokers(f'{ca.conf}threads 1\n{line}')
    b.settled()
    with contextlib.ExitStack() as stack:
        start = b.log_size()
        socks = [stack.enter_context(socket.create_connection((HOST, b.port), 60)) for _ in range(N)]
        wait_until(lambda: b.log(start).count('New connection from') == N, 'all are accepted')
        os.kill(b.pid, signal.SIGSTOP)
        wait_until(lambda: stands_still(b.pid), 'it stands still')
        before = os.path.getsize(turns)
        for s in socks:
            s.sendall(hello())
        os.kill(b.pid, signal.SIGCONT)
        for s in socks:
            assert s.recv(1) == b'\x16'
        took = os.path.getsize(turns) - before
    assert took >= least and (most is None or took <= most), took


@pytest.mark.parametrize('version', BOTH)
@pytest.mark.parametrize('asked', [False, True])
@pytest.mark.parametrize('line, given', [('', True), ('tls_tickets 0\n', False), ('tls_tickets 1\n', True),
                                         ('tls_tickets 2\n', True)])
def test_tls_tickets(brokers, ca, version, asked, line, given):
    b = brokers((ca.asks if asked else ca.conf) + line)
    ctx, session = shows(ca.crt, ca.device if asked else (), version), None
    for again in (False, True):
        with ctx.wrap_socket(socket.create_connection((HOST, b.port), 10), server_hostname='localhost',
                             session=session) as s:
            s.sendall(connect_packet('c', version=4))
            assert s.recv(4) == b'\x20\2\0\0'
            assert s.session_reused == (again and given)
            assert s.session.has_ticket == given
            session = s.session


def test_dates_are_checked_whatever_the_file_says(brokers, pki):
    """And a key in the one form that there is may be said to be."""
    crt, key = pki.server
    b = brokers(f'certfile {crt}\nkeyfile {key}\ntls_keyform pem\ncafile {pki.ca}\nrequire_certificate true\n'
                'disable_client_cert_date_checks true\n')
    b.wait_log('warning: disable_client_cert_date_checks: expired client certificates are refused in any case')
    with Raw(b.port, tls=pahoc.tls_context(pki.ca, *pki.client)) as c:
        c.connect('good')
    start = b.log_size()
    with pytest.raises((ssl.SSLError, ConnectionError, Closed)), \
            Raw(b.port, tls=pahoc.tls_context(pki.ca, *pki.expired)) as c:
        c.connect('expired')
    b.wait_log('expired', start)


@pytest.mark.parametrize('named', [True, False])
def test_ca_passphrase_file(brokers, base_folder, named):
    """Who enrols is let in with a certificate that the CA's key has signed; where the passphrase
    is not named, and lies nowhere else, there is no start."""
    ca = Ca(new_folder(base_folder, 'ca-'))
    secret = ca.path('elsewhere')
    shutil.move(ca.path('ca.passphrase'), secret)
    port = free_port()
    pair = f'certfile {ca.path("server", "server.crt")}\nkeyfile {ca.path("server", "server.key")}\n'
    b = brokers(f'{pair}listener {port} {HOST}\nprotocol est\n{pair}ca_dir {ca.dir}\n'
                + (f'ca_passphrase_file {secret}\n' if named else ''), extra_ports=[port], start=False)
    if not named:
        b.refuses('the key of the CA is locked, and there is no terminal')
        return
    b.start()
