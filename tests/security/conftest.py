# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the security tests: those of the black-box tests, and brokers
of two builds."""
import importlib.util
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
BLACKBOX = os.path.join(os.path.dirname(HERE), 'blackbox')
sys.path.insert(0, BLACKBOX)
sys.path.insert(0, HERE)
_spec = importlib.util.spec_from_file_location('blackbox_conftest',
                                               os.path.join(BLACKBOX, 'conftest.py'))
blackbox = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(blackbox)
for _name in ('base_folder', 'tmp_path', 'brokers', 'broker', 'pki', 'topic', 'new_folder',
              'Factory', 'pytest_configure', 'pytest_collection_modifyitems',
              'pytest_runtest_setup', 'pytest_runtest_makereport'):
    globals()[_name] = getattr(blackbox, _name)
import attack
import harness


class Quiet(harness.Broker):
    """A broker that logs what it logs by default, on four shards."""
    binary = None
    files = 0

    def start(self):
        was = harness.NIGHTJAR
        harness.NIGHTJAR = self.limited(self.binary or was)
        try:
            return super().start()
        finally:
            harness.NIGHTJAR = was

    def limited(self, binary):
        """The broker, or a script that starts it with so many descriptors."""
        if not self.files:
            return binary
        path = os.path.join(self.folder, 'limited')
        with open(path, 'w', encoding='ascii') as f:
            f.write(f'#!/bin/sh\nulimit -n {self.files}\nexec {binary} "$@"\n')
        os.chmod(path, 0o755)
        return path


class Release(Quiet):
    """Of the build whose memory means something."""
    binary = attack.find_release()


class Brokers:
    """Starts brokers: start(conf) -> Broker.  At the end each has to end by
    itself, without a word of a sanitizer."""

    def __init__(self, base, kind):
        self.base, self.kind, self.mine = base, kind, []

    def __call__(self, conf='', anonymous=True, extra_ports=(), threads=4, files=0):
        if self.kind is Release and not Release.binary:
            pytest.skip('there is no release build; ./check blackbox makes one')
        port = harness.free_port()
        text = f'listener {port} {harness.HOST}\n{conf}'
        text += 'allow_anonymous true\n' if anonymous else ''
        text += f'threads {threads}\n' if 'threads ' not in conf else ''
        b = self.kind(blackbox.new_folder(self.base, 'broker-'), text, port, extra_ports)
        b.files = files
        b.mark = 0
        self.mine.append(b)
        blackbox._running.append(b)
        return b.start()

    def finish(self):
        problems = []
        for b in self.mine:
            blackbox._running.remove(b)
            status = b.stop()
            if status != 0:
                problems.append(f'the broker ended with status {status}')
            if b.faults():
                problems.append(b.faults())
        assert not problems, '\n'.join(problems)


@pytest.fixture
def start(base_folder):
    """Brokers of the sanitized build, each for one test."""
    factory = Brokers(base_folder, Quiet)
    yield factory
    factory.finish()


@pytest.fixture
def start_release(base_folder):
    """The same of the release build, where memory is looked at."""
    factory = Brokers(base_folder, Release)
    yield factory
    factory.finish()


@pytest.fixture(params=['sanitized', 'release'])
def start_both(request, base_folder):
    """One after the other: what is wrong, and what it costs."""
    factory = Brokers(base_folder, Quiet if request.param == 'sanitized' else Release)
    yield factory
    factory.finish()


@pytest.fixture(scope='module')
def plain(base_folder):
    """One anonymous TCP broker of the sanitized build for a file's tests."""
    factory = Brokers(base_folder, Quiet)
    yield factory()
    factory.finish()


@pytest.fixture(scope='module')
def lean(base_folder):
    """The same of the release build."""
    factory = Brokers(base_folder, Release)
    yield factory()
    factory.finish()
