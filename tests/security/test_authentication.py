# SPDX-License-Identifier: Apache-2.0
"""Cases 47 to 55 of the threats: who comes in, as whom, and what those who may
not learn from trying; on TCP, TLS and WebSocket.

34 to 46 are about what a client may do once it is in (test_authorization.py);
56, tokens that enrol a device once, is in tests/blackbox/test_enrol*.py."""
import os
import re
import ssl
import statistics
import time

import pytest

import harness
import pahoc
import passwords
from attack import unharmed
from harness import HOST, free_port
from jwtokens import Key, unsigned
from madecerts import Maker, shows
from proxyraw import Proxied, ip4, v1, v2, with_cert
from raw import CONNACK, Closed, Raw, connect_packet
from wsraw import RawWs

NOT_AUTHORIZED, BAD_LOGIN = 0x87, 0x86
WAYS = ['tcp', 'tls', 'ws', 'wss']


class Site:
    """A broker with the same users behind every kind of listener."""

    def __init__(self, base, pki, start):
        import conftest
        self.pki = pki
        folder = conftest.blackbox.new_folder(base, 'authn-')
        self.users = os.path.join(folder, 'users')
        with open(self.users, 'w', encoding='ascii') as f:
            f.write(passwords.pbkdf2('alice', 'right', 20000))
        os.chmod(self.users, 0o600)
        crt, key = pki.server
        tls = f'certfile {crt}\nkeyfile {key}\n'
        self.ports = {'tls': free_port(), 'ws': free_port(), 'wss': free_port()}
        text = ''.join(f'listener {p} {HOST}\n' + (tls if 's' in w[-1] and w != 'ws' else '')
                       + ('protocol websockets\n' if w.startswith('ws') else '')
                       for w, p in self.ports.items())
        self.broker = start(f'password_file {self.users}\nfailed_logins_per_user 0\n' + text,
                            anonymous=False, extra_ports=list(self.ports.values()))
        self.ports['tcp'] = self.broker.port

    def client(self, way, **kw):
        tls = pahoc.tls_context(self.pki.ca) if way in ('tls', 'wss') else None
        make = RawWs if way.startswith('ws') else Raw
        return make(self.ports[way], tls=tls, **kw)

    def answer(self, way, client_id='', **kw):
        with self.client(way) as c:
            c.send(connect_packet(client_id, **kw))
            return c.expect(CONNACK).code


@pytest.fixture(scope='module')
def site(base_folder, pki):
    from conftest import Brokers, Quiet
    factory = Brokers(base_folder, Quiet)
    yield Site(base_folder, pki, factory)
    factory.finish()


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('version', [3, 4, 5])
def test_case_47_user_name_without_password(site, way, version):
    for user in ('alice', 'nobody', ''):
        with site.client(way, version=version) as c:
            c.send(connect_packet('np', username=user, version=version))
            try:
                assert c.expect(CONNACK).code in (NOT_AUTHORIZED, BAD_LOGIN, 4, 5)
            except Closed:
                pass  # 3.1 and 3.1.1 may be told nothing
    for user in ('alice', 'nobody'):
        with site.client(way, version=version) as c:
            c.send(connect_packet('ep', username=user, password='', version=version))
            assert c.expect(CONNACK).code in (NOT_AUTHORIZED, BAD_LOGIN, 4, 5)


@pytest.mark.parametrize('way', WAYS)
def test_case_48_unknown_user_and_wrong_password(site, way):
    """The same bytes, and the same time."""
    def look(user):
        with site.client(way) as c:
            began = time.monotonic()
            c.send(connect_packet('x', username=user, password='wrong'))
            p = c.expect(CONNACK)
            return (p.code, p.props), time.monotonic() - began
    assert site.answer(way, username='alice', password='right') == 0
    for _ in range(4):		# what tells something does so each time
        seen, times = set(), {'alice': [], 'nobody': []}
        for _ in range(15):
            for user, v in times.items():
                what, took = look(user)
                seen.add(repr(what))
                v.append(took)
        assert len(seen) == 1, seen
        known, unknown = (statistics.median(v) for v in times.values())
        if 0.4 < known / unknown < 2.5:
            return
    raise AssertionError(f'{known} and {unknown} s')


