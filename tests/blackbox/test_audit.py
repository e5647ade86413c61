# SPDX-License-Identifier: Apache-2.0
"""nightjar audit: what it finds in the registry, in files, in the rules, and
among those who are connected."""
import json
import os
import shutil
import socket
import subprocess

import pytest

import pahoc
from harness import HOST, NIGHTJAR, PATIENCE, wait_until
from raw import Raw, connect_packet

pytestmark = pytest.mark.ours


class Site:
    """A CA, a broker that takes its devices, and rules."""

    def __init__(self, factory, folder):
        self.dir = os.path.join(folder, 'ca')
        self.socket = os.path.join(folder, 'admin.sock')
        self.ca('init')
        self.ca('server')
        batch = os.path.join(folder, 'batch.csv')
        with open(batch, 'w', encoding='ascii') as f:
            f.write('id,days\ngood,\nmighty,\nsoon,5\nagain,\ngone,\n')
        self.ca('device', '--batch', batch, '--out', os.path.join(self.dir, 'devices'))
        # Not where the broker would look for this CA's list by itself.
        self.cafile = shutil.copy(f'{self.dir}/pki/ca.crt', os.path.join(folder, 'ca.crt'))
        acl = os.path.join(folder, 'acl')
        with open(acl, 'w', encoding='ascii') as f:
            f.write('user mighty\ntopic readwrite #\ntopic read $SYS/#\npattern readwrite %u/#\n')
        root = 'user root\n' if os.geteuid() == 0 else ''
        self.broker = factory(
            f'{root}admin_socket {self.socket}\nacl_file {acl}\ncafile {self.cafile}\n'
            f'certfile {self.dir}/server/server.crt\nkeyfile {self.dir}/server/server.key\n'
            'require_certificate true\nuse_identity_as_username true\n'
            'certificate_clientid any\n', anonymous=False)

    def ca(self, *args):
        subprocess.run([NIGHTJAR, 'ca', *args, '--dir', self.dir], check=True, timeout=60,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def audit(self, *args):
        """([(code, id)], exit status, everything)"""
        done = subprocess.run([NIGHTJAR, 'audit', '--dir', self.dir, '--socket', self.socket, '-c',
                               self.broker.conf_path, '--json', *args], timeout=60, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        found = json.loads(done.stdout)
        return {(f['code'], f['id']) for f in found['findings']}, done.returncode, found

    def connect(self, device, client_id):
        pair = [f'{self.dir}/devices/{device}/client.{e}' for e in ('crt', 'key')]
        c = Raw(self.broker.port, tls=pahoc.tls_context(self.cafile, *pair))
        c.connect(client_id)
        return c


@pytest.fixture(scope='module')
def site(base_folder):
    from conftest import Factory, new_folder
    factory = Factory(base_folder)
    yield Site(factory, new_folder(base_folder, 'audit-'))
    factory.finish()


def test_registry_and_rules(site):
    found, status, whole = site.audit()
    assert status == 0 and whole['broker_asked'] and whole['devices'] == 5
    assert ('expiring', 'soon') in found and ('expiring', 'good') not in found
    assert ('over-privileged', 'mighty') in found and ('over-privileged', 'good') not in found
    assert not {c for c, _ in found} & {'duplicate', 'unused', 'revoked-connected', 'weak'}


def test_end_of_the_certificate_in_sys(site):
    with site.connect('mighty', 'watcher') as c:
        c.subscribe('$SYS/broker/tls/certificate/#')
        got = {m.topic.rsplit('/')[-1]: int(m.payload) for m in (c.message(), c.message())}
    assert 395 <= got['days'] <= 397 and got['expires'] > 1.7e9


def test_unused(site):
    with site.connect('good', 'good'):
        found, _, whole = site.audit('--unused', '0')
        assert ('unused', 'gone') in found and ('unused', 'good') not in found
        assert whole['clients'] >= 1


def test_duplicates(site):
    site.ca('device', 'again', '--again')
    found, _, _ = site.audit()
    assert ('duplicate', 'again') in found
    old = next(f for f in site.audit()[2]['findings'] if f['code'] == 'duplicate')['serial']
    site.ca('revoke', old)
    assert ('duplicate', 'again') not in site.audit()[0]


def test_one_certificate_for_many(site):
    with site.connect('good', 'one'), site.connect('good', 'two'):
        found, _, whole = site.audit()
        assert ('shared-use', 'good') in found
        assert any("'one'" in f['what'] and "'two'" in f['what'] for f in whole['findings'])
    wait_until(lambda: ('shared-use', 'good') not in site.audit()[0], 'they are gone')


def test_one_certificate_in_several_places(site):
    """The same certificate from two addresses at once is worse than a program
    that connects twice."""
    pair = [f'{site.dir}/devices/good/client.{e}' for e in ('crt', 'key')]
    other = socket.create_connection((HOST, site.broker.port), PATIENCE,
                                     source_address=('127.0.0.9', 0))
    other = pahoc.tls_context(site.cafile, *pair).wrap_socket(other, server_hostname='localhost')
    other.sendall(connect_packet('thief'))
    assert other.recv(2)
    with site.connect('good', 'good'):
        found, status, whole = site.audit()
        assert ('shared-use', 'good') in found and status == 1
        text = ' '.join(f['what'] for f in whole['findings'])
        assert 'in several places at once' in text and 'from 127.0.0.9' in text, text
    other.close()
    wait_until(lambda: ('shared-use', 'good') not in site.audit()[0], 'they are gone')


def test_one_key_in_two_certificates(site):
    """Made with the CA's key by hand: in a device's folder, and connected."""
    assert 'shared-key' not in {c for c, _ in site.audit()[0]}
    twin = os.path.join(site.dir, 'devices', 'twin')
    os.makedirs(twin)
    for argv in (['req', '-new', '-key', f'{site.dir}/devices/good/client.key', '-subj', '/CN=twin',
                  '-out', f'{twin}/csr'],
                 ['x509', '-req', '-in', f'{twin}/csr', '-CA', site.cafile, '-CAkey',
                  f'{site.dir}/pki/ca.key', '-passin', f'file:{site.dir}/ca.passphrase',
                  '-set_serial', '77', '-days', '60', '-out', f'{twin}/client.crt']):
        subprocess.run(['openssl', *argv], check=True, stderr=subprocess.DEVNULL)
    shutil.copy(f'{site.dir}/devices/good/client.key', twin)
    found, status, whole = site.audit()
    assert ('shared-key', 'good') in found and status == 1
    assert any("'twin'" in f['what'] and 'devices/twin' in f['what'] for f in whole['findings'])
    with site.connect('twin', 'twin'):
        text = ' '.join(f['what'] for f in site.audit()[2]['findings'])
        assert "a certificate of 'twin' (with which 'twin' is connected) has the key of 'good'" in text
    shutil.rmtree(twin)
    assert 'shared-key' not in {c for c, _ in site.audit()[0]}


def test_revoked_and_yet_connected(site):
    """The broker was not told of the list: audit sees it."""
    with site.connect('gone', 'gone'):
        site.ca('revoke', 'gone')
        found, status, whole = site.audit()
        assert ('revoked-connected', 'gone') in found and status == 1
        assert any('clients disconnect --serial' in f['mend'] for f in whole['findings'])


def test_weak_files(site, pki, tmp_path):
    """A weak certificate among the devices' folders."""
    folder = os.path.join(site.dir, 'devices', 'weak')
    os.makedirs(folder)
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:1024', '-nodes', '-keyout',
                    tmp_path / 'k', '-subj', '/CN=weak', '-out', os.path.join(folder, 'client.crt')],
                   check=True, stderr=subprocess.DEVNULL)
    found, status, whole = site.audit()
    assert ('weak', '') in found and status == 1
    assert any('RSA-1024' in f['what'] and 'devices/weak' in f['what'] for f in whole['findings'])
    shutil.rmtree(folder)


def test_without_a_broker_or_a_ca(site, tmp_path):
    done = subprocess.run([NIGHTJAR, 'audit', '--dir', site.dir, '--socket', str(tmp_path / 'no')],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=60, check=False)
    assert b'no broker could be asked' in done.stdout
    done = subprocess.run([NIGHTJAR, 'audit', '--dir', str(tmp_path)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 1 and b'ca init' in done.stderr
