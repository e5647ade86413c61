# SPDX-License-Identifier: Apache-2.0
"""nightjar store: Mosquitto's file becomes a store, and what the tools say of it."""
import base64
import contextlib
import fcntl
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import threading
import time

import pytest

import harness
import mosquittodb as db
import raw
from faulty import Disk
from madecerts import Maker, shows

pytestmark = pytest.mark.ours
# mosquitto_internal.h calls them mosq_ms_...
QOS0, PUBLISH1, PUBACK, PUBLISH2, PUBREC, RESEND_PUBREL, PUBREL, _, PUBCOMP, _, QUEUED = range(1, 12)


def store(*args, status=0):
    """(standard output, standard error)."""
    p = subprocess.run([harness.NIGHTJAR, 'store', *map(str, args)], text=True, check=False,
                       capture_output=True, timeout=harness.PATIENCE)
    assert p.returncode == status, p.stdout + p.stderr
    return p.stdout, p.stderr


def rows(path, *args):
    return [json.loads(line) for line in store('dump', '--json', *args, path)[0].splitlines()]


def reseal(path):
    """As a program would that knows of the checksums of pages (src/store/pagesum.h)."""
    data = bytearray(path.read_bytes())
    size = struct.unpack_from('>H', data, 16)[0]
    assert data[20] == 8
    for at in range(0, len(data), size):
        page = bytearray(data[at:at + size - 8])
        if at == 0:
            for first, n in (18, 2), (24, 4), (40, 4), (92, 8):
                page[first:first + n] = bytes(n)
        a, b = 0x4e6a5067, 0x53756d21
        for x, y in struct.iter_unpack('<II', page):
            a = (a + x + b) & 0xffffffff
            b = (b + y + a) & 0xffffffff
        struct.pack_into('<II', data, at + size - 8, a, b)
    path.write_bytes(data)


def put(path, *chunks):
    path.write_bytes(b''.join(chunks))
    return path


def some(version=6):
    """A bit of everything."""
    now = int(time.time())
    return (
        db.begin(version),
        db.message(1, b't/1', b'one', props={'content_type': 'text/plain', 'message_expiry': 9,
                                             'user_property': [('k', 'v'), ('k', 'w')]}),
        db.message(2, b't/2', b'\xff\x00two', qos=2, until=now + 1000),
        db.message(3, b't/3', b'late', until=now - 10),
        db.message(4, b'r/4', b'kept', qos=0, retain=True),
        db.message(5, b't/5', b'half', qos=2, source=b'half'),
        db.client(version, b'dev', user=b'someone'),
        db.entry(b'dev', 1, PUBACK, pid=7, qos=1),
        db.entry(b'dev', 2, PUBREC, pid=8, qos=2, dup=True),
        db.entry(b'dev', 2, PUBCOMP, pid=9, qos=2),
        db.entry(b'dev', 1, QUEUED, qos=1, sub_id=300),
        db.entry(b'dev', 3, QUEUED, qos=1),
        db.entry(b'dev', 2, QOS0, qos=0, retain=True),
        db.client(version, b'gone', expiry=60, until=now - 5),
        db.entry(b'gone', 1, QUEUED),
        db.client(version, b'half', expiry=3600, until=now + 3000),
        db.entry(b'half', 5, PUBREL, pid=77, qos=2, out=False),
        db.sub(b'dev', b't/#', qos=2, options=0x0c, identifier=300),
        db.sub(b'half', b't/#', qos=1, options=0x04),
        db.sub(b'dev', b'$share/g/s/+', qos=1),
        db.sub(b'gone', b'x'),
        db.retain(4),
        db.retain(3),
    )


@pytest.fixture(params=[5, 6])
def made(request, tmp_path):
    """(store, what import said) of a file of either version."""
    path = tmp_path / 'new.db'
    out = store('import', put(tmp_path / 'mosquitto.db', *some(request.param)), '--into', path,
                '--json')[0]
    return path, json.loads(out), request.param


def test_import(made):
    path, said, version = made
    assert said['version'] == version
    assert said['taken'] == {
        'sessions': 2, 'subscriptions': 3, 'retained messages': 1,
        'queued messages': 3, 'messages in flight': 3, 'QoS 2 identifiers not released': 1}
    assert said['lacks'] == []
    assert {x['what']: x['count'] for x in said['left']} == {
        'sessions that had expired': 1, 'messages that had expired': 1,
        'queued messages of sessions that were not taken': 1,
        'subscriptions of sessions that were not taken': 1,
        'retained topics whose message was not taken': 1}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert store('check', path)[0] == f'{path} is whole\n'


def test_imported_sessions(made):
    path, _, version = made
    dev, half = rows(path, '--what', 'sessions')
    assert (dev['client'], dev['expiry']) == ('dev', 'never')
    assert dev['user'] == ('someone' if version == 6 else '')
    assert (half['client'], half['expiry']) == ('half', 3600)
    ago = time.time() - time.mktime(time.strptime(half['offline_since'], '%Y-%m-%dT%H:%M:%SZ')) \
        + time.timezone
    assert 595 < ago < 630
    assert [(x['client'], x['filter'], x['qos'], x['no_local'], x['retain_as_published'],
             x.get('identifier')) for x in rows(path, '--what', 'subscriptions')] == [
        ('dev', '$share/g/s/+', 1, False, False, None),
        ('dev', 't/#', 2, True, True, 300), ('half', 't/#', 1, True, False, None)]
    assert [(x['client'], x['pid']) for x in rows(path, '--what', 'received')] == [('half', 77)]


