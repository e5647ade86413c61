# SPDX-License-Identifier: Apache-2.0
"""What ./check runs of the crash test: at least 200 kills, of the sanitized
build and of the release, with 1, 2 and 4 shards; and the same of Debian's
mosquitto, which has to fail: a test that cannot is worth nothing."""
import os
import subprocess
import sys
import types

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
for folder in ('differential', 'blackbox', 'crash'):
    sys.path.insert(0, os.path.join(TESTS, folder))
import actors
import brokers
import crash
import harness
import ledger

KILLS = 36
RELEASE = os.environ.get('NJ_RELEASE') or os.path.join(harness.ROOT, 'build-check-release')


def built(*path):
    path = os.path.join(RELEASE, *path)
    return path if os.access(path, os.X_OK) else None


@pytest.mark.parametrize('shards', [1, 2, 4])
@pytest.mark.parametrize('build', ['sanitized', 'release'])
def test_promises_are_kept(build, shards):
    broker = harness.NIGHTJAR if build == 'sanitized' else built('src', 'cmd', 'nightjar')
    if not broker:
        pytest.skip(f'there is no {build} binary')
    seed = int(os.environ.get('CRASH_SEED', '1')) + shards
    line, faults = crash.run_seed(broker, seed, shards, KILLS)
    print(line)
    assert not faults, '\n'.join(['', line, *faults])


@pytest.mark.parametrize('shards', [1, 4])
def test_stopped_or_killed(shards):
    """Half of the lives end in good order, while sessions end."""
    line, faults = crash.run_seed(harness.NIGHTJAR, 11 + shards, shards, 24, how='mixed')
    print(line)
    assert not faults, '\n'.join(['', line, *faults])


def test_promises_are_kept_over_tls():
    """Clients with certificates, whose connections end in the midst of handshakes, too."""
    line, faults = crash.run_seed(harness.NIGHTJAR, 7, 2, 16, tls=True)
    print(line)
    assert 'handshakes' in line
    assert not faults, '\n'.join(['', line, *faults])


@pytest.mark.skipif(not brokers.find_mosquitto(), reason='there is no mosquitto to compare with')
def test_losses_are_found():
    _, faults = crash.run_seed(brokers.find_mosquitto(), 1, 1, 40)
    assert faults


@pytest.mark.parametrize('who', [actors.Receiver, actors.Watcher, actors.Inspector])
@pytest.mark.parametrize('payload', [b'', b'w', b'w0', b'w0 ', b'w0 1', b'w0 1|.', b'x0 1|', b'\xff\0 1|'])
def test_cut_payloads_are_told(who, payload):
    """As a fault that says what came, whatever is left of it."""
    it = object.__new__(who)
    it.name, it.ledger, it.pending, it.final = 'it', ledger.Ledger(), {}, False
    it.lazy, it.held, it.inbox, it.ident, it.options = False, [], None, 0, 0
    it.willed, it.found, it.low, it.least = {}, {}, {}, {}
    it.answer = it.put_ack = lambda kind, mid: None
    it.world = types.SimpleNamespace(wills={'w0': None}, arrival=lambda: 0, quiet=True)
    it.on_publish(2, 'w/w0', 1, None, payload)
    assert len(it.ledger.faults) == 1 and repr(payload)[1:] in it.ledger.faults[0]


def test_queues_on_disk():
    """Queues of sessions that are away are not in memory; they come whole and
    in order.  tests/bench/durable does it with five million messages.  The
    payloads alone are 147 MiB; what is in memory is a window for each session,
    75 to 95 MiB in all, the same for half as many messages and for more."""
    if not built('tests', 'bench', 'durable_load'):
        pytest.skip('there is no release build; ./check blackbox makes one')
    p = subprocess.run([os.path.join(TESTS, 'bench', 'durable'), '--build', RELEASE, '--as-built',
                        '--only', 'queue', '--sessions', '100', '--each', '6000', '--most-mib', '140'],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
                       check=False)
    print(p.stdout)
    assert p.returncode == 0, p.stdout
