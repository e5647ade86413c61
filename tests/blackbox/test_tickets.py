# SPDX-License-Identifier: Apache-2.0
"""What is offered in a ClientHello and not used makes nobody of anybody: tickets of
others, with ciphers that they do not go with, beside keys and certificates of one's
own, before and after a HelloRetryRequest, by TLS 1.2 and 1.3."""
import os
import re
import socket
import struct
import subprocess

import pytest

import harness
from conftest import Factory, new_folder
from harness import HOST, PATIENCE, free_port
from madecerts import Maker
from programs import build_dir

pytestmark = pytest.mark.ours

LONG = 'long' * 16
KEYS = {'mallory': 'a1' * 16, LONG: 'b2' * 16}
# Tickets are made with the first.  The second has another digest: a ticket does not
# go with it.  P-521 is none of ours, so that the broker asks for another hello.
FIRST, OTHER = 'TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256'
RETRY = 'P-521:P-256'


def client(port, **given):
    """(whether it was resumed, the answer to CONNECT or b'')"""
    build = build_dir()
    program = build and os.path.join(build, 'tests', 'blackbox', 'ticketclient')
    if not program or not os.access(program, os.X_OK):
        pytest.skip('ticketclient is not built')
    p = subprocess.run([program, str(port), *(f'{k}={v}' for k, v in given.items())], text=True,
                       check=False, capture_output=True, timeout=PATIENCE)
    assert p.returncode == 0, p.stderr
    reused, answer = re.fullmatch(r'(?:reused=(\d) )?answer=(\w*)\n', p.stdout).groups()
    return reused == '1', bytes.fromhex(answer)


class Site:
    """Ports of one CA: for certificates; for those and keys; one more of the same;
    where rules ask for the issuers.  And tickets."""

    def __init__(self, base_folder):
        self.dir, self.n = new_folder(base_folder, 'tickets-'), 0
        self.ca = Maker(self.dir + '/ca', 'CA')
        crt, key = self.ca.issue('/CN=server', 'DNS:localhost', usage='serverAuth')
        keys = os.path.join(self.dir, 'keys')
        with open(keys, 'w', encoding='ascii') as f:
            f.writelines(f'{k}:{v}\n' for k, v in KEYS.items())
        os.chmod(keys, 0o600)
        tls = f'certfile {crt}\nkeyfile {key}\ncafile {self.ca.crt}\n'
        named = 'use_identity_as_username true\n'
        mixed, again, ruled = free_port(), free_port(), free_port()
        self.factory = Factory(base_folder)
        self.b = self.factory(f'{tls}{named}listener {mixed} {HOST}\n{tls}{named}psk_hint h\npsk_file {keys}\n'
                              f'listener {again} {HOST}\n{tls}{named}'
                              f'listener {ruled} {HOST}\n{tls}certificate_rule ca {self.ca.crt} cn\n'
                              'certificate_clientid any\n',
                              anonymous=False, extra_ports=[mixed, again, ruled])
        self.ports = {'certs': self.b.port, 'mixed': mixed, 'again': again, 'ruled': ruled}
        self.cert = {who: self.both(who) for who in ('alice', 'mallory')}

    def both(self, who):
        """A file with the certificate and the key in it."""
        path = os.path.join(self.dir, who)
        with open(path, 'w', encoding='ascii') as f:
            for part in self.ca.issue(f'/CN={who}'):
                with open(part, encoding='ascii') as one:
                    f.write(one.read())
        return path

    def who(self, port, **given):
        """(whom the broker takes it for, or None; whether it was resumed)"""
        self.n += 1
        start = self.b.log_size()
        resumed, answer = client(self.ports[port], client=f'c{self.n}', **given)
        if answer[:4] != b'\x20\2\0\0':
            return None, resumed
        name = self.b.wait_log(rf'client connected from \S+ as c{self.n} \(.*\)\.', start).group(0)
        found = re.search(r"u'(\w+)'", name)
        return found and found.group(1), resumed

    def ticket_of(self, port, who, **given):
        path = os.path.join(self.dir, f'{port}-{who}-{len(os.listdir(self.dir))}')
        given = {'suite': FIRST, **given}
        assert self.who(port, cert=self.cert[who], save=path, **given) == (who, False)
        return path


@pytest.fixture(scope='module')
def site(base_folder):
    s = Site(base_folder)
    yield s
    s.factory.finish()