def test_imported_messages(made):
    path = made[0]
    assert [(x['pid'], x['state'], x['topic'], x['qos'])
            for x in rows(path, '--what', 'inflight')] == [
        (7, 'wait_puback', 't/1', 1), (8, 'wait_pubrec', 't/2', 2), (9, 'wait_pubcomp', 't/2', 2)]
    one, zero, half = rows(path, '--what', 'queued', '--client', 'dev')
    assert (one['topic'], one['payload'], one['qos']) == ('t/1', 'one', 1)
    assert one['content_type'] == 'text/plain'
    assert one['user_properties'] == [{'name': 'k', 'value': 'v'}, {'name': 'k', 'value': 'w'}]
    assert base64.b64decode(zero['payload_base64']) == b'\xff\x00two'
    assert (zero['qos'], zero['retain']) == (0, True)
    # the client still has to release it, and everybody but itself gets it
    assert (half['topic'], half['qos']) == ('t/5', 2)
    assert not rows(path, '--what', 'queued', '--client', 'half')
    kept, = rows(path, '--what', 'retained')
    assert (kept['topic'], kept['payload'], kept['retain']) == ('r/4', 'kept', True)


def test_text_dump_is_harmless(tmp_path):
    path = tmp_path / 'new.db'
    store('import', put(tmp_path / 'm', db.begin(6),
                        db.message(1, 'a/\u00e4'.encode(), b'"\x1b[31m\\\n\xfe', retain=True),
                        db.retain(1)), '--into', path)
    line, = store('dump', path)[0].splitlines()
    assert line.startswith('retained topic="a/\u00e4" qos=1 retain ')
    assert line.endswith(r'payload="\"\x1b[31m\x5c\x0a\xfe"')
    assert 'payload' not in store('dump', '--no-payload', path)[0]


def test_stats(made):
    path = made[0]
    said = json.loads(store('stats', '--json', '--top', '1', path)[0])
    assert (said['sessions'], said['connected'], said['subscriptions']) == (2, 0, 3)
    assert (said['queued'], said['inflight'], said['retained']) == (3, 3, 1)
    assert (said['received'], said['wills'], said['messages']) == (1, 0, 4)
    assert said['file_bytes'] == os.stat(path).st_size
    assert not said['live']
    assert abs(said['oldest'] - time.time()) < 60
    top, = said['largest']
    assert (top['client'], top['queued'], top['inflight']) == ('dev', 3, 3)
    assert re.search(r'^ +3 +3 .* "dev"$', store('stats', path)[0], re.M)


def test_check_says_what_is_wrong(made):
    path = made[0]
    with sqlite3.connect(path) as c:
        c.execute('DELETE FROM session WHERE client = ?', (b'half',))
        c.execute('UPDATE msg SET refs = refs + 1 WHERE id = 1')
        c.execute('DELETE FROM msg WHERE id = 2')
    c.close()
    assert 'damaged' in store('check', path, status=1)[0]
    reseal(path)
    said = json.loads(store('check', '--json', path, status=1)[0])
    assert not said['whole']
    assert {f['code'] for f in said['faults']} == {
        'orphan-subscription', 'orphan-received', 'missing-message', 'reference-count'}
    assert all(f['mend'] for f in said['faults'])
    store('check', path, status=1)
    assert store('check', '--repair', path)[0].endswith(f'{path} is whole\n')


def test_check_of_what_is_no_store(tmp_path):
    assert 'there is no' in store('nothing', status=2)[1]
    assert 'cannot open' in store('check', tmp_path / 'none', status=2)[1]
    rubbish = put(tmp_path / 'rubbish', b'rubbish' * 1000)
    assert 'not a database' in store('check', rubbish, status=1)[0]
    foreign = tmp_path / 'foreign'
    with sqlite3.connect(foreign) as c:
        c.execute('CREATE TABLE t(x)')
    c.close()
    assert 'another program' in store('check', foreign, status=2)[1]
    theirs = put(tmp_path / 'theirs', db.begin(6))
    assert 'nightjar store import' in store('stats', theirs, status=1)[1]


def test_damaged_page(made):
    path = made[0]
    with open(path, 'r+b') as f:
        for at in range(4096 + 3, os.stat(path).st_size, 4096):
            f.seek(at)
            f.write(b'\xff\xff\xff\xff')
    assert 'damaged' in store('check', path, status=1)[0]
    store('backup', path, path.parent / 'copy.db', status=1)
    assert not (path.parent / 'copy.db').exists()


def test_backup(made, tmp_path):
    path, copy = made[0], tmp_path / 'copy.db'
    store('backup', path, copy)
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    assert rows(copy) == rows(path)
    assert '--force' in store('backup', path, copy, status=1)[1]
    store('backup', '--force', path, copy)
    assert 'itself' in store('backup', '--force', path, path, status=1)[1]
    assert [x for x in os.listdir(tmp_path) if x.startswith('.')] == []


def cut_off(path, last):
    """A database whose last row is in its log, as who was killed leaves it."""
    with subprocess.Popen(['/usr/bin/python3', '-c', '''if True:
            import os, sqlite3, sys
            db = sqlite3.connect(sys.argv[1], isolation_level=None)
            db.execute('PRAGMA journal_mode = WAL')
            db.execute('PRAGMA wal_autocheckpoint = 0')
            db.execute('CREATE TABLE IF NOT EXISTS old (x)')
            db.execute('PRAGMA wal_checkpoint(TRUNCATE)')
            db.execute('INSERT INTO old VALUES (?)', [sys.argv[2]])
            os.kill(os.getpid(), 9)''', path, last]) as p:
        p.wait(harness.PATIENCE)
    assert os.path.getsize(f'{path}-wal') > 0


