# SPDX-License-Identifier: Apache-2.0
"""What operators are told when something is wrong: why a start failed, of a store
that cannot be written, of file systems that are read-only or full."""
import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile

import pytest

import mosquittodb
from faulty import Disk
from harness import NIGHTJAR, wait_until
from raw import Raw

FOREVER = {'session_expiry': 0xffffffff}
CONF = '''
persistence true
persistence_location store
sys_interval 1
log_type all
'''


def run(*args, status=0, **kw):
    r = subprocess.run([NIGHTJAR, *map(str, args)], capture_output=True, text=True, timeout=60,
                       check=False, **kw)
    assert r.returncode == status, (r.returncode, r.stdout, r.stderr)
    return r.stdout + r.stderr


@pytest.fixture(name='socket')
def _socket():
    """A path that a socket address has room for."""
    with tempfile.TemporaryDirectory(prefix='nj-told-', dir='/tmp') as folder:
        yield os.path.join(folder, 'a.sock')


# -- a start that fails ----------------------------------------------------------

@pytest.mark.parametrize('dests, on_stderr', [('file {}', 1), ('stderr', 1), ('file {}\nlog_dest stderr', 1),
                                              ('stdout', 1)])
def test_why_a_start_failed(tmp_path, dests, on_stderr):
    """In the log that is configured, once, with what mends it."""
    log, conf = tmp_path / 'log', tmp_path / 'conf'
    (tmp_path / 'store').mkdir()
    (tmp_path / 'store' / 'nightjar.db').write_bytes(b'no store, by far, this is text' * 100)
    (tmp_path / 'store').chmod(0o777)
    (tmp_path / 'store' / 'nightjar.db').chmod(0o666)
    conf.write_text('listener 0 127.0.0.1\nallow_anonymous true\npersistence true\n'
                    f'persistence_location {tmp_path}/store\nlog_dest {dests.format(log)}\n')
    r = subprocess.run([NIGHTJAR, 'serve', '-c', conf], capture_output=True, text=True, timeout=60,
                       check=False, cwd=tmp_path)
    assert r.returncode == 1
    says = 'Error: .*nightjar.db'
    assert len(re.findall(says, r.stderr)) == on_stderr, r.stderr
    assert 'persistence_on_damage' in r.stderr
    where = {'file': lambda: log.read_text(), 'stdout': lambda: r.stdout}.get(dests.split()[0])
    if where:
        assert len(re.findall(says + '.*To mend it: .*persistence_on_damage', where())) == 1, where()


# -- a store that cannot be written -----------------------------------------------

def test_full_store_is_shown(brokers, tmp_path, monkeypatch, socket):
    b = brokers(CONF + f'admin_socket {socket}\n', start=False)
    disk = Disk(tmp_path / 'control', os.path.join(b.folder, 'store'))
    for k, v in disk.environment().items():
        monkeypatch.setenv(k, v)
    b.start()

    def ask(*args):
        return run(*args, '--socket', socket)
    with Raw(b.port) as s:
        s.connect('sub', props=FOREVER)
        s.subscribe('q', qos=1)
    assert re.search(r'^  store +ok$', ask('status'), re.M), ask('status')
    assert json.loads(ask('status', '--json'))['store'] == {'state': 'ok', 'number': 0, 'refused': 0}
    assert 'nightjar_store_state 0\n' in ask('status', '--metrics')
    assert 'store' not in ask('doctor', '--last')
    disk.fails('write', 'ENOSPC')
    with Raw(b.port) as p:
        p.connect('pub')
        p.publish('q', b'waits', qos=1)
        b.wait_log('disk is full')
        with Raw(b.port) as r:
            r.connect('told')
            for _ in range(3):
                assert r.publish_acked('q', b'refused', qos=1) == 0x97
        with Raw(b.port) as n:
            n.connect('new one', want=0x97, props=FOREVER)
        b.wait_log(r"Client 127\.0\.0\.1:\d+ not accepted \(quota exceeded\): the store cannot be written"
                   r".*\(its client identifier: 'new one'\).*To mend it: ")
        text = ask('status')
        assert re.search(r'^  store +full since \d{4}-.* \(3 messages were refused for it\)$', text, re.M), text
        assert 'to mend it: make room' in text
        store = json.loads(ask('status', '--json'))['store']
        assert (store['state'], store['number'], store['refused']) == ('full', 1, 3)
        metrics = ask('status', '--metrics')
        assert 'nightjar_store_state 1\n' in metrics and 'nightjar_store_refused_total 3\n' in metrics
        assert f"nightjar_store_state_since_seconds {store['since']}\n" in metrics
        last = ask('doctor', '--last')
        assert last.startswith("The broker's store is full since "), last
        assert json.loads(ask('doctor', '--last', '--json'))['store']['state'] == 'full'
        disk.well()
        wait_until(lambda: re.search('store +ok since', ask('status')), 'it is well')


def test_without_a_store(brokers, socket):
    brokers(f'admin_socket {socket}\n')
    assert re.search('^  store +none', run('status', '--socket', socket), re.M)
    assert 'nightjar_store' not in run('status', '--metrics', '--socket', socket)


