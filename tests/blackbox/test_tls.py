# SPDX-License-Identifier: Apache-2.0
"""TLS: real clients with and without certificates, and refused handshakes,
each of which the log explains in one line."""
import re
import socket
import ssl

import pytest

import pahoc
import programs
from harness import HOST, PATIENCE, free_port, wait_until
from raw import Closed, Raw, connect_packet

each_version = pytest.mark.parametrize('version', ['3.1.1', '5.0'])
each_qos = pytest.mark.parametrize('qos', [0, 1, 2])
both_modes = pytest.mark.parametrize('mutual', [False, True], ids=['server', 'mutual'])
PAHO = {'3.1.1': pahoc.V311, '5.0': pahoc.V5}


def conf(pki, *more, mutual=False, server=None):
    crt, key = server or pki.server
    lines = [f'certfile {crt}', f'keyfile {key}', *more]
    if mutual:
        lines += [f'cafile {pki.ca}', 'require_certificate true']
    return '\n'.join(lines) + '\n'


@pytest.fixture(scope='module')
def two(base_folder, pki):
    """One broker that asks for no certificate, one that requires it."""
    from conftest import Factory
    factory = Factory(base_folder)
    yield {mutual: factory('log_type all\n' + conf(pki, mutual=mutual)) for mutual in (False, True)}
    factory.finish()


def context(pki, mutual, **kw):
    return pahoc.tls_context(pki.ca, *(pki.client if mutual else ()), **kw)


@both_modes
@each_version
@each_qos
def test_mosquitto_clients(two, pki, topic, mutual, version, qos):
    args = ['--cafile', pki.ca]
    if mutual:
        args += ['--cert', pki.client[0], '--key', pki.client[1]]
    programs.mosquitto_round_trip(two[mutual].port, version, qos, topic, 20, args)


@both_modes
@each_version
@each_qos
def test_paho_python(two, pki, topic, mutual, version, qos):
    with pahoc.Client(two[mutual].port, 'tls-paho', PAHO[version],
                      tls=context(pki, mutual)) as c:
        c.subscribe(topic, qos)
        for i in range(20):
            c.publish(topic, f'message {i}', qos)
        assert [c.message().payload for _ in range(20)] == [b'message %d' % i for i in range(20)]


@both_modes
@each_version
@each_qos
def test_paho_c(two, pki, topic, mutual, version, qos):
    programs.paho_c_round_trip(two[mutual].port, version, qos, topic, 20,
                               [pki.ca, *(pki.client if mutual else ())])


@both_modes
@each_version
@each_qos
def test_mqttjs(two, pki, topic, mutual, version, qos):
    programs.mqttjs_round_trip(two[mutual].port, version, qos, topic, 20,
                               [pki.ca, *(pki.client if mutual else ())])


@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@both_modes
def test_both_versions_of_tls(two, pki, topic, mutual, version):
    ctx = context(pki, mutual)
    ctx.minimum_version = ctx.maximum_version = version
    with Raw(two[mutual].port, tls=ctx) as c:
        c.connect('tlsver')
        c.subscribe(topic)
        for size in (1, 16000, 100000):
            c.publish(topic, 'x' * size)
            assert len(c.message().payload) == size


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(two, pki, version):
    ctx = context(pki, False)
    ctx.set_ciphers('ALL:@SECLEVEL=0')
    ctx.minimum_version = ctx.maximum_version = version
    start = two[False].log_size()
    with pytest.raises((ssl.SSLError, OSError)):
        Raw(two[False].port, tls=ctx)
    two[False].wait_log(r'(?i)version|protocol', start)


@pytest.mark.ours
@pytest.mark.parametrize('cipher', ['AES256-SHA', 'ECDHE-ECDSA-AES128-SHA', 'DHE-RSA-AES128-GCM-SHA256'])
def test_weak_ciphers_are_refused(two, pki, cipher):
    ctx = context(pki, False)
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    ctx.set_ciphers(cipher + ':@SECLEVEL=0')
    start = two[False].log_size()
    with pytest.raises((ssl.SSLError, OSError)):
        Raw(two[False].port, tls=ctx)
    two[False].wait_log(r'(?i)cipher', start)


