# SPDX-License-Identifier: Apache-2.0
"""nightjar store salvage: pages of a store are damaged, and what the others have is
there again."""
import collections
import json
import os
import random
import re
import shutil
import sqlite3
import struct
import subprocess

import pytest

import mosquittodb as db
from faulty import Disk
from harness import NIGHTJAR, PATIENCE
from raw import PUBLISH, Raw, packet, string
from test_store_tools import put, reseal, rows, store

pytestmark = pytest.mark.ours
SESSIONS, RETAINED, PAGE = 150, 1200, 4096
FREE, TREE = 2, 5


@pytest.fixture(scope='module')
def whole(base_folder):
    """A store with tables of several levels."""
    import pathlib

    import conftest
    folder = pathlib.Path(conftest.new_folder(base_folder, 'whole-'))
    names = [b'device-%04d' % i for i in range(SESSIONS)]
    chunks = [db.begin(6)]
    chunks += [db.message(i + 1, b'r/%05d' % i, b'%d' % i * 50, retain=True) for i in range(RETAINED)]
    # one that goes over several pages
    chunks.append(db.message(90000, b'large', b'z' * 30_000, retain=True))
    for i, name in enumerate(names):
        chunks += [db.client(6, name), db.entry(name, i + 1, 11), db.entry(name, 7, 3, pid=5)]
    chunks += [db.sub(name, b't/%d/#' % k, qos=1) for name in names for k in range(4)]
    chunks += [db.retain(i + 1) for i in range(RETAINED)] + [db.retain(90000)]
    path = folder / 'whole.db'
    store('import', put(folder / 'm', *chunks), '--into', path)
    return path


def key(row):
    return json.dumps({k: v for k, v in row.items() if k not in ('session', 'stored')}, sort_keys=True)


def all_of(path):
    return collections.Counter(map(key, rows(path)))


def page_of(data, no):
    return data[(no - 1) * PAGE:no * PAGE]