@pytest.mark.parametrize('way', ['tcp', 'tls', 'ws'])
def test_case_49_brute_force(start, pki, tmp_path, way):
    """Guesses at a name are put off; a hundred at once keep the workers busy
    and nobody else waiting."""
    users = tmp_path / 'users'
    users.write_text(passwords.pbkdf2('alice', 'right', 10_000) + passwords.pbkdf2('u', 'p', 2))
    users.chmod(0o600)
    crt, key = pki.server
    extra = (f'certfile {crt}\nkeyfile {key}\n' if way == 'tls' else
             'protocol websockets\n' if way == 'ws' else '')
    second = free_port()
    b = start(extra + f'connect_timeout 60\nfailed_logins_per_user 5\npassword_file {users}\nlistener {second} {HOST}\n',
              anonymous=False, extra_ports=[second])
    tls = pahoc.tls_context(pki.ca) if way == 'tls' else None
    make = RawWs if way == 'ws' else Raw

    class Known(Raw):
        def connect(self, client_id='', want=0, **kw):
            return super().connect(client_id, want, username='u', password='p', **kw)
    with unharmed(b, latency=1.0, port=second, make=Known):
        many = [make(b.port, tls=tls) for _ in range(60)]
        for i, c in enumerate(many):
            c.send(connect_packet('', username='alice', password=f'guess{i}'))
        codes = [c.expect(CONNACK).code for c in many]
        for c in many:
            c.close()
    assert set(codes) <= {NOT_AUTHORIZED, 0x9f, 0x89}
    with make(b.port, tls=tls) as c:
        c.send(connect_packet('', username='alice', password='right'))
        assert c.expect(CONNACK).code == 0x9f


def test_case_49_no_default_logins(site):
    for user, password in (('admin', 'admin'), ('admin', 'hivemq'), ('admin', 'public'),
                           ('guest', 'guest'), ('root', 'root'), ('admin', ''), ('admin', 'admin123'),
                           ('nightjar', 'nightjar'), ('mosquitto', 'mosquitto'), ('test', 'test')):
        assert site.answer('tcp', username=user, password=password) == NOT_AUTHORIZED


SPOILED = {
    'password_file': ['', 'alice', 'alice:', 'alice:plain', 'alice:$7$x', ':$6$aa$bb', 'a\0b:$6$aa$bb'],
    'acl_file': ['', 'user', 'topic', 'topic raed x', 'topic read a/#/b', 'user alice\ntopic write \xff'],
    'psk_file': ['', 'alice', 'alice:xyz', 'alice:abc'],
    'jwt_key_file': ['', '{', '{"keys":[]}', '-----BEGIN PUBLIC KEY-----\nAAAA\n'
                     '-----END PUBLIC KEY-----', '{"keys":[{"kty":"oct","k":"AA"}]}'],
}


@pytest.mark.parametrize('option', list(SPOILED))
def test_case_50_spoiled_files(tmp_path, option):
    """The start is refused, the file and the fault named: nothing opens with
    fewer rules than were meant.  At a reload all stays: tests/blackbox/
    test_authn_files.py."""
    for i, text in enumerate(SPOILED[option]):
        path = tmp_path / f'file{i}'
        path.write_bytes(text.encode('latin-1'))
        path.chmod(0o600)
        conf = f'{option} {path}\n' + ('psk_hint h\n' if option == 'psk_file' else '')
        b = harness.Broker(str(tmp_path), f'listener {free_port()} {HOST}\n' + conf, 0)
        if option in ('password_file', 'acl_file') and text in ('alice',):
            continue  # a line without a colon is a comment, as with Mosquitto
        b.refuses(re.escape(str(path)))


