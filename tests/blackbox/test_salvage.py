# SPDX-License-Identifier: Apache-2.0
"""nightjar store salvage: pages of a store are damaged, and what the others have is
there again."""
import collections
import json
import os
import pathlib
import random
import re
import shutil
import sqlite3
import stat
import struct
import subprocess

import pytest

import mosquittodb as db
from dynsecs import SERVES, Dynsec, acl, one, state, user
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
    return path


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


def first_pages(data):
    """Damage of the first page, of several kinds."""
    first = bytearray(data[:PAGE])
    first[1000] ^= 0x20
    yield 'a byte', bytes(first) + data[PAGE:]
    yield 'the header', bytes(100) + data[100:]
    yield 'all of it', random.Random(1).randbytes(PAGE) + data[PAGE:]
    wrong = bytearray(data[:PAGE])
    wrong[16:18] = struct.pack('>H', 512)       # of another size
    yield 'the size', bytes(wrong) + data[PAGE:]
    wrong[20] = 0                               # without sums
    yield 'no sums', bytes(wrong) + data[PAGE:]


def anew(path, to):
    """As a store is that was written anew from an older schema: SQLite makes all tables
    first, and then the indexes."""
    with sqlite3.connect(path) as c:
        c.execute('VACUUM INTO ?', (str(to),))
    c.close()
    os.chmod(to, 0o600)
    reseal(to)
    store('check', to)
    return to


