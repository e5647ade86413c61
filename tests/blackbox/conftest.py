# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the black-box tests; README.md says how to run them."""
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from certs import Pki
import harness

ANONYMOUS = '''
allow_anonymous true
log_type all
'''


def pytest_configure(config):
    config.addinivalue_line('markers', 'ours: asks for something Mosquitto 2.0 does otherwise')
    config.addinivalue_line('markers', 'alone: measures time; not while others keep the processors busy')


def pytest_collection_modifyitems(items):
    """Names what cannot run, in the report, rather than leaving it out."""
    for item in items:
        if harness.NIGHTJAR is None:
            item.add_marker(pytest.mark.skip(reason='there is no nightjar binary'))
        elif harness.REFERENCE and item.get_closest_marker('ours'):
            item.add_marker(pytest.mark.skip(reason='not how Mosquitto does it'))


_running = []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    for b in _running:
        b.mark = b.log_size()
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what the brokers logged since the test began."""
    report = (yield).get_result()
    if report.failed:
        for b in _running:
            report.sections.append((f'broker log ({b.log_path})', b.log(b.mark)[-4000:]))


@pytest.fixture(scope='session')
def base_folder():
    """Where everything of a run lies.  Not pytest's own, which only root may
    enter when root runs the tests: the broker gives up being root."""
    folder = tempfile.mkdtemp(prefix='nightjar-test-')
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def tmp_path(base_folder):
    return pathlib.Path(new_folder(base_folder, 'files-'))


def new_folder(base, prefix):
    folder = tempfile.mkdtemp(prefix=prefix, dir=base)
    os.chmod(folder, 0o1777)  # as /tmp: the broker may write, not replace what is root's
    return folder


class Factory:
    """Starts brokers and ends them; a broker that crashed, leaked or did not
    end by itself fails the test."""

    def __init__(self, base):
        self.base = base
        self.mine = []

    def __call__(self, conf='', extra_ports=(), anonymous=True, listener=True, args=(), port=None,
                 start=True):
        port = port or harness.free_port()
        text = f'listener {port} {harness.HOST}\n' if listener else ''
        text += (ANONYMOUS if anonymous else 'log_type all\n') + conf
        if not harness.REFERENCE and 'threads ' not in text:
            # Several shards, however small the machine is.
            text += 'threads 4\n'
        if os.environ.get('NJ_PERSISTENCE') and 'persistence' not in text:
            # The same from a store: nothing that a client sees is another.
            text += 'persistence true\npersistence_location store\n'
        b = harness.Broker(new_folder(self.base, 'broker-'), text, port, extra_ports, args)
        b.mark = 0
        self.mine.append(b)
        if start:
            _running.append(b)
            b.start()
        return b

    def finish(self):
        problems = []
        for b in self.mine:
            status = b.stop()
            if status != 0:
                problems.append(f'the broker ended with status {status}:\n{b.log()[-2000:]}')
            if os.path.exists(b.log_path) and b.faults():
                problems.append(b.faults())
            if b in _running:
                _running.remove(b)
        assert not problems, '\n'.join(problems)


@pytest.fixture
def brokers(base_folder):
    """Starts brokers for one test: brokers(conf) -> Broker."""
    factory = Factory(base_folder)
    yield factory
    factory.finish()


@pytest.fixture(scope='module')
def broker(base_folder):
    """One anonymous plain TCP broker, shared by a file's tests."""
    factory = Factory(base_folder)
    yield factory()
    factory.finish()


@pytest.fixture(scope='session')
def pki(base_folder):
    return Pki(new_folder(base_folder, 'pki-'))


@pytest.fixture
def topic(request):
    """A topic nobody else uses."""
    name = ''.join(ch if ch.isalnum() else '-' for ch in request.node.name)
    return f'test/{os.getpid()}/{name}'