def test_backup_over_what_has_a_log(made, tmp_path):
    """The copy is that of the store, whatever the log said of what was there."""
    path, folder = made[0], tmp_path / 'copies'
    copy = folder / 'copy.db'
    folder.mkdir()
    cut_off(copy, 'a')
    assert '--force writes over it' in store('backup', path, copy, status=1)[1]
    assert (folder / 'copy.db-wal').exists()
    store('backup', '--force', path, copy)
    assert os.listdir(folder) == ['copy.db']
    store('check', copy)
    assert rows(copy) == rows(path)
    # where the log does not go into it: what mends it, which does
    os.unlink(copy)
    cut_off(copy, 'b')
    with sqlite3.connect(copy) as other:
        assert other.execute('SELECT * FROM old').fetchall() == [('b',)]
        said = store('backup', '--force', path, copy, status=1)[1]
        assert f'{copy} has a log {copy}-wal' in said and 'end the program that has it open' in said
        assert other.execute('SELECT * FROM old').fetchall() == [('b',)]
    other.close()
    os.unlink(copy)
    for tail in '-wal', '-journal':	# rubbish beside rubbish is no log of it
        put(copy, b'rubbish' * 999)
        put(folder / f'copy.db{tail}', b'rubbish' * 99)
        store('backup', '--force', path, copy)
        assert os.listdir(folder) == ['copy.db']
        assert rows(copy) == rows(path)
    was = copy.read_bytes()
    os.mkdir(folder / 'copy.db-wal')
    said = store('backup', '--force', path, copy, status=1)[1]
    assert f'which does not go into it: ' in said and f'move {copy} and {copy}-wal away, or give' in said
    assert copy.read_bytes() == was
    os.rmdir(folder / 'copy.db-wal')
    os.unlink(copy)
    for tail in '-wal', '-journal':
        put(folder / f'copy.db{tail}', b'rubbish' * 99)
        for force in (), ('--force',):
            said = store('backup', *force, path, copy, status=1)[1]
            assert f'there is a log {copy}{tail}, and no database' in said
        subprocess.run(re.search(r"(rm '.*'), or", said).group(1), shell=True, check=True)
    assert os.listdir(folder) == []
    store('backup', path, copy)
    assert rows(copy) == rows(path)


def test_restore(made, tmp_path):
    path, copy, new = made[0], tmp_path / 'copy.db', tmp_path / 'restored.db'
    store('backup', path, copy)
    store('restore', copy, new)
    assert rows(new) == rows(path)
    assert stat.S_IMODE(os.stat(new).st_mode) == 0o600
    with sqlite3.connect(copy) as c:
        c.execute('DELETE FROM msg WHERE id = 2')
    c.close()
    assert 'is damaged' in store('restore', '--force', copy, new, status=1)[1]
    reseal(copy)
    assert 'not there' in store('restore', '--force', copy, new, status=1)[1]
    assert rows(new) == rows(path)
    put(copy, b'rubbish' * 999)
    store('restore', '--force', copy, new, status=1)
    assert rows(new) == rows(path)


def test_nothing_is_left_of_a_failure(made, tmp_path):
    """No lock of a store that did not come to be."""
    copy, new = tmp_path / 'copy.db', tmp_path / 'new' / 'nightjar.db'
    store('backup', made[0], copy)
    os.mkdir(new.parent)
    disk = Disk(tmp_path / 'control', str(tmp_path))
    disk.fails('write', 'ENOSPC', part='restored')
    p = subprocess.run([harness.NIGHTJAR, 'store', 'restore', copy, new], text=True, check=False, capture_output=True,
                       timeout=harness.PATIENCE, env={**os.environ, **disk.environment()})
    assert p.returncode == 1 and 'is full' in p.stderr and disk.hits > 0, p
    assert os.listdir(new.parent) == []
    disk.fails('write', 'ENOSPC', part='nightjar.db')
    source = put(tmp_path / 'm', *some())
    p = subprocess.run([harness.NIGHTJAR, 'store', 'import', source, '--into', new], text=True, check=False,
                       capture_output=True, timeout=harness.PATIENCE, env={**os.environ, **disk.environment()})
    assert p.returncode == 1 and p.stderr and disk.hits > 0, p
    assert os.listdir(new.parent) == []
    # nor one beside a store that stays as it is
    shutil.copy(copy, new)
    assert 'there is a store' in store('restore', copy, new, status=1)[1]
    assert os.listdir(new.parent) == ['nightjar.db']


def test_backups_that_were_cut_off(made, tmp_path):
    """What one leaves that was killed goes with the next of the same name; not what one that
    is at work has, nor what has another name."""
    folder = tmp_path / 'copies'
    folder.mkdir()
    names = ['.c.db.0123456789abcdef', '.c.db.0123456789abcdef-journal', '.c.db.fedcba9876543210',
             '.c.db.short', '.d.db.0123456789abcdef', 'c.db.0123456789abcdef']
    for name in names:
        (folder / name).write_bytes(b'x')
    with open(folder / names[2], 'rb') as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        store('backup', made[0], folder / 'c.db')
    assert sorted(os.listdir(folder)) == sorted(names[2:] + ['c.db'])
    store('backup', '--force', made[0], folder / 'c.db')
    assert sorted(os.listdir(folder)) == sorted(names[3:] + ['c.db'])
    # two at once, and one that is killed
    with contextlib.ExitStack() as both:
        two = [both.enter_context(subprocess.Popen([harness.NIGHTJAR, 'store', 'backup', '--force', made[0],
                                                    folder / 'c.db'], stdout=subprocess.DEVNULL)) for _ in range(2)]
        assert [p.wait(harness.PATIENCE) for p in two] == [0, 0]
    with subprocess.Popen([harness.NIGHTJAR, 'store', 'backup', '--force', made[0], folder / 'c.db'],
                          stdout=subprocess.DEVNULL) as p:
        p.kill()
    store('check', folder / 'c.db')
    store('backup', '--force', made[0], folder / 'c.db')
    assert sorted(os.listdir(folder)) == sorted(names[3:] + ['c.db'])


