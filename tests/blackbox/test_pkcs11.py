# SPDX-License-Identifier: Apache-2.0
"""The CA's key in a hardware module, with SoftHSM in its place."""
import glob
import os
import shutil
import subprocess

import pytest

import harness
from harness import HOST, free_port
from test_revoke import Ca

pytestmark = pytest.mark.ours

MODULES = glob.glob('/usr/lib/softhsm/libsofthsm2.so') + glob.glob(
    '/usr/lib/*/softhsm/libsofthsm2.so')
ENGINES = glob.glob('/usr/lib/*/engines-3/pkcs11.so')


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A token with a key 'issuing' of P-256: the URI, and a file with the PIN."""
    if not MODULES or not shutil.which('softhsm2-util'):
        pytest.skip('softhsm2 is not installed')
    if not ENGINES:
        pytest.skip('libengine-pkcs11-openssl is not installed')
    os.makedirs(tmp_path / 'tokens')
    conf = tmp_path / 'softhsm2.conf'
    conf.write_text(f'directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n')
    monkeypatch.setenv('SOFTHSM2_CONF', str(conf))
    # what of the module's the leak checker sees is not ours
    monkeypatch.setenv('LSAN_OPTIONS', 'detect_leaks=0')
    monkeypatch.setenv('ASAN_OPTIONS', 'detect_leaks=0')
    pem = str(tmp_path / 'key.pem')

    def run(*argv):
        subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    run('openssl', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', pem)
    run('softhsm2-util', '--init-token', '--free', '--label', 'ca', '--pin', '1234', '--so-pin', '5678')
    run('softhsm2-util', '--import', pem, '--token', 'ca', '--label', 'issuing', '--id', 'a1',
        '--pin', '1234')
    os.remove(pem)
    pin = tmp_path / 'pin'
    pin.write_text('1234\n')
    pin.chmod(0o600)
    return f'pkcs11:token=ca;object=issuing?module-path={MODULES[0]}', str(pin)


class HsmCa(Ca):
    def __init__(self, folder, uri, pin, *args):  # pylint: disable=super-init-not-called
        self.dir = str(folder)
        self.pin = pin
        self('init', '--pkcs11', uri, '--passphrase-file', pin, *args)
        self('server', '--passphrase-file', pin)


def test_key_stays_in_the_module(module, tmp_path):
    uri, pin = module
    ca = HsmCa(tmp_path / 'ca', uri, pin)
    with open(ca.path('pki', 'ca.key'), encoding='ascii') as f:
        assert f.read() == uri + '\n'
    ca('device', 'dev1', '--passphrase-file', pin)
    subprocess.run(['openssl', 'verify', '-x509_strict', '-CAfile', ca.path('pki', 'ca.crt'),
                    ca.path('devices', 'dev1', 'client.crt')], check=True)
    ca('revoke', 'dev1', '--passphrase-file', pin)
    assert ca.listed()[0]
    wrong = tmp_path / 'wrong'
    wrong.write_text('9999\n')
    wrong.chmod(0o600)
    out = ca('device', 'dev2', '--passphrase-file', str(wrong), status=1)
    assert 'PKCS#11' in out and 'PIN' in out


@pytest.mark.parametrize('below', [False, True], ids=['root', 'issuing'])
def test_enrolment(module, tmp_path, brokers, below):
    """The signer signs with it, behind its walls."""
    uri, pin = module
    ca = HsmCa(tmp_path / 'ca', uri, pin, *(['--issuing'] if below else []))
    if below:
        with open(ca.path('pki', 'issuing.key'), encoding='ascii') as f:
            assert f.read() == uri + '\n'
    port = free_port()
    brokers(f'listener {port} {HOST}\nprotocol est\ncertfile {ca.path("server", "server.crt")}\n'
            f'keyfile {ca.path("server", "server.key")}\nca_dir {ca.dir}\nca_passphrase_file {pin}\n',
            extra_ports=[port])
    token = ca('token', 'dev3', '--at', f'{HOST}:{port}', '-q').strip()
    out = str(tmp_path / 'dev3')
    p = subprocess.run([harness.NIGHTJAR, 'enroll', token, '--out', out], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    assert p.returncode == 0, p.stdout
    crt = os.path.join(out, 'client.crt')
    subprocess.run(['openssl', 'verify', '-CAfile', ca.path('pki', 'ca.crt'), '-untrusted', crt, crt],
                   check=True)


def test_without_the_module(tmp_path):
    """It says what is missing."""
    ca = Ca(tmp_path / 'ca')
    with open(ca.path('pki', 'ca.key'), 'w', encoding='ascii') as f:
        f.write('pkcs11:token=none;object=none?module-path=/nonexistent.so\n')
    out = ca('device', 'x', status=1)
    assert 'PKCS#11' in out and ('libengine' in out or 'module-path' in out or 'pkcs11-tool' in out)
