# SPDX-License-Identifier: Apache-2.0
"""A database that somebody moved away, whose log is still there: what is in the log is
not lost, and who looks is told."""
import os
import subprocess

import pytest

import harness
from durable import CONF, client
from raw import Raw


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
