#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fails on a function over 100 lines or a file over 800.  A function is
what starts with "{" in the first column and ends with "}" there, as the
format has it.  Tables do not count, neither outside of functions nor inside,
from "= {" at the end of a line to "};"."""
import re
import statistics

import source

MAX_FUNCTION = 100
MAX_FILE = 800
NAME = re.compile(r'(\w+)\s*\(')


def functions(path):
    """(name, line of the opening brace, lines from brace to brace)."""
    lines = source.code_only(source.read(path)).splitlines()
    opened = None
    for i, line in enumerate(lines):
        if line.rstrip() == '{':
            opened = i
        elif line.rstrip() == '}' and opened is not None:
            yield name_above(lines, opened), opened + 1, \
                i - opened + 1 - table_rows(lines[opened:i])
            opened = None


def table_rows(lines):
    """How many lines are rows of tables."""
    rows, closing = 0, None
    for line in lines:
        if closing:
            if line.startswith(closing):
                closing = None
            else:
                rows += 1
        elif line.rstrip().endswith('= {'):
            closing = line[:len(line) - len(line.lstrip('\t'))] + '}'
    return rows


def name_above(lines, brace):
    for line in reversed(lines[max(0, brace - 12):brace]):
        if line and not line[0].isspace():
            m = NAME.match(line) or NAME.search(line)
            if m:
                return m.group(1)
    return '?'


def main():
    findings = []
    lengths = []
    paths = source.files('.c', '.h', under='src') + source.files('.c', '.h', under='tests')
    for path in paths:
        n = source.read(path).count('\n')
        if n > MAX_FILE:
            findings.append(f'{path}: {n} lines; no file is over {MAX_FILE}')
        for name, line, length in functions(path):
            if path.startswith('src/'):
                lengths.append(length)
            if length > MAX_FUNCTION:
                findings.append(f'{path}:{line}: {name} is {length} lines long; '
                                f'no function is over {MAX_FUNCTION}')
    lengths.sort()
    p99 = lengths[int(len(lengths) * 0.99)] if lengths else 0
    median = statistics.median(lengths) if lengths else 0
    source.finish(findings, f'{len(lengths)} functions: median {median:g}, '
                  f'99th percentile {p99}, longest {lengths[-1] if lengths else 0}')


main()
