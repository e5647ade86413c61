# SPDX-License-Identifier: Apache-2.0
"""nightjar ca: offline roots, requests to a company's CA, CAs taken over from
openssl, name constraints, and a CA's successor; judged by openssl."""
import json
import os
import shutil
import stat
import subprocess

import pytest

from harness import NIGHTJAR
from test_ca import Ca, openssl

pytestmark = pytest.mark.ours


@pytest.fixture
def made(tmp_path):
    """Makes CAs by name, and runs openssl on their files."""
    return lambda name: Ca(tmp_path / name)


def verify(trust, path, *args):
    openssl('verify', '-x509_strict', '-CAfile', trust, '-untrusted', path, *args, path)


def test_offline_root(made, tmp_path):
    ca, away = made('ca'), str(tmp_path / 'stick')
    out = ca('init', '--offline-root', away)
    assert 'take it away' in out
    assert sorted(os.listdir(away)) == ['root.crt', 'root.key']
    assert not os.path.exists(ca.path('pki', 'ca.key'))
    assert stat.S_IMODE(os.stat(away + '/root.key').st_mode) == 0o600
    assert b'ENCRYPTED' in ca.read('pki', 'issuing.key')
    text = ca.text('pki', 'issuing.crt')
    assert 'CA:TRUE, pathlen:0' in text and 'Certificate Sign, CRL Sign' in text
    os.rename(away, away + '-gone')
    ca('server')
    ca('device', 'd1')
    verify(ca.path('pki', 'ca.crt'), ca.path('server', 'server.crt'), '-purpose', 'sslserver')
    verify(ca.path('pki', 'ca.crt'), ca.path('devices', 'd1', 'client.crt'), '-purpose', 'sslclient')
    assert ca.read('devices', 'd1', 'ca.crt') == ca.read('pki', 'ca.crt')
    assert 'one' in ca('roll', status=1)
    # Another issuing CA, when the stick is here again.
    before = ca.read('pki', 'issuing.crt')
    assert 'No such file' in ca('roll', '--offline-root', away, status=1)
    ca('roll', '--offline-root', away + '-gone')
    assert ca.read('pki', 'issuing.crt') != before
    ca('device', 'd2')
    for d in ('d1', 'd2'):
        verify(ca.path('pki', 'ca.crt'), ca.path('devices', d, 'client.crt'))
    out = ca('roll', '--finish', status=1)
    assert 'd1' in out and 'd2' not in out and '--force' in out
    ca('roll', '--finish', '--force')
    assert 'no old CA' in ca('roll', '--finish', status=1)
    assert not os.path.exists(ca.path('pki', 'old.key'))


def test_successor(made):
    ca = made('ca')
    ca('init')
    ca('server', 'localhost')
    ca('device', 'd1')
    ca('device', 'gone')
    shutil.copy(ca.path('pki', 'ca.crt'), ca.path('first.crt'))
    assert 'no successor' in ca('roll', '--switch', status=1)
    ca('roll', '--name', 'Second')
    assert ca.read('pki', 'ca.crt').count(b'BEGIN') == 2
    # Nothing else has changed yet.
    ca('device', 'd2')
    openssl('verify', '-CAfile', ca.path('first.crt'), ca.path('devices', 'd2', 'client.crt'))
    assert ca.read('devices', 'd2', 'ca.crt').count(b'BEGIN') == 2
    assert 'under way' in ca('roll', status=1)
    ca('roll', '--switch')
    ca('device', 'd3')
    ca('server')
    assert 'Issuer: CN = Second' in ca.text('devices', 'd3', 'client.crt')
    # Both are trusted; who knows only the first believes the server too.
    both = ca.path('pki', 'ca.crt')
    for crt in ('devices/d1/client.crt', 'devices/d3/client.crt', 'server/server.crt'):
        verify(both, ca.path(crt))
    verify(ca.path('first.crt'), ca.path('server', 'server.crt'), '-purpose', 'sslserver')
    # What the first one issued can still be taken back.
    ca('revoke', 'gone')
    assert ca.read('crl', 'ca.crl').count(b'BEGIN') == 2
    # It lists the server's of the first no more, as that was made anew.
    out = ca('roll', '--finish', status=1)
    assert '2 certificates' in out and 'd1' in out and 'd2' in out
    assert 'gone' not in out and 'server ' not in out.replace('ca server', '')
    for d in ('d1', 'd2'):
        ca('device', d, '--again')
    ca('roll', '--finish')
    assert ca.read('pki', 'ca.crt').count(b'BEGIN') == 1
    assert ca.read('pki', 'ca.crt') not in ca.read('first.crt')
    assert sorted(os.listdir(ca.path('pki'))) == ['ca.crt', 'ca.key', 'registry']
    ca('device', 'd4')
    verify(ca.path('pki', 'ca.crt'), ca.path('devices', 'd4', 'client.crt'))
    assert ca.read('server', 'server.crt').count(b'BEGIN') == 2


