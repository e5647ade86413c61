# SPDX-License-Identifier: Apache-2.0
"""Revocation: who is connected is thrown out within a second on every kind of
listener, and comes back by no way, while everybody else stays."""
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

import harness
from conftest import Factory, new_folder
from harness import HOST, free_port, paced, wait_until
from madecerts import Maker, openssl, shows
from raw import Raw, connect_packet
from wsraw import RawWs

pytestmark = pytest.mark.ours

WITHIN = 1.0


class Ca:
    """Our own CA in a folder, with a server's certificate and devices'."""

    def __init__(self, folder):
        self.dir = str(folder)
        self('init')
        self('server')

    def __call__(self, verb, *args, status=0):
        p = subprocess.run([harness.NIGHTJAR, 'ca', verb, '--dir', self.dir, *args],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                           stderr=subprocess.STDOUT, text=True, start_new_session=True)
        assert status is None or p.returncode == status, p.stdout
        return p.stdout

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def device(self, name, *args):
        """What ssl wants of it, kept when the device's folder goes."""
        self('device', name, *args)
        kept = self.path('kept', name)
        shutil.copytree(self.path('devices', name), kept)
        return kept

    def context(self, kept, version=None):
        ctx = ssl.create_default_context(cafile=self.path('pki', 'ca.crt'))
        ctx.load_cert_chain(os.path.join(kept, 'client.crt'), os.path.join(kept, 'client.key'))
        if version:
            ctx.minimum_version = ctx.maximum_version = version
        return ctx

    def listed(self):
        """The serials on the published list, as openssl reads them."""
        p = subprocess.run(['openssl', 'crl', '-in', self.path('crl', 'ca.crl'), '-noout', '-text',
                            '-CAfile', self.path('pki', 'ca.crt')],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
        assert 'verify OK' in p.stderr, p.stderr
        return re.findall(r'Serial Number: (\w+)', p.stdout), p.stdout

    def serial(self, kept):
        p = subprocess.run(['openssl', 'x509', '-in', os.path.join(kept, 'client.crt'), '-noout',
                            '-serial'], stdout=subprocess.PIPE, text=True, check=True)
        return p.stdout.strip().split('=')[1]


@pytest.fixture(scope='module')
def site(base_folder):
    """One CA and one broker with three listeners, for all tests of the file."""
    ca = Ca(new_folder(base_folder, 'ca-'))
    tls = (f'certfile {ca.path("server", "server.crt")}\nkeyfile {ca.path("server", "server.key")}\n'
           f'cafile {ca.path("pki", "ca.crt")}\n')
    mutual = (tls + 'require_certificate true\nuse_identity_as_username true\n'
              'certificate_clientid any\n')
    wss, asks = free_port(), free_port()
    factory = Factory(base_folder)
    b = factory(mutual + f'listener {wss} {HOST}\nprotocol websockets\n{mutual}'
                f'listener {asks} {HOST}\nprotocol mqtt+websockets\n{mutual}', extra_ports=[wss, asks],
                anonymous=False)
    yield ca, b, wss, asks
    factory.finish()


def gone(client, version=5):
    """How long until it was thrown out; asserts the code."""
    start = time.monotonic()
    assert client.closed() == (0x98 if version == 5 else None)
    return time.monotonic() - start


def refused(port, ctx, session=None):
    """Asserts that no CONNACK of success comes."""
    with pytest.raises((OSError, IndexError)):
        sock = socket.create_connection((HOST, port), 10)
        with ctx.wrap_socket(sock, server_hostname='localhost', session=session) as s:
            s.sendall(connect_packet('again'))
            data = s.recv(4)
            assert data[0] == 0x20 and data[3] == 0, data


def session_of(port, ctx):
    """A session to come back with."""
    sock = socket.create_connection((HOST, port), 10)
    with ctx.wrap_socket(sock, server_hostname='localhost') as s:
        s.sendall(connect_packet('before'))
        assert s.recv(1)[0] == 0x20
        return s.session


@paced
def test_thrown_out_everywhere(site, pace):
    """TLS 1.2 and 1.3, WebSocket, a resumed session, 5.0 and 3.1.1, on four
    shards; the others of its group go on."""
    ca, b, wss, asks = site
    name = f'bad-{pace}'
    bad = ca.device(name, '--group', 'pumps')
    good = ca.device(f'good-{pace}', '--group', 'pumps')
    bad_ctx, good_ctx = ca.context(bad), ca.context(good)
    bad_12 = ca.context(bad, ssl.TLSVersion.TLSv1_2)
    sessions = [(b.port, bad_ctx, session_of(b.port, bad_ctx)),
                (b.port, bad_12, session_of(b.port, bad_12)),
                (asks, bad_ctx, session_of(asks, bad_ctx))]
    with contextlib.ExitStack() as stack:
        bads, goods = [], []
        for i in range(4):
            for ctx, into in ((bad_ctx, bads), (bad_12, bads), (good_ctx, goods)):
                c = stack.enter_context(Raw(b.port, tls=ctx))
                c.connect(f'{len(bads)}-{len(goods)}-{i}')
                into.append((c, 5))
        c = stack.enter_context(Raw(b.port, tls=bad_ctx, version=4))
        c.connect('old')
        bads.append((c, 4))
        for port in (wss, asks):
            c = stack.enter_context(RawWs(port, tls=bad_ctx))
            c.connect(f'ws-{port}')
            bads.append((c, 5))
        c = stack.enter_context(RawWs(wss, tls=good_ctx))
        c.connect('ws-good')
        goods.append((c, 5))
        # one that resumed, and one that has not said CONNECT yet
        sock = socket.create_connection((HOST, b.port), 10)
        resumed = stack.enter_context(bad_12.wrap_socket(sock, server_hostname='localhost',
                                                         session=sessions[1][2]))
        assert resumed.session_reused
        resumed.sendall(connect_packet('resumed'))
        assert resumed.recv(64)[0] == 0x20
        silent = stack.enter_context(bad_ctx.wrap_socket(
            socket.create_connection((HOST, b.port), 10), server_hostname='localhost'))
        silent.sendall(b'\x10')

        out = ca('revoke', name, '--reason', 'key-compromise')
        start = time.monotonic()
        assert f"Revoked the certificate of '{name}'" in out
        for c, version in bads:
            gone(c, version)
        with contextlib.suppress(OSError):
            while resumed.recv(64):
                pass
        with contextlib.suppress(OSError):
            assert not silent.recv(1)
        assert time.monotonic() - start < WITHIN * pace
        for c, _ in goods:
            c.ping()

    for port, ctx, session in sessions:
        assert session.has_ticket
        refused(port, ctx)
        refused(port, ctx, session)
    with pytest.raises((OSError, AssertionError)):
        RawWs(wss, tls=bad_ctx).connect('again')
    b.wait_log(r"revoked")
    with Raw(b.port, tls=good_ctx) as c:
        c.connect('good-again')


def test_list_is_published(site):
    ca, _, _, _ = site
    kept = ca.device('listed')
    ca('revoke', 'listed', '--reason', 'superseded')
    serials, text = ca.listed()
    assert ca.serial(kept) in serials
    assert 'Superseded' in text and 'X509v3 CRL Number' in text and 'Authority Key' in text
    number = int(re.search(r'CRL Number:\s+(\d+)', text).group(1))
    ca('crl', '--days', '30')
    serials, text = ca.listed()
    assert ca.serial(kept) in serials
    assert int(re.search(r'CRL Number:\s+(\d+)', text).group(1)) > number
    assert os.stat(ca.path('crl', 'ca.crl')).st_mode & 0o777 == 0o644
    p = subprocess.run(['openssl', 'verify', '-crl_check', '-CRLfile', ca.path('crl', 'ca.crl'),
                        '-CAfile', ca.path('pki', 'ca.crt'), os.path.join(kept, 'client.crt')],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert 'certificate revoked' in p.stdout


def test_all_certificates_of_a_name(site):
    """A second certificate was made with --again: both are taken back, and a
    third one is another beginning."""
    ca, b, _, _ = site
    first = ca.device('twice')
    os.rename(first, first + '-1')
    second = ca.device('twice', '--again')
    out = ca('revoke', 'twice')
    assert ca.serial(first + '-1') in out and ca.serial(second) in out
    assert 'revoked' in ca('list') and not os.path.exists(ca.path('devices', 'twice'))
    for kept in (first + '-1', second):
        wait_until(lambda k=kept: _is_refused(b.port, ca.context(k)), 'it is refused')
    assert 'not revoked already' in ca('revoke', 'twice')
    shutil.rmtree(second)
    with Raw(b.port, tls=ca.context(ca.device('twice'))) as c:
        c.connect('third')


def _is_refused(port, ctx):
    try:
        refused(port, ctx)
        return True
    except (AssertionError, pytest.fail.Exception):
        return False


def test_by_serial_and_by_file(site):
    ca, b, _, _ = site
    by_serial, by_file = ca.device('by-serial'), ca.device('by-file')
    serial = ca.serial(by_serial).lower()
    ca('revoke', ':'.join(serial[i:i + 2] for i in range(0, len(serial), 2)))
    ca('revoke', '--file', os.path.join(by_file, 'client.crt'))
    for kept in (by_serial, by_file):
        wait_until(lambda k=kept: _is_refused(b.port, ca.context(k)), 'it is refused')


def test_no_room_for_the_list(site):
    """That brokers do not know of it yet is said loudly."""
    ca, b, _, _ = site
    kept = ca.device('no-room')
    listed = ca.path('crl')
    os.rename(listed, listed + '~')
    with open(listed, 'w', encoding='ascii'):
        pass	# a file, where no folder finds room
    try:
        out = ca('revoke', 'no-room', status=1)
    finally:
        os.unlink(listed)
        os.rename(listed + '~', listed)
    assert "Revoked the certificate of 'no-room'" in out
    assert 'it is written down as revoked, but the list' in out
    assert 'still let it in' in out and 'then at once: nightjar ca crl' in out
    ca('crl')
    assert ca.serial(kept) in ca.listed()[0]
    wait_until(lambda: _is_refused(b.port, ca.context(kept)), 'it is refused')


@pytest.mark.parametrize('args, status, says', [
    (['nobody-has-this'], 1, 'nightjar ca list'),
    ([], 2, 'one name'),
    (['a', 'b'], 2, 'one name'),
    (['x', '--reason', 'dislike'], 2, 'key-compromise'),
    (['--file', '/nonexistent'], 1, 'nonexistent'),
])
def test_what_cannot_be_revoked(site, args, status, says):
    assert says in site[0]('revoke', *args, status=status)


def test_certificate_of_another_ca(site, pki):
    out = site[0]('revoke', '--file', pki.client[0], status=1)
    assert 'was not issued by the CA' in out


def age_list(ca, kept):
    """Puts a list in the place of the CA's that ended long ago."""
    folder = ca.path('old')
    os.makedirs(folder)
    conf = os.path.join(folder, 'cnf')
    with open(conf, 'w', encoding='ascii') as f:
        f.write(f'[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\ndefault_md=sha256\n'
                'default_crl_days=1\n')
    with open(os.path.join(folder, 'index'), 'w', encoding='ascii') as f:
        f.write(f'R\t351231235959Z\t200101000000Z\t{ca.serial(kept)}\tunknown\t/CN=bad\n')
    subprocess.run(['openssl', 'ca', '-config', conf, '-gencrl', '-cert', ca.path('pki', 'ca.crt'),
                    '-keyfile', ca.path('pki', 'ca.key'), '-passin',
                    'file:' + ca.path('ca.passphrase'), '-crl_lastupdate', '20200101000000Z',
                    '-crl_nextupdate', '20200108000000Z', '-out', ca.path('crl', 'ca.crl')],
                   check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_stale_list_locks_nobody_out(brokers, base_folder):
    """The list's date has passed: the revoked stay out, the others get in, and
    the log tells of it."""
    ca = Ca(new_folder(base_folder, 'ca-'))
    good, bad = ca.device('good'), ca.device('bad')
    ca('revoke', 'bad')
    age_list(ca, bad)
    b = brokers(f'certfile {ca.path("server", "server.crt")}\n'
                f'keyfile {ca.path("server", "server.key")}\n'
                f'cafile {ca.path("pki", "ca.crt")}\nrequire_certificate true\n')
    with Raw(b.port, tls=ca.context(good)) as c:
        c.connect('good')
    refused(b.port, ca.context(bad))
    b.wait_log('has passed its date.*nightjar ca crl')
    ca('revoke', 'good')
    wait_until(lambda: _is_refused(b.port, ca.context(good)), 'it is refused')


def test_a_damaged_list_at_a_reload(brokers, base_folder):
    """All stays as it was: nobody is let in whom it refused."""
    ca = Ca(new_folder(base_folder, 'ca-'))
    good, bad = ca.device('good'), ca.device('bad')
    ca('revoke', 'bad')
    b = brokers(f'certfile {ca.path("server", "server.crt")}\n'
                f'keyfile {ca.path("server", "server.key")}\n'
                f'cafile {ca.path("pki", "ca.crt")}\nrequire_certificate true\n')
    refused(b.port, ca.context(bad))
    start = b.log_size()
    with open(ca.path('crl', 'ca.crl'), 'wb') as f:
        f.write(b'-----BEGIN X509 CRL-----\nrubbish\n')
    b.hup()
    b.wait_log('Reload failed, everything stays as it was.*ca.crl', start)
    for _ in range(2):
        refused(b.port, ca.context(bad))
        with Raw(b.port, tls=ca.context(good)) as c:
            c.connect('good')


@paced
def test_foreign_list_is_read_again(brokers, pki, base_folder, pace):
    """A crlfile that is replaced holds at once, and by a SIGHUP as well; a
    damaged one changes nothing."""
    folder = new_folder(base_folder, 'crl-')
    mine = os.path.join(folder, 'ca.crl')
    shutil.copy(pki.crl, mine)
    victim = pki.authority.issue('victim')
    b = brokers(f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\ncafile {pki.ca}\n'
                f'crlfile {mine}\nrequire_certificate true\n')

    def context(pair):
        ctx = ssl.create_default_context(cafile=pki.ca)
        ctx.load_cert_chain(*pair)
        return ctx

    with Raw(b.port, tls=context(victim)) as c, Raw(b.port, tls=context(pki.client)) as other:
        c.connect('victim')
        other.connect('other')
        start = b.log_size()
        with open(mine, 'wb') as f:
            f.write(b'-----BEGIN X509 CRL-----\nrubbish\n')
        b.wait_log('revocation lists stay', start)
        c.ping()
        pki.authority.revoke(victim[0])
        shutil.copy(pki.authority.crl(), mine + '.new')
        os.rename(mine + '.new', mine)
        assert gone(c) < WITHIN * pace
        other.ping()
    refused(b.port, context(victim))


def test_lists_are_kept_once(brokers, base_folder):
    """However many reloads have left connections behind; and all are thrown out by the
    newest list."""
    ca = Maker(new_folder(base_folder, 'long-'), 'CA')
    crt, key = ca.issue('/CN=server', 'DNS:localhost', usage='serverAuth')
    pair = ca.issue('/CN=dev')
    ca.crl()
    with open(ca.path('lists/index'), 'a', encoding='ascii') as f:
        f.writelines(f'R\t351231235959Z\t200101000000Z\t{(1 << 62) + i:016X}\tunknown\t/CN=x\n'
                     for i in range(20000))
    mine = ca.path('mine.crl')
    with open(mine, 'w', encoding='ascii') as f:
        f.write(ca.crl())
    b = brokers(f'certfile {crt}\nkeyfile {key}\ncafile {ca.crt}\ncrlfile {mine}\nrequire_certificate true\n')
    with contextlib.ExitStack() as stack:
        old, before = [], 0
        for i in range(20):
            c = stack.enter_context(Raw(b.port, tls=shows(ca.crt, pair)))
            c.connect(f'c{i}')
            old.append(c)
            start = b.log_size()
            b.process.send_signal(signal.SIGHUP)
            b.wait_log('Reloaded', start)
            before = b.rss_kib() if i == 4 else before
        if not b.sanitized():	# five of the lists, and not fifteen
            assert b.rss_kib() - before < 5 * 4500
        with open(mine + '.new', 'w', encoding='ascii') as f:
            f.write(ca.crl(pair[0]))
        os.rename(mine + '.new', mine)
        for c in old:
            assert c.closed() == 0x98


@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_lists_that_come_with_a_reload(brokers, base_folder, version):
    """Who is connected from before is asked, too, and stays under watch; his ticket as well."""
    ca = Maker(new_folder(base_folder, 'late-'), 'CA')
    crt, key = ca.issue('/CN=server', 'DNS:localhost', usage='serverAuth')
    bad, good, mine = ca.issue('/CN=bad'), ca.issue('/CN=good'), ca.path('mine.crl')
    bad_ctx, good_ctx = shows(ca.crt, bad, version), shows(ca.crt, good, version)
    with open(mine, 'w', encoding='ascii') as f:
        f.write(ca.crl(bad[0]))
    b = brokers(f'certfile {crt}\nkeyfile {key}\ncafile {ca.crt}\nrequire_certificate true\n')
    session = session_of(b.port, bad_ctx)
    with Raw(b.port, tls=bad_ctx) as c, Raw(b.port, tls=good_ctx) as g:
        c.connect('bad')
        g.connect('good')
        with open(b.conf_path, encoding='utf-8') as f:
            text = f.read()
        b.write_conf(text.replace(f'cafile {ca.crt}\n', f'cafile {ca.crt}\ncrlfile {mine}\n'))
        b.reload()
        assert c.closed() == 0x98
        refused(b.port, bad_ctx)
        refused(b.port, bad_ctx, session)
        g.ping()
        with open(mine + '.new', 'w', encoding='ascii') as f:
            f.write(ca.crl(good[0]))
        os.rename(mine + '.new', mine)
        assert g.closed() == 0x98


@pytest.mark.parametrize('lists', ['its own', "another's"])
def test_a_handshake_that_a_reload_overtakes(brokers, base_folder, lists):
    """It is judged by the lists that the reload brought; there were none before."""
    ca, other = (Maker(new_folder(base_folder, 'late-'), name) for name in ('CA', 'Other'))
    crt, key = ca.issue('/CN=server', 'DNS:localhost', usage='serverAuth')
    pairs, mine = [ca.issue('/CN=bad'), ca.issue('/CN=good')], ca.path('mine.crl')
    with open(mine, 'w', encoding='ascii') as f:
        f.write(ca.crl(pairs[0][0]) if lists == 'its own' else other.crl())
    b = brokers(f'certfile {crt}\nkeyfile {key}\ncafile {ca.crt}\nrequire_certificate true\n')
    with contextlib.ExitStack() as stack:
        start = b.log_size()
        socks = [stack.enter_context(socket.create_connection((HOST, b.port), 10)) for _ in pairs]
        for sock in socks:
            b.wait_log(rf'New connection from {HOST}:{sock.getsockname()[1]} ', start)
        with open(b.conf_path, encoding='utf-8') as f:
            text = f.read()
        b.write_conf(text.replace(f'cafile {ca.crt}\n', f'cafile {ca.crt}\ncrlfile {mine}\n'))
        b.reload()
        for pair, sock, good in zip(pairs, socks, (False, lists == 'its own')):
            data = b''
            with contextlib.suppress(OSError), shows(ca.crt, pair).wrap_socket(sock, server_hostname='localhost') as s:
                s.sendall(connect_packet('c', version=4))
                data = s.recv(4)
            assert (data == b'\x20\2\0\0') == good


BOTH = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Partner:
    """A broker for the devices of a CA two below a root, with the lists of all three."""

    def __init__(self, brokers, folder):
        self.root = Maker(folder + '/root', 'Root')
        self.middle = Maker(folder + '/middle', 'Middle', self.root)
        self.below = Maker(folder + '/below', 'Below', self.middle)
        self.lists = os.path.join(folder, 'lists')
        self.put()
        crt, key = self.root.issue('/CN=server', 'DNS:localhost', usage='serverAuth')
        self.b = brokers(f'certfile {crt}\nkeyfile {key}\ncafile {self.root.crt}\ncrlfile {self.lists}\n'
                         'require_certificate true\nuse_identity_as_username true\n', anonymous=False)

    def put(self, revoked=(), left_out=()):
        """revoked: pairs of a CA and a certificate."""
        with open(self.lists + '.new', 'w', encoding='ascii') as f:
            for ca in (self.root, self.middle, self.below):
                if ca not in left_out:
                    f.write(ca.crl(*(crt for by, crt in revoked if by is ca)))
        os.rename(self.lists + '.new', self.lists)

    def client(self, version, ca):
        return shows(self.root.crt, ca.issue('/CN=dev'), version)

    def is_let_in(self, ctx, session=None):
        """Whether it was resumed, and with what it comes back; None: it is not let in."""
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.b.port), 10) as sock, \
                ctx.wrap_socket(sock, server_hostname='localhost', session=session) as s:
            s.sendall(connect_packet('c', version=4))
            if s.recv(4) == b'\x20\2\0\0':
                return s.session_reused, s.session
        return None


@pytest.fixture
def partner(brokers, base_folder):
    return Partner(brokers, new_folder(base_folder, 'partner-'))


@pytest.mark.parametrize('version', BOTH)
@pytest.mark.parametrize('which', ['below', 'middle'])
def test_a_ca_that_is_revoked(partner, version, which):
    """Its devices are out as well: who is connected, who came by a ticket, and who comes
    back; those of the CA above it stay."""
    bad, good = partner.client(version, partner.below), partner.client(version, partner.root)
    first, other = partner.is_let_in(bad)[1], partner.is_let_in(good)[1]
    reused, second = partner.is_let_in(bad, first)
    assert reused
    with Raw(partner.b.port, tls=bad) as c, Raw(partner.b.port) as r, Raw(partner.b.port, tls=good) as g:
        c.connect('full')
        r.sock = bad.wrap_socket(r.sock, server_hostname='localhost', session=second)
        r.connect('resumed')
        assert r.sock.session_reused
        g.connect('good')
        start = partner.b.log_size()
        partner.put([(partner.middle, partner.below.crt) if which == 'below' else (partner.root, partner.middle.crt)])
        assert c.closed() == 0x98 and r.closed() == 0x98
        partner.b.wait_log(r'a CA above its certificate \(serial \w+\) was revoked', start)
        g.ping()
    for session in (None, first, second):
        start = partner.b.log_size()
        assert partner.is_let_in(bad, session) is None
        partner.b.wait_log(r"handshake failed: CA certificate '\w+' \(serial \w+\) is revoked", start)
    assert partner.is_let_in(good, other)[0]


@pytest.mark.parametrize('version', BOTH)
def test_a_device_with_the_number_of_its_root(partner, version):
    """A list tells of what its CA has issued, and its root is above that."""
    ctx = partner.client(version, partner.root)
    session = partner.is_let_in(ctx)[1]
    number = openssl('x509', '-in', partner.root.crt, '-noout', '-serial', cwd='/').strip().partition('=')[2]
    twin = partner.root.issue('/CN=twin', serial='0x' + number)
    assert partner.is_let_in(shows(partner.root.crt, twin, version))
    with Raw(partner.b.port, tls=ctx) as c:
        c.connect('stays')
        start = partner.b.log_size()
        partner.put([(partner.root, twin[0])])
        partner.b.wait_log('New list of revoked', start)
        assert partner.is_let_in(shows(partner.root.crt, twin, version)) is None
        c.ping()
    assert partner.is_let_in(ctx, session)[0]
    assert partner.is_let_in(ctx)


@pytest.mark.parametrize('version', BOTH)
def test_a_list_that_is_gone(partner, version):
    """Without the list of its CA a device is refused, by a ticket as well; the lists of CAs
    above are not missed."""
    ctx = partner.client(version, partner.below)
    session = partner.is_let_in(ctx)[1]
    start = partner.b.log_size()
    partner.put([(partner.middle, partner.middle.issue('/CN=x')[0])], left_out=[partner.root])
    partner.b.wait_log('New list of revoked', start)
    reused, session = partner.is_let_in(ctx, session)
    assert reused
    start = partner.b.log_size()
    partner.put([(partner.root, partner.root.issue('/CN=x')[0])], left_out=[partner.below])
    partner.b.wait_log('New list of revoked', start)
    for old in (None, session):
        start = partner.b.log_size()
        assert partner.is_let_in(ctx, old) is None
        partner.b.wait_log('handshake failed', start)
    start = partner.b.log_size()
    partner.put([(partner.below, partner.below.issue('/CN=x')[0])])
    partner.b.wait_log('New list of revoked', start)
    assert partner.is_let_in(ctx, session)[0]


@pytest.mark.parametrize('version', BOTH)
@pytest.mark.parametrize('digits', [40, 42, 46])
def test_a_long_serial(partner, version, digits):
    """Some CAs make longer ones than they may (RFC 5280 4.1.2.2)."""
    pairs = [partner.below.issue('/CN=dev', serial='0x7f' + digit * (digits - 2)) for digit in '0a']
    for n, pair in enumerate(pairs):
        ctx = shows(partner.root.crt, pair, version)
        session = partner.is_let_in(ctx)[1]
        with Raw(partner.b.port, tls=ctx) as c:
            c.connect('live')
            partner.put([(partner.below, pair[0])])
            assert c.closed() == 0x98
        for old in (None, session):
            start = partner.b.log_size()
            assert partner.is_let_in(ctx, old) is None
            partner.b.wait_log('handshake failed.*revoked', start)
        assert n or partner.is_let_in(shows(partner.root.crt, pairs[1], version))


@pytest.mark.parametrize('scope, why', [('indirectCRL:TRUE', 'is an indirect one'),
                                        ('DER:04:00', 'does not say in a form that can be read')])
def test_a_list_of_who_knows_which(partner, scope, why):
    """Nobody would be kept out by what it says of other CAs' certificates, or of a part of its
    own: it is refused when it comes, at a reload, and at the start."""
    ctx, bad = partner.client(BOTH[1], partner.below), partner.middle.issue('/CN=bad')
    partner.put([(partner.middle, bad[0])])
    with open(partner.lists, encoding='ascii') as f:
        text = f.read() + partner.root.crl(scope=scope)
    start = partner.b.log_size()
    with open(partner.lists + '.new', 'w', encoding='ascii') as f:
        f.write(text)
    os.rename(partner.lists + '.new', partner.lists)
    partner.b.wait_log(f"revocation lists stay.*list of 'Root' {why}", start)
    start = partner.b.log_size()
    partner.b.hup()
    partner.b.wait_log(f"Reload failed, everything stays as it was.*list of 'Root' {why}", start)
    assert partner.is_let_in(ctx)
    assert partner.is_let_in(shows(partner.root.crt, bad)) is None
    p = subprocess.run([harness.NIGHTJAR, 'serve', '-c', partner.b.conf_path, '--test-config'], check=False,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert p.returncode != 0 and f"list of 'Root' {why}" in p.stdout


def test_many_certificates_of_a_ca(partner):
    """Who has a CA's key makes as many of it as he likes; the clients of another CA come back
    by tickets all the same."""
    device, key = partner.middle.issue('/CN=dev')
    with open(device, encoding='ascii') as f:
        leaf = f.read().partition('-----END CERTIFICATE-----\n')
    request = partner.middle.crt.removesuffix('crt')
    for n in range(280):
        chain = partner.middle.path(f'chain{n}')
        one = openssl('x509', '-req', '-in', request + 'csr', '-CA', partner.root.crt, '-CAkey', partner.root.key,
                      '-set_serial', str(1000 + n), '-days', '30', '-extfile', request + 'ext', cwd='/')
        with open(chain, 'w', encoding='ascii') as f:
            f.write(leaf[0] + leaf[1] + one)
        assert partner.is_let_in(shows(partner.root.crt, (chain, key)))
    for version in BOTH:
        late = partner.client(version, partner.below)
        reused, session = partner.is_let_in(late)
        assert not reused
        assert partner.is_let_in(late, session)[0]