def test_what_cannot_be_told_or_written(made, tmp_path):
    """A full standard output is a failure, whatever it was to tell; so is a copy that would
    be a folder."""
    path = made[0]
    with open('/dev/full', 'wb') as full:
        for args, status in ((('check', path), 2), (('stats', path), 1), (('dump', path), 1),
                             (('check', '--json', path), 2), (('backup', path, tmp_path / 'c.db'), 1),
                             (('restore', tmp_path / 'c.db', tmp_path / 'd.db'), 1),
                             (('import', put(tmp_path / 'm', *some()), '--into', tmp_path / 'e.db'), 1)):
            p = subprocess.run([harness.NIGHTJAR, 'store', *map(str, args)], stdout=full, stderr=subprocess.PIPE,
                               text=True, check=False, timeout=harness.PATIENCE)
            assert p.returncode == status and 'standard output' in p.stderr, (args, p)
    for name in 'c.db', 'd.db', 'e.db':
        store('check', tmp_path / name)
    for force in (), ('--force',):
        assert 'is a folder' in store('backup', *force, path, tmp_path, status=1)[1]
        assert 'is a folder' not in store('backup', *force, path, '/dev/null', status=1)[1]
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode)
    assert 'there is no --what' in store('dump', '--what', '', path, status=2)[1]


@pytest.mark.skipif(os.geteuid() != 0, reason='files are given to another user')
def test_whose_it_is_after_a_restore(made, tmp_path):
    """Root's folder, and the broker's store: it can open what comes in its place."""
    path, copy, folder = made[0], tmp_path / 'copy.db', tmp_path / 'folder'
    store('backup', path, copy)
    folder.mkdir()
    there = folder / 'nightjar.db'
    shutil.copy(copy, there)
    os.chown(there, 65534, 65534)
    store('check', '--repair', there)
    store('restore', '--force', copy, there)
    for name in there, f'{there}.lock':
        assert os.stat(name).st_uid == 65534, name
    # what is damaged, too
    damaged = bytearray(there.read_bytes())
    damaged[-PAGE + 900] ^= 1
    there.write_bytes(damaged)
    store('salvage', there)
    for name in there, f'{there}.lock':
        assert os.stat(name).st_uid == 65534, name
    # and where the folder is a third one's
    os.chown(folder, 65533, 65533)
    store('restore', '--force', copy, there)
    assert os.stat(there).st_uid == 65534
    os.chown(folder, 0, 0)
    # that of nobody else: the folder's
    store('restore', copy, folder / 'new.db')
    assert os.stat(folder / 'new.db').st_uid == 0


def test_who_only_looks_is_in_nobodys_way(made):
    """It asks for the lock to know whether a broker has it, and so has it for a moment."""
    path, asked, held = made[0], threading.Event(), []
    lock = os.open(f'{path}.lock', os.O_RDONLY)

    def look():
        while not asked.is_set():
            began = time.monotonic()
            fcntl.flock(lock, fcntl.LOCK_SH)
            fcntl.flock(lock, fcntl.LOCK_UN)
            held.append(time.monotonic() - began)

    def repaired():
        """Not when a busy machine let it look for longer than anybody waits."""
        held.clear()
        done = subprocess.run([harness.NIGHTJAR, 'store', 'check', '--repair', path], capture_output=True,
                              text=True, check=False, timeout=harness.PATIENCE)
        if done.returncode:
            before = len(held)
            harness.wait_until(lambda: len(held) > before, 'what it looked at last is measured')
            assert 'another broker uses it' in done.stderr and max(held) > 0.05, done.stderr
        return done.returncode == 0
    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(12):
            harness.wait_until(repaired, 'nobody is in the way')
    finally:
        asked.set()
        looking.join()
    fcntl.flock(lock, fcntl.LOCK_SH)
    assert 'another broker uses it' in store('check', '--repair', path, status=2)[1]
    os.close(lock)


def test_wrong_calls(tmp_path):
    """The same of each, and nothing is made or printed."""
    conf = put(tmp_path / 'conf', b'persistence true\npersistence_location %s\n' % str(tmp_path).encode())
    one = ('check', 'stats', 'salvage', 'dump')
    for args, says in ((('a', 'b'), 'one store at a time'), ((), 'which store'),
                       (('a', '-c', conf), 'not both'), (('--nothing', 'a'), '--nothing')):
        for verb in one:
            out, err = store(verb, *args, status=2)
            assert says in err and not out, (verb, args, err)
    for args, says in ((('a',), "give DEST.*the store's path"), ((), 'give DEST'), (('a', 'b', 'c'), 'give DEST'),
                       (('a', 'b', '-c', conf), 'DEST.*nothing else'), (('-c', conf), 'DEST.*nothing else')):
        out, err = store('backup', *args, status=2)
        assert re.search(says, err) and not out, (args, err)
        out, err = store('restore', *args, status=2)
        assert re.search(says.replace('DEST', 'the copy'), err) and not out, (args, err)
    assert 'there is no --what nonsense' in store('dump', '--what', 'sessions,nonsense', 'a', status=2)[1]
    for verb in one + ('backup', 'restore', 'import'):
        out, err = store(verb, '--help')
        assert out.startswith(f'usage: nightjar store {verb} ') and '--config-file' in out and not err
    assert 'could not be checked' in store('check', '--help')[0]
    assert sorted(os.listdir(tmp_path)) == ['conf']


def test_which_store(made, tmp_path):
    path = made[0]
    conf = tmp_path / 'broker.conf'
    conf.write_text(f'persistence true\npersistence_location {tmp_path}/\n'
                    'persistence_file new.db\n')
    assert json.loads(store('stats', '--json', '-c', conf)[0])['path'] == str(path)
    store('backup', '-c', conf, tmp_path / 'copy.db')
    store('check', path, '-c', conf, status=2)
    store('check', status=2)
    conf.write_text('persistence false\n')
    assert 'persistence false' in store('check', '-c', conf, status=2)[1]