def test_the_first_page(whole, tmp_path):
    """Where tables begin is seen from the others, in whichever of two ways they stand."""
    roots = []
    for name, path in ('made', whole), ('anew', anew(whole, tmp_path / 'anew.db')):
        with sqlite3.connect(path) as c:
            roots.append(dict(c.execute('SELECT name, rootpage FROM sqlite_schema')))
        c.close()
        before = all_of(path)
        for how, data in first_pages(path.read_bytes()):
            spoiled = put(tmp_path / f'{name}-{how}.db'.replace(' ', '-'), data)
            told, out = salvage(spoiled)
            assert all_of(spoiled) == before, (name, how)
            assert 'The first page is damaged' in out and 'had nothing of this' not in out
            assert told['sessions'] == (SESSIONS, 0, 0, 0)
        # and a root besides
        for table in 'sub', 'file', 'seg', 'retained':
            spoiled = shutil.copy(path, tmp_path / f'{name}-{table}.db')
            damage(spoiled, 1, roots[-1][table])
            told, out = salvage(spoiled)
            assert '2 of ' in out and not all_of(spoiled) - before
            if table == 'file':
                assert all_of(spoiled) == before
    assert roots[0]['fact'] != roots[1]['fact'] and sorted(roots[0].values()) == sorted(roots[1].values())
    # the log has it whole
    data = whole.read_bytes()
    path = put(tmp_path / 'logged.db', bytes(100), data[100:])
    put(tmp_path / 'logged.db-wal', framed([(1, len(data) // PAGE, page_of(data, 1))]))
    damage(path, some_leaf(data))
    assert 'The first page' not in salvage(path)[1]


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
    # which of two ways tables stand is seen from these, if at all
    path = shutil.copy(whole, tmp_path / 'a.db')
    was = damage(path, 1, 12, 15).read_bytes()
    assert 'that cannot be seen from the others' in salvage(path, status=1)
    assert path.read_bytes() == was
    assert 'damaged' in store('check', path, status=1)[0]
    # nor from pages that are another database's
    with sqlite3.connect(tmp_path / 'other.db') as c:
        c.execute('PRAGMA page_size = 4096')
        c.execute('CREATE TABLE t(a)')
        c.executemany('INSERT INTO t VALUES(?)', [('x' * 900,)] * 100)
    c.close()
    other = bytearray((tmp_path / 'other.db').read_bytes())
    other[20] = 8
    for no in range(len(other) // PAGE):
        other[(no + 1) * PAGE - 8:(no + 1) * PAGE] = bytes(8)
    reseal(put(tmp_path / 'other.db', other))
    damage(tmp_path / 'other.db', 1)
    assert 'that cannot be seen from the others' in salvage(tmp_path / 'other.db', status=1)
    # no page of it is whole
    spoiled = shutil.copy(whole, tmp_path / 'b.db')
    damage(spoiled, *range(1, len(whole.read_bytes()) // PAGE + 1))
    assert 'no page of' in salvage(spoiled, status=1)
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
        damage(path, rng.randrange(2, len(data) // PAGE), *(1,) * (i % 2))
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


def test_roles_that_the_lost_log_has(whole, tmp_path):
    """Whoever lost a right there would have it again: not without being told to."""
    path = tmp_path / 'roles.db'
    root = with_facts(whole, path, 400)
    data = path.read_bytes()
    pages, leaf = len(data) // PAGE, some_leaf(data)
    of_roles = next(no for no in range(3, pages + 1) if page_of(data, no).count(b'role-') > 10)
    refusal = 'users, groups or roles %s changed in the part of the log that is lost'
    for name, no, at, says in (
            # where it is damaged, a page, and behind it
            ('of others', leaf, 500, None), ('a leaf', of_roles, 500, refusal % 'were'),
            ('the root', root, 500, refusal % 'were'),
            # the number, or what says whether it is right
            ('a number', leaf, 3, refusal % 'may have been'), ('a sum', leaf, 17, refusal % 'may have been'),
            ('a salt', leaf, 10, None), ('a salt of theirs', of_roles, 10, refusal % 'were')):
        for place in 1, 2:
            frames = [(leaf, pages, page_of(data, leaf))] * 5
            frames[place] = (no, pages, page_of(data, no))
            log = bytearray(framed(frames))
            # the first is where it is damaged, but for the one behind it
            log[32 + FRAME + (at if place == 1 or at == 500 else 500)] ^= 1
            spoiled = damage(shutil.copy(path, tmp_path / f'{name}-{place}.db'.replace(' ', '-')), some_leaf(data) + 1)
            put(pathlib.Path(f'{spoiled}-wal'), log)
            want = says if place == 1 or says != refusal % 'may have been' else None
            err = salvage(spoiled, status=1 if want else 0)
            assert not want or re.search(want, err) and '--without-users-and-roles' in err, (name, place, err)
    # no page is damaged, but the log is: neither goes on with roles that are older
    for no, status in (of_roles, 1), (leaf, 0):
        frames = [(leaf, pages, page_of(data, leaf))] * 5
        frames[1] = (no, pages, page_of(data, no))
        log = bytearray(framed(frames))
        log[32 + FRAME + 500] ^= 1
        mended = shutil.copy(path, tmp_path / f'repair-{no}.db')
        put(pathlib.Path(f'{mended}-wal'), log)
        assert 'bad-log' in store('check', mended, status=1)[0]
        err = store('check', '--repair', mended, status=2 if status else 0)[1]
        assert not status or 'salvage --without-users-and-roles' in err
        salvaged = shutil.copy(path, tmp_path / f'salvage-{no}.db')
        put(pathlib.Path(f'{salvaged}-wal'), log)
        err = salvage(salvaged, status=status)
        assert not status or refusal % 'were' in err
    # of the header alone nothing is lost; without the first nobody knows whose page it was
    for name, first in ('head', 0), ('both', 1):
        log = bytearray(framed([(leaf, pages, page_of(data, leaf))] * 5))
        log[20] ^= 1
        log[32 + 500] ^= first
        for verb, status in (('check', '--repair'), 2 * first), (('salvage',), first):
            spoiled = shutil.copy(path, tmp_path / f'{name}-{verb[0]}.db')
            if verb[0] == 'salvage':
                damage(spoiled, leaf + 1)
            put(pathlib.Path(f'{spoiled}-wal'), log)
            err = store(*verb, spoiled, status=status)[1]
            assert not status or '--without-users-and-roles' in err, (name, verb, err)
    out = json.loads(store('salvage', '--json', '--without-users-and-roles', salvaged.parent /
                           f'salvage-{of_roles}.db')[0])
    assert (out['damaged'], out['rows']['facts']['kept'], out['log']['acknowledged_lost']) == (0, 0, True)
    # the last transaction may have been cut by a power failure, and no broker minds
    spoiled = damage(shutil.copy(path, tmp_path / 'last.db'), leaf + 1)
    log = bytearray(framed([(leaf, pages, page_of(data, leaf)), (of_roles, pages, page_of(data, of_roles))]))
    log[32 + FRAME + 500] ^= 1
    put(pathlib.Path(f'{spoiled}-wal'), log)
    assert salvage(spoiled)[0]['facts of users, groups and roles'][0] == 400


def facts_pages(data):
    return [no for no in range(3, len(data) // PAGE + 1) if page_of(data, no).count(b'"rolename"') > 5]


def test_without_users_and_roles(brokers, tmp_path):
    """Which are missing is told; none of them is taken, and no broker starts with what
    they were once made of, but with what somebody writes after that."""
    where = tmp_path / 'store'
    where.mkdir()
    if os.geteuid() == 0:
        os.chown(where, SERVES.pw_uid, SERVES.pw_gid)
    os.chmod(tmp_path, 0o755)
    roles = [{'rolename': f'role-{i:03}', 'acls': [acl('publishClientSend', f'{i}/#', False, 9)]}
             for i in range(200)]
    d = Dynsec(brokers, str(tmp_path), state(
        [user(f'u{i:03}', f'role-{i:03}') for i in range(200)], roles,
        [{'groupname': 'all', 'roles': [{'rolename': 'role-007'}], 'clients': [{'username': 'u001'}]}],
        anonymousGroup='all'), f'persistence true\npersistence_location {where}/\n')
    with d.admin() as c:
        one(c, 'disableClient', username='u003')
    d.broker.stop()
    path = where / 'nightjar.db'
    # not what the file says: it was taken over, and the store is newer
    for how in 'leaf', 'root', 'all':
        spoiled = shutil.copy(path, tmp_path / f'{how}.db')
        data = spoiled.read_bytes()
        leaves = facts_pages(data)
        with sqlite3.connect(path) as c:
            root = c.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'fact'").fetchone()[0]
        c.close()
        assert len(leaves) > 6
        of_roles = [no for no in leaves if page_of(data, no).count(b'"acls"') > 5]
        pages = {'leaf': [of_roles[len(of_roles) // 2]], 'root': [root], 'all': [root, *leaves]}[how]
        held = {m for no in pages for m in re.findall(rb'"rolename":"(role-\d+)"', page_of(data, no))}
        damage(spoiled, *pages)
        was = spoiled.read_bytes()
        out, err = store('salvage', spoiled, status=1)
        assert '--without-users-and-roles' in err and spoiled.read_bytes() == was
        if how == 'all':
            assert 'missing' not in out or 'some were lost' in out
        missing = set(re.findall(r'missing: role "(role-\d+)", which user "u\d+" names', out))
        if how == 'leaf':
            assert missing and missing <= {x.decode() for x in held}
            assert re.search(r'some were lost behind (role|user|group) "\S+" before (role|user|what)', out)
        out = json.loads(store('salvage', '--without-users-and-roles', '--json', spoiled)[0])
        assert out['rows']['facts'] == {'kept': 0, 'pages_lost': len(pages), 'in_part': 0,
                                        'without': out['rows']['facts']['without']}
        told = out['users_and_roles']
        if how == 'leaf':
            assert {x['name'] for x in told['files'][0]['missing'] if x['kind'] == 'role'} == missing
            assert told['files'][0]['file'] == d.path and told['lost_between']
            found = json.loads((tmp_path / 'leaf.db.found-roles-1.json').read_text())
            assert stat.S_IMODE(os.stat(tmp_path / 'leaf.db.found-roles-1.json').st_mode) == 0o600
            names = {x['name'] for x in told['files'][0]['found'] if x['kind'] == 'role'}
            assert {x['rolename'] for x in found['roles']} == names and not names & missing
        with sqlite3.connect(spoiled) as c:
            assert [bytes(r[0]) for r in c.execute('SELECT space FROM fact')] == [b'lost']
        c.close()
        assert os.path.exists(out['old'])
    d.broker.stop()
    # the one of the leaf is served
    for tail in '', '-wal', '-shm':
        if os.path.exists(f'{path}{tail}'):
            os.unlink(f'{path}{tail}')
    shutil.copy(tmp_path / 'leaf.db', path)
    if os.geteuid() == 0:
        os.chown(path, SERVES.pw_uid, SERVES.pw_gid)
    d.broker.refuses(rf'were lost when it was salvaged.*{d.path} is older than that')
    p = subprocess.run([NIGHTJAR, 'acl', 'explain', '-c', d.broker.conf_path, '--user', 'u003', 'x'],
                       text=True, check=False, capture_output=True, timeout=PATIENCE)
    assert p.returncode != 0 and 'is older than that' in p.stdout + p.stderr, p
    os.rename(d.path, d.path + '-old')
    d.broker.refuses(rf'were lost when it was salvaged.*{d.path} is not there')
    # what was found, which has no role that is missing
    d.write((tmp_path / 'leaf.db.found-roles-1.json').read_text())
    d.broker.start()
    with d.admin() as c:
        assert 'role-007' in [x['rolename'] for x in one(c, 'getGroup', groupname='all')['data']['group']['roles']] \
            or 'role-007' in missing
        assert one(c, 'getClient', username='u003')['data']['client'].get('disabled')
    d.broker.stop()
    # from now on it is the store that says
    os.unlink(d.path)
    d.broker.start()
    d.admin().close()


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
    lost = 'what was acknowledged in them is lost, and what was deleted in them is there again.'
    maybe = 'something acknowledged may be among them.'
    assert told == {'none': None, 'second': (32 + FRAME, 3 * FRAME, lost),
                    'salt': (32 + FRAME, 3 * FRAME, lost),
                    'last': (32 + 3 * FRAME, FRAME, maybe),
                    # it gets another
                    'head': None}
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
