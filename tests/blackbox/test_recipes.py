# SPDX-License-Identifier: Apache-2.0
"""The recipes of recipes.py, run as they stand, and what Nightjar says of what
comes out: each of their faults by name, from the files or the configuration."""
import json
import os
import re
import shlex
import shutil
import subprocess

import pytest

import recipes
from harness import NIGHTJAR

pytestmark = pytest.mark.ours


def follow(folder, steps, files=None, fails=()):
    """Runs the steps without a terminal, so that prompts read what is typed."""
    for name, text in (files or {}).items():
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), 'w', encoding='ascii') as f:
            f.write(text)
    for i, (where, command, typed) in enumerate(steps):
        os.makedirs(os.path.join(folder, where), exist_ok=True)
        done = subprocess.run(shlex.split(command), cwd=os.path.join(folder, where),
                              input=typed.encode(), stdout=subprocess.PIPE, timeout=60,
                              stderr=subprocess.STDOUT, start_new_session=True, check=False)
        assert (done.returncode != 0) == (i in fails), f'{command}: {done.stdout.decode()}'


def say(*argv):
    done = subprocess.run([NIGHTJAR, *map(str, argv)], stdin=subprocess.DEVNULL, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode()


def inspect(*args):
    """{code: text} of faults and doubts."""
    found = json.loads(say('inspect', '--json', *args)[1])
    return {f['code']: f['what'] for f in found['findings'] if f['level'] != 'note'}


def made(base_folder, name, *args):
    folder = os.path.join(base_folder, name)
    os.makedirs(folder)
    follow(folder, *args)
    return lambda path: os.path.join(folder, path)


def test_seed1_as_it_stands(base_folder):
    """Two of its commands do not run; what is left is no CA and no server."""
    at = made(base_folder, 'seed1', recipes.SEED1, None, recipes.SEED1_FAILS)
    assert 'named like a certificate request and holds a certificate' in inspect(
        at('root.csr'))['misnamed']
    assert not os.path.exists(at('server.crt'))
    status, text = say('inspect', at('server.csr'))
    assert status == 0 and 'is no certificate yet: a CA has to sign it' in text
    status, text = say('inspect', at('root.crt'))
    assert status == 1 and ('No such file' in text or 'is empty' in text)


def test_seed1_mended_by_its_reader(base_folder):
    """Version 1 throughout: no CA, no names, 30 days, SHA-1."""
    at = made(base_folder, 'seed1-mended', recipes.SEED1_MENDED)
    found = inspect(at('root.crt'), '--as', 'ca')
    assert 'version 1 certificate, which cannot be a CA' in found['version-1']
    text = say('inspect', at('root.crt'))[1]
    assert 'signed with sha1' in text and 'nightjar ca init' in text
    text = say('inspect', at('server.crt'), at('server.key'), '--as', 'server', '--host',
               'server')[1]
    assert 'version 1' in text and 'only the common name' in text
    assert re.search(r'\(30 days; (29|30) left\)', text)
    conf = at('mosquitto.conf')
    with open(conf, 'w', encoding='ascii') as f:
        f.write(f"listener 8883\ncafile {at('root.crt')}\ncertfile {at('server.crt')}\n"
                f"keyfile {at('server.key')}\nrequire_certificate true\n")
    status, text = say('serve', '--test-config', '-c', conf)
    assert status == 3 and 'version 1 certificate' in text and 'nightjar ca init' in text


def moved(at, conf, pairs):
    """Its configuration, with the paths to where the files lie here."""
    for old, new in pairs.items():
        conf = conf.replace(old, at(new))
    path = at('mosquitto.conf')
    with open(path, 'w', encoding='ascii') as f:
        f.write(conf)
    return path


def test_seed2(base_folder):
    """Certificates without names, keys that nobody can open at start, and a
    version of TLS that is gone; its clients are asked for nothing."""
    at = made(base_folder, 'seed2', recipes.SEED2)
    assert 'encrypted, and was not opened' in inspect(at('broker/server.key'))['encrypted']
    text = say('inspect', at('broker/server.crt'), '--cafile', at('authority/ca.crt'), '--as',
               'server', '--host', 'iotgateway1')[1]
    assert 'version 1' in text and "only the common name 'iotgateway1'" in text
    assert 'Java' in text           # its own client is one that refuses that
    text = say('inspect', at('board/client.crt'))[1]
    assert 'as client       yes' in text and 'as MQTT server  yes' in text
    conf = moved(at, recipes.SEED2_CONF, {
        '/etc/mosquitto/ca_certificates/ca.crt': 'authority/ca.crt',
        '/etc/mosquitto/certs/server.crt': 'broker/server.crt',
        '/etc/mosquitto/certs/server.key': 'broker/server.key'})
    text = say('serve', '--test-config', '-c', conf)[1]
    assert 'TLS 1.0 was retired' in text and 'delete this line' in text
    assert 'is encrypted' in text and 'keyfile_password_file' in text


def test_seed3(base_folder):
    """RSA-1024, only the last of its four names, and the CA's key on the
    broker."""
    at = made(base_folder, 'seed3', recipes.SEED3, recipes.SEED3_FILES)
    found = inspect(at('CA/MiMosquitto.crt'), at('CA/MiMosquitto.key'), at('CA/MiCA.crt'),
                    at('CA/MiCA.key'), '--host', '192.168.1.20')
    assert 'RSA-1024' in found['weak-key']
    assert 'valid for futro-s450; you connected to 192.168.1.20' in found['host']
    assert "the CA's own" in found['ca-key'] and 'not encrypted' in found['ca-key']
    assert 'space at the end' in found['space']
    text = say('inspect', at('CA/MiMosquitto.crt'), '--host', '192.168.1.20')[1]
    assert 'nightjar ca server 192.168.1.20' in text and '--insecure is never needed' in text
    os.makedirs(at('certs'))
    for name in os.listdir(at('CA')):          # sudo cp MiCA.* /etc/mosquitto/certs/
        if name.startswith('Mi'):
            shutil.copy(at('CA/' + name), at('certs/' + name))
    conf = moved(at, recipes.SEED3_CONF, {'/etc/mosquitto/certs': 'certs'})
    status, text = say('serve', '--test-config', '-c', conf)
    assert status == 3 and 'RSA-1024' in text and 'nightjar ca init' in text
    assert 'TLS 1.0 was retired' in text
    text = say('doctor', '-c', conf)[1]
    assert "CA's private key lies beside its certificate" in text


def test_they_are_the_documents_own(tmp_path):
    """Where the documents are at hand, each command is found in them."""
    folder = os.environ.get('NIGHTJAR_SEEDS')
    if not folder or not os.path.isdir(folder):
        pytest.skip('NIGHTJAR_SEEDS names no folder with the documents')
    text = ' '.join(open(os.path.join(folder, f), encoding='utf-8').read()
                    for f in sorted(os.listdir(folder)))
    text = ' '.join(text.split())
    for step in recipes.SEED1 + recipes.SEED2 + recipes.SEED3:
        assert ' '.join(step[1].split()) in text, step[1]
