# SPDX-License-Identifier: Apache-2.0
"""nightjar store restore, import, salvage, check --repair, backup and dump, killed at any
of their calls to the file system: what is there then is the old store or the new one."""
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess

import pytest

import harness
import mosquittodb as db
from faulty import Disk
from harness import wait_until
from raw import PUBLISH, Raw, packet, string
from test_store_tools import cut_off, put, reseal, rows, some, store

pytestmark = pytest.mark.ours
CALLS = 'open write sync truncate rename unlink'
LONG_US = 60_000_000
CONF = 'persistence true\npersistence_location store\nmax_queued_messages 0\nthreads 1\n'


class Cut:
    """Runs nightjar store on files below a folder that is made anew each time."""

    def __init__(self, tmp_path, made, owner=None):
        self.made, self.folder, self.owner = made, str(tmp_path / 'place'), owner
        self.disk = Disk(tmp_path / 'control', self.folder)
        self.env = {**os.environ, **self.disk.environment()}

    def begin(self, *args):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.made, self.folder)
        if self.owner:
            for name in '.', *os.listdir(self.folder):
                os.chown(os.path.join(self.folder, name), self.owner, self.owner)
        # pylint: disable=consider-using-with
        return subprocess.Popen([harness.NIGHTJAR, 'store', *map(str, args)], env=self.env,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def calls(self, *args):
        """How many there are of them."""
        self.disk.fails(CALLS, None)
        p = self.begin(*args)
        out = p.communicate(timeout=harness.PATIENCE)[0]
        assert p.returncode == 0, out
        return self.disk.hits

    def at(self, n, *args):
        """Killed as it begins with the n-th."""
        self.disk.fails(CALLS, None, skip=n, times=1, slow_us=LONG_US)
        p = self.begin(*args)
        harness.wait_until(lambda: self.disk.hits or p.poll() is not None, 'that call')
        p.kill()
        p.communicate(timeout=harness.PATIENCE)
        assert self.disk.hits, f'there is no call {n}'
        self.disk.well()


def some_of(n):
    """All of the last ones, where names change."""
    return sorted({*range(0, n, max(1, n // 8)), *range(max(0, n - 16), n)})


@pytest.fixture
def died(brokers):
    """The folder of a store whose broker was killed: what it acknowledged last is in
    its log, and large queues are in a file beside it."""
    b = brokers(CONF)
    with Raw(b.port) as s:
        s.connect('away', clean=False, props={'session_expiry': 0xffffffff})
        s.subscribe('a/#', qos=1)
    folder = os.path.join(b.folder, 'store')
    with Raw(b.port) as p:
        p.connect('pub')

        def beside():
            """Whether so much came together that a file beside it was begun."""
            p.send(b''.join(packet(PUBLISH, 2, string('a/b') + b'\0%c\0%d' % (i, i) + b'.' * 2000)
                            for i in range(1, 61)))
            for _ in range(60):
                p.recv()
            return [n for n in os.listdir(folder) if '-data' in n]
        wait_until(beside, 'large queues are in a file beside it')
        p.publish_acked('r', b'old', retain=True)
    b.kill()
    assert os.path.getsize(os.path.join(folder, 'nightjar.db-wal'))
    if os.path.exists(os.path.join(folder, 'admin.sock')):
        os.unlink(os.path.join(folder, 'admin.sock'))
    return folder


def test_restore_killed(died, tmp_path):
    source = tmp_path / 'source.db'
    store('import', put(tmp_path / 'mosquitto.db', *some()), '--into', source)
    cut = Cut(tmp_path, died)
    path = os.path.join(cut.folder, 'nightjar.db')
    args = 'restore', '--force', source, path
    n = cut.calls(*args)
    new = rows(path)
    assert new == rows(source)
    shutil.rmtree(cut.folder)
    shutil.copytree(died, cut.folder)
    old = rows(path)
    assert len(old) > 60 and old != new
    seen = set()
    for at in some_of(n):
        cut.at(at, *args)
        p = subprocess.run([harness.NIGHTJAR, 'store', 'check', '--json', path], text=True, check=False,
                           capture_output=True, timeout=harness.PATIENCE)
        if p.returncode == 2:
            assert 'a restore of' in p.stderr and 'was cut off' in p.stderr, f'{at}: {p.stderr}'
            # any that opens it to write goes on with it, as the broker does
            store('check', '--repair', path)
            found = 'begun'
        else:
            assert json.loads(p.stdout)['whole'], f'{at}: {p.stdout}'
            found = 'not'
        now = rows(path)
        assert now == (new if found == 'begun' else old) or now == new, f'killed at call {at} of {n}'
        if found == 'not' and now == new:
            found = 'done'
        seen.add(found)
        if now == new:
            aside, = {x.split('.replaced-')[1].split('-')[0] for x in os.listdir(cut.folder)
                      if '.replaced-' in x}
            assert rows(f'{path}.replaced-{aside}') == old, f'killed at call {at} of {n}'
    assert seen >= {'not', 'begun'}, f'{n} calls: {seen}'
    # what it left is in nobody's way
    cut.at(n // 2, *args)
    store(*args)
    assert rows(path) == new
    assert not [x for x in os.listdir(cut.folder) if x.startswith('.')]


def asides(path):
    """What old stores are called now."""
    folder, name = os.path.split(path)
    return [os.path.join(folder, x) for x in sorted(os.listdir(folder))
            if re.fullmatch(re.escape(name) + r'\.replaced-[0-9.]+', x)]


def retained(tmp_path, payload):
    """A store that has one message."""
    path = tmp_path / (payload.decode() + '.db')
    store('import', put(tmp_path / 'mosquitto.db', db.begin(6), db.message(
        1, b'r', payload, retain=True), db.retain(1)), '--into', path)
    return path


def payload_of(path):
    one, = rows(path, '--what', 'retained')
    return one['payload']


def test_restore_again_and_again(tmp_path):
    """Each time the one before is kept, also in the same second."""
    copies = [retained(tmp_path, b'%d' % i) for i in range(6)]
    path = str(tmp_path / 'nightjar.db')
    store('restore', copies[0], path)
    for copy in copies[1:]:
        store('restore', '--force', copy, path)
    assert payload_of(path) == '5'
    assert sorted(map(payload_of, asides(path))) == ['0', '1', '2', '3', '4']


def test_name_is_taken(tmp_path):
    """The copy has the time of an earlier one: what that replaced stays."""
    path = str(tmp_path / 'nightjar.db')
    for i in range(4):
        shutil.copy(retained(tmp_path, b'%d' % i), path + '-restored')
        os.utime(path + '-restored', ns=(10 ** 18 + 7, 10 ** 18 + 7))
        store('check', '--repair', path)
        assert payload_of(path) == str(i)
    assert [x.split('.replaced-')[1] for x in asides(path)] == [
        '1000000000.000000007' + x for x in ('', '.1', '.2')]
    assert [payload_of(x) for x in asides(path)] == ['0', '1', '2']


def test_old_journal_is_not_played(tmp_path):
    """Of a transaction that was cut off it has what pages were, of the old store."""
    path, copy = str(tmp_path / 'nightjar.db'), retained(tmp_path, b'new')
    shutil.copy(retained(tmp_path, b'old'), path)
    old = sqlite3.connect(path, isolation_level=None)
    old.execute('PRAGMA journal_mode = DELETE')
    old.execute('PRAGMA cache_size = 1')
    old.execute('PRAGMA cache_spill = 1')
    old.execute('BEGIN')
    old.execute('CREATE TABLE more(a)')
    old.execute('INSERT INTO more WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n '
                'WHERE i < 200) SELECT zeroblob(4000) FROM n')
    with open(path + '-journal', 'rb') as f:
        journal = f.read()
    with open(path, 'rb') as f:
        half = f.read()
    assert journal[:8] == bytes.fromhex('d9d505f920a163d7')
    old.execute('ROLLBACK')
    old.close()
    for name, data in (path, half), (path + '-journal', journal):
        with open(name, 'wb') as f:
            f.write(data)
    store('restore', '--force', copy, path)
    assert payload_of(path) == 'new'
    aside, = asides(path)
    with open(aside + '-journal', 'rb') as f:
        assert f.read() == journal


def test_forced_after_a_cut(died, tmp_path):
    """Wherever the first was cut off: the old store is whole, under one name."""
    first, second = retained(tmp_path, b'first'), retained(tmp_path, b'second')
    old = rows(shutil.copytree(died, tmp_path / 'as-it-was') / 'nightjar.db')
    cut = Cut(tmp_path, died)
    path = os.path.join(cut.folder, 'nightjar.db')
    n = cut.calls('restore', '--force', first, path)
    pending = 0
    for at in range(max(0, n - 16), n):
        cut.at(at, 'restore', '--force', first, path)
        was = os.path.exists(path + '-restored')
        pending += was
        said = store('restore', '--force', second, path)[0]
        assert payload_of(path) == 'second'
        found = [rows(x) for x in asides(path)]
        assert old in found, f'killed at call {at} of {n}: {os.listdir(cut.folder)}'
        if was:
            aside, = asides(path)
            assert aside in said, f'killed at call {at} of {n}: {said}'
            assert all(x.startswith(os.path.basename(aside)) for x in os.listdir(cut.folder)
                       if '.replaced-' in x), f'killed at call {at} of {n}'
    assert pending > 3


def is_refused(path, copy, word):
    """Nobody takes it for what a restore left; and nothing else happens."""
    folder = os.path.dirname(path)
    before = sorted(os.listdir(folder))
    for args, status in ((('check', '--repair', path), 2),
                         (('restore', '--force', copy, path), 1)):
        err = store(*args, status=status)[1]
        assert word in err and 'move it away' in err and 'pending' not in err, err
    assert sorted(os.listdir(folder)) == before


def test_not_from_a_restore(brokers, tmp_path):
    b = brokers(CONF)
    folder = os.path.join(b.folder, 'store')
    path, copy = os.path.join(folder, 'nightjar.db'), str(retained(tmp_path, b'other'))
    restored = path + '-restored'
    with Raw(b.port) as p:
        p.connect('pub')
        p.publish_acked('r', b'own', retain=True)
    assert b.stop() == 0
    os.symlink(copy, restored)
    is_refused(path, copy, 'not a regular file')
    b.refuses('not a regular file')
    os.unlink(restored)
    os.mkfifo(restored)
    is_refused(path, copy, 'not a regular file')
    os.unlink(restored)
    os.mkdir(restored)
    is_refused(path, copy, 'not a regular file')
    os.rmdir(restored)
    with open(copy, 'rb') as f:
        whole = f.read()
    for data in b'', b'SQLite format 3', b'rubbish' * 999, b'!' + whole[1:], \
            whole[:68] + bytes(4) + whole[72:]:
        with open(restored, 'wb') as f:
            f.write(data)
        is_refused(path, copy, 'not a store')
    with open(restored, 'wb') as f:
        f.write(whole)
    if os.geteuid() == 0:
        os.chown(restored, 4242, 4242)
        is_refused(path, copy, "another user's")
    os.unlink(restored)
    assert payload_of(path) == 'own'


def test_failed_restore_says_what_is_pending(tmp_path):
    made = tmp_path / 'made'
    os.mkdir(made)
    shutil.copy(retained(tmp_path, b'old'), made / 'nightjar.db')
    cut = Cut(tmp_path, str(made))
    path = os.path.join(cut.folder, 'nightjar.db')
    new = retained(tmp_path, b'new')
    n = cut.calls('restore', '--force', new, path)
    found = set()
    for at in range(n - 16, n):
        cut.disk.fails(CALLS, 'EIO', skip=at, times=1)
        p = cut.begin('restore', '--force', new, path)
        out = p.communicate(timeout=harness.PATIENCE)[0].decode()
        cut.disk.well()
        pending = os.path.exists(path + '-restored')
        assert ('a restore of it is pending' in out) == pending, f'call {at} of {n}: {out}'
        assert p.returncode == 1 or not pending, f'call {at} of {n}: {out}'
        if pending:
            err = store('restore', new, path, status=1)[1]
            assert 'a restore of it is pending' in err
        found.add((p.returncode, pending))
    assert found >= {(1, True), (1, False)}, found


@pytest.mark.skipif(os.geteuid() != 0, reason='only root makes what others cannot open')
@pytest.mark.parametrize('there', [True, False])
def test_what_root_leaves(died, tmp_path, there):
    """Wherever it is killed: the user of the folder can go on."""
    new = retained(tmp_path, b'new')
    if not there:
        died = tmp_path / 'empty'
        os.mkdir(died)
    cut = Cut(tmp_path, str(died), owner=4242)
    path = os.path.join(cut.folder, 'nightjar.db')
    args = 'restore', '--force', new, path
    n = cut.calls(*args)
    pending = 0
    for at in range(n):
        cut.at(at, *args)
        names = os.listdir(cut.folder)
        pending += 'nightjar.db-restored' in names
        for name in names:
            # what nobody needs is deleted by who has the folder
            if not name.startswith('.'):
                assert os.stat(os.path.join(cut.folder, name)).st_uid == 4242, \
                    f'killed at call {at} of {n}: {name}'
    assert pending > 3


def test_salvage_of_nothing(tmp_path):
    assert 'there is no store' in store('salvage', tmp_path / 'none.db', status=1)[1]
    assert not os.listdir(tmp_path)


def test_salvage_killed(tmp_path):
    made = tmp_path / 'made'
    os.mkdir(made)
    store('import', put(tmp_path / 'mosquitto.db', *some(), *(
        db.message(1000 + i, b'r/%d' % i, b'.' * 200, retain=True) for i in range(200)), *(
            db.retain(1000 + i) for i in range(200))), '--into', made / 'nightjar.db')
    with open(made / 'nightjar.db', 'r+b') as f:
        pages = f.read()
        at = max(pages.rfind(b'r/150'), 4096)
        f.seek(at)
        f.write(b'?')
    cut = Cut(tmp_path, str(made))
    path = os.path.join(cut.folder, 'nightjar.db')
    n = cut.calls('salvage', path)
    new = rows(path)
    assert len(new) > 100
    seen = set()
    for at in some_of(n):
        cut.at(at, 'salvage', path)
        p = check(path)
        out, err = p.communicate(timeout=harness.PATIENCE)
        seen.add(p.returncode)
        if p.returncode == 1:
            assert 'damaged' in out, f'killed at call {at} of {n}: {out}'
            store('salvage', path)
        elif p.returncode == 2:
            assert 'was cut off' in err, f'killed at call {at} of {n}: {err}'
            assert 'no page of' in store('salvage', path, status=1)[1]
        assert rows(path) == new, f'killed at call {at} of {n}'
        assert not [x for x in os.listdir(cut.folder) if x.startswith('nightjar.db-salvaged')
                    and p.returncode == 1]
    assert {1, 2} <= seen


def test_broker_goes_on_with_a_restore(brokers, tmp_path):
    b = brokers(CONF)
    folder = os.path.join(b.folder, 'store')
    path = os.path.join(folder, 'nightjar.db')
    with Raw(b.port) as p:
        p.connect('pub')
        p.publish_acked('r', b'old', retain=True)
        store('backup', path, tmp_path / 'copy.db')
        p.publish_acked('r', b'newer', retain=True)
    b.kill()
    # as it is when the old one has lost its name
    shutil.copy(tmp_path / 'copy.db', path + '-restored')
    st = os.stat(path)
    os.chown(path + '-restored', st.st_uid, st.st_gid)
    os.rename(path, path + '.replaced-1')
    assert 'was cut off' in store('stats', path, status=1)[1]
    assert 'was cut off' in store('backup', path, tmp_path / 'other.db', status=1)[1]
    assert '--force' in store('restore', tmp_path / 'copy.db', path, status=1)[1]
    start = b.log_size()
    b.start()
    b.wait_log('a restore of it had been cut off, and is done now', start)
    with Raw(b.port) as s:
        s.connect('sub')
        s.subscribe('r')
        assert s.message().payload == b'old'
    assert not os.path.exists(path + '-restored')


def test_import_killed(tmp_path):
    """It is all there, or nothing is, and it can be tried again."""
    empty = tmp_path / 'empty'
    os.mkdir(empty)
    source = put(tmp_path / 'mosquitto.db', *some(), db.message(77, b'large', b'x' * 100_000, retain=True),
                 db.retain(77))
    cut = Cut(tmp_path, str(empty))
    path = os.path.join(cut.folder, 'nightjar.db')
    args = 'import', source, '--into', path
    n = cut.calls(*args)
    want = rows(path)
    assert len(want) > 5
    nothing = 0
    for at in some_of(n):
        cut.at(at, *args)
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            nothing += 1
        else:
            p = subprocess.run([harness.NIGHTJAR, 'store', 'check', path], text=True, check=False,
                               capture_output=True, timeout=harness.PATIENCE)
            assert p.returncode != 1, f'killed at call {at} of {n}: {p.stdout}'
            now = rows(path) if p.returncode == 0 else []
            if now:
                assert len(now) == len(want), f'killed at call {at} of {n}'
                continue
            nothing += 1
        store(*args)
        assert len(rows(path)) == len(want)
    assert nothing > 3


def check(path, env=None):
    # pylint: disable=consider-using-with
    return subprocess.Popen([harness.NIGHTJAR, 'store', 'check', path], env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_check_while_a_store_is_made(brokers, tmp_path, monkeypatch):
    """There is none yet, or there is a whole one; and nothing that it does is in the
    broker's way."""
    b = brokers(CONF, start=False)
    disk = Disk(tmp_path / 'control', os.path.join(b.folder, 'store'))
    path = os.path.join(b.folder, 'store', 'nightjar.db')
    seen = []
    for life in range(3):
        with monkeypatch.context() as m:
            for k, v in disk.environment().items():
                m.setenv(k, v)
            # each call takes so long that there is time for many looks
            disk.fails('write sync', None, slow_us=15_000)
            start = b.log_size() if os.path.exists(b.log_path) else 0
            b.start()
        while ' running' not in b.log(start):
            looks = [check(path) for _ in range(2)]
            for p in looks:
                out, err = p.communicate(timeout=harness.PATIENCE)
                seen.append(p.returncode)
                assert p.returncode in (0, 2), f'life {life}: {out}{err}'
                assert p.returncode == 0 or 'no broker has stored anything in it' in err or \
                    'No such file' in err, f'life {life}: {out}{err}'
            assert b.alive(), b.log(start)
        disk.well()
        assert disk.hits > 10
        store('check', path)
        assert b.stop() == 0
        shutil.rmtree(disk.folder)
    assert len(seen) > 3 and 2 in seen, seen


def test_start_while_a_store_is_looked_at(brokers, tmp_path):
    """Who reads a store does not keep a broker from it, also one that was just
    restored."""
    b = brokers(CONF)
    path = os.path.join(b.folder, 'store', 'nightjar.db')
    with Raw(b.port) as p:
        p.connect('pub')
        p.publish_acked('r', b'kept', retain=True)
    store('backup', path, tmp_path / 'copy.db')
    assert b.stop() == 0
    store('restore', '--force', tmp_path / 'copy.db', path)
    reader = sqlite3.connect(f'file:{path}?mode=ro', uri=True, isolation_level=None)
    reader.execute('BEGIN')
    assert reader.execute('SELECT count(*) FROM retained').fetchone() == (1,)
    start = b.log_size()
    b.start()
    b.wait_log(' running', start)
    with Raw(b.port) as p:
        p.connect('pub')
        p.publish_acked('s', b'new', retain=True)
    assert reader.execute('SELECT count(*) FROM retained').fetchone() == (1,)
    reader.close()
    assert b.stop() == 0
    # a copy that was put there by hand has no log, and gets one when nobody reads it
    shutil.copy(tmp_path / 'copy.db', path)
    reader = sqlite3.connect(f'file:{path}?mode=ro', uri=True, isolation_level=None)
    reader.execute('BEGIN')
    reader.execute('SELECT count(*) FROM retained').fetchone()
    b.refuses("another program has it open, such as 'nightjar store check'")
    reader.close()


def rows_disagree(tmp_path, died):
    """Beside what is whole; another store than the one that died."""
    shutil.rmtree(died)
    os.mkdir(died)
    path = pathlib.Path(died, 'nightjar.db')
    more = [db.message(1000 + i, b'r/%d' % i, b'.' * 200, retain=True) for i in range(200)]
    store('import', put(tmp_path / 'mosquitto.db', *some(), *more, *(
        db.retain(1000 + i) for i in range(200))), '--into', path)
    with sqlite3.connect(path) as c:
        c.execute('DELETE FROM session WHERE client = ?', (b'half',))
        c.execute('DELETE FROM msg WHERE id = 2 OR topic_len = 5 AND id % 3 = 0')
    c.close()
    reseal(path)
    return 'missing-message'


def log_has_no_header(_, died):
    with open(os.path.join(died, 'nightjar.db-wal'), 'r+b') as f:
        f.seek(20)
        was = f.read(1)
        f.seek(20)
        f.write(bytes((was[0] ^ 1,)))
    return 'damaged'


@pytest.mark.parametrize('spoil', [rows_disagree, log_has_no_header])
def test_repair_killed(died, tmp_path, spoil):
    """It is as damaged as it was, or mended."""
    code = spoil(tmp_path, died)
    cut = Cut(tmp_path, died)
    path = os.path.join(cut.folder, 'nightjar.db')
    n = cut.calls('check', '--repair', path)
    want = rows(path)
    assert len(want) > 60
    seen = set()
    for at in some_of(n):
        cut.at(at, 'check', '--repair', path)
        p = subprocess.run([harness.NIGHTJAR, 'store', 'check', '--json', path], text=True, check=False,
                           capture_output=True, timeout=harness.PATIENCE)
        assert p.returncode < 2, f'killed at call {at} of {n}: {p.stderr}'
        said = json.loads(p.stdout)
        seen.add(said['whole'])
        if said['whole']:
            assert rows(path) == want, f'killed at call {at} of {n}'
        else:
            assert code in {f['code'] for f in said['faults']}, f'killed at call {at} of {n}: {said}'
        store('check', '--repair', path)
        assert rows(path) == want, f'killed at call {at} of {n}'
    assert seen == {False, True}


@pytest.mark.parametrize('force', [False, True])
def test_backup_killed(died, tmp_path, force):
    """There is no copy, that of before, or a whole one; and the store is as it was."""
    before = retained(tmp_path, b'before')
    if force:
        store('backup', before, os.path.join(died, 'copy.db'))
    cut = Cut(tmp_path, died)
    path, copy = os.path.join(cut.folder, 'nightjar.db'), os.path.join(cut.folder, 'copy.db')
    args = 'backup', *['--force'] * force, path, copy
    n = cut.calls(*args)
    want, old = rows(path), rows(before)
    assert len(want) > 60 and rows(copy) == want
    seen = set()
    for at in some_of(n):
        cut.at(at, *args)
        assert rows(path) == want, f'killed at call {at} of {n}'
        if os.path.exists(copy):
            store('check', copy)
            now = rows(copy)
            assert now == want or force and now == old, f'killed at call {at} of {n}'
            seen.add('new' if now == want else 'old')
        else:
            assert not force, f'killed at call {at} of {n}'
            seen.add('none')
        store('backup', '--force', path, copy)
        assert rows(copy) == want, f'killed at call {at} of {n}'
        assert not [x for x in os.listdir(cut.folder) if x.startswith('.copy')]
    assert seen == {'new', 'old' if force else 'none'}


def test_backup_over_a_log_killed(died, tmp_path):
    """What is there is always one of the two, whole: what was, with its log, or the new copy."""
    cut_off(os.path.join(died, 'copy.db'), 'last')
    cut = Cut(tmp_path, died)
    path, copy = os.path.join(cut.folder, 'nightjar.db'), os.path.join(cut.folder, 'copy.db')
    args = 'backup', '--force', path, copy
    n = cut.calls(*args)
    want = rows(path)
    assert rows(copy) == want and not os.path.exists(f'{copy}-wal')
    seen = set()
    for at in range(n):
        cut.at(at, *args)
        with sqlite3.connect(copy) as c:
            old = c.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'old'").fetchone() == (1,)
            assert not old or c.execute('SELECT * FROM old').fetchall() == [('last',)], f'killed at call {at} of {n}'
            seen.add('folded' if old and not os.path.exists(f'{copy}-wal') else 'old' if old else 'new')
        c.close()
        if not old:
            store('check', copy)
            assert rows(copy) == want, f'killed at call {at} of {n}'
    assert seen >= {'old', 'new'}


@pytest.mark.parametrize('verb', [('dump', '--json'), ('check',), ('stats',)])
def test_looking_killed(died, tmp_path, verb):
    """What only looks changes nothing that outlives it: neither the store nor its log."""
    def contents(folder):
        return {x: pathlib.Path(folder, x).read_bytes() for x in os.listdir(folder) if not x.endswith('-shm')}
    before = contents(died)
    cut = Cut(tmp_path, died)
    path = os.path.join(cut.folder, 'nightjar.db')
    n = cut.calls(*verb, path)
    for at in range(n):
        cut.at(at, *verb, path)
        assert contents(cut.folder) == before, f'killed at call {at} of {n}'
        assert len(rows(path)) > 60, f'killed at call {at} of {n}'
    assert n > 1
