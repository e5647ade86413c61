# SPDX-License-Identifier: Apache-2.0
"""Pre-shared keys: Mosquitto's clients, openssl's and our own, by TLS 1.2 and
1.3; who has another key or none; what the file may be."""
import contextlib
import os
import re
import shutil
import subprocess
import time

import pytest

import harness
from harness import HOST, NIGHTJAR, PATIENCE
from raw import connect_packet

pytestmark = pytest.mark.ours

KEYS = {'dev-1': 'a1' * 32, 'sensor:2': '0B' * 16, 'old': 'deadbeef'}
VERSIONS = ['1.2', '1.3']
MOSQUITTO = pytest.mark.skipif(not shutil.which('mosquitto_sub'), reason='no mosquitto-clients')


def psk_file(folder, keys=None, mode=0o600):
    path = os.path.join(folder, 'keys')
    with open(path, 'w', encoding='ascii') as f:
        f.write('# who shares a key with us\n\n')
        f.writelines(f'{k}:{v}\n' for k, v in (KEYS if keys is None else keys).items())
    os.chmod(path, mode)
    return path


@pytest.fixture(scope='module')
def site(base_folder, pki):
    """One port for keys alone, one for keys and certificates."""
    import conftest
    factory = conftest.Factory(base_folder)
    path = psk_file(conftest.new_folder(base_folder, 'psk-'))
    mixed = harness.free_port()
    crt, key = pki.server
    b = factory(f'psk_hint hint\nuse_identity_as_username true\npsk_file {path}\n'
                f'listener {mixed} {HOST}\npsk_hint hint\nuse_identity_as_username true\n'
                f'certfile {crt}\nkeyfile {key}\ncafile {pki.ca}\n',
                anonymous=False, extra_ports=[mixed])
    b.mixed, b.keys = mixed, path
    yield b
    factory.finish()