@pytest.mark.parametrize('line', ['cafile {ca}', 'certfile {crt}', 'keyfile {key}', 'crlfile {crl}',
                                  'require_certificate true', 'use_identity_as_username true',
                                  'tls_version tlsv1.3', 'psk_hint h', 'peer_check cn_ip',
                                  'certificate_rule ca any cn', 'ciphers ALL'])
@pytest.mark.parametrize('where', ['no listener', 'plain listener'])
def test_case_51_tls_options_without_tls(tmp_path, pki, line, where):
    """An error, and no port that speaks plain text."""
    crt, key = pki.server
    text = line.format(ca=pki.ca, crt=crt, key=key, crl=pki.crl) + '\n'
    if where == 'plain listener':
        text = f'listener {free_port()} {HOST}\nallow_anonymous true\n' + text
    b = harness.Broker(str(tmp_path), text, 0)
    if where == 'plain listener' and line.startswith('cafile'):
        pytest.skip('Mosquitto lets it stand; nothing is asked of it')
    b.refuses('broker.conf:')


def test_case_52_empty_ca(tmp_path, pki, start):
    """A CA file with nothing in it never means that nobody is checked: not at
    the start, and not when a reload finds it so, on TLS and on wss."""
    crt, key = pki.server
    ca = tmp_path / 'ca.crt'
    base = f'certfile {crt}\nkeyfile {key}\ncafile {ca}\nrequire_certificate true\n'
    for text in ('', '\n', '# nothing\n'):
        ca.write_text(text)
        harness.Broker(str(tmp_path), f'listener {free_port()} {HOST}\n' + base, 0).refuses('ca.crt')
    with open(pki.ca, encoding='ascii') as f:
        ca.write_text(f.read())
    ca.chmod(0o644)
    tmp_path.chmod(0o755)
    wss = free_port()
    b = start(base + f'listener {wss} {HOST}\nprotocol websockets\n' + base, extra_ports=[wss])
    for text in (None, ''):
        if text is not None:
            ca.write_text(text)
            mark = b.log_size()
            b.hup()
            b.wait_log('Reload failed', mark)
        for port, make in ((b.port, Raw), (wss, RawWs)):
            with pytest.raises((Closed, ssl.SSLError, OSError, AssertionError)):
                with make(port, tls=pahoc.tls_context(pki.ca)) as c:
                    c.connect('without')
            with make(port, tls=pahoc.tls_context(pki.ca, *pki.client)) as c:
                c.connect('with')


@pytest.fixture(scope='module')
def chain(base_folder):
    """A CA, with others below it, ten deep."""
    import conftest
    folder = conftest.blackbox.new_folder(base_folder, 'chain-')
    root = Maker(folder + '/root', 'Root')
    deep, one = root, None
    for i in range(9):
        deep = Maker(f'{folder}/{i}', f'CA {i}', deep)
        one = one or deep
    return root, one, deep


@pytest.mark.parametrize('way', ['tls', 'wss'])
def test_case_53_certificates_that_are_not_good(start, pki, chain, way):
    root, one, deep = chain
    server = root.issue('/CN=server', 'DNS:localhost,IP:127.0.0.1', usage='serverAuth')
    cas = os.path.join(root.dir, 'all.crt')
    with open(cas, 'w', encoding='ascii') as f:
        for path in (root.crt, pki.ca):
            with open(path, encoding='ascii') as one_ca:
                f.write(one_ca.read())
    b = start(f'certfile {server[0]}\nkeyfile {server[1]}\ncafile {cas}\ncrlfile {pki.crl}\n'
              'require_certificate true\nuse_identity_as_username true\n'
              + ('protocol websockets\n' if way == 'wss' else ''), anonymous=False)
    make = RawWs if way == 'wss' else Raw

    def comes_in(pair):
        try:
            with make(b.port, tls=shows(cas, pair)) as c:
                c.connect('x')
            return True
        except (Closed, ssl.SSLError, OSError, AssertionError):
            return False
    assert comes_in(pki.client)
    bad = {'revoked': pki.revoked, 'expired': pki.expired, 'usage': pki.wrong_usage,
           'stranger': pki.stranger, 'ten deep': deep.issue('/CN=alice')}
    for name, pair in bad.items():
        mark = b.log_size()
        assert not comes_in(pair), name
        b.wait_log('TLS handshake failed|closed', mark)