# What is given beside alice's ticket, and who that is.
OFFERS = {
    'the ticket alone': ({'suite': OTHER}, None),
    'after a retry': ({'suite': OTHER, 'groups': RETRY}, None),
    'a certificate': ({'suite': OTHER, 'cert': 'mallory'}, 'mallory'),
    'a certificate, after a retry': ({'suite': OTHER, 'cert': 'mallory', 'groups': RETRY}, 'mallory'),
    'a key': ({'suite': OTHER, 'id': 'mallory', 'key': 'mallory'}, 'mallory'),
    'a key, after a retry': ({'suite': OTHER, 'id': 'mallory', 'key': 'mallory', 'groups': RETRY}, 'mallory'),
    'an identity with a NUL': ({'suite': OTHER, 'id': 'mallory%00x', 'key': 'mallory'}, None),
    'an identity with a NUL, after a retry':
        ({'suite': OTHER, 'id': 'mallory%00x', 'key': 'mallory', 'groups': RETRY}, None),
    'an identity with a NUL, and a certificate':
        ({'suite': OTHER, 'id': 'mallory%00x', 'key': 'mallory', 'cert': 'mallory'}, 'mallory'),
    'another secret': ({'suite': FIRST, 'forged': '1'}, None),
    'another secret, and a certificate': ({'suite': FIRST, 'forged': '1', 'cert': 'mallory'}, None),
}


@pytest.mark.parametrize('port', ['certs', 'mixed', 'ruled'])
@pytest.mark.parametrize('offer', list(OFFERS))
def test_a_ticket_that_is_only_offered(site, port, offer):
    """Nor does the ticket that comes of it hold anything of hers."""
    given, want = OFFERS[offer]
    if port != 'mixed' and 'id' in given:
        want = 'mallory' if 'cert' in given else None  # keys are nothing there
    given = dict(given)
    if 'key' in given:
        given['key'] = KEYS[given['key']]
    if 'cert' in given:
        given['cert'] = site.cert[given['cert']]
    ticket = site.ticket_of(port, 'alice')
    got = os.path.join(site.dir, f'got-{site.n}')
    assert site.who(port, ticket=ticket, save=got, **given) == (want, want == 'mallory' and 'cert' not in given)
    if os.path.exists(got):
        assert 'id' not in given or 'cert' in given or port != 'mixed' or want is None
        assert site.who(port, ticket=got, suite=given['suite'])[0] == (want if 'cert' in given else None)
    # it was hers all the time
    assert site.who(port, ticket=ticket, suite=FIRST) == ('alice', True)


@pytest.mark.parametrize('retry', [False, True])
@pytest.mark.parametrize('port', ['certs', 'mixed', 'ruled'])
def test_what_is_said_too_early(site, port, retry):
    """RFC 8446 4.2.10: who has seen it could say it again.  What comes with a ticket is passed
    over, and the client goes on as if it had said nothing."""
    ticket, early = site.ticket_of(port, 'alice'), f'early{site.n}'
    more = {'groups': RETRY} if retry else {}
    start = site.b.log_size()
    assert site.who(port, ticket=ticket, suite=FIRST, early=early, **more) == ('alice', True)
    assert early not in site.b.log(start)
    # nor where the ticket is another's, and no good
    other = 'again' if port == 'certs' else 'certs'
    assert site.who(other, ticket=ticket, suite=FIRST, early=early, **more) == (None, False)
    assert early not in site.b.log(start)


@pytest.mark.parametrize('retry', [False, True])
@pytest.mark.parametrize('port', ['certs', 'mixed', 'ruled'])
def test_a_ticket_that_is_used(site, port, retry):
    """Again and again, each time with the one that came."""
    ticket = site.ticket_of(port, 'alice')
    for _ in range(3):
        new = os.path.join(site.dir, f'new-{site.n}')
        more = {'groups': RETRY} if retry else {}
        assert site.who(port, ticket=ticket, suite=FIRST, save=new, **more) == ('alice', True)
        ticket = new


@pytest.mark.parametrize('port', ['certs', 'mixed', 'ruled'])
def test_tls_12(site, port):
    """Only where no keys are and nobody asks for the issuers; never without the secret,
    and never as an identity of TLS 1.3."""
    ticket = os.path.join(site.dir, f'{port}-12')
    given = {'tls': '1.2', 'cert': site.cert['alice']}
    assert site.who(port, save=ticket, **given) == ('alice', False)
    assert os.path.exists(ticket) == (port == 'certs')
    if port != 'certs':
        return
    assert site.who(port, tls='1.2', ticket=ticket) == ('alice', True)
    for forged in ({'tls': '1.2', 'ticket': ticket, 'forged': '1'},
                   {'suite': OTHER, 'idticket': ticket, 'key': KEYS['mallory']},
                   {'suite': OTHER, 'idticket': ticket, 'key': KEYS['mallory'], 'cert': site.cert['mallory']}):
        assert site.who(port, **forged)[0] is None