@pytest.mark.parametrize('named', [False, True])
def test_import_where_the_broker_looks(tmp_path, named):
    """Mosquitto's own configuration; its file stays as it is."""
    old = put(tmp_path / 'mosquitto.db', *some())
    conf = tmp_path / 'mosquitto.conf'
    conf.write_text(f'persistence true\npersistence_location {tmp_path}/\n'
                    + 'persistence_file mosquitto.db\n' * named)
    before = old.read_bytes()
    store('import', old, '--into', old, status=1)
    new = tmp_path / ('mosquitto.db.nightjar' if named else 'nightjar.db')
    assert str(new) in store('import', old, '-c', conf)[0]
    assert old.read_bytes() == before
    store('check', '-c', conf)
    assert len(rows(new, '--what', 'sessions')) == 2


def test_import_into_what_has_content(made, tmp_path):
    path = made[0]
    before = rows(path)
    assert 'has sessions' in store('import', tmp_path / 'mosquitto.db', '--into', path,
                                   status=1)[1]
    assert rows(path) == before


@pytest.mark.parametrize('chunks, says', [
    ((b'rubbish',), 'not a persistence file'),
    ((db.MAGIC + b'\0\0\0\0\0\0\0\4',), 'version 4'),
    ((db.MAGIC + b'\0\0\0',), 'inside its header'),
    ((db.begin(6), b'\0\0\0\2'), 'byte 47'),
    ((db.begin(6), b'\0\0\0\2\xff\xff\xff\xff'), 'says that it has 4294967295 bytes'),
    ((db.begin(6), db.chunk(db.MSG, b'\0' * 31)), 'too short'),
    ((db.begin(6), db.chunk(db.CLIENT, b'\0' * 15)), 'too short'),
    ((db.begin(6), db.chunk(db.MSG, b'\0' * 16 + b'\xff' * 16)), 'payload'),
    ((db.begin(6), db.message(1, b'a', b'b', qos=3)), 'QoS 3'),
    ((db.begin(6), db.chunk(db.CFG, b'\0' * 9 + b'\4')), '4 bytes'),
    ((db.begin(6), db.message(1, b'a', b'b') + b'\0'), 'inside a chunk'),
])
def test_import_of_what_is_broken(tmp_path, chunks, says):
    path = tmp_path / 'new.db'
    assert says in store('import', put(tmp_path / 'm', *chunks), '--into', path, status=1)[1]
    assert not path.exists()


def lacks(tmp_path, *chunks):
    """What is said of a file, by the first words of it."""
    path = tmp_path / 'lacks.db'
    path.unlink(missing_ok=True)
    out, err = store('import', put(tmp_path / 'm', *chunks), '--into', path, '--json')
    said = json.loads(out)['lacks']
    assert err.count('Warning: ') == len(said) and ('To mend it' in err) == bool(said)
    store('check', path)
    return {x['what'].split()[0]: x['count'] for x in said}


def test_import_of_a_file_that_ends_between_chunks(tmp_path):
    """What shows that a part is missing is told; the rest is told in numbers."""
    one = (db.message(1, b'a', b'x'), db.message(2, b'r', b'y', retain=True))
    dev = (db.client(6, b'dev'), db.entry(b'dev', 1, QUEUED), db.sub(b'dev', b'a'))
    end = (db.retain(2),)
    assert not lacks(tmp_path, db.begin(6), *one, *dev, *end)
    assert not lacks(tmp_path, db.begin(6))
    # cut
    assert lacks(tmp_path, db.begin(6), *one, *dev) == {'topics,': 1}
    assert lacks(tmp_path, db.begin(6), *one) == {'topics,': 1}
    assert lacks(tmp_path, db.begin(6)[:23]) == {'the': 1}
    # parts of it are gone
    assert lacks(tmp_path, db.begin(6), *dev, *end) == {'messages': 2}
    assert lacks(tmp_path, db.begin(6), *one, *dev[1:], *end) == {'clients': 2}
    # written each half an hour, and not at the end
    assert lacks(tmp_path, db.begin(6, ended=False), *one, *dev, *end) == {'what': 1}
    # who was not taken was there, and so was what cannot be a message
    assert not lacks(tmp_path, db.begin(6), db.message(1, b'a/#', b'x'), db.message(2, b'r', b'y'),
                     db.client(6, b'dev', expiry=0), *dev[1:], *end)
    out = store('import', put(tmp_path / 'm', db.begin(6), *one, *end), '--into', tmp_path / 'n')[0]
    assert re.search(r'Left:\n +1 messages that nothing names .* \(the first at byte 47\)', out)


# Version 5 byte by byte, as Mosquitto 1.6.0 to 1.6.10 write it (src/persist.h there: PF_header, PF_cfg,
# PF_msg_store, PF_client_v5, PF_client_msg, PF_sub, PF_retain), on a 64-bit little-endian machine.
OF_1_6 = """
00 b5 00 6d 6f 73 71 75 69 74 74 6f 20 64 62  # magic
00 00 00 00  00 00 00 05                      # checksum, always 0; version
00 00 00 01  00 00 00 10                      # settings, of 16 bytes
2a 00 00 00 00 00 00 00  01 08                # last number; at the end; size of numbers
00 00 00 00 00 00                             # padding
00 00 00 02  00 00 00 31                      # message, of 49
07 00 00 00 00 00 00 00                       # its number
00 00 00 00 00 00 00 00                       # it does not expire
00 00 00 05  00 11                            # bytes of payload, its sender's identifier of it
00 03  00 00  00 06                           # bytes of the sender's name, user, topic
07 5b  01 00                                  # port 1883, QoS 1, not retained
70 75 62  74 2f 6f 6e 65 21  68 65 6c 6c 6f   # pub t/one! hello
02 01 01                                      # properties: 2 bytes, payload format 1
00 00 00 02  00 00 00 25                      # message, of 37
08 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00
00 00 00 02  00 00  00 00  00 00  00 03  07 5b  02 01
73 2f 78  6f 6e                               # s/x on
00 00 00 06  00 00 00 14                      # client, of 20
00 00 00 00 00 00 00 00  ff ff ff ff          # when it ends: never
00 05  00 04  64 65 76 31                     # last identifier, dev1; no port, no user
00 00 00 03  00 00 00 14                      # in its queues, of 20
07 00 00 00 00 00 00 00  00 05  00 04         # number of the message, identifier
01 03 01 01  64 65 76 31                      # QoS 1, waits for PUBACK, DUP, outgoing
00 00 00 03  00 00 00 14
08 00 00 00 00 00 00 00  00 00  00 04
01 0b 10 01  64 65 76 31                      # QoS 1, queued, RETAIN, outgoing
00 00 00 04  00 00 00 08                      # retained, of 8; in 1.6 among subscriptions
08 00 00 00 00 00 00 00
00 00 00 05  00 00 00 13                      # subscription, of 19
00 00 00 4d  00 04  00 03                     # identifier 77, bytes of name and filter
01 08 00 00                                   # QoS 1, retain as published, padding
64 65 76 31  74 2f 23                         # dev1 t/#
"""


