# SPDX-License-Identifier: Apache-2.0
"""Who a client is by its certificate: certificate_rule, certificate_clientid
and peer_check."""
import contextlib
import json
import os
import ssl
import subprocess

import pytest

import harness
import pahoc
import passwords
from dynsecs import acl, state, user
from harness import HOST, NIGHTJAR, free_port
from madecerts import Maker, shows, spki_sha256
from proxyraw import Proxied, ip4, v2, with_cert
from raw import Raw, connect_packet

pytestmark = pytest.mark.ours

NOT_AUTHORIZED, BAD_ID = 0x87, 0x85
BOTH = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class World:
    """Our own CA, a partner's with one below it, and a file of all."""

    def __init__(self, folder):
        self.own = Maker(folder + '/own', 'Own CA')
        self.partner = Maker(folder + '/partner', 'Partner CA')
        self.below = Maker(folder + '/below', 'Partner Issuing CA', self.partner)
        self.server = self.own.issue('/CN=server', 'DNS:localhost,IP:127.0.0.1', usage='serverAuth')
        self.all = folder + '/all.crt'
        with open(self.all, 'w', encoding='ascii') as f:
            for ca in (self.own, self.partner):
                with open(ca.crt, encoding='ascii') as one:
                    f.write(one.read())

    def conf(self, *lines):
        crt, key = self.server
        return '\n'.join((f'certfile {crt}', f'keyfile {key}', f'cafile {self.all}',
                          'require_certificate true', *lines, ''))


@pytest.fixture(scope='module')
def world(base_folder):
    import conftest
    return World(conftest.new_folder(base_folder, 'names-'))


def answer(port, ctx, client_id='', **kw):
    """The code of CONNACK and the identifier that was assigned."""
    with Raw(port, tls=ctx) as c:
        c.send(connect_packet(client_id, **kw))
        p = c.expect(2)
        return p.code, p.props.get('assigned_client_id')


def name_of(broker, port, ctx, client_id='', **kw):
    start = broker.log_size()
    assert answer(port, ctx, client_id, **kw)[0] == 0
    return broker.wait_log(r"as (\S+) \(p.*?, u'(.*)'\)", start).group(2)


RULES = ('certificate_rule ca {own} cn', 'certificate_rule ca {partner} san_dns begins partner-',
         'certificate_rule ca {partner} san_uri', 'certificate_rule ca {partner} san_email')


@pytest.fixture(scope='module')
def ruled(base_folder, world):
    from conftest import Factory
    factory = Factory(base_folder)
    pinned = world.partner.issue('/CN=whoever')
    rules = [r.format(own=world.own.crt, partner=spki_sha256(world.partner.crt)) for r in RULES]
    b = factory(world.conf(*rules, f'certificate_rule key {spki_sha256(pinned[0])} keeper'),
                anonymous=False)
    b.pinned = pinned
    yield b
    factory.finish()


@pytest.mark.parametrize('ca, subject, san, name', [
    ('own', '/CN=alice', 'DNS:partner-x', 'alice'),
    ('partner', '/CN=alice', 'DNS:partner-x', 'partner-x'),
    ('below', '/CN=alice', 'DNS:partner-y', 'partner-y'),
    ('below', '/CN=alice', 'DNS:other,URI:urn:dev:7', 'urn:dev:7'),
    ('partner', '/CN=alice', 'DNS:other,email:bob@example.org', 'bob@example.org'),
    ('below', '/CN=alice', 'DNS:other', None),
    ('partner', '/CN=alice', '', None),
    ('own', '/O=nobody', 'DNS:partner-z', None),
])
def test_rules(ruled, world, ca, subject, san, name):
    ctx = shows(world.all, getattr(world, ca).issue(subject, san))
    if name:
        assert name_of(ruled, ruled.port, ctx) == name
        return
    start = ruled.log_size()
    assert answer(ruled.port, ctx)[0] == NOT_AUTHORIZED
    ruled.wait_log("nothing in the client's certificate says its name.*certificate_rule", start)


