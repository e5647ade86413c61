# SPDX-License-Identifier: Apache-2.0
"""An independent look at the TLS ports of `nightjar up`: sslscan and testssl.sh
of Debian find nothing above informational.

They are looked for on the PATH and in $NJ_BUILD/scanners, where
tools/packages.sh unpacks them (unpack_scanners)."""
import json
import os
import re
import shutil
import subprocess

import pytest

import harness
from harness import HOST, NIGHTJAR, free_port, wait_until

pytestmark = pytest.mark.ours

SCANNERS = os.path.join(os.environ.get('NJ_BUILD', ''), 'scanners')
# What testssl.sh says of its own surroundings, not of the broker.
NOT_OURS = {'engine_problem', 'service', 'scanTime', 'optimal_proto'}


def tool(name):
    return shutil.which(name) or shutil.which(os.path.join(SCANNERS, 'usr', 'bin', name))


@pytest.fixture(scope='module')
def up(base_folder):
    """What a first start serves: MQTT, WebSocket and enrolment over TLS."""
    from conftest import new_folder
    folder = os.path.join(new_folder(base_folder, 'scan-'), 'up')
    ports = {'mqtt': free_port(), 'wss': free_port(), 'est': free_port()}
    log = folder + '.log'
    with open(log, 'wb') as out, subprocess.Popen(
            [NIGHTJAR, 'up', '--dir', folder, '--port', str(ports['mqtt']), '--wss-port',
             str(ports['wss']), '--enroll-port', str(ports['est'])],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out) as p:
        try:
            wait_until(lambda: 'Ctrl-C ends it' in open(log, encoding='utf-8').read()
                       or p.poll() is not None, 'nightjar up serves')
            assert p.poll() is None, open(log, encoding='utf-8').read()
            yield folder, ports
        finally:
            p.terminate()
    assert not harness.SANITIZER.search(open(log, encoding='utf-8').read())


@pytest.mark.parametrize('port', ['mqtt', 'wss', 'est'])
def test_sslscan(up, port):
    if not tool('sslscan'):
        pytest.skip('sslscan is not installed (tools/packages.sh, unpack_scanners)')
    text = subprocess.run([tool('sslscan'), '--no-colour', f'{HOST}:{up[1][port]}'], check=True,
                          stdout=subprocess.PIPE, timeout=600).stdout.decode()
    assert re.findall(r'^(SSLv2|SSLv3|TLSv1\.\d)\s+enabled$', text, re.M) == ['TLSv1.2', 'TLSv1.3']
    assert 'Session renegotiation not supported' in text or 'Secure session renegotiation' in text
    assert not re.search(r'(?<!not )vulnerable|Insecure|CBC|RC4|3DES|NULL|EXPORT', text), text
    ciphers = re.findall(r'^(?:Preferred|Accepted)\s+\S+\s+\d+ bits\s+(\S+)', text, re.M)
    assert len(ciphers) >= 3
    assert all('GCM' in c or 'CHACHA20' in c for c in ciphers), ciphers


@pytest.mark.parametrize('port', ['mqtt'])
def test_testssl(up, port, tmp_path):
    if not tool('testssl'):
        pytest.skip('testssl.sh is not installed (tools/packages.sh, unpack_scanners)')
    folder, ports = up
    # It insists on a program for DNS, and is told the address.
    (tmp_path / 'host').write_text('#!/bin/sh\nexit 1\n')
    (tmp_path / 'host').chmod(0o755)
    env = dict(os.environ, PATH=f"{os.environ['PATH']}:{tmp_path}")
    if os.path.isdir(os.path.join(SCANNERS, 'etc', 'testssl')):
        env['TESTSSL_INSTALL_DIR'] = os.path.join(SCANNERS, 'etc', 'testssl')

    def scanned(name):
        found = tmp_path / name
        subprocess.run([tool('testssl'), '--quiet', '--warnings', 'off', '--color', '0', '--nodns',
                        'none', '--ip', HOST, '--add-ca', f'{folder}/pki/ca.crt', '--jsonfile',
                        str(found), '-p', '-s', '-f', '-S', '-U', f'localhost:{ports[port]}'],
                       env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=900, check=False)
        rows = json.loads(found.read_text())
        assert len(rows) > 60, 'it did not come far'
        return {r['id']: r for r in rows if r['severity'] not in ('OK', 'INFO', 'DEBUG')
                and r['id'] not in NOT_OURS
                # it has no client certificate of ours, and says where that stops it
                and 'prevents this from being tested' not in r['finding']}
    bad = scanned('found.json')
    if bad:		# what it finds by a deadline of its own it does not find again
        again = scanned('again.json')
        bad = {k: v for k, v in bad.items() if k in again}
    assert not bad, bad


def test_the_list_is_where_the_certificate_says(up):
    folder, ports = up
    text = subprocess.run(['openssl', 'x509', '-in', f'{folder}/server/server.crt', '-noout', '-ext',
                           'crlDistributionPoints'], check=True, stdout=subprocess.PIPE).stdout
    assert b':%d/ca.crl' % ports['est'] in text
    for where, want in (('ca.crl', 0), ('ca.crt', 0), ('.well-known/est/cacerts', 22)):
        done = subprocess.run(['curl', '-sSf', f"http://{HOST}:{ports['est']}/{where}"], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == want, (where, done.stderr)