def test_successor_interrupted(made):
    """Between the two files that change places, the key is found under either
    name, and the step can be repeated."""
    ca = made('ca')
    ca('init')
    ca('roll')
    key, crt = ca.read('pki', 'next.key'), ca.read('pki', 'next.crt')
    first = ca.read('pki', 'ca.key')
    ca('roll', '--switch')
    for name, data in (('next.key', key), ('next.crt', crt), ('ca.key', first)):
        with open(ca.path('pki', name), 'wb') as f:
            f.write(data)
        os.chmod(ca.path('pki', name), 0o600)
    ca('device', 'd1')
    verify(ca.path('pki', 'ca.crt'), ca.path('devices', 'd1', 'client.crt'))
    ca('roll', '--switch')
    assert ca.read('pki', 'ca.key') == key
    assert not os.path.exists(ca.path('pki', 'next.key'))
    assert not os.path.exists(ca.path('pki', 'next.crt'))


class Company:
    """A CA of somebody else's, by openssl."""

    def __init__(self, folder):
        self.dir = folder
        os.mkdir(folder)
        openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', self.path('root.key'),
                '-out', self.path('root.crt'), '-subj', '/O=Example/CN=Example Root', '-days', '3000')
        self.sign('between', 'basicConstraints=critical,CA:TRUE,pathlen:1\n'
                  'keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n', 'root')

    def path(self, name):
        return os.path.join(self.dir, name)

    def sign(self, name, ext, by, csr=None, days=900):
        if not csr:
            csr = self.path(name + '.csr')
            openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                    '-keyout', self.path(name + '.key'), '-out', csr, '-subj', '/CN=Example ' + name)
        with open(self.path(name + '.ext'), 'w', encoding='ascii') as f:
            f.write(ext or 'keyUsage=digitalSignature\n')
        openssl('x509', '-req', '-in', csr, '-CA', self.path(by + '.crt'), '-CAkey',
                self.path(by + '.key'), '-out', self.path(name + '.crt'), '-days', str(days),
                '-extfile', self.path(name + '.ext'))
        return self.path(name + '.crt')


GOOD = 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n' \
    'subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n'


def test_request(made, tmp_path):
    ca, company = made('ca'), Company(str(tmp_path / 'company'))
    assert 'nightjar ca install' in ca('request', '--name', 'Plant 7')
    csr = ca.path('pki', 'issuing.csr')
    text = openssl('req', '-in', csr, '-noout', '-text', '-verify')
    assert 'CN = Plant 7' in text and 'CA:TRUE, pathlen:0' in text and 'Certificate Sign' in text
    assert 'there is no CA' in ca('device', 'd1', status=1)
    key = ca.read('pki', 'issuing.key')
    ca('request', '--name', 'Plant 7')
    assert ca.read('pki', 'issuing.key') == key
    # What came back is looked at.
    assert 'CA' in ca('install', company.sign('no-ca', None, 'between', csr), status=1)
    assert 'is that of the key' in ca('install', company.path('between.crt'), status=1)
    crt = company.sign('good', GOOD, 'between', csr)
    out = ca('install', crt, status=1)
    assert 'Example between' in out and '--root' in out
    assert not os.path.exists(ca.path('pki', 'ca.crt'))
    # In any order.
    with open(tmp_path / 'above.crt', 'wb') as f:
        for name in ('root.crt', 'between.crt'):
            with open(company.path(name), 'rb') as part:
                f.write(part.read())
    out = ca('install', crt, '--root', str(tmp_path / 'above.crt'))
    assert 'Plant 7' in out and 'Example Root' in out
    ca('server')
    ca('device', 'd1')
    assert ca.read('devices', 'd1', 'client.crt').count(b'BEGIN') == 3
    for crt, purpose in (('devices/d1/client.crt', 'sslclient'), ('server/server.crt', 'sslserver')):
        openssl('verify', '-CAfile', company.path('root.crt'), '-untrusted', ca.path(crt),
                '-purpose', purpose, ca.path(crt))
    kinds = [e['kind'] for e in json.loads(ca('list', '--json'))]
    assert kinds == ['root', 'issuing', 'server', 'device']
    # A new certificate for the same key, years later.
    ca('install', company.sign('later', GOOD, 'between', csr, days=1000), '--root', str(tmp_path / 'above.crt'))
    ca('device', 'd2')
    assert [e['id'] for e in json.loads(ca('list', '--json')) if e['kind'] == 'device'] == ['d1', 'd2']


