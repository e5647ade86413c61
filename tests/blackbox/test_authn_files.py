# SPDX-License-Identifier: Apache-2.0
"""Files on which it depends who comes in fail closed: at the start the broker
refuses, with the file's name and why; at a reload all stays as it was."""
import json
import os
import re
import shutil
import subprocess

import pytest

import passwords
from dynsecs import state, user
from harness import HOST, NIGHTJAR, PATIENCE, free_port
from raw import Raw, connect_packet

pytestmark = pytest.mark.ours

GOOD = {'password_file': passwords.pbkdf2('u', 'p', 5) + '\nsecond:' + passwords.pbkdf2(
            'x', 'p', 5).split(':', 1)[1] + '\n',
        'acl_file': 'user u\ntopic readwrite #\n',
        'psk_file': 'u:' + 'ab' * 32 + '\n',
        'dynamic_security_file': json.dumps(state([user('u')]), indent=1) + '\n'}
BROKEN = {'password_file': 'u\n' + 'u:plaintext\n', 'acl_file': 'user u\ntopic raedwrite #\n',
          'psk_file': 'u:ab\nv:xyz\n', 'dynamic_security_file': '{\n  "clients": [,\n'}
HOW = {
    'missing': 'cannot open .*No such file',
    'a folder': 'not a regular file|directory|not a plain file',
    'a link': 'is a symbolic link.*(allow_linked_files|give the file itself)',
    'malformed': 'line 2|:2:',
    'empty': 'is empty',
    'writable by all': 'can be written by every user',
    'readable by all': 'can be read by every user.*(chmod 0600|chmod o=)',
    'a FIFO': 'not a regular file|not a plain file',
    'cut in a character': 'line 2|:2:',
}


def spoil(path, kind, how):
    if os.path.isdir(path):
        os.rmdir(path)
    elif os.path.lexists(path):
        os.unlink(path)
    if how == 'missing':
        return
    if how == 'a folder':
        os.mkdir(path)
        return
    if how == 'a FIFO':
        os.mkfifo(path, 0o600)
        return
    if how == 'empty':
        with open(path, 'wb'):
            os.chmod(path, 0o600)
        return
    target = path + '.target' if how == 'a link' else path
    data = BROKEN[kind].encode() if how == 'malformed' else GOOD[kind].encode()
    if how == 'cut in a character':
        data = (b'topic read x\ntopic \xc3\n' if kind == 'acl_file'
                else b'{"clients":\n\xc3 []}' if kind == 'dynamic_security_file'
                else GOOD[kind].split('\n', maxsplit=1)[0].encode() + b'\nv\xc3:\n')
    with open(target, 'wb') as f:
        f.write(data)
    os.chmod(target, {'writable by all': 0o646 if kind != 'psk_file' else 0o602,
                      'readable by all': 0o644}.get(how, 0o600))
    if how == 'a link':
        os.symlink(target, path)


def conf_of(kind, path):
    text = f'{kind} {path}\n'
    if kind == 'psk_file':
        text += 'psk_hint h\n'
    return text


@pytest.mark.parametrize('how', list(HOW))
@pytest.mark.parametrize('kind', list(GOOD))
def test_at_the_start(brokers, tmp_path, kind, how):
    path = str(tmp_path / 'file')
    spoil(path, kind, how)
    b = brokers(conf_of(kind, path), anonymous=False, start=False)
    b.refuses(HOW[how])
    assert re.search(r'broker\.conf:\d+|' + re.escape(path), b.log())


def test_at_a_reload(brokers, tmp_path):
    """One broker, each file spoiled in each way: the reload says which and
    why, and who could log in still can, and nobody else."""
    paths = {kind: str(tmp_path / kind) for kind in ('password_file', 'acl_file')}
    for kind, path in paths.items():
        spoil(path, kind, 'good')
    b = brokers(''.join(conf_of(k, p) for k, p in paths.items()), anonymous=False)
    owner = b.owner()

    def works():
        for password, code in ((b'p', 0), (b'q', 0x87)):
            with Raw(b.port) as c:
                c.send(connect_packet('', username='u', password=password))
                assert c.expect(2).code in (code, 0x86 if code else 0)
    for kind, path in paths.items():
        for how, pattern in HOW.items():
            spoil(path, kind, how)
            if os.path.lexists(path):
                os.chown(path, owner, -1, follow_symlinks=how == 'a link')
            start = b.log_size()
            b.hup()
            b.wait_log('Reload failed, everything stays as it was.*(' + pattern + ')', start)
            works()
        spoil(path, kind, 'good')
        os.chown(path, owner, -1)
        start = b.log_size()
        b.hup()
        b.wait_log(r'Reloaded\.', start)
        works()