def test_rules_known_key(ruled, world):
    assert name_of(ruled, ruled.port, shows(world.all, ruled.pinned)) == 'keeper'


@pytest.mark.parametrize('version', BOTH)
def test_rules_resumed(ruled, world, version):
    """The CA above is known of who comes back too (TLS 1.3), or nobody comes
    back that way (TLS 1.2 tickets do not tell it)."""
    ctx = shows(world.all, world.below.issue('/CN=alice', 'DNS:partner-r'), version)
    session = None
    for _ in range(3):
        with Raw(ruled.port) as c:
            c.sock = ctx.wrap_socket(c.sock, server_hostname='localhost', session=session)
            start = ruled.log_size()
            c.connect('')
            reused, session = c.sock.session_reused, c.sock.session
            ruled.wait_log("u'partner-r'", start)
    assert reused == (version == ssl.TLSVersion.TLSv1_3)


def by_openssl(port, ca, suite, *more):
    """The answer to a CONNECT of MQTT 3.1.1."""
    argv = ['openssl', 's_client', '-connect', f'{HOST}:{port}', '-servername', 'localhost', '-CAfile', ca,
            '-tls1_3', '-ciphersuites', suite, '-quiet', *more]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as p:
        try:
            with contextlib.suppress(BrokenPipeError):  # it may have been refused, and ended, by now
                os.write(p.stdin.fileno(), connect_packet('', version=4))
            return p.stdout.read(4)
        finally:
            p.kill()


def test_stolen_ticket(brokers, world, tmp_path):
    """A ticket of TLS 1.3 is seen by whoever sees a ClientHello.  He may show it with a
    cipher that it does not go with: nobody asks then whether it is his, and the
    handshake goes on without."""
    b = brokers(world.conf('use_identity_as_username true').replace(
        'require_certificate true', 'require_certificate false'), anonymous=False)
    crt, key = world.own.issue('/CN=alice')
    ticket = str(tmp_path / 'ticket')
    first = by_openssl(b.port, world.all, 'TLS_AES_256_GCM_SHA384', '-cert', crt, '-key', key,
                       '-sess_out', ticket)
    assert first == b'\x20\2\0\0' and os.path.exists(ticket)
    # it is hers, and good
    assert by_openssl(b.port, world.all, 'TLS_AES_256_GCM_SHA384', '-sess_in', ticket) == first
    b.wait_log(r'(?s)u.alice.*disconnected.*u.alice.*disconnected')
    start = b.log_size()
    other = str(tmp_path / 'other')
    # after a retry: not every version of the library gives him one otherwise
    assert by_openssl(b.port, world.all, 'TLS_AES_128_GCM_SHA256', '-sess_in', ticket,
                      '-sess_out', other, '-groups', 'P-521:P-256') != first
    # nor has the ticket that he is given then anything of hers
    assert os.path.exists(other)
    assert by_openssl(b.port, world.all, 'TLS_AES_128_GCM_SHA256', '-sess_in', other) != first
    assert "u'alice'" not in b.log(start)


def test_rules_device_field(brokers, world, tmp_path):
    """The ID is believed from the CA that it names, and from no other."""
    b = brokers(world.conf('certificate_rule ca any device'), anonymous=False)
    own = spki_sha256(world.own.crt)[:16]
    for ca, code in ((world.own, 0), (world.partner, NOT_AUTHORIZED)):
        ctx = shows(world.all, ca.issue('/CN=x', f'URI:urn:nightjar:{own}:device:dev-1'))
        assert answer(b.port, ctx, 'dev-1')[0] == code


