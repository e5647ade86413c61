# SPDX-License-Identifier: Apache-2.0
"""nightjar inspect: what files and servers hold, what is wrong with them, and
the same contents written so that every program reads them."""
import json
import os
import subprocess

import pytest

from harness import NIGHTJAR

pytestmark = pytest.mark.ours


def inspect(*args, stdin=subprocess.DEVNULL, check=None):
    done = subprocess.run([NIGHTJAR, 'inspect', *map(str, args)], stdin=stdin, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def codes(*args):
    """The codes of faults and doubts, and the exit status."""
    done = inspect(*args, '--json')
    found = json.loads(done.stdout)
    return {f['code'] for f in found['findings'] if f['level'] != 'note'}, done.returncode, found


def openssl(*args, folder=None):
    subprocess.run(['openssl', *map(str, args)], check=True, cwd=folder, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def write(path, data):
    with open(path, 'wb') as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    os.chmod(path, 0o600)
    return str(path)


def test_a_good_set(pki):
    """Server, key and CA together: nothing is wrong, and each use is told."""
    found, status, all_of_it = codes(pki.server[0], pki.server[1], '--cafile', pki.ca,
                                     '--host', 'localhost')
    assert status == 0 and all_of_it['verdict'] != 'wrong'
    assert found <= {'ends-soon'}
    assert [i.get('may_be') for i in all_of_it['items']] == [['server'], None, ['ca']]
    text = inspect(pki.client[0], pki.client[1]).stdout.decode()
    assert 'as client       yes' in text
    assert 'as MQTT server  no: its extended key usage' in text


@pytest.mark.parametrize('who, want', [
    ('expired', 'expired'), ('revoked', 'revoked'), ('stranger', 'chain')])
def test_bad_ones(pki, who, want):
    found, status, _ = codes(*getattr(pki, who), pki.crl, '--cafile', pki.ca, '--as', 'client')
    assert want in found and status == 1


def test_use_and_host(pki):
    assert 'wrong-use' in codes(pki.wrong_usage[0], '--as', 'client')[0]
    assert 'host' in codes(pki.other_name[0], '--host', 'localhost')[0]
    assert 'not-a-ca' in codes(pki.client[0], '--as', 'ca')[0]
    assert 'key-mismatch' in codes(pki.client[0], pki.server[1])[0]


FORMS = {
    'crlf': lambda s: s.replace('\n', '\r\n').encode(),
    'bom': lambda s: b'\xef\xbb\xbf' + s.encode(),
    'utf-16': lambda s: b'\xff\xfe' + s.encode('utf-16-le'),
    'one-line': lambda s: ('"' + s.replace('\n', '\\n') + '"').encode(),
    'dashes': lambda s: s.replace('-----', '\u2014').encode(),
    'form': lambda s: ''.join('    ' + x + '\n' for x in s.splitlines()).encode(),
    'no-begin': lambda s: ''.join(s.splitlines()[1:-1]).encode(),
}


@pytest.mark.parametrize('form', FORMS)
def test_spoiled_files_are_named_and_mended(pki, tmp_path, form):
    good = read(pki.client[0]).decode()
    bad = write(tmp_path / 'bad.crt', FORMS[form](good))
    done = inspect(bad, '--json')
    assert form in {f['code'] for f in json.loads(done.stdout)['findings']}, done.stdout
    assert inspect('--pem', bad, check=0).stdout.decode() == good


def test_der_pkcs7_pkcs12(pki, tmp_path):
    good = read(pki.client[0])
    der, p7, p12 = (str(tmp_path / n) for n in ('x.der', 'x.p7b', 'x.p12'))
    word = write(tmp_path / 'word', 'geheim\n')
    openssl('x509', '-in', pki.client[0], '-outform', 'DER', '-out', der)
    openssl('crl2pkcs7', '-nocrl', '-certfile', pki.ca, '-certfile', pki.client[0], '-out', p7)
    openssl('pkcs12', '-export', '-in', pki.client[0], '-inkey', pki.client[1], '-certfile',
            pki.ca, '-passout', 'pass:geheim', '-out', p12)
    assert 'der' in codes(der)[0]
    assert inspect('--pem', der, check=0).stdout == good
    assert inspect('--pem', p7, check=0).stdout == good + read(pki.ca)
    assert 'password' in codes(p12)[0]
    assert inspect('--pem', p12, '--password-file', word, check=0).stdout == good + read(pki.ca)
    key = write(tmp_path / 'key', inspect('--pem-key', p12, '--password-file', word,
                                          check=0).stdout)
    assert codes(key, pki.client[0])[1] == 0


def test_encrypted_key(pki, tmp_path):
    locked = pki.authority.encrypt_key(pki.client[1], 'secret')
    word = write(tmp_path / 'word', 'secret\n')
    assert 'encrypted' in codes(locked)[0]
    assert 'encrypted' not in codes(locked, '--password-file', word)[0]


def test_order_and_intermediate(pki, tmp_path):
    """A chain of three: whole, in the wrong order, without its middle."""
    inter_key, inter = str(tmp_path / 'i.key'), str(tmp_path / 'i.crt')
    leaf_key, leaf = str(tmp_path / 'l.key'), str(tmp_path / 'l.crt')
    ext = write(tmp_path / 'ext', '[ca]\nbasicConstraints=critical,CA:true\n'
                '[srv]\nsubjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n')
    for key, crt, name, issuer, part in (
            (inter_key, inter, 'Middle', (pki.ca, pki.authority.path('ca.key')), 'ca'),
            (leaf_key, leaf, 'leaf', (inter, inter_key), 'srv')):
        openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', key)
        openssl('req', '-new', '-key', key, '-subj', '/CN=' + name, '-out', crt + '.csr')
        openssl('x509', '-req', '-in', crt + '.csr', '-CA', issuer[0], '-CAkey', issuer[1],
                '-set_serial', '77', '-days', '60', '-extfile', ext, '-extensions', part,
                '-out', crt)
    whole = write(tmp_path / 'whole', read(leaf) + read(inter))
    wrong = write(tmp_path / 'wrong', read(inter) + read(leaf))
    assert codes(whole, '--cafile', pki.ca)[0] <= {'ends-soon'}
    assert 'order' in codes(wrong, '--cafile', pki.ca)[0]
    assert inspect('--pem', wrong, check=0).stdout == read(whole)
    assert 'intermediate' in codes(leaf, inter, '--cafile', pki.ca)[0]
    assert 'chain' in codes(leaf, '--cafile', pki.ca)[0]


def test_a_server(brokers, pki):
    b = brokers(f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\n')
    done = inspect(f'localhost:{b.port}', '--cafile', pki.ca, check=0)
    assert b"certificate 'server'" in done.stdout
    plain = brokers()
    done = inspect(f'127.0.0.1:{plain.port}', check=1)
    assert b'sent no certificate' in done.stderr and b'nightjar doctor' in done.stderr


def test_nonsense(tmp_path):
    assert b'holds no certificate' in inspect(write(tmp_path / 'x', 'hello'), check=1).stdout
    assert b'cannot' in inspect(tmp_path / 'missing', check=1).stdout
    assert b'web page' in inspect(write(tmp_path / 'y', '<html>'), check=1).stdout
    inspect(check=2)
    inspect('x', '--as', 'nothing', check=2)


def test_pipes_and_what_was_cut_off(pki, tmp_path):
    """As a shell makes them of <(command); one that nobody writes to is given
    up, which is left out here for its time."""
    pipe = str(tmp_path / 'pipe')
    os.mkfifo(pipe)
    with subprocess.Popen(['sh', '-c', 'cat "$1" >"$2"', 'sh', pki.server[0], pipe]):
        assert "certificate 'server'" in inspect(pipe, check=0).stdout.decode()
    openssl('pkcs12', '-export', '-in', pki.client[0], '-inkey', pki.client[1], '-passout', 'pass:x',
            '-out', tmp_path / 'whole.p12')
    cut = write(tmp_path / 'cut.p12', read(tmp_path / 'whole.p12')[:300])
    assert b'is cut off: it has 300 of' in inspect(cut, check=1).stdout