def test_case_53_ticket_of_a_revoked_certificate(start, pki):
    """Resuming is a login like any other."""
    crt, key = pki.server
    mine = pki.authority.issue(f'later{free_port()}')
    import shutil
    crl = os.path.join(os.path.dirname(pki.crl), 'live.crl')
    shutil.copy(pki.crl, crl)
    b = start(f'certfile {crt}\nkeyfile {key}\ncafile {pki.ca}\ncrlfile {crl}\n'
              'require_certificate true\nuse_identity_as_username true\n', anonymous=False)
    os.chown(crl, b.owner(), -1)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        ctx, session = shows(pki.ca, mine, version), None
        for _ in range(2):
            with Raw(b.port) as c:
                c.sock = ctx.wrap_socket(c.sock, server_hostname='localhost', session=session)
                c.connect('t')
                reused, session = c.sock.session_reused, c.sock.session
        assert reused
        if version == ssl.TLSVersion.TLSv1_3:
            pki.authority.revoke(mine[0])
            shutil.copy(pki.authority.crl(), crl)
            os.chown(crl, b.owner(), -1)
            mark = b.log_size()
            b.hup()
            b.wait_log(r'Reloaded\.', mark)
            with pytest.raises((Closed, ssl.SSLError, OSError, AssertionError)):
                with Raw(b.port) as c:
                    c.sock = ctx.wrap_socket(c.sock, server_hostname='localhost', session=session)
                    c.connect('t')


def named(folder, common_name, san=None):
    """A CA, and a client certificate with names that the openssl command will
    not make."""
    import datetime
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
    os.makedirs(folder, exist_ok=True)
    now = datetime.datetime.utcnow()

    def make(subject, issuer, key, by, *extensions):
        b = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(
            key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(
                now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=2))
        for e, critical in extensions:
            b = b.add_extension(e, critical)
        return b.sign(by, hashes.SHA256())
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'Odd CA')])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = make(ca_name, ca_name, ca_key, ca_key,
              (x509.BasicConstraints(True, None), True), (usage, True))
    extensions = [(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), False)]
    if san:
        extensions.append((x509.SubjectAlternativeName([san(x509)]), False))
    leaf = make(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]), ca_name, key,
                ca_key, *extensions)
    paths = [os.path.join(folder, n) for n in ('ca.crt', 'c.crt', 'c.key')]
    pem = serialization.Encoding.PEM
    for path, data in zip(paths, (ca.public_bytes(pem), leaf.public_bytes(pem), key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))):
        with open(path, 'wb') as f:
            f.write(data)
    return paths


NAMES = {
    'good': ('alice', None, True),
    'NUL': ('alice\0.evil', None, False),
    'line end': ('alice\nuser admin', None, False),
    'escape': ('alice\x1b[2J', None, False),
    'DEL': ('alice\x7f', None, False),
    'C1': ('alice\x85', None, False),
    '+': ('+', None, False),
    '#': ('#', None, False),
    'a+b': ('a+b', None, False),
    'a/#': ('a/#', None, False),
    '*': ('*', None, False),
    '*.example': ('*.example', None, False),
    'NUL in a DNS name': ('alice', lambda x: x.DNSName('good.example\0.evil'), False),
    'line end in a URI': ('alice', lambda x: x.UniformResourceIdentifier('urn:a\nb'), False),
    '* as DNS name': ('alice', lambda x: x.DNSName('*'), False),
}