def test_import_of_names_that_are_others(tmp_path):
    """As Mosquitto before 2.0.16 writes them: who has no name has that of the one before,
    every other time with a length whose bytes are the wrong way round."""
    def beyond(name):
        n = struct.unpack('<H', struct.pack('>H', len(name)))[0]
        return name + b'\0' + b'\x55' * (n - len(name) - 1)
    clients = [(b'anna-1', b'anna'), (b'anna-2', b'anna'), (b'none-1', beyond(b'anna')), (b'none-2', b'anna'),
               (b'none-3', beyond(b'anna')), (b'bert-1', b'bert'), (b'anna-3', b'anna'), (b'bert-2', b'bert'),
               (b'none-4', beyond(b'bert')), (b'none-5', b'bert'), (b'anna-4', b'anna')]
    file = put(tmp_path / 'm', db.begin(6), *(db.client(6, name, user=user) for name, user in clients))
    out = store('import', file, '--into', tmp_path / 'new.db')[0]
    assert re.search(r' 3 user names that are none', out), out
    assert re.search(r' 2 user names that Mosquitto before 2.0.16 may have taken from another client', out), out
    assert {x['client']: x['user'] for x in rows(tmp_path / 'new.db', '--what', 'sessions')} == {
        name.decode(): name.decode()[:4] if not name.startswith(b'none') else '' for name, _ in clients}
    # one that had expired is passed by, and its name is not
    file = put(tmp_path / 'm', db.begin(6), db.client(6, b'old', expiry=10, until=1000, user=b'anna'),
               db.client(6, b'none-1', user=beyond(b'anna')), db.client(6, b'none-2', user=b'anna'))
    said = json.loads(store('import', file, '--into', tmp_path / 'other.db', '--json')[0])
    assert {x['what'].split(',')[0]: x['count'] for x in said['left']} == {
        'sessions that had expired': 1, 'user names that are none': 1,
        'user names that Mosquitto before 2.0.16 may have taken from another client': 1}
    assert {x['user'] for x in rows(tmp_path / 'other.db', '--what', 'sessions')} == {''}


def test_import_of_version_5(tmp_path):
    path = tmp_path / 'new.db'
    data = bytes.fromhex(''.join(line.split('#')[0] for line in OF_1_6.replace('t/#', '').splitlines()))
    said = json.loads(store('import', put(tmp_path / 'm', data), '--into', path, '--json')[0])
    assert (said['version'], said['left'], said['lacks']) == (5, [], [])
    assert said['taken'] == {
        'sessions': 1, 'subscriptions': 1, 'retained messages': 1, 'queued messages': 1,
        'messages in flight': 1, 'QoS 2 identifiers not released': 0}
    session, = rows(path, '--what', 'sessions')
    assert (session['client'], session['user'], session['expiry']) == ('dev1', '', 'never')
    sub, = rows(path, '--what', 'subscriptions')
    assert (sub['filter'], sub['qos'], sub['identifier'], sub['retain_as_published'],
            sub['no_local']) == ('t/#', 1, 77, True, False)
    one, = rows(path, '--what', 'inflight')
    assert (one['pid'], one['state'], one['topic'], one['payload'], one['qos']) == (
        5, 'wait_puback', 't/one!', 'hello', 1)
    two, = rows(path, '--what', 'queued')
    assert (two['topic'], two['payload'], two['qos'], two['retain']) == ('s/x', 'on', 1, True)
    kept, = rows(path, '--what', 'retained')
    assert (kept['topic'], kept['payload'], kept['qos']) == ('s/x', 'on', 2)
    store('check', path)


@pytest.mark.parametrize('version', [2, 3, 4])
def test_import_of_1_5_and_older(tmp_path, version):
    """Up to 1.5 chunks are others: it says who can read them."""
    err = store('import', put(tmp_path / 'm', db.MAGIC, struct.pack('>II', 0, version), b'\0\1\0\0\0\x0a'),
                '--into', tmp_path / 'new.db', status=1)[1]
    assert f'of version {version}' in err and 'start a Mosquitto of version 2' in err


def test_import_of_hostile_files(tmp_path):
    """No change of a byte or an end brings it down, or leaves half a store."""
    whole = b''.join(some())
    rng = random.Random(1)
    for i in range(8):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(23, len(data))] = rng.choice([0, 1, 0x7f, 0x80, 0xff])
        if i % 4 == 0:
            del data[rng.randrange(23, len(data)):]
        path = tmp_path / f'{i}.db'
        p = subprocess.run([harness.NIGHTJAR, 'store', 'import', put(tmp_path / 'm', data), '--into',
                            path], capture_output=True, text=True, check=False, timeout=harness.PATIENCE)
        assert p.returncode in (0, 1), p.stderr
        if p.returncode == 0:
            store('check', path)
        else:
            assert not path.exists()
            assert p.stderr