def handshake_fails(port, ctx):
    """TLS 1.3 refuses a client's certificate only after the client is done."""
    try:
        with Raw(port, tls=ctx) as c:
            c.send(connect_packet('refused'))
            c.recv()
    except (OSError, Closed):
        return True
    return False


@pytest.mark.parametrize('who, why', [
    ('none', r'(?i)no certificate|did not return'),
    ('stranger', r'(?i)unknown|issue|verify failed'),
    ('expired', r'(?i)expired|verify failed'),
    ('revoked', r'(?i)revoked|verify failed'),
    ('wrong_usage', r'(?i)usage|purpose|verify failed'),
])
@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_refused_clients(brokers, pki, who, why, version):
    """Each is refused, each is explained, and the next client is served."""
    b = brokers(conf(pki, f'crlfile {pki.crl}', mutual=True))
    ctx = pahoc.tls_context(pki.ca, *(getattr(pki, who) if who != 'none' else ()))
    ctx.minimum_version = ctx.maximum_version = version
    start = b.log_size()
    assert handshake_fails(b.port, ctx)
    b.wait_log(why, start)
    with Raw(b.port, tls=context(pki, True)) as c:
        c.connect('next')


@pytest.mark.ours
@pytest.mark.parametrize('who, names, why', [
    ('none', (), r'no certificate'),
    ('stranger', ('mallory', 'Stranger CA'), r'CA'),
    ('expired', ('expired', '2020'), r'expired'),
    ('revoked', ('revoked',), r'revoked'),
    ('wrong_usage', ('wrongusage',), r'(?i)usage|clientAuth'),
])
def test_log_explains_refusals(brokers, pki, who, names, why):
    """One line names the peer, the certificate and the cause."""
    b = brokers(conf(pki, f'crlfile {pki.crl}', mutual=True))
    ctx = pahoc.tls_context(pki.ca, *(getattr(pki, who) if who != 'none' else ()))
    start = b.log_size()
    assert handshake_fails(b.port, ctx)
    wait_until(lambda: any('127.0.0.1' in x and all(n in x for n in names) and re.search(why, x)
                           for x in b.log(start).splitlines()),
               f'one line with {names} and /{why}/')


def test_client_refuses_wrong_name(brokers, pki):
    """The certificate is for another name: the client goes, the broker says why."""
    b = brokers(conf(pki, server=pki.other_name))
    start = b.log_size()
    with pytest.raises(ssl.SSLCertVerificationError):
        Raw(b.port, tls=context(pki, False))
    b.wait_log(r'(?i)certificate|alert|handshake', start)


def test_client_does_not_know_the_ca(two, pki):
    start = two[False].log_size()
    with pytest.raises(ssl.SSLCertVerificationError):
        Raw(two[False].port, tls=pahoc.tls_context(pki.stranger_ca))
    two[False].wait_log(r'(?i)unknown.ca', start)


@pytest.mark.ours
def test_plain_mqtt_to_the_tls_port(two, pki):
    start = two[False].log_size()
    with Raw(two[False].port) as c:
        c.send(connect_packet('plain'))
        assert c.closed() is None
    two[False].wait_log(r'(?i)plain|without TLS|not TLS', start)


@pytest.mark.ours
def test_tls_to_the_plain_port(brokers, pki):
    b = brokers()
    start = b.log_size()
    with pytest.raises((ssl.SSLError, OSError)):
        Raw(b.port, tls=context(pki, False))
    b.wait_log(r'TLS', start)


def test_identity_as_username(brokers, pki, topic):
    b = brokers(conf(pki, 'use_identity_as_username true', mutual=True), anonymous=False)
    with Raw(b.port, tls=context(pki, True)) as c:
        c.connect('cn')
        c.subscribe(topic)
    b.wait_log("alice")


