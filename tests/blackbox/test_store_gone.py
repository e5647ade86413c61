# SPDX-License-Identifier: Apache-2.0
"""Files of a store of which others were moved away, or that have two names: what is in them
is not lost, and who looks is told."""
import json
import os
import re
import struct
import subprocess

import pytest

import harness
from durable import CONF, client
from faulty import Disk
from raw import PUBACK, PUBLISH, Raw, packet, string

LARGE = 60


def check(path):
    p = subprocess.run([harness.NIGHTJAR, 'store', 'check', path], capture_output=True, text=True,
                       check=False, timeout=harness.PATIENCE)
    assert p.returncode == 2
    return p.stderr


@pytest.fixture
def killed(brokers):
    """A broker that was killed, with all that it took in the log, and its database."""
    b = brokers(CONF)
    with client(b, 'sub') as s:
        s.subscribe('q', qos=1)
        s.disconnect()
    with Raw(b.port) as p:
        p.connect('pub')
        assert p.publish_acked('q', b'kept') == 0
    b.kill()
    return b, os.path.join(b.folder, 'store', 'nightjar.db')


@pytest.mark.parametrize('empty', [False, True])
def test_log_without_its_database(killed, empty):
    """SQLite would begin with nothing, and delete the log."""
    b, path = killed
    os.rename(path, path + '.away')
    if empty:
        with open(path, 'wb'):
            pass
    else:
        assert 'nightjar.db is not there, and its log is' in check(path)
    b.refuses(r'nightjar.db is (not there|empty), and its log is there.*move the database back')
    os.replace(path + '.away', path)
    b.start()
    with client(b, 'sub') as s:
        assert s.session_present
        assert s.message().payload == b'kept'


def test_log_is_set_aside(killed):
    b, path = killed
    os.rename(path, path + '.away')
    with open(b.conf_path, 'a', encoding='utf-8') as f:
        f.write('persistence_on_damage start_empty\n')
    b.start()
    b.wait_log('set aside as')
    with client(b, 'sub') as s:
        assert not s.session_present
    assert [n for n in os.listdir(os.path.dirname(path)) if 'damaged' in n and n.endswith('-wal')]


def test_check_beside_what_was_moved(brokers):
    b = brokers(CONF)
    path = os.path.join(b.folder, 'store', 'nightjar.db')
    client(b, 'sub').close()
    os.rename(path, path + '.away')
    assert 'it was moved or deleted, and a broker has it open\n  to mend it: move it back' in check(path)
    os.rename(path + '.away', path)
    with Raw(b.port) as p:
        p.connect('pub')
        harness.wait_until(lambda: p.publish_acked('q', b'1') < 0x80, 'it is back')


def fill(b):
    """A queue of which most is in a data file."""
    with Raw(b.port) as p:
        p.connect('pub')
        for i in range(LARGE):
            p.publish('q', b'%d' % i + b'.' * 2000, qos=1)
        for _ in range(LARGE):
            assert p.recv().kind == PUBACK
    return data_files(b)


def data_files(b):
    return sorted(n for n in os.listdir(os.path.join(b.folder, 'store')) if re.search(r'-data\d+$', n))


def subscribe(b):
    with client(b, 'sub') as s:
        s.subscribe('q', qos=1)
        s.disconnect()


def has_all(b):
    with client(b, 'sub') as s:
        assert s.session_present
        assert [s.message().payload.rstrip(b'.') for _ in range(LARGE)] == [b'%d' % i for i in range(LARGE)]


def move(b, *parts):
    """To a new folder, which is the store from then on; back: what moves the rest there."""
    old, new = os.path.join(b.folder, 'store'), os.path.join(b.folder, 'new')
    os.mkdir(new)
    st = os.stat(old)
    os.chown(new, st.st_uid, st.st_gid)
    for n in os.listdir(old):
        if any(re.fullmatch(re.escape('nightjar.db') + part, n) for part in parts):
            os.rename(os.path.join(old, n), os.path.join(new, n))
    with open(b.conf_path, encoding='utf-8') as f:
        conf = f.read()
    with open(b.conf_path, 'w', encoding='utf-8') as f:
        f.write(conf.replace('persistence_location store', 'persistence_location new'))

    def rest():
        for n in os.listdir(old):
            if re.fullmatch(r'nightjar\.db(-wal|-data\d+)?', n):
                os.replace(os.path.join(old, n), os.path.join(new, n))
    return new, rest


@pytest.fixture
def large(brokers):
    """A broker that was killed, of which most is in the log and in a data file."""
    b = brokers(CONF)
    subscribe(b)
    assert fill(b)
    b.kill()
    return b


@pytest.mark.parametrize('parts, says', [
    (('', '-wal'), 'nightjar.db-data0000001, a part of the store, is missing'),
    (('', r'-data\d+'), 'data0000001 has messages that .*nightjar.db does not know, and .*-wal is not there'),
    ((r'-data\d+',), 'nightjar.db is not there, and has data files'),
    (('-wal', r'-data\d+'), 'nightjar.db is not there, and its log is there')])
def test_moved_in_part(large, parts, says):
    """Nothing of the part is deleted or begun anew; with the rest all is there."""
    new, rest = move(large, *parts)
    before = {n: os.path.getsize(os.path.join(new, n)) for n in os.listdir(new) if '-data' in n}
    for _ in range(2):
        mark = large.log_size()
        large.refuses(says)
        assert re.search(r'(put|move) (it|the \w+) back', large.log(mark))
    assert {n: os.path.getsize(os.path.join(new, n)) for n in os.listdir(new) if '-data' in n} == before
    rest()
    large.start()
    has_all(large)