def s_client(port, identity, key, version, *more, send=connect_packet('s-client', version=4)):
    """What the broker sends to openssl's client, and what that says."""
    with subprocess.Popen(['openssl', 's_client', '-connect', f'{HOST}:{port}', '-quiet',
                           '-psk_identity', identity, '-psk', key, '-tls' + version.replace('.', '_'),
                           *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as p:
        os.set_blocking(p.stdout.fileno(), False)
        with contextlib.suppress(BrokenPipeError):  # it may have been refused, and ended, by now
            os.write(p.stdin.fileno(), send)
        end, got = time.monotonic() + PATIENCE, b''
        while time.monotonic() < end and p.poll() is None and b'\x20\x02' not in got:
            got += p.stdout.read() or b''
            time.sleep(0.01)
        got += p.stdout.read() or b''
        p.kill()
    return got


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('port', ['port', 'mixed'])
@pytest.mark.parametrize('identity', list(KEYS))
def test_openssl(site, port, identity, version):
    start = site.log_size()
    got = s_client(getattr(site, port), identity, KEYS[identity], version)
    assert got.endswith(b'\x20\x02\0\0'), got
    site.wait_log(f"u'{identity}'", start)


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('cipher', ['ECDHE-PSK-CHACHA20-POLY1305', 'PSK-AES128-GCM-SHA256',
                                    'PSK-AES256-GCM-SHA384'])
def test_ciphers(site, version, cipher):
    args = ['-cipher', cipher] if version == '1.2' else []
    assert s_client(site.port, 'dev-1', KEYS['dev-1'], version, *args).endswith(b'\x20\x02\0\0')


def alerts(text):
    return sorted(set(re.findall(rb'alert number (\d+)', text)))


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('port', ['port', 'mixed'])
def test_wrong_key_and_no_such_identity_look_alike(site, port, version):
    start = site.log_size()
    wrong = s_client(getattr(site, port), 'dev-1', 'a2' * 32, version)
    unknown = s_client(getattr(site, port), 'nobody', 'a2' * 32, version)
    assert b'\x20\x02\0\0' not in wrong + unknown
    assert alerts(wrong) == alerts(unknown) and len(alerts(wrong)) == 1
    site.wait_log("pre-shared key is not that of the identity 'dev-1'", start)
    site.wait_log("nobody has the pre-shared key identity 'nobody'", start)
    assert 'a2a2' not in site.log() and 'a1a1' not in site.log()


@pytest.mark.parametrize('version', VERSIONS)
def test_without_a_key(site, pki, version):
    """The port for keys alone has no certificate to offer."""
    with subprocess.Popen(['openssl', 's_client', '-connect', f'{HOST}:{site.port}', '-tls'
                           + version.replace('.', '_')], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as p:
        assert b'handshake failure' in p.communicate(timeout=PATIENCE)[0]


def test_certificates_beside_keys(site, pki):
    from raw import Raw
    import pahoc
    with Raw(site.mixed, tls=pahoc.tls_context(pki.ca, *pki.client)) as c:
        start = site.log_size()
        c.connect('with-cert')
        site.wait_log("u'alice'", start)
    with Raw(site.mixed, tls=pahoc.tls_context(pki.ca)) as c:
        c.send(connect_packet('nobody'))
        assert c.expect(2).code in (0x86, 0x87)


def test_an_offered_identity_is_not_yet_a_name(site):
    """TLS 1.3 goes on with the certificate when the key fits no suite: then
    nobody has proved to have it."""
    got = s_client(site.mixed, 'dev-1', 'ff' * 32, '1.3', '-ciphersuites', 'TLS_AES_256_GCM_SHA384')
    assert b'\x20\x02\0\0' not in got


@MOSQUITTO
@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('port', ['port', 'mixed'])
def test_mosquittos_clients(site, port, version):
    args = ['-h', HOST, '-p', str(getattr(site, port)), '--tls-version', 'tlsv' + version,
            '--psk-identity', 'dev-1', '-t', f'psk/{port}/{version}']
    with subprocess.Popen(['mosquitto_sub', *args, '--psk', KEYS['dev-1'], '-C', '1', '-W', '60'],
                          stdout=subprocess.PIPE) as sub:
        start = site.log_size()
        site.wait_log(f'psk/{port}/{version}', 0)
        subprocess.run(['mosquitto_pub', *args, '--psk', KEYS['dev-1'], '-m', 'hello'],
                       check=True, timeout=PATIENCE)
        assert sub.communicate(timeout=PATIENCE)[0] == b'hello\n'
    bad = subprocess.run(['mosquitto_pub', *args, '--psk', 'a2' * 32, '-m', 'no'], check=False,
                         timeout=PATIENCE, capture_output=True)
    assert bad.returncode != 0
    site.wait_log("pre-shared key is not that of the identity 'dev-1'", start)


@pytest.mark.parametrize('version', ['tlsv1.2', 'tlsv1.3'])
def test_our_clients(site, version):
    args = [NIGHTJAR, 'pub', '-h', HOST, '-p', str(site.port), '--tls-version', version,
            '--psk-identity', 'sensor:2', '-t', 'psk', '-m', 'x', '-q', '1']
    subprocess.run([*args, '--psk', KEYS['sensor:2']], check=True, timeout=PATIENCE)
    bad = subprocess.run([*args, '--psk', 'ab' * 16], check=False, timeout=PATIENCE,
                         capture_output=True, text=True)
    assert bad.returncode != 0 and 'PSK' in bad.stderr


@pytest.mark.parametrize('version', ['tlsv1.2', 'tlsv1.3'])
def test_our_client_believes_no_certificate_instead(brokers, pki, version):
    """A server that does not know the key, but has a certificate."""
    crt, key = pki.server
    b = brokers(f'certfile {crt}\nkeyfile {key}\n')
    bad = subprocess.run([NIGHTJAR, 'pub', '-h', HOST, '-p', str(b.port), '--tls-version', version,
                          '--psk-identity', 'dev-1', '--psk', KEYS['dev-1'], '-t', 'psk', '-m', 'x'],
                         check=False, timeout=PATIENCE, capture_output=True)
    assert bad.returncode != 0


def test_reload(brokers, base_folder):
    """New keys count, old ones do not; a file that cannot be read leaves all
    as it was."""
    import conftest
    path = psk_file(conftest.new_folder(base_folder, 'psk-'), {'one': 'aa' * 16})
    b = brokers(f'psk_hint h\nuse_identity_as_username true\npsk_file {path}\n', anonymous=False)

    def works(identity, key):
        return b'\x20\x02\0\0' in s_client(b.port, identity, key * 16, '1.3')
    assert works('one', 'aa') and not works('two', 'bb')
    psk_file(os.path.dirname(path), {'two': 'bb' * 16})
    os.chown(path, b.owner(), -1)  # not root any more
    b.hup()
    harness.wait_until(lambda: works('two', 'bb'), 'the new key counts')
    assert not works('one', 'aa')
    psk_file(os.path.dirname(path), {'three': 'zz'})
    start = b.log_size()
    b.hup()
    b.wait_log('line 3: the key is not hexadecimal', start)
    assert works('two', 'bb')


BAD = [
    ('# nobody', 'has no identities'),
    ('dev', 'line 1: there is no colon'),
    (':aa', 'line 1: there is no identity'),
    ('#\ndev:', 'line 2: the key is empty'),
    ('dev:aaa', 'odd number'),
    ('dev:aag', 'line 1: the key is not hexadecimal'),
    ('dev:0xaa', 'begins with 0x'),
    ('dev: aa', 'a blank in the key'),
    ('dev:ga', 'line 1: the key is not hexadecimal'),
    ('dev:' + 'a' * 514, 'longer than 256 bytes'),
    ('d' * 256 + ':aa', 'longer than 255 bytes'),
    ('de\tv:aa', 'control character'),
    ('dev:aa\ndev:bb', 'line 2: this identity stands further up too'),
]


@pytest.mark.parametrize('text, why', BAD)
def test_files_that_are_none(brokers, tmp_path, text, why):
    path = tmp_path / 'keys'
    path.write_text(text)
    path.chmod(0o600)
    b = brokers(f'psk_hint h\npsk_file {path}\n', start=False)
    b.refuses(re.escape(why))
    assert 'serve.conf' not in b.log()
    out = subprocess.run([NIGHTJAR, 'serve', '--test-config', '-c', b.conf_path], check=False,
                         capture_output=True, text=True, timeout=PATIENCE)
    assert out.returncode == 3 and why in out.stderr and 'broker.conf:' in out.stderr


@pytest.mark.parametrize('lines, why', [
    ('psk_hint h', 'psk_hint without psk_file'),
    ('psk_hint h\npsk_file {path}\nrequire_certificate true\ncertfile {crt}\nkeyfile {key}\n'
     'cafile {ca}', 'require_certificate with psk_hint'),
    ('psk_hint h\npsk_file {path}\ncertfile {crt}', 'certfile without keyfile'),
    ('psk_hint h\npsk_file {path}\nuse_subject_as_username true', 'use_subject_as_username'),
])
def test_options_that_make_no_sense(brokers, pki, site, lines, why):
    text = lines.format(path=site.keys, crt=pki.server[0], key=pki.server[1], ca=pki.ca)
    brokers(text + '\n', start=False).refuses(why)


def test_without_use_identity(brokers, tmp_path):
    """The key is a transport then, as with Mosquitto; who the client is, is
    asked further."""
    path = psk_file(str(tmp_path))
    b = brokers(f'psk_hint h\npsk_file {path}\n')
    start = b.log_size()
    assert s_client(b.port, 'dev-1', KEYS['dev-1'], '1.3').endswith(b'\x20\x02\0\0')
    b.wait_log('New client connected', start)
    assert "u'dev-1'" not in b.log()