@pytest.fixture
def mosquitto(tmp_path):
    if not harness.MOSQUITTO:
        pytest.skip('no mosquitto')
    port = harness.free_port()
    conf = tmp_path / 'theirs.conf'
    conf.write_text(f'listener {port} {harness.HOST}\nallow_anonymous true\npersistence true\n'
                    f'persistence_location {tmp_path}/\npersistence_file theirs.db\nlog_type none\n'
                    + ('user root\n' if os.geteuid() == 0 else ''))
    with subprocess.Popen([harness.MOSQUITTO, '-c', conf]) as p:
        try:
            harness.wait_until(lambda: socket.socket().connect_ex((harness.HOST, port)) == 0,
                               'mosquitto listens')
            yield p, port, tmp_path / 'theirs.db'
        finally:
            p.kill()


def test_import_of_a_real_file(mosquitto, tmp_path):
    process, port, path = mosquitto
    with raw.Raw(port) as c, raw.Raw(port) as p:
        c.connect('five', clean=False, props={'session_expiry': 1000, 'receive_maximum': 2},
                  username='u', password='')
        c.subscribe('a/#', qos=2, props={'subscription_id': 7})
        p.connect('pub')
        p.publish_acked('a/1', b'first', qos=2, props={'content_type': 'x', 'message_expiry': 100})
        p.publish_acked('a/2', b'second', qos=1)
        p.publish_acked('a/3', b'third', qos=2)
        p.publish_acked('r', b'retained', qos=1, retain=True)
        for _ in range(2):
            c.expect(raw.PUBLISH)
        c.vanish()
    with raw.Raw(port, version=4) as c:
        c.connect('three', clean=False)
        c.subscribe(('a/+', 1), ('b', 0))
        # one that is not released
        c.publish('a/4', b'half', qos=2, mid=5)
        c.expect(raw.PUBREC)
        c.vanish()
    process.send_signal(signal.SIGTERM)
    process.wait(harness.PATIENCE)
    new = tmp_path / 'new.db'
    store('import', path, '--into', new)
    store('check', new)
    assert {(x['client'], x['expiry']) for x in rows(new, '--what', 'sessions')} == {
        ('five', 1000), ('three', 'never')}
    assert {(x['client'], x['user']) for x in rows(new, '--what', 'sessions')} == {
        ('five', 'u'), ('three', '')}
    assert {(x['client'], x['filter'], x['qos'], x.get('identifier'))
            for x in rows(new, '--what', 'subscriptions')} == {
        ('five', 'a/#', 2, 7), ('three', 'a/+', 1, None), ('three', 'b', 0, None)}
    first, second = rows(new, '--what', 'inflight')
    assert (first['topic'], first['state'], first['payload']) == ('a/1', 'wait_pubrec', 'first')
    assert first['content_type'] == 'x' and 'expires' in first
    assert (second['topic'], second['state']) == ('a/2', 'wait_puback')
    assert [(x['client'], x['topic'], x['qos']) for x in rows(new, '--what', 'queued')] == [
        ('five', 'a/3', 2), ('five', 'a/4', 2), ('three', 'a/4', 1)]
    assert [(x['client'], x['pid']) for x in rows(new, '--what', 'received')] == [('three', 5)]
    assert [x['topic'] for x in rows(new, '--what', 'retained')] == ['r']


PAGE = 4096
KEEPS = 'persistence true\npersistence_location store\nmax_queued_messages 0\n'


def on_imported(brokers, tmp_path, conf='', **kw):
    """A broker on what was Mosquitto's, and its store."""
    broker = brokers(KEEPS + conf, start=False, **kw)
    folder = os.path.join(broker.folder, 'store')
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    path = os.path.join(folder, 'nightjar.db')
    store('import', put(tmp_path / 'mosquitto.db', *some()), '--into', path)
    os.chmod(path, 0o666)  # the broker may be another user
    os.chmod(path + '.lock', 0o666)
    return broker.start(), path


def test_two_sessions_of_a_client(imported):
    """No broker leaves two; of what another program has left the newer counts, and the
    log says so."""
    broker, path = imported
    broker.stop()
    with sqlite3.connect(path) as c:
        newest = c.execute('SELECT max(id) FROM session').fetchone()[0]
        c.execute("INSERT INTO session SELECT id + ?, client, user, x'6d2f', version, expiry, offline, "
                  "NULL, NULL, NULL, sent, who FROM session WHERE client = x'646576'", (newest,))
    c.close()
    reseal(pathlib.Path(path))
    assert 'session-twice' in store('check', path, status=1)[0]
    start = broker.log_size()
    broker.start()
    broker.wait_log('the store has two sessions of client dev, .*the older one ends', start)
    broker.stop()
    os.chmod(path, 0o600)
    store('check', path)
    assert [x['session'] for x in rows(path, '--what', 'sessions') if x['client'] == 'dev'][0] > newest


@pytest.fixture
def imported(brokers, tmp_path):
    return on_imported(brokers, tmp_path)


def test_imported_session_of_a_proved_user(brokers, tmp_path):
    """Who was proved to be another writes its user's name in vain; it goes to whom it
    belongs, whatever he writes."""
    ca = Maker(tmp_path / 'ca', 'CA')
    crt, key = ca.issue('/CN=server', 'DNS:localhost', usage='serverAuth')
    broker, _ = on_imported(brokers, tmp_path, f'certfile {crt}\nkeyfile {key}\ncafile {ca.crt}\n'
                            'require_certificate true\nuse_identity_as_username true\n', anonymous=False)
    for who, written, code in (('mallory', None, 0x85), ('mallory', 'someone', 0x85), ('mallory', 'mallory', 0x85),
                               ('someone', 'mallory', 0), ('mallory', 'someone', 0x85)):
        with raw.Raw(broker.port, tls=shows(ca.crt, ca.issue(f'/CN={who}'))) as c:
            ack = c.connect('dev', want=code, clean=False, props={'session_expiry': 100},
                            **({'username': written} if written else {}))
            assert code or ack.session_present
    # this one is nobody's, so it goes to the first
    with raw.Raw(broker.port, version=4, tls=shows(ca.crt, ca.issue('/CN=mallory'))) as c:
        c.connect('half', clean=False)