def test_import(made, tmp_path):
    """A CA as in countless recipes, with an encrypted key."""
    key, crt = str(tmp_path / 'ca.key'), str(tmp_path / 'ca.crt')
    secret = tmp_path / 'secret'
    secret.write_text('theirs\n', encoding='ascii')
    secret.chmod(0o600)
    openssl('req', '-new', '-x509', '-days', '730', '-newkey', 'rsa:2048', '-keyout', key, '-out', crt,
            '-subj', '/C=IT/O=LSaetta/CN=ca', '-passout', 'pass:theirs',
            '-addext', 'keyUsage=critical,keyCertSign,cRLSign')
    ca = made('ca')
    assert '--key-passphrase-file' in ca('import', '--cert', crt, '--key', key, status=1)
    out = ca('import', '--cert', crt, '--key', key, '--key-passphrase-file', str(secret))
    assert "Goes on with the CA 'ca'" in out and 'Destroy' in out
    assert ca.read('pki', 'ca.crt').strip() in open(crt, 'rb').read()
    openssl('pkey', '-in', ca.path('pki', 'ca.key'), '-noout', '-passin', 'file:' + ca.path('ca.passphrase'))
    ca('server')
    ca('device', 'd1')
    openssl('verify', '-CAfile', crt, ca.path('devices', 'd1', 'client.crt'), ca.path('server', 'server.crt'))
    assert 'already' in ca('import', '--cert', crt, '--key', key, '--key-passphrase-file', str(secret), status=1)
    # It can be replaced as one of ours.
    ca('roll')
    ca('roll', '--switch')
    ca('server')
    openssl('verify', '-CAfile', crt, '-untrusted', ca.path('server', 'server.crt'),
            ca.path('server', 'server.crt'))


def selfsigned(folder, *args, days='100'):
    openssl('req', '-x509', '-nodes', '-keyout', folder + '/k.pem', '-out', folder + '/c.pem',
            '-subj', '/CN=bad', '-days', days, *args)


BAD = {
    'weak': (['-newkey', 'rsa:1024'], 'RSA-1024'),
    'no ca': (['-newkey', 'rsa:2048', '-addext', 'basicConstraints=critical,CA:FALSE'], 'CA'),
    'usage': (['-newkey', 'rsa:2048', '-addext', 'keyUsage=critical,digitalSignature'], 'sign'),
}


@pytest.mark.parametrize('what', BAD)
def test_import_refuses(made, tmp_path, what):
    args, want = BAD[what]
    selfsigned(str(tmp_path), *args)
    ca = made('ca')
    out = ca('import', '--cert', str(tmp_path / 'c.pem'), '--key', str(tmp_path / 'k.pem'), status=1)
    assert want in out and 'to mend it' in out
    assert not os.path.exists(ca.path('pki', 'ca.crt'))


def test_import_refuses_pairs(made, tmp_path):
    selfsigned(str(tmp_path), '-newkey', 'rsa:2048')
    other = tmp_path / 'other'
    other.mkdir()
    selfsigned(str(other), '-newkey', 'rsa:2048')
    ca = made('ca')
    out = ca('import', '--cert', str(tmp_path / 'c.pem'), '--key', str(other / 'k.pem'), status=1)
    assert 'is that of the key' in out
    out = ca('import', '--cert', str(tmp_path / 'k.pem'), '--key', str(tmp_path / 'k.pem'), status=1)
    assert 'holds no certificate' in out
    assert '--cert FILE --key FILE' in ca('import', status=2)