@pytest.mark.parametrize('lines, why', [
    ('certificate_rule', 'certificate_rule'),
    ('certificate_rule ca any', 'a CA needs a field'),
    ('certificate_rule ca any cm', "no such field: 'cm'"),
    ('certificate_rule ca any cn ends x', 'a CA needs a field'),
    ('certificate_rule ca /nowhere/ca.crt cn', '/nowhere/ca.crt'),
    ('certificate_rule key abc alice', 'not the SHA-256 of a public key'),
    ('certificate_rule key ' + 64 * 'a' + ' al+ce', 'no user can have this name'),
    ('certificate_rule pin x', 'begins with key or ca'),
    ('certificate_rule ca any cn\nuse_identity_as_username true', 'both say where'),
    ('peer_check cn_ip\nrequire_certificate false', 'peer_check without require_certificate'),
    ('peer_check ip', 'peer_check'),
])
def test_rules_that_are_none(brokers, world, lines, why):
    b = brokers(world.conf(lines), anonymous=False, start=False)
    b.refuses(why)
    out = subprocess.run([NIGHTJAR, 'serve', '--test-config', '-c', b.conf_path], check=False,
                         capture_output=True, text=True, timeout=harness.PATIENCE)
    assert out.returncode == 3 and why in out.stdout + out.stderr


# certificate_clientid

@pytest.mark.parametrize('how, own, other, assigned', [
    ('auto', ('alice', 'alice:1', 'alice/a/b'), ('alice-2', 'alic', 'bob', 'alicex'), 'alice:'),
    ('own', ('alice', 'alice:1'), ('bob',), 'alice:'),
    ('same', ('alice',), ('alice:1', 'bob'), 'alice'),
    ('any', ('alice', 'bob'), (), 'auto-'),
])
def test_client_id_is_bound(brokers, world, how, own, other, assigned):
    b = brokers(world.conf('certificate_rule ca any cn', f'certificate_clientid {how}'),
                anonymous=False)
    ctx = shows(world.all, world.own.issue('/CN=alice'))
    for i in own:
        assert answer(b.port, ctx, i)[0] == 0
        assert answer(b.port, ctx, i, version=4)[0] == 0
    for i in other:
        assert answer(b.port, ctx, i)[0] == BAD_ID
        assert answer(b.port, ctx, i, version=4)[0] == 2
    code, got = answer(b.port, ctx)
    assert code == 0 and got.startswith(assigned)
    assert how != 'same' or got == 'alice'


def test_client_id_of_mosquittos_options_is_free(brokers, world):
    """Only a device of a Nightjar CA is bound there."""
    b = brokers(world.conf('use_identity_as_username true'), anonymous=False)
    ctx = shows(world.all, world.own.issue('/CN=alice'))
    assert answer(b.port, ctx, 'something-else')[0] == 0
    ctx = shows(world.all, world.own.issue('/CN=d1', 'URI:urn:nightjar:0123456789abcdef:device:d1'))
    assert answer(b.port, ctx, 'something')[0] == BAD_ID
    assert answer(b.port, ctx, 'd1')[0] == 0


# peer_check

PEER = [
    ('cn_ip', '/CN=127.0.0.1', '', HOST, 0),
    ('cn_ip', '/CN=::ffff:127.0.0.1', '', HOST, 0),
    ('cn_ip', '/CN=127.0.0.2', 'IP:127.0.0.1', HOST, NOT_AUTHORIZED),
    ('cn_ip', '/CN=alice', 'IP:127.0.0.1', HOST, NOT_AUTHORIZED),
    ('cn_ip', '/CN=127.0.0.01', '', HOST, NOT_AUTHORIZED),
    ('cn_ip', '/CN=127.1', '', HOST, NOT_AUTHORIZED),
    ('cn_ip', '/CN=127.0.0.1 ', '', HOST, NOT_AUTHORIZED),
    ('cn_ip', '/CN=::1', '', '::1', 0),
    ('cn_ip', '/CN=0:0:0:0:0:0:0:1', '', '::1', 0),
    ('cn_ip', '/CN=127.0.0.1', '', '::1', NOT_AUTHORIZED),
    ('san_ip', '/CN=alice', 'IP:127.0.0.1', HOST, 0),
    ('san_ip', '/CN=alice', 'DNS:x,IP:192.0.2.1,IP:::1,IP:127.0.0.1', HOST, 0),
    ('san_ip', '/CN=alice', 'IP:::ffff:127.0.0.1', HOST, 0),
    ('san_ip', '/CN=alice', 'IP:192.0.2.1,IP:::1', '::1', 0),
    ('san_ip', '/CN=127.0.0.1', '', HOST, NOT_AUTHORIZED),
    ('san_ip', '/CN=127.0.0.1', 'DNS:127.0.0.1,IP:127.0.0.2', HOST, NOT_AUTHORIZED),
]


