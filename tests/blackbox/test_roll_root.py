# SPDX-License-Identifier: Apache-2.0
"""A root's successor above an issuing CA: devices that know the old one, and
those that know both, connect all the while."""
import os
import re
import shutil
import ssl
import subprocess

import pytest

import harness
from conftest import Factory, new_folder
from harness import HOST, free_port, wait_until
from raw import Raw
from test_ca import Ca, openssl
from test_ca_authority import GOOD, Company

pytestmark = pytest.mark.ours


class Site:
    """A CA with an offline root, a broker with MQTT and EST, devices of it."""

    def __init__(self, base, *how):
        self.base = base
        self.ca = Ca(new_folder(base, 'ca-'))
        self.n = 0
        self.ca('init', *how)

    def serve(self):
        self.ca('server', 'localhost')
        pair = (f'certfile {self.ca.path("server", "server.crt")}\n'
                f'keyfile {self.ca.path("server", "server.key")}\ncafile {self.ca.path("pki", "ca.crt")}\n')
        self.est = free_port()
        self.factory = Factory(self.base)
        self.broker = self.factory(pair + 'require_certificate true\nuse_identity_as_username true\n'
                                   f'listener {self.est} {HOST}\nprotocol est\n{pair}',
                                   extra_ports=[self.est], anonymous=False)
        return self

    def trust(self):
        """A copy of what clients are given now."""
        self.n += 1
        path = os.path.join(new_folder(self.base, 'trust-'), 'ca.crt')
        shutil.copy(self.ca.path('pki', 'ca.crt'), path)
        return path

    def device(self, name, *args):
        """A folder with all that the device has, kept as it is."""
        self.ca('device', name, *args)
        kept = os.path.join(new_folder(self.base, 'dev-'), name)
        shutil.copytree(self.ca.path('devices', name), kept)
        return kept

    def context(self, folder, trust=None):
        ctx = ssl.create_default_context(cafile=trust or folder + '/ca.crt')
        ctx.load_cert_chain(folder + '/client.crt', folder + '/client.key')
        return ctx

    def connects(self, folder, trust=None):
        with Raw(self.broker.port, tls=self.context(folder, trust)) as c:
            c.connect(os.path.basename(folder))

    def shown(self):
        """The issuer of what the broker shows, and how long its chain is."""
        out = subprocess.run(['openssl', 's_client', '-connect', f'{HOST}:{self.broker.port}', '-showcerts'],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True, check=False).stdout
        return re.findall(r'-----BEGIN.*?-----END CERTIFICATE-----', out, re.S)

    def cacerts(self):
        body = subprocess.run(['curl', '-s', '--cacert', self.ca.path('pki', 'ca.crt'),
                               f'https://{HOST}:{self.est}/.well-known/est/cacerts'], check=True,
                              stdout=subprocess.PIPE).stdout
        der = subprocess.run(['openssl', 'base64', '-d'], input=body, check=True, stdout=subprocess.PIPE).stdout
        out = subprocess.run(['openssl', 'pkcs7', '-inform', 'DER', '-print_certs'], input=der, check=True,
                             stdout=subprocess.PIPE).stdout.decode()
        return re.findall(r'-----BEGIN.*?-----END CERTIFICATE-----\n', out, re.S)


def parts(pem):
    text = subprocess.run(['openssl', 'x509', '-noout', '-subject', '-issuer'], input=pem.encode(), check=True,
                          stdout=subprocess.PIPE).stdout.decode()
    return tuple(line.split('=', 1)[1].strip() for line in text.splitlines())