def test_constraints(made):
    ca = made('ca')
    out = ca('init', '--constrain', 'example.org', '--constrain', '10.0.0.0/8')
    assert 'mbedTLS' in out
    text = ca.text('pki', 'ca.crt')
    for part in ('Name Constraints: critical', 'DNS:example.org', 'IP:10.0.0.0/255.0.0.0', 'DNS:localhost'):
        assert part in text, text
    # What the machine is called besides is left away, what was asked for not.
    ca('server', 'mq.example.org', '10.1.1.1')
    text = ca.text('server', 'server.crt')
    assert 'DNS:mq.example.org' in text and 'IP Address:10.1.1.1' in text
    verify(ca.path('pki', 'ca.crt'), ca.path('server', 'server.crt'), '-purpose', 'sslserver')
    assert "do not permit 'mq.other.org'" in ca('server', 'mq.other.org', status=1)
    ca('server')
    # An ID that could be taken for a host elsewhere is refused.
    assert 'constraints' in ca('device', 'pump.other', status=1)
    ca('device', 'pump-7')
    verify(ca.path('pki', 'ca.crt'), ca.path('devices', 'pump-7', 'client.crt'), '-purpose', 'sslclient')
    assert [e['kind'] for e in json.loads(ca('list', '--json'))] == ['root', 'server', 'server', 'device']
    assert 'neither a host name nor' in made('x')('init', '--constrain', 'a b', status=1)


def at_once(ca, n, *args):
    """(exit status, what it said) of the same command n times at once."""
    all_ = [subprocess.Popen([NIGHTJAR, 'ca', args[0], '--dir', ca.dir, *args[1:]],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.STDOUT) for _ in range(n)]
    said = [p.communicate(timeout=60)[0] for p in all_]
    return [(p.returncode, text) for p, text in zip(all_, said)]


def test_several_at_once(made):
    """The key of one never stands beside the certificate of another."""
    for name in ('a', 'b', 'c'):
        ca = made(name)
        done = at_once(ca, 4, 'init')
        assert sorted(s for s, _ in done) == [0, 1, 1, 1], done
        assert all(s == 0 or 'just now' in t or 'there is a CA' in t for s, t in done), done
        ca('device', 'd1')
        done = at_once(ca, 4, 'roll')
        assert sorted(s for s, _ in done) == [0, 1, 1, 1], done
        assert all(s == 0 or 'just now' in t or 'under way' in t for s, t in done), done
        ca('roll', '--switch')
        ca('device', 'd2')
        verify(ca.path('pki', 'ca.crt'), ca.path('devices', 'd2', 'client.crt'))


@pytest.mark.skipif(os.geteuid() != 0, reason='takes another user')
def test_of_somebody_else(made):
    """Who may not look is told that, and not to make another."""
    ca = made('ca')
    ca('init')
    os.chmod(ca.dir, 0o755)
    program = shutil.copy(NIGHTJAR, ca.dir)	# where it is built nobody else may look, perhaps
    p = subprocess.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', program, 'ca',
                        'list', '--dir', ca.dir], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, check=False)
    assert p.returncode == 1 and 'closed to this user' in p.stdout and 'init' not in p.stdout, p.stdout


def test_import_of_another_form(made, tmp_path):
    """It says which form it is, and what writes it anew does."""
    first, second = made('first'), made('second')
    first('init')
    key, pem, der = str(tmp_path / 'ca.key'), str(tmp_path / 'ca.pem'), str(tmp_path / 'ca.der')
    openssl('pkey', '-in', first.path('pki', 'ca.key'), '-passin', 'file:' + first.path('ca.passphrase'),
            '-out', key)
    openssl('x509', '-in', first.path('pki', 'ca.crt'), '-outform', 'DER', '-out', der)
    said = second('import', '--cert', der, '--key', key, status=1)
    assert 'DER form' in said and f"nightjar inspect --pem '{der}'" in said
    with open(pem, 'wb') as f:
        f.write(subprocess.run([NIGHTJAR, 'inspect', '--pem', der], check=True,
                               stdout=subprocess.PIPE).stdout)
    second('import', '--cert', pem, '--key', key)
