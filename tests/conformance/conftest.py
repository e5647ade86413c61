# SPDX-License-Identifier: Apache-2.0
"""Conformance, clause by clause: which test shows which statement, and what
came of it.  The brokers and the raw client are those of tests/blackbox.

A run over the whole folder writes conformance.json into $NJ_BUILD (else the
folder for temporary files), from which tools/conformance makes
docs/conformance.md.  It is an error of the run when a statement is neither
tested, on each side that it binds, nor in unobservable.tsv, or is both, or
does not exist."""
import importlib.util
import json
import os
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
BLACKBOX = os.path.join(os.path.dirname(HERE), 'blackbox')
for folder in (HERE, BLACKBOX):
    if folder not in sys.path:
        sys.path.insert(0, folder)
import harness
import kit
import statements
from exact import peers	# a fixture

WORST = ('fail', 'skip', 'pass')


def _blackbox_fixtures():
    spec = importlib.util.spec_from_file_location('blackbox_fixtures',
                                                  os.path.join(BLACKBOX, 'conftest.py'))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


blackbox = _blackbox_fixtures()
base_folder, tmp_path, pki, topic = \
    blackbox.base_folder, blackbox.tmp_path, blackbox.pki, blackbox.topic
broker, brokers = blackbox.broker, blackbox.brokers


def pytest_configure(config):
    config.addinivalue_line('markers', 'clause(*ids): the numbered statements that a test shows')
    # For its hooks; the fixtures of a file called conftest.py are for its folder only.
    config.pluginmanager.register(blackbox, 'blackbox_fixtures')
    config.pluginmanager.register(Recorder(), 'conformance')


def results_path():
    """Where the results of a run go."""
    name = 'conformance-reference.json' if harness.REFERENCE else 'conformance.json'
    return os.path.join(os.environ.get('NJ_BUILD') or tempfile.gettempdir(), name)


def credited(item):
    """The statements that one run of one test counts for."""
    idents = [i for mark in item.iter_markers('clause') for i in mark.args]
    callspec = getattr(item, 'callspec', None)
    version = callspec.params.get('version') if callspec else None
    return [i for i in idents if version is None or statements.level_of(i) == version]


class Recorder:
    """Gathers {statement: {test: result}} while the tests run.  Where several
    processes run them (pytest-xdist), each tells the one that started it what
    it saw, and that one writes it down."""

    def __init__(self):
        self.shows = {}		# node id: (file::function, statements)
        self.results = {}
        self.named = set()
        self.deselected = False
        self.files = set()
        self.problems = []

    def pytest_deselected(self, items):
        self.deselected = self.deselected or bool(items)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        for item in items:
            if os.path.dirname(str(item.path)) != HERE:
                continue
            self.files.add(item.path.name)
            test = f'{item.path.name}::{item.originalname}'
            self.shows[item.nodeid] = (test, credited(item))
            self.named.update(i for mark in item.iter_markers('clause') for i in mark.args)

    def pytest_runtest_logreport(self, report):
        test, idents = self.shows.get(report.nodeid, (None, ()))
        if report.when != 'call' and report.passed:
            return
        word = {'passed': 'pass', 'failed': 'fail', 'skipped': 'skip'}[report.outcome]
        for ident in idents:
            self.note(ident, test, word)

    def note(self, ident, test, word):
        of = self.results.setdefault(ident, {})
        of[test] = min(of.get(test, 'pass'), word, key=WORST.index)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        seen = getattr(node, 'workeroutput', {}).get('conformance')
        if error or seen is None:
            self.problems.append(f'{node.gateway.id} did not tell what it saw: {error}')
            return
        self.shows.update(seen['shows'])
        self.named.update(seen['named'])
        self.files.update(seen['files'])
        self.deselected = self.deselected or seen['deselected']
        for ident, tests in seen['results'].items():
            for test, word in tests.items():
                self.note(ident, test, word)

    def whole(self, config):
        there = {n for n in os.listdir(HERE) if n.startswith('test_') and n.endswith('.py')}
        return there <= self.files and not self.deselected and \
            not any('::' in a for a in config.args)

    def errors(self, whole):
        known, hidden = statements.known(), statements.unobservable()
        shown = {i for _, idents in self.shows.values() for i in idents}
        yield from (f'{i}: there is no such statement' for i in
                    sorted((self.named | set(hidden)) - set(known)))
        yield from (f'{i}: tested, and said to be unobservable' for i in sorted(shown & set(hidden)))
        yield from (f'{i}: no run of a test that names it counts for it' for i in
                    sorted((self.named & set(known)) - shown))
        if whole:
            yield from self.lacking(known, hidden)

    def lacking(self, known, hidden):
        """What binds a broker must be shown by a test of the broker, what binds
        a client by one of the client."""
        sides = {}
        for test, idents in self.shows.values():
            for i in idents:
                sides.setdefault(i, set()).add(statements.side_of(test))
        for i, row in known.items():
            for side in sorted(statements.binds(i, row) - sides.get(i, set())):
                if i not in hidden:
                    yield f'{i}: no test of a {side} shows it, and it is not said to be unobservable'

    def pytest_sessionfinish(self, session):
        if hasattr(session.config, 'workeroutput'):
            session.config.workeroutput['conformance'] = {
                'shows': self.shows, 'named': list(self.named), 'files': list(self.files),
                'deselected': self.deselected, 'results': self.results}
            return
        if not self.shows or session.config.option.collectonly:
            return
        whole = self.whole(session.config)
        self.problems += self.errors(whole)
        out = {'whole': whole, 'errors': self.problems, 'reference': harness.REFERENCE,
               'results': {i: dict(sorted(self.results[i].items())) for i in sorted(self.results)}}
        with open(results_path(), 'w', encoding='utf-8') as f:
            json.dump(out, f, indent=1, sort_keys=True)
            f.write('\n')
        if self.problems and session.exitstatus == 0:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        if self.problems:
            terminalreporter.section('statements')
            for line in self.problems:
                terminalreporter.line(line)
        if self.shows:
            terminalreporter.line(f'results: {results_path()}')


@pytest.fixture(scope='module')
def _witness(broker):
    w = kit.Witness(broker.port)
    yield w
    w.stop()


@pytest.fixture
def unharmed(_witness):
    """Whatever the test does to its own connection, another client is served
    as before [MQTT-4.13.2-1]."""
    try:
        if not _witness.c:
            _witness.start()
        _witness.check()
        yield _witness
        _witness.check()
    except BaseException:
        _witness.stop()		# one test's harm is not the next one's
        raise