def test_given_up_what_was_in_the_log(large):
    """The operator says so."""
    new, _ = move(large, '', r'-data\d+')
    large.refuses('does not know')
    subprocess.run([harness.NIGHTJAR, 'store', 'check', '--repair', os.path.join(new, 'nightjar.db')],
                   check=True, timeout=harness.PATIENCE)
    large.start()
    with client(large, 'sub') as s:
        assert not s.session_present


def test_left_by_a_crash(large):
    """A data file that no transaction names goes, where the log is there."""
    store = os.path.join(large.folder, 'store')
    left = os.path.join(store, 'nightjar.db-data0000002')
    with open(left, 'wb') as f:
        f.write(b'x' * 40000)
    large.start()
    has_all(large)
    assert not os.path.exists(left)


def test_left_by_a_stop_on_a_full_disk(brokers, tmp_path, monkeypatch):
    """A transaction that could not be committed may be in the log: its data file stays,
    and so does the log, so that the next start knows that none is missing."""
    b = brokers(CONF, start=False)
    disk = Disk(tmp_path / 'control', os.path.join(b.folder, 'store'))
    for k, v in disk.environment().items():
        monkeypatch.setenv(k, v)
    b.start()
    subscribe(b)
    # as much at once as goes to a file, if it is read at once
    burst = b''.join(packet(PUBLISH, 2, string('q') + struct.pack('>H', i + 1) + bytes(1) + b'.' * 2000)
                     for i in range(LARGE))
    for _ in range(20):
        disk.fails('write', 'ENOSPC', part='-wal')
        mark = b.log_size()
        with Raw(b.port) as p:
            p.connect('pub')
            p.send(burst)
            b.wait_log('The disk is full', mark)
            if data_files(b):
                break
            disk.well()
            b.wait_log('can be written again', mark)
    b.stop()
    assert data_files(b)
    disk.well()
    b.start()
    with client(b, 'sub') as s:
        assert s.session_present


def test_restore_beside_a_log(killed, tmp_path):
    """It is the only place of what was acknowledged last."""
    b, path = killed
    copy = tmp_path / 'copy.db'
    b.start()
    run = subprocess.run
    run([harness.NIGHTJAR, 'store', 'backup', path, copy], check=True, timeout=harness.PATIENCE)
    with Raw(b.port) as p:
        p.connect('pub')
        assert p.publish_acked('q', b'later') == 0
    b.kill()
    os.rename(path, tmp_path / 'lost.db')
    out = run([harness.NIGHTJAR, 'store', 'restore', copy, path], check=True, timeout=harness.PATIENCE,
              stdout=subprocess.PIPE, text=True).stdout
    aside = re.search(r'There was no old one, but files of one.*: they are (\S+)-\* now', out)
    assert aside, out
    assert os.path.getsize(aside[1] + '-wal')


@pytest.mark.parametrize('linked', [False, True])
def test_two_names(brokers, linked):
    """A hard link in another folder, where the first one's .lock is not."""
    b = brokers(CONF)
    subscribe(b)
    path, other = (os.path.join(b.folder, f, 'nightjar.db') for f in ('store', 'other'))
    os.mkdir(os.path.dirname(other))
    st = os.stat(path)
    os.chown(os.path.dirname(other), st.st_uid, st.st_gid)
    if linked:
        os.link(path, other)
    second = brokers(CONF.replace('persistence_location store', f'persistence_location {os.path.dirname(other)}'),
                     start=False)
    if not linked:
        second.start()
        return
    second.refuses('other/nightjar.db: another broker uses this file, or a command, by another name')
    with client(b, 'sub') as s:
        assert s.session_present
    assert b.stop() == 0
    second.start()
    with client(second, 'sub') as s:
        assert s.session_present


def test_tools_by_another_name(brokers, tmp_path):
    """Of a hard link in another folder: the log, which has all, is not there."""
    b = brokers(CONF)
    subscribe(b)
    path, other = (os.path.join(b.folder, f, 'nightjar.db') for f in ('store', 'other'))
    os.mkdir(os.path.dirname(other))
    os.link(path, other)

    def tool(*args):
        return subprocess.run([harness.NIGHTJAR, 'store', *map(str, args)], capture_output=True, text=True,
                              check=False, timeout=harness.PATIENCE)

    for args in (['check', other], ['stats', other], ['dump', other], ['check', '--repair', other],
                 ['salvage', other], ['backup', other, tmp_path / 'copy']):
        p = tool(*args)
        assert p.returncode and 'by another name of it' in p.stderr, (args, p)
    p = tool('backup', '--force', path, other)
    assert p.returncode and f'{other}' in p.stderr, p
    assert not os.path.exists(tmp_path / 'copy') and not os.path.exists(other + '-wal')
    # a symbolic link leads to the log, too
    os.symlink(path, tmp_path / 'link')
    for name in (path, tmp_path / 'link'):
        assert json.loads(tool('stats', '--json', name).stdout)['sessions'] == 1
    assert b.stop() == 0
    for name in (path, other):
        assert tool('check', name).returncode == 0


@pytest.mark.parametrize('mode', [0o600, 0o644, 0o666])
def test_others_can_read_it(brokers, mode):
    b = brokers(CONF)
    path = os.path.join(b.folder, 'store', 'nightjar.db')
    client(b, 'sub').close()
    made = {n: os.stat(os.path.join(b.folder, 'store', n)).st_mode & 0o777
            for n in os.listdir(os.path.join(b.folder, 'store')) if n.startswith('nightjar.db')}
    assert set(made.values()) == {0o600}, made
    b.stop()
    os.chmod(path, mode)
    mark = b.log_size()
    b.start()
    b.wait_log(' running', mark)
    said = re.search(r'Warning: other users of this machine can get at \S+nightjar.db \(mode (\d+)\)', b.log(mark))
    assert (said and int(said[1], 8)) == (None if mode == 0o600 else mode)
