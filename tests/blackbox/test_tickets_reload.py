# SPDX-License-Identifier: Apache-2.0
"""A ticket opens what a full handshake would open now, and makes nobody of anybody: of
each kind of listener, after a reload made each other kind of it, or the same again; and
never at another listener."""
import contextlib
import os
import re
import socket
import ssl

import pytest

from conftest import Factory, new_folder
from harness import HOST, free_port
from madecerts import Maker, shows
from raw import connect_packet

pytestmark = pytest.mark.ours

BOTH = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
NEW = BOTH[1:]
ALL, OURS = {'good', 'bad', 'twin', 'server', 'nobody'}, {'good', 'bad'}

# Of each kind: with which others its tickets are good, as these believe the same; who
# comes back by one; and by which versions.
RESUMES = {
    'open': ('nobody', ALL, BOTH),
    'asks nobody': ('nobody, and has a CA', ALL, BOTH),
    'needs': ('anybody of the CA', OURS, BOTH),
    'names': ('who has a name', OURS, BOTH),
    'names all': ('anybody with a name', OURS, BOTH),
    'a twin': ('the twin', {'twin'}, BOTH),
    'subjects': ('anybody with a name', OURS, BOTH),
    'lists': ('anybody with a name', {'good'}, BOTH),
    'lists of another': ('anybody with a name', set(), BOTH),
    'keys': ('keys', OURS, NEW),
    'a rule': ('issuers', OURS, NEW),
    'only 1.3': ('anybody with a name', OURS, NEW),
    'one cipher': ('anybody with a name and that cipher', OURS, BOTH),
}


def resumes(before, after, who, version):
    return all(RESUMES[before][0] == RESUMES[k][0] and who in RESUMES[k][1] and version in RESUMES[k][2]
               for k in (before, after))


class Site:
    """A port of each kind; clients of two CAs with one name, a revoked one, one without a
    certificate."""

    def __init__(self, base_folder):
        self.dir, self.n = new_folder(base_folder, 'kinds-'), 0
        self.ca, self.twin = Maker(self.dir + '/ca', 'CA'), Maker(self.dir + '/twin', 'CA')
        crt, key = self.ca.issue('/CN=server', 'DNS:localhost', usage='serverAuth')
        pairs = {'good': self.ca.issue('/CN=good'), 'bad': self.ca.issue('/CN=bad'),
                 'twin': self.twin.issue('/CN=good'), 'server': (crt, key)}
        lists = self.put('lists', self.ca.crl(pairs['bad'][0]))
        others = self.put('others', self.twin.crl(pairs['twin'][0]))
        keys = self.put('keys', 'dev:' + 'a1' * 16 + '\n')
        tls = f'certfile {crt}\nkeyfile {key}\n'
        mine, named = f'{tls}cafile {self.ca.crt}\n', 'use_identity_as_username true\n'
        need = 'require_certificate true\n'
        self.kinds = {
            'open': tls,
            'asks nobody': mine,
            'needs': mine + need,
            'names': mine + named,
            'names all': mine + need + named,
            'a twin': f'{tls}cafile {self.twin.crt}\n{need}{named}',
            'subjects': mine + need + 'use_subject_as_username true\n',
            'lists': mine + need + named + f'crlfile {lists}\n',
            'lists of another': mine + need + named + f'crlfile {others}\n',
            'keys': mine + named + f'psk_hint h\npsk_file {keys}\n',
            'a rule': mine + f'certificate_rule ca {self.ca.crt} cn\ncertificate_clientid any\n',
            'only 1.3': mine + need + named + 'tls_version tlsv1.3\n',
            'one cipher': mine + need + named + 'ciphers ECDHE-ECDSA-CHACHA20-POLY1305\n',
        }
        self.ports = [free_port() for _ in self.kinds]
        self.factory = Factory(base_folder)
        self.b = self.factory(self.conf(0), extra_ports=self.ports, anonymous=True)
        with open(self.b.conf_path, encoding='utf-8') as f:
            self.head = f.read().split(f'listener {self.ports[0]}')[0]
        self.contexts = {(who, v): shows(self.ca.crt, pairs.get(who, ()), v)
                         for who in [*pairs, 'nobody'] for v in BOTH}

    def put(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, 'w', encoding='ascii') as f:
            f.write(text)
        os.chmod(path, 0o600 if name == 'keys' else 0o644)
        return path

    def kind(self, i, turn):
        """Each turn goes one step further than the one before, so that each kind comes after
        each, itself too: their number is a prime."""
        return list(self.kinds)[(i + turn * (turn + 1) // 2) % len(self.kinds)]

    def conf(self, turn):
        return ''.join(f'listener {p} {HOST}\nallow_anonymous true\n{self.kinds[self.kind(i, turn)]}'
                       for i, p in enumerate(self.ports))

    def turn(self, turn):
        """All listeners are of the next kind."""
        self.b.write_conf(self.head + self.conf(turn))
        self.b.reload()

    def visit(self, i, who, session=None):
        """(MQTT's identifier; it was let in; it was resumed; its session)"""
        ctx, self.n = self.contexts[who], self.n + 1
        with contextlib.suppress(OSError), \
                ctx.wrap_socket(socket.create_connection((HOST, self.ports[i]), 10),
                                server_hostname='localhost', session=session) as s:
            s.sendall(connect_packet(f'c{self.n}', version=4))
            if s.recv(4) == b'\x20\2\0\0':
                return f'c{self.n}', True, s.session_reused, s.session
        return f'c{self.n}', False, False, None

    def names(self):
        """As whom each identifier came."""
        assert self.visit(0, ('good', BOTH[1]))[1]
        self.b.wait_log(rf'as c{self.n} ')
        return {c: u for c, u in re.findall(r"client connected from \S+ as (c\d+) \(p\d, c\d, k\d+(?:, u'([^']*)')?\)",
                                            self.b.log())}


def test_a_ticket_after_a_reload(base_folder):
    site = Site(base_folder)
    try:
        _look(site)
    finally:
        site.factory.finish()


def _look(site):
    pairs, seen = [], set()
    for turn in range(len(site.kinds)):
        had = {(i, who): site.visit(i, who) for i in range(len(site.ports)) for who in site.contexts}
        for (i, who), (_, let_in, reused, session) in had.items():
            assert not reused
            need = site.kind(i, turn) in ('needs', 'names all', 'subjects', 'lists', 'only 1.3', 'one cipher')
            if need and who[0] in ('nobody', 'twin') or \
                    site.kind(i, turn) == 'a twin' and who[0] != 'twin':
                assert not let_in, (site.kind(i, turn), who)
            if session and i % 5 == turn % 5:
                other = site.visit((i + 1) % len(site.ports), who, session)
                fresh = had[(i + 1) % len(site.ports), who]
                assert other[1] == fresh[1] and not other[2], (site.kind(i, turn), who)
                pairs.append((other[0], fresh[0], 'at another', who))
        site.turn(turn + 1)
        for (i, who), (_, _, _, session) in had.items():
            before, after = site.kind(i, turn), site.kind(i, turn + 1)
            seen.add((before, after))
            if not session:
                assert not resumes(before, after, *who), (before, after, who)
                continue
            came, fresh = site.visit(i, who, session), site.visit(i, who)
            assert came[1] == fresh[1], (before, after, who)
            assert came[2] == resumes(before, after, *who), (before, after, who)
            pairs.append((came[0], fresh[0], before, after, who))
    assert seen == {(a, b) for a in site.kinds for b in site.kinds}
    names = site.names()
    for a, b, *what in pairs:
        assert names.get(a) == names.get(b), what