@pytest.fixture(scope='module')
def checking(base_folder, world):
    """By kind a port that listens on IPv4 and IPv6 alike."""
    from conftest import Factory
    factory = Factory(base_folder)
    ports = {how: free_port() for how in ('cn_ip', 'san_ip')}
    text = ''.join(f'listener {port}\npeer_check {how}\nuse_identity_as_username true\n'
                   + world.conf() for how, port in ports.items())
    b = factory(text, anonymous=False, extra_ports=list(ports.values()))
    b.by_name = ports
    yield b
    factory.finish()


@pytest.mark.parametrize('how, subject, san, host, want', PEER)
def test_peer_check(checking, world, how, subject, san, host, want):
    ctx = shows(world.all, world.own.issue(subject, san))
    start = checking.log_size()
    with Raw(checking.by_name[how], tls=ctx, host=host) as c:
        c.send(connect_packet('some'))
        assert c.expect(2).code == want
    if want:
        checking.wait_log(rf'address it comes from \(peer_check {how}\)', start)


def test_peer_check_resumed(checking, world):
    """A ticket taken along to another address opens nothing."""
    for how, subject, san in (('cn_ip', '/CN=127.0.0.1', ''), ('san_ip', '/CN=a', 'IP:127.0.0.1')):
        ctx = shows(world.all, world.own.issue(subject, san), ssl.TLSVersion.TLSv1_3)
        session = None
        for host, want in ((HOST, 0), (HOST, 0), ('::1', NOT_AUTHORIZED)):
            with Raw(checking.by_name[how], host=host) as c:
                c.sock = ctx.wrap_socket(c.sock, server_hostname='localhost', session=session)
                c.send(connect_packet('some'))
                assert c.expect(2).code == want
                assert c.sock.session_reused == (session is not None)
                session = session or c.sock.session


def test_peer_check_behind_a_proxy(brokers, world):
    """The address is the one that the header tells; TLS here or at the proxy."""
    port = free_port()
    b = brokers('enable_proxy_protocol 2\nrequire_certificate true\nuse_identity_as_username true\n'
                f'peer_check cn_ip\nlistener {port} {HOST}\nenable_proxy_protocol 2\n'
                'use_identity_as_username true\npeer_check san_ip\n' + world.conf(),
                anonymous=False, extra_ports=[port])
    for cn, want in ((b'192.0.2.5', 0), (b'127.0.0.1', NOT_AUTHORIZED)):
        with Proxied(b.port, v2(ip4('192.0.2.5'), with_cert(cn))) as c:
            c.send(connect_packet('p'))
            assert c.expect(2).code == want
    ctx = shows(world.all, world.own.issue('/CN=a', 'IP:192.0.2.5'))
    for source, want in (('192.0.2.5', 0), ('192.0.2.6', NOT_AUTHORIZED)):
        with Proxied(port, v2(ip4(source)), tls=ctx) as c:
            c.send(connect_packet('p'))
            assert c.expect(2).code == want


# A reload asks again.