def test_subject_as_username(brokers, pki):
    b = brokers(conf(pki, 'use_subject_as_username true', mutual=True), anonymous=False)
    with Raw(b.port, tls=context(pki, True)) as c:
        c.connect('dn')
    b.wait_log('CN=alice')


def test_certificate_alone_is_no_login(brokers, pki):
    """require_certificate without use_identity_as_username: anonymous rules hold."""
    b = brokers(conf(pki, mutual=True), anonymous=False)
    with Raw(b.port, tls=context(pki, True)) as c:
        c.send(connect_packet('nobody'))
        assert c.closed() in (0x87, 0x86)


def resume(port, ctx, first=None):
    """One connection; (was it resumed, its session)."""
    sock = socket.create_connection((HOST, port), 10)
    with ctx.wrap_socket(sock, server_hostname='localhost', session=first) as s:
        s.sendall(connect_packet('resumes'))
        assert s.recv(1)[0] == 0x20
        return s.session_reused, s.session


@both_modes
@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumption(two, pki, mutual, version):
    ctx = context(pki, mutual)
    ctx.minimum_version = ctx.maximum_version = version
    reused, session = resume(two[mutual].port, ctx)
    assert not reused
    # The ticket may meet another shard's listener.
    assert all(resume(two[mutual].port, ctx, session)[0] for _ in range(8))


@pytest.mark.ours
def test_ticket_of_another_listener_opens_nothing(brokers, pki):
    """A session from a listener that asks for no certificate does not get
    into one that requires it."""
    second = free_port()
    b = brokers(conf(pki) + f'listener {second} {HOST}\nallow_anonymous true\n'
                + conf(pki, mutual=True), extra_ports=[second])
    ctx = context(pki, False)
    _, session = resume(b.port, ctx)
    with pytest.raises((OSError, IndexError)):
        resume(second, ctx, session)


def test_encrypted_key_asks_at_no_terminal(brokers, pki):
    """A key with a passphrase and nobody to ask: refused, and it says so."""
    crt, key = pki.server
    locked = pki.authority.encrypt_key(key, 'secret')
    brokers(conf(pki, server=(crt, locked)), start=False).refuses('(?i)pass|decrypt|key')


def test_large_fanout_over_tls(two, pki, topic):
    """Messages of all sizes to several TLS clients stay whole."""
    ctx = context(pki, False)
    clients = []
    for i in range(8):
        c = Raw(two[False].port, tls=ctx)
        c.connect(f'fan-{i}')
        c.subscribe(topic)
        clients.append(c)
    with Raw(two[False].port, tls=ctx) as p:
        p.connect('fan-pub')
        sizes = [0, 1, 100, 4096, 16383, 16384, 16385, 70000]
        for n in sizes:
            p.publish(topic, bytes([n % 251]) * n)
    for c in clients:
        assert [c.message().payload for _ in sizes] == [bytes([n % 251]) * n for n in sizes]
        c.close()


@pytest.mark.ours
@pytest.mark.parametrize('how', ['taken over', 'stopped', 'said goodbye'])
def test_the_end_is_told(brokers, pki, how):
    """RFC 8446 6.1: close_notify before the end, or it could be cut off."""
    b = brokers(f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\n')
    context = pahoc.tls_context(pki.ca)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    sock = context.wrap_socket(socket.create_connection((HOST, b.port), PATIENCE),
                               server_hostname='localhost', suppress_ragged_eofs=False)
    with Raw(b.port, tls=context) as other:
        sock.sendall(connect_packet('ends'))
        assert sock.recv(4096)[0] == 0x20
        if how == 'taken over':
            other.connect('ends')
        elif how == 'stopped':
            b.process.terminate()
        else:
            sock.sendall(b'\xe0\0')
        while sock.recv(4096):      # SSLEOFError without it
            pass
    sock.close()
