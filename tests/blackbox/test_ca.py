# SPDX-License-Identifier: Apache-2.0
"""nightjar ca: what it makes, judged by the openssl command."""
import json
import os
import pty
import re
import select
import stat
import subprocess

import pytest

import harness

pytestmark = pytest.mark.ours


def openssl(*args):
    p = subprocess.run(['openssl', *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    assert p.returncode == 0, p.stdout
    return p.stdout


class Ca:
    def __init__(self, folder):
        self.dir = str(folder)

    def __call__(self, verb, *args, status=0, at=True):
        """Its output, standard error included."""
        argv = [harness.NIGHTJAR, 'ca', verb, *(['--dir', self.dir] if at else []), *args]
        # Without a controlling terminal nothing can be asked.
        p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                           stderr=subprocess.STDOUT, text=True, start_new_session=True)
        assert p.returncode == status, p.stdout
        return p.stdout

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def mode(self, *parts):
        return stat.S_IMODE(os.lstat(self.path(*parts)).st_mode)

    def read(self, *parts):
        with open(self.path(*parts), 'rb') as f:
            return f.read()

    def text(self, *parts):
        return openssl('x509', '-in', self.path(*parts), '-noout', '-text')


@pytest.fixture
def ca(tmp_path):
    made = Ca(tmp_path / 'a folder')
    made('init')
    return made


def test_init(ca):
    assert ca.mode('pki') == 0o700
    assert ca.mode('pki', 'ca.key') == 0o600
    assert ca.mode('pki', 'registry') == 0o600
    assert ca.mode('ca.passphrase') == 0o600
    assert b'BEGIN ENCRYPTED PRIVATE KEY' in ca.read('pki', 'ca.key')
    form = openssl('asn1parse', '-in', ca.path('pki', 'ca.key'))
    assert ':scrypt' in form and ':aes-256-cbc' in form
    openssl('pkey', '-in', ca.path('pki', 'ca.key'), '-noout',
            '-passin', 'file:' + ca.path('ca.passphrase'))
    text = ca.text('pki', 'ca.crt')
    for part in ('Version: 3', 'CA:TRUE, pathlen:1', 'Certificate Sign, CRL Sign',
                 'ecdsa-with-SHA256', 'prime256v1', 'X509v3 Basic Constraints: critical',
                 'X509v3 Key Usage: critical'):
        assert part in text, text


def test_init_says_the_fingerprint(tmp_path):
    made = Ca(tmp_path)
    out = made('init', '--name', 'Home CA', '--days', '30')
    want = openssl('x509', '-in', made.path('pki', 'ca.crt'), '-noout', '-fingerprint', '-sha256')
    assert want.split('=')[1].strip() in out
    assert 'CN = Home CA' in made.text('pki', 'ca.crt')


def test_init_leaves_a_ca_alone(ca):
    before = ca.read('pki', 'ca.crt'), ca.read('pki', 'ca.key'), ca.read('ca.passphrase')
    out = ca('init', status=1)
    assert 'already' in out and '--dir' in out
    assert before == (ca.read('pki', 'ca.crt'), ca.read('pki', 'ca.key'), ca.read('ca.passphrase'))


def test_server(ca):
    out = ca('server', 'Broker.Example.org', '10.1.2.3', '--name', 'second.example.org',
             '--ip', 'fd00::7')
    assert 'server.crt' in out
    text = ca.text('server', 'server.crt')
    for part in ('DNS:localhost', 'DNS:broker.example.org', 'DNS:second.example.org',
                 'IP Address:127.0.0.1', 'IP Address:0:0:0:0:0:0:0:1', 'IP Address:10.1.2.3',
                 'IP Address:FD00:0:0:0:0:0:0:7', 'TLS Web Server Authentication', 'CA:FALSE'):
        assert part in text, text
    assert 'TLS Web Client Authentication' not in text
    assert ca.mode('server') == 0o700
    assert ca.mode('server', 'server.key') == 0o600
    openssl('verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname',
            'broker.example.org', '-CAfile', ca.path('pki', 'ca.crt'),
            ca.path('server', 'server.crt'))
    # Renewed, the names asked for stay, and so does the key.
    key = ca.read('server', 'server.key')
    assert 'broker.example.org' in ca('server')
    assert ca.read('server', 'server.key') == key
    assert 'IP Address:10.1.2.3' in ca.text('server', 'server.crt')


@pytest.mark.parametrize('name', ['a b', 'box:8883', '-x-', '10.0.0.256', 'a,DNS:b', ''])
def test_server_refuses_what_is_no_name(ca, name):
    out = ca('server', '--name', name, status=1)
    assert 'neither a host name nor an address' in out
    assert not os.path.exists(ca.path('server', 'server.crt'))


def test_device(ca):
    out = ca('device', 'sensor-1.kitchen')
    folder = ca.path('devices', 'sensor-1.kitchen')
    assert folder in out
    assert sorted(os.listdir(folder)) == ['ca.crt', 'client.crt', 'client.key']
    assert ca.mode('devices', 'sensor-1.kitchen') == 0o700
    assert ca.mode('devices', 'sensor-1.kitchen', 'client.key') == 0o600
    text = ca.text(folder, 'client.crt')
    assert 'Subject: CN = sensor-1.kitchen\n' in text
    assert re.search(r'URI:urn:nightjar:[0-9a-f]{16}:device:sensor-1.kitchen\n', text)
    assert 'TLS Web Client Authentication' in text and 'Server Authentication' not in text
    openssl('verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile',
            os.path.join(folder, 'ca.crt'), os.path.join(folder, 'client.crt'))


def test_device_is_not_overwritten(ca):
    ca('device', 'dev1')
    key = ca.read('devices', 'dev1', 'client.key')
    out = ca('device', 'dev1', status=1)
    assert 'already' in out and '--again' in out
    assert ca.read('devices', 'dev1', 'client.key') == key
    ca('device', 'dev1', '--again')
    assert ca.read('devices', 'dev1', 'client.key') != key
    old = os.listdir(ca.path('devices', '.old'))
    assert len(old) == 1
    assert ca.read('devices', '.old', old[0], 'client.key') == key


@pytest.mark.parametrize('name', ['', '.', '..', '../x', 'a/b', 'a b', 'a-', '+', '#', 'x' * 65])
def test_device_refuses_other_names(ca, name):
    out = ca('device', '--', name, status=1)
    assert '1 to 64' in out


def test_device_with_its_own_passphrase(ca, tmp_path):
    secret = tmp_path / 'secret'
    secret.write_text('of the device\n', encoding='ascii')
    secret.chmod(0o600)
    ca('device', 'dev1', '--key-passphrase-file', str(secret), '--days', '30', '--ip', '10.0.0.9')
    assert b'ENCRYPTED' in ca.read('devices', 'dev1', 'client.key')
    openssl('pkey', '-in', ca.path('devices', 'dev1', 'client.key'), '-noout',
            '-passin', f'file:{secret}')
    assert 'IP Address:10.0.0.9' in ca.text('devices', 'dev1', 'client.crt')


def test_passphrase_kept_elsewhere(ca, tmp_path):
    away = tmp_path / 'away'
    os.rename(ca.path('ca.passphrase'), away)
    out = ca('device', 'dev1', status=1)
    assert '--passphrase-file' in out
    ca('device', 'dev1', '--passphrase-file', str(away))
    away.chmod(0o644)
    assert 'chmod' in ca('device', 'dev2', '--passphrase-file', str(away), status=1)
    away.chmod(0o600)
    away.write_text('something else\n', encoding='ascii')
    assert 'does not open' in ca('device', 'dev2', f'--passphrase-file={away}', status=1)
    assert not os.path.exists(ca.path('devices', 'dev2'))


def at_a_terminal(*argv, says):
    """(status, what it showed); at each question the next of says is typed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(harness.NIGHTJAR, [harness.NIGHTJAR, *argv])
    shown, says = b'', list(says)
    try:
        while True:
            assert select.select([fd], [], [], harness.PATIENCE)[0], shown
            try:
                more = os.read(fd, 4096)
            except OSError:		# it has ended
                break
            if not more:
                break
            shown += more
            if more.endswith(b': ') and says:
                os.write(fd, says.pop(0).encode() + b'\n')
    finally:
        os.close(fd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert not says, shown
    return status, shown.decode()


@pytest.mark.parametrize('verb', ['init', 'request'])
def test_asked_passphrase_is_kept_nowhere(tmp_path, verb):
    ca, word, told = Ca(tmp_path / 'ca'), 'known to one alone', tmp_path / 'told'
    status, shown = at_a_terminal('ca', verb, '--dir', ca.dir, '--ask-passphrase', says=[word, word + '!'])
    assert status == 1 and 'differ' in shown and word not in shown
    status, shown = at_a_terminal('ca', verb, '--dir', ca.dir, '--ask-passphrase', says=[word, word])
    assert status == 0 and word not in shown, shown
    files = [os.path.join(d, f) for d, _, names in os.walk(ca.dir) for f in names]
    keys = [f for f in files if f.endswith('.key')]
    assert keys and not [f for f in files if 'passphrase' in os.path.basename(f)]
    for f in files:
        with open(f, 'rb') as one:
            assert word.encode() not in one.read(), f
    told.write_text(word + '\n', encoding='ascii')
    for key in keys:
        openssl('pkey', '-in', key, '-noout', '-passin', f'file:{told}')
    if verb == 'init':
        # who has the folder alone does not issue with it
        assert '--passphrase-file' in ca('device', 'dev1', status=1)
        assert not os.path.exists(ca.path('devices', 'dev1'))
        told.chmod(0o600)
        ca('device', 'dev1', '--passphrase-file', str(told))


def test_p12_with_a_password_of_its_own(ca, tmp_path):
    word, other = tmp_path / 'word', tmp_path / 'other'
    word.write_text('of the file\n', encoding='ascii')
    other.write_text('of another\n', encoding='ascii')
    word.chmod(0o644)
    assert 'chmod' in ca('device', 'dev1', '--p12', 'modern', '--p12-password-file', str(word), status=1)
    word.chmod(0o600)
    ca('device', 'dev1', '--p12', 'modern', '--p12-password-file', str(word))
    names = os.listdir(ca.path('devices', 'dev1'))
    file, = [ca.path('devices', 'dev1', x) for x in names if x.endswith('.p12')]
    assert not [x for x in names if 'password' in x], names
    openssl('pkcs12', '-in', file, '-noout', '-passin', f'file:{word}')
    assert subprocess.run(['openssl', 'pkcs12', '-in', file, '-noout', '-passin', f'file:{other}'],
                          stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode != 0


def test_list(ca):
    ca('device', 'dev1', '--days', '10')
    ca('server')
    entries = json.loads(ca('list', '--json'))
    assert [e['kind'] for e in entries] == ['root', 'device', 'server']
    assert [e['state'] for e in entries] == ['valid', 'expiring', 'valid']
    serial = openssl('x509', '-in', ca.path('devices', 'dev1', 'client.crt'), '-noout', '-serial')
    assert serial.strip() == 'serial=' + entries[1]['serial']
    assert 100 <= int(entries[1]['serial'], 16).bit_length() <= 127
    table = ca('list').splitlines()
    assert table[0].split() == ['KIND', 'ID', 'UNTIL', 'STATE', 'SERIAL', 'GROUPS']
    assert table[2].split()[:2] == ['device', 'dev1']
    assert [e['id'] for e in json.loads(ca('list', '--json', '--expiring', '20'))] == ['dev1']
    assert json.loads(ca('list', '--json', '--expiring', '1')) == []


def test_damaged_registry_stops_issuing(ca):
    ca('device', 'dev1')
    registry = ca.path('pki', 'registry')
    text = ca.read('pki', 'registry')
    with open(registry, 'wb') as f:
        f.write(text.replace(b'dev1', b'dev2'))
    out = ca('device', 'dev3', status=1)
    assert 'damaged' in out and 'backup' in out
    assert not os.path.exists(ca.path('devices', 'dev3', 'client.crt'))
    # What a crash cut short is dropped, and issuing goes on.
    with open(registry, 'wb') as f:
        f.write(text + b'device dev2 00')
    ca('device', 'dev3')
    assert [e['id'] for e in json.loads(ca('list', '--json'))][1:] == ['dev1', 'dev3']


def test_open_folder_is_refused(ca):
    os.chmod(ca.path('pki'), 0o755)
    assert 'chmod 700' in ca('list', status=1)


def test_words(tmp_path):
    made = Ca(tmp_path / 'none')
    assert 'nightjar ca init' in made('device', 'x', status=1)
    assert 'init' in made('--help', at=False) and 'device' in made('--help', at=False)
    assert 'did you mean --dir' in made('init', '--dri', 'x', status=2, at=False)
    assert 'init, request, install, import, roll, server, device, ' in made('revoak', status=2, at=False)
    assert '--days' in made('server', '--help', at=False)
    assert 'from 1 to' in made('server', '--days', '0', status=2, at=False)
    assert "one device's name" in made('device', status=2)


def groups_of(ca):
    return {e['id']: e['groups'] for e in json.loads(ca('list', '--json'))
            if e['kind'] == 'device'}


def test_groups(ca):
    ca('device', 'dev1', '--group', 'sensors', '--group', 'floor2,attic')
    ca('device', 'dev2')
    assert groups_of(ca) == {'dev1': ['attic', 'floor2', 'sensors'], 'dev2': []}
    assert "is in pumps." in ca('group', 'dev2', 'pumps')
    assert "in floor2,sensors,zoo." in ca('group', 'dev1', '--add', 'zoo', '--remove', 'attic')
    assert groups_of(ca) == {'dev1': ['floor2', 'sensors', 'zoo'], 'dev2': ['pumps']}
    # A new certificate keeps them, unless others are given.
    ca('device', 'dev1', '--again')
    ca('device', 'dev2', '--again', '--group', 'x')
    assert groups_of(ca) == {'dev1': ['floor2', 'sensors', 'zoo'], 'dev2': ['x']}
    assert 'in no group' in ca('group', 'dev1', '--none')
    assert groups_of(ca)['dev1'] == []
    assert 'nightjar ca list' in ca('group', 'dev9', 'x', status=1)
    for bad in ('', 'a b', 'a,', '-x', 'x' * 65):
        assert 'name of a group' in ca('group', 'dev1', '--', bad, status=1)
    assert 'at most 16' in ca('group', 'dev1', *[f'g{i}' for i in range(17)], status=1)
    assert 'ID GROUP' in ca('group', 'dev1', status=2)