def kinds_of(data):
    """What each page is, by the page that says so."""
    each, kinds = (PAGE - 8) // 5 + 1, {}
    for no in range(3, len(data) // PAGE + 1):
        told = (no - 2) // each * each + 2
        if told != no:
            kinds[no] = page_of(data, told)[5 * (no - told - 1)]
    return kinds


def damage(path, *pages):
    with open(path, 'r+b') as f:
        for no in pages:
            f.seek((no - 1) * PAGE + 1000)
            was = f.read(1)
            f.seek(-1, 1)
            f.write(bytes((was[0] ^ 0x20,)))


def salvage(path, status=0):
    out, err = store('salvage', path, status=status)
    if status:
        return err
    store('check', path)
    told = {}
    for line in out.splitlines():
        m = re.match(r' *(\d+) +(\d+) +(\d+) +(\d+)  (.*)', line)
        if m:
            told[m[5]] = tuple(map(int, m.groups()[:4]))
    aside = re.search(r'The damaged one is (\S+) now', out)[1]
    assert os.path.exists(aside)
    return told, out


def test_nothing_is_damaged(whole, tmp_path):
    path = shutil.copy(whole, tmp_path / 'a.db')
    assert 'no page of' in salvage(path, status=1)
    assert not [n for n in os.listdir(tmp_path) if 'salvage' in n or 'replaced' in n]
    assert 'cannot open' in store('salvage', tmp_path / 'none', status=1)[1]


def test_each_page(whole, tmp_path):
    """One after the other: what was on it is lost and nothing else, and nothing is there
    that was not."""
    data, before = whole.read_bytes(), all_of(whole)
    kinds = kinds_of(data)
    pages = list(range(2, len(data) // PAGE + 1))
    inner = [no for no in pages if kinds.get(no, 1) in (1, TREE) and page_of(data, no)[0] in (2, 5)]
    assert len(inner) >= 3
    others = [no for no in pages if no not in inner]
    lost_in_all = 0
    for no in inner + others[::max(1, len(others) // 14)]:
        path = shutil.copy(whole, tmp_path / f'{no}.db')
        damage(path, no)
        assert 'damaged' in store('check', path, status=1)[0]
        told, out = salvage(path)
        assert f'1 of {len(pages) + 1} pages are damaged' in out
        after = all_of(path)
        assert not after - before, f'page {no}: {list(after - before)[:3]}'
        lost = sum((before - after).values())
        lost_in_all += lost
        page = page_of(data, no)
        if kinds.get(no, TREE) == FREE or no in inner and page[0] == 5:
            assert lost == 0, f'page {no}: {out}'
        # a page has a hundred rows or two, on which that many may depend
        assert lost < 700, f'page {no}: {lost}\n{out}'
        if lost:
            assert sum(v[1] for v in told.values()) == 1 or sum(v[2] for v in told.values()) > 0
    assert lost_in_all


def test_many_pages(whole, tmp_path):
    data, before = whole.read_bytes(), all_of(whole)
    kinds = kinds_of(data)
    leaves = [no for no, kind in kinds.items() if kind == TREE and page_of(data, no)[0] in (10, 13)]
    path = shutil.copy(whole, tmp_path / 'a.db')
    damage(path, *leaves[::5])
    told, _ = salvage(path)
    after = all_of(path)
    assert not after - before
    assert sum(after.values()) > sum(before.values()) / 4
    assert told['sessions'][0] == len(rows(path, '--what', 'sessions'))
    # again, what is lost is lost
    damage(path, 7)
    assert 'pages are damaged' in salvage(path)[1]


def test_what_cannot_be(whole, tmp_path):
    path = shutil.copy(whole, tmp_path / 'a.db')
    damage(path, 1)
    assert 'first page' in salvage(path, status=1)
    assert 'damaged' in store('check', path, status=1)[0]
    rubbish = put(tmp_path / 'rubbish', b'rubbish' * 1000)
    assert 'does not begin as a store' in salvage(rubbish, status=1)
    assert not [n for n in os.listdir(tmp_path) if 'salvaged' in n or 'replaced' in n]


def test_users_and_roles(whole, tmp_path):
    """All of them, or nothing is taken."""
    path = shutil.copy(whole, tmp_path / 'a.db')
    with sqlite3.connect(path) as c:
        for i in range(400):
            c.execute('INSERT INTO fact VALUES(?, 1, ?, ?)', (b'roles', b'role-%d' % i, b'v' * 30))
    c.close()
    reseal(path)
    data = path.read_bytes()
    facts = [no for no in range(3, len(data) // PAGE + 1) if page_of(data, no).count(b'role-') > 10]
    other = next(no for no in range(3, len(data) // PAGE + 1) if page_of(data, no).count(b'r/00') > 10)
    assert len(facts) > 2
    for no in facts[0], facts[-1]:
        spoiled = shutil.copy(path, tmp_path / f'{no}.db')
        damage(spoiled, no)
        was = spoiled.read_bytes()
        assert 'users, groups or roles are on damaged pages' in salvage(spoiled, status=1)
        assert spoiled.read_bytes() == was
    damage(path, other)
    assert salvage(path)[0]['facts of users, groups and roles'] == (400, 0, 0, 0)
    assert not [n for n in os.listdir(tmp_path) if 'salvaged' in n]


def with_facts(whole, path, n):
    shutil.copy(whole, path)
    with sqlite3.connect(path) as c:
        for i in range(n):
            c.execute('INSERT INTO fact VALUES(?, 1, ?, ?)', (b'roles', b'role-%d' % i, b'v' * 30))
        root = c.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'fact'").fetchone()[0]
    c.close()
    reseal(path)
    return root


def test_cut_short(whole, tmp_path):
    """What is missing is damaged: the pages of users and roles among it are not taken
    for none."""
    path = tmp_path / 'a.db'
    root = with_facts(whole, path, 400)
    data = path.read_bytes()
    facts = [no for no in range(3, len(data) // PAGE + 1) if page_of(data, no).count(b'role-') > 10]
    assert max(facts) == len(data) // PAGE > root
    # the last page of theirs, some of them, the root of the table
    for n in len(data) // PAGE - 1, min(facts) - 1, root - 1:
        cut = put(tmp_path / f'{n}.db', data[:n * PAGE])
        assert re.search('users, groups or roles are on damaged|where its tables are', salvage(cut, status=1)), n
        assert cut.read_bytes() == data[:n * PAGE]
    before, data = all_of(whole), whole.read_bytes()
    pages = len(data) // PAGE
    for n in pages - 1, pages * 2 // 3:
        cut = put(tmp_path / f'whole-{n}.db', data[:n * PAGE])
        told, out = salvage(cut)
        assert f'{pages - n} of {pages} pages are damaged' in out
        assert f'{pages - n} damaged pages are missing' in out
        assert told['facts of users, groups and roles'] == (0, 0, 0, 0)
        assert not all_of(cut) - before


def test_a_page_of_nowhere(whole, tmp_path):
    """Roles that a page names by no number that there is are not taken for none."""
    path = tmp_path / 'a.db'
    root = with_facts(whole, path, 400)
    data = path.read_bytes()
    page = page_of(data, root)
    assert page[0] == 2
    cell = (root - 1) * PAGE + struct.unpack_from('>H', page, 12)[0]
    # the leftmost of its pages, and the rightmost; once more the same
    other = struct.unpack_from('>I', page, 8)[0]
    for at, no in (cell, 0), (cell, 0x7fffffff), ((root - 1) * PAGE + 8, 0), (cell, other):
        spoiled = bytearray(data)
        struct.pack_into('>I', spoiled, at, no)
        where = put(tmp_path / 'b.db', spoiled)
        reseal(where)
        assert 'users, groups or roles are on damaged pages' in salvage(where, status=1), (at, no)


def test_whole_pages_of_nobody(whole, tmp_path):
    """A page on the way to others is lost, and what says whose those are."""
    data, before = whole.read_bytes(), all_of(whole)
    kinds = kinds_of(data)
    inner = [no for no in range(3, len(data) // PAGE + 1)
             if kinds.get(no) in (1, TREE) and page_of(data, no)[0] in (2, 5)]
    lost_in_all = 0
    for no in inner:
        path = shutil.copy(whole, tmp_path / f'{no}.db')
        damage(path, 2, no)
        told, out = salvage(path)
        assert '1 damaged pages said what others are' in out
        assert 'had nothing of this' not in out or not sum(v[1] for v in told.values())
        lost = before - all_of(path)
        lost_in_all += len(lost)
        m = re.search(r'(\d+) whole pages could not be placed', out)
        assert m and int(m[1]) > 1 or not lost, f'{no}: {out}'
    assert lost_in_all > 300
    # nothing is below it
    path = shutil.copy(whole, tmp_path / 'map.db')
    damage(path, 2)
    out = salvage(path)[1]
    assert 'could not be placed' not in out and 'had nothing of this' not in out
    assert all_of(path) == before
    # nor are roles among them
    path = tmp_path / 'facts.db'
    root = with_facts(whole, path, 400)
    damage(path, 2, root)
    assert 'users, groups or roles are on damaged pages' in salvage(path, status=1)


def test_more_than_a_gigabyte(whole, tmp_path):
    """The page that has the byte at which files are locked is never written, nor are
    those that were free from the first."""
    data = bytearray(whole.read_bytes())
    had, n, each = len(data) // PAGE, (1 << 30) // PAGE + 3, (PAGE - 8) // 5 + 1
    struct.pack_into('>I', data, 28, n)
    for no in range(had + 1, 2 + each):
        data[PAGE + 5 * (no - 3)] = FREE
    path = put(tmp_path / 'a.db', data)
    reseal(path)
    kinds = put(tmp_path / 'map', (bytes((FREE, 0, 0, 0, 0)) * each)[:PAGE - 8].ljust(PAGE, b'\0'))
    one = put(tmp_path / 'sealed', path.read_bytes()[:PAGE], kinds.read_bytes())
    reseal(one)
    with open(path, 'r+b') as f:
        f.truncate(n * PAGE)
        for no in range(2 + each, n + 1, each):
            f.seek((no - 1) * PAGE)
            f.write(one.read_bytes()[PAGE:])
    assert 'no page of' in salvage(path, status=1)
    damage(path, n)
    assert f'1 of {n} pages are damaged' in salvage(path)[1]


def test_a_row_without_end(whole, tmp_path):
    """Pages of a row that name each other, and those of another row."""
    data = bytearray(whole.read_bytes())
    kinds = kinds_of(data)
    more = [no for no, kind in kinds.items() if kind in (3, 4)]
    assert len(more) > 4
    for no in more[1:]:
        struct.pack_into('>I', data, (no - 1) * PAGE, more[0])
    path = put(tmp_path / 'a.db', data)
    reseal(path)
    damage(path, some_leaf(data))
    told, _ = salvage(path)
    assert told['messages of several queues or topics'][2] == 1


def test_pages_that_say_anything(whole, tmp_path):
    """What has a sum that fits is not trusted for that."""
    rng = random.Random(3)
    data = bytearray(whole.read_bytes())
    for i in range(12):
        spoiled = bytearray(data)
        for _ in range(rng.choice((3, 40, 400))):
            no = rng.randrange(1, len(data) // PAGE)
            at = no * PAGE + rng.choice((rng.randrange(12), rng.randrange(200), rng.randrange(PAGE - 8)))
            spoiled[at] = rng.choice((0, 1, 2, 5, 10, 13, 0x7f, 0x80, 0xff, rng.randrange(256)))
        path = put(tmp_path / f'{i}.db', spoiled)
        reseal(path)
        damage(path, rng.randrange(2, len(data) // PAGE))
        p = subprocess.run([NIGHTJAR, 'store', 'salvage', path], text=True, check=False,
                           capture_output=True, timeout=PATIENCE)
        assert p.returncode in (0, 1) and 'Sanitizer' not in p.stderr, p.stderr
        if p.returncode == 0:
            store('check', path)
        else:
            assert p.stderr


def test_what_the_log_has(brokers):
    """The broker was killed: what came last is in its log, and large queues are in a file
    beside it, of which a part is damaged, too."""
    b = brokers('persistence true\npersistence_location store\nmax_queued_messages 0\nthreads 1\n')
    path = os.path.join(b.folder, 'store', 'nightjar.db')
    with Raw(b.port) as p:
        p.connect('pub')
        for i in range(300):
            p.publish(f'kept/{i}', b'%d' % i * 100, qos=1, retain=True)
        for _ in range(300):
            p.recv()
    assert b.stop() == 0
    b.start()
    for name in 'away', 'large', 'larger':
        with Raw(b.port) as s:
            s.connect(name, clean=False, props={'session_expiry': 0xffffffff})
            s.subscribe(f'{name}/#', qos=1)
    with Raw(b.port) as p:
        p.connect('pub')
        for topic in 'large/x', 'larger/x':
            p.send(b''.join(packet_of(topic, i) for i in range(1, 61)))
            for _ in range(60):
                p.recv()
        for i in range(30):
            p.publish_acked('away/x', b'%d' % i, qos=1)
    b.kill()
    before = all_of(path)
    with open(path + '-wal', 'rb') as f:
        log = f.read()
    size = 24 + PAGE
    logged = {struct.unpack_from('>I', log, at)[0] for at in range(32, len(log) - size + 1, size)}
    with open(path, 'rb') as f:
        data = f.read()
    # one that has messages of retained topics, and is not in the log
    no = [no for no in range(3, len(data) // PAGE + 1)
          if no not in logged and page_of(data, no).count(b'kept/') > 2][-1]
    damage(path, no)
    files = sorted(n for n in os.listdir(os.path.dirname(path)) if re.search(r'-data\d+$', n))
    with open(os.path.join(os.path.dirname(path), files[-1]), 'r+b') as f:
        f.seek(-500, 2)
        f.write(b'\xff')
    told, out = salvage(path)
    assert told['rows of up to 512 queued messages'][2] == 1, out
    after = all_of(path)
    assert not after - before
    lost = [json.loads(k) for k in before - after]
    assert lost and {x['kind'] for x in lost} == {'retained', 'queued'}
    assert {x['client'] for x in lost if x['kind'] == 'queued'} == {'larger'}
    start = b.log_size()
    b.start()
    b.wait_log(' running', start)
    with Raw(b.port) as s:
        assert s.connect('away', clean=False, props={'session_expiry': 0xffffffff}).session_present
        assert [int(s.message().payload) for _ in range(30)] == list(range(30))


def packet_of(topic, mid):
    return packet(PUBLISH, 2, string(topic) + struct.pack('>H', mid) + b'\0' + b'.' * 2000)


FRAME = 24 + PAGE


def framed(frames, salt=b'saltsalt', rest=b''):
    """A log of (page number, pages after a COMMIT or 0, page)."""
    def summed(s, data):
        a, b = s
        for x, y in struct.iter_unpack('<II', data):
            a = (a + x + b) & 0xffffffff
            b = (b + y + a) & 0xffffffff
        return a, b
    log = struct.pack('>IIII', 0x377f0682, 3007000, PAGE, 1) + salt
    s = summed((0, 0), log)
    log += struct.pack('>II', *s)
    for no, pages, page in frames:
        head = struct.pack('>II', no, pages)
        s = summed(summed(s, head), page)
        log += head + salt + struct.pack('>II', *s) + page
    return log + rest


def some_leaf(data):
    return next(no for no in range(3, len(data) // PAGE + 1) if page_of(data, no).count(b'r/00') > 10)


def test_log_that_ends_early(whole, tmp_path):
    """What of it was not taken is told."""
    data = whole.read_bytes()
    no, pages = some_leaf(data), len(data) // PAGE
    log = framed([(1, pages, page_of(data, 1))] * 4)
    told = {}
    for name, at in ('none', None), ('second', 32 + FRAME + 500), ('salt', 32 + FRAME + 10), \
            ('last', 32 + 3 * FRAME + 500), ('head', 5):
        path = shutil.copy(whole, tmp_path / f'{name}.db')
        damage(path, no)
        bad = bytearray(log)
        if at is not None:
            bad[at] ^= 1
        put(tmp_path / f'{name}.db-wal', bad)
        m = re.search(r'The log is damaged at (\d+): the (\d+) bytes .*; (.*)', salvage(path)[1])
        told[name] = m and (int(m[1]), int(m[2]), m[3])
    lost, maybe = 'what was acknowledged in them is lost.', 'something acknowledged may be among them.'
    assert told == {'none': None, 'second': (32 + FRAME, 3 * FRAME, lost),
                    'salt': (32 + FRAME, 3 * FRAME, lost),
                    'last': (32 + 3 * FRAME, FRAME, maybe), 'head': (0, len(log), maybe)}
    # an older log's frames, which are behind those of each that has begun anew
    path = shutil.copy(whole, tmp_path / 'older.db')
    damage(path, no)
    put(tmp_path / 'older.db-wal', log, framed([(1, pages, page_of(data, 1))], salt=b'pepperpe')[32:])
    assert 'The log' not in salvage(path)[1]


def test_log_that_cannot_be_read(whole, tmp_path):
    """It is not taken for none."""
    data = whole.read_bytes()
    path = shutil.copy(whole, tmp_path / 'a.db')
    damage(path, some_leaf(data))
    was = path.read_bytes()
    log = tmp_path / 'a.db-wal'
    os.symlink(put(tmp_path / 'elsewhere', framed([(1, 9, page_of(data, 1))])), log)
    assert 'cannot open' in salvage(path, status=1)
    os.unlink(log)
    os.mkdir(log)
    assert 'cannot read' in salvage(path, status=1)
    os.rmdir(log)
    # in any frame of it
    put(log, framed([(1, len(data) // PAGE, page_of(data, 1))] * 4))
    disk = Disk(tmp_path / 'control', str(tmp_path))
    for n in range(10):
        disk.fails('read', 'EIO', skip=n, part='-wal')
        p = subprocess.run([NIGHTJAR, 'store', 'salvage', path], text=True, check=False, capture_output=True,
                           timeout=PATIENCE, env={**os.environ, **disk.environment()})
        assert p.returncode == 1 and 'cannot' in p.stderr, f'{n}: {p.stderr}'
        assert disk.hits > 0
    assert path.read_bytes() == was


def test_log_of_too_many_pages(whole, tmp_path):
    """What a COMMIT says of the file is not believed beyond what there can be."""
    data = whole.read_bytes()
    pages = len(data) // PAGE
    for n in 200_000_000, 0xffffffff:
        path = shutil.copy(whole, tmp_path / f'{n}.db')
        damage(path, some_leaf(data))
        put(tmp_path / f'{n}.db-wal', framed([(1, n, page_of(data, 1))]))
        assert f' of {pages + 1} pages are damaged' in salvage(path)[1]
