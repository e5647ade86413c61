# SPDX-License-Identifier: Apache-2.0
"""A btrfs that is full, or whose quota is used up: it writes to a new place what it
changes, the mapped index of the log too, and who has no room for that is killed.
The broker goes on, refuses, and recovers."""
import contextlib
import os
import re
import shutil
import subprocess
import threading

import pytest

from raw import PUBACK, PUBLISH, Raw

CONF = '''
user root
persistence true
persistence_location %s
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 0
threads 2
'''
FOREVER = {'session_expiry': 0xffffffff}
MIB = 1 << 20


def run(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def must(*argv):
    done = run(*argv)
    assert done.returncode == 0, (argv, done.stdout)


@pytest.fixture
def disk(tmp_path):
    """A file system of 300 MiB, and in it a subvolume for the store."""
    if os.geteuid() != 0:
        pytest.skip('btrfs: only root can mount')
    for tool in ('mkfs.btrfs', 'btrfs', 'mount'):
        if not shutil.which(tool) or run(tool, '--version').returncode != 0:
            pytest.skip(f'btrfs: there is no {tool} (apt install btrfs-progs)')
    image, top = str(tmp_path / 'image'), str(tmp_path / 'disk')
    with open(image, 'wb') as f:
        f.truncate(300 * MIB)
    os.mkdir(top)
    must('mkfs.btrfs', '-q', image)
    done = run('mount', '-t', 'btrfs', '-o', 'loop', image, top)
    if done.returncode != 0:
        pytest.skip(f'btrfs: it cannot be mounted here: {done.stdout.decode().strip()}')
    try:
        must('btrfs', 'subvolume', 'create', f'{top}/store')
        yield top
    finally:
        must('umount', '-l', top)


def fill(top):
    """All but 8 MiB."""
    n = 0
    with open(f'{top}/fill', 'wb', buffering=0) as f:
        with contextlib.suppress(OSError):
            while True:
                n += f.write(os.urandom(1 << 16))
        f.truncate(n - 8 * MIB)
        os.fsync(f.fileno())


def take_room(top, what):
    if what == 'quota':
        must('btrfs', 'quota', 'enable', top)
        must('btrfs', 'qgroup', 'limit', '12M', f'{top}/store')
    else:
        fill(top)


def give_room(top, what):
    if what == 'quota':
        must('btrfs', 'qgroup', 'limit', 'none', f'{top}/store')
    else:
        os.unlink(f'{top}/fill')


class Written(threading.Thread):
    """The system writes the index to the disk, as it does at times: its next change
    is one that needs room."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.enough = threading.Event()

    def run(self):
        with open(self.path, 'rb+') as f:
            while not self.enough.wait(0.002):
                with contextlib.suppress(OSError):
                    os.fdatasync(f.fileno())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.enough.set()
        self.join()


class Publisher:
    """What it has sent and not been told of, and what was kept for it."""

    def __init__(self, port, name):
        self.c = Raw(port)
        self.c.connect(name)
        self.asked, self.acked = {}, set()

    def send(self):
        for _ in range(25):
            text = os.urandom(1000).hex().encode()
            self.asked[self.c.publish('q', text, qos=1)] = text

    def answers(self, timeout=None):
        """The codes, until all are there or none has come for so long."""
        codes = set()
        with contextlib.suppress(TimeoutError):
            while self.asked:
                p = self.c.recv(timeout)
                assert p.kind == PUBACK, p
                text = self.asked.pop(p.mid)
                if p.code < 0x80:
                    self.acked.add(text)
                codes.add(p.code)
        return codes


@pytest.mark.parametrize('what', ('full', 'quota'))
def test_no_room_on_btrfs(brokers, disk, what):
    b = brokers(CONF % f'{disk}/store')
    with Raw(b.port) as s:
        s.connect('sub', clean=False, props=FOREVER)
        s.subscribe('q', qos=1)
        s.disconnect()
    take_room(disk, what)
    first = [Publisher(b.port, f'p{i}') for i in range(4)]
    with Written(f'{disk}/store/nightjar.db-shm'):
        while not re.search('disk is full|cannot be written', b.log()):
            assert b.alive(), b.process.returncode
            for p in first:
                p.send()
            for p in first:
                # of what waits for the disk there is no answer
                p.answers(0.3)
        later = Publisher(b.port, 'later')
        for _ in range(200):
            later.send()
            later.answers(0.05)
            assert b.alive(), b.process.returncode
    give_room(disk, what)
    b.wait_log('can be written again')
    for p in (*first, later):
        p.answers()
    later.send()
    assert max(later.answers()) < 0x80
    b.stop()
    b.start()
    kept = set().union(*(p.acked for p in (*first, later)))
    with Raw(b.port) as s:
        s.connect('sub', clean=False, props=FOREVER)
        while kept:
            p = s.wait_for(PUBLISH)
            s.ack(PUBACK, p.mid)
            kept.discard(p.payload)
    b.stop()
