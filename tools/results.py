#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Turns what the test runners wrote into lines "pass|again|fail|skip NAME", which
./check counts, and behind a failure the last that its test said: "said LINE".

  results.py meson LABEL testlog.json    what `meson test` logs
  results.py junit LABEL file.xml [second.xml]
                                         what pytest --junit-xml writes.  What failed,
                                         and passed when it was run again, is "again"
  results.py failed N file.xml           the tests that failed, to be run again; none if
                                         there are more than N, or a broker crashed
  results.py total FILE                  "N passed, N failed"; 1 unless all is well.
                                         What failed is told again, at the end"""
import json
import re
import sys
import xml.etree.ElementTree

CMOCKA_ONE = re.compile(r'^\[ *(OK|FAILED|SKIPPED) *\] (\w+)\s*$', re.M)
SCENARIO = re.compile(r'^(ok|FAIL) +(.+?)\s*$', re.M)
SAID = 25		# lines of what a test said that failed
FAULT = re.compile(r'Sanitizer|runtime error:|Assertion .* failed|the broker ended with')
WORD = {'OK': 'pass', 'FAILED': 'fail', 'SKIPPED': 'skip', 'ok': 'pass', 'FAIL': 'fail'}


def said(text):
    for line in [line for line in text.splitlines() if line.strip()][-SAID:]:
        yield 'said', line


def cases_of(log):
    """{case: word} from the lines of a cmocka program or of the scenarios."""
    text = log.get('stdout', '') + '\n' + log.get('stderr', '')
    found = CMOCKA_ONE.findall(text) or SCENARIO.findall(text)
    return {case: WORD[word] for word, case in found}


def meson(path):
    """One line a case; one for a program that names no cases, or that failed
    where no case did (a crash, a leak)."""
    with open(path, encoding='utf-8', errors='replace') as f:
        logs = [json.loads(line) for line in f if line.strip()]
    for log in logs:
        name = log['name'].split(' / ')[-1]
        result = log['result']
        cases = cases_of(log)
        for case, word in sorted(cases.items()):
            yield word, f'{name}/{case}'
        if result in ('SKIP', 'IGNORED'):
            yield 'skip', name
        elif result not in ('OK', 'EXPECTEDFAIL') and 'fail' not in cases.values():
            yield 'fail', f'{name} ({result.lower()})'
        elif not cases:
            yield 'pass', name
        if result not in ('OK', 'EXPECTEDFAIL', 'SKIP', 'IGNORED'):
            yield from said(log.get('stdout', '') + '\n' + log.get('stderr', ''))


def cases_in(path):
    """Of each test in what pytest wrote: its file as a module, its name, a word,
    and what it said as it failed."""
    for case in xml.etree.ElementTree.parse(path).iter('testcase'):
        tags = {child.tag: child for child in case}
        bad = [tags[tag] for tag in ('failure', 'error') if tag in tags]
        word = 'fail' if bad else 'skip' if 'skipped' in tags else 'pass'
        yield (case.get('classname', ''), case.get('name'), word,
               [what.text or what.get('message', '') for what in bad])


def junit(path, second=None):
    well = {(module, name) for module, name, word, _ in cases_in(second) if word == 'pass'} if second else ()
    for module, name, word, why in cases_in(path):
        if word == 'fail' and (module, name) in well:
            word = 'again'
        yield word, f'{module.split(".")[-1]}/{name}'.replace(' ', '_')
        for what in why:
            yield from said(what)


def failed(most, path):
    bad = [(module, name, why) for module, name, word, why in cases_in(path) if word == 'fail']
    if len(bad) > most or any(FAULT.search(what) for _, _, why in bad for what in why):
        return
    for module, name, _ in bad:
        print(f'{module.replace(".", "/")}.py::{name}')


def total(path):
    count = {'pass': 0, 'again': 0, 'fail': 0, 'skip': 0}
    unwell = []
    try:
        with open(path, encoding='utf-8') as f:
            for line in f:
                word, name = line.rstrip('\n').split(' ', 1)
                if word != 'said':
                    count[word] += 1
                if word != 'pass':
                    unwell.append((word, name))
    except FileNotFoundError:
        pass
    for word, name in unwell:
        print({'skip': 'skipped:', 'again': 'unsteady:', 'fail': 'FAILED: ', 'said': '       |'}[word], name)
    line = f'{count["pass"] + count["again"]} passed, {count["fail"]} failed'
    if count['skip']:
        line += f', {count["skip"]} skipped'
    if count['again']:
        line += f', {count["again"]} passed only when run again'
    print(line)
    return 1 if count['fail'] or not count['pass'] else 0


def main(argv):
    if argv[1] == 'total':
        return total(argv[2])
    if argv[1] == 'failed':
        failed(int(argv[2]), argv[3])
        return 0
    _, kind, label, *paths = argv
    for word, name in {'meson': meson, 'junit': junit}[kind](*paths):
        print(word, name if word == 'said' else f'{label}/{name}')
    return 0


sys.exit(main(sys.argv))
