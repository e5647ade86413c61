# SPDX-License-Identifier: Apache-2.0
"""What clients send beside their certificate, to be what they are not: CAs that are none,
that may not be where they are, or that are somebody else's."""
import contextlib
import os
import socket
import ssl

import pytest

from conftest import Factory, new_folder
from harness import HOST, free_port
from madecerts import Maker, openssl, shows
from raw import connect_packet

pytestmark = pytest.mark.ours

BOTH = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
CA = 'basicConstraints=critical,CA:true\n'
SIGNS = 'keyUsage=critical,keyCertSign,cRLSign\n'


class Site:
    """A port without lists, and one with those of the root and of the CA below it."""

    def __init__(self, base):
        self.base, self.factory = new_folder(base, 'chains-'), Factory(base)
        self.root = Maker(self.base + '/root', 'CA')
        self.middle = Maker(self.base + '/middle', 'Middle', self.root)
        self.bad = self.middle.issue('/CN=dev')
        lists = self.path('lists')
        with open(lists, 'w', encoding='ascii') as f:
            f.write(self.root.crl() + self.middle.crl(self.bad[0]))
        crt, key = self.root.issue('/CN=server', 'DNS:localhost', usage='serverAuth')
        need = f'certfile {crt}\nkeyfile {key}\ncafile {self.root.crt}\nrequire_certificate true\n'
        self.listed = free_port()
        self.b = self.factory(f'{need}listener {self.listed} {HOST}\n{need}crlfile {lists}\nallow_anonymous true\n',
                              extra_ports=[self.listed])

    def path(self, name):
        return os.path.join(self.base, name)

    def below(self, name, parent, exts=None):
        """A CA for this case alone."""
        ca = Maker(self.path(name), name)
        ca.parent = parent
        ca.crt, ca.key = parent.issue(f'/CN={name}', ca=True, exts=exts)
        return ca

    def let_in(self, port, pair, version):
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 10) as sock, \
                shows(self.root.crt, pair, version).wrap_socket(sock, server_hostname='localhost') as s:
            s.sendall(connect_packet('c', version=4))
            return s.recv(4) == b'\x20\2\0\0'
        return False


@pytest.fixture(scope='module')
def site(base_folder):
    s = Site(base_folder)
    yield s
    s.factory.finish()


def leaf_as_ca(s):
    leaf = Maker(s.path('leaf'), 'leaf')
    leaf.parent = s.root
    leaf.crt, leaf.key = s.root.issue('/CN=dev')
    return leaf.issue('/CN=admin')


def namesake(s):
    """A root of the same name, that he sends."""
    fake = Maker(s.path('fake'), 'CA')
    fake.parent = fake
    return fake.issue('/CN=admin')


def too_deep(s):
    top = s.below('short', s.root, CA.replace('true', 'true,pathlen:0') + SIGNS)
    return s.below('under short', top).issue('/CN=admin')


def signs_lists_only(s):
    return s.below('lists only', s.root, CA + 'keyUsage=critical,cRLSign\n').issue('/CN=admin')


def other_names(s):
    ca = s.below('names', s.root, CA + SIGNS + 'nameConstraints=critical,permitted;DNS:a.example\n')
    return ca.issue('/CN=admin', 'DNS:b.example')


def names(s):
    ca = s.below('good names', s.root, CA + SIGNS + 'nameConstraints=critical,permitted;DNS:a.example\n')
    return ca.issue('/CN=dev', 'DNS:b.a.example')


def for_servers(s):
    """A CA for servers alone."""
    return s.below('servers', s.root, CA + SIGNS + 'extendedKeyUsage=serverAuth\n').issue('/CN=admin')


def renewed(s, leaf):
    """Behind another certificate of its CA."""
    request = s.middle.crt.removesuffix('crt')
    again = s.path('again.crt')
    text = openssl('x509', '-req', '-in', request + 'csr', '-CA', s.root.crt, '-CAkey', s.root.key, '-set_serial', '77',
                   '-days', '30', '-extfile', request + 'ext', cwd='/')
    with open(leaf[0], encoding='ascii') as f, open(again, 'w', encoding='ascii') as out:
        out.write(''.join(f.read().partition('-----END CERTIFICATE-----\n')[:2]) + text)
    return again, leaf[1]


# The word in the log; None: he is let in.
ROWS = {
    'a device': (lambda s: s.root.issue('/CN=dev'), None),
    'a device of a CA below': (lambda s: s.middle.issue('/CN=dev'), None),
    'behind a new certificate of that CA': (lambda s: renewed(s, s.middle.issue('/CN=dev')), None),
    'within the names': (names, None),
    'that insists on OCSP': (lambda s: s.root.issue('/CN=dev', extra='tlsfeature=status_request\n'), None),
    'of his own certificate': (leaf_as_ca, 'is not a CA itself'),
    'of a root with the name of ours': (namesake, 'by another with that name'),
    'too deep': (too_deep, 'path|deep|depth'),
    'of a CA that signs lists only': (signs_lists_only, 'is not a CA itself'),
    'outside the names': (other_names, 'name'),
    'of a CA for servers': (for_servers, 'may not be used for this'),
}


@pytest.mark.parametrize('version', BOTH)
@pytest.mark.parametrize('row', list(ROWS))
def test_chains(site, version, row):
    make, word = ROWS[row]
    start = site.b.log_size()
    assert site.let_in(site.b.port, make(site), version) == (word is None)
    if word:
        site.b.wait_log(f'handshake failed.*({word})', start)


@pytest.mark.parametrize('version', BOTH)
def test_revoked_behind_another_certificate(site, version):
    """It is the CA's key and name that count, whatever the client sends of it."""
    assert site.let_in(site.b.port, site.bad, version)
    for pair in (site.bad, renewed(site, site.bad)):
        start = site.b.log_size()
        assert not site.let_in(site.listed, pair, version)
        site.b.wait_log('handshake failed.*is revoked', start)
    good = site.middle.issue('/CN=dev')
    assert site.let_in(site.listed, good, version)
    assert site.let_in(site.listed, renewed(site, good), version)