@pytest.mark.parametrize('tls', ['1.2', '1.3'])
def test_another_listener(site, tls):
    ticket = site.ticket_of('certs', 'alice', tls=tls)
    assert site.who('again', tls=tls, suite=FIRST, ticket=ticket) == (None, False)
    assert site.who('certs', tls=tls, suite=FIRST, ticket=ticket) == ('alice', True)


def test_who_came_by_a_key_gets_no_ticket(site):
    for identity in KEYS:
        got = os.path.join(site.dir, f'by-{identity[:8]}')
        assert site.who('mixed', id=identity, key=KEYS[identity], suite=OTHER, save=got) == (identity, True)
        assert not os.path.exists(got)
    # this was no key's, but a handshake without a certificate: its ticket opens nothing
    assert site.who('mixed', id='mallory%00x', key=KEYS['mallory'], suite=OTHER, save=got) == (None, False)
    assert site.who('mixed', ticket=got, suite=OTHER)[0] is None


@pytest.mark.parametrize('retry', [False, True])
def test_a_key_that_was_passed_over_is_not_blamed(site, retry):
    """Its digest is not the cipher's: the certificate was shown, and it is that which the
    client has refused."""
    start = site.b.log_size()
    more = {'groups': RETRY} if retry else {}
    assert site.who('mixed', id='mallory', key=KEYS['mallory'], suite=FIRST, refuse='1', **more) == (None, False)
    site.b.wait_log('handshake failed.*could not check our signature', start)
    assert 'pre-shared' not in site.b.log(start)
    start = site.b.log_size()
    assert site.who('mixed', id='mallory', key='00' * 16, suite=OTHER, **more) == (None, False)
    site.b.wait_log("pre-shared key is not that of the identity 'mallory'", start)


def test_no_ticket_looks_like_text(site):
    """Else it would be taken for the identity of a key, now and then."""
    ticket = site.ticket_of('mixed', 'alice')
    p = subprocess.run(['openssl', 'sess_id', '-in', ticket, '-noout', '-text'], text=True, check=True,
                       capture_output=True, timeout=harness.PATIENCE)
    assert re.search(r'TLS session ticket:\n\s*0000 - ff ', p.stdout)


def promises_a_ticket(port, version):
    """Whether a ServerHello of TLS 1.2 does, for a ClientHello by hand."""
    groups = struct.pack('>HHHH', 10, 4, 2, 23) + struct.pack('>HHBB', 11, 2, 1, 0)
    algorithms = struct.pack('>HHHH', 13, 4, 2, 0x0403)
    extensions = struct.pack('>HH', 35, 0) + groups + algorithms
    extensions = struct.pack('>H', len(extensions)) + extensions
    ciphers = struct.pack('>HHH', 4, 0xc02b, 0x00a8)  # ECDHE-ECDSA, PSK
    hello = struct.pack('>H', version) + bytes(32) + b'\0' + ciphers + b'\1\0' + extensions
    hello = b'\1' + len(hello).to_bytes(3, 'big') + hello
    with socket.create_connection((HOST, port), PATIENCE) as s:
        s.sendall(b'\x16\3\1' + struct.pack('>H', len(hello)) + hello)
        f = s.makefile('rb')
        head = f.read(5)
        assert head[0] == 22, head
        body = f.read(struct.unpack('>H', head[3:])[0])
    assert body[0] == 2 and body[4:6] == b'\3\3'
    at = 38 + 1 + body[38] + 3
    end = 4 + int.from_bytes(body[1:4], 'big')
    at += 2
    while at < end:
        kind, n = struct.unpack('>HH', body[at:at + 4])
        if kind == 35:
            return True
        at += 4 + n
    return False


@pytest.mark.parametrize('version', [0x0303, 0x0304, 0x0305, 0x03ff])
def test_a_version_that_is_only_written(site, version):
    """The library makes 1.2 of what says 1.3 without supported_versions; then no ticket is
    promised either where there are none with 1.2."""
    assert promises_a_ticket(site.ports['certs'], version)
    for port in ('mixed', 'ruled'):
        assert not promises_a_ticket(site.ports[port], version)
