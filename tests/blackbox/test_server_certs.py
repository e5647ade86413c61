# SPDX-License-Identifier: Apache-2.0
"""Several certificates on one listener, and new ones while it runs."""
import os
import re
import ssl
import socket
import subprocess

import pytest

import harness
import raw
from certs import Authority

pytestmark = pytest.mark.ours


def openssl(*args):
    subprocess.run(['openssl', *args], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Site:
    """A listener with an EC certificate of localhost, an RSA one beside it, and
    one for another name."""

    def __init__(self, folder):
        self.ca = Authority(folder)
        self.port = harness.free_port()
        self.own = self.ca.issue('own', 'server')
        self.rsa = self.rsa_pair('rsa')
        self.other = self.ca.issue('other', 'othername')
        self.broker = harness.Broker(str(folder), self.conf(), self.port)

    def conf(self):
        return f'''
listener {self.port}
certfile {self.own[0]}
keyfile {self.own[1]}
further_certificate {self.rsa[0]} {self.rsa[1]}
further_certificate {self.other[0]} {self.other[1]}
allow_anonymous true
log_type all
user root
'''

    def rsa_pair(self, name):
        key, csr, crt, ext = (self.ca.path(name + e) for e in ('.key', '.csr', '.crt', '.ext'))
        openssl('req', '-new', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', csr,
                '-subj', '/CN=' + name)
        os.chmod(key, 0o600)
        with open(ext, 'w', encoding='ascii') as f:
            f.write('subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n')
        openssl('x509', '-req', '-in', csr, '-CA', self.ca.ca, '-CAkey', self.ca.path('ca.key'),
                '-out', crt, '-days', '20', '-extfile', ext)
        return crt, key

    def shown(self, name='localhost', ciphers=None, check=True):
        """The certificate that a client is shown: (PEM, TLS version)."""
        ctx = ssl.create_default_context(cafile=self.ca.ca)
        ctx.check_hostname = check and name is not None
        if ciphers:
            ctx.maximum_version = ssl.TLSVersion.TLSv1_2
            ctx.set_ciphers(ciphers)
        with socket.create_connection((harness.HOST, self.port), 10) as s, \
                ctx.wrap_socket(s, server_hostname=name) as t:
            return ssl.DER_cert_to_PEM_cert(t.getpeercert(True)).strip()


@pytest.fixture(scope='module')
def site(base_folder):
    made = Site(os.path.join(base_folder, 'server-certs'))
    made.broker.start()
    yield made
    assert made.broker.stop() == 0
    assert made.broker.faults() == ''


def pem(path):
    with open(path, encoding='ascii') as f:
        text = f.read()
    return re.search('-----BEGIN CERT.*?-----END CERTIFICATE-----', text, re.S).group(0)


def test_by_name_and_by_key(site):
    assert site.shown() == pem(site.own[0])
    assert site.shown('elsewhere.example') == pem(site.other[0])
    # An unknown name, or none at all, gets the listener's own.
    assert site.shown('nobody.example', check=False) == pem(site.own[0])
    assert site.shown(None) == pem(site.own[0])
    # Who knows RSA only gets that.
    assert site.shown(ciphers='ECDHE-RSA-AES128-GCM-SHA256') == pem(site.rsa[0])
    assert site.shown(ciphers='ECDHE-ECDSA-AES128-GCM-SHA256') == pem(site.own[0])
    # The other name has no RSA one: nothing else is shown in its place.
    with pytest.raises(ssl.SSLError):
        site.shown('elsewhere.example', ciphers='ECDHE-RSA-AES128-GCM-SHA256')


def put(new, old):
    """As those who renew certificates do: written beside, then renamed."""
    with open(new, 'rb') as f:
        data = f.read()
    with open(old + '.new', 'wb') as f:
        f.write(data)
    os.chmod(old + '.new', 0o600)
    os.rename(old + '.new', old)


def test_replaced_while_it_runs(site):
    ctx = ssl.create_default_context(cafile=site.ca.ca)
    with socket.create_connection((harness.HOST, site.port), 10) as s, \
            ctx.wrap_socket(s, server_hostname='localhost') as t:
        t.sendall(raw.connect_packet('stays', 5))
        assert t.recv(100)[0] == 0x20
        new = site.ca.issue('newer', 'server')
        mark = site.broker.log_size()
        # The key first: for a moment the two do not fit, and the old serve on.
        put(new[1], site.own[1])
        site.broker.wait_log('is not used yet', mark)
        before = site.shown()
        mark = site.broker.log_size()
        put(new[0], site.own[0])
        site.broker.wait_log('New certificates', mark)
        assert site.shown() == pem(new[0]) != before
        # A further one likewise.
        mark = site.broker.log_size()
        again = site.ca.issue('again', 'othername')
        put(again[1], site.other[1])
        put(again[0], site.other[0])
        site.broker.wait_log('New certificates', mark)
        assert site.shown('elsewhere.example') == pem(again[0])
        # Nobody was thrown out.
        t.sendall(b'\xc0\x00')
        assert t.recv(10) == b'\xd0\x00'


def test_faults(site, base_folder):
    folder = os.path.join(base_folder, 'server-certs-bad')
    os.mkdir(folder)
    for line, want in ((f'{site.own[0]}', 'two paths are needed'),
                       (f'{site.own[0]} {site.rsa[1]}', 'is not the key of the certificate'),
                       (f'{folder}/none.crt {site.rsa[1]}', 'none.crt')):
        port = harness.free_port()
        conf = f'listener {port}\ncertfile {site.own[0]}\nkeyfile {site.own[1]}\n' \
            f'further_certificate {line}\nallow_anonymous true\n'
        broker = harness.Broker(folder, conf, port)
        broker.refuses(want)


def test_ca_server_rsa(tmp_path):
    folder = str(tmp_path / 'ca')

    def ca(*args):
        p = subprocess.run([harness.NIGHTJAR, 'ca', args[0], '--dir', folder, *args[1:]], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
        return p.stdout
    ca('init')
    out = ca('server', 'mq.example.org', '--rsa')
    line = re.search('further_certificate  (.*)', out).group(1).split()
    text = subprocess.run(['openssl', 'x509', '-in', line[0], '-noout', '-text'], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    assert 'rsaEncryption' in text and 'DNS:mq.example.org' in text and '2048 bit' in text
    assert os.stat(line[1]).st_mode & 0o777 == 0o600
    # From then on both are made anew together.
    before = pem(line[0])
    ca('server')
    assert pem(line[0]) != before


@pytest.mark.parametrize('how', ['certbot', 'Kubernetes'])
def test_links_to_the_newest(brokers, pki, tmp_path, how):
    """certbot changes a link to each file, Kubernetes one to their folder:
    neither is warned of where the key is closed, and both are followed."""
    new = pki.authority.issue('new-' + how, 'server')
    for n, pair in enumerate((pki.server, new), 1):
        folder = tmp_path / f'..{n}'
        folder.mkdir()
        for path, name in zip(pair, ('tls.crt', 'tls.key')):
            (folder / name).write_bytes(open(path, 'rb').read())
            (folder / name).chmod(0o600)
    (tmp_path / '..data').symlink_to('..1')
    for name in ('tls.crt', 'tls.key'):
        (tmp_path / name).symlink_to(f'..data/{name}' if how == 'Kubernetes' else f'..1/{name}')
    root = 'user root\n' if os.geteuid() == 0 else ''
    b = brokers(f"{root}certfile {tmp_path}/tls.crt\nkeyfile {tmp_path}/tls.key\n")

    def shown():
        ctx = ssl.create_default_context(cafile=pki.ca)
        with socket.create_connection((harness.HOST, b.port), harness.PATIENCE) as s, \
                ctx.wrap_socket(s, server_hostname='localhost') as t:
            return dict(x[0] for x in t.getpeercert()['subject'])['commonName']
    assert shown() == 'server'
    if how == 'Kubernetes':
        (tmp_path / '..new').symlink_to('..2')
        os.rename(tmp_path / '..new', tmp_path / '..data')
    else:
        for name in ('tls.key', 'tls.crt'):
            (tmp_path / '..new').symlink_to(f'..2/{name}')
            os.rename(tmp_path / '..new', tmp_path / name)
    harness.wait_until(lambda: shown() == 'new-' + how, 'the new certificate')
    assert 'symbolic' not in b.log()


def test_ca_key_in_cafile(brokers, pki, tmp_path):
    """cat ca.crt ca.key >ca.pem, which is then given to everybody."""
    both = tmp_path / 'ca.pem'
    both.write_bytes(b''.join(open(p, 'rb').read() for p in (pki.ca, pki.authority.path('ca.key'))))
    both.chmod(0o600)
    root = 'user root\n' if os.geteuid() == 0 else ''
    b = brokers(f"{root}certfile {pki.server[0]}\nkeyfile {pki.server[1]}\ncafile {both}\n")
    b.wait_log('holds a private key beside the CA')
    p = subprocess.run([harness.NIGHTJAR, 'inspect', str(both)], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, text=True, check=False)
    assert re.search('doubt .*in one file with the certificate that everybody gets', p.stdout), p.stdout