def test_config(b):
    p = subprocess.run([NIGHTJAR, 'serve', '--test-config', '-c', b.conf_path],
                       capture_output=True, text=True, timeout=PATIENCE, check=False)
    return p.returncode, p.stderr


test_config.__test__ = False


@pytest.mark.parametrize('kind, word, mode, taken', [
    ('password_file', None, 0o644, False), ('acl_file', None, 0o644, False),
    ('password_file', 'true', 0o644, False), ('acl_file', 'true', 0o604, False),
    ('password_file', 'secrets', 0o644, False), ('acl_file', 'secrets', 0o644, True),
    ('password_file', 'false', 0o644, True), ('acl_file', 'false', 0o644, True),
    ('password_file', None, 0o640, True), ('acl_file', None, 0o640, True)])
def test_exposed(brokers, tmp_path, kind, word, mode, taken):
    """Refused with how to have it taken, or taken with a warning, as Mosquitto
    does without; what a group reads is no matter, as in Debian's package.
    --test-config says what the start does."""
    path = str(tmp_path / 'file')
    spoil(path, kind, 'good')
    os.chmod(path, mode)
    b = brokers(conf_of(kind, path) + (f'refuse_exposed_files {word}\n' if word else ''),
                anonymous=kind == 'acl_file', start=False)
    says = f'{path} can be read by every user'
    status, said = test_config(b)
    assert (status == 0) == taken and (says in said) == bool(mode & 0o4)
    if not taken:
        take = 'false' if kind == 'password_file' else 'secrets'
        b.refuses(says + f'.*refuse_exposed_files {take}')
        return
    if not mode & 0o4 and os.geteuid() == 0:
        os.chmod(tmp_path, 0o755)
    b.start()
    with Raw(b.port) as c:
        c.connect('', username='u', password='p')
    b.wait_log(' running')
    assert (says in b.log()) == bool(mode & 0o4)


@pytest.mark.parametrize('where', ['keyfile', 'further_certificate'])
@pytest.mark.parametrize('word, mode, taken', [(None, 0o644, True), ('all', 0o644, False),
                                               ('all', 0o640, True), ('all', 0o600, True)])
def test_exposed_keys(brokers, tmp_path, pki, where, word, mode, taken):
    """Of a key that everybody can read there is a warning; who wants has it
    refused, also one of a further certificate."""
    cert, key = pki.server
    shutil.copy(key, tmp_path / 'key')
    os.chmod(tmp_path / 'key', mode)
    shutil.copy(key, tmp_path / 'private')
    os.chmod(tmp_path / 'private', 0o600)
    tls = f'certfile {cert}\n' + (f'keyfile {tmp_path}/key\n' if where == 'keyfile' else
                                  f'keyfile {tmp_path}/private\n'
                                  f'further_certificate {cert} {tmp_path}/key\n')
    port = free_port()
    b = brokers((f'refuse_exposed_files {word}\n' if word else '')
                + f'listener {port} {HOST}\n' + tls, start=False)
    says = f'{tmp_path}/key (is open to other users|can be read by every user)'
    status, said = test_config(b)
    assert (status == 0) == taken, said
    assert bool(re.search(says, said)) == bool(mode & 0o44), said
    if not taken:
        b.refuses(says)
        return
    b.start()
    b.wait_log(' running')
    assert bool(re.search(says, b.log())) == bool(mode & 0o44)


def test_links_where_they_are_wanted(brokers, tmp_path):
    """Kubernetes mounts files as links to a folder that it exchanges."""
    path = str(tmp_path / 'file')
    spoil(path, 'password_file', 'a link')
    b = brokers(f'password_file {path}\nallow_linked_files true\n', anonymous=False)
    with Raw(b.port) as c:
        c.connect('', username='u', password='p')


def test_a_password_file_without_users_lets_nobody_in(brokers, tmp_path):
    path = tmp_path / 'file'
    path.write_text('# nobody\n')
    path.chmod(0o600)
    b = brokers(f'password_file {path}\n', anonymous=False)
    for kw in ({}, {'username': 'u'}, {'username': 'u', 'password': 'p'},
               {'username': '', 'password': ''}):
        with Raw(b.port) as c:
            c.send(connect_packet('x', **kw))
            assert c.expect(2).code >= 0x80