def enroll(site, name, token, *args):
    out = os.path.join(new_folder(site.base, 'enr-'), name)
    p = subprocess.run([harness.NIGHTJAR, 'enroll', token, '--out', out, *args], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    assert p.returncode == 0, p.stdout
    return out


def test_old_and_new_all_the_while(base_folder, tmp_path):
    """With both roots' keys on sticks."""
    old_stick, new_stick = str(tmp_path / 'old'), str(tmp_path / 'new')
    site = Site(base_folder, '--name', 'First', '--offline-root', old_stick).serve()
    ca, broker = site.ca, site.broker
    before, only_old = site.device('before'), site.trust()
    lost = site.device('lost')
    token = ca('token', 'early', '--at', f'{HOST}:{site.est}', '-q').strip()
    with open(only_old, encoding='ascii') as f:
        first = f.read()
    assert site.cacerts()[0] == first

    # Announced: clients are told of it; nothing else has changed.
    assert '--offline-root' in ca('roll', '--root', status=1)
    out = ca('roll', '--root', '--name', 'Second', '--offline-root', old_stick, '--new-root', new_stick)
    assert 'has both roots' in out and 'roll --switch' in out
    assert sorted(os.listdir(new_stick)) == ['root.crt', 'root.key']
    shutil.rmtree(old_stick)
    os.rename(new_stick, new_stick + '-away')
    assert 'under way' in ca('roll', '--root', status=1)
    broker.wait_log('New certificates')
    between = site.device('between')
    assert ca.read('devices', 'between', 'ca.crt').count(b'BEGIN') == 2
    for folder in before, between:
        site.connects(folder)
    site.connects(between, only_old)
    # Who knows one root finds the other (RFC 7030 4.1.3).
    said = {parts(p): p for p in site.cacerts()}
    one, two = 'CN = First', 'CN = Second'
    for ways in ((one, one), (one, two), (two, one), (two, two)):
        assert ways in said, list(said)
    both = {}
    for name, ways in (('old', (one, one)), ('new', (two, two)), ('cross', (two, one)), ('back', (one, two))):
        both[name] = str(tmp_path / name)
        with open(both[name] + '.pem', 'w', encoding='ascii') as f:
            f.write(said[ways])
    openssl('verify', '-x509_strict', '-CAfile', both['old'] + '.pem', both['cross'] + '.pem')
    openssl('verify', '-x509_strict', '-CAfile', both['new'] + '.pem', both['back'] + '.pem')
    # A token of before pins the old root; the device comes to know both.
    early = enroll(site, 'early', token)
    with open(early + '/ca.crt', encoding='ascii') as f:
        assert f.read().count('BEGIN') == 2
    site.connects(early)

    # The new one issues; no key of a root is needed for that.
    mark = broker.log_size()
    ca('roll', '--switch')
    broker.wait_log('made anew: the CA has a successor', mark)
    wait_until(lambda: 'New certificates' in broker.log(mark), 'it is used')
    after = site.device('after')
    assert two in ca.text('pki', 'ca.crt').split('Subject:')[0]
    with open(after + '/ca.crt', encoding='ascii') as f:
        assert f.read().count('BEGIN') == 2
    wait_until(lambda: len(site.shown()) == 2, 'the server shows its way')
    for folder in before, between, early, after:
        site.connects(folder)
    site.connects(before, only_old)
    site.connects(after, only_old)
    # By a token of now, which pins the new root.
    late = enroll(site, 'late', ca('token', 'late', '--at', f'{HOST}:{site.est}', '-q').strip())
    with open(late + '/client.crt', encoding='ascii') as f:
        assert f.read().count('BEGIN') == 2
    site.connects(late)
    # Taken back, though the old one issued it.
    ca('revoke', 'lost')
    with pytest.raises((OSError, AssertionError)):
        with Raw(broker.port, tls=site.context(lost)) as c:
            c.connect('lost')
            c.s.recv(1)
    # Renewed by itself.
    p = subprocess.run([harness.NIGHTJAR, 'enroll', '--renew', early, '--force'], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    assert p.returncode == 0, p.stdout
    site.connects(early)

    # The end of the old one.
    out = ca('roll', '--finish', status=1)
    for name in 'before', 'between':
        assert name in out
    assert not re.search('device +(after|late|early) ', out), out
    for name in 'before', 'between':
        site.device(name, '--again')
    mark = broker.log_size()
    ca('roll', '--finish', '--force')
    wait_until(lambda: 'New certificates' in broker.log(mark), 'it is forgotten')
    assert not [f for f in os.listdir(ca.path('pki')) if re.match('old|next|cross|back|bridge', f)]
    only_new = site.trust()
    with open(only_new, encoding='ascii') as f:
        assert parts(f.read()) == (two, two)
    wait_until(lambda: parts(site.shown()[-1])[1] == two, 'the server shows the way to the new one')
    site.connects(after, only_new)
    site.connects(late, only_new)
    assert [parts(p) for p in site.cacerts()][0] == (two, two)
    assert (one, two) not in [parts(p) for p in site.cacerts()]
    with pytest.raises(ssl.SSLError):
        site.connects(after, only_old)
    site.factory.finish()


def test_root_key_at_hand(tmp_path):
    """Both levels in one folder; a crash between the files that change places;
    and constraints are the successor's, too."""
    ca = Ca(tmp_path / 'ca')
    ca('init', '--issuing', '--constrain', 'example.org')
    ca('server', 'mq.example.org')
    ca('device', 'd1')
    first = ca.read('pki', 'ca.crt')
    old_key = ca.read('pki', 'ca.key')
    ca('roll', '--root', '--name', 'Second')
    names = ('next.key', 'next.crt', 'next-root.key', 'next-root.crt')
    kept = {n: ca.read('pki', n) for n in names}
    ca('roll', '--switch')
    assert 'DNS:example.org' in ca.text('pki', 'ca.crt')
    assert ca.read('pki', 'ca.key') == kept['next-root.key'] != old_key
    issuing = ca.read('pki', 'issuing.key')
    # The names that come last had not been changed yet.
    for n, data in (*kept.items(), ('ca.key', old_key)):
        with open(ca.path('pki', n), 'wb') as f:
            f.write(data)
        os.chmod(ca.path('pki', n), 0o600)
    ca('device', 'd2')
    ca('roll', '--switch')
    assert ca.read('pki', 'issuing.key') == issuing and ca.read('pki', 'ca.key') == kept['next-root.key']
    assert not [n for n in names if os.path.exists(ca.path('pki', n))]
    ca('server')
    with open(ca.path('first.crt'), 'wb') as f:
        f.write(first)
    for trust in 'first.crt', 'pki/ca.crt':
        openssl('verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', ca.path(trust), '-untrusted',
                ca.path('server', 'server.crt'), ca.path('server', 'server.crt'))
    for name in 'd1', 'd2':
        openssl('verify', '-purpose', 'sslclient', '-CAfile', ca.path('pki', 'ca.crt'), '-untrusted',
                ca.path('devices', name, 'client.crt'), ca.path('devices', name, 'client.crt'))
    assert 'd1' in ca('roll', '--finish', status=1)
    ca('device', 'd1', '--again')
    ca('roll', '--finish')
    assert ca.read('pki', 'ca.crt').count(b'BEGIN') == 1 and ca.read('pki', 'ca.crt') != first
    # The server's shows the way to what is trusted now, without being made anew.
    openssl('verify', '-purpose', 'sslserver', '-CAfile', ca.path('pki', 'ca.crt'), '-untrusted',
            ca.path('server', 'server.crt'), ca.path('server', 'server.crt'))
    ca('roll', '--root')
    assert 'without --root' in Ca(tmp_path / 'plain')('init') + Ca(tmp_path / 'plain')('roll', '--root', status=1)


def test_company_has_another_root(tmp_path):
    """It signs our CA anew: both of its roots are believed until --finish."""
    ca, company = Ca(tmp_path / 'ca'), Company(str(tmp_path / 'company'))
    ca('request')
    csr = ca.path('pki', 'issuing.csr')
    ca('install', company.sign('one', GOOD, 'root', csr), '--root', company.path('root.crt'))
    ca('server', 'localhost')
    ca('device', 'd1')
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', company.path('root2.key'),
            '-out', company.path('root2.crt'), '-subj', '/CN=Example Root 2', '-days', '3000',
            '-addext', 'keyUsage=critical,keyCertSign,cRLSign')
    ca('install', company.sign('two', GOOD, 'root2', csr), '--root', company.path('root2.crt'))
    assert ca.read('pki', 'ca.crt').count(b'BEGIN') == 2
    ca('server')
    ca('device', 'd2')
    for trust in company.path('root.crt'), ca.path('pki', 'ca.crt'):
        openssl('verify', '-purpose', 'sslserver', '-CAfile', trust, '-untrusted', ca.path('server', 'server.crt'),
                ca.path('server', 'server.crt'))
    for name in 'd1', 'd2':
        openssl('verify', '-CAfile', ca.path('pki', 'ca.crt'), '-untrusted', ca.path('devices', name, 'client.crt'),
                ca.path('devices', name, 'client.crt'))
    out = ca('roll', '--finish', status=1)
    assert 'd1' in out and 'd2' not in out
    ca('device', 'd1', '--again')
    ca('roll', '--finish')
    for crt in 'devices/d1/client.crt', 'devices/d2/client.crt', 'server/server.crt':
        openssl('verify', '-CAfile', company.path('root2.crt'), '-untrusted', ca.path(crt), ca.path(crt))