ALICE, HERE = ('/CN=alice', 'DNS:a.example'), ('/CN=127.0.0.1', 'DNS:127.0.0.1')
# What the listener asks for before and after, and (certificate, client id) of
# who may stay and who may not.
AGAIN = {
    'peer_check': (('use_identity_as_username true',), ('use_identity_as_username true', 'peer_check cn_ip'),
                   (HERE, 'x'), (ALICE, 'y')),
    'another name': (('certificate_rule ca any cn', 'certificate_clientid any'),
                     ('certificate_rule ca any san_dns', 'certificate_clientid any'), (HERE, 'x'), (ALICE, 'y')),
    'clientid_prefixes': (('use_identity_as_username true',),
                          ('use_identity_as_username true', 'clientid_prefixes x z'), (ALICE, 'x'), (HERE, 'y')),
    'certificate_clientid': (('use_identity_as_username true',),
                             ('use_identity_as_username true', 'certificate_clientid same'),
                             (ALICE, 'alice'), (HERE, 'y')),
    'disabled there': (('use_identity_as_username true',),
                       ('use_identity_as_username true', 'dynamic_security_file {users}'), (HERE, 'x'), (ALICE, 'y')),
    'require_certificate': (('certificate_or_password true', 'use_identity_as_username true',
                             'password_file {passwords}', 'require_certificate false'),
                            ('use_identity_as_username true',), (ALICE, 'x'), (None, 'y')),
    'nothing else': (('use_identity_as_username true',), ('use_identity_as_username true', 'max_qos 1'),
                     (ALICE, 'x'), None),
}


@pytest.mark.parametrize('what', list(AGAIN))
def test_reload_asks_again(brokers, world, tmp_path, what):
    """As if they came now; no will is sent."""
    before, after, stays, goes = AGAIN[what]
    users, secret = tmp_path / 'users.json', tmp_path / 'passwords'
    users.write_text(json.dumps(state(clients=[user('alice', disabled=True), user('127.0.0.1', 'all')], roles=[
        {'rolename': 'all', 'acls': [acl('subscribePattern', '#'), acl('publishClientReceive', '#')]}])))
    secret.write_text(passwords.pbkdf2('by-password', 'secret'))
    for path in users, secret:
        path.chmod(0o600)

    def conf(lines):
        text = world.conf(*lines).format(users=users, passwords=secret)
        return text.replace('require_certificate true\n', '') if 'false' in text else text
    b = brokers(conf(before), anonymous=False)
    with open(b.conf_path, encoding='utf-8') as f:
        whole = f.read()
    for path in users, secret:
        os.chown(path, b.owner(), -1)

    def client(who):
        cert, client_id = who
        c = Raw(b.port, tls=shows(world.all, world.own.issue(*cert))
                if cert else pahoc.tls_context(world.all, check_name=False))
        c.connect(client_id, will=('wills', b'x'),
                  **({} if cert else {'username': 'by-password', 'password': 'secret'}))
        return c
    one, other = client(stays), goes and client(goes)
    one.subscribe('wills')
    b.write_conf(whole.replace(conf(before), conf(after)))
    b.reload()
    if goes:
        assert other.closed() == NOT_AUTHORIZED
        other.close()
    one.ping()
    assert not one.later
    one.close()


def test_reload_asks_who_shook_hands_before(brokers, world, tmp_path):
    """A handshake without a certificate, a reload that wants one, and CONNECT."""
    secret = tmp_path / 'passwords'
    secret.write_text(passwords.pbkdf2('joe', 'secret'))
    secret.chmod(0o600)
    after = world.conf(f'password_file {secret}')
    before = after.replace('require_certificate true\n', '')
    b = brokers(before, anonymous=False)
    os.chown(secret, b.owner(), -1)
    with open(b.conf_path, encoding='utf-8') as f:
        whole = f.read()
    bare = pahoc.tls_context(world.all, check_name=False)
    login = {'username': 'joe', 'password': 'secret'}
    with Raw(b.port, tls=bare) as c:
        c.connect('first', **login)
    with Raw(b.port, tls=bare) as early:
        b.write_conf(whole.replace(before, after))
        b.reload()
        early.send(connect_packet('early', **login))
        assert early.expect(2).code == NOT_AUTHORIZED
    with Raw(b.port, tls=shows(world.all, world.own.issue(*ALICE))) as c:
        c.connect('first', **login)
