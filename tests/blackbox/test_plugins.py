# SPDX-License-Identifier: Apache-2.0
"""The lines that load Mosquitto's own plug-ins mean what is built in: plugin,
auth_plugin, global_plugin, and plugin_load with plugin_use of Mosquitto 2.1."""
import os
import subprocess

import pytest

import passwords
from harness import HOST, NIGHTJAR, PATIENCE, free_port
from raw import CONNACK, Raw, connect_packet

pytestmark = pytest.mark.ours

LIB = '/usr/lib/x86_64-linux-gnu/mosquitto_'


@pytest.fixture
def files(tmp_path):
    """A file for each plug-in; private, and readable by who serves."""
    made = {}
    for name, text in (('password_file', passwords.pbkdf2('u', 'p', 5) + '\n'),
                       ('acl_file', 'user u\ntopic readwrite a/#\n')):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        made[name] = str(path)
    os.chmod(tmp_path, 0o755)
    return made


def loads(port, password='p'):
    with Raw(port, version=5) as c:
        c.send(connect_packet('c', username='u', password=password, version=5))
        code = c.expect(CONNACK).code
        if code:
            return code, None
        return code, (c.publish_acked('a/b', 'x'), c.publish_acked('b', 'x'))


@pytest.mark.parametrize('line', ['plugin', 'auth_plugin', 'global_plugin'])
def test_plugin_for_all(brokers, files, line):
    opt = 'auth_opt_' if line == 'auth_plugin' else 'plugin_opt_'
    b = brokers(''.join(f'{line} {LIB}{k}.so\n{opt}{k} {v}\n' for k, v in files.items()),
                anonymous=False)
    code, codes = loads(b.port)
    assert code == 0 and codes[0] in (0, 0x10) and codes[1] == 0x87
    assert loads(b.port, 'q')[0] >= 0x86


@pytest.mark.parametrize('first', [True, False])
def test_plugin_use(brokers, files, first):
    """One listener has both, one the passwords only, one nothing: 2.1's way.
    What is loaded may stand above or below the listeners."""
    two, three = free_port(), free_port()
    load = ''.join(f'plugin_load my_{k} {LIB}{k}.so\nplugin_opt_{k} {v}\n' for k, v in files.items())
    b = brokers((load if first else '')
                + 'plugin_use my_password_file\nplugin_use my_acl_file\n'
                + f'listener {two} {HOST}\nplugin_use my_password_file\n'
                + f'listener {three} {HOST}\nlistener_allow_anonymous true\n'
                + ('' if first else load), anonymous=False)
    code, codes = loads(b.port)
    assert code == 0 and codes[1] == 0x87
    assert loads(b.port, 'q')[0] >= 0x86
    code, codes = loads(two)
    assert code == 0 and codes[1] in (0, 0x10)
    assert loads(two, 'q')[0] >= 0x86
    with Raw(three, version=5) as c:
        c.connect('anybody')


@pytest.mark.parametrize('lines, why', [
    (f'plugin_load a {LIB}dynamic_security.so\n', "no line 'plugin_opt_config_file PATH'"),
    ('plugin_use a\n', "no plugin_load has the name 'a'"),
    ('plugin_load a /usr/lib/go-auth.so\nplugin_opt_backends files\nplugin_use a\n',
     "plugin_load: .*Mend: let clients in by 'password_file', 'dynamic_security_file', 'jwt_key_file'"),
    (f'plugin_load a {LIB}persist_sqlite.so\nplugin_use a\n', "'persistence true'"),
    (f'plugin {LIB}persist_sqlite.so\nplugin_opt_bd_file x\n', "no option 'bd_file'"),
    (f'plugin_load a {LIB}sparkplug_aware.so\nplugin_use a\n', 'delete it'),
])
def test_what_is_refused(brokers, lines, why):
    b = brokers(lines, anonymous=False, start=False)
    b.refuses(why)


@pytest.mark.parametrize('value', ['true', 'false'])
def test_special_names(brokers, tmp_path, value):
    """What the line would keep out is kept out without it, whatever it says; no name of
    this kind becomes a part of a filter."""
    acl = tmp_path / 'acl'
    acl.write_text('pattern readwrite p/%u/%c\npattern read #\nuser +\ntopic write own\n')
    acl.chmod(0o600)
    b = brokers(f'plugin {LIB}acl_file.so\nauth_plugin_deny_special_chars {value}\n'
                f'plugin_opt_acl_file {acl}\n')
    b.wait_log('auth_plugin_deny_special_chars: it is about other plug-ins')
    for user, own, where in (('u', 'c', 'p/u/c'), ('+', 'c', 'p/u/c'), ('#', 'c', 'p/u/c'), ('u', '+', 'p/u/c'),
                             ('u', '#', 'p/u/c'), ('+', 'c', 'own')):
        with Raw(b.port) as c:
            c.connect(own, username=user)
            right = (user, own) == ('u', 'c') or where == 'own'
            assert (c.publish_acked(where, 'x') == 0x87) != right, (user, own, where)
            assert (c.subscribe('p/#')[0] == 0x87) == ((user, own) != ('u', 'c')), (user, own)


def test_files_are_checked(brokers, tmp_path):
    b = brokers(f'plugin_load a {LIB}acl_file.so\nplugin_opt_acl_file {tmp_path}/none\n'
                'plugin_use a\n', start=False)
    p = subprocess.run([NIGHTJAR, 'serve', '--test-config', '-c', b.conf_path],
                       capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert p.returncode != 0 and 'none' in p.stderr + p.stdout
    b.refuses('none')


def test_loaded_and_not_used(brokers, files):
    b = brokers(f'plugin_load a {LIB}acl_file.so\nplugin_opt_acl_file {files["acl_file"]}\n')
    b.wait_log("the plug-in 'a' is used by no listener")


@pytest.mark.parametrize('line', ['plugin', 'global_plugin'])
def test_persist_sqlite(brokers, tmp_path, line):
    """It stands for 'persistence true' in the folder of its file."""
    b = brokers(f'{line} {LIB}persist_sqlite.so\nplugin_opt_db_file {tmp_path}/mosquitto.sqlite3\n'
                'plugin_opt_sync full\nplugin_opt_flush_period 1\n')
    with Raw(b.port) as c:
        c.connect('one')
        c.publish_acked('kept', b'x', retain=True)
    b.kill()
    assert (tmp_path / 'nightjar.db').exists()
    b.start()
    with Raw(b.port) as c:
        c.connect('two')
        c.subscribe('kept')
        assert c.message().payload == b'x'