# -- file systems -----------------------------------------------------------------

def can_mount():
    return shutil.which('unshare') and subprocess.run(
        ['unshare', '-m', 'mount', '-t', 'tmpfs', 'x', '/mnt'], check=False, stderr=subprocess.DEVNULL,
    ).returncode == 0


def in_mounts(script, *args, status=0):
    """A shell in which what is mounted is its own; $NJ is the program."""
    r = subprocess.run(['unshare', '-m', 'sh', '-c', script, 'sh', *map(str, args)], capture_output=True,
                       text=True, timeout=60, check=False, env=dict(os.environ, NJ=NIGHTJAR))
    assert r.returncode == status, (r.returncode, r.stdout, r.stderr)
    return r.stdout + r.stderr


@pytest.fixture(name='store')
def _store(brokers):
    """One that is whole, of a broker that has ended."""
    b = brokers(CONF)
    with Raw(b.port) as s:
        s.connect('sub', props=FOREVER)
        s.subscribe('q', qos=1)
        s.publish_acked('kept', b'here', 1, retain=True)
    b.stop()
    path = os.path.join(b.folder, 'store', 'nightjar.db')
    assert os.path.exists(path)
    return b, path


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 99\n'


@pytest.mark.skipif(not can_mount(), reason='nothing can be mounted')
def test_read_only(store, tmp_path):
    b, path = store
    folder = os.path.dirname(path)
    # a start
    said = in_mounts(READ_ONLY + 'cd "$1/.." && exec "$NJ" serve -c "$2"', folder, b.conf_path, status=1)
    assert 'Read-only file system' in said and 'mount its file system for writing' in said, said
    assert 'make the folder' not in said
    # who only reads can, whoever it is
    for odd in (path, path.replace('/store/', '/%41?b#c/')):
        if odd != path:
            shutil.copytree(folder, os.path.dirname(odd))
        for command in ('check', 'stats', 'dump'):
            said = in_mounts(READ_ONLY + 'exec "$NJ" store "$2" "$3"', os.path.dirname(odd), command, odd)
            assert command != 'dump' or 'kept' in said, said
        copy = tmp_path / f'copy{len(odd)}'
        in_mounts(READ_ONLY + 'exec "$NJ" store backup "$2" "$3"', os.path.dirname(odd), odd, copy)
        run('store', 'check', copy)
    # one with a log cannot be read without one
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute('PRAGMA journal_mode = WAL')
        db.execute('CREATE TABLE more (x)')
        db.commit()
        held = tmp_path / 'held'
        shutil.copytree(folder, held)
    assert os.path.getsize(held / 'nightjar.db-wal') > 0
    for name in os.listdir(held):
        if name.endswith('-shm'):
            os.unlink(held / name)
    said = in_mounts(READ_ONLY + 'exec "$NJ" store stats "$1/nightjar.db"', held, status=1)
    assert 'its file system is read-only' in said and 'as root' not in said, said


@pytest.mark.skipif(not can_mount(), reason='nothing can be mounted')
def test_start_on_a_full_disk(store, tmp_path):
    b, _ = store
    full = tmp_path / 'full'
    full.mkdir()
    said = in_mounts('mount -t tmpfs -o nr_inodes=3,mode=1777 x "$1" && touch "$1/a" "$1/b" "$1/c" 2>/dev/null\n'
                     'sed "s,^persistence_location.*,persistence_location $1," "$2" >"$3"\n'
                     'exec "$NJ" serve -c "$3"', full, b.conf_path, tmp_path / 'conf', status=1)
    assert 'No space left' in said and 'make room on its disk' in said, said


def test_paths(store, tmp_path):
    path = store[1]
    said = run('store', 'check', os.path.dirname(path), status=2)
    assert 'is a folder' in said and 'nightjar.db' in said, said
    said = run('store', 'backup', path, tmp_path / 'no' / 'copy', status=1)
    assert 'No such file' in said and 'make the folder' in said, said
    said = run('store', 'check', path + '/x', status=2)
    assert 'Not a directory' in said and 'is a file' in said, said


@pytest.mark.skipif(not can_mount(), reason='nothing can be mounted')
def test_import_on_a_full_disk(tmp_path):
    old, new = tmp_path / 'mosquitto.db', tmp_path / 'new'
    old.write_bytes(mosquittodb.begin(6) + b''.join(
        mosquittodb.message(i, b't/%d' % i, b'x' * 20000, retain=True) + mosquittodb.retain(i)
        for i in range(1, 40)))
    new.mkdir()
    said = in_mounts('mount -t tmpfs -o size=200k x "$1" || exit 99\n'
                     '"$NJ" store import "$2" --into "$1/new.db"; e=$?; ls -A "$1" >&2; exit $e',
                     new, old, status=1)
    assert f'{old} into {new}/new.db: cannot write it: ' in said, said
    assert said.endswith('to mend it: free space on the disk it is written to\n'), said