def test_broker_serves_what_was_imported(imported):
    broker, _ = imported
    with raw.Raw(broker.port) as c:
        c.connect('dev', want=0x85, clean=False, username='mallory', password='')
    with raw.Raw(broker.port) as c:
        ack = c.connect('dev', clean=False, username='someone', password='',
                        props={'session_expiry': 100})
        assert ack.session_present
        got = [c.recv() for _ in range(6)]
        assert [(p.kind, p.mid) for p in got[:3]] == [
            (raw.PUBLISH, 7), (raw.PUBLISH, 8), (raw.PUBREL, 9)]
        assert [p.payload for p in got[:2]] == [b'one', b'\xff\x00two'] and got[0].dup
        assert got[0].props['user_property'] == [('k', 'v'), ('k', 'w')]
        # of different topics and QoS, so in any order
        rest = {p.topic: p for p in got[3:]}
        assert {t: (p.qos, p.props.get('subscription_id')) for t, p in rest.items()} == {
            't/1': (1, [300]), 't/2': (0, None), 't/5': (2, [300])}
        assert 900 < rest['t/2'].props['message_expiry'] <= 1000
        # its subscriptions are there
        with raw.Raw(broker.port) as p:
            p.connect('pub')
            p.publish_acked('t/new', b'new', qos=1)
        assert c.expect(raw.PUBLISH).topic == 't/new'
        c.subscribe('r/#')
        assert c.expect(raw.PUBLISH).payload == b'kept'
    with raw.Raw(broker.port, version=4) as c:
        c.connect('half', clean=False)
        assert c.message().topic == 't/new'
        c.ack(raw.PUBREL, 77)
        assert c.wait_for(raw.PUBCOMP).mid == 77


def test_backup_while_much_is_published(brokers, tmp_path):
    """Whatever was acknowledged before it began is in it, and nothing is missing before
    the last that is; also of messages that go to data files."""
    broker = brokers(KEEPS)
    path = os.path.join(broker.folder, 'store', 'nightjar.db')
    window, acked, sent, done = 60, 0, 0, threading.Event()
    with raw.Raw(broker.port) as c:
        c.connect('away', clean=False, props={'session_expiry': 0xffffffff})
        c.subscribe('a/#', qos=1)
        c.disconnect()

    def publish(p):
        nonlocal acked, sent
        while not done.is_set() or acked < sent:
            for _ in range(window if acked == sent and not done.is_set() else 0):
                p.publish('a/b', (b'%d ' % sent).ljust(1500, b'.'), qos=1, mid=sent % 65535 + 1)
                sent += 1
            p.expect(raw.PUBACK)
            acked += 1
    with raw.Raw(broker.port) as p:
        p.connect('pub')
        publisher = threading.Thread(target=publish, args=(p,))
        publisher.start()
        try:
            for i in range(2):
                # it goes on: the second time it has said more than one window
                harness.wait_until(lambda: acked > i * window, 'much is published')
                least = acked
                copy, new = tmp_path / f'{i}.db', tmp_path / f'{i}-new.db'
                store('backup', path, copy)
                most = sent
                store('restore', copy, new)
                store('check', new)
                got = [int(x['payload'].split()[0]) for x in rows(new, '--what', 'queued')]
                assert got == list(range(len(got))) and least <= len(got) <= most
        finally:
            done.set()
            publisher.join()
    assert acked == sent > window
    assert len(rows(path, '--what', 'queued')) == sent


def test_tools_beside_a_broker(brokers, tmp_path):
    """All of them while it writes; what is copied is a whole store."""
    broker = brokers(KEEPS)
    path = os.path.join(broker.folder, 'store', 'nightjar.db')
    forever = {'session_expiry': 0xffffffff}
    with raw.Raw(broker.port) as c:
        c.connect('away', clean=False, props=forever)
        c.subscribe('a/#', qos=1)
        c.disconnect()
    with raw.Raw(broker.port) as p, raw.Raw(broker.port) as here:
        here.connect('here', clean=False, props=forever)
        p.connect('pub')
        for i in range(20):
            p.publish_acked('a/b', b'%d' % i, qos=1)
        p.publish_acked('r', b'kept', qos=1, retain=True)
        said = json.loads(store('stats', '--json', path)[0])
        assert said['live'] and (said['queued'], said['retained']) == (20, 1)
        assert (said['sessions'], said['connected']) == (2, 1)
        for i in range(20, 60):
            p.publish('a/b', b'%d' % i, qos=1)
        store('check', path)
        copy = tmp_path / 'copy.db'
        store('backup', path, copy)
        for _ in range(40):
            p.wait_for(raw.PUBACK)
        assert len(rows(path, '--what', 'queued', '--client', 'away')) == 60
        assert store('check', '--repair', path, status=2)[1]
    copied = [int(x['payload']) for x in rows(copy, '--what', 'queued')]
    assert len(copied) >= 20 and copied == list(range(len(copied)))
    # and back again
    assert 'a broker has' in store('restore', '--force', copy, path, status=1)[1]
    assert broker.stop() == 0
    assert '--force' in store('restore', copy, path, status=1)[1]
    assert '.replaced-' in store('restore', '--force', copy, path)[0]
    broker.start()
    with raw.Raw(broker.port) as c:
        assert c.connect('away', clean=False, props=forever).session_present
        assert [int(c.message().payload) for _ in copied] == copied