@pytest.mark.parametrize('way', ['tls', 'wss'])
def test_case_54_odd_names_in_certificates(start, pki, base_folder, tmp_path, way):
    crt, key = pki.server
    made = {name: named(str(tmp_path / str(i)), cn, san)
            for i, (name, (cn, san, _)) in enumerate(NAMES.items())}
    cas = tmp_path / 'cas.crt'
    cas.write_bytes(b''.join(open(paths[0], 'rb').read() for paths in made.values()))
    b = start(f'certfile {crt}\nkeyfile {key}\ncafile {cas}\nrequire_certificate true\n'
              'use_identity_as_username true\n'
              + ('protocol websockets\n' if way == 'wss' else ''), anonymous=False)
    make = RawWs if way == 'wss' else Raw
    for name, (_, crt_path, key_path) in made.items():
        try:
            with make(b.port, tls=shows(pki.ca, (crt_path, key_path))) as c:
                c.send(connect_packet('x'))
                code = c.expect(CONNACK).code
        except (Closed, ssl.SSLError, OSError):
            code = None
        assert (code == 0) == NAMES[name][2], (name, code)
    assert '\x1b' not in b.log() and '\nuser admin' not in b.log()
    del base_folder


def test_case_55_forged_or_lost_proxy_address(start, pki):
    """A header counts from whom it is expected; without one, or from others,
    nobody comes in, and no certificate that a header tells of is believed."""
    other = free_port()
    b = start('enable_proxy_protocol 2\nrequire_certificate true\nuse_identity_as_username true\n'
              f'proxy_protocol_from 192.0.2.1\nlistener {other} {HOST}\nenable_proxy_protocol 2\n'
              'require_certificate true\nuse_identity_as_username true\n',
              anonymous=False, extra_ports=[other])
    for port, header, way_in in (
            (b.port, v2(ip4('192.0.2.5'), with_cert(b'alice')), False),  # not the proxy
            (other, v2(ip4('192.0.2.5'), with_cert(b'alice')), True),
            (other, v2(ip4('192.0.2.5'), with_cert(b'alice', verify=1)), False),
            (other, v2(ip4('192.0.2.5')), False), (other, v1('192.0.2.5'), False), (other, b'', False)):
        try:
            with Proxied(port, header) as c:
                c.connect('p')
            came = True
        except (Closed, OSError, AssertionError):
            came = False
        assert came == way_in, header
    plain = start('')
    mark = plain.log_size()
    with Proxied(plain.port, v1('192.0.2.5')) as c:  # where none is expected
        c.send(connect_packet('p'))
        with pytest.raises((Closed, OSError)):
            c.expect(CONNACK)
    assert '192.0.2.5' not in re.sub(r'PROXY[^\n]*', '', plain.log(mark))
    del pki


@pytest.mark.parametrize('way', ['tcp', 'tls', 'ws'])
def test_case_50_tokens_that_are_not_good(start, pki, tmp_path, way):
    """The kinds are many: tests/blackbox/test_authn_jwt.py; here each way in."""
    key, other = Key('ES256', 'k'), Key('ES256', 'k')
    (tmp_path / 'key').write_bytes(key.pem())
    crt, tls_key = pki.server
    b = start((f'certfile {crt}\nkeyfile {tls_key}\n' if way == 'tls' else
               'protocol websockets\n' if way == 'ws' else '') + f'jwt_key_file {tmp_path}/key\n',
              anonymous=False)
    for token, want in ((key.token(), 0), (other.token(), 1), (unsigned(), 1), (key.token(exp=1), 1)):
        with (RawWs if way == 'ws' else Raw)(
                b.port, tls=pahoc.tls_context(pki.ca) if way == 'tls' else None) as c:
            c.send(connect_packet('t', username='', password=token))
            assert c.expect(CONNACK).code == (NOT_AUTHORIZED if want else 0)


